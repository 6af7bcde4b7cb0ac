"""What is described of one view: its options and its measures, and what follows from them for its shell.

Knows nothing of any particular view.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mi_widgets.described.measure import Measure
from mi_widgets.described.option import Option
from mi_widgets.errors import DataError, choose


@dataclass(frozen=True)
class Described:
    """One kind of view.

    Attributes:
        name: of the TypeScript constant, and with `Options` after it of the type, e.g. `"Lens"`.
        height: on the page, in pixels.
        options: in the order of the controls.
        measures: what it shows, in the order of their menu; `differences` what it shows of two sides.
        differences: see `measures`.
    """

    name: str
    height: int
    options: tuple[Option, ...]
    measures: tuple[Measure, ...]
    differences: tuple[Measure, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Option]:
        """Every option by its name."""
        return {option.name: option for option in self.options}

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The default of every option."""
        return {option.name: option.default for option in self.options}

    @cached_property
    def computed(self) -> frozenset[str]:
        """The options that the kernel computes anew for."""
        return frozenset(option.name for option in self.options if option.computed)

    @property
    def manual(self) -> str:
        """Every option in a line or two, as Python's `help` of the view shows them."""
        lines = []
        for option in self.options:
            values = " | ".join(repr(choice.value) for choice in option.choices if not option.usual)
            said = f"`{option.name}` = {option.default!r}" + (f" of {values}" if "|" in values else "")
            tips = "; ".join(f"{choice.value!r}: {choice.tip}" for choice in option.choices)
            told = f"{said}: {option.tip or tips}".rstrip(": .")
            lines.append(textwrap.fill(told + ".", 112, initial_indent="    ", subsequent_indent="        "))
        return "\n".join(lines)

    def values(self, name: str) -> tuple[Any, ...]:
        """What can be chosen of the option `name`, in the order of its menu."""
        return tuple(choice.value for choice in self.by_name[name].choices)

    def measure(self, name: str) -> Measure:
        """The measure of one side that is called `name`.

        Raises:
            KeyError: there is none.
        """
        return {measure.name: measure for measure in self.measures}[name]

    def difference(self, name: str) -> Measure:
        """The measure of two sides that is called `name`.

        Raises:
            KeyError: there is none.
        """
        return {measure.name: measure for measure in self.differences}[name]

    def changed(self, current: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """`current` with `changes`; DataError for a name or value that is not known."""
        kept = {}
        for name, value in changes.items():
            if name not in self.by_name:
                raise DataError(f"unknown option {name!r}.", choose(name, self.defaults, "Options are"))
            kept[name] = self.by_name[name].kind.checked(name, value)
        return {**self.defaults, **current, **kept}

    def words(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options that differ from their defaults, as a recipe writes them."""
        return {name: value for name, value in options.items() if value != self.defaults[name]}
