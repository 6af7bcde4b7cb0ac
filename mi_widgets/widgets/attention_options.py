"""How the attention explorer is shown: its options, their values and defaults."""

from __future__ import annotations

from typing import Any

from mi_widgets.data import WEIGHTINGS
from mi_widgets.data.integers import number
from mi_widgets.errors import DataError
from mi_widgets.widgets.options import OptionTable

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


def _checked(name: str, value: Any) -> Any:
    if name in {"sort", "filter"} and not (value is None or isinstance(value, str)):
        raise DataError(f"{name}={value!r} is no column name.", "Give a score column's name, or None.")
    return number(name, value) if name == "filter_min" else value


OPTIONS = OptionTable(DEFAULTS, CHOICES, _checked, computed=frozenset({"weighting"}))
