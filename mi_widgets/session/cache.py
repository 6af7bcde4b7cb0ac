"""Activations kept between edits: least recently used first out, under a bound in bytes.

Knows nothing of models; keys are whatever the session makes them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import numpy as np

from mi_widgets.data.integers import integer
from mi_widgets.errors import DataError


class ActivationCache:
    """Arrays by key. The newest entry is always kept, even alone over the bound."""

    def __init__(self, limit_bytes: int) -> None:
        self._entries: OrderedDict[Hashable, np.ndarray] = OrderedDict()
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

    def get(self, key: Hashable) -> np.ndarray | None:
        """The array, now the most recently used; or None."""
        array = self._entries.get(key)
        if array is not None:
            self._entries.move_to_end(key)
        return array

    def put(self, key: Hashable, array: np.ndarray) -> None:
        """Keep `array`; older entries go until the bound holds."""
        self._entries[key] = array
        self._entries.move_to_end(key)
        self._trim()

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def _trim(self) -> None:
        held = self.nbytes
        while held > self._limit and len(self._entries) > 1:
            _, dropped = self._entries.popitem(last=False)
            held -= dropped.nbytes
