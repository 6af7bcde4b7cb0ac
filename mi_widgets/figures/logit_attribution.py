"""A logit difference on paper, part by part: a waterfall, bars, the layer × head map, or one head's sources.

Takes `data`, gives a plotly figure. Knows nothing of models, torch or the screen.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_widgets import color
from mi_widgets.data import AttributionRow, LogitAttribution
from mi_widgets.data.integers import integer, place, word
from mi_widgets.data.logit_attribution import RESIDUE
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount, amounts, even_ticks
from mi_widgets.figures.headline import title_lines
from mi_widgets.figures.plotly_legend import NO_VALUE
from mi_widgets.figures.plotly_sheet import Box, Sheet
from mi_widgets.figures.style import (
    HAIRLINE_PT,
    LABEL_PT,
    MIN_PT,
    MONO,
    SANS,
    TITLE_PT,
    TOKEN_PT,
    height_in_px,
    inks,
    pt,
    px,
    width_in_mm,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

KINDS = ("waterfall", "bars", "map", "sources")
#: Rows of the diverging palette for parts against and for the answer.
SIGNS = (44, 211)

EDGE = px(0.8)
LINE = 1.35
#: Height of a row, and the share of it that its bar takes.
_PITCH, _BAR = pt(LABEL_PT) * 1.5, 0.72
#: Average advance of the sans face, in ems.
_ADVANCE = 0.55
_SWATCH = pt(MIN_PT) * 0.8


def logit_attribution_figure(
    data: LogitAttribution,
    *,
    kind: str = "waterfall",
    top: int = 16,
    sort: str = "size",
    layer: int | None = None,
    head: int | None = None,
    title: str | None = None,
    width_mm: float | str = 83,
    height_mm: float | None = None,
    theme: str = "light",
) -> go.Figure:
    """What each part adds to a logit difference, as a plotly figure of exact size, ready for `save_figure`.

    Parts for the answer and parts against it have the two ends of the diverging palette; the rest of the parts and the
    residue always stand as rows of their own.

    Args:
        data: an attribution; contributions in logits.
        kind: `"waterfall"` from 0 to the logit difference, `"bars"` from zero, `"map"` of every layer × head (and the
            MLPs beside them), or `"sources"`, one head's contribution by the position it reads from.
        top: parts (or source tokens) that stand by themselves, the largest; the others are one row.
        sort: `"size"`, largest first, or `"model"`, from the embedding to the output; sources are in the order of the
            prompt.
        layer: with `head`, whose sources are drawn, or which head the map outlines.
        head: see `layer`; without them sources are of the head of largest contribution.
        title: a line above the figure; interventions in the runs that it shows are named below it.
        width_mm: width of the page in millimetres, or `"single"` (83), `"one and a half"` (120), `"double"` (174).
        height_mm: height in millimetres; as needed if None.
        theme: `"light"` or `"dark"`.

    Returns:
        A figure whose layout is `width_mm` wide at 96 pixels per inch.

    Raises:
        DataError: an unknown option, heads or sources that the data lacks, or a size too small to draw in.
    """
    check_kind_of(data)
    kind = word("kind", kind, KINDS)
    top = integer("top", top)
    if top < 1:
        raise DataError(f"top is {top!r}.", "Draw at least one part.")
    inks(theme)
    width = px(width_in_mm(width_mm))
    height = height_in_px(height_mm)
    page = Page(data, [printed.markup(line) for line in title_lines(title, width, data)], width, height, theme)
    if kind == "map":
        from mi_widgets.figures.attribution_map import map_figure

        return map_figure(page, chosen_head(data, layer, head, needed=False))
    if kind == "sources":
        chosen = chosen_head(data, layer, head, needed=True)
        assert chosen is not None
        return _sources(page, chosen, top)
    rows = data.rows(top, sort)
    if kind == "bars":
        return _bars(page, [Bar(row.label, 0.0, row.contribution) for row in rows], "contribution, logits")
    return _bars(page, waterfall(data, rows), f"{data.quantity}, logits", steps=True)


def check_kind_of(data: Any) -> None:
    """Raise DataError unless `data` is an attribution."""
    if not isinstance(data, LogitAttribution):
        raise DataError(
            f"a {type(data).__name__} is no attribution.", "Make one with compute.logit_attribution(model, …)."
        )


@dataclass(frozen=True)
class Bar:
    """One row: from `start` to `end`, logits; `end` is NaN where it is no number. `whole` is the sum of the others."""

    label: str
    start: float
    end: float
    whole: bool = False

    @property
    def size(self) -> float:
        """Signed length."""
        return self.end - self.start

    @property
    def missing(self) -> bool:
        """It has no length."""
        return math.isnan(self.end)


def waterfall(data: LogitAttribution, rows: Sequence[AttributionRow]) -> list[Bar]:
    """The rows one after the other, each from where the last one ended, and the whole below them. Rows that are no
    numbers move nothing."""
    bars, at = [], 0.0
    for row in rows:
        bars.append(Bar(row.label, at, at + row.contribution))
        at = at if bars[-1].missing else bars[-1].end
    return [*bars, Bar(data.quantity, 0.0, data.difference, whole=True)]


def bar_numbers(bars: Sequence[Bar]) -> list[str]:
    """The number beside each bar; a residue keeps its digits however small it is."""
    texts = amounts([bar.size for bar in bars])
    return [
        NO_VALUE if bar.missing else amount(bar.size, plus=True) if bar.label == RESIDUE else text
        for bar, text in zip(bars, texts, strict=True)
    ]


def bounds_of(bars: Sequence[Bar]) -> tuple[float, float]:
    """The smallest and the largest end of the bars, zero between them."""
    ends = [end for bar in bars for end in (bar.start, bar.end) if not math.isnan(end)]
    return min(0.0, *ends, 0.0), max(0.0, *ends, 0.0)


def chosen_head(data: LogitAttribution, layer: int | None, head: int | None, needed: bool) -> tuple[int, int] | None:
    """The head that both name; without them the one of largest contribution if one is `needed`, else none.

    Raises:
        DataError: one without the other, a head that does not exist, or no heads at all.
    """
    if data.heads is None:
        raise DataError(f"the heads are not known: {data.why_no_heads or 'they were not computed'}", "Draw the parts.")
    if (layer is None) != (head is None):
        raise DataError("a head is a layer and a head.", "Give both, or neither.")
    if layer is None or head is None:
        if not needed:
            return None
        largest = np.unravel_index(int(np.argmax(np.abs(np.nan_to_num(data.heads)))), data.heads.shape)
        return int(largest[0]), int(largest[1])
    return place("layer", layer, data.n_layers), place("head", head, data.n_heads)


def heading(data: LogitAttribution) -> str:
    """What is attributed, where, and how much it is: one line of prose."""
    answer = printed.token_label(data.answer_string, 20)
    against = "" if data.foil_string is None else f" − {printed.token_label(data.foil_string, 20)}"
    after = printed.token_label(data.tokens.strings[data.position], 20)
    return (
        f'{data.quantity} {answer}{against} after "{after}" (position {data.position}): '
        f"{amount(data.difference, plus=True)}"
    )


def sides(data: LogitAttribution) -> tuple[str, str]:
    """What negative and positive contributions speak for."""
    answer = printed.token_label(data.answer_string, 16)
    against = "against " + answer if data.foil_string is None else "for " + printed.token_label(data.foil_string, 16)
    return against, f"for {answer}"


def sign_inks(theme: str) -> tuple[str, str]:
    """Colours of negative and positive contributions."""
    table = color.hex_colors(color.DIVERGING if theme == "light" else f"{color.DIVERGING}_dark")
    return table[SIGNS[0]], table[SIGNS[1]]


@dataclass(frozen=True)
class Page:
    """The paper with its head: title, what is attributed, and what the colours stand for; lengths in pixels."""

    data: LogitAttribution
    headline: list[str]
    width: float
    height: float | None
    theme: str

    @property
    def _caption(self) -> list[str]:
        most = max(16, int((self.width - 2 * EDGE) / (_ADVANCE * pt(LABEL_PT))))
        return textwrap.wrap(heading(self.data), most, break_on_hyphens=False)

    @property
    def top(self) -> float:
        """Where the picture may begin."""
        title = len(self.headline) * pt(TITLE_PT) * LINE + (px(0.8) if self.headline else 0)
        return EDGE + title + (len(self._caption) + 1) * pt(LABEL_PT) * LINE + px(1.2)

    def sheet(self, height: float) -> Sheet:
        """A sheet with the head on it."""
        sheet, ink = Sheet(self.width, height, self.theme), inks(self.theme)
        for line, text in enumerate(self.headline):
            sheet.text(EDGE, EDGE + (line + 0.5) * pt(TITLE_PT) * LINE, text, pt(TITLE_PT))
        lines = [*self._caption, ""]
        first = self.top - px(1.2) - len(lines) * pt(LABEL_PT) * LINE
        for line, text in enumerate(lines[:-1]):
            sheet.text(EDGE, first + (line + 0.5) * pt(LABEL_PT) * LINE, printed.markup(text), pt(LABEL_PT))
        middle, left = first + (len(lines) - 0.5) * pt(LABEL_PT) * LINE, EDGE
        for fill, name in zip(sign_inks(self.theme), sides(self.data), strict=True):
            sheet.rectangle(Box(left, middle - _SWATCH / 2, _SWATCH, _SWATCH), fill, fill, 0)
            sheet.text(left + _SWATCH + px(0.7), middle, printed.markup(name), pt(LABEL_PT), color=ink.quiet)
            left += _SWATCH + px(3) + printed.columns(name) * _ADVANCE * pt(LABEL_PT)
        return sheet


def _sources(page: Page, chosen: tuple[int, int], top: int) -> go.Figure:
    """One head's contribution by the token it reads from, in the order of the prompt."""
    data = page.data
    values = data.head_sources(*chosen)[: data.position + 1]
    largest = sorted(np.argsort(-np.abs(values), kind="stable")[:top].tolist())
    bars = [
        Bar(f"{printed.token_label(data.tokens.strings[position], 24)} {position}", 0.0, float(values[position]))
        for position in largest
    ]
    others = np.delete(values, largest)
    if len(others):
        bars.append(Bar(f"rest of {len(others)} tokens", 0.0, float(others.astype(np.float64).sum())))
    assert data.heads is not None
    bars.append(Bar(f"L{chosen[0]} H{chosen[1]}", 0.0, float(data.heads[chosen]), whole=True))
    return _bars(page, bars, f"contribution of layer {chosen[0]}, head {chosen[1]}, logits", mono=True)


