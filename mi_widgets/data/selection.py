"""What the user points at: one small frozen record, the same for every view.

Knows nothing of how it is drawn or sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from mi_widgets.data.integers import is_integer, is_number, place, several, text, word
from mi_widgets.errors import DataError


@dataclass(frozen=True, repr=False)
class Selection:
    """One selection, shared by linked views. Every field may be None: nothing chosen there.

    The page's type is made from these fields (`wire.typescript`).

    Attributes:
        layer: layer number in the model, from 0.
        head: query head in that layer, from 0.
        query: position that reads, from 0 (BOS counts).
        key: position that is read, from 0.
        position: position in the prompt that other views point at.
        feature: index of a sparse coder's latent.
        heads: heads laid over each other in the reading view, up to four `(layer, head)` pairs.
        component: a part of the model by name, e.g. `"embedding"` or `"mlp"`; of `layer` where that is given.
        neuron: neuron of that layer's MLP, from 0.
        node: a node of a graph, by its name there.
        edge: an edge of a graph: the names of the node it leaves and of the node it enters.
        run: which of the two runs compared is meant, `"A"` or `"B"`; None for both.
    """

    layer: int | None = None
    head: int | None = None
    query: int | None = None
    key: int | None = None
    position: int | None = None
    feature: int | None = None
    heads: tuple[tuple[int, int], ...] = ()
    component: str | None = None
    neuron: int | None = None
    node: str | None = None
    edge: tuple[str, str] | None = None
    run: Literal["A", "B"] | None = None

    #: Fields that cross to the page, and stand in files, only where they are set.
    LATER = ("component", "neuron", "node", "edge", "run")

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name == "heads":
                object.__setattr__(self, field.name, _CHECKS.get(field.name, _whole_number)(field.name, value))

    def __repr__(self) -> str:
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return f"Selection({', '.join(f'{name}={value!r}' for name, value in held.items() if value not in (None, ()))})"

    def but(self, **changes: Any) -> Selection:
        """The same selection with some fields changed."""
        return replace(self, **changes)

    def within(self, n_layers: int, n_heads: int) -> Selection:
        """Itself, if a model of this shape has its layer and heads.

        Raises:
            DataError: it has not.
        """
        for layer, head in ((self.layer, self.head), *self.heads):
            if layer is not None:
                place("layer", layer, n_layers)
            if head is not None:
                place("head", head, n_heads)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, pairs as lists."""
        out: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        out |= {"heads": [list(pair) for pair in self.heads], "edge": self.edge and list(self.edge)}
        return {name: value for name, value in out.items() if value is not None or name not in self.LATER}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Selection:
        """The selection in `values`; names it does not know are passed over (pages may be newer).

        Raises:
            DataError: no dict, or a value that is none of a selection.
        """
        if not isinstance(values, Mapping):
            raise DataError(f"a selection is no {type(values).__name__}.", "Give names and values.")
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known and value is not None})


def _whole_number(name: str, value: Any) -> int:
    """`value` as an int from 0, whatever number type it came in; a row of a table may give 2.0."""
    whole = is_integer(value) or (is_number(value) and math.isfinite(value) and float(value).is_integer())
    if not whole or value < 0:
        raise DataError(f"selection.{name} is {value!r}.", "Give a whole number from 0, or None.")
    return int(value)


def _heads(name: str, value: Any) -> tuple[tuple[int, int], ...]:
    try:
        pairs = tuple((_whole_number(name, layer), _whole_number(name, head)) for layer, head in value)
    except (TypeError, ValueError):  # DataError is a ValueError: both say the same
        raise DataError(f"selection.{name} is {value!r}.", "Give (layer, head) pairs.") from None
    if len(pairs) > 4:
        raise DataError(f"selection.{name} holds {len(pairs)} heads.", "Overlay at most four.")
    return pairs


def _name(name: str, value: Any) -> str:
    return text(f"selection.{name}", value)


def _edge(name: str, value: Any) -> tuple[str, str]:
    ends = [_name(name, end) for end in several(f"selection.{name}", value)]
    if len(ends) != 2:
        raise DataError(f"selection.{name} is {value!r}.", "Give the names of two nodes.")
    return ends[0], ends[1]


#: What checks the fields that are no whole numbers.
_CHECKS = {
    "heads": _heads,
    "component": _name,
    "node": _name,
    "edge": _edge,
    "run": lambda name, value: word(f"selection.{name}", value, ("A", "B")),
}
