"""The longest task of the page's main thread while a reader moves over the wall and switches heads.

144 heads × 512 tokens as one offline page with some heads kept; the pointer is moved over every head, then heads are
locked one after the other, the pointer rests on the focused head and over the text, and the wheel zooms. Chromium's
own trace is the clock: every task of the renderer's main thread, in wall time and in processor time. On a machine that
others use, wall time counts the waiting for them too, so the bound is held against processor time; on a quiet one the
two are equal. Knows nothing of the view but its class names.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from measure import chromium, random_attention, verdict, written

LONGEST_MS = 100.0
CATEGORIES = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline", "blink.user_timing"]
PIECES = {"EventDispatch", "FireAnimationFrame", "TimerFire", "FunctionCall", "MajorGC", "Layout", "Paint"}


def hover(page: Any, step: int) -> None:
    """The pointer over the whole wall, row by row."""
    box = page.locator(".miw-wall").bounding_box()
    for down in range(8, int(box["height"]) - 4, step):
        for across in range(24, int(box["width"]) - 4, step):
            page.mouse.move(box["x"] + across, box["y"] + down)


def switch(page: Any, heads: list[tuple[int, int]], layers: int, columns: int) -> None:
    """Lock heads by click, where the wall shows them layer by head."""
    box = page.locator(".miw-wall-canvas").bounding_box()
    for layer, head in heads:
        across, down = (head + 0.5) / columns, (layer + 0.5) / layers
        page.mouse.click(box["x"] + 28 + across * (box["width"] - 40), box["y"] + 18 + down * (box["height"] - 24))
        page.wait_for_timeout(60)


def walk(page: Any, steps: int) -> None:
    """Heads one after the other by the arrow keys."""
    page.locator(".miw-wall").focus()
    for number in range(steps):
        page.keyboard.press("ArrowRight" if number % 12 < 11 else "ArrowDown")


def read(page: Any) -> None:
    """The pointer over the focused head and the text, the wheel on the head."""
    for name in (".miw-heatmap-canvas", ".miw-strip-text"):
        box = page.locator(name).first.bounding_box()
        if box is None:
            continue
        for number in range(40):
            page.mouse.move(box["x"] + box["width"] * number / 40, box["y"] + box["height"] * (number * 7 % 40) / 40)
    box = page.locator(".miw-heatmap-canvas").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for number in range(12):
        page.mouse.wheel(0, -200 if number < 6 else 200)


def tasks(trace: bytes) -> list[dict[str, Any]]:
    """Tasks of the page's main thread in milliseconds, most processor time first, each with its longest piece."""
    events = json.loads(trace)["traceEvents"]
    mains = {(event["pid"], event["tid"]) for event in events if event.get("args", {}).get("name") == "CrRendererMain"}
    # The page's own renderer is the busiest one; others are spare.
    threads: dict[tuple[int, int], list[Any]] = {main: [] for main in mains}
    for event in events:
        if event.get("ph") == "X" and (event["pid"], event["tid"]) in mains:
            threads[event["pid"], event["tid"]].append(event)
    own = max(threads.values(), key=lambda thread: sum(event.get("dur", 0) for event in thread))
    runs = [event for event in own if event["name"] == "RunTask"]
    pieces = sorted((event for event in own if event["name"] in PIECES), key=lambda event: -event.get("dur", 0))
    longest = sorted(runs, key=lambda event: -event.get("tdur", 0))[:200]
    return [_task(event, pieces) for event in longest]


def _task(event: dict[str, Any], pieces: list[dict[str, Any]]) -> dict[str, Any]:
    first, last = event["ts"], event["ts"] + event.get("dur", 0)
    inner = next((piece for piece in pieces if first <= piece["ts"] <= last), {})
    kind = inner.get("args", {}).get("data", {}).get("type", "")
    name = f"{inner.get('name', '')} {kind}".strip()
    return {"wall": event.get("dur", 0) / 1000, "cpu": event.get("tdur", 0) / 1000, "in": name}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--kept", type=int, default=24, help="heads with their full pattern in the page")
    parser.add_argument("--step", type=int, default=14, help="pixels between two pointer positions")
    arguments = parser.parse_args()

    import mi_widgets as mw

    layers = columns = 12
    patterns, names = random_attention(layers, columns, arguments.tokens)
    heads = [(number * 5 % layers, number * 7 % columns) for number in range(arguments.kept)]
    html = mw.Attention.from_data(patterns, names).to_html(heads=heads)
    size = len(html.encode()) / 1e6
    print(f"{layers * columns} heads × {arguments.tokens} tokens, page of {size:.1f} MB with {len(heads)} heads kept")
    scenes = {
        "hovering over the wall": lambda page: hover(page, arguments.step),
        "switching heads by click": lambda page: switch(page, heads, layers, columns),
        "walking heads by key": lambda page: walk(page, 48),
        "reading the focused head": read,
    }
    with written(html) as address, chromium() as page, tempfile.TemporaryDirectory() as folder:
        page.goto(address)
        page.wait_for_selector(".miw-view[data-run]")
        page.wait_for_timeout(1000)
        browser = page.context.browser
        for name, scene in scenes.items():
            browser.start_tracing(page=page, path=Path(folder) / "trace.json", categories=CATEGORIES)
            scene(page)
            page.wait_for_timeout(300)
            found = tasks(browser.stop_tracing())
            top = "; ".join(
                f"{task['cpu']:.0f} ms ({task['wall']:.0f} ms by the wall) {task['in']}" for task in found[:3]
            )
            print(f"{name}: longest {top}")
            verdict("longest task, processor time", found[0]["cpu"], LONGEST_MS, "ms")


if __name__ == "__main__":
    main()
