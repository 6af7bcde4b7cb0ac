"""Several sparse coders on the same texts: how many features each has active, how much it explains, what it costs.

The trade-off: a coder with fewer active features explains less. Knows nothing of models, torch or the page.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd

from mi_widgets.data.arrays import read_only
from mi_widgets.data.integers import place
from mi_widgets.data.record import Record, count_from_0, floats, record, whole_numbers
from mi_widgets.errors import DataError


@record
class CoderComparison(Record):
    """What several coders do to one model on one set of texts. Arrays are read-only.

    Positions that a coder leaves out (position 0, where its file says so) are neither encoded nor written to nor
    counted for it; losses are of what is predicted at all others.

    Attributes:
        names: of the coders.
        architectures: SAELens's words.
        hooks_in: what each reads, in full.
        hooks_out: what each writes.
        d_sae: int32 `[coder]`: features.
        l0: float32 `[coder]`: features active at a position, mean.
        variance_unexplained: float32 `[coder]`: Σ‖y − ŷ‖² / Σ‖y − mean y‖² over all positions; 0 is exact, above 1 is
            worse than the mean.
        loss_clean: float32 `[coder]`: nats per predicted token, the model untouched.
        loss_spliced: float32 `[coder]`: with what the coder makes in the place of what stood at its output.
        loss_zeroed: float32 `[coder]`: with zeros there.
        dead: int32 `[coder]`: features that never fire on these texts.
        dense: int32 `[coder]`: those that fire at more than `dense_above` of the positions.
        positions: int64 `[coder]`: encoded by each.
        n_texts: texts read.
        n_tokens: tokens of them.
        dense_above: share of positions.
        model: its name, or "".
    """

    names: tuple[str, ...]
    architectures: tuple[str, ...]
    hooks_in: tuple[str, ...]
    hooks_out: tuple[str, ...]
    d_sae: Annotated[np.ndarray, whole_numbers("coder")]
    l0: Annotated[np.ndarray, floats("coder")]
    variance_unexplained: Annotated[np.ndarray, floats("coder")]
    loss_clean: Annotated[np.ndarray, floats("coder")]
    loss_spliced: Annotated[np.ndarray, floats("coder")]
    loss_zeroed: Annotated[np.ndarray, floats("coder")]
    dead: Annotated[np.ndarray, whole_numbers("coder")]
    dense: Annotated[np.ndarray, whole_numbers("coder")]
    positions: Annotated[np.ndarray, whole_numbers("coder", dtype=np.int64)]
    n_texts: Annotated[int, count_from_0] = 0
    n_tokens: Annotated[int, count_from_0] = 0
    dense_above: float = 0.1
    model: str = ""

    def _sizes(self) -> dict[str, int]:
        return {"coder": len(self.names)}

    def _check(self) -> None:
        if not len(self.names) == len(self.architectures) == len(self.hooks_in) == len(self.hooks_out):
            raise DataError("each coder has a name, an architecture, a hook it reads and one it writes.")

    @property
    def loss_recovered(self) -> np.ndarray:
        """float32 `[coder]`: (zeroed − spliced) / (zeroed − clean): 1 as the untouched model, 0 as with zeros; NaN
        where zeros cost nothing."""
        span = self.loss_zeroed - self.loss_clean
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (self.loss_zeroed - self.loss_spliced) / span
        return read_only(np.where(np.abs(span) > 1e-6, share, np.nan).astype(np.float32))

    @property
    def front(self) -> np.ndarray:
        """bool `[coder]`: those on the trade-off's front (Pareto): no other coder of the same output has as few
        features active and leaves as little unexplained, one of the two less."""
        return read_only(np.array([self._undominated(coder) for coder in range(len(self.names))], bool))

    def _undominated(self, coder: int) -> bool:
        values = np.stack([self.l0, self.variance_unexplained], axis=1)
        if not np.isfinite(values[coder]).all():
            return False
        others = np.array([hook == self.hooks_out[coder] for hook in self.hooks_out])
        better = (values <= values[coder]).all(1) & (values < values[coder]).any(1) & others
        return not bool(better.any())

    def coder(self, name: str | int) -> int:
        """Index of a coder, by its name or place.

        Raises:
            DataError: there is none such.
        """
        if isinstance(name, str):
            if name not in self.names:
                raise DataError(f"there is no coder {name!r}.", f"There are {', '.join(self.names)}.")
            return self.names.index(name)
        return place("coder", name, len(self.names))

    def to_pandas(self) -> pd.DataFrame:
        """One row per coder: `coder`, `architecture`, `hook_in`, `hook_out`, `d_sae`, `l0`, `variance_unexplained`,
        `loss_clean`, `loss_spliced`, `loss_zeroed`, `loss_recovered`, `dead`, `dense`, `positions`, `front`."""
        columns = {"coder": self.names, "architecture": self.architectures}
        columns |= {"hook_in": self.hooks_in, "hook_out": self.hooks_out}
        numbers = ("d_sae", "l0", "variance_unexplained", "loss_clean", "loss_spliced", "loss_zeroed")
        numbers += ("loss_recovered", "dead", "dense", "positions", "front")
        return pd.DataFrame({**{name: list(each) for name, each in columns.items()},
                             **{name: getattr(self, name) for name in numbers}})  # fmt: skip
