"""A random coder for a tiny model, a corpus of random token ids, and what one pass over it by brute force finds."""

from __future__ import annotations

import numpy as np
import torch

from mi_widgets import sae

D_SAE = 24


def coder(d_sae=D_SAE, seed=0, hook="blocks.1.hook_resid_pre", skips_first=True, architecture="standard", d_in=32):
    """Active about half the time, but for feature 3, which never is."""
    draw = torch.Generator().manual_seed(seed)
    weights = {
        "W_enc": torch.randn(d_in, d_sae, generator=draw) / 0.02 / d_in**0.5,
        "b_enc": torch.randn(d_sae, generator=draw) / 10,
        "W_dec": torch.randn(d_sae, d_in, generator=draw),
        "b_dec": torch.zeros(d_in),
    }
    weights["b_enc"][3] = -1e6
    metadata = {"hook_name": hook} | ({"seqpos_slice": [1, None]} if skips_first else {})
    return sae.from_weights(architecture, weights, metadata=metadata, name="random")


def corpus(n_texts=40, longest=64, d_vocab=128, seed=0):
    """Lists of token ids, of many lengths."""
    draw = np.random.default_rng(seed)
    return [draw.integers(2, d_vocab, size=draw.integers(2, longest + 1)).tolist() for _ in range(n_texts)]


def brute_force(model, coder, texts, length=64):
    """Activations `[token, feature]` of all that counts, and text and position of each; one text at a time."""
    first = int(coder.skips_first)
    acts, where = [], []
    for number, text in enumerate(texts):
        ids = torch.tensor(text if not isinstance(text, str) else model.to_tokens(text)[0].tolist())[:length]
        with torch.no_grad():
            _, cache = model.run_with_cache(ids[None], names_filter=[coder.hook_in])
        acts.append(coder.encode(cache[coder.hook_in][0])[first:].numpy())
        where += [(number, position) for position in range(first, len(ids))]
    return np.concatenate(acts), np.array(where)
