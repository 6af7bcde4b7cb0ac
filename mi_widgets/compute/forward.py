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
    SiteLayers,
    Stack,
    at_position,
    check_computed,
    collected,
    hook_in,
    hook_of,
    in_block,
    is_unwritten,
    take_position,
    unwritten,
)
from mi_widgets.compute.ahead import Ahead
from mi_widgets.compute.kept_keys import KeptKeys
from mi_widgets.compute.lockstep import AtOnce, can_pause, in_lockstep
from mi_widgets.compute.output import complete, foretells, is_output, kept_output
from mi_widgets.compute.products import hasten, slow_down
from mi_widgets.compute.start import Start, pass_over, put_back
from mi_widgets.compute.step import Step, Steps, run
from mi_widgets.compute.taps import Tap, copied, derivatives
from mi_widgets.compute.undisturbed import (
    OwnHook,
    OwnWrite,
    evaluate,
    take_away,
    train_again,
    with_gradients,
    without_gradients,
)
from mi_widgets.errors import DataError, DisturbedError, ModelError
from mi_widgets.models import modules_of

__all__ = [
    "PATTERN",
    "SCORES",
    "Activations",
    "KeptKeys",
    "Reader",
    "Start",
    "Write",
    "at_position",
    "forward",
    "forward_steps",
    "gradients",
    "hook_of",
    "in_block",
    "take_position",
    "unwritten",
]

#: Called in the pass with (layer, activation without its batch axis, in its own dtype and device); of a batch of runs
#: with that axis. Of a site that stands once the layer is -1.
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
    *,
    start: Start | None = None,
    keys: KeptKeys | None = None,
    until: str | None = None,
    hasty: bool = False,
) -> Activations:
    """Run the model once, in evaluation mode and without gradients.

    Hooks of the user's own stay active, and what they raise is raised. Hooks, training flags, gradients and weights
    are as before afterwards, also after an exception. A pass on another thread is waited for.

    Args:
        model: a TransformerBridge.
        ids: int64 `[position]`; or `[run, position]`, a batch of prompts of one length: then arrays and readers'
            activations have an axis of runs, behind that of layers.
        sites: hook names within a block, e.g. `"attn.hook_pattern"`, or of the whole model, e.g.
            `"ln_final.hook_scale"`; either of one position alone (`at_position`); or names of
            `output.OUTPUT_SITES` or `output.LAST_LOGITS`. Each becomes an array. Of a hook also what stood there
            before anything was written (`unwritten`).
        layers: which blocks; all that are run if None. Or by site; all for a site that is not named.
        readers: further functions by site, called in the pass after the site is stored.
        writes: what is changed in the pass; readers and arrays see what was written.
        interventions: what the writes were made from, to be named in results.
        start: begin at a block with a given residual stream; the blocks below are not run. With a residual of several
            runs, `ids` `[position]` stand for each of them, and the pass is a batch.
        keys: keys and values that passes over the beginning of `ids` have kept: only the positions behind are run, and
            the arrays hold those (`Activations.first`). The pass adds to them, unless it starts above block 0.
        until: a hook, in full, with which the pass ends: what would be computed behind it is not.
        hasty: make products with weights the fastest way there is, whose last digits are others (`products`).

    Returns:
        Activations with one array for each site.

    Raises:
        ModelError: a site that this architecture does not have, that is below the start, or whose hook never fired; or
            next tokens asked of a model that has read them.
        DataError: a start or kept keys that do not fit.
    """
    return run(
        forward_steps(
            model, ids, sites, layers, readers, writes, interventions, start=start, keys=keys, until=until, hasty=hasty
        )
    )


def forward_steps(
    model: Any,
    ids: np.ndarray,
    sites: Sequence[str],
    layers: Iterable[int] | Mapping[str, Layers] | None = None,
    readers: dict[str, Reader] | None = None,
    writes: Sequence[Write] = (),
    interventions: tuple[Any, ...] = (),
    pausing: bool = False,
    *,
    start: Start | None = None,
    keys: KeptKeys | None = None,
    until: str | None = None,
    hasty: bool = False,
) -> Steps[Activations]:
    """`forward` as steps.

    With `pausing` the pass, and so `readers` and `writes`, run on a thread of its own, and it yields before every block
    and from time to time where no hook can fire (`compute.lockstep`): in a pause the model is as it was and may be run,
    and closing the steps ends the pass there. Where hooks were put on the model in a pause, or the pass's own taken
    off, it is made again at once. Without, and where it must (`can_pause`), it runs at once on this thread.

    Where outputs are asked for too, the step in which only the product with the unembedding is left has a `partial`:
    Activations of the sites that are complete, without outputs. One without sites takes it back: the pass is made anew.
    """

    def whole(pace: AtOnce) -> Activations:
        return _forward(
            _Pass(model, ids, writes, start, keys, until, hasty), sites, layers, readers, interventions, pace
        )

    if pausing and can_pause(model):
        try:
            return (yield from in_lockstep(model, whole))
        except DisturbedError:
            if keys is not None:  # they may be of the disturbed pass
                raise
            yield Step(0, 1, Activations(()))
    return whole(AtOnce())


