"""How the attention explorer is shown: its options, their values and defaults, as Python and the page may set them.

Knows nothing of the widget beside its present options.
"""

from __future__ import annotations

import math
from typing import Any

from mi_widgets.data import WEIGHTINGS
from mi_widgets.errors import DataError

CHOICES: dict[str, tuple[Any, ...]] = {
    "weighting": WEIGHTINGS,
    "scale": ("linear", "sqrt", "log"),
    "palette": ("blue", "amber", "grey"),
    "shared_range": (True, False),
    "show": ("A", "B", "difference"),
    "descending": (True, False),
    "direction": ("reads", "read_by"),
    "panel": ("both", "matrix", "text"),
}
DEFAULTS: dict[str, Any] = {
    "weighting": "pattern",
    "scale": "sqrt",
    "palette": "blue",
    "shared_range": True,
    "show": "A",
    "sort": None,
    "descending": True,
    "filter": None,
    "filter_min": 0.0,
    "direction": "reads",
    "panel": "both",
}


def checked_options(current: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`current` with `changes`; DataError for a name or value that is not known."""
    for name, value in changes.items():
        if name not in DEFAULTS:
            raise DataError(f"unknown option {name!r}.", f"Options are {', '.join(DEFAULTS)}.")
        if name in CHOICES and value not in CHOICES[name]:
            raise DataError(f"{name}={value!r} is unknown.", f"Choose one of {', '.join(map(repr, CHOICES[name]))}.")
        if name in {"sort", "filter"} and not (value is None or isinstance(value, str)):
            raise DataError(f"{name}={value!r} is no column name.", "Give a score column's name, or None.")
        if name == "filter_min" and not (isinstance(value, (int, float)) and math.isfinite(value)):
            raise DataError(f"filter_min={value!r} is no number.")
    return {**DEFAULTS, **current, **changes}


def options_from_wire(value: Any, view: Any) -> dict[str, Any]:
    """What the page chose; what is unknown or wrong is passed over: nothing may raise in a page's update."""
    chosen = dict(view.options)
    for name, option in value.items() if isinstance(value, dict) else ():
        try:
            chosen = checked_options(chosen, {name: option})
        except DataError:
            continue
    return chosen
