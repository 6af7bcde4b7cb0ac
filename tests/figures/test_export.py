"""Figures as files: exact widths, text as text, the same bytes twice, and plain words where it cannot be done."""

import asyncio
import contextlib
import os
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zlib
from concurrent.futures import ThreadPoolExecutor

import plotly.graph_objects as go
import pytest

from mi_widgets.errors import DataError, ExportError
from mi_widgets.figures import attention_figure, export, open_browser, save_figure
from mi_widgets.figures.pdf import exact_pdf

pytestmark = pytest.mark.browser
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def figure(make_patterns, story):
    return attention_figure(make_patterns(1, 1, story))


@pytest.mark.parametrize("width_mm", [83, 120, 174])
def test_a_page_is_exactly_as_wide_as_asked(make_patterns, story, tmp_path, printer, width_mm):
    figure = attention_figure(make_patterns(1, 1, story), width_mm=width_mm)
    height_mm = figure.layout.height * 25.4 / 96

    box = re.search(rb"/MediaBox \[(.*?)\]", save_figure(figure, tmp_path / "figure.pdf").read_bytes())[1]
    left, bottom, right, top = (float(edge) for edge in box.split())
    assert (right - left) * 25.4 / 72 == pytest.approx(width_mm, abs=1e-4)
    assert (top - bottom) * 25.4 / 72 == pytest.approx(height_mm, abs=1e-4)

    root = ElementTree.parse(save_figure(figure, tmp_path / "figure.svg")).getroot()
    assert root.get("width") == f"{width_mm}mm"
    assert float(root.get("height").removesuffix("mm")) == pytest.approx(height_mm, rel=1e-5)

    image = save_figure(figure, tmp_path / "figure.png").read_bytes()
    pixels = struct.unpack(">I", image[16:20])[0]
    per_metre = struct.unpack(">I", image[image.index(b"pHYs") + 4 :][:4])[0]
    assert pixels / per_metre * 1000 == pytest.approx(width_mm, abs=0.1)
    assert per_metre * 0.0254 >= 299.99


def test_a_figure_is_scaled_whole_to_another_width(figure, tmp_path, printer):
    box = re.search(rb"/MediaBox \[(.*?)\]", save_figure(figure, tmp_path / "a.pdf", width_mm=174).read_bytes())[1]
    left, _, right, _ = (float(edge) for edge in box.split())
    assert (right - left) * 25.4 / 72 == pytest.approx(174, abs=1e-4)
    root = ElementTree.parse(save_figure(figure, tmp_path / "a.svg", width_mm="double")).getroot()
    assert root.get("width") == "174mm"


def test_any_plotly_figure_can_be_saved(tmp_path, printer):
    path = save_figure(go.Figure(go.Scatter(x=[1, 2], y=[3, 4])), tmp_path / "plain.pdf", width_mm=83)
    assert path.read_bytes().startswith(b"%PDF")


def test_text_stays_text_in_svg(figure, tmp_path, printer, story):
    root = ElementTree.parse(save_figure(figure, tmp_path / "figure.svg")).getroot()
    texts = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    for token in story:
        assert texts.count(token.replace(" ", "·")) == 2 * story.count(token)


def test_small_maps_are_all_vector(figure, tmp_path, printer):
    assert "<image" not in save_figure(figure, tmp_path / "figure.svg").read_text()
    assert b"/Subtype /Image" not in save_figure(figure, tmp_path / "figure.pdf").read_bytes()


def contents(document):
    """Every compressed stream of a PDF, unpacked."""
    for found in re.finditer(rb"stream\n", document):
        with contextlib.suppress(zlib.error):
            yield zlib.decompressobj().decompress(document[found.end() :])


def test_text_stays_text_in_pdf(figure, tmp_path, printer):
    document = save_figure(figure, tmp_path / "figure.pdf").read_bytes()
    assert b"/Type /Font" in document
    assert sum(text.count(b"Tj\n") for text in contents(document)) >= 30  # fifteen tokens on each axis


