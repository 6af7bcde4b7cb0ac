"""Scores that say what kind of head each head is, measured on repeated random tokens.

Pure: a model in, a table out. Knows nothing of sessions or widgets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mi_widgets.compute.attention import PATTERN
from mi_widgets.compute.forward import forward_steps
from mi_widgets.compute.not_finite import not_finite
from mi_widgets.compute.step import Step, Steps, run, saying
from mi_widgets.data.integers import integer
from mi_widgets.errors import ModelError
from mi_widgets.models import describe, has_tokenizer

#: Random sequences measured, and tokens in each before it is repeated.
SEQUENCES, LENGTH = 4, 50


def head_scores(model: Any, seed: int = 0, progress: bool = False) -> pd.DataFrame:
    """Score every head on random tokens that are repeated once.

    Each of 4 sequences is: BOS (where the tokenizer has one), 50 tokens drawn uniformly from the vocabulary
    without its special tokens (fewer where the context is shorter), and the same tokens again.

    Args:
        model: a TransformerBridge.
        seed: of the draw.
        progress: show a bar.

    Returns:
        One row per head: layer, head, and the mean attention weight
        `previous_token`: from each position to the one before;
        `duplicate_token`: from the second copy to the same token in the first;
        `induction`: from the second copy to the token after the first occurrence (Olsson et al. 2022);
        `entropy`: mean entropy of the rows, in bits;
        `first_token`: from every position but the first to position 0.
        `attrs["basis"]` says what was measured. Scores of numbers that are not finite are NaN, and it says so.

    Raises:
        ModelError: a context or vocabulary too small to repeat anything.
    """
    return run(head_score_steps(model, seed), progress, "head scores")


def head_score_steps(model: Any, seed: int = 0, pausing: bool = False) -> Steps[pd.DataFrame]:
    """`head_scores` as steps, one forward pass each; with `pausing` also between the blocks of each pass."""
    info = describe(model)
    tokenizer = model.tokenizer if has_tokenizer(model) else None
    special = set(getattr(tokenizer, "all_special_ids", None) or []) if tokenizer is not None else set()
    bos = getattr(tokenizer, "bos_token_id", None) if tokenizer is not None else None
    vocabulary = np.array([token for token in range(info.d_vocab) if token not in special])
    room = LENGTH if info.n_ctx is None else min(LENGTH, (info.n_ctx - (bos is not None)) // 2)
    if room < 2 or len(vocabulary) < 2:
        raise ModelError(
            f"head scores need a repeated sequence; this model reads {info.n_ctx} positions of "
            f"{len(vocabulary)} tokens.",
            "Sort by scores of the prompt itself instead.",
        )
    draw = np.random.default_rng(integer("seed", seed))
    sums: dict[str, np.ndarray] = {}
    n_heads, where = info.n_heads, ""
    for sequence in range(SEQUENCES):
        yield (step := Step(sequence, SEQUENCES))
        half = draw.choice(vocabulary, room, replace=room > len(vocabulary))
        ids = np.concatenate([[bos] if bos is not None else [], half, half]).astype(np.int64)
        found = yield from saying(forward_steps(model, ids, (PATTERN,), pausing=pausing), lambda _, step=step: step)
        pattern = found.arrays[PATTERN]
        if not where and not np.isfinite(pattern.sum()):
            where = not_finite(model, ids, found.known)
        n_heads = pattern.shape[1]
        for name, grid in _scores(pattern, room, start=len(ids) - room).items():
            sums[name] = sums.get(name, 0) + grid / SEQUENCES
    layer, head = np.meshgrid(range(info.n_layers), range(n_heads), indexing="ij")
    table = pd.DataFrame(
        {"layer": layer.ravel(), "head": head.ravel()} | {name: grid.ravel() for name, grid in sums.items()}
    )
    table.attrs["basis"] = (
        f"Measured on {SEQUENCES} random sequences of {room} tokens, each repeated once (seed {seed})."
    ) + (f" Numbers of this model are not finite {where}; scores made from them are missing." if where else "")
    return table


def _scores(pattern: np.ndarray, room: int, start: int) -> dict[str, np.ndarray]:
    """Each score as `[layer, head]`, from `pattern` `[layer, head, query, key]` whose second copy begins at `start`."""
    second = np.arange(start, start + room)
    with np.errstate(invalid="ignore"):
        logs = np.log2(np.where(pattern == 0, 1.0, pattern))  # NaN, where half precision overflowed, stays NaN
    found = {
        "previous_token": np.diagonal(pattern, -1, axis1=2, axis2=3).mean(-1),
        "duplicate_token": pattern[:, :, second, second - room].mean(-1),
        "induction": pattern[:, :, second, second - room + 1].mean(-1),
        "entropy": -(pattern * logs).sum(-1).mean(-1),
        "first_token": pattern[:, :, 1:, 0].mean(-1),
    }
    return {name: np.where(np.isfinite(grid), grid, np.nan) for name, grid in found.items()}
