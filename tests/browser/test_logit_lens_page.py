"""The logit lens in a real browser: drawn, silent on the network, its numbers those of the data; live, it pins tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lab import Notebook
from playwright.sync_api import Locator, Page, expect

import mi_widgets as mw
from mi_widgets.data import LogitLens, LogitLensComparison, Tokens

Open = Callable[[Path], Page]
WORDS = [" the", " cat", "</script><b>", "\n", "漢字", "\u202eabc", " antidisestablishmentarianism", "<img src=x>"]


def ranks(probabilities: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    chosen = np.take_along_axis(probabilities, np.broadcast_to(tokens, probabilities.shape[:2])[..., None], -1)
    return (probabilities > chosen).sum(-1).astype(np.int32)


def lens(rows: int, count: int, targets: int = 2, seed: int = 0) -> tuple[LogitLens, np.ndarray]:
    """A lens whose numbers all follow from probabilities `[row, position, token]`, which come with it."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, len(WORDS), count)
    logits = random.normal(size=(rows, count, len(WORDS))) * np.linspace(0.5, 3, rows)[:, None, None]
    p = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)
    order = np.argsort(-p, -1)[..., :5].astype(np.int32)
    change = np.full((rows, count), np.nan, np.float32)
    change[1:] = (p[1:] * np.log(p[1:] / p[:-1])).sum(-1)
    following = np.append(ids[1:], 0)
    next_rank, pinned = ranks(p, following), np.arange(targets, dtype=np.int32)
    next_rank[:, -1] = -1
    next_prob = p[:, np.arange(count), following].copy()
    next_prob[:, -1] = np.nan
    data = LogitLens(
        tokens=Tokens(ids.astype(np.int64), tuple(WORDS[token] for token in ids)),
        layers=tuple(range(rows)),
        streams=("resid_post",) * rows,
        top_ids=order,
        top_probs=np.take_along_axis(p, order, -1),
        entropy=-(p * np.log(p)).sum(-1),
        kl=(p[-1] * np.log(p[-1] / p)).sum(-1).astype(np.float32),
        change=change,
        final_rank=ranks(p, order[-1, :, 0]),
        next_prob=next_prob,
        next_rank=next_rank,
        target_ids=pinned,
        target_probs=p[..., :targets].copy(),
        target_ranks=np.stack([ranks(p, np.full(count, token)) for token in pinned], -1).reshape(rows, count, targets),
        names=dict(enumerate(WORDS)),
        d_vocab=len(WORDS),
        model="synthetic",
    )
    return data, p


def drawn(page: Page) -> Locator:
    root = page.locator(".miw-view").first
    expect(root).to_have_attribute("data-run", re.compile(r"\d+"))
    return root


def colours(page: Page) -> int:
    return page.locator(".miw-lens-table-canvas").first.evaluate(
        """canvas => {
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
            copy.drawImage(canvas, 0, 0);
            const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
            const seen = new Set();
            for (let at = 0; at < data.length; at += 4) seen.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
            return seen.size;
        }"""
    )


def fact(tip: Locator, name: str) -> float:
    row = tip.locator(".miw-lens-facts tr").filter(has_text=name)
    return float(row.locator("td").first.inner_text().split("≈ ")[-1].split()[0].replace("−", "-"))


