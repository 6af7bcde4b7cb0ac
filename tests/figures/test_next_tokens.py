"""Prompt figures: true bars over true tokens, missing values marked, exact sizes, and the still picture."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mi_widgets import color
from mi_widgets.data import NextTokensComparison, next_tokens_from_logits
from mi_widgets.errors import DataError
from mi_widgets.figures import next_tokens_figure, next_tokens_preview_png, next_tokens_preview_svg, save_figure
from mi_widgets.figures.style import pt, px

SVG = "{http://www.w3.org/2000/svg}"
WORDS = ["<s>", " Tom", " and", " Sue", "↵", "<b>", "$x$", " 漢", "\n", "e"]


def made(count=8, seed=0, top_k=10, ids=None):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, len(WORDS), count) if ids is None else np.array(ids)
    ids[0] = 0
    logits = rng.normal(size=(len(ids), len(WORDS))) * 3
    return next_tokens_from_logits(logits, ids, vocabulary=WORDS, top_k=top_k, model="a model")


def compared():
    return NextTokensComparison(made(ids=[0, 1, 2, 3, 4]), made(ids=[0, 1, 2, 5, 6, 3, 4], seed=1))


def bars(figure):
    """`{x: y}` of every bar trace that has heights, in order."""
    return [
        {x: y for x, y in zip(trace.x, trace.y, strict=True) if y is not None}
        for trace in figure.data
        if trace.type == "bar"
    ]


def marks(figure):
    """Centres of the marks where there is no number."""
    fill = color.MISSING["light"]
    return [
        (shape.x0 + shape.x1) / 2 for shape in figure.layout.shapes if shape.fillcolor == fill and shape.xref != "paper"
    ]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("surprisal", lambda data: data.surprisal),
        ("probability", lambda data: np.exp(data.log_prob)),
        ("entropy", lambda data: data.entropy / np.log(2)),
    ],
)
def test_bars_are_as_high_as_the_numbers(kind, values):
    data = made()
    (drawn,) = bars(next_tokens_figure(data, kind=kind))
    want = values(data)
    assert drawn == pytest.approx({place: want[place] for place in range(8) if not np.isnan(want[place])})


def test_a_token_without_a_number_is_marked_and_named():
    figure = next_tokens_figure(made())
    assert marks(figure) == pytest.approx([0.0])
    assert "not a number" in [note.text for note in figure.layout.annotations]
    assert not marks(next_tokens_figure(made(), kind="entropy"))


def test_tokens_stand_below_their_bars_and_are_no_markup():
    figure = next_tokens_figure(made(ids=range(10)))
    assert list(figure.layout.xaxis.ticktext) == [
        "&lt;s&gt;", "·Tom", "·and", "·Sue", "↵", "&lt;b&gt;", "&#36;x&#36;", "·漢", "↵", "e",
    ]  # fmt: skip
    assert list(figure.layout.xaxis.tickvals) == list(range(10))


def test_two_prompts_stand_side_by_side_on_aligned_columns():
    data = compared()
    first, second = (trace for trace in next_tokens_figure(data).data if trace.type == "bar")
    columns = data.alignment.pairs
    for trace, side, pick in ((first, data.a, 0), (second, data.b, 1)):
        for column, height in zip(trace.x, trace.y, strict=True):
            place = columns[column][pick]
            if place is None or place == 0:
                assert height is None
            else:
                assert height == pytest.approx(side.surprisal[place])
    assert first.offset + first.width == pytest.approx(second.offset)
    assert {first.marker.color, second.marker.color} == set(color.CATEGORICAL[:2])


def test_a_difference_is_signed_in_two_colours():
    data = compared()
    figure = next_tokens_figure(data, kind="difference")
    (drawn,) = bars(figure)
    finite = np.flatnonzero(np.isfinite(data.difference))
    assert drawn == pytest.approx({int(place): data.difference[place] for place in finite})
    (trace,) = figure.data
    assert len({fill for fill, height in zip(trace.marker.color, trace.y, strict=True) if height is not None}) == 2
    low, high = figure.layout.yaxis.range
    assert low < data.difference[finite].min() < 0 < data.difference[finite].max() < high


def test_the_totals_stand_above():
    data = compared()
    above = " ".join(note.text for note in next_tokens_figure(data).layout.annotations)
    assert f"A {data.a.total_surprisal():.3g} bits" in above
    assert f"A − B = {data.total_difference():.3g}".replace("= -", "= −") in above


class TestCandidates:
    """The likeliest next tokens."""

    def test_bars_are_the_probabilities_after_the_position(self):
        data = made()
        figure = next_tokens_figure(data, kind="candidates", position=3, top=4)
        (trace,) = figure.data
        assert list(trace.x) == pytest.approx(data.top_probs[3, :4].tolist())
        want = [WORDS[token] for token in data.top_ids[3, :4]]
        assert [text.replace("·", " ") for text in figure.layout.yaxis.ticktext] == [
            word.replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;").replace("\n", "↵") for word in want
        ]
        assert "position 3" in figure.layout.annotations[0].text

    def test_a_token_that_one_side_does_not_hold_is_bounded_not_zero(self):
        data = NextTokensComparison(made(top_k=2), made(seed=1, top_k=2))
        figure = next_tokens_figure(data, kind="candidates")
        heights = [height for trace in figure.data for height in trace.x]
        texts = [note.text for note in figure.layout.annotations]
        assert None in heights
        assert sum(text.startswith("≤") for text in texts) == heights.count(None)

    def test_negative_positions_count_from_the_end_of_each(self):
        data = compared()
        figure = next_tokens_figure(data, kind="candidates", position=-1, top=1)
        for trace, side in zip(figure.data, (data.a, data.b), strict=True):
            best = WORDS[side.top_ids[-1, 0]]
            shown = [text.replace("·", " ") for text in figure.layout.yaxis.ticktext]
            if best in shown:
                assert trace.x[shown.index(best)] == pytest.approx(side.top_probs[-1, 0])

    def test_a_position_without_a_counterpart_is_refused(self):
        data = NextTokensComparison(compared().b, compared().a)
        alone = next(in_a for in_a, in_b in data.alignment.pairs if in_b is None)
        with pytest.raises(DataError, match="counterpart"):
            next_tokens_figure(data, kind="candidates", position=alone)


@pytest.mark.parametrize("width_mm", [40, 83, 174])
@pytest.mark.parametrize("count", [1, 2, 30, 120, 900])
def test_labels_keep_clear_of_each_other_and_of_the_edge(width_mm, count):
    figure = next_tokens_figure(made(count), width_mm=width_mm)
    layout = figure.layout
    assert layout.width == pytest.approx(px(width_mm))
    shown = 0
    for name in [key for key in layout.to_plotly_json() if key.startswith("xaxis")]:
        axis = layout[name]
        pitch = (axis.domain[1] - axis.domain[0]) * layout.width / (axis.range[1] - axis.range[0])
        assert axis.tickfont.size >= pt(6)
        assert 0 <= axis.domain[0] < axis.domain[1] <= 1
        ticks = list(axis.tickvals)
        assert all((after - before) * pitch >= axis.tickfont.size for before, after in itertools.pairwise(ticks))
        shown += len(ticks)
    assert shown == count or count == 900
    for note in layout.annotations:
        assert 0 <= note.x <= 1
        assert 0 <= note.y <= 1


def test_a_height_is_kept():
    assert next_tokens_figure(made(), height_mm=60).layout.height == pytest.approx(px(60))
    with pytest.raises(DataError, match="height_mm"):
        next_tokens_figure(made(120), height_mm=20)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "pie"}, "kind"),
        ({"kind": "difference"}, "two prompts"),
        ({"kind": "candidates", "position": 99}, "position"),
        ({"kind": "candidates", "top": 0}, "top"),
        ({"theme": "pink"}, "theme"),
        ({"width_mm": 5}, "width_mm"),
        ({"height_mm": 5}, "height_mm"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, says):
    with pytest.raises(DataError, match=says):
        next_tokens_figure(made(), **options)


def test_another_result_is_refused():
    with pytest.raises(DataError, match="next_tokens"):
        next_tokens_figure(np.zeros(3))


def test_bars_on_paper_have_their_height(tmp_path, colors_at):
    data = made(ids=[0, 1, 2, 3])
    figure = next_tokens_figure(data)
    x, y = figure.layout.xaxis.domain, figure.layout.yaxis.domain
    low, high = figure.layout.yaxis.range
    points = []
    for place in range(1, 4):
        across = x[0] + (x[1] - x[0]) * (place + 0.5) / 4
        for height in (0.9, 1.1):
            share = (float(data.surprisal[place]) * height - low) / (high - low)
            points.append([across, 1 - (y[0] + (y[1] - y[0]) * min(share, 1.02))])
    seen = colors_at(save_figure(figure, tmp_path / "x.png", dpi=150).read_bytes(), points)
    assert seen[::2] == [color.CATEGORICAL[0].lower()] * 3
    assert color.CATEGORICAL[0].lower() not in seen[1::2]


class TestPreview:
    """The picture for viewers without JavaScript."""

    def test_it_names_tokens_totals_and_candidates(self):
        data = made(ids=[0, 1, 2, 3])
        texts = [
            "".join(node.itertext())
            for node in ElementTree.fromstring(next_tokens_preview_svg(data)).iter(f"{SVG}text")
        ]
        assert texts[0] == "a model"
        assert {"<s>", "·Tom", "·and", "·Sue", "surprisal, bits"} <= set(texts)
        assert any(f"{data.total_surprisal():.3g} bits over 3 tokens" in text for text in texts)
        best = WORDS[data.top_ids[-1, 0]].replace(" ", "·").replace("\n", "↵")
        assert best in texts
        assert f"{data.top_probs[-1, 0]:.3g}" in texts

    @pytest.mark.parametrize("by", ["surprisal", "probability", "entropy", "rank", "none"])
    def test_every_colouring_and_theme_is_drawn(self, by, decode_png):
        for theme in ("light", "dark"):
            ElementTree.fromstring(next_tokens_preview_svg(made(), by=by, theme=theme))
            assert decode_png(next_tokens_preview_png(made(), by=by, theme=theme)).shape[1] == 760

    def test_colours_are_those_of_the_page(self):
        data = made(ids=[0, 1, 2, 3])
        rows = color.hex_colors("blue")
        boxes = re.findall(r'fill="(#[0-9a-f]{6})" stroke="#6b6b6b"', next_tokens_preview_svg(data))
        fills = boxes[:4]
        assert fills[0] == color.MISSING["light"].lower()
        high = np.log2(len(WORDS))
        want = [rows[int(min(255, max(0, value) / high * 256))] for value in data.surprisal[1:].tolist()]
        assert fills[1:] == want

    def test_a_long_prompt_is_counted_not_drawn(self):
        svg = next_tokens_preview_svg(made(3000))
        assert len(svg) < 300_000
        assert re.search(r"… [\d,]+ more tokens", svg)

    def test_two_prompts_have_a_strip_each(self, decode_png):
        svg = next_tokens_preview_svg(compared())
        texts = ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]
        assert {"A", "B"} <= set(texts)
        assert texts.count("·Tom") >= 2
        decode_png(next_tokens_preview_png(compared()))

    def test_hostile_tokens_stay_text(self, hostile):
        data = next_tokens_from_logits(
            np.random.default_rng(0).normal(size=(len(hostile), len(hostile))), range(len(hostile)), vocabulary=hostile
        )
        root = ElementTree.fromstring(next_tokens_preview_svg(data, title=hostile[1]).encode("utf-8"))
        assert {node.tag.removeprefix(SVG) for node in root.iter()} == {"svg", "title", "rect", "text", "path"}
        next_tokens_preview_png(data)

    def test_a_wrong_option_is_refused(self):
        with pytest.raises(DataError, match="by"):
            next_tokens_preview_svg(made(), by="colour")
        with pytest.raises(DataError, match="position"):
            next_tokens_preview_png(made(), 70)

    def test_it_needs_neither_plotly_nor_a_browser(self):
        code = (
            "import sys; from mi_widgets.figures import next_tokens_preview_svg; "
            "print(sorted({'plotly', 'kaleido', 'torch'} & set(sys.modules)))"
        )
        found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert found.stdout.strip() == "[]"
