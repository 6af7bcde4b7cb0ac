"""What the features of a sparse coder are in one prompt, and what the coder leaves out: sparse activations by position,
and losses with the coder in place.

Knows nothing of models, torch or the page.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated

import numpy as np
import pandas as pd

from mi_widgets.data.arrays import read_only
from mi_widgets.data.integers import integer, place
from mi_widgets.data.interventions import Change
from mi_widgets.data.record import Record, count_from_0, floats, record, whole_numbers
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError


@record
class FeatureActivations(Record):
    """The features of one coder in one prompt.

    Entries are parallel, one for each feature that is active at a position (activation not 0), in the order of
    positions and then of features. Arrays are read-only, and the record's own.

    Attributes:
        tokens: the prompt, one entry per position.
        coder: its name.
        hook_in: what it encodes, in full.
        hook_out: what it decodes; the same of an autoencoder.
        d_sae: its features.
        entry_positions: int32 `[entry]`.
        entry_features: int32 `[entry]`.
        activation: float32 `[entry]`, in the feature's own units.
        squared_error: float32 `[position]`: squared length of what the coder leaves out of what stands there; NaN at
            positions where it does not act, for its metadata leaves them out (position 0, where it was trained
            without): nothing is encoded there, and splicing leaves them as they are.
        squared_deviation: float32 `[position]`: squared distance of what stands there from its mean over the positions
            of this prompt where the coder acts; NaN at the others.
        losses: float32 `[run, position]`, nats: −log p of the token that stands at a position given those before it, in
            each of `RUNS`; NaN at the first position, and everywhere where no loss was asked for.
        answer: token id whose logit counts positive; None where no answer was given.
        answer_string: its display string, or None.
        foil: token id whose logit is taken away, or None.
        foil_string: its display string, or None.
        position: whose next token the answer is; None without an answer.
        contribution: float32 `[entry]`, logits: what the feature adds to answer − foil by the direct way through the
            final norm, as `LogitAttribution` by feature has it; 0 at all other positions, whose features reach the
            answer only through later layers. None without an answer, or where `why_no_contribution` says why.
        estimate: float32 `[entry]`, logits: activation × gradient of answer − foil by the activation, all ways
            together: a first-order estimate of what the answer loses without the feature. None without an answer.
        why_no_contribution: why there is an answer and no `contribution`, else "".
        model: the model's name, or "".
        interventions: made in the run; () for the untouched one.
    """

    tokens: Tokens
    coder: str
    hook_in: str
    hook_out: str
    d_sae: Annotated[int, count_from_0]
    entry_positions: Annotated[np.ndarray, whole_numbers("entry")]
    entry_features: Annotated[np.ndarray, whole_numbers("entry")]
    activation: Annotated[np.ndarray, floats("entry")]
    squared_error: Annotated[np.ndarray, floats("position")]
    squared_deviation: Annotated[np.ndarray, floats("position")]
    losses: Annotated[np.ndarray, floats("run", "position")]
    answer: int | None = None
    answer_string: str | None = None
    foil: int | None = None
    foil_string: str | None = None
    position: int | None = None
    contribution: Annotated[np.ndarray, floats("entry")] | None = None
    estimate: Annotated[np.ndarray, floats("entry")] | None = None
    why_no_contribution: str = ""
    model: str = ""
    interventions: tuple[Change, ...] = ()

    #: The runs of `losses`: the model's own; the coder's output in place of what it stands for; that and its error; and
    #: zero there.
    RUNS = ("clean", "spliced", "spliced with error", "zeroed")

    def _sizes(self) -> dict[str, int]:
        return {"position": len(self.tokens), "run": len(self.RUNS)}

    def _check(self) -> None:
        count = len(self.tokens)
        for name, numbers, below in (
            ("entry_positions", self.entry_positions, count),
            ("entry_features", self.entry_features, self.d_sae),
        ):
            if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < below:
                raise DataError(f"{name} has numbers outside of 0 to {below - 1}.")
        asked = self.answer is not None
        if (self.estimate is not None) != asked or (self.contribution is not None) != (
            asked and not self.why_no_contribution
        ):
            raise DataError("with an answer there are estimates, and contributions or why there are none.")

    @cached_property
    def values(self) -> np.ndarray:
        """float32 `[position, feature]`, zero where a feature is not active. As large as its shape says: of a wide
        coder use the entries, or `at`."""
        whole = np.zeros((len(self.tokens), self.d_sae), np.float32)
        whole[self.entry_positions, self.entry_features] = self.activation
        return read_only(whole)

    @cached_property
    def counted(self) -> np.ndarray:
        """bool `[position]`: the positions that the coder acts at; means are over these."""
        return read_only(~np.isnan(self.squared_error))

    @property
    def left_out(self) -> list[int]:
        """Positions that the coder's metadata leaves out."""
        return np.flatnonzero(~self.counted).tolist()

    @cached_property
    def l0(self) -> np.ndarray:
        """float32 `[position]`: how many features are active; NaN where `left_out`."""
        active = np.bincount(self.entry_positions, minlength=len(self.tokens)).astype(np.float32)
        return read_only(np.where(self.counted, active, np.nan).astype(np.float32))

    @property
    def mean_l0(self) -> float:
        """Mean of `l0`; NaN where nothing counts."""
        return float(self.l0[self.counted].mean()) if self.counted.any() else math.nan

    @cached_property
    def variance_unexplained(self) -> np.ndarray:
        """float32 `[position]`: `squared_error` / `squared_deviation`, 0 where the coder says all; NaN where
        `left_out`, or in a prompt of one position, which has no variance."""
        known = np.where(self.squared_deviation > 0, self.squared_deviation, np.nan)
        return read_only((self.squared_error / known).astype(np.float32))

    @property
    def fraction_unexplained(self) -> float:
        """Of the variance over the whole prompt: Σ `squared_error` / Σ `squared_deviation`."""
        whole = float(np.nansum(self.squared_deviation, dtype=np.float64))
        return float(np.nansum(self.squared_error, dtype=np.float64)) / whole if whole else math.nan

    @cached_property
    def scored(self) -> np.ndarray:
        """bool `[position]`: the tokens that losses are means over: all that were predicted from a position where the
        coder acts."""
        return read_only(np.concatenate([[False], self.counted[:-1]]))

    @property
    def loss(self) -> float:
        """Nats per token, the model's own, over `scored`; NaN where none was asked for or nothing counts."""
        return self._loss(0)

    @property
    def loss_spliced(self) -> float:
        """The same with the coder's output in place of what it stands for."""
        return self._loss(1)

    @property
    def loss_spliced_with_error(self) -> float:
        """The same with what the coder leaves out put in again: equals `loss` up to rounding."""
        return self._loss(2)

    @property
    def loss_zeroed(self) -> float:
        """The same with zero in that place."""
        return self._loss(3)

    @property
    def loss_recovered(self) -> float:
        """(zeroed − spliced) / (zeroed − clean): 1 where splicing costs nothing, 0 where it is as bad as zero."""
        apart = self.loss_zeroed - self.loss
        return (self.loss_zeroed - self.loss_spliced) / apart if apart else math.nan

    def _loss(self, run: int) -> float:
        return float(self.losses[run, self.scored].mean(dtype=np.float64)) if self.scored.any() else math.nan

    def at(self, position: int) -> pd.DataFrame:
        """The features active at one position, largest activation first: feature, activation, and contribution and
        estimate (logits) where they are known.

        Raises:
            DataError: the prompt has no such position; negative ones count from the end.
        """
        count, position = len(self.tokens), integer("position", position)
        if not -count <= position < count:
            raise DataError(f"position {position} does not exist.", f"The prompt has positions 0 to {count - 1}.")
        table = self.to_pandas()
        chosen = table[table["position"] == position % count].drop(columns=["position", "token"])
        largest = np.argsort(-np.abs(np.array(chosen["activation"])), kind="stable")
        return chosen.iloc[largest].reset_index(drop=True)

    def of(self, feature: int) -> np.ndarray:
        """float32 `[position]`: the activations of one feature.

        Raises:
            DataError: there is no such feature.
        """
        chosen = self.entry_features == place("feature", feature, self.d_sae)
        found = np.zeros(len(self.tokens), np.float32)
        found[self.entry_positions[chosen]] = self.activation[chosen]
        return found

    def to_pandas(self) -> pd.DataFrame:
        """Long form, one row per active feature and position: position, token, feature, activation; and contribution
        and estimate (logits) where they are known. `attrs` holds the losses and what is unexplained."""
        table = pd.DataFrame(
            {
                "position": self.entry_positions,
                "token": np.array(self.tokens.strings, object)[self.entry_positions],
                "feature": self.entry_features,
                "activation": self.activation,
            }
        )
        for name in ("contribution", "estimate"):
            if (values := getattr(self, name)) is not None:
                table[name] = values
        table.attrs = {
            "l0": self.mean_l0,
            "fraction_unexplained": self.fraction_unexplained,
            "loss": self.loss,
            "loss_spliced": self.loss_spliced,
            "loss_spliced_with_error": self.loss_spliced_with_error,
            "loss_zeroed": self.loss_zeroed,
        }
        return table

    def positions_to_pandas(self) -> pd.DataFrame:
        """One row per position: position, token, l0, variance_unexplained, and the losses (nats) of each run."""
        table = pd.DataFrame(
            {
                "position": np.arange(len(self.tokens)),
                "token": list(self.tokens.strings),
                "l0": self.l0,
                "variance_unexplained": self.variance_unexplained,
            }
        )
        for run, name in enumerate(self.RUNS):
            table[f"loss {name}".replace("loss clean", "loss")] = self.losses[run]
        return table
