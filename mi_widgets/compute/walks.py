"""Single walks over rows of logits, the pieces that `distributions.py` is made of.

On the CPU numpy walks, on the calling thread: torch shares out each of these short walks among its threads and waits
for the slowest, which on a busy machine takes fifty times longer than the walk. Rows should be few enough to stay in
the processor's cache from one walk to the next (`FEW`). Knows nothing of models.
"""

from __future__ import annotations

import numpy as np
import torch

#: Numbers of an array that is walked over several times: 3.3 MB.
FEW = 820_000


def softmaxes(logits: torch.Tensor, p: torch.Tensor, log_p: torch.Tensor) -> None:
    """Probabilities of `logits` float32 `[row, d_vocab]` into `p`, their logarithms into `log_p`; NaN throughout a row
    that holds NaN or +inf."""
    if not logits.is_cpu:
        torch.log_softmax(logits, -1, out=log_p)
        torch.exp(log_p, out=p)
        return
    given, probs, logs = logits.numpy(), p.numpy(), log_p.numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        np.subtract(given, given.max(-1, keepdims=True), out=logs)
        np.exp(logs, out=probs)
        total = probs.sum(-1, keepdims=True)
        np.subtract(logs, np.log(total), out=logs)
        np.divide(probs, total, out=probs)


def difference(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """`left - right`, in `out`."""
    if not left.is_cpu:
        return torch.sub(left, right, out=out)
    with np.errstate(invalid="ignore"):
        np.subtract(left.numpy(), right.numpy(), out=out.numpy())
    return out


def products(left: torch.Tensor, right: torch.Tensor, scratch: torch.Tensor) -> torch.Tensor:
    """`[row]`: Σ left · right of each row. `scratch`, which may be one of them, is overwritten."""
    if not left.is_cpu:
        return torch.mul(left, right, out=scratch).sum(-1)
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.einsum("rv,rv->r", left.numpy(), right.numpy()))


def larger(logits: torch.Tensor, than: torch.Tensor, scratch: torch.Tensor) -> torch.Tensor:
    """int32 `[row]`: how many of each row are strictly larger than `than` `[row]`. `scratch` is overwritten."""
    if not logits.is_cpu:
        # As floats, since sums of truth values are ten times slower; they count exactly up to 2²⁴.
        return torch.gt(logits, than[:, None], out=scratch).sum(-1).int()
    flags = logits.numpy() > than.numpy()[:, None]
    return torch.tensor([np.count_nonzero(row) for row in flags], dtype=torch.int32)


def maxima(blocks: torch.Tensor) -> torch.Tensor:
    """`[row, block]`: the largest over the middle axis of `[row, place, block]`; NaN where there is one."""
    return torch.from_numpy(blocks.numpy().max(1)) if blocks.is_cpu else blocks.amax(1)
