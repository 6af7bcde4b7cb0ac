"""The parts of an attribution: what heads and neurons of every layer contribute, and the positions heads read from.

Works on activations at one position. Runs no model.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from mi_widgets.compute.final_reading import Reading, Stream
from mi_widgets.compute.forward import PATTERN
from mi_widgets.compute.writes import Written, head_write, neuron_write
from mi_widgets.data.interventions import Change, written_hook
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import lock_of

MIXED, VALUES, NEURONS = "attn.hook_z", "attn.hook_v", "mlp.hook_post"


class Parts:
    """Collects the parts as parallel lists, from the embedding to the output."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.layers: list[int] = []
        self.heads: list[int] = []
        self.neurons: list[int] = []
        self.features: list[int] = []
        self.contributions: list[float] = []

    def add(
        self, kind: str, contribution: float, layer: int = -1, head: int = -1, neuron: int = -1, feature: int = -1
    ) -> None:
        """One part."""
        self.kinds.append(kind)
        self.layers.append(layer)
        self.heads.append(head)
        self.neurons.append(neuron)
        self.features.append(feature)
        self.contributions.append(float(contribution))

    def add_heads(self, layer: int, written: Written, n_heads: int) -> None:
        """Every head of a layer, and what its attention adds whatever the heads do."""
        for head, contribution in enumerate(by_head(written, n_heads)):
            self.add("head", contribution, layer, head)
        if written.has_bias:
            self.add("attention bias", written.bias, layer)

    def add_neurons(self, layer: int, written: Written, shown: list[int]) -> None:
        """The neurons of a layer that are shown by themselves, the others as one, and the MLP's bias."""
        for neuron in shown:
            self.add("neuron", written.contribution[neuron], layer, neuron=neuron)
        if len(shown) < len(written.contribution):
            self.add("rest", np.delete(written.contribution, shown).sum(), layer)
        if written.has_bias:
            self.add("mlp bias", written.bias, layer)

    def add_constants(self, reading: Reading) -> None:
        """What is added whatever stands in the stream."""
        for kind, constant in (
            ("norm bias", reading.norm_bias),
            ("unembedding bias", reading.unembedding_bias),
            ("output transform", reading.output_transform),
        ):
            if constant is not None:
                self.add(kind, constant)


def parts_of(
    by: str,
    stream: Stream,
    reading: Reading,
    heads: list[Written] | None,
    neurons: list[Written],
    top: int,
    n_heads: int,
) -> Parts:
    """All parts of one split; they sum to the difference.

    Args:
        by: the split.
        stream: what the final stream is the sum of.
        reading: how the difference reads it.
        heads: what the heads of each layer write, for `by="head"`.
        neurons: what the neurons of each layer write, for `by="neuron"`.
        top: neurons shown by themselves.
        n_heads: query heads of a layer.
    """
    parts = Parts()
    for kind, vector in embeddings_of(stream):
        parts.add(kind, float(vector @ reading.direction))
    shown = largest(neurons, top) if by == "neuron" else []
    for layer, vector in enumerate(stream.attention):
        attention = float(vector @ reading.direction)
        mlp = None if stream.mlps is None else float(stream.mlps[layer] @ reading.direction)
        if by == "layer":
            parts.add("layer", attention + (mlp or 0.0), layer)
        elif by == "head" and heads is not None:
            parts.add_heads(layer, heads[layer], n_heads)
        else:
            parts.add("attention", attention, layer)
        if by == "neuron":
            parts.add_neurons(layer, neurons[layer], shown[layer])
        elif mlp is not None and by != "layer":
            parts.add("mlp", mlp, layer)
        put = put_in(stream, layer, by)
        if put is not None and put.any():  # elsewhere in the prompt it adds nothing here
            parts.add("intervention", float(put @ reading.direction), layer)
    parts.add_constants(reading)
    return parts


def put_in(stream: Stream, layer: int, by: str) -> np.ndarray | None:
    """`[d_model]` that interventions added in a layer beside its parts: to the stream, and where heads or neurons are
    listed to what these gave; None where nothing was."""
    own = {"head": stream.changes.attention, "neuron": stream.changes.mlps}.get(by, {})
    put = [held[layer] for held in (stream.changes.stream, own) if layer in held]
    return np.sum(put, axis=0) if put else None


def embeddings_of(stream: Stream) -> list[tuple[str, np.ndarray]]:
    """What enters the first block: `(kind, [d_model])`, token and position apart where they are all there is."""
    if stream.embeddings:
        return list(zip(("embedding", "position embedding"), stream.embeddings, strict=True))
    return [("embedding", stream.first)]


def by_head(written: Written, n_heads: int) -> np.ndarray:
    """float64 `[head]`."""
    return written.contribution.reshape(n_heads, -1).sum(-1)


