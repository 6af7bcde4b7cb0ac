"""Everything by keyboard, in a real JupyterLab: what edits text stays in the field, words of an input method are run
whole, and whatever is pressed the view keeps the focus, without which it would hear no key."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from lab import Notebook
from playwright.sync_api import Locator, expect

Open = Callable[..., Notebook]

PROMPT = "When Mary and John went to the store , John gave a drink to"
SETUP = f"""
import torch
torch.set_num_threads(1)
import mi_widgets as mw
session = mw.Session(mw.load_demo(), {PROMPT!r})
"""
VIEWS = ["Attention", "LogitLens", "LogitAttribution", "Prompt"]
Opened = Callable[..., tuple[Notebook, Locator]]


@pytest.fixture
def opened(open_notebook: Open) -> Opened:
    """`opened(view, options="")`: a notebook that shows this view, drawn."""

    def one(view: str, options: str = "") -> tuple[Notebook, Locator]:
        notebook = open_notebook(SETUP, f"view = mw.{view}(session{options})\nview")
        notebook.run(0)
        notebook.run(1)
        shown = notebook.view(1)
        drawn(shown)
        return notebook, shown

    return one


def drawn(view: Locator) -> None:
    expect(view).to_have_attribute("data-state", "idle", timeout=30_000)
    expect(view).to_have_attribute("data-run", "1", timeout=30_000)


def editor(view: Locator) -> Locator:
    return view.locator("textarea.miw-prompt").first


def press(notebook: Notebook, *keys: str) -> None:
    for key in keys:
        notebook.page.keyboard.press(key)


def settled(view: Locator) -> None:
    """Until the kernel is done and the browser has dropped the focus of what is hidden: with the next frame."""
    expect(view).to_have_attribute("data-state", "idle", timeout=30_000)
    view.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def keeps_focus(view: Locator, after: str) -> None:
    settled(view)
    held = view.evaluate(
        """root => {
            const active = document.activeElement;
            return {inside: root.contains(active), seen: active.checkVisibility(), what: active.outerHTML.slice(0, 120)};
        }"""
    )
    assert (held["inside"], held["seen"]) == (True, True), f"after {after} the focus is on {held['what']}"


def hears_keys(notebook: Notebook, view: Locator, after: str) -> None:
    """The focus is in the view, on what is seen and takes no keys for typing: "/" goes to the prompt."""
    keeps_focus(view, after)
    press(notebook, "/")
    expect(editor(view), f"after {after}").to_be_focused()
    press(notebook, "Escape")
    expect(editor(view)).not_to_be_focused()
    keeps_focus(view, "Escape")


def do(notebook: Notebook, view: Locator, selector: str, *keys: str) -> None:
    """Press keys on a part of the view; afterwards the view still hears them."""
    view.locator(selector).first.focus()
    press(notebook, *keys)
    hears_keys(notebook, view, f"{keys} on {selector}")


# ---- what edits text ------------------------------------------------------------------------------------------------


def test_undo_and_redo_in_the_prompt_act_on_its_text_and_not_on_the_code_cell(opened: Opened) -> None:
    notebook, view = opened("Attention")
    code, area = notebook.cell(1).locator(".cm-content"), editor(view)
    code.click()
    press(notebook, "Control+End", "Enter", "#", "x")
    source = code.inner_text()
    area.click()
    press(notebook, "Control+End")
    notebook.page.keyboard.type(" and Mary", delay=10)
    expect(view.locator(".miw-strip .miw-token").last).to_have_text("·Mary", timeout=30_000)
    press(notebook, "Control+z")
    expect(area).to_have_value(PROMPT)
    press(notebook, "Control+z", "Control+z")  # nothing is left to undo here: no reason to undo elsewhere
    assert code.inner_text() == source
    press(notebook, "Control+y", "Control+y")
    expect(area).to_have_value(PROMPT + " and Mary")
    press(notebook, "Control+z", "Control+Shift+Z")
    expect(area).to_have_value(PROMPT + " and Mary")
    press(notebook, "Control+z")
    expect(view.locator(".miw-strip .miw-token").last).to_have_text("·to", timeout=30_000)  # what came of it is run
    expect(area).to_be_focused()
    assert code.inner_text() == source


def test_the_prompts_text_is_edited_by_the_browsers_keys_and_saved_by_the_hosts(opened: Opened) -> None:
    notebook, view = opened("Prompt")
    area, cells = editor(view), notebook.page.locator(".jp-Notebook .jp-Cell")
    count = cells.count()
    area.click()
    press(notebook, "Control+a", "Control+c", "Control+End", "Control+v")
    expect(area).to_have_value(PROMPT + PROMPT)
    press(notebook, "Control+a", "Control+x")
    expect(area).to_have_value("")
    press(notebook, "Control+v", "Control+Home", "Control+Delete", "Control+End", "Control+Backspace")
    expect(area).to_have_value((PROMPT + PROMPT)[4:-2])
    press(notebook, "Shift+Enter", "x")
    expect(area).to_have_value((PROMPT + PROMPT)[4:-2] + "\nx")
    press(notebook, "Control+Shift+ArrowUp", "Control+Shift+ArrowDown", "Control+Shift+ArrowLeft")
    assert cells.count() == count
    assert notebook.save().cells[1].source.startswith("view =")  # Control+s, with the focus in the field
    expect(area).to_be_focused()


def test_a_word_of_an_input_method_is_run_whole(opened: Opened) -> None:
    notebook, view = opened("Prompt")
    area = editor(view)
    area.click()
    press(notebook, "Control+End")
    method = notebook.page.context.new_cdp_session(notebook.page)
    for half in ("に", "にほ", "にほん"):
        method.send("Input.imeSetComposition", {"text": half, "selectionStart": len(half), "selectionEnd": len(half)})
        notebook.page.wait_for_timeout(500)  # longer than the editor waits after the last key
        expect(area).to_have_value(PROMPT + half)
        expect(view).to_have_attribute("data-run", "1")
    method.send("Input.insertText", {"text": "日本"})
    expect(area).to_have_value(PROMPT + "日本")
    expect(view).to_have_attribute("data-run", "2", timeout=30_000)
    press(notebook, "Control+z")
    expect(area).to_have_value(PROMPT)


# ---- where the focus goes -------------------------------------------------------------------------------------------


def test_what_every_view_has_leaves_it_the_focus(opened: Opened) -> None:
    notebook, view = opened("Attention")
    area, panel, wall = editor(view), view.locator('[role=dialog][aria-label="keys"]'), view.locator(".miw-wall")
    for words in (" and", " Mary"):
        area.focus()
        press(notebook, "Control+End")
        notebook.page.keyboard.type(words)
        expect(view.locator(".miw-strip .miw-token").last).to_have_text(words.replace(" ", "·"), timeout=30_000)
    do(notebook, view, ".miw-wall", "h", "ArrowDown", "Enter")
    do(notebook, view, "button[aria-label='earlier prompts']", "Enter", "Escape")
    do(notebook, view, ".miw-wall", "?", "?")
    for leave in ("?", "Escape"):
        wall.focus()
        press(notebook, "?")
        expect(panel).to_be_visible()
        press(notebook, leave)
        expect(panel).to_be_hidden()
        expect(wall).to_be_focused()
    for tab in ("Tab", "Shift+Tab"):
        press(notebook, "?")
        expect(panel).to_be_visible()
        press(notebook, tab)
        expect(panel).to_be_hidden()
        hears_keys(notebook, view, f"{tab} out of the keys")
    for shown in (True, False):
        view.locator("button[aria-label=keys]").click()
        expect(panel).to_be_visible(visible=shown)
    undo, redo = view.locator("button[aria-label=undo]"), view.locator("button[aria-label=redo]")
    for button in (undo, redo):
        button.focus()
        for _ in range(6):
            press(notebook, "Enter")
            settled(view)
        expect(button).to_have_attribute("aria-disabled", "true")
        expect(button).to_be_focused()
        hears_keys(notebook, view, "undo or redo until there is none")
    view.locator("button[aria-label='compare with a second prompt']").focus()
    press(notebook, "Enter")
    expect(view.locator("textarea.miw-prompt").nth(1)).to_be_focused()
    settled(view)
    do(notebook, view, "button[aria-label='end the comparison']", "Enter")
    view.locator(".miw-status-text").click()  # beside all controls
    hears_keys(notebook, view, "a click beside all controls")


def test_what_the_attention_explorer_hides_and_takes_away_leaves_it_the_focus(opened: Opened) -> None:
    notebook, view = opened("Attention")
    do(notebook, view, ".miw-strip", "v")  # the matrix alone
    do(notebook, view, ".miw-heatmap", "v")  # the text alone
    do(notebook, view, ".miw-strip", "v")
    do(notebook, view, ".miw-wall", "Space", "ArrowRight", "Space")
    do(notebook, view, ".miw-overlay-head", "Enter")
    do(notebook, view, ".miw-overlay-head", "Enter")
    do(notebook, view, ".miw-wall", "o")
    said = view.locator("[aria-live=polite]")
    view.locator(".miw-wall").focus()
    press(notebook, "s")
    expect(said).to_have_text("scale: log")
    press(notebook, "ArrowRight")
    expect(said).to_have_text(re.compile(r"layer \d head \d, .+ [\d.]+"))
    do(notebook, view, "button[aria-label=order]", "o", "o", "o", "o", "o")  # sorted by nothing, which has no order
    do(notebook, view, "select[aria-label=weighting]", "Escape")


def test_pins_taken_off_and_pinned_leave_the_lens_the_focus(opened: Opened) -> None:
    notebook, view = opened("LogitLens")
    pins = view.locator(".miw-lens-unpin")
    for count in (1, 2):
        view.locator(".miw-lens-chip").nth(count).focus()
        press(notebook, "Enter")
        expect(pins).to_have_count(count)
        hears_keys(notebook, view, "a chip")
    do(notebook, view, ".miw-lens-pin-name", "Enter")
    do(notebook, view, ".miw-lens-unpin", "Enter")
    do(notebook, view, ".miw-lens-unpin", "Enter")
    expect(pins).to_have_count(0)
    do(notebook, view, ".miw-lens-table", "i", "n", "o", "Space", "w", "o", "r", "d", "Enter", "Escape")
    do(notebook, view, ".miw-lens-refused button[aria-label=dismiss]", "Enter")
    for label in ("first position", "last position"):
        do(notebook, view, f"input[aria-label='{label}']", "Escape")


def test_sources_and_tokens_chosen_leave_the_attribution_the_focus(opened: Opened) -> None:
    notebook, view = opened("LogitAttribution")
    do(notebook, view, ".miw-source", "Enter")
    do(notebook, view, ".miw-source", "Enter")
    do(notebook, view, "button[aria-label='swap answer and foil']", "Enter")
    do(notebook, view, ".miw-parts-list", "a", "ArrowDown", "ArrowDown", "Enter", "Escape")
    do(notebook, view, ".miw-parts-list", "f", "x", "y", "Escape", "Escape")
    do(notebook, view, ".miw-map", "b")


def test_writing_and_its_undo_leave_the_prompt_view_the_focus(opened: Opened) -> None:
    notebook, view = opened("Prompt", ", length=3")
    write, undo = view.locator("button[aria-label=write]"), view.locator("button[aria-label='undo what was written']")
    write.focus()
    press(notebook, "Enter")
    expect(view.locator(".miw-lines .miw-written")).not_to_have_count(0, timeout=30_000)
    expect(write).to_be_focused()
    hears_keys(notebook, view, "write")
    undo.focus()
    press(notebook, "Enter")
    expect(undo).to_have_attribute("aria-disabled", "true", timeout=30_000)
    expect(undo).to_be_focused()
    hears_keys(notebook, view, "undo what was written")
    do(notebook, view, ".miw-candidates", "ArrowDown", "Enter")


@pytest.mark.parametrize("name", VIEWS)
def test_whatever_stop_or_key_of_a_view_is_pressed_the_focus_stays_in_it(opened: Opened, name: str) -> None:
    notebook, view = opened(name)
    view.evaluate("root => root.focus()")
    stops = 0
    while True:
        press(notebook, "Tab")
        if not view.evaluate("root => root.contains(document.activeElement)"):
            break
        stops += 1
        stop = view.evaluate_handle("root => document.activeElement")
        where = stop.evaluate("element => element.outerHTML.slice(0, 120)")
        if stop.evaluate("element => element.matches('button') && !element.textContent.includes('compare')"):
            press(notebook, "Enter")
            keeps_focus(view, f"Enter on {where}")
            press(notebook, "Escape")
            stop.evaluate("element => element.focus()")
        keeps_focus(view, where)
        assert stops < 60, "Tab leads out of the view in the end"
    assert stops > 10
    for key in "abcdefgilmnoprstuvwxyz[]+-0? ":
        view.evaluate("root => root.focus()")
        press(notebook, key)
        keeps_focus(view, key)
        press(notebook, "Escape", "Escape")
        keeps_focus(view, f"{key} and Escape")
