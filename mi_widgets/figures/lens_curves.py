"""Tokens over the layers on paper: how probable each is, or at which rank, at one position.

Takes `data`, gives a sheet. Colours and marks are the page's (`js/src/widgets/logit_lens/svg.ts`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mi_widgets import color
from mi_widgets.data import LogitLens
from mi_widgets.data.integers import word
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount, even_ticks
from mi_widgets.figures.legend import NO_VALUE, SWATCH
from mi_widgets.figures.lens_field import Drawn, brief, rank_place
from mi_widgets.figures.marks import Axis, Box, Curve, Rectangles
from mi_widgets.figures.page import EDGE, LINE, Page, below, left_of, name_axes
from mi_widgets.figures.sheet import Sheet
from mi_widgets.figures.style import HAIRLINE_PT, LABEL_PT, MIN_PT, TOKEN_PT, inks, pt, px

CHARTS = ("probability", "rank")
#: Without pinned tokens: the model's likeliest, so many.
LIKELIEST = 4
#: Marks, filled for the first four curves and hollow for the others.
MARKS = ("circle", "square", "triangle-up", "diamond")
LEGEND_LETTERS = 16


@dataclass(frozen=True, eq=False)
class Token:
    """One token of one side: float64 `[row]`, probability or rank; NaN where it is not known, or no number."""

    index: int
    side: str
    name: str
    values: np.ndarray


def curves_sheet(drawn: Drawn, chart: str, position: int, page: Page) -> Sheet:
    """Curves on a sheet.

    Args:
        drawn: the rows; columns do not matter.
        chart: `"probability"`, or `"rank"` on a logarithmic axis with 0 on top.
        position: of the prompt (of A).
        page: the paper.
    """
    rank = word("chart", chart, CHARTS) == "rank"
    if rank and not len(drawn.lens.target_ids):
        raise DataError("no token is pinned, so no ranks are known.", "Compute the lens with targets=[…].")
    tokens, lost, after, high = _tokens(drawn, rank, position)
    theme, width, height = page.theme, page.width, page.height
    ink, top = inks(theme), page.top + px(0.8) + pt(LABEL_PT) * LINE
    both = len({token.side for token in tokens}) > 1
    names = [printed.token_label(token.name, LEGEND_LETTERS) + (f" ({token.side})" if both else "") for token in tokens]
    beside = px(7) + printed.widest([*names, NO_VALUE] if lost else names, pt(TOKEN_PT)) + EDGE
    ticks = _rank_ticks(high) if rank else [(value, amount(value)) for value in even_ticks(0.0, high, 5)]
    left = EDGE + left_of([label for _, label in ticks])
    wide = width - left - beside
    tall = min(0.62 * wide, px(60)) if height is None else height - top - below() - EDGE
    if wide < px(12) or tall < px(8):
        raise DataError("the curves have no room.", "Give a larger width_mm or height_mm.")
    box = Box(left, top, wide, tall)
    sheet = page.sheet(box.bottom + below() + EDGE, f"Logit lens: {chart} after {after}")
    sheet.text(box.left, box.top - pt(LABEL_PT) * LINE / 2, f"after {after}", pt(LABEL_PT), ink.quiet)
    rows = len(drawn.rows)
    labels = drawn.row_labels
    longest = max(map(len, labels)) * 0.64 * pt(MIN_PT) + px(0.8)
    # Thinned from the last row on, which is the model's output and always named.
    shown = [rows - 1 - row for row in printed.every(rows, wide / rows, longest)]
    end = rank_place(high) if rank else high
    places, words = zip(*ticks, strict=True)
    first, last = (-0.04 * end, 1.04 * end) if rank else (1.04 * end, -0.02 * end)
    plot = sheet.plot(
        box,
        Axis(-0.5, rows - 0.5, shown, [labels[row] for row in shown], pt(MIN_PT)),
        Axis(first, last, places, words, pt(MIN_PT), grid=color.MASKED[theme]),
    )
    # A band over each row without numbers: a gap alone says that a token is not kept.
    bands = [Box(row - 0.5, min(first, last), 1.0, abs(last - first)) for row in lost]
    plot.add(
        Rectangles(bands, color.MISSING[theme], below=True),
        *(_curve(token, labels, rank, ink.paper) for token in tokens),
    )
    _legend(sheet, tokens, names, box, ink.paper)
    if lost:
        under = min(box.top + (len(tokens) + 0.3) * pt(TOKEN_PT) * 1.5, box.bottom - SWATCH)
        swatch = Box(box.right + px(1.2), under, SWATCH, SWATCH)
        sheet.rectangle(swatch, color.MISSING[theme], ink.line, pt(HAIRLINE_PT))
        sheet.text(swatch.right + px(0.8), swatch.middle, NO_VALUE, pt(MIN_PT))
    name_axes(sheet, box, EDGE, drawn.row_title, chart)
    return sheet


def _tokens(drawn: Drawn, rank: bool, position: int) -> tuple[list[Token], list[int], str, float]:
    """The tokens, the rows in which the model or a lens gave no numbers, what stands at the position, and the largest
    value of the whole result, at which the axis ends."""
    column = drawn.lens.column(position)
    place = column if isinstance(drawn.data, LogitLens) else [pair[0] for pair in drawn.data.pairs].index(column)
    one = Drawn(drawn.data, drawn.rows, [place])
    tokens, high, lost = [], 0.0, np.zeros(len(drawn.rows), bool)
    for side, (lens, places) in one.sides.items():
        at = places[0]
        if at is not None:
            lost |= np.isnan(lens.top_probs[drawn.rows, at, 0])
        for index, token in enumerate(lens.target_ids.tolist()):
            values = (lens.target_ranks if rank else lens.target_probs)[..., index].astype(np.float64)  # type: ignore[index]
            values[values < 0] = np.nan  # no rank
            high = max(high, _largest(values))
            if at is not None:
                tokens.append(Token(index, side, lens.name(token), values[drawn.rows, at]))
        if not len(lens.target_ids) and at is not None:
            likeliest = [token for token in lens.top_ids[-1, at, :LIKELIEST].tolist() if token >= 0]
            for index, token in enumerate(likeliest):
                known = [_known(lens, row, at, token) for row in drawn.rows]
                tokens.append(Token(index, side, lens.name(token), np.array(known)))
                high = max(high, _largest(tokens[-1].values))
    where = drawn.lens.positions[column]
    name = printed.token_label(one.column_strings[0], 24)
    return tokens, np.flatnonzero(lost).tolist(), f"{name} (position {where})", _round_up(high, rank)


def _largest(values: np.ndarray) -> float:
    return float(np.fmax.reduce(values, axis=None, initial=0.0))


def _known(lens: LogitLens, row: int, at: int, token: int) -> float:
    """A token's probability where it is among the top of its cell, else NaN."""
    places = np.flatnonzero(lens.top_ids[row, at] == token)
    return float(lens.top_probs[row, at, places[0]]) if len(places) else math.nan


