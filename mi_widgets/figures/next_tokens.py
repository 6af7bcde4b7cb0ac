"""A prompt on paper as the model expected it: a bar for each token, or the likeliest tokens at one position.

Takes `data`, gives a plotly figure. Knows nothing of models, torch or the screen.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mi_widgets import color
from mi_widgets.data import NextTokens, NextTokensComparison
from mi_widgets.data.integers import integer, word
from mi_widgets.data.next_tokens import BIT
from mi_widgets.data.tokens import NO_TOKEN
from mi_widgets.described.prompt import PROMPT
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount, even_ticks
from mi_widgets.figures.headline import title_lines
from mi_widgets.figures.labels import TokenAxis
from mi_widgets.figures.plotly_legend import NO_VALUE
from mi_widgets.figures.plotly_sheet import Box, Sheet
from mi_widgets.figures.style import LABEL_PT, MIN_PT, MONO, TITLE_PT, TOKEN_PT, height_in_px, inks, pt, px, width_in_mm

if TYPE_CHECKING:
    import plotly.graph_objects as go

Expected: TypeAlias = NextTokens | NextTokensComparison

#: What the bars show: of each token its surprisal (bits) or probability; the entropy (bits) of what may follow it;
#: for two prompts the surprisal of A − B; or the likeliest tokens after one position.
KINDS = ("surprisal", "probability", "entropy", "difference", "candidates")
#: Long prompts are broken into up to so many rows of bars; beyond, one row with labels here and there.
MOST_ROWS = 12

EDGE = px(0.8)
LINE = 1.35
#: Colours of A and of B; of negative and of positive differences (rows of the diverging palette).
SIDES = color.CATEGORICAL[:2]
_SIGNS = (44, 211)
#: Height of the mark that stands where there is no number, as a share of the axis.
_STUB = 0.07
_SWATCH = pt(MIN_PT) * 0.8
#: Average advance of the sans face, in ems.
_ADVANCE = 0.52


def next_tokens_figure(
    data: Expected,
    *,
    kind: str = "surprisal",
    position: int = -1,
    top: int = 10,
    title: str | None = None,
    width_mm: float | str = 83,
    height_mm: float | None = None,
    theme: str = "light",
) -> go.Figure:
    """How a model expected a prompt, as a plotly figure of exact size, ready for `save_figure`.

    Tokens stand below their bars, in as many rows as they need to be legible. A token without a number (the first:
    nothing stands before it) has the colour of missing values. Two prompts stand side by side on aligned tokens.

    Args:
        data: one prompt, or two compared.
        kind: `"surprisal"` in bits or `"probability"` of each token given those before it; `"entropy"` in bits of the
            distribution after each token; `"difference"`, surprisal of A − B in bits (two prompts only); or
            `"candidates"`, the likeliest next tokens after `position`.
        position: for candidates; negative counts from the end (of two prompts, of each).
        top: candidates drawn, at most as many as `data` holds.
        title: a line above the figure; interventions in the runs that it shows are named below it.
        width_mm: width of the page in millimetres, or `"single"` (83), `"one and a half"` (120), `"double"` (174).
        height_mm: height in millimetres; as needed if None.
        theme: `"light"` or `"dark"`.

    Raises:
        DataError: an unknown option, a position that the prompt lacks, or a size too small to draw in.
    """
    check_kind_of(data)
    kind = word("kind", kind, KINDS)
    if kind == "difference" and not isinstance(data, NextTokensComparison):
        raise DataError("a difference needs two prompts.", "Give a NextTokensComparison, or another kind.")
    inks(theme)
    width = px(width_in_mm(width_mm))
    height = height_in_px(height_mm)
    page = _Page(width, height, [printed.markup(line) for line in title_lines(title, width, data)], theme)
    if kind == "candidates":
        return _candidates(data, position, top, page)
    return _bars(data, kind, page)


def check_kind_of(data: Any) -> None:
    """Raise DataError unless `data` is one prompt's next tokens or two compared."""
    if not isinstance(data, (NextTokens, NextTokensComparison)):
        raise DataError(
            f"a {type(data).__name__} is no result of next_tokens.", "Make one with compute.next_tokens(model, prompt)."
        )


