"""Four kinds of view on one session in a real JupyterLab: one edit, one pass, four new pictures, one selection."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from lab import Notebook
from playwright.sync_api import Locator, expect

Open = Callable[..., Notebook]

SETUP = """
import json, torch
torch.set_num_threads(1)
import mi_widgets as mw
model = mw.load_demo()
session = mw.Session(model, "When Mary and John went to the store , John gave a drink to")
"""
VIEWS = """
prompt, lens = mw.Prompt(session, height=300), mw.LogitLens(session, height=420)
attribution, attention = mw.LogitAttribution(session, height=420), mw.Attention(session, height=420)
mw.Dashboard(prompt, lens, attribution, attention, columns=2)
"""


def runs_of(views: Locator) -> list[int]:
    """The run that each view shows."""
    return [int(views.nth(index).get_attribute("data-run") or 0) for index in range(views.count())]


def all_idle(views: Locator) -> None:
    for index in range(4):
        expect(views.nth(index)).to_have_attribute("data-state", "idle", timeout=30_000)


def test_one_edit_in_any_view_redraws_all_four_with_one_pass(open_notebook: Open) -> None:
    notebook = open_notebook(
        SETUP,
        VIEWS,
        "before = session.passes\nprint(before)",
        "print(json.dumps([session.passes - before, session.prompt, attribution.data.answer_string]))",
        viewport=(1700, 1200),
        kernel="python3",  # as users have it, started anew
    )
    for cell in range(2):
        notebook.run(cell)
    views = notebook.cell(1).locator(".miw-view")
    expect(views).to_have_count(4)
    all_idle(views)
    before = runs_of(views)
    notebook.run(2)
    text = "When Anna and Tom went to the park , Tom gave a book to"
    views.nth(1).locator("textarea.miw-prompt").first.fill(text)
    for index in range(4):
        expect(views.nth(index)).not_to_have_attribute("data-run", str(before[index]), timeout=30_000)
        expect(views.nth(index).locator("textarea.miw-prompt").first).to_have_value(text)
    all_idle(views)
    assert len(set(runs_of(views))) == 1
    passes, prompt, answer = json.loads(notebook.run(3))
    assert (passes, prompt, answer) == (1, text, " Anna")


def test_a_head_clicked_in_the_attribution_turns_the_attention_explorer(open_notebook: Open) -> None:
    notebook = open_notebook(SETUP, VIEWS, "print(json.dumps(attention.selection.to_dict()))", viewport=(1700, 1200))
    for cell in range(2):
        notebook.run(cell)
    views = notebook.cell(1).locator(".miw-view")
    expect(views).to_have_count(4)
    all_idle(views)
    attribution, attention = views.nth(2), views.nth(3)
    attribution.get_by_role("combobox", name="by").first.select_option("head")
    all_idle(views)
    attribution.get_by_text("L3 H0", exact=True).first.click()
    expect(attention).to_contain_text("L3 H0")
    selection = json.loads(notebook.run(2))
    assert (selection["layer"], selection["head"]) == (3, 0)


def test_a_head_ablated_by_key_stands_in_every_view_and_its_row_is_zero_until_it_is_restored(
    open_notebook: Open,
) -> None:
    notebook = open_notebook(
        SETUP,
        VIEWS,
        "attribution.options = {'by': 'head'}\nsession.selection = mw.Selection(layer=2, head=6)",
        "print(session.interventions, attribution.data.heads[2, 6] == 0)",
        "print(session.interventions, attribution.data.heads[2, 6] == 0)",
        viewport=(1700, 1250),
    )
    for cell in range(3):
        notebook.run(cell)
    views = notebook.cell(1).locator(".miw-view")
    expect(views).to_have_count(4)
    all_idle(views)
    attribution, attention = views.nth(2), views.nth(3)
    row = attribution.locator(".miw-part[data-row]").filter(has_text=re.compile("^L2 H6"))
    expect(row).to_have_count(1)
    whole = row.inner_text()
    lines, height = notebook.cell(1).locator(".miw-run"), attention.bounding_box()
    for index in range(4):
        expect(lines.nth(index)).to_be_hidden()
    attention.locator(".miw-wall").focus()
    notebook.page.keyboard.press("k")
    for index in range(4):
        expect(lines.nth(index).locator(".miw-chip")).to_have_text("L2 H6 ablated×")
    expect(row).to_have_text(re.compile("ablated.*0\\.000$"), timeout=30_000)
    expect(attention.get_by_role("button", name="ablate", exact=True)).to_have_attribute("aria-pressed", "true")
    assert attention.bounding_box() == height  # the line takes its room from the picture, not from the page
    assert notebook.run(3).strip() == "(mw.Ablate(layer=2, head=6),) True"
    lines.nth(0).get_by_role("button", name="restore all").click()
    for index in range(4):
        expect(lines.nth(index).locator(".miw-run-none")).to_have_text("untouched")
    expect(row).to_have_text(re.compile(re.escape(whole.splitlines()[-1]) + "$"), timeout=30_000)
    assert notebook.run(4).strip() == "() False"
