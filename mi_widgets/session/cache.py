"""Activations kept between edits: least recently used first out, under a bound in bytes.

Knows nothing of models; keys are whatever the session makes them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import numpy as np

from mi_widgets.data.integers import integer
from mi_widgets.errors import DataError

#: The layers that an array holds; None of what stands once in a model.
Rows = tuple[int, ...] | None


class ActivationCache:
    """Arrays by key and the layers they hold. The newest entry is always kept, even alone over the bound."""

    def __init__(self, limit_bytes: int) -> None:
        self._entries: OrderedDict[tuple[Hashable, Rows], np.ndarray] = OrderedDict()
        #: By key, the layers of each array that there is.
        self._held: dict[Hashable, list[Rows]] = {}
        self.limit_bytes = limit_bytes

    @property
    def limit_bytes(self) -> int:
        """The bound in bytes; setting it drops what is over."""
        return self._limit

    @limit_bytes.setter
    def limit_bytes(self, limit: int) -> None:
        if integer("cache_limit", limit) < 0:
            raise DataError(f"cache_limit={limit} is negative.", "Give bytes, 0 for no cache.")
        self._limit = int(limit)
        self._trim()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return sum(array.nbytes for array in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Hashable, layers: Rows = None) -> tuple[np.ndarray, Rows] | None:
        """An array that holds these layers, maybe among others, and those that it holds; now the most recently used.
        Or None."""
        wanted = set(layers or ())
        for rows in self._held.get(key, ()):
            if rows == layers or wanted <= set(rows or ()):
                self._entries.move_to_end((key, rows))
                return self._entries[key, rows], rows
        return None

    def get(self, key: Hashable) -> np.ndarray | None:
        """The array of what has no layers, now the most recently used; or None."""
        found = self.find(key)
        return None if found is None else found[0]

    def put(self, key: Hashable, array: np.ndarray, layers: Rows = None) -> None:
        """Keep `array`; what holds some of its layers alone goes, and older entries until the bound holds."""
        held = set(layers or ())
        for rows in [rows for rows in self._held.get(key, ()) if set(rows or ()) <= held]:
            self._drop((key, rows))
        self._entries[key, layers] = array
        self._held.setdefault(key, []).append(layers)
        self._trim()

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._held.clear()

    def _drop(self, entry: tuple[Hashable, Rows]) -> int:
        key, rows = entry
        self._held[key].remove(rows)
        if not self._held[key]:
            del self._held[key]
        return self._entries.pop(entry).nbytes

    def _trim(self) -> None:
        held = self.nbytes
        while held > self._limit and len(self._entries) > 1:
            held -= self._drop(next(iter(self._entries)))
