"""Lens figures: the page's colours, the top tokens, exact sizes, plain refusals; and the still preview."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from mi_widgets import color
from mi_widgets.data import LogitLens, LogitLensComparison, Tokens
from mi_widgets.errors import DataError
from mi_widgets.figures import lens_preview_png, lens_preview_svg, logit_lens_figure, save_figure
from mi_widgets.figures.lens_field import Drawn, brief, field_of
from mi_widgets.figures.plotted import HOVER_ONLY
from mi_widgets.figures.style import ink_on, pt, px

SVG = "{http://www.w3.org/2000/svg}"
D_VOCAB = 500


@pytest.fixture
def make_lens():
    """`make_lens(strings, rows, …)`: a lens of random distributions whose numbers hang together."""

    def make(strings, rows=4, targets=(5, 9), seed=0, stream="resid_post", names=None, kept=4, **changes):
        draw = np.random.default_rng(seed)
        cells = (rows, len(strings))
        logits = draw.normal(size=(*cells, D_VOCAB)) * 3
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        order = np.argsort(-logits, axis=-1)
        rank = np.argsort(order, axis=-1)
        ids = np.array([sum(string.encode("utf-8", "replace")) % D_VOCAB for string in strings])
        kl = (p[-1:] * np.log(p[-1:] / p)).sum(-1)
        change = np.full(cells, np.nan)
        change[1:] = (p[1:] * np.log(p[1:] / p[:-1])).sum(-1)
        following = np.full(cells, np.nan)
        next_rank = np.full(cells, -1)
        for column in range(len(strings) - 1):
            following[:, column] = p[:, column, ids[column + 1]]
            next_rank[:, column] = rank[:, column, ids[column + 1]]
        tops = order[-1, :, 0]
        streams = (stream,) * rows if stream == "resid_post" else (*(stream,) * (rows - 1), "resid_post")
        layers = tuple(range(rows)) if stream == "resid_post" else (*range(rows - 1), rows - 2)
        values = {
            "tokens": Tokens(ids, tuple(strings)),
            "layers": layers,
            "streams": streams,
            "top_ids": order[..., :kept].astype(np.int32),
            "top_probs": np.take_along_axis(p, order[..., :kept], -1).astype(np.float32),
            "entropy": -(p * np.log(p)).sum(-1).astype(np.float32),
            "kl": kl.astype(np.float32),
            "change": change.astype(np.float32),
            "final_rank": np.take_along_axis(rank, tops[None, :, None].repeat(rows, 0), -1)[..., 0].astype(np.int32),
            "next_prob": following.astype(np.float32),
            "next_rank": next_rank.astype(np.int32),
            "target_ids": np.array(targets, np.int32),
            "target_probs": p[..., list(targets)].astype(np.float32),
            "target_ranks": rank[..., list(targets)].astype(np.int32),
            "names": names or {token: f" t{token}" for token in range(D_VOCAB)},
            "d_vocab": D_VOCAB,
            "model": "tiny",
        }
        return LogitLens(**{**values, **changes})

    return make


@pytest.fixture
def lens(make_lens, story):
    return make_lens(story)


@pytest.fixture
def comparison(make_lens, story):
    a, b = make_lens(story), make_lens([*story[:5], " new", *story[5:]], seed=1)
    kl = np.full((4, 16), np.nan, np.float32)
    kl[:, [column for column, pair in enumerate(LogitLensComparison(a, b, kl).pairs) if None not in pair]] = (
        np.random.default_rng(3).random((4, 15)) * 5
    )
    return LogitLensComparison(a, b, kl)


def hex_of(name, unit):
    return color.hex_colors(name)[min(255, int(unit * 256))]


def drawn(figure, tmp_path, colors_at, rows, columns):
    """Colour near the lower left corner of each cell, clear of its text, as printed; row 0 lowest."""
    path = save_figure(figure, tmp_path / "figure.png", dpi=96)
    x, y = figure.layout.xaxis.domain, figure.layout.yaxis.domain
    places = {
        (row, column): [
            x[0] + (x[1] - x[0]) * (column + 0.06) / columns,
            1 - (y[0] + (y[1] - y[0]) * (row + 0.12) / rows),
        ]
        for row in range(rows)
        for column in range(columns)
    }
    return dict(zip(places, colors_at(path.read_bytes(), list(places.values())), strict=True))


@pytest.mark.parametrize("by", ["probability", "entropy", "kl", "final_rank", "target_rank"])
def test_cells_on_paper_have_the_colours_of_the_page(lens, tmp_path, colors_at, by):
    seen = drawn(logit_lens_figure(lens, color=by, target=1, width_mm="double"), tmp_path, colors_at, 4, 15)
    values = {
        "probability": lens.top_probs[..., 0],
        "entropy": lens.entropy,
        "kl": lens.kl,
        "final_rank": np.log10(1 + lens.final_rank),
        "target_rank": np.log10(1 + lens.target_ranks[..., 1]),
    }[by].astype(float)
    high = 1.0 if by == "probability" else values.max()
    for (row, column), found in seen.items():
        unit = values[row, column] / high
        assert found == hex_of("blue", unit**0.5 if by == "kl" else unit)


def test_cells_without_a_number_have_their_own_look_and_name(lens, tmp_path, colors_at):
    figure = logit_lens_figure(lens, color="change", width_mm="double")
    seen = drawn(figure, tmp_path, colors_at, 4, 15)
    assert {seen[0, column] for column in range(15)} == {color.MASKED["light"].lower()}
    assert seen[1, 0] != color.MASKED["light"].lower()
    assert "no row before" in {note.text for note in figure.layout.annotations}
    assert "nothing follows" in {note.text for note in logit_lens_figure(lens, color="next_rank").layout.annotations}


def texts(figure):
    """`{(row, column): (text, ink)}` of everything written into cells."""
    return {
        (row, column): (words, trace.textfont.color)
        for trace in figure.data
        if trace.type == "scatter" and trace.mode == "text"
        for column, row, words in zip(trace.x, trace.y, trace.text, strict=True)
    }


def test_every_cell_says_its_top_token_in_an_ink_that_stands_out(lens):
    figure = logit_lens_figure(lens, width_mm="double")
    field = field_of(Drawn.of(lens))
    written = texts(figure)
    assert len(written) == 60
    for (row, column), (words, ink) in written.items():
        assert words == f"·t{lens.top_ids[row, column, 0]}"
        assert ink == ink_on(field.scale.hex(int(field.codes[row, column])))
    assert len({ink for _, ink in written.values()}) == 2


def test_the_last_layer_stands_on_top(lens):
    figure = logit_lens_figure(lens)
    assert figure.layout.yaxis.range == (-0.5, 3.5)
    assert dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True))[3] == "3"


def test_a_part_of_the_block_has_the_output_as_its_last_row(make_lens, story):
    figure = logit_lens_figure(make_lens(story, stream="attn_out"))
    assert sorted(figure.layout.yaxis.ticktext) == ["0", "1", "2", "output"]
    assert "layer (attn_out)" in {note.text for note in figure.layout.annotations}


@pytest.mark.parametrize("width_mm", [83, 120, 174])
@pytest.mark.parametrize("count", [1, 2, 15, 60, 300])
def test_text_fits_its_cells_and_nothing_falls_below_six_points(make_lens, width_mm, count):
    names = dict.fromkeys(range(D_VOCAB), " a-very-long-token")
    lens = make_lens([f" token{position}" for position in range(count)], names=names)
    figure = logit_lens_figure(lens, width_mm=width_mm)
    layout = figure.layout
    assert layout.width == px(width_mm)
    cell = (layout.xaxis.domain[1] - layout.xaxis.domain[0]) * layout.width / count
    for trace in figure.data:
        if trace.type == "scatter" and trace.mode == "text":
            assert trace.textfont.size >= pt(6)
            assert max(map(len, trace.text)) * 0.602 * trace.textfont.size <= cell
    assert (not texts(figure)) == (cell < 3 * 0.602 * pt(6) + pt(0.5))
    for note in layout.annotations:
        assert (note.font.size or layout.template.layout.font.size) >= pt(6)
        assert 0 <= note.x <= 1
        assert 0 <= note.y <= 1


def test_text_can_be_left_out(lens):
    assert texts(logit_lens_figure(lens, text=False)) == {}


def test_hovering_names_the_cell_its_value_and_the_likeliest_tokens(lens):
    (trace,) = [trace for trace in logit_lens_figure(lens, color="kl").data if trace.meta == HOVER_ONLY]
    said = trace.text[2][3]
    assert "layer 2" in said
    assert "·and" in said
    assert f"{lens.kl[2, 3]:.3g}" in said
    for token in lens.top_ids[2, 3]:
        assert f"·t{token}" in said


def test_hovering_over_ranks_says_ranks(lens):
    (trace,) = [trace for trace in logit_lens_figure(lens, color="final_rank").data if trace.meta == HOVER_ONLY]
    assert f": {lens.final_rank[1, 4]}<br>" in trace.text[1][4]


def test_ticks_of_ranks_are_ranks(lens):
    figure = logit_lens_figure(lens, color="final_rank")
    labels = figure.layout.yaxis2.ticktext
    assert labels[0] == "0"
    assert labels[-1] == brief(int(lens.final_rank.max()))
    assert {"10", "100"} <= set(labels)


def test_layers_and_positions_can_be_chosen(lens):
    figure = logit_lens_figure(lens, layers=[1], positions=[2, -1], width_mm="double")
    assert list(figure.layout.yaxis.ticktext) == ["3", "1"]
    assert list(figure.layout.xaxis.ticktext) == ["·Mary", "·to"]
    assert texts(figure)[0, 1][0] == f"·t{lens.top_ids[1, 14, 0]}"
    assert texts(figure)[1, 0][0] == f"·t{lens.top_ids[3, 2, 0]}"


def test_the_range_stays_that_of_the_whole_result(lens):
    whole, part = (logit_lens_figure(lens, color="kl", layers=layers) for layers in (None, [3]))
    assert whole.layout.yaxis2.ticktext == part.layout.yaxis2.ticktext


def test_a_range_of_ones_own_marks_what_it_cuts_off(lens):
    figure = logit_lens_figure(lens, color="entropy", zrange=(1.0, 2.0))
    assert figure.layout.yaxis2.ticktext[-1] == "≥2"
    figure = logit_lens_figure(lens, color="target_rank", zrange=(0, 9))
    assert figure.layout.yaxis2.ticktext[-1] == "≥9"


def test_a_pinned_token_is_named_by_place_or_string(lens):
    for target in (1, " t9"):
        figure = logit_lens_figure(lens, color="target_probability", target=target)
        assert "probability of ·t9" in {note.text for note in figure.layout.annotations}


# --- comparisons ----------------------------------------------------------------------------------------


def test_a_comparison_is_coloured_by_its_divergence(comparison, tmp_path, colors_at):
    figure = logit_lens_figure(comparison, width_mm="double")
    seen = drawn(figure, tmp_path, colors_at, 4, 16)
    high = np.nanmax(comparison.kl)
    for (row, column), found in seen.items():
        if column == 5:
            assert found == color.MASKED["light"].lower()
        else:
            assert found == hex_of("blue", (comparison.kl[row, column] / high) ** 0.5)
    assert {"KL(A ‖ B), nats", "no counterpart"} <= {note.text for note in figure.layout.annotations}
    assert figure.layout.xaxis.ticktext[5] == "∅→·new"


def test_the_difference_of_a_pinned_token_is_signed(comparison, tmp_path, colors_at):
    figure = logit_lens_figure(comparison, color="target_probability", target=1, width_mm="double")
    seen = drawn(figure, tmp_path, colors_at, 4, 16)
    values = comparison.difference("target_probability", 1)
    high = float(np.nanmax(np.abs(values)))
    for (row, column), found in seen.items():
        if column != 5:
            assert found == hex_of(color.DIVERGING, (float(values[row, column]) / high + 1) / 2)


def test_cells_where_two_sides_agree_say_so_once(comparison):
    written = texts(logit_lens_figure(comparison, width_mm=1000))
    a, b = comparison.a, comparison.b
    assert written[2, 3][0] == f"·t{a.top_ids[2, 3, 0]}→·t{b.top_ids[2, 3, 0]}"
    assert written[2, 5][0] == f"∅→·t{b.top_ids[2, 5, 0]}"
    same = LogitLensComparison(a, a, np.zeros((4, 15), np.float32))
    assert texts(logit_lens_figure(same, width_mm=1000))[2, 3][0] == f"·t{a.top_ids[2, 3, 0]}"


def test_two_lenses_are_named_on_the_axis(make_lens, story):
    both = LogitLensComparison(make_lens(story), make_lens(story, lens="tuned"), np.zeros((4, 15), np.float32))
    notes = {note.text for note in logit_lens_figure(both).layout.annotations}
    assert "layer (resid_post, logit and tuned lenses)" in notes


# --- curves -----------------------------------------------------------------------------------------------


def lines(figure):
    return [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines+markers"]


def test_curves_are_the_pinned_tokens_over_the_layers(lens):
    for position, column in ((-1, 14), (3, 3)):
        figure = logit_lens_figure(lens, kind="curves", position=position)
        for index, line in enumerate(lines(figure)):
            assert np.allclose(line.y, lens.target_probs[:, column, index])
            assert line.line.color == color.CATEGORICAL[index]
    notes = [note.text for note in figure.layout.annotations]
    assert {"·t5", "·t9", "after ·and (position 3)", "probability"} <= set(notes)


def test_curves_of_ranks_have_the_likeliest_on_top(lens):
    figure = logit_lens_figure(lens, kind="curves", chart="rank")
    (first, _) = lines(figure)
    assert np.allclose(first.y, np.log10(1 + lens.target_ranks[:, 14, 0]))
    low, high = figure.layout.yaxis.range
    assert low > high
    assert list(figure.layout.yaxis.ticktext) == ["0", "1", "10", "100"]
    assert first.hovertext[0].endswith(f": {lens.target_ranks[0, 14, 0]}")


def test_without_pins_curves_are_the_models_likeliest_where_they_are_known(make_lens, story):
    lens = make_lens(story, targets=())
    shown = lines(logit_lens_figure(lens, kind="curves", position=2))
    assert len(shown) == 4
    for index, line in enumerate(shown):
        token = lens.top_ids[-1, 2, index]
        for row in range(4):
            held = np.flatnonzero(lens.top_ids[row, 2] == token)
            if len(held):
                assert line.y[row] == pytest.approx(lens.top_probs[row, 2, held[0]])
            else:
                assert line.y[row] is None
    with pytest.raises(DataError, match="pinned"):
        logit_lens_figure(lens, kind="curves", chart="rank")


def test_curves_of_two_sides_are_solid_and_dashed(comparison):
    figure = logit_lens_figure(comparison, kind="curves", position=6)
    shown = lines(figure)
    assert [line.line.dash for line in shown] == ["solid", "solid", "4px,3px", "4px,3px"]
    assert np.allclose(shown[0].y, comparison.a.target_probs[:, 6, 0])
    assert np.allclose(shown[3].y, comparison.b.target_probs[:, 7, 1])
    assert {"·t5 (A)", "·t9 (B)"} <= {note.text for note in figure.layout.annotations}


def test_eight_curves_can_be_told_apart(make_lens, story):
    figure = logit_lens_figure(make_lens(story, targets=range(8)), kind="curves")
    looks = {(line.marker.symbol, line.marker.color, line.line.color) for line in lines(figure)}
    assert len(looks) == 8


# --- refusals, odd inputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"kind": "pie"}, "kind"),
        ({"color": "beauty"}, "color"),
        ({"palette": "jet"}, "palette"),
        ({"theme": "sepia"}, "theme"),
        ({"layers": [9]}, "layer 9"),
        ({"positions": [99]}, "position 99"),
        ({"positions": []}, "position"),
        ({"color": "target_rank", "target": 2}, "target 2"),
        ({"color": "target_rank", "target": " other"}, "not pinned"),
        ({"zrange": (1, 0)}, "zrange"),
        ({"zrange": 3}, "zrange"),
        ({"color": "final_rank", "zrange": (3, 9)}, "ranks begin at 0"),
        ({"width_mm": 5}, "width_mm"),
        ({"height_mm": 1}, "height_mm"),
        ({"height_mm": 15, "title": "a " * 200}, "larger"),
        ({"kind": "curves", "chart": "entropy"}, "chart"),
        ({"kind": "curves", "position": 99}, "position 99"),
        ({"kind": "curves", "width_mm": 20}, "room"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_reason(lens, options, word):
    with pytest.raises(DataError, match=word):
        logit_lens_figure(lens, **options)


def test_what_is_no_lens_is_refused():
    with pytest.raises(DataError, match="ndarray"):
        logit_lens_figure(np.zeros((2, 2)))


def test_tokens_are_never_markup(make_lens, hostile):
    names = dict(enumerate(hostile * 40))
    lens = make_lens(hostile, names=names)
    for figure in (logit_lens_figure(lens, width_mm=1000, title=hostile[1]), logit_lens_figure(lens, kind="curves")):
        found = [*figure.layout.xaxis.ticktext, *(note.text for note in figure.layout.annotations)]
        for trace in figure.data:
            found += [text for row in trace.text or () for text in ([row] if isinstance(row, str) else row)]
            found += list(trace.hovertext or ())
        found = [text.replace("<br>", "") for text in found]
        assert not any(mark in text for text in found for mark in ("<b>", "<a", "<script", "</", "$"))


@pytest.mark.parametrize("height_mm", [40, 100])
def test_a_height_is_kept(lens, height_mm):
    for kind in ("table", "curves"):
        assert logit_lens_figure(lens, kind=kind, height_mm=height_mm).layout.height == px(height_mm)


def test_very_many_cells_become_one_sharp_image(make_lens, decode_png, embedded_png):
    lens = make_lens([str(position) for position in range(300)], rows=24)
    figure = logit_lens_figure(lens, width_mm="double")
    pixels = decode_png(embedded_png(figure.layout.images[0].source)[0])
    factor = pixels.shape[1] // 300
    for row, column in ((0, 0), (23, 299), (5, 17)):
        found = "#" + bytes(pixels[(23 - row) * factor, column * factor].tolist()).hex()
        assert found == hex_of("blue", float(lens.top_probs[row, column, 0]))


def test_numbers_that_are_not_there_have_the_look_of_missing_ones(make_lens, story):
    lens = make_lens(story)
    entropy = lens.entropy.copy()
    entropy[1, 2] = np.nan
    figure = logit_lens_figure(replace(lens, entropy=entropy), color="entropy")
    assert "not a number" in {note.text for note in figure.layout.annotations}


# --- the preview ------------------------------------------------------------------------------------------


def words(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_preview_names_prompt_model_tokens_and_layers(lens, story):
    said = words(lens_preview_svg(lens))
    assert said[0] == "".join(story)
    assert said[1] == "tiny   logit lens, resid_post   4 rows × 15 positions"
    assert {
        "·Mary",
        "0",
        "3",
        "layer (resid_post)",
        "probability of the top token",
        f"·t{lens.top_ids[3, 14, 0]}",
    } <= set(said)


def test_the_preview_is_the_figures_table_at_the_size_of_a_screen(lens, decode_png):
    pixels = decode_png(lens_preview_png(lens, "kl"))
    svg = lens_preview_svg(lens, "kl")
    assert pixels.shape[1] == 760
    for row, column in np.ndindex(4, 15):
        unit = (float(lens.kl[row, column]) / float(lens.kl.max())) ** 0.5
        assert hex_of("blue", unit) in svg
        assert (pixels == np.array(list(bytes.fromhex(hex_of("blue", unit)[1:])))).all(-1).sum() > 500


def test_columns_that_are_not_read_are_framed_and_named(lens):
    read = np.arange(15) < 5
    values = {name: getattr(lens, name).copy() for name in ("top_probs", "entropy", "kl", "change", "next_prob")}
    for value in values.values():
        value[:, ~read] = np.nan
    partial = replace(lens, read=tuple(range(5)), **values)
    said = words(lens_preview_svg(partial))
    assert "not read yet" in said
    assert "only 5 of 15 positions are read" in said[1]
    assert "not read yet" not in words(lens_preview_svg(lens))


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (2, 4), (60, 12), (1000, 3), (10, 400)])
def test_any_size_can_be_previewed(make_lens, count, rows):
    lens = make_lens([f" t{position}" for position in range(count)], rows=rows)
    ElementTree.fromstring(lens_preview_svg(lens))
    width, height = struct.unpack(">II", lens_preview_png(lens)[16:24])
    assert (width, height <= 1200) == (760, True)


def test_a_comparison_can_be_previewed(comparison):
    assert {"KL(A ‖ B), nats", "no counterpart"} <= set(words(lens_preview_svg(comparison)))


def test_the_preview_is_well_formed_whatever_the_tokens_hold(make_lens, hostile, decode_png):
    lens = make_lens(hostile, names=dict(enumerate(hostile * 40)), model="<\x00\ud800>")
    svg = lens_preview_svg(lens, title=hostile[1])
    ElementTree.fromstring(svg.encode("utf-8"))
    assert re.search(r"(?:href|src)=\"(?!data:image/png)", svg) is None
    decode_png(lens_preview_png(lens))


def test_the_preview_needs_neither_plotly_nor_a_browser():
    code = (
        "import sys; from mi_widgets.figures import lens_preview_png; "
        "print(sorted({'plotly', 'kaleido', 'torch'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
