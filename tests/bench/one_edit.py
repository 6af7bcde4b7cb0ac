"""From an edit to four new pictures, against one bare forward pass that keeps the same activations.

Four linked attention views of one session; every edit is a prompt that was never seen, so that no cache helps. Both
sides get their prompt in turn. "ours" is from `session.prompt = …` to the last view's bytes, tokenization included;
"in the page" is from those bytes to the `miw-drawn` event of the last of the four, in Chromium. "bare" is
`model.run_with_cache(ids, names_filter=…)` on token ids that are ready. Knows nothing of how either works inside.
"""

from __future__ import annotations

import argparse
import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import chromium, gpt2_shape, median, spread, verdict, words, written

FACTOR, ADDED_MS = 1.3, 250.0
#: Options of the four views, and the activations that they need.
MIXES: dict[str, tuple[list[dict[str, Any]], tuple[str, ...]]] = {
    "four of patterns": (
        [{}, {"scale": "log"}, {"palette": "amber"}, {"scale": "linear", "panel": "matrix"}],
        ("attn.hook_pattern",),
    ),
    "four weightings": (
        [{"weighting": name} for name in ("pattern", "scores", "value", "output")],
        ("attn.hook_pattern", "attn.hook_attn_scores", "attn.hook_v"),
    ),
}


def measure(model: Any, prompt_of: Callable[[int], Any], mix: str, rounds: int, page_too: bool) -> bool:
    """Print one comparison; whether it holds."""
    import torch

    import mi_widgets as mw
    from mi_widgets.wire.messages import AttentionState

    options, sites = MIXES[mix]
    hooks = {f"blocks.{layer}.{site}" for layer in range(model.cfg.n_layers) for site in sites}
    session = mw.Session(model, prompt_of(0))
    views = [mw.Attention(session, **chosen) for chosen in options]
    session.wait()  # head scores are measured once, here
    bare, ours, pictures = Timer(), Timer(), []
    for number in range(1, rounds + 2):
        prompt = prompt_of(2 * number)
        ids = model.to_tokens(prompt) if isinstance(prompt, str) else torch.tensor([prompt])
        with bare, torch.no_grad():
            _, cache = model.run_with_cache(ids, names_filter=lambda name: name in hooks)
        assert len(cache) == len(hooks)
        del cache
        passes, text = session.passes, prompt_of(2 * number + 1)
        with ours:
            session.prompt = text
            session.wait()
        assert session.passes == passes + 1, "an edit must cost exactly one pass"
        assert all(view.status["run"] == session.run and view.status["state"] == "idle" for view in views)
        pictures.append([view.get_state(list(AttentionState.__annotations__)) for view in views])
    for timer in (bare, ours):
        del timer.wall[0], timer.processor[0]  # the first round warms up
    print(f"{len(session.tokens)} tokens, {mix}, median (least – most):")
    for clock in ("wall", "processor"):
        theirs, own = getattr(bare, clock), getattr(ours, clock)
        print(f"          {clock:9} bare {spread(theirs)}, ours {spread(own)}, {_ratio(own, theirs):.2f} ×")
    total = 1000 * median(ours.wall)
    if page_too:
        drawn = in_the_page(pictures)
        print(f"          in the page {spread(drawn, scale=1)}")
        total += median(drawn)
    bound = FACTOR * 1000 * median(bare.wall) + ADDED_MS
    holds = verdict(f"edit to new picture{' drawn' if page_too else ''}", total, bound, "ms")
    for view in views:
        view.close()
    return holds


