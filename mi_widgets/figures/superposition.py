"""Superposition on paper: the directions in which a toy model keeps its features, and those that a coder found.

Takes `data`, gives a sheet: arrows where there are two dimensions, else dot products; beside a coder the cosine of each
feature with each latent. Knows nothing of models, torch or the page.
"""

from __future__ import annotations

import numpy as np

from mi_widgets import color
from mi_widgets.data.superposition import Superposition
from mi_widgets.errors import DataError
from mi_widgets.figures.amounts import amount, even_ticks
from mi_widgets.figures.legend import Legend
from mi_widgets.figures.marks import Axis, Box, Cells, Curve, Hover
from mi_widgets.figures.page import (
    EDGE,
    Page,
    below,
    left_of,
    name_axes,
    named_rows,
    numbered_columns,
    paper,
)
from mi_widgets.figures.scale import ColorScale
from mi_widgets.figures.sheet import Sheet, plotted
from mi_widgets.figures.style import MIN_PT, inks, pt, px


@plotted
def superposition_figure(
    data: Superposition,
    *,
    title: str | None = None,
    width_mm: float | str = 120,
    height_mm: float | None = None,
    theme: str = "light",
) -> Sheet:
    """A toy model's features and what a coder found of them, as a plotly figure of exact size, for `save_figure`.

    Left: in two dimensions each feature's direction as a line from zero, and the coder's decoder rows, drawn as long as
    the longest of them, as diamonds, filled where they are the nearest to a feature; in more the dot products of the
    directions. Right, beside a coder: the cosine of each feature with each latent, latents in the order of the features
    that they lie nearest to.

    Args:
        data: `toy.data` or `toy.found(coder)`.
        title: a line above the figure.
        width_mm: width of the page in millimetres, or `"single"` (83), `"one and a half"` (120), `"double"` (174).
        height_mm: height in millimetres; as needed if None.
        theme: `"light"` or `"dark"`.

    Raises:
        DataError: no superposition, an unknown option, or a size too small to draw in.
    """
    if not isinstance(data, Superposition):
        raise DataError(f"a {type(data).__name__} is no superposition.", "Make one with demo.superposition().data.")
    inks(theme)
    features, dimensions = data.directions.shape
    caption = f"{features} features in {dimensions} dimensions, {int(data.kept.sum())} kept"
    key = []
    if data.decoder is not None:
        caption += f"; mean largest cosine with the coder's directions {data.match:.3f}"
        key = [(color.CATEGORICAL[0], "planted"), (color.CATEGORICAL[1], "found")] if dimensions == 2 else []
    page = paper(data, title, width_mm, height_mm, theme, caption, key)
    scale = ColorScale(-1.0, 1.0, "linear", color.DIVERGING, theme, True, inks(theme).paper)
    legend = Legend(scale, "cosine" if data.decoder is not None else "dot product", (False, False), False, False)
    return _drawn(data, page, legend)


def _drawn(data: Superposition, page: Page, legend: Legend) -> Sheet:
    beside = data.decoder is not None
    flat = data.directions.shape[1] == 2
    left = EDGE + left_of(["−1"])
    coloured = beside or not flat
    across = page.width - left - (legend.width() if coloured else px(3))
    wide = (across - left - px(3)) / 2 if beside else across
    tall = min(wide, px(80)) if page.height is None else page.height - page.top - below() - EDGE
    if min(wide, tall) < px(14):
        raise DataError("the plots have no room.", "Give a larger width_mm or height_mm.")
    sheet = page.sheet(page.top + tall + below() + EDGE, "Superposition")
    box = Box(left, page.top, wide, tall)
    if flat:
        _arrows(sheet, data, Box(box.left, box.top, min(wide, tall), min(wide, tall)))
    else:
        largest = float(np.abs(data.interference).max()) or 1.0
        names = f"dot product, of at most {amount(largest)}" if beside else "feature"
        _map(sheet, data.interference / largest, box, legend.scale, names, "feature", range(len(data.interference)))
    if beside:
        order = _order(data)
        right = Box(box.right + px(3) + left, page.top, wide, tall)
        _map(sheet, data.cosines[:, order], right, legend.scale, "latent", "feature", order)
        box = right
    if coloured:
        legend.draw(sheet, box.right, box.top, tall)
    return sheet


def _order(data: Superposition) -> list[int]:
    """Latents by the feature that each lies nearest to, the nearest first."""
    nearest, cosine = data.cosines.argmax(0), data.cosines.max(0)
    return np.lexsort((-cosine, nearest)).tolist()


def _map(
    sheet: Sheet, values: np.ndarray, box: Box, scale: ColorScale, across: str, down: str, columns: range | list[int]
) -> None:
    rows, count = values.shape
    shown_rows = named_rows(rows, box.height / rows)
    shown = numbered_columns(count, box.width / count)
    plot = sheet.plot(
        box,
        Axis(-0.5, count - 0.5, shown, [str(columns[place]) for place in shown], pt(MIN_PT)),
        Axis(-0.5, rows - 0.5, shown_rows, [str(row) for row in shown_rows], pt(MIN_PT)),
    )
    text = [[f"{across} {column}, {down} {row}" for column in columns] for row in range(rows)]
    plot.add(Cells(scale.codes(values), scale.table), Hover(values, "%{text}<br>%{z:.3f}", text))
    name_axes(sheet, box, box.left - left_of(["−1"]), across, down)


def _arrows(sheet: Sheet, data: Superposition, box: Box) -> None:
    ink = inks(sheet.theme)
    longest = float(data.lengths.max()) or 1.0
    end = 1.15 * longest
    ticks = even_ticks(-end, end, 4)
    labels = [amount(tick) for tick in ticks]
    plot = sheet.plot(
        box,
        Axis(-end, end, ticks, labels, pt(MIN_PT), zero=color.MASKED[sheet.theme]),
        Axis(end, -end, ticks, labels, pt(MIN_PT), zero=color.MASKED[sheet.theme]),
    )
    planted, found = color.CATEGORICAL[:2]
    for feature, (x, y) in enumerate(data.directions.tolist()):
        said = f"feature {feature}, length {amount(float(data.lengths[feature]))}"
        plot.add(Curve([0.0, x], [0.0, y], planted, pt(0.8)))
        plot.add(Curve([x], [y], planted, 0.0, mark="circle", size=pt(3), fill=planted, hover=[said]))
        sheet.text(plot.across(1.1 * x), plot.down(1.1 * y), str(feature), pt(MIN_PT), ink.quiet, anchor="middle")
    if data.decoder is None:
        return
    lengths = np.maximum(np.linalg.norm(data.decoder, axis=1, keepdims=True), 1e-12)
    nearest = set(data.best.tolist())
    for latent, (x, y) in enumerate((data.decoder / lengths * longest).tolist()):
        look = (found, pt(5)) if latent in nearest else (ink.paper, pt(3))
        plot.add(Curve([x], [y], found, 0.0, mark="diamond", size=look[1], fill=look[0], hover=[_latent(data, latent)]))


def _latent(data: Superposition, latent: int) -> str:
    if data.active is None:
        return f"latent {latent}"
    return f"latent {latent}, active in {data.active[latent]:.1%} of the samples"
