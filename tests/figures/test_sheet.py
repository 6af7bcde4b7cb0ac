"""A sheet: drawn once, printed as SVG and as a plotly figure of the same page."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from mi_widgets.figures.cells import VECTOR_CELLS
from mi_widgets.figures.labels import token_label
from mi_widgets.figures.marks import Axis, Bars, Box, Cells, Curve, Hover, Line, Rectangles, Words
from mi_widgets.figures.scale import ColorScale
from mi_widgets.figures.sheet import SCREEN_WIDTH, ZOOM, Sheet, as_svg, on_paper, plotted, sheet_of
from mi_widgets.figures.style import px

SVG = "{http://www.w3.org/2000/svg}"
NAN = float("nan")
SCALE = ColorScale(0, 1)


def cells(rows, columns, seed=0):
    return Cells(SCALE.codes(np.random.default_rng(seed).random((rows, columns))), SCALE.table)


def page(*marks, x=None, y=None, screen=False, theme="light"):
    """A sheet of 83 × 60 mm with one plot that holds `marks`."""
    sheet = Sheet(px(83), px(60), theme, "what it is", screen)
    plot = sheet.plot(Box(40, 20, 100, 80), x or Axis(-0.5, 3.5), y or Axis(-0.5, 1.5))
    plot.add(*marks)
    return sheet


def root_of(sheet):
    return ElementTree.fromstring(sheet.svg().encode("utf-8"))


def nodes(sheet, tag):
    return list(root_of(sheet).iter(SVG + tag))


# --- as SVG -----------------------------------------------------------------------------------------------


def test_paper_states_millimetres_and_a_still_picture_pixels():
    paper = root_of(page())
    assert (paper.attrib["width"], paper.attrib["height"]) == ("83mm", "60mm")
    still = root_of(Sheet(SCREEN_WIDTH / ZOOM, 80, screen=True))
    assert (still.attrib["width"], still.attrib["height"]) == ("760", "100")


def test_it_says_what_it_is_to_who_cannot_see_it():
    root = root_of(page())
    assert root.attrib["role"] == "img"
    assert root.find(SVG + "title").text == "what it is"


def test_the_same_sheet_gives_the_same_bytes():
    assert page(cells(2, 4)).svg() == page(cells(2, 4)).svg()


def test_text_stays_text_whatever_it_holds(hostile):
    sheet = Sheet(200, 400)
    for place, token in enumerate(hostile):
        sheet.text(5, 20 * place + 10, token_label(token), 9, mono=True)
    assert [node.text for node in nodes(sheet, "text")] == [token_label(token) for token in hostile]


@pytest.mark.parametrize(("anchor", "at"), [("start", None), ("middle", "middle"), ("end", "end")])
def test_text_hangs_at_its_anchor(anchor, at):
    sheet = Sheet(200, 100)
    sheet.text(50, 40, "words", 10, anchor=anchor)
    [node] = nodes(sheet, "text")
    assert node.attrib.get("text-anchor") == at
    assert (node.attrib["x"], node.attrib["y"]) == ("50", "43.5")  # its middle is at 40


def test_text_that_reads_upwards_is_turned_about_its_anchor():
    sheet = Sheet(200, 100)
    sheet.text(50, 40, "words", 10, turned=True)
    [node] = nodes(sheet, "text")
    assert node.attrib["transform"] == "rotate(-90 53.5 40)"


def test_few_cells_are_vectors_and_many_a_picture_of_sharp_cells(decode_png, embedded_png):
    assert nodes(page(cells(2, 4)), "image") == []
    many = cells(70, 70)
    sheet = page(many, x=Axis(-0.5, 69.5), y=Axis(-0.5, 69.5))
    [image] = nodes(sheet, "image")
    assert "pixelated" in image.attrib["style"]
    pixels = decode_png(embedded_png(sheet.svg())[0])
    factor = len(pixels) // 70
    assert (pixels[factor // 2 :: factor, factor // 2 :: factor] == SCALE.table[many.codes]).all()


def test_all_grids_of_a_sheet_together_are_few_or_many():
    half = int((VECTOR_CELLS / 2) ** 0.5)
    sheet = page(cells(half, half))
    sheet.plot(Box(0, 0, 50, 50), Axis(-0.5, half - 0.5), Axis(-0.5, half - 0.5)).add(cells(half, half))
    assert nodes(sheet, "image") == []
    sheet.plot(Box(0, 0, 50, 50), Axis(-0.5, half - 0.5), Axis(-0.5, half - 0.5)).add(cells(half, half))
    assert len(nodes(sheet, "image")) == 3


def test_where_values_run_upwards_the_first_row_is_at_the_bottom(decode_png, embedded_png):
    many = cells(70, 70)
    sheet = page(many, x=Axis(-0.5, 69.5), y=Axis(69.5, -0.5))
    for found in (sheet.svg(), sheet.figure().layout.images[0].source):
        pixels = decode_png(embedded_png(found)[0])
        assert (pixels[-1, 0] == SCALE.table[many.codes[0, 0]]).all()


def test_bars_of_no_number_are_not_drawn():
    sheet = page(Bars([0, 1, 2], [0, 0, 0], [1.0, NAN, -1.0], "#123456", 0.5), y=Axis(1, -1))
    [bars] = [node for node in nodes(sheet, "path") if node.attrib["fill"] == "#123456"]
    assert bars.attrib["d"].count("M") == 2


def test_a_curve_is_broken_where_a_value_is_not_known():
    sheet = page(Curve([0, 1, 2, 3], [0, NAN, 1, 1], "#123456", 1, (4, 3), "square", 4, "#ffffff"))
    line, marks = [node for node in nodes(sheet, "path") if node.attrib.get("stroke") == "#123456"]
    assert line.attrib["d"].count("M") == 2
    assert line.attrib["stroke-dasharray"] == "4 3"
    assert marks.attrib["d"].count("M") == 3


def test_ticks_stand_at_their_values_with_their_labels():
    sheet = page(x=Axis(-0.5, 3.5, [0, 3], ["·a", "漢"], 9, mono=True, turned=True), y=Axis(1, 0, [0.5], ["half"], 8))
    words = {node.text: node.attrib for node in nodes(sheet, "text")}
    assert float(words["half"]["y"]) == pytest.approx(60 + 0.35 * 8)
    assert words["half"]["text-anchor"] == "end"
    assert words["·a"]["transform"].startswith("rotate(-90 ")
    assert float(words["漢"]["x"]) == pytest.approx(40 + 100 * 3.5 / 4 + 0.35 * 9, abs=0.01)


# --- as a plotly figure -----------------------------------------------------------------------------------


def test_a_figure_has_the_same_page():
    figure = page(cells(2, 4), Hover(np.zeros((2, 4)), "%{z}")).figure()
    assert (figure.layout.width, figure.layout.height) == pytest.approx((px(83), px(60)))
    assert figure.layout.xaxis.domain == pytest.approx((40 / px(83), 140 / px(83)))
    assert figure.layout.yaxis.range == (1.5, -0.5)
    assert len(figure.data) == 1


def test_a_figure_holds_every_mark():
    sheet = page(
        Rectangles([Box(0, 0, 1, 1)], "#ff0000"),
        Line((0, 0), (1, 1), "#00ff00", 1),
        Bars([0], [0.5], [1.0], ["#0000ff"], 0.5, hover=["said"], flat=True),
        Curve([0, 1], [0, NAN], "#123456", 1),
        Words([0], [1], ["<b>"], 8, "#654321"),
    )
    figure = sheet.figure()
    assert [shape.type for shape in figure.layout.shapes] == ["rect", "line"]
    bars, curve, words = figure.data
    assert (bars.base, bars.x, bars.y, bars.hovertext) == ((0.5,), (1.0,), (0,), ("said",))
    assert (curve.mode, curve.y) == ("lines", (0.0, None))
    assert words.text == ("&lt;b&gt;",)


def test_words_are_never_markup_in_a_figure():
    sheet = Sheet(200, 100)
    sheet.text(5, 5, "<b>$x$ & y", 9)
    assert sheet.figure().layout.annotations[0].text == "&lt;b&gt;&#36;x&#36; &amp; y"


# --- there and back ---------------------------------------------------------------------------------------


def test_a_figure_knows_its_sheet_until_it_is_changed():
    sheet = page(cells(2, 4), Hover(np.array([[NAN, 1.0]]), "%{z}"))
    figure = sheet.figure()
    assert sheet_of(figure) is sheet
    figure.update_layout(title="mine")
    assert sheet_of(figure) is None


def test_a_changed_trace_is_noticed_too():
    figure = page(Bars([0], [0.0], [1.0], "#123456", 0.5)).figure()
    figure.data[0].x = [2.0]
    assert sheet_of(figure) is None


def test_a_foreign_figure_and_a_copy_have_no_sheet():
    import plotly.graph_objects as go

    assert sheet_of(go.Figure()) is None
    assert sheet_of(go.Figure(page().figure())) is None
    assert sheet_of("no figure") is None


def test_one_description_gives_figure_and_svg():
    def draw(width, *, theme="light"):
        """It draws."""
        return Sheet(width, 50, theme)

    assert plotted(draw)(80, theme="dark").layout.width == 80
    assert re.search(r'viewBox="0 0 80 50"', as_svg(draw)(80))
    assert as_svg(draw).__doc__ == "It draws."


def test_a_figure_for_a_file_is_its_sheet_and_waits_for_no_plotly(tmp_path):
    code = (
        "import sys, numpy as np, mi_widgets as mw;"
        "view = mw.Attention.from_data(np.ones((1, 1, 1, 1), np.float32), ['a']);"
        f"view.save({str(tmp_path / 'figure.pdf')!r}); print('plotly' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "False"
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    draw = plotted(lambda: Sheet(80, 50))
    with on_paper():
        assert isinstance(draw(), Sheet)
    assert draw().layout.width == 80
