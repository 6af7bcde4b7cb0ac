"""What the benches share: patterns and models of a given shape, Chromium, alternating timing, the printed lines.

Knows nothing of what is measured.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # run by hand, from anywhere
import chrome


def alternate(rounds: int, jobs: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Seconds of each job, by name: one warm-up each, then `rounds` times all of them in turn."""
    for job in jobs.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float], unit: str = "ms", scale: float = 1000.0, digits: int = 0) -> str:
    """`median (smallest – largest) unit`, so that noise is seen."""
    scaled = [scale * value for value in values]
    return f"{median(scaled):,.{digits}f} ({min(scaled):,.{digits}f} – {max(scaled):,.{digits}f}) {unit}"


def verdict(what: str, value: float, bound: float, unit: str = "", at_least: bool = False) -> bool:
    """Print one bound and whether it holds."""
    holds = value >= bound if at_least else value <= bound
    sign = "≥" if at_least else "≤"
    print(f"  {'holds ' if holds else 'MISSED'}  {what}: {value:,.2f} {unit} (must be {sign} {bound:,.2f} {unit})")
    return holds


def random_attention(layers: int, heads: int, tokens: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Causal patterns float32 `[layer, head, query, key]`, rows sum to 1, uneven as real ones; and token strings."""
    draw = np.random.default_rng(seed)
    patterns = np.empty((layers, heads, tokens, tokens), np.float32)
    allowed = np.tril(np.ones((tokens, tokens), bool))
    for layer in range(layers):
        weights = np.exp(2 * draw.standard_normal((heads, tokens, tokens), np.float32)) * allowed
        patterns[layer] = weights / weights.sum(-1, keepdims=True)
    return patterns, [f" tok{position % 97}" for position in range(tokens)]


def words(tokens: int, seed: int, vocab: int = 1000) -> str:
    """A prompt of exactly `tokens` tokens for `gpt2_shape`, whose tokenizer puts BOS before."""
    return " ".join(f"w{word}" for word in np.random.default_rng(seed).integers(3, vocab, tokens - 1))


def gpt2_shape(width: int = 768, vocab: int = 50257, layers: int = 12, heads: int = 12) -> Any:
    """A TransformerBridge of GPT-2 with random weights and a tokenizer of whole words; nothing is downloaded."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    import mi_widgets as mw

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=width, n_layer=layers, n_head=heads, vocab_size=vocab, bos_token_id=0, eos_token_id=0
    )
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "c_attn.weight" in name:
                parameter.mul_(4)  # uneven attention; fresh weights attend almost evenly
    names = {"<bos>": 0, "<unk>": 1} | {f"w{word}": word for word in range(2, vocab)}
    inner = Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<bos>", unk_token="<unk>", pad_token="<bos>"
    )
    with tempfile.TemporaryDirectory() as folder:
        config.architectures = ["GPT2LMHeadModel"]
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return mw.load_model(Path(folder), hf_model=model)


@contextlib.contextmanager
def chromium(width: int = 1280, height: int = 900) -> Iterator[Any]:
    """A page in a fresh Chromium process."""
    from playwright.sync_api import sync_playwright

    path = chrome.find()
    if path is None:
        raise SystemExit("Chromium is missing; install it, e.g. apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=chrome.FLAGS)
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()


@contextlib.contextmanager
def written(html: str) -> Iterator[str]:
    """The address of a file with this text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(html, encoding="utf-8")
        yield path.as_uri()
