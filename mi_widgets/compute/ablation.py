"""Ablation: for each cell of a grid the metric of a run in which one activation is zero, a mean, or another prompt's.

An ablation is a patch whose source is made up; runs are made as patches' are. Knows what is put in place, and nothing
of how runs go on from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from mi_widgets.compute.forward import Activations, forward_steps
from mi_widgets.compute.interventions import Interventions
from mi_widgets.compute.patch_cells import Cells, read_position
from mi_widgets.compute.patch_grids import NO_DIFFERENCE, prepared
from mi_widgets.compute.patch_metrics import OwnMetric
from mi_widgets.compute.patch_runs import PatchRuns, aligned_note
from mi_widgets.compute.patching import batch_memory, grid_steps
from mi_widgets.compute.replacements import Mean, Rows, resampled
from mi_widgets.compute.step import Step, Steps, as_one, run_at_once, saying, steps_of
from mi_widgets.data import Tokens
from mi_widgets.data.held import checked_prompts
from mi_widgets.data.integers import integer, word
from mi_widgets.data.interventions import BY, STREAMS
from mi_widgets.data.pairs import Pair, Pairs
from mi_widgets.data.patching import PatchGrid
from mi_widgets.errors import DataError
from mi_widgets.models import Prompt, tokenize

#: What can be ablated, by the usual word for it: where, and the axes of its cells.
OVER: dict[str, tuple[str, tuple[str, ...]]] = {
    "head": ("z", ("layer", "head")),
    "attn": ("attn_out", ("layer",)),
    "mlp": ("mlp_out", ("layer",)),
    "neuron": ("post", ("neuron",)),
    "position": ("resid_pre", ("layer", "position")),
}
#: Sites that can be ablated by other axes too: those that `mw.Ablate` has.
SITES = (*STREAMS, "z", "post")


@run_at_once("ablation")
def ablate(
    model: Any,
    prompts: Any,
    answer: Any = None,
    foil: Any = None,
    over: str = "head",
    by: str = "mean",
    *,
    reference: Any = None,
    seed: int = 0,
    metric: str | OwnMetric = "logit_difference",
    axes: Iterable[str] | None = None,
    layer: int | None = None,
    layers: Iterable[int] | None = None,
    positions: Iterable[int] | None = None,
    heads: Iterable[int] | None = None,
    neurons: Iterable[int] | None = None,
    position: int = -1,
    memory: int | None = None,
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
    progress: bool = False,  # noqa: ARG001
) -> Steps[PatchGrid]:
    """What the metric becomes where one part of a run is ablated, for each part, exactly. Ctrl-C leaves the model as
    it was.

    As steps (`ablate_steps`): `Step.partial` is the grid as far as it is known, as for `patch_steps`.

    Args:
        model: a TransformerBridge.
        prompts: one, several, or `Pairs`, of which the clean ones are taken.
        answer: as for `patch`; of all prompts.
        foil: as for `patch`.
        over: `"head"` (what it reads, z), `"attn"`, `"mlp"` (what they add), `"neuron"` (of one layer), or
            `"position"` (the residual stream before each block); or a site, `"z"`, `"post"`, `"attn_out"`, `"mlp_out"`,
            `"resid_pre"`, `"resid_mid"` or `"resid_post"`.
        by: `"zero"`; `"mean"` over the prompts of `reference`, position by position where all of them are as long as
            the prompt, else over all their positions; `"resample"`: what stands there in the run of one of them, drawn
            with `seed`, by alignment where that is of another length. As `mw.Ablate` does it.
        reference: prompts. None: the prompts themselves where there are several, else (mean only) the positions of the
            one prompt. Their runs are untouched.
        seed: of the draw.
        metric: as for `patch`; KL is to the untouched run.
        axes: of a cell, a choice of `data.patching.PATCH_SITES`; None: the usual ones.
        layer: as for `patch`.
        layers: as for `patch`.
        positions: as for `patch`.
        heads: as for `patch`.
        neurons: as for `patch`.
        position: as for `patch`.
        memory: as for `patch`.
        prepend_bos: as for `patch`.
        interventions: made in every run beside the ablation.
        progress: show a bar.

    Returns:
        A grid of method `"ablation"`; `clean` is the metric of the untouched run.

    Raises:
        DataError: nothing to draw from, or what `patch` raises.
        AnswerError, PromptError, ModelError: as `patch`.
    """
    word("by", by, BY)
    site, usual = OVER.get(over) or (word("over", over, (*OVER, *SITES)), None)
    pairs = _as_pairs(prompts, answer, foil)
    given = checked_prompts("reference", reference) or (_own(pairs) if by != "zero" else ())
    if by == "resample" and not given:
        raise DataError('by="resample" draws from prompts; there are none.', "Give reference=[…], a few prompts.")
    ready = prepared(
        model, pairs, None, None, None, site, "noise", usual if axes is None else axes, layer=layer, layers=layers,
        positions=positions, heads=heads, neurons=neurons, prepend_bos=prepend_bos,
    )  # fmt: skip
    notes = tuple(note for note in ready.notes if note not in aligned_note(ready.prompts))
    ready = replace(ready, prompts=tuple(replace(one, corrupt=one.clean) for one in ready.prompts), notes=notes)
    for one in ready.prompts:
        read_position(position, len(one.clean))
    put = _Put(model, ready.cells, by, given, integer("seed", seed), prepend_bos)

    def grid(found: PatchGrid) -> PatchGrid:
        said = tuple(note for note in found.notes if note != NO_DIFFERENCE)
        made = replace(
            found,
            method="ablation",
            direction="denoise",
            corrupt_values=np.zeros(found.n_pairs, np.float32),
            ablated_by=by,
            reference="; ".join(put.notes),
            reference_prompts=given,
            seed=put.seed,
            notes=said,
        )
        alike = "the metric of the untouched run is 0: effects cannot be measured in it"
        return made if made.differs else replace(made, notes=(*said, alike))

    steps = grid_steps(
        ready, metric, position, batch_memory(model, memory), prepend_bos=prepend_bos, interventions=interventions,
        put=put.steps,
    )  # fmt: skip
    return grid((yield from saying(steps, lambda step: replace(step, partial=step.partial and grid(step.partial)))))


ablate_steps = steps_of(ablate)


def _as_pairs(prompts: Any, answer: Any, foil: Any) -> Pairs:
    """The prompts, each as a pair with itself."""
    if isinstance(prompts, (Pairs, Pair)):
        if answer is not None or foil is not None:
            raise DataError("pairs have answers of their own.", "Leave answer and foil out.")
        pairs = prompts if isinstance(prompts, Pairs) else Pairs((prompts,))
        return Pairs(tuple(replace(pair, corrupt=pair.clean) for pair in pairs))
    given = checked_prompts("prompts", prompts)
    if not given:
        raise DataError("there are no prompts.", "Give one or more.")
    return Pairs(tuple(Pair(prompt, prompt, answer, foil) for prompt in given))


def _own(pairs: Pairs) -> tuple[Prompt, ...]:
    """The reference where none is given: the prompts themselves where there are several."""
    return tuple(pair.clean for pair in pairs) if len(pairs) > 1 else ()


class _Put:
    """What is put in place of activations, for one prompt after the other.

    Attributes:
        notes: what the means are over, or what was drawn, in words.
        seed: of the draw.
    """

    def __init__(
        self, model: Any, cells: Cells, by: str, reference: tuple[Any, ...], seed: int, prepend_bos: bool | None
    ) -> None:
        self._model, self._cells, self._by, self.seed = model, cells, by, seed
        if by == "resample":
            reference = (reference[int(np.random.default_rng(seed).integers(len(reference)))],)
        self._sources = [tokenize(model, prompt, prepend_bos) for prompt in (reference if by != "zero" else ())]
        self._means: dict[int, Rows] = {}
        self._drawn: np.ndarray | None = None
        self.notes: list[str] = []

    def steps(self, runs: PatchRuns) -> Steps[PatchRuns]:
        """The runs of one prompt, with what is put as their source."""
        hook, tokens = self._cells.hook, runs.prompts.base
        if self._by == "zero":
            whole = runs.base.arrays[hook]
            rows = np.zeros((len(self._cells.layers), *whole.shape[1:]), np.float32)
        else:
            placed = yield from self._placed_steps(tokens)
            rows = np.moveaxis(placed, 1, 0)
        source = Activations(self._cells.layers, {hook: rows})
        return replace(runs, source=source, _laid={})

    def _placed_steps(self, tokens: Tokens) -> Steps[np.ndarray]:
        """float32 `[position, layer, …]` for one prompt."""
        if self._by == "resample":
            if self._drawn is None:
                self._drawn = yield from self._read_steps(self._sources[0])
            (rows, _), note = resampled(tokens, self._sources[0], self._drawn)
        else:
            mean = Mean(len(tokens), self._sources)
            note = mean.note
            if not self._sources or len(tokens) not in self._means:
                for source in self._sources or [tokens]:
                    mean.add((yield from self._read_steps(source)))
                self._means[len(tokens)] = mean.rows()
            rows = self._means[len(tokens)][0]
        if note not in self.notes:
            self.notes.append(note)
        return rows

    def _read_steps(self, source: Tokens) -> Steps[np.ndarray]:
        """float32 `[position, layer, …]` of an untouched run."""
        hook = self._cells.hook
        passed = forward_steps(self._model, source.ids, (hook,), {hook: self._cells.layers}, pausing=True)
        found = yield from as_one(passed, Step(0, 1))
        yield Step(0, 1)
        return np.moveaxis(found.arrays[hook], 0, 1)
