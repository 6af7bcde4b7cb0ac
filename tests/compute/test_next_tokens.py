"""How the model expected a prompt equals what the Hugging Face model itself says, on every architecture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_models
import tiny_oracle
import torch
from model_state import state_of

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute.forward import forward
from mi_widgets.compute.next_tokens import likeliest, next_token_sites, read_next_tokens
from mi_widgets.data import NextTokensComparison
from mi_widgets.errors import DataError, PromptError
from mi_widgets.models import load_model, tokenize

ARCHITECTURES = list(tiny_models.CONFIGS)
IDS = np.random.default_rng(3).integers(0, tiny_models.D_VOCAB, 24)
SHARED = {
    "stories260K-llama": [1, 403, 407, 261, 378, 383, 286, 261, 298, 315, 421],
    "stories3M-llama": [1, *range(5, 45)],
    "gpt-nano-sort": [2, 0, 1, 1, 2, 0, 0, 0, 1, 1, 2],
}


def log_softmax(hugging, ids):
    """The Hugging Face model's log-probabilities in double precision, `[position, d_vocab]`, nats."""
    with torch.no_grad():
        logits = hugging(torch.tensor(np.asarray(ids))[None], use_cache=False).logits[0]
    return logits.double().log_softmax(-1).numpy()


def check(found, want, ids):
    """Every number of `found` against `want` `[position, d_vocab]`, by loops over positions."""
    assert np.isnan(found.log_prob[0])
    assert found.rank[0] == -1
    for position in range(1, len(ids)):
        before = want[position - 1]
        assert found.log_prob[position] == pytest.approx(before[ids[position]], abs=2e-5)
        near = np.abs(before - before[ids[position]]) < 1e-4  # of tokens this near the order is rounding
        larger = int((before > before[ids[position]]).sum())
        assert abs(found.rank[position] - larger) <= near.sum() - 1
    for position, log_probs in enumerate(want):
        assert found.entropy[position] == pytest.approx(-(np.exp(log_probs) * log_probs).sum(), abs=2e-4)
        top = np.sort(np.exp(log_probs))[::-1][: found.top_k]
        assert np.abs(found.top_probs[position] - top).max() < 1e-5
        assert np.abs(np.exp(log_probs[found.top_ids[position]]) - found.top_probs[position]).max() < 1e-5
        assert len(set(found.top_ids[position].tolist())) == found.top_k


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_number_is_hugging_faces(architecture, tiny_folder, tiny_model):
    found = compute.next_tokens(tiny_model(architecture), IDS, top_k=7)
    check(found, log_softmax(tiny_oracle.load(tiny_folder(architecture)), IDS), IDS)
    assert found.top_k == 7
    assert found.log_prob.dtype == found.entropy.dtype == found.top_probs.dtype == np.float32
    assert found.max_error is None or found.max_error < 1e-6


@pytest.mark.shared
@pytest.mark.parametrize("name", SHARED)
def test_pretrained_models_too(name, shared):
    ids = np.array(SHARED[name])
    found = compute.next_tokens(load_model(shared / "models" / name), ids)
    check(found, log_softmax(tiny_oracle.load(shared / "models" / name), ids), ids)
    assert found.max_error is None or found.max_error < 1e-6
    assert found.top_k == min(10, found.d_vocab)  # a vocabulary of three has three candidates


def test_the_demo_model_too(demo_model):
    found = compute.next_tokens(demo_model, "When Mary and John went to the store , John gave a drink to")
    check(found, log_softmax(demo_model.original_model, found.tokens.ids), found.tokens.ids)


def test_half_precision_is_read_in_single(tiny_folder):
    model = load_model(tiny_folder("llama"), dtype=torch.bfloat16)
    found = compute.next_tokens(model, IDS)
    want = log_softmax(tiny_oracle.load(tiny_folder("llama"), torch.bfloat16), IDS)
    assert np.abs(found.log_prob[1:] - want[np.arange(len(IDS) - 1), IDS[1:]]).max() < 1e-4


