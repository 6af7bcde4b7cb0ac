"""What is kept of a model's output: per position the likeliest next tokens, how sure it is, and the token that came.

The logits themselves, `[position, d_vocab]`, would be larger than all else a view needs. Knows nothing of hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from mi_widgets.compute.distributions import entropies, largest, ranks, rows_at_once
from mi_widgets.compute.walks import softmaxes

#: Likeliest next tokens kept for each position.
KEPT = 50

#: Each a site of `compute.forward`. `top_ids` int64 and `top_logits` float32 `[position, KEPT]`, likeliest first;
#: `normalizer` float32 `[position]`: log of the sum of exp(logit), so that log p = logit − normalizer, in nats;
#: `entropy` float32 `[position]` in nats; `next_logit`, `next_rank` float32 `[position]`: of the token that stands at
#: the next position (rank 0 is the likeliest; only strictly larger logits count), NaN at the last. Where logits are not
#: finite everything is NaN, and `top_ids` -1.
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
#: What `surprisals` wants.
SURPRISAL_SITES = ("output.normalizer", "output.next_logit")


def surprisals(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """float32 `[position]`: −log p of the token behind each position but the last, in nats, of `SURPRISAL_SITES`."""
    normalizer, logit = (arrays[site] for site in SURPRISAL_SITES)
    return (normalizer - logit)[:-1]


def is_output(site: str) -> bool:
    """Whether `site` is kept of the model's output, not read by a hook."""
    return site in OUTPUT_SITES or site == LAST_LOGITS


def foretells(sites: Sequence[str]) -> bool:
    """Whether any of `sites` says what comes next, which only a model that has not read it can say."""
    return bool({"output.next_logit", "output.next_rank", LAST_LOGITS} & set(sites))


def complete(found: dict[str, np.ndarray]) -> bool:
    """Whether every position of kept output has a distribution, as far as that was kept."""
    normalizer, last = found.get("output.normalizer"), found.get(LAST_LOGITS)
    every = normalizer is None or bool(np.isfinite(normalizer).all())
    return every and (last is None or bool(np.isfinite(last.max())))


def kept_output(
    logits: torch.Tensor, ids: torch.Tensor, sites: Sequence[str], heard: Callable[[], None] = lambda: None
) -> dict[str, np.ndarray]:
    """The output sites among `sites`, as `summarised` describes them, and `LAST_LOGITS`; no others are made."""
    summaries = [site for site in OUTPUT_SITES if site in sites]
    found = summarised(logits, ids, heard, summaries) if summaries else {}
    if LAST_LOGITS in sites:
        found[LAST_LOGITS] = logits[-1].float().cpu().numpy()
    return {site: found[site] for site in sites if is_output(site)}


def summarised(
    logits: torch.Tensor,
    ids: torch.Tensor,
    heard: Callable[[], None] = lambda: None,
    sites: Sequence[str] = OUTPUT_SITES,
) -> dict[str, np.ndarray]:
    """`OUTPUT_SITES` of one prompt.

    Args:
        logits: `[position, d_vocab]`, any dtype and device, after the architecture's output transform.
        ids: `[position]`, as run.
        heard: called before each chunk of positions; raises to give up.
        sites: only these: a distribution over the vocabulary takes several times as long as its likeliest tokens.
    """
    positions, d_vocab = logits.shape
    # An eighth of a chunk: the logits themselves are held meanwhile, and nothing is multiplied that would want more.
    kept, size = min(KEPT, d_vocab), max(1, rows_at_once(d_vocab) // 8)
    following = torch.cat([ids[1:], ids[:1]]).to(logits.device)  # the last has none; its numbers become NaN
    parts: dict[str, list[torch.Tensor]] = {}
    scratch = torch.empty((min(size, positions), d_vocab), device=logits.device)
    for start in range(0, positions, size):
        heard()
        chunk = logits[start : start + size].float()
        room, after = scratch[: len(chunk)], following[start : start + size, None]
        top, top_ids = largest(chunk, kept)
        values = {"output.top_ids": top_ids, "output.top_logits": top}
        if "output.normalizer" in sites or "output.entropy" in sites:
            p, log_p = torch.empty_like(chunk), torch.empty_like(chunk)
            softmaxes(chunk, p, log_p)
            values["output.normalizer"] = top[:, 0] - log_p.gather(-1, top_ids[:, :1])[:, 0]
            values["output.entropy"] = entropies(p, log_p, room)
        if "output.next_logit" in sites or "output.next_rank" in sites:
            came = chunk.gather(-1, after)
            values["output.next_logit"] = came[:, 0]
            values["output.next_rank"] = ranks(chunk, came, room)[:, 0].float()
        for site, value in values.items():
            parts.setdefault(site, []).append(value.cpu())
    found = {site: torch.cat(values).numpy() for site, values in parts.items()}
    for site in {"output.next_logit", "output.next_rank"} & set(found):
        found[site][-1] = np.nan
    # One NaN or +inf among the logits of a position leaves it without a distribution: no token is the likeliest.
    lost = ~np.isfinite(found["output.top_logits"][:, 0])
    if lost.any():
        for site, values in found.items():
            values[lost] = -1 if site == "output.top_ids" else np.nan
    return {site: found[site] for site in sites}
