"""The same edits by hand on a Hugging Face model: torch hooks on its own modules. Never sees TransformerLens, nor what an
intervention is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lens_oracle
import numpy as np
import torch
from attribution_oracle import Attribution, first_of


@dataclass(frozen=True)
class Edit:
    """What is done where.

    Attributes:
        place: `"head"`, `"neuron"`, or a stream: `"resid_pre"`, `"resid_mid"`, `"resid_post"`, `"attn_out"`, `"mlp_out"`.
        layer: the block.
        change: `[position, its own axes]` to the same.
        part: which head or neuron.
    """

    place: str
    layer: int
    change: Callable[[torch.Tensor], torch.Tensor]
    part: int = -1


def _attention(block: Any) -> Any:
    return first_of(block, "self_attn", "attn", "attention")


def _columns(hugging: Any, edit: Edit) -> slice:
    """Of what an output matrix reads: those of the head or neuron."""
    if edit.place == "neuron":
        return slice(edit.part, edit.part + 1)
    module = Attribution.output_of(_attention(lens_oracle.parts(hugging)[0][edit.layer]))
    wide = module.weight.shape[0] if type(module).__name__ == "Conv1D" else module.weight.shape[1]
    width = wide // hugging.config.num_attention_heads
    return slice(edit.part * width, (edit.part + 1) * width)


def _first(given: Any, named: Any) -> torch.Tensor:
    return given[0] if given else named["hidden_states"]


def _with_first(given: Any, named: Any, value: torch.Tensor) -> Any:
    return ((value, *given[1:]), named) if given else (given, {**named, "hidden_states": value})


def _hooks(hugging: Any, edit: Edit) -> list[Any]:
    block = lens_oracle.parts(hugging)[0][edit.layer]

    def before(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
        return lambda _module, given, named: _with_first(given, named, change(_first(given, named)[0])[None])

    def after(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
        def hook(_module: Any, _given: Any, out: Any) -> Any:
            value = change((out[0] if isinstance(out, tuple) else out)[0])[None]
            return (value, *out[1:]) if isinstance(out, tuple) else value

        return hook

    if edit.place in ("head", "neuron"):
        columns = _columns(hugging, edit)

        def some(read: torch.Tensor) -> torch.Tensor:
            changed = read.clone()
            part = read[:, columns] if edit.place == "head" else read[:, columns][:, 0]
            changed[:, columns] = edit.change(part).reshape(len(read), -1)
            return changed

        part = Attribution.output_of(_attention(block) if edit.place == "head" else block.mlp)
        return [part.register_forward_pre_hook(before(some), with_kwargs=True)]
    places = lens_oracle.places(block)
    if edit.place == "resid_mid":  # the stream itself: changed by what attention adds to it
        held: list[torch.Tensor] = []

        def keep(stream: torch.Tensor) -> torch.Tensor:
            held[:] = [stream]
            return stream

        def add(added: torch.Tensor) -> torch.Tensor:
            return edit.change(held[0] + added) - held[0]

        return [
            block.register_forward_pre_hook(before(keep), with_kwargs=True),
            places["attn_out"][0].register_forward_hook(after(add)),
        ]
    module, side = places[edit.place]
    if side == "input":
        return [module.register_forward_pre_hook(before(edit.change), with_kwargs=True)]
    return [module.register_forward_hook(after(edit.change))]


@contextmanager
def edited(hugging: Any, edits: Sequence[Edit]) -> Iterator[Any]:
    """The model with these edits, made in their order."""
    hooks = [hook for edit in edits for hook in _hooks(hugging, edit)]
    try:
        yield hugging
    finally:
        for hook in hooks:
            hook.remove()


def caught(hugging: Any, ids: np.ndarray, place: str, layer: int, part: int = -1) -> torch.Tensor:
    """`[position, its own axes]` of what stands there in an untouched run."""
    found: list[torch.Tensor] = []

    def keep(value: torch.Tensor) -> torch.Tensor:
        found.append(value.detach().clone())
        return value

    with edited(hugging, [Edit(place, layer, keep, part)]), torch.no_grad():
        hugging(torch.tensor(np.asarray(ids))[None], use_cache=False)
    return found[0]
