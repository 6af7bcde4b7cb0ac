"""The parts of an attribution by the features of a sparse coder: what each feature adds, what the coder adds whatever
its features are, what it leaves out, and all that is added to the stream behind or beside it.

What stands at the coder's output must reach the final stream by additions alone, through norms whose scale is known;
that is seen from the numbers, and refused elsewhere. Works on activations at one position. Runs no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mi_widgets.compute.activations import Activations, unwritten
from mi_widgets.compute.attribution_parts import MIXED, NEURONS, Parts, embeddings_of, heads_of, neurons_of
from mi_widgets.compute.coder_reading import Encoded, directions, encoded, read_at
from mi_widgets.compute.final_reading import NotFiniteError, Reading, Stream
from mi_widgets.compute.stream_changes import AFTER, ATTENTION, BEFORE, MIDDLE, MLP, read
from mi_widgets.compute.writes import Written
from mi_widgets.data.coder_interventions import hook_label
from mi_widgets.errors import DataError, ModelError

#: Where a coder's output reaches the final stream by additions alone.
PLACES = (BEFORE, MIDDLE, AFTER, ATTENTION, MLP, MIXED, NEURONS)
#: Of these, those that are the stream itself: they hold all that was added before.
IN_STREAM = (BEFORE, MIDDLE, AFTER)


def place_of(model: Any, coder: Any) -> tuple[int, str]:
    """Layer and site, one of `PLACES`, of what a coder decodes.

    Raises:
        ModelError: elsewhere.
    """
    known = model.hook_dict
    for layer in range(int(model.cfg.n_layers)):
        for site in PLACES:
            hook = f"blocks.{layer}.{site}"
            if hook in known and known[hook] is known.get(coder.hook_out):
                return layer, site
    raise ModelError(
        f"{coder.name} writes at {coder.hook_out}: what stands there does not reach the final residual stream by "
        "additions alone, so its features have no direct contribution.",
        "Take a coder of the residual stream, of attn_out, z, mlp_out or of neurons; or the gradient's estimate, "
        "compute.features(…).estimate.",
    )


@dataclass(frozen=True, eq=False)
class CoderWrite:
    """How what stands at a coder's output is read at one position.

    Attributes:
        layer: the block.
        site: one of `PLACES`.
        direction: float64 `[d_out]`: what a unit of it adds, logits.
        stood: float64 `[d_out]`: what the coder stands for there.
        put: what its own splices and clamps add there, and other interventions to what its units give, logits; None
            where there are none.
        units: where it is of heads or neurons, what these give, with their bias; else None.
    """

    layer: int
    site: str
    direction: np.ndarray
    stood: np.ndarray
    put: float | None
    units: Written | None


def coder_write(model: Any, stream: Stream, reading: Reading, coder: Any) -> CoderWrite:
    """How one position reads what stands at a coder's output.

    Raises:
        ModelError: it does not reach the final stream by additions alone.
        DataError: activations that lack what stands there.
    """
    layer, site = place_of(model, coder)
    _, standing = read_at(model, stream.activations.interventions, coder)
    stood = at_coder(stream.activations, standing, stream.position)
    written = at_coder(stream.activations, coder.hook_out, stream.position) if standing != coder.hook_out else stood
    direction, units, change = reading.direction, None, 0.0
    if site in (MIXED, NEURONS):
        if site == MIXED:
            heads, why = heads_of(model, stream, reading)
            if heads is None:
                raise ModelError(f"the heads of this model cannot be told apart: {why}", "Take another coder.")
            units, changes = heads[layer], stream.changes.attention
        else:
            units, changes = neurons_of(model, stream, reading)[layer], stream.changes.mlps
        direction = units.worth
        change = float(changes[layer] @ reading.direction) if layer in changes else 0.0
    if direction.shape != stood.shape:
        raise ModelError(f"{coder.hook_out} holds {len(stood)} numbers, which this model does not add as they are.")
    if site in IN_STREAM and not _sums(stream, layer, site, written):
        # What is put in the middle of a block is often carried to its end, and is a part there.
        if not _sums(stream, layer, site, stood):
            raise ModelError(
                f"what stands at {coder.hook_out} and what is added behind it are not the final residual stream of "
                "this model.",
                "Take a coder of resid_pre or resid_post.",
            )
        written = stood
    put = float((written - stood) @ direction) + change
    changed = standing != coder.hook_out or change != 0.0
    return CoderWrite(layer, site, direction, stood, put if changed else None, units)


def at_coder(activations: Activations, site: str, position: int) -> np.ndarray:
    """float64 `[d]` of a site at one position, heads side by side.

    Raises:
        DataError: these activations lack it.
    """
    found = read(activations, site, position)
    if found is None:
        raise DataError(f"these activations do not hold {site}.", "Get those of attribution_sites with this coder.")
    return found.astype(np.float64).reshape(-1)


def behind(stream: Stream, layer: int, site: str) -> list[tuple[str, int, np.ndarray]]:
    """What is added to the stream behind a place in it (everything behind the end of layer -1): kind of part, layer,
    float64 `[d_model]`; of attention and MLPs in their order, and what interventions put there."""
    found = []
    for later in range(layer, len(stream.attention)):
        own = later == layer
        if not own or site == BEFORE:
            found.append(("attention", later, stream.attention[later]))
        if stream.mlps is not None and (not own or site != AFTER):
            found.append(("mlp", later, stream.mlps[later]))
        put = stream.changes.stream.get(later)
        if own and put is not None:  # what was put before the place, or at it, is in what stands there
            put = None if site == AFTER else _put_at(stream, f"blocks.{layer}.{AFTER}")
        if put is not None and put.any():
            found.append(("intervention", later, put))
    return found


def _put_at(stream: Stream, hook: str) -> np.ndarray | None:
    before, after = stream.at(unwritten(hook)), stream.at(hook)
    return None if before is None or after is None else after - before


def _sums(stream: Stream, layer: int, site: str, there: np.ndarray) -> bool:
    """Whether what stands at the place and what is added behind it make up the final stream."""
    if there.shape != stream.last.shape:
        return False
    added = [vector for _, _, vector in behind(stream, layer, site)]
    # What is put in may take nearly all away: then the sum is as exact as what it took.
    size = max(float(np.linalg.norm(vector)) for vector in [stream.last, *added])
    error = float(np.linalg.norm(sum(added, there) - stream.last)) / max(size, 1e-30)
    return error <= stream.tolerance


def coded(model: Any, stream: Stream, coder: Any) -> tuple[Encoded, int]:
    """What the coder makes of the position that is attributed, and its row there.

    Raises:
        DataError: a position that the coder leaves out.
    """
    if coder.skips_first and stream.position == 0:
        raise DataError(f"{coder.name} leaves position 0 out.", "Ask for another position.")
    site, _ = read_at(model, stream.activations.interventions, coder)
    whole = stream.activations.arrays.get(site) if coder.reads_sequence else None
    x = at_coder(stream.activations, site, stream.position)[None] if whole is None else whole
    if not np.isfinite(x).all():
        raise NotFiniteError
    first, row = (stream.position, 0) if whole is None else (0, stream.position)
    return encoded(coder, x.astype(np.float32), first), row


def feature_parts(model: Any, stream: Stream, reading: Reading, coder: Any, top: int) -> Parts:
    """All parts of the split by the features of one coder; they sum to the difference.

    Args:
        model: a TransformerBridge.
        stream: what the final stream is the sum of.
        reading: how the difference reads it.
        coder: of one layer.
        top: features shown by themselves, the largest; the others that are active are one part.

    Raises:
        ModelError, DataError: see `coder_write` and `coded`.
    """
    write = coder_write(model, stream, reading, coder)
    found, row = coded(model, stream, coder)
    parts = Parts()
    if write.site in IN_STREAM:
        _add_coder(parts, write, found, row, coder, top)
        for kind, layer, vector in behind(stream, write.layer, write.site):
            parts.add(kind, float(vector @ reading.direction), layer)
    else:
        inside = "attention" if write.site in (ATTENTION, MIXED) else "mlp"
        for kind, vector in embeddings_of(stream):
            parts.add(kind, float(vector @ reading.direction))
        for kind, layer, vector in behind(stream, -1, AFTER):
            if (kind, layer) == (inside, write.layer):
                _add_coder(parts, write, found, row, coder, top)
            else:
                parts.add(kind, float(vector @ reading.direction), layer)
    parts.add_constants(reading)
    return parts


def _add_coder(parts: Parts, write: CoderWrite, found: Encoded, row: int, coder: Any, top: int) -> None:
    """What stands at the coder's output as rows: its features, its bias, its error, and what was put there."""
    features, contribution = contributions(coder, write, found, row)
    by_size = np.argsort(-np.abs(contribution), kind="stable")
    for one in np.sort(by_size[:top]):
        parts.add("feature", float(contribution[one]), write.layer, feature=int(features[one]))
    if len(features) > top:
        parts.add("rest", float(contribution[by_size[top:]].sum()), write.layer)
    decoded = float(found.decoded[row].astype(np.float64) @ write.direction)
    parts.add("coder bias", decoded - float(contribution.sum()), write.layer)
    parts.add("coder error", float(write.stood @ write.direction) - decoded, write.layer)
    if write.units is not None and write.units.has_bias:
        parts.add("attention bias" if write.site == MIXED else "mlp bias", write.units.bias, write.layer)
    if write.put is not None:
        parts.add("intervention", write.put, write.layer)


def contributions(coder: Any, write: CoderWrite, found: Encoded, row: int) -> tuple[np.ndarray, np.ndarray]:
    """The features that are active at a row, and float64 what each adds, logits."""
    here = found.positions == row
    features, activation = found.features[here], found.activation[here].astype(np.float64)
    return features, activation * float(found.scale[row]) * directions(coder, features, write.direction)


def described(coder: Any) -> str:
    """Name and place of a coder, for captions: `"stories3m-topk at L3 resid_post"`."""
    return f"{coder.name} at {hook_label(coder.hook_out)}"
