"""What a grid of patches or ablations is: the metric of one changed run for each cell, exact or estimated.

A cell is one place (a layer and a position, a head, an edge of attention …) whose activation another run's stands in
for. Knows nothing of models, torch or the page.
"""

from __future__ import annotations

from dataclasses import field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import pandas as pd

from mi_widgets.data.arrays import read_only
from mi_widgets.data.integers import integer, place, word
from mi_widgets.data.interventions import Ablate, Change, Patch
from mi_widgets.data.record import Record, floats, one_of, record, whole_numbers
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError

#: How a cell's number came to be.
METHODS = ("patching", "ablation")
#: Which run is changed: the corrupt one with the clean one's activations, or the other way round.
DIRECTIONS = ("denoise", "noise")
#: What is read of the logits at the answer's place; `"own"` is a function of the user's.
METRICS = ("logit_difference", "log_probability", "probability", "rank", "kl", "own")
#: What a cell can be told apart by, in the order in which axes stand.
AXES = ("layer", "head", "position", "query", "key", "neuron")
#: Where activations are patched, and the choices of axes that a grid there can have; the first is the usual one.
PATCH_SITES: dict[str, tuple[tuple[str, ...], ...]] = {
    "resid_pre": (("layer", "position"), ("layer",)),
    "resid_mid": (("layer", "position"), ("layer",)),
    "resid_post": (("layer", "position"), ("layer",)),
    "attn_out": (("layer", "position"), ("layer",)),
    "mlp_out": (("layer", "position"), ("layer",)),
    "z": (("layer", "head"), ("layer", "head", "position"), ("head", "position")),
    "q": (("layer", "head"), ("layer", "head", "position"), ("head", "position")),
    "k": (("layer", "head"), ("layer", "head", "position"), ("head", "position")),
    "v": (("layer", "head"), ("layer", "head", "position"), ("head", "position")),
    "pattern": (("layer", "head"), ("layer", "head", "position"), ("head", "query", "key")),
    "post": (("neuron",), ("position", "neuron")),
}


