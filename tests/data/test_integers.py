"""Whole numbers come in many types; truth values and fractions are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mi_widgets.data.integers import integer, integers, is_integer
from mi_widgets.errors import DataError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_every_integer_type_is_taken(value):
    assert is_integer(value)
    assert integer("layer", value) == 3
    assert type(integer("layer", value)) is int


@pytest.mark.parametrize("value", [True, np.True_, 2.5, 3.0, "3", None, [3], np.array([3.0])])
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
