"""Where a pass may start: above some blocks, with a given residual stream. Those blocks are passed over, not run.

TransformerLens's own `start_at_layer` runs every block all the same. Knows how a block is called, and runs no model.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from mi_widgets.errors import DataError, ModelError

#: In the place of an attribute that was not there.
ABSENT = object()
#: Block classes whose callers want a tuple, for a transformers without its source.
IN_TUPLES = {"GPTJBlock", "GPTNeoBlock", "CodeGenBlock", "FalconDecoderLayer", "BloomBlock", "MptBlock"}


@dataclass(frozen=True, eq=False)
class Start:
    """A pass from block `layer` on.

    Attributes:
        layer: the first block that is run, from 0.
        residual: torch or numpy `[run, position, d_model]`, or `[position, d_model]` for one run: what stands at
            `blocks.{layer}.hook_resid_pre`, of the positions that are run.
        entering: it is what the block below hands on, instead: what hangs between the two (hooks of the user's own at
            `hook_resid_pre`) acts on it. Then `layer` may also be the number of layers, behind the last block.
    """

    layer: int
    residual: Any
    entering: bool = False

    def tensor(self, model: Any, positions: int) -> torch.Tensor:
        """The residual as `[run, position, d_model]`, in its own number type.

        Raises:
            DataError: a layer that the model does not have, or axes that do not fit.
            ModelError: blocks of this architecture hand more than one residual stream to each other.
        """
        n_layers, width = int(model.cfg.n_layers), int(model.cfg.d_model)
        if not 0 <= self.layer < n_layers + self.entering:
            raise DataError(f"the model has no layer {self.layer}.", f"Start at a layer from 0 to {n_layers - 1}.")
        given = self.residual if isinstance(self.residual, torch.Tensor) else torch.tensor(self.residual)
        given = given[None] if given.ndim == 2 else given
        if given.ndim != 3 or given.shape[1:] != (positions, width):
            raise DataError(
                f"the residual has shape {list(self.residual.shape)}; it must be [run, position, d_model], "
                f"here [run, {positions}, {width}]."
            )
        blocks = list(getattr(model, "blocks", ()))
        alone = all(getattr(block, "hook_out_is_single_residual_stream", True) for block in blocks)
        if len(blocks) != n_layers or not alone:
            raise ModelError(
                "a pass of this architecture cannot start above its first block.", "Run it whole, without start."
            )
        return given


class PassedOver:
    """Stands as the `forward` of a block that is not run, on the thread that put it there: the residual goes through.

    Args:
        block: a Bridge's block.
        handed: what it hands on, called with its input; the input itself if None.
    """

    def __init__(self, block: Any, handed: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        self.before = block.__dict__.get("forward", ABSENT)
        self._block, self._thread, self._handed = block, threading.get_ident(), handed
        self._beside = beside_the_residual(type(block.original_component))

    def __call__(self, *given: Any, **named: Any) -> Any:
        """As the block is called by the model."""
        if threading.get_ident() != self._thread:
            forward = type(self._block).forward.__get__(self._block) if self.before is ABSENT else self.before
            return forward(*given, **named)
        residual = given[0] if given else named["hidden_states"]
        residual = residual if self._handed is None else self._handed(residual)
        return residual if self._beside is None else (residual, *(None,) * self._beside)


def pass_over(blocks: Sequence[Any], handed: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
    """Let these blocks hand their input through, until `put_back`; the last of them what `handed` makes of it."""
    for block in blocks:
        block.__dict__["forward"] = PassedOver(block, handed if block is blocks[-1] else None)


def put_back(blocks: Iterable[Any]) -> None:
    """As before `pass_over`, however far that came; may be called again."""
    for block in blocks:
        held = block.__dict__.get("forward")
        if isinstance(held, PassedOver):
            if held.before is ABSENT:
                del block.__dict__["forward"]
            else:
                block.__dict__["forward"] = held.before


@cache
def beside_the_residual(kind: type) -> int | None:
    """How many values a block of Hugging Face's class `kind` returns in a tuple behind the residual; None where it
    returns the residual alone. As its source says, for annotations are wrong: `return hidden_states, attn_weights`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind.forward)))  # type: ignore[attr-defined]
    except (OSError, TypeError, SyntaxError):
        return 1 if kind.__name__ in IN_TUPLES else None
    nodes = list(ast.walk(tree))
    made = {
        target.id: node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and _tupled(node.value) is not None
    }
    for node in nodes:
        if isinstance(node, ast.Return) and node.value is not None:
            value = made.get(node.value.id, node.value) if isinstance(node.value, ast.Name) else node.value
            if _tupled(value) is not None:
                return max(1, _tupled(value) or 0)  # (hidden_states,) + what follows: one at least
    return None


def _tupled(value: ast.expr) -> int | None:
    """Of the source of a tuple how many stand behind the first; None of anything else."""
    if isinstance(value, ast.BinOp):  # (hidden_states,) + outputs
        value = value.left
    return len(value.elts) - 1 if isinstance(value, ast.Tuple) else None
