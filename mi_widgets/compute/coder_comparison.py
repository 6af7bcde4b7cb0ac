"""Several sparse coders on the same texts: one untouched pass of each piece, and one with each coder spliced in.

Coders are taken by what they do (`encode`, `decode`, hooks): this file knows no format of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.coder_reading import encoded
from mi_widgets.compute.corpus import Corpus
from mi_widgets.compute.forward import Write, forward
from mi_widgets.compute.output import SURPRISAL_SITES, surprisals
from mi_widgets.compute.pieces import pieces_of
from mi_widgets.compute.recoding import replaced
from mi_widgets.compute.step import Step, Steps, run_at_once, steps_of
from mi_widgets.data.coder_comparison import CoderComparison
from mi_widgets.data.integers import integer, number
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import Prompt, describe


@run_at_once("coders")
def compare_coders(
    model: Any,
    coders: Sequence[Any],
    texts: Iterable[Prompt],
    *,
    length: int = 512,
    max_tokens: int = 50_000,
    dense_above: float = 0.1,
    prepend_bos: bool | None = None,
    progress: bool = False,  # noqa: ARG001
) -> Steps[CoderComparison]:
    """L0 against what is left unexplained and what the model loses, for several coders on the same texts.

    Each coder is held against what stands at its own output. Loss is the mean over predicted tokens of −log p in nats:
    of the model untouched, with the coder's reconstruction in the place of its output (without the error), and with
    zeros there; where a coder leaves position 0 out, that position stays as it is and predicts nothing that is counted.

    As steps (`compare_coders_steps`): one for each piece and coder.

    Args:
        model: a TransformerBridge; it is not changed.
        coders: `sae.SparseCoder`s, of one hook or of several.
        texts: text, token ids or chat messages, or a Parquet file or `datasets` object; long ones are cut into pieces.
        length: tokens of a piece at most.
        max_tokens: texts are read until so many tokens have been.
        dense_above: a feature that fires at more than this share of the positions is counted as dense.
        prepend_bos: None means what `model.to_tokens(text)` does.
        progress: show a bar.

    Raises:
        DataError: no coders, one that does not fit the model, or no text with a token to predict.
        ModelError: activations or losses that are not finite.
    """
    longest, most = integer("length", length), integer("max_tokens", max_tokens)
    dense = number("dense_above", dense_above)
    if longest < 2 or most < 1 or not 0 < dense <= 1:
        raise DataError(
            f"length={longest}, max_tokens={most}, dense_above={dense}.", "Give a length from 2, tokens, and a share."
        )
    several: list[Any] = [coders] if hasattr(coders, "encode") else list(coders)
    if not several:
        raise DataError("there are no coders to compare.", "Give one or more: [sae.load(folder), …].")
    for coder in several:
        coder.fits(model)
    tallies = [Tally(coder) for coder in several]
    read = tokens = 0
    for piece in pieces_of(model, _counted(Corpus(texts), counter := [0]), longest, prepend_bos):
        if read and tokens + len(piece) > most:
            counter[0] -= 1
            break
        tokens, read = tokens + len(piece), read + 1
        if len(piece) < 2:
            continue
        hooks = dict.fromkeys(hook for tally in tallies for hook in tally.hooks)
        clean = forward(model, piece, (*hooks, *SURPRISAL_SITES))
        zeroed: dict[tuple[str, bool], np.ndarray] = {}
        for tally in tallies:
            yield Step(min(tokens - len(piece), most), most)
            tally.add(model, piece, clean.arrays, zeroed)
    if not any(tally.predicted for tally in tallies):
        raise DataError("the texts hold no token to predict.", "Give texts of several tokens.")
    found = [tally.found(dense) for tally in tallies]
    return CoderComparison(
        names=_distinct([coder.name for coder in several]),
        architectures=tuple(coder.architecture for coder in several),
        hooks_in=tuple(coder.hook_in for coder in several),
        hooks_out=tuple(coder.hook_out for coder in several),
        d_sae=np.array([coder.d_sae for coder in several]),
        **{name: np.array([one[name] for one in found]) for name in found[0]},
        n_texts=counter[0],
        n_tokens=tokens,
        dense_above=dense,
        model=describe(model).label,
    )


compare_coders_steps = steps_of(compare_coders)


@dataclass
class Tally:
    """One coder's sums over the texts."""

    coder: Any
    positions: int = 0
    predicted: int = 0
    active: float = 0.0
    missed: float = 0.0
    squares: float = 0.0
    losses: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("clean", "spliced", "zeroed"), 0.0))

    def __post_init__(self) -> None:
        self.fired = np.zeros(self.coder.d_sae, np.int64)
        self.total: Any = 0.0

    @property
    def hooks(self) -> tuple[str, str]:
        """What it reads and what it writes, in full."""
        return self.coder.hook_in, self.coder.hook_out

    def add(
        self,
        model: Any,
        piece: np.ndarray,
        clean: dict[str, np.ndarray],
        zeroed: dict[tuple[str, bool], np.ndarray],
    ) -> None:
        """One piece of text.

        Args:
            model: a TransformerBridge.
            piece: int64 `[position]`.
            clean: of the untouched pass, by site: what stands at the hooks, and `SURPRISAL_SITES`.
            zeroed: −log p of each next token with zeros at a hook, with or without position 0; what is missing is put
                there.
        """
        coder, first = self.coder, int(self.coder.skips_first)
        x, stood = (clean[hook] for hook in self.hooks)
        if not (np.isfinite(x).all() and np.isfinite(stood).all()):
            raise ModelError(f"{coder.hook_in} or {coder.hook_out} holds numbers that are not finite.", "")
        made = encoded(coder, x)
        y = stood.reshape(len(stood), -1)[made.acts].astype(np.float64)
        self.positions += len(y)
        self.fired += np.bincount(made.features, minlength=coder.d_sae)
        self.active += len(made.features)
        self.missed += float(np.square(y - made.decoded[made.acts]).sum())
        self.squares += float(np.square(y).sum())
        self.total = self.total + y.sum(0)
        key = coder.hook_out, coder.skips_first
        if key not in zeroed:
            zeroed[key] = _replaced(model, piece, coder, 0.0)
        spliced = _replaced(model, piece, coder, torch.from_numpy(made.decoded).reshape(stood.shape))
        for name, each in (("clean", surprisals(clean)), ("spliced", spliced), ("zeroed", zeroed[key])):
            self.losses[name] += float(each[first:].sum(dtype=np.float64))
        self.predicted += len(piece) - 1 - first

    def found(self, dense_above: float) -> dict[str, float]:
        """By the record's names."""
        spread = self.squares - float(np.square(self.total).sum()) / max(1, self.positions)
        losses = {f"loss_{name}": total / max(1, self.predicted) for name, total in self.losses.items()}
        return {
            "l0": self.active / max(1, self.positions),
            "variance_unexplained": self.missed / spread if spread > 0 else float("nan"),
            **losses,
            "dead": int((self.fired == 0).sum()),
            "dense": int((self.fired > dense_above * self.positions).sum()),
            "positions": self.positions,
        }


def _replaced(model: Any, piece: np.ndarray, coder: Any, made: torch.Tensor | float) -> np.ndarray:
    """`surprisals` with `made` in the place of the coder's output."""
    writes = [Write(coder.hook_out, partial(replaced, coder, made))]
    found = surprisals(forward(model, piece, SURPRISAL_SITES, writes=writes).arrays)
    if not np.isfinite(found).all():
        raise ModelError(f"with {coder.hook_out} replaced the model gives no probabilities.", "Look for overflow.")
    return found


def _counted(texts: Iterable[Prompt], counter: list[int]) -> Iterable[Prompt]:
    """`texts`, while `counter` says how many have been begun."""
    for text in texts:
        counter[0] += 1
        yield text


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names that are all different: equal ones are numbered."""
    return tuple(
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    )
