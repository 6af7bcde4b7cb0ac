"""Where in a pass numbers stop being finite: NaN or ±inf, from a broken weight, an overflow in half precision, a hook.

Asked only when a result holds such numbers; then the model is run once more and every hook looked at until the first
one. Knows nothing of what the result is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.forward import SCORES, Write, forward
from mi_widgets.errors import ModelError

#: What stands at a hook, by its name within a block; in the words of a caption.
PLACES = {
    "hook_resid_pre": "residual stream",
    "ln1.hook_out": "norm",
    "ln2.hook_out": "norm",
    "attn.hook_q": "queries",
    "attn.hook_k": "keys",
    "attn.hook_v": "values",
    SCORES: "attention scores",
    "attn.hook_pattern": "attention pattern",
    "attn.hook_z": "what the heads read",
    "hook_attn_out": "attention output",
    "hook_resid_mid": "residual stream",
    "mlp.hook_pre": "MLP",
    "mlp.hook_post": "MLP",
    "hook_mlp_out": "MLP output",
    "hook_resid_post": "residual stream",
}
#: Hooks that stand once.
ONCE = {
    "hook_embed": "from the embedding on",
    "hook_pos_embed": "from the position embedding on",
    "ln_final.hook_normalized": "in the final norm",
}
#: Where it is nowhere else.
LOGITS = "in the logits"


def not_finite(model: Any, ids: np.ndarray, known: dict[str, Any] | None = None, writes: Sequence[Write] = ()) -> str:
    """Where the first number that is not finite stands in a pass over `ids`: `"from layer 1 on (attention scores)"`,
    `"from the embedding on"`, `"in the logits"`.

    Args:
        model: a TransformerBridge.
        ids: int64 `[position]`.
        known: keeps the answer for the next who asks.
        writes: made in that pass.
    """
    known = {} if known is None else known
    if "not finite" not in known:
        known["not finite"] = _first(model, ids, writes)
    return known["not finite"]


def refusal(where: str) -> ModelError:
    """That nothing can be computed of numbers that are not finite."""
    return ModelError(
        f"the model's numbers are not finite {where}.",
        "Look for overflow of half precision, a broken weight, or a hook.",
    )


def _first(model: Any, ids: np.ndarray, writes: Sequence[Write]) -> str:
    found: list[str] = []

    def look(name: str, _row: int, value: torch.Tensor) -> None:
        # Masked scores are −inf, and rightly so.
        broken = value.isnan() | value.isposinf() if name.endswith(SCORES) else ~value.isfinite()
        if not found and bool(broken.any()):
            found.append(name)

    block = re.compile(r"^blocks\.\d+\.")
    names = {
        id(point): name for name, point in model.hook_dict.items() if block.sub("", name) in PLACES or name in ONCE
    }
    forward(model, ids, (), (), {name: partial(look, name) for name in names.values()}, writes)
    if not found:
        return LOGITS
    name = found[0]
    return ONCE[name] if name in ONCE else f"from layer {name.split('.')[1]} on ({PLACES[block.sub('', name)]})"
