"""Attention figures: the screen's colours, the prompt's tokens, exact sizes, plain refusals."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from made_patterns import with_cells

from mi_widgets import color
from mi_widgets.data import AttentionComparison, prompt_scores
from mi_widgets.errors import DataError
from mi_widgets.figures import attention_figure, save_figure
from mi_widgets.figures.labels import columns
from mi_widgets.figures.plotted import HOVER_ONLY
from mi_widgets.figures.style import pt, px


def hex_of(name, unit):
    return color.hex_colors(name)[min(255, int(unit * 256))]


def centres(figure, queries, keys, axis=""):
    """Shares of width and height at the centre of each cell, by the axes' domains."""
    x, y = figure.layout[f"xaxis{axis}"].domain, figure.layout[f"yaxis{axis}"].domain
    return {
        (query, key): [x[0] + (x[1] - x[0]) * (key + 0.5) / keys, 1 - (y[1] - (y[1] - y[0]) * (query + 0.5) / queries)]
        for query in range(queries)
        for key in range(keys)
    }


def drawn(figure, tmp_path, colors_at, count, suffix="png", axis=""):
    """Colour of each cell as written to a file."""
    path = save_figure(figure, tmp_path / f"figure.{suffix}")
    places = centres(figure, count, count, axis)
    return dict(zip(places, colors_at(path.read_bytes(), list(places.values())), strict=True))


@pytest.mark.parametrize("palette", ["blue", "amber"])
@pytest.mark.parametrize(
    ("scale", "share_to_unit"),
    [
        ("linear", lambda share: share),
        ("sqrt", lambda share: share**0.5),
        ("log", lambda share: 1 + np.log10(max(share, 1e-4)) / 4),
    ],
)
def test_cells_on_paper_have_the_colours_of_the_screen(
    make_patterns, story, tmp_path, colors_at, scale, share_to_unit, palette
):
    patterns = make_patterns(2, 2, story)
    high = float(patterns.base.max())
    seen = drawn(attention_figure(patterns, layer=1, head=0, scale=scale, palette=palette), tmp_path, colors_at, 15)
    for (query, key), found in seen.items():
        if key > query:
            assert found == color.MASKED["light"].lower()
        else:
            assert found == hex_of(palette, share_to_unit(float(patterns.base[1, 0, query, key]) / high))


def test_large_maps_have_the_same_colours_and_sharp_cells_in_svg(make_patterns, tmp_path, colors_at):
    patterns = make_patterns(1, 1, [str(position) for position in range(100)])
    figure = attention_figure(patterns, scale="sqrt", width_mm="double")
    seen = drawn(figure, tmp_path, colors_at, 100, "svg")
    for query in range(0, 100, 7):
        for key in range(query + 1):
            assert seen[query, key] == hex_of(
                "blue", (float(patterns.base[0, 0, query, key]) / patterns.base.max()) ** 0.5
            )


def test_dark_theme_takes_the_dark_palette_and_paper(make_patterns, story, tmp_path, colors_at):
    patterns = make_patterns(1, 1, story)
    figure = attention_figure(patterns, theme="dark")
    seen = drawn(figure, tmp_path, colors_at, 15)
    assert seen[0, 0] == hex_of("blue_dark", 1.0)
    assert seen[0, 14] == color.MASKED["dark"].lower()
    assert colors_at((tmp_path / "figure.png").read_bytes(), [[0.99, 0.99]]) == ["#181818"]


def test_nan_has_its_own_look_and_its_own_line_in_the_legend(make_patterns, story, tmp_path, colors_at):
    figure = attention_figure(with_cells(make_patterns(1, 1, story), (0, 0, 5, 2), np.nan))
    seen = drawn(figure, tmp_path, colors_at, 15)
    assert seen[5, 2] == color.MISSING["light"].lower()
    assert seen[5, 3] not in (color.MISSING["light"].lower(), color.MASKED["light"].lower())
    assert {"masked", "not a number"} <= {note.text for note in figure.layout.annotations}


