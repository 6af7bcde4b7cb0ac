"""The only file that runs the user's model: one forward pass, chosen activations, nothing left behind.

Activations arrive on the CPU in float32, stacked over layers as they are produced, so that beside the bare pass
there is exactly one copy, which is read-only. Knows nothing of what they are for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.ahead import Ahead
from mi_widgets.compute.lockstep import AtOnce, can_pause, in_lockstep
from mi_widgets.compute.output import complete, foretells, is_output, kept_output
from mi_widgets.compute.step import Steps, run
from mi_widgets.compute.undisturbed import OwnHook, OwnWrite, take_away, train_again, without_gradients
from mi_widgets.errors import ModelError, UnreadError
from mi_widgets.models import modules_of

#: Called in the pass with (layer, activation without its batch axis, in its own dtype and device). Of a site that
#: stands once the layer is -1.
Reader = Callable[[int, torch.Tensor], None]
#: Which blocks: all if None.
Layers = tuple[int, ...] | None


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


#: Sites that stand once in a model, not in each block, by their first name. (`"blocks.0.…"` names one block.)
OUTSIDE = {"hook_embed", "hook_pos_embed", "embed", "pos_embed", "ln_final", "unembed", "blocks"}


def in_block(site: str) -> bool:
    """Whether `site` is a hook of every block, e.g. `"hook_resid_post"`; not `"ln_final.hook_scale"`."""
    return site.split(".")[0] not in OUTSIDE and not is_output(site)


def at_position(site: str, position: int) -> str:
    """The site of one position alone, e.g. `"mlp.hook_post@7"`: its arrays lack the position (query) axis."""
    return f"{site}@{position}"


def take_position(site: str, array: Any) -> Any:
    """What `site`, made by `at_position`, keeps of the whole site's `array` `[…, position, …]` without batch axis.

    Patterns and scores are `[…, head, query, key]`, all else `[…, position, its own axes]`; a layer axis may lead.
    """
    name, _, position = site.partition("@")
    own = {PATTERN: 3, SCORES: 3, "attn.hook_z": 3, "attn.hook_v": 3, "attn.hook_q": 3, "attn.hook_k": 3}.get(name, 2)
    axis = array.ndim - own + (1 if name in (PATTERN, SCORES) else 0)
    index = int(position)
    return array[(slice(None),) * axis + (index,)]


PATTERN, SCORES = "attn.hook_pattern", "attn.hook_attn_scores"


@dataclass(eq=False)
class Activations:
    """What one forward pass left.

    Attributes:
        layers: model layer number of each row; where sites have layers of their own, of all together.
        rows: by site, the layers that its array holds, where they are not `layers`.
        interventions: made in the run, `data.interventions`.
        arrays: by site. A hook of every block (`"attn.hook_pattern"`): float32 `[layer, …]`, the activation's own
            axes without batch. A hook that stands once (`"ln_final.hook_scale"`): float32, its own axes without
            batch. What is kept of the model's output (`output.OUTPUT_SITES`, `LAST_LOGITS`): as described there. In
            attention scores NaN is what the mask forbids, and +inf what the model itself has no finite number for.
            All are read-only, for views and caches share them.
        was_training: the model was in training mode and was put back into it.
        known: what has been found out about the arrays, so that several results from them need not do it again.
        seconds: how long the pass worked, without its pauses.
    """

    layers: tuple[int, ...]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    was_training: bool = False
    interventions: tuple[Any, ...] = ()
    rows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict, repr=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for array in self.arrays.values():
            array.flags.writeable = False

    def only(self, layers: Layers, sites: Iterable[str] | None = None) -> Activations:
        """These layers (all that there are if None) and sites alone; itself if it holds no others."""
        chosen = self.layers if layers is None else layers
        names = list(self.arrays if sites is None else sites)
        held = {site: self.rows.get(site, self.layers) for site in names}
        alike = all(held[site] == chosen for site in names if in_block(site))
        if alike and chosen == self.layers and len(names) == len(self.arrays):
            return self
        arrays = {
            site: self.arrays[site] if not in_block(site) else _taken(self.arrays[site], held[site], chosen)
            for site in names
        }
        known = self.known if chosen == self.layers else {}  # what is known is of these layers
        return Activations(chosen, arrays, self.was_training, self.interventions, known=known, seconds=self.seconds)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes for array in self.arrays.values())


def _taken(array: np.ndarray, held: tuple[int, ...], chosen: tuple[int, ...]) -> np.ndarray:
    """The rows of `chosen` among those of `held`; a view where they stand side by side."""
    if held == chosen:
        return array
    rows = [held.index(layer) for layer in chosen]
    side_by_side = rows == list(range(rows[0], rows[0] + len(rows))) if rows else True
    return array[rows[0] if rows else 0 :][: len(rows)] if side_by_side else array[rows]


class _Stack:
    """Collects one site over its layers into one preallocated array."""

    def __init__(self, site: str, layers: tuple[int, ...], lowest: float) -> None:
        self.site, self._lowest = site, lowest
        self.rows = len(layers)
        self._row = {layer: row for row, layer in enumerate(layers)}
        self.filled: set[int] = set()
        self.array: torch.Tensor | None = None

    def __call__(self, layer: int, activation: torch.Tensor) -> None:
        row = self._row[layer]
        if "@" in self.site:
            activation = take_position(self.site, activation)
        if self.array is None:
            self.array = torch.empty((self.rows, *activation.shape), dtype=torch.float32)
        if self.array.shape[1:] != activation.shape:
            raise ModelError(
                f"layers of this model differ in the shape of {self.site}: "
                f"{list(self.array.shape[1:])} and {list(activation.shape)}.",
                "Show layers of one shape at a time: layers=[…].",
            )
        kept = self.array[row].copy_(activation)  # one copy: device to CPU, any dtype to float32
        if self.site.partition("@")[0] == SCORES:
            _mask(kept, self._lowest)
        self.filled.add(row)

    def result(self, with_layers: bool) -> np.ndarray:
        """All that was collected, `[layer, …]`, or without that axis."""
        assert self.array is not None
        return self.array.numpy() if with_layers else self.array[0].numpy()


def _mask(scores: torch.Tensor, lowest: float) -> None:
    """In place, NaN for what the mask forbids; first +inf for what is NaN already, so that the two can be told apart.
    Masks are −inf, or the lowest number of the model's own type."""
    if bool(scores.amax(-1).isnan().any()):
        scores.masked_fill_(scores.isnan(), torch.inf)
    scores.masked_fill_(scores <= lowest, torch.nan)


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
    pausing: bool = False,
) -> Steps[Activations]:
    """`forward` as steps.

    With `pausing` the pass, and so `readers` and `writes`, run on a thread of its own, and it yields before every block
    and from time to time where no hook can fire (`compute.lockstep`): in a pause the model is as it was and may be run,
    and closing the steps ends the pass there. Without, and where it must (`can_pause`), it runs at once on this thread.
    """

    def whole(pace: AtOnce) -> Activations:
        return _forward(model, ids, sites, layers, readers, writes, interventions, pace)

    if pausing and can_pause(model):
        return (yield from in_lockstep(model, whole))
    return whole(AtOnce())


