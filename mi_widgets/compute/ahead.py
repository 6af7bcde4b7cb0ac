"""Whether a model reads later positions, by the masks that it used in this very pass, not by its name.

Costs a few rows of each pattern, on the model's own device. Runs no model.
"""

from __future__ import annotations

from typing import Any

import torch

from mi_widgets.compute.undisturbed import OwnHook
from mi_widgets.errors import ModelError
from mi_widgets.models import describe

#: Rows of each head that are looked at whole, spread over the prompt; of all others the cell after the diagonal.
ROWS = 8


class Ahead:
    """Watches every pattern of one pass.

    Args:
        model: a TransformerBridge.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        patterns = {id(point): name for name, point in model.hook_dict.items() if name.endswith("hook_pattern")}
        self._names = list(patterns.values())  # a hook may have two names
        self._found: dict[str, list[torch.Tensor]] = {}

    def hooks(self) -> list[tuple[str, OwnHook]]:
        """To be put on the model."""
        return [(name, OwnHook(lambda pattern, name=name: self._look(name, pattern))) for name in self._names]

    def _look(self, name: str, pattern: torch.Tensor) -> None:
        self._found.setdefault(name, []).append(reads_ahead(pattern))

    def check(self, finite: bool, alone: bool = False) -> None:
        """After the pass.

        Args:
            alone: the prompt has one position, so that there is no later one to read.
            finite: every position has logits. Where an overflow spoils the masks of a model that should be causal, the
                numbers that are missing tell more than this refusal would.

        Raises:
            ModelError: a later position was read; or no pattern can tell and the configuration says that later
                positions are.
        """
        causal = describe(self._model).causal
        if causal and not finite:
            return
        where = None
        looked = [(name, found) for name, several in self._found.items() for found in several]
        if looked:
            seen = torch.stack([found.cpu() for _, found in looked]).tolist()
            where = next((name for (name, _), ahead in zip(looked, seen, strict=True) if ahead), None)
        if where is None and (not looked or alone):
            where = None if causal else "its configuration"
        if where is not None:
            raise ModelError(
                f"this model sees ahead: its positions read later ones ({where.removesuffix('.hook_pattern')}).",
                "It has no probability of a token given those before it; choose a model that reads from left to right.",
            )


def reads_ahead(pattern: torch.Tensor) -> torch.Tensor:
    """A truth value on the pattern's device: whether a query has weight on a later key. NaN is no weight.

    Args:
        pattern: `[head, query, key]`; more keys than queries are taken to stand before them all.
    """
    queries, keys = pattern.shape[-2:]
    before = keys - queries
    next_ones = pattern.diagonal(before + 1, -2, -1)
    rows = torch.arange(0, queries, max(1, queries // ROWS), device=pattern.device)
    later = torch.arange(keys, device=pattern.device) > rows[:, None] + before
    return (next_ones.abs() > 0).any() | ((pattern[..., rows, :].abs() > 0) & later).any()
