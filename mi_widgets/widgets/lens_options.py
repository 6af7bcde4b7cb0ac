"""How the logit lens is shown: its options, their values and defaults, and what they choose of a model and a prompt."""

from __future__ import annotations

from typing import Any

from mi_widgets.data.integers import integer
from mi_widgets.data.logit_lens import LENSES, MOST_TARGETS, STREAMS
from mi_widgets.errors import DataError
from mi_widgets.widgets.options import OptionTable

COLORS = (
    "probability",
    "entropy",
    "final_rank",
    "next_rank",
    "kl",
    "change",
    "target_probability",
    "target_rank",
)


def _checked(name: str, value: Any) -> Any:
    if name == "targets":
        return _targets(value)
    if name in {"first", "last"}:
        return None if value is None else integer(name, value)
    if name == "stride" and not 1 <= integer(name, value) <= 64:
        raise DataError(f"stride={value!r}.", "Give a whole number of layers from 1 to 64.")
    if name == "target" and not 0 <= integer(name, value) < MOST_TARGETS:
        raise DataError(f"target={value!r}.", f"Give the place of a pinned token, 0 to {MOST_TARGETS - 1}.")
    return integer(name, value) if name in {"stride", "target"} else value


def _targets(value: Any) -> list[str | int]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise DataError(f"targets={value!r} is no list.", f"Give targets=[{value!r}].")
    targets = [target if isinstance(target, str) else integer("targets", target) for target in value]
    targets = list(dict.fromkeys(targets))
    if len(targets) > MOST_TARGETS:
        raise DataError(f"{len(targets)} tokens cannot be told apart.", f"Pin at most {MOST_TARGETS}.")
    return targets


OPTIONS = OptionTable(
    defaults={
        "stream": "resid_post",
        "lens": "logit",
        "versus": None,
        "targets": [],
        "stride": 1,
        "first": None,
        "last": None,
        "color": "probability",
        "target": 0,
        "show": "A",
        "palette": "blue",
        "chart": "probability",
    },
    choices={
        "stream": STREAMS,
        "lens": LENSES,
        "versus": (None, *LENSES),
        "color": COLORS,
        "show": ("A", "B", "difference"),
        "palette": ("blue", "amber", "grey"),
        "chart": ("probability", "rank"),
    },
    check=_checked,
    computed=frozenset({"stream", "lens", "versus", "targets", "stride", "first", "last"}),
)


def chosen_layers(n_layers: int, stride: int) -> tuple[int, ...]:
    """Every `stride`-th layer, counted back from the last."""
    return tuple(sorted(range(n_layers - 1, -1, -stride)))


def chosen_positions(count: int, first: int | None, last: int | None) -> tuple[int, ...] | None:
    """Positions from `first` to `last`, both shown, as far as the prompt has them; None for all of them."""
    if first is None and last is None:
        return None
    start = 0 if first is None else max(0, first if first >= 0 else count + first)
    end = count - 1 if last is None else min(count - 1, last if last >= 0 else count + last)
    # A range that an edit has left empty shows the last position, not nothing.
    return tuple(range(min(start, count - 1), max(min(start, count - 1), end) + 1))
