"""Keys and values that a pass leaves for the next one, which then runs only the positions that are new.

They are held in transformers' own cache, made for the model's configuration (sliding windows and all). Runs no model.
"""

from __future__ import annotations

import copy
import inspect
import weakref
from typing import Any

import numpy as np

from mi_widgets.errors import DataError
from mi_widgets.models import describe


class KeptKeys:
    """What passes keep for each other: give the same one to each `forward` of a growing prompt.

    ```python
    keys = KeptKeys()
    forward(model, ids, sites, keys=keys)                     # runs all of ids
    forward(model, np.append(ids, new), sites, keys=keys)     # runs the new positions alone
    ```

    A pass adds to it only once it has ended well. Where an architecture keeps none, every pass is a whole one, which
    gives the same numbers.

    Args:
        entire: keep also what sliding windows let go of (the masks still hide it), so that it can be `cut`.

    Attributes:
        ids: int64 `[position]` or `[run, position]`: what was run; None before the first pass.
        supported: whether the architecture keeps keys and values; None before the first pass.
    """

    def __init__(self, entire: bool = False) -> None:
        self._entire = entire
        self.ids: np.ndarray | None = None
        self.supported: bool | None = None
        self._cache: Any = None
        self._model: weakref.ref[Any] | None = None

    @property
    def positions(self) -> int:
        """How many positions the next pass need not run."""
        return 0 if self._cache is None or self.ids is None else self.ids.shape[-1]

    @property
    def nbytes(self) -> int:
        """Bytes held, on the model's device."""
        layers = () if self._cache is None else self._cache.layers
        return sum(held.numel() * held.element_size() for layer in layers for held in (layer.keys, layer.values))

    def cut(self, positions: int) -> KeptKeys:
        """Keys and values of the first `positions` alone: a new `KeptKeys` that shares the memory of this one.

        Raises:
            DataError: it holds fewer, or was not made `entire`.
        """
        if not self._entire or self.ids is None or not 0 < positions <= self.positions:
            raise DataError(f"keys and values of {self.positions} positions cannot be cut to {positions}.")
        shorter = KeptKeys(entire=True)
        shorter.supported, shorter._model, shorter.ids = self.supported, self._model, self.ids[..., :positions]
        shorter._cache = _copied(self._cache)
        for layer in shorter._cache.layers:
            layer.keys, layer.values = layer.keys[..., :positions, :], layer.values[..., :positions, :]
        return shorter

    def expanded(self, runs: int) -> KeptKeys:
        """The same prompt's keys and values for a batch of `runs` runs that go on in different ways: a new `KeptKeys`
        that shares the memory of this one, which stays as it is.

        Raises:
            DataError: it holds a batch already, or nothing yet.
        """
        if self.ids is None or self.ids.reshape(-1, self.ids.shape[-1]).shape[0] != 1:
            held = "nothing yet" if self.ids is None else f"{len(self.ids)} runs"
            raise DataError(f"these keys and values hold {held}.", "Expand those of one prompt.")
        wider = KeptKeys(self._entire)
        wider.supported, wider._model = self.supported, self._model
        wider.ids = np.broadcast_to(self.ids.reshape(1, -1), (runs, self.ids.shape[-1])).copy()
        wider._cache = _copied(self._cache)
        for layer in () if wider._cache is None else wider._cache.layers:
            layer.keys = layer.keys.expand(runs, *layer.keys.shape[1:])
            layer.values = layer.values.expand(runs, *layer.values.shape[1:])
        return wider

    def check(self, model: Any, ids: np.ndarray) -> None:
        """That a pass over `ids` goes on from here.

        Raises:
            DataError: another model, another beginning or number of runs, or nothing new.
        """
        if self._model is not None and self._model() is not model:
            raise DataError("these keys and values are another model's.", "Start with a new KeptKeys().")
        if self.ids is None:
            return
        if self.ids.shape[:-1] != ids.shape[:-1]:
            raise DataError(
                f"ids have shape {list(ids.shape)}, and keys and values are kept of {list(self.ids.shape)}.",
                "For a batch of runs give keys.expanded(runs).",
            )
        before = self.ids.shape[-1]
        if self.positions and (ids.shape[-1] <= before or not np.array_equal(ids[..., :before], self.ids)):
            raise DataError(
                "the prompt does not go on from the one whose keys and values are kept.",
                "Give all of its ids and new ones behind them, or a new KeptKeys().",
            )

    def for_pass(self, model: Any) -> Any:
        """A cache for one pass, to be kept by `keep` where the pass ends well; None where it can have none."""
        if self.supported is False:
            return None
        if self._cache is not None:
            return _copied(self._cache)
        return _empty(model, self._entire)

    def keep(self, model: Any, ids: np.ndarray, past: Any) -> None:
        """After a pass over `ids`, of which `past` is what it left: kept if every layer holds all positions."""
        held = past is not None and _whole(past, ids.shape[-1])
        self.supported, self._cache = held, past if held else None
        self.ids, self._model = ids.copy(), weakref.ref(model)


def _empty(model: Any, entire: bool) -> Any:
    """A cache made for the model's configuration (or, `entire`, one that lets nothing go); None for one that has or
    takes none, or reads later positions, whose keys and values change with every new one."""
    from transformers import DynamicCache

    inner = getattr(model, "original_model", None)
    config = getattr(inner, "config", None)
    if config is None or getattr(config, "is_encoder_decoder", False) or not describe(model).causal:
        return None
    if "past_key_values" not in inspect.signature(inner.forward).parameters:  # type: ignore[union-attr]
        return None
    try:
        past = DynamicCache(config=config)
    except Exception:  # configurations of layers that no cache is known for refuse in their own ways
        return None
    if not all(map(_grows, past.layers)):
        return None
    return DynamicCache() if entire else past


def _grows(layer: Any) -> bool:
    """Whether a cache's layer holds keys and values that only grow and are never written into: a shallow copy of it is
    then one of its own. Layers of recurrent states and quantised ones are not."""
    from transformers import cache_utils

    names = ("DynamicLayer", "DynamicSlidingWindowLayer")
    return type(layer) in [getattr(cache_utils, name, None) for name in names]


def _copied(past: Any) -> Any:
    if past is None:
        return None
    own = copy.copy(past)
    own.layers = [copy.copy(layer) for layer in past.layers]
    return own


def _whole(past: Any, positions: int) -> bool:
    layers = getattr(past, "layers", [])
    return bool(layers) and all(_grows(layer) and layer.get_seq_length() == positions for layer in layers)
