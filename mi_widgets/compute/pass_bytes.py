"""How many bytes a pass holds while it is made, and what it keeps takes; from the model's shape alone.

Runs no model and knows nothing of time. And how many a batch may take unless told.
"""

from __future__ import annotations

import psutil
import torch

from mi_widgets.compute.forward import PATTERN, SCORES, hook_of, in_block
from mi_widgets.compute.output import KEPT, LAST_LOGITS
from mi_widgets.models import ModelInfo

#: Numbers that one block holds at its peak for each position: so many residual streams, and for each of its keys so
#: many in every head.
BLOCK_WIDTHS, BLOCK_SQUARES = 12, 3
#: The same of every block, kept for the way back (measured on GPT-2's and Llama's shapes whose weights want gradients;
#: half the widths where they do not).
GRAPH_WIDTHS, GRAPH_SQUARES = 32, 1
FLOAT = 4
#: Bytes that a batch may take unless told, and the share of what is free that it takes at most.
MEMORY, MEMORY_SHARE = 1_000_000_000, 0.25


def batch_bytes(device: torch.device) -> int:
    """What a batch on this device may take: at most a quarter of what is free and 1 GB."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return int(min(MEMORY, MEMORY_SHARE * free))


def kept_bytes(info: ModelInfo, site: str, blocks: int, rows: int, keys: int) -> int:
    """Of one run's array of a site that `compute.forward` keeps.

    Args:
        info: the model's.
        site: as `compute.forward` takes it.
        blocks: how many it is kept of.
        rows: positions that are run.
        keys: positions in all.
    """
    if site == LAST_LOGITS:
        return info.d_vocab * FLOAT
    if site.startswith("output.top_"):
        return rows * KEPT * (2 * FLOAT if site.endswith("ids") else FLOAT)
    if site.startswith("output."):
        return rows * FLOAT
    if "@" in site:  # of one position: as good as nothing
        return 0
    hook = hook_of(site)
    if hook in (PATTERN, SCORES) or "pattern" in hook or "scores" in hook:
        each = info.n_heads * keys
    else:
        each = info.d_model * (4 if hook.startswith("mlp.") and hook != "mlp.hook_out" else 1)
    return rows * each * FLOAT * (blocks if in_block(site) else 1)


def working_bytes(info: ModelInfo, rows: int, keys: int, gradients: bool = False, start: int = 0) -> int:
    """Of one run of a pass at its peak: in a block, and in the logits, which the model always makes.

    Args:
        info: the model's.
        rows: positions that are run.
        keys: positions in all.
        gradients: a pass forward and back.
        start: the first block that is run.
    """
    block = rows * (BLOCK_WIDTHS * info.d_model + BLOCK_SQUARES * info.n_heads * keys)
    logits = rows * info.d_vocab
    if not gradients:
        return FLOAT * max(block, logits)
    graph = rows * (GRAPH_WIDTHS * info.d_model + GRAPH_SQUARES * info.n_heads * keys) * (info.n_layers - start)
    return FLOAT * (graph + max(block, 2 * logits))  # the logits, and their gradient
