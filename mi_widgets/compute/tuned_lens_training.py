"""Trains a tuned lens on the user's own texts: each layer's translator learns to give the model's own predictions.

One forward pass for each piece of text, through `compute.forward`; then the translators alone learn, on activations
kept in memory, until held-out text stops improving. The model is read and never written: its gradients stay as they
were. Knows nothing of pictures.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.attention import check_layers
from mi_widgets.compute.corpus import Corpus
from mi_widgets.compute.distributions import rows_at_once
from mi_widgets.compute.forward import forward
from mi_widgets.compute.pieces import pieces_of
from mi_widgets.compute.readout import Readout
from mi_widgets.compute.signature import signature
from mi_widgets.compute.step import Step, Steps, run_at_once, steps_of
from mi_widgets.compute.tuned_lens import TunedLens
from mi_widgets.compute.undisturbed import learning, without_gradients
from mi_widgets.data.integers import integer, number
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import Prompt, describe

SITE = "hook_resid_post"
#: Activations kept in memory at most; more text is left out.
DATA_BYTES = 1_500_000_000
#: Positions of one step.
BATCH = 256
#: Each time held-out text does not improve, the learning rate falls to this share.
SLOWER = 0.4


@run_at_once("tuned lens")
def train_tuned_lens(
    model: Any,
    texts: Iterable[Prompt],
    *,
    layers: Iterable[int] | None = None,
    length: int = 256,
    max_tokens: int = 50_000,
    held_out: float = 0.1,
    epochs: int = 30,
    patience: int = 3,
    learning_rate: float = 1.0,
    seed: int = 0,
    prepend_bos: bool | None = None,
    progress: bool = False,  # noqa: ARG001
) -> Steps[TunedLens]:
    """A tuned lens for `model` (Belrose et al. 2023): translators `h + A·h + b` that minimise the mean over positions
    of KL(the model's output ‖ the lens's), each layer by itself.

    After every epoch each layer is measured on held-out text; its best translator is kept, the identity (the logit
    lens) among them, so that no layer gets worse than it was there. A layer that has not improved `patience` times is
    done. The same texts and seed give the same lens on the same machine.

    As steps (`tuned_lens_steps`): one for each piece of text, then one for each batch. After an epoch `partial` is
    the best held-out KL in nats by layer.

    Args:
        model: a TransformerBridge; it is not changed.
        texts: text, token ids or chat messages, as any iterable; long ones are cut into pieces.
        layers: only these; all but the last if None.
        length: tokens of a piece at most.
        max_tokens: pieces are drawn until they hold as many tokens (fewer where activations would take over 1.5 GB).
        held_out: share of the pieces that only measures.
        epochs: at most.
        patience: measurements without improvement after which a layer is done.
        learning_rate: relative to what suits the size of the activations; 1 is a good start.
        seed: of the draws.
        prepend_bos: None means what `model.to_tokens(text)` does.
        progress: show a bar.

    Returns:
        TunedLens; `.training` says what each layer gained.

    Raises:
        PromptError: text that cannot be tokenized.
        ModelError: a model without a readable final norm and unembedding, or whose output is not numbers.
        DataError: too little text, a layer that does not exist, or an option that trains nothing.
    """
    options = _Options.checked(length, max_tokens, held_out, epochs, patience, learning_rate, seed)
    return (yield from learning(_training(model, _listed(texts), layers, options, prepend_bos)))


def _listed(texts: Any) -> list[Prompt]:
    """The texts as a list; also those that can be read only once."""
    return list(Corpus(list(texts) if isinstance(texts, Iterator) else texts))


tuned_lens_steps = steps_of(train_tuned_lens)


@dataclass(frozen=True)
class _Options:
    """What `train_tuned_lens` takes beside model, texts and layers, as plain numbers."""

    length: int
    max_tokens: int
    held_out: float
    epochs: int
    patience: int
    learning_rate: float
    seed: int

    @classmethod
    def checked(
        cls, length: Any, max_tokens: Any, held_out: Any, epochs: Any, patience: Any, learning_rate: Any, seed: Any
    ) -> _Options:
        """The numbers, of whatever type they were given; DataError for one that cannot be trained with."""
        given = {"length": length, "max_tokens": max_tokens, "epochs": epochs, "patience": patience}
        counts = {name: integer(name, count) for name, count in given.items()}
        share, rate, first = number("held_out", held_out), number("learning_rate", learning_rate), integer("seed", seed)
        idle = [name for name, count in counts.items() if count < 1] + ["learning_rate"] * (rate <= 0)
        if idle:
            raise DataError(
                f"{idle[0]}={counts.get(idle[0], rate)} trains nothing.",
                "Give more, such as 1. A lens that changes nothing is TunedLens.untrained(model).",
            )
        if not 0 < share < 1:
            raise DataError(f"held_out={share} is no share.", "Give one between 0 and 1, such as 0.1.")
        if first < 0:
            raise DataError(f"seed={first} is negative.", "Give a whole number from 0.")
        return cls(held_out=share, learning_rate=rate, seed=first, **counts)


def _training(
    model: Any, texts: list[Prompt], layers: Iterable[int] | None, options: _Options, prepend_bos: bool | None
) -> Steps[TunedLens]:
    info, readout = describe(model), Readout(model)
    if any(weight.is_inference() for weight in model.parameters()):
        raise ModelError(
            "the model's weights were made under torch.inference_mode(): nothing can learn through them.",
            "Load the model outside of it.",
        )
    weights, epochs = signature(model), options.epochs
    last = info.n_layers - 1
    chosen = tuple(range(last)) if layers is None else check_layers(model, layers) or ()
    if not chosen or last in chosen:
        raise DataError(
            f"layers {list(chosen)} cannot be trained.", f"Choose from 0 to {last - 1}; the last is read as it is."
        )
    draw = np.random.default_rng(options.seed)
    most = min(options.max_tokens, DATA_BYTES // (4 * info.d_model * (len(chosen) + 1)))
    pieces = _pieces(model, texts, options.length, most, draw, prepend_bos)
    kept_back = min(max(1, round(options.held_out * len(pieces))), len(pieces) - 1)
    sizes = [len(piece) for piece in pieces]
    count, measured = sum(sizes), sum(sizes[:kept_back])
    vectors = {layer: np.empty((count, info.d_model), np.float32) for layer in (*sorted(chosen), last)}
    size = min(BATCH, rows_at_once(readout.d_vocab))
    batches = -(-(count - measured) // size)
    done, total = 0, len(pieces) + epochs * batches
    at = 0
    for piece in pieces:
        yield Step(done, total)
        arrays = forward(model, piece, (SITE,), vectors).arrays[SITE]
        for row, layer in enumerate(vectors):
            vectors[layer][at : at + len(piece)] = arrays[row]
        at, done = at + len(piece), done + 1
    learners = {
        layer: _Learner(vectors[layer][measured:], readout.device, options.learning_rate, options.patience)
        for layer in sorted(chosen)
    }
    corpus = _Corpus(readout, vectors, last, size)
    for layer, kl in corpus.measured(learners, measured).items():
        if not math.isfinite(kl):
            raise ModelError(
                f"on the held-out text the model, or its logit lens at layer {layer}, gives no numbers (KL {kl}).",
                "Look for overflow: half precision, or an edited weight.",
            )
        learners[layer].begin(kl)
    finished_epochs = 0
    while finished_epochs < epochs and any(learner.active for learner in learners.values()):
        for batch in corpus.shuffled(measured, count, draw):
            yield Step(done, total)
            corpus.learn(learners, batch)
            done += 1
        for layer, kl in corpus.measured(learners, measured).items():
            learners[layer].measure(kl)
        finished_epochs += 1
        yield Step(done, total, {layer: learner.best for layer, learner in learners.items()})
    training = {
        "texts": len(texts),
        "tokens": count - measured,
        "held_out_tokens": measured,
        "length": options.length,
        "epochs": finished_epochs,
        "seed": options.seed,
        "learning_rate": options.learning_rate,
        "layers": sorted(chosen),
        "kl_before": [learners[layer].before for layer in sorted(chosen)],
        "kl_after": [learners[layer].best for layer in sorted(chosen)],
    }
    if training["kl_after"] == training["kl_before"]:
        warnings.warn(
            "No layer came nearer to the model on the held-out text: this tuned lens reads as the logit lens does.",
            stacklevel=2,
        )
    translators = {layer: learner.translator() for layer, learner in learners.items()}
    return TunedLens(
        {layer: matrix for layer, (matrix, _) in translators.items()},
        {layer: bias for layer, (_, bias) in translators.items()},
        info.label,
        info.n_layers,
        readout.d_vocab,
        weights,
        training=training,
    )


def _pieces(
    model: Any, texts: list[Prompt], length: int, most: int, draw: np.random.Generator, prepend_bos: bool | None
) -> list[np.ndarray]:
    """Pieces of the texts in an order of their own, at most `most` tokens in all."""
    pieces = list(pieces_of(model, texts, length, prepend_bos))
    kept: list[np.ndarray] = []
    for place in draw.permutation(len(pieces)):
        if len(kept) >= 2 and sum(map(len, kept)) + len(pieces[place]) > most:
            break
        kept.append(pieces[place])
    if len(kept) < 2:
        raise DataError(
            f"{len(pieces)} piece{'' if len(pieces) == 1 else 's'} of text cannot be split into training and held-out "
            "text.",
            "Give more texts, or a smaller length.",
        )
    return kept


@dataclass(eq=False)
class _Corpus:
    """Activations `[position, d_model]` by layer, and the model's predictions from those of the `last`."""

    readout: Readout
    vectors: dict[int, np.ndarray]
    last: int
    size: int

    def shuffled(self, start: int, stop: int, draw: np.random.Generator) -> Iterator[np.ndarray]:
        """Positions from `start` to `stop` in batches, in an order of their own."""
        order = start + draw.permutation(stop - start)
        return (np.sort(order[at : at + self.size]) for at in range(0, len(order), self.size))

    def learn(self, learners: dict[int, _Learner], batch: np.ndarray) -> None:
        """One step of every layer that still learns."""
        log_p = self._final(batch)
        p = log_p.exp()
        for layer, learner in learners.items():
            if learner.active:
                with torch.enable_grad():
                    log_q = self._read(learner(self._at(layer, batch)))
                    loss = (p * (log_p - log_q)).sum(-1).mean()
                    learner.step(loss)

    @without_gradients
    def measured(self, learners: dict[int, _Learner], count: int) -> dict[int, float]:
        """Mean KL(final ‖ lens) in nats over the first `count` positions, by layer that still learns."""
        sums = {layer: 0.0 for layer, learner in learners.items() if learner.active}
        for start in range(0, count, self.size):
            batch = np.arange(start, min(start + self.size, count))
            log_p = self._final(batch)
            p = log_p.exp()
            for layer in sums:
                log_q = self._read(learners[layer](self._at(layer, batch)))
                sums[layer] += float((p * (log_p - log_q)).sum(dtype=torch.float64))
        return {layer: value / count for layer, value in sums.items()}

    def _at(self, layer: int, batch: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.vectors[layer][batch]).to(self.readout.device)

    def _read(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.readout.differentiable_logits(vectors).log_softmax(-1)

    @without_gradients
    def _final(self, batch: np.ndarray) -> torch.Tensor:
        return self._read(self._at(self.last, batch))


@dataclass(eq=False)
class _Learner:
    """One layer's translator while it learns.

    It learns in coordinates in which every dimension has mean 0 and size 1, since some dimensions of a residual stream
    are a hundred times larger than others and one step size would not suit them all.
    """

    vectors: np.ndarray
    device: torch.device
    learning_rate: float
    patience: int
    before: float = float("nan")
    best: float = float("nan")
    active: bool = True
    _misses: int = 0
    _parameters: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        d_model = self.vectors.shape[1]
        mean, spread = self.vectors.mean(0), self.vectors.std(0)
        self._mean = torch.from_numpy(mean).to(self.device)
        self._size = torch.from_numpy(np.maximum(spread, 1e-6 * float(spread.max() + 1e-9))).to(self.device)
        # Steps of one size for all outputs: that of a typical dimension, which outliers do not move.
        self._step = float(np.median(spread)) or 1.0
        matrix = torch.zeros(d_model, d_model, device=self.device)
        self._parameters = [part.requires_grad_() for part in (matrix, torch.zeros(d_model, device=self.device))]
        rates = (self.learning_rate * 0.3 / d_model, self.learning_rate * 0.03)
        self._optimizer = torch.optim.Adam(
            [{"params": [part], "lr": rate} for part, rate in zip(self._parameters, rates, strict=True)],
            betas=(0.9, 0.99),
        )
        self._kept = self._snapshot()

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        matrix, bias = self._parameters
        return vectors + self._step * (((vectors - self._mean) / self._size) @ matrix.T + bias)

    def step(self, loss: torch.Tensor) -> None:
        """Towards a smaller `loss`. Only the translator's own gradients are taken: the model's stay as they were."""
        for part, gradient in zip(self._parameters, torch.autograd.grad(loss, self._parameters), strict=True):
            part.grad = gradient
        self._optimizer.step()

    def begin(self, kl: float) -> None:
        """The logit lens's KL on held-out text."""
        self.before = self.best = kl

    def measure(self, kl: float) -> None:
        """Keep the translator if it is the best so far; else go back to the best and slow down, or be done."""
        if kl < self.best:
            self.best, self._kept, self._misses = kl, self._snapshot(), 0
            return
        self._misses += 1
        self.active = self._misses < self.patience
        for part, kept in zip(self._parameters, self._kept, strict=True):
            part.detach().copy_(kept)
        for group in self._optimizer.param_groups:
            group["lr"] *= SLOWER

    def _snapshot(self) -> list[torch.Tensor]:
        return [copy.deepcopy(part.detach()) for part in self._parameters]

    def translator(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The best A and b, in the residual stream's own coordinates, on the CPU."""
        matrix, bias = (part.double().cpu() for part in self._kept)
        mean, size = self._mean.double().cpu(), self._size.double().cpu()
        own = self._step * matrix / size
        return own.float(), (self._step * bias - own @ mean).float()
