"""Options that several views have."""

from __future__ import annotations

from mi_widgets import color
from mi_widgets.described.option import Choice, OneOf, Option, words


def show_option(
    tip: str, difference: str = "A − B", said: str = "difference", pair: bool = False, keys: str = "abdx"
) -> Option:
    """Which of two sides is shown; `keys` of A, B, the difference and the next of them, or of the next alone."""
    *each, following = keys
    names = (("A", ""), ("B", ""), ("difference", difference))
    sides = (Choice(name, label, key=key) for (name, label), key in zip(names, each or ("",) * 3, strict=True))
    said = f"when comparing: A, B, {said}, the next of them"
    return Option("show", OneOf(tuple(sides)), "A", tip=tip, key=following, said=said, pair=pair)


def palette_option(which: str) -> Option:
    """The colours of numbers of one sign; `which` differences have colours of their own."""
    tip = f"Colours, even in lightness and safe for colour-blind readers; {which} always use blue and orange"
    return Option("palette", words(*color.SEQUENTIAL), "blue", tip=tip, key="p", group="colours")
