"""A prompt on paper as the model expected it: a bar for each token, or the likeliest tokens at one position.

Takes `data`, gives a sheet; the still picture of a saved notebook has the tokens in colour above the likeliest next
ones. Knows nothing of models, torch or the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from mi_widgets import color
from mi_widgets.data import NextTokens, NextTokensComparison
from mi_widgets.data.integers import integer, text, word
from mi_widgets.data.next_tokens import BIT
from mi_widgets.data.tokens import NO_TOKEN
from mi_widgets.described.prompt import PROMPT
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount, even_ticks
from mi_widgets.figures.labels import TokenAxis
from mi_widgets.figures.legend import NO_VALUE, Legend
from mi_widgets.figures.marks import Axis, Bars, Box, Rectangles, entries
from mi_widgets.figures.page import EDGE, LINE, Page, below, name_axes, paper, still
from mi_widgets.figures.scale import PAPER, ColorScale, sign_inks
from mi_widgets.figures.sheet import Sheet, as_png, as_svg, plotted, screen_height
from mi_widgets.figures.style import HAIRLINE_PT, LABEL_GAP, LABEL_PT, MIN_PT, TOKEN_PT, ink_on, inks, pt, px

Expected: TypeAlias = NextTokens | NextTokensComparison

#: What the bars show: of each token its surprisal (bits) or probability; the entropy (bits) of what may follow it;
#: for two prompts the surprisal of A − B; or the likeliest tokens after one position.
KINDS = ("surprisal", "probability", "entropy", "difference", "candidates")
#: Long prompts are broken into up to so many rows of bars; beyond, one row with labels here and there.
MOST_ROWS = 12
#: The still picture counts the tokens below so many lines and lists so many candidates.
MOST_LINES, STILL_CANDIDATES = 14, 8
#: Why the first token has no colour.
FIRST = f"{NO_VALUE}: nothing stands before it"

#: Colours of A and of B.
SIDES = color.CATEGORICAL[:2]
#: Height of the mark that stands where there is no number, as a share of the axis.
_LOW_MARK = 0.07
#: Height and pitch of the still picture's tokens, and the room beside their letters.
_TALL, _PITCH, _ROOM = px(3.6), px(4.7), px(1.4)


@plotted
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
) -> Sheet:
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
    key: list[tuple[str, str]] = [] if isinstance(data, NextTokens) else list(zip(SIDES, "AB", strict=True))
    if kind == "candidates":
        return _candidates(
            data, position, top, paper(data, title, width_mm, height_mm, theme, _after(data, position), key)
        )
    strings, series = columns_of(data, kind)
    key = key if len(series) == 2 else []
    if any(bool(np.isnan(values).any()) for values in series):
        key.append((color.MISSING[theme], NO_VALUE))
    return _bars(kind, strings, series, paper(data, title, width_mm, height_mm, theme, summary(data), key))


def next_tokens_still(
    data: Expected, position: int = -1, *, by: str = "surprisal", title: str = "", theme: str = "light"
) -> Sheet:
    """`data` for a notebook that is read without JavaScript, 760 pixels wide: the prompt's tokens coloured, the
    likeliest next tokens below.

    Args:
        data: one prompt, or two compared.
        position: whose next tokens are shown; negative counts from the end.
        by: what the colour says: `"surprisal"`, `"probability"` or `"rank"` of each token given those before it,
            `"entropy"` after it, or `"none"`.
        title: text of the first line; the model's name if empty.
        theme: `"light"` or `"dark"`.

    Raises:
        DataError: an unknown option, or a position that the prompt lacks.
    """
    check_kind_of(data)
    by = word("by", by, PROMPT.values("color"))
    inks(theme)
    first = data if isinstance(data, NextTokens) else data.a
    sides = [values_of(one, by) for one, _ in candidate_places(data, position)]
    gaps = [np.flatnonzero(np.isnan(values)).tolist() for values in sides if by != "none"]
    why = FIRST if all(gap in ([], [0]) for gap in gaps) else NO_VALUE
    key = [(color.MISSING[theme], why)] if any(gaps) else []
    heading = text("title", title) or first.model or "The prompt as the model sees it"
    page = still(data, heading, (), theme, summary(data), key)
    sheet = page.sheet(page.top, f"Prompt: {summary(data)}")
    scale, bottom = _scale(sides, by, theme, first.d_vocab), page.top
    for index, ((one, place), values) in enumerate(zip(candidate_places(data, position), sides, strict=True)):
        left = EDGE
        if len(sides) == 2:
            sheet.text(EDGE, bottom + _TALL / 2, "AB"[index], pt(LABEL_PT), SIDES[index])
            left += pt(LABEL_PT) * 1.4
        codes = np.full(len(values), PAPER) if by == "none" else scale.codes(values)
        bottom = _strip(sheet, one, [scale.hex(code) for code in codes.tolist()], place, left, bottom) + px(1)
    sheet.text(EDGE, bottom + pt(LABEL_PT) * LINE / 2, _after(data, position), pt(LABEL_PT), inks(theme).quiet)
    bottom += pt(LABEL_PT) * LINE + px(1)
    rows = candidate_rows(data, position, STILL_CANDIDATES)
    legend = Legend(scale, "" if by == "none" else PROMPT.measure(by).legend(), (False, False), False, False)
    picture, right = _pitch(len(sides)) * len(rows[0]), page.width - legend.width()
    _draw_candidates(sheet, rows, bottom, right, _pitch(len(sides)))
    if by != "none":
        legend.draw(sheet, right, bottom, picture)
    sheet.height = screen_height(bottom + picture + below() + EDGE)
    return sheet


next_tokens_preview_svg, next_tokens_preview_png = as_svg(next_tokens_still), as_png(next_tokens_still)


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


def values_of(one: NextTokens, kind: str) -> np.ndarray:
    """float32 `[position]`: a number of each token, as the prompt view's measures; NaN where there is none."""
    if kind == "entropy":
        return one.entropy / np.float32(BIT)
    if kind == "rank":
        return np.where(one.rank < 0, np.nan, one.rank).astype(np.float32)
    return np.exp(one.log_prob) if kind == "probability" else one.surprisal


