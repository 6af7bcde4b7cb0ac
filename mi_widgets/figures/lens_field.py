"""What the cells of a lens are coloured by and what they say: one number, one text for each row and column drawn.

The rules are the page's (`js/src/widgets/logit_lens/field.ts`): probabilities from 0 to 1, ranks on log₁₀(1 + rank),
divergences by their square root; of a comparison KL(A‖B), or the difference of a pinned token. Knows nothing of plotly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mi_widgets import color
from mi_widgets.data import LogitLens, LogitLensComparison
from mi_widgets.data.integers import integers, place, word
from mi_widgets.data.logit_lens_comparison import cell_values
from mi_widgets.data.tokens import NO_TOKEN
from mi_widgets.described.logit_lens import LOGIT_LENS
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import significant
from mi_widgets.figures.scale import PAPER, ColorScale, clearance, low_and_high
from mi_widgets.figures.style import inks

Lens: TypeAlias = LogitLens | LogitLensComparison


class RankScale(ColorScale):
    """A colour scale of log₁₀(1 + rank) whose ticks are ranks: 0, 1, 10, 100 … and the largest."""

    def ticks(self, count: int = 5, clipped: tuple[bool, bool] = (False, False)) -> list[tuple[float, str]]:
        """`(position in 0…1, label)`, smallest rank first."""
        clear = clearance(count)
        largest = round(10**self.high - 1)
        ticks = [(0.0, "0"), (1.0, ("≥" if clipped[1] else "") + brief(largest))]
        rank = 1
        while rank < largest:
            where = rank_place(rank) / self.high
            if all(abs(where - other) >= clear for other, _ in ticks):
                ticks.append((where, brief(rank)))
            rank *= 10
        return sorted(ticks)


def rank_place(rank: float) -> float:
    """Where a rank stands on a logarithmic axis."""
    return math.log10(1 + rank)


def brief(rank: int) -> str:
    """12, 999, 1.2k, 50k."""
    return str(rank) if rank < 1000 else f"{significant(rank / 1000, 2):g}k"


@dataclass(frozen=True)
class Drawn:
    """The part of a lens that is drawn.

    Attributes:
        data: the whole.
        rows: indices of its rows, first to last.
        columns: indices of its columns.
    """

    data: Lens
    rows: list[int]
    columns: list[int]

    @classmethod
    def of(cls, data: Lens, layers: Sequence[int] | None = None, positions: Sequence[int] | None = None) -> Drawn:
        """The rows of `layers` (and the last, always) at `positions` of the prompt (of side A); everything if None.

        Raises:
            DataError: no lens, or a layer or position that it lacks.
        """
        if not isinstance(data, (LogitLens, LogitLensComparison)):
            raise DataError(f"a {type(data).__name__} is no lens.", "Make one with compute.logit_lens(model, prompt).")
        lens = data if isinstance(data, LogitLens) else data.a
        last = len(lens.layers) - 1
        rows, held = list(range(last + 1)), None
        if layers is not None:
            rows = sorted({*(lens.row(layer) for layer in integers("layers", layers)), last})
        if positions is not None:
            held = [lens.column(position) for position in integers("positions", positions)]
        if isinstance(data, LogitLens):
            columns = list(range(len(lens.positions))) if held is None else held
        else:
            places = [pair[0] for pair in data.pairs]
            columns = list(range(len(places))) if held is None else [places.index(place) for place in held]
        if not columns:
            raise DataError("no position chosen.", "Name at least one.")
        return cls(data, rows, columns)

    @property
    def lens(self) -> LogitLens:
        """The lens itself; side A of a comparison."""
        return self.data if isinstance(self.data, LogitLens) else self.data.a

    @property
    def sides(self) -> dict[str, tuple[LogitLens, list[int | None]]]:
        """By side: the lens, and for each column its index on that side's position axis, or None."""
        if isinstance(self.data, LogitLens):
            return {"A": (self.data, list(self.columns))}
        pairs = [self.data.pairs[column] for column in self.columns]
        return {"A": (self.data.a, [pair[0] for pair in pairs]), "B": (self.data.b, [pair[1] for pair in pairs])}

    @property
    def row_labels(self) -> list[str]:
        """The layer of each row, "output" for a last row of another stream."""
        labels = self.lens.row_labels()
        return [labels[row] for row in self.rows]

    @property
    def row_title(self) -> str:
        """What the rows are: `"layer (resid_post)"`, with the lens where it is not the plain one."""
        kinds = list(dict.fromkeys(lens.lens for lens, _ in self.sides.values()))
        extra = "" if kinds == ["logit"] else f", {' and '.join(kinds)} lens{'es' if len(kinds) > 1 else ''}"
        return f"layer ({self.lens.stream}{extra})"

    @property
    def column_strings(self) -> list[str]:
        """The token of each column; `A→B` where two prompts differ."""
        if isinstance(self.data, LogitLensComparison):
            strings = list(self.data.tokens)
            return [strings[column] for column in self.columns]
        return [self.lens.tokens.strings[self.lens.positions[column]] for column in self.columns]

    def texts(self, most: int) -> list[list[str]]:
        """The top token of each cell, at most `most` columns wide; `A→B` where two sides differ, `–` where there is
        none because the probabilities are no numbers."""
        found = []
        for row in self.rows:
            line = []
            for column in range(len(self.columns)):
                tops = [_top(lens, row, places[column]) for lens, places in self.sides.values()]
                whole = tops[0] if len(set(tops)) == 1 else "→".join(tops)
                line.append(printed.token_label(whole, most))
            found.append(line)
        return found