def digits(value: float) -> str:
    """A number for print: three significant digits, with a true minus sign."""
    return f"{value}".replace("-", "−") if math.isinf(value) else amount(value)


def summary(data: Expected) -> str:
    """The totals in one line: bits over the scored tokens, and perplexity."""
    if isinstance(data, NextTokensComparison):
        a, b = digits(data.a.total_surprisal()), digits(data.b.total_surprisal())
        return f"A {a} bits · B {b} bits · A − B = {digits(data.total_difference())} bits"
    count = int(data.scored().sum())
    return (
        f"{digits(data.total_surprisal())} bits over {count} token{'' if count == 1 else 's'} · "
        f"perplexity {digits(data.perplexity())}"
    )


def columns_of(data: Expected, kind: str) -> tuple[Sequence[str], list[np.ndarray]]:
    """Token strings of the columns and the numbers of each series: of A and B, or one."""

    def values(one: NextTokens) -> np.ndarray:
        if kind == "entropy":
            return one.entropy / np.float32(BIT)
        return np.exp(one.log_prob) if kind == "probability" else one.surprisal

    if isinstance(data, NextTokens):
        return data.tokens.strings, [values(data)]
    if kind == "difference":
        return data.tokens.strings, [data.difference]
    sides = []
    for pick, one in enumerate((data.a, data.b)):
        held = values(one)
        places = [pair[pick] for pair in data.alignment.pairs]
        sides.append(np.array([np.nan if place is None else held[place] for place in places], np.float32))
    return data.tokens.strings, sides


def candidate_rows(data: Expected, position: int, top: int) -> tuple[list[str], np.ndarray, list[float]]:
    """Token strings, probabilities `[series, candidate]` and for each series the bound below which it keeps nothing.

    Two prompts show the likeliest of either; NaN where a token is not among the candidates that side holds. A side
    whose probabilities are no numbers has a bound of NaN; where none has any, there is one row, named "–".
    """
    held = [
        {
            token: probability
            for token, probability in zip(side.top_ids[row].tolist(), side.top_probs[row].tolist(), strict=True)
            if not math.isnan(probability)
        }
        for side, row in candidate_places(data, position)
    ]
    if not any(held):
        return [NO_TOKEN], np.full((len(held), 1), np.nan), [math.nan] * len(held)
    wanted = {token for one in held for token in list(one)[:top]}
    order = sorted(wanted, key=lambda token: -max(one.get(token, 0.0) for one in held))[:top]
    names = data.names if isinstance(data, NextTokens) else {**data.a.names, **data.b.names}
    probabilities = np.array([[one.get(token, np.nan) for token in order] for one in held])
    bounds = [min(one.values(), default=math.nan) for one in held]
    return [names.get(token, str(token)) for token in order], probabilities, bounds


def candidate_text(probability: float, bound: float) -> str:
    """The number beside a candidate: its probability, or below which it lies."""
    if not math.isnan(probability):
        return digits(probability)
    return NO_VALUE if math.isnan(bound) else f"≤ {digits(bound)}"


def candidate_places(data: Expected, position: int) -> list[tuple[NextTokens, int]]:
    """The prompts and the position in each whose candidates `position` means: in a comparison a position of A with
    its counterpart in B, or, where negative, the same one from the end in both.

    Raises:
        DataError: a position that A lacks, or that has no counterpart.
    """
    if isinstance(data, NextTokens):
        return [(data, data.position(position))]
    first = (data.a, data.a.position(position))
    if integer("position", position) < 0:
        return [first, (data.b, data.b.position(position))]
    for in_a, in_b in data.alignment.pairs:
        if in_a == first[1] and in_b is not None:
            return [first, (data.b, in_b)]
    raise DataError(f"position {position} of A has no counterpart in B.", "Give one that has, or -1 for both ends.")


