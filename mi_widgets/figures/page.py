"""The paper, and what stands at its head: the title, what was changed in the run, a caption, what colours stand for.

A page of paper is as wide as asked; a still picture is as wide as a notebook's output. Knows nothing of the picture
below.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mi_widgets import color
from mi_widgets.data.integers import text
from mi_widgets.figures import labels as printed
from mi_widgets.figures.headline import title_lines, with_changes
from mi_widgets.figures.marks import Box, Rectangles
from mi_widgets.figures.sheet import SCREEN_WIDTH, ZOOM, Sheet, screen_height
from mi_widgets.figures.style import LABEL_GAP, LABEL_PT, MIN_PT, TITLE_PT, height_in_px, inks, pt, px, width_in_mm

EDGE = px(0.8)
#: Height of a line of text, in font sizes, and average advance of the sans face, in ems, for reserving room.
LINE, ADVANCE = 1.35, 0.55
#: Below a plot, beside its labels: the name of an axis. And the labels of numbers.
NAME, NUMBERS = pt(LABEL_PT) * 1.5, pt(MIN_PT) * LINE
_SWATCH, _APART = pt(MIN_PT) * 0.8, px(2.2)

#: Colours, and what each stands for.
Key = Sequence[tuple[str, str]]


def left_of(labels: Sequence[str]) -> float:
    """Room left of a plot whose rows have short `labels`: for them, and for the name of the axis."""
    return NAME + LABEL_GAP + max(map(len, labels)) * 0.64 * pt(MIN_PT)


def below(room: float = NUMBERS) -> float:
    """Room below a plot: for labels that take `room`, and for the name of the axis."""
    return LABEL_GAP + room + NAME


def numbered_columns(count: int, pitch: float) -> list[int]:
    """Which of `count` columns at `pitch` each have room for their number."""
    return printed.every(count, pitch, (len(str(count)) + 1) * 0.6 * pt(MIN_PT))


def named_rows(count: int, pitch: float) -> list[int]:
    """Which of `count` rows at `pitch` each have room for their label."""
    return printed.every(count, pitch, pt(MIN_PT) * 1.2)


def outline(cell: tuple[int, int], theme: str) -> Rectangles:
    """The frame in the accent colour around the (row, column) that was chosen."""
    return Rectangles([Box(cell[1] - 0.5, cell[0] - 0.5, 1, 1)], line=color.ACCENT[theme], width=pt(1.2))


def name_axes(sheet: Sheet, box: Box, edge: float, across: str, down: str = "", room: float = NUMBERS) -> None:
    """The names of a plot's axes: `across` below labels that take `room`, `down` at the left `edge`."""
    quiet, size = inks(sheet.theme).quiet, pt(LABEL_PT)
    if across:
        sheet.text(box.centre, box.bottom + LABEL_GAP + room + 0.7 * size, across, size, quiet, anchor="middle")
    if down:
        small = size if printed.columns(down) * ADVANCE * size < box.height else pt(MIN_PT)
        sheet.text(edge + 0.6 * size, box.middle, down, small, quiet, anchor="middle", turned=True)


class Room(NamedTuple):
    """Where a picture may stand, its labels and legend included; in pixels. `bottom` is None for as high as needed."""

    edge: float
    top: float
    width: float
    bottom: float | None = None


