"""From page load to the first picture: our offline page against CircuitsVis and BertViz, the same patterns.

All pages come from a file, each in a fresh Chromium, in turn. The clock is the page's own and starts with the
navigation. "first" is the first canvas with a painted pixel (BertViz: the first SVG line), "all" the frame in which
every canvas is painted (ours: the `miw-drawn` event as well). Knows nothing of how the views are made.
"""

from __future__ import annotations

import argparse
from typing import Any

import peers
from measure import chromium, median, random_attention, spread, verdict, written

OURS, CIRCUITSVIS = "mi_widgets", "CircuitsVis heads"
SOONER = 50
#: A browser that has just started is busy with itself; readers have theirs open.
SETTLE_MS = 1500

#: Looks once a frame until everything is painted; pixels are read from a copy, so any canvas will do.
WATCH = """
window.bench = { first: 0, all: 0, drawn: 0, pieces: 0 };
document.addEventListener("miw-drawn", () => { bench.drawn ||= performance.now(); }, true);
let copy = null, waiting = null;
const painted = (canvas) => {
  if (!canvas.width || !canvas.height) return false;
  if (!copy) {
    const small = Object.assign(document.createElement("canvas"), { width: 16, height: 16 });
    copy = small.getContext("2d", { willReadFrequently: true });
  }
  copy.clearRect(0, 0, 16, 16);
  copy.drawImage(canvas, 0, 0, 16, 16);
  return copy.getImageData(0, 0, 16, 16).data.some((value) => value > 0);
};
const look = () => {
  if (document.body) {
    const lines = document.querySelector("svg line");
    waiting = lines ? [] : [...document.querySelectorAll("canvas")];
    bench.pieces = lines ? document.querySelectorAll("svg line").length : waiting.length;
    if (bench.pieces) {
      if (!bench.first && (lines || waiting.some(painted))) bench.first = performance.now();
      const all = bench.first && !bench.all && waiting.every((canvas) => !canvas.offsetParent || painted(canvas));
      if (all) bench.all = performance.now();
    }
  }
  const ours = document.querySelector(".miw-slot");
  if (bench.all && (!ours || bench.drawn)) console.log("bench: all is painted");
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def show(html: str, folder: Any, limit: float) -> dict[str, Any]:
    """Load one page; milliseconds, megabytes of JavaScript heap, pieces drawn."""
    with written(html) as address, chromium() as page:
        page.add_init_script(WATCH)
        refused = peers.serve(page, folder)
        page.set_default_timeout(1000 * limit)
        page.goto("about:blank")
        page.wait_for_timeout(SETTLE_MS)
        with page.expect_console_message(lambda message: message.text == "bench: all is painted"):
            page.goto(address, wait_until="commit")
        seen = page.evaluate("bench")
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        seen["heap"] = _heap(client)
        client.send("HeapProfiler.collectGarbage")
        seen["kept"] = _heap(client)
    seen["all"] = max(seen["all"], seen["drawn"])
    return {**seen, "refused": len(refused)}


def _heap(client: Any) -> float:
    metrics = {entry["name"]: entry["value"] for entry in client.send("Performance.getMetrics")["metrics"]}
    return metrics["JSHeapUsedSize"] / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    peers.add_argument(parser)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=240, help="seconds that a page may take")
    arguments = parser.parse_args()
    folder = peers.use(arguments.peers)

    import mi_widgets as mw

    patterns, tokens = random_attention(arguments.layers, arguments.heads, arguments.tokens)
    pages = {
        OURS: mw.Attention.from_data(patterns, tokens).to_html(),
        CIRCUITSVIS: peers.circuitsvis_page(patterns, tokens),
        "BertViz model_view": peers.bertviz_page(patterns, tokens, "model_view"),
        "BertViz head_view": peers.bertviz_page(patterns, tokens, "head_view"),
    }
    print(f"{arguments.layers} × {arguments.heads} heads × {arguments.tokens} tokens, median (least – most)")
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in pages}
    show(pages[OURS], folder, arguments.limit)  # warms the disk's cache of Chromium itself
    for _ in range(arguments.rounds):
        for name, html in pages.items():
            try:
                seen[name].append(show(html, folder, arguments.limit))
            except Exception as reason:  # a peer that never draws must not stop the others
                print(f"  {name}: no picture ({str(reason).splitlines()[0]})")
    for name, runs in seen.items():
        if not runs:
            continue
        print(
            f"{name:20} first {spread([run['first'] for run in runs], 's', 1e-3, 2)}, "
            f"all {spread([run['all'] for run in runs], 's', 1e-3, 2)}, "
            f"page {len(pages[name].encode()) / 1e6:.1f} MB, heap {median([run['heap'] for run in runs]):.0f} MB "
            f"({median([run['kept'] for run in runs]):.0f} MB kept), {runs[0]['pieces']} canvases or lines, "
            f"{runs[0]['refused']} requests refused"
        )
    ours = median([run["all"] for run in seen[OURS]])
    for name, runs in seen.items():
        if name != OURS and runs:
            ratio = median([run["first"] for run in runs]) / ours
            if name == CIRCUITSVIS:
                verdict(f"our whole picture sooner than the first piece of {name}", ratio, SOONER, "×", at_least=True)
            else:
                print(f"          our whole picture sooner than the first piece of {name}: {ratio:,.1f} ×")


if __name__ == "__main__":
    main()