@dataclass(frozen=True)
class _Page:
    """The paper: lengths in pixels."""

    width: float
    height: float | None
    headline: list[str]
    theme: str

    caption: str = ""
    #: Colours and what they stand for, right of the caption or, where there is no room, below it.
    key: tuple[tuple[str, str], ...] = ()

    @property
    def _lines(self) -> list[list[str]]:
        """The caption, broken where the paper is narrow; the key's place is its last line."""
        most = max(12, int((self.width - 2 * EDGE) / (_ADVANCE * pt(LABEL_PT))))
        lines = [[line] for line in textwrap.wrap(self.caption, most, break_on_hyphens=False)]
        if self.key and len(lines[-1][0]) * _ADVANCE * pt(LABEL_PT) + self._key_width > self.width - 2 * EDGE:
            lines.append([""])
        return lines

    @property
    def _key_width(self) -> float:
        return sum(_SWATCH + px(2.2) + len(name) * _ADVANCE * pt(LABEL_PT) for _, name in self.key)

    @property
    def top(self) -> float:
        """Where the picture may begin: below title, caption and key."""
        title = len(self.headline) * pt(TITLE_PT) * LINE + (px(0.8) if self.headline else 0)
        return EDGE + title + len(self._lines) * pt(LABEL_PT) * LINE + px(1.2)

    def sheet(self, height: float) -> Sheet:
        """A sheet with title, caption and key."""
        sheet = Sheet(self.width, height, self.theme)
        ink = inks(self.theme)
        for line, text in enumerate(self.headline):
            sheet.text(EDGE, EDGE + (line + 0.5) * pt(TITLE_PT) * LINE, text, pt(TITLE_PT))
        lines = self._lines
        first = self.top - px(1.2) - len(lines) * pt(LABEL_PT) * LINE
        for line, (text,) in enumerate(lines):
            if text:
                sheet.text(
                    EDGE,
                    first + (line + 0.5) * pt(LABEL_PT) * LINE,
                    printed.markup(text),
                    pt(LABEL_PT),
                    color=ink.quiet,
                )
        middle = first + (len(lines) - 0.5) * pt(LABEL_PT) * LINE
        left = self.width - EDGE - self._key_width
        for fill, name in self.key:
            sheet.rectangle(Box(left, middle - _SWATCH / 2, _SWATCH, _SWATCH), fill, fill, 0)
            sheet.text(left + _SWATCH + px(0.7), middle, name, pt(LABEL_PT))
            left += _SWATCH + px(2.2) + len(name) * _ADVANCE * pt(LABEL_PT)
        return sheet


