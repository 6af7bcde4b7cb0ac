"""The types of what crosses for the patching view; see `messages.py`. Knows nothing of widgets."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from mi_widgets.described.patching import PATCHING
from mi_widgets.wire.messages import ComparedManifest, ComparedState, CompareTable, RefusedToken, TokenName, TokenTable
from mi_widgets.wire.view_messages import Candidate

PatchingOptions = Annotated[dict[str, Any], PATCHING]


class PatchingManifest(ComparedManifest):
    """What the patching picture means. Side A is the clean prompt, side B (`compare`) the corrupt one.

    Cells are flat in C order over the axes `by`, whose entries are the model's `numbers`. Blocks: `effect`, `change`
    [cell]: exact ones, NaN where not (yet) computed or not possible; `estimate`, `estimated_change` [cell] where
    `estimated_by` is not ""; `low`, `high`, `spread` [cell] of the effect where there are several pairs and no
    cell is missing; f32 (exact), of very many cells f16.

    `base`: the run that is changed, whose positions the cells' are. `done` of `total` cells are exact (`total` counts
    those that have a partner in the other run). The pairs of clean and corrupt positions are in `compare`, null of an
    ablation. `differs`: whether clean and corrupt differ in the metric; where not, effects are NaN and `change` is what
    there is. `why_estimate`: why cells stay estimates, "" where they do not; `seconds`: predicted of all exact cells,
    and of the estimate; null where not known. What can be chosen here: `sites` of this architecture, `grids` (values of
    the option `by`) of the site, `metrics`. `paths`: those of the trait `path`; null where none are computed.
    """

    kind: Literal["patching"]
    tokens: TokenTable
    compare: CompareTable | None
    base: Literal["A", "B"]
    experiment: str
    site: str
    by: list[str]
    numbers: list[list[int]]
    layer: int | None
    direction: str
    ablated_by: str
    reference: str
    metric: str
    metric_title: str
    unit: str
    clean: float | None
    corrupt: float | None
    neutral: float
    differs: bool
    pairs: int
    done: int
    total: int
    estimated_by: str
    why_estimate: str
    seconds: PatchingSeconds
    answer: TokenName | None
    foil: TokenName | None
    automatic: bool
    candidates: list[Candidate]
    n_layers: int
    n_heads: int
    n_kv_heads: int
    causal: bool
    sites: list[str]
    grids: list[str]
    metrics: list[str]
    paths: PathsValue | None


class PatchingSeconds(TypedDict):
    """Predicted seconds; null where not known."""

    exact: float | None
    estimate: float | None


class PathsValue(TypedDict):
    """The effect of one sender through each of its receivers, parallel lists; -1 where a receiver has no layer or head.

    `path`: the heads from the first sender to this one, the sender first, with the way each was entered. `kinds`:
    `"q"`, `"k"`, `"v"`, `"mlp"`, `"logits"`. `effects`: normalised as the grid's; null where there is no number.
    """

    path: list[PathStep]
    kinds: list[str]
    layers: list[int]
    heads: list[int]
    effects: list[float | None]


class PathStep(TypedDict):
    """One head of a path, or -1 for an MLP; `entered` is how the path enters it (`"q"`, `"k"`, `"v"`, `"mlp"`), "" of
    the first sender."""

    layer: int
    head: int
    entered: str


class PatchingState(ComparedState):
    """The synchronised state of the patching view.

    `prompt` is the clean prompt and `compare` the corrupt one; `proposal` is a corrupt prompt to offer while there is
    none, or "". `answer` and `foil` as in the attribution view. `path`: the heads walked in the chart of paths, from
    the first sender on, `{layer, head, entered}`; empty: the selected head.
    """

    options: PatchingOptions
    answer: str | int | None
    foil: str | int | None
    refused: RefusedToken | None
    proposal: str
    path: list[PathStep]
