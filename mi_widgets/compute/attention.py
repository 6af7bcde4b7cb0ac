"""Attention patterns of one prompt, plain and weighted, exactly as the model ran them.

Pure: model and tokens in, `AttentionPatterns` out. Knows nothing of sessions, widgets or pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.forward import PATTERN, SCORES, Activations, Reader, forward, unwritten
from mi_widgets.compute.interventions import Interventions, resolve
from mi_widgets.compute.not_finite import not_finite
from mi_widgets.compute.stream_changes import hooks_of
from mi_widgets.data import AttentionPatterns, Tokens
from mi_widgets.data.attention import WEIGHTINGS, patterns_from_arrays, reads_outside
from mi_widgets.data.integers import integers, word
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import ModelInfo, Prompt, describe, has_tokenizer, token_strings, tokenize

VALUES = "attn.hook_v"

#: The activations each weighting is made from.
SITES: dict[str, tuple[str, ...]] = {
    "pattern": (PATTERN,),
    "scores": (SCORES,),
    "value": (PATTERN, VALUES),
    "output": (PATTERN, VALUES),
}
#: How far softmax(scores) may be from the pattern before the scores are refused (half precision reaches 0.01).
SOFTMAX_TOLERANCE = 2e-2
#: Queries of each head on which that is checked, spread over the prompt.
CHECKED_QUERIES = 32


def attention_patterns(
    model: Any,
    prompt: Prompt,
    layers: Iterable[int] | None = None,
    weighting: str = "pattern",
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
) -> AttentionPatterns:
    """Attention of every head on one prompt.

    Weightings:
        `"pattern"`: softmax weights as run; rows sum to 1 (to less where the architecture has attention sinks).
        `"scores"`: what the softmax saw (after scaling, position terms and soft-cap), NaN where masked.
        `"value"`: weight × ‖v‖, the norm of the value vector read.
        `"output"`: ‖weight × v·W_O‖, the norm of what the read writes to the residual stream (Kobayashi et al.
        2020), before any norm that the architecture puts after attention (Gemma 2 and 3).

    Args:
        model: a TransformerBridge.
        prompt: text, token ids or chat messages.
        layers: only these layers; all if None.
        weighting: see above.
        prepend_bos: None means what `model.to_tokens(prompt)` does.
        interventions: made in the run: `mw.Ablate`, `mw.Patch`, `mw.Add`, `mw.Splice`, `mw.Clamp` …

    Returns:
        AttentionPatterns with `.values` float32 `[layer, head, query, key]`.

    Raises:
        PromptError: a prompt that cannot be run.
        ModelError: an architecture whose patterns or scores cannot be read truthfully, or an intervention that cannot
            act.
        DataError: an unknown weighting or layer, or an intervention on what does not exist.
    """
    check_weighting(weighting)
    tokens = tokenize(model, prompt, prepend_bos)
    chosen = check_layers(model, layers)
    edits = resolve(model, tokens, interventions, prepend_bos=prepend_bos)
    activations = forward(
        model, tokens.ids, SITES[weighting], chosen, readers_for(weighting), edits.writes, edits.interventions
    )
    return assemble(model, tokens, activations, weighting)


def patterns_from_cache(cache: Any, tokens: Any = None, layers: Iterable[int] | None = None) -> AttentionPatterns:
    """The patterns in a TransformerLens cache (or a dict of activations) of one prompt.

    Args:
        cache: holds `blocks.L.attn.hook_pattern` `[head, query, key]` or `[1, head, query, key]` of some layers.
        tokens: strings or ids `[position]` or `[1, position]`; positions are numbered if None.
        layers: only these; all that the cache holds if None.

    Raises:
        DataError: no patterns in the cache, a layer that it lacks, or several prompts.
    """
    keys = [key for key in cache.keys() if key.startswith("blocks.") and key.endswith(PATTERN)]  # noqa: SIM118
    held = sorted({int(key.split(".")[1]) for key in keys})
    if not held:
        raise DataError(
            "the cache holds no attention patterns.",
            'Make it with names_filter=lambda name: name.endswith("attn.hook_pattern").',
        )
    layers = held if layers is None else integers("layers", layers)
    if not set(layers) <= set(held) or not layers:
        raise DataError(f"the cache lacks layers {sorted(set(layers) - set(held))}.", f"It holds {held}.")
    arrays = [cache[f"blocks.{layer}.{PATTERN}"] for layer in layers]
    arrays = [array[0] if array.ndim == 4 and array.shape[0] == 1 else array for array in arrays]
    if arrays[0].ndim == 4:
        raise DataError(f"the cache holds {arrays[0].shape[0]} prompts.", "Show one at a time: cache one prompt.")
    model = getattr(cache, "model", None)
    if model is None:
        return _checked(patterns_from_arrays(arrays, tokens, layers=layers))
    info = describe(model)
    record = Tokens.of(tokens, arrays[0].shape[-1])
    if (record.ids >= 0).all():
        ids = record.ids.tolist()
        record = Tokens(record.ids, tuple(token_strings(model.tokenizer if has_tokenizer(model) else None, ids)))
    return _checked(
        patterns_from_arrays(
            arrays,
            record,
            layers=layers,
            kv_heads=info.kv_heads,
            windows=tuple(info.windows[layer] for layer in layers),
            model=info.label,
        ),
        has_sinks(model, layers),
    )


def _checked(patterns: AttentionPatterns, sinks: bool = False) -> AttentionPatterns:
    """Patterns of a cache with the self-check of a run: there NaN is never a mask."""
    error = _row_sum_error(patterns.base, sinks)
    where = "" if np.isfinite(error) else "in the cache"
    return replace(patterns, row_sum_error=error, sinks=sinks, not_finite=where)


def check_weighting(weighting: str) -> None:
    """Raise DataError unless `weighting` is known."""
    word("weighting", weighting, WEIGHTINGS)


def check_layers(model: Any, layers: Iterable[int] | None) -> tuple[int, ...] | None:
    """The layers as a tuple, or None for all; DataError if one does not exist."""
    if layers is None:
        return None
    chosen, count = tuple(dict.fromkeys(integers("layers", layers))), int(model.cfg.n_layers)
    wrong = [layer for layer in chosen if not 0 <= layer < count]
    if wrong or not chosen:
        raise DataError(f"layers {wrong or list(chosen)} do not exist.", f"This model has layers 0 to {count - 1}.")
    return chosen


def readers_for(weighting: str) -> dict[str, Reader]:
    """What must be watched in the pass beside storing: for scores, that their softmax is the pattern."""
    if weighting != "scores":
        return {}
    seen: dict[int, torch.Tensor] = {}
    unchecked: set[int] = set()  # layers whose pattern came first; a pass may read scores of fewer layers than patterns

    def remember(row: int, scores: torch.Tensor) -> None:
        if row in unchecked:
            raise ModelError("this architecture has no pre-softmax scores to read.", 'Use weighting="pattern".')
        seen.clear()  # one layer at a time; a hook may fire twice (compatibility mode calls it by both names)
        seen[row] = scores

    def compare(row: int, pattern: torch.Tensor) -> None:
        scores = seen.get(row)
        if scores is None:
            unchecked.add(row)
            return
        # Every query would cost as much as the pass itself; a layer whose scores are not these differs everywhere.
        count = scores.shape[-2]
        rows = list(range(count - 1, -1, -max(1, count // CHECKED_QUERIES)))
        difference = scores[..., rows, :].float().softmax(-1) - pattern[..., rows, :].float()
        error = float(difference.nan_to_num(0.0).abs().max())  # what is not finite is said in the result
        if error > SOFTMAX_TOLERANCE:
            raise ModelError(
                f"the scores that can be read are not what this architecture's softmax sees (their softmax differs "
                f"from the pattern by {error:.2g}).",
                'Use weighting="pattern".',
            )

    # The pattern as the softmax made it, whatever an intervention puts in its place.
    return {SCORES: remember, unwritten(PATTERN): compare}


def assemble(model: Any, tokens: Tokens, activations: Activations, weighting: str) -> AttentionPatterns:
    """Patterns from activations of `SITES[weighting]`; shares their memory. Where numbers are not finite they are
    missing in the result, which says where that began: for this alone the model is run again.

    Raises:
        ModelError: weights that cannot be read, or shapes that are no attention of this prompt.
    """
    info = describe(model)
    scores = weighting == "scores"
    base = activations.arrays[SCORES if scores else PATTERN]
    count = len(tokens)
    if base.ndim != 4 or base.shape[2:] != (count, count):
        raise ModelError(
            f"attention of this architecture has axes {list(base.shape[1:])}, not [head, query, key] of {count} "
            "positions.",
            "It cannot be shown as patterns.",
        )
    # three weightings rest on the same patterns
    kept = activations.known.setdefault("scores" if scores else "pattern", {})
    if not kept:
        kept |= (
            _scores_kept(base)
            if scores
            else _patterns_kept(base, has_sinks(model, activations.layers), _own_rows(model, activations))
        )
        kept["masks"] = _masks(kept["base"], info, activations.layers)
    causal, windows = kept["masks"]
    heads = base.shape[1]
    key_weight = _key_weight(model, activations, heads, weighting) if weighting in {"value", "output"} else None
    finite = kept["finite"]
    if key_weight is not None and not np.isfinite(key_weight).all():
        finite, key_weight = False, np.where(np.isfinite(key_weight), key_weight, np.float32(np.nan))
    return AttentionPatterns(
        base=kept["base"],
        tokens=tokens,
        layers=activations.layers,
        weighting=weighting,
        key_weight=key_weight,
        causal=causal,
        windows=windows,
        kv_heads=info.kv_heads if info.kv_heads and heads % info.kv_heads == 0 else None,
        row_sum_error=kept["error"],
        sinks=kept["sinks"],
        not_finite="" if finite else not_finite(model, tokens.ids, activations.known, activations.writes),
        model=info.label,
        interventions=activations.interventions,
        derived=kept["derived"],
    )


def _scores_kept(base: np.ndarray) -> dict[str, Any]:
    """What follows from scores as `forward` keeps them, whichever result is made of them: +inf is no number."""
    derived: dict[Any, Any] = {"high": np.fmax.reduce(base, axis=2)}  # `AttentionPatterns` wants it anyway
    finite = not np.isposinf(derived["high"]).any()
    if not finite:
        base, derived = np.where(np.isposinf(base), np.float32(np.nan), base), {}
    return {"base": base, "error": None, "sinks": False, "finite": finite, "derived": derived}


def _own_rows(model: Any, activations: Activations) -> list[int]:
    """The rows of the layer axis whose patterns are the model's own, and not what an intervention put there."""
    known = model.hook_dict
    written = {id(known[hook]) for hook in hooks_of(activations.interventions) if hook in known}
    return [
        row
        for row, layer in enumerate(activations.layers)
        if not written or id(known[f"blocks.{layer}.{PATTERN}"]) not in written
    ]


