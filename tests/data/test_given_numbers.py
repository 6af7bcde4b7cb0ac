"""Wherever a result takes a number, numpy's and torch's are numbers too, and nothing else is."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from made_patterns import softmax
from made_records import attribution, continuation, expected, lens, patterns

import mi_widgets as mw
from mi_widgets.data import (
    LogitLensComparison,
    Selection,
    Tokens,
    load,
    next_tokens_from_logits,
    patterns_from_arrays,
    save,
)
from mi_widgets.data.scores import checked_scores
from mi_widgets.errors import DataError
from mi_widgets.figures.choice import ranked

#: How a whole number may come, and a truth value.
WHOLE = {"python": int, "numpy": np.int64, "small": np.uint8, "array": np.array, "torch": torch.tensor}
TRUTH = {"python": bool, "numpy": np.bool_, "torch": torch.tensor}


@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("true", TRUTH.values(), ids=TRUTH)
def test_patterns_take_numbers_of_every_type(whole, true, tmp_path):
    record = patterns_from_arrays(
        softmax(3, 4),
        layers=[whole(number) for number in range(3)],
        kv_heads=whole(2),
        windows=whole(5),
        causal=true(True),
    )
    assert record.layers == (0, 1, 2) and record.kv_heads == 2 and record.windows == (5, 5, 5) and record.causal is True
    json.dumps(record.header())
    assert load(save(record, tmp_path / "result.npz")).header() == record.header()
    assert np.array_equal(record.head(whole(1), whole(2)), record.values[1, 2])
    assert len(record.to_pandas([whole(1)], [whole(2)], masked=true(True))) == 25
    assert record.allowed(whole(0)).shape == (5, 5)


def test_layers_may_be_an_array():
    assert patterns_from_arrays(softmax(3), layers=np.arange(3)).layers == (0, 1, 2)
    view = mw.Attention.from_data(
        softmax(3, 4), layers=torch.arange(3), kv_heads=np.int64(2), windows=np.array([5, 5, 5])
    )
    assert view.data.layers == (0, 1, 2) and view.data.windows == (5, 5, 5)


@pytest.mark.parametrize(
    "options",
    [
        {"layers": 1}, {"layers": [0.5, 1]}, {"layers": "01"}, {"layers": [True, False]}, {"layers": [None, 1]},
        {"kv_heads": 1.5}, {"kv_heads": True}, {"kv_heads": "2"}, {"kv_heads": [1]}, {"windows": 2.5}, {"windows": "5"},
        {"windows": [5, "5"]}, {"windows": [True, 5]}, {"causal": 1}, {"causal": "yes"}, {"weighting": 5},
        {"weighting": ["pattern"]}, {"weighting": "patern"}, {"model": 5},
    ],
    ids=repr,
)  # fmt: skip
def test_patterns_refuse_everything_else(options):
    with pytest.raises(DataError):
        patterns_from_arrays(softmax(), **options)


def test_a_slip_brings_the_nearest_word():
    with pytest.raises(DataError, match="Did you mean 'pattern'"):
        patterns_from_arrays(softmax(), weighting="patern")


@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)
def test_a_selection_takes_whole_numbers_of_every_type(whole):
    selection = Selection(layer=whole(1), head=whole(2), position=whole(3), heads=((whole(0), whole(1)),))
    assert selection == Selection(1, 2, position=3, heads=((0, 1),))
    json.dumps(selection.to_dict())
    assert Selection.from_dict({"layer": whole(1), "heads": [[whole(0), whole(1)]]}).heads == ((0, 1),)


def test_a_selection_takes_what_the_row_of_a_table_gives():
    row = pd.DataFrame({"layer": [2], "head": [5], "score": [0.5]}).iloc[0]  # floats, because one column is
    assert Selection(layer=row["layer"], head=row["head"]) == Selection(2, 5)
    assert Selection(heads=np.array([[0, 1], [2, 3]])).heads == ((0, 1), (2, 3))


@pytest.mark.parametrize(
    "values",
    [
        {"layer": True}, {"layer": np.True_}, {"layer": 1.5}, {"layer": -1}, {"layer": "1"}, {"layer": [1]},
        {"layer": float("nan")}, {"layer": float("inf")}, {"layer": pd.NA}, {"layer": np.array([1, 2])},
        {"layer": torch.tensor([1, 2])}, {"layer": {}}, {"heads": 5}, {"heads": [1]}, {"heads": [[1]]},
        {"heads": [[1, 2, 3]]}, {"heads": "ab"}, {"heads": [[1, 2.5]]}, {"heads": [None]}, {"heads": [[0, 1]] * 5},
    ],
    ids=repr,
)  # fmt: skip
def test_a_selection_refuses_everything_else(values):
    with pytest.raises(DataError, match="selection"):
        Selection(**values)
    with pytest.raises(DataError, match="selection"):
        Selection.from_dict(values)


@pytest.mark.parametrize("values", [None, 5, "ab", [1], [("layer", 1)]], ids=repr)
def test_a_selection_is_made_of_names_and_values(values):
    with pytest.raises(DataError, match="selection"):
        Selection.from_dict(values)


@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)
class TestMethods:
    """Of results that were computed or loaded."""

    def test_of_a_lens(self, whole, tmp_path):
        record = lens(
            layers=[whole(number) for number in range(3)], positions=[whole(n) for n in range(4)], d_vocab=whole(20)
        )
        assert record.row(whole(1)) == 1 and record.column(whole(-1 if whole is not np.uint8 else 3)) == 3
        assert record.target(whole(7)) == 1 and record.name(whole(3)) == " t3"
        assert record.targets([whole(7)]).target_ids.tolist() == [7]
        assert load(save(record, tmp_path / "result.npz")).header() == record.header()
        both = LogitLensComparison(record, lens(1), np.ones((3, 4), np.float32))
        assert both.difference("target_probability", whole(1)).shape == (3, 4)

    def test_of_an_attribution(self, whole, tmp_path):
        record = attribution(position=whole(3), answer=whole(1), foil=whole(2), difference=np.float32(2.8125))
        assert record.head_sources(whole(0), whole(1)).tolist() == [4.0, 5.0, 6.0, 7.0]
        assert len(record.sources_to_pandas(whole(0), whole(1))) == 4
        assert [row.label for row in record.rows(whole(1))] == ["L0 MLP", "rest of 4 parts", "residue"]
        assert record.label(whole(1)) == "L0 H0"
        assert load(save(record, tmp_path / "result.npz")).header() == record.header()

    def test_of_next_tokens(self, whole, tmp_path):
        record = expected()
        assert record.position(whole(2)) == 2 and len(record.candidates(whole(2))) == 3
        logits = np.zeros((3, 4))
        record = next_tokens_from_logits(logits, [whole(0), whole(1), whole(2)], top_k=whole(2))
        assert record.top_k == 2 and record.tokens.ids.tolist() == [0, 1, 2]
        assert load(save(record, tmp_path / "result.npz")).header() == record.header()
        assert record.total_surprisal(special=np.True_) == record.total_surprisal()

    def test_of_a_continuation(self, whole, tmp_path):
        record = continuation(seed=whole(5), temperature=np.float32(0.5), top_p=torch.tensor(0.5), ended=np.True_)
        assert (record.seed, record.temperature, record.top_p, record.ended) == (5, 0.5, 0.5, True)
        assert load(save(record, tmp_path / "result.npz")).header() == record.header()

    def test_of_tokens(self, whole):
        record = Tokens(
            [whole(0), whole(1)], ("a", "b"), (np.True_, torch.tensor(False)), ((whole(0), whole(1)),) * 2, "ab"
        )
        json.dumps(record.to_dict())
        assert record.special == (True, False) and record.spans == ((0, 1), (0, 1))
        assert len(record.upto(whole(0))) == 1
        assert Tokens.of([whole(4), whole(5)], 2).ids.tolist() == [4, 5]


WRONG = [True, 1.5, "1", None, [1], float("nan")]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize(
    "ask",
    [
        lambda wrong: patterns().row(wrong),
        lambda wrong: patterns().head(0, wrong),
        lambda wrong: patterns().to_pandas(layers=[wrong]),
        lambda wrong: lens().row(wrong),
        lambda wrong: lens().column(wrong),
        lambda wrong: lens().target(wrong),
        lambda wrong: lens().name(wrong),
        lambda wrong: lens().targets([wrong]),
        lambda wrong: attribution().head_sources(wrong, 0),
        lambda wrong: attribution().label(wrong),
        lambda wrong: attribution(position=wrong),
        lambda wrong: expected().position(wrong),
        lambda wrong: expected().candidates(wrong),
        lambda wrong: next_tokens_from_logits(np.zeros((3, 4)), [0, 1, 2], top_k=wrong),
        lambda wrong: continuation(seed=wrong),
        lambda wrong: patterns().tokens.upto(wrong),
    ],
)  # fmt: skip
def test_what_is_no_whole_number_is_our_error(ask, wrong):
    with pytest.raises(DataError):
        ask(wrong)


class TestScores:
    """The user's table of scores."""

    def table(self, **changes):
        return pd.DataFrame({"layer": [0, 0, 1, 1], "head": [0, 1, 0, 1], "mine": [0.1, 0.2, 0.3, 0.4], **changes})

    @pytest.mark.parametrize("kind", ["int8", "Int64", "uint32", "object"])
    def test_heads_may_be_of_any_integer_type(self, kind):
        table = self.table().astype({"layer": kind, "head": kind})
        checked = checked_scores(table)
        assert checked[["layer", "head"]].dtypes.tolist() == [np.dtype("int64")] * 2
        assert checked["mine"].tolist() == [0.1, 0.2, 0.3, 0.4]
        assert table["layer"].dtype == kind  # theirs is left alone

    @pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
    @pytest.mark.parametrize("name", ["layer", "head"])
    def test_a_head_that_is_missing_is_named(self, missing, name):
        with pytest.raises(DataError, match=f"column {name} of scores has no value in row 2"):
            checked_scores(self.table(**{name: [0, 1, missing, 3]}))

    def test_scores_that_are_missing_come_last(self):
        table = self.table(mine=pd.array([0.1, pd.NA, 0.3, 0.4], dtype="Float64"))
        assert np.isnan(checked_scores(table)["mine"][1])
        data = patterns_from_arrays(softmax(2, 2))
        order = ranked(data, [(0, 0), (0, 1), (1, 0), (1, 1)], table, "mine")
        assert [pair[:2] for pair in order] == [(1, 1), (1, 0), (0, 0), (0, 1)]
        assert mw.Attention.from_data(softmax(2, 2), scores=table, sort="mine").head_scores["mine"].isna().sum() == 1

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"layer": [0.5, 0, 1, 1]}, "whole numbers"),
            ({"layer": ["0", "0", "1", "1"]}, "whole numbers"),
            ({"head": [True, False, True, False]}, "whole numbers"),
            ({"head": [0, 0, 0, 1]}, "several rows"),
            ({"mine": [1j, 2j, 3j, 4j]}, "complex"),
        ],
    )
    def test_other_tables_are_refused(self, changes, says):
        with pytest.raises(DataError, match=says):
            checked_scores(self.table(**changes))
