"""Numbers, truth values and words come in many types; none is taken for another."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from mi_widgets.data.integers import integer, integers, is_integer, is_number, number, place, truth, word
from mi_widgets.errors import DataError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_every_integer_type_is_taken(value):
    assert is_integer(value)
    assert integer("layer", value) == 3
    assert type(integer("layer", value)) is int


@pytest.mark.parametrize(
    "value",
    [
        True, np.True_, np.array(True), torch.tensor(True), 2.5, 3.0, np.float64(3), torch.tensor(3.0), "3", None, [3],
        np.array([3.0]), np.ma.masked, np.ma.array(3, mask=True), pd.NA, float("nan"),
    ],
    ids=repr,
)  # fmt: skip
def test_nothing_else_is(value):
    assert not is_integer(value)
    with pytest.raises(DataError, match="layer"):
        integer("layer", value)


def test_a_list_is_asked_for_by_name():
    assert integers("layers", np.array([0, 2])) == [0, 2]
    for wrong in (3, "01", np.array(1)):
        with pytest.raises(DataError, match=r"layers=\["):
            integers("layers", wrong)
    with pytest.raises(DataError, match="layers"):
        integers("layers", [0, 1.5])


@pytest.mark.parametrize(
    "value",
    [2.5, np.float32(2.5), np.array(2.5), torch.tensor(2.5), torch.tensor(2.5, dtype=torch.bfloat16), Fraction(5, 2)],
)
def test_every_type_of_number_is_one(value):
    assert is_number(value)
    assert number("scale", value) == 2.5
    assert type(number("scale", value)) is float
    assert number("scale", np.int64(2)) == 2.0


@pytest.mark.parametrize(
    "value",
    [
        True, np.True_, torch.tensor(True), "2", np.str_("2"), np.array("2"), None, pd.NA, 2j, np.complex64(2),
        torch.tensor(2 + 0j), [2.0], np.array([2.0]), torch.tensor([2.0]), np.ma.masked, np.datetime64(2, "s"), object(),
    ],
    ids=repr,
)  # fmt: skip
def test_no_number_is_made_of_anything_else(value):
    assert not is_number(value)
    with pytest.raises(DataError, match="scale"):
        number("scale", value)


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf"), torch.tensor(-torch.inf)], ids=repr)
def test_a_finite_number_is_asked_for_unless_said_otherwise(value):
    with pytest.raises(DataError, match="finite"):
        number("scale", value)
    assert type(number("scale", value, finite=False)) is float


@pytest.mark.parametrize("value", [True, np.True_, np.array(True), torch.tensor(True)], ids=repr)
def test_truth_values_of_every_type_are_taken(value):
    assert truth("causal", value) is True


@pytest.mark.parametrize("value", [1, 0, 1.0, "yes", None, [True], np.array([True]), np.ma.masked, pd.NA], ids=repr)
def test_nothing_else_is_true_or_false(value):
    with pytest.raises(DataError, match="causal"):
        truth("causal", value)


def test_an_index_lies_below_its_count():
    assert place("head", np.int64(2), 3) == 2
    for wrong in (3, -1):
        with pytest.raises(DataError, match=f"head {wrong} does not exist. There are heads 0 to 2"):
            place("head", wrong, 3)


def test_a_slip_of_a_word_brings_the_nearest():
    assert word("scale", np.str_("log"), ("linear", "log")) == "log"
    with pytest.raises(DataError, match=r"unknown scale 'liner'. Did you mean 'linear'\? Choose one of linear, log."):
        word("scale", "liner", ("linear", "log"))
    for wrong in (None, 3, ["log"], np.array(["log"])):
        with pytest.raises(DataError, match="unknown scale"):
            word("scale", wrong, ("linear", "log"))
