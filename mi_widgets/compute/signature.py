"""Knows a model again by all its weights: a few numbers of each, the same on every device and in every precision, and
others after a fine-tune or an edit of one layer.

Knows nothing of who asks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from mi_widgets.compute.undisturbed import without_gradients
from mi_widgets.models import weights_fingerprint

#: Weights read at a time: what the processor's cache holds.
CHUNK = 1 << 18
#: How far a number of the same model may be off, as a share of the weight's size: what adding up in another order does.
ROUNDING = 1e-5
#: The same between a model cast to bfloat16 and one cast to float16, neither of which is a rounding of the other.
ROUNDED_APART = 1e-2


@dataclass(frozen=True, eq=False)
class WeightSignature:
    """What tells one model from another.

    Attributes:
        dtype: number type of most of its weights.
        numbers: by name of the weight: its size (root of the sum of squares) and its product with a pseudo-random
            direction, rounded to bfloat16, and that product rounded to float16. A cast of the model to either leaves
            one of the two as it was. Weights that are all zero are left out: an absent bias and one of zeros are the
            same model.
    """

    dtype: str
    numbers: dict[str, tuple[float, float, float]]

    def differing(self, other: WeightSignature) -> list[str]:
        """Names of the weights that differ; none for the same model."""
        return list(_differing(self, other))


@lru_cache(maxsize=16)  # asked in every edit of a prompt
def _differing(one: WeightSignature, other: WeightSignature) -> tuple[str, ...]:
    apart = {one.dtype, other.dtype} == {"bfloat16", "float16"}
    allowed = ROUNDED_APART if apart else ROUNDING
    absent = (0.0, 0.0, 0.0)
    return tuple(
        name
        for name in dict.fromkeys([*one.numbers, *other.numbers])
        if not _same(one.numbers.get(name, absent), other.numbers.get(name, absent), allowed)
    )


def _same(numbers: tuple[float, float, float], others: tuple[float, float, float], allowed: float) -> bool:
    size = max(numbers[0], others[0])
    if not math.isfinite(numbers[0] + others[0]):
        return not (math.isfinite(numbers[0]) or math.isfinite(others[0]))
    return any(abs(one - other) <= allowed * size for one, other in zip(numbers[1:], others[1:], strict=True))


_known: WeakKeyDictionary[Any, tuple[int, WeightSignature]] = WeakKeyDictionary()


def signature(model: Any) -> WeightSignature:
    """The signature of `model`: computed once, and again after its weights have changed.

    Reads every weight: on one slow CPU core 1 s for a gigabyte of float32 and 2 s for one of bfloat16. Edits through
    `.data` go unseen, as they do by `models.fingerprint`.
    """
    key = weights_fingerprint(model)
    known = _known.get(model)
    if known is None or known[0] != key:
        known = _known[model] = (key, _signature(model))
    return known[1]


@without_gradients
def _signature(model: Any) -> WeightSignature:
    weights = dict(_weights(getattr(model, "original_model", None) or model))
    counts: dict[str, int] = {}
    for weight in weights.values():
        dtype = str(weight.dtype).removeprefix("torch.")
        counts[dtype] = counts.get(dtype, 0) + weight.numel()
    numbers = {name: _numbers(weight) for name, weight in weights.items()}
    return WeightSignature(
        max(counts, key=lambda dtype: counts[dtype], default="none"),
        {name: found for name, found in numbers.items() if found[0] != 0},
    )


def _weights(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight once, by its name without TransformerLens's own wrappings: parameters, and what else a checkpoint
    would hold of numbers (TransformerLens keeps an absent unembedding's bias so, or as a parameter, by version)."""
    kept = module.state_dict(keep_vars=True).keys()
    buffers = ((name, buffer) for name, buffer in module.named_buffers() if name in kept)
    for name, tensor in (*module.named_parameters(), *buffers):
        whole = isinstance(tensor, torch.nn.Parameter) or tensor.is_floating_point()
        if whole and not tensor.is_meta:  # a weight kept on the disk cannot be read here
            yield name.replace("._original_component", ""), tensor


def _numbers(weight: torch.Tensor) -> tuple[float, float, float]:
    """Size, and the projection in both roundings, of one weight."""
    flat = weight.detach().reshape(-1)
    if flat.device.type not in {"cpu", "cuda"}:
        flat = flat.cpu()  # some devices have no float64
    size, *projections = torch.zeros(3, dtype=torch.float64, device=flat.device)
    direction = _direction().to(flat.device)
    for place, chunk in enumerate(flat.split(CHUNK)):
        for rounded, projection in zip((torch.bfloat16, torch.float16), projections, strict=True):
            values = chunk.to(rounded).float()
            projection += _factor(place) * torch.dot(values, direction[: len(values)]).double()
            if rounded == torch.bfloat16:
                size += torch.dot(values, values).double()
    return math.sqrt(size.item()), projections[0].item(), projections[1].item()


@cache
def _direction() -> torch.Tensor:
    """+1 or −1 for each place in a chunk."""
    return torch.from_numpy(np.random.default_rng(0).choice(np.array([-1.0, 1.0], np.float32), CHUNK))


def _factor(place: int) -> float:
    """One for each chunk, so that two cannot change places unseen."""
    return float(np.random.default_rng([1, place]).normal())
