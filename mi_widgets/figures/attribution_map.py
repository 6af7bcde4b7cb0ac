"""The layer × head map of an attribution on paper: every head's contribution, and the MLPs' beside them.

Takes `data`, gives a plotly figure. Knows nothing of models, torch or the screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mi_widgets import color
from mi_widgets.data import LogitAttribution
from mi_widgets.described.logit_attribution import LOGIT_ATTRIBUTION
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.logit_attribution import EDGE, LINE, Page
from mi_widgets.figures.plotly_cells import VECTOR_CELLS, cell_image, cell_shapes
from mi_widgets.figures.plotly_legend import Legend
from mi_widgets.figures.plotly_sheet import HOVER_ONLY, Box, Sheet
from mi_widgets.figures.scale import MISSING, ColorScale
from mi_widgets.figures.style import HAIRLINE_PT, LABEL_PT, MIN_PT, inks, pt, px

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Between the heads and the MLPs, in cells.
GAP = 0.5


def contribution_scale(data: LogitAttribution, theme: str) -> tuple[ColorScale, tuple[bool, bool]]:
    """Diverging, symmetric about zero, as wide as the largest head; and whether MLPs lie below or above it (one MLP
    often outweighs every head, which would all be pale).

    Raises:
        DataError: heads are not known.
    """
    if data.heads is None:
        raise DataError(f"the heads are not known: {data.why_no_heads or 'they were not computed'}", "Draw the parts.")
    finite = np.abs(data.heads[np.isfinite(data.heads)])
    most = float(finite.max()) if finite.size else 0.0
    mlps = data.mlps[np.isfinite(data.mlps)]
    clipped = bool((mlps < -most).any()), bool((mlps > most).any())
    return ColorScale(-most, most, "linear", color.DIVERGING, theme, True, inks(theme).paper), clipped


def map_figure(page: Page, outlined: tuple[int, int] | None) -> go.Figure:
    """Layers as rows, the first at the top; heads as columns, the MLP of each layer in a column apart.

    Args:
        page: the paper.
        outlined: a head to mark in the accent colour, or None.
    """
    data, ink = page.data, inks(page.theme)
    colors, clipped = contribution_scale(data, page.theme)
    assert data.heads is not None
    layers, heads = data.heads.shape
    with_mlps = bool(np.isfinite(data.mlps).any())
    columns = heads + (GAP + 1 if with_mlps else 0)
    codes = colors.codes(data.heads)
    missing = bool((codes == MISSING).any()) or (with_mlps and bool(np.isnan(data.mlps).any()))
    legend = Legend(colors, LOGIT_ATTRIBUTION.measure("contribution").legend(), clipped, False, missing)
    left = EDGE + pt(LABEL_PT) * 1.4 + pt(2.5) + len(str(layers - 1)) * 0.6 * pt(MIN_PT)
    below = pt(2.5) + pt(MIN_PT) * LINE + pt(LABEL_PT) * 1.5 + EDGE
    pitch = min((page.width - left - legend.width()) / columns, px(9))
    tall = max(px(1.2), min(pitch, px(235) / layers))
    if page.height is not None:
        tall = (page.height - page.top - below) / layers
    if pitch < px(0.6) or tall < px(0.6):
        raise DataError(
            f"{layers} layers × {heads} heads leave cells of {min(pitch, tall) * 25.4 / 96:.1f} mm.",
            "Give a larger width_mm or height_mm.",
        )
    box = Box(left, page.top, heads * pitch, layers * tall)
    sheet = page.sheet(box.bottom + below if page.height is None else page.height)
    rows = printed.every(layers, tall, pt(MIN_PT) * 1.2)
    places = printed.every(heads, pitch, (len(str(heads)) + 1) * 0.6 * pt(MIN_PT))
    refs = sheet.add_axes(box, _axis(heads, places), _axis(layers, rows, downwards=True))
    _cells(sheet, codes, colors, refs)
    sheet.traces.append(_hover(data.heads, "layer %{y:d}, head %{x:d}", refs))
    if outlined is not None:
        sheet.shapes.append(
            {
                "type": "rect",
                "xref": refs[0],
                "yref": refs[1],
                "x0": outlined[1] - 0.5,
                "x1": outlined[1] + 0.5,
                "y0": outlined[0] - 0.5,
                "y1": outlined[0] + 0.5,
                "line": {"color": color.ACCENT[page.theme], "width": pt(1.2)},
            }
        )
    middle = box.bottom + pt(2.5) + pt(MIN_PT) * LINE + pt(LABEL_PT) * 0.6
    sheet.text(box.left + box.width / 2, middle, "head", pt(LABEL_PT), xanchor="center", color=ink.quiet)
    sheet.text(
        EDGE + pt(LABEL_PT) * 0.6, box.top + box.height / 2, "layer", pt(LABEL_PT), xanchor="center", textangle=-90,
        color=ink.quiet,
    )  # fmt: skip
    right = box.right
    if with_mlps:
        strip = Box(box.right + GAP * pitch, box.top, pitch, box.height)
        right = strip.right
        refs = sheet.add_axes(strip, _axis(1, []), _axis(layers, [], downwards=True))
        _cells(sheet, colors.codes(data.mlps[:, None]), colors, refs)
        sheet.traces.append(_hover(data.mlps[:, None], "layer %{y:d}, MLP", refs))
        label = strip.bottom + pt(2.5) + pt(MIN_PT) * LINE / 2
        sheet.text(strip.left + pitch / 2, label, "MLP", pt(MIN_PT), xanchor="center", color=ink.quiet)
    legend.draw(sheet, right, box.top, max(box.height, px(12)))
    return sheet.figure()


def _axis(count: int, ticks: list[int], downwards: bool = False) -> dict[str, Any]:
    span = [-0.5, count - 0.5]
    return {
        "range": span[::-1] if downwards else span,
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [str(tick) for tick in ticks],
        "tickangle": 0,
        "ticks": "",
        "tickfont": {"size": pt(MIN_PT)},
        "linewidth": pt(HAIRLINE_PT),
    }


def _cells(sheet: Sheet, codes: np.ndarray, colors: ColorScale, refs: tuple[str, str]) -> None:
    """The cells, as vectors where they are few."""
    if codes.size <= VECTOR_CELLS:
        sheet.shapes += cell_shapes(codes, colors.table, *refs)
    else:
        whole = (-0.5, -0.5, float(codes.shape[1]), float(codes.shape[0]))
        sheet.images.append(cell_image(codes, colors.table, *refs, whole))


def _hover(values: np.ndarray, where: str, refs: tuple[str, str]) -> dict[str, Any]:
    """A transparent heat map that only answers to the pointer."""
    return {
        "type": "heatmap",
        "z": values.astype(np.float32),
        "xaxis": refs[0],
        "yaxis": refs[1],
        "colorscale": [[0, "rgba(0,0,0,0)"], [1, "rgba(0,0,0,0)"]],
        "showscale": False,
        "hoverongaps": False,
        "meta": HOVER_ONLY,
        "hovertemplate": f"{where}<br>%{{z:.4g}} logits<extra></extra>",
    }