@without_gradients
def _forward(
    made: _Pass,
    sites: Sequence[str],
    layers: Iterable[int] | Mapping[str, Layers] | None,
    readers: dict[str, Reader] | None,
    interventions: tuple[Any, ...],
    pace: AtOnce,
) -> Activations:
    model = made.model
    chosen = SiteLayers(int(model.cfg.n_layers), layers, made.first_layer)
    lowest = max(torch.finfo(torch.float32).min, torch.finfo(_dtype(model)).min) / 2
    hooked = [site for site in sites if not is_output(site)]
    stacks = {site: Stack(site, chosen.of(site), lowest, made.first) for site in hooked}
    before: list[tuple[str, Any]] = []
    behind: list[tuple[str, Any]] = []
    named: list[str] = [*hooked, *(readers or {})]
    for site in dict.fromkeys(named):
        takers = [taker for taker in (stacks.get(site), (readers or {}).get(site)) if taker is not None]
        into = before if is_unwritten(site) else behind
        for layer in chosen.of(site):
            into += [(hook_in(site, layer), OwnHook(partial(taker, layer), made.batch)) for taker in takers]
    wanted = [site for site in sites if is_output(site)]
    if wanted and made.until is not None:
        raise DataError(f"a pass that ends with {made.until} has no output.", "Leave until= out.")
    ahead = Ahead(model) if foretells(wanted) and not made.first else None  # kept keys: looked at when they were made
    behind += ahead.hooks() if ahead is not None else []
    output: dict[str, np.ndarray] = {}
    held, rows = chosen.record(hooked)

    def left(arrays: dict[str, np.ndarray], was_training: bool) -> Activations:
        return Activations(
            layers=held,
            arrays=arrays,
            was_training=was_training,
            interventions=interventions,
            rows=rows,
            writes=made.writes,
            first=made.first,
            seconds=pace.seconds,
        )

    def so_far(was_training: bool) -> Activations:
        return left(collected({site: stack for site, stack in stacks.items() if stack.complete}), was_training)

    pace.so_far = so_far if wanted and hooked else None
    with pace.holding(model):
        logits, was_training = made.run(behind, bool(wanted), pace, before)
    if wanted:
        several = [kept_output(*each, wanted, pace.heard) for each in zip(logits, made.tokens, strict=True)]
        output = {
            site: np.stack([kept[site] for kept in several]) if made.batch else several[0][site] for site in wanted
        }
    if ahead is not None:
        ahead.check(complete(output), alone=made.tokens.shape[1] == 1)
    return left(collected(stacks) | {site: output[site] for site in wanted}, was_training)


def gradients(
    model: Any,
    ids: np.ndarray,
    metric: Callable[[torch.Tensor], torch.Tensor],
    sites: Sequence[str],
    layers: Iterable[int] | Mapping[str, Layers] | None = None,
    writes: Sequence[Write] = (),
    interventions: tuple[Any, ...] = (),
    *,
    readers: dict[str, Reader] | None = None,
    start: Start | None = None,
) -> tuple[float, Activations]:
    """A number made of the logits, and its gradients by activations: one pass forward and one back.

    A gradient is by what stands at the hook, as a `Write` there would change it, with all else as it is. No
    parameter's `.grad` is touched, and it does not matter whether any wants a gradient. All else is as for `forward`.

    Args:
        model: a TransformerBridge.
        ids: int64 `[position]`, or `[run, position]`.
        metric: called with the logits `[run, position, d_vocab]`, in the model's number type and on its device, of one
            run too; returns one number as a tensor. Where it sums over runs, the gradients of each run are its own.
        sites: hook names, as for `forward`, but for outputs.
        layers: which blocks, as for `forward`.
        writes: what is changed in the pass. A gradient at the same hook is by what was written.
        interventions: what the writes were made from, to be named in results.
        readers: functions by site, called in the pass with the activations themselves.
        start: as for `forward`.

    Returns:
        The number, and the gradients in the place of the activations: float32 on the CPU, of the same axes.

    Raises:
        ModelError: as `forward`; or a site that the logits do not depend on, for what stands there is a copy.
        DataError: a metric that does not give one number made of the logits, or an output as a site.
    """
    return _gradients(model, ids, metric, sites, layers, writes, interventions, readers or {}, start)


