"""Superposition, seen: a toy model that keeps more features than it has dimensions, and a sparse coder that finds them.

The classic experiment (Elhage et al. 2022, "Toy Models of Superposition"): sparse features x go through a few hidden
dimensions, h = W x, and are read back, ReLU(Wᵀ h + b). Trained in seconds; since every feature's direction is known, it
can be said whether a coder on h has found it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mi_widgets.compute.undisturbed import with_gradients
from mi_widgets.data.integers import integer, is_number, number
from mi_widgets.data.superposition import Superposition
from mi_widgets.errors import DataError

BATCH, LEARNING_RATE = 1024, 1e-2
#: Samples that losses are measured on, and that a coder learns from.
MEASURED, LEARNED = 20_000, 40_000


class SuperpositionToy:
    """A trained toy model. Made by `demo.superposition`.

    Attributes:
        data: what it keeps where, without a coder: `data.Superposition`.
    """

    def __init__(self, data: Superposition) -> None:
        self.data = data

    def __repr__(self) -> str:
        features, dimensions = self.data.directions.shape
        return f"<toy model: {features} features in {dimensions} dimensions, {int(self.data.kept.sum())} kept>"

    def features(self, n: int, seed: int = 0) -> np.ndarray:
        """float32 `[sample, feature]`: new inputs; each feature is there with the probability it was trained at, its
        size then evenly drawn from 0 to 1."""
        draw = torch.Generator().manual_seed(integer("seed", seed))
        return _drawn(integer("n", n), len(self.data.directions), self.data.probability, draw).numpy()

    def hidden(self, features: Any) -> np.ndarray:
        """float32 `[sample, dimension]`: what the toy model makes of inputs `[sample, feature]`."""
        return np.asarray(features, np.float32) @ self.data.directions

    def coder(self, d_sae: int | None = None, k: int | None = None, *, seed: int = 0, **options: Any) -> Any:
        """A sparse coder on the hidden activations, in a few seconds.

        Args:
            d_sae: its features; twice as many as the toy model's if None: with as many some end between two directions.
            k: active in a sample; the mean number of those that are there if None, at least 1.
            seed: of samples and training.
            options: further ones of `sae.train_on`.

        Returns:
            sae.SparseCoder, a TopK one.
        """
        from mi_widgets.sae.training import train_on

        features = self.features(LEARNED, seed=seed + 1)
        there = (features > 0).any(1)  # nothing can be learned from nothing
        mean = float((features[there] > 0).sum(1).mean())
        chosen = {"steps": 1000, "batch_size": 256, "learning_rate": 3e-3, "dead_after": 50, "seed": seed, **options}
        chosen |= {"d_sae": 2 * features.shape[1] if d_sae is None else d_sae, "k": round(mean) if k is None else k}
        return train_on(self.hidden(features[there]), name="coder of a toy model", **chosen)

    def found(self, coder: Any) -> Superposition:
        """The toy model's directions beside those of a coder of its hidden activations; `.match` says how well it has
        found them.

        Raises:
            DataError: a coder of another width.
        """
        decoder = coder.W_dec.detach().float().cpu().numpy()
        if decoder.shape[1] != self.data.directions.shape[1]:
            raise DataError(
                f"{coder.name} is {decoder.shape[1]} wide, the toy model {self.data.directions.shape[1]}.",
                "Train one on its hidden activations: toy.coder().",
            )
        features = self.features(MEASURED)
        acts = coder.encode(torch.from_numpy(self.hidden(features[(features > 0).any(1)])))
        given = {name: getattr(self.data, name) for name in ("probability", "loss", "loss_of_nothing", "kept_above")}
        active = (acts != 0).float().mean(0).cpu().numpy()
        return Superposition(**self.data.arrays(), **given, decoder=decoder, active=active, coder=coder.name)


@with_gradients
def superposition(
    n_features: int = 5,
    n_dimensions: int = 2,
    *,
    probability: float = 0.05,
    importance: Any = 1.0,
    steps: int = 2000,
    seed: int = 0,
) -> SuperpositionToy:
    """A toy model of superposition, trained in seconds.

    Args:
        n_features: features of the input.
        n_dimensions: that they go through.
        probability: of each feature to be there (1 − sparsity of the paper): where it is high, only as many are kept
            as there are dimensions.
        importance: weight of each in the loss: one number for all, one for each, or of a number below 1 its powers, so
            that each feature counts by so much less than the one before.
        steps: of training.
        seed: of weights and samples.

    Raises:
        DataError: numbers that make no toy model.
    """
    features, dimensions = integer("n_features", n_features), integer("n_dimensions", n_dimensions)
    chance, longest = number("probability", probability), integer("steps", steps)
    if features < 1 or dimensions < 2 or longest < 1 or not 0 < chance <= 1:
        raise DataError(
            f"n_features={features}, n_dimensions={dimensions}, probability={chance}, steps={longest}.",
            "Give features, at least 2 dimensions, a probability up to 1, and steps.",
        )
    weight = torch.from_numpy(_importance(importance, features))
    draw = torch.Generator().manual_seed(integer("seed", seed))
    W = (torch.randn(features, dimensions, generator=draw) / dimensions**0.5).requires_grad_()
    bias = torch.zeros(features).requires_grad_()
    optimizer = torch.optim.Adam([W, bias], lr=LEARNING_RATE)
    for step in range(longest):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 2 * (longest - step) / longest)
        x = _drawn(BATCH, features, chance, draw)
        loss = (weight * (x - ((x @ W) @ W.T + bias).relu()).square()).mean()
        for part, gradient in zip((W, bias), torch.autograd.grad(loss, (W, bias)), strict=True):
            part.grad = gradient
        optimizer.step()
    with torch.no_grad():
        x = _drawn(MEASURED, features, chance, draw)
        lost = [(weight * (x - said).square()).mean().item() for said in (((x @ W) @ W.T + bias).relu(), x.mean(0))]
    return SuperpositionToy(
        Superposition(W.detach(), bias.detach(), weight, chance, *lost)  # pyright: ignore[reportArgumentType]
    )


def _drawn(n: int, features: int, probability: float, draw: torch.Generator) -> torch.Tensor:
    there = torch.rand(n, features, generator=draw) < probability
    return there * torch.rand(n, features, generator=draw)


def _importance(given: Any, features: int) -> np.ndarray:
    """float32 `[feature]`."""
    if is_number(given):
        falls = number("importance", given)
        found = falls ** np.arange(features) if falls < 1 else np.full(features, falls)
    else:
        found = np.asarray(given, dtype=float)
    if found.shape != (features,) or not (np.isfinite(found) & (found >= 0)).all() or not found.any():
        raise DataError(f"importance={given!r} of {features} features.", "Give a positive number, or one for each.")
    return found.astype(np.float32)
