"""Parts of a logit difference as rows of bars, each with its number: from zero, or joined to a waterfall.

Takes rows, draws on a sheet. Knows nothing of models, torch or the screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mi_widgets.data import AttributionRow, LogitAttribution
from mi_widgets.data.logit_attribution import RESIDUE
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount, amounts, even_ticks
from mi_widgets.figures.legend import NO_VALUE
from mi_widgets.figures.marks import Axis, Bars, Box, Line, entries
from mi_widgets.figures.page import ADVANCE, Room, below, name_axes
from mi_widgets.figures.scale import sign_inks
from mi_widgets.figures.sheet import Sheet
from mi_widgets.figures.style import HAIRLINE_PT, LABEL_PT, MIN_PT, TOKEN_PT, inks, mm, pt, px

#: Height of a row, and the share of it that its bar takes.
_PITCH, _BAR = pt(LABEL_PT) * 1.5, 0.72


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


@dataclass(frozen=True)
class BarRows:
    """Where the bars stand; lengths in pixels.

    Attributes:
        bars: from the top down.
        labels: of the rows, cut to their room.
        box: of the bars.
        mono: rows are tokens.
    """

    bars: Sequence[Bar]
    labels: Sequence[str]
    box: Box
    mono: bool

    @classmethod
    def fit(cls, bars: Sequence[Bar], room: Room, *, mono: bool = False) -> BarRows:
        """The bars with their labels in their room.

        Raises:
            DataError: the rows would be lower than their letters.
        """
        edge, top, width, bottom = room
        size, advance = (pt(TOKEN_PT), printed.ADVANCE) if mono else (pt(LABEL_PT), ADVANCE)
        labels = [printed.prose(bar.label, max(6, int(0.42 * width / (advance * size)))) for bar in bars]
        left = edge + max(map(printed.columns, labels)) * advance * size + pt(4)
        pitch = _PITCH if bottom is None else (bottom - top - below()) / len(bars)
        if pitch < pt(MIN_PT):
            tall = mm((bottom or 0) - top)
            raise DataError(f"{len(bars)} rows do not fit {tall:.0f} mm.", "Give more height_mm, or less top.")
        return cls(bars, labels, Box(left, top, edge + width - left, pitch * len(bars)), mono)

    @property
    def bottom(self) -> float:
        """Lower edge, the axis and its name included."""
        return self.box.bottom + below()

    def draw(self, sheet: Sheet, unit: str, steps: bool = False) -> None:
        """The bars over an axis named `unit`; with `steps` they are joined to a waterfall."""
        bars, box, ink = self.bars, self.box, inks(sheet.theme)
        pitch, numbers = box.height / len(bars), _numbers(bars)
        low, high = _span(bars, numbers, box.width)
        ticks = even_ticks(low, high, max(2, int(box.width / px(14))))
        rows = range(len(bars))
        plot = sheet.plot(
            box,
            Axis(low, high, ticks, [amount(value) for value in ticks], pt(MIN_PT), line="side", zero=ink.line),
            entries(len(bars), rows, self.labels, pt(TOKEN_PT if self.mono else LABEL_PT), mono=self.mono, line=""),
        )
        against, toward = sign_inks(sheet.theme)
        plot.add(
            Bars(
                rows,
                [bar.start for bar in bars],
                [bar.size for bar in bars],
                [ink.quiet if bar.whole else toward if bar.size >= 0 else against for bar in bars],
                _BAR,
                hover=[
                    f"{printed.markup(printed.prose(bar.label, 60))}<br>{amount(bar.size, plus=True)} logits"
                    for bar in bars
                ],
                flat=True,
            )
        )
        if steps:  # a hairline from the end of one bar to the start of the next
            for row, (bar, _) in enumerate(pairwise(bars)):
                at = bar.start if bar.missing else bar.end
                plot.add(Line((at, row + _BAR / 2), (at, row + 1 - _BAR / 2), ink.line, pt(HAIRLINE_PT)))
        for row, (bar, words) in enumerate(zip(bars, numbers, strict=True)):
            rightwards = bar.missing or bar.size >= 0
            end, middle = plot.across(bar.start if bar.missing else bar.end), plot.down(row)
            if bar.missing:
                end = sheet.missing(end, middle, _BAR * pitch)
            end += px(0.7) if rightwards else -px(0.7)
            tone = ink.text if bar.whole else ink.quiet
            sheet.text(end, middle, words, pt(MIN_PT), tone, anchor="start" if rightwards else "end")
        name_axes(sheet, box, 0.0, unit)


def _numbers(bars: Sequence[Bar]) -> list[str]:
    """The number beside each bar; a residue keeps its digits however small it is."""
    texts = amounts([bar.size for bar in bars])
    return [
        NO_VALUE if bar.missing else amount(bar.size, plus=True) if bar.label == RESIDUE else text
        for bar, text in zip(bars, texts, strict=True)
    ]


def _span(bars: Sequence[Bar], numbers: Sequence[str], width: float) -> tuple[float, float]:
    """The axis: every bar, zero, and room for the number at each bar's end."""
    ends = [end for bar in bars for end in (bar.start, bar.end) if not math.isnan(end)]
    low, high = min(0.0, *ends, 0.0), max(0.0, *ends, 0.0)
    if low == high:
        high = 1.0
    room = [
        len(text) * 0.6 * pt(MIN_PT) + px(2.6 if bar.missing else 1.4) for text, bar in zip(numbers, bars, strict=True)
    ]
    left = max((size for size, bar in zip(room, bars, strict=True) if bar.size < 0), default=px(1))
    right = max((size for size, bar in zip(room, bars, strict=True) if not bar.size < 0), default=px(1))
    logits = (high - low) / max(width - left - right, px(6))
    return low - left * logits, high + right * logits
