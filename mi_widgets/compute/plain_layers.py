"""The layers themselves: Hugging Face's own modules on the user's weights, without hooks, on the fast attention.

They are made anew from the model's configuration, without weights of their own, and take over the parameters and
buffers of the model that the Bridge wraps: nothing is copied, and nothing of the user's is changed. Whether they
compute what the user's model does is for the caller to see. Knows nothing of hooks.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from mi_widgets.compute.products import hasten
from mi_widgets.compute.start import PassedOver, beside_the_residual
from mi_widgets.compute.undisturbed import without_gradients
from mi_widgets.models import describe, lock_of, modules_of

#: What the Bridge puts into the names of what it wraps.
WRAPPED = "._original_component"
#: Kinds of attention that may be tried, the fastest first.
ATTENTIONS = ("sdpa", "eager")


class _Ended(BaseException):
    """The last block is done."""


class Unfit(Exception):
    """The layers of this model cannot be made, or not be taken for the model itself; the message says why."""


@dataclass(frozen=True)
class Laid:
    """Runs laid out for the layers.

    Attributes:
        ids: int64 `[run, position]`; of packed ones there is one run, all of them behind each other.
        before: how many positions stand before, whose keys and values are known.
        residual: `[run, position, d_model]`, what enters a block.
        placed: what `PlainLayers.run` must know of packed ones.
    """

    ids: np.ndarray
    before: int
    residual: torch.Tensor
    placed: dict[str, torch.Tensor] = field(default_factory=dict)


class PlainLayers:
    """The blocks of a model, run from any of them to the last.

    Args:
        model: a TransformerBridge.
        attention: one of `ATTENTIONS`.
        trimmed: compute in the last block what the last position needs, as far as that is easy.

    Raises:
        Unfit: a model that is more than its modules: quantised, spread over devices, changed by hand.
    """

    def __init__(self, model: Any, attention: str, trimmed: bool) -> None:
        self._lock = lock_of(model)
        self.model, path = _made(model, attention)
        self._blocks = list(self.model.get_submodule(path).children())
        self._layer, self._until, self._length = 0, 0, 0
        self._read = torch.tensor([-1])
        self._residual: torch.Tensor | None = None
        self._final: torch.Tensor | None = None
        for layer, block in enumerate(self._blocks):
            block.__dict__["forward"] = self._block(layer, block)
        if trimmed:
            self._trim(model.blocks[-1])

    @without_gradients
    def run(
        self,
        ids: np.ndarray,
        past: DynamicCache,
        layer: int = 0,
        residual: torch.Tensor | None = None,
        read: torch.Tensor | None = None,
        until: int | None = None,
        **placed: torch.Tensor,
    ) -> torch.Tensor:
        """From a block on to the last.

        Args:
            ids: int64 `[run, position]`, those of the positions that are run.
            past: keys and values of the positions before; it takes those of the new ones, unless it was `lent`.
            layer: the first block that is run.
            residual: `[run, position, d_model]`, what enters it; of block 0 the embedding's if None.
            read: int64 `[position]`, which of those that are run are wanted; the last if None.
            until: the block that is not run any more; None: all are.
            placed: where the positions stand and what each attends to, if not as in one prompt.

        Returns:
            `[run · position, d_model]`: what leaves the last block at the positions that are wanted; or with `until`,
            `[run, position, d_model]`, what enters that block at all of them.
        """
        with self._lock:  # these modules hold a state of their own while they run
            self._layer, self._residual, self._length = layer, residual, ids.shape[-1]
            self._until = len(self._blocks) if until is None else until
            self._read = torch.tensor([-1]) if read is None else read
            tokens = torch.tensor(ids, dtype=torch.long).to(self._device)
            with contextlib.suppress(_Ended):
                self.model(tokens, past_key_values=past, use_cache=True, **placed)
            final, self._residual, self._final = self._final, None, None
        if final is None:
            raise Unfit("the last block is not run")
        return final if self._until < len(self._blocks) else final[:, self._read].flatten(0, 1)

    def packed(self, ids: np.ndarray, firsts: np.ndarray, residual: torch.Tensor) -> Laid:
        """Runs of one prompt that change from different positions on, one behind the other: of each only the positions
        from there on are run, and the keys and values before are not copied for it.

        Args:
            ids: int64 `[position]`, the prompt up to the position that is read.
            firsts: int `[run]`, the first position of each run that is changed.
            residual: `[run, position, d_model]`, what enters a block; positions are the last ones of `ids`.
        """
        lengths, before = len(ids) - firsts, int(firsts.max())
        run = np.repeat(np.arange(len(firsts)), lengths)
        position = np.concatenate([np.arange(first, len(ids)) for first in firsts])
        earlier = np.arange(before) < firsts[run][:, None]
        own = (run == run[:, None]) & (position <= position[:, None])
        device, weight = self._device, next(self.model.parameters())
        hidden = torch.from_numpy(~np.concatenate([earlier, own], 1)).to(device)
        mask = torch.zeros(hidden.shape, dtype=weight.dtype, device=device)
        mask = mask.masked_fill_(hidden, torch.finfo(weight.dtype).min)
        given = torch.cat([stream[len(stream) - length :] for stream, length in zip(residual, lengths, strict=True)])
        placed = {
            "attention_mask": mask[None, None],
            "position_ids": torch.from_numpy(position)[None].to(device),
            "read": torch.from_numpy(lengths.cumsum() - 1).to(device),
        }
        return Laid(ids[position][None], before, given[None], placed)

    def on(self, laid: Laid, full: DynamicCache, layer: int, until: int | None = None) -> torch.Tensor:
        """`run` for runs that are laid out, behind the first positions of the run whose keys and values are `full`."""
        past = lent(full, laid.before, len(laid.ids))
        return self.run(laid.ids, past, layer, laid.residual, until=until, **laid.placed)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _block(self, layer: int, block: torch.nn.Module) -> Any:
        """The `forward` of one block: passed over, begun with, or as it is; the last that is run ends the pass."""
        own, beside = block.forward, beside_the_residual(type(block))

        def forward(residual: torch.Tensor, *given: Any, **named: Any) -> Any:
            if layer < self._layer:
                return residual if beside is None else (residual, *(None,) * beside)
            if layer == self._layer and self._residual is not None:
                residual = self._residual.to(residual)
            found = own(residual, *given, **named)
            if layer == self._until - 1:
                self._final = found[0] if isinstance(found, tuple) else found
                raise _Ended
            return found

        return forward

    def _trim(self, bridge: Any) -> None:
        """Let the MLP of the last block, and what the heads write, see the positions that are read alone: what they add
        to all others is left out, and read by nothing."""

        def narrow(_module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
            first, *others = given
            return (first[:, self._read], *others)

        def widen(_module: Any, _given: Any, found: torch.Tensor) -> torch.Tensor:
            whole = found.new_zeros(len(found), self._length, *found.shape[2:])
            whole[:, self._read] = found
            return whole

        attention, mlp = getattr(bridge, "attn", None), getattr(bridge, "mlp", None)
        names = [getattr(mlp, "name", None)]
        if attention is not None and getattr(attention, "o", None) is not None:
            names.append(f"{attention.name}.{attention.o.name}")
        for name in names:
            if name is None:
                continue
            try:
                part = self._blocks[-1].get_submodule(name)
            except AttributeError:
                continue
            part.register_forward_pre_hook(narrow)
            part.register_forward_hook(widen)


class _Lent(DynamicLayer):
    """Keys and values of one block that a pass reads and does not add to: they stand before those of the positions that
    are run, which are held by nobody once the block is done."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_given: Any, **_named: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values, as the block attends to them."""
        assert self.keys is not None and self.values is not None
        return torch.cat([self.keys, key_states], -2), torch.cat([self.values, value_states], -2)


