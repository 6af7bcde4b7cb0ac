"""From residual streams that were changed above some block on to what the model reads last, for a batch of runs.

What does not change is computed once: the blocks below are passed over, keys and values of the positions before are
those of the run that is changed, positions behind the one that is read are left out, and nothing is unembedded. The
user's hooks fire, and may expect the whole prompt, or one run at a time; where there are none, the layers themselves
are run (`plain_layers`). Each way is taken only where the unchanged run comes out of it as it does out of the whole
pass. Knows nothing of what was changed, nor of metrics.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch

from mi_widgets.compute.activations import EMBEDDING
from mi_widgets.compute.forward import KeptKeys, Reader, Start, Write, forward
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.compute.pass_bytes import batch_bytes
from mi_widgets.compute.plain_layers import ATTENTIONS, DynamicCache, Laid, PlainLayers, lent
from mi_widgets.compute.readout import BEHIND, Readout
from mi_widgets.compute.step import Step, Steps
from mi_widgets.compute.writes import tolerance_of
from mi_widgets.data.integers import is_integer
from mi_widgets.errors import DataError, DisturbedError, ModelError
from mi_widgets.models import describe, modules_of, own_hooks, weights_fingerprint

#: How far the unchanged run may come out of a way from where the whole pass brings it, relative to its length.
EXACT = 1e-4
#: A batch is to take no longer than this, so that Stop is heard between two.
BATCH_SECONDS = 0.2
#: Positions in a batch below which the processor is wasted: of the layers, and of the model, which has no pauses.
ENOUGH, ENOUGH_HOOKED = 400, 96
#: Runs of the first batch, before the model's speed is known.
FIRST_RUNS = 2
#: What a run holds at its peak, in units of its positions times the width, and times heads and keys.
WIDTHS, SQUARES = 16, 4


class _Way(NamedTuple):
    """How runs are made.

    Attributes:
        alone: the positions from the first changed one to the one that is read, else the whole prompt.
        together: several at once.
        plain: by the layers themselves, else through the model as it stands.
    """

    alone: bool
    together: bool
    plain: bool = False


class _Batch(NamedTuple):
    """Runs that are made together.

    Attributes:
        runs: how many.
        positions: that are run, of all of them.
        way: how.
        packed: they stand one behind the other, each from its own first changed position on.
    """

    runs: int
    positions: int
    way: _Way
    packed: bool = False


class _Plain(NamedTuple):
    """What is known of the layers themselves of one model: which kind of them does what the model does.

    Attributes:
        weights: for which weights.
        positions: up to which length of prompt that was seen.
        kinds: `attention` and `trimmed` of `PlainLayers`, of the one that does; of all that may; or of none.
        packs: whether runs may stand one behind the other.
    """

    weights: int
    positions: int
    kinds: tuple[tuple[str, bool], ...]
    packs: bool


_KINDS = tuple((attention, trimmed) for attention in ATTENTIONS for trimmed in (True, False))
_KNOWN: WeakKeyDictionary[Any, _Plain] = WeakKeyDictionary()


class Onward:
    """Made once for the run that is changed, a prompt and what is written in it; nothing is run before it is asked.

    Args:
        model: a TransformerBridge.
        ids: int64 `[position]`, the prompt as run.
        position: of the final stream that is wanted; negative ones count from the end.
        writes: what is changed in every run, `compute.forward.Write`.
        memory: bytes that a batch may take; at most a quarter of what is free and 1 GB if None.

    Attributes:
        position: that position, counted from the start.

    Raises:
        DataError: ids or a position that do not fit.
    """

    def __init__(
        self,
        model: Any,
        ids: np.ndarray,
        *,
        position: int = -1,
        writes: Sequence[Write] = (),
        memory: int | None = None,
    ) -> None:
        ids = np.asarray(ids)
        if ids.ndim != 1 or not ids.size:
            raise DataError(f"ids have shape {list(ids.shape)}; they must be [position].")
        if not is_integer(position) or not -len(ids) <= position < len(ids):
            raise DataError(f"position={position!r}.", f"The prompt has {len(ids)} positions.")
        if memory is not None and (not is_integer(memory) or memory <= 0):
            raise DataError(f"memory={memory!r}.", "Give bytes, e.g. 2_000_000_000.")
        self.position = int(position) % len(ids)
        self._model, self._ids, self._writes, self._memory = model, ids, tuple(writes), memory
        self._n_layers = int(model.cfg.n_layers)
        known = model.hook_dict
        self._end = "ln_final.hook_in" if "ln_final.hook_in" in known else self._hook(self._n_layers)
        self._speed = 0.0  # positions in a block, a second
        self._key: Any = None
        self._kept: Any = None  # KeptKeys, where the model is run as it stands
        self._plain: PlainLayers | None = None
        self._packs = False
        self._modules: list[Any] = []
        self._held: list[torch.Tensor] = []

    @property
    def plain(self) -> bool:
        """Whether the layers themselves are run, not the model with its hooks."""
        self._prepare()
        return self._plain is not None

    def steps(
        self, layer: int, first: int, residual: torch.Tensor, firsts: np.ndarray | None = None
    ) -> Steps[torch.Tensor]:
        """Run on from above some block, in batches; a step after each.

        Args:
            layer: the first block that is run; the number of layers for none.
            first: the first position that differs from the unchanged run, or may.
            residual: `[run, position, d_model]`, at the positions from `first` to the one that is read: what leaves the
                block below, so that writes and hooks of the user's own at this block's `hook_resid_pre` act on it. (Of
                block 0 what stands at that hook.)
            firsts: int `[run]`, the first position of each run that differs, where they are known: positions before
                need not be run. Best in order.

        Returns:
            `[run, d_model]`: the final residual stream at the position that is read, on the model's device.

        Raises:
            DataError: axes that do not fit.
            ModelError: blocks of this architecture cannot be passed over.
        """
        layer, first = int(layer), int(first)
        wanted = (self.position + 1 - first, int(self._model.cfg.d_model))
        if not 0 <= layer <= self._n_layers or not 0 <= first <= self.position:
            raise DataError(
                f"no run goes on at layer {layer} from position {first}.",
                f"Give a layer up to {self._n_layers} and a position up to {self.position}, which is read.",
            )
        if residual.ndim != 3 or tuple(residual.shape[1:]) != wanted:
            raise DataError(
                f"the residual has shape {list(residual.shape)}; it must be [run, position, d_model], "
                f"here [run, {wanted[0]}, {wanted[1]}]."
            )
        firsts = np.full(len(residual), first) if firsts is None else np.maximum(firsts, first)
        found: list[torch.Tensor] = []
        done = 0
        while done < len(residual):
            self._prepare()
            way = self._way(first)
            batch = self._batch(way, layer, firsts[done:])
            inside = slice(done, done + batch.runs)
            if way.plain:
                step = Step(done, len(residual))
                found.append(
                    (yield from self._layers_steps(batch, layer, first, residual[inside], firsts[inside], step))
                )
            else:
                since = self._clock()
                found.append(self._hooked(way, layer, first, residual[inside]))
                self._measure(batch.positions * (self._n_layers - layer + 1), since)
            done += batch.runs
            yield Step(done, len(residual))
        return torch.cat(found) if found else residual[:, -1]

    def logits(self, final: torch.Tensor, tokens: Sequence[int] | None = None) -> torch.Tensor:
        """float32 `[run, d_vocab]` of `final` `[run, d_model]`, as the model reads its last stream; what hangs behind
        the last block acts there. Of some `tokens` alone `[run, token]`.

        Raises:
            ModelError: logits that are not made by a final norm and an unembedding from one residual stream, or hooks
                there that fit the whole prompt alone.
        """
        self._prepare()
        if not self._behind:
            return self._readout.logits(final, tokens)
        if not self._reads_alone:
            raise ModelError(
                "a hook behind the last block does something else where it sees the position that is read alone.",
                "Take it away, or let it not count positions.",
            )
        logits = self._hooked_logits(final)
        return logits if tokens is None else logits[:, list(tokens)]

    # --- the unchanged run ----------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """What is kept of the unchanged run; again after weights were edited, or hooks put on the model."""
        if self._key is not None and self._key == self._now():
            return
        for name in ("_entered", "_readout", "_reads_alone"):
            vars(self).pop(name, None)
        self._hooks = bool(own_hooks(self._model))
        parts = [part for part in (getattr(self._model, name, None) for name in BEHIND) if part is not None]
        hooked = own_hooks(self._model, [module for part in parts for module in part.modules()])
        self._behind = bool(hooked) or any(_behind(write.hook) for write in self._writes)
        self._ways: dict[int | None, _Way] = {}
        self._kept = self._plain = None
        free = not (self._hooks or self._writes or getattr(self._model, "compatibility_mode", False))
        known = _KNOWN.get(self._model) if free else None
        if known is None or known.weights != weights_fingerprint(self._model) or known.positions <= self.position:
            self._begin_hooked()
            windows = [window for window in describe(self._model).windows if window is not None]
            packs = min(windows, default=self.position + 1) > self.position
            known = _Plain(weights_fingerprint(self._model), self.position + 1, _KINDS, packs) if free else None
        if known is not None:
            self._begin_plain(known)
        if self._plain is None and self._kept is None:
            self._begin_hooked()
        # Last, for a first pass may leave hooks of transformers' own; and held, for a search takes as long as a block.
        self._modules, self._held = modules_of(self._model), []
        self._key = self._now()

    def _now(self) -> tuple[Any, ...]:
        """Changes when weights are edited or replaced, or hooks come or go."""
        tables = [table for module in self._modules for table in (module._parameters, module._buffers)]
        held = [tensor for table in tables for tensor in table.values() if tensor is not None]
        self._held = self._held or held  # so that no other takes their ids
        versions = tuple((id(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in held)
        return versions, own_hooks(self._model, self._modules), bool(getattr(self._model, "compatibility_mode", False))

    def _begin_hooked(self) -> None:
        """The unchanged run through the model as it stands: its first stream, its final one, keys and values."""
        kept: dict[str, torch.Tensor] = {}

        def keep(name: str) -> Reader:
            return lambda _layer, value: kept.__setitem__(name, value.clone())

        readers = {name: keep(name) for name in (self._hook(0), self._hook(self._n_layers // 2), self._end)}
        self._kept = KeptKeys(entire=True)
        forward(self._model, self._ids, (), (), readers, self._writes, keys=self._kept, until=self._end)
        if self._end not in kept:
            raise ModelError("this architecture does not show its final residual stream.", "It cannot be patched.")
        self._first, self._middle = kept[self._hook(0)], kept[self._hook(self._n_layers // 2)]
        self._final = kept[self._end][self.position]

    def _begin_plain(self, known: _Plain) -> None:
        """The layers themselves, if there are such as do what the model does, and the unchanged run's keys and values
        by them."""
        end, seen = self.position + 1, len(known.kinds) < 2
        for kind in known.kinds:
            try:
                layers, self._cache = PlainLayers(self._model, *kind), DynamicCache()
                since = time.thread_time()
                final = layers.run(self._ids[None, :end], self._cache)
                self._speed = end * self._n_layers / max(time.thread_time() - since, 1e-6)
                if not seen and not (_same(final, self._final) and self._goes_on(layers)):
                    continue
                known = known._replace(kinds=(kind,), packs=known.packs and (seen or self._packs_well(layers)))
                self._plain, self._packs, self._final = layers, known.packs, final[0]
                break
            except Exception:  # whatever these layers cannot do, the model can
                continue
        if not seen:
            _KNOWN[self._model] = known._replace(kinds=known.kinds if self._plain is not None else ())

    def _goes_on(self, layers: PlainLayers) -> bool:
        """Whether `layers`, begun in the middle of the blocks and of the prompt, come to the same end."""
        first, end = self.position // 2, self.position + 1
        residual = self._middle[first:end].expand(2, -1, -1)
        ids = np.broadcast_to(self._ids[first:end], (2, end - first))
        return _same(layers.run(ids, lent(self._cache, first, 2), self._n_layers // 2, residual), self._final)

    def _packs_well(self, layers: PlainLayers) -> bool:
        """Whether runs that stand one behind the other come to the same end."""
        first, end = self.position // 2, self.position + 1
        firsts = np.array([self.position, first, (first + end) // 2])
        residual = self._middle[first:end].expand(3, -1, -1)
        try:
            laid = layers.packed(self._ids[:end], firsts, residual)
            found = layers.on(laid, self._cache, self._n_layers // 2)
        except Exception:  # as in `_begin_plain`
            return False
        return _same(found, self._final)

    @cached_property
    def _entered(self) -> list[torch.Tensor]:
        """Of the unchanged run what enters each block, and what leaves the last: `[layer + 1][position, d_model]`."""
        kept: list[torch.Tensor] = [self._first]
        readers = {
            self._hook(layer + 1): lambda _layer, value: kept.append(value.clone()) for layer in range(self._n_layers)
        }
        forward(self._model, self._ids, (), (), readers, self._writes, until=self._end)
        return kept

    @cached_property
    def _readout(self) -> Readout:
        return Readout(self._model)

    def _hook(self, layer: int) -> str:
        """Where the residual stands that enters block `layer`."""
        return f"blocks.{layer - 1}.hook_resid_post" if layer else "blocks.0.hook_resid_pre"

    # --- the ways -------------------------------------------------------------------------------------------------

    def _way(self, first: int) -> _Way:
        """How runs that change from `first` on are made. Hooks and writes are asked at each `first`."""
        if self._plain is not None:
            return _Way(True, True, plain=True)
        asked = first if self._hooks or self._writes else None
        if asked not in self._ways:
            ways = [_Way(True, True), _Way(False, True)][0 if self._kept.supported else 1 :]
            self._ways[asked] = next((way for way in ways if self._holds(way, first)), _Way(False, False))
        return self._ways[asked]

    def _holds(self, way: _Way, first: int) -> bool:
        """Whether two unchanged runs come out of `way` as they should."""
        unchanged = self._first[first : self.position + 1].expand(2, -1, -1)
        try:
            found = self._hooked(way, 0, first, unchanged)
        except DisturbedError:
            raise
        except Exception:  # a hook of the user's own that fits the whole prompt alone raises what it likes
            return False
        return _same(found, self._final)

    def _hooked(self, way: _Way, layer: int, first: int, residual: torch.Tensor) -> torch.Tensor:
        """`[run, d_model]`, through the model as it stands, hooks and all."""
        runs, end, from_here = len(residual), self.position + 1, first if way.alone else 0
        ids, given = self._ids[:end], residual
        if not way.alone:
            ids = self._ids
            given = self._entered[layer].expand(runs, -1, -1).clone()
            given[:, first:end] = residual.to(given)
        keys = self._kept.cut(from_here).expanded(runs) if from_here else None
        found: list[torch.Tensor] = []
        forward(
            self._model,
            np.broadcast_to(ids, (runs, len(ids))),
            (),
            (),
            {self._end: lambda _layer, value: found.append(value[:, self.position - from_here].clone())},
            [write for write in self._writes if not _below(write.hook, layer)],
            start=Start(layer, given, entering=layer > 0),
            keys=keys,
            until=self._end,
            hasty=True,
        )
        return found[0]

    def _layers_steps(
        self, batch: _Batch, layer: int, first: int, residual: torch.Tensor, firsts: np.ndarray, step: Step
    ) -> Steps[torch.Tensor]:
        """`[run, d_model]`, by the layers themselves, some blocks in a step."""
        assert self._plain is not None
        layers, cache, end, lowest = self._plain, self._cache, self.position + 1, int(firsts.min())
        if layer == self._n_layers:
            return residual[:, -1].to(self._final)
        if batch.packed:
            laid = layers.packed(self._ids[:end], firsts, residual)
        else:
            ids = np.broadcast_to(self._ids[lowest:end], (len(residual), end - lowest))
            laid = Laid(ids, lowest, residual[:, lowest - first :])
        while True:
            blocks = max(1, int(self._speed * BATCH_SECONDS / batch.positions))
            until = layer + blocks if layer + blocks < self._n_layers else None
            since = self._clock()
            found = layers.on(laid, cache, layer, until)
            self._measure(batch.positions * ((until or self._n_layers) - layer), since)
            if until is None:
                return found
            laid, layer = replace(laid, residual=found), until
            yield step

    def _hooked_logits(self, final: torch.Tensor, readers: dict[str, Reader] | None = None) -> torch.Tensor:
        """`logits` through the model as it stands: all blocks are passed over, with the one position that is read."""

        def put(activation: torch.Tensor, _first: int) -> torch.Tensor:
            return final[:, None].to(activation, copy=True)

        def at_its_place(write: Write) -> Write:
            return Write(write.hook, lambda activation, _first: write.act(activation, self.position))

        # At the hook where `final` was read, all acted already.
        writes = [at_its_place(write) for write in self._writes if _behind(write.hook) and write.hook != self._end]
        writes = [Write(self._end, put), *writes] if _behind(self._end) else writes
        start = Start(self._n_layers, final[:, None], entering=True)
        ids = np.broadcast_to(self._ids[self.position], (len(final), 1))
        found = forward(self._model, ids, (LAST_LOGITS,), (), readers, writes, start=start)
        return torch.from_numpy(found.arrays[LAST_LOGITS].copy())

    @cached_property
    def _reads_alone(self) -> bool:
        """Whether what hangs behind the last block does to the position that is read alone what it does in the whole
        prompt."""
        hook, kept = "unembed.hook_out", {}
        whole: dict[str, Reader] = {hook: lambda _layer, value: kept.__setitem__("whole", value[self.position].clone())}
        alone: dict[str, Reader] = {hook: lambda _layer, value: kept.__setitem__("alone", value[:, 0].clone())}
        forward(self._model, self._ids, (), (), whole, self._writes, until=hook)
        try:
            self._hooked_logits(self._final[None], alone)
        except DisturbedError:
            raise
        except Exception:  # as in `_holds`
            return False
        return _same(kept["alone"], kept["whole"])

    # --- batches --------------------------------------------------------------------------------------------------

    def _batch(self, way: _Way, layer: int, firsts: np.ndarray) -> _Batch:
        """The first runs of those that change from `firsts` on, as many as fit into the memory and, if they are enough,
        into `BATCH_SECONDS`."""
        end, width, heads = self.position + 1, int(self._model.cfg.d_model), int(self._model.cfg.n_heads)
        count = np.arange(1, len(firsts) + 1)
        length = end - np.minimum.accumulate(firsts) if way.alone else np.full(len(firsts), len(self._ids))
        length = np.full(len(firsts), end - firsts.min()) if way.alone and not way.plain else length
        positions, keys = count * length, np.full(len(firsts), end if way.alone else len(self._ids))
        # Lent keys are held in one block at a time.
        kept = 2 * count * keys * (1 if way.plain else self._n_layers - layer) if way.alone else 0 * count
        packed = np.zeros(len(firsts), bool)
        if way.plain and self._packs:
            together = np.cumsum(end - firsts)
            reached = together + np.maximum.accumulate(firsts)
            # A block's products with weights are 24 d_model² for a position, its attention 4 d_model for a key.
            packed = together * (6 * width + reached) < positions * (6 * width + keys)
            positions, keys = np.where(packed, together, positions), np.where(packed, reached, keys)
        numbers = width * (WIDTHS * positions + kept) + SQUARES * heads * positions * keys
        soon = self._speed * BATCH_SECONDS / (self._n_layers - layer + 1)
        soon = max(soon, ENOUGH if way.plain else ENOUGH_HOOKED) if self._speed else FIRST_RUNS * positions[0]
        fits = (numbers * self._final.element_size() <= self._bytes) & (positions <= soon)
        runs = max(1, int(fits.sum())) if way.together else 1
        return _Batch(runs, int(positions[runs - 1]), way, bool(packed[runs - 1]))

    @property
    def _bytes(self) -> int:
        return batch_bytes(self._final.device) if self._memory is None else self._memory

    def _clock(self) -> float:
        """Seconds of work: on the processor without what others take of it."""
        return time.thread_time() if self._final.device.type == "cpu" else time.perf_counter()

    def _measure(self, work: int, since: float) -> None:
        """How long so many positions of a block took."""
        speed = work / max(self._clock() - since, 1e-6)
        self._speed = speed if not self._speed else 0.5 * (self._speed + speed)


def _behind(hook: str) -> bool:
    """Whether `hook`, in full, stands behind the last block."""
    return hook.split(".")[0] in BEHIND


def _below(hook: str, layer: int) -> bool:
    """Whether what is written at `hook`, in full, is in a residual stream that enters block `layer` already."""
    first, *rest = hook.split(".")
    if first == "blocks" and layer:
        return int(rest[0]) < layer
    return first in EMBEDDING or hook == "blocks.0.hook_resid_pre"


def _same(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether each row of `found` `[run, d_model]` is `wanted`, as exactly as its number type allows."""
    tolerance = tolerance_of(wanted.dtype)
    tolerance = min(tolerance, EXACT) if wanted.dtype in (torch.float32, torch.float64) else tolerance
    if torch.equal(found, wanted.expand_as(found)):
        return True
    apart = (found.double() - wanted.double()).norm(dim=-1).max()
    return bool(apart <= tolerance * wanted.double().norm())  # not where it is not a number
