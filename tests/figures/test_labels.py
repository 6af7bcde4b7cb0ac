"""Tokens as printed labels."""

import pytest

from mi_widgets.figures.labels import TokenAxis, columns, every, markup, prose, token_label


def test_whitespace_shows_as_marks():
    assert token_label(" the\n") == "·the↵"


def test_wide_characters_count_double_and_joiners_not_at_all():
    assert columns("漢字") == 4
    assert columns("e\u0301") == 1


@pytest.mark.parametrize(
    ("token", "label"), [("\ud800", "⟨D800⟩"), ("\uffff", "⟨FFFF⟩"), ("\x85", "⟨85⟩"), ("\x00", "␀"), ("漢", "漢")]
)
def test_what_xml_cannot_hold_shows_as_its_code(token, label):
    assert token_label(token) == label


def test_a_long_token_is_cut_with_an_ellipsis_and_never_wider_than_asked():
    for token in ("y" * 10_000, "漢" * 50, "ab\x85" * 30):
        label = token_label(token, 12)
        assert label.endswith("…")
        assert columns(label) <= 12


def test_a_label_that_just_fits_is_whole():
    assert token_label("abcdef", 6) == "abcdef"


def test_markup_leaves_plotly_nothing_to_interpret():
    assert markup("<b>&$x$") == "&lt;b&gt;&amp;&#36;x&#36;"


def test_prose_keeps_spaces_and_is_cut_like_a_label():
    assert prose("a b\nc", 20) == "a b↵c"
    assert columns(prose("word " * 50, 20)) <= 20


@pytest.mark.parametrize(("pitch", "step"), [(10, 1), (6, 2), (1, 10), (0.3, 50)])
def test_labels_thin_out_in_round_steps(pitch, step):
    shown = every(500, pitch, 10)
    assert shown[:2] == [0, step]
    assert step * pitch >= 10


def test_a_thinned_axis_numbers_its_labels():
    axis = TokenAxis.fit([f" w{position}" for position in range(100)], 200, 60, (9, 8))
    assert axis.labels[1] == f"·w{axis.positions[1]} {axis.positions[1]}"
    whole = TokenAxis.fit([" a", " a"], 200, 60, (9, 8))
    assert whole.labels == ["·a", "·a"]
