"""How a model expected a prompt: the probability of each token given those before, and the likeliest next ones.

Also two prompts compared token by token, and text that the model wrote itself. Knows nothing of models or the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import pandas as pd

from mi_widgets.data.arrays import as_float32, read_only
from mi_widgets.data.comparison import Comparison
from mi_widgets.data.integers import integer, number, several, truth, word
from mi_widgets.data.interventions import Change
from mi_widgets.data.record import Record, count_from_0, floats, record, whole_numbers
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError

#: Nats in one bit.
BIT = math.log(2)


@record
class NextTokens(Record):
    """What a model expected at each position of one prompt, and how far what came was expected.

    `log_prob`, `surprisal` and `rank` of a position are of the token that stands there, given those before it;
    `entropy` and the candidates of a position are of the distribution over the token after it. Arrays are read-only,
    and the record's own. Where the model gave no number (NaN), ranks are -1.

    Attributes:
        tokens: the prompt, one entry per position.
        log_prob: float32 `[position]`, nats; NaN at the first position, which has nothing before it.
        rank: int32 `[position]`: how many tokens had a strictly larger logit (0 is the likeliest); -1 at the first.
        entropy: float32 `[position]`, nats.
        top_ids: int32 `[position, k]`, the likeliest next tokens, most likely first.
        top_probs: float32 `[position, k]`, their probabilities (softmax over the whole vocabulary).
        names: display string of every id in `top_ids` and in the prompt.
        max_error: the self-check: largest difference between the probability of a token that came and the one it
            has among the candidates of the position before (of the 50 likeliest where a model was run); None where
            none was among them.
        d_vocab: size of the vocabulary.
        not_finite: "" where every number is finite; else where in the model that ended. Then `log_prob`, `entropy` and
            `top_probs` are NaN and `rank` and `top_ids` -1 where there is no number, and there are no totals.
        model: the model's name, or "".
        interventions: made in the run; () for the untouched one.
    """

    tokens: Tokens
    log_prob: Annotated[np.ndarray, floats("position")]
    rank: Annotated[np.ndarray, whole_numbers("position")]
    entropy: Annotated[np.ndarray, floats("position")]
    top_ids: Annotated[np.ndarray, whole_numbers("position", "k")]
    top_probs: Annotated[np.ndarray, floats("position", "k")]
    names: dict[int, str]
    max_error: float | None = None
    d_vocab: Annotated[int, count_from_0] = 0
    model: str = ""
    not_finite: str = ""
    interventions: tuple[Change, ...] = ()

    def _sizes(self) -> dict[str, int]:
        return {"position": len(self.tokens)}

    @property
    def top_k(self) -> int:
        """Candidates kept for each position."""
        return self.top_ids.shape[1]

    @property
    def surprisal(self) -> np.ndarray:
        """float32 `[position]`, bits: −log₂ p of the token given those before (Hale 2001, Levy 2008); NaN at the
        first position."""
        return -self.log_prob / np.float32(BIT)

    def scored(self, special: bool = True) -> np.ndarray:
        """bool `[position]`: the positions that totals and means are over.

        The first position never counts: nothing stands before it. Special tokens after it (BOS, EOS, the marks of a
        chat template) count unless `special` is False.
        """
        counted = ~np.isnan(self.log_prob)
        return counted if truth("special", special) else counted & ~np.array(self.tokens.special, bool)

    def total_log_prob(self, special: bool = True) -> float:
        """Sum of the tokens' log-probabilities over the `scored` positions, nats: log p(prompt | its first token); NaN
        where numbers are not finite."""
        if self.not_finite:
            return math.nan
        return float(self.log_prob[self.scored(special)].sum(dtype=np.float64))

    def total_surprisal(self, special: bool = True) -> float:
        """The same in bits and positive: the surprisal of the whole prompt."""
        return -self.total_log_prob(special) / BIT

    def mean_surprisal(self, special: bool = True) -> float:
        """Bits for each `scored` token; NaN where there is none."""
        count = int(self.scored(special).sum())
        return self.total_surprisal(special) / count if count else math.nan

    def perplexity(self, special: bool = True) -> float:
        """exp of the mean negative log-probability over the `scored` tokens; NaN where there is none."""
        return float(np.exp(self.mean_surprisal(special) * BIT))

    def position(self, position: int) -> int:
        """`position` counted from the start; negative counts from the end.

        Raises:
            DataError: the prompt has no such position.
        """
        count, position = len(self.tokens), integer("position", position)
        if not -count <= position < count:
            raise DataError(f"position {position} does not exist.", f"The prompt has positions 0 to {count - 1}.")
        return position % count

    def candidates(self, position: int = -1) -> pd.DataFrame:
        """The likeliest tokens after `position`, most likely first: id, token, probability."""
        row = self.position(position)
        ids = self.top_ids[row].tolist()
        return pd.DataFrame(
            {
                "id": ids,
                "token": [self.names.get(token, str(token)) for token in ids],
                "probability": self.top_probs[row],
            }
        )

    def to_pandas(self, candidates: bool = False) -> pd.DataFrame:
        """Long form: one row per position, or with `candidates` one row per position and candidate.

        Columns: position, token, id, log_prob (nats), surprisal (bits), probability, rank, entropy (nats); with
        `candidates` position, token, place (0 is the likeliest), candidate, candidate_id, probability.
        """
        count = len(self.tokens)
        if truth("candidates", candidates):
            ids = self.top_ids.ravel().tolist()
            return pd.DataFrame(
                {
                    "position": np.repeat(np.arange(count), self.top_k),
                    "token": np.repeat(np.array(self.tokens.strings, dtype=object), self.top_k),
                    "place": np.tile(np.arange(self.top_k), count),
                    "candidate": [self.names.get(token, str(token)) for token in ids],
                    "candidate_id": ids,
                    "probability": self.top_probs.ravel(),
                }
            )
        return pd.DataFrame(
            {
                "position": np.arange(count),
                "token": list(self.tokens.strings),
                "id": self.tokens.ids,
                "log_prob": self.log_prob,
                "surprisal": self.surprisal,
                "probability": np.exp(self.log_prob),
                "rank": self.rank,
                "entropy": self.entropy,
            }
        )


@record
class NextTokensComparison(Comparison):
    """Two prompts' surprisal on aligned tokens, e.g. the two sentences of a minimal pair (Warstadt et al. 2020).

    Attributes:
        a: the first prompt.
        b: the second.
    """

    a: NextTokens
    b: NextTokens

    WITHIN = "_"

    def column(self, side: str) -> np.ndarray:
        """float32 `[column]`, bits: the surprisal of side `"A"` or `"B"` on the aligned columns, NaN where that side
        has no token."""
        values, pick = (self.a.surprisal, 0) if word("side", side, "AB") == "A" else (self.b.surprisal, 1)
        places = [pair[pick] for pair in self.alignment.pairs]
        return np.array([np.nan if place is None else values[place] for place in places], np.float32)

    @cached_property
    def difference(self) -> np.ndarray:
        """float32 `[column]`, bits, read-only: surprisal A − B; negative where A's token was the more expected, NaN
        where only one side has a scored token."""
        return read_only(self.column("A") - self.column("B"))

    def total_difference(self, special: bool = True) -> float:
        """Bits: total surprisal of A − that of B, over every scored token of each, aligned or not. Negative where the
        model finds A the likelier."""
        return self.a.total_surprisal(special) - self.b.total_surprisal(special)

    def to_pandas(self) -> pd.DataFrame:
        """One row per aligned column: column, position_a, position_b (-1 for none), token_a, token_b, surprisal_a,
        surprisal_b, difference (bits)."""
        pairs = self.alignment.pairs

        def side(pick: int, tokens: Tokens) -> tuple[list[int], list[str | None]]:
            places = [pair[pick] for pair in pairs]
            return (
                [-1 if place is None else place for place in places],
                [None if place is None else tokens.strings[place] for place in places],
            )

        (position_a, token_a), (position_b, token_b) = side(0, self.a.tokens), side(1, self.b.tokens)
        return pd.DataFrame(
            {
                "column": np.arange(len(pairs)),
                "position_a": position_a,
                "position_b": position_b,
                "token_a": token_a,
                "token_b": token_b,
                "surprisal_a": self.column("A"),
                "surprisal_b": self.column("B"),
                "difference": self.difference,
            }
        )


@record
class Continuation(Record):
    """Tokens that the model wrote after a prompt.

    Attributes:
        prompt: what stood before, as run.
        ids: int64 `[token]`, the tokens chosen, in order.
        strings: display string of each.
        log_probs: float32 `[token]`, nats: of each under the model itself, given all before it (temperature 1, the
            whole vocabulary), whatever it was sampled with.
        text: the tokens as text; None without a tokenizer.
        temperature: it was sampled with; 0 is greedy.
        top_p: mass of the nucleus.
        seed: of the draws.
        ended: the last token is an end-of-text token, at which the model was stopped.
        model: the model's name, or "".
        interventions: made in the run; () for the untouched one.
    """

    prompt: Tokens
    ids: Annotated[np.ndarray, whole_numbers("token", dtype=np.int64)]
    strings: tuple[str, ...]
    log_probs: Annotated[np.ndarray, floats("token")]
    text: str | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    ended: bool = False
    model: str = ""
    interventions: tuple[Change, ...] = ()

    def _sizes(self) -> dict[str, int]:
        return {"token": len(self.strings)}

    def _check(self) -> None:
        number("temperature", self.temperature)
        number("top_p", self.top_p)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def total_log_prob(self) -> float:
        """Nats: log-probability of the whole continuation given the prompt, under the model itself."""
        return float(self.log_probs.sum(dtype=np.float64))

    def to_pandas(self) -> pd.DataFrame:
        """One row per token: position in the longer prompt, token, id, log_prob (nats), probability."""
        return pd.DataFrame(
            {
                "position": np.arange(len(self)) + len(self.prompt),
                "token": list(self.strings),
                "id": self.ids,
                "log_prob": self.log_probs,
                "probability": np.exp(self.log_probs),
            }
        )


def next_tokens_from_logits(
    logits: Any,
    tokens: Tokens | Iterable[Any],
    *,
    vocabulary: Sequence[str] | None = None,
    top_k: int = 10,
    model: str = "",
) -> NextTokens:
    """What a model expected, from logits the user already has (numpy, torch or nested lists), without a model.

    Args:
        logits: `[position, d_vocab]`, or `[1, position, d_vocab]`; as the model gives them.
        tokens: one id per position as run, or a `Tokens` record with ids.
        vocabulary: display string of each id, in order; ids are shown as numbers if None.
        top_k: candidates kept for each position.
        model: a name for the caption.

    Raises:
        DataError: a wrong shape, tokens without ids, an id outside the vocabulary, or logits that are not numbers.
    """
    array = as_float32(logits)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"logits have shape {list(array.shape)}; they must be [position, d_vocab].")
    count, d_vocab = array.shape
    vocabulary = None if vocabulary is None else several("vocabulary", vocabulary)
    if vocabulary is not None and len(vocabulary) != d_vocab:
        raise DataError(f"the vocabulary has {len(vocabulary)} entries, but the d_vocab axis {d_vocab}.")
    record = Tokens.of(tokens, count)  # type: ignore[arg-type]
    if record.ids.min() < 0 or record.ids.max() >= d_vocab:
        raise DataError(
            "the tokens have no ids, or ids outside the vocabulary.", f"Give one id from 0 to {d_vocab - 1} each."
        )
    if vocabulary is not None and record.strings == tuple(str(token) for token in record.ids.tolist()):
        record = Tokens(record.ids, tuple(str(vocabulary[token]) for token in record.ids.tolist()))
    if not np.isfinite(array.max(-1)).all():
        raise DataError("logits hold values that are not numbers, or infinite ones.")
    if integer("top_k", top_k) < 1:
        raise DataError(f"top_k={top_k!r}.", "Keep at least one candidate.")
    kept = min(integer("top_k", top_k), d_vocab)
    log_prob, rank = np.full(count, np.nan, np.float32), np.full(count, -1, np.int32)
    entropy = np.empty(count, np.float32)
    top_ids, top_probs = np.empty((count, kept), np.int32), np.empty((count, kept), np.float32)
    for position in range(count):  # one row at a time: no second array of the logits' size
        row = array[position].astype(np.float64)
        log_probs = row - row.max()
        log_probs -= np.log(np.exp(log_probs).sum())
        probs = np.exp(log_probs)
        entropy[position] = -(probs * np.where(probs > 0, log_probs, 0)).sum()
        top = np.argsort(-row, kind="stable")[:kept]
        top_ids[position], top_probs[position] = top, probs[top]
        if position + 1 < count:
            came = int(record.ids[position + 1])
            log_prob[position + 1], rank[position + 1] = log_probs[came], (row > row[came]).sum()
    used = {*top_ids.ravel().tolist(), *record.ids.tolist()}
    names = {token: str(token) if vocabulary is None else str(vocabulary[token]) for token in sorted(used)}
    return NextTokens(
        record, log_prob, rank, entropy, top_ids, top_probs, names,
        agreement(record.ids, log_prob, top_ids, top_probs), d_vocab, model,
    )  # fmt: skip


def agreement(ids: np.ndarray, log_prob: np.ndarray, top_ids: np.ndarray, top_probs: np.ndarray) -> float | None:
    """The self-check of `NextTokens`: largest |p of a token that came − its p among the candidates before it|.

    The two numbers are taken from the logits by different ways, so an axis that is off by one shows here.
    """
    same = top_ids[:-1] == ids[1:, None]
    position, place = np.nonzero(same)
    if not len(position):
        return None
    return float(np.abs(np.exp(log_prob[position + 1].astype(np.float64)) - top_probs[position, place]).max())