def test_hover_shows_the_numbers_of_the_data(open_page: Open, tmp_path: Path) -> None:
    data, p = lens(6, 9)
    page = open_page(mw.LogitLens.from_data(data).save(tmp_path / "page.html"))
    drawn(page)
    box = page.locator(".miw-lens-table-canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.5 * box["height"])
    tip = page.locator(".miw-tooltip")
    where = re.search(r"L(\d) post.*position (\d)", tip.inner_text(), re.DOTALL)
    assert where is not None
    row, position = int(where[1]), int(where[2])
    assert 0 < row < 5 and 2 < position < 8
    shown = [float(text) for text in tip.locator(".miw-lens-guesses td:last-child").all_inner_texts()]
    assert shown == pytest.approx(np.sort(p[row, position])[::-1][:5].tolist(), abs=1e-3)
    assert fact(tip, "entropy") == pytest.approx(float(data.entropy[row, position]), rel=5e-3)
    assert fact(tip, "KL to the model") == pytest.approx(float(data.kl[row, position]), rel=5e-3)
    assert fact(tip, "change") == pytest.approx(float(data.change[row, position]), rel=5e-3)
    assert f"rank {data.next_rank[row, position]}" in tip.locator("tr", has_text="what follows").inner_text()


def test_the_keyboard_walks_locks_and_releases(open_page: Open, tmp_path: Path) -> None:
    data, _ = lens(4, 9)
    page = open_page(mw.LogitLens.from_data(data).save(tmp_path / "page.html"))
    root = drawn(page)
    page.locator(".miw-lens-table").focus()
    for key in ("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    expect(page.locator(".miw-tooltip")).to_contain_text("L2 post")
    expect(root.locator("[aria-live]").first).to_contain_text("L2 post, position 6")
    page.keyboard.press("Enter")
    expect(root).to_contain_text("top 5 at L2 post, position 6")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(root).to_contain_text("top 5 at L3 post, position 8")
    page.keyboard.press("?")
    expect(root.locator(".miw-keys")).to_contain_text("walk the cells")


def test_every_colour_draws_and_says_its_unit(open_page: Open, tmp_path: Path) -> None:
    data, _ = lens(5, 12)
    page = open_page(mw.LogitLens.from_data(data).save(tmp_path / "page.html"))
    drawn(page)
    legend = page.locator(".miw-legend")
    said = {
        "entropy": "nats",
        "kl": "KL(model",
        "change": "no row before",
        "final_rank": "rank",
        "next_rank": "nothing follows",
        "target_probability": "probability of",
        "target_rank": "rank of",
        "probability": "top token",
    }
    for color, text in said.items():
        page.locator("select[aria-label=colour]").select_option(color)
        expect(legend).to_contain_text(text)
        assert colours(page) >= 20
    expect(page.locator(".miw-error")).to_be_hidden()


def test_hostile_tokens_are_text(open_page: Open, tmp_path: Path) -> None:
    data, _ = lens(3, 12, targets=8)
    page = open_page(mw.LogitLens.from_data(data).save(tmp_path / "page.html"))
    expect(drawn(page).locator(".miw-lens-pins")).to_contain_text("</script><b>")
    assert page.locator(".miw-view img, .miw-view script").count() == 0


@pytest.mark.parametrize(
    ("rows", "count"), [(2, 1), (30, 300), (48, 1000)], ids=["one token", "300 tokens", "1,000 tokens × 48 layers"]
)
def test_extreme_sizes_draw(open_page: Open, tmp_path: Path, rows: int, count: int) -> None:
    data, _ = lens(rows, count, targets=3)
    page = open_page(mw.LogitLens.from_data(data).save(tmp_path / "page.html"))
    drawn(page)
    assert colours(page) >= (3 if count == 1 else 50)
    page.locator(".miw-lens-table").focus()
    page.keyboard.press("Home")
    expect(page.locator(".miw-tooltip")).to_contain_text("position 0")
    for _ in range(20):
        page.keyboard.press("+")
    expect(page.locator(".miw-slider-value")).to_have_text("cells 128 px")
    # The cell that is read stays in sight.
    assert page.locator(".miw-lens-table .miw-grid-scroll").evaluate("cells => cells.scrollLeft") == 0
    expect(page.locator(".miw-error")).to_be_hidden()


def test_a_comparison_shows_a_b_and_the_difference(open_page: Open, tmp_path: Path) -> None:
    (a, p), (b, q) = lens(4, 8), lens(4, 8, seed=1)
    b = replace(b, tokens=a.tokens, lens="tuned")
    kl = (p * np.log(p / q)).sum(-1).astype(np.float32)
    page = open_page(mw.LogitLens.from_data(LogitLensComparison(a, b, kl)).save(tmp_path / "page.html"))
    root = drawn(page)
    expect(page.locator(".miw-legend")).to_contain_text("KL(A ‖ B)")
    page.locator(".miw-lens-table").focus()
    page.keyboard.press("ArrowUp")
    tip = page.locator(".miw-tooltip")
    said = float(tip.locator(".miw-tip-value").inner_text().split("≈ ")[1])
    assert said == pytest.approx(float(kl[3, 7]), rel=5e-3)
    assert tip.locator(".miw-lens-side").count() == 2
    for show in ("A", "B"):
        page.locator("select[aria-label=show]").select_option(show)
        expect(page.locator(".miw-legend")).to_contain_text("probability of the top token")
        expect(root).to_have_attribute("data-state", "frozen")


def test_a_locked_cell_moves_the_attention_explorer(open_page: Open, tmp_path: Path, model: object) -> None:
    session = mw.Session(model, "w3 w4 w5 w6 w3 w4")
    path = mw.save_html(tmp_path / "page.html", mw.LogitLens(session), mw.Attention(session))
    page = open_page(path)
    drawn(page)
    attention = page.locator(".miw-attention")
    page.locator(".miw-lens-table").focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    token = session.tokens.strings[2].replace(" ", "·")
    expect(attention.locator(".miw-reading")).to_contain_text(f"what {token} reads")


LIVE = """
import torch
torch.set_num_threads(1)
import json, mi_widgets as mw
import mi_widgets.wire.lens_picture as picture
picture.WHOLE = 100  # so that the rows come after the picture, as they do for long prompts
view = mw.LogitLens(mw.load_demo(), "When Mary and John went to the store , John gave a drink to")
view
"""


def test_live_a_token_is_pinned_and_rows_come_by_themselves(open_notebook: Callable[..., Notebook]) -> None:
    asked = "print(json.dumps([view.options['targets'], view.data.target_ids.tolist()]))"
    named = "print(json.dumps([view.data.names[token] for token in view.data.top_ids[0, 3].tolist()]))"
    notebook = open_notebook(LIVE, asked, named)
    notebook.run(0)
    view = notebook.view(0)
    expect(view).to_have_attribute("data-state", "idle", timeout=30_000)
    expect(view.locator(".miw-lens-chips .miw-lens-chip")).to_have_count(10)  # the first row that was fetched
    field = view.locator(".miw-lens-input")
    field.fill(" Mary")
    field.press("Enter")
    expect(view.locator(".miw-lens-pin-name")).to_contain_text("·Mary")
    expect(view.locator(".miw-lens-curve")).to_have_count(1)
    targets, ids = json.loads(notebook.run(1))
    assert targets == [" Mary"]
    assert len(ids) == 1
    names = [name.replace(" ", "·").replace("\n", "↵") for name in json.loads(notebook.run(2))]
    view.locator(".miw-lens-table").focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight", *["ArrowDown"] * 4):
        notebook.page.keyboard.press(key)
    expect(view.locator(".miw-tooltip")).to_contain_text("L0 post")
    assert view.locator(".miw-tooltip .miw-lens-guesses th").all_inner_texts() == names


def part_of(data: LogitLens, read: list[int]) -> LogitLens:
    """`data` as it is while only these positions are read."""
    unread = ~np.isin(np.arange(len(data.positions)), read)
    parts = {name: np.array(values) for name, values in data.arrays().items() if name != "target_ids"}
    for values in parts.values():
        values[:, unread] = -1 if values.dtype.kind == "i" else np.nan
    return replace(data, read=tuple(read), **parts)


def test_a_partial_lens_leaves_room_for_what_is_not_read(open_page: Open, tmp_path: Path) -> None:
    data, _ = lens(6, 12)
    page = open_page(mw.LogitLens.from_data(part_of(data, list(range(6, 12)))).save(tmp_path / "page.html"))
    root = drawn(page)
    expect(root.locator(".miw-legend")).to_contain_text("6 of 12 positions are read")
    expect(root.locator(".miw-status")).to_contain_text("Saved before it was done: 6 of 12 positions are read.")
    page.locator(".miw-lens-table").focus()
    page.keyboard.press("End")
    expect(page.locator(".miw-tooltip .miw-lens-guesses th")).to_have_count(5)
    page.keyboard.press("Home")
    expect(page.locator(".miw-tooltip")).to_contain_text("not read: the picture was saved before it was done")


SLOW = """import json, time, mi_widgets as mw
from mi_widgets.compute import lens_order, lens_reading
from mi_widgets.widgets import partial
lens_reading.FEW = lens_reading.FEWEST = 1; lens_order.LITTLE = 0; partial.SOON_SECONDS = -1.0
def slowly(reader, places, read=lens_reading.LensReader.read):
    time.sleep(0.2); yield from read(reader, places)
lens_reading.LensReader.read = slowly
view = mw.LogitLens(mw.load_demo(), "When Mary")
view"""
LONG = " and John went to the store , John gave a drink to Mary , and then they went home"


def test_live_the_table_fills_where_the_reader_looks(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook(SLOW, "print(json.dumps([view.data.read, len(view.data.positions)]))")
    notebook.run(0)
    view = notebook.view(0)
    expect(view).to_have_attribute("data-state", "idle", timeout=30_000)
    view.evaluate("root => { root.whole = 0; root.addEventListener('miw-drawn', () => root.whole++); }")
    prompt = view.locator("textarea.miw-prompt").first
    prompt.fill("When Mary" + LONG)
    expect(view.locator(".miw-legend")).to_contain_text("positions are read", timeout=30_000)
    expect(view).to_have_attribute("data-state", "computing")
    assert view.evaluate("root => root.whole") == 0
    view.locator(".miw-lens-table").focus()
    notebook.page.keyboard.press("+")
    for _ in range(6):
        notebook.page.keyboard.press("+")
    notebook.page.keyboard.press("Home")  # the first position comes into sight, and is read before those between
    expect(view.locator(".miw-tooltip")).to_contain_text("not read yet")
    notebook.page.keyboard.press("Enter")
    expect(view.locator(".miw-lens-chips .miw-lens-chip")).to_have_count(10, timeout=30_000)
    expect(view).to_have_attribute("data-state", "computing")  # it was not the last that was read
    expect(view).to_have_attribute("data-state", "idle", timeout=30_000)
    expect(view.locator(".miw-lens-progress")).to_have_count(0)
    expect(view.locator(".miw-lens-pick")).to_contain_text("position 0")  # still locked
    read, count = json.loads(notebook.run(1))
    assert (read, count > 15) == (None, True)
    assert view.evaluate("root => root.whole") == 1
