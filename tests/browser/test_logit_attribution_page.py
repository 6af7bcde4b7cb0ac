"""The logit attribution in a real browser: offline, where its numbers are those of `view.data`; and live, where answers
are edited and refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coders_in_models import made_coder
from playwright.sync_api import Locator, Page, expect

import mi_widgets as mw
from mi_widgets.data import Tokens

Open = Callable[[Path], Page]

PROMPT = "w3 w4 w5 w6 w3 w4"


@pytest.fixture
def view(model: Any) -> mw.LogitAttribution:
    """By head, so that every head has a row."""
    return mw.LogitAttribution(model, PROMPT, by="head")


def number(text: str) -> float:
    """The first number of a tooltip: "+0.25 logits", "≈ −0.25 logits"."""
    return float(text.replace("≈", "").replace("−", "-").split()[0])


def pointed(page: Page, place: Locator, x: float = 0.5) -> float:
    """What the tooltip says of a place under the pointer."""
    box = place.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] / 2)
    # The browser hands on where the pointer is with its next frame.
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    tooltip = page.locator(".miw-tooltip")
    expect(tooltip).to_be_visible()
    return number(tooltip.locator(".miw-tip-value").inner_text())


def test_every_row_shows_what_its_part_contributes(open_page: Open, tmp_path: Path, view: mw.LogitAttribution) -> None:
    page = open_page(view.save(tmp_path / "page.html"))
    data = view.data
    expect(page.locator(".miw-view")).to_have_attribute("data-state", "frozen")
    expect(page.locator(".miw-parts-list [data-row]")).to_have_count(len(data.part_kinds) + 1)
    assert page.locator(".miw-part-label").all_inner_texts()[1:-2] == list(data.labels)
    for part in (0, len(data.labels) // 2, len(data.labels) - 1):
        row = page.locator(f".miw-parts-list [data-row='{part}']")
        row.scroll_into_view_if_needed()
        assert pointed(page, row) == pytest.approx(float(data.contribution[part]), rel=1e-5, abs=1e-9)
    shown = float(page.locator(".miw-part-sum .miw-part-value").inner_text().replace("−", "-"))
    assert shown == pytest.approx(data.difference, rel=2e-3)
    exact = page.locator(".miw-question-result").get_attribute("data-tip") or ""
    assert number(exact) == pytest.approx(data.difference, rel=1e-5)


def test_the_map_and_the_sources_show_the_numbers_of_the_data(
    open_page: Open, tmp_path: Path, view: mw.LogitAttribution
) -> None:
    page = open_page(view.save(tmp_path / "page.html"))
    data = view.data
    assert data.heads is not None
    assert data.sources is not None
    page.locator(".miw-map").focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    tooltip = page.locator(".miw-tooltip .miw-tip-value")
    for head in range(data.n_heads):
        assert number(tooltip.inner_text()) == pytest.approx(float(data.heads[0, head]), rel=1e-5, abs=1e-9)
        page.keyboard.press("ArrowRight")
    assert number(tooltip.inner_text()) == pytest.approx(float(data.mlps[0]), rel=1e-5, abs=1e-9)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator(".miw-sources-title")).to_contain_text(f"L0 H{data.n_heads - 1}")
    sources = data.head_sources(0, data.n_heads - 1)
    for position in range(len(data.tokens)):
        token = page.locator(f".miw-sources .miw-token[data-position='{position}']")
        value = pointed(page, token)
        assert value == pytest.approx(float(sources[position]), rel=6e-3, abs=1e-6)  # float16, three digits shown


def test_a_head_chosen_here_is_chosen_in_the_attention_explorer_and_back(
    open_page: Open, tmp_path: Path, model: Any
) -> None:
    session = mw.Session(model, PROMPT)
    path = mw.save_html(
        tmp_path / "page.html", mw.LogitAttribution(session, by="head"), mw.Attention(session), columns=2
    )
    page = open_page(path)
    attribution, attention = page.locator(".miw-logit_attribution"), page.locator(".miw-attention")
    attribution.locator(".miw-part", has_text="L1 H2").click()
    expect(attention.locator(".miw-matrix .miw-panel-title")).to_contain_text("L1 H2")
    attention.locator(".miw-wall").focus()
    for key in ("ArrowUp", "Enter"):
        page.keyboard.press(key)
    expect(attribution.locator(".miw-part-locked")).to_contain_text("L0 H2")
    expect(attribution.locator(".miw-sources-title")).to_contain_text("L0 H2")
    attribution.locator(".miw-source").first.click()
    assert attention.locator(".miw-token-locked").count() == 1


def test_pointing_at_the_wall_previews_the_heads_sources(open_page: Open, tmp_path: Path, model: Any) -> None:
    session = mw.Session(model, PROMPT)
    page = open_page(mw.save_html(tmp_path / "page.html", mw.LogitAttribution(session), mw.Attention(session)))
    page.locator(".miw-wall").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".miw-sources-title")).to_contain_text("L0 H1")
    expect(page.locator(".miw-sources-title")).to_contain_text("preview")


def test_hostile_tokens_are_text(open_page: Open, tmp_path: Path, view: mw.LogitAttribution) -> None:
    wild = ["</script><script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>", "<!--", "\u202eabc"]
    count = len(view.data.tokens)
    tokens = Tokens.of((wild * count)[:count], count)
    data = dataclasses.replace(view.data, tokens=tokens, answer_string=wild[1], foil_string=wild[0])
    page = open_page(mw.LogitAttribution.from_data(data).save(tmp_path / "page.html"))
    expect(page.locator(".miw-context .miw-strip")).to_contain_text("</script>")
    expect(page.locator("input[aria-label=answer]")).to_have_value(wild[1])
    assert page.evaluate("window.hacked") is None
    assert page.locator(".miw-view img, .miw-view script").count() == 0


@pytest.mark.parametrize("words", [1, 400])
@pytest.mark.parametrize("width", [480, 1600])
def test_extreme_lengths_and_widths_draw(open_page: Open, tmp_path: Path, model: Any, words: int, width: int) -> None:
    session = mw.Session(model, " ".join(f"w{word % 40}" for word in range(words)), beyond_context=True)
    view = mw.LogitAttribution(session)
    page = open_page(view.save(tmp_path / "page.html"))
    page.set_viewport_size({"width": width, "height": 900})
    root = page.locator(".miw-view")
    expect(root).to_have_attribute("data-run", str(view.status["run"]))
    colours = page.locator(".miw-map-canvas").evaluate(
        """canvas => {
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            const seen = new Set();
            for (let at = 0; at < data.length; at += 4) seen.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
            return seen.size;
        }"""
    )
    assert colours >= 5
    assert root.evaluate("element => element.scrollWidth <= element.clientWidth")
    expect(page.locator(".miw-context .miw-token-locked")).to_be_in_viewport()


def test_an_edited_answer_is_computed_and_a_word_of_many_tokens_offers_single_ones(
    open_notebook: Callable[..., Any], shared: Path
) -> None:
    notebook = open_notebook(
        f"import mi_widgets as mw\nmodel = mw.load_model({str(shared / 'models' / 'stories3M-llama')!r})",
        "view = mw.LogitAttribution(model, 'Tom and Sue were playing. Tom said to')\nview",
        "view.wait()\nprint(view.data.answer_string, view.data.foil_string, view.data.position, view.options['by'])",
    )
    notebook.run(0)
    notebook.run(1)
    view = notebook.view(1)
    answer = view.locator("input[aria-label=answer]")
    expect(answer).to_have_attribute("placeholder", "·Sue")
    answer.fill(" Susannah")
    answer.press("Enter")
    refused = view.locator(".miw-refused")
    expect(refused).to_contain_text("tokens here")
    expect(view).to_have_attribute("data-state", "error")
    refused.locator("button").first.click()
    expect(refused).to_be_hidden()
    expect(view).to_have_attribute("data-state", "idle")
    answer.click()
    answer.press("Control+a")
    view.locator(".miw-suggestion", has_text="·his").click()
    view.locator(".miw-context .miw-token", has_text="·said").click()
    view.locator("select[aria-label=by]").select_option("neuron")
    expect(view.locator(".miw-parts .miw-panel-title")).to_contain_text("by neuron")
    expect(view.locator(".miw-question-where")).to_contain_text("at position 8")
    assert notebook.run(2).split()[:1] == ["his"]
    assert notebook.output(2).split()[-2:] == ["8", "neuron"]


def test_an_offline_page_shows_the_features_of_a_spliced_run(open_page: Open, tmp_path: Path, model: Any) -> None:
    coder = made_coder(32, name="small")
    session = mw.Session(model, PROMPT, interventions=[mw.Splice(coder)], answer=5, foil=7)
    view = mw.LogitAttribution(session, by="feature", coder=coder)
    page = open_page(view.save(tmp_path / "page.html"))
    data = view.data
    expect(page.locator(".miw-parts .miw-panel-title")).to_contain_text("by feature of small at L0 resid_post")
    expect(page.locator(".miw-view")).to_contain_text("L0 resid_post spliced (small)")
    assert page.locator(".miw-part-label").all_inner_texts()[1:-2] == list(data.labels)
    for part in (data.part_kinds.index("feature"), data.part_kinds.index("coder error")):
        row = page.locator(f".miw-parts-list [data-row='{part}']")
        assert pointed(page, row) == pytest.approx(float(data.contribution[part]), rel=1e-5, abs=1e-9)
