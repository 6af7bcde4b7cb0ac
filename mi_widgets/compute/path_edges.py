"""Edges of one pair of prompts: what a change written by one part of a model makes of another part that hears it.

A receiver hears a change where that is added to its own input alone; what it then gives is put into the run that is
changed, so that all else there is as it was. Nothing is frozen. Knows nothing of answers, nor of what comes above a
receiver's block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.acts import MIDDLE, MLP, Part
from mi_widgets.compute.forward import Start, Write, forward
from mi_widgets.compute.patch_blocks import runs_at_once
from mi_widgets.compute.patch_cells import block_of
from mi_widgets.compute.patch_runs import AFTER, PatchRuns
from mi_widgets.compute.reach import carries, reach
from mi_widgets.compute.step import Step, Steps
from mi_widgets.data.interventions import SITES
from mi_widgets.models import describe, own_hooks

ATTENTION = "hook_attn_out"
#: A station or receiver: its block (-1: the logits), its head (None: an MLP, the logits) and how it is entered.
Node = tuple[int, int | None, str]
LOGITS: Node = (-1, None, "logits")


class Wiring:
    """Which parts of a model can hear which, found once for a model and a prompt that it can run.

    Attributes:
        deaf: what cannot be told apart here, in words.
    """

    def __init__(self, model: Any, ids: np.ndarray) -> None:
        self._model, self._ids, self._info = model, ids, describe(model)
        self._parallel = bool(getattr(model.cfg, "parallel_attn_mlp", False))
        self._known = model.hook_dict
        self.deaf: list[str] = []

    def found_steps(self, layer: int, step: Step) -> Steps[None]:
        """Ask about every block from `layer` on, as steps that all say `step`: each answer may cost a pass or two."""
        for above in range(layer, self._info.n_layers):
            for kind in ("q", "k", "v"):
                self.heads(above, kind)
                yield step
            self.mlp(above)
            yield step

    def heads(self, layer: int, kind: str) -> int:
        """How many heads of a block can hear by `kind`: of `"k"` and `"v"` key-value heads."""
        hook = f"blocks.{layer}.{SITES[kind]}"
        found = reach(self._model, self._ids, hook) if hook in self._known else None
        if found is None or not found.acts:
            self._leave_out(f"{kind} of L{layer}, which nothing reads")
            return 0
        shape = found.shape or ()
        return shape[2] if len(shape) == 4 else self._info.n_heads if kind == "q" else self._info.kv_heads

    def mlp(self, layer: int) -> str:
        """How the MLP of a block hears: `"middle"`, the hook there is its input alone; `"stream"`, the hook is the
        residual stream; `"beside"`, it reads what the attention reads; "" where it cannot by itself."""
        hook = f"blocks.{layer}.{MLP}"
        if hook not in self._known or not reach(self._model, self._ids, hook).acts:
            self._leave_out(f"the MLP of L{layer}, whose output cannot be put")
            return ""
        if f"blocks.{layer}.{MIDDLE}" in self._known:
            found = carries(self._model, self._ids, layer)
            if found is not None:
                return "stream" if found else "middle"
        if not self._parallel:
            self._leave_out(f"the MLP of L{layer}, whose input is not the stream behind the attention")
        return "beside" if self._parallel else ""

    def receivers(self, layer: int, mlp: bool) -> list[Node]:
        """Who hears what an attention head (or the MLP) of a block writes, from that block up to the logits."""
        found: list[Node] = []
        if not mlp and self.mlp(layer) in ("middle", "stream"):
            found.append((layer, None, "mlp"))
        for above in range(layer + 1, self._info.n_layers):
            for kind in ("q", "k", "v"):
                found += [(above, head, kind) for head in range(self.heads(above, kind))]
            if self.mlp(above):
                found.append((above, None, "mlp"))
        return [*found, LOGITS]

    def _leave_out(self, what: str) -> None:
        if what not in self.deaf:
            self.deaf.append(what)


@dataclass(frozen=True, eq=False)
class Put:
    """What one run of a block is given otherwise.

    Attributes:
        site: within the block.
        values: float32 `[position, …]`: of the head, or of all of the site.
        head: None: all of the site.
        n_heads: heads there.
        added: to what stands there, instead of in its place.
    """

    site: str
    values: torch.Tensor
    head: int | None = None
    n_heads: int = 0
    added: bool = False

    def into(self, activation: torch.Tensor) -> None:
        """Change one run's activation `[1, position, …]` in place."""
        part = Part(self.head, None, self.n_heads).of(activation)[0]
        values = self.values.to(part.device)
        part.copy_(part.float() + values if self.added else values)


