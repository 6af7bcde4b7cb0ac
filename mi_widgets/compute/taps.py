"""Gradients by activations: where the graph of a pass is tapped, and what a number is worth there.

Never touches a parameter's `.grad`. Runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mi_widgets.errors import DataError, ModelError


class Tap:
    """To be hung on a hook as a write that changes nothing; afterwards `edge` is the place in the graph behind it.

    A copy stands behind the hook instead of the activation itself: so the gradient is by what flows on from here, as a
    write would change it, whatever else reads the activation before; and what later writes into it in place does no
    harm. Memory is the same, for the graph keeps the copy instead.
    """

    def __init__(self) -> None:
        self.edge: Any = None

    def __call__(self, activation: torch.Tensor, _first: int) -> torch.Tensor:
        """As a `Write` acts."""
        if not activation.requires_grad:  # of a frozen model, or before its first parameter
            activation = activation.detach().requires_grad_(True)
        behind = activation.clone()
        self.edge = torch.autograd.graph.get_gradient_edge(behind)
        return behind


def derivatives(value: Any, edges: Sequence[Any]) -> Sequence[torch.Tensor | None]:
    """Gradients of `value` at each edge; None where it does not depend on it.

    Raises:
        DataError: it is not one number that depends on the logits.
    """
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        said = f"a tensor {list(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise DataError(f"the metric gives {said}, not one number as a tensor.", "E.g. logits[:, -1, token].sum().")
    if not edges:
        return ()
    if not value.requires_grad:
        raise DataError("the metric does not depend on the logits, or was detached.", "Compute it with torch.")
    return torch.autograd.grad(value.reshape(()), list(edges), allow_unused=True)


def copied(hook: str) -> ModelError:
    """That what stands at `hook` is a copy, which the model does not read."""
    return ModelError(
        f"{hook} has no gradient: the model computes nothing from what stands there.",
        "This architecture shows a copy at that hook; choose another site.",
    )
