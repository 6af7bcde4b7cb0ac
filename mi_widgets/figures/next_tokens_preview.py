"""The still picture of a prompt for viewers that run no JavaScript: its tokens in colour, the likeliest next ones.

As PNG, which every viewer shows, or as SVG with real text. Needs neither a browser nor plotly.
"""

from __future__ import annotations

import math

import numpy as np

from mi_widgets import color
from mi_widgets.data import NextTokens
from mi_widgets.data.integers import text, word
from mi_widgets.data.next_tokens import BIT
from mi_widgets.described.prompt import PROMPT
from mi_widgets.figures import labels as printed
from mi_widgets.figures.canvas import Canvas, PngCanvas, Rect, SvgCanvas
from mi_widgets.figures.headline import with_changes
from mi_widgets.figures.next_tokens import (
    SIDES,
    Expected,
    candidate_places,
    candidate_rows,
    candidate_text,
    check_kind_of,
    summary,
)
from mi_widgets.figures.plotly_legend import NO_VALUE
from mi_widgets.figures.scale import MISSING, ColorScale
from mi_widgets.figures.style import ink_on, inks

WIDTH = 760
#: More lines of tokens than this are counted, not drawn.
MOST_LINES = 14
CANDIDATES = 8
#: Why the first token has no colour.
FIRST = f"{NO_VALUE}: nothing stands before it"
_LEFT, _LINE, _TALL, _ROOM = 12.0, 23.0, 18.0, 7.0


def next_tokens_preview_svg(
    data: Expected, position: int = -1, *, by: str = "surprisal", title: str = "", theme: str = "light"
) -> str:
    """`data` as a self-contained SVG, 760 pixels wide: the prompt's tokens coloured, the likeliest next tokens below.

    Args:
        data: one prompt, or two compared.
        position: whose next tokens are shown; negative counts from the end.
        by: what the colour says: `"surprisal"`, `"probability"` or `"rank"` of each token given those before it,
            `"entropy"` after it, or `"none"`.
        title: text of the first line; the model's name if empty.
        theme: `"light"` or `"dark"`.

    Returns:
        Well-formed XML, whatever the tokens hold.

    Raises:
        DataError: an unknown option, or a position that the prompt lacks.
    """
    canvas, ink = SvgCanvas(), inks(theme)
    height = _draw(canvas, data, position, by, title, _scale(data, by, theme))
    return canvas.document(WIDTH, height, f"Prompt: {summary(data)}", ink.paper, ink.text)


def next_tokens_preview_png(
    data: Expected, position: int = -1, *, by: str = "surprisal", title: str = "", theme: str = "light"
) -> bytes:
    """`data` as a PNG, 760 pixels wide: what `next_tokens_preview_svg` shows, in a small built-in font.

    Letters outside ASCII and the marks of whitespace are open boxes; arguments and errors are the same.
    """
    colors = _scale(data, by, theme)
    most = math.ceil(120 + 2 * (MOST_LINES + 1) * _LINE + CANDIDATES * 2 * _LINE + 60)
    canvas = PngCanvas(WIDTH, most, colors, inks(theme).text)
    return canvas.image(min(most, _draw(canvas, data, position, by, title, colors)))


def _values(one: NextTokens, by: str) -> np.ndarray:
    if by == "entropy":
        return one.entropy / np.float32(BIT)
    if by == "probability":
        return np.exp(one.log_prob)
    if by == "rank":
        return np.where(one.rank < 0, np.nan, one.rank).astype(np.float32)
    return one.surprisal


def _scale(data: Expected, by: str, theme: str) -> ColorScale:
    check_kind_of(data)
    word("by", by, PROMPT.values("color"))
    sides = (data,) if isinstance(data, NextTokens) else (data.a, data.b)
    values = np.concatenate([_values(one, by) for one in sides])
    finite = values[np.isfinite(values)]
    high = float(finite.max()) if finite.size else 0.0
    if by == "probability":
        high = 1.0
    elif by != "rank" and sides[0].d_vocab > 1:
        high = max(high if by == "none" else 0.0, math.log2(sides[0].d_vocab))  # as on the page: a blind guess
    return ColorScale(0.0, high, "log" if by == "rank" else "linear", "blue", theme, False, inks(theme).paper)


