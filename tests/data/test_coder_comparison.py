"""Coders compared: the front of the trade-off, the share of the loss, the table."""

from __future__ import annotations

import numpy as np
import pytest
from made_records import coder_comparison

from mi_widgets.errors import DataError


def test_the_front_holds_whom_nobody_of_the_same_output_beats():
    # c has more active and explains less than b; the transcoder writes elsewhere and is compared with nobody
    assert coder_comparison().front.tolist() == [True, True, False, True]


def test_of_two_equal_coders_both_are_on_the_front_and_one_without_numbers_is_not():
    found = coder_comparison(
        l0=np.array([8.0, 8.0, 8.0, np.nan], np.float32),
        variance_unexplained=np.array([0.25, 0.25, 0.3, 0.1], np.float32),
    )
    assert found.front.tolist() == [True, True, False, False]


def test_loss_recovered_is_the_share_between_zeros_and_the_untouched_model():
    found = coder_comparison(loss_zeroed=np.array([6.0, 6.0, 6.0, 2.0], np.float32))
    np.testing.assert_allclose(found.loss_recovered, [0.75, 0.875, 0.8125, np.nan])


def test_the_table_has_a_row_for_each_coder():
    table = coder_comparison().to_pandas()
    assert table["coder"].tolist() == ["a", "b", "c", "transcoder"]
    assert table.loc[1, ["l0", "variance_unexplained", "dead", "dense", "front"]].tolist() == [16, 0.125, 3, 0, True]


def test_a_coder_is_found_by_name_or_place():
    assert coder_comparison().coder("c") == coder_comparison().coder(2) == 2
    with pytest.raises(DataError, match="There are a, b, c, transcoder"):
        coder_comparison().coder("d")


def test_names_without_hooks_are_refused():
    with pytest.raises(DataError, match="each coder has"):
        coder_comparison(hooks_in=("blocks.0.hook_resid_post",))
