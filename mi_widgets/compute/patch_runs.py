"""The two runs of one pair of prompts, made once each: what stands where patches act, and what the metric says of them.

What is put into one run from the other is laid out by the positions of the run that is changed. Knows nothing of how
patched runs are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.forward import PATTERN, Activations, forward_steps, unwritten
from mi_widgets.compute.interventions import Edits, Interventions, resolve
from mi_widgets.compute.not_finite import not_finite, refusal
from mi_widgets.compute.onward import Onward
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.compute.patch_cells import Cells, read_position
from mi_widgets.compute.patch_metrics import OwnMetric, PatchMetric, patch_metric
from mi_widgets.compute.step import Step, Steps, as_one
from mi_widgets.data import Tokens
from mi_widgets.data.alignment import align
from mi_widgets.data.pairs import Pair, Pairs
from mi_widgets.data.patching import DIRECTIONS
from mi_widgets.errors import DataError
from mi_widgets.models import Prompt, tokenize

#: The residual stream before and after each block.
BEFORE, AFTER = "hook_resid_pre", "hook_resid_post"
#: Rows of logits at a time.
LOGITS_AT_ONCE = 64


def as_pairs(clean: Prompt | Pairs, corrupt: Prompt = None, answer: Any = None, foil: Any = None) -> Pairs:
    """What `compute` functions take as one pair or several.

    Raises:
        DataError: pairs and a corrupt prompt or answers beside them, or no corrupt prompt.
    """
    if isinstance(clean, (Pairs, Pair)):
        if not (corrupt is None and answer is None and foil is None):
            raise DataError("pairs have prompts and answers of their own.", "Leave corrupt, answer and foil out.")
        return clean if isinstance(clean, Pairs) else Pairs((clean,))
    if corrupt is None:
        raise DataError("there is no corrupt prompt.", "Give clean and corrupt, or mw.Pairs.")
    return Pairs((Pair(clean, corrupt, answer, foil),))


@dataclass(frozen=True, eq=False)
class Prompts:
    """Clean and corrupt prompt as run, before anything is run."""

    pair: Pair
    clean: Tokens
    corrupt: Tokens
    direction: str

    @property
    def base(self) -> Tokens:
        """Of the run that is changed."""
        return self.corrupt if self.direction == DIRECTIONS[0] else self.clean

    @property
    def source(self) -> Tokens:
        """Of the run that activations are taken from."""
        return self.clean if self.direction == DIRECTIONS[0] else self.corrupt

    @cached_property
    def partners(self) -> dict[int, int]:
        """By position of `base`, that of `source` which answers to it."""
        pairs = align(self.base, self.source).pairs
        return {own: other for own, other in pairs if own is not None and other is not None}

    @property
    def alone(self) -> list[int]:
        """Positions of `base` without a partner."""
        return [place for place in range(len(self.base)) if place not in self.partners]


def tokenized(model: Any, pair: Pair, direction: str, prepend_bos: bool | None = None) -> Prompts:
    """A pair's prompts as run; raises PromptError for what cannot be run."""
    clean, corrupt = (tokenize(model, prompt, prepend_bos) for prompt in (pair.clean, pair.corrupt))
    return Prompts(pair, clean, corrupt, direction)


