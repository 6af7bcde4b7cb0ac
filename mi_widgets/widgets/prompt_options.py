"""How the prompt view is shown and how its model writes: options, values and defaults. Knows nothing of the widget."""

from __future__ import annotations

from typing import Any

from mi_widgets.data.integers import integer, number
from mi_widgets.errors import DataError
from mi_widgets.widgets.options import OptionTable

#: Tokens that can be written at a time.
MOST_TOKENS = 1000


def _checked(name: str, value: Any) -> Any:
    if name in {"temperature", "top_p"}:
        value = number(name, value)
        if name == "temperature" and value < 0:
            raise DataError(f"temperature={value!r}.", "Give 0 (greedy) or more; 1 is the model's own distribution.")
        if name == "top_p" and not 0 < value <= 1:
            raise DataError(f"top_p={value!r}.", "Give a probability above 0, up to 1 (the whole vocabulary).")
    if name in {"seed", "length"}:
        value = integer(name, value)
        if name == "seed" and not 0 <= value < 2**53:  # what a page can count to
            raise DataError(f"seed={value!r}.", "Give a whole number from 0.")
        if name == "length" and not 1 <= value <= MOST_TOKENS:
            raise DataError(f"length={value!r}.", f"Write 1 to {MOST_TOKENS:,} tokens at a time.")
    return value


OPTIONS = OptionTable(
    defaults={
        "color": "surprisal",
        "show": "A",
        "temperature": 1.0,
        "top_p": 1.0,
        "seed": 0,
        "length": 20,
        "ids": False,
    },
    choices={
        "color": ("surprisal", "probability", "entropy", "rank", "none"),
        "show": ("A", "B", "difference"),
        "ids": (True, False),
    },
    check=_checked,
)
