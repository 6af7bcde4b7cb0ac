"""What is read in a pass: how sites are named, the stack over layers that each fills, and the record that is left.

Runs no model and knows nothing of hooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.output import is_output
from mi_widgets.errors import DataError, ModelError, UnreadError

#: Which blocks: all if None.
Layers = tuple[int, ...] | None

#: Sites that stand once in a model, not in each block, by their first name. (`"blocks.0.…"` names one block.)
OUTSIDE = {"hook_embed", "hook_pos_embed", "embed", "pos_embed", "ln_final", "unembed", "blocks"}
#: Those of them that stand below the first block.
EMBEDDING = {"hook_embed", "hook_pos_embed", "embed", "pos_embed"}


def in_block(site: str) -> bool:
    """Whether `site` is a hook of every block, e.g. `"hook_resid_post"`; not `"ln_final.hook_scale"`."""
    return site.split(".")[0] not in OUTSIDE and not is_output(site)


def at_position(site: str, position: int) -> str:
    """The site of one position alone, e.g. `"mlp.hook_post@7"`: its arrays lack the position (query) axis."""
    return f"{site}@{position}"


def unwritten(site: str) -> str:
    """The site of what stood there before anything was written, e.g. `"hook_attn_out^"`; also of one position alone:
    `at_position(unwritten(site), 7)`."""
    return f"{site}^"


def hook_of(site: str) -> str:
    """The hook's own name, without what `at_position` and `unwritten` say."""
    return site.partition("@")[0].removesuffix("^")


def hook_in(site: str, layer: int) -> str:
    """The full name of the hook of one block, e.g. `"blocks.2.attn.hook_z"`; of a site that stands once the layer is
    -1, and its name the hook's own."""
    return f"blocks.{layer}.{hook_of(site)}" if layer >= 0 else hook_of(site)


def is_unwritten(site: str) -> bool:
    """Whether `site` was made by `unwritten`."""
    return site.partition("@")[0].endswith("^")


def take_position(site: str, array: Any) -> Any:
    """What `site`, made by `at_position`, keeps of the whole site's `array` `[…, position, …]`.

    Patterns and scores are `[…, head, query, key]`, all else `[…, position, its own axes]`; axes of layer and run may
    lead.
    """
    name, position = hook_of(site), site.partition("@")[2]
    name = name.split(".", 2)[-1] if name.startswith("blocks.") else name
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
        writes: what they were in the pass, so that it can be made again; `compute.forward.Write`.
        first: place in the prompt of the first position that the arrays hold; 0 unless keys and values of those before
            were kept.
        arrays: by site. A hook of every block (`"attn.hook_pattern"`): float32 `[layer, …]`, the activation's own
            axes without batch; of a batch of runs `[layer, run, …]`. A hook that stands once
            (`"ln_final.hook_scale"`): float32, its own axes without batch; of a batch `[run, …]`. What is kept of the
            model's output (`output.OUTPUT_SITES`, `LAST_LOGITS`): as described there, of a batch `[run, …]`. In
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
    writes: tuple[Any, ...] = field(default=(), repr=False)
    first: int = 0
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
        return Activations(
            chosen,
            arrays,
            self.was_training,
            self.interventions,
            known=known,
            writes=self.writes,
            first=self.first,
            seconds=self.seconds,
        )

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


