"""What can stand on a sheet: text, rectangles, lines, and plots with axes that hold cells, bars, curves and words.

Every length is a CSS pixel of paper (96 to the inch) from the top left; inside a plot it is a value of its axes. Each
mark is plain data that the printers (`svg.py`, `plotted.py`) draw. Knows nothing of either, nor of what is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np


@dataclass(frozen=True)
class Box:
    """A rectangle, from its top left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Bottom edge."""
        return self.top + self.height

    @property
    def middle(self) -> float:
        """Half way down."""
        return self.top + self.height / 2

    @property
    def centre(self) -> float:
        """Half way across."""
        return self.left + self.width / 2


@dataclass(frozen=True)
class Text:
    """Plain words with their anchor at `(x, y)`.

    Attributes:
        x: of the anchor.
        y: of the anchor.
        words: never markup; safe in XML (`labels.token_label`, `labels.prose`).
        size: font size.
        color: of the letters.
        anchor: `"start"`, `"middle"` or `"end"` of the line stands at the anchor.
        over: the line stands above `y` instead of about it.
        turned: reads upwards.
        mono: in the face of code, as tokens are.
    """

    x: float
    y: float
    words: str
    size: float
    color: str
    anchor: str = "start"
    over: bool = False
    turned: bool = False
    mono: bool = False


@dataclass(frozen=True)
class Rectangles:
    """Rectangles of one look, on the sheet or (in values of its axes) in a plot.

    Attributes:
        boxes: where they are.
        fill: `#rrggbb`, or "" for none.
        line: colour of the outline, or "" for none.
        width: of the outline.
        below: under what the plot shows.
    """

    boxes: Sequence[Box]
    fill: str = ""
    line: str = ""
    width: float = 0.0
    below: bool = False


@dataclass(frozen=True)
class Line:
    """A straight line in a plot, in values of its axes."""

    start: tuple[float, float]
    end: tuple[float, float]
    color: str
    width: float


@dataclass(frozen=True, eq=False)
class Cells:
    """A grid of coloured cells in a plot. Small grids are drawn as vectors, large ones as a picture with sharp edges.

    Attributes:
        codes: unsigned `[row, column]`; row 0 at the smallest value of the y axis.
        table: uint8 `[code, 3]`, e.g. `ColorScale.table`.
        box: the values that the grid covers; if None, cell (row, column) covers ±0.5 about `(column, row)`.
    """

    codes: np.ndarray
    table: np.ndarray
    box: Box | None = None

    @property
    def place(self) -> Box:
        """The values that the grid covers."""
        return self.box or Box(-0.5, -0.5, float(self.codes.shape[1]), float(self.codes.shape[0]))


@dataclass(frozen=True, eq=False)
class Hover:
    """What cells say to the pointer, where there is one; nothing on paper.

    Attributes:
        values: `[row, column]`; NaN stays silent.
        template: plotly's, with `%{x}`, `%{y}`, `%{z}` and `%{text}`.
        text: plotly markup `[row, column]`, or None.
        name: of the grid.
        gaps: cells of NaN answer too.
    """

    values: np.ndarray
    template: str
    text: Any = None
    name: str = ""
    gaps: bool = False


@dataclass(frozen=True, eq=False)
class Bars:
    """Bars of one series, from `start` by `size` along the axis of values; NaN draws none.

    Attributes:
        places: of each bar on the other axis.
        starts: where each begins.
        sizes: signed lengths.
        fills: `#rrggbb` of each, or of all.
        thick: breadth, in the unit of `places`.
        offset: from `places` to the bars' smaller edge; if None, they stand about their places.
        hover: plotly markup of each.
        template: plotly's hover template; if "", `hover` alone.
        flat: they lie, and `places` are rows.
    """

    places: Sequence[float]
    starts: Sequence[float]
    sizes: Sequence[float]
    fills: Sequence[str] | str
    thick: float
    offset: float | None = None
    hover: Sequence[str] = ()
    template: str = ""
    flat: bool = False


@dataclass(frozen=True, eq=False)
class Curve:
    """A line with a mark at each value; NaN leaves a gap.

    Attributes:
        x: values across.
        y: values down, one each.
        color: of line and outline.
        width: of the line; 0 draws the marks alone.
        dash: lengths of dash and gap, or () for a whole line.
        mark: `"circle"`, `"square"`, `"triangle-up"`, `"diamond"`, or "" for none.
        size: of a mark.
        fill: of a mark.
        hover: plotly markup of each point.
    """

    x: Sequence[float]
    y: Sequence[float]
    color: str
    width: float
    dash: tuple[float, ...] = ()
    mark: str = ""
    size: float = 0.0
    fill: str = ""
    hover: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Words:
    """Plain words centred at points of a plot, e.g. in its cells."""

    x: Sequence[float]
    y: Sequence[float]
    words: Sequence[str]
    size: float
    color: str
    mono: bool = True


@dataclass(frozen=True)
class Axis:
    """One axis of a plot.

    Attributes:
        first: value at the left edge, of a y axis at the top edge.
        last: value at the right, the bottom edge.
        ticks: values with labels.
        labels: plain words, one per tick.
        size: font size of the labels.
        mono: labels are tokens.
        turned: labels of an x axis read upwards.
        strokes: a short stroke at each tick.
        line: `"frame"` on both sides, `"side"` on the labels' side alone, or "" for none.
        opposite: labels stand at the right edge (of a y axis).
        zero: colour of a line at zero across the plot, or "".
        grid: colour of a line at each tick across the plot, or "".
        still: cannot be dragged or zoomed where the figure can.
    """

    first: float
    last: float
    ticks: Sequence[float] = ()
    labels: Sequence[str] = ()
    size: float = 8.0
    mono: bool = False
    turned: bool = False
    strokes: bool = True
    line: str = "frame"
    opposite: bool = False
    zero: str = ""
    grid: str = ""
    still: bool = False

    def share(self, value: float) -> float:
        """Where `value` lies: 0 at the first edge, 1 at the last."""
        return (value - self.first) / (self.last - self.first)


def entries(count: int, places: Sequence[int], labels: Sequence[str], size: float, **look: Any) -> Axis:
    """An axis of `count` entries, of which those at `places` have their label."""
    return Axis(-0.5, count - 0.5, places, [labels[place] for place in places], size, strokes=False, **look)


#: What stands in a plot.
Mark: TypeAlias = Cells | Hover | Rectangles | Line | Bars | Curve | Words


@dataclass(frozen=True, eq=False)
class Plot:
    """A pair of axes that fills `box`, and what is drawn in their values, in order."""

    box: Box
    x: Axis
    y: Axis
    marks: list[Mark] = field(default_factory=list)

    def add(self, *marks: Mark) -> None:
        """Draw `marks` on top of those there are."""
        self.marks.extend(marks)

    def across(self, value: float) -> float:
        """Where on the sheet a value of the x axis lies."""
        return self.box.left + self.x.share(value) * self.box.width

    def down(self, value: float) -> float:
        """Where on the sheet a value of the y axis lies."""
        return self.box.top + self.y.share(value) * self.box.height

    def on_sheet(self, box: Box) -> Box:
        """A box in values of the axes as one on the sheet."""
        x0, x1 = sorted((self.across(box.left), self.across(box.right)))
        y0, y1 = sorted((self.down(box.top), self.down(box.bottom)))
        return Box(x0, y0, x1 - x0, y1 - y0)


#: What stands on a sheet.
Item: TypeAlias = Text | Rectangles | Plot
