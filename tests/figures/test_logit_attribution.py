"""Attribution figures: rows that add up to the model's number, the screen's colours, exact sizes, plain refusals."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from mi_widgets import color
from mi_widgets.data import Ablate, LogitAttribution, LogitAttributionComparison, Tokens
from mi_widgets.errors import DataError
from mi_widgets.figures import (
    attribution_preview_png,
    attribution_preview_svg,
    logit_attribution_figure,
    save_figure,
)
from mi_widgets.figures.amounts import amount, amounts, even_ticks
from mi_widgets.figures.labels import columns
from mi_widgets.figures.plotted import HOVER_ONLY
from mi_widgets.figures.style import pt, px

STORY = ("<bos>", "When", " Mary", " and", " John", " went", " to")


def attribution(strings=STORY, layers=3, heads=4, seed=0, residue=0.0, loud=1.0, **changes):
    """An attribution by head whose parts add up to the difference, but for `residue`. MLPs are `loud` times louder."""
    random = np.random.default_rng(seed)
    count = len(strings)
    position = count - 2
    sources = random.normal(size=(layers, heads, count)).astype(np.float32)
    sources[:, :, position + 1 :] = 0.0
    table = sources.sum(-1)
    mlps = (loud * random.normal(size=layers)).astype(np.float32)
    kinds, part_layers, part_heads, shares = ["embedding"], [-1], [-1], [0.5]
    for layer in range(layers):
        kinds += [*["head"] * heads, "mlp"]
        part_layers += [layer] * (heads + 1)
        part_heads += [*range(heads), -1]
        shares += [*table[layer].tolist(), float(mlps[layer])]
    given = {
        "tokens": Tokens(np.arange(count), tuple(strings)),
        "position": position,
        "answer": 2,
        "answer_string": " Mary",
        "foil": 4,
        "foil_string": " John",
        "by": "head",
        "part_kinds": tuple(kinds),
        "part_layers": part_layers,
        "part_heads": part_heads,
        "part_neurons": [-1] * len(kinds),
        "contribution": shares,
        "difference": float(np.float32(shares).astype(np.float64).sum()) + residue,
        "mlps": mlps,
        "heads": table,
        "sources": sources,
        "model": "tiny",
    }
    return LogitAttribution(**{**given, **changes})


def bars_of(figure):
    """`{label: (start, end)}` in the order of drawing."""
    trace = figure.data[0]
    labels = [text.replace("&lt;", "<").replace("&gt;", ">") for text in figure.layout.yaxis.ticktext]
    return {label: (start, start + size) for label, start, size in zip(labels, trace.base, trace.x, strict=True)}


def notes(figure):
    return [note.text for note in figure.layout.annotations]


# --- what is drawn ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", ["size", "model"])
@pytest.mark.parametrize("top", [1, 5, 100])
def test_a_waterfall_goes_step_by_step_from_zero_to_the_difference(top, sort):
    data = attribution()
    bars = bars_of(logit_attribution_figure(data, top=top, sort=sort))
    steps = list(bars.values())
    assert steps[0][0] == 0
    for (_, end), (start, _) in pairwise(steps[:-1]):
        assert start == pytest.approx(end)
    assert steps[-2][1] == pytest.approx(data.difference)
    assert steps[-1] == (0.0, data.difference)
    assert list(bars)[-2:] == ["residue", "logit difference"]
    rest = [label for label in bars if label.startswith("rest of")]
    assert rest == ([] if top >= 16 else [f"rest of {16 - top} parts"])
    for row in data.rows(top, sort):
        start, end = bars[row.label]
        assert end - start == pytest.approx(row.contribution, abs=1e-9)


def test_bars_all_start_at_zero():
    data = attribution()
    bars = bars_of(logit_attribution_figure(data, kind="bars", top=4))
    assert {start for start, _ in bars.values()} == {0}
    assert [end for _, end in bars.values()] == pytest.approx([row.contribution for row in data.rows(4)])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_sign_has_the_two_ends_of_the_diverging_palette_and_both_are_named(theme):
    figure = logit_attribution_figure(attribution(), kind="bars", theme=theme)
    table = color.hex_colors("blue_orange" if theme == "light" else "blue_orange_dark")
    for size, ink in zip(figure.data[0].x, figure.data[0].marker.color, strict=True):
        assert ink == table[211 if size >= 0 else 44]
    assert {"for ·Mary", "for ·John"} <= set(notes(figure))
    alone = logit_attribution_figure(attribution(foil=None, foil_string=None))
    assert {"for ·Mary", "against ·Mary"} <= set(notes(alone))
    assert alone.layout.yaxis.ticktext[-1] == "logit"


def test_every_number_stands_beside_its_bar():
    data = attribution()
    figure = logit_attribution_figure(data, kind="bars", top=3)
    shown = notes(figure)
    for text in amounts([row.contribution for row in data.rows(3)])[:-1]:
        assert text in shown


def test_the_heading_says_what_where_and_how_much():
    data = attribution()
    words = " ".join(notes(logit_attribution_figure(data, title="Who gets the drink?", width_mm=174)))
    assert "Who gets the drink?" in words
    assert 'logit difference ·Mary − ·John after "·went" (position 5)' in words
    assert amount(data.difference, plus=True) in words


def test_parts_that_do_not_sum_say_so_on_the_figure():
    assert not any("do not sum" in note for note in notes(logit_attribution_figure(attribution())))
    broken = logit_attribution_figure(attribution(residue=0.5))
    assert any("residue +0.5: the parts do not sum up" in note for note in notes(broken))
    assert bars_of(broken)["residue"][1] - bars_of(broken)["residue"][0] == pytest.approx(0.5)


def test_sources_are_the_tokens_in_order_and_sum_to_the_head():
    data = attribution()
    bars = bars_of(logit_attribution_figure(data, kind="sources", layer=1, head=2, width_mm=120))
    assert list(bars) == ["<bos> 0", "When 1", "·Mary 2", "·and 3", "·John 4", "·went 5", "L1 H2"]
    ends = [end for _, end in bars.values()]
    assert ends[:-1] == pytest.approx(data.sources[1, 2, :6].tolist())
    assert sum(ends[:-1]) == pytest.approx(ends[-1], abs=1e-5)


def test_of_many_sources_the_largest_stand_and_the_rest_is_one():
    data = attribution([f" w{number}" for number in range(40)])
    bars = bars_of(logit_attribution_figure(data, kind="sources", layer=0, head=0, top=5))
    assert len(bars) == 7
    kept = np.sort(np.argsort(-np.abs(data.sources[0, 0, :39]))[:5])
    assert list(bars)[:5] == [f"·w{place} {place}" for place in kept]
    assert list(bars)[5] == "rest of 34 tokens"
    assert sum(end for _, end in list(bars.values())[:-1]) == pytest.approx(float(data.heads[0, 0]), abs=1e-5)


def test_without_a_choice_sources_are_those_of_the_largest_head():
    data = attribution()
    layer, head = np.unravel_index(np.abs(data.heads).argmax(), data.heads.shape)
    assert list(bars_of(logit_attribution_figure(data, kind="sources")))[-1] == f"L{layer} H{head}"


def map_axes(figure):
    """`{xaxis name: (xaxis, yaxis)}` of the hover maps: heads first, then MLPs."""
    return [
        (figure.layout["xaxis" + trace.xaxis[1:]], figure.layout["yaxis" + trace.yaxis[1:]], trace)
        for trace in figure.data
        if trace.meta == HOVER_ONLY
    ]


def test_the_map_has_a_cell_for_each_head_and_the_mlps_apart():
    data = attribution()
    heads, mlps = map_axes(logit_attribution_figure(data, kind="map"))
    assert np.array_equal(heads[2].z, data.heads)
    assert np.array_equal(mlps[2].z, data.mlps[:, None])
    assert heads[0].domain[1] < mlps[0].domain[0]  # a gap between them
    assert heads[1].range == (2.5, -0.5)  # layer 0 at the top
    assert "MLP" in notes(logit_attribution_figure(data, kind="map"))
    bare = logit_attribution_figure(attribution(mlps=np.full(3, np.nan, np.float32)), kind="map")
    assert len(map_axes(bare)) == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_cells_of_the_map_have_the_diverging_colours_symmetric_about_zero(theme, tmp_path, colors_at):
    data = attribution()
    figure = logit_attribution_figure(data, kind="map", theme=theme)
    path = save_figure(figure, tmp_path / "map.png")
    x, y, _ = map_axes(figure)[0]
    points = [
        [
            x.domain[0] + (x.domain[1] - x.domain[0]) * (head + 0.5) / 4,
            1 - (y.domain[1] - (y.domain[1] - y.domain[0]) * (layer + 0.5) / 3),
        ]
        for layer in range(3)
        for head in range(4)
    ]
    table = color.hex_colors(color.DIVERGING if theme == "light" else f"{color.DIVERGING}_dark")
    high = float(np.abs(data.heads).max())
    want = [table[min(255, int((float(value) / high + 1) / 2 * 256))] for value in data.heads.ravel()]
    assert colors_at(path.read_bytes(), points) == want


def test_mlps_beyond_the_heads_range_are_marked_on_the_legend():
    ticks = [
        text
        for name in logit_attribution_figure(attribution(loud=50.0), kind="map").layout
        if name.startswith("yaxis")
        for text in (logit_attribution_figure(attribution(loud=50.0), kind="map").layout[name].ticktext or ())
    ]
    assert any(text.startswith("≥") for text in ticks)


def test_a_chosen_head_is_outlined_in_the_accent_colour():
    figure = logit_attribution_figure(attribution(), kind="map", layer=2, head=1)
    marked = [shape for shape in figure.layout.shapes if shape.line.color == color.ACCENT["light"]]
    assert [(shape.x0, shape.x1, shape.y0, shape.y1) for shape in marked] == [(0.5, 1.5, 1.5, 2.5)]


# --- the paper --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["waterfall", "bars", "map", "sources"])
@pytest.mark.parametrize("width_mm", [60, 83, "double"])
def test_figures_are_as_wide_as_asked_and_nothing_is_small_or_outside(kind, width_mm):
    figure = logit_attribution_figure(attribution(), kind=kind, width_mm=width_mm, title="A title " * 9)
    layout = figure.layout
    assert layout.width == pytest.approx(px({"double": 174}.get(width_mm, width_mm)))
    for note in layout.annotations:
        size = note.font.size or layout.template.layout.font.size
        assert size >= pt(6) - 1e-9
        assert -1e-9 <= note.x <= 1 + 1e-9
        assert -1e-9 <= note.y <= 1 + 1e-9
        if note.textangle is None and note.xanchor == "left":
            assert note.x * layout.width + 0.5 * size * columns(note.text) <= layout.width + size
    for name in layout:
        if name.startswith(("xaxis", "yaxis")):
            assert layout[name].tickfont.size is None or layout[name].tickfont.size >= pt(6) - 1e-9
    if kind != "map":
        widest = max(columns(text) for text in bars_of(figure)) * 0.5 * layout.yaxis.tickfont.size
        assert widest <= layout.xaxis.domain[0] * layout.width


@pytest.mark.parametrize("kind", ["waterfall", "map"])
def test_height_is_kept_where_it_is_asked_for(kind):
    assert logit_attribution_figure(attribution(), kind=kind, height_mm=90).layout.height == pytest.approx(px(90))


@pytest.mark.parametrize("kind", ["waterfall", "bars", "map", "sources"])
def test_every_kind_is_written_as_vectors(kind, tmp_path):
    path = save_figure(logit_attribution_figure(attribution(), kind=kind), tmp_path / "figure.svg")
    text = path.read_text(encoding="utf-8")
    assert "<image" not in text
    assert "Mary" in text


def test_a_large_model_still_fits_a_page():
    data = attribution(layers=48, heads=64)
    figure = logit_attribution_figure(data, kind="map", width_mm="double")
    assert figure.layout.height <= px(297)
    assert len(bars_of(logit_attribution_figure(data))) == 19


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "pie"}, "waterfall, bars, map, sources"),
        ({"top": 0}, "top"),
        ({"sort": "name"}, "model, size"),
        ({"theme": "sepia"}, "light, dark"),
        ({"width_mm": "huge"}, "width"),
        ({"height_mm": 3}, "height_mm"),
        ({"height_mm": 20}, "rows do not fit"),
        ({"kind": "map", "layer": 1}, "Give both"),
        ({"kind": "map", "layer": 3, "head": 0}, "layer 3"),
        ({"kind": "sources", "layer": 0, "head": 4}, "head 4"),
        ({"kind": "map", "height_mm": 18}, "cells"),
    ],
)
def test_wrong_options_say_what_there_is(options, says):
    with pytest.raises(DataError, match=says):
        logit_attribution_figure(attribution(), **options)


@pytest.mark.parametrize("kind", ["map", "sources"])
def test_heads_that_are_not_known_say_why(kind):
    data = attribution(heads=2, why_no_heads="they are quantised.")
    unknown = LogitAttribution(**{**vars_of(data), "heads": None, "sources": None})
    with pytest.raises(DataError, match="quantised"):
        logit_attribution_figure(unknown, kind=kind)
    assert bars_of(logit_attribution_figure(unknown))


def vars_of(data):
    return {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}


def test_what_is_no_attribution_is_refused():
    with pytest.raises(DataError, match="no attribution"):
        logit_attribution_figure(np.zeros(3))


@pytest.mark.parametrize("kind", ["waterfall", "sources", "map"])
def test_hostile_tokens_stay_text(kind, hostile):
    data = attribution([*hostile, "end"], answer_string=hostile[0], foil_string=hostile[1])
    figure = logit_attribution_figure(data, kind=kind)
    page = figure.to_json()
    for text in [*notes(figure), *(figure.layout.yaxis.ticktext or ())]:
        assert "<b>" not in text
        assert "<script" not in text
        assert "$\\frac" not in text
        assert columns(text) < 300
    assert "\\ud800" not in page.lower()


# --- the still picture ------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("changes", [{}, {"foil": None, "foil_string": None}, {"loud": 0.0}])
def test_the_still_picture_is_well_formed_and_says_what_it_shows(theme, changes):
    text = attribution_preview_svg(attribution(**changes), theme=theme)
    root = ElementTree.fromstring(text)
    assert root.attrib["width"] == "760"
    words = " ".join(element.text or "" for element in root.iter())
    assert "residue" in words
    assert "·Mary" in words
    assert "layer × head" in words


def test_the_still_picture_survives_hostile_tokens(hostile):
    data = attribution([*hostile, "end"], answer_string=hostile[1], foil_string=hostile[8])
    ElementTree.fromstring(attribution_preview_svg(data, 0, 1, title="".join(hostile[:4])))
    assert attribution_preview_png(data).startswith(b"\x89PNG")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_still_picture_as_png_holds_both_signs_and_the_outlined_head(theme, decode_png):
    pixels = decode_png(attribution_preview_png(attribution(), 1, 2, theme=theme))
    assert pixels.shape[1] == 760
    table = color.hex_colors(color.DIVERGING if theme == "light" else f"{color.DIVERGING}_dark")
    found = {f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in np.unique(pixels.reshape(-1, 3), axis=0)}
    assert {table[44], table[211], color.ACCENT[theme].lower()} <= found


def test_the_still_picture_draws_without_heads_too(decode_png):
    data = LogitAttribution(**{**vars_of(attribution()), "heads": None, "sources": None})
    assert "layer × head" not in attribution_preview_svg(data)
    assert decode_png(attribution_preview_png(data)).shape[1] == 760


def test_the_still_picture_says_where_parts_do_not_sum():
    assert "do not sum" in attribution_preview_svg(attribution(residue=1.0))
    assert "do not sum" not in attribution_preview_svg(attribution())


def test_the_still_picture_waits_neither_for_plotly_nor_torch():
    code = (
        "import sys; from mi_widgets.figures import attribution_preview_png; "
        "print(sorted({'plotly', 'torch'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


# --- numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.5, "+1.5"), (-0.25, "−0.25"), (1e-9, "+1e−9"), (-12345.0, "−1.23e4"), (float("nan"), "–")],
)
def test_a_number_has_three_digits_and_a_true_minus(value, text):
    assert amount(value, plus=True) == text


def test_numbers_of_one_picture_share_their_decimals():
    assert amounts([15.126, -0.0291, 0.0]) == ["+15.13", "−0.03", "0"]
    assert amounts([0.0123, -0.0004]) == ["+0.0123", "−0.0004"]
    assert amounts([]) == []


@pytest.mark.parametrize(("low", "high"), [(-0.3, 15.0), (0.0, 1e-6), (-7.0, 0.0), (2.0, 2.0), (-1e5, 1e5)])
def test_ticks_are_round_and_inside(low, high):
    ticks = even_ticks(low, high)
    assert 1 <= len(ticks) <= 12
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    if low < 0 < high:
        assert 0 in ticks


# --- two of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["waterfall", "bars", "map", "sources"])
def test_of_two_attributions_a_minus_b_is_drawn_and_said(kind):
    a, b = attribution(), attribution(seed=1)
    both = LogitAttributionComparison(a, b)
    figure = logit_attribution_figure(both, kind=kind, width_mm=174)
    words = " ".join(notes(figure))
    assert f"A {amount(a.difference, plus=True)}, B {amount(b.difference, plus=True)}" in words
    assert f"A − B {amount(a.difference - b.difference, plus=True)}" in words
    assert {"more in A", "more in B"} <= set(notes(figure))
    assert "for ·Mary" not in notes(figure)
    if kind == "map":
        assert np.array_equal(map_axes(figure)[0][2].z, both.minus.heads)
        assert "contribution, A − B, logits" in words
    elif kind == "waterfall":
        assert bars_of(figure)["logit difference"] == (0.0, pytest.approx(a.difference - b.difference))
        assert "logit difference, A − B, logits" in words
    elif kind == "bars":
        rows = both.minus.rows(16)
        assert [end for _, end in bars_of(figure).values()] == pytest.approx([row.contribution for row in rows])


def test_the_interventions_of_both_runs_stand_over_their_difference():
    both = LogitAttributionComparison(attribution(), attribution(interventions=(Ablate(layer=1, head=2),)))
    assert "A: untouched · B: L1 H2 ablated" in " ".join(notes(logit_attribution_figure(both)))
    assert "more in A" in attribution_preview_svg(both)
