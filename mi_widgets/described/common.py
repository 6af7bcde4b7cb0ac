"""Options that several views have."""

from __future__ import annotations

from mi_widgets import color
from mi_widgets.described.option import Choice, OneOf, Option, words


def show_option(tip: str, difference: str = "A − B", said: str = "difference", pair: bool = False) -> Option:
    """Which of two sides is shown."""
    sides = Choice("A", key="a"), Choice("B", key="b"), Choice("difference", difference, key="d")
    said = f"when comparing: A, B, {said}, the next of them"
    return Option("show", OneOf(sides), "A", tip=tip, key="x", said=said, pair=pair)


def palette_option(which: str) -> Option:
    """The colours of numbers of one sign; `which` differences have colours of their own."""
    tip = f"Colours, even in lightness and safe for colour-blind readers; {which} always use blue and orange"
    return Option("palette", words(*color.SEQUENTIAL), "blue", tip=tip, key="p", group="colours")
