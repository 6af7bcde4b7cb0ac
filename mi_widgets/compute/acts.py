"""What interventions do inside a pass: functions that take an activation and give what stands instead.

Each changes one part of it at some positions and keeps its number type and device. Knows nothing of models, nor of how
it was decided what to put where.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.forward import Write
from mi_widgets.data.interventions import Intervention
from mi_widgets.errors import InterventionError

#: What `Write.act` is.
Act = Callable[[torch.Tensor, int], torch.Tensor | None]
#: Hooks of a block: the residual stream in its middle and at its end, and what the MLP adds to it between them.
MIDDLE, MLP, LAST = "hook_resid_mid", "hook_mlp_out", "hook_resid_post"


@dataclass(frozen=True)
class Part:
    """Which part of an activation is changed: one head, one neuron, or all of it."""

    head: int | None
    neuron: int | None
    n_heads: int

    def of(self, activation: torch.Tensor) -> torch.Tensor:
        """A view `[run, position, …]`."""
        if self.head is not None:
            apart = activation.unflatten(-1, (self.n_heads, -1)) if activation.ndim == 3 else activation
            return apart[:, :, self.head]
        return activation if self.neuron is None else activation[:, :, self.neuron]


@dataclass(frozen=True, eq=False)
class Putting:
    """Puts rows in place of what stands at some positions.

    Attributes:
        part: what of the activation.
        places: positions of the prompt, counted from the start.
        rows: float32 `[position, …]`, one for each of them.
        count: positions of the prompt.
        beyond: put at every position after the prompt; None to leave those.
    """

    part: Part
    places: tuple[int, ...]
    rows: np.ndarray
    count: int
    beyond: np.ndarray | None

    def __call__(self, activation: torch.Tensor, first: int) -> torch.Tensor | None:
        """As `Write.act`."""
        last = first + activation.shape[1]
        here = [order for order, place in enumerate(self.places) if first <= place < last]
        if not here and (self.beyond is None or last <= self.count):
            return None
        changed = activation.clone()
        part = self.part.of(changed)
        if here:
            part[:, [self.places[order] - first for order in here]] = _like(activation, self.rows[here])
        if self.beyond is not None and last > self.count:
            part[:, max(self.count - first, 0) :] = _like(activation, self.beyond)
        return changed


@dataclass(frozen=True, eq=False)
class PuttingEdges:
    """Puts numbers in place of attention from some queries to some keys.

    Attributes:
        heads: whose pattern.
        queries: positions of the prompt, counted from the start.
        keys: likewise.
        numbers: float32 `[head, query, key]` of these.
    """

    heads: tuple[int, ...]
    queries: tuple[int, ...]
    keys: tuple[int, ...]
    numbers: np.ndarray

    def __call__(self, activation: torch.Tensor, first: int) -> torch.Tensor | None:
        """As `Write.act`, of a pattern `[run, head, query, key]`."""
        count, width = activation.shape[2:]
        start = max(0, first + count - width)  # of a sliding window only the last keys were kept
        rows = [order for order, query in enumerate(self.queries) if first <= query < first + count]
        columns = [order for order, key in enumerate(self.keys) if start <= key < start + width]
        if not rows or not columns:
            return None
        changed = activation.clone()
        at = np.ix_(
            self.heads, [self.queries[row] - first for row in rows], [self.keys[one] - start for one in columns]
        )
        changed[(slice(None), *map(torch.from_numpy, at))] = _like(activation, self.numbers[:, rows][:, :, columns])
        return changed


@dataclass(frozen=True, eq=False)
class Adding:
    """Adds a direction at some positions (all if None)."""

    hook: str
    part: Part
    places: tuple[int, ...] | None
    direction: np.ndarray

    def __call__(self, activation: torch.Tensor, first: int) -> torch.Tensor | None:
        """As `Write.act`."""
        count = activation.shape[1]
        here = range(count) if self.places is None else [place - first for place in self.places]
        here = [place for place in here if 0 <= place < count]
        if not here:
            return None
        changed = activation.clone()
        part = self.part.of(changed)
        part[:, here] = part[:, here] + _like(activation, self.direction)
        return changed


def _like(activation: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    """`values` as a tensor of the activation's device and number type."""
    return torch.from_numpy(np.array(values)).to(activation.device, activation.dtype)


class Middle:
    """Changes the residual stream in the middle of a block whose hook there stands beside the stream: the MLP reads
    the hook, but the stream passes it by. So what was changed is carried to the end of the block."""

    def __init__(self, layer: int) -> None:
        self._hooks = {site: f"blocks.{layer}.{site}" for site in (MIDDLE, MLP, LAST)}
        self._pass = threading.local()  # one pass on each thread

    def before(self) -> list[Write]:
        """What acts before all interventions: at the block's end they see the stream as it was changed."""
        return [Write(self._hooks[MIDDLE], self._begin), Write(self._hooks[LAST], self._carry)]

    def after(self) -> list[Write]:
        """What acts after all of them."""
        return [Write(self._hooks[MLP], self._hear)]

    def changing(self, act: Act) -> Act:
        """`act`, remembering what it changes."""

        def change(activation: torch.Tensor, first: int) -> torch.Tensor | None:
            changed = act(activation, first)
            if changed is not None:
                self._pass.change = self._pass.change + (changed.float() - activation.float())
            return changed

        return change

    def _begin(self, activation: torch.Tensor, _first: int) -> None:
        self._pass.stream, self._pass.change = activation, torch.zeros_like(activation, dtype=torch.float32)

    def _hear(self, activation: torch.Tensor, _first: int) -> None:
        self._pass.mlp = activation

    def _carry(self, activation: torch.Tensor, _first: int) -> torch.Tensor:
        held = self._pass
        stream, change, mlp = held.stream, held.change, held.mlp
        del held.stream, held.change, held.mlp
        carried = (stream.float() + change).to(stream.dtype) + mlp
        return torch.where((change != 0).any(-1, keepdim=True), carried, activation)


class Own:
    """A function of the user's, called as TransformerLens calls a hook."""

    def __init__(self, change: Intervention, point: Any) -> None:
        self._function, self._point, self._hook = change.function, point, change.hook_name
        self._name = getattr(change.function, "__name__", type(change.function).__name__)

    def __call__(self, activation: torch.Tensor, _first: int) -> torch.Tensor | None:
        """As `Write.act`."""
        shape, own = list(activation.shape), activation.clone()  # what it changes in place is nobody else's
        try:
            given = self._call(own)
        except Exception as reason:
            raise InterventionError(
                f"your function {self._name} at {self._hook} raised {type(reason).__name__}: {reason}",
                "Correct the function; the model is as it was.",
            ) from reason
        if given is None:
            return own
        if not isinstance(given, torch.Tensor):
            raise InterventionError(
                f"your function {self._name} at {self._hook} returned {type(given).__name__}, not a tensor of shape "
                f"{shape}.",
                "Return the changed activation, or None where it was changed in place.",
            )
        if list(given.shape) != shape:
            raise InterventionError(
                f"your function {self._name} at {self._hook} returned shape {list(given.shape)}; the activation has "
                f"{shape}.",
                "Return a tensor of the activation's own shape.",
            )
        return given.to(activation.device, activation.dtype)

    def _call(self, activation: torch.Tensor) -> Any:
        function: Any = self._function
        try:
            inspect.signature(function).bind(activation, hook=self._point)
        except (TypeError, ValueError):  # its second parameter has another name, or it does not tell
            return function(activation, self._point)
        return function(activation, hook=self._point)
