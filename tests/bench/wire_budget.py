"""What crosses to the page before the first full picture, byte by byte, and how large offline pages are.

Counted on a stand-in for the notebook's channel: every message of the view until its first picture is complete (JSON
and buffers; the module and its style sheet apart), and the saved state with its bytes in base64, as a notebook file
holds it. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import comm
from measure import chromium, gpt2_shape, random_attention, verdict, words, written

FIRST_PICTURE_MB, OFFLINE_MB = 1.0, 1.5
MODULE = {"_esm", "_css"}


class Counter(comm.base_comm.BaseComm):
    """A channel that weighs what is sent and delivers nothing."""

    sent: list[tuple[str, int]]

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
    ) -> None:
        state = (data or {}).get("state", {})
        told = {**(data or {}), "state": {name: value for name, value in state.items() if name not in MODULE}}
        size = len(json.dumps(told).encode()) + sum(memoryview(buffer).nbytes for buffer in buffers or [])
        Counter.sent.append((", ".join(state) if msg_type == "comm_msg" else msg_type, size))


def counted(make: Callable[[], Any]) -> tuple[Any, list[tuple[str, int]]]:
    """The view of `make`, and every message it sent until it was idle: what, and bytes."""
    Counter.sent = []
    before, comm.create_comm = comm.create_comm, lambda **options: Counter(**options)
    try:
        return make(), Counter.sent
    finally:
        comm.create_comm = before


def saved(view: Any) -> int:
    """Bytes of the view's state in a saved notebook, without the module."""
    state = {name: value for name, value in view.get_state().items() if name not in MODULE}
    plain = {name: value for name, value in state.items() if not isinstance(value, bytes)}
    raw = [value for value in state.values() if isinstance(value, bytes)]
    return len(json.dumps(plain).encode()) + sum(-(-len(value) // 3) * 4 for value in raw)


def still(view: Any) -> int:
    """Bytes of the picture for viewers without JavaScript, which the notebook's output carries."""
    return len(view._repr_mimebundle_()[0].get("image/png", "").encode())


def report(name: str, view: Any, messages: list[tuple[str, int]], bound: float | None) -> None:
    crossed = sum(size for _, size in messages)
    picture, file = still(view), saved(view)
    print(
        f"{name}: {len(messages)} messages, {crossed / 1e6:.3f} MB "
        f"(picture {len(view.picture):,} B, focus {len(view.focus):,} B); "
        f"saved {file / 1e6:.3f} MB, and {picture / 1e6:.3f} MB still picture"
    )
    if bound is not None:
        verdict("before the first picture", crossed / 1e6, bound, "MB")
        verdict("before the first picture, with the still picture", (crossed + picture) / 1e6, bound, "MB")
        verdict("saved state with the still picture", (file + picture) / 1e6, bound, "MB")


def live(model: Any, tokens: int) -> Callable[[], Any]:
    """A view as a notebook makes it: on a running loop, its picture computed there."""

    async def make() -> Any:
        import mi_widgets as mw

        view = mw.Attention(model, words(tokens, seed=1))
        while not view.picture:
            await asyncio.sleep(0.01)
        return view

    return lambda: asyncio.run(make())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-page", action="store_true", help="without Chromium")
    arguments = parser.parse_args()

    import mi_widgets as mw

    for tokens, bound in ((64, FIRST_PICTURE_MB), (512, FIRST_PICTURE_MB), (1024, None)):
        start = time.perf_counter()
        patterns, names = random_attention(12, 12, tokens)
        made = time.perf_counter()
        view, messages = counted(lambda patterns=patterns, names=names: mw.Attention.from_data(patterns, names))
        report(f"144 heads × {tokens:5} tokens, from data", view, messages, bound)
        print(f"          made in {time.perf_counter() - made:.1f} s (the patterns in {made - start:.1f} s)")
        if tokens == 64:
            html = view.to_html()
            verdict("offline page, all heads", len(html.encode()) / 1e6, OFFLINE_MB, "MB")
            parts = {
                "state": _between(html, 'id="miw-page">', "</script>"),
                "module": _between(html, 'id="miw-module-attention">', "</script>"),
                "still picture": _between(html, "<noscript>", "</noscript>"),
            }
            print("          of which " + ", ".join(f"{name} {size / 1e6:.3f} MB" for name, size in parts.items()))
        if tokens == 1024 and not arguments.no_page:
            print(f"          its offline page opens in {opens(view.to_html(heads='shown')):.2f} s")
        view.close()
    model = gpt2_shape(width=144, vocab=1000)
    view, messages = counted(live(model, 512))
    report("144 heads ×   512 tokens, live", view, messages, FIRST_PICTURE_MB)
    for what, size in messages:
        if size > 10_000:
            print(f"          {size:9,} B: {what}")


def _between(html: str, opening: str, ending: str) -> int:
    return len(html.split(opening, 1)[1].split(ending, 1)[0]) if opening in html else 0


def opens(html: str) -> float:
    """Seconds from page load to `miw-drawn`."""
    with written(html) as address, chromium() as page:
        page.add_init_script("addEventListener('miw-drawn', () => console.log('bench: ' + performance.now()))")
        with page.expect_console_message(lambda message: message.text.startswith("bench:")) as heard:
            page.goto(address, wait_until="commit")
        return float(heard.value.text.split()[-1]) / 1000


if __name__ == "__main__":
    main()
