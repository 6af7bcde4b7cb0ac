"""Activations for a coder to learn from: a buffer of bounded size is filled, shuffled, served in batches, and filled
again.

What fits as a whole is read once. The order follows from the seed and from how far one has come (`Place`), so that a
training that goes on later sees the same batches. Knows nothing of what learns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.activations import PATTERN, SCORES
from mi_widgets.compute.corpus import Corpus
from mi_widgets.compute.forward import forward
from mi_widgets.compute.pieces import pieces_of
from mi_widgets.errors import DataError, ModelError, UnreadError, choose
from mi_widgets.models import Prompt, describe
from mi_widgets.sae.training_options import Options

#: Activations that scale and bias start from.
SAMPLE = 50_000
#: Pieces in one pass where the model is not on the CPU, which gains nothing by it.
AT_ONCE = 32

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass
class Place:
    """How far the activations have been served.

    Attributes:
        chunk: filled buffers before this one.
        start: pieces of text before the first of this buffer.
        served: batches of it.
    """

    chunk: int = 0
    start: int = 0
    served: int = 0

    def to_dict(self) -> dict[str, int]:
        """As JSON has it."""
        return asdict(self)


class Stream(ABC):
    """Batches of activations, without end."""

    def __init__(self, seed: int, place: Place) -> None:
        self._seed, self.place = seed, place
        #: Activations that are held, `[position, width]`: what is read, and what is to be explained.
        self.x = self.y = torch.empty(0)
        #: All there is fits.
        self._whole = False
        self._next = 0

    @abstractmethod
    def _fill(self) -> Iterator[None]:
        """Set `x` and `y` from `place.start` on, and what comes next; yields between two passes."""

    def sample(self) -> Batch:
        """Some of what is held."""
        return self.x[:SAMPLE], self.y[:SAMPLE]

    def batches(self, size: int) -> Iterator[Batch | None]:
        """What is to be learned from, `[position, width]` twice; None between two passes of the model."""
        while True:
            if not len(self.x) or not self._whole:
                yield from self._fill()
            count = len(self.x)
            order = np.random.default_rng([self._seed, self.place.chunk]).permutation(count)
            for batch in range(self.place.served, max(1, count // size)):
                rows = torch.from_numpy(order[batch * size : (batch + 1) * size])
                self.place.served = batch + 1
                x = self.x[rows]
                yield x, x if self.y is self.x else self.y[rows]
            self.place = Place(self.place.chunk + 1, self._next, 0)


class Given(Stream):
    """Activations that are there already."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, seed: int, place: Place) -> None:
        super().__init__(seed, place)
        self.x, self.y, self._whole = x, y, True

    def _fill(self) -> Iterator[None]:
        yield from ()