@without_gradients
def _forward(
    model: Any,
    ids: np.ndarray,
    sites: Sequence[str],
    layers: Iterable[int] | Mapping[str, Layers] | None,
    readers: dict[str, Reader] | None,
    writes: Sequence[Write],
    interventions: tuple[Any, ...],
    pace: AtOnce,
) -> Activations:
    every = tuple(range(int(model.cfg.n_layers)))
    own = dict(layers) if isinstance(layers, Mapping) else {}
    common = every if layers is None or isinstance(layers, Mapping) else tuple(layers)

    def layers_of(site: str) -> tuple[int, ...]:
        chosen = own.get(site) if site in own else common
        return (every if chosen is None else chosen) if in_block(site) else (-1,)

    lowest = max(torch.finfo(torch.float32).min, torch.finfo(_dtype(model)).min) / 2
    hooked = [site for site in sites if not is_output(site)]
    stacks = {site: _Stack(site, layers_of(site), lowest) for site in hooked}
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
    with pace.holding(model):
        logits, was_training = _run(model, tokens, hooks, bool(wanted), pace)
    if wanted:
        output = kept_output(logits[0], tokens[0], wanted, pace.heard)
    if ahead is not None:
        ahead.check(complete(output), alone=tokens.shape[1] == 1)
    for site, stack in stacks.items():
        if len(stack.filled) != stack.rows:
            raise _unread(site, stack)
    in_blocks = {site: layers_of(site) for site in hooked if in_block(site)}
    return Activations(
        layers=tuple(sorted({layer for held in in_blocks.values() for layer in held})) if own else common,
        arrays={site: stack.result(in_block(site)) for site, stack in stacks.items()}
        | {site: output[site] for site in wanted},
        was_training=was_training,
        interventions=interventions,
        rows=in_blocks if own else {},
        seconds=pace.seconds,
    )


def _run(
    model: Any, tokens: torch.Tensor, hooks: list[tuple[str, Any]], logits: bool, pace: AtOnce
) -> tuple[Any, bool]:
    """The pass itself: the logits (or None), and whether the model was in training mode."""
    known = model.hook_dict
    absent = [name for name, _ in hooks if name not in known]
    if absent:
        sites = dict.fromkeys(re.sub(r"^blocks\.\d+\.", "", name) for name in absent)
        raise ModelError(f"this architecture has no {' or '.join(sites)}.", "Choose another weighting or view.")
    points = list({id(known[name]): known[name] for name, _ in hooks}.values())
    own = [hook for _, hook in hooks]
    training = [module for module in modules_of(model) if module.training]
    was_training = bool(training)
    try:
        try:
            for module in training:
                module.training = False
            # Put there by hand: once each, where TransformerLens would call them by every name of the hook; and
            # permanent, so that a reset_hooks() of the user's, while the pass pauses, leaves them.
            for name, hook in hooks:
                known[name].add_hook(hook, is_permanent=True)
            pace.attend(model, training)
            return model.forward(tokens, return_type="logits" if logits else None), was_training
        finally:
            pace.settle()
            _restore(training, points, own)
    finally:
        _restore(training, points, own)


def _restore(training: list[torch.nn.Module], points: Iterable[Any], own: Iterable[Any]) -> None:
    """Flags and hooks as they were; may be called again."""
    train_again(training)
    take_away(points, own)


def _unread(site: str, stack: _Stack) -> UnreadError:
    """That the hook is there and was never called."""
    if not in_block(site):
        return UnreadError(
            f"{site} was not computed in the pass.", "This architecture does not call that hook; choose another view."
        )
    what = "attention" if site.startswith("attn.") else "residual stream" if "resid" in site else "blocks"
    return UnreadError(
        f"{site} was not computed in {stack.rows - len(stack.filled)} of {stack.rows} layers.",
        f"The {what} of this architecture cannot be read there; choose layers=[…] that have it.",
    )


def _dtype(model: Any) -> torch.dtype:
    """The number type that the model computes in."""
    dtype = next(iter(model.parameters())).dtype
    return dtype if dtype.is_floating_point else torch.float32


def _input_device(model: Any) -> torch.device:
    """Where the token ids belong: the embedding's device, also for models spread over devices."""
    with contextlib.suppress(AttributeError, NotImplementedError):
        return model.original_model.get_input_embeddings().weight.device
    return next(model.parameters()).device
