"""One attention picture: everything that may cross to the page of one finished run.

Takes `data` once, gives manifest, thumbnails and single heads as they are asked for. Knows nothing of widgets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mi_widgets.data import AttentionComparison, AttentionPatterns
from mi_widgets.data.attention import UNITS
from mi_widgets.wire import attention as wire
from mi_widgets.wire.blocks import Block, pack
from mi_widgets.wire.interventions import ablated_heads, interventions_of
from mi_widgets.wire.messages import AttentionManifest, CheckValue, CompareTable
from mi_widgets.wire.picture import Picture

#: Bytes of single heads kept in the saved state, beside the thumbnails.
FOCUS_BYTES = 1_500_000


class AttentionPicture(Picture[AttentionPatterns, AttentionComparison]):
    """What one run shows, as `Picture`.

    Args:
        data: see `Picture`, as the others.
        scores: table of score columns, or None.

    Attributes:
        more_notes: sentences beside those of the run.
        saved: the side whose thumbnails are on the page.
    """

    def __init__(
        self,
        data: AttentionPatterns,
        comparison: AttentionComparison | None = None,
        *,
        scores: pd.DataFrame | None = None,
        **how: Any,
    ) -> None:
        super().__init__(data, comparison, **how)
        self.scores = scores
        self.more_notes: Sequence[str] = ()
        self.saved = "A"

    @cached_property
    def _difference(self) -> Block:
        assert self.comparison is not None
        return wire.difference_atlas(self.comparison)

    @cached_property
    def score_table(self) -> pd.DataFrame | None:
        """The scores to sort heads by; with two prompts also how much each head differs between them."""
        if self.comparison is None:
            return self.scores
        heads = [(layer, head) for layer in self.data.layers for head in range(self.data.n_heads)]
        table = pd.DataFrame(heads, columns=["layer", "head"])
        table["difference"] = np.fmax.reduce(np.abs(self._difference.values), axis=(2, 3)).ravel()
        if self.scores is None or "difference" in self.scores:
            return table if self.scores is None else self.scores
        joined = table.merge(self.scores, on=["layer", "head"], how="left")
        joined.attrs = self.scores.attrs
        return joined

    def atlas(self, show: str) -> Block:
        """Thumbnails of all heads."""
        show = self.side(show)
        return self._difference if show == "difference" else wire.atlas_block(self.sides[show], show)  # type: ignore[arg-type]

    def manifest(self, live: bool | None = None) -> AttentionManifest:
        """What the picture means. A and B share one range."""
        data, sides, both = self.data, list(self.sides.values()), self.comparison
        head_high = data.head_high if both is None else np.fmax(both.a.head_high, both.b.head_high)
        high = float(np.nanmax(head_high)) if np.isfinite(head_high).any() else 0.0
        low = data.low if data.weighting == "scores" else min(0.0, data.low)
        compare: CompareTable | None = None
        if both is not None:
            low = min(low, both.b.low)
            compare = {"tokens": wire.token_table(both.b.tokens), "pairs": self.pairs(both.alignment.pairs)}
        return {
            **self.of_any_view(live),
            "kind": "attention",
            "ablated": ablated_heads(interventions_of(data)),
            "other": self.other(),
            "tokens": wire.token_table(data.tokens),
            "layers": list(data.layers),
            "heads": data.n_heads,
            "kv_heads": data.kv_heads,
            "weighting": data.weighting,  # type: ignore[typeddict-item]
            "unit": UNITS[data.weighting],
            # On the page one mask serves both sides, so it may only hide what neither of them reads.
            "causal": all(side.causal for side in sides),
            "windows": [
                one[0] if len(set(one)) == 1 else None for one in zip(*(side.windows for side in sides), strict=True)
            ],
            "low": low,
            "high": high,
            "difference_high": None if both is None else self._difference.high,
            "head_high": [0.0 if math.isnan(value) else value for value in head_high.ravel().tolist()],
            "compare": compare,
            "scores": [] if self.score_table is None else wire.score_columns(self.score_table, data),
        }

    def _checks(self) -> list[CheckValue]:
        return wire.checks(*self.sides.values())

    def _own_notes(self) -> Sequence[str]:
        return self.more_notes

    def parcel(self, show: str) -> bytes:
        """Manifest and the thumbnails on screen."""
        return pack([self.atlas(show)], self.manifest())

    def heads(
        self, heads: Iterable[tuple[int, int]], sides: Sequence[str] = ("A", "B"), exact: bool = True
    ) -> list[Block]:
        """Full patterns of single heads, for the sides there are."""
        pairs = list(heads)
        return [
            wire.head_block(self.sides[side], side, layer, head, exact)
            for side in sides
            if side in self.sides
            for layer, head in pairs
        ]

    def kept(self, heads: Sequence[tuple[int, int]]) -> bytes:
        """The heads on screen as far as they fit the saved state; the page asks for the rest."""
        count = self.data.shape[2]
        each = count * count * (4 if count <= wire.EXACT_POSITIONS else 2) // (2 if self.data.causal else 1)
        return pack(self.heads(heads[: FOCUS_BYTES // (each * len(self.sides))]))
