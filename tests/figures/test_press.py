"""Printing an svg: pages of exact size, text as text, pixels as asked, the same bytes, and no fonts needed."""

import base64
import re
import struct
import subprocess
import sys

import numpy as np
import pytest

from mi_widgets.errors import ExportError
from mi_widgets.figures import press
from mi_widgets.figures.cells import png
from mi_widgets.figures.press import pdf_of, png_of

SIZE = 'width="83mm" height="40mm" viewBox="0 0 830 400"'


def svg(*parts, size=SIZE):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size} '
        f"font-family=\"'DejaVu Sans', sans-serif\">{''.join(parts)}</svg>"
    )


def text(words, y=100):
    return f'<text x="10" y="{y}" font-size="30">{words}</text>'


def test_a_page_has_the_size_that_the_svg_states():
    for size, want in ((SIZE, (83, 40)), ('width="760" height="96"', (760 * 25.4 / 96, 25.4))):
        (box,) = re.findall(rb"/MediaBox ?\[(.*?)\]", pdf_of(svg(size=size)))
        left, bottom, right, top = (float(edge) * 25.4 / 72 for edge in box.split())
        assert (right - left, top - bottom) == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("dpi", [72, 96, 300, 613])
def test_a_png_has_the_nearest_whole_pixels_and_states_its_resolution(dpi, decode_png):
    image = png_of(svg('<rect width="830" height="400" fill="#12ab56"/>'), dpi)
    pixels = decode_png(image)
    assert pixels.shape == (round(40 / 25.4 * dpi), round(83 / 25.4 * dpi), 3)
    assert (pixels == [0x12, 0xAB, 0x56]).all()  # up to the edges
    (per_metre,) = struct.unpack(">I", image[image.index(b"pHYs") + 4 :][:4])
    assert per_metre == pytest.approx(dpi / 0.0254, abs=0.5)


def test_text_stays_text_in_subset_fonts(pdf_text):
    document = pdf_of(svg(text("The quick brown fox · ⟨0007⟩"), text("漢字", 200)))
    assert "The quick brown fox · ⟨0007⟩漢字" in pdf_text(document)
    assert re.search(rb"/BaseFont/[A-Z]{6}\+DejaVuSans", document)
    assert len(document) < 60_000


def test_runs_from_right_to_left_are_shaped_and_keep_their_letters(pdf_text):
    assert set(pdf_text(pdf_of(svg(text("עברית"))))) >= set("עברית")
    assert set(pdf_text(pdf_of(svg(text("سلام"))))) & set("سلام")


def test_markup_in_text_stays_text(pdf_text):
    assert pdf_text(pdf_of(svg(text("&lt;script&gt;&amp;\"' ]]&gt; #let $x$")))) == "<script>&\"' ]]> #let $x$"


def test_without_any_font_on_the_machine_text_is_drawn_all_the_same(monkeypatch, pdf_text):
    import typst

    bare = typst.Fonts(include_system_fonts=False)
    monkeypatch.setattr(press, "_fonts", lambda: bare)
    document = pdf_of(svg(text("layer 11 · −3 → ×")))
    assert pdf_text(document) == "layer 11 · −3 → ×"


def test_cells_of_a_picture_have_sharp_edges(decode_png):
    table = np.array([[250, 10, 20], [30, 40, 240]], np.uint8)
    image = base64.b64encode(png(np.array([[0, 1], [1, 0]]), table, 3)).decode()
    shown = (
        '<image width="830" height="400" preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'xlink:href="data:image/png;base64,{image}"/>'
    )
    pixels = decode_png(png_of(svg(shown), 100))
    assert {tuple(color) for color in pixels.reshape(-1, 3).tolist()} == {(250, 10, 20), (30, 40, 240)}


def test_the_same_svg_gives_the_same_bytes_in_another_process(tmp_path):
    path = tmp_path / "figure.svg"
    path.write_text(svg(text("the same <tspan>bytes</tspan>")), encoding="utf-8")
    code = (
        "import hashlib, pathlib, sys; from mi_widgets.figures.press import pdf_of, png_of\n"
        "svg = pathlib.Path(sys.argv[1]).read_text()\n"
        "print(hashlib.sha256(pdf_of(svg) + png_of(svg)).hexdigest())"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_more_pixels_than_the_machine_may_hold_are_refused():
    with pytest.raises(ExportError, match="too large"):
        png_of(svg(size='width="1000mm" height="2000mm"'), 4800)


def test_an_svg_without_a_size_is_refused():
    with pytest.raises(ValueError, match="width and height"):
        pdf_of("<svg/>")
