"""How much of an attribution's residue the rounding of a half-precision model explains, and no more.

Every number such a model writes down is off by up to half a step of its type, relative to its size. What that does to a
logit difference is summed up here, step by step. Knows nothing of modules.
"""

from __future__ import annotations

import numpy as np
import torch

#: Steps that round independently are summed as squares. By Hoeffding's inequality as many times the root of the sum of
#: squared half steps is passed in less than one of a thousand runs if each were as wrong as it can be, which few are.
DEVIATIONS = 4.0
#: Roundings of one number on its way through a norm, its gain and the probe that measured that gain.
IN_NORM = 4.0


def half_step(dtype: torch.dtype) -> float:
    """Largest relative error of one rounding to `dtype`; that of bfloat16 for types narrower than that."""
    return torch.finfo(dtype).eps / 2 if dtype.is_floating_point and dtype.itemsize > 1 else 2.0**-8


def explained(
    dtype: torch.dtype, steps: np.ndarray, normed: np.ndarray, logits: np.ndarray, direction: np.ndarray
) -> float:
    """The largest residue, in logits, that rounding to `dtype` explains.

    Args:
        dtype: of the model.
        steps: float64 `[step, d_model]`: every vector that was rounded on its way into the final stream.
        normed: float64 `[d_model]`: what each dimension of the normed stream adds to the difference, logits.
        logits: float64 `[logit]`: those that the difference is of, each rounded for itself and once more when scaled.
        direction: float64 `[d_model]`: how the difference reads the final stream.
    """
    unit = half_step(dtype)
    spread = ((steps * direction) ** 2).sum() + IN_NORM * (normed**2).sum()
    # The scale of the norm is one number for all dimensions, so its rounding does not average out.
    return unit * float(DEVIATIONS * np.sqrt(spread) + abs(normed.sum()) + 2 * np.abs(logits).sum())


def additions(
    first: np.ndarray, attention: np.ndarray, mlps: np.ndarray | None, put: dict[int, np.ndarray] | None = None
) -> np.ndarray:
    """float64 `[step, d_model]`: the residual stream after each addition, and what the blocks add.

    Args:
        first: float64 `[d_model]`, the stream before the first block.
        attention: float64 `[layer, d_model]`.
        mlps: the same, or None.
        put: by layer, what an intervention added to the stream; None for nothing.
    """
    steps = []
    for layer, vector in enumerate(attention):
        steps += [vector] if mlps is None else [vector, mlps[layer]]
        steps += [put[layer]] if put and layer in put else []
    added = np.stack(steps)
    return np.concatenate([first[None], first + added.cumsum(0), added])


def units_explained(dtype: torch.dtype, added: np.ndarray, direction: np.ndarray) -> float:
    """The same for heads or neurons that are to sum to what their layers added: a matrix product, and a norm behind it
    where there is one, were rounded.

    Args:
        dtype: of the model.
        added: float64 `[layer, d_model]`.
        direction: float64 `[d_model]`.
    """
    return half_step(dtype) * float(DEVIATIONS * np.sqrt(IN_NORM * ((added * direction) ** 2).sum()))
