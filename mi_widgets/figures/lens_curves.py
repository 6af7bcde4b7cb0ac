"""Tokens over the layers on paper: how probable each is, or at which rank, at one position.

Takes `data`, gives a plotly figure. Colours and marks are the page's (`js/src/widgets/logit_lens/svg.ts`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_widgets import color
from mi_widgets.data import LogitLens
from mi_widgets.data.integers import word
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount, even_ticks
from mi_widgets.figures.lens_field import Drawn, brief, rank_place
from mi_widgets.figures.logit_lens import EDGE, LINE, draw_headline, headline_height
from mi_widgets.figures.plotly_legend import NO_VALUE, SWATCH
from mi_widgets.figures.plotly_sheet import Box, Sheet
from mi_widgets.figures.style import HAIRLINE_PT, LABEL_PT, MIN_PT, MONO, TOKEN_PT, inks, pt, px

if TYPE_CHECKING:
    import plotly.graph_objects as go

CHARTS = ("probability", "rank")
#: Without pinned tokens: the model's likeliest, so many.
LIKELIEST = 4
#: Marks, filled for the first four curves and hollow for the others.
MARKS = ("circle", "square", "triangle-up", "diamond")
LEGEND_LETTERS = 16


@dataclass(frozen=True, eq=False)
class Curve:
    """One token of one side: float64 `[row]`, probability or rank; NaN where it is not known, or no number."""

    index: int
    side: str
    name: str
    values: np.ndarray


def curves_figure(
    drawn: Drawn, chart: str, position: int, headline: list[str], width: float, height: float | None, theme: str
) -> go.Figure:
    """Curves on a sheet `width` pixels wide.

    Args:
        drawn: the rows; columns do not matter.
        chart: `"probability"`, or `"rank"` on a logarithmic axis with 0 on top.
        position: of the prompt (of A).
        headline: lines of the title, plotly markup.
        width: of the sheet in pixels.
        height: of the sheet in pixels; follows from the width if None.
        theme: `"light"` or `"dark"`.
    """
    rank = word("chart", chart, CHARTS) == "rank"
    if rank and not len(drawn.lens.target_ids):
        raise DataError("no token is pinned, so no ranks are known.", "Compute the lens with targets=[…].")
    curves, lost, after, high = _curves(drawn, rank, position)
    ink = inks(theme)
    top = EDGE + px(0.8) + headline_height(headline) + pt(LABEL_PT) * LINE
    both = len({curve.side for curve in curves}) > 1
    names = [printed.token_label(curve.name, LEGEND_LETTERS) + (f" ({curve.side})" if both else "") for curve in curves]
    beside = px(7) + printed.widest([*names, NO_VALUE] if lost else names, pt(TOKEN_PT)) + EDGE
    ticks = _rank_ticks(high) if rank else [(value, amount(value)) for value in even_ticks(0.0, high, 5)]
    left = EDGE + pt(LABEL_PT) * 1.4 + pt(2.5) + max(len(label) for _, label in ticks) * 0.6 * pt(MIN_PT)
    below = pt(2.5) + pt(MIN_PT) * LINE + pt(LABEL_PT) * 1.5 + EDGE
    wide = width - left - beside
    tall = min(0.62 * wide, px(60)) if height is None else height - top - below
    if wide < px(12) or tall < px(8):
        raise DataError("the curves have no room.", "Give a larger width_mm or height_mm.")
    box = Box(left, top, wide, tall)
    sheet = Sheet(width, box.bottom + below if height is None else height, theme)
    draw_headline(sheet, headline)
    sheet.text(
        box.left, box.top - pt(LABEL_PT) * LINE / 2, printed.markup(f"after {after}"), pt(LABEL_PT), color=ink.quiet
    )
    rows = len(drawn.rows)
    labels = drawn.row_labels
    longest = max(map(len, labels)) * 0.6 * pt(MIN_PT) + px(0.8)
    # Thinned from the last row on, which is the model's output and always named.
    shown = [rows - 1 - row for row in printed.every(rows, wide / rows, longest)]
    end = rank_place(high) if rank else high
    xref, yref = sheet.add_axes(
        box,
        {
            "range": [-0.5, rows - 0.5],
            "tickmode": "array",
            "tickvals": shown,
            "ticktext": [labels[row] for row in shown],
            "tickangle": 0,
            "tickfont": {"size": pt(MIN_PT)},
        },
        {
            "range": [1.04 * end, -0.04 * end] if rank else [-0.02 * end, 1.04 * end],
            "tickmode": "array",
            "tickvals": [value for value, _ in ticks],
            "ticktext": [label for _, label in ticks],
            "tickfont": {"size": pt(MIN_PT)},
            "showgrid": True,
            "gridcolor": color.MASKED[theme],
            "gridwidth": pt(HAIRLINE_PT),
        },
    )
    _mark_lost(sheet, lost, xref, yref)
    sheet.traces += [_line(curve, labels, rank, xref, yref, ink.paper) for curve in curves]
    _legend(sheet, curves, names, box, ink.paper)
    if lost:
        under = min(box.top + (len(curves) + 0.3) * pt(TOKEN_PT) * 1.5, box.bottom - SWATCH)
        swatch = Box(box.right + px(1.2), under, SWATCH, SWATCH)
        sheet.rectangle(swatch, color.MISSING[theme], ink.line, pt(HAIRLINE_PT))
        sheet.text(swatch.right + px(0.8), swatch.top + SWATCH / 2, NO_VALUE, pt(MIN_PT))
    sheet.text(
        EDGE + pt(LABEL_PT) * 0.6, box.top + box.height / 2, chart, pt(LABEL_PT), xanchor="center", textangle=-90,
        color=ink.quiet,
    )  # fmt: skip
    under = box.bottom + below - EDGE - pt(LABEL_PT) * 0.6
    sheet.text(box.left + box.width / 2, under, drawn.row_title, pt(LABEL_PT), xanchor="center", color=ink.quiet)
    return sheet.figure()


def _mark_lost(sheet: Sheet, lost: list[int], xref: str, yref: str) -> None:
    """A band in the colour of missing values over each row without numbers: a gap alone says that a token is not
    kept."""
    for row in lost:
        sheet.shapes.append(
            {
                "type": "rect",
                "xref": xref,
                "yref": f"{yref} domain",
                "layer": "below",
                "x0": row - 0.5,
                "x1": row + 0.5,
                "y0": 0,
                "y1": 1,
                "fillcolor": color.MISSING[sheet.theme],
                "line": {"width": 0},
            }
        )


def _curves(drawn: Drawn, rank: bool, position: int) -> tuple[list[Curve], list[int], str, float]:
    """The curves, the rows in which the model or a lens gave no numbers, what stands at the position, and the largest
    value of the whole result, at which the axis ends."""
    column = drawn.lens.column(position)
    place = column if isinstance(drawn.data, LogitLens) else [pair[0] for pair in drawn.data.pairs].index(column)
    one = Drawn(drawn.data, drawn.rows, [place])
    curves, high, lost = [], 0.0, np.zeros(len(drawn.rows), bool)
    for side, (lens, places) in one.sides.items():
        at = places[0]
        if at is not None:
            lost |= np.isnan(lens.top_probs[drawn.rows, at, 0])
        for index, token in enumerate(lens.target_ids.tolist()):
            values = (lens.target_ranks if rank else lens.target_probs)[..., index].astype(np.float64)  # type: ignore[index]
            values[values < 0] = np.nan  # no rank
            high = max(high, _largest(values))
            if at is not None:
                curves.append(Curve(index, side, lens.name(token), values[drawn.rows, at]))
        if not len(lens.target_ids) and at is not None:
            likeliest = [token for token in lens.top_ids[-1, at, :LIKELIEST].tolist() if token >= 0]
            for index, token in enumerate(likeliest):
                known = [_known(lens, row, at, token) for row in drawn.rows]
                curves.append(Curve(index, side, lens.name(token), np.array(known)))
                high = max(high, _largest(curves[-1].values))
    where = drawn.lens.positions[column]
    name = printed.token_label(one.column_strings[0], 24)
    return curves, np.flatnonzero(lost).tolist(), f"{name} (position {where})", _round_up(high, rank)


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


def _look(curve: Curve, paper: str) -> dict[str, Any]:
    ink = color.CATEGORICAL[curve.index % len(color.CATEGORICAL)]
    return {
        "line": {"color": ink, "width": pt(1), "dash": "4px,3px" if curve.side == "B" else "solid"},
        "marker": {
            "symbol": MARKS[curve.index % len(MARKS)],
            "size": pt(3.2),
            "color": ink if curve.index < len(color.CATEGORICAL) else paper,
            "line": {"color": ink, "width": pt(0.8)},
        },
    }


def _line(curve: Curve, labels: list[str], rank: bool, xref: str, yref: str, paper: str) -> dict[str, Any]:
    name = printed.markup(printed.token_label(curve.name, 24))
    said = ["not known" if np.isnan(value) else f"{value:.0f}" if rank else amount(value) for value in curve.values]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(range(len(curve.values))),
        "y": [None if np.isnan(value) else rank_place(value) if rank else value for value in curve.values.tolist()],
        **_look(curve, paper),
        "connectgaps": False,
        "cliponaxis": False,
        "hovertext": [f"{name}<br>layer {label}: {text}" for label, text in zip(labels, said, strict=True)],
        "hoverinfo": "text",
        "xaxis": xref,
        "yaxis": yref,
    }


def _legend(sheet: Sheet, curves: list[Curve], names: list[str], box: Box, paper: str) -> None:
    """The tokens beside the curves, each behind a piece of its line; B is dashed."""
    pitch = min(pt(TOKEN_PT) * 1.5, box.height / max(1, len(curves)))
    strip = Box(box.right + px(1.2), box.top, px(4.6), pitch * len(curves))
    if not curves:
        return
    silent = {"showticklabels": False, "ticks": "", "showline": False, "fixedrange": True}
    xref, yref = sheet.add_axes(
        strip, {**silent, "range": [0, 1]}, {**silent, "range": [len(curves) - 0.5, -0.5]}
    )  # fmt: skip
    for row, (curve, name) in enumerate(zip(curves, names, strict=True)):
        look = _look(curve, paper)
        place = {"type": "scatter", "y": [row, row], "hoverinfo": "skip", "xaxis": xref, "yaxis": yref}
        sheet.traces.append({**place, "mode": "lines", "x": [0, 1], "line": look["line"]})
        sheet.traces.append({**place, "mode": "markers", "x": [0.5], "y": [row], "marker": look["marker"]})
        sheet.text(
            strip.right + px(0.8), strip.top + (row + 0.5) * pitch, printed.markup(name), pt(TOKEN_PT),
            font={"family": MONO},
        )  # fmt: skip
