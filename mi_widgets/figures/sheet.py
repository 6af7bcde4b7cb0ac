"""A sheet of paper: what a figure is drawn on, once, and what it is printed as.

A figure is a function from data and options to a `Sheet`. The sheet is `width` × `height` CSS pixels (96 to the inch)
from the top left and collects marks in order of drawing; `svg()` prints them with text as text, `figure()` as a plotly
figure of the same page, with hover and axes that can be zoomed. Type has the same points everywhere
(`style.TITLE_PT` …): on a screen the same sheet is shown enlarged by `ZOOM`. Knows nothing of what is shown.

    sheet = Sheet(px(83), px(60), "light", "Two cells")
    sheet.text(EDGE, 8, "Layer 0", pt(LABEL_PT))
    plot = sheet.plot(Box(20, 16, 80, 40), Axis(-0.5, 1.5, [0, 1], ["·a", "·b"], mono=True), Axis(-0.5, 0.5))
    plot.add(Cells(scale.codes(values), scale.table), Hover(values, "key %{x:d}: %{z:.6g}"))
    sheet.svg(), sheet.figure()
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec

from mi_widgets import color
from mi_widgets.figures.cells import IMAGE_PIXELS
from mi_widgets.figures.marks import Axis, Box, Item, Plot, Rectangles, Text
from mi_widgets.figures.style import inks, mm, px
from mi_widgets.figures.svg import svg_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

P = ParamSpec("P")
_ON_PAPER: ContextVar[bool] = ContextVar("on_paper", default=False)

#: On screen a sheet is shown enlarged: 7 points of type are then 11.7 pixels, as the page's.
ZOOM = 1.25
#: Of a still picture, in pixels of the screen.
SCREEN_WIDTH = 760


@dataclass
class Sheet:
    """A page of `width` × `height` pixels.

    Attributes:
        width: in CSS pixels of paper.
        height: in CSS pixels of paper.
        theme: `"light"` or `"dark"`.
        title: what the picture is, for who cannot see it.
        screen: a still picture, printed enlarged and in pixels; else paper, in millimetres.
        items: what stands on it, in order of drawing.
    """

    width: float
    height: float
    theme: str = "light"
    title: str = ""
    screen: bool = False
    items: list[Item] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, size: float, color: str = "", **style: Any) -> None:
        """Plain `words` with their anchor at `(x, y)`; `style` is that of `marks.Text`."""
        self.items.append(Text(x, y, words, size, color or inks(self.theme).text, **style))

    def rectangle(self, box: Box, fill: str = "", line: str = "", width: float = 0.0) -> None:
        """A rectangle, e.g. a legend's swatch."""
        self.items.append(Rectangles([box], fill, line, width))

    def plot(self, box: Box, x: Axis, y: Axis) -> Plot:
        """A pair of axes that fills `box`; draw in it with `Plot.add`."""
        plot = Plot(box, x, y)
        self.items.append(plot)
        return plot

    def missing(self, left: float, middle: float, height: float) -> float:
        """A low mark where a bar has no number, in the colour of missing values: no number is not zero. Returns its
        right edge."""
        mark = Box(left, middle - height / 2, px(1.2), height)
        self.rectangle(mark, color.MISSING[self.theme])
        return mark.right

    def svg(self, width_mm: float | None = None) -> str:
        """The sheet as a self-contained SVG: paper in millimetres, scaled as a whole to `width_mm` if given; a still
        picture in pixels. Well-formed whatever the tokens hold, and the same for the same sheet."""
        across = mm(self.width) if width_mm is None else width_mm
        size = (f"{across:.6g}mm", f"{across * self.height / self.width:.6g}mm")
        if self.screen:
            size = (f"{self.width * ZOOM:.6g}", f"{self.height * ZOOM:.6g}")
        pixels = 0 if self.screen else IMAGE_PIXELS  # on screen a cell has one pixel, or is a vector
        return svg_of(self.items, self.width, self.height, inks(self.theme), self.title, size, pixels)

    def png(self, dpi: float = 96) -> bytes:
        """The SVG as a PNG; at 96 pixels per inch a still picture has those of the screen."""
        from mi_widgets.figures.press import png_of

        return png_of(self.svg(), dpi)

    def figure(self) -> go.Figure:
        """The sheet as a plotly figure of its exact size; `sheet_of` finds the way back."""
        figure = self._figure()
        figure._sheet = self  # lives and dies with this very object: a copy has none
        return figure

    def _figure(self) -> Any:
        from mi_widgets.figures.plotted import plotly_figure

        return plotly_figure(self.items, self.width, self.height, self.theme)


def sheet_of(figure: Any) -> Sheet | None:
    """The sheet that `figure` was printed from; None where the figure is another's, or was changed since."""
    sheet = getattr(figure, "_sheet", None)
    if not isinstance(sheet, Sheet):
        return None
    return sheet if figure.to_json(validate=False) == sheet._figure().to_json(validate=False) else None


def screen_height(height: float) -> float:
    """`height` rounded up to whole pixels of a screen."""
    return math.ceil(height * ZOOM) / ZOOM


@contextmanager
def on_paper() -> Iterator[None]:
    """Within it, figures are given as the sheets they are drawn on: a file needs no plotly."""
    before = _ON_PAPER.set(True)
    try:
        yield
    finally:
        _ON_PAPER.reset(before)


def plotted(draw: Callable[P, Sheet]) -> Callable[P, go.Figure]:
    """`draw`, giving its sheet as a plotly figure; the sheet itself `on_paper`."""
    return _giving(draw, lambda sheet: sheet if _ON_PAPER.get() else sheet.figure())


def as_svg(draw: Callable[P, Sheet]) -> Callable[P, str]:
    """`draw`, giving its sheet as an SVG."""
    return _giving(draw, Sheet.svg)


def as_png(draw: Callable[P, Sheet]) -> Callable[P, bytes]:
    """`draw`, giving its sheet as a PNG."""
    return _giving(draw, Sheet.png)


def _giving(draw: Callable[P, Sheet], form: Callable[[Sheet], Any]) -> Callable[P, Any]:
    @functools.wraps(draw)
    def drawn(*args: P.args, **options: P.kwargs) -> Any:
        return form(draw(*args, **options))

    return drawn
