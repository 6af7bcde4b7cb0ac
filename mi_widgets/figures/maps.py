"""Query × key maps of some heads as small multiples: where they stand, their token axes, their cells.

Takes numbers and a colour scale, draws on a sheet. Knows nothing of models or the screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.labels import TokenAxis
from mi_widgets.figures.marks import Axis, Box, Cells, Hover
from mi_widgets.figures.page import LINE, NAME, Room, below, name_axes
from mi_widgets.figures.scale import ColorScale
from mi_widgets.figures.sheet import Sheet
from mi_widgets.figures.style import LABEL_GAP, LABEL_PT, MIN_PT, TOKEN_PT, mm, pt, px

_GAP, _ROW_GAP = px(2.5), pt(LABEL_PT) * LINE + px(2.2)
#: Above a map, for its title.
TITLE = pt(LABEL_PT) * LINE + px(0.7)


@dataclass(frozen=True, eq=False)
class Map:
    """One head: its title, colour codes `[query, key]` (of patches where they are fewer than the tokens), and what
    they say to the pointer."""

    title: str
    codes: np.ndarray
    hover: Hover | None = None


@dataclass(frozen=True)
class Maps:
    """Where the maps stand; lengths in pixels.

    Attributes:
        left: of the first map.
        top: of the first map.
        side: of each map.
        columns: maps in a row.
        rows: of maps.
        keys: labels below.
        queries: labels on the left.
        count: tokens.
        edge: where the labels' room begins.
    """

    left: float
    top: float
    side: float
    columns: int
    rows: int
    keys: TokenAxis
    queries: TokenAxis
    count: int
    edge: float

    @classmethod
    def fit(cls, strings: Sequence[str], maps: int, place: Room) -> Maps:
        """`maps` squares with their labels in their `place`.

        Raises:
            DataError: they would be smaller than 6 mm.
        """
        count, (edge, top, width, bottom) = len(strings), place
        top += TITLE
        widest, sizes = 0.25 * width, (pt(TOKEN_PT), pt(MIN_PT))

        def fitted(room: float) -> tuple[int, int, float, TokenAxis]:
            """Columns, rows, side of a map and its labels, with `room` kept for the labels' width."""
            available = width - NAME - LABEL_GAP - room
            columns = max(1, min(maps, int((available + _GAP) / (px(24) + _GAP))))
            rows = math.ceil(maps / columns)
            columns = math.ceil(maps / rows)
            side = min((available - (columns - 1) * _GAP) / columns, max(px(22), count * px(9)))
            if bottom is not None:
                side = min(side, (bottom - top - below(room) - (rows - 1) * _ROW_GAP) / rows)
            if side < px(6):
                raise DataError(
                    f"{maps} heads leave {mm(max(side, 0)):.0f} mm for each map.",
                    "Give a larger width_mm or height_mm, or fewer heads.",
                )
            return columns, rows, side, TokenAxis.fit(strings, side, widest, sizes)

        # Label widths depend on the maps' side and the side on the labels: widen the room until they fit.
        room = min(widest, printed.widest([printed.token_label(text) for text in strings], sizes[0]))
        columns, rows, side, queries = fitted(room)
        for _ in range(3):
            if queries.room > room:
                room = queries.room
                columns, rows, side, queries = fitted(room)
        keys = queries
        if keys.room <= 0.92 * side / count and len(keys.positions) == count:
            keys = TokenAxis(keys.positions, keys.labels, keys.size, keys.size * LINE)
        left = edge + NAME + LABEL_GAP + min(room, queries.room)
        return cls(left, top, side, columns, rows, keys, queries, count, edge)

    @property
    def right(self) -> float:
        """Right edge of the last column."""
        return self.left + self.columns * (self.side + _GAP) - _GAP

    @property
    def height(self) -> float:
        """From the first map's top to the last one's bottom."""
        return self.rows * (self.side + _ROW_GAP) - _ROW_GAP

    @property
    def bottom(self) -> float:
        """Lower edge, labels included."""
        return self.top + self.height + below(self.keys.room)

    def draw(self, sheet: Sheet, maps: Sequence[Map], colors: ColorScale) -> None:
        """The maps in reading order; the outer ones carry the labels."""
        flat = self.keys.room <= self.keys.size * LINE
        for place, one in enumerate(maps):
            row, column = divmod(place, self.columns)
            lowest = place + self.columns >= len(maps)
            box = Box(
                self.left + column * (self.side + _GAP), self.top + row * (self.side + _ROW_GAP), self.side, self.side
            )
            plot = sheet.plot(box, self._axis(self.keys, lowest, not flat), self._axis(self.queries, column == 0))
            plot.add(Cells(one.codes, colors.table, Box(-0.5, -0.5, self.count, self.count)))
            if one.hover is not None:
                plot.add(one.hover)
            sheet.text(box.left, box.top - px(0.7), one.title, pt(LABEL_PT), over=True)
            names = "key" if lowest else "", "query" if column == 0 else ""
            name_axes(sheet, box, self.edge, *names, room=self.keys.room)

    def _axis(self, axis: TokenAxis, labelled: bool, turned: bool = False) -> Axis:
        labels = axis.labels if labelled else ()
        return Axis(-0.5, self.count - 0.5, axis.positions, labels, axis.size, mono=True, turned=turned)
