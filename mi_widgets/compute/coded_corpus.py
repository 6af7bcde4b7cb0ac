"""A corpus as a sparse coder sees it: texts go through the model, its activations through the coder, and what is not
zero is kept.

Texts of like length go through the model together, in batches whose shape follows from the length alone: what stands
beside a text does not change its numbers by a bit, so shards made apart add up to one pass exactly. Knows nothing of
what is counted, nor of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.corpus import Corpus, is_missing, mixed
from mi_widgets.compute.forward import forward
from mi_widgets.compute.undisturbed import without_gradients
from mi_widgets.data.integers import integer, truth
from mi_widgets.errors import DataError, MiWidgetsError
from mi_widgets.models import describe, token_ids

#: Positions of a batch: on a CPU more make a pass slower, on a GPU fewer do.
BATCH_TOKENS = {"cpu": 1024, "other": 16_384}
#: Activations that are encoded at once.
CELLS = {"cpu": 1 << 22, "other": 1 << 26}
#: A block ends with the batch that brings it to so many positions, or to so many activations that are not zero.
BLOCK_TOKENS, BLOCK_ENTRIES = 1 << 15, 1 << 20
#: Texts are read so far at most, where nothing else is said and the model itself reads further.
LONGEST = 2048


@dataclass(frozen=True)
class Reading:
    """How a corpus is read; part of what a statistic over it means.

    Attributes:
        length: tokens of a text that are read at most; what is behind is left out, and counted.
        prepend_bos: as `model.to_tokens` takes it.
        skips_first: position 0 counts nowhere.
    """

    length: int
    prepend_bos: bool | None
    skips_first: bool

    @classmethod
    def checked(cls, model: Any, coder: Any, length: Any = None, prepend_bos: Any = None) -> Reading:
        """How the corpus of this model and coder is read.

        Raises:
            DataError: a length that reads nothing, or more than the model does; or a coder of another model.
        """
        context = describe(model).n_ctx
        if lacking := [
            name for name in ("encode", "fits", "hook_in", "skips_first", "W_dec") if not hasattr(coder, name)
        ]:
            raise DataError(
                f"a {type(coder).__name__} is no sparse coder of one layer: it has no {lacking[0]}.",
                "Give one that sae.load made; of a set choose a layer.",
            )
        coder.fits(model)
        if length is None:
            length = min(context or LONGEST, LONGEST)
        length = integer("length", length)
        first = bool(coder.skips_first)
        if not int(first) < length <= (context or length):
            most = f" to {context:,}" if context else ""
            raise DataError(f"length={length} cannot be read.", f"Give a whole number from {first + 1}{most}.")
        return cls(length, None if prepend_bos is None else truth("prepend_bos", prepend_bos), first)


@dataclass(frozen=True, eq=False)
class Coded:
    """Some texts, coded. Each text's tokens stand together, in order; texts are in any order.

    Attributes:
        text: int32 `[token]`, its number in the corpus.
        position: int32 `[token]`, in the text.
        token_id: int32 `[token]`.
        mark: uint64 `[token]`, as if drawn by chance; follows from the text itself and the position.
        counted: bool `[token]`: not those that are left out, nor those whose numbers are not finite.
        token: int64 `[entry]`, ascending: index of a token.
        feature: int32 `[entry]`, ascending within a token.
        value: float32 `[entry]`: the activation, never 0.
        n_texts: that were read, those without a token too.
        n_cut: of them, those that went on behind `Reading.length`.
        n_not_finite: tokens left out for numbers that are not finite.
    """

    text: np.ndarray
    position: np.ndarray
    token_id: np.ndarray
    mark: np.ndarray
    counted: np.ndarray
    token: np.ndarray
    feature: np.ndarray
    value: np.ndarray
    n_texts: int = 0
    n_cut: int = 0
    n_not_finite: int = 0


@dataclass(frozen=True)
class Place:
    """How far a pass has come, so that it can go on from there.

    Attributes:
        read: texts taken from the corpus.
        waiting: those of them that still wait for others of their length.
    """

    read: int = 0
    waiting: tuple[int, ...] = ()


BEGINNING = Place()


@without_gradients
def _read(model: Any, ids: np.ndarray, hook: str) -> torch.Tensor:
    found: list[torch.Tensor] = []
    forward(model, ids, (), readers={hook: lambda _layer, x: found.append(x)}, until=hook)
    return found[0]


def coded_blocks(
    model: Any, coder: Any, corpus: Corpus, reading: Reading, start: Place = BEGINNING
) -> Iterator[tuple[Place, Coded | None]]:
    """The corpus, coded in blocks. Yields after every batch; with a block where one is complete, else with None.

    Args:
        model: a TransformerBridge.
        coder: a sparse coder of it.
        corpus: the texts.
        reading: how they are read.
        start: where to go on: a place that came with a block.

    Raises:
        PromptError: a text that is no prompt or cannot be tokenized; the message has its number.
    """
    coding = _Coding(model, coder, reading)
    waiting = set(start.waiting)
    block, place = _Block(), start
    for number, text in enumerate(corpus):
        again = number in waiting
        if number < start.read and not again:
            continue
        batch = coding.take(number, text, block, counts=not again)
        read = max(start.read, number + 1)
        if batch is not None:
            coding.code(batch, block)
            place = Place(read, coding.waiting)
            whole = block.whole
            yield place, block.made() if whole else None
            block = _Block() if whole else block
        place = Place(read, coding.waiting)
    for batch in coding.rest():
        coding.code(batch, block)
        yield place, None
    if block.begun:
        yield Place(place.read), block.made()


@dataclass(eq=False)
class _Block:
    """A `Coded` in the making."""

    columns: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in _TYPES})
    n_tokens: int = 0
    n_entries: int = 0
    n_texts: int = 0
    n_cut: int = 0
    n_not_finite: int = 0

    @property
    def whole(self) -> bool:
        return self.n_tokens >= BLOCK_TOKENS or self.n_entries >= BLOCK_ENTRIES

    @property
    def begun(self) -> bool:
        return bool(self.n_tokens or self.n_texts)

    def add(self, **columns: np.ndarray) -> None:
        columns["token"] = columns["token"] + self.n_tokens
        for name, column in columns.items():
            self.columns[name].append(column)
        self.n_tokens += len(columns["text"])
        self.n_entries += len(columns["token"])

    def made(self) -> Coded:
        joined = {
            name: np.concatenate([np.empty(0, dtype), *self.columns[name]]).astype(dtype, copy=False)
            for name, dtype in _TYPES.items()
        }
        return Coded(**joined, n_texts=self.n_texts, n_cut=self.n_cut, n_not_finite=self.n_not_finite)


_TYPES: dict[str, Any] = {
    "text": np.int32, "position": np.int32, "token_id": np.int32, "mark": np.uint64, "counted": np.bool_,
    "token": np.int64, "feature": np.int32, "value": np.float32,
}  # fmt: skip
assert set(_TYPES) <= {one.name for one in fields(Coded)}

#: Texts that go through the model together: their number and ids, and the width they are filled up to.
_Batch = tuple[list[tuple[int, np.ndarray]], int]


class _Coding:
    """Puts texts together, runs the model over them and encodes what stands at the coder's hook."""

    def __init__(self, model: Any, coder: Any, reading: Reading) -> None:
        self._model, self._coder, self._reading = model, coder, reading
        self._causal = describe(model).causal
        device = next(iter(model.parameters())).device.type
        self._batch_tokens = BATCH_TOKENS.get(device, BATCH_TOKENS["other"])
        self._cells = CELLS.get(torch.device(coder.device).type, CELLS["other"])
        self._queues: dict[int, list[tuple[int, np.ndarray]]] = {}

    @property
    def waiting(self) -> tuple[int, ...]:
        return tuple(sorted(number for queue in self._queues.values() for number, _ in queue))

    def take(self, number: int, text: Any, block: _Block, counts: bool) -> _Batch | None:
        """Put a text into the queue of its width; the batch, where that is complete."""
        ids = np.empty(0, np.int64) if is_missing(text) else self._ids(number, text)
        if counts:
            block.n_texts += 1
            block.n_cut += len(ids) > self._reading.length
        ids = ids[: self._reading.length]
        if len(ids) <= self._reading.skips_first:
            return None
        # A model that reads ahead would read what is filled up.
        width = min(_width(len(ids)), self._reading.length) if self._causal else len(ids)
        queue = self._queues.setdefault(width, [])
        queue.append((number, ids))
        return (self._queues.pop(width), width) if len(queue) == self._rows(width) else None

    def rest(self) -> Iterator[_Batch]:
        """The batches that could not be completed."""
        for width in sorted(self._queues):
            yield self._queues.pop(width), width

    def _rows(self, width: int) -> int:
        return max(1, self._batch_tokens // width)

    def _ids(self, number: int, text: Any) -> np.ndarray:
        try:
            return token_ids(self._model, text, self._reading.prepend_bos)
        except MiWidgetsError as reason:
            raise type(reason)(f"text {number:,}: {reason.message}", reason.hint) from None

    def code(self, batch: _Batch, block: _Block) -> None:
        """Run a batch, and put what is not zero into the block."""
        texts, width = batch
        ids = np.zeros((self._rows(width), width), np.int64)
        for row, (_, own) in zip(ids, texts, strict=False):
            row[: len(own)], row[len(own) :] = own, own[-1]
        x = self._coder.flat(_read(self._model, ids, self._coder.hook_in))
        first = int(self._reading.skips_first)
        sizes = [len(own) - first for _, own in texts]
        finite = torch.isfinite(x[:, first:]).all(-1).cpu().numpy()
        for run, entries in enumerate(self._encoded(x[:, first:], sizes)):
            number, own = texts[run]
            position, feature, value = entries
            counted = np.zeros(len(own), np.bool_)
            counted[first:] = finite[run, : sizes[run]]
            counted[first + position[~np.isfinite(value)]] = False
            kept = counted[first + position]
            block.n_not_finite += int((~counted[first:]).sum())
            places = np.arange(len(own), dtype=np.int32)
            block.add(
                text=np.full(len(own), number, np.int32), position=places, token_id=own.astype(np.int32),
                mark=marks(own), counted=counted,
                token=first + position[kept], feature=feature[kept].astype(np.int32), value=value[kept],
            )  # fmt: skip

    def _encoded(self, x: torch.Tensor, sizes: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of each of the first runs of `x` `[run, position, d_in]` the position, feature and value of what is not zero,
        as far as its size. What is encoded at once is of a shape that follows from that of `x` alone."""
        runs, width, d_sae = x.shape[0], x.shape[1], int(self._coder.d_sae)
        if runs * width * d_sae <= self._cells:
            acts = self._coder.encode(x)
            for run, size in enumerate(sizes):
                yield _not_zero(acts[run, :size])
            return
        several = width if getattr(self._coder, "reads_sequence", False) else max(1, self._cells // d_sae)
        for run, size in enumerate(sizes):
            found = []
            for start in range(0, size, several):
                acts = self._coder.encode(x[run : run + 1, start : start + several])[0]
                position, feature, value = _not_zero(acts[: size - start])
                found.append((position + start, feature, value))
            position, feature, value = map(np.concatenate, zip(*found, strict=True))
            yield position, feature, value


def _not_zero(acts: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position, feature and float32 value of what is not zero in `acts` `[position, feature]`; NaN is not."""
    acts = acts.detach().float()
    if acts.is_cpu:
        flat = acts.contiguous().numpy().reshape(-1)
        where = np.flatnonzero(flat != 0)  # of truth values: four times faster than of floats
        value = flat[where]
    else:
        flat = acts.reshape(-1)
        index = flat.nonzero()[:, 0]
        where, value = index.cpu().numpy(), flat[index].cpu().numpy()
    position, feature = np.divmod(where, acts.shape[1])
    return position, feature, value


def _width(n_tokens: int) -> int:
    """To how many tokens a text is filled up: an eighth more at most, or to a multiple of 8."""
    step = max(8, (1 << n_tokens.bit_length()) >> 4)
    return -(-n_tokens // step) * step


def marks(ids: np.ndarray) -> np.ndarray:
    """uint64 `[position]`: a number for each position of a text, as if drawn by chance, which follows from them."""
    digest = hashlib.blake2b(np.ascontiguousarray(ids, np.int64).tobytes(), digest_size=8).digest()
    places = np.arange(1, len(ids) + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        return mixed(np.uint64(int.from_bytes(digest, "little")) + places * np.uint64(0x9E3779B97F4A7C15))