def test_a_difference_is_symmetric_about_zero_on_aligned_tokens(make_patterns, story, tmp_path, colors_at):
    longer = [*story[:5], " and", " Tom", *story[5:]]
    comparison = AttentionComparison(make_patterns(2, 2, story), make_patterns(2, 2, longer, seed=1))
    figure = attention_figure(comparison, layer=1, head=0, scale="log")
    seen = drawn(figure, tmp_path, colors_at, 17)
    high = max(float(np.nanmax(np.abs(comparison.head(layer, head)))) for layer in (0, 1) for head in (0, 1))
    values = comparison.head(1, 0)
    for (query, key), found in seen.items():
        if key > query:
            assert found == color.MASKED["light"].lower()
        elif np.isnan(values[query, key]):
            assert found == color.MISSING["light"].lower()
        else:
            assert found == hex_of(color.DIVERGING, (float(values[query, key]) / high + 1) / 2)
    assert figure.layout.yaxis.ticktext[5] == "∅→·and"


def test_ticks_are_the_tokens_and_equal_tokens_keep_a_tick_each(make_patterns, story):
    figure = attention_figure(make_patterns(1, 1, story), width_mm=120)
    expected = tuple(token.replace(" ", "·").replace("<", "&lt;").replace(">", "&gt;") for token in story)
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        assert axis.ticktext == expected
        assert list(axis.tickvals) == list(range(15))
    assert figure.layout.yaxis.range == (14.5, -0.5)


@pytest.mark.parametrize("width_mm", [83, 120, 174])
@pytest.mark.parametrize("count", [1, 2, 15, 60, 200, 1000])
def test_labels_never_overlap_leave_the_page_or_fall_below_six_points(make_patterns, width_mm, count):
    figure = attention_figure(
        make_patterns(1, 1, [f" token{position}" for position in range(count)]), width_mm=width_mm
    )
    layout = figure.layout
    side = (layout.xaxis.domain[1] - layout.xaxis.domain[0]) * layout.width
    assert side == pytest.approx((layout.yaxis.domain[1] - layout.yaxis.domain[0]) * layout.height)
    shown = list(layout.yaxis.tickvals)
    if count > 1:
        assert (shown[1] - shown[0]) * side / count >= layout.yaxis.tickfont.size
    assert layout.yaxis.tickfont.size >= pt(6)
    widest = max(columns(text) for text in layout.yaxis.ticktext) * 0.602 * layout.yaxis.tickfont.size
    assert widest < layout.xaxis.domain[0] * layout.width
    assert widest < layout.yaxis.domain[0] * layout.height or layout.xaxis.tickangle == 0
    for note in layout.annotations:
        assert (note.font.size or layout.template.layout.font.size) >= pt(6)
        assert 0 <= note.x <= 1
        assert 0 <= note.y <= 1


def test_hovering_gives_the_exact_value_and_both_tokens(make_patterns, story):
    patterns = make_patterns(1, 1, story)
    figure = attention_figure(patterns)
    (trace,) = [trace for trace in figure.data if trace.meta == HOVER_ONLY]
    below = np.tri(15, dtype=bool)
    assert (np.asarray(trace.z)[below] == patterns.base[0, 0][below]).all()
    assert np.isnan(np.asarray(trace.z)[~below]).all()
    assert trace.text[2][1] == "·Mary ← When"
    assert "%{z:.6g}" in trace.hovertemplate


def test_tokens_are_never_markup(make_patterns, hostile):
    figure = attention_figure(make_patterns(1, 2, hostile), layer=0, title=hostile[1] + " $x$", sort="entropy")
    texts = [*figure.layout.xaxis.ticktext, *(note.text for note in figure.layout.annotations)]
    texts += [text for trace in figure.data if trace.meta == HOVER_ONLY for row in trace.text for text in row]
    assert not any(mark in text for text in texts for mark in ("<b>", "<a", "<script", "</", "$"))
    json.dumps(figure.to_dict()["layout"], default=str).encode("utf-8")


