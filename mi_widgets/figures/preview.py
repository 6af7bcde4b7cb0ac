"""The picture a notebook keeps for viewers that run no JavaScript: the wall and the head in focus, small and labelled.

As PNG, which every viewer shows, or as SVG with real text. Needs neither a browser nor plotly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mi_widgets import color
from mi_widgets.data.arrays import as_float32
from mi_widgets.data.integers import integer, text
from mi_widgets.data.thumbnails import allowed_cells, allowed_patches, any_cell, reduced, starts, thumbnails
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.canvas import Canvas, PngCanvas, Rect, SvgCanvas
from mi_widgets.figures.choice import Attention, color_scale, patterns_of, tokens_of, unit_of, value_bounds
from mi_widgets.figures.headline import with_changes
from mi_widgets.figures.labels import TokenAxis
from mi_widgets.figures.plotly_legend import NO_VALUE
from mi_widgets.figures.scale import MASKED, MISSING, PAPER, ColorScale
from mi_widgets.figures.style import inks

WIDTH = 760
#: Models of very many layers are cut off below this.
MOST_HEIGHT = 1600
#: All thumbnails together have at most this many cells, the focused head this many on a side.
WALL_CELLS, HEAD_CELLS = 90_000, 160


def preview_svg(
    data: Attention,
    layer: int | None = None,
    head: int | None = None,
    scale: str = "sqrt",
    palette: str = "blue",
    *,
    title: str = "",
    theme: str = "light",
    atlas: np.ndarray | None = None,
) -> str:
    """`data` as a self-contained SVG, 760 pixels wide: the wall on the left, one head on the right, a colour bar.

    Args:
        data: patterns or a comparison.
        layer: layer of the head in focus; None shows the wall alone (a single head is always in focus).
        head: the head in focus, or None.
        scale: `"linear"`, `"sqrt"` or `"log"`.
        palette: `"blue"`, `"amber"` or `"grey"`; a comparison takes the diverging one.
        title: text of the first line; the prompt's tokens if empty.
        theme: `"light"` or `"dark"`.
        atlas: float `[layer, head, cell, cell]`, every head reduced already (as the wall's thumbnails are), where
            the caller has it; saves reading `data` once more.

    Returns:
        Well-formed XML, whatever the tokens hold.

    Raises:
        DataError: unknown option, or a head that the data lacks.
    """
    picture = _picture(data, layer, head, scale, palette, theme, atlas)
    canvas = SvgCanvas()
    height = _draw(canvas, picture, title)
    ink = inks(theme)
    return canvas.document(WIDTH, height, "Attention: " + _counts(data), ink.paper, ink.text)


def preview_png(
    data: Attention,
    layer: int | None = None,
    head: int | None = None,
    scale: str = "sqrt",
    palette: str = "blue",
    *,
    title: str = "",
    theme: str = "light",
    atlas: np.ndarray | None = None,
) -> bytes:
    """`data` as a PNG, 760 pixels wide: what `preview_svg` shows, in a small built-in font.

    Letters outside ASCII and the marks of whitespace are open boxes; all arguments and errors are those of
    `preview_svg`.
    """
    picture = _picture(data, layer, head, scale, palette, theme, atlas)
    canvas = PngCanvas(WIDTH, MOST_HEIGHT, picture.colors, inks(theme).text)
    return canvas.image(min(MOST_HEIGHT, _draw(canvas, picture, title)))


@dataclass(frozen=True)
class _Picture:
    """What is drawn: thumbnails `[layer, head, cell, cell]`, the head in focus, and the colours of both."""

    data: Attention
    tiles: np.ndarray
    allowed: np.ndarray
    pitch: float
    focused: tuple[int, int] | None
    values: np.ndarray | None
    colors: ColorScale
    clipped: tuple[bool, bool]


def _picture(
    data: Attention,
    layer: int | None,
    head: int | None,
    scale: str,
    palette: str,
    theme: str,
    atlas: np.ndarray | None,
) -> _Picture:
    patterns = patterns_of(data)
    layers, heads = patterns.layers, patterns.n_heads
    if len(layers) * heads == 1:
        layer, head = layers[0], 0
    focused = None if layer is None or head is None else (integer("layer", layer), integer("head", head))
    values = None if focused is None else data.head(*focused)  # raises for a head that does not exist
    room = 720 if focused is None else 350
    pitch = min(room / heads, 96, max(6, 460 / len(layers)))
    side = max(4, min(round(pitch * 0.94), int(math.sqrt(WALL_CELLS / (len(layers) * heads)))))
    if atlas is None:
        tiles, allowed = thumbnails(data, side), allowed_patches(data, side)
    else:
        held = as_float32(atlas)
        if held.ndim != 4 or held.shape[:2] != (len(layers), heads) or not 0 < held.shape[2] == held.shape[3]:
            raise DataError(f"atlas has shape {list(held.shape)}; it must be [layer, head, cell, cell].")
        tiles, allowed = _shrunk(held, data, side)
    colors, clipped = color_scale(data, _bounds(data, tiles), scale=scale, palette=palette, theme=theme)
    return _Picture(data, tiles, allowed, pitch, focused, values, colors, clipped)


def _draw(canvas: Canvas, picture: _Picture, title: str) -> int:
    """Everything on `canvas`; returns the height used."""
    data, colors, focused = picture.data, picture.colors, picture.focused
    patterns = patterns_of(data)
    quiet = inks(colors.theme).quiet
    canvas.text(
        12, 20, printed.prose(text("title", title) or "".join(tokens_of(data).strings[:400]), 92), 13, mono=True
    )
    caption = "   ".join(part for part in (patterns.model, _counts(data)) if part)
    canvas.text(12, 37, printed.prose(with_changes(data, caption), 100), 11, fill=quiet)
    top = bottom = 64.0
    left = 40.0
    single = picture.tiles.shape[:2] == (1, 1)
    if not single:
        bottom = _wall(canvas, picture, left, top) + 30
    if focused is not None and picture.values is not None:
        start = left if single else left + patterns.n_heads * picture.pitch + 26
        bottom = max(bottom, _head(canvas, picture, picture.values, focused, start, top))
        held = colors.codes(picture.values, allowed_cells(data, focused[0]))
    else:
        held = colors.codes(picture.tiles, picture.allowed[:, None])
    looks = (bool((held == MASKED).any()), bool((held == MISSING).any()))
    _bar(canvas, colors, picture.clipped, unit_of(data), bottom + 12, looks)
    return math.ceil(bottom + 50)


def _counts(data: Attention) -> str:
    patterns = patterns_of(data)
    sizes = ((len(patterns.layers), "layer"), (patterns.n_heads, "head"), (len(tokens_of(data)), "token"))
    return " × ".join(f"{size} {name}{'' if size == 1 else 's'}" for size, name in sizes)


def _bounds(data: Attention, tiles: np.ndarray) -> tuple[float, float]:
    """The range of all heads: largest values survive the reduction, smallest ones (pre-softmax scores) do not."""
    if patterns_of(data).weighting == "scores" and tiles.shape[-1] < len(tokens_of(data)):
        return value_bounds(data, None)
    finite = tiles[np.isfinite(tiles)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _shrunk(atlas: np.ndarray, data: Attention, side: int) -> tuple[np.ndarray, np.ndarray]:
    """An atlas reduced further to at most `side` cells, by largest magnitude."""
    first = starts(atlas.shape[-1], side)
    tiles = np.stack([reduced(one, first, signed=True) for one in atlas])
    cells = tiles.shape[-1]
    count = len(tokens_of(data))
    # Patches of the atlas start where those of the data do, so the mask is reduced in the same two strides.
    strides = (starts(count, atlas.shape[-1]), starts(min(count, atlas.shape[-1]), cells))
    allowed = [
        any_cell(any_cell(allowed_cells(data, layer), strides[0]), strides[1]) for layer in patterns_of(data).layers
    ]
    return tiles, np.stack(allowed)


def _wall(canvas: Canvas, picture: _Picture, left: float, top: float) -> float:
    """Thumbnails with layer and head numbers; returns the bottom edge."""
    colors, tiles, pitch, focused = picture.colors, picture.tiles, picture.pitch, picture.focused
    layers = patterns_of(picture.data).layers
    ink = inks(colors.theme)
    rows, columns, cells = tiles.shape[0], tiles.shape[1], tiles.shape[-1]
    margin = max(1, round(cells * 0.04))
    tile = cells + 2 * margin
    codes = np.full((rows, tile, columns, tile), PAPER, np.uint16)
    body = colors.codes(tiles, picture.allowed[:, None])
    codes[:, margin:-margin, :, margin:-margin] = body.transpose(0, 2, 1, 3)
    width, height = columns * pitch, rows * pitch
    canvas.cells(codes.reshape(rows * tile, columns * tile), colors, (left, top, width, height))
    inset = pitch * margin / tile

    def frame(row: int, column: int) -> Rect:
        edge = pitch - 2 * inset
        return left + column * pitch + inset, top + row * pitch + inset, edge, edge

    canvas.frames([frame(row, column) for row in range(rows) for column in range(columns)], ink.line, 0.4)
    if focused is not None:
        canvas.frames([frame(layers.index(focused[0]), focused[1])], color.ACCENT[colors.theme], 2)
    for column in printed.every(columns, pitch, 18):
        canvas.text(left + (column + 0.5) * pitch, top + height + 11, str(column), 10, anchor="middle")
    for row in printed.every(rows, pitch, 13):
        canvas.text(left - 4, top + (row + 0.5) * pitch + 3.5, str(layers[row]), 10, anchor="end")
    canvas.text(left + width / 2, top + height + 24, "head", 11, anchor="middle", fill=ink.quiet)
    canvas.text(14, top + height / 2, "layer", 11, anchor="middle", fill=ink.quiet, turn=True)
    return top + height


def _head(
    canvas: Canvas, picture: _Picture, values: np.ndarray, focused: tuple[int, int], left: float, top: float
) -> float:
    """The head in focus with token axes; returns the bottom edge."""
    colors = picture.colors
    strings = tokens_of(picture.data).strings
    count = len(strings)
    allowed = allowed_cells(picture.data, focused[0])
    if count > HEAD_CELLS:
        first = starts(count, HEAD_CELLS)
        values = reduced(values[None], first, signed=colors.signed)[0]
        allowed = any_cell(allowed, first)
    larger = canvas.token_sizes[0]
    shown = [printed.token_label(text, 14) for text in strings[:24]]
    room = 80.0 if count > 24 else min(80.0, printed.widest(shown, larger) + 6)
    side = min(WIDTH - 12 - left - room, 300, max(90, 40 * count))
    axis = TokenAxis.fit(strings, side, room - 4, canvas.token_sizes)
    left += room
    canvas.text(left, top - 8, f"Layer {focused[0]}, head {focused[1]}", 12)
    canvas.cells(colors.codes(values, allowed), colors, (left, top, side, side))
    canvas.frames([(left, top, side, side)], inks(colors.theme).line, 0.6)
    pitch, drop = side / count, axis.size * 0.35
    for position, label in zip(axis.positions, axis.labels, strict=True):
        middle = (position + 0.5) * pitch
        canvas.text(left - 4, top + middle + drop, label, axis.size, anchor="end", mono=True)
        canvas.text(left + middle + drop, top + side + 4, label, axis.size, anchor="end", mono=True, turn=True)
    return top + side + axis.room + 8


def _bar(
    canvas: Canvas, colors: ColorScale, clipped: tuple[bool, bool], unit: str, top: float, looks: tuple[bool, bool]
) -> None:
    """A colour bar that lies down, with true values at its ticks; swatches for masked and missing cells."""
    line = inks(colors.theme).line
    left, width = 40.0, 260.0
    canvas.cells(np.arange(color.STEPS)[None, :].astype(np.uint16), colors, (left, top, width, 10))
    canvas.frames([(left, top, width, 10)], line, 0.6)
    for where, label in colors.ticks(5, clipped):
        canvas.text(left + where * width, top + 22, label, 10, anchor="middle")
    canvas.text(left + width + 14, top + 9, unit, 11)
    at = left + width + 34 + printed.columns(unit) * 7
    for code, label, present in ((MASKED, "masked", looks[0]), (MISSING, NO_VALUE, looks[1])):
        if present:
            canvas.frames([(at, top, 10, 10)], line, 0.6, colors.hex(code))
            canvas.text(at + 15, top + 9, label, 11)
            at += 82
