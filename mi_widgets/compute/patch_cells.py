"""Which cells a grid of patches has, and what the patches of several cells do to one activation, a run for each.

Knows hooks and positions, no prompts and no metric; runs no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.acts import MIDDLE, Middle, Part
from mi_widgets.compute.forward import PATTERN, Write
from mi_widgets.compute.interventions import Edits, reaches
from mi_widgets.compute.reach import carries
from mi_widgets.data import Tokens
from mi_widgets.data.integers import integer, integers, place, several, word
from mi_widgets.data.interventions import SITES, Patch
from mi_widgets.data.patching import AXES, PATCH_SITES
from mi_widgets.errors import DataError
from mi_widgets.models import describe

#: Sites whose change at one position changes the block's output at that position alone: nothing that reads other
#: positions comes behind them in the block.
POINTWISE = ("resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "pattern", "post")


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a grid, flat in C order of the axes `by`.

    Attributes:
        site: a word of `PATCH_SITES`.
        by: words of `AXES`.
        numbers: for each axis the model's own numbers of its entries.
        layer: of every cell, where layers are no axis; else None.
        n_heads: heads at the site, 0 where it has none.
    """

    site: str
    by: tuple[str, ...]
    numbers: tuple[tuple[int, ...], ...]
    layer: int | None
    n_heads: int

    def __len__(self) -> int:
        return int(np.prod([len(numbers) for numbers in self.numbers]))

    @property
    def hook(self) -> str:
        """The site's hook within a block."""
        return SITES[self.site]

    @property
    def layers(self) -> tuple[int, ...]:
        """Blocks that have cells."""
        return self.numbers[self.by.index("layer")] if self.layer is None else (self.layer,)

    @cached_property
    def _index(self) -> np.ndarray:
        return np.indices([len(numbers) for numbers in self.numbers]).reshape(len(self.by), -1)

    def along(self, *axes: str) -> np.ndarray | None:
        """int `[cell]`: the model's number on the first of `axes` that the grid has; None where it has none of them."""
        for axis in axes:
            if axis in self.by:
                order = self.by.index(axis)
                return np.array(self.numbers[order])[self._index[order]]
            if axis == "layer" and self.layer is not None:
                return np.full(len(self), self.layer)
        return None

    def changes(self, cells: np.ndarray) -> list[PartChange]:
        """What each of these cells changes at the site."""
        columns = [self.along(axis) for axis in ("head", "neuron", "key")]
        places = self.along("position", "query")
        return [
            PartChange(
                *(None if column is None else int(column[cell]) for column in columns),
                places=None if places is None else (int(places[cell]),),
            )
            for cell in cells
        ]