def test_one_range_over_all_heads_unless_asked_otherwise(make_patterns, story):
    patterns = make_patterns(2, 2, story)
    patterns = with_cells(patterns, (0, 0), patterns.base[0, 0] * 0.5)
    top = [figure.layout.yaxis2.ticktext[-1] for figure in (
        attention_figure(patterns, layer=0, head=0), attention_figure(patterns, layer=0, head=0, shared_range=False)
    )]  # fmt: skip
    assert top == ["1", "0.5"]


def test_a_range_of_ones_own_marks_the_values_it_cuts_off(make_patterns, story):
    figure = attention_figure(make_patterns(1, 1, story), zrange=(0.01, 0.2))
    assert figure.layout.yaxis2.ticktext[0] == "≤0.01"
    assert figure.layout.yaxis2.ticktext[-1] == "≥0.2"


def test_pre_softmax_scores_start_at_their_smallest_and_stay_linear(make_patterns, story):
    patterns = make_patterns(1, 1, story, weighting="scores")
    labels = attention_figure(patterns, scale="sqrt").layout.yaxis2.ticktext
    assert float(labels[0].replace("−", "-")) == pytest.approx(np.nanmin(patterns.base), rel=0.01)
    assert "0" in labels


def test_a_sliding_window_is_masked_on_both_sides(make_patterns, story):
    figure = attention_figure(make_patterns(1, 1, story, windows=4))
    (trace,) = [trace for trace in figure.data if trace.meta == HOVER_ONLY]
    values = np.asarray(trace.z)
    assert np.isnan(values[10, 6])
    assert not np.isnan(values[10, 7])


def test_bidirectional_attention_has_no_mask_in_the_legend(make_patterns, story):
    figure = attention_figure(make_patterns(1, 1, story, causal=False))
    assert "masked" not in {note.text for note in figure.layout.annotations}


def test_several_heads_are_small_multiples_in_the_order_of_a_score(make_patterns, story):
    patterns = make_patterns(3, 4, story)
    heads = [(0, 1), (2, 3), (1, 0)]
    figure = attention_figure(patterns, heads=heads, sort="entropy", width_mm="double")
    table = prompt_scores(patterns).set_index(["layer", "head"])["entropy"]
    expected = [
        f"L{layer} H{head} · {table[layer, head]:.2f}" for layer, head in sorted(heads, key=lambda pair: -table[pair])
    ]
    assert [note.text for note in figure.layout.annotations if note.text.startswith("L")] == expected


def test_the_wall_shows_every_head_with_its_largest_values(make_patterns, decode_png, embedded_png):
    patterns = make_patterns(3, 4, [str(position) for position in range(200)])
    figure = attention_figure(patterns, kind="wall", scale="sqrt", width_mm="double")
    atlas = decode_png(embedded_png(figure.layout.images[0].source)[0])
    (trace,) = [trace for trace in figure.data if trace.meta == HOVER_ONLY]
    assert np.allclose(np.asarray(trace.z), patterns.base.max(axis=(2, 3)))
    tall, wide = atlas.shape[0] / 3, atlas.shape[1] / 4
    for layer in range(3):
        for head in range(4):
            tile = atlas[int(layer * tall) : int((layer + 1) * tall), int(head * wide) : int((head + 1) * wide)]
            unit = (patterns.base[layer, head].max() / patterns.base.max()) ** 0.5
            darkest = tile.reshape(-1, 3)[tile.reshape(-1, 3).sum(1).argmin()]
            assert "#" + bytes(darkest.tolist()).hex() == hex_of("blue", unit)
    assert figure.layout.xaxis.ticktext == ("0", "1", "2", "3")
    assert figure.layout.yaxis.ticktext == ("0", "1", "2")


def test_the_wall_outlines_the_chosen_head_in_the_accent_colour(make_patterns, story):
    figure = attention_figure(make_patterns(3, 4, story), kind="wall", layer=2, head=1)
    assert [shape.line.color for shape in figure.layout.shapes].count(color.ACCENT["light"]) == 1