@with_gradients
def _gradients(
    model: Any,
    ids: np.ndarray,
    metric: Callable[[torch.Tensor], torch.Tensor],
    sites: Sequence[str],
    layers: Iterable[int] | Mapping[str, Layers] | None,
    writes: Sequence[Write],
    interventions: tuple[Any, ...],
    readers: dict[str, Reader],
    start: Start | None,
) -> tuple[float, Activations]:
    made = _Pass(model, ids, writes, start, None)
    if any(map(is_output, sites)):
        raise DataError("gradients are by activations, not by outputs.", "Name hooks, e.g. hook_resid_post.")
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise ModelError("a model made within torch.inference_mode() has no gradients.", "Load it outside.")
    chosen = SiteLayers(int(model.cfg.n_layers), layers, made.first_layer)
    taps = {(site, layer): Tap() for site in sites for layer in chosen.of(site)}
    before: list[tuple[str, Any]] = []
    behind: list[tuple[str, Any]] = []
    for (site, layer), tap in taps.items():
        (before if is_unwritten(site) else behind).append((hook_in(site, layer), OwnWrite(tap)))
    for site, reader in readers.items():
        into = before if is_unwritten(site) else behind
        into += [(hook_in(site, layer), OwnHook(partial(reader, layer), made.batch)) for layer in chosen.of(site)]
    stacks = {site: Stack(site, chosen.of(site), None) for site in sites}
    pace = AtOnce()
    with pace.holding(model):
        logits, was_training = made.run(behind, True, pace, before)
        value = metric(logits)
        fired = {key: tap.edge for key, tap in taps.items() if tap.edge is not None}
        for (site, layer), gradient in zip(fired, derivatives(value, list(fired.values())), strict=True):
            if gradient is None:
                raise copied(hook_in(site, layer))
            stacks[site](layer, (gradient if made.batch else gradient[0]).detach())
    arrays = collected(stacks)
    held, rows = chosen.record(sites)
    found = Activations(held, arrays, was_training, interventions, rows, writes=made.writes, seconds=pace.seconds)
    return float(value.detach()), found


class _Ended(BaseException):
    """The pass has come as far as it should. No `except Exception` of a model's holds it up."""


def _end(_activation: torch.Tensor) -> None:
    raise _Ended


class _Pass:
    """One pass in the making: what is run, from where, and what is written in it."""

    def __init__(
        self,
        model: Any,
        ids: np.ndarray,
        writes: Sequence[Write],
        start: Start | None,
        keys: KeptKeys | None,
        until: str | None = None,
        hasty: bool = False,
    ) -> None:
        ids = np.asarray(ids)
        if ids.ndim not in (1, 2) or not ids.size:
            raise DataError(f"ids have shape {list(ids.shape)}; they must be [position] or [run, position].")
        if keys is not None:
            keys.check(model, ids)
        self.model, self.writes, self._ids, self._keys, self.until = model, tuple(writes), ids, keys, until
        self._hasty = hasty
        #: Place in the prompt of the first position that is run.
        self.first = 0 if keys is None else keys.positions
        tokens = torch.tensor(ids[..., self.first :], dtype=torch.long)
        tokens = tokens if tokens.ndim == 2 else tokens[None]
        self.first_layer, self._residual, self._entering = 0, None, False
        if start is not None:
            self.first_layer, self._entering = int(start.layer), start.entering and start.layer > 0
            self._residual = start.tensor(model, tokens.shape[1])
            tokens = tokens if len(tokens) > 1 else tokens.expand(len(self._residual), -1)
            if len(tokens) != len(self._residual):
                raise DataError(f"ids are of {len(tokens)} runs and the residual of {len(self._residual)}.")
        #: int64 `[run, position]`, those that are run.
        self.tokens = tokens.to(_input_device(model))
        #: Whether what is read has an axis of runs.
        self.batch = ids.ndim == 2 or len(tokens) > 1

    def run(
        self, behind: list[tuple[str, Any]], logits: bool, pace: AtOnce, before: Sequence[tuple[str, Any]] = ()
    ) -> tuple[Any, bool]:
        """The pass: the logits `[run, position, d_vocab]` (or None), and whether the model was in training mode.

        Args:
            behind: hooks by name, called behind the writes.
            logits: whether they are wanted.
            pace: of the pass.
            before: hooks called before anything is written, but behind the start.
        """
        hooks: list[tuple[str, Any]] = [(write.hook, OwnWrite(write.act, self.first)) for write in self.writes]
        if self.first_layer:
            for name, _ in hooks:
                check_computed(name, self.first_layer)
        hooks = [*before, *hooks, *behind]
        if self.until is not None:
            hooks.append((self.until, OwnHook(_end, True)))
        below: Sequence[Any] = ()
        if self._residual is not None:
            below = list(self.model.blocks)[: self.first_layer]
            if not self._entering:
                hooks.insert(0, (hook_in("hook_resid_pre", self.first_layer), OwnWrite(self._begin)))
        past = None if self._keys is None else self._keys.for_pass(self.model)
        if self._keys is not None and self.first_layer and not self.first:
            past = None  # only the blocks above would keep theirs
        handed = self._begin if self._entering else None
        found = _run(self.model, self.tokens, hooks, logits, below, past, pace, handed, self._hasty)
        if self._keys is not None and not self.first_layer:
            self._keys.keep(self.model, self._ids, past)
        return found

    def _begin(self, activation: torch.Tensor, _first: int = 0) -> torch.Tensor:
        assert self._residual is not None
        if activation.shape != self._residual.shape:
            raise ModelError("the blocks of this architecture cannot be passed over.", "Run it whole, without start.")
        return self._residual.to(activation, copy=True)  # the caller's own is not to be written into


