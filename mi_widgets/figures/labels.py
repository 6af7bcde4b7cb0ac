"""Tokens as printed labels: one line, harmless as markup, no wider than there is room, never over each other.

Widths are estimates of a monospaced face; East Asian characters and emoji count double. Knows nothing of plotly
but that it reads tags, entities and dollar signs in text.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from mi_widgets.data import visible

#: Advance of one monospaced character, in ems.
ADVANCE = 0.602


def token_label(string: str, most: int = 24) -> str:
    """`string` with whitespace as marks, at most `most` columns wide; what cannot be printed shows as its code.

    Safe in XML: no control characters, no lone surrogates.
    """
    out, width = [], 0
    # A 10,000-character word is cut before any work is done on it.
    for character in visible(string[: 4 * most]):
        piece = character if _printable(character) else f"⟨{ord(character):04X}⟩"
        width += columns(piece)
        out.append(piece)
    text = "".join(out)
    if width <= most and len(string) <= 4 * most:
        return text
    kept, width = [], 1
    for piece in out:
        width += columns(piece)
        if width > most:
            break
        kept.append(piece)
    return "".join(kept) + "…"


def prose(text: str, most: int) -> str:
    """`text` on one line of at most `most` columns, spaces kept as spaces; otherwise as `token_label`."""
    words = [token_label(word, most) if word else "" for word in text[: 4 * most].split(" ")]
    line = " ".join(words)
    if columns(line) <= most and len(text) <= 4 * most:
        return line
    while columns(line) > most - 1:
        line = line[:-1]
    return line.rstrip() + "…"


def _printable(character: str) -> bool:
    point = ord(character)
    if point < 32 or 0x7F <= point <= 0x9F or 0xD800 <= point <= 0xDFFF or point & 0xFFFE == 0xFFFE:
        return False
    return not 0xFDD0 <= point <= 0xFDEF


def markup(text: str) -> str:
    """`text` for plotly: no tags, no entities, no TeX. Plotly turns the entities back into characters."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("$", "&#36;")):
        text = text.replace(character, entity)
    return text


def columns(text: str) -> int:
    """Width of `text` in monospaced columns."""
    width = 0
    for character in text:
        if unicodedata.combining(character) or character in "\u200d\ufe0e\ufe0f":
            continue
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return width


def widest(labels: Sequence[str], size: float) -> float:
    """Width of the widest label, in the unit of the font's `size`."""
    return max((columns(label) for label in labels), default=0) * ADVANCE * size


def every(count: int, pitch: float, room: float) -> list[int]:
    """Positions 0, k, 2k … of `count` at `pitch` each, with the smallest k that gives every label its `room`.

    Steps above two are round (5, 10, 20, 50 …), so that a reader can count on.
    """
    step = max(1, math.ceil(room / pitch - 1e-9))
    if step > 2:
        decade = 10 ** math.floor(math.log10(step))
        step = next(digit * decade for digit in (1, 2, 5, 10) if digit * decade >= step)
    return list(range(0, count, step))


@dataclass(frozen=True)
class TokenAxis:
    """Labels of one token axis, thinned so that they keep clear of each other.

    Attributes:
        positions: where the labels stand.
        labels: one per position, plain text.
        size: font size.
        room: width of the widest label, in the unit of `size`.
    """

    positions: list[int]
    labels: list[str]
    size: float
    room: float

    def level(self, pitch: float, count: int) -> bool:
        """Whether the labels of all `count` columns at `pitch` each can be read level; else they are turned."""
        return self.room <= 0.92 * pitch and len(self.positions) == count

    @classmethod
    def fit(cls, strings: Sequence[str], side: float, widest_room: float, sizes: tuple[float, float]) -> TokenAxis:
        """Labels for `strings` along `side`, none wider than `widest_room`, in the larger of two font sizes if it
        fits every row. All lengths in one unit."""
        pitch = side / len(strings)
        size = sizes[0] if pitch >= sizes[0] * 1.15 else sizes[1]
        shown = every(len(strings), pitch, size * 1.15)
        most = max(4, int(widest_room / (ADVANCE * size)))
        # A thinned axis says which position a label stands at: nobody can count cells that small.
        digits = len(str(len(strings) - 1)) + 1 if len(shown) < len(strings) else 0
        texts = [token_label(strings[position], max(4, most - digits)) for position in shown]
        if digits:
            texts = [f"{text} {position}" for text, position in zip(texts, shown, strict=True)]
        return cls(shown, texts, size, widest(texts, size))