def columns_of(data: Expected, kind: str) -> tuple[Sequence[str], list[np.ndarray]]:
    """Token strings of the columns and the numbers of each series: of A and B, or one."""
    if isinstance(data, NextTokens):
        return data.tokens.strings, [values_of(data, kind)]
    if kind == "difference":
        return data.tokens.strings, [data.difference]
    sides = []
    for pick, one in enumerate((data.a, data.b)):
        held = values_of(one, kind)
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


def _range(series: list[np.ndarray]) -> tuple[float, float]:
    finite = np.concatenate([values[np.isfinite(values)] for values in series])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    low, high = min(0.0, low), max(0.0, high)
    if low == high:
        high = 1.0
    room = 0.04 * (high - low)
    return low - room if low < 0 else 0.0, high + room if high > 0 else 0.0


def _bars(kind: str, strings: Sequence[str], series: list[np.ndarray], page: Page) -> Sheet:
    count = len(strings)
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
    under = LABEL_GAP + max(axis.room for axis in axes) + px(1.6)
    tall = px(26) if rows == 1 else px(17)
    if page.height is not None:
        tall = (page.height - page.top - EDGE) / rows - under
        if tall < px(6):
            raise DataError(
                f"{rows} rows of bars leave {max(tall, 0) * 25.4 / 96:.0f} mm each.", "Give more height_mm."
            )
    sheet = page.sheet(page.top + rows * (tall + under) + EDGE, f"Prompt: {kind} of each token")
    low, high = _range(series)
    ticks = even_ticks(low, high, 4)
    unit = (PROMPT.difference("surprisal") if kind == "difference" else PROMPT.measure(kind)).legend()
    ink = inks(page.theme)
    for row, (part, axis) in enumerate(zip(parts, axes, strict=True)):
        places = [part.start + place for place in axis.positions]
        plot = sheet.plot(
            Box(left, page.top + row * (tall + under), pitch * len(part), tall),
            Axis(
                part.start - 0.5, part.stop - 0.5, places, axis.labels, size, mono=True, turned=True, strokes=False,
                line="side",
            ),
            Axis(
                high, low, ticks, [digits(value) for value in ticks], pt(MIN_PT), line="side",
                zero=ink.line if low < 0 else "",
            ),
        )  # fmt: skip
        for index, values in enumerate(series):
            plot.add(*_series(values, part, strings, index, len(series), kind, page.theme, _LOW_MARK * (high - low)))
        name_axes(sheet, plot.box, EDGE, "", unit)
    return sheet


def _series(
    values: np.ndarray, part: range, strings: Sequence[str], index: int, count: int, kind: str, theme: str, tall: float
) -> tuple[Rectangles, Bars]:
    """The bars of one series in one row; low marks in the colour of missing values where there is none: no number is
    not zero."""
    held = values[part.start : part.stop]
    wide = 0.8 / count
    offset = -0.4 + index * wide
    lost = [Box(part.start + place + offset, 0.0, wide, tall) for place in np.flatnonzero(np.isnan(held)).tolist()]
    fills: Any = SIDES[index]
    if kind == "difference":
        fills = [sign_inks(theme)[value > 0] for value in held.tolist()]
    side = f"{'AB'[index]} · " if count == 2 else ""
    return Rectangles(lost, color.MISSING[theme], below=True), Bars(
        part,
        [0.0] * len(part),
        held.tolist(),
        fills,
        wide,
        offset,
        [printed.markup(printed.token_label(strings[place], 40)) for place in part],
        f"{side}%{{hovertext}}<br>position %{{x:d}}<br>{kind} %{{y:.5g}}",
    )


