"""Options of figures: numbers of every type draw the same figure, and whatever else comes is our error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from made_records import RECORDS

from mi_widgets import figures
from mi_widgets.errors import DataError

PATTERNS, LENS, ATTRIBUTION, NEXT = (
    RECORDS[kind]() for kind in ("AttentionPatterns", "LogitLens", "LogitAttribution", "NextTokens")
)
#: By name: the function, its data, and options as plain numbers.
ASKED = {
    "one head": (figures.attention_figure, PATTERNS, {"layer": 1, "head": 2, "width_mm": 90, "height_mm": 70}),
    "heads": (figures.attention_figure, PATTERNS, {"heads": [(0, 1), (1, 2)], "shared_range": False, "zrange": (0, 1)}),
    "sorted": (figures.attention_figure, PATTERNS, {"layer": 1, "sort": "entropy", "descending": False}),
    "lens": (figures.logit_lens_figure, LENS, {"layers": [0, 1], "positions": [1, 2], "text": False}),
    "pinned": (figures.logit_lens_figure, LENS, {"color": "target_rank", "target": 1, "zrange": (0, 9)}),
    "curves": (figures.logit_lens_figure, LENS, {"kind": "curves", "position": 2, "height_mm": 60}),
    "candidates": (figures.next_tokens_figure, NEXT, {"kind": "candidates", "position": 1, "top": 2}),
    "waterfall": (figures.logit_attribution_figure, ATTRIBUTION, {"top": 2}),
    "sources": (figures.logit_attribution_figure, ATTRIBUTION, {"kind": "sources", "layer": 0, "head": 1}),
    "wall preview": (figures.preview_svg, PATTERNS, {"layer": 1, "head": 2}),
    "lens preview": (figures.lens_preview_svg, LENS, {"color": "target_rank", "target": 1}),
    "prompt preview": (figures.next_tokens_preview_svg, NEXT, {"position": 1}),
    "attribution preview": (figures.attribution_preview_svg, ATTRIBUTION, {"layer": 0, "head": 1, "top": 2}),
}
WRONG = [object(), [None], {"a": 1}, "7x", float("nan"), -(2**70), 1j, np.zeros((2, 2)), torch.zeros(3), pd.NA, [[]]]


def converted(value, make):
    """`value` with every number and truth value in it made by `make`."""
    if isinstance(value, (list, tuple)):
        return type(value)(converted(entry, make) for entry in value)
    return make(value) if isinstance(value, (bool, int, float)) else value


def as_text(figure):
    return figure if isinstance(figure, str) else figure.to_json()


@pytest.mark.parametrize(
    "make", [np.array, torch.tensor, lambda value: np.array([value])[0]], ids=["array", "torch", "numpy"]
)
@pytest.mark.parametrize(("draw", "data", "options"), ASKED.values(), ids=ASKED)
def test_numbers_of_every_type_draw_the_same(draw, data, options, make):
    assert as_text(draw(data, **{name: converted(value, make) for name, value in options.items()})) == as_text(
        draw(data, **options)
    )


@pytest.mark.parametrize(("draw", "data", "options"), ASKED.values(), ids=ASKED)
def test_everything_else_is_our_error(draw, data, options):
    for name in [*options, "theme", "title"]:
        for wrong in WRONG:
            if name == "title" and isinstance(wrong, str):
                continue
            with pytest.raises(DataError):
                draw(data, **{**options, name: wrong})


@pytest.mark.parametrize("draw", [draw for draw, _, _ in ASKED.values()])
@pytest.mark.parametrize(
    "strange", [None, 5, "text", np.zeros((2, 2)), pd.DataFrame(), RECORDS["Continuation"]()], ids=type
)
def test_what_is_no_result_is_our_error(draw, strange):
    with pytest.raises(DataError):
        draw(strange)


@pytest.mark.parametrize("dpi", [0, -300, 9, 1e9, "300", None, True, float("nan"), [300]], ids=repr)
def test_a_resolution_that_means_nothing_is_refused(dpi, tmp_path):
    with pytest.raises(DataError, match="dpi"):
        figures.save_figure(figures.next_tokens_figure(NEXT), tmp_path / "figure.png", dpi=dpi)


@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        ({"kind": "wal"}, "wall"),
        ({"scale": "squrt"}, "sqrt"),
        ({"palette": "ambre"}, "amber"),
        ({"theme": "drak"}, "dark"),
    ],
)
def test_a_slip_brings_the_nearest_word(options, nearest):
    with pytest.raises(DataError, match=f"Did you mean '{nearest}'"):
        figures.attention_figure(PATTERNS, layer=1, **options)
