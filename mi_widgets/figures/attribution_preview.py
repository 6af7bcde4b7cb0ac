"""The still picture of an attribution for viewers that run no JavaScript: the waterfall, and the layer × head map.

As PNG, which every viewer shows, or as SVG with real text. Needs neither a browser nor plotly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mi_widgets import color
from mi_widgets.data import LogitAttribution
from mi_widgets.data.integers import text
from mi_widgets.figures import labels as printed
from mi_widgets.figures.attribution_map import contribution_scale
from mi_widgets.figures.canvas import Canvas, PngCanvas, SvgCanvas
from mi_widgets.figures.headline import with_changes
from mi_widgets.figures.logit_attribution import (
    SIGNS,
    Bar,
    bar_numbers,
    bounds_of,
    check_kind_of,
    chosen_head,
    heading,
    sides,
    waterfall,
)
from mi_widgets.figures.plotly_legend import NO_VALUE
from mi_widgets.figures.scale import MISSING, ColorScale
from mi_widgets.figures.style import inks

WIDTH = 760
#: Models of very many layers are cut off below this.
MOST_HEIGHT = 1600
_LEFT, _LINE, _TALL = 12.0, 17.0, 11.0
DOES_NOT_HOLD = "The parts do not sum to the model's own number: see the residue."


def attribution_preview_svg(
    data: LogitAttribution,
    layer: int | None = None,
    head: int | None = None,
    *,
    top: int = 14,
    sort: str = "size",
    title: str = "",
    theme: str = "light",
) -> str:
    """`data` as a self-contained SVG, 760 pixels wide: the waterfall on the left, the layer × head map on the right.

    Args:
        data: an attribution.
        layer: layer of a head to outline, or None.
        head: that head, or None.
        top: parts that stand by themselves; the others are one row.
        sort: `"size"` or `"model"`.
        title: text of the first line; the prompt's tokens if empty.
        theme: `"light"` or `"dark"`.

    Returns:
        Well-formed XML, whatever the tokens hold.

    Raises:
        DataError: an unknown option, or a head that the data lacks.
    """
    canvas, ink = SvgCanvas(), inks(theme)
    height = _draw(canvas, data, layer, head, top, sort, title, _colors(data, theme))
    return canvas.document(WIDTH, height, heading(data), ink.paper, ink.text)


def attribution_preview_png(
    data: LogitAttribution,
    layer: int | None = None,
    head: int | None = None,
    *,
    top: int = 14,
    sort: str = "size",
    title: str = "",
    theme: str = "light",
) -> bytes:
    """`data` as a PNG, 760 pixels wide: what `attribution_preview_svg` shows, in a small built-in font.

    Letters outside ASCII and the marks of whitespace are open boxes; arguments and errors are the same.
    """
    colors = _colors(data, theme)
    canvas = PngCanvas(WIDTH, MOST_HEIGHT, colors, inks(theme).text)
    return canvas.image(min(MOST_HEIGHT, _draw(canvas, data, layer, head, top, sort, title, colors)))


def _colors(data: LogitAttribution, theme: str) -> ColorScale:
    check_kind_of(data)
    if data.heads is not None:
        return contribution_scale(data, theme)[0]
    return ColorScale(-1.0, 1.0, "linear", color.DIVERGING, theme, True, inks(theme).paper)


def _draw(
    canvas: Canvas,
    data: LogitAttribution,
    layer: int | None,
    head: int | None,
    top: int,
    sort: str,
    title: str,
    colors: ColorScale,
) -> int:
    """Everything on `canvas`; returns the height used."""
    ink = inks(colors.theme)
    canvas.text(_LEFT, 20, printed.prose(text("title", title) or "".join(data.tokens.strings[:400]), 92), 13, mono=True)
    canvas.text(_LEFT, 38, printed.prose(with_changes(data, heading(data)), 104), 11, fill=ink.quiet)
    at = _LEFT
    for code, name in zip(SIGNS, sides(data), strict=True):
        canvas.frames([(at, 48, 9, 9)], colors.hex(code), 1, colors.hex(code))
        canvas.text(at + 14, 57, name, 11)
        at += 14 + printed.columns(name) * 7 + 16
    mapped = data.heads is not None
    bottom = _waterfall(canvas, waterfall(data, data.rows(top, sort)), colors, 72.0, 430.0 if mapped else 736.0)
    if mapped:
        bottom = max(bottom, _map(canvas, data, chosen_head(data, layer, head, needed=False), colors, 492.0, 84.0))
    if not data.holds:
        why = "Not every part is a number." if math.isnan(data.residue) else DOES_NOT_HOLD
        canvas.text(_LEFT, bottom + 14, why, 11)
        bottom += 20
    return math.ceil(bottom + 8)


def _waterfall(canvas: Canvas, bars: Sequence[Bar], colors: ColorScale, top: float, width: float) -> float:
    """Rows of bars `width` pixels wide in all; returns the bottom edge."""
    ink = inks(colors.theme)
    size = canvas.token_sizes[0]
    labels = [printed.prose(bar.label, 22) for bar in bars]
    numbers = bar_numbers(bars)
    start = _LEFT + printed.widest(labels, size) + 8
    low, high = bounds_of(bars)
    room = max(printed.columns(text) for text in numbers) * 7 + 8.0
    left = start + (room if any(bar.size < 0 for bar in bars) else 0.0)
    across = _LEFT + width - left - room
    logit = across / (high - low) if high > low else 0.0
    for row, (bar, label, number) in enumerate(zip(bars, labels, numbers, strict=True)):
        y = top + row * _LINE
        first, last = sorted((left + (bar.start - low) * logit, left + (bar.end - low) * logit))
        fill = ink.quiet if bar.whole else colors.hex(SIGNS[bar.size >= 0])
        if bar.missing:
            first, fill = left + (bar.start - low) * logit, colors.hex(MISSING)
            last = first + 6.0
        canvas.frames([(first, y, max(1.0, last - first), _TALL)], fill, 1, fill)
        canvas.text(start - 6, y + _TALL - 1, label, size, anchor="end")
        if not bar.size < 0:
            canvas.text(last + 5, y + _TALL - 1, number, 10, fill=ink.quiet)
        else:
            canvas.text(first - 4, y + _TALL - 1, number, 10, anchor="end", fill=ink.quiet)
    bottom = top + len(bars) * _LINE
    canvas.frames([(left - low * logit, top - 3, 1, bottom - top)], ink.line, 1)
    return bottom + 4


def _map(
    canvas: Canvas,
    data: LogitAttribution,
    outlined: tuple[int, int] | None,
    colors: ColorScale,
    left: float,
    top: float,
) -> float:
    """Every head's contribution, layers as rows, the MLPs apart on the right; returns the bottom edge."""
    ink = inks(colors.theme)
    assert data.heads is not None
    layers, heads = data.heads.shape
    with_mlps = bool(np.isfinite(data.mlps).any())
    columns = heads + (1.5 if with_mlps else 0.0)
    pitch = min((WIDTH - 12 - left) / columns, 26.0)
    tall = min(26.0, max(2.0, min(pitch, 480.0 / layers)))
    width, height = heads * pitch, layers * tall
    canvas.text(left, top - 12, "layer × head", 11, fill=ink.quiet)
    canvas.cells(colors.codes(data.heads), colors, (left, top, width, height))
    canvas.frames([(left, top, width, height)], ink.line, 0.6)
    if with_mlps:
        strip = left + width + 0.5 * pitch
        canvas.cells(colors.codes(data.mlps[:, None]), colors, (strip, top, pitch, height))
        canvas.frames([(strip, top, pitch, height)], ink.line, 0.6)
        canvas.text(strip + pitch / 2, top + height + 12, "MLP", 10, anchor="middle")
    if outlined is not None:
        cell = (left + outlined[1] * pitch, top + outlined[0] * tall, pitch, tall)
        canvas.frames([cell], color.ACCENT[colors.theme], 2)
    for column in printed.every(heads, pitch, 18):
        canvas.text(left + (column + 0.5) * pitch, top + height + 12, str(column), 10, anchor="middle")
    for row in printed.every(layers, tall, 13):
        canvas.text(left - 4, top + (row + 0.5) * tall + 3.5, str(row), 10, anchor="end")
    bar = top + height + 26
    canvas.cells(np.arange(color.STEPS)[None, :].astype(np.uint16), colors, (left, bar, 150, 8))
    canvas.frames([(left, bar, 150, 8)], ink.line, 0.6)
    for where, label in colors.ticks(3, contribution_scale(data, colors.theme)[1]):
        canvas.text(left + where * 150, bar + 19, label, 10, anchor="middle")
    canvas.text(left + 178, bar + 8, "logits", 11)
    shown = np.concatenate([data.heads.ravel(), data.mlps]) if with_mlps else data.heads
    if np.isnan(shown).any():
        canvas.frames([(left, bar + 28, 10, 10)], ink.line, 0.6, colors.hex(MISSING))
        canvas.text(left + 15, bar + 37, NO_VALUE, 11)
        return bar + 44
    return bar + 24
