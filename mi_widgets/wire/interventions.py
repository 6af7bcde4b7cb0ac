"""The interventions of a run as they cross to the page: what they are called, and which heads they ablate.

Knows nothing of how they act, or of widgets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mi_widgets.data.interventions import Ablate, Change
from mi_widgets.wire.messages import InterventionValue, OtherRun


def interventions_of(result: Any) -> tuple[Change, ...]:
    """The interventions made in the run that `result` is of."""
    return tuple(getattr(result, "interventions", ()))


def labels(interventions: Iterable[Change]) -> list[str]:
    """What each is called."""
    return [change.label for change in interventions]


def ablated_heads(interventions: Iterable[Change]) -> list[list[int]]:
    """`[layer, head]` of every head that one of them ablates, each once."""
    heads = [(change.layer, change.head) for change in interventions if isinstance(change, Ablate)]
    return [[layer, head] for layer, head in dict.fromkeys(heads) if head is not None]


def other_run(a: Any, b: Any) -> OtherRun:
    """What side B is beside its prompt; `a` and `b` are the results compared."""
    made = interventions_of(b)
    return {
        "interventions": labels(made),
        "ablated": ablated_heads(made),
        "model": b.model if b.model != a.model else None,
    }


def intervention_values(interventions: Iterable[Change]) -> list[InterventionValue]:
    """Each with the block and head that it is made at."""
    return [
        {
            "label": change.label,
            "kind": change.kind,
            "by": getattr(change, "by", None),
            "layer": getattr(change, "layer", None),
            "head": getattr(change, "head", None),
        }
        for change in interventions
    ]