@dataclass(eq=False)
class PatchRuns:
    """Both runs of a pair.

    Attributes:
        model: a TransformerBridge.
        prompts: what they are of.
        edits: of the run that is changed.
        base: what that run left: `BEFORE`, also as it was before anything was written, `AFTER`, and the site.
        source: what the other run left there, at the site.
        metric: with its answers.
        clean_value: the metric of the clean run.
        corrupt_value: of the corrupt one.
        onward: goes on from changes of the run that is changed.
    """

    model: Any
    prompts: Prompts
    cells: Cells
    edits: Edits
    base: Activations
    source: Activations
    metric: PatchMetric
    clean_value: float
    corrupt_value: float
    onward: Onward
    _laid: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    @property
    def base_value(self) -> float:
        """The metric of the run that is changed, untouched."""
        return self.corrupt_value if self.prompts.direction == DIRECTIONS[0] else self.clean_value

    def at_site(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What stands at the site of one block in the run that is changed, and the same with all that has a partner
        put in its place; float32 `[position, …]`, of a pattern `[head, query, key]`."""
        if layer not in self._laid:
            own, other = (
                found.arrays[self.cells.hook][found.rows.get(self.cells.hook, found.layers).index(layer)]
                for found in (self.base, self.source)
            )
            put, here, there = own.copy(), *np.array(list(self.prompts.partners.items()), int).reshape(-1, 2).T
            if self.cells.hook == PATTERN:
                put[:, here[:, None], here] = other[:, there[:, None], there]
            else:
                put[here] = other[there]
            self._laid = {layer: (torch.tensor(own), torch.from_numpy(put))}  # of one block at a time, for memory
        return self._laid[layer]

    def before(self, layer: int) -> torch.Tensor:
        """float32 `[position, d_model]`: what stands before a block, before anything is written there."""
        name = unwritten(BEFORE)
        return torch.tensor(self.base.arrays[name if name in self.base.arrays else BEFORE][layer])

    def after(self, layer: int) -> torch.Tensor:
        """float32 `[position, d_model]`: what leaves a block."""
        return torch.tensor(self.base.arrays[AFTER][layer])

    def values_of(self, final: torch.Tensor) -> Iterator[tuple[slice, np.ndarray, int]]:
        """The metric of changed runs whose last vectors are `final`, some rows at a time: which these are, float32, NaN
        where a run's logits are not finite, and of how many they are not."""
        for start in range(0, len(final), LOGITS_AT_ONCE):
            rows = slice(start, start + LOGITS_AT_ONCE)
            logits = self.onward.logits(final[rows], self.metric.tokens)
            values = self.metric(logits) if self.metric.tokens is None else self.metric.of_tokens(logits)
            values, broken = values.detach().float().cpu().numpy(), ~np.isfinite(logits.amax(-1).cpu().numpy())
            values[broken] = np.nan
            yield rows, values, int(broken.sum())


def runs_steps(
    model: Any,
    prompts: Prompts,
    cells: Cells,
    metric: str | OwnMetric,
    position: int,
    step: Step,
    *,
    memory: int | None = None,
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
) -> Steps[PatchRuns]:
    """Make the two runs of a pair, as steps that all say `step`.

    Args:
        model: a TransformerBridge.
        prompts: the pair's.
        cells: where patches act.
        metric: see `patch_metric`.
        position: where the logits are read, counted from the end of each prompt.
        step: what all steps say.
        memory: bytes that batches may take.
        prepend_bos: for prompts that interventions name.
        interventions: made in both runs.

    Raises:
        AnswerError, DataError, PromptError: what cannot be run or read.
        ModelError: numbers that are not finite, a model that sees ahead, an intervention that cannot act.
    """
    every: dict[str, tuple[int, ...] | None] = {BEFORE: None, unwritten(BEFORE): None, AFTER: None}
    found: dict[str, tuple[Edits, Activations]] = {}
    for name, tokens in (("clean", prompts.clean), ("corrupt", prompts.corrupt)):
        yield step
        if found and tokens is prompts.clean:  # there is no other run
            found[name] = found["clean"]
            continue
        edits = resolve(model, tokens, interventions, prepend_bos=prepend_bos)
        layers = every if tokens is prompts.base else {}
        layers = layers | {cells.hook: None if layers.get(cells.hook, ()) is None else cells.layers}
        if not edits.writes:
            layers.pop(unwritten(BEFORE), None)
        sites = (*layers, LAST_LOGITS)
        passed = forward_steps(model, tokens.ids, sites, layers, None, edits.writes, edits.interventions, pausing=True)
        activations = yield from as_one(passed, step)
        if not np.isfinite(activations.arrays[LAST_LOGITS].max()):
            raise refusal(not_finite(model, tokens.ids, activations.known, edits.writes))
        found[name] = edits, activations
    whole = "clean" if prompts.base is prompts.clean else "corrupt"
    edits, base = found[whole]
    source = found["corrupt" if whole == "clean" else "clean"][1]
    onward = Onward(model, prompts.base.ids, position=position, writes=edits.writes, memory=memory)
    logits = {name: torch.tensor(activations.arrays[LAST_LOGITS]) for name, (_, activations) in found.items()}
    if position != -1:
        for name, tokens in (("clean", prompts.clean), ("corrupt", prompts.corrupt)):
            logits[name] = yield from logits_at(model, tokens, position, found[name][0], memory, step)
    before = prompts.clean.upto(read_position(position, len(prompts.clean)))
    ready = patch_metric(model, metric, before, logits["clean"], prompts.pair.answer, prompts.pair.foil)
    values = [float(ready(logits[name][None])[0]) for name in ("clean", "corrupt")]
    if not np.isfinite(values).all():
        raise DataError(
            f"the metric {ready.name or ready.metric} is {values[0]:g} of the clean run and {values[1]:g} of the "
            "corrupt one.",
            "Nothing can be measured against a number that is not finite.",
        )
    return PatchRuns(model, prompts, cells, edits, base, source, ready, values[0], values[1], onward)


def logits_at(
    model: Any, tokens: Tokens, position: int, edits: Edits, memory: int | None, step: Step
) -> Steps[torch.Tensor]:
    """`[d_vocab]` of one run at a position that is not the last."""
    onward = Onward(model, tokens.ids, position=position, writes=edits.writes, memory=memory)
    n_layers = int(model.cfg.n_layers)
    last = f"blocks.{n_layers - 1}.{AFTER}"
    passed = yield from as_one(forward_steps(model, tokens.ids, (last,), (), None, edits.writes, pausing=True), step)
    final = torch.tensor(passed.arrays[last][read_position(position, len(tokens))])
    final = yield from as_one(onward.steps(n_layers, onward.position, final[None, None]), step)
    return onward.logits(final)[0].float().cpu()


def aligned_note(prompts: Sequence[Prompts]) -> tuple[str, ...]:
    """What a reader must know of how clean and corrupt prompts correspond."""
    notes = []
    unequal = [one for one in prompts if len(one.clean) != len(one.corrupt)]
    same = [one for one in prompts if np.array_equal(one.clean.ids, one.corrupt.ids)]
    which = f" of {len(unequal)} of {len(prompts)} pairs" if len(prompts) > 1 else ""
    if unequal:
        first = unequal[0]
        of = f"{len(first.partners)} of {len(first.base)} positions have a partner"
        notes.append(
            f"the prompts{which} are of unequal length and were aligned: {len(first.clean)} tokens (clean), "
            f"{len(first.corrupt)} (corrupt), {of}; cells without one are empty"
        )
    if same:
        notes.append(
            "clean and corrupt are the same prompt"
            if len(prompts) == 1
            else f"clean and corrupt are the same prompt in {len(same)} of {len(prompts)} pairs"
        )
    return tuple(notes)