def test_a_sorted_wall_runs_from_the_largest_score_and_puts_undefined_last(make_patterns, story):
    patterns = make_patterns(2, 3, story)
    scores = pd.DataFrame(
        {"layer": [0, 0, 0, 1, 1, 1], "head": [0, 1, 2] * 2, "mine": [0.1, 0.9, np.nan, 0.5, 0.7, -1.0]}
    )
    figure = attention_figure(patterns, kind="wall", scores=scores, sort="mine", width_mm=120)
    names = [note.text.split()[0] for note in figure.layout.annotations if "." in note.text.split()[0]]
    assert names == ["0.1", "1.1", "1.0", "0.0", "1.2", "0.2"]


def test_layers_keep_the_models_numbers(make_patterns, story):
    from dataclasses import replace

    patterns = replace(make_patterns(2, 2, story), layers=(5, 9))
    assert attention_figure(patterns, kind="wall").layout.yaxis.ticktext == ("5", "9")
    assert attention_figure(patterns, layer=9, head=1).layout.annotations[0].text == "Layer 9, head 1"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"kind": "pie"}, "kind"),
        ({"layer": 0, "scale": "cube"}, "scale"),
        ({"layer": 0, "palette": "jet"}, "palette"),
        ({"layer": 0, "theme": "sepia"}, "theme"),
        ({"layer": 7, "head": 0}, "layer 7"),
        ({"layer": 0, "head": 99}, "head 99"),
        ({"layer": 0, "heads": [(0, 0)]}, "one way"),
        ({"heads": []}, "empty"),
        ({"layer": 0, "sort": "nonsense"}, "nonsense"),
        ({"layer": 0, "zrange": (1, 0)}, "zrange"),
        ({"layer": 0, "zrange": 3}, "zrange"),
        ({"width_mm": 5}, "width_mm"),
        ({"width_mm": "poster"}, "poster"),
        ({"height_mm": 1}, "height_mm"),
        ({"kind": "matrix"}, "kind=\"wall\""),
        ({"layer": 0, "height_mm": 20}, "fewer heads"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_with_the_reason(make_patterns, story, options, word):
    with pytest.raises(DataError, match=word):
        attention_figure(make_patterns(3, 6, story), **options)


def test_what_is_no_attention_is_refused():
    with pytest.raises(DataError, match="ndarray"):
        attention_figure(np.zeros((2, 2)))


def test_all_zero_and_all_nan_patterns_are_drawn(make_patterns, story):
    for value in (0.0, np.nan):
        patterns = with_cells(make_patterns(1, 1, story), ..., value)
        for kind in ("matrix", "wall"):
            for scale in ("linear", "sqrt", "log"):
                assert attention_figure(patterns, kind=kind, scale=scale).layout.width > 0


@pytest.mark.parametrize("height_mm", [60, 100, 150])
def test_a_height_is_kept_and_cells_stay_square(make_patterns, story, height_mm):
    for kind in ("matrix", "wall"):
        figure = attention_figure(make_patterns(1, 1, story), kind=kind, height_mm=height_mm)
        assert figure.layout.height == px(height_mm)
        x, y = figure.layout.xaxis.domain, figure.layout.yaxis.domain
        assert (x[1] - x[0]) * figure.layout.width == pytest.approx((y[1] - y[0]) * figure.layout.height)


def test_figures_import_neither_torch_nor_widgets():
    code = (
        "import sys, mi_widgets.figures as figures\n"
        "assert 'plotly' not in sys.modules\n"
        "[getattr(figures, name) for name in figures.__all__]\n"
        "import mi_widgets.figures.sheet\n"
        "bad = {'torch', 'transformer_lens', 'anywidget', 'ipywidgets'} & set(sys.modules)\n"
        "bad |= {name for name in sys.modules if name.startswith(('mi_widgets.session', 'mi_widgets.widgets'))}\n"
        "print(sorted(bad))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
