"""Records stay as they are: their arrays are closed to writing, and nobody else's edit reaches them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from made_patterns import softmax
from made_records import RECORDS, expected, lens, patterns

import mi_widgets as mw
from mi_widgets.data import AttentionPatterns, NextTokens, Tokens, arrays, patterns_from_arrays, save
from mi_widgets.data.arrays import Names, as_float32, as_integers, read_only
from mi_widgets.data.store import KINDS
from mi_widgets.data.thumbnails import thumbnails
from mi_widgets.errors import DataError

#: Methods that give arrays, with what they take.
METHODS = {
    "AttentionPatterns": {"head": (0, 1), "allowed": (0,)},
    "AttentionComparison": {"head": (0, 1)},
    "LogitLensComparison": {"difference": ("probability",)},
    "LogitAttribution": {"head_sources": (0, 1)},
    "NextTokens": {"scored": ()},
    "NextTokensComparison": {"column": ("A",)},
}


def arrays_in(record, path="record"):
    """Every array that a record holds or gives, by the way to it."""
    for name in sorted(
        {field.name for field in fields(record)} | {name for name in dir(type(record)) if name[0] != "_"}
    ):
        if callable(getattr(type(record), name, None)):
            if name not in METHODS.get(type(record).__name__, {}):
                continue
            value = getattr(record, name)(*METHODS[type(record).__name__][name])
        else:
            value = getattr(record, name)
        if isinstance(value, np.ndarray):
            yield f"{path}.{name}", value
        elif is_dataclass(value):
            yield from arrays_in(value, f"{path}.{name}")


def held_in(record):
    """The arrays that a record and its parts keep."""
    for value in record.__dict__.values():
        if isinstance(value, np.ndarray):
            yield value
        elif is_dataclass(value):
            yield from held_in(value)


def test_there_is_a_record_of_every_kind():
    assert set(RECORDS) == set(KINDS)


@pytest.mark.parametrize("kind", RECORDS)
def test_no_array_of_a_record_can_be_written_to(kind):
    record = RECORDS[kind]()
    found = dict(arrays_in(record))
    assert found
    held = list(held_in(record))
    for way, array in found.items():
        own = any(np.shares_memory(array, other) for other in held)
        assert not (own and array.flags.writeable), way
    for array in held:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize("kind", RECORDS)
def test_tables_are_the_users_own(kind):
    record = RECORDS[kind]()
    table = record.to_pandas()
    for name in table.select_dtypes("number").columns:
        table[name] = 0
    pd.testing.assert_frame_equal(record.to_pandas(), RECORDS[kind]().to_pandas())


def test_what_the_user_gave_stays_theirs_and_their_edits_reach_no_record():
    array = softmax()
    view = mw.Attention.from_data(array, list("abcde"))
    assert array.flags.writeable
    before = view.data.values.copy()
    array[...] = 7
    assert np.array_equal(view.data.values, before)
    tensor = torch.from_numpy(softmax())
    held = patterns_from_arrays(tensor)
    tensor.zero_()
    assert np.array_equal(held.values, softmax())


@pytest.mark.parametrize("make", [lens, expected], ids=["lens", "next tokens"])
def test_small_arrays_are_copied(make):
    record = make()
    given = {name: array.copy() for name, array in record.arrays().items()}
    again = replace(record, **given)
    for name, array in given.items():
        array[...] = 0
        assert np.array_equal(getattr(again, name), getattr(record, name), equal_nan=True), name


def test_ids_given_in_an_array_are_copied():
    ids = np.arange(3)
    record = Tokens(ids, ("a", "b", "c"))
    ids[0] = 9
    assert record.ids.tolist() == [0, 1, 2]


def test_arrays_that_are_large_or_that_nobody_can_write_to_are_not_copied(monkeypatch):
    array = softmax()
    array.flags.writeable = False
    assert np.shares_memory(patterns_from_arrays(array).base, array)
    monkeypatch.setattr(arrays, "MOST_COPIED", 100)
    large = softmax()
    assert np.shares_memory(patterns_from_arrays(large).base, large)
    writable = softmax()  # a computation's own: taken as it is, and shown read-only
    record = AttentionPatterns(writable, Tokens.of(None, 5))
    assert np.shares_memory(record.base, writable) and not record.base.flags.writeable
    assert replace(record, weighting="scores").base is record.base


def test_a_view_cannot_spoil_another_through_what_they_share(model):
    session = mw.Session(model, "w3 w4 w5 w6")
    first, second = mw.Attention(session), mw.Attention(session, weighting="value")
    before = second.data.values.copy()
    with pytest.raises(ValueError, match="read-only"):
        first.data.values[...] = 0
    with pytest.raises(ValueError, match="read-only"):
        first.data.tokens.ids[0] = 0
    assert np.array_equal(second.data.values, before)


def test_thumbnails_that_are_kept_cannot_be_written_to():
    for side in (2, 4):
        tiles = thumbnails(patterns(), side)
        with pytest.raises(ValueError, match="read-only"):
            tiles[...] = 0


@pytest.mark.parametrize("kind", RECORDS)
def test_records_of_read_only_arrays_work_without_a_warning(kind, tmp_path):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        record = RECORDS[kind]()
        again = type(record).restore(record.header(), record.arrays())
        save(again, tmp_path / "result.npz")
        assert len(again.to_pandas())
    assert not [str(one.message) for one in said]


class TestNames:
    """Display strings by id."""

    def test_they_cannot_be_changed(self):
        names = expected().names
        for change in (
            lambda: names.update({1: "x"}),
            lambda: names.__setitem__(1, "x"),
            lambda: names.pop(1),
            lambda: names.clear(),
            lambda: names.setdefault(99, "x"),
            lambda: names.__delitem__(1),
            lambda: names.__ior__({1: "x"}),
        ):
            with pytest.raises(TypeError, match="cannot be changed"):
                change()
        assert names == expected().names

    def test_what_the_user_gave_is_copied(self):
        given = {1: "one"}
        names = replace(lens(), names=given).names
        given[1] = "two"
        assert names == {1: "one"}

    def test_they_travel_as_a_dict_does(self):
        names = Names({np.int64(1): "one", 2: "two"})
        assert all(type(token) is int for token in names)
        for again in (copy.copy(names), copy.deepcopy(names), pickle.loads(pickle.dumps(names))):
            assert again == names == {1: "one", 2: "two"} and type(again) is Names
        assert {**names} == dict(names)

    def test_a_record_with_names_can_be_copied_and_pickled(self):
        record = lens()
        for again in (copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
            assert again.names == record.names
            assert np.array_equal(again.top_ids, record.top_ids)
        assert dataclasses.asdict(record)["names"] == record.names


class TestNumbers:
    """What becomes float32."""

    def test_masked_cells_are_missing_and_never_their_filling(self):
        masked = np.ma.array([[1.0, 5.0], [2.0, 3.0]], mask=[[False, True], [False, False]], fill_value=9.0)
        for given in (masked, [masked[0], masked[1]], [[1.0, np.ma.masked], [2.0, 3.0]], masked.astype(np.float64)):
            assert np.isnan(as_float32(given)[0, 1])
            assert as_float32(given)[1].tolist() == [2.0, 3.0]
        counts = np.ma.array([1, 2], mask=[False, True])
        assert as_float32(counts)[0] == 1 and np.isnan(as_float32(counts)[1])
        assert not masked.mask.flags.writeable or masked.mask[0, 1]

    def test_masked_patterns_are_missing_in_the_view(self):
        array = np.ma.array(softmax(), mask=False)
        array[0, 0, 3, 1] = np.ma.masked
        view = mw.Attention.from_data(array)
        assert np.isnan(view.data.head(0, 0)[3, 1])
        assert np.isnan(view.data.values).sum() == 1
        assert view.data.row_sum_error is None

    def test_masked_logits_are_no_numbers(self):
        logits = np.ma.array(np.zeros((3, 4)), mask=False)
        logits[1, 1] = np.ma.masked
        with pytest.raises(DataError, match="not numbers"):
            mw.data.next_tokens_from_logits(logits, [0, 1, 2])

    @pytest.mark.parametrize(
        "given",
        [
            torch.zeros(2, dtype=torch.complex64),
            torch.zeros(2, device="meta"),
            torch.zeros(2).to_sparse(),
            np.zeros(2, complex),
            np.array(["a"]),
            np.array([object()]),
            [[1.0], [2.0, 3.0]],
            [torch.zeros(2), torch.zeros(3)],
        ],
        ids=["complex", "meta", "sparse", "complex numpy", "text", "objects", "ragged", "ragged tensors"],
    )
    def test_what_is_no_array_of_numbers_is_refused(self, given):
        with pytest.raises(DataError, match="numbers"):
            as_float32(given)

    def test_too_large_for_float32_is_refused_as_infinite(self):
        with pytest.raises(DataError, match="infinite"):
            patterns_from_arrays(np.full((2, 2), 1e300))

    def test_whole_numbers_keep_their_values_or_are_refused(self):
        assert as_integers("ids", torch.tensor([1, 2])).tolist() == [1, 2]
        assert as_integers("ids", [1.0, 2.0]).tolist() == [1, 2]
        assert as_integers("ids", np.ma.array([1, 2], mask=[True, False])).tolist() == [-1, 2]
        assert as_integers("rank", [np.nan, 2.0], np.int32).tolist() == [-1, 2]
        for wrong in ([1.5], [True], ["1"], [None], [np.inf], [2**40]):
            with pytest.raises(DataError):
                as_integers("ids", wrong, np.int32)

    def test_read_only_is_the_same_memory(self):
        array = np.zeros(3)
        closed = read_only(array)
        array[0] = 1
        assert closed[0] == 1 and not closed.flags.writeable and array.flags.writeable
        assert read_only(closed) is closed


def test_tokens_with_fractions_for_ids_are_refused():
    with pytest.raises(DataError, match="whole numbers"):
        Tokens(np.array([0.5, 1.0]), ("a", "b"))


def test_a_run_without_numbers_has_no_ranks():
    record = expected()
    again = NextTokens(
        record.tokens, np.full(4, np.nan), np.full(4, np.nan), np.full(4, np.nan), record.top_ids,
        np.full_like(record.top_probs, np.nan), record.names, float("nan"),
    )  # fmt: skip
    assert again.rank.tolist() == [-1] * 4
    assert np.isnan(again.perplexity()) and np.isnan(again.max_error)
