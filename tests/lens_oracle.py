"""What a lens must read, from the Hugging Face model alone: hidden states caught with torch hooks, then its own final
norm, head and soft-cap, one vector at a time in float64. TransformerLens is never asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def parts(hugging: Any) -> tuple[list[Any], Any, Any]:
    """Blocks, final norm and unembedding."""
    if hasattr(hugging, "transformer"):
        return list(hugging.transformer.h), hugging.transformer.ln_f, hugging.lm_head
    if hasattr(hugging, "gpt_neox"):
        head = hugging.embed_out if hasattr(hugging, "embed_out") else hugging.lm_head
        return list(hugging.gpt_neox.layers), hugging.gpt_neox.final_layer_norm, head
    return list(hugging.model.layers), hugging.model.norm, hugging.lm_head


def places(block: Any) -> dict[str, tuple[Any, str]]:
    """Where each stream stands in a block: the module, and whether it is its input or its output."""
    found = {"resid_pre": (block, "input"), "resid_post": (block, "output")}
    if hasattr(block, "pre_feedforward_layernorm"):  # Gemma 2 and 3: norms behind attention and MLP
        middle = block.pre_feedforward_layernorm
        added = {"attn_out": block.post_attention_layernorm, "mlp_out": block.post_feedforward_layernorm}
    elif hasattr(block, "ln_2"):
        middle, added = block.ln_2, {"attn_out": block.attn, "mlp_out": block.mlp}
    elif hasattr(block, "attention"):  # NeoX: both read the same stream, nothing stands between them
        middle, added = None, {"attn_out": block.attention, "mlp_out": block.mlp}
    else:
        middle, added = block.post_attention_layernorm, {"attn_out": block.self_attn, "mlp_out": block.mlp}
    if middle is not None:
        found["resid_mid"] = (middle, "input")
    return found | {name: (module, "output") for name, module in added.items()}


def hidden(hugging: Any, ids: np.ndarray, stream: str) -> torch.Tensor:
    """`[layer, position, d_model]` in the model's own precision."""
    caught: list[torch.Tensor] = []

    def take(value: Any) -> None:
        caught.append((value[0] if isinstance(value, tuple) else value)[0].detach().clone())

    handles = []
    for block in parts(hugging)[0]:
        module, side = places(block)[stream]
        if side == "input":

            def before(_module: Any, args: Any, named: Any) -> None:
                take(args[0] if args else named["hidden_states"])

            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(lambda _module, _args, out: take(out)))
    with torch.no_grad():
        hugging(torch.tensor(ids)[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return torch.stack(caught)


def read(hugging: Any, vectors: torch.Tensor) -> np.ndarray:
    """float64 logits `[…, d_vocab]` of `vectors` `[…, d_model]`."""
    _, norm, head = parts(hugging)
    with torch.no_grad():
        logits = head(norm(vectors.to(head.weight.dtype)))
        cap = getattr(hugging.config, "final_logit_softcapping", None)
        if cap:
            logits = torch.tanh(logits / cap) * cap
    return logits.double().numpy()


def logits(hugging: Any, ids: np.ndarray, stream: str) -> np.ndarray:
    """float64 `[row, position, d_vocab]`: `stream` at every layer, then the model's own output if that is not the last
    of them already."""
    rows = read(hugging, hidden(hugging, ids, stream))
    if stream == "resid_post":
        return rows
    with torch.no_grad():
        own = hugging(torch.tensor(np.asarray(ids))[None], use_cache=False).logits[0].double().numpy()
    return np.concatenate([rows, own[None]])


def numbers(rows: np.ndarray, ids: np.ndarray, targets: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    """Every array of a `LogitLens`, by loops over rows and positions of float64 logits `[row, position, d_vocab]`."""
    count_rows, count = rows.shape[:2]
    log_p = np.empty_like(rows)
    for row in range(count_rows):
        for position in range(count):
            shifted = rows[row, position] - rows[row, position].max()
            log_p[row, position] = shifted - np.log(np.exp(shifted).sum())
    p = np.exp(log_p)
    cells = (count_rows, count)
    out = {name: np.full(cells, np.nan) for name in ("entropy", "kl", "change", "next_prob")}
    out |= {name: np.full(cells, -1) for name in ("final_rank", "next_rank")}
    out["target_probs"], out["target_ranks"] = np.empty((*cells, len(targets))), np.empty((*cells, len(targets)), int)
    for row in range(count_rows):
        for position in range(count):
            here, own = rows[row, position], log_p[row, position]
            final = log_p[-1, position]
            out["entropy"][row, position] = -(p[row, position] * own).sum()
            out["kl"][row, position] = (np.exp(final) * (final - own)).sum()
            if row:
                out["change"][row, position] = (p[row, position] * (own - log_p[row - 1, position])).sum()
            out["final_rank"][row, position] = (here > here[rows[-1, position].argmax()]).sum()
            if position + 1 < count:
                following = ids[position + 1]
                out["next_prob"][row, position] = p[row, position, following]
                out["next_rank"][row, position] = (here > here[following]).sum()
            for place, token in enumerate(targets):
                out["target_probs"][row, position, place] = p[row, position, token]
                out["target_ranks"][row, position, place] = (here > here[token]).sum()
    return out | {"p": p, "log_p": log_p}
