"""What an attention result is: patterns with named axes, their masks, and two of them compared.

Knows nothing of models, torch or the page.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import pandas as pd

from mi_widgets.data.arrays import as_float32, read_only
from mi_widgets.data.comparison import Comparison
from mi_widgets.data.integers import integer, integers, is_integer, place, several, truth, word
from mi_widgets.data.interventions import Change
from mi_widgets.data.record import Record, floats, one_of, record
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError

#: How one cell is weighted; `science.md` and `compute.attention_patterns` give the definitions.
WEIGHTINGS = ("pattern", "scores", "value", "output")
#: What one cell is, by weighting.
UNITS = {
    "pattern": "attention weight",
    "scores": "pre-softmax score",
    "value": "attention × ‖v‖",
    "output": "‖attention × v·W_O‖",
}
#: `to_pandas` refuses longer tables than this: 20 million rows are about 1 GB.
MAX_ROWS = 20_000_000


@record
class AttentionPatterns(Record):
    """Attention of one prompt, float32, as the model ran it.

    Every array is read-only. `base`, which may be large, is taken as it is, without a copy, unless its type is another
    (`patterns_from_arrays` copies what the user could still write to).

    Attributes:
        base: float32 `[layer, head, query, key]`: the pattern (rows sum to 1) or, for weighting `"scores"`, the
            numbers that the softmax saw, NaN where the mask forbids the read.
        tokens: the prompt, one entry per position.
        layers: the model's layer number of each row of the layer axis.
        weighting: `"pattern"`, `"scores"`, `"value"` or `"output"`.
        key_weight: float32 `[layer, head, key]` that multiplies `base` for the weightings `"value"` and
            `"output"`, else None. It is kept apart so that a weighting costs no second copy of the patterns.
        causal: no position reads a later one.
        windows: for each layer the sliding window in positions (a query reads the last `window` positions,
            itself included), or None.
        kv_heads: number of key-value heads; query head `h` reads KV head `h // (heads // kv_heads)`.
        row_sum_error: largest `|Σ_key pattern − 1|` over all rows, the self-check, or None where it does not apply;
            with `sinks` the most by which a sum leaves 0…1. NaN where a row holds what is no number.
        sinks: rows sum to less than 1, because the softmax of the architecture has attention sinks beside the keys.
        not_finite: "" where every number is finite; else where in the model that ended, e.g. `"from layer 1 on
            (attention scores)"`. Such numbers are NaN here.
        model: the model's name, or "".
        interventions: made in the run; () for the untouched one.
        derived: what follows from `base` alone, kept for all patterns that share it under other weightings.
    """

    base: Annotated[np.ndarray, floats("layer", "head", "query", "key", own=False)]
    tokens: Tokens
    layers: tuple[int, ...] = ()
    weighting: Annotated[str, one_of("weighting", WEIGHTINGS)] = "pattern"
    key_weight: Annotated[np.ndarray, floats("layer", "head", "key")] | None = None
    causal: bool = True
    windows: tuple[int | None, ...] = ()
    kv_heads: int | None = None
    row_sum_error: float | None = None
    model: str = ""
    derived: dict[Any, Any] = field(default_factory=dict, repr=False)
    sinks: bool = False
    not_finite: str = ""
    interventions: tuple[Change, ...] = ()

    def _complete(self) -> None:
        count = len(self.base) if self.base.ndim else 0
        self._set("layers", self.layers or tuple(range(count)))
        self._set("windows", self.windows or (None,) * count)

    def _check(self) -> None:
        layers, heads, queries, keys = self.base.shape
        if queries != keys:
            raise DataError(f"the query axis has {queries} entries and the key axis {keys}; they must be equal.")
        if len(self.tokens) != queries:
            raise DataError(f"{len(self.tokens)} tokens, but the query axis has {queries} entries.")
        if len(self.layers) != layers or len(self.windows) != layers:
            raise DataError(f"layers and windows need one entry for each of the {layers} rows of the layer axis.")
        if any(window is not None and window < 1 for window in self.windows):
            raise DataError(f"windows {list(self.windows)} hold one below 1.", "Give None where there is none.")
        if min(self.layers, default=0) < 0:
            raise DataError(f"layers {list(self.layers)} hold one below 0.", "Layers count from 0.")
        if len(set(self.layers)) != layers:
            raise DataError(f"layers {list(self.layers)} name a layer twice.", "Give each its own number.")
        if self.kv_heads is not None and (self.kv_heads < 1 or heads % self.kv_heads):
            raise DataError(f"{heads} heads cannot share {self.kv_heads} key-value heads evenly.")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Sizes of layer, head, query, key."""
        return self.base.shape  # type: ignore[return-value]

    @property
    def n_heads(self) -> int:
        """Query heads in each layer."""
        return self.base.shape[1]

    @property
    def values(self) -> np.ndarray:
        """float32 `[layer, head, query, key]` under the weighting: read-only, or a new array where there is a key
        weight."""
        return self.base if self.key_weight is None else self.base * self.key_weight[:, :, None, :]

    @cached_property
    def low(self) -> float:
        """Smallest value under the weighting, NaN passed over; 0 where there is none."""
        low = self.of_base("low", lambda: float(np.fmin.reduce(self.base, axis=None))) if self.base.size else 0.0
        if self.key_weight is not None and low < 0:  # a key weight is a norm: it only matters to negative patterns
            low = float(np.fmin.reduce(self.values, axis=None))
        return 0.0 if np.isnan(low) else low

    @cached_property
    def head_high(self) -> np.ndarray:
        """float32 `[layer, head]`: largest value of each head under the weighting, NaN where it has none."""
        per_key = self.of_base("high", lambda: np.fmax.reduce(self.base, axis=2))
        if self.key_weight is not None:
            per_key = per_key * self.key_weight  # a key weight is a norm: the largest pattern stays largest
        return read_only(np.fmax.reduce(per_key, axis=2))

    def of_base(self, name: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` finds in `base` alone, found once for all patterns that share it."""
        if name not in self.derived:
            self.derived[name] = make()
        return self.derived[name]

    def row(self, layer: int) -> int:
        """The row of the layer axis that holds the model's layer `layer`.

        Raises:
            DataError: that layer is not among those computed.
        """
        layer = integer("layer", layer)
        if layer not in self.layers:
            raise DataError(f"layer {layer} is not in this result.", f"It holds layers {list(self.layers)}.")
        return self.layers.index(layer)

    def head(self, layer: int, head: int) -> np.ndarray:
        """float32 `[query, key]` of one head under the weighting, by the model's layer number."""
        row, head = self.row(layer), place("head", head, self.n_heads)
        base = self.base[row, head]
        return base if self.key_weight is None else base * self.key_weight[row, head][None, :]

    def allowed(self, layer: int) -> np.ndarray:
        """bool `[query, key]`: the reads that the mask of this layer allows (causal and sliding window)."""
        return attention_mask(self.shape[2], self.causal, self.windows[self.row(layer)])

    def to_pandas(
        self, layers: Iterable[int] | None = None, heads: Iterable[int] | None = None, masked: bool = False
    ) -> pd.DataFrame:
        """Long form, one row per cell: layer, head, query, key, query_token, key_token, value.

        Args:
            layers: only these layers.
            heads: only these heads.
            masked: also the cells that the mask forbids.

        Raises:
            DataError: no such layer or head, or more than 20 million rows; choose layers or heads.
        """
        masked, labels = truth("masked", masked), np.array(self.tokens.strings, dtype=object)

        def cells(layer: int) -> np.ndarray:
            return np.ones(self.shape[2:], bool) if masked else self.allowed(layer)

        def columns(layer: int, head: int, query: np.ndarray, key: np.ndarray) -> dict[str, np.ndarray]:
            tokens = {"query_token": labels[query], "key_token": labels[key]}
            return {"query": query, "key": key, **tokens, "value": self.head(layer, head)[query, key]}

        return _table(self, layers, heads, cells, columns)


@record
class AttentionComparison(Comparison):
    """Two prompts' attention of the same heads, and their signed difference on aligned positions.

    Attributes:
        a: the first prompt's patterns.
        b: the second prompt's.
    """

    a: AttentionPatterns
    b: AttentionPatterns

    def _check(self) -> None:
        if self.a.layers != self.b.layers or self.a.n_heads != self.b.n_heads:
            raise DataError("A and B must hold the same layers and heads.")
        if self.a.weighting != self.b.weighting:
            raise DataError(
                f"A is weighted by {self.a.weighting!r}, B by {self.b.weighting!r}; compare like with like."
            )

    def head(self, layer: int, head: int) -> np.ndarray:
        """float32 `[column, column]`: A − B of one head; NaN where a column stands alone or is masked."""
        return self.alignment.difference(self.a.head(layer, head), self.b.head(layer, head))

    def to_pandas(self, layers: Iterable[int] | None = None, heads: Iterable[int] | None = None) -> pd.DataFrame:
        """Long form, one row per aligned cell: layer, head, query, key (columns of the alignment), the tokens
        of A and of B, `value_a`, `value_b` and `value` = A − B."""
        column, in_a, in_b = self.alignment.shared
        labels_a, labels_b = (
            np.array(side.tokens.strings, object)[at] for side, at in ((self.a, in_a), (self.b, in_b))
        )

        def cells(layer: int) -> np.ndarray:
            return self.a.allowed(layer)[np.ix_(in_a, in_a)] & self.b.allowed(layer)[np.ix_(in_b, in_b)]

        def columns(layer: int, head: int, query: np.ndarray, key: np.ndarray) -> dict[str, np.ndarray]:
            value_a = self.a.head(layer, head)[in_a[query], in_a[key]]
            value_b = self.b.head(layer, head)[in_b[query], in_b[key]]
            tokens_a = {"query_token": labels_a[query], "key_token": labels_a[key]}
            tokens_b = {"query_token_b": labels_b[query], "key_token_b": labels_b[key]}
            values = {"value_a": value_a, "value_b": value_b, "value": value_a - value_b}
            return {"query": column[query], "key": column[key], **tokens_a, **tokens_b, **values}

        return _table(self.a, layers, heads, cells, columns)


def attention_mask(positions: int, causal: bool, window: int | None) -> np.ndarray:
    """bool `[query, key]`, True where a read is allowed. A window of `w` allows keys `query − w + 1 … query`
    (and, where reads are not causal, as many on the other side)."""
    distance = np.arange(positions)[:, None] - np.arange(positions)[None, :]
    allowed = distance >= 0 if causal else np.ones_like(distance, bool)
    return allowed if window is None else allowed & (np.abs(distance) < window)


def reads_outside(layer: np.ndarray, causal: bool, window: int | None) -> bool:
    """Whether a cell of `layer` `[head, query, key]` that the mask forbids holds a number other than 0; NaN is none."""
    forbidden = ~attention_mask(layer.shape[-1], causal, window)
    held = (layer != 0) & (layer == layer)  # NaN alone is unequal to itself
    return bool((held.any(axis=0) & forbidden).any())


def _table(
    patterns: AttentionPatterns,
    layers: Iterable[int] | None,
    heads: Iterable[int] | None,
    cells: Callable[[int], np.ndarray],
    columns: Callable[[int, int, np.ndarray, np.ndarray], dict[str, np.ndarray]],
) -> pd.DataFrame:
    """One row per cell of the chosen layers and heads, all of them for None: `cells` says which cells of a layer there
    are, bool `[query, key]`, and `columns` what the table has of the cells of a layer and head."""
    layers = list(patterns.layers) if layers is None else integers("layers", layers)
    heads = list(range(patterns.n_heads)) if heads is None else integers("heads", heads)
    if not layers or not heads:
        raise DataError("no layer or no head chosen.", "Name at least one of each.")
    held = {layer: cells(layer) for layer in layers}
    count = sum(int(held[layer].sum()) for layer in layers) * len(heads)
    if count > MAX_ROWS:
        raise DataError(f"the table would have {count:,} rows.", "Choose layers=[…] or heads=[…].")
    frames = []
    for layer in layers:
        query, key = np.nonzero(held[layer])
        frames += [pd.DataFrame({"layer": layer, "head": head, **columns(layer, head, query, key)}) for head in heads]
    return pd.concat(frames, ignore_index=True)


def patterns_from_arrays(
    patterns: Any,
    tokens: Tokens | Sequence[Any] | None = None,
    *,
    layers: Sequence[int] | None = None,
    causal: bool | None = None,
    windows: Sequence[int | None] | int | None = None,
    kv_heads: int | None = None,
    weighting: str = "pattern",
    model: str = "",
) -> AttentionPatterns:
    """Patterns the user already has, from numpy, torch or nested lists. Arrays that could still be written to are
    copied, so that later edits in place change no result; float32 arrays that are read-only, or larger than 64 MB, are
    taken as they are, without a copy.

    Args:
        patterns: `[layer, head, query, key]`; also `[head, query, key]` (one layer), `[query, key]` (one head),
            a list of per-layer arrays, or with a batch axis of size 1 after the layer axis. bfloat16 is fine.
        tokens: strings, ids, a `Tokens` record, or None for plain position numbers.
        layers: layer numbers of the layer axis; 0, 1, … if None.
        causal: no reads of later positions; if None, true exactly when every such cell is 0 or NaN.
        windows: sliding window, one for all layers or one per layer.
        kv_heads: number of key-value heads that the query heads share.
        weighting: what the numbers are: `"pattern"`, `"scores"`, `"value"` or `"output"`.
        model: a name for the caption.

    Raises:
        DataError: a wrong shape (the message names the axis), infinite values, or a non-number type.
    """
    weighting = word("weighting", weighting, WEIGHTINGS)
    array = as_float32(patterns, own=True)
    if array.ndim == 5 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 5:
        raise DataError(
            f"patterns have a batch axis of size {array.shape[1]}: shape {list(array.shape)}.",
            "Show one prompt at a time.",
        )
    if not 2 <= array.ndim <= 4:
        raise DataError(f"patterns have shape {list(array.shape)}; they must be [layer, head, query, key].")
    array = array.reshape((1,) * (4 - array.ndim) + array.shape)
    count, _, queries, keys = array.shape
    if 0 in array.shape:
        raise DataError(f"patterns are empty: shape {list(array.shape)}.", "Give at least one head and one position.")
    if queries != keys:
        raise DataError(f"the query axis has {queries} entries and the key axis {keys}; they must be equal.")
    if weighting == "scores":
        lowest = np.finfo(np.float32).min / 2
        array = np.where(np.isneginf(array) | (array < lowest), np.nan, array)
    if np.isinf(array).any():
        raise DataError("patterns hold infinite values.", 'For pre-softmax scores say weighting="scores".')
    reads_later = queries > 1 and any(reads_outside(layer, True, None) for layer in array)
    if causal is None:
        causal = queries > 1 and not reads_later
    elif truth("causal", causal) and reads_later:
        raise DataError("patterns read later positions (key > query), so they are not causal.", "Leave causal= out.")
    per_layer = (windows,) * count if windows is None or is_integer(windows) else several("windows", windows)  # type: ignore[arg-type]
    per_layer = tuple(None if window is None else integer("windows", window) for window in per_layer)
    for row, window in enumerate(per_layer[:count]):
        if window is not None and (window < 1 or reads_outside(array[row], causal, window)):
            raise DataError(
                f"row {row} of the layer axis reads beyond a window of {window} positions.", "Leave windows= out there."
            )
    error = None
    if weighting == "pattern" and not np.isnan(array).any():
        error = float(np.abs(array.sum(-1) - 1).max())
    return AttentionPatterns(
        base=np.ascontiguousarray(array),
        tokens=Tokens.of(tokens, queries),
        layers=() if layers is None else integers("layers", layers),  # type: ignore[arg-type]
        weighting=weighting,
        causal=causal,
        windows=per_layer,
        kv_heads=kv_heads,
        row_sum_error=error,
        model=model,
    )
