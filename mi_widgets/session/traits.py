"""Traits that refuse with our own errors, which say what to do. Knows nothing of sessions or views."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import traitlets

from mi_widgets.data import Selection
from mi_widgets.data.integers import is_integer, truth
from mi_widgets.errors import DataError, MiWidgetsError


class WrongValue(DataError, traitlets.TraitError):
    """A value that a trait does not take. Also a TraitError: traitlets then keeps nothing of it."""


class SelectionTrait(traitlets.Instance):
    """A `Selection`."""

    def __init__(self, **metadata: Any) -> None:
        super().__init__(Selection, **metadata)

    def error(self, obj: Any, value: Any, error: Any = None, info: Any = None) -> NoReturn:  # noqa: ARG002
        """Refuse `value`."""
        raise WrongValue(
            f"{self.name}={value!r} is no selection.", "Give mw.Selection(layer=2, head=6), or Selection() for none."
        )


class Checked(traitlets.Any):
    """Any value that the validator takes; None too goes to it."""

    allow_none = False


class WholeNumber(traitlets.Int):
    """A whole number of any integer type, within bounds."""

    def validate(self, obj: Any, value: Any) -> int:
        """`value` as an int."""
        if not is_integer(value) or not self.min <= int(value) <= self.max:
            self.error(obj, value)
        return int(value)

    def error(self, obj: Any, value: Any, error: Any = None, info: Any = None) -> NoReturn:  # noqa: ARG002
        """Refuse `value`."""
        raise WrongValue(f"{self.name}={value!r}.", f"Give a whole number from {self.min} to {self.max}.")


class Truth(traitlets.Bool):
    """True or False, numpy's too."""

    def validate(self, obj: Any, value: Any) -> bool:  # noqa: ARG002
        """`value` as a bool."""
        try:
            return truth(str(self.name), value)
        except DataError as reason:
            raise WrongValue(reason.message, reason.hint) from None


class Options(traitlets.Dict):
    """A dict of options by name."""

    def error(self, obj: Any, value: Any, error: Any = None, info: Any = None) -> NoReturn:  # noqa: ARG002
        """Refuse `value`."""
        raise WrongValue(f"{self.name}={value!r} is no dict.", 'Give options by name, e.g. {"color": "entropy"}.')


def refusing(check: Callable[..., Any]) -> Callable[..., Any]:
    """A trait's validator whose refusals leave nothing behind, also where several traits are set together: traitlets
    goes back only for errors that are TraitErrors, too."""

    @functools.wraps(check)
    def checked(self: Any, proposal: Any) -> Any:
        try:
            return check(self, proposal)
        except MiWidgetsError as reason:
            raise _refusal(type(reason))(reason.message, reason.hint) from reason.__cause__

    return checked


@functools.cache
def _refusal(kind: type[MiWidgetsError]) -> type[MiWidgetsError]:
    """`kind` as a TraitError."""
    return type(kind.__name__, (kind, traitlets.TraitError), {"__doc__": kind.__doc__})