def _bars(data: Expected, kind: str, page: _Page) -> go.Figure:
    strings, series = columns_of(data, kind)
    count = len(strings)
    gaps = any(bool(np.isnan(values).any()) for values in series)
    sides = tuple(zip(SIDES, "AB", strict=True)) if len(series) == 2 else ()
    page = replace(page, caption=summary(data), key=sides + (((color.MISSING[page.theme], NO_VALUE),) if gaps else ()))
    sizes = (pt(TOKEN_PT), pt(MIN_PT))
    left = EDGE + pt(LABEL_PT) * 1.4 + pt(MIN_PT) * 2.6
    across = page.width - left - EDGE
    fitting = max(1, int(across / (sizes[1] * 1.2)))
    rows = math.ceil(count / fitting)
    rows = rows if rows <= MOST_ROWS else 1
    each = math.ceil(count / rows)
    # A short prompt gets no bars as wide as thumbs.
    pitch = min(across / each, px(9))
    parts = [range(start, min(start + each, count)) for start in range(0, count, each)]
    axes = [
        TokenAxis.fit([strings[place] for place in part], pitch * len(part), min(px(16), 0.2 * page.width), sizes)
        for part in parts
    ]
    size = min(axis.size for axis in axes)
    room = max(axis.room for axis in axes)
    below = pt(2.5) + room + px(1.6)
    if page.height is None:
        tall = px(26) if rows == 1 else px(17)
    else:
        tall = (page.height - page.top - EDGE) / rows - below
        if tall < px(6):
            raise DataError(
                f"{rows} rows of bars leave {max(tall, 0) * 25.4 / 96:.0f} mm each.", "Give more height_mm."
            )
    height = page.height if page.height is not None else page.top + rows * (tall + below) + EDGE
    sheet = page.sheet(height)
    low, high = _range(series)
    ticks = even_ticks(low, high, 4)
    ink = inks(page.theme)
    for row, (part, axis) in enumerate(zip(parts, axes, strict=True)):
        box = Box(left, page.top + row * (tall + below), pitch * len(part), tall)
        xref, yref = sheet.add_axes(
            box,
            {
                "range": [part.start - 0.5, part.stop - 0.5],
                "tickmode": "array",
                "tickvals": [part.start + place for place in axis.positions],
                "ticktext": [printed.markup(text) for text in axis.labels],
                "tickangle": -90,
                "tickfont": {"family": MONO, "size": size},
                "ticks": "",
                "mirror": False,
            },
            {
                "range": [low, high],
                "tickmode": "array",
                "tickvals": ticks,
                "ticktext": [digits(value) for value in ticks],
                "tickfont": {"size": pt(MIN_PT)},
                "mirror": False,
                "zeroline": low < 0,
                "zerolinecolor": ink.line,
                "zerolinewidth": pt(0.4),
            },
        )
        _missing_marks(sheet, series, part, xref, yref, _STUB * (high - low))
        for index, values in enumerate(series):
            sheet.traces.append(_trace(values, part, strings, index, len(series), kind, page.theme, xref, yref))
        measure = PROMPT.difference("surprisal") if kind == "difference" else PROMPT.measure(kind)
        unit = measure.legend()
        smaller = pt(LABEL_PT if len(unit) * 0.56 * pt(LABEL_PT) < tall else MIN_PT)
        sheet.text(
            EDGE + pt(LABEL_PT) * 0.6, box.top + tall / 2, unit, smaller, xanchor="center", textangle=-90,
            color=ink.quiet,
        )  # fmt: skip
    return sheet.figure()


def _trace(
    values: np.ndarray, part: range, strings: Sequence[str], index: int, count: int, kind: str, theme: str, xref: str,
    yref: str,
) -> dict[str, Any]:  # fmt: skip
    """The bars of one series in one row."""
    held = values[part.start : part.stop]
    fill: Any = SIDES[index]
    if kind == "difference":
        table = color.hex_colors(color.DIVERGING if theme == "light" else f"{color.DIVERGING}_dark")
        fill = [table[_SIGNS[1] if value > 0 else _SIGNS[0]] for value in held.tolist()]
    wide = 0.8 / count
    side = f"{'AB'[index]} · " if count == 2 else ""
    return {
        "type": "bar",
        "x": list(part),
        "y": [None if math.isnan(value) else value for value in held.tolist()],
        "width": wide,
        "offset": -0.4 + index * wide,
        "marker": {"color": fill, "line": {"width": 0}},
        "hovertext": [printed.markup(printed.token_label(strings[place], 40)) for place in part],
        "hovertemplate": f"{side}%{{hovertext}}<br>position %{{x:d}}<br>{kind} %{{y:.5g}}<extra></extra>",
        "xaxis": xref,
        "yaxis": yref,
    }


def _missing_marks(sheet: Sheet, series: list[np.ndarray], part: range, xref: str, yref: str, height: float) -> None:
    """Low marks in the colour of missing values where there is no bar: no number is not zero."""
    wide = 0.8 / len(series)
    for index, values in enumerate(series):
        for place in part:
            if math.isnan(values[place]):
                left = place - 0.4 + index * wide
                sheet.shapes.append(
                    {
                        "type": "rect",
                        "xref": xref,
                        "yref": yref,
                        "layer": "below",
                        "x0": left,
                        "x1": left + wide,
                        "y0": 0,
                        "y1": height,
                        "fillcolor": color.MISSING[sheet.theme],
                        "line": {"width": 0},
                    }
                )


