"""Numbers that a run does not have (NaN, and ranks of -1) look missing in every figure and still picture: never zero."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from made_patterns import softmax
from made_records import attribution, expected, lens

from mi_widgets import color
from mi_widgets.data import NextTokensComparison, patterns_from_arrays
from mi_widgets.figures import (
    attention_figure,
    attribution_preview_png,
    attribution_preview_svg,
    lens_preview_png,
    lens_preview_svg,
    logit_attribution_figure,
    logit_lens_figure,
    next_tokens_figure,
    next_tokens_preview_png,
    next_tokens_preview_svg,
    preview_png,
    preview_svg,
)
from mi_widgets.figures.lens_field import Drawn, field_of
from mi_widgets.figures.scale import MASKED, MISSING

NAN = float("nan")
PINK = color.MISSING["light"].lower()


@pytest.fixture(autouse=True)
def _no_warning():
    """Nothing is computed of what is no number."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def lost_patterns():
    """Layer 1 has no numbers."""
    base = softmax()
    base[1] = NAN
    return patterns_from_arrays(base, list("abcde"), causal=True)


def lost_lens(rows):
    """These rows have no numbers."""
    record = lens()
    arrays = {name: array.copy() for name, array in record.arrays().items() if name != "target_ids"}
    arrays["change"][0], arrays["next_rank"][:, -1] = NAN, -1
    for array in arrays.values():
        array[rows] = NAN if array.dtype.kind == "f" else -1
    return replace(record, **arrays)


def lost_tokens(places):
    """From these positions on there are no numbers."""
    record = expected()
    arrays = {name: array.copy() for name, array in record.arrays().items()}
    for array in arrays.values():
        array[places] = NAN if array.dtype.kind == "f" else -1
    return replace(record, **arrays)


def lost_attribution(part):
    """These parts, and so the difference, are no numbers."""
    contribution, heads, sources = (
        getattr(attribution(), name).copy() for name in ("contribution", "heads", "sources")
    )
    contribution[part], heads[0, 1], sources[0, 1, 2:] = NAN, NAN, NAN
    return attribution(contribution=contribution, heads=heads, sources=sources, difference=NAN)


ALL = slice(None)
FIGURES = {
    "patterns": lambda: attention_figure(lost_patterns(), layer=1),
    "wall": lambda: attention_figure(lost_patterns(), kind="wall"),
    **{
        f"lens by {by}": lambda by=by: logit_lens_figure(lost_lens(slice(1, 2)), color=by, width_mm=120)
        for by in ("probability", "entropy", "kl", "change", "final_rank", "next_rank", "target_probability", "target_rank")
    },
    "lens without any": lambda: logit_lens_figure(lost_lens(ALL), width_mm=120),
    "curves": lambda: logit_lens_figure(lost_lens(slice(1, 2)), kind="curves"),
    "curves of ranks": lambda: logit_lens_figure(lost_lens(slice(1, 2)), kind="curves", chart="rank"),
    "curves without any": lambda: logit_lens_figure(lost_lens(ALL), kind="curves", chart="rank"),
    **{
        f"bars of {kind}": lambda kind=kind: next_tokens_figure(lost_tokens(slice(2, None)), kind=kind)
        for kind in ("surprisal", "probability", "entropy", "candidates")
    },
    "bars without any": lambda: next_tokens_figure(lost_tokens(ALL)),
    "difference": lambda: next_tokens_figure(NextTokensComparison(expected(), lost_tokens(ALL)), kind="difference"),
    "candidates of one": lambda: next_tokens_figure(NextTokensComparison(expected(), lost_tokens(ALL)), kind="candidates"),
    **{
        f"attribution as {kind}": lambda kind=kind: logit_attribution_figure(lost_attribution(2), kind=kind, layer=0, head=1)
        for kind in ("waterfall", "bars", "map", "sources")
    },
    "attribution without any": lambda: logit_attribution_figure(lost_attribution(ALL)),
}  # fmt: skip


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_on_paper_they_have_their_colour_and_say_so(make):
    figure = make()
    assert "not a number" in {note.text for note in figure.layout.annotations}
    assert PINK in {str(shape.fillcolor).lower() for shape in figure.layout.shapes}
    for trace in figure.data:
        for axis in ("x", "y", "base"):
            values = getattr(trace, axis, None)
            assert values is None or not any(isinstance(value, float) and np.isnan(value) for value in values)


STILLS = {
    "patterns": (preview_svg, preview_png, lost_patterns),
    "lens": (lens_preview_svg, lens_preview_png, lambda: lost_lens(slice(1, 2))),
    "lens without any": (lens_preview_svg, lens_preview_png, lambda: lost_lens(ALL)),
    "tokens": (next_tokens_preview_svg, next_tokens_preview_png, lambda: lost_tokens(slice(2, None))),
    "tokens without any": (next_tokens_preview_svg, next_tokens_preview_png, lambda: lost_tokens(ALL)),
    "attribution": (attribution_preview_svg, attribution_preview_png, lambda: lost_attribution(2)),
    "attribution without any": (attribution_preview_svg, attribution_preview_png, lambda: lost_attribution(ALL)),
}


@pytest.mark.parametrize(("svg", "png", "make"), STILLS.values(), ids=STILLS)
def test_in_still_pictures_too(svg, png, make, decode_png):
    data = make()
    assert "not a number" in svg(data)
    pink = np.frombuffer(bytes.fromhex(PINK[1:]), np.uint8)
    assert (decode_png(png(data)) == pink).all(-1).sum() > 50


def test_a_position_after_which_nothing_follows_is_not_missing_but_another_is():
    field = field_of(Drawn.of(lost_lens(slice(1, 2))), "next_rank")
    assert (field.codes[:, -1] == MASKED).all()
    assert (field.codes[1, :-1] == MISSING).all()
    assert (field.codes[[0, 2], :-1] < MASKED).all()


def test_a_cell_without_numbers_names_no_token():
    texts = Drawn.of(lost_lens(slice(1, 2))).texts(8)
    assert texts[1] == ["–"] * 4
    assert "–" not in texts[0] + texts[2]


def test_a_part_without_a_number_moves_the_waterfall_nowhere():
    figure = logit_attribution_figure(lost_attribution(2))
    [bars] = [trace for trace in figure.data if trace.type == "bar"]
    known = {
        label: (start, size) for label, start, size in zip(figure.layout.yaxis.ticktext, bars.base, bars.x, strict=True)
    }
    assert known["L0 H1"][1] is None and known["residue"][1] is None and known["logit difference"][1] is None
    assert known["embedding"] == (1.0, 0.5)  # after 3 and -2


def test_the_first_token_has_no_surprisal_for_a_reason_of_its_own():
    assert "nothing stands before it" in next_tokens_preview_svg(expected())
    assert "nothing stands before it" not in next_tokens_preview_svg(lost_tokens(slice(2, None)))
