"""One small record of every kind that can be saved, from arrays that anyone may have."""

from __future__ import annotations

import numpy as np
from made_patterns import softmax

from mi_widgets.data import (
    AttentionComparison,
    CoderComparison,
    Continuation,
    FeatureActivations,
    FeatureDashboard,
    LogitAttribution,
    LogitAttributionComparison,
    LogitLens,
    LogitLensComparison,
    NextTokensComparison,
    PatchGrid,
    PathEffects,
    Superposition,
    Tokens,
    next_tokens_from_logits,
    patterns_from_arrays,
)

STRINGS = ("<bos>", " a", " b", " c")


def tokens(strings=STRINGS):
    return Tokens(np.arange(len(strings)), strings, (True,) + (False,) * (len(strings) - 1), text="".join(strings))


def patterns(seed=0, **changes):
    return patterns_from_arrays(softmax(count=4, seed=seed), tokens(), windows=4, model="tiny", **changes)


def lens(seed=0, **changes):
    draw = np.random.default_rng(seed)
    cells = (3, 4)
    values = {
        "tokens": tokens(),
        "layers": (0, 1, 2),
        "streams": ("resid_post",) * 3,
        "top_ids": draw.integers(0, 20, (*cells, 2)),
        "top_probs": draw.random((*cells, 2)).astype(np.float32),
        **{name: draw.random(cells).astype(np.float32) for name in ("entropy", "kl", "change", "next_prob")},
        **{name: draw.integers(0, 20, cells).astype(np.int32) for name in ("final_rank", "next_rank")},
        "target_ids": np.array([4, 7], np.int32),
        "target_probs": draw.random((*cells, 2)).astype(np.float32),
        "target_ranks": draw.integers(0, 20, (*cells, 2)).astype(np.int32),
        "names": {token: f" t{token}" for token in range(20)},
        "d_vocab": 20,
        "model": "tiny",
    }
    return LogitLens(**{**values, **changes})


def attribution(**changes):
    values = {
        "tokens": tokens(),
        "position": 3,
        "answer": 1,
        "answer_string": " a",
        "foil": 2,
        "foil_string": " b",
        "by": "head",
        "part_kinds": ("embedding", "head", "head", "mlp", "norm bias"),
        "part_layers": np.array([-1, 0, 0, 0, -1], np.int32),
        "part_heads": np.array([-1, 0, 1, -1, -1], np.int32),
        "part_neurons": np.full(5, -1, np.int32),
        "contribution": np.array([0.5, -2.0, 1.25, 3.0, 0.0625], np.float32),
        "difference": 2.8125,
        "mlps": np.array([3.0], np.float32),
        "heads": np.array([[-2.0, 1.25]], np.float32),
        "sources": np.arange(8, dtype=np.float32).reshape(1, 2, 4),
        "model": "tiny",
    }
    return LogitAttribution(**{**values, **changes})


def expected(seed=0, **changes):
    logits = np.random.default_rng(seed).normal(size=(4, 20)).astype(np.float32)
    return next_tokens_from_logits(logits, tokens(), top_k=3, model="tiny", **changes)


def continuation(**changes):
    values = {"prompt": tokens(), "ids": np.array([4, 7]), "strings": (" d", " e"), "log_probs": np.array([-0.5, -2])}
    return Continuation(**{**values, "text": " d e", **changes})


def patch_grid(**changes):
    values = {
        "clean_tokens": tokens(),
        "corrupt_tokens": tokens(("<bos>", " a", " d", " c")),
        "method": "patching",
        "site": "resid_pre",
        "by": ("layer", "position"),
        "numbers": ((0, 1), (0, 1, 2, 3)),
        "values": np.linspace(-1, 3, 16, dtype=np.float32).reshape(2, 8),
        "clean_values": np.array([3.0, 2.5], np.float32),
        "corrupt_values": np.array([-1.0, -0.5], np.float32),
        "estimates": np.linspace(-1.2, 3.4, 16, dtype=np.float32).reshape(2, 8),
        "estimated_by": "attribution patching",
        "answers": np.array([3, 3]),
        "foils": np.array([1, -1]),
        "names": {1: " a", 3: " c", -1: "–"},
        "model": "tiny",
    }
    return PatchGrid(**{**values, **changes})


def path_effects(**changes):
    values = {
        "clean_tokens": tokens(),
        "corrupt_tokens": tokens(("<bos>", " a", " d", " c")),
        "sender_layer": 0,
        "sender_head": 1,
        "path_kinds": ("v",),
        "path_layers": (1,),
        "path_heads": (0,),
        "kinds": ("mlp", "q", "k", "v", "mlp", "logits"),
        "layers": np.array([1, 2, 2, 2, 2, -1]),
        "heads": np.array([-1, 3, 1, 0, -1, -1]),
        "values": np.linspace(-1, 3, 12, dtype=np.float32).reshape(2, 6),
        "clean_values": np.array([3.0, 2.5], np.float32),
        "corrupt_values": np.array([-1.0, -0.5], np.float32),
        "answers": np.array([3, 3]),
        "foils": np.array([1, -1]),
        "names": {1: " a", 3: " c", -1: "–"},
        "model": "tiny",
    }
    return PathEffects(**{**values, **changes})


