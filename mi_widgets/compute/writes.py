"""What the heads and neurons of one layer write to the residual stream, and what each is worth along one direction.

Works on activations of one position; every sum is compared with what the layer did add, so that an architecture that
works otherwise is refused, never misread. Runs no model. Knows nothing of logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.norms import probed
from mi_widgets.compute.undisturbed import without_gradients
from mi_widgets.errors import ModelError

#: How far a sum may be from what the model added, relative to its length, by the model's number type.
TOLERANCES = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 1e-2}
#: The same for bfloat16 and narrower types.
COARSE = 5e-2


def tolerance_of(dtype: torch.dtype) -> float:
    """How far, relative to its length, a sum of parts may be from the vector it makes up in a model of `dtype`."""
    return TOLERANCES.get(dtype, COARSE)


@dataclass(frozen=True)
class Written:
    """What the units (head dimensions, neurons) of one layer add along a direction.

    Attributes:
        contribution: float64 `[unit]`.
        worth: float64 `[unit]`: the contribution of a unit at 1.
        bias: what the layer adds whatever its units are.
        has_bias: the architecture has such a bias.
    """

    contribution: np.ndarray
    worth: np.ndarray
    bias: float
    has_bias: bool


@without_gradients
def written(
    units: np.ndarray,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    norm: Any,
    added: np.ndarray,
    direction: np.ndarray,
    tolerance: float,
    what: str,
) -> Written:
    """Split what a layer added to the residual stream, `scale · norm(units · weight + bias)`, over its units.

    A norm after the layer (Gemma 2 and 3, OLMo 2) is linear once its scale is frozen; that scale, and a multiplier of
    what is added (Granite), follow from `added` itself.

    Args:
        units: float32 `[unit]`, at one position.
        weight: `[unit, d_model]`, in the model's own number type and on its device.
        bias: `[d_model]`, or None.
        norm: the norm's module, or None.
        added: float32 `[d_model]`: what the layer added to the stream.
        direction: float64 `[d_model]`.
        tolerance: largest relative error of the sum.
        what: name of the units, for the message.

    Raises:
        ModelError: the units do not make up what was added.
    """
    weight = weight.detach()
    if weight.ndim != 2 or weight.shape != (len(units), len(added)):
        raise ModelError(f"{what} have weights {list(weight.shape)}, not [{len(units)}, {len(added)}].")
    wide = weight.float()
    total = torch.from_numpy(np.ascontiguousarray(units, np.float32)).to(wide.device) @ wide
    total = total.cpu().double().numpy()
    constant = np.zeros_like(total) if bias is None else bias.detach().float().cpu().double().numpy()
    affine = None if norm is None else probed(norm, weight[0])
    inner = total + constant
    shaped, after = (inner, 0.0) if affine is None else (affine.apply(inner), affine.bias)
    length = float(shaped @ shaped)
    scale = float(shaped @ (added - after)) / length if length else float(affine is None)
    error = _relative(added - after - scale * shaped, added)
    if not error <= tolerance:  # also where it is not a number
        raise ModelError(f"{what} do not sum to what the layer adds (they are off by {100 * error:.2g} %).")
    back = scale * (direction if affine is None else affine.direction(direction))
    worth = (wide @ torch.from_numpy(back.astype(np.float32)).to(wide.device)).cpu().double().numpy()
    return Written(
        contribution=units.astype(np.float64) * worth,
        worth=worth,
        bias=float(constant @ back) + (0.0 if affine is None else float(affine.bias @ direction)),
        has_bias=bias is not None or (affine is not None and bool(affine.bias.any())),
    )


def _relative(error: np.ndarray, whole: np.ndarray) -> float:
    """Length of `error` relative to that of `whole`."""
    length = float(np.linalg.norm(error))
    return length / max(float(np.linalg.norm(whole)), 1e-30) if length else 0.0


def head_write(block: Any, units: np.ndarray, added: np.ndarray, direction: np.ndarray, tolerance: float) -> Written:
    """`written` for the attention of one block; `units` is z, `[head · d_head]`."""
    weight = block.attn.W_O  # [head, d_head, d_model]
    flat = weight.reshape(-1, weight.shape[-1])
    norm = _module(block, "ln1_post")
    return written(units, flat, _bias(block.attn, "b_O"), norm, added, direction, tolerance, "heads")


def neuron_write(block: Any, units: np.ndarray, added: np.ndarray, direction: np.ndarray, tolerance: float) -> Written:
    """`written` for the MLP of one block; `units` are the activations after the nonlinearity (and gate), `[neuron]`."""
    norm = _module(block, "ln2_post")
    return written(units, block.mlp.W_out, _bias(block.mlp, "b_out"), norm, added, direction, tolerance, "neurons")


def _module(block: Any, name: str) -> Any:
    """The Hugging Face module under a Bridge's: asking it runs none of the user's hooks."""
    bridge = (getattr(block, "_modules", None) or {}).get(name)
    return getattr(bridge, "original_component", None) or bridge


def _bias(part: Any, name: str) -> torch.Tensor | None:
    try:
        return getattr(part, name)
    except AttributeError:
        return None
