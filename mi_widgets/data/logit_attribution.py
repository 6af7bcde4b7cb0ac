"""What an attribution of a logit difference is: which part of the model adds how much, in logits.

Knows nothing of models, torch or the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, get_args

import numpy as np
import pandas as pd

from mi_widgets.data.integers import integer, place, word
from mi_widgets.data.interventions import Change
from mi_widgets.data.record import Record, floats, one_of, record, whole_numbers
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError

#: How a difference is split.
SPLITS = ("component", "layer", "head", "neuron", "feature")
#: What a part can be. `"rest"` holds the neurons of a layer, or the features of a coder, that are not shown by
#: themselves; `"coder bias"` is what a coder adds whatever its features are, `"coder error"` what it leaves out of what
#: it stands for; `"output transform"` is what a soft-cap of the logits changes, which acts on the sum only;
#: `"intervention"` is what interventions added in a layer to the residual stream itself, or in place of what the heads,
#: neurons or features that are listed gave.
PartKind = Literal[
    "embedding",
    "position embedding",
    "layer",
    "attention",
    "attention bias",
    "head",
    "mlp",
    "mlp bias",
    "neuron",
    "feature",
    "coder bias",
    "coder error",
    "norm bias",
    "unembedding bias",
    "output transform",
    "rest",
    "intervention",
]
PART_KINDS: tuple[PartKind, ...] = get_args(PartKind)
#: Orders of the parts: as the model computes them, or the largest magnitude first.
SORTS = ("model", "size")
#: The label of the last row of a summary.
RESIDUE = "residue"


@dataclass(frozen=True)
class AttributionRow:
    """One row of a summary.

    Attributes:
        label: what it is, e.g. `"L3 H7"`, `"rest of 140 parts"` or `"residue"`.
        contribution: logits.
        part: index on the part axis, or None where the row is no single part.
    """

    label: str
    contribution: float
    part: int | None = None


@record
class LogitAttribution(Record):
    """Direct attribution of a logit difference (or of one logit) at one position, in logits.

    The parts are parallel: entry `part` of each of `part_kinds`, `part_layers`, `part_heads`, `part_neurons`,
    `part_features` and `contribution`, from the embedding to the output. They sum to `difference` up to `residue`.
    Arrays are read-only, and the record's own.

    Attributes:
        tokens: the prompt, one entry per position.
        position: the position whose next token it is about, from 0.
        answer: token id; its logit counts positive.
        answer_string: display string of the answer.
        foil: token id whose logit is taken away; None where the logit of the answer alone is attributed.
        foil_string: display string of the foil, or None.
        by: `"component"`, `"layer"`, `"head"`, `"neuron"`, or `"feature"`: then what stands at the coder's output is
            split over its features, and if that is the residual stream, it stands for all that was added before.
        part_kinds: one of `PART_KINDS` for each part.
        part_layers: int32 `[part]`: layer number, -1 where a part has none.
        part_heads: int32 `[part]`: query head, or -1.
        part_neurons: int32 `[part]`: neuron of the layer's MLP, or -1.
        contribution: float32 `[part]`, logits.
        difference: what the model itself says, logits: of the answer minus of the foil.
        mlps: float32 `[layer]`: what each MLP contributes, whatever the split; NaN where not known.
        heads: float32 `[layer, head]`: what each head contributes, whatever the split; None where the architecture
            does not let them be told apart.
        sources: float32 `[layer, head, position]`: each head's contribution by the position it reads from; sums over
            the positions to `heads`. NaN for a head whose reading an intervention replaced; None where not known.
        why_no_heads: why `heads` is None, else "".
        why_no_sources: why `sources` is None, else "".
        tolerance: the largest residue, in logits, that rounding explains: 1e-4 × max(1, |difference|) for a float32
            model, more in half precision.
        max_error: the other self-check: largest error of the logits as read from the final residual stream against
            the model's own output, of its likeliest 50 tokens, relative to the largest of these logits, the answer's,
            the foil's and 1; None where it was not made.
        model: the model's name, or "".
        interventions: made in the run; () for the untouched one.
        part_features: int32 `[part]`: feature of the coder, or -1; None where there is no coder.
        coder: its name and place, or None.
    """

    LATER = ("part_features", "coder")

    tokens: Tokens
    position: int
    answer: int
    answer_string: str
    foil: int | None
    foil_string: str | None
    by: Annotated[str, one_of("split by", SPLITS)]
    part_kinds: tuple[Annotated[str, one_of("kind of part", PART_KINDS)], ...]
    part_layers: Annotated[np.ndarray, whole_numbers("part")]
    part_heads: Annotated[np.ndarray, whole_numbers("part")]
    part_neurons: Annotated[np.ndarray, whole_numbers("part")]
    contribution: Annotated[np.ndarray, floats("part")]
    difference: float
    mlps: Annotated[np.ndarray, floats("layer")]
    heads: Annotated[np.ndarray, floats("layer", "head")] | None = None
    sources: Annotated[np.ndarray, floats("layer", "head", "position")] | None = None
    why_no_heads: str = ""
    why_no_sources: str = ""
    tolerance: float | None = None
    max_error: float | None = None
    model: str = ""
    interventions: tuple[Change, ...] = ()
    part_features: Annotated[np.ndarray, whole_numbers("part")] | None = None
    coder: str | None = None

    def _complete(self) -> None:
        if self.tolerance is None:
            self._set("tolerance", 1e-4 * max(1.0, abs(self.difference)))

    def _sizes(self) -> dict[str, int]:
        return {"part": len(self.part_kinds), "position": len(self.tokens)}

    def _check(self) -> None:
        place("position", self.position, len(self.tokens))
        if self.sources is not None and self.heads is None:
            raise DataError("sources are given without heads.", "Give what each head contributes, too.")

    @property
    def n_layers(self) -> int:
        """Layers of the model."""
        return len(self.mlps)

    @property
    def n_heads(self) -> int:
        """Query heads in each layer; 0 where heads are not told apart."""
        return 0 if self.heads is None else self.heads.shape[1]

    @cached_property
    def residue(self) -> float:
        """What the parts leave unexplained, in logits: `difference` − the sum of `contribution`."""
        return self.difference - float(self.contribution.astype(np.float64).sum())

    @property
    def holds(self) -> bool:
        """Whether the parts sum to the difference within `tolerance`."""
        return abs(self.residue) <= (self.tolerance or 0.0)

    @property
    def quantity(self) -> str:
        """What is attributed, in words: `"logit difference"`, or `"logit"` without a foil."""
        return "logit" if self.foil is None else "logit difference"

    def label(self, part: int) -> str:
        """One line for a part: `"L3 H7"`, `"L3 attention"`, `"L3 neuron 512"`, `"embedding"`.

        Raises:
            DataError: no such part.
        """
        part = place("part", part, len(self.part_kinds))
        kind, layer = self.part_kinds[part], int(self.part_layers[part])
        if kind == "head":
            return f"L{layer} H{int(self.part_heads[part])}"
        if kind == "neuron":
            return f"L{layer} neuron {int(self.part_neurons[part])}"
        if kind == "layer":
            return f"layer {layer}"
        if kind == "feature" and self.part_features is not None:
            return f"L{layer} feature {int(self.part_features[part])}"
        if kind == "rest":
            kind = "other features" if self.by == "feature" else "other neurons"
        name = "MLP" + kind[3:] if kind.startswith("mlp") else kind
        return f"L{layer} {name}" if layer >= 0 else name

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A label for each part, all different."""
        return tuple(self.label(part) for part in range(len(self.part_kinds)))

    def order(self, sort: str = "model") -> list[int]:
        """Indices of the parts: from the embedding to the output (`"model"`), or largest magnitude first (`"size"`).

        Raises:
            DataError: an unknown order.
        """
        sort = word("order", sort, SORTS)
        if sort == "model":
            return list(range(len(self.part_kinds)))
        return np.argsort(-np.abs(self.contribution), kind="stable").tolist()

    def rows(self, most: int | None = None, sort: str = "size") -> list[AttributionRow]:
        """The parts as rows that sum to `difference`: the largest by themselves, the others as one rest, and the
        residue last.

        Args:
            most: parts shown by themselves, chosen by magnitude; all if None.
            sort: their order, as in `order`; the rest stands after them.

        Raises:
            DataError: an unknown order, or `most` is no whole number from 0.
        """
        most, sort = None if most is None else integer("most", most), word("order", sort, SORTS)
        if most is not None and most < 0:
            raise DataError(f"most is {most}.", "Show 0 parts or more.")
        by_size = self.order("size")
        kept = by_size[:most]
        shown = sorted(kept) if sort == "model" else [part for part in self.order(sort) if part in set(kept)]
        rows = [AttributionRow(self.labels[part], float(self.contribution[part]), part) for part in shown]
        others = by_size[len(kept) :]
        if len(others) == 1:
            rows.append(AttributionRow(self.labels[others[0]], float(self.contribution[others[0]]), others[0]))
        elif others:
            total = float(self.contribution[others].astype(np.float64).sum())
            rows.append(AttributionRow(f"rest of {len(others)} parts", total))
        return [*rows, AttributionRow(RESIDUE, self.residue)]

    def to_pandas(self) -> pd.DataFrame:
        """One row per part: part (its label), kind, layer, head, neuron (missing where it has none), contribution; of a
        split by feature also feature.

        The column `contribution` sums to the logit difference up to the residue; `attrs` holds both.
        """
        table = pd.DataFrame({"part": self.labels, "kind": list(self.part_kinds)})
        for name in ("layer", "head", "neuron", "feature"):
            if (numbers := getattr(self, f"part_{name}s")) is None:
                continue
            table[name] = pd.array(np.where(numbers < 0, 0, numbers), dtype="Int32")
            table.loc[numbers < 0, name] = pd.NA
        table["contribution"] = self.contribution
        table.attrs = {"difference": self.difference, "residue": self.residue}
        return table

    def sources_to_pandas(self, layer: int | None = None, head: int | None = None) -> pd.DataFrame:
        """One row per head and position it reads from: layer, head, position, token, contribution (logits).

        Args:
            layer: only this layer.
            head: only this head.

        Raises:
            DataError: sources are not known, or no such head.
        """
        chosen = self._sources(layer, head)
        layers = range(self.n_layers) if layer is None else [integer("layer", layer)]
        heads = range(self.n_heads) if head is None else [integer("head", head)]
        parts = np.array(
            [(one, other, place) for one in layers for other in heads for place in range(len(self.tokens))]
        )
        return pd.DataFrame(
            {
                "layer": parts[:, 0],
                "head": parts[:, 1],
                "position": parts[:, 2],
                "token": np.array(self.tokens.strings, object)[parts[:, 2]],
                "contribution": chosen.ravel(),
            }
        )

    def head_sources(self, layer: int, head: int) -> np.ndarray:
        """float32 `[position]`: one head's contribution by the position it reads from, logits.

        Raises:
            DataError: sources are not known, or no such head.
        """
        return self._sources(integer("layer", layer), integer("head", head))[0, 0]

    def _sources(self, layer: int | None, head: int | None) -> np.ndarray:
        if self.sources is None:
            raise DataError(
                f"the sources of heads are not known: {self.why_no_sources or 'they were not computed'}",
                "Show the heads themselves.",
            )
        rows = range(self.n_layers) if layer is None else [place("layer", layer, self.n_layers)]
        heads = range(self.n_heads) if head is None else [place("head", head, self.n_heads)]
        return self.sources[rows[0] : rows[-1] + 1, heads[0] : heads[-1] + 1]
