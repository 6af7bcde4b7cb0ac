"""What the Hugging Face model itself says: attention weights, values, output weights, without TransformerLens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The eager Hugging Face model in evaluation mode."""
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=dtype).eval()


def patterns(hugging: Any, ids: np.ndarray) -> np.ndarray:
    """`output_attentions` as float32 `[layer, head, query, key]`."""
    with torch.no_grad():
        out = hugging(torch.tensor(np.asarray(ids))[None], output_attentions=True, use_cache=False)
    return torch.stack([layer[0].float() for layer in out.attentions]).numpy()


def layers_of(hugging: Any) -> list[Any]:
    """The attention modules, first layer first."""
    names = {
        "GPT2Attention",
        "GPTNeoXAttention",
        "LlamaAttention",
        "MistralAttention",
        "Gemma2Attention",
        "Gemma3Attention",
        "Qwen3Attention",
        "GPTNeoSelfAttention",
        "GPTJAttention",
    }
    return [module for module in hugging.modules() if type(module).__name__ in names]


def values_and_writes(hugging: Any, ids: np.ndarray, heads: int) -> tuple[np.ndarray, np.ndarray]:
    """Value vectors `[layer, head, position, d_head]` and output weights `[layer, head, d_head, d_model]` from the
    modules' own projections; query heads of one group share a value vector."""
    values, writes = [], []
    for attention in layers_of(hugging):
        caught: list[torch.Tensor] = []
        name = next(name for name in ("v_proj", "c_attn", "query_key_value") if hasattr(attention, name))
        hook = getattr(attention, name).register_forward_hook(lambda _m, _i, out, into=caught: into.append(out[0]))
        with torch.no_grad():
            hugging(torch.tensor(np.asarray(ids))[None], use_cache=False)
        hook.remove()
        flat, count = caught[0], len(ids)
        if name == "c_attn":  # GPT-2: query, key and value of all heads, one after the other
            per_head = flat.chunk(3, -1)[2].reshape(count, heads, -1)
        elif name == "query_key_value":  # NeoX: query, key and value of each head, head after head
            per_head = flat.reshape(count, heads, 3, -1)[:, :, 2]
        else:
            d_head = attention.head_dim
            per_head = flat.reshape(count, -1, d_head)
            per_head = per_head.repeat_interleave(heads // per_head.shape[1], dim=1)
        d_head = per_head.shape[-1]
        place = next(name for name in ("o_proj", "c_proj", "dense", "out_proj") if hasattr(attention, name))
        weight = getattr(attention, place).weight.detach()
        write = weight if name == "c_attn" else weight.T  # Conv1D holds [in, out], Linear [out, in]
        values.append(per_head.permute(1, 0, 2).float())
        writes.append(write.reshape(heads, d_head, -1).float())
    return torch.stack(values).numpy(), torch.stack(writes).numpy()
