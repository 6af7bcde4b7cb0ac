"""Attention on paper: one head as a query × key map, several as small multiples, or the wall of all heads.

Takes `data`, gives a plotly figure. Knows nothing of models, torch or the screen, but colours as the screen does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mi_widgets.data import AttentionComparison
from mi_widgets.data.integers import truth, word
from mi_widgets.data.thumbnails import allowed_cells
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.choice import (
    Attention,
    Ranked,
    chosen_heads,
    color_scale,
    patterns_of,
    ranked,
    score_text,
    tokens_of,
    unit_of,
    value_bounds,
)
from mi_widgets.figures.headline import title_lines
from mi_widgets.figures.labels import TokenAxis
from mi_widgets.figures.plotly_cells import VECTOR_CELLS, cell_image, cell_shapes
from mi_widgets.figures.plotly_legend import Legend
from mi_widgets.figures.plotly_sheet import HOVER_ONLY, Box, Sheet
from mi_widgets.figures.scale import MASKED, MISSING, ColorScale
from mi_widgets.figures.style import LABEL_PT, MIN_PT, MONO, TITLE_PT, TOKEN_PT, height_in_px, inks, pt, px, width_in_mm
from mi_widgets.figures.wall import wall_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

KINDS = ("matrix", "wall")
#: Without a choice of heads, at most this many are drawn as small multiples.
MOST_PANELS = 16
#: Hover text names tokens up to this many cells, positions up to the second number, and is left out beyond.
HOVER_TOKENS, HOVER_CELLS = 20_000, 1_100_000

EDGE = px(0.8)
LINE = 1.35


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
) -> go.Figure:
    """Attention as a plotly figure of exact size, ready for `save_figure`.

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
        A figure whose layout is `width_mm` wide at 96 pixels per inch. Hovering gives exact values (matrices up to
        1.1 million cells).

    Raises:
        DataError: an unknown option, a head that the data lacks, or a size too small to draw in.
    """
    patterns = patterns_of(data)
    kind = word("kind", kind, KINDS)
    width = px(width_in_mm(width_mm))
    height = height_in_px(height_mm)
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
    headline = [printed.markup(line) for line in title_lines(title, width, data)]
    if kind == "wall":
        regular = sort is None and len(pairs) == len(patterns.layers) * patterns.n_heads and heads is None
        return wall_figure(data, chosen, colors, clipped, regular, outlined, headline, width, height)
    return _matrices(data, chosen, colors, clipped, headline, width, height)


@dataclass(frozen=True)
class _Grid:
    """Where the panels of small multiples stand; lengths in pixels."""

    columns: int
    rows: int
    side: float
    gap: float
    row_gap: float
    left: float
    top: float

    def box(self, panel: int) -> Box:
        row, column = divmod(panel, self.columns)
        return Box(
            self.left + column * (self.side + self.gap),
            self.top + row * (self.side + self.row_gap),
            self.side,
            self.side,
        )


def _matrices(
    data: Attention,
    chosen: Ranked,
    colors: ColorScale,
    clipped: tuple[bool, bool],
    headline: list[str],
    width: float,
    height: float | None,
) -> go.Figure:
    tokens = tokens_of(data)
    count = len(tokens)
    panels = [(layer, head, data.head(layer, head), allowed_cells(data, layer)) for layer, head, _ in chosen]
    codes = [colors.codes(values, allowed) for _, _, values, allowed in panels]
    legend = Legend(
        colors,
        unit_of(data).replace("W_O", "W<sub>O</sub>"),
        clipped,
        any(bool((grid == MASKED).any()) for grid in codes),
        any(bool((grid == MISSING).any()) for grid in codes),
    )
    titles = [_panel_title(layer, head, score, len(chosen)) for layer, head, score in chosen]
    grid, keys, queries, page_height = _layout(tokens.strings, len(chosen), legend, headline, width, height)
    sheet = Sheet(width, page_height, colors.theme)
    _headline(sheet, headline)
    ink = inks(colors.theme)
    vector = sum(one.size for one in codes) <= VECTOR_CELLS
    hover = count * count * len(panels)
    for panel, (layer, head, values, allowed) in enumerate(panels):
        box = grid.box(panel)
        leftmost, lowest = panel % grid.columns == 0, panel + grid.columns >= len(panels)
        xref, yref = sheet.add_axes(box, _axis(keys, count, lowest), _axis(queries, count, leftmost, downwards=True))
        if vector:
            sheet.shapes += cell_shapes(codes[panel], colors.table, xref, yref)
        else:
            whole = (-0.5, -0.5, float(count), float(count))
            sheet.images.append(cell_image(codes[panel], colors.table, xref, yref, whole))
        where = f"layer {layer}, head {head}"
        sheet.traces.append(_hover(values, allowed, data, where, xref, yref, hover))
        sheet.text(box.left, box.top - px(0.7), titles[panel], pt(LABEL_PT), yanchor="bottom")
        if lowest:
            under = box.bottom + pt(2.5) + keys.room + pt(LABEL_PT) * 0.75
            sheet.text(box.left + box.width / 2, under, "key", pt(LABEL_PT), xanchor="center", color=ink.quiet)
        if leftmost:
            beside = EDGE + pt(LABEL_PT) * 0.6
            middle = box.top + box.height / 2
            sheet.text(beside, middle, "query", pt(LABEL_PT), xanchor="center", textangle=-90, color=ink.quiet)
    last = grid.box(grid.columns - 1)
    legend.draw(sheet, last.right, grid.top, grid.rows * grid.side + (grid.rows - 1) * grid.row_gap)
    return sheet.figure()


def _layout(
    strings: Sequence[str], panels: int, legend: Legend, headline: list[str], width: float, height: float | None
) -> tuple[_Grid, TokenAxis, TokenAxis, float]:
    count = len(strings)
    top = _headline_height(headline) + pt(LABEL_PT) * LINE + px(0.7) + EDGE
    margin = EDGE + pt(LABEL_PT) * 1.4 + pt(2.5)
    gap, row_gap = px(2.5), pt(LABEL_PT) * LINE + px(2.2)
    widest = 0.2 * width
    sizes = (pt(TOKEN_PT), pt(MIN_PT))

    def fitted(room: float) -> tuple[int, int, float, TokenAxis]:
        """Columns, rows, side of a panel and its labels, with `room` kept for the labels' width."""
        available = width - margin - room - legend.width()
        columns = max(1, min(panels, int((available + gap) / (px(24) + gap))))
        rows = math.ceil(panels / columns)
        columns = math.ceil(panels / rows)
        side = min((available - (columns - 1) * gap) / columns, max(px(22), count * px(9)))
        if height is not None:
            below = pt(2.5) + room + pt(LABEL_PT) * 1.5 + EDGE
            side = min(side, (height - top - below - (rows - 1) * row_gap) / rows)
        if side < px(6):
            raise DataError(
                f"{panels} heads leave {max(side, 0) * 25.4 / 96:.0f} mm for each map.",
                "Give a larger width_mm or height_mm, or fewer heads.",
            )
        return columns, rows, side, TokenAxis.fit(strings, side, widest, sizes)

    # Label widths depend on the panels' side and the side on the labels: widen the room until they fit.
    room = min(widest, printed.widest([printed.token_label(text) for text in strings], sizes[0]))
    columns, rows, side, queries = fitted(room)
    for _ in range(3):
        if queries.room > room:
            room = queries.room
            columns, rows, side, queries = fitted(room)
    keys = queries
    if keys.room <= 0.92 * side / count and len(keys.positions) == count:
        keys = TokenAxis(keys.positions, keys.labels, keys.size, keys.size * LINE)
    grid = _Grid(columns, rows, side, gap, row_gap, margin + min(room, queries.room), top)
    below = pt(2.5) + keys.room + pt(LABEL_PT) * 1.5 + EDGE
    needed = top + rows * side + (rows - 1) * row_gap + below
    return grid, keys, queries, needed if height is None else height