def _bars(page: Page, bars: list[Bar], unit: str, steps: bool = False, mono: bool = False) -> go.Figure:
    """Horizontal bars, one row each; with `steps` they are joined to a waterfall."""
    ink, data = inks(page.theme), page.data
    face, advance = (MONO, printed.ADVANCE) if mono else (SANS, _ADVANCE)
    size = pt(TOKEN_PT if mono else LABEL_PT)
    most = max(6, int(0.42 * page.width / (advance * size)))
    shown = [printed.prose(bar.label, most) for bar in bars]
    left = EDGE + max(printed.columns(text) for text in shown) * advance * size + pt(4)
    below = pt(2.5) + pt(MIN_PT) * LINE + pt(LABEL_PT) * LINE + EDGE
    pitch = _PITCH if page.height is None else (page.height - page.top - below) / len(bars)
    if pitch < pt(MIN_PT):
        raise DataError(
            f"{len(bars)} rows do not fit {(page.height or 0) * 25.4 / 96:.0f} mm.", "Give more height_mm, or less top."
        )
    box = Box(left, page.top, page.width - left - EDGE, pitch * len(bars))
    numbers = bar_numbers(bars)
    low, high = _span(bars, numbers, box.width)
    height = page.height if page.height is not None else box.bottom + below
    sheet = page.sheet(height)
    ticks = even_ticks(low, high, max(2, int(box.width / px(14))))
    xref, yref = sheet.add_axes(
        box,
        {
            "range": [low, high],
            "tickmode": "array",
            "tickvals": ticks,
            "ticktext": [amount(value) for value in ticks],
            "tickangle": 0,
            "tickfont": {"size": pt(MIN_PT)},
            "zeroline": True,
            "zerolinecolor": ink.line,
            "zerolinewidth": pt(HAIRLINE_PT),
            "mirror": False,
        },
        {
            "range": [len(bars) - 0.5, -0.5],
            "tickmode": "array",
            "tickvals": list(range(len(bars))),
            "ticktext": [printed.markup(text) for text in shown],
            "tickfont": {"family": face, "size": size},
            "ticks": "",
            "showline": False,
        },
    )
    against, toward = sign_inks(page.theme)
    sheet.traces.append(
        {
            "type": "bar",
            "orientation": "h",
            "y": list(range(len(bars))),
            "base": [bar.start for bar in bars],
            "x": [None if bar.missing else bar.size for bar in bars],
            "width": _BAR,
            "marker": {
                "color": [ink.quiet if bar.whole else toward if bar.size >= 0 else against for bar in bars],
                "line": {"width": 0},
            },
            "hovertext": [
                f"{printed.markup(printed.prose(bar.label, 60))}<br>{amount(bar.size, plus=True)} logits"
                for bar in bars
            ],
            "hoverinfo": "text",
            "xaxis": xref,
            "yaxis": yref,
        }
    )
    if steps:
        sheet.shapes += [
            _joint(row, bar.start if bar.missing else bar.end, xref, yref, ink.line)
            for row, (bar, _) in enumerate(pairwise(bars))
        ]
    for row, (bar, text) in enumerate(zip(bars, numbers, strict=True)):
        rightwards = bar.missing or bar.size >= 0
        middle = box.top + (row + 0.5) * pitch
        end = box.left + ((bar.start if bar.missing else bar.end) - low) / (high - low) * box.width
        if bar.missing:
            end = sheet.missing(end, middle, _BAR * pitch)
        end += px(0.7) if rightwards else -px(0.7)
        tone = ink.text if bar.whole else ink.quiet
        sheet.text(end, middle, text, pt(MIN_PT), xanchor="left" if rightwards else "right", color=tone)
    under = box.bottom + pt(2.5) + pt(MIN_PT) * LINE + pt(LABEL_PT) * 0.6
    name = unit if data.holds else f"{unit}; residue {amount(data.residue, plus=True)}: the parts do not sum up"
    if math.isnan(data.residue):
        name = f"{unit}; some missing"
    sheet.text(box.left + box.width / 2, under, name, pt(LABEL_PT), xanchor="center", color=ink.quiet)
    return sheet.figure()


def _span(bars: list[Bar], numbers: list[str], width: float) -> tuple[float, float]:
    """The axis: every bar, zero, and room for the number at each bar's end."""
    low, high = bounds_of(bars)
    if low == high:
        high = 1.0
    room = [
        len(text) * 0.6 * pt(MIN_PT) + px(2.6 if bar.missing else 1.4) for text, bar in zip(numbers, bars, strict=True)
    ]
    left = max((size for size, bar in zip(room, bars, strict=True) if bar.size < 0), default=px(1))
    right = max((size for size, bar in zip(room, bars, strict=True) if not bar.size < 0), default=px(1))
    logits = (high - low) / max(width - left - right, px(6))
    return low - left * logits, high + right * logits


def _joint(row: int, at: float, xref: str, yref: str, ink: str) -> dict[str, Any]:
    """The hairline from the end of one bar to the start of the next."""
    return {
        "type": "line",
        "xref": xref,
        "yref": yref,
        "x0": at,
        "x1": at,
        "y0": row + _BAR / 2,
        "y1": row + 1 - _BAR / 2,
        "line": {"color": ink, "width": pt(HAIRLINE_PT)},
    }
