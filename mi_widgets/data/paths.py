"""What path patching finds: how much of one sender's effect reaches the answer through each of its receivers.

Exact edges: the sender's change is added to one receiver's own input alone, and everything behind that receiver is
computed anew, norms and patterns too (older papers froze norm scales). Knows nothing of models, torch or the page.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

import numpy as np
import pandas as pd

from mi_widgets.data.effects import DIRECTIONS, METRICS, Effects
from mi_widgets.data.integers import integer
from mi_widgets.data.interventions import Change
from mi_widgets.data.record import floats, one_of, record, whole_numbers
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError

#: What can hear a sender: the query, key and value inputs of heads, MLPs, and the logits.
RECEIVERS = ("q", "k", "v", "mlp", "logits")
#: Those that a path can go on from.
STATIONS = ("q", "k", "v", "mlp")


@record
class PathEffects(Effects):
    """The metric of one changed run for each receiver of one sender, of one pair of prompts or of several.

    A path leads from the sender over the stations that were walked to each receiver: only along it is the change heard.
    Arrays are read-only. Heads of `"k"` and `"v"` are key-value heads: on models that group their queries all query
    heads of the group hear.

    Attributes:
        clean_tokens: the clean prompt (of the first pair), one entry per position.
        corrupt_tokens: the corrupt prompt likewise.
        sender_layer: the block of the first sender.
        sender_head: its head, or -1 of its MLP.
        path_kinds: of each station that was walked, how the path enters it: words of `STATIONS`.
        path_layers: their blocks.
        path_heads: their heads, -1 of MLPs.
        kinds: of each receiver of the last station (or the sender): words of `RECEIVERS`.
        layers: int32 `[receiver]`: their blocks; -1 of the logits.
        heads: int32 `[receiver]`: their heads; -1 of MLPs and logits.
        values: float32 `[pair, receiver]`: the metric of the changed run; NaN where it was not computed.
        clean_values: float32 `[pair]`: the metric of the clean run.
        corrupt_values: float32 `[pair]`: of the corrupt one.
        direction: `"denoise"`: the corrupt run is changed by what the clean one writes; `"noise"`: the other way.
        metric: one of `METRICS`.
        metric_name: of the user's function, else "".
        position: where the logits are read, counted from the end of each prompt: -1 is the last.
        answers: int32 `[pair]`: token id of the right answer, -1 where the metric needs none.
        foils: int32 `[pair]`: of the wrong one, or -1.
        names: display strings of these ids.
        notes: what a reader must know: what was left out, how unequal prompts were aligned.
        seconds: the computation took, as far as it went.
        model: the model's name, or "".
        interventions: made in every run beside.
    """

    clean_tokens: Tokens
    corrupt_tokens: Tokens
    sender_layer: int
    sender_head: int
    path_kinds: tuple[Annotated[str, one_of("station", STATIONS)], ...]
    path_layers: tuple[int, ...]
    path_heads: tuple[int, ...]
    kinds: tuple[Annotated[str, one_of("receiver", RECEIVERS)], ...]
    layers: Annotated[np.ndarray, whole_numbers("receiver")]
    heads: Annotated[np.ndarray, whole_numbers("receiver")]
    values: Annotated[np.ndarray, floats("pair", "receiver")]
    clean_values: Annotated[np.ndarray, floats("pair")]
    corrupt_values: Annotated[np.ndarray, floats("pair")]
    direction: Annotated[str, one_of("direction", DIRECTIONS)] = "denoise"
    metric: Annotated[str, one_of("metric", METRICS)] = "logit_difference"
    metric_name: str = ""
    position: int = -1
    answers: Annotated[np.ndarray, whole_numbers("pair")] | None = None
    foils: Annotated[np.ndarray, whole_numbers("pair")] | None = None
    names: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    model: str = ""
    interventions: tuple[Change, ...] = ()

    def _sizes(self) -> dict[str, int]:
        return {"receiver": len(self.kinds)}

    def _check(self) -> None:
        if not len(self.path_kinds) == len(self.path_layers) == len(self.path_heads):
            raise DataError("each station of a path has a kind, a layer and a head (-1 of an MLP).")

    @property
    def sender(self) -> tuple[int, int | None]:
        """Layer and head of the first sender; the head None of an MLP. What `compute.path_patch` takes."""
        return self.sender_layer, _or_none(self.sender_head)

    @property
    def path(self) -> tuple[tuple[int, int | None, str], ...]:
        """The stations walked: layer, head (None of an MLP), how it is entered. What `compute.path_patch` takes."""
        heads = map(_or_none, self.path_heads)
        return tuple(zip(self.path_layers, heads, self.path_kinds, strict=True))

    @property
    def steps(self) -> tuple[str, ...]:
        """The path in words, from the sender on: `("L0 H3", "L1 H2 q")`."""
        return (named_node(*self.sender), *(named_node(*station) for station in self.path))

    @property
    def labels(self) -> tuple[str, ...]:
        """Each receiver in a few words: `"L2 H6 q"`, `"L2 MLP"`, `"logits"`."""
        heads = map(_or_none, self.heads.tolist())
        return tuple(named_node(*one) for one in zip(self.layers.tolist(), heads, self.kinds, strict=True))

    @property
    def exact(self) -> np.ndarray:
        """bool `[receiver]`: those whose runs were made."""
        return np.asarray(np.isfinite(self.values).all(0))

    def receiver(self, kind: str, layer: int | None = None, head: int | None = None) -> int:
        """Index of one receiver: `effects.effect[effects.receiver("q", 2, 6)]`.

        Raises:
            DataError: there is none such.
        """
        layer, head = (-1 if one is None else integer(name, one) for name, one in (("layer", layer), ("head", head)))
        known = list(zip(self.kinds, self.layers.tolist(), self.heads.tolist(), strict=True))
        if (kind, layer, head) not in known:
            name = named_node(layer, _or_none(head), kind)
            raise DataError(f"{self.steps[-1]} has no receiver {name}.", f"It has {', '.join(self.labels[:8])} …")
        return known.index((kind, layer, head))

    def walked(self, receiver: int) -> tuple[tuple[int, int | None, str], ...]:
        """The path to one receiver, by its index: the `path` of what that receiver passes on.

        Raises:
            DataError: nothing comes behind the logits.
        """
        kind = self.kinds[receiver]
        if kind not in STATIONS:
            raise DataError("nothing comes behind the logits.", "Walk on from a head or an MLP.")
        return (*self.path, (int(self.layers[receiver]), _or_none(int(self.heads[receiver])), kind))

    def to_pandas(self) -> pd.DataFrame:
        """One row per receiver: `layer`, `head` (-1 for none), `receiver` (its kind), `value`, `change`, `effect`, and
        of several pairs `spread`, `low` and `high` (the bootstrap interval of 95 %)."""
        columns: dict[str, Any] = {"layer": self.layers, "head": self.heads, "receiver": list(self.kinds)}
        columns |= {"value": self.value, "change": self.change_in_metric, "effect": self.effect}
        if self.n_pairs > 1:
            low, high = self.interval()
            columns |= {"spread": self.spread, "low": low, "high": high}
        return pd.DataFrame(columns)


def _or_none(number: int) -> int | None:
    return None if number < 0 else number


def named_node(layer: int, head: int | None, kind: str = "") -> str:
    """A sender, station or receiver in a few words: `"L0 H3"`, `"L2 H6 q"`, `"L2 MLP"`, `"logits"`."""
    if kind == "logits":
        return kind
    where = "MLP" if head is None else f"H{head}" + (f" {kind}" if kind in {"q", "k", "v"} else "")
    return f"L{layer} {where}"
