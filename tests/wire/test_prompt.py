"""The prompt picture as bytes: exact numbers, honest JSON for any tokens, and no more than a page can hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mi_widgets.data import NextTokensComparison, Tokens, next_tokens_from_logits
from mi_widgets.wire.blocks import unpack
from mi_widgets.wire.prompt_picture import CANDIDATES, PromptPicture
from mi_widgets.wire.view_messages import PromptManifest, PromptSide

HOSTILE = ["</script><script>", "<!--", "\ud800", "🙂", "\x00\x1b", "\u2028", '"\\', "日本語", "x" * 10_000]


def made(count=6, seed=0, vocabulary=12, top_k=5, special=False, text=None):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, vocabulary, count)
    tokens = Tokens(ids, tuple(f"t{token}" for token in ids), (special,) + (False,) * (count - 1), (), text)
    return next_tokens_from_logits(rng.normal(size=(count, vocabulary)), tokens, top_k=top_k, model="a model")


def test_every_number_crosses_exactly():
    data = made()
    manifest, blocks, headers = unpack(PromptPicture(data, run=3).parcel())
    assert np.array_equal(blocks["A/surprisal"], data.surprisal, equal_nan=True)
    assert np.array_equal(blocks["A/rank"], data.rank)
    assert np.allclose(blocks["A/entropy"], data.entropy / np.log(2))
    assert np.array_equal(blocks["A/top_ids"], data.top_ids)
    assert np.array_equal(blocks["A/top_probs"], data.top_probs)
    assert {header["dtype"] for header in headers.values()} == {"f32"}
    assert (manifest["run"], manifest["kind"], manifest["top_k"], manifest["d_vocab"]) == (3, "prompt", 5, 12)


def test_ids_of_a_quarter_million_stay_exact():
    logits = np.zeros((1, 260_000), np.float32)
    logits[0, 259_999] = 5
    data = next_tokens_from_logits(logits, [0], top_k=1)
    assert unpack(PromptPicture(data).parcel())[1]["A/top_ids"].tolist() == [[259_999]]


def test_the_manifest_is_what_the_contract_says():
    both = NextTokensComparison(made(), made(5, seed=1))
    manifest = unpack(PromptPicture(both.a, both).parcel())[0]
    assert set(manifest) == set(PromptManifest.__annotations__)
    assert set(manifest["sides"][0]) == set(PromptSide.__annotations__)
    assert len(manifest["sides"]) == 2
    for side, data in zip(manifest["sides"], (both.a, both.b), strict=True):
        assert side["total"] == pytest.approx(data.total_surprisal())
        assert side["scored"] == len(data.tokens) - 1
        assert side["perplexity"] == pytest.approx(data.perplexity())


def test_every_candidate_has_a_name():
    both = NextTokensComparison(made(), made(5, seed=1))
    manifest, blocks, _ = unpack(PromptPicture(both.a, both).parcel())
    shown = {int(token) for side in "AB" for token in blocks[f"{side}/top_ids"].ravel()}
    assert {entry["id"] for entry in manifest["names"]} == shown


def test_pairs_are_the_alignment_with_minus_one_for_none():
    both = NextTokensComparison(made(), made(5, seed=1))
    pairs = unpack(PromptPicture(both.a, both).parcel())[0]["pairs"]
    assert [[None if place < 0 else place for place in pair] for pair in pairs] == [
        list(pair) for pair in both.alignment.pairs
    ]
    assert unpack(PromptPicture(both.a).parcel())[0]["pairs"] is None


def test_what_json_cannot_hold_does_not_break_it():
    logits = np.zeros((3, 4))
    logits[0, 2] = -np.inf
    data = next_tokens_from_logits(logits, [0, 2, 1])
    manifest, blocks, _ = unpack(PromptPicture(data).parcel())
    assert blocks["A/surprisal"][1] == np.inf
    assert manifest["sides"][0]["total"] == 1e300
    alone = unpack(PromptPicture(next_tokens_from_logits(np.zeros((1, 4)), [2])).parcel())[0]
    assert (alone["sides"][0]["scored"], alone["sides"][0]["perplexity"]) == (0, 0.0)


def test_hostile_tokens_cross_whole():
    count = len(HOSTILE)
    data = next_tokens_from_logits(
        np.random.default_rng(0).normal(size=(count, count)), range(count), vocabulary=HOSTILE
    )
    manifest = unpack(PromptPicture(data).parcel())[0]
    assert tuple(manifest["sides"][0]["tokens"]["strings"]) == data.tokens.strings
    json.dumps(manifest, allow_nan=False).encode("utf-8")


@pytest.mark.parametrize(
    ("special", "text", "prepended"),
    [(True, "some text", True), (True, "t10 and on", False), (True, None, False), (False, "some text", False)],
)
def test_a_bos_that_is_not_in_the_text_was_prepended(special, text, prepended):
    data = made(special=special, text=text)
    if text is not None and not prepended and special:
        data = made(special=special, text=f"{data.tokens.strings[0]} and on")
    assert unpack(PromptPicture(data).parcel())[0]["prepended"] is prepended


def test_a_first_token_that_is_not_scored_is_said():
    notes = unpack(PromptPicture(made()).parcel())[0]["notes"]
    assert any("not scored" in note for note in notes)
    assert not unpack(PromptPicture(made(special=True)).parcel())[0]["notes"]


def test_very_long_prompts_show_fewer_candidates_and_say_so():
    data = made(20_000, vocabulary=60, top_k=50)
    parcel = PromptPicture(data).parcel()
    manifest, blocks, _ = unpack(parcel)
    assert manifest["top_k"] == CANDIDATES // 20_000 == blocks["A/top_ids"].shape[1]
    assert any("likeliest" in note for note in manifest["notes"])
    assert len(parcel) < 3_000_000


def test_the_self_check_holds_and_can_fail():
    data = made(40, top_k=12)
    assert unpack(PromptPicture(data).parcel())[0]["checks"][0]["ok"]
    object.__setattr__(data, "max_error", 0.1)
    assert not unpack(PromptPicture(data).parcel())[0]["checks"][0]["ok"]