def _patterns_kept(base: np.ndarray, sinks: bool, own: list[int]) -> dict[str, Any]:
    """The same for patterns, of which the rows `own` must sum to 1. A sum tells of every NaN and ±inf in it, so that no
    second walk is needed."""
    sums = _row_sum_error(base, sinks)
    finite = bool(np.isfinite(sums))
    error = sums if len(own) == len(base) or not finite else _row_sum_error(base[own], sinks) if own else None
    if not finite:
        base, error = np.where(np.isfinite(base), base, np.float32(np.nan)), float("nan")
    return {"base": base, "error": error, "sinks": sinks, "finite": finite, "derived": {}}


def has_sinks(model: Any, layers: Iterable[int]) -> bool:
    """Whether any of these layers has attention sinks (GPT-OSS): a learned number beside the keys of each row, which
    takes a share of the softmax that no key gets. Told by the parameter, not by the model's name."""
    for layer in layers:
        attention = getattr(model.blocks[layer], "attn", None)
        inner = getattr(attention, "original_component", None)
        if getattr(inner, "sinks", None) is not None:
            return True
    return False


def _masks(base: np.ndarray, info: ModelInfo, layers: tuple[int, ...]) -> tuple[bool, tuple[int | None, ...]]:
    """Causal, and the window of each layer. A mask must never hide a number that is there: each is claimed only
    if the numbers bear it out."""
    causal = info.causal and not any(reads_outside(layer, True, None) for layer in base)
    windows = tuple(
        None if window is None or reads_outside(base[row], False, window) else window
        for row, window in enumerate(dict(enumerate(info.windows)).get(layer) for layer in layers)
    )
    return causal, windows


