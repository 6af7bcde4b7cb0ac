"""One picture of a logit attribution: everything that crosses to the page of one finished run.

Takes `data` once. Knows nothing of widgets or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mi_widgets.data import LogitAttribution
from mi_widgets.wire.attention import token_table
from mi_widgets.wire.blocks import Block, pack
from mi_widgets.wire.checks import output_check
from mi_widgets.wire.interventions import ablated_heads, interventions_of
from mi_widgets.wire.messages import CheckValue, TokenName
from mi_widgets.wire.picture import Picture
from mi_widgets.wire.view_messages import AttributionManifest, Candidate


class AttributionPicture(Picture[LogitAttribution, None]):
    """What one run shows, as `Picture`.

    Args:
        data: what is shown.
        candidates: likely next tokens at the position: id, string, probability.
        automatic: answer and foil are the model's own choices.
        half: the model computes in half precision.
        how: see `Picture`.
    """

    def __init__(
        self,
        data: LogitAttribution,
        *,
        candidates: Sequence[tuple[int, str, float]] = (),
        automatic: bool = False,
        half: bool = False,
        **how: Any,
    ) -> None:
        super().__init__(data, **how)
        self.candidates, self.automatic, self.half = tuple(candidates), automatic, half

    def parcel(self, live: bool | None = None) -> bytes:
        """The whole picture."""
        shown = self.data
        blocks = [
            Block("contribution", shown.contribution, ("part",)),
            Block("mlps", shown.mlps, ("layer",)),
        ]
        if shown.heads is not None:
            blocks.append(Block("heads", shown.heads, ("layer", "head")))
        if shown.sources is not None:
            blocks.append(Block("sources", shown.sources, ("layer", "head", "position"), "f16"))
        return pack(blocks, self.manifest(live))

    def manifest(self, live: bool | None = None) -> AttributionManifest:
        """What the picture means."""
        shown = self.data
        candidates: list[Candidate] = [
            {"id": token, "string": string, "probability": probability}
            for token, string, probability in self.candidates
        ]
        return {
            **self.of_any_view(live),
            "kind": "logit_attribution",
            "ablated": ablated_heads(interventions_of(shown)),
            "tokens": token_table(shown.tokens),
            "position": shown.position,
            "answer": _token(shown.answer, shown.answer_string),
            "foil": None if shown.foil is None else _token(shown.foil, shown.foil_string or ""),
            "automatic": self.automatic,
            "candidates": candidates,
            "by": shown.by,  # type: ignore[typeddict-item]
            "part_labels": list(shown.labels),
            "part_kinds": list(shown.part_kinds),  # type: ignore[typeddict-item]
            "part_layers": shown.part_layers.tolist(),
            "part_heads": shown.part_heads.tolist(),
            "part_neurons": shown.part_neurons.tolist(),
            "difference": shown.difference,
            "residue": shown.residue,
            "n_layers": shown.n_layers,
            "n_heads": shown.n_heads,
            "why_no_heads": shown.why_no_heads,
            "has_sources": shown.sources is not None,
            "why_no_sources": shown.why_no_sources,
        }

    def _checks(self) -> list[CheckValue]:
        shown = self.data
        checks: list[CheckValue] = [
            {
                "label": f"the parts sum to the {shown.quantity}",
                "ok": bool(shown.holds),
                "detail": f"residue {shown.residue:.0e}".replace("-", "−"),
            }
        ]
        if shown.max_error is not None:
            detail = f"relative error {shown.max_error:.0e}"
            checks.append(output_check("read as the model reads", shown.max_error, self.half, detail))
        return checks


def _token(token: int, string: str) -> TokenName:
    return {"id": int(token), "string": string}
