"""A lens on paper: the table of layers × positions with the top token in each cell, or curves of tokens over layers.

Takes `data`, gives a plotly figure. Knows nothing of models, torch or the screen, but colours as the screen does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_widgets.data.integers import truth, word
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount
from mi_widgets.figures.headline import title_lines
from mi_widgets.figures.labels import TokenAxis
from mi_widgets.figures.lens_field import Drawn, Field, Lens, field_of
from mi_widgets.figures.plotly_cells import VECTOR_CELLS, cell_image, cell_shapes
from mi_widgets.figures.plotly_legend import Legend
from mi_widgets.figures.plotly_sheet import HOVER_ONLY, Box, Sheet
from mi_widgets.figures.scale import MASKED, MISSING
from mi_widgets.figures.style import (
    LABEL_PT,
    MIN_PT,
    MONO,
    TITLE_PT,
    TOKEN_PT,
    height_in_px,
    ink_on,
    inks,
    pt,
    px,
    width_in_mm,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

KINDS = ("table", "curves")
#: Cells narrower than so many letters are left without text.
FEWEST_LETTERS = 3
#: Cells as wide as so many have larger ones.
ROOMY = 9
#: Hover text lists the likeliest tokens up to this many cells, gives values up to the second number, and none beyond.
HOVER_TOKENS, HOVER_CELLS = 5_000, 500_000
#: Tokens listed on hovering.
LISTED = 5

EDGE = px(0.8)
LINE = 1.35
_TALLEST, _WIDEST, _LOWEST = px(5.5), px(26), px(1.1)


def logit_lens_figure(
    data: Lens,
    *,
    kind: str = "table",
    color: str = "probability",
    target: int | str = 0,
    chart: str = "probability",
    position: int = -1,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    text: bool = True,
    palette: str = "blue",
    zrange: tuple[float, float] | None = None,
    title: str | None = None,
    width_mm: float | str = 83,
    height_mm: float | None = None,
    theme: str = "light",
) -> go.Figure:
    """A lens as a plotly figure of exact size, ready for `save_figure`. The last layer stands on top.

    Args:
        data: a lens, or two compared.
        kind: `"table"`, layers × positions with the top token in each cell, or `"curves"`, the pinned tokens over the
            layers at one position (without any, the model's likeliest tokens as far as each row's top k knows them).
        color: what colours the cells: `"probability"` (of the top token), `"entropy"`, `"kl"` (to the model's output),
            `"change"` (from the row before; nats), `"final_rank"` (of the token that the model's output puts first),
            `"next_rank"` (of the token that follows in the prompt), `"target_probability"` or `"target_rank"` (of a
            pinned token). Ranks are coloured by log₁₀(1 + rank), divergences by their square root. A comparison shows
            KL(A‖B), or with `"target_…"` the difference A − B of the token's probability.
        target: which pinned token colours the cells: its place, or its string.
        chart: of curves, `"probability"` or `"rank"` (logarithmic, 0 on top).
        position: of curves, the position of the prompt (of A); negative counts from the end.
        layers: only these; the last row is always drawn.
        positions: only these positions of the prompt (of A), of tables.
        text: write top tokens where cells are wide enough for three letters.
        palette: `"blue"`, `"amber"` or `"grey"`; a signed difference takes the diverging palette.
        zrange: `(low, high)` of the colours in the values' unit; values beyond are marked ≤ and ≥ on the colour bar.
        title: a line above the figure; interventions in the runs that it shows are named below it.
        width_mm: width of the page in millimetres, or `"single"` (83), `"one and a half"` (120), `"double"` (174).
        height_mm: height in millimetres; as needed if None.
        theme: `"light"` or `"dark"`.

    Returns:
        A figure whose layout is `width_mm` wide at 96 pixels per inch. Hovering gives exact values and the likeliest
        tokens.

    Raises:
        DataError: an unknown option, a layer, position or pinned token that the data lacks, or a size too small.
    """
    kind = word("kind", kind, KINDS)
    width = px(width_in_mm(width_mm))
    height = height_in_px(height_mm)
    inks(theme)
    headline = [printed.markup(line) for line in title_lines(title, width, data)]
    if kind == "curves":
        from mi_widgets.figures.lens_curves import curves_figure

        return curves_figure(Drawn.of(data, layers), chart, position, headline, width, height, theme)
    drawn = Drawn.of(data, layers, positions)
    field = field_of(drawn, color, target, palette=palette, theme=theme, zrange=zrange)
    return _table(drawn, field, headline, width, height, truth("text", text))


def headline_height(headline: list[str]) -> float:
    """Room that the title takes, in pixels."""
    return len(headline) * pt(TITLE_PT) * LINE + (px(0.8) if headline else 0)


def draw_headline(sheet: Sheet, headline: list[str]) -> None:
    """The lines of the title."""
    for line, words in enumerate(headline):
        sheet.text(EDGE, EDGE + (line + 0.5) * pt(TITLE_PT) * LINE, words, pt(TITLE_PT))


def _table(
    drawn: Drawn, field: Field, headline: list[str], width: float, height: float | None, text: bool
) -> go.Figure:
    codes = field.codes
    masked, missing = (bool((codes == code).any()) for code in (MASKED, MISSING))
    legend = Legend(field.scale, field.unit, field.clipped, masked, missing, field.none or "masked")
    rows, columns = codes.shape
    top = EDGE + px(0.8) + headline_height(headline)
    labels = drawn.row_labels
    left = EDGE + pt(LABEL_PT) * 1.4 + pt(2.5) + max(map(len, labels)) * 0.6 * pt(MIN_PT)
    wide = min((width - left - legend.width()) / columns, _WIDEST)
    strings = drawn.column_strings
    names = TokenAxis.fit(strings, wide * columns, 0.25 * width, (pt(TOKEN_PT), pt(MIN_PT)))
    flat = names.room <= 0.92 * wide and len(names.positions) == columns
    below = pt(2.5) + (names.size * LINE if flat else names.room) + pt(LABEL_PT) * 1.5 + EDGE
    tall = min(_TALLEST, max(px(3), wide), px(220) / rows) if height is None else (height - top - below) / rows
    if wide < px(0.1) or tall < min(_LOWEST, px(220) / rows):
        raise DataError(
            f"{rows} rows × {columns} positions leave cells of {max(wide, 0) * 25.4 / 96:.2f} × "
            f"{max(tall, 0) * 25.4 / 96:.1f} mm.",
            "Give a larger width_mm or height_mm, or fewer layers or positions.",
        )
    box = Box(left, top, columns * wide, rows * tall)
    sheet = Sheet(width, box.bottom + below if height is None else height, field.scale.theme)
    draw_headline(sheet, headline)
    ink = inks(sheet.theme)
    # Thinned from the last row on, which is the model's output and always named.
    shown = [rows - 1 - row for row in printed.every(rows, tall, pt(MIN_PT) * 1.2)]
    xref, yref = sheet.add_axes(
        box,
        {
            "range": [-0.5, columns - 0.5],
            "tickmode": "array",
            "tickvals": names.positions,
            "ticktext": [printed.markup(name) for name in names.labels],
            "tickangle": 0 if flat else -90,
            "tickfont": {"family": MONO, "size": names.size},
        },
        {
            "range": [-0.5, rows - 0.5],
            "tickmode": "array",
            "tickvals": shown,
            "ticktext": [labels[row] for row in shown],
            "tickfont": {"size": pt(MIN_PT)},
            "ticks": "",
        },
    )
    if codes.size <= VECTOR_CELLS:
        sheet.shapes += cell_shapes(codes, field.scale.table, xref, yref)
    else:
        whole = (-0.5, rows - 0.5, float(columns), float(rows))
        sheet.images.append(cell_image(codes[::-1], field.scale.table, xref, yref, whole))
    if text:
        sheet.traces += _written(drawn, codes, field, (wide, tall), xref, yref)
    sheet.traces.append(_hover(drawn, field, xref, yref))
    sheet.text(
        EDGE + pt(LABEL_PT) * 0.6, box.top + box.height / 2, drawn.row_title, pt(LABEL_PT), xanchor="center",
        textangle=-90, color=ink.quiet,
    )  # fmt: skip
    under = box.bottom + below - EDGE - pt(LABEL_PT) * 0.6
    sheet.text(box.left + box.width / 2, under, "position", pt(LABEL_PT), xanchor="center", color=ink.quiet)
    legend.draw(sheet, box.right, box.top, max(box.height, px(14)))
    return sheet.figure()


def _written(
    drawn: Drawn, codes: np.ndarray, field: Field, cell: tuple[float, float], xref: str, yref: str
) -> list[dict[str, Any]]:
    """The top tokens, in the ink that stands out on each cell: one trace for each ink."""
    # Where cells are narrow, small letters cut fewer tokens.
    roomy = cell[1] >= pt(TOKEN_PT) * 1.3 and cell[0] >= ROOMY * printed.ADVANCE * pt(TOKEN_PT)
    size = pt(TOKEN_PT if roomy else MIN_PT)
    letters = int((cell[0] - pt(0.5)) / (printed.ADVANCE * size))
    if letters < FEWEST_LETTERS or cell[1] < size * 1.1:
        return []
    texts = drawn.texts(letters)
    by_ink: dict[str, list[tuple[int, int, str]]] = {}
    for row, column in np.ndindex(*codes.shape):
        ink = ink_on(field.scale.hex(int(codes[row, column])))
        by_ink.setdefault(ink, []).append((column, row, printed.markup(texts[row][column])))
    return [
        {
            "type": "scatter",
            "mode": "text",
            "x": [column for column, _, _ in cells],
            "y": [row for _, row, _ in cells],
            "text": [words for _, _, words in cells],
            "textposition": "middle center",
            "textfont": {"family": MONO, "size": size, "color": ink},
            "cliponaxis": False,
            "hoverinfo": "skip",
            "xaxis": xref,
            "yaxis": yref,
        }
        for ink, cells in sorted(by_ink.items())
    ]


def _hover(drawn: Drawn, field: Field, xref: str, yref: str) -> dict[str, Any]:
    """A transparent heat map that only answers to the pointer: where it is, the value, the likeliest tokens."""
    cells = field.values.size
    if cells > HOVER_CELLS:
        return {"type": "scatter", "x": [None], "y": [None], "xaxis": xref, "yaxis": yref, "hoverinfo": "skip"}
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": np.where(field.allowed, field.values, np.nan),
        "xaxis": xref,
        "yaxis": yref,
        "colorscale": [[0, "rgba(0,0,0,0)"], [1, "rgba(0,0,0,0)"]],
        "showscale": False,
        "hoverongaps": True,
        "meta": HOVER_ONLY,
    }
    if cells > HOVER_TOKENS:
        return {**trace, "hovertemplate": "row %{y:d}, column %{x:d}<br>%{z:.6g}<extra></extra>"}
    names = [printed.token_label(string, 24) for string in drawn.column_strings]
    text = [
        [
            "<br>".join([
                f"layer {printed.markup(label)}, after {printed.markup(names[column])}",
                f"{printed.markup(field.unit)}: {_said(field, place, column)}",
                *_listed(drawn, row, column),
            ])
            for column in range(len(drawn.columns))
        ]
        for place, (row, label) in enumerate(zip(drawn.rows, drawn.row_labels, strict=True))
    ]  # fmt: skip
    return {**trace, "text": text, "hovertemplate": "%{text}<extra></extra>"}


def _said(field: Field, row: int, column: int) -> str:
    value = float(field.values[row, column])
    if not field.allowed[row, column]:
        return field.none
    return str(round(10**value - 1)) if field.rank and np.isfinite(value) else amount(value)


def _listed(drawn: Drawn, row: int, column: int) -> list[str]:
    """The likeliest tokens of a cell, of each side."""
    lines = []
    for side, (lens, places) in drawn.sides.items():
        place = places[column]
        if place is None or np.isnan(lens.top_probs[row, place, 0]):
            continue
        for token, probability in zip(
            lens.top_ids[row, place, :LISTED], lens.top_probs[row, place, :LISTED], strict=True
        ):
            name = printed.markup(printed.token_label(lens.name(token), 24))
            lines.append(f"{side + '  ' if len(drawn.sides) > 1 else ''}{name}  {amount(float(probability))}")
    return lines
