"""A sheet as SVG: text as text, cells as vectors or sharp pictures, the same bytes for the same sheet.

Knows nothing of what is shown, nor of plotly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any
from xml.sax.saxutils import escape

from mi_widgets.figures.cells import SEAM, as_vectors, colored_rectangles, picture
from mi_widgets.figures.marks import Bars, Box, Cells, Curve, Item, Line, Plot, Rectangles, Text, Words
from mi_widgets.figures.style import HAIRLINE_PT, LABEL_GAP, MONO, SANS, STROKE, Inks, pt

#: From the middle of a line of text to its baseline, and from its lower edge, in font sizes.
DROP, DESCENT = 0.35, 0.22


def svg_of(
    items: Sequence[Item], width: float, height: float, ink: Inks, title: str, size: tuple[str, str], pixels: int
) -> str:
    """A whole document.

    Args:
        items: in order of drawing.
        width: of the sheet.
        height: of the sheet.
        ink: paper and lines.
        title: what a screen reader says.
        size: `width` and `height` as the document states them, e.g. `("83mm", "60mm")`.
        pixels: pictures of cells have about so many on the longer side; 0 gives one pixel to each cell.
    """
    vectors = as_vectors(items)
    parts = [part for item in items for part in _item(item, ink, vectors, pixels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{size[0]}" '
        f'height="{size[1]}" viewBox="0 0 {_n(width)} {_n(height)}" role="img" xml:space="preserve" '
        f'font-family="{SANS}" fill="{ink.text}"><title>{escape(title)}</title>'
        f'<rect width="{_n(width)}" height="{_n(height)}" fill="{ink.paper}"/>{"".join(parts)}</svg>'
    )


def _n(length: float) -> str:
    """A length with as many decimals as can be seen."""
    return f"{length:.3f}".rstrip("0").rstrip(".") or "0"


def _item(item: Item, ink: Inks, vectors: set[int], pixels: int) -> Iterable[str]:
    if isinstance(item, Text):
        yield _text(item)
    elif isinstance(item, Rectangles):
        yield _boxes(item.boxes, item)
    else:
        yield from _plot(item, ink, vectors, pixels)


def _text(text: Text) -> str:
    rise = -DESCENT * text.size if text.over else DROP * text.size
    x, y = (text.x + rise, text.y) if text.turned else (text.x, text.y + rise)
    style = f' font-family="{MONO}"' if text.mono else ""
    style += f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
    style += f' transform="rotate(-90 {_n(x)} {_n(y)})"' if text.turned else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(text.size)}" fill="{text.color}"{style}>'
        f"{escape(text.words)}</text>"
    )


def _path(data: str, fill: str = "", line: str = "", width: float = 0.0, more: str = "") -> str:
    stroke = f' stroke="{line}" stroke-width="{_n(width)}"' if line and width else ""
    return f'<path d="{data}" fill="{fill or "none"}"{stroke}{more}/>'


def _outline(box: Box) -> str:
    return f"M{_n(box.left)} {_n(box.top)}h{_n(box.width)}v{_n(box.height)}h{_n(-box.width)}z"


def _boxes(boxes: Iterable[Box], look: Rectangles) -> str:
    return _path("".join(map(_outline, boxes)), look.fill, look.line, look.width)


def _plot(plot: Plot, ink: Inks, vectors: set[int], pixels: int) -> Iterable[str]:
    if plot.x.grid or plot.y.grid:
        yield from _across(plot, plot.y.ticks, plot.y.grid, True)
        yield from _across(plot, plot.x.ticks, plot.x.grid, False)
    for mark in sorted(plot.marks, key=lambda mark: not getattr(mark, "below", False)):
        yield from _mark(mark, plot, vectors, pixels)
    yield from _across(plot, [0.0], plot.y.zero, True)
    yield from _across(plot, [0.0], plot.x.zero, False)
    yield from _frame(plot, ink)
    yield from _labels(plot, ink)


def _across(plot: Plot, values: Sequence[float], color: str, level: bool) -> Iterable[str]:
    """Lines over the whole plot at values of its y axis, or of its x axis."""
    if color:
        lines = "".join(
            f"M{_n(plot.box.left)} {_n(plot.down(value))}h{_n(plot.box.width)}"
            if level
            else f"M{_n(plot.across(value))} {_n(plot.box.top)}v{_n(plot.box.height)}"
            for value in values
        )
        yield _path(lines, "", color, pt(HAIRLINE_PT))


def _frame(plot: Plot, ink: Inks) -> Iterable[str]:
    box, x, y = plot.box, plot.x, plot.y
    if x.line == y.line == "frame":
        yield _path(_outline(box), "", ink.line, pt(HAIRLINE_PT))
    else:
        sides = f"M{_n(box.left)} {_n(box.bottom)}h{_n(box.width)}" if x.line else ""
        sides += f"M{_n(box.left)} {_n(box.top)}h{_n(box.width)}" if x.line == "frame" else ""
        edge = box.right if y.opposite else box.left
        sides += f"M{_n(edge)} {_n(box.top)}v{_n(box.height)}" if y.line else ""
        sides += f"M{_n(box.left + box.right - edge)} {_n(box.top)}v{_n(box.height)}" if y.line == "frame" else ""
        if sides:
            yield _path(sides, "", ink.line, pt(HAIRLINE_PT))
    strokes = "".join(f"M{_n(plot.across(at))} {_n(box.bottom)}v{_n(STROKE)}" for at in x.ticks if x.strokes)
    start, reach = (box.right, STROKE) if y.opposite else (box.left, -STROKE)
    strokes += "".join(f"M{_n(start)} {_n(plot.down(at))}h{_n(reach)}" for at in y.ticks if y.strokes)
    if strokes:
        yield _path(strokes, "", ink.line, pt(HAIRLINE_PT))


def _labels(plot: Plot, ink: Inks) -> Iterable[str]:
    box, x, y = plot.box, plot.x, plot.y
    under = box.bottom + LABEL_GAP
    for at, words in zip(x.ticks, x.labels, strict=False):
        if x.turned:
            yield _text(Text(plot.across(at), under, words, x.size, ink.text, "end", turned=True, mono=x.mono))
        else:
            yield _text(Text(plot.across(at), under + x.size / 2, words, x.size, ink.text, "middle", mono=x.mono))
    beside, anchor = (box.right + LABEL_GAP, "start") if y.opposite else (box.left - LABEL_GAP, "end")
    for at, words in zip(y.ticks, y.labels, strict=False):
        yield _text(Text(beside, plot.down(at), words, y.size, ink.text, anchor, mono=y.mono))


def _mark(mark: Any, plot: Plot, vectors: set[int], pixels: int) -> Iterable[str]:
    if isinstance(mark, Cells):
        yield from _cells(mark, plot, id(mark) in vectors, pixels)
    elif isinstance(mark, Rectangles) and mark.boxes:
        yield _boxes(map(plot.on_sheet, mark.boxes), mark)
    elif isinstance(mark, Line):
        points = [(plot.across(x), plot.down(y)) for x, y in (mark.start, mark.end)]
        yield _path(_polyline(points), "", mark.color, mark.width)
    elif isinstance(mark, Bars):
        yield from _bars(mark, plot)
    elif isinstance(mark, Curve):
        yield from _curve(mark, plot)
    elif isinstance(mark, Words):
        for x, y, words in zip(mark.x, mark.y, mark.words, strict=True):
            yield _text(Text(plot.across(x), plot.down(y), words, mark.size, mark.color, "middle", mono=mark.mono))


def _cells(grid: Cells, plot: Plot, vector: bool, pixels: int) -> Iterable[str]:
    if vector:
        for color, boxes in colored_rectangles(grid).items():
            shown = (plot.on_sheet(Box(x0, y0, x1 - x0, y1 - y0)) for x0, y0, x1, y1 in boxes)
            yield _path("".join(map(_outline, shown)), color, color, SEAM)
        return
    box = plot.on_sheet(grid.place)
    image = picture(grid, plot.y.first > plot.y.last, pixels)
    # xlink:href is what older viewers read, and every browser still does.
    yield (
        f'<image x="{_n(box.left)}" y="{_n(box.top)}" width="{_n(box.width)}" height="{_n(box.height)}" '
        f'preserveAspectRatio="none" image-rendering="optimizeSpeed" style="image-rendering:pixelated" '
        f'xlink:href="{image}"/>'
    )


def _bars(bars: Bars, plot: Plot) -> Iterable[str]:
    by_fill: dict[str, list[Box]] = {}
    offset = -bars.thick / 2 if bars.offset is None else bars.offset
    fills = [bars.fills] * len(bars.places) if isinstance(bars.fills, str) else bars.fills
    for place, start, size, fill in zip(bars.places, bars.starts, bars.sizes, fills, strict=True):
        if math.isfinite(size):
            low, edge = min(start, start + size), place + offset
            box = Box(low, edge, abs(size), bars.thick) if bars.flat else Box(edge, low, bars.thick, abs(size))
            by_fill.setdefault(fill, []).append(plot.on_sheet(box))
    for fill, boxes in by_fill.items():
        yield _path("".join(map(_outline, boxes)), fill)


def _polyline(points: Iterable[tuple[float, float]]) -> str:
    """Straight pieces from point to point, broken where one is not known."""
    parts, apart = [], True
    for x, y in points:
        if math.isfinite(y):
            parts.append(f"{'M' if apart else 'L'}{_n(x)} {_n(y)}")
        apart = not math.isfinite(y)
    return "".join(parts)


def _curve(curve: Curve, plot: Plot) -> Iterable[str]:
    points = [(plot.across(x), plot.down(y)) for x, y in zip(curve.x, curve.y, strict=True)]
    dashes = f' stroke-dasharray="{" ".join(map(_n, curve.dash))}"' if curve.dash else ""
    if curve.width:
        yield _path(_polyline(points), "", curve.color, curve.width, dashes + ' stroke-linejoin="round"')
    if curve.mark:
        shapes = "".join(_shape(curve.mark, x, y, curve.size / 2) for x, y in points if math.isfinite(y))
        yield _path(shapes, curve.fill, curve.color, pt(0.8))


def _shape(mark: str, x: float, y: float, reach: float) -> str:
    """A mark of `reach` about its middle, as plotly draws it."""
    if mark == "circle":
        turn = f"a{_n(reach)} {_n(reach)} 0 1 0"
        return f"M{_n(x - reach)} {_n(y)}{turn} {_n(2 * reach)} 0{turn} {_n(-2 * reach)} 0z"
    if mark == "square":
        return _outline(Box(x - reach, y - reach, 2 * reach, 2 * reach))
    if mark == "diamond":
        corners = [(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]
    else:
        corners = [(0.0, -1.0), (1.155, 1.0), (-1.155, 1.0)] if mark == "triangle-up" else []
    return _polyline((x + reach * across, y + reach * down) for across, down in corners) + "z"
