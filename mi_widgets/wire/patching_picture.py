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
        candidates: likely next tokens after the clean prompt: id, string, probability.
        automatic: answer and foil are the model's own choices.
        shape: layers, heads and key-value heads of the model; as the grid has them if None.
        causal: no position of the model reads a later one.
        sites: where this architecture can be patched.
        metrics: what can be read.
        errors: relative errors of the self-checks, by what is compared.
        half: the model computes in half precision.
        why_estimate: why cells stay estimates.
        seconds: predicted of all exact cells, and of the estimate.
        paths: the effects of one sender by receiver.
        how: see `Picture`.
    """

    def __init__(
        self,
        data: PatchGrid,
        comparison: None = None,
        *,
        total: int | None = None,
        candidates: Sequence[tuple[int, str, float]] = (),
        automatic: bool = False,
        shape: tuple[int, int, int] | None = None,
        causal: bool = True,
        sites: Sequence[str] = (),
        metrics: Sequence[str] = (),
        errors: Mapping[str, float] | None = None,
        half: bool = False,
        why_estimate: str = "",
        seconds: tuple[float | None, float | None] = (None, None),
        paths: PathEffects | None = None,
        **how: Any,
    ) -> None:
        super().__init__(data, comparison, **how)
        self.done = int(data.exact.sum())
        self.total = self.done if total is None else total
        self.candidates, self.automatic = tuple(candidates), automatic
        self.shape = _shape_of(data) if shape is None else shape
        self.causal, self.sites, self.metrics = causal, tuple(sites) or (data.site,), tuple(metrics) or (data.metric,)
        self.errors, self.half = dict(errors or {}), half
        self.why_estimate, self.seconds, self.paths = why_estimate, seconds, paths

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
        n_layers, n_heads, n_kv_heads = self.shape
        exact, estimate = self.seconds
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
            "why_estimate": self.why_estimate,
            "seconds": {"exact": _number(exact), "estimate": _number(estimate)},
            "answer": self._token(data.answers),
            "foil": self._token(data.foils),
            "automatic": self.automatic,
            "candidates": [
                {"id": token, "string": string, "probability": probability}
                for token, string, probability in self.candidates
            ],
            "n_layers": n_layers,
            "n_heads": n_heads,
            "n_kv_heads": n_kv_heads,
            "causal": self.causal,
            "sites": list(self.sites),
            "grids": [TIMES.join(axes) for axes in PATCH_SITES[data.site]] if patching else [],
            "metrics": list(self.metrics),
            "paths": None if self.paths is None else _paths(self.paths),
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


def _shape_of(data: PatchGrid) -> tuple[int, int, int]:
    """Layers, heads and key-value heads, as far as a grid tells."""
    counts = {axis: max(numbers) + 1 for axis, numbers in zip(data.by, data.numbers, strict=True)}
    heads = counts.get("head", 1)
    return counts.get("layer", (data.layer or 0) + 1), heads, heads