def _candidates(data: Expected, position: int, top: int, page: Page) -> Sheet:
    top = integer("top", top)
    if top < 1:
        raise DataError(f"top={top!r}.", "Draw at least one candidate.")
    rows = candidate_rows(data, position, top)
    sides, count = rows[1].shape
    pitch = _pitch(sides)
    if page.height is not None:
        pitch = (page.height - page.top - below() - EDGE) / count
        if pitch < pt(MIN_PT):
            raise DataError(f"{count} candidates do not fit {page.height * 25.4 / 96:.0f} mm.", "Give more height_mm.")
    sheet = page.sheet(page.top + pitch * count + below() + EDGE, f"Prompt: {_after(data, position)}")
    _draw_candidates(sheet, rows, page.top, page.width, pitch)
    return sheet


def _pitch(sides: int) -> float:
    """Height of a candidate's row."""
    return pt(TOKEN_PT) * (1.5 if sides == 1 else 2.1)


def _after(data: Expected, position: int) -> str:
    """What the candidates are."""
    return "next token after " + " and ".join(
        f"“{printed.token_label(one.tokens.strings[place], 20)}” (position {place})"
        for one, place in candidate_places(data, position)
    )


def _draw_candidates(
    sheet: Sheet, rows: tuple[list[str], np.ndarray, list[float]], top: float, right: float, pitch: float
) -> None:
    """A bar for each candidate of each side, with its number, from the left edge to `right`."""
    names, probabilities, bounds = rows
    count, ink = len(names), inks(sheet.theme)
    most = max(4, int(0.3 * right / (printed.ADVANCE * pt(TOKEN_PT))))
    shown = [printed.token_label(name, most) for name in names]
    left = EDGE + printed.widest(shown, pt(TOKEN_PT)) + pt(4)
    high = float(np.fmax.reduce(probabilities, axis=None, initial=0.0))
    high = high if 0 < high <= 0.75 else 1.0
    ticks = even_ticks(0, high, 4)
    plot = sheet.plot(
        Box(left, top, right - px(11) - left, pitch * count),
        Axis(0, high, ticks, [digits(value) for value in ticks], pt(MIN_PT), line="side"),
        entries(count, range(count), shown, pt(TOKEN_PT), mono=True, line="side"),
    )
    wide = 0.76 / len(probabilities)
    said = [printed.markup(printed.token_label(name, 40)) for name in names]
    for side, values in enumerate(probabilities):
        offset = -0.38 + side * wide
        template = "%{hovertext}<br>probability %{x:.5g}"
        plot.add(
            Bars(range(count), [0.0] * count, values.tolist(), SIDES[side], wide, offset, said, template, flat=True)
        )
        for place, value in enumerate(values.tolist()):
            middle = plot.down(place + offset + wide / 2)
            end = plot.across(0.0 if math.isnan(value) else value)
            if math.isnan(bounds[side]):
                end = sheet.missing(plot.box.left, middle, wide * pitch)
            sheet.text(end + px(0.8), middle, candidate_text(value, bounds[side]), pt(MIN_PT), ink.quiet)
    name_axes(sheet, plot.box, EDGE, "probability")


def _scale(sides: list[np.ndarray], by: str, theme: str, d_vocab: int) -> ColorScale:
    """The page's colours of the still picture's tokens."""
    values = np.concatenate(sides)
    high = float(np.fmax.reduce(values[np.isfinite(values)], initial=0.0))
    if by == "probability":
        high = 1.0
    elif by != "rank" and d_vocab > 1:
        high = max(high if by == "none" else 0.0, math.log2(d_vocab))  # as on the page: a blind guess
    return ColorScale(0.0, high, "log" if by == "rank" else "linear", "blue", theme, False, inks(theme).paper)


def _strip(sheet: Sheet, one: NextTokens, fills: Sequence[str], chosen: int, left: float, top: float) -> float:
    """The tokens of one prompt as coloured boxes that wrap; returns the bottom edge."""
    ink, size = inks(sheet.theme), pt(TOKEN_PT)
    across, line, framed = left, 0, None
    for position, (string, fill) in enumerate(zip(one.tokens.strings, fills, strict=True)):
        label = printed.token_label(string, 40)
        wide = printed.columns(label) * size * printed.ADVANCE + _ROOM
        if across + wide > sheet.width - EDGE and across > left:
            across, line = left, line + 1
        if line >= MOST_LINES:
            rest = len(one.tokens) - position
            middle = top + line * _PITCH + _TALL / 2
            sheet.text(left, middle, f"… {rest:,} more token{'' if rest == 1 else 's'}", pt(LABEL_PT), ink.quiet)
            break
        box = Box(across, top + line * _PITCH, wide, _TALL)
        sheet.rectangle(box, fill, ink.line, pt(HAIRLINE_PT))
        sheet.text(across + _ROOM / 2, box.middle, label, size, ink_on(fill), mono=True)
        framed = box if position == chosen else framed
        across += wide + pt(1)
    if framed is not None:
        sheet.rectangle(framed, line=color.ACCENT[sheet.theme], width=pt(1.2))
    return top + (line + 1) * _PITCH
