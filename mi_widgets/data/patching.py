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

from mi_widgets.data.alignment import align
from mi_widgets.data.arrays import read_only
from mi_widgets.data.effects import DIRECTIONS, METHODS, METRICS, Effects
from mi_widgets.data.integers import integer, place, word
from mi_widgets.data.interventions import Ablate, Change, Patch, Run
from mi_widgets.data.record import floats, one_of, record, whole_numbers
from mi_widgets.data.selection import Selection
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError

#: What a picture shows of a cell.
SHOWS = ("effect", "change")
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
class PatchGrid(Effects):
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

    @property
    def _ablates(self) -> bool:
        return self.method == "ablation"

    # --- what the cells are --------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the axes `by`."""
        return tuple(len(numbers) for numbers in self.numbers)

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

    def run(self, clean: Any, corrupt: Any = None, **at: int) -> Run:
        """The run that gives a cell's number: for another view's `compare=`, or `session.beside`.

        Args:
            clean: the clean prompt, of several pairs the first one's.
            corrupt: the corrupt one; of an ablation None.
            at: the model's numbers of the cell.

        Raises:
            DataError: no such cell.
        """
        denoise = self.method == "patching" and self.direction == "denoise"
        base, other = (corrupt, clean) if denoise else (clean, corrupt)
        return Run(prompt=base, interventions=(*self.interventions, self.change(self.cell(**at), other)))

    def numbers_at(self, **at: int) -> dict[str, Any]:
        """What is known of a cell: its place, `value`, `change`, `effect`, `estimate` (an effect; NaN where there is
        none) and whether it is `exact`.

        Raises:
            DataError: no such cell.
        """
        index = self.cell(**at)
        estimates = np.full(self.shape, np.nan) if self.effect_estimate is None else self.effect_estimate
        held = {"value": self.value, "change": self.change_in_metric, "effect": self.effect, "estimate": estimates}
        return {
            **at,
            **{name: float(numbers[index]) for name, numbers in held.items()},
            "exact": bool(self.exact[index]),
        }

    def chosen(self, selection: Selection) -> dict[str, int] | None:
        """The model's numbers of the cell that a selection means, whose `component` is the site and whose positions are
        those of the clean prompt, as in every view; None where it means none of this grid."""
        if selection.component != self.site or self.layer not in (None, selection.layer):
            return None
        at = {axis: getattr(selection, axis) for axis in self.by}
        for axis in {"position", "query", "key"} & set(at):
            at[axis] = self._of_clean.get(at[axis])
        return at if all(at[axis] in held for axis, held in zip(self.by, self.numbers, strict=True)) else None

    @cached_property
    def _of_clean(self) -> dict[int | None, int | None]:
        """The position of the run that is changed for each of the clean prompt that has a partner there."""
        pairs = align(self.clean_tokens, self.base_tokens).pairs
        return {clean: own for clean, own in pairs if clean is not None}

    # --- what they say -------------------------------------------------------------------------------

    @cached_property
    def estimate(self) -> np.ndarray | None:
        """float32 `shape`: the metric as estimated, mean of the pairs; None where there are no estimates."""
        return None if self.estimates is None else self._mean(self.estimates)

    @cached_property
    def exact(self) -> np.ndarray:
        """bool `shape`: cells whose runs were made."""
        return read_only(np.asarray(np.isfinite(self.values).all(0)).reshape(self.shape))

    @cached_property
    def effect_estimate(self) -> np.ndarray | None:
        """float32 `shape`: the same of the estimates."""
        return None if self.estimate is None else self._effect(self.estimate)

    @cached_property
    def shown(self) -> np.ndarray:
        """float32 `shape`: the effect where it is exact, else its estimate."""
        estimate = self.effect_estimate
        return self.effect if estimate is None else read_only(np.where(self.exact, self.effect, estimate))

    def cells(self, shows: str = "effect") -> np.ndarray:
        """float32 `shape`: what a picture shows of each cell, exact where it is, else estimated.

        Args:
            shows: `"effect"`, or `"change"` of the metric, unnormalised.
        """
        if word("shows", shows, SHOWS) == "effect":
            return self.shown
        if self.estimate is None:
            return self.change_in_metric
        return read_only(np.where(self.exact, self.value, self.estimate) - np.float32(self.base))

    def reach(self, shows: str = "effect") -> float:
        """How far colours reach on both sides of no change: to the largest cell, of effects at most 1; what lies
        beyond is clipped."""
        away = np.abs(self.cells(shows) - (self.neutral if shows == "effect" else 0.0))
        most = float(away[np.isfinite(away)].max(initial=0.0))
        return min(most, 1.0) if shows == "effect" else most

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
