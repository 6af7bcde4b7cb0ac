"""Activation patching, exactly: for each cell of a grid the metric of a run in which one activation is another run's.

Both runs are made once. Of a changed run only what changes is made: the cell's own block, many cells at a time, and
from there on what `Onward` says. A cell whose activation is the same in both runs changes nothing, and is not run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from mi_widgets.compute.attribution_patching import attribution_patch_steps
from mi_widgets.compute.interventions import Interventions
from mi_widgets.compute.pass_bytes import batch_bytes
from mi_widgets.compute.patch_blocks import Blocks
from mi_widgets.compute.patch_cells import read_position
from mi_widgets.compute.patch_grids import Making, Prepared, prepared
from mi_widgets.compute.patch_metrics import OwnMetric
from mi_widgets.compute.patch_runs import PatchRuns, runs_steps
from mi_widgets.compute.step import Step, Steps, as_one, run_at_once, steps_of
from mi_widgets.data.integers import integer, word
from mi_widgets.data.pairs import Pairs
from mi_widgets.data.patching import PatchGrid
from mi_widgets.errors import DataError
from mi_widgets.models import Prompt

#: How cells follow each other.
ORDERS = ("largest estimate first", "top layers first")


@run_at_once("patching", hidden="order")
def patch(
    model: Any,
    clean: Prompt | Pairs,
    corrupt: Prompt = None,
    answer: Any = None,
    foil: Any = None,
    site: str = "resid_pre",
    metric: str | OwnMetric = "logit_difference",
    direction: str = "denoise",
    by: Iterable[str] | None = None,
    *,
    layer: int | None = None,
    layers: Iterable[int] | None = None,
    positions: Iterable[int] | None = None,
    heads: Iterable[int] | None = None,
    neurons: Iterable[int] | None = None,
    position: int = -1,
    memory: int | None = None,
    estimate: bool | PatchGrid = False,
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
    progress: bool = False,  # noqa: ARG001
    order: str = ORDERS[0],
) -> Steps[PatchGrid]:
    """Activation patching: what the metric becomes where one activation of a run is another run's, for each cell of a
    grid, exactly. Ctrl-C leaves the model as it was.

    As steps (`patch_steps`): `Step.partial` is the grid as far as it is known, NaN elsewhere: of the first pair
    while that is worked at, then of all pairs that are finished. Between steps the model is as it was.

    Args:
        model: a TransformerBridge.
        clean: text, token ids or chat messages; or several pairs, which bring all of the next three.
        corrupt: the other prompt. Prompts of one length correspond position by position, others by their alignment.
        answer: the next token that is right after the clean prompt: text as it stands there, or its id. None: the
            clean run's first choice.
        foil: the one that it is compared with; None beside an answer: the answer's logit alone. Both None: the clean
            run's first and second choice.
        site: a word of `data.patching.PATCH_SITES`. `"resid_mid"` is the residual stream itself.
        metric: `"logit_difference"`, `"log_probability"`, `"probability"`, `"rank"`, `"kl"` (of the clean run's next
            token to the changed one's, nats); or a function that is called with the logits `[1, 1, d_vocab]` of one
            run, where they are read, and gives one number.
        direction: `"denoise"`: clean activations are put into the corrupt run; `"noise"`: the other way.
        by: the axes of a cell, a choice of `PATCH_SITES`; None: the usual ones of the site.
        layer: of grids without an axis of layers; None: the last.
        layers: only these, where layers are an axis.
        positions: only these positions, or queries, of the run that is changed; negative ones count from its end.
        heads: only these; of sites `"k"` and `"v"` key-value heads.
        neurons: only these.
        position: where the logits are read, counted from the end of each prompt: -1 is the last.
        memory: bytes that batches may take; at most a quarter of what is free and 1 GB if None.
        estimate: estimate all cells first (`attribution_patch`), so that the grid holds both; or a grid that holds
            estimates of the same cells.
        prepend_bos: None means what `model.to_tokens(prompt)` does.
        interventions: made in both runs beside the patch: `mw.Ablate`, `mw.Patch`, `mw.Add`, `mw.Splice` …
        progress: show a bar.
        order: of steps alone: of the cells, `"largest estimate first"` (where there are estimates), or `"top layers
            first"`, whose runs are the shortest.

    Returns:
        PatchGrid. Where a cell has no partner in the other prompt its value is NaN.

    Raises:
        AnswerError: an answer or foil that is no single token.
        PromptError: a prompt that cannot be run.
        ModelError: a site that this architecture lacks or does not read, numbers that are not finite, a model that
            sees ahead.
        DataError: no such site, axes or metric, a number that does not exist, pairs whose prompts have no common
            positions, or a metric function that raised or gave no number.
    """
    word("order", order, ORDERS)
    ready = prepared(
        model, clean, corrupt, answer, foil, site, direction, by, layer=layer, layers=layers, positions=positions,
        heads=heads, neurons=neurons, prepend_bos=prepend_bos,
    )  # fmt: skip
    for prompts in ready.prompts:
        for tokens in (prompts.clean, prompts.corrupt):
            read_position(position, len(tokens))
    memory = batch_memory(model, memory)
    estimates = estimate if isinstance(estimate, PatchGrid) else None
    if estimate is True:
        estimates = yield from attribution_patch_steps(
            model, clean, corrupt, answer, foil, site, metric, direction, by, layer=layer, layers=layers,
            positions=positions, heads=heads, neurons=neurons, position=position, prepend_bos=prepend_bos,
            interventions=interventions,
        )  # fmt: skip
        yield Step(0, len(ready.prompts) * len(ready.cells), estimates)
    return (yield from grid_steps(
        ready, metric, position, memory, estimates, order=order, prepend_bos=prepend_bos, interventions=interventions
    ))  # fmt: skip


patch_steps = steps_of(patch)


def grid_steps(
    ready: Prepared,
    metric: str | OwnMetric,
    position: int,
    memory: int,
    estimates: PatchGrid | None = None,
    *,
    order: str = ORDERS[0],
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
    put: Callable[[PatchRuns], Steps[PatchRuns]] | None = None,
) -> Steps[PatchGrid]:
    """The exact cells of a grid that is prepared; `put` lays out, for each pair, what is put in place of activations
    where that is not the other run's. All else is as for `patch_steps`."""
    making = _Making(ready, position, estimates)
    for number, prompts in enumerate(ready.prompts):
        runs = yield from runs_steps(
            ready.model, prompts, ready.cells, metric, position, making.step(), memory=memory, prepend_bos=prepend_bos,
            interventions=interventions,
        )  # fmt: skip
        if put is not None:
            runs = yield from as_one(put(runs), making.step())
        making.begin(runs)
        changes = None if making.estimates is None else making.estimates[number] - runs.base_value
        yield from _cells_steps(making, runs, memory, changes if order == ORDERS[0] else None)
    return making.made()


def batch_memory(model: Any, memory: int | None) -> int:
    """Bytes that batches may take: as told, or at most a quarter of what is free and 1 GB."""
    if memory is not None:
        if integer("memory", memory) <= 0:
            raise DataError(f"memory={memory!r}.", "Give bytes, e.g. 2_000_000_000.")
        return integer("memory", memory)
    return batch_bytes(next(model.parameters()).device)


class _Making(Making):
    """A grid while it is made."""

    def __init__(self, ready: Prepared, position: int, estimates: PatchGrid | None) -> None:
        super().__init__(len(ready.prompts), len(ready.cells), ready.notes)
        self._ready, self._position, self._estimated = ready, position, estimates
        self._overflow = 0
        self.estimates = None if estimates is None else estimates.estimates
        if self.estimates is not None and self.estimates.shape != self.values.shape:
            raise DataError(
                f"the estimates are [pair, cell] {list(self.estimates.shape)}, the grid {list(self.values.shape)}.",
                "Give those of the same pairs and cells.",
            )

    def overflowed(self, count: int) -> None:
        """Some changed runs have no finite logits."""
        self._overflow += count

    def made(self) -> PatchGrid:
        """See `Making`."""
        count, notes = self._finished()
        if self._overflow:
            notes.append(f"{self._overflow} changed runs have logits that are not finite; their cells are empty")
        clean, corrupt = zip(*self._ends[:count], strict=True)
        return self._ready.grid(
            self.values[:count].copy(),
            clean,
            corrupt,
            self._metrics[:count],
            self._edits,
            estimates=None if self.estimates is None else self.estimates[:count],
            position=self._position,
            estimated_by="" if self._estimated is None else self._estimated.estimated_by,
            notes=tuple(notes),
            seconds=time.perf_counter() - self._since,
        )


def _cells_steps(making: _Making, runs: PatchRuns, memory: int, changes: np.ndarray | None) -> Steps[None]:
    """All cells of one pair."""
    blocks = Blocks(runs, memory)
    units, unchanged, alone = blocks.units(changes)
    making.set(np.flatnonzero(unchanged), runs.base_value)
    making.set(np.flatnonzero(alone), np.nan)
    for unit in units:
        yield making.step()
        step = Step(making.done, making.total)
        layer, first, stream = yield from blocks.stream_steps(unit, step)
        firsts = unit.firsts if first == unit.first else None
        final = yield from as_one(runs.onward.steps(layer, first, stream, firsts), step)
        for rows, values, broken in runs.values_of(final):
            making.overflowed(broken)
            making.set(unit.cells[rows], values)
            if rows.start:
                yield step
    yield making.step()