def _range(series: list[np.ndarray]) -> tuple[float, float]:
    finite = np.concatenate([values[np.isfinite(values)] for values in series])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    low, high = min(0.0, low), max(0.0, high)
    if low == high:
        high = 1.0
    room = 0.04 * (high - low)
    return low - room if low < 0 else 0.0, high + room if high > 0 else 0.0


def _candidates(data: Expected, position: int, top: int, page: _Page) -> go.Figure:
    top = integer("top", top)
    if top < 1:
        raise DataError(f"top={top!r}.", "Draw at least one candidate.")
    names, probabilities, bounds = candidate_rows(data, position, top)
    count, sides = len(names), len(probabilities)
    first = data if isinstance(data, NextTokens) else data.a
    place = first.position(position)
    after = printed.token_label(first.tokens.strings[place], 20)
    page = replace(
        page,
        caption=f"next token after “{after}” (position {place})",
        key=tuple(zip(SIDES, "AB", strict=True)) if sides == 2 else (),
    )
    most = max(4, int(0.3 * page.width / (printed.ADVANCE * pt(TOKEN_PT))))
    shown = [printed.token_label(name, most) for name in names]
    left = EDGE + printed.widest(shown, pt(TOKEN_PT)) + pt(4)
    right = px(11)
    below = pt(2.5) + pt(MIN_PT) * LINE + pt(LABEL_PT) * LINE
    pitch = pt(TOKEN_PT) * (1.5 if sides == 1 else 2.1)
    if page.height is not None:
        pitch = (page.height - page.top - below - EDGE) / count
        if pitch < pt(MIN_PT):
            raise DataError(f"{count} candidates do not fit {page.height * 25.4 / 96:.0f} mm.", "Give more height_mm.")
    height = page.height if page.height is not None else page.top + pitch * count + below + EDGE
    sheet = page.sheet(height)
    high = float(np.fmax.reduce(probabilities, axis=None, initial=0.0))
    high = high if 0 < high <= 0.75 else 1.0
    box = Box(left, page.top, page.width - left - right, pitch * count)
    ticks = even_ticks(0, high, 4)
    xref, yref = sheet.add_axes(
        box,
        {
            "range": [0, high],
            "tickmode": "array",
            "tickvals": ticks,
            "ticktext": [digits(value) for value in ticks],
            "tickfont": {"size": pt(MIN_PT)},
            "mirror": False,
        },
        {
            "range": [count - 0.5, -0.5],
            "tickmode": "array",
            "tickvals": list(range(count)),
            "ticktext": [printed.markup(name) for name in shown],
            "tickfont": {"family": MONO, "size": pt(TOKEN_PT)},
            "ticks": "",
            "mirror": False,
        },
    )
    wide = 0.76 / sides
    ink = inks(page.theme)
    for index, row in enumerate(probabilities):
        sheet.traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "y": list(range(count)),
                "x": [None if math.isnan(value) else value for value in row.tolist()],
                "width": wide,
                "offset": -0.38 + index * wide,
                "marker": {"color": SIDES[index], "line": {"width": 0}},
                "hovertext": [printed.markup(printed.token_label(name, 40)) for name in names],
                "hovertemplate": "%{hovertext}<br>probability %{x:.5g}<extra></extra>",
                "xaxis": xref,
                "yaxis": yref,
            }
        )
        for place, value in enumerate(row.tolist()):
            middle = box.top + (place + 0.5 - 0.38 + (index + 0.5) * wide) * pitch
            end = box.left + (0 if math.isnan(value) else value / high) * box.width
            if math.isnan(bounds[index]):
                end = sheet.missing(box.left, middle, wide * pitch)
            text = candidate_text(value, bounds[index])
            sheet.text(end + px(0.8), middle, text, pt(MIN_PT), color=ink.quiet)
    under = box.bottom + pt(2.5) + pt(MIN_PT) * LINE + pt(LABEL_PT) * 0.6
    sheet.text(box.left + box.width / 2, under, "probability", pt(LABEL_PT), xanchor="center", color=ink.quiet)
    return sheet.figure()
