"""What is kept of a model's output: per position the likeliest next tokens, how sure it is, and the token that came.

The logits themselves, `[position, d_vocab]`, would be larger than all else a view needs. Knows nothing of hooks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

#: Likeliest next tokens kept for each position.
KEPT = 50
#: Logits reduced at a time: about this many numbers.
CHUNK = 8_000_000

#: Each a site of `compute.forward`. `top_ids` int64 and `top_logits` float32 `[position, KEPT]`, likeliest first;
#: `normalizer` float32 `[position]`: log of the sum of exp(logit), so that log p = logit − normalizer, in nats;
#: `entropy` float32 `[position]` in nats; `next_logit`, `next_rank` float32 `[position]`: of the token that stands at
#: the next position (rank 0 is the likeliest; only strictly larger logits count), NaN at the last.
OUTPUT_SITES = (
    "output.top_ids",
    "output.top_logits",
    "output.normalizer",
    "output.entropy",
    "output.next_logit",
    "output.next_rank",
)
#: One more site, for who chooses the next token: float32 `[d_vocab]`, every logit of the last position.
LAST_LOGITS = "output.last_logits"


def is_output(site: str) -> bool:
    """Whether `site` is kept of the model's output, not read by a hook."""
    return site in OUTPUT_SITES or site == LAST_LOGITS


def kept_output(logits: torch.Tensor, ids: torch.Tensor, sites: Sequence[str]) -> dict[str, np.ndarray]:
    """The output sites among `sites`, as `summarised` describes them, and `LAST_LOGITS`; no others are made."""
    found = summarised(logits, ids) if set(sites) & set(OUTPUT_SITES) else {}
    if LAST_LOGITS in sites:
        found[LAST_LOGITS] = logits[-1].float().cpu().numpy()
    return {site: found[site] for site in sites if is_output(site)}


def summarised(logits: torch.Tensor, ids: torch.Tensor) -> dict[str, np.ndarray]:
    """`OUTPUT_SITES` of one prompt.

    Args:
        logits: `[position, d_vocab]`, any dtype and device, after the architecture's output transform.
        ids: `[position]`, as run.
    """
    positions, d_vocab = logits.shape
    kept = min(KEPT, d_vocab)
    following = torch.cat([ids[1:], ids[:1]]).to(logits.device)  # the last has none; its numbers become NaN
    parts: dict[str, list[torch.Tensor]] = {site: [] for site in OUTPUT_SITES}
    size = max(1, CHUNK // d_vocab)
    for start in range(0, positions, size):
        chunk = logits[start : start + size].float()
        top, top_ids = chunk.topk(kept, dim=-1)
        normalizer = chunk.logsumexp(-1)
        target = chunk.gather(-1, following[start : start + size, None])
        mean = torch.einsum("pv,pv->p", (chunk - normalizer[:, None]).exp(), chunk)
        for site, value in zip(
            OUTPUT_SITES,
            (top_ids, top, normalizer, normalizer - mean, target[:, 0], (chunk > target).sum(-1).float()),
            strict=True,
        ):
            parts[site].append(value.cpu())
    found = {site: torch.cat(values).numpy() for site, values in parts.items()}
    for site in ("output.next_logit", "output.next_rank"):
        found[site][-1] = np.nan
    return found
