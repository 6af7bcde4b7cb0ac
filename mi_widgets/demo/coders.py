"""Trains the sparse coders that come with the demo model: `python -m mi_widgets.demo.coders [--out DIR] [--layers …]`.

Of every layer an autoencoder of the residual stream behind it (TopK) and a transcoder of its MLP (BatchTopK), on texts
of the grammar drawn with another seed than the model's own training, and what they are worth on further ones. Knows
nothing of how a coder is trained.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from mi_widgets import compute, sae
from mi_widgets.compute.forward import forward
from mi_widgets.models import load_demo

from . import CODER_SITES, WEIGHTS, coder_folder
from .card import coder_table, write_coders
from .corpus import BOS_ID, rows_of_documents
from .tokenizer import CONTEXT_LENGTH

#: Seeds of the texts that are learned from and of those that measure; the model's own is 0, its lens's 1.
SEED, HELD_OUT_SEED = 2, 3
ROWS, HELD_OUT_ROWS = 1200, 40
FEATURES, ACTIVE = 512, 12
STEPS, BATCH = 2000, 1024
RATE, DEAD_AFTER = 2.5e-3, 100
KNOWN = "coders.json"


def texts(seed: int, rows: int) -> list[list[int]]:
    """Token ids of rows of documents, without the padding behind the last."""
    found = [row.ids for row in islice(rows_of_documents(seed), rows)]
    return [ids[: len(ids) - next(n for n, one in enumerate(reversed(ids)) if one != BOS_ID)] for ids in found]


def train(model, layer: int, site: str, learned: list[list[int]], steps: int = STEPS):
    """One coder, as it is shipped: features that never fire taken out, numbers rounded to float16."""
    hook, hook_out = (name and name.format(layer) for name in CODER_SITES[site])
    architecture = "topk" if hook_out is None else "batchtopk"
    coder = sae.train(
        model, learned, hook=hook, hook_out=hook_out, d_sae=FEATURES, k=ACTIVE, architecture=architecture,
        steps=steps, batch_size=BATCH, learning_rate=RATE, dead_after=DEAD_AFTER, length=CONTEXT_LENGTH, seed=SEED,
        progress=True,
    )  # fmt: skip
    return living(model, coder, learned).to(dtype=torch.float16)


def living(model, coder, learned: list[list[int]]):
    """The coder without the features that never fire on the text it learned from; there it says the same."""
    fired = torch.zeros(coder.d_sae, dtype=torch.bool)
    for ids in learned:
        x = forward(model, np.array(ids), (coder.hook_in,), until=coder.hook_in).arrays[coder.hook_in][1:]
        fired |= (coder.encode(torch.from_numpy(x.copy())) != 0).any(0)
    kept = {name: tensor[:, fired] if name == "W_enc" else tensor[fired] if name != "b_dec" else tensor
            for name, tensor in coder.weights.items()}  # fmt: skip
    return sae.from_weights(coder.architecture, kept, coder.settings, coder.metadata, coder.name)


def measured(model, folder: Path) -> dict[str, dict[str, float]]:
    """What the card says of each coder in `folder`, by layer and site, on held-out text."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    coders = [sae.load(folder / name, dtype=torch.float32, name=name) for name in names]
    found = compute.compare_coders(
        model, coders, texts(HELD_OUT_SEED, HELD_OUT_ROWS), length=CONTEXT_LENGTH
    ).to_pandas()
    found["variance_explained"] = 1 - found["variance_unexplained"]
    kept = ["architecture", "d_sae", "l0", "variance_explained", "loss_clean", "loss_spliced", "loss_recovered", "dead"]
    entries = found.set_index("coder")[[*kept, "dense"]].to_dict("index")
    return {name: {key: round(one, 4) if isinstance(one, float) else one for key, one in entry.items()}
            for name, entry in entries.items()}  # fmt: skip


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--layers", type=int, nargs="+")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--only", choices=("train", "measure"))
    arguments = parser.parse_args(given)
    torch.set_num_threads(1)
    model, learned = load_demo(), texts(SEED, ROWS)
    layers = range(model.cfg.n_layers) if arguments.layers is None else arguments.layers
    for layer in layers if arguments.only != "measure" else ():
        for site in CODER_SITES:
            sae.save(train(model, layer, site, learned, arguments.steps), coder_folder(layer, site, arguments.out))
    if arguments.only != "train":
        known = measured(model, coder_folder(0, "mlp", arguments.out).parent)
        (arguments.out / KNOWN).write_text(json.dumps(known, indent=1) + "\n")
        if arguments.out.resolve() == WEIGHTS.resolve():
            write_coders(known)
        print(coder_table(known))


if __name__ == "__main__":
    main()
