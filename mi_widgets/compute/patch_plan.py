"""The grid that a reader asks for, as one computation: estimated first, then exact where that is not too dear.

Knows nothing of sessions or pages; each part of it is a function of its own that users call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mi_widgets.compute.attribution_patching import Made, attribution_patch_steps
from mi_widgets.compute.patch_cost import patch_cost
from mi_widgets.compute.patch_metrics import OwnMetric
from mi_widgets.compute.patching import patch_steps
from mi_widgets.compute.path_patching import path_patch_steps
from mi_widgets.compute.step import Step, Steps
from mi_widgets.data import PatchGrid, PathEffects
from mi_widgets.data.interventions import SITES, Change
from mi_widgets.data.patching import PATCH_SITES
from mi_widgets.errors import DataError, ModelError

#: What exact cells may cost before `exact="auto"` leaves them estimated: seconds, and how many are run.
MOST_SECONDS, MOST_RUNS = 120.0, 20_000
#: Cells that can be shown at all.
MOST_CELLS = 250_000


class PatchPlan:
    """One grid that is asked for, before it is computed.

    Args:
        model: a TransformerBridge.
        asked: clean prompt, corrupt prompt (None will do for ablation), answer, foil; or `Pairs` alone.
        options: by name, as the view has them: `experiment`, `site`, `by` (axes), `over`, `layer` (None: the last),
            `metric`, `direction`, `ablated_by` and `exact`.
        function: the metric `"own"`.
        interventions: made in every run.
        prepend_bos: as for `patch`.
        pass_seconds: that one forward pass takes; measured if None.
        made: finds or makes passes, as for `attribution_patch_steps`.

    Attributes:
        layer: of grids without an axis of layers, else None.
        seconds: predicted of all exact cells, and of the estimate; None where not known.
        why_estimate: why cells stay estimates, "" where they do not.
        notes: what a reader must know beside the grid's own notes.

    Raises:
        DataError, ModelError, PromptError: what cannot be computed, as far as that is known before.
    """

    def __init__(
        self,
        model: Any,
        asked: Sequence[Any],
        options: Mapping[str, Any],
        *,
        function: OwnMetric | None = None,
        interventions: Sequence[Change] = (),
        prepend_bos: bool | None = None,
        pass_seconds: float | None = None,
        made: Made | None = None,
    ) -> None:
        self._model, self._asked, self._ablates = model, tuple(asked), options["experiment"] == "ablation"
        self._made = made
        self._common: dict[str, Any] = {
            "metric": function if options["metric"] == "own" else options["metric"],
            "interventions": interventions,
            "prepend_bos": prepend_bos,
        }
        last = int(model.cfg.n_layers) - 1
        lacking = options["over"] == "neuron" if self._ablates else "layer" not in options["by"]
        self.layer = None if not lacking else last if options["layer"] is None else int(options["layer"])
        where = {} if self.layer is None else {"layer": self.layer}
        self.seconds: tuple[float | None, float | None] = (None, None)
        self.why_estimate, self.notes = "", list[str]()
        if self._ablates:
            self._where = {**where, "over": options["over"], "by": options["ablated_by"]}
            return
        self._where = {**where, **{name: options[name] for name in ("site", "by", "direction")}}
        known = {"pass_seconds": pass_seconds, "prepend_bos": prepend_bos}
        cost = patch_cost(model, *self._asked[:2], **self._where, **known)
        if cost.cells > MOST_CELLS:
            raise DataError(f"{cost.cells:,} cells are too many to show.", "Choose a grid of fewer axes.")
        self.seconds = (cost.exact_seconds, cost.estimate_seconds)
        if options["exact"] == "estimate":
            self.why_estimate = "estimate only, as chosen"
        elif options["exact"] == "auto" and (cost.exact_seconds > MOST_SECONDS or cost.runs > MOST_RUNS):
            said = f"{cost.runs:,} exact cells would take about {duration(cost.exact_seconds)}"
            self.why_estimate = f'{said}; exact="all" makes them'

    def steps(self) -> Steps[PatchGrid]:
        """The grid; `Step.partial` is what is known so far."""
        return self._ablated() if self._ablates else self._patched()

    def path_steps(
        self, sender: tuple[int, int | None], path: Sequence[tuple[int, int | None, str]]
    ) -> Steps[PathEffects]:
        """One sender's effect through each of its receivers, or through those of the last station of `path`."""
        how = {**self._common, "direction": self._where["direction"]}
        return path_patch_steps(self._model, *self._asked, sender=sender, path=path, **how)

    def _ablated(self) -> Steps[PatchGrid]:
        from mi_widgets.compute.ablation import ablate_steps

        asked, how = self._asked, {**self._where, **self._common}
        if len(asked) > 1:
            clean, corrupt, *answers = asked
            asked = (clean, *answers)
            if corrupt is not None:
                how["reference"] = [clean, corrupt] if how["by"] == "mean" else [corrupt]
        return ablate_steps(self._model, *asked, **how)

    def _patched(self) -> Steps[PatchGrid]:
        how, estimate = {**self._where, **self._common}, None
        try:
            estimate = yield from attribution_patch_steps(self._model, *self._asked, **how, made=self._made)
        except (
            DataError,
            ModelError,
        ) as error:  # ranks have no gradient; all else is said of exact cells
            if self.why_estimate:
                raise
            self.notes.append(f"Not estimated: {error.message}")
        if estimate is not None:
            if self.why_estimate:
                return estimate
            yield Step(0, estimate.values.size, estimate)
        return (yield from patch_steps(self._model, *self._asked, **how, estimate=estimate or False))


def sites_of(model: Any) -> list[str]:
    """Where this architecture can be patched, as far as its hooks tell."""
    hooks = model.hook_dict
    return [site for site in PATCH_SITES if f"blocks.0.{SITES[site]}" in hooks]


def duration(seconds: float) -> str:
    """`"9 s"`, `"4 min"`, `"2 h"`."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
