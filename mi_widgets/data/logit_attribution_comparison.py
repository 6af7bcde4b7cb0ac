"""Two attributions of one question, in two prompts, runs or models, part by part.

Knows nothing of models, torch or the page.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from mi_widgets.data.comparison import Comparison
from mi_widgets.data.logit_attribution import LogitAttribution
from mi_widgets.data.record import record
from mi_widgets.errors import DataError

#: What tells a part from all others: its kind, layer, head, neuron and feature.
Part = tuple[str, int, int, int, int]


@record
class LogitAttributionComparison(Comparison):
    """Two attributions of one answer and foil, split alike.

    Attributes:
        a: the first.
        b: the second.
    """

    a: LogitAttribution
    b: LogitAttribution

    def _check(self) -> None:
        a, b = self.a, self.b
        if (a.answer, a.foil) != (b.answer, b.foil):
            raise DataError("A and B must be asked the same.", "Give both one answer and one foil.")
        if a.by != b.by:
            raise DataError(f"A is split by {a.by!r}, B by {b.by!r}; compare like with like.")
        if a.coder != b.coder:
            raise DataError(f"A is split by {a.coder}, B by {b.coder}; compare the features of one coder.")
        if a.n_layers != b.n_layers or (a.heads is not None and b.heads is not None and a.n_heads != b.n_heads):
            raise DataError("A and B must have the same layers and heads.")

    @cached_property
    def minus(self) -> LogitAttribution:
        """A − B, an attribution of the difference of the two logit differences, on the aligned tokens.

        Parts are paired by kind, layer, head, neuron and feature, and so are heads, MLPs and sources (by column). A
        part or a token that only one side has counts 0 on the other. A neuron or feature that only one side shows by
        itself is among the others of its layer, where it is on the other side.
        """
        a, b, (parts, of_a, of_b) = self.a, self.b, self._parts
        heads = None if a.heads is None or b.heads is None else a.heads - b.heads
        sources = None if a.sources is None or b.sources is None else self._on_columns(0) - self._on_columns(1)
        asked = [column for column, (at_a, at_b) in enumerate(self.columns) if at_a == a.position or at_b == b.position]
        errors = [side.max_error for side in (a, b) if side.max_error is not None]
        return LogitAttribution(
            tokens=self.tokens,
            position=asked[-1],
            answer=a.answer,
            answer_string=a.answer_string,
            foil=a.foil,
            foil_string=a.foil_string,
            by=a.by,
            part_kinds=tuple(part[0] for part in parts),
            part_layers=np.array([part[1] for part in parts], np.int32),
            part_heads=np.array([part[2] for part in parts], np.int32),
            part_neurons=np.array([part[3] for part in parts], np.int32),
            contribution=of_a - of_b,
            difference=a.difference - b.difference,
            mlps=a.mlps - b.mlps,
            heads=heads,
            sources=None if heads is None else sources,
            why_no_heads=a.why_no_heads or b.why_no_heads,
            why_no_sources=a.why_no_sources or b.why_no_sources,
            tolerance=(a.tolerance or 0.0) + (b.tolerance or 0.0),
            max_error=max(errors, default=None),
            model=a.model,
            part_features=None if a.part_features is None else np.array([part[4] for part in parts], np.int32),
            coder=a.coder,
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row per part: part (its label), kind, layer, head, neuron (missing where it has none), `contribution_a`,
        `contribution_b` and `contribution` = A − B, logits; see `minus`. `attrs` holds what the last sums to, up to the
        residue, and the residue."""
        table = self.minus.to_pandas()
        _, of_a, of_b = self._parts
        for place, (side, values) in enumerate((("a", of_a), ("b", of_b)), list(table).index("contribution")):
            table.insert(place, f"contribution_{side}", values.astype(np.float32))
        return table

    @cached_property
    def _parts(self) -> tuple[list[Part], np.ndarray, np.ndarray]:
        """The parts of both, in the order of the model, and what each adds on either side, logits `[part]`."""
        listed = [_listed(side) for side in (self.a, self.b)]
        shared = {part for part, _ in listed[0]} & {part for part, _ in listed[1]}
        a: dict[Part, float] = {}
        b: dict[Part, float] = {}
        for sums, given in zip((a, b), listed, strict=True):
            for part, value in given:
                alone = part[0] in ("neuron", "feature") and part not in shared
                row = ("rest", part[1], -1, -1, -1) if alone else part
                sums[row] = sums.pop(row, 0.0) + value
        parts = list(a)
        place = 0
        for part in b if not b.keys() <= a.keys() else ():
            if part in a:
                place = parts.index(part) + 1
            else:
                parts.insert(place, part)
                place += 1
        of_a, of_b = (np.array([sums.get(part, 0.0) for part in parts]) for sums in (a, b))
        return parts, of_a, of_b

    def _on_columns(self, side: int) -> np.ndarray:
        """Sources of A (0) or B (1), `[layer, head, column]`; 0 in a column that it does not have."""
        sources = (self.a, self.b)[side].sources
        assert sources is not None
        held = [(column, pair[side]) for column, pair in enumerate(self.columns) if pair[side] is not None]
        values = np.zeros((*sources.shape[:2], len(self.columns)), np.float32)
        columns, positions = np.array(held, int).T
        values[..., columns] = sources[..., positions]
        return values


def _listed(side: LogitAttribution) -> list[tuple[Part, float]]:
    """The parts of one side, and what each adds."""
    features = side.part_features if side.part_features is not None else np.full(len(side.part_kinds), -1)
    numbers = (one.tolist() for one in (side.part_layers, side.part_heads, side.part_neurons, features))
    return list(zip(zip(side.part_kinds, *numbers, strict=True), side.contribution.tolist(), strict=True))
