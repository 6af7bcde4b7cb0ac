"""Results from plain arrays: every shape and number type a user may bring, masks, tables, comparison, and files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from mi_widgets.data import (
    AttentionComparison,
    AttentionPatterns,
    Tokens,
    attention_mask,
    load,
    patterns_from_arrays,
    save,
)
from mi_widgets.data.scores import prompt_scores
from mi_widgets.errors import DataError


def causal(layers=2, heads=3, count=5, seed=0):
    raw = np.tril(np.random.default_rng(seed).random((layers, heads, count, count)) + 0.01)
    return (raw / raw.sum(-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    "given",
    [
        causal(),
        causal().astype(np.float64),
        causal().tolist(),
        list(causal()),
        torch.from_numpy(causal()),
        [torch.from_numpy(layer) for layer in causal()],
        [[torch.from_numpy(head) for head in layer] for layer in causal()],
        torch.from_numpy(causal())[:, None],
        torch.from_numpy(causal()).requires_grad_(),
    ],
    ids=[
        "float32",
        "float64",
        "lists",
        "layers",
        "torch",
        "torch layers",
        "torch heads",
        "batch axis",
        "with gradient",
    ],
)
def test_every_form_of_array_gives_the_same_patterns(given):
    patterns = patterns_from_arrays(given, list("abcde"))
    assert patterns.values.dtype == np.float32
    assert np.allclose(patterns.values, causal())
    assert patterns.causal
    assert patterns.row_sum_error < 1e-6


def test_bfloat16_becomes_float32():
    patterns = patterns_from_arrays(torch.from_numpy(causal()).bfloat16())
    assert patterns.values.dtype == np.float32
    assert np.abs(patterns.values - causal()).max() < 5e-3


@pytest.mark.parametrize(("axes", "shape"), [(2, (1, 1, 5, 5)), (3, (1, 3, 5, 5)), (4, (2, 3, 5, 5))])
def test_missing_leading_axes_are_one_layer_or_one_head(axes, shape):
    array = causal()
    assert patterns_from_arrays(array[(0,) * (4 - axes)]).shape == shape


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        (np.zeros(4), {}, "layer, head, query, key"),
        (np.zeros((2, 3, 4, 5)), {}, "query axis has 4 entries and the key axis 5"),
        (np.zeros((2, 2, 3, 4, 4)), {}, "batch axis of size 2"),
        (np.zeros((0, 2, 3, 3)), {}, "0"),
        (np.zeros((1, 2, 0, 0)), {}, "0"),
        (causal(), {"tokens": list("abc")}, "position axis has 5"),
        (causal(), {"tokens": "abcde"}, "one string"),
        (causal(), {"layers": [0]}, "layer axis"),
        (causal(), {"layers": [1, 1]}, "twice"),
        (causal(), {"windows": [3]}, "layer axis"),
        (causal(), {"windows": 2}, "beyond a window of 2"),
        (causal(), {"windows": [None, 0]}, "beyond a window of 0"),
        (causal(), {"kv_heads": 2}, "share 2"),
        (causal(), {"weighting": "raw"}, "unknown weighting"),
        (causal().transpose(0, 1, 3, 2), {"causal": True}, "read later positions"),
        (np.full((1, 1, 2, 2), np.inf), {}, "infinite"),
        (np.array([["a", "b"], ["c", "d"]]), {}, "numbers"),
        (np.zeros((2, 2), complex), {}, "numbers"),
        ([[1, 2], [3]], {}, "numbers"),
        ([causal()[0], causal()[0, :2]], {}, "numbers"),
        (None, {}, "numbers"),
    ],
)
def test_wrong_arrays_are_refused_with_the_axis_named(given, options, says):
    with pytest.raises(DataError, match=says):
        patterns_from_arrays(given, **options)


def test_nan_is_kept_and_leaves_no_self_check():
    array = causal()
    array[0, 0, 3, 1] = np.nan
    patterns = patterns_from_arrays(array)
    assert np.isnan(patterns.head(0, 0)[3, 1])
    assert patterns.row_sum_error is None
    assert patterns.causal


def test_bidirectional_is_found_from_the_numbers():
    assert not patterns_from_arrays(np.full((1, 1, 4, 4), 0.25)).causal
    late = np.eye(4)
    late[2, 3] = 0.1  # not in the first row
    assert not patterns_from_arrays(late).causal
    assert patterns_from_arrays(np.tril(np.ones((4, 4)))).causal


def test_masked_scores_become_nan():
    scores = np.where(attention_mask(4, True, None), 1.5, -np.inf)
    patterns = patterns_from_arrays(scores, weighting="scores")
    assert (np.isnan(patterns.head(0, 0)) == ~patterns.allowed(0)).all()
    lowest = np.where(attention_mask(4, True, None), 1.5, np.finfo(np.float32).min)
    assert np.isnan(patterns_from_arrays(lowest, weighting="scores").head(0, 0)[0, 1])


@pytest.mark.parametrize("window", [None, 1, 3, 9])
@pytest.mark.parametrize("is_causal", [True, False])
def test_mask_equals_its_definition(window, is_causal):
    mask = attention_mask(6, is_causal, window)
    for query in range(6):
        for key in range(6):
            near = window is None or abs(query - key) < window
            assert mask[query, key] == (near and (key <= query or not is_causal))


def test_table_has_one_row_for_each_allowed_cell():
    patterns = patterns_from_arrays(causal(), list("abcde"), layers=[4, 7])
    table = patterns.to_pandas()
    assert list(table.columns) == ["layer", "head", "query", "key", "query_token", "key_token", "value"]
    assert len(table) == 2 * 3 * 15
    assert set(table.layer) == {4, 7}
    for row in table.sample(20, random_state=0).itertuples():
        assert row.value == patterns.head(row.layer, row.head)[row.query, row.key]
        assert (row.query_token, row.key_token) == ("abcde"[row.query], "abcde"[row.key])
    assert len(patterns.to_pandas(layers=[7], heads=[1], masked=True)) == 25


@pytest.mark.parametrize("options", [{"layers": [3]}, {"heads": [3]}, {"heads": [-1]}, {"layers": []}, {"heads": []}])
def test_table_of_heads_that_are_not_there_is_refused(options):
    with pytest.raises(DataError):
        patterns_from_arrays(causal()).to_pandas(**options)


def test_a_table_too_long_for_memory_is_refused():
    wide = np.broadcast_to(np.float32(0), (100, 100, 80, 80))
    with pytest.raises(DataError, match="rows"):
        AttentionPatterns(wide, Tokens.of(None, 80)).to_pandas()


def test_key_weight_multiplies_without_a_second_copy():
    patterns = patterns_from_arrays(causal())
    weight = np.random.default_rng(1).random((2, 3, 5)).astype(np.float32)
    weighted = AttentionPatterns(patterns.base, patterns.tokens, weighting="value", key_weight=weight)
    assert weighted.base is patterns.base
    assert np.array_equal(weighted.values, causal() * weight[:, :, None, :])
    assert np.array_equal(weighted.head(1, 2), weighted.values[1, 2])


class TestComparison:
    """A, B and A − B on aligned tokens."""

    def make(self):
        a = patterns_from_arrays(causal(count=5), ["<s>", "the", "old", "cat", "sat"])
        b = patterns_from_arrays(causal(count=4, seed=1), ["<s>", "the", "cat", "sat"])
        return AttentionComparison(a, b)

    def test_unequal_prompts_align_on_equal_tokens(self):
        comparison = self.make()
        assert comparison.alignment.pairs == ((0, 0), (1, 1), (2, None), (3, 2), (4, 3))
        assert comparison.tokens.strings == ("<s>", "the", "old→∅", "cat", "sat")

    def test_difference_is_a_minus_b_and_nan_without_partner(self):
        comparison = self.make()
        difference = comparison.head(1, 2)
        for column, (a_query, b_query) in enumerate(comparison.alignment.pairs):
            for other, (a_key, b_key) in enumerate(comparison.alignment.pairs):
                if None in (a_query, b_query, a_key, b_key):
                    assert np.isnan(difference[column, other])
                else:
                    want = comparison.a.head(1, 2)[a_query, a_key] - comparison.b.head(1, 2)[b_query, b_key]
                    assert difference[column, other] == want

    def test_table_holds_both_values(self):
        comparison = self.make()
        table = comparison.to_pandas(layers=[1], heads=[2])
        assert len(table) == 10
        assert np.allclose(table.value, table.value_a - table.value_b)
        assert set(table["query"]) == {0, 1, 3, 4}
        with pytest.raises(DataError, match="no layer"):
            comparison.to_pandas(heads=[])

    def test_equal_lengths_align_by_position(self):
        a = patterns_from_arrays(causal(), list("abcde"))
        b = patterns_from_arrays(causal(seed=1), list("xabcd"))
        assert AttentionComparison(a, b).alignment.pairs == tuple((place, place) for place in range(5))

    def test_unlike_things_are_not_compared(self):
        a = patterns_from_arrays(causal())
        with pytest.raises(DataError, match="same layers"):
            AttentionComparison(a, patterns_from_arrays(causal(heads=2)))
        with pytest.raises(DataError, match="like with like"):
            AttentionComparison(a, patterns_from_arrays(causal(), weighting="scores"))


class TestFiles:
    """`save` and `load` give back what was there."""

    def test_patterns_round_trip(self, tmp_path):
        patterns = patterns_from_arrays(
            causal(), ["<b>", "\ud800", "🙂", '"', "\x00"], layers=[3, 5], windows=[None, 5], model="m"
        )
        again = load(save(patterns, tmp_path / "x.anything"))
        assert np.array_equal(again.base, patterns.base)
        assert again.tokens == patterns.tokens
        assert again.header() == patterns.header()

    def test_comparison_and_key_weight_round_trip(self, tmp_path):
        patterns = patterns_from_arrays(causal(), weighting="pattern")
        weight = np.ones((2, 3, 5), np.float32)
        weighted = AttentionPatterns(patterns.base, patterns.tokens, weighting="output", key_weight=weight)
        again = load(save(AttentionComparison(weighted, weighted), tmp_path / "x.npz"))
        assert np.array_equal(again.b.values, weighted.values)
        assert again.a.weighting == "output"

    def test_what_is_no_result_is_refused(self, tmp_path):
        np.save(tmp_path / "plain.npy", np.zeros(3))
        np.savez(tmp_path / "other.npz", x=np.zeros(3))
        np.savez(tmp_path / "header.npz", header=np.array("[]"))
        (tmp_path / "text.npz").write_text("hello")
        (tmp_path / "empty.npz").write_bytes(b"")
        whole = save(patterns_from_arrays(causal()), tmp_path / "whole.npz").read_bytes()
        (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
        for name in ("plain.npy", "other.npz", "header.npz", "text.npz", "empty.npz", "cut.npz"):
            with pytest.raises(DataError, match="no result"):
                load(tmp_path / name)
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "nothing.npz")

    def test_a_newer_file_says_so(self, tmp_path, monkeypatch):
        from mi_widgets.data import store

        monkeypatch.setattr(store, "SCHEMA", 99)
        path = save(patterns_from_arrays(causal()), tmp_path / "x.npz")
        monkeypatch.undo()
        with pytest.raises(DataError, match="newer"):
            load(path)


def test_summary_is_a_table_by_head():
    table = prompt_scores(patterns_from_arrays(causal(), list("abcab"), layers=[2, 9]))
    assert isinstance(table, pd.DataFrame)
    assert table[["layer", "head"]].to_numpy().tolist() == [[2, 0], [2, 1], [2, 2], [9, 0], [9, 1], [9, 2]]