def _row_sum_error(base: np.ndarray, sinks: bool) -> float:
    """Largest |Σ_key − 1|, or with sinks the most by which a sum leaves 0…1; NaN where a sum is not finite.

    Layer by layer, so that no second copy is made."""
    errors = []
    with np.errstate(invalid="ignore", over="ignore"):
        for layer in base:
            sums = layer.sum(-1)
            errors.append(np.maximum(sums - 1, -sums).max() if sinks else np.abs(sums - 1).max())
    worst = float(np.max(errors))  # numpy's maximum, since Python's would pass over NaN
    return max(0.0, worst) if np.isfinite(worst) else float("nan")


def _key_weight(model: Any, activations: Activations, heads: int, weighting: str) -> np.ndarray:
    """float32 `[layer, head, key]`: ‖v‖, or ‖v·W_O‖ by the head's Gram matrix W_O·W_Oᵀ."""
    values = activations.arrays[VALUES]  # [layer, position, kv_head, d_head]
    if values.ndim != 4 or heads % values.shape[2]:
        raise ModelError(
            f"value vectors of this architecture have axes {list(values.shape[1:])}, not [position, head, d_head].",
            'Use weighting="pattern".',
        )
    per_head = np.repeat(values, heads // values.shape[2], axis=2)  # query head h reads KV head h // (heads / kv_heads)
    if weighting == "value":
        return np.ascontiguousarray(np.linalg.norm(per_head, axis=-1).transpose(0, 2, 1))
    out = np.empty((len(activations.layers), heads, values.shape[1]), np.float32)
    for row, layer in enumerate(activations.layers):
        try:
            # on the CPU before float64, which some devices lack
            write = model.blocks[layer].attn.W_O.detach().float().cpu().double()
        except Exception as reason:  # quantised or fused weights refuse in their own ways
            raise ModelError(f"W_O of layer {layer} cannot be read ({reason}).", 'Use weighting="value".') from reason
        if write.shape[:2] != (heads, values.shape[3]):
            raise ModelError(
                f"W_O of layer {layer} has shape {list(write.shape)}, not [head, d_head, d_model].",
                'Use weighting="value".',
            )
        gram = torch.einsum("hdm,hem->hde", write, write).numpy()
        vectors = per_head[row].astype(np.float64).transpose(1, 0, 2)  # [head, position, d_head]
        out[row] = np.sqrt((np.matmul(vectors, gram) * vectors).sum(-1).clip(0))
    return out