class FromTexts(Stream):
    """What stands at hooks of the user's model while it reads texts.

    Args:
        model: a TransformerBridge.
        texts: text, token ids or chat messages.
        hook: in full; what is read there.
        hook_out: what is to be explained; `hook` itself for an autoencoder.
        options: of the training.
        prepend_bos: as for `tokenize`.
        place: where to begin.

    Raises:
        DataError: a hook that the model does not have, or texts that are none.
    """

    def __init__(
        self,
        model: Any,
        texts: Iterable[Prompt],
        hook: str,
        hook_out: str,
        options: Options,
        prepend_bos: bool | None,
        place: Place,
    ) -> None:
        super().__init__(options.seed, place)
        self._model, self._texts, self._hooks = model, Corpus(texts), (hook, hook_out)
        for name in self._hooks:
            check_hook(model, name)
        self._options, self._prepend_bos = options, prepend_bos
        on_cpu = next(iter(model.parameters())).device.type == "cpu"
        self._at_once = AT_ONCE if describe(model).causal and not on_cpu else 1
        self._left: Iterator[np.ndarray] | None = None
        self._read = 0
        self._buffers: tuple[torch.Tensor, ...] = ()

    def _fill(self) -> Iterator[None]:
        options, count = self._options, 0
        first = self.place.start
        if self._left is None or self._read != first:
            self._left, self._read = islice(self._pieces(), first, None), first
        while True:
            group = list(islice(self._left, self._at_once))
            self._read += len(group)
            if not group and first and not count:  # they were at their end: from the beginning
                self._left, self._read, first = self._pieces(), 0, 0
                continue
            if not group:
                self._whole = first == 0
                break
            for arrays in self._ran(group):
                if not self._buffers:
                    self._buffers = self._made(arrays)
                many = len(arrays[0])
                for buffer, array in zip(self._buffers, arrays, strict=False):
                    buffer.numpy()[count : count + many] = array
                count += many
            yield None
            if self._buffers and count + self._at_once * options.length > len(self._buffers[0]):
                break
        if not count:
            raise DataError(
                "the texts hold no position to learn from.",
                "Give more texts" + ("; position 0 of each is left out." if options.skip_first else "."),
            )
        self._next = self._read if group else 0
        self.x, self.y = self._buffers[0][:count], self._buffers[-1][:count]
        self.y = self.x if len(self._buffers) == 1 else self.y

    def _pieces(self) -> Iterator[np.ndarray]:
        shortest = 1 + self._options.skip_first
        pieces = pieces_of(self._model, self._texts, self._options.length, self._prepend_bos)
        return (piece for piece in pieces if len(piece) >= shortest)

    def _made(self, arrays: tuple[np.ndarray, ...]) -> tuple[torch.Tensor, ...]:
        """A buffer for each hook; memory is taken as it is filled."""
        options = self._options
        least = max(options.batch_size, 2 * self._at_once * options.length)
        rows = max(least, options.buffer_bytes // (4 * sum(array.shape[1] for array in arrays)))
        return tuple(torch.from_numpy(np.empty((rows, array.shape[1]), np.float32)) for array in arrays)

    def _ran(self, group: list[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        """float32 `[position, width]` of each piece at each hook, once where both are one."""
        ids = np.zeros((len(group), max(map(len, group))), np.int64)
        for row, piece in zip(ids, group, strict=True):
            row[: len(piece)] = piece  # a causal model reads nothing of what stands behind
        hooks = tuple(dict.fromkeys(self._hooks))
        try:
            found = forward(self._model, ids, hooks, until=self._hooks[1]).arrays
        except UnreadError as reason:
            raise DataError(
                f"{hooks[0]} was not computed before {hooks[-1]}.", "A transcoder reads what stands before its output."
            ) from reason
        first = int(self._options.skip_first)
        for row, piece in enumerate(group):
            arrays = tuple(_vectors(hook, found[hook][row], len(piece))[first:] for hook in hooks)
            for hook, array in zip(hooks, arrays, strict=True):
                if not np.isfinite(array).all():
                    raise ModelError(
                        f"{hook} holds numbers that are not finite: nothing can be learned from them.",
                        "Look for overflow: half precision, or an edited weight.",
                    )
            yield arrays


def check_hook(model: Any, hook: Any) -> None:
    """Raise DataError unless the model has `hook`, by its full name."""
    known = model.hook_dict
    if hook not in known:
        block = str(hook).rpartition(".")[0] + "."
        near = [name for name in known if name.startswith(block)] or [f"blocks.{n}.hook_resid_post" for n in (0, 1)]
        raise DataError(f"this model has no hook {hook!r}.", choose(hook, near[:16], "Give one in full, such as"))


def _vectors(hook: str, array: np.ndarray, positions: int) -> np.ndarray:
    """`[position, width]` of what stands at a hook, heads side by side."""
    apart = array.ndim == 3 and hook.endswith("hook_z")
    if (array.ndim != 2 and not apart) or hook.endswith((PATTERN, SCORES)) or array[0].size < 2:
        raise DataError(
            f"{hook} holds {list(array.shape)}, not a vector for each position.",
            "Give a residual stream, an MLP's input or output, or hook_z.",
        )
    return array[:positions].reshape(min(positions, len(array)), -1)
