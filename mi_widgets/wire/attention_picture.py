"""One attention picture: everything that may cross to the page of one finished run.

Takes `data` once, gives manifest, thumbnails and single heads as they are asked for. Knows nothing of widgets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from mi_widgets.data import AttentionComparison, AttentionPatterns
from mi_widgets.wire import attention as wire
from mi_widgets.wire.blocks import Block, pack
from mi_widgets.wire.messages import AttentionManifest

#: Bytes of single heads kept in the saved state, beside the thumbnails.
FOCUS_BYTES = 1_500_000


class AttentionPicture:
    """What one run shows.

    Args:
        patterns: of the first prompt, side A.
        comparison: with a second prompt, side B, or None.
        run: the number of the run.
        scores: table of score columns, or None.
        notes: sentences for the status line.
        live: a kernel stands behind the page.
    """

    def __init__(
        self,
        patterns: AttentionPatterns,
        comparison: AttentionComparison | None = None,
        *,
        run: int = 0,
        scores: pd.DataFrame | None = None,
        notes: Sequence[str] = (),
        live: bool = True,
    ) -> None:
        self.patterns, self.comparison = patterns, comparison
        self.run, self.scores, self.notes, self.live = run, scores, tuple(notes), live

    @property
    def sides(self) -> dict[str, AttentionPatterns]:
        """The prompts' patterns by side."""
        return {"A": self.patterns} | ({} if self.comparison is None else {"B": self.comparison.b})

    def side(self, show: str) -> str:
        """`show`, as far as there is a second prompt to show."""
        return show if self.comparison is not None else "A"

    def shown(self, show: str) -> AttentionPatterns | AttentionComparison:
        """The data behind `show`: one prompt's patterns, or the comparison."""
        if self.comparison is not None and show == "difference":
            return self.comparison
        return self.sides[self.side(show)]

    @cached_property
    def _difference(self) -> Block:
        assert self.comparison is not None
        return wire.difference_atlas(self.comparison)

    @cached_property
    def score_table(self) -> pd.DataFrame | None:
        """The scores to sort heads by; with two prompts also how much each head differs between them."""
        if self.comparison is None:
            return self.scores
        heads = [(layer, head) for layer in self.patterns.layers for head in range(self.patterns.n_heads)]
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
        """What the picture means."""
        return wire.manifest(
            self.patterns,
            run=self.run,
            comparison=self.comparison,
            scores=self.score_table,
            notes=self.notes,
            live=self.live if live is None else live,
            difference_high=None if self.comparison is None else self._difference.high,
        )

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
        count = self.patterns.shape[2]
        each = count * count * (4 if count <= wire.EXACT_POSITIONS else 2) // (2 if self.patterns.causal else 1)
        return pack(self.heads(heads[: FOCUS_BYTES // (each * len(self.sides))]))
