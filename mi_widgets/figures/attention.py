"""Attention on paper: one head as a query × key map, several as small multiples, or the wall of all heads; and the
still picture of a saved notebook, the wall beside the head in focus.

Takes `data`, gives a sheet. Knows nothing of models, torch or the screen, but colours as the screen does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mi_widgets.data import AttentionComparison
from mi_widgets.data.arrays import as_float32
from mi_widgets.data.integers import integer, truth, word
from mi_widgets.data.thumbnails import allowed_cells, allowed_patches, any_cell, reduced, starts, thumbnails
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.choice import (
    Attention,
    Ranked,
    chosen_heads,
    color_scale,
    every_head,
    patterns_of,
    ranked,
    score_text,
    tokens_of,
    unit_of,
    value_bounds,
)
from mi_widgets.figures.legend import Legend
from mi_widgets.figures.maps import TITLE, Map, Maps
from mi_widgets.figures.marks import Hover
from mi_widgets.figures.page import EDGE, Page, Room, paper, still
from mi_widgets.figures.scale import MASKED, MISSING, ColorScale
from mi_widgets.figures.sheet import ZOOM, Sheet, as_png, as_svg, plotted
from mi_widgets.figures.style import px
from mi_widgets.figures.wall import Wall

KINDS = ("matrix", "wall")
#: Without a choice of heads, at most this many are drawn as small multiples.
MOST_PANELS = 16
#: Hover text names tokens up to this many cells, positions up to the second number, and is left out beyond.
HOVER_TOKENS, HOVER_CELLS = 20_000, 1_100_000
#: On paper a thumbnail has no more cells than this on a side, and no more than 300 to the inch.
MOST_CELLS = 64
#: In a still picture all thumbnails together have at most so many cells, the head in focus so many on a side.
WALL_CELLS, HEAD_CELLS = 90_000, 160


@plotted
def attention_figure(
    data: Attention,
    *,
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[tuple[int, int]] | None = None,
    kind: str = "matrix",
    scale: str = "linear",
    palette: str = "blue",
    zrange: tuple[float, float] | None = None,
    shared_range: bool = True,
    scores: pd.DataFrame | None = None,
    sort: str | None = None,
    descending: bool = True,
    title: str | None = None,
    width_mm: float | str = 83,
    height_mm: float | None = None,
    theme: str = "light",
) -> Sheet:
    """Attention as a figure of exact size, ready for `save_figure`.

    Cells the mask forbids are grey, values that are not numbers pink; neither is a colour of the palette. A
    difference (from a comparison) is A − B on aligned positions, in a diverging palette symmetric about zero.

    Args:
        data: patterns, axes `[layer, head, query, key]`, or a comparison of two prompts.
        layer: the model's layer number. Alone: every head of that layer.
        head: query head, from 0. Alone: that head of every layer.
        heads: `(layer, head)` pairs in place of the two.
        kind: `"matrix"`, one query × key map per head, or `"wall"`, thumbnails of every layer × head in which each
            cell is the largest value of its patch (of largest magnitude for a difference). On the wall, `layer`
            and `head` together outline that head.
        scale: `"linear"`, `"sqrt"`, or `"log"` with a floor at 1e-4 of the range; the colour bar keeps true values.
        palette: `"blue"`, `"amber"` or `"grey"`; a difference always takes the diverging palette.
        zrange: `(low, high)` of the colours in the values' unit; values beyond are marked ≤ and ≥ on the colour bar.
        shared_range: one range over all heads in `data`, as on the screen; if False, over the heads drawn.
        scores: table with columns `layer`, `head` and numeric score columns; the prompt's own scores if None.
        sort: score column to order the heads by; its value stands in each title.
        descending: largest score first.
        title: a line above the figure; interventions in the runs that it shows are named below it.
        width_mm: width of the page in millimetres, or `"single"` (83), `"one and a half"` (120), `"double"` (174).
        height_mm: height in millimetres; if None, as high as square cells need.
        theme: `"light"` or `"dark"`.

    Returns:
        A figure `width_mm` wide. Hovering gives exact values (matrices up to 1.1 million cells).

    Raises:
        DataError: an unknown option, a head that the data lacks, or a size too small to draw in.
    """
    patterns = patterns_of(data)
    kind = word("kind", kind, KINDS)
    page = paper(data, title, width_mm, height_mm, theme)
    outlined = None
    if kind == "wall" and layer is not None and head is not None and heads is None:
        outlined = chosen_heads(data, layer, head, None)[0]
        layer = head = None
    pairs = chosen_heads(data, layer, head, heads)
    if kind == "matrix" and layer is head is heads is None and len(pairs) > MOST_PANELS:
        raise DataError(
            f"the result holds {len(pairs)} heads.", 'Say which (layer=…, head=… or heads=[…]), or ask for kind="wall".'
        )
    chosen = ranked(data, pairs, scores, sort, truth("descending", descending))
    bounds = value_bounds(data, None if truth("shared_range", shared_range) and zrange is None else pairs)
    colors, clipped = color_scale(data, bounds, scale=scale, palette=palette, theme=theme, zrange=zrange)
    if kind == "wall":
        regular = sort is None and len(pairs) == len(patterns.layers) * patterns.n_heads and heads is None
        return _wall(data, chosen, colors, clipped, regular, outlined, page)
    return _matrices(data, chosen, colors, clipped, page)


def _about(data: Attention) -> str:
    """How much there is: layers, heads, tokens."""
    patterns = patterns_of(data)
    sizes = ((len(patterns.layers), "layer"), (patterns.n_heads, "head"), (len(tokens_of(data)), "token"))
    return " × ".join(f"{size} {name}{'' if size == 1 else 's'}" for size, name in sizes)


def _legend(data: Attention, colors: ColorScale, clipped: tuple[bool, bool], codes: Sequence[np.ndarray]) -> Legend:
    masked, missing = (any(bool((grid == code).any()) for grid in codes) for code in (MASKED, MISSING))
    return Legend(colors, unit_of(data), clipped, masked, missing)


def _matrices(data: Attention, chosen: Ranked, colors: ColorScale, clipped: tuple[bool, bool], page: Page) -> Sheet:
    strings, maps = tokens_of(data).strings, []
    for layer, head, score in chosen:
        values, allowed = data.head(layer, head), allowed_cells(data, layer)
        name = f"Layer {layer}, head {head}" if len(chosen) == 1 else f"L{layer} H{head}"
        title = name if score is None else f"{name} · {score_text(score)}"
        hover = _hover(values, allowed, data, f"layer {layer}, head {head}", len(strings) ** 2 * len(chosen))
        maps.append(Map(title, colors.codes(values, allowed), hover))
    legend = _legend(data, colors, clipped, [one.codes for one in maps])
    grid = Maps.fit(strings, len(maps), page.room(legend.width()))
    sheet = page.sheet(grid.bottom + EDGE, f"Attention: {', '.join(one.title for one in maps)}")
    grid.draw(sheet, maps, colors)
    legend.draw(sheet, grid.right, grid.top, grid.height)
    return sheet


def _wall(
    data: Attention,
    chosen: Ranked,
    colors: ColorScale,
    clipped: tuple[bool, bool],
    regular: bool,
    outlined: tuple[int, int] | None,
    page: Page,
) -> Sheet:
    patterns = patterns_of(data)
    room = page.room(Legend(colors, "", clipped, True, False).width(), px(0.8))
    heads = patterns.n_heads if regular else len(chosen)
    wall = Wall.fit(patterns.layers, heads, room, regular=regular)
    side = max(8, min(MOST_CELLS, round(wall.pitch / 96 * 300)))
    values, allowed = thumbnails(data, side), allowed_patches(data, side)
    at = {layer: row for row, layer in enumerate(patterns.layers)}
    tiles = np.stack([values[at[layer], head] for layer, head, _ in chosen])
    codes = colors.codes(tiles, np.stack([allowed[at[layer]] for layer, _, _ in chosen]))
    sheet = page.sheet(wall.bottom + EDGE, f"Attention: {_about(data)}")
    largest = np.full(len(tiles), np.nan)
    for place, tile in enumerate(tiles):
        finite = tile[np.isfinite(tile)]
        if finite.size:
            largest[place] = finite[np.argmax(np.abs(finite))]
    wall.draw(sheet, chosen, codes, colors, outlined, largest)
    _legend(data, colors, clipped, [codes]).draw(sheet, wall.box.right, wall.box.top, max(wall.box.height, px(12)))
    return sheet


def _hover(values: np.ndarray, allowed: np.ndarray, data: Attention, where: str, cells: int) -> Hover | None:
    """The value and both tokens; masked and missing cells stay silent."""
    if cells > HOVER_CELLS:
        return None
    value = "A − B" if isinstance(data, AttentionComparison) else patterns_of(data).weighting
    at, text = "query %{y:d}, key %{x:d}", None
    if cells <= HOVER_TOKENS:
        names = [printed.markup(printed.token_label(string, 40)) for string in tokens_of(data).strings]
        text = [[f"{query} ← {key}" for key in names] for query in names]
        at = "%{text}<br>" + at
    shown = np.where(allowed, values, np.float32(np.nan)).astype(np.float32)
    return Hover(shown, f"{where}<br>{at}<br>{value} %{{z:.6g}}", text, where)


# --- the still picture ------------------------------------------------------------------------------------


def attention_still(
    data: Attention,
    layer: int | None = None,
    head: int | None = None,
    scale: str = "sqrt",
    palette: str = "blue",
    *,
    title: str = "",
    theme: str = "light",
    atlas: np.ndarray | None = None,
) -> Sheet:
    """`data` as a picture 760 pixels wide for viewers that run no JavaScript: the wall on the left, one head on the
    right.

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

    Raises:
        DataError: unknown option, or a head that the data lacks.
    """
    patterns, strings = patterns_of(data), tokens_of(data).strings
    layers, heads = patterns.layers, patterns.n_heads
    single = len(layers) * heads == 1
    if single:
        layer, head = layers[0], 0
    focused = None if layer is None or head is None else (integer("layer", layer), integer("head", head))
    values = None if focused is None else data.head(*focused)  # raises for a head that does not exist
    page = still(data, title, strings, theme, "   ".join(part for part in (patterns.model, _about(data)) if part))
    top, room = page.top + TITLE, page.width - EDGE
    room = room - px(18) if focused is None else 0.46 * room
    wall = Wall.fit(layers, heads, Room(EDGE, top, room), still=True)
    side = max(4, min(round(wall.pitch * ZOOM * 0.94), int(math.sqrt(WALL_CELLS / (len(layers) * heads)))))
    tiles, allowed = _reduced(data, side, atlas)
    colors, clipped = color_scale(data, _bounds(data, tiles), scale=scale, palette=palette, theme=theme)
    codes = colors.codes(tiles, allowed[:, None])
    chosen: Ranked = [(*pair, None) for pair in every_head(data)]
    focus = None if focused is None or values is None else _focus(data, focused, values, colors)
    legend = _legend(data, colors, clipped, [codes if focus is None else focus.codes])
    if focus is None:
        sheet = page.sheet(wall.bottom + EDGE, f"Attention: {_about(data)}")
        wall.draw(sheet, chosen, codes.reshape(-1, *codes.shape[2:]), colors)
        legend.draw(sheet, wall.box.right, top, max(wall.box.height, px(12)))
        return sheet
    edge = EDGE if single else wall.box.right + px(3)
    width = min(page.width - edge - legend.width(), px(88))
    grid = Maps.fit(strings, 1, Room(edge, page.top, width))
    sheet = page.sheet(max(grid.bottom, 0 if single else wall.bottom) + EDGE, f"Attention: {_about(data)}")
    if not single:
        wall.draw(sheet, chosen, codes.reshape(-1, *codes.shape[2:]), colors, focused)
    grid.draw(sheet, [focus], colors)
    legend.draw(sheet, grid.right, top, grid.height)
    return sheet


preview_svg, preview_png = as_svg(attention_still), as_png(attention_still)


def _focus(data: Attention, focused: tuple[int, int], values: np.ndarray, colors: ColorScale) -> Map:
    """The head in focus, of long prompts reduced by largest magnitude."""
    allowed = allowed_cells(data, focused[0])
    if len(values) > HEAD_CELLS:
        first = starts(len(values), HEAD_CELLS)
        values = reduced(values[None], first, signed=colors.signed)[0]
        allowed = any_cell(allowed, first)
    return Map(f"Layer {focused[0]}, head {focused[1]}", colors.codes(values, allowed))


def _reduced(data: Attention, side: int, atlas: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails `[layer, head, cell, cell]` of at most `side` cells, of `atlas` where there is one, and what the mask
    allows."""
    if atlas is None:
        return thumbnails(data, side), allowed_patches(data, side)
    held, patterns = as_float32(atlas), patterns_of(data)
    if held.ndim != 4 or held.shape[:2] != (len(patterns.layers), patterns.n_heads) or held.shape[2] != held.shape[3]:
        raise DataError(f"atlas has shape {list(held.shape)}; it must be [layer, head, cell, cell].")
    count, kept = len(tokens_of(data)), held.shape[-1]
    tiles = np.stack([reduced(one, starts(kept, side), signed=True) for one in held])
    # Patches of the atlas start where those of the data do, so the mask is reduced in the same two strides.
    strides = (starts(count, kept), starts(min(count, kept), tiles.shape[-1]))
    allowed = [any_cell(any_cell(allowed_cells(data, layer), strides[0]), strides[1]) for layer in patterns.layers]
    return tiles, np.stack(allowed)


def _bounds(data: Attention, tiles: np.ndarray) -> tuple[float, float]:
    """The range of all heads: largest values survive the reduction, smallest ones (pre-softmax scores) do not."""
    if patterns_of(data).weighting == "scores" and tiles.shape[-1] < len(tokens_of(data)):
        return value_bounds(data, None)
    finite = tiles[np.isfinite(tiles)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
