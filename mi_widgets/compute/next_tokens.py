"""How the model expected a prompt: log-probability and rank of each token, entropy and the likeliest next tokens.

Reads the model's own output only (`compute/output.py`). Knows nothing of sessions, widgets or pages.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mi_widgets.compute.answers import named
from mi_widgets.compute.forward import Activations, forward
from mi_widgets.compute.interventions import Interventions, resolve
from mi_widgets.compute.not_finite import not_finite, refusal
from mi_widgets.compute.output import KEPT, OUTPUT_SITES, surprisals
from mi_widgets.data import NextTokens, Tokens
from mi_widgets.data.integers import is_integer
from mi_widgets.data.next_tokens import agreement
from mi_widgets.errors import DataError
from mi_widgets.models import Prompt, describe, has_tokenizer, token_strings, tokenize


def next_tokens(
    model: Any,
    prompt: Prompt,
    top_k: int = 10,
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
) -> NextTokens:
    """Surprisal of every token of one prompt and the likeliest next tokens at every position, in one forward pass.

    Args:
        model: a TransformerBridge.
        prompt: text, token ids or chat messages.
        top_k: candidates kept for each position, 1 to 50.
        prepend_bos: None means what `model.to_tokens(prompt)` does.
        interventions: made in the run: `mw.Ablate`, `mw.Patch`, `mw.Add`, `mw.Splice`, `mw.Clamp` …

    Returns:
        NextTokens: `log_prob` (nats) and `rank` of each token given those before it, `surprisal` (bits; Hale 2001,
        Levy 2008), `entropy` (nats) and the candidates after each position, totals and perplexity.

    Raises:
        PromptError: a prompt that cannot be run.
        ModelError: a model whose positions read later ones: they have no probability given those before; or an
            intervention that cannot act.
        DataError: another `top_k`, or an intervention on what does not exist.
    """
    check_top_k(top_k)
    tokens = tokenize(model, prompt, prepend_bos)
    edits = resolve(model, tokens, interventions, prepend_bos=prepend_bos)
    activations = forward(
        model, tokens.ids, next_token_sites(), (), writes=edits.writes, interventions=edits.interventions
    )
    return read_next_tokens(model, tokens, activations, top_k)


def next_token_sites() -> tuple[str, ...]:
    """What a forward pass must keep for `read_next_tokens`."""
    return OUTPUT_SITES


def read_next_tokens(model: Any, tokens: Tokens, activations: Activations, top_k: int = 10) -> NextTokens:
    """`NextTokens` from activations of `next_token_sites()`; runs nothing, but where logits are not finite the model,
    to say where that began.

    Args:
        model: names the tokens.
        tokens: the prompt as run.
        activations: of that prompt.
        top_k: candidates kept for each position, 1 to 50.

    Raises:
        DataError: another `top_k`.
    """
    check_top_k(top_k)
    found = {site.removeprefix("output."): activations.arrays[site] for site in OUTPUT_SITES}
    normalizer = found["normalizer"]
    probabilities = np.exp(found["top_logits"] - normalizer[:, None])
    top_ids = found["top_ids"][:, :top_k].astype(np.int32)
    log_prob = np.full(len(tokens), np.nan, np.float32)
    log_prob[1:] = -surprisals(activations.arrays)
    rank = np.full(len(tokens), -1, np.int32)
    rank[1:] = np.nan_to_num(found["next_rank"][:-1], nan=-1)
    finite = bool(np.isfinite(normalizer).all())
    info = describe(model)
    return NextTokens(
        tokens=tokens,
        log_prob=log_prob,
        rank=rank,
        entropy=found["entropy"],
        top_ids=top_ids,
        top_probs=probabilities[:, :top_k].copy(),  # not a view that keeps all of them alive
        names=named(model, [*np.unique(top_ids), *tokens.ids]),
        max_error=agreement(tokens.ids, log_prob, found["top_ids"], probabilities),
        d_vocab=info.d_vocab,
        model=info.label,
        not_finite="" if finite else not_finite(model, tokens.ids, activations.known, activations.writes),
        interventions=activations.interventions,
    )


def likeliest(
    model: Any, tokens: Tokens, activations: Activations, position: int, count: int
) -> list[tuple[int, str, float]]:
    """The `count` likeliest tokens after `position` (at most 50): id, display string, probability.

    Args:
        model: names the tokens.
        tokens: the prompt as run.
        activations: of `next_token_sites()`.
        position: in the prompt; negative counts from the end.
        count: how many.

    Raises:
        ModelError: logits that are not finite: none is the largest.
    """
    logits = activations.arrays["output.top_logits"][position, :count]
    probabilities = np.exp(logits - activations.arrays["output.normalizer"][position])
    ids = activations.arrays["output.top_ids"][position, :count].tolist()
    if ids and ids[0] < 0:
        raise refusal(not_finite(model, tokens.ids, activations.known, activations.writes))
    strings = token_strings(model.tokenizer if has_tokenizer(model) else None, ids)
    return list(zip(ids, strings, probabilities.tolist(), strict=True))


def check_top_k(top_k: int) -> None:
    """Raise DataError unless `top_k` is a number of candidates that is kept."""
    if not is_integer(top_k) or not 1 <= top_k <= KEPT:
        raise DataError(f"top_k={top_k!r}.", f"Keep 1 to {KEPT} candidates for each position.")
