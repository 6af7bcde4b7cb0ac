"""One picture of a grid of patches or ablations: everything that crosses to the page of one run, whole or partial.

Takes `data` once. Knows nothing of widgets or models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mi_widgets.data import PatchGrid, PathEffects
from mi_widgets.data.alignment import align
from mi_widgets.data.patching import PATCH_SITES
from mi_widgets.described.patching import METRIC_NAMES, METRIC_UNITS, TIMES
from mi_widgets.wire.attention import token_table
from mi_widgets.wire.blocks import Block, pack
from mi_widgets.wire.checks import output_check
from mi_widgets.wire.interventions import ablated_heads, interventions_of, labels
from mi_widgets.wire.messages import CheckValue, TokenName
from mi_widgets.wire.patching_messages import PatchingManifest, PathsValue
from mi_widgets.wire.picture import Picture

#: Grids of more cells cross in half precision.
EXACT_CELLS = 20_000


class PatchingPicture(Picture[PatchGrid, None]):
    """What one run shows, as `Picture`.

    Args:
        data: what is shown; nothing is compared.
        comparison: see `data`.
        total: cells that are to be exact; None: no more than are.
        errors: relative errors of the self-checks, by what is compared.
        half: the model computes in half precision.
        facts: of the manifest what the grid does not know: the candidates, the model's shape, what can be chosen.
        paths: the effects of one sender by receiver, where they are known.
        how: see `Picture`.
    """

    def __init__(
        self,
        data: PatchGrid,
        comparison: None = None,
        *,
        total: int | None = None,
        errors: Mapping[str, float] | None = None,
        half: bool = False,
        facts: Mapping[str, Any] | None = None,
        paths: PathEffects | None = None,
        **how: Any,
    ) -> None:
        super().__init__(data, comparison, **how)
        self.done = int(data.exact.sum())
        self.total = self.done if total is None else total
        self.errors, self.half, self.facts = dict(errors or {}), half, {**_facts_of(data), **(facts or {})}
        self.paths = paths

    def parcel(self, live: bool | None = None) -> bytes:
        """The whole picture."""
        data = self.data
        cells: dict[str, np.ndarray] = {"effect": data.effect, "change": data.change_in_metric}
        if data.estimate is not None and data.effect_estimate is not None:
            cells |= {"estimate": data.effect_estimate, "estimated_change": data.estimate - np.float32(data.base)}
        if data.n_pairs > 1 and self.done >= self.total:
            low, high = data.interval()
            cells |= {"low": low, "high": high, "spread": data.spread}
        dtype = "f32" if data.value.size <= EXACT_CELLS else "f16"
        blocks = [Block(name, values.reshape(-1), ("cell",), dtype) for name, values in cells.items()]
        return pack(blocks, self.manifest(live))

    def manifest(self, live: bool | None = None) -> PatchingManifest:
        """What the picture means."""
        data, made = self.data, interventions_of(self.data)
        patching = data.method == "patching"
        pairs = align(data.clean_tokens, data.corrupt_tokens).pairs if patching else ()
        return {
            **self.of_any_view(live),
            "kind": "patching",
            "other": {"interventions": labels(made), "ablated": ablated_heads(made), "model": None}
            if patching
            else None,
            "tokens": token_table(data.clean_tokens),
            "compare": {"tokens": token_table(data.corrupt_tokens), "pairs": self.pairs(pairs)} if patching else None,
            "base": "B" if patching and data.direction == "denoise" else "A",
            "experiment": data.method,
            "site": data.site,
            "by": list(data.by),
            "numbers": [list(numbers) for numbers in data.numbers],
            "layer": data.layer,
            "direction": data.direction,
            "ablated_by": data.ablated_by,
            "reference": data.reference,
            "metric": data.metric,
            "metric_title": METRIC_NAMES[data.metric][0] if data.metric in METRIC_NAMES else data.metric_name,
            "unit": METRIC_UNITS.get(data.metric, ""),
            "clean": _number(data.clean),
            "corrupt": _number(data.corrupt) if patching else None,
            "neutral": data.neutral,
            "differs": data.differs,
            "pairs": data.n_pairs,
            "done": self.done,
            "total": self.total,
            "estimated_by": data.estimated_by,
            "answer": self._token(data.answers),
            "foil": self._token(data.foils),
            "grids": [TIMES.join(axes) for axes in PATCH_SITES[data.site]] if patching else [],
            "paths": None if self.paths is None else _paths(self.paths),
            **self.facts,  # type: ignore[typeddict-item]
        }

    def _token(self, ids: np.ndarray | None) -> TokenName | None:
        """The token of the first pair, where there is one."""
        if ids is None or ids[0] < 0:
            return None
        token = int(ids[0])
        return {"id": token, "string": self.data.names.get(token, str(token))}

    def _checks(self) -> list[CheckValue]:
        return [
            output_check(label, error, self.half, f"error {error:.0e}".replace("-", "−"))
            for label, error in self.errors.items()
        ]

    def _own_notes(self) -> Sequence[str]:
        return self.data.notes


def _number(value: float | None) -> float | None:
    """As JSON has it."""
    return None if value is None or not math.isfinite(value) else float(value)


def _paths(found: PathEffects) -> PathsValue:
    """The effects of one sender, and how it was come to."""
    steps = [(*found.sender, ""), *found.path]
    return {
        "path": [
            {"layer": layer, "head": -1 if head is None else head, "entered": entered} for layer, head, entered in steps
        ],
        "kinds": list(found.kinds),
        "layers": found.layers.tolist(),
        "heads": found.heads.tolist(),
        "effects": [_number(effect) for effect in found.effect.tolist()],
    }


def _facts_of(data: PatchGrid) -> dict[str, Any]:
    """The facts about the model and the question, as far as a grid tells."""
    counts = {axis: max(numbers) + 1 for axis, numbers in zip(data.by, data.numbers, strict=True)}
    return {
        "n_layers": counts.get("layer", (data.layer or 0) + 1),
        "n_heads": counts.get("head", 1),
        "n_kv_heads": counts.get("head", 1),
        "causal": True,
        "sites": [data.site],
        "metrics": [data.metric],
        "candidates": [],
        "automatic": False,
        "why_estimate": "",
        "seconds": {"exact": None, "estimate": None},
    }
