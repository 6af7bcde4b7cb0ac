"""What is read off rows of logits, in few passes over memory: the largest, ranks, and how far two rows are apart.

A row is as wide as the vocabulary and there are many, so time goes into walking over them; every function here walks
once or twice and takes its scratch space from the caller. Knows nothing of models.
"""

from __future__ import annotations

import torch

from mi_widgets.compute.walks import difference, larger, maxima, products

#: Rows are cut into blocks of this many logits to find the largest.
BLOCK = 128
#: Numbers of a chunk of logits: 32 MB. Larger blocks are mapped anew by the system each time, which costs a fifth.
CHUNK = 8_000_000
#: Below every log-probability that is not −inf.
LOWEST = -1e30


def rows_at_once(d_vocab: int) -> int:
    """How many rows of logits make a chunk."""
    return max(1, CHUNK // d_vocab)


def largest(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` largest of each row and where they stand, `[row, count]`, largest first, equal ones in order.

    The largest numbers lie in the blocks with the largest maxima, so only these are searched: on the CPU five times
    faster than `topk` of the whole row. A block is every so many numbers, not a run of them: so
    its maximum is taken along whole lines of memory.

    Args:
        logits: `[row, d_vocab]`.
        count: at most `d_vocab`.
    """
    rows, d_vocab = logits.shape
    blocks = d_vocab // BLOCK
    if blocks <= 2 * count:
        values, ids = logits.topk(count, dim=-1)
    else:
        whole = logits[:, : blocks * BLOCK].view(rows, BLOCK, blocks)
        chosen = maxima(whole).topk(count, dim=-1).indices.sort(-1).values
        within = whole.gather(2, chosen[:, None, :].expand(-1, BLOCK, -1)).flatten(1)
        values, places = torch.cat([within, logits[:, blocks * BLOCK :]], dim=1).topk(count, dim=-1)
        inside = places < BLOCK * count
        block = chosen.gather(1, places % count)
        ids = torch.where(inside, places // count * blocks + block, places - BLOCK * count + BLOCK * blocks)
    ids, order = ids.sort(-1)
    values, order = values.gather(-1, order).sort(dim=-1, descending=True, stable=True)
    return values, ids.gather(-1, order)


def ranks(logits: torch.Tensor, of: torch.Tensor, scratch: torch.Tensor) -> torch.Tensor:
    """int32 `[row, token]`: how many logits of the row are strictly larger; 0 is the likeliest.

    Args:
        logits: float32 `[row, d_vocab]`, at most 2²⁴ wide.
        of: float32 `[row, token]`, the tokens' own logits.
        scratch: float32, as large as `logits`; overwritten.
    """
    counts = [larger(logits, of[:, token], scratch) for token in range(of.shape[1])]
    return torch.stack(counts, dim=-1) if counts else of.int()


def divergence(p: torch.Tensor, log_p: torch.Tensor, log_q: torch.Tensor, scratch: torch.Tensor) -> torch.Tensor:
    """float32 `[row]`, nats: KL(p‖q) = Σ p (log p − log q), of distributions `[row, d_vocab]`.

    Summing the differences, not the difference of two sums, keeps small values exact. NaN where p or q is no
    distribution, or the divergence infinite. `scratch` is overwritten.
    """
    found = products(p, difference(log_p, log_q, scratch), scratch).clamp_(min=0.0)
    if not bool(found.isfinite().all()):
        forbidden = found.isnan() & ~p.amax(-1).isnan()  # a logit of −inf: 0 · −∞ counts as 0
        terms = p[forbidden] * (log_p[forbidden].clamp(min=LOWEST) - log_q[forbidden])
        found[forbidden] = torch.where(p[forbidden] == 0, 0.0, terms).sum(-1)
        found[found.isinf()] = torch.nan
    return found


def entropies(p: torch.Tensor, log_p: torch.Tensor, scratch: torch.Tensor) -> torch.Tensor:
    """float32 `[row]`, nats: −Σ p log p of distributions `[row, d_vocab]`, NaN of a row that is none. `scratch` is
    overwritten."""
    found = products(p, log_p, scratch).neg_()
    forbidden = found.isnan() & ~p.amax(-1).isnan() if bool(found.isnan().any()) else None
    if forbidden is not None and bool(forbidden.any()):  # a logit of −inf: 0 · −∞ counts as 0
        found[forbidden] = -(p[forbidden] * log_p[forbidden].clamp(min=LOWEST)).sum(-1)
    return found
