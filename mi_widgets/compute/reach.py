"""Whether what is put in place of an activation reaches the logits, found by asking the model, not by its name.

NaN is put there in a pass over two tokens (the whole prompt, where hooks of the user's own fit nothing shorter): it
goes through weights that are zero, so that only what nothing reads leaves the logits finite. Asked once for each kind
of hook and block, and remembered as long as the model lives. Knows nothing of what will be put there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from mi_widgets.compute.acts import LAST, MIDDLE, MLP
from mi_widgets.compute.forward import Write, forward
from mi_widgets.compute.writes import tolerance_of
from mi_widgets.errors import MiWidgetsError

#: Tokens of a probe.
LENGTH = 2


@dataclass(frozen=True)
class Reach:
    """What a probe found at one hook.

    Attributes:
        shape: of the activation there, `(run, position, …)`; () where it is no tensor; None where the hook was not
            called.
        acts: what stands there is read by something that the logits depend on.
    """

    shape: tuple[int, ...] | None
    acts: bool


_KNOWN: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()


def reach(model: Any, ids: np.ndarray, hook: str) -> Reach:
    """What is put in place of the activation at `hook`: does it change the output?

    Args:
        model: a TransformerBridge.
        ids: int64 `[position]`, a prompt that this model can run.
        hook: in full, one that the model has.
    """
    return _remembered(model, "reach", hook, lambda: _shortly(_reach, model, ids, hook))


def carries(model: Any, ids: np.ndarray, layer: int) -> bool | None:
    """Whether the hook `hook_resid_mid` of this block stands in the residual stream itself, so that what is put there
    goes on to `hook_resid_post`. False where only the MLP reads it (most Bridges: it is the input of the norm); None
    where it is not what the MLP's output is added to."""
    return _remembered(model, "carries", f"blocks.{layer}.{MIDDLE}", lambda: _shortly(_carries, model, ids, layer))


def _remembered(model: Any, question: str, hook: str, ask: Callable[[], Any]) -> Any:
    """The answer for this hook: known, or that of a block made alike, or asked now."""
    known = _KNOWN.setdefault(model, {})
    settings = _settings(model)
    asked = (question, hook, settings)
    if asked not in known:
        alike = (question, *_kind(model, hook), settings)
        known[asked] = known[alike] if alike in known else ask()
        known[alike] = known[question, *_kind(model, hook), settings] = known[asked]  # a first pass sets switches too
    return known[asked]


def _shortly(ask: Callable[..., Any], model: Any, ids: np.ndarray, about: Any) -> Any:
    """The answer from the first tokens; from all where a hook of the user's own may fit the prompt alone."""
    try:
        return ask(model, ids[:LENGTH], about)
    except MiWidgetsError:
        raise
    except Exception:
        return ask(model, ids, about)


def _reach(model: Any, ids: np.ndarray, hook: str) -> Reach:
    shapes: list[tuple[int, ...]] = []
    opaque = []

    def spoil(activation: Any, _first: int) -> torch.Tensor | None:
        held = isinstance(activation, torch.Tensor)
        shapes.append(tuple(activation.shape) if held else ())
        if not held or not activation.is_floating_point():
            opaque.append(activation)
            return None
        return torch.full_like(activation, math.nan)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TransformerLens says what is found out here
            found = forward(model, ids, ("output.normalizer",), (), writes=[Write(hook, spoil)])
        spoilt = bool(np.isnan(found.arrays["output.normalizer"]).any())
    except MiWidgetsError:
        raise
    except Exception:
        forward(model, ids, ("output.normalizer",), ())  # raises what is no matter of NaN
        spoilt = True  # what cannot compute with NaN has read it
    # Of what cannot hold NaN nothing is known; it is not refused.
    return Reach(shapes[0] if shapes else None, bool(shapes) and (spoilt or bool(opaque)))


def _carries(model: Any, ids: np.ndarray, layer: int) -> bool | None:
    def at(site: str) -> str:
        return f"blocks.{layer}.{site}"

    sites = (at(MIDDLE), at(MLP), at(LAST))
    plain = forward(model, ids, sites, ()).arrays
    middle, mlp, last = (plain[site] for site in sites)
    apart = float(np.linalg.norm(middle + mlp - last))
    tolerance = tolerance_of(next(iter(model.parameters())).dtype)
    if not apart <= tolerance * max(float(np.linalg.norm(last)), float(np.linalg.norm(middle))):
        return None
    # The MLP's answer is taken away, so that the only way left is the stream itself.
    writes = [
        Write(at(MIDDLE), lambda activation, _first: torch.full_like(activation, math.nan)),
        Write(at(MLP), lambda activation, _first: torch.zeros_like(activation)),
    ]
    return bool(np.isnan(forward(model, ids, (at(LAST),), (), writes=writes).arrays[at(LAST)]).any())


def _settings(model: Any) -> Hashable:
    """What a user may set that changes which hooks are called and read."""
    config = getattr(getattr(model, "original_model", None), "config", None)
    return (
        repr(sorted((name, value) for name, value in vars(model.cfg).items() if name.startswith("use_"))),
        str(getattr(config, "_attn_implementation", None)),
        bool(getattr(model, "compatibility_mode", False)),
    )


def _kind(model: Any, hook: str) -> tuple[Hashable, ...]:
    """Equal for the same hook of blocks that are made alike: of the same parts, shapes and switches."""
    place, _, rest = hook.removeprefix("blocks.").partition(".")
    if not hook.startswith("blocks.") or not place.isdigit():
        return (hook,)
    block = model.blocks[int(place)]
    parts = tuple(
        (name, type(module).__name__, _switches(module))
        for name, module in block.named_modules()
        if not hasattr(module, "fwd_hooks")  # a hook point knows its own name
    )
    shapes = tuple((name, tuple(weight.shape)) for name, weight in block.named_parameters())
    return (rest, hash((parts, shapes)))


def _switches(module: Any) -> str:
    """What is set on a module that may change what it does; its name says only where it stands."""
    return repr([
        (name, value) for name, value in vars(module).items() if name != "name" and isinstance(value, (bool, str))
    ])  # fmt: skip
