"""Small random coders for tiny models, some of whose features are active at every position."""

from __future__ import annotations

from typing import Any

import torch

from mi_widgets import sae


def made_coder(
    d_in: int,
    hook: str = "blocks.0.hook_resid_post",
    hook_out: str | None = None,
    architecture: str = "topk",
    d_out: int | None = None,
    d_sae: int = 40,
    seed: int = 0,
    skips_first: bool = False,
    settings: dict[str, Any] | None = None,
    name: str = "",
) -> sae.SparseCoder:
    """A coder of `d_sae` features at `hook` (a transcoder to `hook_out`, where that is given)."""
    draw = torch.Generator().manual_seed(seed)
    d_out = d_out or d_in

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    weights = {
        "W_enc": normal(d_in, d_sae),
        "b_enc": 0.1 * normal(d_sae),
        "W_dec": normal(d_sae, d_out) / d_out**0.5,
        "b_dec": 0.1 * normal(d_out),
    }
    if hook_out is not None:
        architecture = "transcoder" if architecture == "standard" else f"{architecture}_transcoder"
    if architecture.startswith("jumprelu"):
        weights["threshold"] = 0.1 * normal(d_sae).abs()
    if "skip" in architecture:
        weights["W_skip"] = 0.2 * normal(d_out, d_in)
    if architecture == "gated":
        gates = {key: 0.1 * normal(d_sae) for key in ("b_gate", "r_mag", "b_mag")}
        weights = {key: weights[key] for key in ("W_enc", "W_dec", "b_dec")} | gates
    chosen = {"k": 5} if architecture.startswith("topk") else {}
    metadata = {"hook_name": hook, "seqpos_slice": [1, None] if skips_first else [None]}
    metadata |= {"hook_name_out": hook_out} if hook_out is not None else {}
    return sae.from_weights(architecture, weights, chosen | (settings or {}), metadata, name=name or architecture)