def _draw(canvas: Canvas, data: Expected, position: int, by: str, title: str, colors: ColorScale) -> int:
    """Everything on `canvas`; returns the height used."""
    ink = inks(colors.theme)
    first = data if isinstance(data, NextTokens) else data.a
    canvas.text(
        _LEFT, 20, printed.prose(text("title", title) or first.model or "The prompt as the model sees it", 92), 13
    )
    canvas.text(_LEFT, 38, printed.prose(with_changes(data, summary(data)), 100), 11, fill=ink.quiet)
    top = 54.0
    places = candidate_places(data, position)
    gaps: list[list[int]] = []
    for index, (one, place) in enumerate(places):
        left = _LEFT
        if len(places) == 2:
            canvas.text(_LEFT, top + 13, "AB"[index], 12, fill=SIDES[index])
            left += 18
        top = _strip(canvas, one, place, by, colors, left, top) + 6
        gaps.append(np.flatnonzero(np.isnan(_values(one, by))).tolist() if by != "none" else [])
    if by != "none":
        why = "" if not any(gaps) else NO_VALUE if any(gap not in ([], [0]) for gap in gaps) else FIRST
        top = _bar(canvas, colors, "" if by == "none" else PROMPT.measure(by).legend(), why, top + 6)
    return math.ceil(_candidates(canvas, data, position, colors, top + 8))


def _strip(canvas: Canvas, one: NextTokens, place: int, by: str, colors: ColorScale, left: float, top: float) -> float:
    """The tokens of one prompt as coloured boxes that wrap; returns the bottom edge."""
    ink = inks(colors.theme)
    size = canvas.token_sizes[0]
    advance = size * printed.ADVANCE
    codes = colors.codes(_values(one, by))
    at, line = left, 0
    chosen: Rect | None = None
    for position, string in enumerate(one.tokens.strings):
        label = printed.token_label(string, 40)
        wide = printed.columns(label) * advance + _ROOM
        if at + wide > WIDTH - _LEFT and at > left:
            at, line = left, line + 1
        if line >= MOST_LINES:
            rest = len(one.tokens) - position
            canvas.text(left, top + line * _LINE + 13, f"… {rest:,} more token{'' if rest == 1 else 's'}", 11,
                        fill=ink.quiet)  # fmt: skip
            return top + (line + 1) * _LINE
        box = (at, top + line * _LINE, wide, _TALL)
        fill = ink.paper if by == "none" else colors.hex(int(codes[position]))
        canvas.frames([box], ink.line, 0.4, fill)
        canvas.text(at + _ROOM / 2, box[1] + 13, label, size, mono=True, fill=ink_on(fill))
        if position == place:
            chosen = box
        at += wide + 2
    if chosen is not None:
        canvas.frames([chosen], color.ACCENT[colors.theme], 2)
    return top + (line + 1) * _LINE


def _bar(canvas: Canvas, colors: ColorScale, unit: str, gap: str, top: float) -> float:
    """A colour bar that lies down, with true values at its ticks, and `gap` beside the colour of missing values;
    returns the bottom edge."""
    line = inks(colors.theme).line
    width = 220.0
    canvas.cells(np.arange(color.STEPS)[None, :].astype(np.uint16), colors, (_LEFT, top, width, 10))
    canvas.frames([(_LEFT, top, width, 10)], line, 0.6)
    for where, label in colors.ticks(4):
        canvas.text(_LEFT + where * width, top + 22, label, 10, anchor="middle" if where else "start")
    canvas.text(_LEFT + width + 12, top + 9, unit, 11)
    if gap:
        at = _LEFT + width + 30 + printed.columns(unit) * 7
        canvas.frames([(at, top, 10, 10)], line, 0.6, colors.hex(MISSING))
        canvas.text(at + 15, top + 9, gap, 11)
    return top + 28


def _candidates(canvas: Canvas, data: Expected, position: int, colors: ColorScale, top: float) -> float:
    """The likeliest next tokens with their probabilities as bars; returns the bottom edge."""
    ink = inks(colors.theme)
    names, probabilities, bounds = candidate_rows(data, position, CANDIDATES)
    after = " and ".join(
        f"{printed.token_label(one.tokens.strings[place], 20)} (position {place})"
        for one, place in candidate_places(data, position)
    )
    canvas.text(_LEFT, top + 11, f"next token after {after}", 11, fill=ink.quiet)
    top += 20
    size = canvas.token_sizes[0]
    shown = [printed.token_label(name, 24) for name in names]
    left = _LEFT + max(60.0, printed.widest(shown, size)) + 6
    room, each = 360.0, 14.0
    high = float(np.fmax.reduce(probabilities, axis=None, initial=0.0)) or 1.0
    for row, label in enumerate(shown):
        tall = each * len(probabilities)
        canvas.text(left - 6, top + tall / 2 + 4, label, size, anchor="end", mono=True)
        for index, value in enumerate(probabilities[:, row].tolist()):
            lost = math.isnan(bounds[index])
            across = 6.0 if lost else 1.0 if math.isnan(value) else max(1.0, room * value / high)
            middle = top + (index + 0.5) * each
            if lost or not math.isnan(value):
                fill = colors.hex(MISSING) if lost else SIDES[index]
                canvas.frames([(left, middle - 4.5, across, 9)], fill, 1, fill)
            canvas.text(left + across + 6, middle + 4, candidate_text(value, bounds[index]), 10, fill=ink.quiet)
        top += tall + 4
    return top + 10
