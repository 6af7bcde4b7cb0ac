"""Trains the demo model from a seed: `python -m mi_widgets.demo.train [--out DIR] [--seed N] [--steps N] [--tiny]`.

The corpus is written by the grammar while training runs. One thread, plain torch, a GPT-2 of `transformers`;
the same recipe gives the same weights. Knows the optimiser and the loss; what the trained model can do is measured in
`evaluate`.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from . import WEIGHTS
from .corpus import BOS_ID, Batch, batch_of, rows_of_documents
from .tokenizer import CONTEXT_LENGTH, save_tokenizer
from .vocabulary import VOCABULARY


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the weights. Learning rate: linear warm-up, then cosine to zero."""

    seed: int = 0
    steps: int = 3400
    rows: int = 24
    n_layer: int = 4
    d_model: int = 128
    n_head: int = 8
    learning_rate: float = 3e-3
    muon_learning_rate: float = 4e-3
    warmup: int = 200
    weight_decay: float = 0.05
    clip: float = 1.0


TINY = Recipe(steps=300, rows=16, n_layer=2, d_model=64, n_head=4, warmup=30)


def wave_positions(d_model: int, scale: float = 0.02) -> torch.Tensor:
    """Where the learned positions start from, [position, d_model]: waves of 6 to 600 tokens (Vaswani et al. 2017).

    From random vectors a model must learn for each position separately which one comes before it; in waves "one
    before" is the same rotation everywhere. `scale` is the root mean square, that of the token embeddings.
    """
    frequencies = torch.exp(-math.log(100) * torch.arange(d_model // 2) / (d_model // 2))
    angles = torch.arange(CONTEXT_LENGTH)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1) * scale * math.sqrt(2)


def build_model(recipe: Recipe) -> GPT2LMHeadModel:
    """A freshly initialised GPT-2 with tied embeddings and no dropout."""
    torch.manual_seed(recipe.seed)
    config = GPT2Config(
        vocab_size=len(VOCABULARY),
        n_positions=CONTEXT_LENGTH,
        n_embd=recipe.d_model,
        n_layer=recipe.n_layer,
        n_head=recipe.n_head,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=BOS_ID,
        eos_token_id=BOS_ID,
        attn_implementation="sdpa",
    )
    model = GPT2LMHeadModel(config)
    model.generation_config.pad_token_id = BOS_ID
    model.transformer.wpe.weight.data = wave_positions(recipe.d_model)
    for block in model.transformer.h:
        block.mlp.act = nn.GELU(approximate="tanh")  # gelu_new in one kernel: the same function, three times faster
    return model


def batch_loss(model: GPT2LMHeadModel, batch: Batch) -> torch.Tensor:
    """Mean next-token cross-entropy in nats, each token by its weight.

    Where the grammar could have written several tokens and says which, it is the cross-entropy expected over them:
    the same on average as the token that was written, without its chance.
    """
    logits = model(input_ids=batch.ids[:, :-1], use_cache=False).logits
    losses = functional.cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none")
    rows, positions = batch.places
    before = positions - 1  # where the token at `positions` is predicted
    expected = -(batch.distributions * logits[rows, before].log_softmax(-1)).sum(-1)
    losses = losses.view(len(logits), -1).index_put((rows, before), expected)
    weights = batch.weights[:, 1:]
    return (losses * weights).sum() / weights.sum()


def build_optimisers(model: GPT2LMHeadModel, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the blocks' matrices, AdamW for embeddings, norms and biases.

    Raises RuntimeError where torch has no Muon (before 2.9).
    """
    if not hasattr(torch.optim, "Muon"):
        raise RuntimeError(f"training the demo model needs torch 2.9 or later; this is torch {torch.__version__}")
    matrices = [weight for weight in model.transformer.h.parameters() if weight.dim() == 2]
    embeddings = [model.transformer.wte.weight, model.transformer.wpe.weight]
    vectors = [weight for weight in model.parameters() if weight.dim() < 2]
    muon = torch.optim.Muon(
        [{"params": matrices, "peak": recipe.muon_learning_rate}],
        lr=recipe.muon_learning_rate,
        weight_decay=recipe.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    adamw = torch.optim.AdamW(
        [
            {"params": embeddings, "weight_decay": recipe.weight_decay, "peak": recipe.learning_rate},
            {"params": vectors, "weight_decay": 0.0, "peak": recipe.learning_rate},
        ],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    return [muon, adamw]


def train(recipe: Recipe, report=print, report_every: int = 50, check=None, check_every: int = 250) -> GPT2LMHeadModel:
    """Train a model by the recipe and return it in eval mode, with the losses in `model.losses` (nats).

    `check(model, step)` is called every `check_every` steps, outside the gradient. The losses are weighted, see
    `batch_loss`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two are hardly faster on a small model, and with one the sums are reproducible
    try:
        return _train(recipe, report, report_every, check, check_every)
    finally:
        torch.set_num_threads(threads)


def _train(recipe: Recipe, report, report_every: int, check, check_every: int) -> GPT2LMHeadModel:
    model = build_model(recipe)
    optimisers = build_optimisers(model, recipe)
    rows = rows_of_documents(recipe.seed)
    losses: list[float] = []
    began = time.perf_counter()
    for step in range(1, recipe.steps + 1):
        progress = max(0.0, (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup))
        scale = min(step / recipe.warmup, 0.5 * (1 + math.cos(math.pi * progress)))
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * scale
        loss = batch_loss(model, batch_of([next(rows) for _ in range(recipe.rows)]))
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        for optimiser in optimisers:
            optimiser.step()
        losses.append(loss.item())
        if step % report_every == 0 or step == recipe.steps:
            recent = sum(losses[-report_every:]) / len(losses[-report_every:])
            spent = time.perf_counter() - began
            left = spent / step * (recipe.steps - step)
            report(f"step {step}/{recipe.steps}  loss {recent:.3f}  {spent / 60:.1f} min, {left / 60:.1f} min left")
        if check is not None and (step % check_every == 0 or step == recipe.steps):
            model.eval()
            with torch.no_grad():
                check(model, step)
            model.train()
    model.eval()
    model.losses = losses
    return model


def save(model: GPT2LMHeadModel, folder: Path) -> None:
    """Write the model and its tokenizer as a Hugging Face folder (float32 safetensors)."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes it private, which a wheel would keep
    save_tokenizer(folder)


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="the package's own weights if left out; with --tiny a new folder")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--tiny", action="store_true", help="a two-layer model in under a minute, to try the trainer")
    arguments = parser.parse_args(given)
    recipe = replace(TINY if arguments.tiny else Recipe(), seed=arguments.seed)
    if arguments.steps is not None:
        if arguments.steps < 1:
            parser.error("--steps must be 1 or more")
        recipe = replace(recipe, steps=arguments.steps)
    # What is tried out must not take the place of the model that the package ships.
    out = arguments.out or (Path(tempfile.mkdtemp(prefix="mi-widgets-demo-")) if arguments.tiny else WEIGHTS)

    from .card import CARD, all_tables, publish
    from .evaluate import task_scores

    def check(model, _step):
        print("  " + "  ".join(f"{task} {score:.3f}" for task, score in task_scores(model, n=100).items()), flush=True)
        save(model, out)

    logging.disable_progress_bar()
    save(train(recipe, report=lambda line: print(line, flush=True), check=check), out)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    print(f"saved in {out}; measuring what it can do and what is inside …", flush=True)
    shipped = out.resolve() == WEIGHTS.resolve() and recipe == Recipe()
    print(all_tables(publish(out, CARD if shipped else None, n=100 if arguments.tiny else 1000)))


if __name__ == "__main__":
    main()