def lent(full: DynamicCache, positions: int, runs: int) -> DynamicCache:
    """The first `positions` of one run's keys and values, for one pass of so many runs over those behind."""
    cache = DynamicCache()
    layers: list[Any] = list(full.layers) if positions else []
    for layer in layers:
        held = _Lent()
        held.lazy_initialization(layer.keys, layer.values)
        held.keys, held.values = (
            states[..., :positions, :].expand(runs, -1, -1, -1) for states in (layer.keys, layer.values)
        )
        cache.layers.append(held)
    return cache


def _made(model: Any, attention: str) -> tuple[torch.nn.Module, str]:
    """The Hugging Face model anew on the user's weights, and where its blocks are in it."""
    inner = model.original_model
    _check(model, inner)
    config = copy.deepcopy(inner.config)
    if attention != "eager" and getattr(config, "attn_logit_softcapping", None):
        raise Unfit("scaled-dot-product attention knows no soft-cap")
    config._attn_implementation = attention
    config.output_attentions = config.output_hidden_states = False
    with torch.device("meta"):  # nothing is drawn or filled
        made = type(inner)(config).eval()
    theirs: dict[str, list[torch.nn.Module]] = {}
    for name, module in inner.named_modules(remove_duplicate=False):
        theirs.setdefault(name.replace(WRAPPED, ""), []).append(module)
    for name, module in made.named_modules():
        alike = [other for other in theirs.get(name, ()) if type(other) is type(module)]
        if len({id(other) for other in alike}) != 1:
            raise Unfit(f"{name} is no {type(module).__name__}")
        _take_over(module, alike[0])
    if any(tensor.is_meta for tensor in (*made.parameters(), *made.buffers())):
        raise Unfit("weights are missing")
    hasten(made.modules(), everywhere=True)
    for module in list(made.modules()):
        for name, child in module.named_children():
            if type(child).__name__ == "NewGELUActivation":  # the same function, in one step instead of seven
                setattr(module, name, torch.nn.GELU(approximate="tanh"))
    found = next((name for name, module in inner.named_modules() if module is model.blocks[0]), None)
    if found is None:
        raise Unfit("the blocks are not found")
    return made, found.replace(WRAPPED, "").rpartition(".")[0]


def _take_over(module: torch.nn.Module, other: torch.nn.Module) -> None:
    """Let `module` hold the very tensors of `other`, of the same class."""
    tables: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (module._parameters, other._parameters),
        (module._buffers, other._buffers),
    ]
    for own, theirs in tables:
        for name, tensor in own.items():
            held = theirs.get(name)
            if (held is None) != (tensor is None) or (held is not None and held.shape != tensor.shape):
                raise Unfit(f"{type(module).__name__}.{name} is another")
            own[name] = held
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor) and value.is_meta:
            module.__dict__[name] = vars(other)[name]


def _check(model: Any, inner: Any) -> None:
    """Raise Unfit where the model is more than what its configuration and weights say."""
    config = inner.config
    if getattr(config, "quantization_config", None) is not None or getattr(config, "is_encoder_decoder", False):
        raise Unfit("it is quantised, or an encoder-decoder")
    if not describe(model).causal:
        raise Unfit("it reads later positions")
    tensors = list(model.parameters())
    if len({tensor.device for tensor in tensors}) != 1 or not all(tensor.is_floating_point() for tensor in tensors):
        raise Unfit("its weights are spread, or not numbers of one kind")
    for module in modules_of(model):
        own = vars(module)
        if "_hf_hook" in own or ("forward" in own and not isinstance(own["forward"], PassedOver)):
            raise Unfit("a module's own forward was replaced")
