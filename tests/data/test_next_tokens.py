"""Surprisal and candidates from plain logits, totals, two prompts compared, tables and files."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mi_widgets.data import (
    Continuation,
    NextTokens,
    NextTokensComparison,
    Tokens,
    load,
    next_tokens_from_logits,
    save,
)
from mi_widgets.errors import DataError

VOCABULARY = ["<bos>", "a", " b", "c\n", "d", "é"]


def logits(count=5, seed=0):
    return np.random.default_rng(seed).normal(size=(count, len(VOCABULARY))).astype(np.float32) * 2


def made(ids=(0, 3, 2, 2, 5), seed=0, **options):
    return next_tokens_from_logits(logits(len(ids), seed), list(ids), vocabulary=VOCABULARY, **options)


def probabilities(seed=0, count=5):
    raw = np.exp(logits(count, seed).astype(np.float64))
    return raw / raw.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    "given",
    [logits(), logits().astype(np.float64), logits()[None], logits().tolist(), torch.from_numpy(logits())],
    ids=["float32", "float64", "batch of one", "lists", "torch"],
)
def test_every_form_of_logits_gives_the_softmax(given):
    found = next_tokens_from_logits(given, [0, 3, 2, 2, 5], top_k=3)
    want = probabilities()
    for position, token in enumerate([3, 2, 2, 5]):
        assert found.log_prob[position + 1] == pytest.approx(math.log(want[position, token]), abs=1e-6)
        assert found.rank[position + 1] == (want[position] > want[position, token]).sum()
    for position in range(5):
        order = np.argsort(-want[position])[:3]
        assert found.top_ids[position].tolist() == order.tolist()
        assert np.allclose(found.top_probs[position], want[position, order], atol=1e-6)
        assert found.entropy[position] == pytest.approx(-(want[position] * np.log(want[position])).sum(), abs=1e-6)


def test_surprisal_is_in_bits_and_the_first_token_has_none():
    found = made()
    assert np.isnan(found.surprisal[0])
    assert np.allclose(found.surprisal[1:], -np.log2(np.exp(found.log_prob[1:])), atol=1e-5)


def test_totals_are_over_every_token_but_the_first():
    found = made()
    want = sum(math.log(probabilities()[position, token]) for position, token in enumerate([3, 2, 2, 5]))
    assert found.total_log_prob() == pytest.approx(want, abs=1e-5)
    assert found.total_surprisal() == pytest.approx(-want / math.log(2), abs=1e-5)
    assert found.mean_surprisal() == pytest.approx(-want / math.log(2) / 4, abs=1e-5)
    assert found.perplexity() == pytest.approx(math.exp(-want / 4), rel=1e-5)


def test_special_tokens_can_be_left_out_of_totals():
    tokens = Tokens(np.array([0, 3, 0, 2, 5]), ("<bos>", "c\n", "<bos>", " b", "é"), (True, False, True, False, False))
    found = next_tokens_from_logits(logits(), tokens)
    assert found.scored().tolist() == [False, True, True, True, True]
    assert found.scored(special=False).tolist() == [False, True, False, True, True]
    assert found.total_surprisal(special=False) == pytest.approx(found.surprisal[[1, 3, 4]].sum(), rel=1e-6)


def test_where_nothing_is_scored_a_mean_is_no_number():
    found = made(ids=(3,))
    assert found.total_surprisal() == 0
    assert math.isnan(found.mean_surprisal())
    assert math.isnan(found.perplexity())


def test_a_token_that_the_vocabulary_masks_costs_infinitely_much():
    given = logits()
    given[0, 3] = -np.inf
    found = next_tokens_from_logits(given, [0, 3, 2, 2, 5])
    assert found.surprisal[1] == np.inf
    assert np.isfinite(found.entropy).all()


def test_the_self_check_sees_candidates_that_are_off_by_one():
    found = made(top_k=6)
    assert found.max_error < 1e-6
    from mi_widgets.data.next_tokens import agreement

    shifted = agreement(found.tokens.ids, found.log_prob, np.roll(found.top_ids, 1, 0), np.roll(found.top_probs, 1, 0))
    assert shifted > 0.01


def test_vocabulary_names_ids_and_tokens():
    found = made()
    assert found.tokens.strings == ("<bos>", "c\n", " b", " b", "é")
    assert found.names[2] == " b"
    assert found.candidates(0)["token"].tolist() == [VOCABULARY[token] for token in found.top_ids[0]]


@pytest.mark.parametrize("position", [5, -6])
def test_a_position_that_is_not_there_is_refused(position):
    with pytest.raises(DataError, match="position"):
        made().candidates(position)


@pytest.mark.parametrize(
    ("given", "ids", "options", "says"),
    [
        (logits()[0], [0], {}, "d_vocab"),
        (logits(), [0, 1], {}, "position axis"),
        (logits(), [0, 1, 2, 3, 6], {}, "outside the vocabulary"),
        (logits(), list("abcde"), {}, "no ids"),
        (np.full((5, 6), np.nan), [0] * 5, {}, "numbers"),
        (np.full((5, 6), -np.inf), [0] * 5, {}, "numbers"),
        (logits(), [0] * 5, {"top_k": 0}, "top_k"),
        (logits(), [0] * 5, {"vocabulary": ["a"]}, "vocabulary"),
    ],
)
def test_what_does_not_fit_names_the_axis(given, ids, options, says):
    with pytest.raises(DataError, match=says):
        next_tokens_from_logits(given, ids, **options)


def test_arrays_of_other_lengths_are_refused():
    found = made()
    with pytest.raises(DataError, match="rank"):
        NextTokens(found.tokens, found.log_prob, found.rank[1:], found.entropy, found.top_ids, found.top_probs, {})
    with pytest.raises(DataError, match="top_ids"):
        NextTokens(found.tokens, found.log_prob, found.rank, found.entropy, found.top_ids[:, :2], found.top_probs, {})


class TestComparison:
    """Two prompts, aligned."""

    def test_equal_lengths_compare_position_by_position(self):
        both = NextTokensComparison(made(), made(ids=(0, 3, 1, 2, 5), seed=1))
        assert np.allclose(both.difference[1:], both.a.surprisal[1:] - both.b.surprisal[1:])
        assert np.isnan(both.difference[0])
        assert both.difference[1:].sum() == pytest.approx(both.total_difference(), abs=1e-5)
        assert both.tokens.strings[2] == " b→a"

    def test_a_token_on_one_side_only_counts_in_the_totals_and_has_no_difference(self):
        both = NextTokensComparison(made(), made(ids=(0, 3, 2, 5), seed=1))
        alone = [column for column, pair in enumerate(both.alignment.pairs) if None in pair]
        assert len(both.difference) == 5
        assert np.isnan(both.difference[alone]).all()
        assert both.total_difference() == pytest.approx(both.a.total_surprisal() - both.b.total_surprisal())
        table = both.to_pandas()
        assert table["position_b"].iloc[alone[0]] == -1
        assert table["token_b"].isna().sum() == 1

    def test_the_table_holds_both_sides(self):
        both = NextTokensComparison(made(), made(seed=1))
        table = both.to_pandas()
        assert table["token_a"].tolist() == list(both.a.tokens.strings)
        assert np.allclose(table["surprisal_a"] - table["surprisal_b"], table["difference"], equal_nan=True)


class TestLeaving:
    """Tables and files."""

    def test_one_row_a_position(self):
        found = made()
        table = found.to_pandas()
        assert table["token"].tolist() == list(found.tokens.strings)
        assert np.allclose(table["probability"][1:], np.exp(found.log_prob[1:]))
        assert {"id", "rank", "surprisal", "entropy"} <= set(table.columns)

    def test_one_row_a_candidate(self):
        found = made(top_k=3)
        table = found.to_pandas(candidates=True)
        assert len(table) == 15
        assert table.query("position == 2")["candidate_id"].tolist() == found.top_ids[2].tolist()
        assert table.query("position == 2")["place"].tolist() == [0, 1, 2]

    def test_results_read_back_whole(self, tmp_path):
        found = made()
        again = load(save(found, tmp_path / "x.npz"))
        assert again.tokens == found.tokens
        assert again.names == found.names
        assert (again.max_error, again.d_vocab) == (found.max_error, 6)
        for name, array in found.arrays().items():
            assert np.array_equal(getattr(again, name), array, equal_nan=True)
            assert getattr(again, name).dtype == array.dtype

    def test_comparisons_read_back_whole(self, tmp_path):
        both = NextTokensComparison(made(), made(ids=(0, 3, 2, 5), seed=1))
        again = load(save(both, tmp_path / "x.npz"))
        assert np.array_equal(again.difference, both.difference, equal_nan=True)
        assert again.total_difference() == both.total_difference()

    def test_continuations_read_back_whole(self, tmp_path):
        written = Continuation(
            made().tokens, np.array([2, 5]), (" b", "é"), np.array([-0.5, -1.5], np.float32), " bé", 0.7, 0.9, 3, True
        )
        again = load(save(written, tmp_path / "x.npz"))
        assert again.prompt == written.prompt
        assert again.to_pandas().equals(written.to_pandas())
        assert again.to_pandas()["position"].tolist() == [5, 6]
        assert (again.text, again.temperature, again.top_p, again.seed, again.ended) == (" bé", 0.7, 0.9, 3, True)
        assert again.total_log_prob == -2.0


def test_a_continuation_needs_one_entry_a_token():
    with pytest.raises(DataError, match=r"ids has shape \[1\]; it must be \[token = 0\]"):
        Continuation(made().tokens, np.array([2]), (), np.array([0.0]))
