"""Maps of a grid's cells on paper: rows and columns are layers, heads, neurons or tokens; several maps stand below
each other.

Takes numbers and a colour scale, draws on a sheet. Knows nothing of models, torch or the screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.labels import TokenAxis
from mi_widgets.figures.legend import Legend
from mi_widgets.figures.marks import Axis, Box, Cells, Curve, Hover, entries
from mi_widgets.figures.page import (
    LINE,
    NAME,
    NUMBERS,
    Room,
    below,
    left_of,
    name_axes,
    named_rows,
    numbered_columns,
    outline,
)
from mi_widgets.figures.sheet import Sheet
from mi_widgets.figures.style import LABEL_GAP, LABEL_PT, MIN_PT, TOKEN_PT, inks, mm, pt, px

#: A cell is no larger than this, and no smaller; all maps together are no higher.
LARGEST, SMALLEST, TALLEST = px(9), px(0.6), px(220)
#: Between two maps: the title of the lower one.
_APART = pt(LABEL_PT) * LINE + px(1.4)
#: At most so many cells are marked one by one.
MOST_DOTS = 6000


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a map.

    Attributes:
        name: of the axis.
        labels: of its entries, plain words.
        tokens: the labels are tokens.
    """

    name: str
    labels: Sequence[str]
    tokens: bool = False


@dataclass(frozen=True, eq=False)
class Block:
    """One map.

    Attributes:
        title: above it, or "".
        values: float32 `[row, column]`, as they are coloured.
        marked: bool, likewise: cells that carry a dot.
        hover: what the cells say.
        outlined: (row, column) of the cell in the accent colour, or None.
    """

    title: str
    values: np.ndarray
    marked: np.ndarray
    hover: Hover
    outlined: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Blocks:
    """Where the maps stand; lengths in pixels."""

    maps: Sequence[Block]
    rows: Side
    columns: Side
    legend: Legend
    box: Box
    edge: float
    across: Axis
    room: float
    flat: bool

    @classmethod
    def fit(cls, maps: Sequence[Block], rows: Side, columns: Side, legend: Legend, place: Room) -> Blocks:
        """The maps with their labels and colour bar in their `place`.

        Raises:
            DataError: cells would be smaller than 0.6 mm.
        """
        count, across, (edge, top, width, bottom) = len(rows.labels), len(columns.labels), place
        sizes, widest = (pt(TOKEN_PT), pt(MIN_PT)), 0.25 * width
        if rows.tokens:
            shown = [printed.token_label(label) for label in rows.labels]
            left = edge + NAME + LABEL_GAP + min(widest, printed.widest(shown, sizes[1]))
        else:
            left = edge + left_of(rows.labels)
        wide = min((width + edge - left - legend.width()) / across, LARGEST)
        room, flat, axis = NUMBERS, True, Axis(-0.5, across - 0.5)
        if columns.tokens:
            fitted = TokenAxis.fit(columns.labels, wide * across, widest, sizes)
            flat = fitted.level(wide, across)
            room = fitted.size * LINE if flat else fitted.room
            axis = Axis(
                -0.5, across - 0.5, fitted.positions, fitted.labels, fitted.size, mono=True, turned=not flat,
                strokes=False,
            )  # fmt: skip
        else:
            axis = entries(across, numbered_columns(across, wide), columns.labels, pt(MIN_PT))
        titles = sum(_APART for one in maps if one.title)
        if bottom is None:
            tall = min(max(wide, px(2.4)), LARGEST, TALLEST / (count * len(maps)))
        else:
            tall = (bottom - top - titles - below(room)) / (count * len(maps))
        if min(wide, tall) < SMALLEST:
            raise DataError(
                f"{len(maps) * count} × {across} cells leave {mm(max(min(wide, tall), 0)):.1f} mm for each.",
                "Give a larger width_mm or height_mm, or choose fewer layers, heads or positions.",
            )
        height = len(maps) * count * tall + titles
        return cls(maps, rows, columns, legend, Box(left, top, across * wide, height), edge, axis, room, flat)

    @property
    def bottom(self) -> float:
        """Lower edge, labels included."""
        return self.box.bottom + below(self.room)

    def draw(self, sheet: Sheet) -> None:
        """The maps from the top down; the last carries the columns' labels."""
        box, colors, ink = self.box, self.legend.scale, inks(sheet.theme)
        titles = sum(_APART for one in self.maps if one.title)
        height, at = (box.height - titles) / len(self.maps), box.top
        for place, one in enumerate(self.maps):
            at += _APART if one.title else 0
            here, last = Box(box.left, at, box.width, height), place == len(self.maps) - 1
            bare = Axis(self.across.first, self.across.last)
            plot = sheet.plot(here, self.across if last else bare, self._down(height))
            plot.add(Cells(colors.codes(one.values), colors.table), one.hover)
            rows, columns = np.nonzero(one.marked)
            if 0 < len(rows) <= MOST_DOTS:
                pitch = min(height / len(self.rows.labels), box.width / len(self.columns.labels))
                size, fill = min(pt(2), 0.3 * pitch), ink.quiet
                dots = {"color": fill, "width": 0.0, "mark": "circle", "size": size, "fill": fill}
                plot.add(Curve(columns.tolist(), rows.tolist(), **dots))
            if one.outlined is not None:
                plot.add(outline(one.outlined, sheet.theme))
            if one.title:
                sheet.text(here.left, here.top - px(0.7), one.title, pt(LABEL_PT), over=True)
            name_axes(sheet, here, self.edge, self.columns.name if last else "", self.rows.name, self.room)
            at += height
        self.legend.draw(sheet, box.right, box.top + (_APART if self.maps[0].title else 0), max(box.height, px(14)))

    def _down(self, height: float) -> Axis:
        count = len(self.rows.labels)
        if self.rows.tokens:
            room = self.box.left - self.edge - NAME - LABEL_GAP
            fitted = TokenAxis.fit(self.rows.labels, height, room, (pt(TOKEN_PT), pt(MIN_PT)))
            return Axis(-0.5, count - 0.5, fitted.positions, fitted.labels, fitted.size, mono=True, strokes=False)
        return entries(count, named_rows(count, height / count), self.rows.labels, pt(MIN_PT))
