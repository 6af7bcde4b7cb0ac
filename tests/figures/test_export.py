"""Figures as files: exact widths, text as text, the same bytes twice, no browser, and plain words where it cannot be
done."""

import asyncio
import copy
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import plotly.graph_objects as go
import pytest

from mi_widgets.errors import DataError, ExportError
from mi_widgets.figures import attention_figure, save_figure

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def figure(make_patterns, story):
    return attention_figure(make_patterns(1, 1, story))


@pytest.fixture
def no_kaleido(monkeypatch):
    """A machine on which only what the package depends on is installed."""
    for name in ("kaleido", "choreographer"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("width_mm", [83, 120, 174])
def test_a_page_is_exactly_as_wide_as_asked(make_patterns, story, tmp_path, width_mm):
    figure = attention_figure(make_patterns(1, 1, story), width_mm=width_mm)
    height_mm = figure.layout.height * 25.4 / 96

    box = re.search(rb"/MediaBox ?\[(.*?)\]", save_figure(figure, tmp_path / "figure.pdf").read_bytes())[1]
    left, bottom, right, top = (float(edge) for edge in box.split())
    assert (right - left) * 25.4 / 72 == pytest.approx(width_mm, abs=1e-4)
    assert (top - bottom) * 25.4 / 72 == pytest.approx(height_mm, abs=1e-3)

    root = ElementTree.parse(save_figure(figure, tmp_path / "figure.svg")).getroot()
    assert root.get("width") == f"{width_mm}mm"
    assert float(root.get("height").removesuffix("mm")) == pytest.approx(height_mm, rel=1e-5)

    image = save_figure(figure, tmp_path / "figure.png").read_bytes()
    pixels = struct.unpack(">I", image[16:20])[0]
    per_metre = struct.unpack(">I", image[image.index(b"pHYs") + 4 :][:4])[0]
    assert pixels / per_metre * 1000 == pytest.approx(width_mm, abs=0.1)
    assert per_metre * 0.0254 >= 299.99


def test_a_figure_is_scaled_whole_to_another_width(figure, tmp_path):
    box = re.search(rb"/MediaBox ?\[(.*?)\]", save_figure(figure, tmp_path / "a.pdf", width_mm=166).read_bytes())[1]
    _, _, right, top = (float(edge) for edge in box.split())
    assert right * 25.4 / 72 == pytest.approx(166, abs=1e-4)
    assert top / right == pytest.approx(figure.layout.height / figure.layout.width, rel=1e-5)
    own, wide = (
        ElementTree.parse(save_figure(figure, tmp_path / "a.svg", width_mm=width)).getroot()
        for width in (None, "double")
    )
    assert wide.get("width") == "174mm"
    assert wide.get("viewBox") == own.get("viewBox")


def test_text_stays_text(figure, tmp_path, story, pdf_text):
    root = ElementTree.parse(save_figure(figure, tmp_path / "figure.svg")).getroot()
    texts = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    said = pdf_text(save_figure(figure, tmp_path / "figure.pdf").read_bytes())
    for token in story:
        label = token.replace(" ", "·")
        assert texts.count(label) == 2 * story.count(token)
        assert said.count(label) >= 2 * story.count(token)


def test_small_maps_are_all_vector(figure, tmp_path):
    assert "<image" not in save_figure(figure, tmp_path / "figure.svg").read_text()
    assert not re.search(rb"/Subtype ?/Image", save_figure(figure, tmp_path / "figure.pdf").read_bytes())


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png", "html"])
def test_the_same_figure_gives_the_same_bytes(figure, make_patterns, story, tmp_path, suffix):
    first = save_figure(figure, tmp_path / f"one.{suffix}").read_bytes()
    again = save_figure(attention_figure(make_patterns(1, 1, story)), tmp_path / f"two.{suffix}").read_bytes()
    assert first == again


def test_hostile_tokens_are_plain_text(make_patterns, hostile, tmp_path, pdf_text):
    figure = attention_figure(make_patterns(1, 1, hostile), width_mm=174, title=hostile[1])
    root = ElementTree.parse(save_figure(figure, tmp_path / "figure.svg")).getroot()
    assert not [node for node in root.iter() if node.tag in (f"{SVG}a", f"{SVG}script", f"{SVG}foreignObject")]
    texts = {"".join(node.itertext()) for node in root.iter(f"{SVG}text")}
    kept = {"<b>x</b>", "&amp;", "%{x}", "$\\frac{a}{b}$", "漢字", "👩‍👩‍👧", "↵", "⟨D800⟩", "]]>"}
    assert kept <= texts
    said = pdf_text(save_figure(figure, tmp_path / "figure.pdf").read_bytes())
    assert [text for text in kept - {"👩‍👩‍👧"} if text not in said] == []
    save_figure(figure, tmp_path / "figure.png")


def test_no_browser_is_started_and_no_plotly_asked(figure, tmp_path, monkeypatch, no_kaleido):
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", None)
    for suffix in ("pdf", "svg", "png"):
        assert save_figure(figure, tmp_path / f"figure.{suffix}").stat().st_size > 1000


def test_it_works_inside_a_running_loop_without_noise(tmp_path):
    code = (
        "import asyncio, numpy as np\n"
        "from mi_widgets.data import patterns_from_arrays\n"
        "from mi_widgets.figures import attention_figure, save_figure\n"
        "async def main():\n"
        "    figure = attention_figure(patterns_from_arrays(np.tri(4) / np.arange(1, 5)[:, None]))\n"
        f"    save_figure(figure, {str(tmp_path / 'cell.pdf')!r})\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "cell.pdf").read_bytes().startswith(b"%PDF")


# --- figures that are not printed from a sheet ------------------------------------------------------------


def edited(figure):
    figure.update_layout(title="mine")
    return figure


def foreign(figure):
    return go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))


@pytest.mark.parametrize("change", [edited, foreign, copy.deepcopy])
def test_without_kaleido_a_figure_that_is_not_ours_any_more_says_what_to_do(figure, tmp_path, no_kaleido, change):
    other = change(figure)
    with pytest.raises(ExportError, match=r"not one of ours, or was edited") as caught:
        save_figure(other, tmp_path / "figure.pdf")
    assert "html" in caught.value.hint
    assert "pip install kaleido" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    assert save_figure(other, tmp_path / "figure.html").exists()


def test_with_kaleido_plotly_draws_it_at_the_width_asked_for(figure, tmp_path, monkeypatch):
    asked = []
    image = save_figure(figure, tmp_path / "ours.png").read_bytes()
    monkeypatch.setattr(go.Figure, "to_image", lambda self, *arguments: asked.append(arguments) or image)
    plain = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]), layout={"width": 400, "height": 200})
    for suffix in ("pdf", "png"):
        assert save_figure(plain, tmp_path / f"plain.{suffix}", width_mm=83, dpi=192).exists()
    zoom = 83 / 25.4 * 96 / 400
    assert asked == [("pdf", 400, 200, pytest.approx(zoom)), ("png", 400, 200, pytest.approx(2 * zoom))]


# --- html -------------------------------------------------------------------------------------------------


@pytest.mark.browser
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


@pytest.mark.browser
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
