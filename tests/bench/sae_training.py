"""A sparse coder trained here against SAELens's own on the same tokens: variance explained on held-out stories.

`stories3M-llama`, stories 0-899 of `tinystories_1000.json` cut at 512 tokens, position 0 left out; held out are stories
900-999 (see `shared/saes/SOURCE.md`). Coders of 1,536 features with k 16, 2,400 steps of 2,048 positions as SAELens's
(its BatchTopK and its transcoder had 1,000 steps). One thread; some ten minutes each on a quiet core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from measure import verdict

#: By what is trained: options, and what SAELens's own explains.
CODERS: dict[str, tuple[dict[str, Any], float]] = {
    "topk": ({"architecture": "topk", "k": 16, "steps": 2400}, 0.855),
    "batchtopk": ({"architecture": "batchtopk", "k": 16, "steps": 1000}, 0.841),
    "transcoder": (
        {
            "architecture": "batchtopk",
            "k": 16,
            "steps": 1000,
            "hook": "blocks.3.ln2.hook_normalized",
            "hook_out": "blocks.3.hook_mlp_out",
        },
        0.765,
    ),
    "standard": ({"architecture": "standard", "steps": 2400}, 0.827),
    "jumprelu": ({"architecture": "jumprelu", "k": 16, "steps": 2400}, 0.827),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[3] / "shared")
    parser.add_argument("--coders", nargs="+", choices=CODERS, default=["topk"])
    parser.add_argument("--steps", type=int, help="other than SAELens's own number")
    parser.add_argument("--out", type=Path, help="a folder for the coders")
    arguments = parser.parse_args()
    import torch

    import mi_widgets as mw

    torch.set_num_threads(1)
    model = mw.load_model(arguments.shared / "models" / "stories3M-llama")
    stories = json.loads((arguments.shared / "data" / "tinystories_1000.json").read_text(encoding="utf-8"))
    ids = [model.to_tokens(story, truncate=False)[0, :512] for story in stories]
    for name in arguments.coders:
        options, bound = CODERS[name]
        if arguments.steps:
            options = {**options, "steps": arguments.steps}
        folder = None if arguments.out is None else arguments.out / name
        start = time.perf_counter()
        place = {"hook": "blocks.3.hook_resid_post", "folder": folder, **options}
        coder = mw.sae.train(model, ids[:900], d_sae=1536, length=512, progress=True, **place)
        seconds = time.perf_counter() - start
        found = mw.compute.compare_coders(model, [coder], ids[900:], length=512)
        [row] = found.to_pandas().to_dict("records")
        print(f"{name}, saved as {coder.architecture}: {seconds:,.0f} s")
        print(
            f"  L0 {row['l0']:.1f}, {row['dead']} dead, {row['dense']} dense; loss {row['loss_clean']:.3f} → "
            f"{row['loss_spliced']:.3f} (zeros {row['loss_zeroed']:.3f}), {row['loss_recovered']:.1%} recovered"
        )
        verdict("held-out variance explained", 100 * (1 - row["variance_unexplained"]), 100 * bound, "%", at_least=True)


if __name__ == "__main__":
    main()