class Edges:
    """The edges of one pair.

    Args:
        runs: the pair's two runs.
        wiring: of the model.
        memory: bytes that batches may take.
    """

    def __init__(self, runs: PatchRuns, wiring: Wiring, memory: int) -> None:
        self._runs, self._wiring = runs, wiring
        # A hook or function of the user's own may know of no more than one run, and may mix positions.
        hooked = bool(own_hooks(runs.model)) or runs.edits.whole
        #: Runs of one block that are made together.
        self.at_once = 1 if hooked else runs_at_once(runs.model, len(runs.prompts.base), memory)
        own, put = runs.at_site(runs.cells.layers[0])
        self._own, self._put = own, put
        head = self._head
        if head is not None:
            own, put = (Part(head, None, runs.cells.n_heads).of(side[None])[0] for side in (own, put))
        apart = (own != put).flatten(1).any(1)
        places = apart.nonzero().flatten().tolist()
        #: The first position that the sender's change can reach; None where it writes the same.
        self.first: int | None = None if not places else 0 if hooked else places[0]

    @property
    def _head(self) -> int | None:
        cells = self._runs.cells
        return cells.numbers[cells.by.index("head")][0] if "head" in cells.by else None

    def sent(self) -> torch.Tensor:
        """float32 `[position, d_model]`: what the sender writes otherwise where it alone is as in the other run."""
        head, put = self._head, self._put
        if head is not None:
            put = Part(head, None, self._runs.cells.n_heads).of(put[None])[0]
        cells = self._runs.cells
        return self._passed_on(cells.layers[0], head is None, Put(cells.hook, put, head, cells.n_heads))

    def passed_on(self, node: Node, change: torch.Tensor) -> torch.Tensor:
        """float32 `[position, d_model]`: what a station writes otherwise where `change` is added to its input."""
        layer, _, kind = node
        (put,) = self.heard(layer, [node], change)
        return self._passed_on(layer, kind == "mlp", put)

    def heard(self, layer: int, nodes: Sequence[Node], change: torch.Tensor) -> list[Put]:
        """What receivers of one block are given, each in a run of its own, so that it alone hears `change`."""
        way = self._wiring.mlp(layer) if any(kind == "mlp" for _, _, kind in nodes) else ""
        sites = [SITES[kind] for kind in ("q", "k", "v") if any(one == kind for _, _, one in nodes)]
        sites += [MLP] if way == "beside" else []
        given = {}
        if sites:
            stream = self._runs.before(layer) + change
            given = {site: value[0] for site, value in self._block(layer, [None], sites, stream).items()}
        if way == "stream":
            given |= {MLP: self._block(layer, [Put(MIDDLE, change, added=True)], [MLP])[MLP][0]}
        puts = []
        for _, head, kind in nodes:
            if kind == "mlp":
                puts.append(Put(MIDDLE, change, added=True) if way == "middle" else Put(MLP, given[MLP]))
            else:
                n_heads = self._wiring.heads(layer, kind)
                part = Part(head, None, n_heads).of(given[SITES[kind]][None])[0]
                puts.append(Put(SITES[kind], part, head, n_heads))
        return puts

    def streams(self, layer: int, puts: Sequence[Put]) -> torch.Tensor:
        """float32 `[run, position, d_model]`: what leaves a block, a run for each of `puts`."""
        return self._block(layer, list(puts), [AFTER])[AFTER]

    def _passed_on(self, layer: int, mlp: bool, put: Put) -> torch.Tensor:
        out, way = (MLP if mlp else ATTENTION), self._wiring.mlp(layer)
        whole = AFTER if mlp or way == "beside" else MIDDLE if way else out  # which nothing else has changed yet
        found = self._block(layer, [None, put], list(dict.fromkeys((out, whole))))
        change, stream = (found[site][1].double() - found[site][0].double() for site in (out, whole))
        # What a block adds may be multiplied on its way into the stream (Granite, Cohere); else its own numbers are
        # the more exact ones, for the stream rounds.
        noise = 8 * torch.finfo(next(self._runs.model.parameters()).dtype).eps * float(found[whole].double().norm())
        if float((change - stream).norm()) > 1e-3 * float(stream.norm()) + noise:
            change = stream
        change[: self.first] = 0  # nothing before it can have changed
        return change.float()

    def _block(
        self, layer: int, puts: Sequence[Put | None], sites: Sequence[str], stream: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """By site float32 `[run, position, …]` of one block, entered by `stream` (that of the unchanged run if None),
        a run for each of `puts`."""
        stream = self._runs.before(layer) if stream is None else stream
        found: dict[str, list[torch.Tensor]] = {site: [] for site in sites}
        for start in range(0, len(puts), self.at_once):
            batch = puts[start : start + self.at_once]
            standing = [write for write in self._runs.edits.writes if block_of(write.hook) >= layer]
            own = dict.fromkeys(put.site for put in batch if put is not None)
            forward(
                self._runs.model,
                self._runs.prompts.base.ids[None],
                (),
                (),
                {f"blocks.{layer}.{site}": _keep(found[site]) for site in sites},
                [*standing, *(Write(f"blocks.{layer}.{site}", _putting(site, batch)) for site in own)],
                start=Start(layer, stream.expand(len(batch), -1, -1)),
                until=f"blocks.{layer}.{AFTER}",
            )
        return {site: torch.cat(values) for site, values in found.items()}


def _putting(site: str, batch: Sequence[Put | None]) -> Any:
    def put(activation: torch.Tensor, _first: int) -> torch.Tensor:
        changed = activation.clone()
        for run, one in enumerate(batch):
            if one is not None and one.site == site:
                one.into(changed[run : run + 1])
        return changed

    return put


def _keep(found: list[torch.Tensor]) -> Any:
    return lambda _layer, value: found.append(value.float().cpu())
