"""The still picture of a lens for viewers that run no JavaScript: layers × positions in colour, with the top tokens.

As PNG, which every viewer shows, or as SVG with real text. Needs neither a browser nor plotly.
"""

from __future__ import annotations

import math

import numpy as np

from mi_widgets import color as colors_of
from mi_widgets.data.integers import text
from mi_widgets.figures import labels as printed
from mi_widgets.figures.canvas import Canvas, PngCanvas, SvgCanvas
from mi_widgets.figures.headline import with_changes
from mi_widgets.figures.lens_field import Drawn, Field, Lens, field_of
from mi_widgets.figures.plotly_legend import NO_VALUE
from mi_widgets.figures.scale import MASKED, MISSING
from mi_widgets.figures.style import ink_on, inks

WIDTH = 760
#: Rows beyond this height are thinner; models of very many layers have no text.
MOST_HEIGHT = 900
_LEFT, _TOP, _EDGE = 52.0, 52.0, 12.0
_TEXT_ROW, _LOWEST_ROW, _WIDEST = 17.0, 3.0, 88.0
FEWEST_LETTERS = 3


def lens_preview_svg(
    data: Lens,
    color: str = "probability",
    target: int | str = 0,
    palette: str = "blue",
    *,
    title: str = "",
    theme: str = "light",
) -> str:
    """`data` as a self-contained SVG, 760 pixels wide: rows are layers, the last on top, columns are positions.

    Args:
        data: a lens, or two compared.
        color: what colours the cells, as in `logit_lens_figure`.
        target: which pinned token, for `"target_…"`.
        palette: `"blue"`, `"amber"` or `"grey"`.
        title: text of the first line; the prompt if empty.
        theme: `"light"` or `"dark"`.

    Returns:
        Well-formed XML, whatever the tokens hold.

    Raises:
        DataError: an unknown option.
    """
    drawn = Drawn.of(data)
    canvas, ink = SvgCanvas(), inks(theme)
    height = _draw(canvas, drawn, field_of(drawn, color, target, palette=palette, theme=theme), title)
    return canvas.document(WIDTH, height, f"Logit lens: {_summary(drawn)}", ink.paper, ink.text)


def lens_preview_png(
    data: Lens,
    color: str = "probability",
    target: int | str = 0,
    palette: str = "blue",
    *,
    title: str = "",
    theme: str = "light",
) -> bytes:
    """`data` as a PNG, 760 pixels wide: what `lens_preview_svg` shows, in a small built-in font.

    Letters outside ASCII and the marks of whitespace are open boxes; arguments and errors are the same.
    """
    drawn = Drawn.of(data)
    field = field_of(drawn, color, target, palette=palette, theme=theme)
    canvas = PngCanvas(WIDTH, MOST_HEIGHT + 300, field.scale, inks(theme).text)
    return canvas.image(min(MOST_HEIGHT + 300, _draw(canvas, drawn, field, title)))


def _summary(drawn: Drawn) -> str:
    lens = drawn.lens
    kinds = " against ".join(dict.fromkeys(side.lens for side, _ in drawn.sides.values()))
    sizes = f"{len(drawn.rows)} rows × {len(drawn.columns)} positions"
    read = drawn.data.is_read[drawn.columns]
    progress = "" if read.all() else f"only {int(read.sum())} of {len(read)} positions are read"
    return "   ".join(part for part in (lens.model, f"{kinds} lens, {lens.stream}", sizes, progress) if part)


