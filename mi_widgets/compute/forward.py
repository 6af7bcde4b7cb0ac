"""The only file that runs the user's model: one forward pass, chosen activations, nothing left behind.

Activations arrive on the CPU in float32, stacked over layers as they are produced, so that beside the bare pass
there is exactly one copy. Knows nothing of what they are for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mi_widgets.errors import ModelError
from mi_widgets.models import modules_of

#: Called in the pass with (row of the layer axis, activation without its batch axis, in its own dtype and device).
Reader = Callable[[int, torch.Tensor], None]


@dataclass(eq=False)
class Activations:
    """What one forward pass left.

    Attributes:
        layers: model layer number of each row.
        arrays: by site (e.g. `"attn.hook_pattern"`) float32 `[layer, …]`, the activation's own axes without batch.
        was_training: the model was in training mode and was put back into it.
        known: what has been found out about the arrays, so that several results from them need not do it again.
    """

    layers: tuple[int, ...]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    was_training: bool = False
    known: dict[str, Any] = field(default_factory=dict, repr=False)

    def only(self, layers: tuple[int, ...] | None) -> Activations:
        """These layers alone; itself if it holds no others."""
        if layers is None or layers == self.layers:
            return self
        rows = [self.layers.index(layer) for layer in layers]
        return Activations(layers, {site: array[rows] for site, array in self.arrays.items()}, self.was_training)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes for array in self.arrays.values())


class _Stack:
    """Collects one site over the layers into one preallocated array."""

    def __init__(self, site: str, rows: int) -> None:
        self.site, self.rows = site, rows
        self.filled: set[int] = set()
        self.array: torch.Tensor | None = None

    def __call__(self, row: int, activation: torch.Tensor) -> None:
        if self.array is None:
            self.array = torch.empty((self.rows, *activation.shape), dtype=torch.float32)
        if self.array.shape[1:] != activation.shape:
            raise ModelError(
                f"layers of this model differ in the shape of {self.site}: "
                f"{list(self.array.shape[1:])} and {list(activation.shape)}.",
                "Show layers of one shape at a time: layers=[…].",
            )
        self.array[row].copy_(activation)  # one copy: device to CPU, any dtype to float32
        self.filled.add(row)


def forward(
    model: Any,
    ids: np.ndarray,
    sites: Sequence[str],
    layers: Iterable[int] | None = None,
    readers: dict[str, Reader] | None = None,
) -> Activations:
    """Run the model once, in evaluation mode and without gradients.

    Hooks of the user's own stay active. Hooks, training flags, gradients and weights are as before afterwards,
    also after an exception.

    Args:
        model: a TransformerBridge.
        ids: int64 `[position]`.
        sites: hook names within a block, e.g. `"attn.hook_pattern"`; each becomes an array.
        layers: which blocks; all if None.
        readers: further functions by site, called in the pass after the site is stored.

    Returns:
        Activations with one array for each site.

    Raises:
        ModelError: a site that this architecture does not have, or whose hook never fired.
    """
    chosen = tuple(range(int(model.cfg.n_layers)) if layers is None else layers)
    stacks = {site: _Stack(site, len(chosen)) for site in sites}
    watched: list[str] = list(dict.fromkeys([*sites, *(readers or {})]))
    hooks = []
    for row, layer in enumerate(chosen):
        for site in watched:
            takers = [taker for taker in (stacks.get(site), (readers or {}).get(site)) if taker is not None]
            hooks.append((f"blocks.{layer}.{site}", _hook(row, takers)))
    tokens = torch.as_tensor(ids, dtype=torch.long)[None].to(_input_device(model))
    with evaluating(model) as was_training, torch.no_grad():
        try:
            model.run_with_hooks(tokens, fwd_hooks=hooks, return_type=None)
        except (ValueError, KeyError) as reason:
            if "hook" not in str(reason).lower():
                raise
            raise ModelError(
                f"this architecture has no {' or '.join(sites)} ({reason}).", "Choose another weighting or view."
            ) from reason
    for site, stack in stacks.items():
        if len(stack.filled) != len(chosen):
            raise ModelError(
                f"{site} was not computed in {len(chosen) - len(stack.filled)} of {len(chosen)} layers.",
                "This architecture's attention cannot be read there; choose layers=[…] that have it.",
            )
    return Activations(
        layers=chosen,
        arrays={site: stack.array.numpy() for site, stack in stacks.items() if stack.array is not None},
        was_training=was_training,
    )


def _hook(row: int, takers: list[Reader]) -> Callable[..., None]:
    def read(activation: torch.Tensor, hook: Any = None) -> None:  # noqa: ARG001 (TransformerLens names it)
        for taker in takers:
            taker(row, activation[0].detach())

    return read


def _input_device(model: Any) -> torch.device:
    """Where the token ids belong: the embedding's device, also for models spread over devices."""
    with contextlib.suppress(AttributeError, NotImplementedError):
        return model.original_model.get_input_embeddings().weight.device
    return next(model.parameters()).device


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[bool]:
    """Evaluation mode for the pass; every module's own flag is put back afterwards. Yields whether any was
    in training mode."""
    training = [module for module in modules_of(model) if module.training]
    for module in training:
        module.training = False
    try:
        yield bool(training)
    finally:
        for module in training:
            module.training = True