def feature_activations(**changes):
    values = {
        "tokens": tokens(),
        "coder": "small",
        "hook_in": "blocks.1.ln2.hook_normalized",
        "hook_out": "blocks.1.hook_mlp_out",
        "d_sae": 6,
        "entry_positions": np.array([1, 1, 2, 3]),
        "entry_features": np.array([0, 4, 4, 5]),
        "activation": np.array([0.5, 2.0, 1.0, 0.25], np.float32),
        "squared_error": np.array([np.nan, 0.5, 0.25, 1.0], np.float32),
        "squared_deviation": np.array([np.nan, 2.0, 1.0, 1.0], np.float32),
        "losses": np.array(
            [[np.nan, 1, 2, 3], [np.nan, 1.5, 2.5, 4], [np.nan, 1, 2, 3], [np.nan, 5, 6, 7]], np.float32
        ),
        "answer": 3,
        "answer_string": " c",
        "position": 3,
        "contribution": np.array([0.0, 0.0, 0.0, 0.5], np.float32),
        "estimate": np.array([0.1, 0.2, -0.3, 0.4], np.float32),
        "model": "tiny",
    }
    return FeatureActivations(**{**values, **changes})


def feature_dashboard(**changes):
    values = {
        "feature": 2,
        "coder": "small",
        "model": "tiny",
        "corpus": "2 texts",
        "hook": "blocks.0.hook_resid_post",
        "n_texts": 2,
        "n_tokens": 9,
        "n_active": 3,
        "max_activation": 2.5,
        "min_activation": 0.25,
        "mean_activation": 1.25,
        "skips_first": True,
        "length": 6,
        "bin_width": 0.5,
        "first_bin": 0,
        "bin_counts": np.array([1, 0, 1, 0, 0, 1]),
        "example_ranks": np.array([1, 2]),
        "example_sampled": np.array([0, 1]),
        "example_intervals": np.array([0, 0]),
        "example_texts": np.array([0, 1]),
        "example_positions": np.array([1, 3]),
        "example_activations": np.array([2.5, 1.0], np.float32),
        "window_ids": np.array([[3, 1, 2], [1, 3, -1]]),
        "window_activations": np.array([[np.nan, 2.5, 0], [0, 1, np.nan]], np.float32),
        "promoted": np.array([1]),
        "promoted_by": np.array([0.5], np.float32),
        "suppressed": np.array([2, 3]),
        "suppressed_by": np.array([-0.75, -0.5], np.float32),
        "neighbour_features": np.array([0]),
        "neighbour_cosines": np.array([0.25], np.float32),
        "correlated_features": np.array([1]),
        "correlated_together": np.array([2]),
        "correlations": np.array([0.5], np.float32),
        "n_together": 9,
        "neuron_numbers": np.array([4, 0]),
        "neuron_weights": np.array([-0.5, 0.25], np.float32),
        "neuron_shares": np.array([0.5, 0.25], np.float32),
        "names": {1: "a", 2: "b", 3: "c"},
        "rating": 0.5,
    }
    return FeatureDashboard(**{**values, **changes})


def coder_comparison(**changes):
    values = {
        "names": ("a", "b", "c", "transcoder"),
        "architectures": ("topk", "jumprelu", "standard", "jumprelu_transcoder"),
        "hooks_in": ("blocks.0.hook_resid_post",) * 3 + ("blocks.0.mlp.hook_in",),
        "hooks_out": ("blocks.0.hook_resid_post",) * 3 + ("blocks.0.hook_mlp_out",),
        "d_sae": np.array([64, 64, 128, 64]),
        "l0": np.array([8.0, 16.0, 20.0, 30.0], np.float32),
        "variance_unexplained": np.array([0.25, 0.125, 0.2, 0.5], np.float32),
        "loss_clean": np.full(4, 2.0, np.float32),
        "loss_spliced": np.array([3.0, 2.5, 2.75, 2.25], np.float32),
        "loss_zeroed": np.array([6.0, 6.0, 6.0, 2.5], np.float32),
        "dead": np.array([0, 3, 5, 1]),
        "dense": np.array([1, 0, 2, 0]),
        "positions": np.full(4, 1234),
        "n_texts": 10,
        "n_tokens": 1244,
        "model": "tiny",
    }
    return CoderComparison(**{**values, **changes})


def superposition(**changes):
    values = {
        "directions": np.array([[1, 0], [-0.5, 0.9], [-0.5, -0.9], [0.01, 0.02]], np.float32),
        "bias": np.full(4, -0.1, np.float32),
        "importance": np.ones(4, np.float32),
        "probability": 0.05,
        "loss": 0.001,
        "loss_of_nothing": 0.02,
        "decoder": np.array([[0, -1], [1, 0.1], [-0.6, 0.8]], np.float32),
        "active": np.array([0.1, 0.02, 0.0], np.float32),
        "coder": "a coder",
    }
    return Superposition(**{**values, **changes})


#: By class name: how to make one.
RECORDS = {
    "AttentionPatterns": patterns,
    "AttentionComparison": lambda: AttentionComparison(patterns(), patterns(1)),
    "LogitLens": lens,
    "LogitLensComparison": lambda: LogitLensComparison(lens(), lens(1), np.ones((3, 4), np.float32)),
    "LogitAttribution": attribution,
    "LogitAttributionComparison": lambda: LogitAttributionComparison(attribution(), attribution(difference=1.0)),
    "NextTokens": expected,
    "NextTokensComparison": lambda: NextTokensComparison(expected(), expected(1)),
    "Continuation": continuation,
    "PatchGrid": patch_grid,
    "PathEffects": path_effects,
    "FeatureActivations": feature_activations,
    "FeatureDashboard": feature_dashboard,
    "CoderComparison": coder_comparison,
    "Superposition": superposition,
}
