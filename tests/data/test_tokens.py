"""Tokens, selections and alignments: small records that refuse what makes no sense and survive any text."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from mi_widgets.data import Selection, Tokens, align, visible
from mi_widgets.errors import DataError


@pytest.mark.parametrize(
    ("given_tokens", "strings", "ids"),
    [
        (["a", " b"], ("a", " b"), [-1, -1]),
        ([3, 4], ("3", "4"), [3, 4]),
        ([np.int64(3), np.int64(4)], ("3", "4"), [3, 4]),
        (np.array([3, 4]), ("3", "4"), [3, 4]),
        (torch.tensor([[3, 4]]), ("3", "4"), [3, 4]),
        (None, ("0", "1"), [-1, -1]),
        (Tokens(np.array([7, 8]), ("x", "y")), ("x", "y"), [7, 8]),
    ],
)
def test_tokens_come_in_every_form(given_tokens, strings, ids):
    tokens = Tokens.of(given_tokens, 2)
    assert tokens.strings == strings
    assert tokens.ids.tolist() == ids


def test_counts_that_differ_are_named():
    with pytest.raises(DataError, match="3 tokens, but the position axis has 2"):
        Tokens.of(["a", "b", "c"], 2)
    with pytest.raises(DataError, match="1 token strings for 2 positions"):
        Tokens(np.array([1, 2]), ("a",))
    with pytest.raises(DataError, match="special has 1"):
        Tokens(np.array([1, 2]), ("a", "b"), special=(True,))


@given(some.lists(some.text(some.characters(), max_size=5), min_size=1, max_size=8))
def test_any_text_survives_json_and_utf8(strings):
    tokens = Tokens(np.arange(len(strings)), tuple(strings), text="".join(strings))
    again = Tokens.from_dict(json.loads(json.dumps(tokens.to_dict(), ensure_ascii=False).encode("utf-8")))
    assert again == tokens
    assert hash(again) == hash(tokens)


@given(some.text(some.characters(codec="utf-8")))
def test_whole_text_is_kept_as_it_is(text):
    assert Tokens(np.array([0]), (text,)).strings == (text,)


def test_halves_of_characters_show_as_their_code():
    assert Tokens(np.array([0]), ("a\ud800",)).strings == ("a⟨D800⟩",)
    assert Tokens(np.array([0]), ("\ud83d\ude42",)).strings == ("🙂",)


@given(some.text(some.characters(codec="utf-8")))
def test_labels_are_one_visible_line(text):
    label = visible(text)
    assert len(label.splitlines()) <= 1
    assert " " not in label
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in label)


def test_whitespace_has_marks():
    assert visible(" a\n\tb\u202e") == "·a↵⇥b⟨202E⟩"


@pytest.mark.parametrize("wrong", [-1, 1.5, "3", "x", True, float("nan"), float("inf"), [1]])
def test_a_selection_is_whole_numbers(wrong):
    with pytest.raises(DataError, match=r"selection\.layer"):
        Selection(layer=wrong)


@pytest.mark.parametrize("wrong", [[(0, 0)] * 5, [(0,)], [3], [(0, -1)], 7])
def test_overlaid_heads_are_at_most_four_pairs(wrong):
    with pytest.raises(DataError, match=r"selection\.heads"):
        Selection(heads=wrong)


def test_a_selection_is_plain_json_whatever_the_number_type():
    selection = Selection(layer=np.int64(2), head=3.0, heads=[[np.int32(0), 1]])
    assert json.loads(json.dumps(selection.to_dict()))["layer"] == 2
    assert selection == Selection(layer=2, head=3, heads=((0, 1),))
    assert type(selection.head) is int
    assert Selection.from_dict({**selection.to_dict(), "from a newer page": 1}) == selection
    assert selection.but(layer=None).layer is None


#: What views to come point at.
NEWER = {"component": "mlp", "neuron": 3, "node": "L1 F5", "edge": ("L1 F5", "logit"), "run": "B"}


@pytest.mark.parametrize(("name", "value"), NEWER.items())
def test_what_views_to_come_point_at_is_kept_compared_merged_and_printed(name, value):
    selection = Selection(layer=1, **{name: value})
    assert getattr(selection, name) == value
    assert selection != Selection(layer=1)
    assert selection.but(layer=2) == Selection(layer=2, **{name: value})
    assert eval(repr(selection)) == selection
    assert Selection.from_dict(json.loads(json.dumps(selection.to_dict()))) == selection


def test_what_they_point_at_crosses_only_where_it_is_set():
    old = {"layer": 1, "head": None, "query": None, "key": None, "position": None, "feature": None, "heads": []}
    assert Selection(layer=1).to_dict() == old
    assert Selection.from_dict(old) == Selection(layer=1)  # as notebooks saved before hold it
    assert Selection(layer=1, neuron=0).to_dict() == {**old, "neuron": 0}


def test_a_selection_is_printed_as_it_is_typed():
    assert repr(Selection()) == "Selection()"
    assert repr(Selection(head=0, heads=((1, 2),), run="A")) == "Selection(head=0, heads=((1, 2),), run='A')"


@pytest.mark.parametrize(
    "wrong",
    [{"component": 3}, {"neuron": -1}, {"node": 5}, {"edge": "ab"}, {"edge": ("a",)}, {"edge": ("a", 1)}, {"run": "C"}],
)
def test_what_is_nothing_to_point_at_is_refused_by_name(wrong):
    with pytest.raises(DataError, match=rf"selection\.{next(iter(wrong))}"):
        Selection(**wrong)


def tokens_of(strings):
    return Tokens(np.full(len(strings), -1), tuple(strings))


@given(some.lists(some.sampled_from("abc"), max_size=9), some.lists(some.sampled_from("abc"), max_size=9))
def test_alignment_holds_every_position_once_in_order(left, right):
    pairs = align(tokens_of(left), tokens_of(right)).pairs
    assert [pair[0] for pair in pairs if pair[0] is not None] == list(range(len(left)))
    assert [pair[1] for pair in pairs if pair[1] is not None] == list(range(len(right)))
    assert all(pair != (None, None) for pair in pairs)


def test_an_inserted_word_stands_alone():
    pairs = align(tokens_of(["a", "b", "c"]), tokens_of(["a", "x", "b", "c"])).pairs
    assert pairs == ((0, 0), (None, 1), (1, 2), (2, 3))