@dataclass(frozen=True, eq=False)
class Field:
    """Numbers and colours of the cells drawn.

    Attributes:
        values: float64 `[row, column]`; ranks as log₁₀(1 + rank).
        allowed: bool, the same shape: False where a cell has no such number at all.
        scale: colours.
        clipped: values lie below, above the range.
        unit: for the legend.
        none: what cells without the number are called.
        rank: the values are places of ranks.
        read: bool `[column]`, False for columns of a partial result that are not read yet.
    """

    values: np.ndarray
    allowed: np.ndarray
    scale: ColorScale
    clipped: tuple[bool, bool]
    unit: str
    none: str
    rank: bool
    read: np.ndarray

    @property
    def codes(self) -> np.ndarray:
        """Colour codes of the cells; paper where nothing is read yet."""
        codes = self.scale.codes(self.values, self.allowed)
        codes[:, ~self.read] = PAPER
        return codes


def field_of(
    drawn: Drawn,
    by: str = "probability",
    target: int | str = 0,
    *,
    palette: str = "blue",
    theme: str = "light",
    zrange: tuple[float, float] | None = None,
) -> Field:
    """What the cells of `drawn` are coloured by. Ranges are those of the whole result, as on the screen.

    Args:
        drawn: rows and columns.
        by: the name of a measure of `described.logit_lens`. A comparison is coloured by KL(A‖B), or with `"target_…"`
            by the difference of the pinned token's probability.
        target: which pinned token: its place, or its string.
        palette: `"blue"`, `"amber"` or `"grey"`.
        theme: `"light"` or `"dark"`.
        zrange: `(low, high)` of the colours, in the values' unit (ranks as ranks).

    Raises:
        DataError: an unknown option, or a token that is not pinned.
    """
    by = word("color", by, LOGIT_LENS.values("color"))
    pinned = by.startswith("target_")
    index = _index(drawn.lens, target) if pinned else None
    name = printed.token_label(drawn.lens.name(drawn.lens.target_ids[index]), 20) if index is not None else ""
    pick = np.ix_(drawn.rows, drawn.columns)
    paper = inks(theme).paper
    if isinstance(drawn.data, LogitLensComparison):
        values = drawn.data.difference("target_probability", index) if pinned else drawn.data.kl
        measure = LOGIT_LENS.difference("target_probability" if pinned else "kl")
        high = _largest([values]) or (0.01 if pinned else 1.0)
        alone = np.array([None in pair for pair in drawn.data.pairs])
        allowed = np.broadcast_to(~alone, values.shape)[pick]
    else:
        measure = LOGIT_LENS.measure(by)
        values = cell_values(drawn.lens, by, index).astype(np.float64)
        allowed = np.ones(values.shape, bool)
        if measure.lacking == "first row":
            allowed[0] = False
        if measure.lacking == "last position":  # elsewhere -1 says that the model gave no numbers
            allowed[:, np.array(drawn.lens.positions) == len(drawn.lens.tokens) - 1] = False
        if measure.rank:
            values = np.log10(1 + np.where(values < 0, np.nan, values))
        high = measure.high or max(_largest([values]), rank_place(1) if measure.rank else 1e-6)
        allowed = allowed[pick]
    rank, signed = measure.rank, measure.signed
    low = -high if signed else 0.0
    if zrange is not None:
        low, high = _range(zrange, signed, rank)
    kind = RankScale if rank else ColorScale
    scale = kind(
        low, high, "linear" if rank else measure.scale, color.DIVERGING if signed else palette, theme, signed, paper
    )
    shown = np.asarray(values, np.float64)[pick]
    finite = shown[np.isfinite(shown) & allowed]
    spare = 1e-6 * max(abs(low), abs(high))
    clipped = (bool((finite < low - spare).any()), bool((finite > high + spare).any()))
    return Field(
        shown, allowed, scale, clipped, measure.legend(name), measure.none, rank, drawn.data.is_read[drawn.columns]
    )


def _top(lens: LogitLens, row: int, place: int | None) -> str:
    """The top token of one cell of one side."""
    if place is None:
        return "∅"
    return NO_TOKEN if np.isnan(lens.top_probs[row, place, 0]) else lens.name(lens.top_ids[row, place, 0])


def _index(lens: LogitLens, target: int | str) -> int:
    """The place of a pinned token, given by place or string."""
    if not len(lens.target_ids):
        raise DataError("no token is pinned.", "Compute the lens with targets=[…].")
    if isinstance(target, str):
        return lens.target(target)
    return place("target", target, len(lens.target_ids))


def _largest(arrays: Sequence[np.ndarray]) -> float:
    sizes = [np.abs(array[np.isfinite(array)]) for array in arrays]
    return max((float(size.max()) for size in sizes if size.size), default=0.0)


def _range(zrange: tuple[float, float], signed: bool, rank: bool) -> tuple[float, float]:
    low, high = low_and_high(zrange)
    if rank and low != 0:
        raise DataError(f"zrange is {zrange!r}.", "Give (0, high): ranks begin at 0.")
    if signed:
        return -max(abs(low), abs(high)), max(abs(low), abs(high))
    return (0.0, rank_place(high)) if rank else (low, high)
