"""How interventions, runs and pairs hold what users give them: prompts, ids, arrays and functions, so that nothing can
change them later and equal ones are known as equal. Knows nothing of what they are for.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from mi_widgets.data.integers import is_integer, several
from mi_widgets.errors import DataError


def checked_prompts(name: str, given: Any) -> tuple[Any, ...]:
    """Prompts as they cannot be changed later; one alone, as text, ids or messages, will do, and None for none.

    Raises:
        DataError: something that is no prompt.
    """
    if given is None:
        return ()
    found = frozen([given] if isinstance(given, dict) else given)
    if isinstance(found, tuple) and not found:
        return ()
    if is_prompt(found):
        return (found,)
    return tuple(checked_prompt(name, one) for one in several(name, found))


def checked_prompt(name: str, given: Any) -> Any:
    """One prompt, as it cannot be changed later.

    Raises:
        DataError: neither text, nor token ids, nor chat messages.
    """
    found = frozen([given] if isinstance(given, dict) else given)
    if not is_prompt(found):
        raise DataError(
            f"{name}={given!r:.60} is no prompt.",
            "Give text, token ids [position], or chat messages, or a list of them.",
        )
    return found


def is_prompt(found: Any) -> bool:
    """Whether what `frozen` gave is one prompt: text, token ids `[position]` or `[1, position]`, or chat messages."""
    if isinstance(found, str):
        return True
    if not isinstance(found, tuple) or not found:
        return False
    inner = found[0] if len(found) == 1 and isinstance(found[0], tuple) else found  # ids may be [1, position]
    return bool(inner) and (all(map(is_integer, inner)) or all(isinstance(one, dict) for one in found))


def frozen(value: Any) -> Any:
    """The same with tuples for lists and arrays, so that nothing that is held can still be changed."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {name: frozen(one) for name, one in value.items()}
    return tuple(map(frozen, value)) if isinstance(value, (list, tuple)) else value


def plain(value: Any) -> Any:
    """The same as JSON has it; of a function only its name."""
    if isinstance(value, np.ndarray) or hasattr(value, "tolist"):
        return value.tolist()
    if callable(value):
        return name_of(value)
    return [plain(one) for one in value] if isinstance(value, (tuple, list)) else value


def identity(value: Any) -> Hashable:
    """Equal for values that are the same, arrays by their numbers; of a function that very function."""
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(map(identity, value))
    if isinstance(value, dict):
        return tuple((name, identity(one)) for name, one in value.items())
    # A function is itself; some objects that can be called cannot be hashed.
    return _Itself(value) if callable(value) and type(value).__hash__ is None else value


class _Itself:
    """Equal for one and the same thing, which it holds: an id would be another's when that is gone."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other._thing is self._thing

    def __hash__(self) -> int:
        return id(self._thing)


def name_of(function: Any) -> str:
    """What a function is called; a name that was read from a file is its own."""
    return function if isinstance(function, str) else getattr(function, "__name__", type(function).__name__)
