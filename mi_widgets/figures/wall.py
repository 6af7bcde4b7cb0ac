"""The wall on paper: a thumbnail of every layer × head, or of chosen heads in order of a score.

Takes `data` and a colour scale, gives a plotly figure. Knows nothing of models or the screen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_widgets import color
from mi_widgets.data.thumbnails import allowed_patches, thumbnails
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.choice import Attention, Ranked, patterns_of, score_text, unit_of
from mi_widgets.figures.plotly_cells import cell_image
from mi_widgets.figures.plotly_legend import Legend
from mi_widgets.figures.plotly_sheet import HOVER_ONLY, Box, Sheet
from mi_widgets.figures.scale import MASKED, MISSING, PAPER, ColorScale
from mi_widgets.figures.style import HAIRLINE_PT, LABEL_PT, MIN_PT, TITLE_PT, inks, pt, px

if TYPE_CHECKING:
    import plotly.graph_objects as go

EDGE = px(0.8)
LINE = 1.35
#: A thumbnail has no more cells than this on a side, and no more than print at 300 dpi resolves.
MOST_CELLS = 64


def wall_figure(
    data: Attention,
    chosen: Ranked,
    colors: ColorScale,
    clipped: tuple[bool, bool],
    regular: bool,
    outlined: tuple[int, int] | None,
    headline: list[str],
    width: float,
    height: float | None,
) -> go.Figure:
    """Thumbnails on a sheet `width` pixels wide.

    Args:
        data: patterns or comparison.
        chosen: heads in order of drawing.
        colors: the colour scale.
        clipped: whether values lie below and above it.
        regular: rows are layers and columns heads; else heads flow in reading order, each under its name.
        outlined: a head to mark in the accent colour, or None.
        headline: lines of the title, plotly markup.
        width: of the sheet in pixels.
        height: of the sheet in pixels; follows from the width if None.
    """
    patterns = patterns_of(data)
    legend_width = Legend(colors, "", clipped, True, False).width()
    top = EDGE + px(0.8) + len(headline) * pt(TITLE_PT) * LINE + (px(0.8) if headline else 0)
    if regular:
        left = EDGE + pt(LABEL_PT) * 1.4 + pt(2.5) + len(str(max(patterns.layers))) * 0.6 * pt(MIN_PT)
        below = pt(2.5) + pt(MIN_PT) * LINE + pt(LABEL_PT) * 1.5 + EDGE
        columns, rows, caption = patterns.n_heads, len(patterns.layers), 0.0
    else:
        left, below, caption = EDGE, EDGE, pt(MIN_PT) * LINE
        # Wide enough for "11.11 0.92" where there are few heads, for "11.11" where there are many.
        columns = max(1, min(len(chosen), int((width - left - legend_width) / px(13.5 if len(chosen) <= 60 else 8.5))))
        rows = math.ceil(len(chosen) / columns)
    pitch = min((width - left - legend_width) / columns, px(24))
    if height is None:
        pitch = min(pitch, max(px(3), px(235) / rows))
    else:
        pitch = min(pitch, (height - top - below) / rows - caption)
    if pitch < px(1.2):
        raise DataError(
            f"{len(chosen)} heads leave {max(pitch, 0) * 25.4 / 96:.1f} mm for each thumbnail.",
            "Give a larger width_mm or height_mm, or fewer heads.",
        )
    side = max(8, min(MOST_CELLS, round(pitch / 96 * 300)))
    values, allowed = thumbnails(data, side), allowed_patches(data, side)
    at = {layer: row for row, layer in enumerate(patterns.layers)}
    codes = [colors.codes(values[at[layer], head], allowed[at[layer]]) for layer, head, _ in chosen]
    side = codes[0].shape[0]
    margin = max(1, round(side * 0.05))
    cells = side + 2 * margin
    legend = Legend(
        colors,
        unit_of(data).replace("W_O", "W<sub>O</sub>"),
        clipped,
        any(bool((tile == MASKED).any()) for tile in codes),
        any(bool((tile == MISSING).any()) for tile in codes),
    )
    box = Box(left, top, columns * pitch, rows * (pitch + caption))
    sheet = Sheet(width, box.bottom + below if height is None else height, colors.theme)
    ink = inks(colors.theme)
    for line, text in enumerate(headline):
        sheet.text(EDGE, EDGE + (line + 0.5) * pt(TITLE_PT) * LINE, text, pt(TITLE_PT))
    layer_ticks = printed.every(rows, pitch, pt(MIN_PT) * 1.2)
    head_ticks = printed.every(columns, pitch, (len(str(columns)) + 1) * 0.6 * pt(MIN_PT))
    quiet = {"showline": False, "tickfont": {"size": pt(MIN_PT)}, "ticks": "", "tickmode": "array"}
    xref, yref = sheet.add_axes(
        box,
        {
            **quiet,
            "range": [-0.5, columns - 0.5],
            "tickvals": head_ticks,
            "ticktext": [str(tick) for tick in head_ticks],
            "showticklabels": regular,
            "tickangle": 0,
        },
        {
            **quiet,
            "range": [rows - 0.5, -0.5],
            "tickvals": layer_ticks,
            "ticktext": [str(patterns.layers[tick]) for tick in layer_ticks] if regular else [],
            "showticklabels": regular,
        },
    )
    # Height of a tile's map on the row axis, where a caption takes the rest of the row.
    share = pitch / (pitch + caption)
    inset, tall = margin / cells, share * (1 - 2 * margin / cells)
    frames, outline = [], None
    atlas = np.full((rows * cells, columns * cells), PAPER, np.uint16)
    for place, (layer, head, score) in enumerate(chosen):
        row, column = divmod(place, columns)
        atlas[
            row * cells + margin : (row + 1) * cells - margin, column * cells + margin : (column + 1) * cells - margin
        ] = codes[place]
        x0, x1 = column - 0.5 + inset, column + 0.5 - inset
        y1 = row + 0.5 - share * inset
        y0 = y1 - tall
        frames.append(f"M{x0:.5g},{y0:.5g}H{x1:.5g}V{y1:.5g}H{x0:.5g}Z")
        if (layer, head) == outlined:
            outline = frames[-1]
        if not regular:
            name = f"{layer}.{head}" if score is None or pitch < px(12) else f"{layer}.{head}  {score_text(score)}"
            over = box.top + row * (pitch + caption) + caption
            sheet.text(box.left + (column + inset) * pitch, over + px(0.2), name, pt(MIN_PT), yanchor="bottom")
    if caption:
        for row in range(rows):
            strip = atlas[row * cells : (row + 1) * cells]
            sheet.images.append(cell_image(strip, colors.table, xref, yref, (-0.5, row + 0.5 - share, columns, share)))
    else:
        sheet.images.append(cell_image(atlas, colors.table, xref, yref, (-0.5, -0.5, columns, rows)))
    line = {"color": ink.line, "width": pt(HAIRLINE_PT)}
    sheet.shapes.append({"type": "path", "path": "".join(frames), "xref": xref, "yref": yref, "line": line})
    if outline:
        accent = {"color": color.ACCENT[colors.theme], "width": pt(1.2)}
        sheet.shapes.append({"type": "path", "path": outline, "xref": xref, "yref": yref, "line": accent})
    if regular:
        low = box.bottom + pt(2.5) + pt(MIN_PT) * LINE + pt(LABEL_PT) * 0.6
        sheet.text(box.left + box.width / 2, low, "head", pt(LABEL_PT), xanchor="center", color=ink.quiet)
        middle = box.top + box.height / 2
        sheet.text(
            EDGE + pt(LABEL_PT) * 0.6, middle, "layer", pt(LABEL_PT), xanchor="center", textangle=-90, color=ink.quiet
        )
    sheet.traces.append(_hover(values, chosen, at, columns, rows, xref, yref))
    legend.draw(sheet, box.right, box.top, max(box.height, px(12)))
    return sheet.figure()


def _hover(
    values: np.ndarray, chosen: Ranked, at: dict[int, int], columns: int, rows: int, xref: str, yref: str
) -> dict[str, Any]:
    """A transparent heat map with one cell per head: its name, largest value and score."""
    largest = np.full(rows * columns, np.nan)
    text = [""] * (rows * columns)
    for place, (layer, head, score) in enumerate(chosen):
        tile = values[at[layer], head]
        finite = tile[np.isfinite(tile)]
        if finite.size:
            largest[place] = finite[np.argmax(np.abs(finite))]
        text[place] = f"layer {layer}, head {head}" + ("" if score is None else f"<br>score {score_text(score)}")
    return {
        "type": "heatmap",
        "z": largest.reshape(rows, columns),
        "text": [text[row * columns : (row + 1) * columns] for row in range(rows)],
        "xaxis": xref,
        "yaxis": yref,
        "colorscale": [[0, "rgba(0,0,0,0)"], [1, "rgba(0,0,0,0)"]],
        "showscale": False,
        "hoverongaps": False,
        "meta": HOVER_ONLY,
        "hovertemplate": "%{text}<br>largest %{z:.4g}<extra></extra>",
    }
