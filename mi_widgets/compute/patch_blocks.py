"""From cells to residual streams: what a patch makes of the block that it is in, for many cells at a time.

A patch of the stream needs no block run. Behind a block's attention nothing reads other positions: there one run with
a head patched everywhere holds, row by row, what patching it at each position gives. All else is a run for each cell.
Knows nothing of what comes above the block, nor of metrics.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.forward import PATTERN, Start, Write, forward
from mi_widgets.compute.patch_cells import POINTWISE, PartChange, Replacing, in_runs
from mi_widgets.compute.patch_runs import AFTER, BEFORE, PatchRuns
from mi_widgets.compute.step import Step, Steps
from mi_widgets.compute.writes import tolerance_of
from mi_widgets.errors import DisturbedError
from mi_widgets.models import own_hooks

#: What a run holds at its peak, in units of its positions times the width, and times heads and keys.
WIDTHS, SQUARES = 16, 4
#: Multiply-adds of a batch, so that Stop is heard between two; what a block needs for a position, in units of width².
WORK, BLOCK = 3_000_000_000, 12
#: Positions of cells that go on together: fewer waste the processor, more keep who looks on waiting. Through the model
#: with its hooks all of them are run from the first changed one on, so that more are run though nothing changed there.
ROWS, HOOKED_ROWS = 400, 192
#: The share of the memory for rows of blocks that are kept for other cells.
KEPT_SHARE = 0.25

#: How far rounding brings a position of the stream, relative to its length, in single precision.
CLOSE = 1e-5

#: How a layer's cells come to their streams.
DIRECT, POINT, WHOLE = "direct", "point", "whole"


@dataclass(frozen=True, eq=False)
class Unit:
    """Cells of one layer that go on together.

    Attributes:
        cells: int `[cell]`, their places in the grid.
        layer: their block.
        way: how they come to their streams.
        first: the first position at which any of them differs.
        group: of `POINT`, which of the layer's parts of the site are run together.
        firsts: int `[cell]`, the first position at which each differs.
    """

    cells: np.ndarray
    layer: int
    way: str
    first: int
    group: int
    firsts: np.ndarray


class Blocks:
    """The blocks of one pair's cells.

    Args:
        runs: the pair's two runs.
        memory: bytes that batches may take.
    """

    def __init__(self, runs: PatchRuns, memory: int) -> None:
        self._runs, self._cells, self._memory = runs, runs.cells, memory
        self._hooked = bool(own_hooks(runs.model)) or runs.edits.whole
        self._places = self._cells.along("position", "query")
        self._layer = self._cells.along("layer")
        heads, neurons, keys = (self._cells.along(axis) for axis in ("head", "neuron", "key"))
        nowhere = np.zeros(len(self._cells), int)
        self._part = heads if heads is not None else neurons if neurons is not None else nowhere
        self._key = nowhere if keys is None else keys
        #: `[2, part]`: head or neuron, and key, of what is changed by itself; and which of these each cell is.
        self._parts, inverse = np.unique(np.stack([self._part, self._key]), axis=1, return_inverse=True)
        self._which = inverse.reshape(-1)
        self._kept: OrderedDict[tuple[int, int], torch.Tensor] = OrderedDict()
        self._together: dict[int, bool] = {}
        width = int(runs.model.cfg.d_model)
        count = len(runs.prompts.base)
        self._bytes_each = 4 * count * width  # of what leaves a block in one run
        #: Parts that are run together, of `POINT`.
        self._group_size = max(1, int(KEPT_SHARE * memory / 2) // self._bytes_each)
        self._at_once = runs_at_once(runs.model, count, memory)

    def units(self, estimates: np.ndarray | None) -> tuple[list[Unit], np.ndarray, np.ndarray]:
        """The cells as they go on together: those with the largest estimated effect first, else from the last layer to
        the first.

        Args:
            estimates: `[cell]`, of what each changes in the metric; or None.

        Returns:
            Those that are to be run; which cells change nothing; which have no partner in the other run; bool `[cell]`.
        """
        count, prompts = len(self._cells), self._runs.prompts
        alone = np.isin(self._key if self._cells.along("key") is not None else np.full(count, -1), prompts.alone)
        if self._places is not None:
            alone |= np.isin(self._places, prompts.alone)
        unchanged, found = np.zeros(count, bool), []
        for layer in sorted(self._cells.layers, reverse=True):
            cells = np.flatnonzero(self._layer == layer)
            firsts = self._firsts(layer, cells)
            acts = (firsts >= 0) & (firsts <= self._runs.onward.position)
            unchanged[cells[~acts]] = True
            live = acts & ~alone[cells]
            found += self._of_layer(layer, cells[live], firsts[live])
        unchanged &= ~alone
        if estimates is None:
            return found, unchanged, alone
        size = np.where(np.isfinite(estimates), np.abs(estimates), 0.0)
        largest = {id(unit): float(size[unit.cells].max()) for unit in found}
        if sum(unit.way == POINT for unit in found) and self._thrashes(found):
            groups: dict[tuple[int, int], float] = {}
            for unit in found:
                key = (unit.layer, unit.group)
                groups[key] = max(groups.get(key, 0.0), largest[id(unit)])
            found.sort(key=lambda unit: (-groups[unit.layer, unit.group], unit.layer, unit.group, -largest[id(unit)]))
        else:
            found.sort(key=lambda unit: -largest[id(unit)])
        return found, unchanged, alone

    def stream_steps(self, unit: Unit, step: Step) -> Steps[tuple[int, int, torch.Tensor]]:
        """The block that the cells go on from, the first position that differs, and what enters the block from there to
        the position that is read: `[cell, position, d_model]`."""
        end = self._runs.onward.position + 1
        after = unit.layer if unit.way == DIRECT and self._cells.site == "resid_pre" else unit.layer + 1
        if unit.way == WHOLE:
            changes = self._cells.changes(unit.cells)
            whole = yield from self._run_steps(unit.layer, changes, step)
            first = unit.first if self._same_before(unit, whole) else 0
            return after, first, whole[:, first:end]
        if unit.way == DIRECT and self._places is None:
            put = self._runs.at_site(unit.layer)[1]
            return after, unit.first, put[None, unit.first : end]
        stream = self._runs.after(after - 1) if after else torch.tensor(self._runs.base.arrays[BEFORE][0])
        changed = stream[unit.first : end].repeat(len(unit.cells), 1, 1)
        assert self._places is not None
        places = torch.from_numpy(self._places[unit.cells])
        if unit.way == DIRECT:
            rows = self._runs.at_site(unit.layer)[1][places]
        else:
            kept = yield from self._rows_steps(unit, step)
            rows = kept[torch.from_numpy(self._which[unit.cells] - unit.group * self._group_size), places]
        changed[torch.arange(len(changed)), places - unit.first] = rows
        return after, unit.first, changed

    def _same_before(self, unit: Unit, whole: torch.Tensor) -> bool:
        """Whether a patch changed no earlier position of the block, as hooks of the user's own may make it do."""
        return not self._hooked or self._alike(whole[:, : unit.first], self._runs.after(unit.layer)[: unit.first])

    def _alike(self, found: torch.Tensor, wanted: torch.Tensor) -> bool:
        """Whether each run of `found` is `wanted` `[position, d_model]`, up to rounding."""
        dtype = next(self._runs.model.parameters()).dtype
        tolerance = CLOSE if dtype in (torch.float32, torch.float64) else tolerance_of(dtype)
        apart = (found.double() - wanted.double()).norm(dim=-1)
        return bool((apart <= tolerance * wanted.double().norm(dim=-1)).all())  # not where it is not a number

    # --- which go together --------------------------------------------------------------------------------------

    def _firsts(self, layer: int, cells: np.ndarray) -> np.ndarray:
        """int `[cell]`: the first position at which what is put differs from what stands there; -1 for none."""
        own, put = (side.numpy() for side in self._runs.at_site(layer))
        apart = own != put
        if self._cells.hook == PATTERN:
            apart = apart.transpose(1, 0, 2)  # [query, head, key]
            apart = apart if "key" in self._cells.by else apart.any(-1, keepdims=True)
        elif self._cells.n_heads:
            apart = apart.reshape(len(apart), self._cells.n_heads, -1).any(-1)[..., None]
        elif "neuron" in self._cells.by:
            apart = apart[..., None]
        else:
            apart = apart.any(-1)[:, None, None]
        part, key = self._part[cells], self._key[cells]
        if self._places is not None:
            places = self._places[cells]
            return np.where(apart[places, part, key], places, -1)
        columns = apart[:, part, key]
        return np.where(columns.any(0), columns.argmax(0), -1)

    def _of_layer(self, layer: int, cells: np.ndarray, firsts: np.ndarray) -> list[Unit]:
        way = self._way(layer)
        order = np.argsort(firsts, kind="stable")
        cells, firsts = cells[order], firsts[order]
        groups = self._which[cells] // self._group_size if way == POINT else np.zeros(len(cells), int)
        units: list[Unit] = []
        rows = ROWS if self._runs.onward.plain else HOOKED_ROWS
        for group in np.unique(groups):
            inside = np.flatnonzero(groups == group)
            reached = (self._runs.onward.position + 1 - firsts[inside]).cumsum()
            each = reached[-1] / -(-reached[-1] // rows)  # so that none is left with few
            start = 0
            while start < len(inside):
                first = int(firsts[inside[start]])
                before = reached[start - 1] if start else 0
                stop = max(start + 1, int(np.searchsorted(reached, before + each + 0.5, side="right")))
                if way != WHOLE and self._places is not None:  # all parts of one position go on from there together
                    stop = int(np.searchsorted(firsts[inside], firsts[inside[stop - 1]], side="right"))
                stop = min(stop, start + self._most(self._runs.onward.position + 1 - first))
                chosen = inside[start:stop]
                units.append(Unit(cells[chosen], layer, way, first, int(group), firsts[chosen]))
                start = stop
        return units

    def _most(self, length: int) -> int:
        """How many streams of `length` positions may be held."""
        return max(1, self._memory // 4 // (4 * length * int(self._runs.model.cfg.d_model)))

    def _way(self, layer: int) -> str:
        site, positions = self._cells.site, self._places is not None
        if site == "resid_post" or (site == "resid_pre" and self._enters(layer)):
            return DIRECT
        return POINT if positions and site in POINTWISE and not self._hooked else WHOLE

    def _enters(self, layer: int) -> bool:
        """Whether what stands at the block's `hook_resid_pre` is what the block below hands on, nothing between."""
        if not layer:
            return True
        known = self._runs.model.hook_dict
        point = known[f"blocks.{layer}.{BEFORE}"]
        written = any(known.get(write.hook) is point for write in self._runs.edits.writes)
        if written or own_hooks(self._runs.model, [point]):
            return False
        return torch.equal(self._runs.before(layer), self._runs.after(layer - 1))

    def _thrashes(self, units: Sequence[Unit]) -> bool:
        """Whether rows of all groups are more than may be kept at once."""
        groups = {(unit.layer, unit.group) for unit in units}
        return len(groups) > 1 and len(groups) * self._group_bytes > KEPT_SHARE * self._memory

    @property
    def _group_bytes(self) -> int:
        return (
            4
            * min(self._group_size, self._parts.shape[1])
            * len(self._runs.prompts.base)
            * int(self._runs.model.cfg.d_model)
        )

    # --- blocks -------------------------------------------------------------------------------------------------

    def _rows_steps(self, unit: Unit, step: Step) -> Steps[torch.Tensor]:
        """`[part, position, d_model]`: of the unit's group what leaves the block where a part is patched everywhere."""
        key = (unit.layer, unit.group)
        if key not in self._kept:
            inside = slice(unit.group * self._group_size, (unit.group + 1) * self._group_size)
            changes = [self._everywhere(int(part), int(edge)) for part, edge in self._parts.T[inside]]
            rows = yield from self._run_steps(unit.layer, changes, step)
            while self._kept and (len(self._kept) + 1) * self._group_bytes > KEPT_SHARE * self._memory:
                self._kept.popitem(last=False)
            self._kept[key] = rows
        self._kept.move_to_end(key)
        return self._kept[key]

    def _everywhere(self, part: int, key: int) -> PartChange:
        by = self._cells.by
        return PartChange(
            part if "head" in by else None, part if "neuron" in by else None, key if "key" in by else None
        )

    def _run_steps(self, layer: int, changes: Sequence[PartChange], step: Step) -> Steps[torch.Tensor]:
        """float32 `[run, position, d_model]`: what leaves the block with each of these changes."""
        together = yield from self._together_steps(layer, step)
        at_once = self._at_once if together else 1
        found = []
        for start in range(0, len(changes), at_once):
            batch = changes[start : start + at_once]
            replacing = Replacing(self._cells.hook, self._cells.n_heads, self._runs.at_site(layer)[1], batch)
            writes = in_runs(self._runs.model, self._runs.prompts.base.ids, self._runs.edits, layer, replacing)
            found.append(self._block(layer, len(batch), writes))
            yield step
        return torch.cat(found)

    def _block(self, layer: int, count: int, writes: Sequence[Write]) -> torch.Tensor:
        """`count` runs of one block, from what stands before it in the run that is changed."""
        stream = self._runs.before(layer).expand(count, -1, -1)
        end, found = f"blocks.{layer}.{AFTER}", []
        ids = self._runs.prompts.base.ids[None]
        forward(
            self._runs.model,
            ids,
            (),
            (),
            {end: lambda _layer, value: found.append(value.float().cpu())},
            writes,
            start=Start(layer, stream),
            until=end,
            hasty=True,
        )
        return found[0]

    def _together_steps(self, layer: int, step: Step) -> Steps[bool]:
        """Whether several runs at once are what each alone is: hooks and functions of the user's own may not know of
        more than one."""
        if not self._hooked:
            return True
        if layer not in self._together:
            wanted = self._runs.after(layer)
            writes = [write for write in self._runs.edits.writes if write.hook.startswith(f"blocks.{layer}.")]
            try:
                found = self._block(layer, 2, writes)
            except DisturbedError:
                raise
            except Exception:  # a hook of the user's own that fits one run alone raises what it likes
                self._together[layer] = False
            else:
                self._together[layer] = self._alike(found, wanted)
            yield step
        return self._together[layer]


def runs_at_once(model: Any, count: int, memory: int) -> int:
    """How many runs of one block over `count` positions go together: within the memory, and so that Stop is heard."""
    width, heads = int(model.cfg.d_model), int(model.cfg.n_heads)
    fit = memory // (4 * (WIDTHS * count * width + SQUARES * heads * count * count))
    fast = next(model.parameters()).device.type != "cpu"
    soon = (100 if fast else 1) * WORK // (BLOCK * count * width * width)
    return max(1, int(min(fit, soon)))
