"""What the user points at: one small frozen record, the same for every view.

Knows nothing of how it is drawn or sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from mi_widgets.data.integers import is_integer, is_number, place
from mi_widgets.errors import DataError


@dataclass(frozen=True)
class Selection:
    """One selection, shared by linked views. Every field may be None: nothing chosen there.

    Attributes:
        layer: layer number in the model, from 0.
        head: query head in that layer, from 0.
        query: position that reads, from 0 (BOS counts).
        key: position that is read, from 0.
        position: position in the prompt that other views point at.
        feature: index of a sparse coder's latent.
        heads: heads laid over each other in the reading view, up to four `(layer, head)` pairs.
    """

    layer: int | None = None
    head: int | None = None
    query: int | None = None
    key: int | None = None
    position: int | None = None
    feature: int | None = None
    heads: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name == "heads":
                continue
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, _whole_number(field.name, value))
        try:
            pairs = tuple((_whole_number("heads", layer), _whole_number("heads", head)) for layer, head in self.heads)
        except (TypeError, ValueError):  # DataError is a ValueError: both say the same
            raise DataError(f"selection.heads is {self.heads!r}.", "Give (layer, head) pairs.") from None
        if len(pairs) > 4:
            raise DataError(f"selection.heads holds {len(pairs)} heads.", "Overlay at most four.")
        object.__setattr__(self, "heads", pairs)

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
        """Plain JSON values; `heads` as a list of pairs."""
        out: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        out["heads"] = [list(pair) for pair in self.heads]
        return out

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
