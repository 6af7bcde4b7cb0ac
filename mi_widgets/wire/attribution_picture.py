"""One picture of a logit attribution: everything that crosses to the page of one finished run.

Takes `data` once. Knows nothing of widgets or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mi_widgets.data import LogitAttribution, LogitAttributionComparison
from mi_widgets.wire.attention import token_table
from mi_widgets.wire.blocks import Block, pack
from mi_widgets.wire.checks import output_check, worst
from mi_widgets.wire.interventions import ablated_heads, interventions_of
from mi_widgets.wire.messages import CheckValue, TokenName
from mi_widgets.wire.picture import Picture
from mi_widgets.wire.view_messages import AttributionCompare, AttributionManifest, AttributionSide, Candidate


class AttributionPicture(Picture[LogitAttribution, LogitAttributionComparison]):
    """What one run shows, as `Picture`.

    Args:
        data: see `Picture`, as the others.
        comparison: see there.
        candidates: likely next tokens at the position: id, string, probability.
        automatic: answer and foil are the model's own choices.
        coder: there is a coder, by whose features it could be split.
        half: the model computes in half precision.
        how: see `Picture`.
    """

    def __init__(
        self,
        data: LogitAttribution,
        comparison: LogitAttributionComparison | None = None,
        *,
        candidates: Sequence[tuple[int, str, float]] = (),
        automatic: bool = False,
        coder: bool = False,
        half: bool = False,
        **how: Any,
    ) -> None:
        super().__init__(data, comparison, **how)
        self.candidates, self.automatic, self.half = tuple(candidates), automatic, half
        self.has_coder = coder or data.coder is not None

    def parcel(self, live: bool | None = None) -> bytes:
        """The whole picture."""
        blocks = _blocks(self.data)
        if self.comparison is not None:
            blocks += _blocks(self.comparison.b, "B/") + _blocks(self.comparison.minus, "difference/")
        return pack(blocks, self.manifest(live))

    def manifest(self, live: bool | None = None) -> AttributionManifest:
        """What the picture means."""
        shown, both = self.data, self.comparison
        candidates: list[Candidate] = [
            {"id": token, "string": string, "probability": probability}
            for token, string, probability in self.candidates
        ]
        compare: AttributionCompare | None = None
        if both is not None:
            compare = {"B": _side(both.b), "difference": _side(both.minus), "pairs": self.pairs(both.columns)}
        return {
            **self.of_any_view(live),
            **_side(shown),
            "kind": "logit_attribution",
            "ablated": ablated_heads(interventions_of(shown)),
            "other": self.other(),
            "answer": _token(shown.answer, shown.answer_string),
            "foil": None if shown.foil is None else _token(shown.foil, shown.foil_string or ""),
            "automatic": self.automatic,
            "candidates": candidates,
            "by": shown.by,  # type: ignore[typeddict-item]
            "n_layers": shown.n_layers,
            "coder": shown.coder,
            "has_coder": self.has_coder,
            "compare": compare,
        }

    def _checks(self) -> list[CheckValue]:
        sides = self.sides.values()
        residue = max((side.residue for side in sides), key=lambda residue: (residue != residue, abs(residue)))
        checks: list[CheckValue] = [
            {
                "label": f"the parts sum to the {self.data.quantity}",
                "ok": all(side.holds for side in sides),
                "detail": f"residue {residue:.0e}".replace("-", "−"),
            }
        ]
        error = worst(side.max_error for side in sides)
        if error is not None:
            checks.append(output_check("read as the model reads", error, self.half, f"relative error {error:.0e}"))
        return checks


def _blocks(side: LogitAttribution, prefix: str = "") -> list[Block]:
    """The numbers of one attribution."""
    blocks = [
        Block(f"{prefix}contribution", side.contribution, ("part",)),
        Block(f"{prefix}mlps", side.mlps, ("layer",)),
    ]
    if side.heads is not None:
        blocks.append(Block(f"{prefix}heads", side.heads, ("layer", "head")))
    if side.sources is not None:
        blocks.append(Block(f"{prefix}sources", side.sources, ("layer", "head", "position"), "f16"))
    return blocks


def _side(side: LogitAttribution) -> AttributionSide:
    """What they are."""
    return {
        "tokens": token_table(side.tokens),
        "position": side.position,
        "part_labels": list(side.labels),
        "part_kinds": list(side.part_kinds),  # type: ignore[typeddict-item]
        "part_layers": side.part_layers.tolist(),
        "part_heads": side.part_heads.tolist(),
        "part_neurons": side.part_neurons.tolist(),
        "difference": side.difference,
        "residue": side.residue,
        "n_heads": side.n_heads,
        "why_no_heads": side.why_no_heads,
        "has_sources": side.sources is not None,
        "why_no_sources": side.why_no_sources,
    }


def _token(token: int, string: str) -> TokenName:
    return {"id": int(token), "string": string}