def _unread(canvas: Canvas, read: np.ndarray, wide: float, tall: float, quiet: str) -> None:
    """A frame around every run of columns that are not read, with the words where they fit."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], read, [True]]).astype(int)))
    for first, last in edges.reshape(-1, 2):
        left, width = _LEFT + first * wide, (last - first) * wide
        canvas.frames([(left, _TOP, width, tall)], quiet, 0.6)
        if width > 90 and tall > 14:
            canvas.text(left + width / 2, _TOP + tall / 2 + 4, "not read yet", 11, anchor="middle", fill=quiet)


def _draw(canvas: Canvas, drawn: Drawn, field: Field, title: str) -> int:
    """Everything on `canvas`; returns the height used."""
    ink = inks(field.scale.theme)
    codes = field.codes
    rows, columns = codes.shape
    prompt = "".join(drawn.lens.tokens.strings[:400])
    canvas.text(_EDGE, 20, printed.prose(text("title", title) or prompt, 92), 13, mono=True)
    canvas.text(_EDGE, 37, printed.prose(with_changes(drawn.data, _summary(drawn)), 100), 11, fill=ink.quiet)
    wide = min((WIDTH - _LEFT - _EDGE) / columns, _WIDEST)
    size = canvas.token_sizes[0]
    letters = int((wide - 4) / (printed.ADVANCE * size))
    tall = min(_TEXT_ROW, MOST_HEIGHT / rows) if letters >= FEWEST_LETTERS else min(12.0, MOST_HEIGHT / rows)
    tall = max(_LOWEST_ROW if rows * _LOWEST_ROW <= MOST_HEIGHT else 1.0, tall)
    box = (_LEFT, _TOP, columns * wide, rows * tall)
    canvas.cells(codes[::-1], field.scale, box)
    canvas.frames([box], ink.line, 0.6)
    _unread(canvas, field.read, wide, box[3], ink.quiet)
    if letters >= FEWEST_LETTERS and tall >= 13:
        for row, line in enumerate(drawn.texts(letters)):
            for column, words in enumerate(line):
                if not field.read[column]:
                    continue
                fill = ink_on(field.scale.hex(int(codes[row, column])))
                middle = _TOP + (rows - 0.5 - row) * tall + 4
                canvas.text(_LEFT + (column + 0.5) * wide, middle, words, size, anchor="middle", mono=True, fill=fill)
    labels = drawn.row_labels
    for row in printed.every(rows, tall, 13):
        middle = _TOP + (row + 0.5) * tall + 4
        canvas.text(_LEFT - 4, middle, labels[rows - 1 - row], 10, anchor="end")
    canvas.text(12, _TOP + box[3] / 2, "layer", 11, anchor="middle", fill=ink.quiet, turn=True)
    bottom = _TOP + box[3] + _names(canvas, drawn.column_strings, wide, _TOP + box[3])
    return math.ceil(_bar(canvas, field, codes, bottom + 14))


def _names(canvas: Canvas, strings: list[str], wide: float, top: float) -> float:
    """The tokens of the columns, below them; returns the height they take."""
    size = canvas.token_sizes[0]
    letters = int((wide - 3) / (printed.ADVANCE * size))
    if letters >= FEWEST_LETTERS:
        for column, string in enumerate(strings):
            label = printed.token_label(string, letters)
            canvas.text(_LEFT + (column + 0.5) * wide, top + 14, label, size, anchor="middle", mono=True)
        return 18.0
    axis = printed.TokenAxis.fit(strings, wide * len(strings), 76, canvas.token_sizes)
    for position, label in zip(axis.positions, axis.labels, strict=True):
        middle = _LEFT + (position + 0.5) * wide + axis.size * 0.35
        canvas.text(middle, top + 4, label, axis.size, anchor="end", mono=True, turn=True)
    return axis.room + 8


def _bar(canvas: Canvas, field: Field, codes: np.ndarray, top: float) -> float:
    """A colour bar that lies down, with true values at its ticks; swatches for cells without one."""
    line = inks(field.scale.theme).line
    width = 260.0
    steps = np.arange(colors_of.STEPS)[None, :].astype(np.uint16)
    canvas.cells(steps, field.scale, (_LEFT, top, width, 10))
    canvas.frames([(_LEFT, top, width, 10)], line, 0.6)
    for where, label in field.scale.ticks(5, field.clipped):
        canvas.text(_LEFT + where * width, top + 22, label, 10, anchor="middle")
    canvas.text(_LEFT + width + 14, top + 9, field.unit, 11)
    at = _LEFT + width + 34 + printed.columns(field.unit) * 7
    for code, label in ((MASKED, field.none or "masked"), (MISSING, NO_VALUE)):
        if (codes == code).any():
            canvas.frames([(at, top, 10, 10)], line, 0.6, field.scale.hex(code))
            canvas.text(at + 15, top + 9, label, 11)
            at += 30 + 7 * len(label)
    return top + 34
