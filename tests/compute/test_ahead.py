"""What a model expected is told only of models that read from left to right, by the masks that they used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
import transformers

from mi_widgets import compute
from mi_widgets.compute.ahead import reads_ahead
from mi_widgets.errors import ModelError
from mi_widgets.models import describe, load_model

IDS = np.array([5, 6, 7, 8, 9, 5, 6, 7])
SMALL = dict(d_model=32, vocab_size=tiny_models.D_VOCAB, pad_token_id=1, bos_token_id=0, eos_token_id=1)
OTHERS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertForMaskedLM(
        transformers.BertConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=128,
            max_position_embeddings=64,
        )
    ),
    "t5": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(**SMALL, d_ff=48, num_layers=2, num_heads=4, d_kv=8, decoder_start_token_id=0)
    ),
    "bart": lambda: transformers.BartForConditionalGeneration(
        transformers.BartConfig(
            **SMALL, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64, decoder_start_token_id=1,
        )
    ),
    "mamba": lambda: transformers.MambaForCausalLM(
        transformers.MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=128, state_size=4)
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """`other(architecture)`: a tiny random model that is no plain decoder."""
    made = {}

    def get(architecture):
        if architecture not in made:
            torch.manual_seed(0)
            folder = tmp_path_factory.mktemp(architecture)
            OTHERS[architecture]().eval().save_pretrained(folder)
            tiny_models.tokenizer().save_pretrained(folder)
            made[architecture] = load_model(folder)
        return made[architecture]

    return get


@pytest.mark.parametrize("architecture", ["bert", "t5", "bart"])
def test_models_that_see_ahead_have_no_surprisal_and_write_nothing(architecture, other):
    for ask in (compute.next_tokens, compute.sample):
        with pytest.raises(ModelError, match="sees ahead") as refused:
            ask(other(architecture), IDS)
        assert "given those before it" in refused.value.hint


@pytest.mark.parametrize("architecture", ["bert", "t5", "bart"])
def test_one_token_alone_does_not_make_them_read_from_left_to_right(architecture, other):
    for call in (compute.next_tokens, lambda model, ids: compute.sample(model, ids, 1)):
        with pytest.raises(ModelError, match="sees ahead"):
            call(other(architecture), [5])


@pytest.mark.parametrize(("architecture", "causal"), [("bert", False), ("t5", False), ("bart", False), ("mamba", True)])
def test_causal_is_what_the_configuration_says(architecture, causal, other):
    assert describe(other(architecture)).causal is causal


def test_models_without_patterns_are_taken_at_their_word(other):
    found = compute.next_tokens(other("mamba"), IDS)
    assert np.isfinite(found.log_prob[1:]).all() and found.not_finite == ""
    assert len(compute.sample(other("mamba"), IDS, 2)) == 2


@pytest.mark.parametrize("architecture", ["bert", "t5", "bart", "mamba"])
def test_what_does_not_split_into_blocks_is_refused_in_our_words(architecture, other):
    with pytest.raises(ModelError):
        compute.logit_attribution(other(architecture), IDS, 9, 8)
    if architecture != "mamba":  # whose one stream a lens does read
        with pytest.raises(ModelError):
            compute.logit_lens(other(architecture), IDS)


@pytest.mark.parametrize("architecture", list(tiny_models.CONFIGS))
def test_causal_models_are_never_refused(architecture, tiny_model):
    assert compute.next_tokens(tiny_model(architecture), IDS).not_finite == ""
    assert compute.next_tokens(tiny_model(architecture), IDS[:1]).not_finite == ""


def test_the_mask_that_was_used_counts_not_the_name(model):
    assert describe(model).causal

    def open_up(scores, hook):
        return scores.clamp(min=-5.0)

    model.add_hook("blocks.1.attn.hook_attn_scores", open_up)
    with pytest.raises(ModelError, match=r"read later ones \(blocks.1.attn\)"):
        compute.next_tokens(model, IDS)


def test_nothing_more_is_run_for_it(model, monkeypatch):
    passes, kind = [], type(model)
    original = kind.forward
    monkeypatch.setattr(kind, "forward", lambda *given, **named: passes.append(1) or original(*given, **named))
    compute.next_tokens(model, IDS)
    assert len(passes) == 1


@pytest.mark.parametrize(("query", "key", "ahead"), [(0, 1, True), (8, 9, True), (0, 11, True), (5, 5, False)])
def test_a_weight_on_a_later_key_is_seen(query, key, ahead):
    pattern = torch.zeros(2, 12, 12)
    pattern[1, query, key] = 1e-6
    assert bool(reads_ahead(pattern)) is ahead


def test_nan_is_no_weight_and_keys_before_the_prompt_are_no_later_ones():
    assert not reads_ahead(torch.full((1, 6, 6), torch.nan))
    assert not reads_ahead(torch.ones(1, 6, 9).tril(3))
    assert reads_ahead(torch.ones(1, 6, 9).tril(4))