class Timer:
    """Seconds of every `with` block, by the wall and of the processor (which other people's work does not touch)."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.processor: list[float] = []

    def __enter__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def __exit__(self, *_reason: object) -> None:
        self.wall.append(time.perf_counter() - self._started[0])
        self.processor.append(time.process_time() - self._started[1])


def _ratio(ours: list[float], bare: list[float]) -> float:
    return median([own / other for own, other in zip(ours, bare, strict=True)])


#: Gives every view of the page its next picture, as a kernel would, and says when all have drawn it.
FEED = """
window.feed = (state, run) => new Promise((done) => {
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const next = state.map((view) => ({ picture: bytes(view.picture), focus: bytes(view.focus), status: view.status }));
  let left = models.length;
  const start = performance.now();
  const heard = (event) => {
    if (event.detail.run !== run || --left) return;
    document.removeEventListener("miw-drawn", heard, true);
    done(performance.now() - start);
  };
  document.addEventListener("miw-drawn", heard, true);
  models.forEach((model, at) => {
    for (const name of ["picture", "focus", "status"]) model.set(name, next[at][name]);
  });
});
"""

PAGE = """<!doctype html><html><head><meta charset="utf-8"><style>{css}
main {{ display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }}</style></head><body><main></main><script>{feed}
const states = {states}, source = {module};
window.models = states.map((state) => {{
  for (const name of ["picture", "focus", "store"]) {{
    state[name] = new DataView(Uint8Array.from(atob(state[name]), (letter) => letter.charCodeAt(0)).buffer);
  }}
  const listeners = {{}};
  return {{
    get: (name) => state[name],
    set(name, value) {{
      state[name] = value;
      for (const heard of [...(listeners["change:" + name] ?? [])]) heard(this, value);
    }},
    save_changes() {{}},
    send() {{}},
    on(name, heard) {{ (listeners[name] ??= new Set()).add(heard); }},
    off(name, heard) {{ listeners[name]?.delete(heard); }},
  }};
}});
import(URL.createObjectURL(new Blob([source], {{ type: "text/javascript" }}))).then(({{ default: view }}) => {{
  for (const model of models) {{
    const el = document.createElement("div");
    document.querySelector("main").append(el);
    view.render({{ model, el }});
  }}
}});
</script></body></html>"""


def in_the_page(pictures: list[list[dict[str, Any]]]) -> list[float]:
    """Milliseconds from the bytes' arrival to four drawn pictures, in a page that only listens to a kernel.

    `pictures` holds the state of each view after each edit; the first edit's warms up.
    """
    from mi_widgets.widgets.view import STATIC

    first, *edits = pictures
    module, css = ((STATIC / f"attention.{kind}").read_text("utf-8") for kind in ("js", "css"))
    html = PAGE.format(css=css, feed=FEED, states=_json(first), module=_json(module))
    with written(html) as address, chromium(1500, 1400) as page:
        page.goto(address)
        page.wait_for_function("document.querySelectorAll('.miw-view[data-run]').length === models.length")
        drawn = [
            page.evaluate("([state, run]) => feed(state, run)", [json.loads(_json(edit)), edit[0]["status"]["run"]])
            for edit in edits
        ]
    return drawn[1:]


def _json(value: Any) -> str:
    text = json.dumps(value, default=lambda raw: base64.b64encode(raw).decode())
    return text.replace("<", "\\u003c")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vocab", type=int, default=50257, help="of the GPT-2 shape; fewer make the bare pass cheaper")
    parser.add_argument("--model", type=Path, help="a model's folder instead; prompts are random ids")
    parser.add_argument("--threads", type=int, help="of torch; 1 is steadiest where others use the machine")
    parser.add_argument("--no-page", action="store_true", help="without Chromium: the kernel's part only")
    arguments = parser.parse_args()

    import torch

    import mi_widgets as mw

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.model:
        model = mw.load_demo() if str(arguments.model) == "demo" else mw.load_model(arguments.model)
    else:
        model = gpt2_shape(vocab=arguments.vocab)
    cfg, name = model.cfg, arguments.model or "GPT-2 shape"
    print(f"{name}: {cfg.n_layers} × {cfg.n_heads} heads, d_model {cfg.d_model}, vocabulary {cfg.d_vocab}")
    for tokens in arguments.tokens:
        for mix in MIXES:
            measure(model, _prompts(model, tokens, bool(arguments.model)), mix, arguments.rounds, not arguments.no_page)


def _prompts(model: Any, tokens: int, trained: bool) -> Callable[[int], Any]:
    """The prompt of each number: all different, `tokens` tokens long."""
    if not trained:
        return lambda number: words(tokens, seed=number, vocab=min(1000, model.cfg.d_vocab))
    import numpy as np

    count = min(tokens, model.cfg.n_ctx)
    return lambda number: np.random.default_rng(number).integers(3, model.cfg.d_vocab, count).tolist()


if __name__ == "__main__":
    main()
