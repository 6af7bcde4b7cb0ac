"""Two readings, of two lenses, prompts, runs or models, cell by cell on aligned positions.

Knows nothing of models, torch or the page.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

import numpy as np
import pandas as pd

from mi_widgets.data.alignment import Alignment, align
from mi_widgets.data.comparison import Comparison, Pairs
from mi_widgets.data.integers import is_integer, word
from mi_widgets.data.logit_lens import CELLS, LogitLens
from mi_widgets.data.record import floats, record
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError


@record
class LogitLensComparison(Comparison):
    """Two lenses' readings of the same rows, A and B, and how far apart they are.

    Attributes:
        a: the first reading.
        b: the second.
        kl: float32 `[row, column]`, nats, read-only: KL(A‖B) of the whole distributions of a cell; NaN in a column that
            only one side has. Columns are those of `pairs`.
    """

    a: LogitLens
    b: LogitLens
    kl: Annotated[np.ndarray, floats("row", "column")]

    def _sizes(self) -> dict[str, int]:
        if (self.a.layers, self.a.streams) != (self.b.layers, self.b.streams):
            raise DataError("A and B must read the same rows: the same streams of the same layers.")
        if self.a.target_ids.tolist() != self.b.target_ids.tolist():
            raise DataError("A and B must have the same pinned tokens.")
        return dict(zip(("row", "column"), self.shape, strict=True))

    @cached_property
    def pairs(self) -> Pairs:
        """The columns: `(index on A's position axis or None, index on B's or None)`."""
        return paired(self.a.tokens, self.a.positions, self.b.tokens, self.b.positions)

    @property
    def columns(self) -> Pairs:
        """The positions in A's prompt and in B's that each column holds; None for none."""
        a, b = self.a.positions, self.b.positions
        return tuple(
            (None if in_a is None else a[in_a], None if in_b is None else b[in_b]) for in_a, in_b in self.pairs
        )

    @property
    def is_read(self) -> np.ndarray:
        """bool `[column]`: which columns are read on every side that has them; all, unless the result is partial."""
        sides = self.a.is_read, self.b.is_read
        return np.array(
            [all(at is None or side[at] for side, at in zip(sides, pair, strict=True)) for pair in self.pairs]
        )

    @property
    def same_prompt(self) -> bool:
        """Whether A and B read one prompt, so that only their lenses or the interventions in their runs differ."""
        return self.a.tokens == self.b.tokens

    @property
    def shape(self) -> tuple[int, int]:
        """Sizes of row and column."""
        return len(self.a.layers), len(self.pairs)

    def difference(self, name: str, target: int | None = None) -> np.ndarray:
        """float32 `[row, column]`: A − B, NaN where a column stands alone.

        Args:
            name: `"probability"` (of A's own top token, and of B's own), `"entropy"`, `"kl"`, `"change"` (nats),
                `"final_rank"`, `"next_prob"`, `"next_rank"`, `"target_probability"` or `"target_rank"`.
            target: index of the pinned token, for the last two.

        Raises:
            DataError: an unknown name, or no such pinned token.
        """
        values = [cell_values(side, name, target).astype(np.float32) for side in (self.a, self.b)]
        if name.endswith("rank"):  # -1 is no rank
            values = [np.where(side < 0, np.nan, side) for side in values]
        columns, in_a, in_b = self._shared
        out = np.full(self.shape, np.nan, np.float32)
        out[:, columns] = values[0][:, in_a] - values[1][:, in_b]
        return out

    @cached_property
    def _shared(self) -> np.ndarray:
        """Columns that both sides have, and their indices on the two position axes."""
        return Alignment(self.pairs).shared

    def to_pandas(self) -> pd.DataFrame:
        """One row per cell that both sides have: stream, layer, column, position_a, position_b, token_a, token_b,
        top_a, top_b, kl = KL(A‖B) in nats, and of each side `probability`, `entropy`, `final_rank`, `next_prob` and
        the probability and rank of every pinned token, with `_a` and `_b`."""
        columns, in_a, in_b = self._shared
        rows = len(self.a.layers)
        table: dict[str, Any] = {
            "stream": np.repeat(np.array(self.a.streams, object), len(columns)),
            "layer": np.repeat(self.a.layers, len(columns)),
            "column": np.tile(columns, rows),
        }
        sides = (("a", self.a, in_a), ("b", self.b, in_b))
        for side, lens, places in sides:
            positions = np.array(lens.positions)[places]
            table[f"position_{side}"] = np.tile(positions, rows)
            table[f"token_{side}"] = np.tile(np.array(lens.tokens.strings, object)[positions], rows)
        for side, lens, places in sides:
            ids = lens.top_ids[:, places, 0].ravel()
            table[f"top_{side}"] = np.array([lens.name(token) for token in ids.tolist()], object)
        table["kl"] = self.kl[:, columns].ravel()
        wanted: list[tuple[str, int | None, str]] = [
            (name, None, name) for name in ("probability", "entropy", "final_rank", "next_prob")
        ]
        for index, token in enumerate(self.a.target_ids.tolist()):
            wanted += [(f"target_{what}", index, f"{what} of {self.a.name(token)}") for what in ("probability", "rank")]
        for name, target, label in wanted:
            for side, lens, places in sides:
                table[f"{label}_{side}"] = cell_values(lens, name, target)[:, places].ravel()
        return pd.DataFrame(table)


def cell_values(lens: LogitLens, name: str, target: int | None = None) -> np.ndarray:
    """`[row, position]` of one quantity: `"probability"` of the top token, `"entropy"`, `"kl"`, `"change"` (nats),
    `"final_rank"`, `"next_prob"`, `"next_rank"`, or `"target_probability"` and `"target_rank"` of a pinned token.

    Raises:
        DataError: an unknown name, or no such pinned token.
    """
    name = word("quantity", name, ("probability", *CELLS, "target_probability", "target_rank"))
    if name == "probability":
        return lens.top_probs[..., 0]
    if name in CELLS:
        return getattr(lens, name)
    if not is_integer(target) or not 0 <= target < len(lens.target_ids):  # type: ignore[operator]
        raise DataError("there is no such pinned token.", "Pin one: targets=[…].")
    return (lens.target_probs if name == "target_probability" else lens.target_ranks)[..., target]  # type: ignore[index]


def paired(a: Tokens, positions_a: tuple[int, ...], b: Tokens, positions_b: tuple[int, ...]) -> Pairs:
    """Columns of a comparison: the alignment of two whole prompts, as far as their position axes hold it.

    Returns:
        `(index on A's position axis or None, index on B's or None)`, in order; never both None.
    """
    in_a = {position: index for index, position in enumerate(positions_a)}
    in_b = {position: index for index, position in enumerate(positions_b)}
    pairs = [
        (None if at_a is None else in_a.get(at_a), None if at_b is None else in_b.get(at_b))
        for at_a, at_b in align(a, b).pairs
    ]
    return tuple(pair for pair in pairs if pair != (None, None))
