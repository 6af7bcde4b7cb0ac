"""What users give as one value: whole numbers, numbers, truth values, words. Python's, numpy's, torch's and pandas'.

None is ever taken for another: no truth value for a number, no fraction for a whole number, no text for either.
Knows nothing of what the values are for, but their names.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from mi_widgets.errors import DataError, choose


def is_integer(value: Any) -> bool:
    """Whether `value` is one whole number of any integer type."""
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return not _no_number(value)


def integer(name: str, value: Any) -> int:
    """`value` as an int.

    Raises:
        DataError: it is none; the message says `name`.
    """
    if type(value) is int:
        return value
    if not is_integer(value):
        raise DataError(f"{name}={value!r} is no whole number.", "Give an int.")
    return operator.index(value)


def integers(name: str, values: Iterable[Any]) -> list[int]:
    """Several of them, as a list of ints.

    Raises:
        DataError: not several, or one is none.
    """
    return [integer(name, value) for value in several(name, values)]


def several(name: str, values: Iterable[Any]) -> list[Any]:
    """Several values of any kind, as a list.

    Raises:
        DataError: one alone, or text; the message says `name`.
    """
    if isinstance(values, (str, bytes, type)) or not hasattr(values, "__iter__") or getattr(values, "ndim", 1) == 0:
        raise DataError(f"{name}={values!r} is no list.", f"Give {name}=[{values}].")
    return list(values)


def place(name: str, value: Any, count: int) -> int:
    """`value` as an index from 0 below `count`.

    Raises:
        DataError: there is none such; the message says `name`.
    """
    index = integer(name, value)
    if not 0 <= index < count:
        raise DataError(f"{name} {index} does not exist.", f"There are {name}s 0 to {count - 1}.")
    return index


def is_number(value: Any) -> bool:
    """Whether `value` is one real number of any type; NaN and the infinities are."""
    if isinstance(value, (str, bytes)) or getattr(value, "ndim", 0) or _no_number(value):
        return False
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False
    return True


def number(name: str, value: Any, finite: bool = True) -> float:
    """`value` as a float.

    Args:
        name: of the option, for the message.
        value: one number of any type.
        finite: refuse NaN and the infinities.

    Raises:
        DataError: it is no number, or no finite one; the message says `name`.
    """
    if not is_number(value) or (finite and not math.isfinite(value)):
        raise DataError(f"{name}={value!r} is no number.", "Give a finite one." if finite else "Give a float.")
    return float(value)


def truth(name: str, value: Any) -> bool:
    """`value` as a bool.

    Raises:
        DataError: it is no single truth value; the message says `name`.
    """
    if type(value) is bool:
        return value
    if isinstance(value, np.ma.MaskedArray) or getattr(value, "ndim", 0) or not _is_truth(value):
        raise DataError(f"{name}={value!r} is no truth value.", "Give True or False.")
    return bool(value)


def word(name: str, value: Any, known: Iterable[str]) -> str:
    """`value` as one of the words `known`.

    Raises:
        DataError: it is none of them; the hint has the nearest, and all.
    """
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise DataError(f"unknown {name} {value!r}.", choose(value, known))
    return str(value)


def text(name: str, value: Any) -> str:
    """`value` as a str.

    Raises:
        DataError: it is no text; the message says `name`.
    """
    if not isinstance(value, str):
        raise DataError(f"{name}={value!r} is no text.", "Give a str.")
    return str(value)


def _is_truth(value: Any) -> bool:
    """Whether `value` is of a truth type: Python's, numpy's or torch's."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) in {"bool", "torch.bool"}


def _no_number(value: Any) -> bool:
    """What Python would turn into a number and is none: truth, complex numbers, text in arrays, masked cells."""
    kind = str(getattr(value, "dtype", ""))
    masked = isinstance(value, np.ma.MaskedArray) and bool(np.any(np.ma.getmaskarray(value)))
    return masked or _is_truth(value) or "complex" in kind or kind.startswith(("<U", "|S", ">U", "object"))
