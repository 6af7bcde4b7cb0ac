"""The prompt view in a real browser: offline pages, drawn and silent, whose numbers are those of the data; and live in
JupyterLab, where the model writes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lab import Notebook
from playwright.sync_api import Locator, Page, expect

import mi_widgets as mw

Open = Callable[[Path], Page]
WORDS = ["<bos>", "When", " Mary", " and", " John", " went", "\n", " home", "🙂", "<b>x</b>"]
D_VOCAB = len(WORDS)


def logits(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, D_VOCAB)).astype(np.float32)


def view_of(run: list[int], **options: object) -> mw.Prompt:
    return mw.Prompt.from_data(logits(len(run)), run, vocabulary=WORDS, top_k=4, **options)


@pytest.fixture
def open_drawn(open_page: Open) -> Open:
    """Open a page and wait for its first picture."""

    def open_file(path: Path) -> Page:
        page = open_page(path)
        page.wait_for_selector(".miw-view[data-run]")
        return page

    return open_file


def token(page: Page, position: int, side: str = "A") -> Locator:
    return page.locator(f'.miw-token[data-side="{side}"][data-position="{position}"]')


def number_after(text: str, name: str) -> float:
    return float(text.split(f"{name} ")[1].split()[0].replace("−", "-"))


def test_a_saved_prompt_is_drawn_and_says_that_it_stands_alone(open_drawn: Open, tmp_path: Path) -> None:
    view = view_of([0, 1, 2, 3, 4])
    page = open_drawn(view.save(tmp_path / "page.html"))
    root = page.locator(".miw-view")
    expect(root).to_have_attribute("data-view", "prompt")
    expect(root).to_have_attribute("data-state", "frozen")
    expect(page.locator(".miw-lines .miw-token")).to_have_text(["<bos>", "When", "·Mary", "·and", "·John"])
    expect(page.locator(".miw-totals")).to_contain_text("5 tokens")
    expect(page.locator(".miw-totals")).to_contain_text("4 scored tokens")
    total = float(page.locator(".miw-totals").inner_text().split(" bits")[0].split()[-1])
    assert total == pytest.approx(view.data.total_surprisal(), rel=1e-5)
    expect(page.get_by_role("button", name="write", exact=True)).to_be_disabled()
    colours = [token(page, position).evaluate("token => token.style.backgroundColor") for position in range(5)]
    assert colours[0] == ""
    assert len(set(colours[1:])) > 1


def test_the_numbers_on_hover_are_those_of_the_data(open_drawn: Open, tmp_path: Path) -> None:
    view = view_of([0, 1, 2, 3, 4])
    page = open_drawn(view.save(tmp_path / "page.html"))
    token(page, 3).hover()
    said = page.locator(".miw-tooltip").inner_text()
    assert number_after(said, "surprisal") == pytest.approx(float(view.data.surprisal[3]), rel=1e-5)
    assert number_after(said, "probability") == pytest.approx(float(np.exp(view.data.log_prob[3])), rel=1e-5)
    assert number_after(said, "rank") == view.data.rank[3]
    assert number_after(said, "after it") == pytest.approx(float(view.data.entropy[3]) / np.log(2), rel=1e-5)
    expected = [name for name in view.data.candidates(2)["token"] if name != WORDS[3]]
    shown = page.locator(".miw-instead code").all_inner_texts()
    assert shown == [name.replace(" ", "·").replace("\n", "↵") for name in expected]


def test_the_candidates_are_those_after_the_chosen_token(open_drawn: Open, tmp_path: Path) -> None:
    view = view_of([0, 1, 2, 3, 4])
    page = open_drawn(view.save(tmp_path / "page.html"))

    def listed() -> list[float]:
        return [float(text) for text in page.locator("[data-candidate] .miw-candidate-figure").all_inner_texts()]

    assert listed() == pytest.approx(view.data.top_probs[-1].tolist(), abs=5.1e-5)
    page.locator(".miw-lines").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".miw-token-locked")).to_have_text("·Mary")
    assert listed()[:4] == pytest.approx(view.data.top_probs[2].tolist(), abs=5.1e-5)
    expect(page.locator(".miw-follows .miw-candidate-token")).to_have_text("·and")
    page.keyboard.press("ArrowDown")
    expect(page.locator('[aria-live="polite"]')).to_contain_text("candidate 1 of")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator(".miw-token-locked")).to_have_count(0)


def test_two_prompts_are_compared_on_aligned_tokens(open_drawn: Open, tmp_path: Path) -> None:
    view = mw.Prompt.from_data(
        logits(5), [0, 1, 2, 3, 4], compare=logits(4, 1), compare_tokens=[0, 1, 2, 4], vocabulary=WORDS, top_k=4
    )
    page = open_drawn(view.save(tmp_path / "page.html"))
    assert view.comparison is not None
    figures = page.locator(".miw-gloss").all_inner_texts()
    shown = [float(text.replace("−", "-")) if text.strip() else np.nan for text in figures]
    np.testing.assert_allclose(shown, view.comparison.difference, atol=0.0051)
    assert page.locator(".miw-partnerless.miw-token").count() == 1
    difference = float(page.locator(".miw-totals").inner_text().split("A − B = ")[1].split()[0].replace("−", "-"))
    assert difference == pytest.approx(view.comparison.total_difference(), rel=1e-5)
    expect(page.locator(".miw-verdict")).to_contain_text("B is 2" if difference > 0 else "A is 2")
    page.locator(".miw-lines").focus()
    for key, unit in (("a", "surprisal, bits"), ("b", "surprisal, bits"), ("d", "surprisal A − B")):
        page.keyboard.press(key)
        expect(page.locator(".miw-legend")).to_contain_text(unit)


def test_markup_in_tokens_and_candidates_stays_text(open_drawn: Open, tmp_path: Path) -> None:
    page = open_drawn(view_of([0, 9, 8, 6, 9], ids=True).save(tmp_path / "page.html"))
    expect(page.locator(".miw-lines .miw-token")).to_have_text(["<bos>", "<b>x</b>", "🙂", "↵", "<b>x</b>"])
    expect(page.locator(".miw-id")).to_have_text(["0", "9", "8", "6", "9"])
    assert page.locator(".miw-view b").count() == 0


@pytest.mark.parametrize("count", [1, 1000], ids=["one token", "1,000 tokens"])
def test_extreme_lengths_are_drawn_and_walked(open_drawn: Open, tmp_path: Path, count: int) -> None:
    ids = np.random.default_rng(0).integers(1, D_VOCAB - 2, count).tolist()
    page = open_drawn(view_of(ids).save(tmp_path / "page.html"))
    expect(page.locator(".miw-lines .miw-token")).to_have_count(count)
    page.locator(".miw-lines").focus()
    page.keyboard.press("End")
    expect(page.locator(".miw-token-locked")).to_be_in_viewport()
    if count > 1:  # what has come into sight is painted when the page hears of the scrolling
        page.wait_for_function(
            "at => !!document.querySelector(`.miw-lines .miw-token[data-position='${at}']`).style.backgroundColor",
            arg=count - 1,
        )
    painted = token(page, count - 1).evaluate("token => !!token.style.backgroundColor")
    assert painted is (count > 1)  # the only token has nothing before it


def test_a_narrow_page_shows_everything_under_each_other(open_drawn: Open, tmp_path: Path) -> None:
    page = open_drawn(view_of([0, 1, 2, 3, 4]).save(tmp_path / "page.html"))
    page.set_viewport_size({"width": 480, "height": 700})
    text, candidates = page.locator(".miw-text"), page.locator(".miw-next")
    expect(page.locator(".miw-view")).to_have_class("miw-view miw-prompt-view miw-narrow")
    above, below = text.bounding_box(), candidates.bounding_box()
    assert above is not None
    assert below is not None
    assert below["y"] >= above["y"] + above["height"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_views_of_one_session_choose_one_token(open_drawn: Open, tmp_path: Path, model: object) -> None:
    session = mw.Session(model, "w3 w4 w5 w6 w3 w4")
    page = open_drawn(mw.save_html(tmp_path / "page.html", mw.Prompt(session), mw.Attention(session), columns=1))
    prompt = page.locator(".miw-prompt-view")
    prompt.locator('.miw-token[data-position="2"]').click()
    expect(page.locator(".miw-attention .miw-token-locked")).to_have_attribute("data-position", "2")
    page.locator('.miw-attention .miw-token[data-position="4"]').click()
    expect(prompt.locator(".miw-token-locked")).to_have_attribute("data-position", "4")


def test_candidates_and_sampling_write_on_and_undo_goes_back(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook(
        "import torch; torch.set_num_threads(1)\nimport json, mi_widgets as mw\n"
        "session = mw.Session(mw.load_demo(), 'Mary and John went to the store')",
        "view = mw.Prompt(session, length=5)\nview",
        "print(json.dumps([session.tokens.ids.tolist(), view.written]))",
    )
    notebook.run(0)
    notebook.run(1)
    view, keys = notebook.view(1), notebook.page.keyboard
    tokens, undo = view.locator(".miw-lines .miw-token"), view.get_by_role("button", name="undo what was written")
    expect(view).to_have_attribute("data-state", "idle", timeout=30_000)
    count = tokens.count()
    candidate = view.locator("[data-candidate]").first
    chosen = int(candidate.get_attribute("data-candidate") or -1)
    candidate.click()
    expect(tokens).to_have_count(count + 1, timeout=30_000)
    ids, written = json.loads(notebook.run(2))
    assert [ids[-1], len(ids), written] == [chosen, count + 1, 1]
    view.locator(".miw-lines").focus()
    keys.press("w")
    expect(view.locator(".miw-lines .miw-written")).not_to_have_count(1, timeout=30_000)
    expect(view).to_have_attribute("data-state", "idle", timeout=30_000)
    ids, written = json.loads(notebook.run(2))
    assert 2 <= written <= 6
    assert len(ids) == count + written
    expect(view.locator(".miw-lines .miw-written")).to_have_count(written)
    undo.click()
    expect(tokens).to_have_count(count + 1, timeout=30_000)
    undo.click()
    expect(tokens).to_have_count(count, timeout=30_000)
    expect(undo).to_be_disabled()
