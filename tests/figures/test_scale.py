"""Values become the palette steps that the page draws, and the colour bar says true values."""

import numpy as np
import pytest

from mi_widgets import color
from mi_widgets.errors import DataError
from mi_widgets.figures.scale import MASKED, MISSING, ColorScale


@pytest.mark.parametrize(
    ("transform", "value", "row"),
    [
        ("linear", 0.25, 64),
        ("sqrt", 0.25, 128),
        ("log", 0.01, 128),  # half of four decades
        ("log", 0.00001, 0),  # below the floor
        ("linear", 1.0, 255),
        ("linear", 2.0, 255),
        ("linear", -1.0, 0),
    ],
)
def test_a_value_takes_the_row_that_its_share_of_the_range_names(transform, value, row):
    assert ColorScale(0, 1, transform).codes(np.array([value]))[0] == row


@pytest.mark.parametrize("transform", ["linear", "sqrt", "log"])
@pytest.mark.parametrize("high", [1.0, 0.9374, 0.0123, 37.2])
def test_a_tick_stands_where_its_value_is_coloured(transform, high):
    scale = ColorScale(0, high, transform)
    ticks = scale.ticks(5)
    assert [where for where, _ in ticks] == sorted(where for where, _ in ticks)
    assert ticks[0][0] == 0
    assert ticks[-1][0] == 1
    for where, label in ticks:
        share = float(label.replace("−", "-").lstrip("≤≥")) / high
        expected = {"linear": share, "sqrt": share**0.5, "log": 1 + np.log10(max(share, 1e-4)) / 4}[transform]
        assert where == pytest.approx(expected, abs=2e-3)  # labels have three digits


def test_ticks_keep_clear_of_each_other():
    for transform in ("linear", "sqrt", "log"):
        for high in (1e-9, 0.013, 0.5, 1, 3, 97, 1e6):
            places = [where for where, _ in ColorScale(0, high, transform).ticks(5)]
            assert min(np.diff(places)) > 0.16


def test_the_ends_say_when_values_lie_beyond_them():
    labels = [label for _, label in ColorScale(0.1, 0.5).ticks(5, (True, True))]
    assert labels[0] == "≤0.1"
    assert labels[-1] == "≥0.5"


def test_signed_values_are_symmetric_about_the_middle_and_always_linear():
    scale = ColorScale(-0.4, 0.4, "log", color.DIVERGING, signed=True)
    assert scale.transform == "linear"
    assert scale.unit(np.array([-0.4, -0.1, 0, 0.1, 0.4])).tolist() == pytest.approx([0, 0.375, 0.5, 0.625, 1])
    labels = [label for _, label in scale.ticks(5)]
    assert "0" in labels
    assert [label.removeprefix("−") for label in labels] == [label.removeprefix("−") for label in reversed(labels)]


def test_masked_and_missing_cells_have_colours_of_their_own():
    for theme in ("light", "dark"):
        for palette in (*color.SEQUENTIAL, color.DIVERGING):
            scale = ColorScale(0, 1, palette=palette, theme=theme)
            codes = scale.codes(np.array([[0.0, np.nan]]), np.array([[False, True]]))
            assert codes.tolist() == [[MASKED, MISSING]]
            assert scale.hex(MASKED) == color.MASKED[theme].lower()
            assert scale.hex(MISSING) == color.MISSING[theme].lower()
            rows = {tuple(row) for row in scale.table[:256].tolist()}
            assert tuple(scale.table[MISSING].tolist()) not in rows


def test_a_range_of_one_value_is_drawn_and_labelled():
    assert ColorScale(0, 0).ticks() == [(0.0, "0")]
    assert ColorScale(0, 0).codes(np.zeros(2)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"transform": "cube"}, "scale"),
        ({"palette": "jet"}, "palette"),
        ({"low": 2}, "range"),
        ({"high": np.nan}, "range"),
    ],
)
def test_what_cannot_be_a_scale_is_refused(options, word):
    with pytest.raises(DataError, match=word):
        ColorScale(**{"low": 0, "high": 1, **options})
