"""Patterns, scores and weightings equal what the Hugging Face model itself computes, on every architecture, or
are refused. The oracle (`tiny_oracle.py`) never sees TransformerLens."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import tiny_oracle
import torch

from mi_widgets import compute
from mi_widgets.compute.attention import patterns_from_cache
from mi_widgets.compute.forward import forward
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import load_model

ARCHITECTURES = list(tiny_models.CONFIGS)
WINDOWS = {"mistral": (5, 5), "gemma2": (5, None), "gemma3": (5, None)}
IDS = np.random.default_rng(0).integers(3, tiny_models.D_VOCAB, 20)
SHARED = {
    "stories260K-llama": [1, 403, 407, 261, 378, 383, 286, 261, 298, 315, 421],
    "stories3M-llama": [1, *range(5, 45)],
    "gpt-nano-sort": [2, 0, 1, 1, 2, 0, 0, 0, 1, 1, 2],
}
OTHERS = {
    "gpt_neo": (
        "GPTNeoConfig",
        dict(
            vocab_size=128,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            intermediate_size=48,
            max_position_embeddings=64,
            attention_types=[[["global", "local"], 1]],
            window_size=5,
            bos_token_id=0,
            eos_token_id=0,
        ),
    ),
    "gptj": (
        "GPTJConfig",
        dict(
            vocab_size=128, n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=4, bos_token_id=0, eos_token_id=0
        ),
    ),
}


@pytest.fixture(scope="module")
def other(tiny_folder):
    """`other(name)`: folder of a tiny model beyond the seven."""
    return lambda name: tiny_folder(name, OTHERS[name])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("length", [1, 4, 20, 64])
def test_patterns_equal_hugging_face(architecture, length, tiny_folder, tiny_model):
    ids = np.random.default_rng(length).integers(0, tiny_models.D_VOCAB, length)  # BOS, EOS and padding ids too
    ids[0] = 0
    patterns = compute.attention_patterns(tiny_model(architecture), ids)
    want = tiny_oracle.patterns(tiny_oracle.load(tiny_folder(architecture)), ids)
    assert patterns.values.dtype == np.float32
    assert patterns.values.shape == want.shape
    assert np.abs(patterns.values - want).max() <= 1e-5


@pytest.mark.shared
@pytest.mark.parametrize("name", SHARED)
def test_patterns_of_pretrained_models_equal_hugging_face(name, shared):
    ids = np.array(SHARED[name])
    patterns = compute.attention_patterns(load_model(shared / "models" / name), ids)
    want = tiny_oracle.patterns(tiny_oracle.load(shared / "models" / name), ids)
    assert np.abs(patterns.values - want).max() <= 1e-5
    assert patterns.causal
    assert patterns.row_sum_error < 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_mask_is_exactly_where_the_model_reads(architecture, tiny_model):
    patterns = compute.attention_patterns(tiny_model(architecture), IDS)
    assert patterns.causal
    assert patterns.windows == WINDOWS.get(architecture, (None, None))
    assert patterns.kv_heads == (4 if architecture in {"gpt2", "neox"} else 2)
    for layer in patterns.layers:
        allowed = patterns.allowed(layer)
        for head in range(patterns.n_heads):
            assert (patterns.head(layer, head)[~allowed] == 0).all()
            assert (patterns.head(layer, head)[allowed] > 0).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_softmax_of_the_scores_is_the_pattern(architecture, tiny_folder, tiny_model):
    scores = compute.attention_patterns(tiny_model(architecture), IDS, weighting="scores")
    want = tiny_oracle.patterns(tiny_oracle.load(tiny_folder(architecture)), IDS)
    for layer in scores.layers:
        masked = np.isnan(scores.base[layer])
        assert (masked == ~scores.allowed(layer)).all()
        filled = torch.from_numpy(np.where(masked, -np.inf, scores.base[layer]))
        assert np.abs(filled.softmax(-1).numpy() - want[layer]).max() <= 1e-5


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gpt_neo", "gptj"])
def test_weightings_equal_a_loop_over_the_models_own_weights(architecture, tiny_folder, other):
    folder = other(architecture) if architecture in OTHERS else tiny_folder(architecture)
    model, hugging = load_model(folder), tiny_oracle.load(folder)
    pattern = tiny_oracle.patterns(hugging, IDS)
    values, writes = tiny_oracle.values_and_writes(hugging, IDS, heads=4)
    by_value = compute.attention_patterns(model, IDS, weighting="value").values
    by_output = compute.attention_patterns(model, IDS, weighting="output").values
    for layer in range(2):
        for head in range(4):
            for key in range(len(IDS)):
                vector = values[layer, head, key]
                written = vector @ writes[layer, head]
                column = pattern[layer, head, :, key]
                assert np.allclose(by_value[layer, head, :, key], column * np.linalg.norm(vector), rtol=1e-4, atol=1e-5)
                assert np.allclose(
                    by_output[layer, head, :, key], column * np.linalg.norm(written), rtol=1e-4, atol=1e-5
                )


@pytest.mark.parametrize("architecture", ["gpt_neo", "gptj"])
def test_scores_that_the_softmax_does_not_see_are_refused(architecture, other):
    model = load_model(other(architecture))
    with pytest.raises(ModelError, match="scores"):
        compute.attention_patterns(model, IDS, weighting="scores")
    patterns = compute.attention_patterns(model, IDS)
    assert np.abs(patterns.values - tiny_oracle.patterns(tiny_oracle.load(other(architecture)), IDS)).max() <= 1e-5
    if architecture == "gpt_neo":
        assert patterns.windows == (None, 5)


def test_scores_are_checked_where_they_are_read(model):
    from mi_widgets.compute.attention import SCORES, assemble, readers_for
    from mi_widgets.models import tokenize

    found = forward(model, IDS, (SCORES,), {SCORES: (1,)}, readers_for("scores"))
    scores = assemble(model, tokenize(model, IDS), found, "scores")
    assert scores.layers == (1,)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_models_give_float32_patterns(architecture, tiny_folder, tiny_model):
    model = tiny_model(architecture, dtype=torch.bfloat16)
    patterns = compute.attention_patterns(model, IDS)
    want = tiny_oracle.patterns(tiny_oracle.load(tiny_folder(architecture), torch.bfloat16), IDS)
    assert patterns.values.dtype == np.float32
    assert np.abs(patterns.values - want).max() <= 2e-2
    scores = compute.attention_patterns(model, IDS, weighting="scores")
    for layer in scores.layers:
        assert (np.isnan(scores.base[layer]) == ~scores.allowed(layer)).all()
    for weighting in ("value", "output"):
        weighted = compute.attention_patterns(model, IDS, weighting=weighting)
        assert weighted.values.dtype == np.float32
        assert np.isfinite(weighted.values).all()


def test_scores_work_after_compatibility_mode(tiny_model):
    model = tiny_model("gpt2")
    plain = compute.attention_patterns(model, IDS)
    model.enable_compatibility_mode()  # the user's choice; hooks then fire by both their names
    scores = compute.attention_patterns(model, IDS, weighting="scores")
    filled = torch.from_numpy(np.where(np.isnan(scores.base), -np.inf, scores.base))
    assert np.abs(filled.softmax(-1).numpy() - plain.base).max() <= 1e-4


@pytest.mark.parametrize("name", ["gpt2", "neox"])
def test_training_mode_with_dropout_gives_the_evaluated_numbers(name, tiny_model):
    model = tiny_model(name)
    want = compute.attention_patterns(model, IDS).values
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    model.train()
    assert np.array_equal(compute.attention_patterns(model, IDS).values, want)
    assert all(module.training for module in model.modules())


def test_layers_are_those_asked_for(model):
    everything = compute.attention_patterns(model, IDS)
    one = compute.attention_patterns(model, IDS, layers=[1])
    assert one.layers == (1,)
    assert np.array_equal(one.head(1, 2), everything.head(1, 2))
    assert compute.attention_patterns(model, IDS, layers=[1, 0, 1]).layers == (1, 0)


def test_a_mask_never_hides_what_a_hook_put_there(model):
    def look_ahead(pattern, hook):
        pattern[0, 2, 7, 15] = 0.25
        return pattern

    model.add_hook("blocks.1.attn.hook_pattern", look_ahead)
    patterns = compute.attention_patterns(model, IDS)
    assert not patterns.causal
    assert patterns.head(1, 2)[7, 15] == 0.25


def test_a_window_is_not_claimed_where_the_numbers_deny_it(tiny_model):
    model = tiny_model("mistral")

    def look_back(pattern, hook):
        pattern[0, 0, 19, 0] = 0.25
        return pattern

    model.add_hook("blocks.0.attn.hook_pattern", look_back)
    assert compute.attention_patterns(model, IDS).windows == (None, 5)


@pytest.mark.parametrize("layers", [[2], [-1], [], 1])
def test_layers_that_do_not_exist_are_named(layers, model):
    with pytest.raises(DataError, match="layers"):
        compute.attention_patterns(model, IDS, layers=layers)


def test_an_unknown_weighting_lists_the_known_ones(model):
    with pytest.raises(DataError, match="pattern, scores, value, output"):
        compute.attention_patterns(model, IDS, weighting="gradient")


@pytest.mark.parametrize("thing", [None, "gpt2", torch.nn.Linear(2, 2)])
def test_what_is_no_model_is_refused(thing):
    with pytest.raises(ModelError, match="not a TransformerLens model"):
        compute.attention_patterns(thing, IDS)


@pytest.fixture(scope="module")
def with_sinks(tmp_path_factory):
    """A tiny GPT-OSS, whose softmax has a learned sink beside the keys."""
    import tiny_models
    import transformers

    folder = tmp_path_factory.mktemp("gpt-oss")
    config = transformers.GptOssConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, vocab_size=128,
        intermediate_size=48, num_local_experts=2, num_experts_per_tok=1, sliding_window=5, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.GptOssForCausalLM(config).save_pretrained(folder)
    tiny_models.tokenizer().save_pretrained(folder)
    return load_model(folder)


def test_rows_of_a_model_with_sinks_sum_to_less_than_1_and_it_is_said(with_sinks):
    from mi_widgets.wire.attention import checks

    found = compute.attention_patterns(with_sinks, [5, 6, 7, 8, 9])
    assert found.sinks and found.values.sum(-1).max() < 1.0 and found.row_sum_error == 0.0
    assert [(check["label"], check["ok"]) for check in checks(found)] == [
        ("rows sum to at most 1 (attention sinks take the rest)", True)
    ]
    _, cache = with_sinks.run_with_cache(torch.tensor([[5, 6, 7, 8, 9]]))
    assert patterns_from_cache(cache).sinks


def test_rows_of_a_model_with_sinks_that_sum_to_more_than_1_fail(with_sinks):
    from mi_widgets.wire.attention import checks

    with_sinks.add_hook("blocks.1.attn.hook_pattern", lambda pattern, hook: pattern * 3)
    try:
        found = compute.attention_patterns(with_sinks, [5, 6, 7, 8, 9])
    finally:
        with_sinks.reset_hooks()
    assert not checks(found)[0]["ok"]


def test_nan_in_a_cache_fails_its_check():
    pattern = torch.full((1, 2, 4, 4), 0.25)
    pattern[0, 1, 2] = torch.nan
    found = patterns_from_cache({"blocks.0.attn.hook_pattern": pattern})
    assert found.not_finite == "in the cache" and np.isnan(found.row_sum_error)