def test_a_millimetre_in_the_pdf_is_a_millimetre(figure, tmp_path, printer):
    document = save_figure(figure, tmp_path / "figure.pdf").read_bytes()
    content = next(text for text in contents(document) if b" cm\n" in text)
    number = rb"(-?[0-9.]+)"
    outer = re.search(number + rb" 0 0 -" + number + rb" 0 " + number + rb" cm", content)
    inner = re.search(number + rb" 0 0 " + number + rb" 0 0 cm", content)
    assert float(outer[1]) * float(inner[1]) == pytest.approx(0.75, rel=1e-4)  # points to a CSS pixel
    top = re.search(rb"/MediaBox \[0 [0-9.]+ [0-9.]+ ([0-9.]+)\]", document)[1]
    assert float(outer[3]) == pytest.approx(float(top), abs=0.25)
    # The map's frame stands where the figure says, so nothing was shrunk or shifted.
    left = figure.layout.xaxis.domain[0] * figure.layout.width
    above = (1 - figure.layout.yaxis.domain[1]) * figure.layout.height
    starts = [(float(x), float(y)) for x, y in re.findall(number + rb" " + number + rb" [0-9.]+ [0-9.]+ re", content)]
    assert min(abs(x - left) + abs(y - above) for x, y in starts) < 1


def test_every_offset_in_the_pdf_points_at_its_object(figure, tmp_path, printer):
    document = save_figure(figure, tmp_path / "figure.pdf").read_bytes()
    start = int(re.search(rb"startxref\n(\d+)", document)[1])
    assert document[start:].startswith(b"xref")
    entries = re.findall(rb"(\d{10}) \d{5} n", document[start:])
    assert len(entries) > 5
    for entry in entries:
        assert re.match(rb"\d+ 0 obj", document[int(entry) :])


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png", "html"])
def test_the_same_figure_gives_the_same_bytes(figure, tmp_path, printer, suffix):
    first = save_figure(figure, tmp_path / f"one.{suffix}").read_bytes()
    again = save_figure(figure, tmp_path / f"two.{suffix}").read_bytes()
    assert first == again


def test_hostile_tokens_are_plain_text_in_svg(make_patterns, hostile, tmp_path, printer):
    figure = attention_figure(make_patterns(1, 1, hostile), width_mm=174, title=hostile[1])
    root = ElementTree.parse(save_figure(figure, tmp_path / "figure.svg")).getroot()
    assert not [node for node in root.iter() if node.tag in (f"{SVG}a", f"{SVG}script", f"{SVG}foreignObject")]
    texts = {"".join(node.itertext()) for node in root.iter(f"{SVG}text")}
    assert {"<b>x</b>", "&amp;", "%{x}", "$\\frac{a}{b}$", "漢字", "👩‍👩‍👧", "↵", "⟨D800⟩", "]]>"} <= texts


def test_it_works_inside_a_running_loop_without_noise(chromium, tmp_path):
    code = (
        "import asyncio, numpy as np\n"
        "from mi_widgets.data import patterns_from_arrays\n"
        "from mi_widgets.figures import attention_figure, save_figure\n"
        "async def main():\n"
        "    figure = attention_figure(patterns_from_arrays(np.tri(4) / np.arange(1, 5)[:, None]))\n"
        f"    save_figure(figure, {str(tmp_path / 'cell.pdf')!r})\n"
        "asyncio.run(main())\n"
    )
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")
        assert (tmp_path / "cell.pdf").read_bytes().startswith(b"%PDF")
        # On a busy machine kaleido's pipe to the browser now and then reports half a message and reads on.
        if "JSONError decoding message. Ignoring" not in done.stderr:
            break
    assert done.stderr == ""


def test_an_open_browser_also_serves_a_running_loop(figure, tmp_path, printer):
    async def cell():
        return save_figure(figure, tmp_path / "cell.svg")

    # On a thread of its own: Playwright keeps a loop running on this one.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: asyncio.run(cell())).result().exists()


