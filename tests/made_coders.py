"""Small random sparse coders."""

import torch

from mi_widgets import sae


def made(architecture="standard", d_in=6, d_sae=10, d_out=None, settings=None, hook="blocks.1.hook_resid_post", **own):
    """A small random coder; `own` replaces tensors, None takes one away."""
    draw = torch.Generator().manual_seed(0)
    d_out = d_out or d_in
    weights = {
        "W_enc": torch.randn(d_in, d_sae, generator=draw),
        "b_enc": torch.randn(d_sae, generator=draw),
        "W_dec": torch.randn(d_sae, d_out, generator=draw),
        "b_dec": torch.randn(d_out, generator=draw),
    } | own
    weights = {key: tensor for key, tensor in weights.items() if tensor is not None}
    metadata = {"hook_name": hook} if hook else {}
    return sae.from_weights(architecture, weights, settings, metadata, name="mine")