def _axis(axis: TokenAxis, count: int, labelled: bool, downwards: bool = False) -> dict[str, Any]:
    span = [-0.5, count - 0.5]
    return {
        "range": span[::-1] if downwards else span,
        "tickmode": "array",
        "tickvals": axis.positions,
        "ticktext": [printed.markup(text) for text in axis.labels],
        "tickangle": 0 if downwards or axis.room <= axis.size * LINE else -90,
        "tickfont": {"family": MONO, "size": axis.size},
        "showticklabels": labelled,
    }


def _panel_title(layer: int, head: int, score: float | None, panels: int) -> str:
    name = f"Layer {layer}, head {head}" if panels == 1 else f"L{layer} H{head}"
    return name if score is None else f"{name} · {score_text(score)}"


def _headline_height(headline: list[str]) -> float:
    return len(headline) * pt(TITLE_PT) * LINE + (px(0.8) if headline else 0)


def _headline(sheet: Sheet, headline: list[str]) -> None:
    for line, words in enumerate(headline):
        sheet.text(EDGE, EDGE + (line + 0.5) * pt(TITLE_PT) * LINE, words, pt(TITLE_PT))


def _hover(
    values: np.ndarray, allowed: np.ndarray, data: Attention, where: str, xref: str, yref: str, cells: int
) -> dict[str, Any]:
    """A transparent heat map that only answers to the pointer; masked and missing cells stay silent."""
    if cells > HOVER_CELLS:
        return {"type": "scatter", "x": [None], "y": [None], "xaxis": xref, "yaxis": yref, "hoverinfo": "skip"}
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": np.where(allowed, values, np.float32(np.nan)).astype(np.float32),
        "xaxis": xref,
        "yaxis": yref,
        "colorscale": [[0, "rgba(0,0,0,0)"], [1, "rgba(0,0,0,0)"]],
        "showscale": False,
        "hoverongaps": False,
        "meta": HOVER_ONLY,
        "name": where,
    }
    value = "A − B" if isinstance(data, AttentionComparison) else patterns_of(data).weighting
    at = "query %{y:d}, key %{x:d}"
    if cells <= HOVER_TOKENS:
        names = [printed.markup(printed.token_label(string, 40)) for string in tokens_of(data).strings]
        trace["text"] = [[f"{query} ← {key}" for key in names] for query in names]
        at = "%{text}<br>" + at
    trace["hovertemplate"] = f"{where}<br>{at}<br>{value} %{{z:.6g}}<extra></extra>"
    return trace