@dataclass(frozen=True)
class PartChange:
    """What one run changes at a site: one head, neuron or key (None: all), at some positions (None: all)."""

    head: int | None = None
    neuron: int | None = None
    key: int | None = None
    places: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Replacing:
    """Puts another run's activation in place of parts of this one's, in each run of a batch another part.

    Attributes:
        hook: within a block.
        n_heads: heads there.
        values: `[position, …]`, of a pattern `[head, query, key]`: what is put, of all positions of the prompt.
        changes: one for each run.
    """

    hook: str
    n_heads: int
    values: torch.Tensor
    changes: Sequence[PartChange]

    def __call__(self, activation: torch.Tensor, _first: int) -> torch.Tensor:
        """As `Write.act`."""
        changed = activation.clone()
        values = self.values.to(changed)
        for run, change in enumerate(self.changes):
            self.part(changed[run], change).copy_(self.part(values, change))
        return changed

    def part(self, activation: torch.Tensor, change: PartChange) -> Any:
        """Of `[position, …]` what `change` is about; to be written with `copy_`."""
        places = slice(None) if change.places is None else list(change.places)
        if self.hook == PATTERN:
            rows = activation if change.head is None else activation[change.head : change.head + 1]
            key = slice(None) if change.key is None else slice(change.key, change.key + 1)
            return _Rows(rows[:, :, key], 1, places)
        part = Part(change.head, change.neuron, self.n_heads).of(activation[None])[0]
        return _Rows(part, 0, places)

    def differs(self, base: torch.Tensor, change: PartChange) -> bool:
        """Whether what is put is anything else than what stands there, `base`."""
        return not torch.equal(self.part(base, change).taken, self.part(self.values, change).taken)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some rows of a view along one axis: one position is a view of its own, several are gathered."""

    whole: torch.Tensor
    axis: int
    places: Any

    @property
    def _at(self) -> tuple[Any, ...]:
        return (slice(None),) * self.axis + (self.places,)

    @property
    def taken(self) -> torch.Tensor:
        return self.whole[self._at]

    def copy_(self, other: _Rows) -> None:
        self.whole[self._at] = other.taken


def planned(
    model: Any,
    tokens: Tokens,
    site: str,
    by: Any = None,
    *,
    layer: int | None = None,
    layers: Iterable[int] | None = None,
    positions: Iterable[int] | None = None,
    heads: Iterable[int] | None = None,
    neurons: Iterable[int] | None = None,
) -> Cells:
    """The cells of a grid, once it is seen that a patch there can act.

    Args:
        model: a TransformerBridge.
        tokens: the prompt of the run that is changed.
        site: a word of `PATCH_SITES`.
        by: axes as `PATCH_SITES` has them for the site; None: the usual ones.
        layer: of grids without an axis of layers; None: the last.
        layers: only these, of an axis of layers.
        positions: only these, of an axis of positions or queries; negative ones count from the end.
        heads: only these, of an axis of heads.
        neurons: only these, of an axis of neurons.

    Raises:
        DataError: no such site or axes, or a number that does not exist.
        ModelError: a site that this architecture lacks, or whose value nothing reads.
    """
    site = word("site", site, PATCH_SITES)
    choices = PATCH_SITES[site]
    axes = choices[0] if by is None else tuple(word("axis", axis, AXES) for axis in several("by", by))
    if axes not in choices:
        known = " or ".join(str(choice) for choice in choices)
        raise DataError(f"a grid at {site} is not by {' × '.join(axes) or 'nothing'}.", f"Give by={known}.")
    given = {"layer": layers, "position": positions, "head": heads, "neuron": neurons}
    axis_of = {"position": "query" if "query" in axes else "position"}
    for name, chosen in given.items():
        if chosen is not None and axis_of.get(name, name) not in axes:
            raise DataError(f"a grid by {' × '.join(axes)} has no axis of {name}s.", f"Leave {name}s= out.")
    if layer is not None and "layer" in axes:
        raise DataError("this grid has an axis of layers.", "Give layers=[…] for some of them.")
    n_layers = describe(model).n_layers
    one = None if "layer" in axes else n_layers - 1 if layer is None else place("layer", layer, n_layers)
    where = tuple(range(n_layers)) if layers is None else _chosen("layer", layers, n_layers)
    # Each layer by itself: some architectures mix kinds of blocks.
    probes = [Patch(site, layer=number, source=tokens.ids.tolist()) for number in (where if one is None else (one,))]
    shape = tuple(reaches(model, tokens, probes)[-1].shape or ())
    info = describe(model)
    n_heads = 0
    if SITES[site].startswith("attn."):
        n_heads = shape[1] if SITES[site] == PATTERN else shape[2] if len(shape) == 4 else 0
        n_heads = n_heads or (info.kv_heads if site in ("k", "v") else info.n_heads)
    sizes = {"layer": n_layers, "head": n_heads, "neuron": shape[-1]}
    sizes |= dict.fromkeys(("position", "query", "key"), len(tokens))
    numbers = []
    for axis in axes:
        chosen = given.get({"query": "position"}.get(axis, axis))
        if axis == "layer":
            numbers.append(where)
        elif chosen is None:
            numbers.append(tuple(range(sizes[axis])))
        else:
            negative = axis in ("position", "query")
            numbers.append(_chosen(axis, chosen, sizes[axis], negative))
    return Cells(site, axes, tuple(numbers), one, n_heads)


def _chosen(axis: str, given: Iterable[int], count: int, negative: bool = False) -> tuple[int, ...]:
    """Numbers along an axis, each once, in order."""
    found = []
    for number in integers(f"{axis}s", given):
        back = negative and -count <= number < 0
        found.append(place(axis, number + count if back else number, count))
    if not found:
        raise DataError(f"there are no {axis}s.", f"Give one or more {axis}s, or leave {axis}s= out.")
    return tuple(sorted(set(found)))


def read_position(position: Any, count: int) -> int:
    """Where the logits are read, counted from the start of a prompt of `count` tokens.

    Raises:
        DataError: it is not counted from the end, or the prompt is shorter.
    """
    number = integer("position", position)
    if not -count <= number < 0:
        raise DataError(f"position {number} is not one of {count}, counted from the end.", "Give -1 for the last, -2 …")
    return count + number


def in_runs(model: Any, ids: np.ndarray, edits: Edits, layer: int, replacing: Replacing) -> list[Write]:
    """The writes of a pass over blocks from `layer` on: those of the interventions, and behind them `replacing` there.

    What is put in the middle of a block goes on to its end, as for interventions.
    """
    standing = [write for write in edits.writes if block_of(write.hook) >= layer]
    hook = f"blocks.{layer}.{replacing.hook}"
    if replacing.hook != MIDDLE or carries(model, ids, layer):
        return [*standing, Write(hook, replacing)]
    if layer in edits.middles:
        return [*standing, Write(hook, edits.middles[layer].changing(replacing))]
    middle = Middle(layer)
    return [*middle.before(), *standing, Write(hook, middle.changing(replacing)), *middle.after()]


def block_of(hook: str) -> int:
    """The block that `hook`, in full, stands in: -1 below the first, a large number behind the last."""
    parts = hook.split(".")
    if parts[0] == "blocks":
        return int(parts[1])
    return -1 if parts[0] in ("hook_embed", "hook_pos_embed", "embed", "pos_embed", "rotary_emb") else 1 << 30
