"""Every figure and every still picture says which interventions were made in what it shows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import made_records
import numpy as np
import pytest

import mi_widgets as mw
from mi_widgets import figures
from mi_widgets.data import AttentionComparison, LogitLensComparison, NextTokensComparison
from mi_widgets.figures.headline import changes_in, title_lines

ABLATED = (mw.Ablate(2, head=6),)
MANY = tuple(mw.Ablate(layer, head=head) for layer in range(2) for head in range(3))
SINGLE = {
    "attention": (made_records.patterns, figures.attention_figure, figures.preview_svg),
    "lens": (made_records.lens, figures.logit_lens_figure, figures.lens_preview_svg),
    "attribution": (made_records.attribution, figures.logit_attribution_figure, figures.attribution_preview_svg),
    "next tokens": (made_records.expected, figures.next_tokens_figure, figures.next_tokens_preview_svg),
}
COMPARED = {
    "attention": AttentionComparison,
    "lens": lambda a, b: LogitLensComparison(a, b, np.ones((3, 4), np.float32)),
    "next tokens": NextTokensComparison,
}


def changed(record, interventions=ABLATED):
    return replace(record, interventions=interventions)


def of_figure(figure):
    return [re.sub(r"&lt;", "<", annotation.text).replace("&gt;", ">") for annotation in figure.layout.annotations]


def of_still(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("kind", SINGLE)
def test_a_figure_and_a_still_picture_name_them(kind):
    make, figure, still = SINGLE[kind]
    record = changed(make())
    assert "L2 H6 ablated" in of_figure(figure(record))
    assert any(text.startswith("L2 H6 ablated") for text in of_still(still(record)))


@pytest.mark.parametrize("kind", SINGLE)
def test_an_untouched_run_says_nothing_of_them(kind):
    make, figure, still = SINGLE[kind]
    said = " ".join([*of_figure(figure(make())), *of_still(still(make()))])
    assert "ablated" not in said
    assert "untouched" not in said


@pytest.mark.parametrize("kind", COMPARED)
def test_a_comparison_of_two_runs_of_one_prompt_names_both_sides(kind):
    make, figure, still = SINGLE[kind]
    both = COMPARED[kind](changed(make()), make())
    assert "A: L2 H6 ablated · B: untouched" in " ".join(of_figure(figure(both, width_mm="double")))
    assert any(text.startswith("A: L2 H6 ablated · B: untouched") for text in of_still(still(both)))


def test_what_was_done_on_both_sides_is_said_once():
    both = AttentionComparison(changed(made_records.patterns()), changed(made_records.patterns(1)))
    assert changes_in(both) == "A and B: L2 H6 ablated"


def test_two_models_are_named_with_what_was_done_in_each():
    tuned = replace(made_records.patterns(), model="tuned")
    first = replace(made_records.patterns(), model="gpt2")
    assert changes_in(AttentionComparison(first, tuned)) == "A: gpt2 · B: tuned"
    assert changes_in(AttentionComparison(changed(first), tuned)) == "A: gpt2, L2 H6 ablated · B: tuned, untouched"
    assert changes_in(AttentionComparison(first, first)) == ""


def test_of_many_two_are_named_and_the_others_counted():
    record = changed(made_records.patterns(), MANY)
    assert changes_in(record) == "L0 H0 ablated, L0 H1 ablated + 4 more"


def test_it_stands_below_the_title():
    lines = title_lines("Induction heads", 600, changed(made_records.patterns()))
    assert lines == ["Induction heads", "L2 H6 ablated"]


def test_long_names_are_broken_and_cut_to_fit_the_paper():
    def a_function_whose_name_would_never_fit_into_one_line_of_a_single_column(activation, hook):
        return activation

    own = mw.Intervention(
        "blocks.2.attn.hook_z", a_function_whose_name_would_never_fit_into_one_line_of_a_single_column
    )
    figure = figures.attention_figure(changed(made_records.patterns(), (own,) * 4), width_mm=60)
    narrow = title_lines(None, figure.layout.width, changed(made_records.patterns(), (own,) * 4))
    assert len(narrow) > 1
    assert max(map(len, narrow)) <= figure.layout.width / 5
    assert narrow[-1].endswith("+ 2 more")


def test_a_name_that_looks_like_a_tag_is_printed_as_it_is():
    record = changed(made_records.patterns(), (mw.Intervention("blocks.0.hook_in", lambda activation, hook: None),))
    assert "<lambda> at blocks.0.hook_in" in title_lines(None, 600, record)
