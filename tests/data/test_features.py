"""What features are on a prompt, as a record: sparse entries, what follows from them, tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_records import feature_activations

from mi_widgets.data import load, save
from mi_widgets.errors import DataError


def test_values_are_the_entries_laid_out():
    data = feature_activations()
    assert data.values.shape == (4, 6)
    assert data.values[1].tolist() == [0.5, 0, 0, 0, 2.0, 0]
    assert data.values.sum() == data.activation.sum()
    assert data.of(4).tolist() == [0, 2, 1, 0]
    assert not data.values.flags.writeable


def test_positions_that_are_left_out_count_nowhere():
    data = feature_activations()
    assert math.isnan(data.l0[0])
    assert data.l0[1:].tolist() == [2, 1, 1]
    assert data.mean_l0 == pytest.approx(4 / 3)
    np.testing.assert_allclose(data.variance_unexplained, [np.nan, 0.25, 0.25, 1.0])
    assert data.fraction_unexplained == pytest.approx(1.75 / 4)
    assert data.scored.tolist() == [False, False, True, True]  # the token at 1 was predicted from position 0
    assert (data.loss, data.loss_spliced, data.loss_spliced_with_error, data.loss_zeroed) == (2.5, 3.25, 2.5, 6.5)
    assert data.loss_recovered == pytest.approx(3.25 / 4)
    assert data.left_out == [0]
    whole = feature_activations(squared_error=np.ones(4), squared_deviation=np.ones(4))
    assert whole.scored.tolist() == [False, True, True, True]
    assert whole.loss == 2.0
    assert whole.l0[0] == 0


def test_what_is_unknown_is_no_number():
    unasked = {"losses": np.full((4, 4), np.nan), "contribution": None, "estimate": None, "answer": None}
    data = feature_activations(**unasked)
    assert math.isnan(data.loss)
    assert math.isnan(data.loss_recovered)
    assert list(data.to_pandas()) == ["position", "token", "feature", "activation"]
    nothing = feature_activations(squared_error=np.full(4, np.nan), squared_deviation=np.full(4, np.nan))
    assert math.isnan(nothing.mean_l0)
    assert math.isnan(nothing.loss)
    assert math.isnan(nothing.fraction_unexplained)


def test_a_position_lists_its_features_largest_first():
    table = feature_activations().at(1)
    assert table["feature"].tolist() == [4, 0]
    assert feature_activations().at(-1)["contribution"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entry_features": np.array([0, 4, 4, 6])}, "entry_features has numbers outside of 0 to 5"),
        ({"entry_positions": np.array([1, 1, 2, 4])}, "entry_positions has numbers outside of 0 to 3"),
        ({"activation": np.ones(3, np.float32)}, "activation has shape [3]"),
        ({"losses": np.ones((3, 4), np.float32)}, "losses has shape [3, 4]"),
        ({"d_sae": -1}, "d_sae is -1"),
        ({"estimate": None}, "with an answer there are estimates"),
        ({"contribution": None}, "or why there are none"),
        ({"why_no_contribution": "no way"}, "or why there are none"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(changes, said):
    with pytest.raises(DataError) as refused:
        feature_activations(**changes)
    assert said in str(refused.value)


def test_a_prompt_without_any_active_feature_is_a_result_too(tmp_path):
    none = {name: np.array([]) for name in ("activation", "contribution", "estimate")}
    data = feature_activations(entry_positions=np.array([], int), entry_features=np.array([], int), **none)
    assert data.mean_l0 == 0
    assert not len(data.to_pandas())
    save(data, tmp_path / "none.npz")
    assert load(tmp_path / "none.npz").values.shape == (4, 6)
