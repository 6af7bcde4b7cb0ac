"""The model's own way from the residual stream to logits: final norm, unembedding, output transform.

It goes through the model's modules in the model's dtype, so that the last layer's stream gives the model's logits
on every architecture, and tells the parts apart (gain, centring, bias, soft-cap) for whoever takes them one by one.
Runs no block and changes nothing. Knows nothing of prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.norms import Affine, probed
from mi_widgets.compute.undisturbed import without_gradients
from mi_widgets.data.interventions import AtHook, Change
from mi_widgets.errors import ModelError
from mi_widgets.models import lock_of

#: Modules of some Bridges between the last block and the logits that `ln_final` and `unembed` do not include.
BETWEEN = {"mlm_head", "prediction_head", "project_out", "hc_head", "sigma_map", "classifier_ln"}

#: First names of the hooks behind the last block.
BEHIND = {"ln_final", "unembed"}


def check_readable(interventions: Iterable[Change]) -> None:
    """Raise ModelError where an intervention is made behind the last block: what reads the stream as the untouched norm
    and unembedding do would not show it."""
    for change in interventions:
        if isinstance(change, AtHook) and change.hook_name.split(".")[0] in BEHIND:
            raise ModelError(
                f"{change.label} is behind the residual stream: it changes how the model reads its last one.",
                "Lenses and attributions show changes in the blocks; take this one away for them.",
            )


class Readout:
    """Reads vectors of the residual stream as the model reads its last one.

    Args:
        model: a TransformerBridge.

    Raises:
        ModelError: logits that are not made by a final norm and an unembedding from one residual stream.
    """

    def __init__(self, model: Any) -> None:
        modules = set(getattr(model, "_modules", None) or {})
        name = getattr(model.cfg, "model_name", None) or type(model).__name__
        if {"encoder_blocks", "decoder_blocks"} & modules or getattr(model, "unembed", None) is None:
            raise ModelError(
                f"{name} does not unembed one residual stream.", "Lenses and attributions read decoder-only models."
            )
        if BETWEEN & modules:
            raise ModelError(
                f"{name} has {', '.join(sorted(BETWEEN & modules))} before its logits.",
                "A lens or an attribution would not read the stream as this model does.",
            )
        if any(not getattr(block, "hook_out_is_single_residual_stream", True) for block in model.blocks):
            raise ModelError(f"{name} carries several residual streams.", "Views of it need one.")
        self._model = model
        self._norm = getattr(model, "ln_final", None)
        if self._norm is None and getattr(model.cfg, "normalization_type", None) is not None:
            raise ModelError(f"the final norm of {name} is not known.", "The stream cannot be read without it.")
        if not self._unembedding.is_floating_point():
            raise ModelError(f"the unembedding of {name} is quantised.", "Load it in float16, bfloat16 or float32.")

    @property
    def device(self) -> torch.device:
        """Where the unembedding stands."""
        return self._unembedding.device

    @property
    def d_vocab(self) -> int:
        """Size of the vocabulary."""
        return self._unembedding.shape[1]

    @property
    def _unembedding(self) -> torch.Tensor:
        return self._model.W_U  # [d_model, d_vocab], a view

    @without_gradients
    def normalized(self, stream: torch.Tensor) -> torch.Tensor:
        """`[row, d_model]` after the final norm, its statistics taken from each row itself."""
        return self._normalized(stream)

    @without_gradients
    def logits(self, stream: torch.Tensor, tokens: Sequence[int] | None = None) -> torch.Tensor:
        """float32 `[row, d_vocab]` of `stream` `[row, d_model]`: norm, unembedding, bias, output transform; of some
        tokens alone `[row, token]`."""
        return self.transformed(self._raw_logits(stream, tokens))

    def differentiable_logits(self, stream: torch.Tensor) -> torch.Tensor:
        """The same with its graph, for whoever takes gradients with respect to what `stream` was made from."""
        return self.transformed(self._raw_logits(stream))

    @without_gradients
    def raw_logits(self, stream: torch.Tensor) -> torch.Tensor:
        """The same before the output transform, in the model's dtype."""
        return self._raw_logits(stream)

    def _normalized(self, stream: torch.Tensor) -> torch.Tensor:
        with lock_of(self._model):  # the norm has hook points, which a pass on another thread listens to
            return self._through_norm(stream)

    def _through_norm(self, stream: torch.Tensor) -> torch.Tensor:
        dtype = self._unembedding.dtype
        if self._norm is None:
            return stream.to(self.device, dtype)
        # Of a model spread over devices the norm and the unembedding, which may be the embedding's, can be apart.
        weight = next(iter(self._norm.parameters()), self._unembedding)
        return self._norm(stream.to(weight.device, dtype)[None])[0].to(self.device)

    def _raw_logits(self, stream: torch.Tensor, tokens: Sequence[int] | None = None) -> torch.Tensor:
        weight, bias = self._unembedding.T, self.b_U
        if tokens is not None:
            weight, bias = weight[list(tokens)], None if bias is None else bias[list(tokens)]
        # In one step, as the model does it: in half precision a bias added afterwards is rounded twice.
        return torch.nn.functional.linear(self._normalized(stream), weight, bias)

    def transformed(self, logits: torch.Tensor) -> torch.Tensor:
        """float32 logits after what the architecture does to them last: soft-cap (Gemma 2), scale (Cohere, Granite)."""
        transform = getattr(getattr(self._model, "adapter", None), "apply_output_logits_transform", None)
        if transform is not None:
            return transform(logits).float()
        cap = getattr(self._model.cfg, "output_logits_soft_cap", None)  # TransformerLens 3
        return (cap * torch.tanh(logits / cap)).float() if cap is not None and cap > 0 else logits.float()

    @cached_property
    def b_U(self) -> torch.Tensor | None:  # noqa: N802 (TransformerLens's name)
        """`[d_vocab]`, or None where the architecture has no bias there."""
        bias = getattr(self._model, "b_U", None)
        return bias if bias is not None and bool(bias.any()) else None

    def unembedding(self, token: int) -> torch.Tensor:
        """float32 `[d_model]` on the CPU: the column of `W_U` that reads `token` from the normalized stream."""
        return self._unembedding[:, token].detach().float().cpu()

    # --- the norm, taken apart -----------------------------------------------------------------------

    @property
    def centred(self) -> bool:
        """Whether the final norm takes the mean away (LayerNorm, not RMSNorm)."""
        return self._affine.centred

    @cached_property
    def _affine(self) -> Affine:
        d_model = int(self._model.cfg.d_model)
        if self._norm is None:
            return Affine(False, np.ones(d_model), np.zeros(d_model))
        return probed(lambda row: self.normalized(row[0])[None], self._unembedding[:, 0])

    @property
    def gain(self) -> torch.Tensor:
        """float32 `[d_model]` on the CPU: what the final norm multiplies the normalized stream by."""
        return torch.from_numpy(self._affine.gain).float()

    @property
    def bias(self) -> torch.Tensor:
        """float32 `[d_model]` on the CPU: what the final norm adds; 0 for RMSNorm."""
        return torch.from_numpy(self._affine.bias).float()