@dataclass(frozen=True)
class Page:
    """The paper; lengths in pixels.

    Attributes:
        width: of the sheet.
        height: of the sheet as asked; None for as high as needed.
        theme: `"light"` or `"dark"`.
        headline: lines of plain words.
        caption: lines of plain words below.
        key: swatches, right of the caption or, where there is no room, below it.
        screen: a still picture, not paper.
    """

    width: float
    height: float | None
    theme: str
    headline: Sequence[str] = ()
    caption: Sequence[str] = ()
    key: Key = ()
    screen: bool = False

    @property
    def _key_width(self) -> float:
        return sum(_SWATCH + _APART + printed.columns(name) * ADVANCE * pt(LABEL_PT) for _, name in self.key)

    @property
    def _key_apart(self) -> bool:
        """The key has a line of its own."""
        beside = printed.columns(self.caption[-1]) * ADVANCE * pt(LABEL_PT) if self.caption else 0.0
        return bool(self.key) and (not self.caption or beside + self._key_width > self.width - 2 * EDGE)

    @property
    def top(self) -> float:
        """Where the picture may begin."""
        title = len(self.headline) * pt(TITLE_PT) * LINE + (px(0.8) if self.headline else 0)
        below = (len(self.caption) + self._key_apart) * pt(LABEL_PT) * LINE
        return EDGE + title + below + (px(1.2) if below else 0)

    @property
    def bottom(self) -> float | None:
        """Where the picture must end; None for as high as needed."""
        return None if self.height is None else self.height - EDGE

    def room(self, beside: float = 0.0, lower: float = 0.0) -> Room:
        """For the picture, less what is kept `beside` it and over it."""
        return Room(EDGE, self.top + lower, self.width - EDGE - beside, self.bottom)

    def sheet(self, bottom: float, about: str = "") -> Sheet:
        """A sheet with the head on it.

        Args:
            bottom: where the picture ends, for a page as high as needed.
            about: what the picture is, for who cannot see it.
        """
        height = bottom if self.height is None else self.height
        height = screen_height(height) if self.screen else height
        sheet = Sheet(self.width, height, self.theme, printed.prose(about, 400), self.screen)
        ink, at = inks(self.theme), EDGE
        for words in self.headline:
            at += pt(TITLE_PT) * LINE
            sheet.text(EDGE, at - pt(TITLE_PT) * LINE / 2, words, pt(TITLE_PT), mono=self.screen)
        at += px(0.8) if self.headline else 0
        for words in self.caption:
            at += pt(LABEL_PT) * LINE
            sheet.text(EDGE, at - pt(LABEL_PT) * LINE / 2, words, pt(LABEL_PT), ink.quiet if self.screen else "")
        at += (0.5 if self._key_apart else -0.5) * pt(LABEL_PT) * LINE
        left = EDGE if self._key_apart else self.width - EDGE - self._key_width
        for fill, name in self.key:
            sheet.rectangle(Box(left, at - _SWATCH / 2, _SWATCH, _SWATCH), fill)
            sheet.text(left + _SWATCH + px(0.7), at, name, pt(LABEL_PT), ink.quiet)
            left += _SWATCH + _APART + printed.columns(name) * ADVANCE * pt(LABEL_PT)
        return sheet


def paper(
    data: Any,
    title: str | None,
    width_mm: float | str,
    height_mm: float | None,
    theme: str,
    caption: str = "",
    key: Key = (),
) -> Page:
    """A page of the size asked for; `title` and the interventions in `data` above, `caption` broken to fit.

    Raises:
        DataError: a title that is no text, an unknown theme or width, a size that is none.
    """
    inks(theme)
    width = px(width_in_mm(width_mm))
    most = max(12, int((width - 2 * EDGE) / (ADVANCE * pt(LABEL_PT))))
    lines = textwrap.wrap(caption, most, break_on_hyphens=False)
    return Page(width, height_in_px(height_mm), theme, title_lines(title, width, data), lines, key)


def still(data: Any, title: str, strings: Sequence[str], theme: str, caption: str, key: Key = ()) -> Page:
    """The page of a still picture: `title`, or the prompt's tokens where it is empty, and one line of `caption`, which
    begins with the interventions in `data`.

    Raises:
        DataError: a title that is no text, or an unknown theme.
    """
    inks(theme)
    heading = printed.prose(text("title", title) or "".join(strings[:400]), 92)
    return Page(
        SCREEN_WIDTH / ZOOM, None, theme, [heading], [printed.prose(with_changes(data, caption), 104)], key, True
    )
