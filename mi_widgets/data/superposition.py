"""Features in superposition: the directions that a toy model keeps them in, known, and those that a coder found.

Knows nothing of models, torch or the page.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import numpy as np
import pandas as pd

from mi_widgets.data.arrays import read_only
from mi_widgets.data.record import Record, floats, record
from mi_widgets.errors import DataError


@record
class Superposition(Record):
    """More features than dimensions (Elhage et al. 2022), and what a sparse coder makes of them. Arrays are read-only.

    Attributes:
        directions: float32 `[feature, dimension]`: the toy model's W, each feature's direction; a feature that it does
            not keep is short.
        bias: float32 `[feature]`: of its output.
        importance: float32 `[feature]`: weight of each in its loss.
        probability: of each feature to be there.
        loss: of the toy model on new samples, weighted mean square; that of doing nothing is `loss_of_nothing`.
        loss_of_nothing: of the best constant output.
        decoder: float32 `[latent, dimension]`: rows of a coder's decoder, or None.
        active: float32 `[latent]`: share of samples in which each is active, or None.
        coder: its name, or "".
        kept_above: features at least so long are kept; a share of the longest.
    """

    directions: Annotated[np.ndarray, floats("feature", "dimension")]
    bias: Annotated[np.ndarray, floats("feature")]
    importance: Annotated[np.ndarray, floats("feature")]
    probability: float
    loss: float
    loss_of_nothing: float
    decoder: Annotated[np.ndarray, floats("latent", "dimension")] | None = None
    active: Annotated[np.ndarray, floats("latent")] | None = None
    coder: str = ""
    kept_above: float = 0.5

    LATER = ("decoder", "active")

    @cached_property
    def lengths(self) -> np.ndarray:
        """float32 `[feature]`: of the directions."""
        return read_only(np.linalg.norm(self.directions, axis=1))

    @cached_property
    def kept(self) -> np.ndarray:
        """bool `[feature]`: those that the toy model keeps; there is nothing to find of the others."""
        return read_only(self.lengths >= self.kept_above * self.lengths.max(initial=0.0))

    @cached_property
    def interference(self) -> np.ndarray:
        """float32 `[feature, feature]`: dot products of the directions, WᵀW of the paper: 0 off the diagonal would be
        no superposition."""
        return read_only(self.directions @ self.directions.T)

    @cached_property
    def cosines(self) -> np.ndarray:
        """float32 `[feature, latent]`: of the planted directions with the coder's.

        Raises:
            DataError: there is no coder.
        """
        if self.decoder is None:
            raise DataError("there is no coder beside the toy model.", "Train one: toy.found(toy.coder()).")
        return read_only(_unit(self.directions) @ _unit(self.decoder).T)

    @cached_property
    def best(self) -> np.ndarray:
        """int32 `[feature]`: the latent nearest to each feature."""
        return read_only(self.cosines.argmax(1).astype(np.int32))

    @property
    def match(self) -> float:
        """The mean, over features that are kept, of the largest cosine with a latent: 1 where all were found."""
        return float(self.cosines.max(1)[self.kept].mean(dtype=np.float64))

    def to_pandas(self) -> pd.DataFrame:
        """One row per feature: `feature`, `importance`, `length`, `kept`, and beside a coder `latent` and `cosine`."""
        columns = {"feature": np.arange(len(self.directions)), "importance": self.importance}
        columns |= {"length": self.lengths, "kept": self.kept}
        if self.decoder is not None:
            columns |= {"latent": self.best, "cosine": self.cosines.max(1)}
        return pd.DataFrame(columns)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