def _round_up(high: float, rank: bool) -> float:
    """The end of the axis: the largest rank, or the next of 1, 2, 5 × a power of ten, at most 1."""
    if rank:
        return max(1.0, high)
    if not high > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(high))
    return min(1.0, next(step * power for step in (1, 2, 5, 10) if step * power >= high * 0.999))


def _rank_ticks(high: float) -> list[tuple[float, str]]:
    """0, 1, 10, 100 … as far as the axis goes."""
    ranks = [0, *(10**decade for decade in range(0, math.floor(math.log10(high)) + 1))]
    return [(rank_place(rank), brief(rank)) for rank in ranks]


def _look(token: Token, paper: str) -> dict[str, Any]:
    ink = color.CATEGORICAL[token.index % len(color.CATEGORICAL)]
    return {
        "color": ink,
        "dash": (4, 3) if token.side == "B" else (),
        "mark": MARKS[token.index % len(MARKS)],
        "size": pt(3.2),
        "fill": ink if token.index < len(color.CATEGORICAL) else paper,
    }


def _curve(token: Token, labels: list[str], rank: bool, paper: str) -> Curve:
    name = printed.markup(printed.token_label(token.name, 24))
    said = ["not known" if np.isnan(value) else f"{value:.0f}" if rank else amount(value) for value in token.values]
    return Curve(
        range(len(token.values)),
        [rank_place(value) if rank else value for value in token.values.tolist()],
        width=pt(1),
        hover=[f"{name}<br>layer {label}: {text}" for label, text in zip(labels, said, strict=True)],
        **_look(token, paper),
    )


def _legend(sheet: Sheet, tokens: list[Token], names: list[str], box: Box, paper: str) -> None:
    """The tokens beside the curves, each behind a piece of its line; B is dashed."""
    pitch = min(pt(TOKEN_PT) * 1.5, box.height / max(1, len(tokens)))
    if not tokens:
        return
    strip = Box(box.right + px(1.2), box.top, px(4.6), pitch * len(tokens))
    silent = {"line": "", "still": True}
    key = sheet.plot(strip, Axis(0, 1, **silent), Axis(-0.5, len(tokens) - 0.5, **silent))
    for row, (token, name) in enumerate(zip(tokens, names, strict=True)):
        look = _look(token, paper)
        key.add(Curve([0, 1], [row, row], width=pt(1), **{**look, "mark": ""}), Curve([0.5], [row], width=0, **look))
        sheet.text(strip.right + px(0.8), key.down(row), name, pt(TOKEN_PT), mono=True)
