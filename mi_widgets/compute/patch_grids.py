"""A grid of patches before anything is run, its pairs, prompts and cells checked; and the record that is made of its
numbers, however they were found. Runs no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mi_widgets.compute.answers import named
from mi_widgets.compute.interventions import Edits
from mi_widgets.compute.patch_cells import Cells, planned
from mi_widgets.compute.patch_metrics import PatchMetric
from mi_widgets.compute.patch_runs import Prompts, aligned_note, as_pairs, tokenized
from mi_widgets.compute.reach import carries
from mi_widgets.data.integers import word
from mi_widgets.data.pairs import Pairs
from mi_widgets.data.patching import DIRECTIONS, PatchGrid
from mi_widgets.errors import DataError
from mi_widgets.models import Prompt, describe

#: Said of a grid that has nothing to normalise by.
NO_DIFFERENCE = "clean and corrupt do not differ in the metric: no effect can be measured"


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