@record
class PatchGrid(Record):
    """The metric of one changed run for each cell, of one pair of prompts or of several.

    Arrays are read-only. `shape` is the shape of the axes `by`; the stored arrays hold the cells flat, in C order.

    Attributes:
        clean_tokens: the clean prompt (of the first pair), one entry per position.
        corrupt_tokens: the corrupt prompt likewise; of an ablation the prompt itself again.
        method: `"patching"` or `"ablation"`.
        site: where: a word of `PATCH_SITES`.
        by: the axes of a cell, in order: words of `AXES`.
        numbers: for each axis the model's own numbers of its entries (layers, heads, positions of the run that is
            changed …). Heads of sites `"k"` and `"v"` are key-value heads.
        values: float32 `[pair, cell]`: the metric of the changed run; NaN where it was not computed, or where the cell
            has no partner in the other run.
        clean_values: float32 `[pair]`: the metric of the clean run.
        corrupt_values: float32 `[pair]`: of the corrupt one; of an ablation 0.
        estimates: float32 `[pair, cell]`: the metric as attribution patching estimates it; None where it was not made.
        direction: `"denoise"`: the corrupt run is changed by the clean one's activations; `"noise"`: the other way.
        metric: one of `METRICS`.
        metric_name: of the user's function, else "".
        position: where the logits are read, counted from the end of each prompt: -1 is the last.
        layer: of every cell, where layers are no axis; else None.
        ablated_by: of an ablation `"zero"`, `"mean"` or `"resample"`, else "".
        reference: of an ablation what the mean is over, or what was drawn, in words.
        reference_prompts: of an ablation by mean or resampling; none: the mean is over each prompt's own positions.
        seed: of the draw among them.
        answers: int32 `[pair]`: token id of the right answer, -1 where the metric needs none.
        foils: int32 `[pair]`: of the wrong one, or -1.
        names: display strings of these ids.
        estimated_by: how estimates were made: `"attribution patching"`, `"integrated gradients, 5 steps"`, or "".
        notes: what a reader must know: what was left out, how unequal prompts were aligned.
        seconds: the computation took, as far as it went.
        model: the model's name, or "".
        interventions: made in every run beside the patch.
    """

    clean_tokens: Tokens
    corrupt_tokens: Tokens
    method: Annotated[str, one_of("method", METHODS)]
    site: str
    by: tuple[Annotated[str, one_of("axis", AXES)], ...]
    numbers: tuple[tuple[int, ...], ...]
    values: Annotated[np.ndarray, floats("pair", "cell")]
    clean_values: Annotated[np.ndarray, floats("pair")]
    corrupt_values: Annotated[np.ndarray, floats("pair")]
    estimates: Annotated[np.ndarray, floats("pair", "cell")] | None = None
    direction: Annotated[str, one_of("direction", DIRECTIONS)] = "denoise"
    metric: Annotated[str, one_of("metric", METRICS)] = "logit_difference"
    metric_name: str = ""
    position: int = -1
    layer: int | None = None
    ablated_by: str = ""
    reference: str = ""
    reference_prompts: tuple[Any, ...] = ()
    seed: int = 0
    answers: Annotated[np.ndarray, whole_numbers("pair")] | None = None
    foils: Annotated[np.ndarray, whole_numbers("pair")] | None = None
    names: dict[int, str] = field(default_factory=dict)
    estimated_by: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    model: str = ""
    interventions: tuple[Change, ...] = ()

    def _sizes(self) -> dict[str, int]:
        return {"cell": int(np.prod(self.shape))}

    def _check(self) -> None:
        if not self.by or len(self.numbers) != len(self.by):
            raise DataError(f"by={self.by} needs the numbers of {len(self.by)} axes, not of {len(self.numbers)}.")
        if ("layer" in self.by) == (self.layer is not None):
            raise DataError("a grid has an axis of layers, or one layer.", "Give layer= where by has no layer.")

    # --- what the cells are --------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the axes `by`."""
        return tuple(len(numbers) for numbers in self.numbers)

    @property
    def n_pairs(self) -> int:
        """Pairs of prompts."""
        return len(self.values)

    @property
    def base_tokens(self) -> Tokens:
        """The prompt of the run that is changed (of the first pair); positions of cells are its own."""
        return self.corrupt_tokens if self.method == "patching" and self.direction == "denoise" else self.clean_tokens

    def numbers_of(self, axis: str) -> tuple[int, ...]:
        """The model's own numbers along one axis; DataError where the grid has no such axis."""
        return self.numbers[self.by.index(word("axis", axis, self.by))]

    def cell(self, **at: int) -> tuple[int, ...]:
        """Index of a cell by the model's numbers: `grid.effect[grid.cell(layer=3, position=5)]`.

        Raises:
            DataError: an axis too many or too few, or a number that the grid does not have.
        """
        if set(at) != set(self.by):
            raise DataError(f"a cell has {', '.join(self.by)}; {', '.join(at) or 'nothing'} is given.")
        index = []
        for axis, numbers in zip(self.by, self.numbers, strict=True):
            number = integer(axis, at[axis])
            if number not in numbers:
                raise DataError(f"this grid has no {axis} {number}.", f"It has {numbers[0]} to {numbers[-1]}.")
            index.append(numbers.index(number))
        return tuple(index)

    def at(self, index: tuple[int, ...]) -> dict[str, int]:
        """The model's numbers of a cell by its index: what `cell` takes."""
        for axis, one, size in zip(self.by, index, self.shape, strict=True):
            place(axis, one, size)
        return {axis: numbers[one] for axis, numbers, one in zip(self.by, self.numbers, index, strict=True)}

    def change(self, index: tuple[int, ...], source: Any = None) -> Change:
        """The intervention that a cell stands for: in the run that is changed it gives the cell's number.

        Args:
            index: of the cell.
            source: the prompt of the other run, of a patch.
        """
        at = self.at(index)
        layer = at.get("layer", self.layer)
        where = at.get("position", at.get("query"))
        part = {name: at[name] for name in ("head", "neuron") if name in at}
        if self.method == "ablation":
            positions = None if where is None else (where,)
            whole: dict[str, Any] = {} if part else {"site": self.site}
            return Ablate(
                layer=layer,  # type: ignore[arg-type]
                by=self.ablated_by,
                positions=positions,
                reference=self.reference_prompts,
                seed=self.seed,
                **part,
                **whole,
            )
        if "key" in at:
            part["key"] = at["key"]
        return Patch(self.site, layer=layer, position=where, source=source, **part)  # type: ignore[arg-type]

    # --- what they say -------------------------------------------------------------------------------

    @property
    def clean(self) -> float:
        """The metric of the clean run, mean of the pairs."""
        return float(self.clean_values.mean(dtype=np.float64))

    @property
    def corrupt(self) -> float:
        """The metric of the corrupt run, mean of the pairs; of an ablation 0."""
        return float(self.corrupt_values.mean(dtype=np.float64))

    @property
    def base(self) -> float:
        """The metric of the run that is changed, untouched."""
        return self.corrupt if self.method == "patching" and self.direction == "denoise" else self.clean

    @property
    def span(self) -> float:
        """What effects are measured in: clean − corrupt of a patch, |clean| of an ablation; metric units."""
        return abs(self.clean) if self.method == "ablation" else self.clean - self.corrupt

    @property
    def neutral(self) -> float:
        """The effect of a change that changes nothing: 0, but 1 where noise is put into the clean run."""
        return 1.0 if self.method == "patching" and self.direction == "noise" else 0.0

    @property
    def differs(self) -> bool:
        """Whether there is anything to normalise by: clean and corrupt differ in the metric, beyond rounding."""
        most = max(abs(self.clean), abs(self.corrupt), 1e-6)
        return bool(abs(self.span) > 1e-4 * most)

    @cached_property
    def value(self) -> np.ndarray:
        """float32 `shape`: the metric of each cell's changed run, mean of the pairs."""
        return self._mean(self.values)

    @cached_property
    def estimate(self) -> np.ndarray | None:
        """float32 `shape`: the metric as estimated, mean of the pairs; None where there are no estimates."""
        return None if self.estimates is None else self._mean(self.estimates)

    @cached_property
    def exact(self) -> np.ndarray:
        """bool `shape`: cells whose runs were made."""
        return read_only(np.asarray(np.isfinite(self.values).all(0)).reshape(self.shape))

    @cached_property
    def change_in_metric(self) -> np.ndarray:
        """float32 `shape`: the metric of the changed run minus that of the run it changes; unnormalised."""
        return read_only(self.value - np.float32(self.base))

    @cached_property
    def effect(self) -> np.ndarray:
        """float32 `shape`: of a patch (m − m_corrupt) / (m_clean − m_corrupt): 0 as corrupt, 1 as clean, also beyond;
        of an ablation (m − m_clean) / |m_clean|: −1 where nothing of the metric is left. Means of the pairs are
        divided. NaN where there is no number, or nothing to normalise by."""
        return self._effect(self.value)

    @cached_property
    def effect_estimate(self) -> np.ndarray | None:
        """float32 `shape`: the same of the estimates."""
        return None if self.estimate is None else self._effect(self.estimate)

    @cached_property
    def shown(self) -> np.ndarray:
        """float32 `shape`: the effect where it is exact, else its estimate."""
        estimate = self.effect_estimate
        return self.effect if estimate is None else read_only(np.where(self.exact, self.effect, estimate))

    @cached_property
    def spread(self) -> np.ndarray:
        """float32 `shape`: standard deviation of the effect over the pairs (n − 1), each measured in the mean span;
        NaN for one pair."""
        if self.n_pairs < 2:
            return read_only(np.full(self.shape, np.nan, np.float32))
        return read_only(self._each().std(0, ddof=1).astype(np.float32).reshape(self.shape))

    def interval(self, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The bootstrap interval of the effect over the pairs (percentile method; pairs drawn with replacement).

        Args:
            level: share of the draws that lie within.
            draws: how often pairs are drawn.
            seed: of the draws.

        Returns:
            Its low and its high end, float32 `shape`; NaN for one pair.
        """
        if not 0 < level < 1 or draws < 1:
            raise DataError(f"level={level}, draws={draws}.", "Give a level between 0 and 1, and one draw or more.")
        if self.n_pairs < 2:
            nothing = np.full(self.shape, np.nan, np.float32)
            return nothing, nothing
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(self.n_pairs, np.full(self.n_pairs, 1 / self.n_pairs), size=draws) / self.n_pairs
        clean, corrupt = drawn @ self.clean_values.astype(np.float64), drawn @ self.corrupt_values.astype(np.float64)
        ablation = self.method == "ablation"
        start = (clean if ablation else corrupt)[:, None]
        span = (np.abs(clean) if ablation else clean - corrupt)[:, None]
        ends = np.empty((2, self.values.shape[1]), np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for first in range(0, self.values.shape[1], 4096):  # of many cells a part at a time, for memory
                several = slice(first, first + 4096)
                effects = (drawn @ self.values[:, several].astype(np.float64) - start) / span
                ends[:, several] = np.quantile(effects, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return ends[0].reshape(self.shape), ends[1].reshape(self.shape)

    def to_pandas(self) -> pd.DataFrame:
        """Long form, one row per cell: the axes, for positions their token, `value`, `change`, `effect`, and where
        there are such `estimate` (an effect), `spread`, `low` and `high` (the bootstrap interval of 95 %)."""
        index = np.indices(self.shape).reshape(len(self.by), -1)
        columns: dict[str, Any] = {} if self.layer is None else {"layer": self.layer}
        strings = np.array(self.base_tokens.strings, object)
        for axis, numbers, along in zip(self.by, self.numbers, index, strict=True):
            columns[axis] = np.array(numbers)[along]
            if axis in {"position", "query", "key"}:
                columns["token" if axis == "position" else f"{axis}_token"] = strings[columns[axis]]
        columns |= {"value": self.value.ravel(), "change": self.change_in_metric.ravel(), "effect": self.effect.ravel()}
        if self.effect_estimate is not None:
            columns["estimate"] = self.effect_estimate.ravel()
        if self.n_pairs > 1:
            low, high = self.interval()
            columns |= {"spread": self.spread.ravel(), "low": low.ravel(), "high": high.ravel()}
        return pd.DataFrame(columns)

    def _mean(self, values: np.ndarray) -> np.ndarray:
        return read_only(values.mean(0, dtype=np.float64).astype(np.float32).reshape(self.shape))

    def _effect(self, value: np.ndarray) -> np.ndarray:
        if not self.differs:
            return read_only(np.full(self.shape, np.nan, np.float32))
        start = self.clean if self.method == "ablation" else self.corrupt
        return read_only(((value - start) / self.span).astype(np.float32))

    def _each(self) -> np.ndarray:
        """float64 `[pair, cell]`: each pair's effect in the mean span."""
        if not self.differs:
            return np.full(self.values.shape, np.nan)
        start = self.clean_values if self.method == "ablation" else self.corrupt_values
        return (self.values.astype(np.float64) - start[:, None]) / self.span
