"""Reads, scores and ablates the attention heads of a Hugging Face GPT-2, with plain hooks.

It knows nothing of the rest of the package, so that its numbers are an independent check on the package's own, and
nothing of what the heads are for.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from .evaluate import BOS_ID
from .vocabulary import SPECIAL_TOKENS, VOCABULARY


def add_hooks(model, hooks: dict[int, Callable]) -> list:
    """Register hooks (layer → function of the module and its inputs) where the heads' outputs meet `W_O`."""
    return [model.transformer.h[layer].attn.c_proj.register_forward_pre_hook(hook) for layer, hook in hooks.items()]


def head_shape(model) -> tuple[int, int, int]:
    """Layers, heads per layer, width of a head."""
    config = model.config
    return config.n_layer, config.n_head, config.n_embd // config.n_head


@contextmanager
def eager_attention(model) -> Iterator[None]:
    """Inside, the model computes attention in the form that also returns its weights."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@torch.no_grad()
def repeated_sequence_scores(model, n: int = 64, length: int = 25, seed: int = 0) -> dict[str, torch.Tensor]:
    """Scores [layer, head] on `n` sequences of `length` random tokens, repeated once after one BOS.

    previous_token: mean attention from each token (but the first two) to the one before. duplicate_token: from a
    token of the second copy to the same token in the first. induction: from there to the token after that one.
    """
    generator = torch.Generator().manual_seed(seed)
    half = torch.randint(len(SPECIAL_TOKENS), len(VOCABULARY), (n, length), generator=generator)
    ids = torch.cat([torch.full((n, 1), BOS_ID), half, half], dim=1)
    with eager_attention(model):
        attentions = model(input_ids=ids, output_attentions=True).attentions
    patterns = torch.stack([layer.mean(0) for layer in attentions])  # [layer, head, query, key]
    second_copy = patterns[:, :, length + 1 :]  # the query at index q stands at position length + 1 + q
    diagonals = {
        "previous_token": patterns[:, :, 2:].diagonal(offset=1, dim1=-2, dim2=-1),
        "duplicate_token": second_copy.diagonal(offset=1, dim1=-2, dim2=-1)[..., :length],
        "induction": second_copy.diagonal(offset=2, dim1=-2, dim2=-1)[..., :length],
    }
    return {name: values.mean(-1) for name, values in diagonals.items()}


@contextmanager
def recorded_z(model) -> Iterator[dict[int, torch.Tensor]]:
    """Inside, every run leaves each layer's head outputs z [prompt, position, head, d_head] in the yielded dict."""
    layers, heads, d_head = head_shape(model)
    recorded: dict[int, torch.Tensor] = {}

    def recorder(layer):
        def record(_, inputs):
            recorded[layer] = inputs[0].unflatten(-1, (heads, d_head))

        return record

    handles = add_hooks(model, {layer: recorder(layer) for layer in range(layers)})
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def ablated(model, means: dict[int, torch.Tensor], mask: torch.Tensor, position: int | None = None) -> Iterator[None]:
    """Inside, heads where `mask` [layer, head] is True put out their mean z, at one position or at all.

    means: layer → [position, head, d_head].
    """
    layers, heads, d_head = head_shape(model)
    where = slice(None) if position is None else slice(position, position + 1)

    def replacer(layer):
        def replace(_, inputs):
            z = inputs[0].unflatten(-1, (heads, d_head)).clone()
            z[:, where, mask[layer]] = means[layer][where, mask[layer]]
            return (z.flatten(-2),)

        return replace

    handles = add_hooks(model, {layer: replacer(layer) for layer in range(layers) if mask[layer].any()})
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
