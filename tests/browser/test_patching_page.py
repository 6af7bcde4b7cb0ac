"""The patching view in a real browser, offline: its cells say the numbers of `view.data`, by pointer and by keys, as a
grid and as points, at any width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

import mi_widgets as mw

Open = Callable[[Path], Page]

CLEAN, CORRUPT = "w3 w4 w5 w6 w3 w4", "w3 w4 w7 w6 w3 w4"


@pytest.fixture
def view(model: Any) -> mw.Patching:
    """Layers by positions."""
    view = mw.Patching(model, CLEAN, corrupt=CORRUPT)
    view.wait()
    return view


def told(page: Page) -> float:
    """The value in the tooltip: "effect 0.25", "effect ≈ −0.25, an estimate"."""
    value = page.locator(".miw-tooltip .miw-tip-value").inner_text()
    return float(value.replace("effect", "").replace("≈", "").split(",")[0].replace("−", "-"))


def test_keys_walk_every_cell_and_each_says_its_effect(open_page: Open, tmp_path: Path, view: mw.Patching) -> None:
    page = open_page(view.save(tmp_path / "page.html"))
    expect(page.locator(".miw-view")).to_have_attribute("data-state", "frozen")
    effect = view.data.effect
    page.locator(".miw-patching-grid").focus()
    page.keyboard.press("ArrowRight")
    shown = np.full(effect.shape, np.nan)
    for layer in range(len(effect)):
        for position in range(effect.shape[1]):
            shown[layer, position] = told(page)
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Home")
        page.keyboard.press("ArrowDown")
    assert shown == pytest.approx(effect, rel=1e-4, abs=1e-6)


def test_a_click_locks_the_cell_under_the_pointer_and_escape_lets_it_go(
    open_page: Open, tmp_path: Path, view: mw.Patching
) -> None:
    page = open_page(view.save(tmp_path / "page.html"))
    grid = page.locator(".miw-patching-grid")
    page.wait_for_function("() => document.querySelector('.miw-patching-grid canvas')?.width > 1")
    grid.click(position={"x": 60, "y": 60})
    expect(page.locator(".miw-patching-beside .miw-chip-name")).to_contain_text("L0")
    named = page.locator(".miw-patching-beside .miw-chip-name").inner_text()
    position = int(named.split("(")[1].split(")")[0])
    assert told(page) == pytest.approx(float(view.data.effect[0, position]), rel=1e-4, abs=1e-6)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator(".miw-patching-beside")).to_be_hidden()


def test_the_scatter_walks_from_the_estimate_that_is_farthest_off(
    open_page: Open, tmp_path: Path, view: mw.Patching
) -> None:
    page = open_page(view.save(tmp_path / "page.html"))
    page.locator("select[aria-label=chart]").select_option("scatter")
    page.locator(".miw-scatter").focus()
    page.keyboard.press("ArrowRight")
    data = view.data
    assert data.effect_estimate is not None
    off = np.abs(data.effect - data.effect_estimate)
    layer, position = np.unravel_index(int(np.nanargmax(off)), off.shape)
    expect(page.locator("[aria-live=polite]")).to_contain_text(f"L{layer} ")
    expect(page.locator("[aria-live=polite]")).to_contain_text(f"({position})")


@pytest.mark.parametrize("width", [480, 1200])
def test_nothing_stands_beyond_the_page(open_page: Open, tmp_path: Path, view: mw.Patching, width: int) -> None:
    page = open_page(view.save(tmp_path / "page.html"))
    page.set_viewport_size({"width": width, "height": 900})
    page.locator(".miw-patching-grid").hover()
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= width
    grid, legend = (page.locator(part).bounding_box() for part in (".miw-patching-grid", ".miw-legend"))
    assert grid is not None
    assert legend is not None
    assert grid["x"] + grid["width"] <= legend["x"] + 1
    assert legend["x"] + legend["width"] <= width
