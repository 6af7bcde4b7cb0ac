"""The attention explorer in a real JupyterLab: typing, clicking, linking, errors, closing, saving."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from lab import Notebook
from playwright.sync_api import Locator, expect

Open = Callable[..., Notebook]

SETUP = """
import torch
torch.set_num_threads(1)
import mi_widgets as mw
model = mw.load_demo()
session = mw.Session(model, "When Mary and John went to the store , John gave a drink to")
"""
VIEW = "view = mw.Attention(session)\nview"


def picture(view: Locator) -> str:
    """A digest of what the canvases of the view show."""
    data = view.locator("canvas").evaluate_all("canvases => canvases.map(canvas => canvas.toDataURL()).join('|')")
    return hashlib.sha256(data.encode()).hexdigest()


def drawn(view: Locator, state: str, run: int | None = None) -> None:
    expect(view).to_have_attribute("data-state", state, timeout=30_000)
    if run is not None:
        expect(view).to_have_attribute("data-run", str(run), timeout=30_000)


def value(notebook: Notebook, index: int) -> object:
    """Run cell `index`, which prints JSON, and return it."""
    return json.loads(notebook.run(index))


def test_typing_in_the_view_recomputes_and_python_reads_the_new_prompt(open_notebook: Open) -> None:
    notebook = open_notebook(
        SETUP, VIEW, "import json\nprint(json.dumps([session.prompt, view.data.shape, view.data.tokens.text]))"
    )
    notebook.run(0)
    notebook.run(1)
    view = notebook.view(1)
    drawn(view, "idle")
    before, run = picture(view), int(view.get_attribute("data-run") or 0)
    view.locator("textarea.miw-prompt").first.fill("When Anna and Tom went to the park , Tom gave a book to")
    drawn(view, "idle", run + 1)
    assert picture(view) != before
    prompt, shape, text = value(notebook, 2)  # type: ignore[misc]
    assert prompt == text == "When Anna and Tom went to the park , Tom gave a book to"
    assert shape[2] == shape[3] == len(prompt.split()) + 1


def test_a_head_locked_by_keyboard_is_selected_in_python_and_back(open_notebook: Open) -> None:
    notebook = open_notebook(
        SETUP,
        VIEW,
        "import json\nprint(json.dumps(view.selection.to_dict()))",
        "view.selection = mw.Selection(layer=0, head=3)",
    )
    notebook.run(0)
    notebook.run(1)
    view = notebook.view(1)
    drawn(view, "idle")
    view.locator(".miw-wall").first.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
        notebook.page.keyboard.press(key)
    expect(view).to_contain_text("L1 H2")
    selection = value(notebook, 2)
    assert (selection["layer"], selection["head"]) == (1, 2)  # type: ignore[index]
    notebook.run(3)
    expect(view).to_contain_text("L0 H3")


def test_linked_views_follow_in_the_page_while_the_kernel_is_busy(open_notebook: Open) -> None:
    notebook = open_notebook(
        SETUP,
        "one, two = mw.Attention(session, height=420), mw.Attention(session, weighting='output', height=420)\nmw.Dashboard(one, two, columns=2)",
        "import time\nwhile session.prompt != 'never':\n    time.sleep(0.01)",
        viewport=(1700, 1000),
    )
    notebook.run(0)
    notebook.run(1)
    views = notebook.cell(1).locator(".miw-view")
    expect(views).to_have_count(2)
    for index in range(2):
        drawn(views.nth(index), "idle")
    notebook.cell(2).locator(".cm-content").click()
    notebook.page.keyboard.press("Shift+Enter")  # the kernel is now busy until it is interrupted
    views.nth(0).locator(".miw-wall").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        notebook.page.keyboard.press(key)
    expect(views.nth(1)).to_contain_text("L2 H1")
    notebook.kernel_ended = True
    notebook.page.keyboard.press("Escape")
    notebook.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    notebook.page.get_by_text("Interrupt Kernel", exact=True).click()
    notebook.wait_idle()


@pytest.mark.parametrize(
    ("prompt", "says"),
    [("", "empty"), ("When " * 300, "tokens")],
    ids=["empty", "too long"],
)
def test_a_prompt_that_cannot_be_run_says_why_and_keeps_the_picture(
    open_notebook: Open, prompt: str, says: str
) -> None:
    notebook = open_notebook(SETUP, VIEW)
    notebook.run(0)
    notebook.run(1)
    view = notebook.view(1)
    drawn(view, "idle")
    before = view.locator("canvas").count()
    view.locator("textarea.miw-prompt").first.fill(prompt)
    drawn(view, "error")
    expect(view.locator(".miw-error")).to_be_visible()
    expect(view.locator(".miw-error")).to_contain_text(says)
    assert view.locator("canvas").count() == before
    view.locator("textarea.miw-prompt").first.fill("When Mary and John went to the park ,")
    drawn(view, "idle")
    expect(view.locator(".miw-error")).to_be_hidden()


def test_markup_in_a_prompt_is_shown_and_never_executed(open_notebook: Open, shared: object) -> None:
    attack = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
    notebook = open_notebook(
        f"import mi_widgets as mw\nmodel = mw.load_model({str(shared)!r} + '/models/stories260K-llama')\nsession = mw.Session(model, {attack!r})",
        VIEW,
    )
    notebook.run(0)
    notebook.run(1)
    view = notebook.view(1)
    drawn(view, "idle")
    expect(view.locator(".miw-strip").first).to_contain_text("script")
    assert notebook.page.evaluate("window.hacked") is None
    assert view.locator("img, script").count() == 0


def test_the_same_view_displayed_twice_follows_itself_and_survives_closing_one(open_notebook: Open) -> None:
    notebook = open_notebook(
        SETUP, VIEW, "view", "session.prompt = 'When Mary and John went to the park ,'\nsession.wait()"
    )
    for index in range(3):
        notebook.run(index)
    first, second = notebook.view(1), notebook.view(2)
    drawn(first, "idle", 1)
    drawn(second, "idle", 1)
    notebook.cell(1).locator(".cm-content").click()
    notebook.page.keyboard.press("Escape")
    notebook.page.keyboard.press("d")
    notebook.page.keyboard.press("d")  # deletes the first cell with its output
    second = notebook.view(1)
    notebook.run(2)
    drawn(second, "idle", 2)
    assert second.get_attribute("data-run") == "2"


def test_stop_ends_a_computation_and_keeps_the_picture(open_notebook: Open) -> None:
    notebook = open_notebook(
        SETUP,
        VIEW,
        # each pass takes two seconds; with a second prompt there are two passes, and Stop takes effect between them
        "import time\nmodel.blocks[0].hook_resid_pre.add_hook(lambda x, hook: time.sleep(2))\n"
        "view.compare = 'When Mary and John went to the park ,'",
        # what is read now is of the last good picture, which a warning says
        "model.reset_hooks()\nimport json, warnings\nwarnings.simplefilter('ignore')\nprint(json.dumps([view.comparison is None, view.status['state'], view.status['message']]))",
    )
    notebook.run(0)
    notebook.run(1)
    view = notebook.view(1)
    drawn(view, "idle", 1)
    notebook.run(2)
    drawn(view, "computing")
    view.locator(".miw-stop").click()
    drawn(view, "idle")
    missing, state, message = value(notebook, 3)  # type: ignore[misc]
    assert missing
    assert state == "idle"
    assert "Stopped" in message


def test_a_restarted_kernel_leaves_the_picture_and_the_view_says_so(open_notebook: Open) -> None:
    notebook = open_notebook(SETUP, VIEW)
    notebook.run(0)
    notebook.run(1)
    view = notebook.view(1)
    drawn(view, "idle")
    before = picture(view)
    notebook.restart_kernel()
    drawn(view, "frozen")
    expect(view).to_contain_text("kernel")
    assert picture(view) == before
    view.locator(".miw-wall").first.focus()
    for key in ("ArrowRight", "Enter"):
        notebook.page.keyboard.press(key)
    expect(view).to_contain_text("L0 H1")


def test_a_saved_notebook_shows_its_picture_without_a_kernel(open_notebook: Open) -> None:
    notebook = open_notebook(
        SETUP, "view = mw.Attention(session)\nview.selection = mw.Selection(layer=1, head=2)\nview"
    )
    notebook.run(0)
    notebook.run(1)
    drawn(notebook.view(1), "idle")
    saved = notebook.save()
    assert "application/vnd.jupyter.widget-state+json" in saved.metadata.get("widgets", {})
    assert "image/png" in saved.cells[1].outputs[0].data
    notebook.kernel_ended = True
    notebook.shut_down()
    notebook.load(kernel=False)
    view = notebook.view(1)
    drawn(view, "frozen")
    expect(view).to_contain_text("L1 H2")
    assert view.locator("canvas").count() >= 2
    assert view.locator("textarea.miw-prompt").first.get_attribute("readonly") is not None


def test_many_edits_in_a_burst_end_on_the_last_one(open_notebook: Open) -> None:
    notebook = open_notebook(SETUP, VIEW, "import json\nprint(json.dumps([session.prompt, session.passes]))")
    notebook.run(0)
    notebook.run(1)
    view = notebook.view(1)
    drawn(view, "idle")
    prompt = view.locator("textarea.miw-prompt").first
    prompt.fill("")
    prompt.press_sequentially("When Mary and John went to the park ,", delay=15)
    expect(view.locator(".miw-strip").first).to_contain_text("park")
    drawn(view, "idle")
    text, passes = value(notebook, 2)  # type: ignore[misc]
    assert text == "When Mary and John went to the park ,"
    assert passes <= 12  # the first picture, the head scores apart, and a few of the 37 keystrokes