class SiteLayers:
    """The layers that each site is read in.

    Args:
        n_layers: blocks of the model.
        layers: which blocks, or which by site; all that are run for None, and for a site that is not named.
        first: the first block that is run.
    """

    def __init__(
        self, n_layers: int, layers: Iterable[int] | Mapping[str, Iterable[int] | None] | None, first: int = 0
    ) -> None:
        self._first = first
        self._every = tuple(range(first, n_layers))
        self._by_site: dict[str, Iterable[int] | None] = {}
        self._common = self._every
        if isinstance(layers, Mapping):
            self._by_site = {str(site): chosen for site, chosen in layers.items()}
        elif layers is not None:
            self._common = tuple(layers)

    def of(self, site: str) -> tuple[int, ...]:
        """Of one site; -1 alone where it stands once.

        Raises:
            ModelError: something that is not computed in this pass.
        """
        if not in_block(site):
            if self._first and not is_output(site):
                check_computed(site, self._first)
            return (-1,)
        chosen = self._by_site.get(site, self._common)
        rows = self._every if chosen is None else tuple(chosen)
        for layer in rows:
            if layer < self._first:
                raise passed_over(f"blocks.{layer}.{site}", self._first)
        return rows

    def record(self, sites: Iterable[str]) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
        """`layers` and `rows` of the `Activations` that hold `sites`."""
        rows = {site: self.of(site) for site in sites if in_block(site)}
        if not self._by_site:
            return self._common, {}
        return tuple(sorted({layer for held in rows.values() for layer in held})), rows


def check_computed(hook: str, first: int) -> None:
    """Raise ModelError where `hook`, in full, stands before block `first`, at which the pass starts."""
    parts = hook_of(hook).split(".")
    below = parts[0] == "blocks" and len(parts) > 1 and parts[1].isdecimal() and int(parts[1]) < first
    if below or parts[0] in EMBEDDING:
        raise passed_over(hook, first)


def passed_over(hook: str, first: int) -> ModelError:
    """That `hook` stands below the block that the pass starts at."""
    return ModelError(
        f"{hook} is not computed: the pass starts at layer {first}.",
        f"Name layers from {first} on, or run the whole model.",
    )


class Stack:
    """Collects one site over its layers into one preallocated array.

    Args:
        site: its name; of one position alone (`at_position`), only that is kept.
        layers: model layer number of each row.
        lowest: attention scores at or below it are masked ones, kept as NaN. None: all are kept as they come.
        first: place in the prompt of the first position of what comes.

    Raises:
        DataError: a site of a position before that.
    """

    def __init__(self, site: str, layers: tuple[int, ...], lowest: float | None, first: int = 0) -> None:
        self.site, self._lowest = site, lowest
        name, _, position = site.partition("@")
        if position and int(position) < first:
            raise DataError(f"{site} is not computed: the keys and values of the positions before {first} were kept.")
        self._taken = at_position(name, int(position) - first) if position else None
        self.rows = len(layers)
        self._row = {layer: row for row, layer in enumerate(layers)}
        self.filled: set[int] = set()
        self.array: torch.Tensor | None = None

    @property
    def complete(self) -> bool:
        """Whether every layer has come."""
        return len(self.filled) == self.rows

    def __call__(self, layer: int, activation: torch.Tensor) -> None:
        """Keep one layer's activation. Raises ModelError where its shape is not that of the others."""
        row = self._row[layer]
        if self._taken is not None:
            activation = take_position(self._taken, activation)
        if self.array is None:
            self.array = torch.empty((self.rows, *activation.shape), dtype=torch.float32)
        if self.array.shape[1:] != activation.shape:
            raise ModelError(
                f"layers of this model differ in the shape of {self.site}: "
                f"{list(self.array.shape[1:])} and {list(activation.shape)}.",
                "Show layers of one shape at a time: layers=[…].",
            )
        kept = self.array[row].copy_(activation)  # one copy: device to CPU, any dtype to float32
        if self._lowest is not None and hook_of(self.site) == SCORES:
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


def collected(stacks: Mapping[str, Stack]) -> dict[str, np.ndarray]:
    """What each site's stack holds after the pass, with the axis of layers where the site is in blocks.

    Raises:
        UnreadError: a hook that was never called, or not in every layer.
    """
    for site, stack in stacks.items():
        if not stack.complete:
            raise _unread(site, stack)
    return {site: stack.result(in_block(site)) for site, stack in stacks.items()}


def _unread(site: str, stack: Stack) -> UnreadError:
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
