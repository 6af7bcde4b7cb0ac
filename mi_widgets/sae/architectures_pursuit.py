"""Matching pursuit (Costa 2025): features are taken one after another, each the one that explains most of what is left.

Knows nothing of files. Definition and stopping are SAELens's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from mi_widgets.sae.coder import SparseCoder


class MatchingPursuit(SparseCoder):
    """At most `max_iterations` times (`d_in` if None): the feature whose direction agrees most with what is left of the
    input takes its part of it. A position is done when what is left is shorter than `residual_threshold`, or, with
    `stop_on_duplicate_support`, when a turn brought no new feature."""

    TENSORS: ClassVar = {}
    OWN_SETTINGS: ClassVar = {
        "residual_threshold": 1e-2,
        "max_iterations": None,
        "stop_on_duplicate_support": True,
    }

    @property
    def b_dec(self) -> torch.Tensor:
        """See `SparseCoder`; zero where it is not taken from the input either."""
        bias = self.weights["b_dec"]
        return bias if self.settings["apply_b_dec_to_input"] else torch.zeros_like(bias)

    def _encode(self, entered: torch.Tensor) -> torch.Tensor:
        directions, threshold = self.weights["W_dec"], self.settings["residual_threshold"]
        left = entered.reshape(-1, self.d_in)
        acts = left.new_zeros(len(left), self.d_sae)
        active = torch.ones(len(left), dtype=torch.bool, device=left.device)
        for _ in range(self.settings["max_iterations"] or self.d_in):
            best = (left @ directions.T).relu().argmax(-1)
            chosen = directions[best]
            taken = ((left * chosen).sum(-1).relu() * active)[:, None]
            old = (acts != 0).sum(-1)
            acts.scatter_add_(1, best[:, None], taken)
            left = left - taken * chosen
            if self.settings["stop_on_duplicate_support"]:
                active &= (acts != 0).sum(-1) != old  # activations only grow: an equal count is an equal support
            if threshold > 0:
                active &= left.norm(dim=-1) >= threshold
            if not active.any():
                break
        return acts.reshape(*entered.shape[:-1], self.d_sae)

    def _decode(self, acts: torch.Tensor, x: Any) -> torch.Tensor:
        return self._left(acts @ self.weights["W_dec"] + self.b_dec, x)
