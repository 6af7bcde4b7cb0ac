"""How views are shown: each has a table of options with defaults and allowed values, set from Python or by the page.

Knows nothing of any particular view.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mi_widgets.data.integers import truth, word
from mi_widgets.errors import DataError, choose


def _anything(name: str, value: Any) -> Any:  # noqa: ARG001
    return value


@dataclass(frozen=True)
class OptionTable:
    """The options of one kind of view.

    Attributes:
        defaults: every option by name.
        choices: the values allowed, for options that have a few.
        check: `check(name, value)` returns the value to keep, or raises DataError.
        computed: options that the kernel must compute anew for; the others are the page's affair.
    """

    defaults: dict[str, Any]
    choices: dict[str, tuple[Any, ...]]
    check: Callable[[str, Any], Any] = _anything
    computed: frozenset[str] = field(default_factory=frozenset)

    def changed(self, current: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """`current` with `changes`; DataError for a name or value that is not known."""
        kept = {}
        for name, value in changes.items():
            if name not in self.defaults:
                raise DataError(f"unknown option {name!r}.", choose(name, self.defaults, "Options are"))
            kept[name] = self.check(name, self._chosen(name, value) if name in self.choices else value)
        return {**self.defaults, **current, **kept}

    def _chosen(self, name: str, value: Any) -> Any:
        """The choice that `value` is, whatever type it came in."""
        choices = self.choices[name]
        if isinstance(choices[0], bool):
            return truth(name, value)
        return None if value is None and None in choices else word(name, value, filter(None, choices))

    def words(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options that differ from their defaults, as a recipe writes them."""
        return {name: value for name, value in options.items() if value != self.defaults[name]}


def options_from_wire(value: Any, view: Any) -> dict[str, Any]:
    """What the page chose; what is unknown or wrong is passed over: nothing may raise in a page's update."""
    chosen = dict(view.options)
    for name, option in value.items() if isinstance(value, dict) else ():
        try:
            chosen = view.changed_options(chosen, {name: option})
        except DataError:
            continue
    return chosen
