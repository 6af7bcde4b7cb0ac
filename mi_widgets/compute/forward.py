"""The only file that runs the user's model: one forward pass, chosen activations, nothing left behind.

Activations arrive on the CPU in float32, stacked over layers as they are produced, so that beside the bare pass
there is exactly one copy, which is read-only. Knows nothing of what they are for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.activations import (  # some only offered here
    PATTERN,
    SCORES,
    Activations,
    Layers,
    Stack,
    at_position,
    in_block,
    take_position,
    unread,
)
from mi_widgets.compute.ahead import Ahead
from mi_widgets.compute.output import complete, foretells, is_output, kept_output
from mi_widgets.compute.step import Steps, run
from mi_widgets.compute.undisturbed import OwnHook, OwnWrite, take_away, train_again, without_gradients
from mi_widgets.errors import ModelError
from mi_widgets.models import lock_of, modules_of

__all__ = [
    "PATTERN",
    "SCORES",
    "Activations",
    "Reader",
    "Write",
    "at_position",
    "forward",
    "forward_steps",
    "in_block",
    "take_position",
]

#: Called in the pass with (layer, activation without its batch axis, in its own dtype and device). Of a site that
#: stands once the layer is -1.
Reader = Callable[[int, torch.Tensor], None]


@dataclass(frozen=True, eq=False)
class Write:
    """What is put in place of an activation, before anything is read there. Several at one hook act in turn.

    Attributes:
        hook: in full, `"blocks.2.attn.hook_z"`.
        act: called with the activation `[run, position, …]` and the place in the prompt of its first position (0
            unless keys and values were kept); returns what stands instead, or None where it changed it in place.
    """

    hook: str
    act: Callable[[torch.Tensor, int], torch.Tensor | None]


def forward(
    model: Any,
    ids: np.ndarray,
    sites: Sequence[str],
    layers: Iterable[int] | Mapping[str, Layers] | None = None,
    readers: dict[str, Reader] | None = None,
    writes: Sequence[Write] = (),
    interventions: tuple[Any, ...] = (),
) -> Activations:
    """Run the model once, in evaluation mode and without gradients.

    Hooks of the user's own stay active, and what they raise is raised. Hooks, training flags, gradients and weights
    are as before afterwards, also after an exception. A pass on another thread is waited for.

    Args:
        model: a TransformerBridge.
        ids: int64 `[position]`.
        sites: hook names within a block, e.g. `"attn.hook_pattern"`, or of the whole model, e.g.
            `"ln_final.hook_scale"`; either of one position alone (`at_position`); or names of
            `output.OUTPUT_SITES` or `output.LAST_LOGITS`. Each becomes an array.
        layers: which blocks; all if None. Or by site; all for a site that is not named.
        readers: further functions by site, called in the pass after the site is stored.
        writes: what is changed in the pass; readers and arrays see what was written.
        interventions: what the writes were made from, to be named in results.

    Returns:
        Activations with one array for each site.

    Raises:
        ModelError: a site that this architecture does not have, or whose hook never fired; or next tokens asked of a
            model that has read them.
    """
    return run(forward_steps(model, ids, sites, layers, readers, writes, interventions))


def forward_steps(
    model: Any,
    ids: np.ndarray,
    sites: Sequence[str],
    layers: Iterable[int] | Mapping[str, Layers] | None = None,
    readers: dict[str, Reader] | None = None,
    writes: Sequence[Write] = (),
    interventions: tuple[Any, ...] = (),
    pausing: bool = False,  # noqa: ARG001
) -> Steps[Activations]:
    """`forward` as steps."""
    yield from ()
    return _forward(model, ids, sites, layers, readers, writes, interventions)


@without_gradients
def _forward(
    model: Any,
    ids: np.ndarray,
    sites: Sequence[str],
    layers: Iterable[int] | Mapping[str, Layers] | None,
    readers: dict[str, Reader] | None,
    writes: Sequence[Write],
    interventions: tuple[Any, ...],
) -> Activations:
    every = tuple(range(int(model.cfg.n_layers)))
    own = dict(layers) if isinstance(layers, Mapping) else {}
    common = every if layers is None or isinstance(layers, Mapping) else tuple(layers)

    def layers_of(site: str) -> tuple[int, ...]:
        chosen = own.get(site) if site in own else common
        return (every if chosen is None else chosen) if in_block(site) else (-1,)

    lowest = max(torch.finfo(torch.float32).min, torch.finfo(_dtype(model)).min) / 2
    hooked = [site for site in sites if not is_output(site)]
    stacks = {site: Stack(site, layers_of(site), lowest) for site in hooked}
    hooks: list[tuple[str, Any]] = [(write.hook, OwnWrite(write.act)) for write in writes]
    for site in dict.fromkeys([*hooked, *(readers or {})]):
        takers = [taker for taker in (stacks.get(site), (readers or {}).get(site)) if taker is not None]
        name = site.partition("@")[0]
        for layer in layers_of(site):
            at = f"blocks.{layer}.{name}" if layer >= 0 else name
            hooks += [(at, OwnHook(partial(taker, layer))) for taker in takers]
    wanted = [site for site in sites if is_output(site)]
    ahead = Ahead(model) if foretells(wanted) else None
    hooks += ahead.hooks() if ahead is not None else []
    output: dict[str, np.ndarray] = {}
    tokens = torch.tensor(np.asarray(ids), dtype=torch.long)[None].to(_input_device(model))
    with lock_of(model):
        logits, was_training = _run(model, tokens, hooks, bool(wanted))
        if wanted:
            output = kept_output(logits[0], tokens[0], wanted)
        if ahead is not None:
            ahead.check(complete(output), alone=tokens.shape[1] == 1)
    for site, stack in stacks.items():
        if len(stack.filled) != stack.rows:
            raise unread(site, stack)
    in_blocks = {site: layers_of(site) for site in hooked if in_block(site)}
    return Activations(
        layers=tuple(sorted({layer for held in in_blocks.values() for layer in held})) if own else common,
        arrays={site: stack.result(in_block(site)) for site, stack in stacks.items()}
        | {site: output[site] for site in wanted},
        was_training=was_training,
        interventions=interventions,
        rows=in_blocks if own else {},
    )


def _run(model: Any, tokens: torch.Tensor, hooks: list[tuple[str, Any]], logits: bool) -> tuple[Any, bool]:
    """The pass itself: the logits (or None), and whether the model was in training mode."""
    known = model.hook_dict
    absent = [name for name, _ in hooks if name not in known]
    if absent:
        sites = dict.fromkeys(re.sub(r"^blocks\.\d+\.", "", name) for name in absent)
        raise ModelError(f"this architecture has no {' or '.join(sites)}.", "Choose another weighting or view.")
    points = {id(known[name]): known[name] for name, _ in hooks}.values()
    training = [module for module in modules_of(model) if module.training]
    try:
        try:
            for module in training:
                module.training = False
            # Put there by hand: once each, where TransformerLens would call them by every name of the hook; and
            # permanent, so that a reset_hooks() of the user's, while the pass pauses, leaves them.
            for name, hook in hooks:
                known[name].add_hook(hook, is_permanent=True)
            return model.forward(tokens, return_type="logits" if logits else None), bool(training)
        finally:
            _restore(training, points)
    finally:
        _restore(training, points)


def _restore(training: list[torch.nn.Module], points: Iterable[Any]) -> None:
    """Flags and hooks as they were; may be called again."""
    train_again(training)
    take_away(points)


def _dtype(model: Any) -> torch.dtype:
    """The number type that the model computes in."""
    dtype = next(iter(model.parameters())).dtype
    return dtype if dtype.is_floating_point else torch.float32


def _input_device(model: Any) -> torch.device:
    """Where the token ids belong: the embedding's device, also for models spread over devices."""
    with contextlib.suppress(AttributeError, NotImplementedError):
        return model.original_model.get_input_embeddings().weight.device
    return next(model.parameters()).device
