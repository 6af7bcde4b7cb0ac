"""What an index of features costs beside the passes and the encoding alone, and how much memory it takes.

The cost is of a shipped coder of 1,536 features on `stories3M-llama`, in processor time, where others use the machine
too. The memory is of a coder of 65,536 features that is made up, 64 of them active at each position, over random texts:
its peak (VmHWM) beyond model and coder, in a process of its own, everything that is imported on the way included, for
corpora of several lengths. Linux only. Knows nothing of how the index is made.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import verdict
from memory import forget_peak, peak_bytes

SHARED = Path(os.environ.get("MI_WIDGETS_SHARED") or Path(__file__).parents[3] / "shared")
COST, GIGABYTES = 1.5, 2.0
D_SAE, ACTIVE, LENGTH = 65_536, 64, 256


def cost(name: str, tokens: int) -> float:
    """The index by forward passes plus encoding alone, both with the same batches."""
    import torch

    from mi_widgets import sae
    from mi_widgets.compute import coded_corpus
    from mi_widgets.models import load_model

    torch.set_num_threads(1)
    model = load_model(SHARED / "models" / "stories3M-llama")
    coder = sae.load(SHARED / "saes" / name)
    texts = json.loads((SHARED / "data" / "tinystories_1000.json").read_text())
    while tokens > 229 * len(texts):
        texts = texts + texts
    texts = texts[: tokens // 229]
    inputs: list[tuple[np.ndarray, str]] = []
    read = coded_corpus._read

    def noted(model: Any, ids: np.ndarray, hook: str) -> torch.Tensor:
        inputs.append((ids, hook))
        return read(model, ids, hook)

    coded_corpus._read = noted
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        index = sae.index(model, coder, texts, folder)
        ours = time.process_time() - start
        start = time.perf_counter()
        sae.Index(folder).dashboard(5)
        opening = time.perf_counter() - start
    start = time.process_time()
    for ids, hook in inputs:
        coder.encode(read(model, ids, hook))
    alone = time.process_time() - start
    print(f"{name}: {index.n_tokens:,} tokens; passes and encoding {alone:.1f} s, index {ours:.1f} s")
    print(f"  one feature opened in {1000 * opening:.0f} ms")
    return ours / alone


class MadeUp:
    """A coder whose features are active by chance, some of them often, most of them rarely."""

    name, fingerprint, folder = "made up", "0" * 64, None
    hook_in = hook_out = "blocks.1.hook_resid_post"
    d_sae, skips_first, device, reads_sequence = D_SAE, True, "cpu", False

    def __init__(self, width: int) -> None:
        import torch

        self.d_in = self.d_out = width
        self.draw = torch.Generator().manual_seed(0)
        self.W_dec = torch.randn(D_SAE, width, generator=self.draw)
        self.decoder_norms = self.W_dec.norm(dim=1)
        self.acts: Any = torch.zeros(0, D_SAE)

    def fits(self, model: Any) -> None:
        """It does."""

    def flat(self, x: Any) -> Any:
        """As it is."""
        return x

    def encode(self, x: Any) -> Any:
        """`ACTIVE` features at each position."""
        import torch

        rows = x.shape[0] * x.shape[1]
        if len(self.acts) < rows:
            self.acts = torch.zeros(rows, D_SAE)
        acts = self.acts[:rows].zero_()
        places = (D_SAE * torch.rand(rows, ACTIVE, generator=self.draw) ** 2).long()
        acts.scatter_(1, places, torch.empty(rows, ACTIVE).exponential_(generator=self.draw))
        return acts.view(*x.shape[:2], D_SAE)


def child(tokens: int) -> None:
    """Index so many tokens, and print the peak in bytes."""
    import torch

    from mi_widgets import sae
    from mi_widgets.models import load_model

    torch.set_num_threads(1)
    model = load_model(SHARED / "models" / "stories260K-llama")
    coder = MadeUp(int(model.cfg.d_model))
    draw = np.random.default_rng(0)
    texts = draw.integers(3, int(model.cfg.d_vocab), (tokens // (LENGTH - 1), LENGTH)).astype(np.int32)
    forget_peak()
    before, start = peak_bytes(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        index = sae.index(model, coder, texts, folder)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        took = time.perf_counter()
        index.dashboard(7)
        opening = time.perf_counter() - took
    print(json.dumps([index.n_tokens, peak_bytes() - before, size, took - start, opening, index.notes[-1]]))


def main() -> None:
    """Print both, and whether they hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coder", default="stories3m-topk")
    parser.add_argument("--tokens", type=int, default=200_000, help="of the cost")
    parser.add_argument("--large", type=int, nargs="*", default=[250_000, 2_000_000], help="of the memory")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    if given.tokens:
        found = cost(given.coder, given.tokens)
        verdict("index against passes and encoding alone", found, COST, "×")
    for tokens in given.large:
        answer = subprocess.run(
            [sys.executable, __file__, "--child", str(tokens)], stdout=subprocess.PIPE, text=True, check=True
        )
        count, peak, size, took, opening, note = json.loads(answer.stdout.splitlines()[-1])
        verdict(f"peak memory, {D_SAE:,} features, {count:,} tokens", peak / 1e9, GIGABYTES, "GB")
        print(f"  {size / 1e6:.0f} MB on disk, {took:.0f} s, one feature opened in {1000 * opening:.0f} ms; {note}")


if __name__ == "__main__":
    main()
