"""A lens on paper: the table of layers × positions with the top token in each cell, or curves of tokens over layers.

Takes `data`, gives a sheet; the still picture of a saved notebook is the same table at the size of a screen. Knows
nothing of models, torch or the page, but colours as the page does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mi_widgets.data.integers import truth, word
from mi_widgets.described import measure
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount
from mi_widgets.figures.labels import TokenAxis
from mi_widgets.figures.legend import Legend
from mi_widgets.figures.lens_field import Drawn, Field, Lens, field_of
from mi_widgets.figures.marks import Axis, Box, Cells, Hover, Plot, Rectangles, Words
from mi_widgets.figures.page import EDGE, LINE, Page, below, left_of, name_axes, named_rows, paper, still
from mi_widgets.figures.scale import MASKED, MISSING
from mi_widgets.figures.sheet import Sheet, as_png, as_svg, plotted
from mi_widgets.figures.style import LABEL_PT, MIN_PT, TOKEN_PT, ink_on, inks, pt, px

KINDS = ("table", "curves")
#: Cells narrower than so many letters are left without text.
FEWEST_LETTERS = 3
#: Cells as wide as so many have larger ones.
ROOMY = 9
#: Hover text lists the likeliest tokens up to this many cells, gives values up to the second number, and none beyond.
HOVER_TOKENS, HOVER_CELLS = 5_000, 500_000
#: Tokens listed on hovering.
LISTED = 5

_TALLEST, _WIDEST, _LOWEST = px(5.5), px(26), px(1.1)


@plotted
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
) -> Sheet:
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
    page = paper(data, title, width_mm, height_mm, theme)
    if kind == "curves":
        from mi_widgets.figures.lens_curves import curves_sheet

        return curves_sheet(Drawn.of(data, layers), chart, position, page)
    drawn = Drawn.of(data, layers, positions)
    field = field_of(drawn, color, target, palette=palette, theme=theme, zrange=zrange)
    return _table(drawn, field, page, truth("text", text))


def lens_still(
    data: Lens,
    color: str = "probability",
    target: int | str = 0,
    palette: str = "blue",
    *,
    title: str = "",
    theme: str = "light",
) -> Sheet:
    """The table of `data` for a notebook that is read without JavaScript, 760 pixels wide.

    Args:
        data: a lens, or two compared.
        color: what colours the cells, as in `logit_lens_figure`.
        target: which pinned token, for `"target_…"`.
        palette: `"blue"`, `"amber"` or `"grey"`.
        title: text of the first line; the prompt if empty.
        theme: `"light"` or `"dark"`.

    Raises:
        DataError: an unknown option.
    """
    drawn = Drawn.of(data)
    field = field_of(drawn, color, target, palette=palette, theme=theme)
    return _table(drawn, field, still(data, title, drawn.lens.tokens.strings, theme, _summary(drawn)))


lens_preview_svg, lens_preview_png = as_svg(lens_still), as_png(lens_still)


def _summary(drawn: Drawn) -> str:
    lens = drawn.lens
    kinds = " against ".join(dict.fromkeys(side.lens for side, _ in drawn.sides.values()))
    sizes = f"{len(drawn.rows)} rows × {len(drawn.columns)} positions"
    read = drawn.data.is_read[drawn.columns]
    progress = "" if read.all() else f"only {int(read.sum())} of {len(read)} positions are read"
    return "   ".join(part for part in (lens.model, f"{kinds} lens, {lens.stream}", sizes, progress) if part)


def _table(drawn: Drawn, field: Field, page: Page, text: bool = True) -> Sheet:
    codes = field.codes
    masked, missing = (bool((codes == code).any()) for code in (MASKED, MISSING))
    legend = Legend(field.scale, field.unit, field.clipped, masked, missing, field.none or measure.MASKED)
    rows, columns = codes.shape
    top, width, height = page.top + px(0.8), page.width, page.height
    labels = drawn.row_labels
    left = EDGE + left_of(labels)
    wide = min((width - left - legend.width()) / columns, _WIDEST)
    strings = drawn.column_strings
    names = TokenAxis.fit(strings, wide * columns, 0.25 * width, (pt(TOKEN_PT), pt(MIN_PT)))
    flat = names.level(wide, columns)
    room = names.size * LINE if flat else names.room
    tall = (
        min(_TALLEST, max(px(3), wide), px(220) / rows)
        if height is None
        else (height - top - below(room) - EDGE) / rows
    )
    if not page.screen and (wide < px(0.1) or tall < min(_LOWEST, px(220) / rows)):
        raise DataError(
            f"{rows} rows × {columns} positions leave cells of {max(wide, 0) * 25.4 / 96:.2f} × "
            f"{max(tall, 0) * 25.4 / 96:.1f} mm.",
            "Give a larger width_mm or height_mm, or fewer layers or positions.",
        )
    box = Box(left, top, columns * wide, rows * tall)
    sheet = page.sheet(box.bottom + below(room) + EDGE, f"Logit lens: {_summary(drawn)}")
    # Thinned from the last row on, which is the model's output and always named.
    shown = [rows - 1 - row for row in named_rows(rows, tall)]
    plot = sheet.plot(
        box,
        Axis(-0.5, columns - 0.5, names.positions, names.labels, names.size, mono=True, turned=not flat),
        Axis(rows - 0.5, -0.5, shown, [labels[row] for row in shown], pt(MIN_PT), strokes=False),
    )
    plot.add(Cells(codes, field.scale.table))
    _unread(sheet, plot, field.read)
    if text:
        plot.add(*_written(drawn, codes, field, wide, tall))
    if field.values.size <= HOVER_CELLS:
        plot.add(_hover(drawn, field))
    name_axes(sheet, box, EDGE, "position", drawn.row_title, room)
    legend.draw(sheet, box.right, box.top, max(box.height, px(14)))
    return sheet


def _unread(sheet: Sheet, plot: Plot, read: np.ndarray) -> None:
    """A frame around every run of columns that are not read, with the words where they fit."""
    quiet = inks(sheet.theme).quiet
    edges = np.flatnonzero(np.diff(np.concatenate([[True], read, [True]]).astype(int)))
    for first, last in edges.reshape(-1, 2).tolist():
        run = Box(first - 0.5, -0.5, last - first, plot.y.first + 0.5)
        plot.add(Rectangles([run], line=quiet, width=pt(0.5)))
        room = plot.on_sheet(run)
        if room.width > px(20) and room.height > pt(LABEL_PT) * LINE:
            sheet.text(room.centre, room.middle, "not read yet", pt(LABEL_PT), quiet, anchor="middle")


def _written(drawn: Drawn, codes: np.ndarray, field: Field, wide: float, tall: float) -> list[Words]:
    """The top tokens, in the ink that stands out on each cell: one mark for each ink."""
    # Where cells are narrow, small letters cut fewer tokens.
    roomy = tall >= pt(TOKEN_PT) * 1.3 and wide >= ROOMY * printed.ADVANCE * pt(TOKEN_PT)
    size = pt(TOKEN_PT if roomy else MIN_PT)
    letters = int((wide - pt(0.5)) / (printed.ADVANCE * size))
    if letters < FEWEST_LETTERS or tall < size * 1.1:
        return []
    texts = drawn.texts(letters)
    by_ink: dict[str, list[tuple[int, int, str]]] = {}
    for row, column in np.ndindex(*codes.shape):
        if field.read[column]:
            ink = ink_on(field.scale.hex(int(codes[row, column])))
            by_ink.setdefault(ink, []).append((column, row, texts[row][column]))
    marks = []
    for ink, cells in sorted(by_ink.items()):
        x, y, words = zip(*cells, strict=True)
        marks.append(Words(x, y, words, size, ink))
    return marks


def _hover(drawn: Drawn, field: Field) -> Hover:
    """What a cell says: where it is, the value, the likeliest tokens."""
    values = np.where(field.allowed, field.values, np.nan)
    if values.size > HOVER_TOKENS:
        return Hover(values, "row %{y:d}, column %{x:d}<br>%{z:.6g}", gaps=True)
    names = [printed.token_label(string, 24) for string in drawn.column_strings]
    said = [
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
    return Hover(values, "%{text}", said, gaps=True)


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
