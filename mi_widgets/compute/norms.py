"""A LayerNorm or RMSNorm of any make, taken apart by asking it: whether it takes the mean away, its gain, its bias.

Never by the name of its class. Knows nothing of which norm of a model it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from mi_widgets.compute.undisturbed import without_gradients


@dataclass(frozen=True)
class Affine:
    """A norm without its division: centring, gain and bias.

    Attributes:
        centred: the mean is taken away first.
        gain: float64 `[d_model]`.
        bias: float64 `[d_model]`.
    """

    centred: bool
    gain: np.ndarray
    bias: np.ndarray

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """`vector` `[d_model]` centred and times the gain; the bias is left out."""
        return self.gain * (vector - vector.mean() if self.centred else vector)

    def direction(self, direction: np.ndarray) -> np.ndarray:
        """The direction before the norm that reads what `direction` reads after it (the transpose of `apply`)."""
        read = self.gain * direction
        return read - read.mean() if self.centred else read


@without_gradients
def probed(norm: Callable[[torch.Tensor], torch.Tensor], like: torch.Tensor) -> Affine:
    """Centring, gain and bias of a norm, found by asking it: right also where its code adds 1 to the weight (Gemma).

    Args:
        norm: a LayerNorm or RMSNorm of any make.
        like: `[d_model]`, for number type and device.
    """
    d_model = like.shape[0]
    # No entry near the mean, and so large that the norm's epsilon is lost in it.
    probe = 100.0 * (1.0 - 2.0 * (torch.arange(d_model) % 2))
    plus, minus, shifted = (
        norm(row.to(like.device, like.dtype)[None, None])[0, 0].float().cpu().double()
        for row in (probe, -probe, probe + 3)
    )
    centred = bool(torch.allclose(plus, shifted, rtol=1e-2, atol=1e-3 * float(plus.abs().max() + 1e-9)))
    probe = probe.double()
    unit = probe - probe.mean() if centred else probe
    unit = unit / unit.pow(2).mean().sqrt()
    return Affine(centred, ((plus - minus) / 2 / unit).numpy(), ((plus + minus) / 2).numpy())
