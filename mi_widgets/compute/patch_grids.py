"""A grid of patches before anything is run, its pairs, prompts and cells checked; what is known while it is made; and
the record that is made of its numbers, however they were found. Runs no model.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mi_widgets.compute.answers import named
from mi_widgets.compute.interventions import Edits
from mi_widgets.compute.patch_cells import Cells, planned
from mi_widgets.compute.patch_metrics import PatchMetric
from mi_widgets.compute.patch_runs import PatchRuns, Prompts, aligned_note, as_pairs, tokenized
from mi_widgets.compute.reach import carries
from mi_widgets.compute.step import Step
from mi_widgets.data.integers import word
from mi_widgets.data.pairs import Pairs
from mi_widgets.data.patching import DIRECTIONS, PatchGrid
from mi_widgets.errors import DataError
from mi_widgets.models import Prompt, describe

#: Partial results are made no more often than this.
PARTIAL_SECONDS = 0.05
#: Said of a grid that has nothing to normalise by.
NO_DIFFERENCE = "clean and corrupt do not differ in the metric: no effect can be measured"


class Making(ABC):
    """A result while it is made: what is known of each pair of prompts. A subclass says what it makes of that.

    Args:
        pairs: how many there are.
        places: numbers of each.
        notes: what a reader must know from the first.

    Attributes:
        values: float32 `[pair, place]`, NaN where nothing is known yet.
        done: numbers known, of `total`.
    """

    def __init__(self, pairs: int, places: int, notes: Iterable[str]) -> None:
        self._since, self._shown = time.perf_counter(), 0.0
        self._metrics: list[PatchMetric] = []
        self._ends: list[tuple[float, float]] = []
        self._edits, self._notes = Edits(), list(notes)
        self.values = np.full((pairs, places), np.nan, np.float32)
        self.done, self.total = 0, self.values.size

    @abstractmethod
    def made(self) -> Any:
        """The pairs that are finished; of the first as far as it goes."""

    def begin(self, runs: PatchRuns) -> None:
        """The next pair, its two runs made."""
        self._metrics.append(runs.metric)
        self._ends.append((runs.clean_value, runs.corrupt_value))
        self._edits = runs.edits
        self._notes += [note for note in runs.edits.notes if note not in self._notes]

    def set(self, places: Any, values: Any) -> None:
        """Numbers of some places of the pair that is worked at."""
        self.values[len(self._metrics) - 1, places] = values
        self.done += np.size(places)

    def step(self) -> Step:
        """How far it is, with what is known, where that is worth showing."""
        now, partial = time.perf_counter(), None
        if self._metrics and now - self._shown > PARTIAL_SECONDS:
            self._shown, partial = now, self.made()
        return Step(self.done, self.total, partial)

    def _finished(self) -> tuple[int, list[str]]:
        """How many pairs there are to show, and the notes."""
        pairs, places = self.values.shape
        count = max(1, self.done // max(1, places))
        return count, [*self._notes, *([f"{count} of {pairs} pairs so far"] if count < pairs else [])]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a grid will be of, before anything is run.

    Attributes:
        model: a TransformerBridge.
        prompts: of each pair.
        cells: of the grid.
        notes: what a reader must know of both.
    """

    model: Any
    prompts: tuple[Prompts, ...]
    cells: Cells
    notes: tuple[str, ...]

    def grid(
        self,
        values: np.ndarray,
        clean_values: Sequence[float],
        corrupt_values: Sequence[float],
        metrics: Sequence[PatchMetric],
        edits: Edits,
        **known: Any,
    ) -> PatchGrid:
        """The grid: `values` float32 `[pair, cell]`, what both runs and the metric of each pair are, the interventions
        made in them; `known` are further fields of `PatchGrid`."""
        answers, foils = ([getattr(one, name) for one in metrics] for name in ("answer", "foil"))
        made = PatchGrid(
            clean_tokens=self.prompts[0].clean,
            corrupt_tokens=self.prompts[0].corrupt,
            method="patching",
            site=self.cells.site,
            by=self.cells.by,
            numbers=self.cells.numbers,
            values=values,
            clean_values=np.array(clean_values, np.float32),
            corrupt_values=np.array(corrupt_values, np.float32),
            direction=self.prompts[0].direction,
            metric=metrics[0].metric,
            metric_name=metrics[0].name,
            layer=self.cells.layer,
            answers=np.array(answers, np.int32),
            foils=np.array(foils, np.int32),
            names=named(self.model, [*answers, *foils]),
            model=describe(self.model).label,
            interventions=edits.interventions,
            **known,
        )
        return made if made.differs else replace(made, notes=(*made.notes, NO_DIFFERENCE))


def prepared(
    model: Any,
    clean: Prompt | Pairs,
    corrupt: Prompt,
    answer: Any,
    foil: Any,
    site: str,
    direction: str,
    by: Iterable[str] | None,
    *,
    prepend_bos: bool | None,
    **which: Any,
) -> Prepared:
    """Pairs, prompts and cells of a grid, checked; `which` is what `planned` takes. All else is as for `patch`.

    Raises:
        DataError, ModelError, PromptError: as `patch`.
    """
    pairs, direction = as_pairs(clean, corrupt, answer, foil), word("direction", direction, DIRECTIONS)
    prompts = tuple(tokenized(model, pair, direction, prepend_bos) for pair in pairs)
    cells = planned(model, prompts[0].base, site, by, **which)
    lengths = sorted({len(one.base) for one in prompts})
    if len(lengths) > 1 and {"position", "query", "key"} & set(cells.by):
        raise DataError(
            f"the pairs have prompts of {lengths[0]} to {lengths[-1]} tokens, and so no common positions.",
            "Give pairs of one length, or a grid by layer, or by layer and head.",
        )
    notes = aligned_note(prompts)
    if cells.site == "resid_mid" and not all(carries(model, prompts[0].base.ids, layer) for layer in cells.layers):
        notes += (
            "resid_mid is the residual stream itself; TransformerLens's hook there, and its own patching, change only "
            "what the MLP reads",
        )
    return Prepared(model, prompts, cells, notes)