def test_html_carries_plotly_and_fetches_nothing(make_patterns, hostile, tmp_path, page):
    figure = attention_figure(make_patterns(1, 1, hostile))
    path = save_figure(figure, tmp_path / "figure.html")
    asked, errors = [], []
    view = page.context.browser.new_page()
    view.on("request", lambda request: asked.append(request.url))
    view.on("pageerror", lambda error: errors.append(str(error)))
    view.on("dialog", lambda dialog: (errors.append(dialog.message), dialog.dismiss()))
    view.goto(path.as_uri())
    view.wait_for_selector(".main-svg .xtick text")
    assert view.locator(".ytick text").first.text_content() == "<b>x</b>"
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert errors == []
    view.close()


def test_hovering_in_html_names_value_and_tokens(make_patterns, story, tmp_path, page):
    patterns = make_patterns(1, 1, story)
    figure = attention_figure(patterns)
    view = page.context.browser.new_page()
    view.goto(save_figure(figure, tmp_path / "figure.html").as_uri())
    view.wait_for_selector(".main-svg .xtick text")
    x, y = figure.layout.xaxis.domain, figure.layout.yaxis.domain
    box = view.locator("#figure").bounding_box()
    across = (x[0] + (x[1] - x[0]) * 1.5 / 15) * figure.layout.width
    down = (1 - y[1] + (y[1] - y[0]) * 2.5 / 15) * figure.layout.height
    view.mouse.move(box["x"] + across - 3, box["y"] + down)
    view.mouse.move(box["x"] + across, box["y"] + down, steps=4)
    view.wait_for_selector(".hoverlayer text")
    said = view.locator(".hoverlayer").text_content()
    assert "·Mary ← When" in said
    assert f"{patterns.base[0, 0, 2, 1]:.6g}" in said
    view.close()


@pytest.mark.parametrize("name", ["figure.bmp", "figure"])
def test_an_unknown_suffix_is_refused(figure, tmp_path, name):
    with pytest.raises(DataError, match="pdf, svg, png, html"):
        save_figure(figure, tmp_path / name)


def test_a_missing_folder_is_named(figure, tmp_path):
    with pytest.raises(ExportError, match="nowhere"):
        save_figure(figure, tmp_path / "nowhere" / "figure.pdf")


def test_without_a_browser_the_error_names_what_to_install(figure, tmp_path, monkeypatch):
    from choreographer.browsers.chromium import Chromium

    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setattr(Chromium, "find_browser", classmethod(lambda cls, **options: None))
    with pytest.raises(ExportError, match="chromium") as caught:
        save_figure(figure, tmp_path / "figure.pdf")
    assert "Google Chrome" in caught.value.hint
    assert not os.listdir(tmp_path)  # noqa: PTH208
    save_figure(figure, tmp_path / "figure.html")


def test_a_wrong_browser_path_is_named(figure, tmp_path, monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chrome")
    with pytest.raises(ExportError, match="/nowhere/chrome"):
        save_figure(figure, tmp_path / "figure.svg")


def test_a_pdf_of_another_kind_is_refused():
    with pytest.raises(ExportError, match="unknown kind"):
        exact_pdf(b"%PDF-1.7 nothing", 83, 60)


def test_a_browser_that_was_open_stays_open(figure, tmp_path, printer):
    with open_browser():
        save_figure(figure, tmp_path / "inside.svg")
    assert export._serving
    save_figure(figure, tmp_path / "again.svg")


def test_a_page_that_cannot_be_cut_is_written_with_a_warning(figure, tmp_path, printer, monkeypatch):
    def refuse(*sizes):
        raise ExportError("the browser wrote a PDF of an unknown kind.")

    monkeypatch.setattr(export, "exact_pdf", refuse)
    with pytest.warns(UserWarning, match="1 mm larger"):
        save_figure(figure, tmp_path / "figure.pdf")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