@pytest.mark.shared
def test_totals_of_minimal_pairs_are_the_models_log_probabilities(shared):
    folder = shared / "models" / "stories3M-llama"
    model, hugging = load_model(folder), tiny_oracle.load(folder)
    lines = (shared / "data" / "blimp" / "anaphor_gender_agreement.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines[:12]:
        pair = json.loads(line)
        both = NextTokensComparison(
            *(compute.next_tokens(model, pair[name]) for name in ("sentence_good", "sentence_bad"))
        )
        totals = []
        for side in (both.a, both.b):
            ids = torch.tensor(side.tokens.ids)[None]
            with torch.no_grad():
                loss = float(hugging(ids, labels=ids).loss)  # mean over all but the first
            assert side.total_log_prob() == pytest.approx(-loss * (len(side.tokens) - 1), rel=1e-5)
            assert side.perplexity() == pytest.approx(np.exp(loss), rel=1e-5)
            totals.append(loss * (len(side.tokens) - 1) / np.log(2))
        assert both.total_difference() == pytest.approx(totals[0] - totals[1], abs=1e-3)
        # On equal tokens before the first that differs, a causal model is equally surprised.
        first = next(
            place
            for place, (left, right) in enumerate(zip(both.a.tokens.ids, both.b.tokens.ids, strict=False))
            if left != right
        )
        assert np.abs(both.difference[1:first]).max() < 1e-4
        if len(both.a.tokens) == len(both.b.tokens):
            assert both.difference[1:].sum() == pytest.approx(both.total_difference(), abs=1e-3)


def test_the_candidates_after_a_position_hold_the_token_that_comes(stories):
    found = compute.next_tokens(stories, "Once upon a time, there was a little girl", top_k=5)
    for position in range(1, len(found.tokens)):
        if found.rank[position] < 5:
            row = found.candidates(position - 1).iloc[found.rank[position]]
            assert row["id"] == found.tokens.ids[position]
            assert row["token"] == found.tokens.strings[position]
            assert row["probability"] == pytest.approx(np.exp(found.log_prob[position]), rel=1e-4)
    assert found.max_error < 1e-6


def test_every_id_has_a_name(stories):
    found = compute.next_tokens(stories, "A cat 漢")
    assert {*found.top_ids.ravel().tolist(), *found.tokens.ids.tolist()} <= set(found.names)
    assert found.names[int(found.tokens.ids[-1])] == found.tokens.strings[-1]


def test_a_prompt_of_one_token_has_candidates_and_no_score(model):
    found = compute.next_tokens(model, [5])
    assert np.isnan(found.log_prob).all()
    assert found.top_ids.shape == (1, 10)
    assert np.isnan(found.perplexity())


def test_prepend_bos_is_as_asked(model):
    with_bos, without = (compute.next_tokens(model, "w3 w4", prepend_bos=choice) for choice in (True, False))
    assert with_bos.tokens.ids.tolist() == [0, 3, 4]
    assert without.tokens.ids.tolist() == [3, 4]
    assert np.isnan(without.log_prob[0])


def test_likeliest_are_the_candidates_of_one_position(stories):
    tokens = tokenize(stories, "Once upon a time")
    activations = forward(stories, tokens.ids, next_token_sites())
    table = read_next_tokens(stories, tokens, activations, 4).candidates(2)
    found = likeliest(stories, tokens, activations, 2, 4)
    assert [entry[0] for entry in found] == table["id"].tolist()
    assert [entry[1] for entry in found] == table["token"].tolist()
    assert [entry[2] for entry in found] == pytest.approx(table["probability"].tolist())


@pytest.mark.parametrize("top_k", [0, 51, 2.5, True])
def test_a_wrong_number_of_candidates_is_refused(top_k, model):
    with pytest.raises(DataError, match="top_k"):
        compute.next_tokens(model, "w3", top_k=top_k)


def test_a_prompt_that_is_too_long_is_refused(model):
    with pytest.raises(PromptError, match="64"):
        compute.next_tokens(model, "w3 " * 80)


def test_the_model_is_left_as_it_was(model):
    model("w3")  # transformers installs hooks of its own in a first pass, and leaves them
    before = state_of(model)
    mw.compute.next_tokens(model, "w3 w4 w5")
    assert state_of(model) == before