def _run(
    model: Any,
    tokens: torch.Tensor,
    hooks: list[tuple[str, Any]],
    logits: bool,
    below: Sequence[Any],
    past: Any,
    pace: AtOnce,
    handed: Callable[[torch.Tensor], torch.Tensor] | None,
    hasty: bool,
) -> tuple[Any, bool]:
    """The pass itself: the logits (or None), and whether the model was in training mode. The blocks `below` are passed
    over, the last of them hands on what `handed` says; `past` holds keys and values of the positions before, and takes
    those of the new ones."""
    known = model.hook_dict
    absent = [name for name, _ in hooks if name not in known]
    if absent:
        sites = dict.fromkeys(re.sub(r"^blocks\.\d+\.", "", name) for name in absent)
        raise ModelError(f"this architecture has no {' or '.join(sites)}.", "Choose another weighting or view.")
    points = list({id(known[name]): known[name] for name, _ in hooks}.values())
    own = [hook for _, hook in hooks]

    def disturbed() -> bool:
        hanging = {id(getattr(held, "user_hook", None)) for point in points for held in point.fwd_hooks}
        return pace.disturbed or any(id(hook) not in hanging for hook in own)

    modules = modules_of(model)
    training = [module for module in modules if module.training]
    hastened = modules if hasty else ()
    was_training = bool(training)
    kept = {} if past is None else {"past_key_values": past}
    try:
        try:
            evaluate(training)
            pass_over(below, handed)
            hasten(hastened)
            # Put there by hand: once each, where TransformerLens would call them by every name of the hook; and
            # permanent, so that a reset_hooks() of the user's, while the pass pauses, leaves them.
            for name, hook in hooks:
                known[name].add_hook(hook, is_permanent=True)
            pace.attend(model, training, disturbed)
            found = None
            with contextlib.suppress(_Ended):
                found = model.forward(tokens, return_type="logits" if logits else None, **kept)
            if disturbed():
                raise DisturbedError(
                    "hooks were put on the model, or taken off it, while it was run.", "Compute again: refresh()."
                )
            return found, was_training
        finally:
            pace.settle()
            _restore(training, points, own, below, hastened)
    finally:
        _restore(training, points, own, below, hastened)


def _restore(
    training: list[torch.nn.Module],
    points: Iterable[Any],
    own: Iterable[Any],
    below: Sequence[Any],
    hastened: Sequence[torch.nn.Module],
) -> None:
    """Flags, hooks and blocks as they were; may be called again."""
    train_again(training)
    take_away(points, own)
    put_back(below)
    slow_down(hastened)


def _dtype(model: Any) -> torch.dtype:
    """The number type that the model computes in."""
    dtype = next(iter(model.parameters())).dtype
    return dtype if dtype.is_floating_point else torch.float32


def _input_device(model: Any) -> torch.device:
    """Where the token ids belong: the embedding's device, also for models spread over devices."""
    with contextlib.suppress(AttributeError, NotImplementedError):
        return model.original_model.get_input_embeddings().weight.device
    return next(model.parameters()).device
