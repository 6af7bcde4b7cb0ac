"""Whole numbers that users give: Python's, numpy's, torch's; never a truth value or a fraction taken for one."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from mi_widgets.errors import DataError


def is_integer(value: Any) -> bool:
    """Whether `value` is one whole number of any integer type."""
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return not isinstance(value, bool) and type(value).__name__ not in {"bool", "bool_"}


def integer(name: str, value: Any) -> int:
    """`value` as an int.

    Raises:
        DataError: it is none; the message says `name`.
    """
    if not is_integer(value):
        raise DataError(f"{name}={value!r} is no whole number.", "Give an int.")
    return operator.index(value)


def integers(name: str, values: Iterable[Any]) -> list[int]:
    """Several of them, as a list of ints.

    Raises:
        DataError: not several, or one is none.
    """
    if isinstance(values, str) or not hasattr(values, "__iter__") or getattr(values, "ndim", 1) == 0:
        raise DataError(f"{name}={values!r} is no list.", f"Give {name}=[{values}].")
    return [integer(name, value) for value in values]
