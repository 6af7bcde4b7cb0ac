"""Trains the tuned lens that comes with the demo model: `python -m mi_widgets.demo.lens [--out FILE]`.

On texts of the grammar drawn with another seed than the model's own training. Knows nothing of how a lens is trained.
"""

import argparse
from pathlib import Path

import torch

from mi_widgets.compute.tuned_lens_training import train_tuned_lens
from mi_widgets.data.files import writable_path
from mi_widgets.models import load_demo

from . import WEIGHTS
from .corpus import rows_of_documents

SEED, ROWS = 1, 400
NAME = "tuned_lens.safetensors"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=WEIGHTS / NAME)
    arguments = parser.parse_args()
    writable_path(arguments.out)  # before the training, not after it
    torch.set_num_threads(1)
    rows = rows_of_documents(SEED)
    texts = [next(rows).ids for _ in range(ROWS)]
    lens = train_tuned_lens(load_demo(), texts, seed=SEED, progress=True)
    lens.save(arguments.out)
    for layer, (before, after) in enumerate(zip(lens.training["kl_before"], lens.training["kl_after"], strict=True)):
        print(f"layer {layer}: KL(model ‖ lens) on held-out text {before:.3f} → {after:.3f} nats")


if __name__ == "__main__":
    main()
