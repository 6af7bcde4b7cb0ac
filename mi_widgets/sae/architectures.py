"""How features come from what went in, in one step: ReLU, TopK, JumpReLU, gated; of autoencoders and transcoders.

Definitions are SAELens's (sae-lens 6); `clips` is what differs in circuit-tracer. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from mi_widgets.errors import DataError, choose
from mi_widgets.sae.architectures_pursuit import MatchingPursuit
from mi_widgets.sae.architectures_temporal import Temporal
from mi_widgets.sae.coder import SparseCoder


class Standard(SparseCoder):
    """`relu(in W_enc + b_enc)` (Bricken 2023)."""

    def _before(self, entered: torch.Tensor) -> torch.Tensor:
        return entered @ self.weights["W_enc"] + self.weights["b_enc"]

    def _some_before(self, entered: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return entered @ self.weights["W_enc"][:, features] + self.weights["b_enc"][features]

    def _encode(self, entered: torch.Tensor) -> torch.Tensor:
        return self._before(entered).relu_()

    def _encode_some(self, entered: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self._some_before(entered, features).relu_()


class JumpReLU(Standard):
    """`relu(pre) · (pre > threshold)`, strictly (Rajamanoharan 2024); BatchTopK at inference with one threshold.

    `clips` False: without the ReLU, which matters where a threshold is negative (circuit-tracer).
    """

    TENSORS: ClassVar = {**Standard.TENSORS, "threshold": ("d_sae",)}
    OWN_SETTINGS: ClassVar = {"clips": True}

    def _encode(self, entered: torch.Tensor) -> torch.Tensor:
        return self._jumped(self._before(entered), self.weights["threshold"])

    def _encode_some(self, entered: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self._jumped(self._some_before(entered, features), self.weights["threshold"][features])

    def _jumped(self, before: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        kept = before.relu() if self.settings["clips"] else before
        return kept * (before > threshold)


class TopK(Standard):
    """The k largest of pre, then ReLU (Gao 2024). With `rescale_acts_by_decoder_norm` pre is multiplied by the length
    of each decoder row, which `W_dec` here has divided out.

    `clips` False: without the ReLU (circuit-tracer).
    """

    OWN_SETTINGS: ClassVar = {"k": 100, "rescale_acts_by_decoder_norm": False, "clips": True}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.settings["k"] > self.d_sae:
            raise DataError(
                f"k={self.settings['k']} of {self.name}, which has {self.d_sae:,} features.", "Give a k among them."
            )
        rescales = self.settings["rescale_acts_by_decoder_norm"]
        self._norms = self.weights["W_dec"].norm(dim=-1) if rescales else None
        # a dead row stays zero, and is divided by no zero
        self._divisors = None if self._norms is None else torch.where(self._norms == 0, 1, self._norms)
        self._directions = None if self._divisors is None else self.weights["W_dec"] / self._divisors[:, None]

    @property
    def W_dec(self) -> torch.Tensor:  # noqa: N802  # the field's name
        """See `SparseCoder`."""
        return self.weights["W_dec"] if self._directions is None else self._directions

    def _encode(self, entered: torch.Tensor) -> torch.Tensor:
        before = self._before(entered)
        if self._norms is not None:
            before = before * self._norms
        values, features = self._largest(before)
        return torch.zeros_like(before).scatter_(-1, features, values)

    def _largest(self, before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, features = before.topk(self.settings["k"], dim=-1, sorted=False)
        return values.relu() if self.settings["clips"] else values, features

    def _encode_some(self, entered: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self._encode(entered)[..., features]

    def _decode(self, acts: torch.Tensor, x: torch.Tensor | None) -> torch.Tensor:
        if self._divisors is not None:  # in SAELens's order: the same to the last bit, also in bfloat16
            acts = acts / self._divisors
        return self._left(acts @ self.weights["W_dec"] + self.b_dec, x)


class AbsTopK(TopK):
    """The k largest of |pre|, with their signs."""

    OWN_SETTINGS: ClassVar = {"k": 100, "rescale_acts_by_decoder_norm": False}

    def _largest(self, before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = before.abs().topk(self.settings["k"], dim=-1, sorted=False).indices
        return before.gather(-1, features), features


class Gated(SparseCoder):
    """`(in W_enc + b_gate > 0) · relu(in (W_enc · exp r_mag) + b_mag)` (Rajamanoharan 2024)."""

    TENSORS: ClassVar = {
        "W_enc": ("d_in", "d_sae"),
        **dict.fromkeys(("b_gate", "r_mag", "b_mag"), ("d_sae",)),
    }

    def _encode(self, entered: torch.Tensor) -> torch.Tensor:
        return self._gated(entered, slice(None))

    def _encode_some(self, entered: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self._gated(entered, features)

    def _gated(self, entered: torch.Tensor, features: torch.Tensor | slice) -> torch.Tensor:
        encoder = self.weights["W_enc"][:, features]
        gate, size, magnitude = (self.weights[key][features] for key in ("b_gate", "r_mag", "b_mag"))
        return (entered @ encoder + gate > 0) * (entered @ (encoder * size.exp()) + magnitude).relu()


#: SAELens's words, and circuit-tracer's transcoders for which SAELens has none.
ARCHITECTURES: dict[str, type[SparseCoder]] = {
    "standard": Standard,
    "gated": Gated,
    "topk": TopK,
    "abstopk": AbsTopK,
    "jumprelu": JumpReLU,
    "matching_pursuit": MatchingPursuit,
    "temporal": Temporal,
    "transcoder": Standard,
    "skip_transcoder": Standard,
    "jumprelu_transcoder": JumpReLU,
    "jumprelu_skip_transcoder": JumpReLU,
    "topk_transcoder": TopK,
    "topk_skip_transcoder": TopK,
}


def from_weights(
    architecture: str,
    weights: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    name: str = "",
    folder: str | Path | None = None,
) -> SparseCoder:
    """A coder of its tensors.

    Args:
        architecture: a word of `ARCHITECTURES`.
        weights: see `SparseCoder`, as all that follow.
        settings: what it computes with.
        metadata: what is said of model, hooks and training.
        name: for headers.
        folder: where it was read.

    Raises:
        DataError: an architecture that is not known, or what `SparseCoder` says.
    """
    if architecture not in ARCHITECTURES:
        raise DataError(
            f"{name or folder or 'the coder'} is of architecture {architecture!r}, which is not known here.",
            choose(architecture, ARCHITECTURES, "Known are"),
        )
    return ARCHITECTURES[architecture](architecture, weights, settings, metadata, name, folder)
