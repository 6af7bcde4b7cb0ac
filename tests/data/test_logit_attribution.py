"""An attribution as plain data: its tables, its rows, its files, and what it refuses; no model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mi_widgets.data import LogitAttribution, Tokens, load, save
from mi_widgets.errors import DataError

KINDS = ("embedding", "head", "head", "mlp", "attention bias", "neuron", "rest", "norm bias")
LAYERS = [-1, 0, 0, 0, 0, 1, 1, -1]
HEADS = [-1, 0, 1, -1, -1, -1, -1, -1]
NEURONS = [-1, -1, -1, -1, -1, 7, -1, -1]
SHARES = [0.5, -2.0, 1.25, 3.0, 0.125, -0.75, 0.25, 0.0625]


def attribution(**changes):
    given = {
        "tokens": Tokens(np.arange(3), ("a", " b", " c")),
        "position": 2,
        "answer": 1,
        "answer_string": " b",
        "foil": 0,
        "foil_string": "a",
        "by": "head",
        "part_kinds": KINDS,
        "part_layers": LAYERS,
        "part_heads": HEADS,
        "part_neurons": NEURONS,
        "contribution": SHARES,
        "difference": 2.4375,
        "mlps": np.array([3.0, -0.5], np.float32),
        "heads": np.array([[-2.0, 1.25], [0.0, 0.0]], np.float32),
        "sources": np.arange(12, dtype=np.float32).reshape(2, 2, 3),
    }
    return LogitAttribution(**{**given, **changes})


def test_the_residue_is_what_the_parts_leave():
    assert attribution().residue == 0.0
    assert attribution().holds
    left = attribution(difference=2.5)
    assert left.residue == 0.0625
    assert not left.holds
    assert attribution(difference=2.5, tolerance=0.1).holds


@pytest.mark.parametrize(("difference", "want"), [(0.2, 1e-4), (-30.0, 3e-3)])
def test_the_residue_allowed_grows_with_the_difference(difference, want):
    assert attribution(difference=difference).tolerance == pytest.approx(want)


def test_every_part_has_a_label_of_its_own():
    labels = attribution().labels
    assert labels == (
        "embedding", "L0 H0", "L0 H1", "L0 MLP", "L0 attention bias", "L1 neuron 7", "L1 other neurons", "norm bias",
    )  # fmt: skip
    assert len(set(labels)) == len(labels)


def test_the_table_has_one_row_for_each_part_and_sums_to_the_difference():
    table = attribution().to_pandas()
    assert list(table.columns) == ["part", "kind", "layer", "head", "neuron", "contribution"]
    assert table["contribution"].sum() == attribution().difference
    assert table.attrs == {"difference": 2.4375, "residue": 0.0}
    assert table["head"].tolist()[1:3] == [0, 1]
    assert pd.isna(table["head"][0])
    assert table["neuron"][5] == 7
    assert table["layer"].isna().tolist() == [layer < 0 for layer in LAYERS]


def test_rows_are_the_largest_parts_the_rest_and_the_residue():
    rows = attribution(difference=2.5).rows(3)
    assert [row.label for row in rows] == ["L0 MLP", "L0 H0", "L0 H1", "rest of 5 parts", "residue"]
    assert [row.contribution for row in rows] == [3.0, -2.0, 1.25, 0.1875, 0.0625]
    assert sum(row.contribution for row in rows) == 2.5
    assert [row.part for row in rows] == [3, 1, 2, None, None]


def test_rows_can_stand_in_the_models_order():
    rows = attribution().rows(3, sort="model")
    assert [row.label for row in rows] == ["L0 H0", "L0 H1", "L0 MLP", "rest of 5 parts", "residue"]


def test_a_rest_of_one_part_is_that_part():
    labels = [row.label for row in attribution().rows(7)]
    assert labels[-2:] == ["norm bias", "residue"]


@pytest.mark.parametrize("most", [None, 8, 100])
def test_where_all_parts_are_shown_there_is_no_rest(most):
    rows = attribution().rows(most)
    assert len(rows) == 9
    assert not any("rest" in row.label for row in rows)


def test_no_part_shown_is_all_rest():
    assert [row.label for row in attribution().rows(0)] == ["rest of 8 parts", "residue"]


def test_sources_of_one_head_and_as_a_table():
    data = attribution()
    assert data.head_sources(1, 0).tolist() == [6.0, 7.0, 8.0]
    table = data.sources_to_pandas(layer=1)
    assert list(table.columns) == ["layer", "head", "position", "token", "contribution"]
    assert len(table) == 6
    assert table.query("head == 1 and position == 2")["contribution"].item() == 11.0
    assert set(table["token"]) == {"a", " b", " c"}
    assert len(data.sources_to_pandas()) == 12


@pytest.mark.parametrize(("layer", "head", "says"), [(2, 0, "layer 2"), (0, 2, "head 2"), (-1, 0, "layer -1")])
def test_heads_that_do_not_exist_are_named(layer, head, says):
    with pytest.raises(DataError, match=says):
        attribution().head_sources(layer, head)


def test_sources_that_are_not_known_say_why():
    with pytest.raises(DataError, match="compressed"):
        attribution(sources=None, why_no_sources="values are compressed.").head_sources(0, 0)


@pytest.mark.parametrize("changes", [{}, {"foil": None, "foil_string": None}, {"heads": None, "sources": None}])
def test_a_file_gives_the_same_result_back(changes, tmp_path):
    data = attribution(why_no_heads="as a test", max_error=1e-6, model="tiny", **changes)
    again = load(save(data, tmp_path / "result.npz"))
    assert isinstance(again, LogitAttribution)
    assert again.header() == data.header()
    assert again.arrays().keys() == data.arrays().keys()
    for name, array in data.arrays().items():
        assert np.array_equal(again.arrays()[name], array)
        assert again.arrays()[name].dtype == array.dtype


def test_without_a_foil_it_is_a_logit():
    assert attribution().quantity == "logit difference"
    assert attribution(foil=None, foil_string=None).quantity == "logit"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"by": "token"}, "component, layer, head, neuron"),
        ({"position": 3}, "position 3"),
        ({"contribution": SHARES[:-1]}, r"contribution has shape \[7\]"),
        ({"part_layers": [LAYERS]}, "part_layers"),
        ({"part_kinds": (*KINDS[:-1], "soft-cap")}, "soft-cap"),
        ({"mlps": np.zeros((2, 1), np.float32)}, r"mlps has shape \[2, 1\]"),
        ({"heads": np.zeros((3, 2), np.float32)}, r"heads has shape \[3, 2\]"),
        ({"sources": np.zeros((2, 2, 4), np.float32)}, r"sources has shape \[2, 2, 4\]"),
        ({"heads": None}, "sources"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_axis(changes, says):
    with pytest.raises(DataError, match=says):
        attribution(**changes)


def test_an_unknown_order_lists_the_known_ones():
    with pytest.raises(DataError, match="model, size"):
        attribution().order("label")
