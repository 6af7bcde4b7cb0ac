"""Attention patterns from nowhere, as a user's own arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np


def softmax(layers=2, heads=3, count=5, causal=True, seed=0, steepness=1):
    raw = np.exp(steepness * np.random.default_rng(seed).normal(size=(layers, heads, count, count)))
    raw = np.tril(raw) if causal else raw
    return (raw / raw.sum(-1, keepdims=True)).astype(np.float32)


def with_cells(patterns, cells, value):
    """The patterns with `value` in place of `base[cells]`; a record itself cannot be written to."""
    base = patterns.base.copy()
    base[cells] = value
    return replace(patterns, base=base, derived={})
