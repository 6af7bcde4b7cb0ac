"""Every view in a real JupyterLab when things are not as they should be: before its first picture, over a prompt that
cannot be run, after Stop, when the kernel dies in mid-pass, and in a second tab on the same notebook."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

from lab import Notebook
from playwright.sync_api import Locator, expect

Open = Callable[..., Notebook]

GOOD = "When Mary and John went to the store , John gave a drink to"
OTHER = "When Anna and Tom went to the park , Tom gave a book to"
SETUP = f"""
import json, os, time, torch
torch.set_num_threads(1)
import ipywidgets
import mi_widgets as mw
model = mw.load_demo()
forward, nap, held = model.original_model.forward, 0, ""
def slow(*given, **named):
    time.sleep(nap)
    while os.path.exists(held):
        time.sleep(0.02)
    return forward(*given, **named)
model.original_model.forward = slow
GOOD = {GOOD!r}
"""
# In a box a view is shown before anything is computed; alone in a cell it is computed for its still picture first.
VIEWS = """
views = [mw.Prompt(session, height=300), mw.LogitLens(session, height=420), mw.LogitAttribution(session, height=420), mw.Attention(session, height=420)]
ipywidgets.VBox(views)
"""
PID = "print(json.dumps(os.getpid()))"


def four(notebook: Notebook, cell: int) -> list[Locator]:
    views = notebook.cell(cell).locator(".miw-view")
    expect(views).to_have_count(4)
    return [views.nth(index) for index in range(4)]


def editor(view: Locator) -> Locator:
    return view.locator("textarea.miw-prompt").first


def drawn(view: Locator) -> None:
    expect(view).to_have_attribute("data-state", "idle", timeout=60_000)
    expect(view.locator(".miw-body")).to_be_visible()
    expect(view.locator(".miw-error")).to_be_hidden()
    expect(view).not_to_have_attribute("data-stale", "true")


def stale(view: Locator, of: str) -> None:
    """The picture says that it is of another prompt, and no check of it is ticked."""
    expect(view).to_have_attribute("data-stale", "true", timeout=30_000)
    expect(view.locator(".miw-own")).to_have_text(
        re.compile(rf"^Picture of:(logit\(.*\) at position \d+)?{re.escape(of)}$")
    )
    expect(view.locator(".miw-status-check")).to_have_count(0)
    assert float(view.locator(".miw-body").evaluate("body => getComputedStyle(body).opacity")) < 1


def test_views_of_a_slow_model_say_what_they_wait_for_and_are_drawn(open_notebook: Open, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.touch()
    notebook = open_notebook(
        SETUP, f"held = {str(held)!r}\nsession = mw.Session(model, GOOD)\n{VIEWS}", viewport=(1500, 1600)
    )
    notebook.run(0)
    notebook.run(1)
    views = four(notebook, 1)
    for view in views:
        expect(view.locator(".miw-empty")).to_have_text("Computing the first picture …")
        expect(editor(view)).to_have_value(GOOD)
    held.unlink()
    for view in views:
        drawn(view)


def test_views_over_a_prompt_that_cannot_be_run_are_mended_by_one_that_can_and_stale_after_the_next(
    open_notebook: Open, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    notebook = open_notebook(
        SETUP,
        f"session = mw.Session(model, '')\n{VIEWS}",
        f"held = {str(held)!r}\nsession.prompt = 'When Anna and Tom went'",
        viewport=(1500, 1600),
    )
    notebook.run(0)
    notebook.run(1)
    views = four(notebook, 1)
    for view in views:
        expect(view).to_have_attribute("data-state", "error", timeout=30_000)
        expect(view.locator(".miw-error")).to_contain_text("The prompt is empty")
        expect(view.locator(".miw-empty")).to_have_text("No picture yet.")
        expect(editor(view)).to_be_editable()
    editor(views[1]).fill(GOOD)
    for view in views:
        drawn(view)
    editor(views[3]).fill("word " * 300)
    for view in views:
        stale(view, GOOD)
        expect(view.locator(".miw-error")).to_contain_text("tokens")
    editor(views[0]).fill(OTHER)
    for view in views:
        drawn(view)
    held.touch()
    notebook.run(2)
    views[2].locator(".miw-stop").click()
    notebook.page.wait_for_timeout(1000)  # on its way to the kernel, which cannot hear it before the pass goes on
    held.unlink()
    for view in views:
        expect(view).to_have_attribute("data-state", "idle", timeout=30_000)
        stale(view, OTHER)
    editor(views[2]).fill(GOOD)
    for view in views:
        drawn(view)


def test_a_kernel_that_dies_in_mid_pass_leaves_pictures_that_name_their_own_prompt(open_notebook: Open) -> None:
    notebook = open_notebook(
        SETUP, f"session = mw.Session(model, GOOD)\n{VIEWS}", PID, "nap = 60", viewport=(1500, 1600)
    )
    for cell in range(2):
        notebook.run(cell)
    views = four(notebook, 1)
    for view in views:
        drawn(view)
    kernel = json.loads(notebook.run(2))
    notebook.run(3)
    editor(views[0]).fill(OTHER)
    expect(views[3]).to_have_attribute("data-state", "computing", timeout=30_000)
    notebook.kernel_ended = True
    os.kill(kernel, signal.SIGKILL)
    for view in views:
        expect(view).to_have_attribute("data-state", "frozen", timeout=60_000)
        expect(editor(view)).to_have_value(OTHER)
        stale(view, GOOD)
        expect(view.locator(".miw-frozen")).to_contain_text("Run the cells above first")


def test_an_edit_that_has_no_answer_is_said_in_every_linked_view_until_it_has_one(open_notebook: Open) -> None:
    notebook = open_notebook(SETUP, f"session = mw.Session(model, GOOD)\n{VIEWS}", PID, viewport=(1500, 1600))
    for cell in range(2):
        notebook.run(cell)
    views = four(notebook, 1)
    for view in views:
        drawn(view)
    kernel = json.loads(notebook.run(2))
    os.kill(kernel, signal.SIGSTOP)
    try:
        editor(views[1]).fill(OTHER)
        expect(views[1].locator(".miw-status-late")).to_have_text("edit not answered yet: waiting for the kernel …")
        for view in (views[0], views[2], views[3]):
            expect(view.locator(".miw-status-late")).to_contain_text("edit in a linked view not answered yet")
        for view in views:
            expect(view.locator(".miw-status-late")).to_contain_text("the kernel does not answer", timeout=15_000)
        stale(views[1], GOOD)  # its box holds the other prompt already
    finally:
        os.kill(kernel, signal.SIGCONT)
    for view in views:
        expect(editor(view)).to_have_value(OTHER)
        expect(view.locator(".miw-status-late")).to_have_count(0)
        drawn(view)


def test_two_tabs_on_one_notebook_agree_whichever_is_edited(open_notebook: Open) -> None:
    notebook = open_notebook(
        SETUP,
        f"session = mw.Session(model, GOOD)\n{VIEWS}",
        "print(json.dumps([session.prompt, views[2].answer, views[3].options['weighting'], session.selection.position]))",
        viewport=(1500, 1600),
    )
    for cell in range(2):
        notebook.run(cell)
    here = four(notebook, 1)
    for view in here:
        drawn(view)
    notebook.save()
    second = notebook.another_tab()
    there = four(second, 1)
    for view in there:
        drawn(view)
    for typed, (one, other) in ((OTHER, (here, there)), (GOOD, (there, here)), (f"{OTHER} Tom", (there, here))):
        editor(one[1]).fill(typed)
        for view in [*one, *other]:
            expect(editor(view)).to_have_value(typed)
        runs = {view.get_attribute("data-run") for view in one if drawn(view) is None}
        for view in other:
            drawn(view)
            expect(view).to_have_attribute("data-run", str(max(int(run or 0) for run in runs)))
    here[3].get_by_role("combobox", name="weighting").select_option("value")
    expect(there[3].get_by_role("combobox", name="weighting")).to_have_value("value")
    there[1].get_by_role("combobox", name="colour").select_option("entropy")
    expect(here[1].get_by_role("combobox", name="colour")).to_have_value("entropy")
    there[3].get_by_role("button", name="compare with a second prompt").click()
    expect(here[3].locator("textarea.miw-prompt").nth(1)).to_have_value(f"{OTHER} Tom")
    answer = here[2].get_by_role("combobox", name="answer")
    answer.fill(" Tom")
    answer.press("Enter")
    expect(there[2].get_by_role("combobox", name="answer")).to_have_value(" Tom")
    assert json.loads(notebook.run(2))[:3] == [f"{OTHER} Tom", " Tom", "value"]
