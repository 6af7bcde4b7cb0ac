"""What an option is: a name, a default, the values that it may have, and how a reader meets it: label, tip, key.

Its kind says which values there are, checks one that a user gave, and names the TypeScript type. Knows nothing of any
particular view.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mi_widgets.data.integers import integer, number, truth, word
from mi_widgets.errors import DataError


@dataclass(frozen=True)
class Choice:
    """One value of an option, as a menu offers it.

    Attributes:
        value: text, a whole number, a truth value or None.
        label: what the menu says; the value itself where it is empty.
        tip: what it means, where the option's own tip does not say.
        key: chooses it at once.
    """

    value: str | int | None
    label: str = ""
    tip: str = ""
    key: str = ""


class Kind(Protocol):
    """Which values an option may have."""

    @property
    def typescript(self) -> str:
        """The type of its values on the page."""
        ...

    def checked(self, name: str, value: Any) -> Any:
        """The value to keep, or DataError that says `name`."""
        ...


@dataclass(frozen=True)
class OneOf:
    """A few words; one of them may be None."""

    choices: tuple[Choice, ...]

    @property
    def values(self) -> tuple[Any, ...]:
        """What can be chosen, in the order of the menu."""
        return tuple(choice.value for choice in self.choices)

    @property
    def typescript(self) -> str:
        """See `Kind`."""
        return " | ".join(json.dumps(value) for value in self.values)

    def checked(self, name: str, value: Any) -> Any:
        """See `Kind`."""
        return None if value is None and None in self.values else word(name, value, filter(None, self.values))


@dataclass(frozen=True)
class Flag:
    """True or False, with a label for each."""

    on: str
    off: str
    typescript = "boolean"

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Both, on first."""
        return Choice(True, self.on), Choice(False, self.off)

    def checked(self, name: str, value: Any) -> bool:
        """See `Kind`."""
        return truth(name, value)


@dataclass(frozen=True)
class Number:
    """A number in a range.

    Attributes:
        low: the smallest.
        high: the largest.
        hint: what to give instead of one outside of it.
        above: `low` itself is outside.
        whole: whole numbers only.
        none: None may stand for it.
        field: the smallest, the largest and the step of a field on the page.
    """

    low: float = -math.inf
    high: float = math.inf
    hint: str = ""
    above: bool = False
    whole: bool = False
    none: bool = False
    field: tuple[float, float, float] | None = None

    @property
    def typescript(self) -> str:
        """See `Kind`."""
        return "number | null" if self.none else "number"

    def checked(self, name: str, value: Any) -> float | None:
        """See `Kind`."""
        if value is None and self.none:
            return None
        checked = integer(name, value) if self.whole else number(name, value)
        if not self.low <= checked <= self.high or (self.above and checked == self.low):
            raise DataError(f"{name}={value!r}.", self.hint)
        return checked


@dataclass(frozen=True)
class Column:
    """The name of a score column, or None; which there are, a picture says. `none` is what the menu calls None."""

    none: str
    typescript = "string | null"

    def checked(self, name: str, value: Any) -> str | None:
        """See `Kind`."""
        if value is None or isinstance(value, str):
            return value
        raise DataError(f"{name}={value!r} is no column name.", "Give a score column's name, or None.")


@dataclass(frozen=True)
class TokenList:
    """At most so many tokens, as text or ids, none of them twice."""

    most: int
    typescript = "(string | number)[]"

    def checked(self, name: str, value: Any) -> list[str | int]:
        """See `Kind`."""
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise DataError(f"{name}={value!r} is no list.", f"Give {name}=[{value!r}].")
        tokens = [token if isinstance(token, str) else integer(name, token) for token in value]
        tokens = list(dict.fromkeys(tokens))
        if len(tokens) > self.most:
            raise DataError(f"{len(tokens)} tokens cannot be told apart.", f"Pin at most {self.most}.")
        return tokens


@dataclass(frozen=True)
class Option:
    """One thing that can be chosen in a view.

    Attributes:
        name: in Python, in the saved state and on the page.
        kind: the values that it may have.
        default: where nothing is chosen.
        label: of its control; the name where it is empty.
        tip: what the control teaches.
        key: works the control.
        said: what the key does, in the list of keys; the label where it is empty.
        group: options of one group stand in one line of the list of keys; by themselves where it is empty.
        pair: stands close to the control before it.
        computed: the kernel computes anew for it; all others are the page's affair.
        control: how it is chosen: a menu, a button that goes on to the next value, one that is pressed or not, a field
            for a number, or in a way of the view's own.
        usual: of a number, the values that the menu offers.
        others: the label of a number that is not usual, with `{}` for it.
    """

    name: str
    kind: Kind
    default: Any
    label: str = ""
    tip: str = ""
    key: str = ""
    said: str = ""
    group: str = ""
    pair: bool = False
    computed: bool = False
    control: Literal["menu", "button", "toggle", "number", "own"] = "menu"
    usual: tuple[Choice, ...] = ()
    others: str = "{}"

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What the menu offers, where that does not hang on the picture."""
        if isinstance(self.kind, (OneOf, Flag)):
            return self.kind.choices
        return (Choice(None, self.kind.none),) if isinstance(self.kind, Column) else self.usual


def words(*values: str) -> OneOf:
    """Words that are their own labels."""
    return OneOf(tuple(Choice(value) for value in values))


def numbers(*values: int) -> tuple[Choice, ...]:
    """Numbers that are their own labels."""
    return tuple(Choice(value) for value in values)