def heads_of(model: Any, stream: Stream, reading: Reading) -> tuple[list[Written] | None, str]:
    """What the heads of each layer write; or None, and why."""
    mixed = stream.at(MIXED)
    if mixed is None:
        return None, "this architecture does not show what its heads read."
    found = []
    for layer, (units, added) in enumerate(zip(mixed, stream.own_attention, strict=True)):
        try:
            with lock_of(model):  # a norm of the model's is asked
                write = head_write(model.blocks[layer], units.ravel(), added, reading.direction, stream.tolerance)
            found.append(write)
        except ModelError as reason:
            return None, f"in layer {layer}, {reason.message}"
        except Exception as reason:  # quantised or fused weights refuse in their own ways
            return None, f"W_O of layer {layer} cannot be read ({reason})."
    return found, ""


def sources_of(
    model: Any, stream: Stream, heads: list[Written] | None, n_heads: int, count: int, why_no_heads: str
) -> tuple[np.ndarray | None, str]:
    """float32 `[layer, head, position]`: each head's contribution by the position it reads from; or None, and why. Of a
    head whose reading an intervention replaced it is NaN, for it comes from no position of this prompt (0 where that is
    nothing)."""
    if heads is None:
        return None, why_no_heads
    values = stream.activations.arrays.get(VALUES)  # [layer, position, kv_head, d_head]
    patterns, mixed = stream.at(PATTERN), stream.at(MIXED)  # [layer, head, key], [layer, head, d_head]
    if values is None or patterns is None or mixed is None:
        return None, "patterns or value vectors of this model cannot be read, or would take more than 1 GB."
    shape = (len(heads), n_heads, count)
    if values.ndim != 4 or patterns.shape != shape or n_heads % values.shape[2] or mixed.shape[1] != n_heads:
        return None, "patterns and value vectors of this architecture do not fit each other."
    out = np.empty(shape, np.float32)
    for layer, written in enumerate(heads):
        # Query head h reads the KV head h // (heads / KV heads).
        read = np.repeat(values[layer], n_heads // values.shape[2], axis=1).transpose(1, 0, 2)  # [head, key, d_head]
        sums = np.matmul(patterns[layer][:, None, :], read)[:, 0]
        if sums.shape != mixed[layer].shape:
            return None, "value vectors of this architecture are not what its heads add up."
        size = float(np.linalg.norm(np.maximum(np.abs(mixed[layer]), np.abs(sums))))
        errors = np.linalg.norm(sums - mixed[layer], axis=-1)
        replaced = replaced_heads(model, stream.activations.interventions, layer, n_heads)
        apart = ~(errors <= stream.tolerance * max(size, 1e-30))
        if not np.linalg.norm(errors[~replaced]) <= stream.tolerance * max(size, 1e-30):
            return None, f"what the heads of layer {layer} read is not their pattern times the values."
        worth = written.worth.reshape(n_heads, -1, 1)
        out[layer] = patterns[layer] * np.matmul(read, worth)[..., 0]
        out[layer][apart] = np.where(mixed[layer].any(-1), np.nan, 0.0)[apart, None]
    return out, ""


def replaced_heads(model: Any, interventions: Iterable[Change], layer: int, n_heads: int) -> np.ndarray:
    """bool `[head]`: the heads of a layer whose reading z these interventions write."""
    replaced, known = np.zeros(n_heads, bool), model.hook_dict
    point = known.get(f"blocks.{layer}.{MIXED}")
    for change in interventions:
        if point is not None and known.get(written_hook(change)) is point:
            head = getattr(change, "head", None)
            replaced[slice(None) if head is None else head] = True
    return replaced


def neurons_of(model: Any, stream: Stream, reading: Reading) -> list[Written]:
    """What the neurons of each layer write.

    Raises:
        ModelError: neurons that do not make up what their MLP adds.
        DataError: activations without neurons.
    """
    units, mlps = stream.at(NEURONS), stream.own_mlps
    if units is None or mlps is None:
        raise DataError("these activations hold no neurons at this position.", "Get those of attribution_sites.")
    found = []
    for layer, added in enumerate(mlps):
        try:
            block = model.blocks[layer]
            with lock_of(model):
                write = neuron_write(block, units[layer], added, reading.direction, stream.tolerance)
            found.append(write)
        except ModelError as reason:
            raise ModelError(f"in layer {layer}, {reason.message}", 'Use by="component".') from reason
    return found


def largest(neurons: list[Written], top: int) -> list[list[int]]:
    """For each layer the neurons among the `top` of largest contribution over all layers, in order of their number."""
    sizes = np.concatenate([np.abs(written.contribution) for written in neurons])
    starts = np.cumsum([0, *(len(written.contribution) for written in neurons)])
    chosen = np.sort(np.argsort(-sizes, kind="stable")[:top])
    return [(chosen[(chosen >= start) & (chosen < end)] - start).tolist() for start, end in pairwise(starts)]
