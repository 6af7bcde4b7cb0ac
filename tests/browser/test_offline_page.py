"""Offline pages in a real browser: small, silent on the network, linked and interactive without a kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import made_patterns
import pytest
from playwright.sync_api import Page, expect

import mi_widgets as mw

Open = Callable[[Path], Page]


softmax = partial(made_patterns.softmax, steepness=3)


def test_144_heads_of_64_tokens_make_a_small_page_that_draws_and_answers(open_page: Open, tmp_path: Path) -> None:
    view = mw.Attention.from_data(softmax(12, 12, 64), [f" w{position}" for position in range(64)], kv_heads=4)
    path = view.save(tmp_path / "page.html")
    assert path.stat().st_size <= 1_500_000
    page = open_page(path)
    root = page.locator(".miw-view")
    expect(root).to_have_attribute("data-state", "frozen")
    expect(root).to_contain_text("KV 0")
    page.locator(".miw-wall").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(root).to_contain_text("L2 H1")
    page.locator(".miw-heatmap").first.focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".miw-tooltip")).to_contain_text("≈")  # float16 in pages: three digits, and said so


def test_values_on_hover_are_the_values(open_page: Open, tmp_path: Path) -> None:
    patterns = softmax(1, 2, 5)
    page = open_page(mw.Attention.from_data(patterns, list("abcde")).save(tmp_path / "page.html"))
    page.locator(".miw-heatmap").first.focus()
    page.keyboard.press("ArrowDown")  # nothing is chosen yet: the first key goes to the last query
    value = float(page.locator(".miw-tooltip").inner_text().split("≈")[1].split()[0])
    assert value == pytest.approx(float(patterns[0, 0, 4, 0]), abs=6e-4)


def test_views_of_one_session_stay_linked(open_page: Open, tmp_path: Path, model: object) -> None:
    session = mw.Session(model, "w3 w4 w5 w6 w3 w4")
    path = mw.save_html(
        tmp_path / "page.html", mw.Attention(session), mw.Attention(session, weighting="output"), columns=2
    )
    page = open_page(path)
    views = page.locator(".miw-view")
    expect(views).to_have_count(2)
    views.nth(0).locator(".miw-wall").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(views.nth(1)).to_contain_text("L1 H2")


def test_hostile_tokens_are_text(open_page: Open, tmp_path: Path) -> None:
    tokens = [
        "</script><script>window.hacked=1</script>",
        "<img src=x onerror=window.hacked=1>",
        "<!--",
        "🙂漢字",
        "\u202eabc",
    ]
    page = open_page(mw.Attention.from_data(softmax(1, 1, 5), tokens).save(tmp_path / "page.html"))
    expect(page.locator(".miw-strip").first).to_contain_text("</script>")
    assert page.evaluate("window.hacked") is None
    assert page.locator(".miw-view img, .miw-view script").count() == 0


@pytest.mark.parametrize(("layers", "heads", "count"), [(1, 1, 1), (2, 2, 1000)], ids=["one token", "1,000 tokens"])
def test_extreme_lengths_draw(open_page: Open, tmp_path: Path, layers: int, heads: int, count: int) -> None:
    page = open_page(mw.Attention.from_data(softmax(layers, heads, count)).save(tmp_path / "page.html"))
    canvas = page.locator(".miw-heatmap-canvas").first
    expect(canvas).to_be_visible()
    colours = canvas.evaluate(
        """canvas => {
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            const seen = new Set();
            for (let at = 0; at < data.length; at += 4) seen.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
            return seen.size;
        }"""
    )
    assert colours >= (2 if count == 1 else 20)


@pytest.mark.parametrize(("layer", "head", "title", "outlined"), [(2, None, "L2 H0", True), (1, None, "L0 H0", False)])
def test_a_selected_layer_outlines_its_first_head_and_one_that_is_not_there_none(
    open_page: Open, tmp_path: Path, layer: int, head: int | None, title: str, outlined: bool
) -> None:
    view = mw.Attention.from_data(softmax(2, 3, 6), list("abcdef"), layers=[0, 2])
    view.selection = mw.Selection(layer=layer, head=head)
    page = open_page(view.save(tmp_path / "page.html"))
    expect(page.locator(".miw-matrix .miw-panel-title")).to_contain_text(title)
    page.wait_for_selector(".miw-view[data-run]")
    accent = page.locator(".miw-wall-canvas").evaluate(
        """canvas => {
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0; // of #c2185b, the colour of what is selected
            for (let at = 0; at < data.length; at += 4) count += data[at] === 194 && data[at + 1] === 24 && data[at + 2] === 91;
            return count;
        }"""
    )
    assert (accent > 50) is outlined


def test_a_comparison_shows_a_b_and_the_difference(open_page: Open, tmp_path: Path) -> None:
    view = mw.Attention.from_data(
        softmax(2, 2, 4), list("abcd"), compare=softmax(2, 2, 5, seed=1), compare_tokens=list("abxcd")
    )
    page = open_page(view.save(tmp_path / "page.html"))
    root = page.locator(".miw-view")
    for shown in ("A", "B", "difference"):
        page.locator("select[aria-label=show]").select_option(shown)
        expect(page.locator(".miw-legend")).to_contain_text("A − B" if shown == "difference" else "attention")
        expect(root).to_have_attribute("data-state", "frozen")
    expect(page.locator(".miw-error")).to_be_hidden()
