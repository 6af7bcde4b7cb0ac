"""The types of what crosses for the logit lens, the logit attribution and the prompt view; see `messages.py`.

Every value here is plain JSON; NaN crosses as null. Knows nothing of widgets.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from mi_widgets.data.logit_attribution import PartKind
from mi_widgets.described.logit_attribution import LOGIT_ATTRIBUTION
from mi_widgets.described.logit_lens import LOGIT_LENS
from mi_widgets.described.prompt import PROMPT
from mi_widgets.wire.messages import (
    ComparedManifest,
    ComparedState,
    RefusedToken,
    TokenName,
    TokenTable,
)

# --- logit lens ----------------------------------------------------------------------------------

#: A value of an option, and all of a view's options: what a reader chose, settable from Python as `view.options`.
Stream = Annotated[str, LOGIT_LENS.by_name["stream"]]
Lens = Annotated[str, LOGIT_LENS.by_name["lens"]]
LensOptions = Annotated[dict[str, Any], LOGIT_LENS]


class LensManifest(ComparedManifest):
    """What the lens picture means. Rows are from the first to the last; the last is the model's own output.

    Blocks, by side "A" (and "B"): `A/top_ids` (f32, exact) and `A/top_probs` [row, position, k]; `A/entropy`, `A/kl`,
    `A/change`, `A/next_prob` [row, position] (f16, nats); `A/final_rank`, `A/next_rank` [row, position] (f32);
    `A/target_probs`, `A/target_ranks` [row, position, target]; and `difference/kl` [row, column]: KL(A‖B).
    Where `whole` is false the top has k = 1 in the picture, and request "rows" gives `A/top_ids/<row>`,
    `A/top_probs/<row>` [position, k] of `rows`, with a manifest `LensRows`.

    `read` of a picture that is partial: what is read so far; null where all is. The position axis of its blocks holds
    only these, and the columns of `difference/kl` those that are read on every side that has them. A fuller picture of
    the same run follows.
    """

    kind: Literal["logit_lens"]
    tokens: TokenTable
    positions: list[int]
    read: LensRead | None
    layers: list[int]
    streams: list[Stream]
    lens: Lens
    lenses: list[Lens]
    available_streams: list[Stream]
    n_layers: int
    d_vocab: int
    top_k: int
    whole: bool
    names: list[TokenName]
    targets: list[TokenName]
    compare: LensCompare | None


class LensRead(TypedDict):
    """By side, indices into its `positions` of those that are read; none of B where nothing is compared."""

    A: list[int]
    B: list[int]


class LensCompare(TypedDict):
    """What B is: the second prompt, or another lens on the same one. `pairs` as in `CompareTable`, as indices into
    `positions` of A and of B."""

    what: Literal["prompt", "lens"]
    lens: Lens
    tokens: TokenTable
    positions: list[int]
    pairs: list[list[int]]


class LensRows(TypedDict):
    """Names of the tokens in an answer to request "rows"."""

    names: list[TokenName]


class LensState(ComparedState):
    """The synchronised state of the logit lens. `refused` is the last pinned word
    that is no single token, or null."""

    options: LensOptions
    refused: RefusedToken | None


# --- logit attribution ---------------------------------------------------------------------------

By = Annotated[str, LOGIT_ATTRIBUTION.by_name["by"]]
AttributionOptions = Annotated[dict[str, Any], LOGIT_ATTRIBUTION]


class AttributionSide(TypedDict):
    """One attribution; contributions are in logits and sum to `difference` up to `residue`.

    Parts are parallel lists (-1 where a part has no layer, head or neuron). Blocks: `contribution` [part] (f32);
    `mlps` [layer] (f32, NaN where not known); `heads` [layer, head] (f32), whatever `by` is, absent where
    `why_no_heads` says why; `sources` [layer, head, position] (f16): each head's contribution by the position it reads
    from, absent where `has_sources` is false (`why_no_sources` says why).
    """

    tokens: TokenTable
    position: int
    part_labels: list[str]
    part_kinds: list[PartKind]
    part_layers: list[int]
    part_heads: list[int]
    part_neurons: list[int]
    difference: float
    residue: float
    n_heads: int
    why_no_heads: str
    has_sources: bool
    why_no_sources: str


class AttributionManifest(ComparedManifest, AttributionSide):
    """What the attribution picture means; what is said of one side is of A. `coder` says by whose features it is split,
    or is null; `has_coder` whether it could be."""

    kind: Literal["logit_attribution"]
    ablated: list[list[int]]
    answer: TokenName
    foil: TokenName | None
    automatic: bool
    candidates: list[Candidate]
    by: By
    n_layers: int
    coder: str | None
    has_coder: bool
    compare: AttributionCompare | None


class AttributionCompare(TypedDict):
    """The second attribution, and A − B, whose tokens are the columns of `pairs` as in `CompareTable`. The blocks of
    either begin with its name: `B/contribution`."""

    B: AttributionSide
    difference: AttributionSide
    pairs: list[list[int]]


class Candidate(TypedDict):
    """A likely next token and its probability."""

    id: int
    string: str
    probability: float


class AttributionState(ComparedState):
    """The synchronised state of the attribution view.

    `answer` and `foil` are text or ids; both null: the model's own first and second choice; a null foil beside an
    answer: that logit alone. `refused` is the last of them that is no single token.
    """

    answer: str | int | None
    foil: str | int | None
    refused: RefusedToken | None
    options: AttributionOptions


# --- the prompt as the model sees it -------------------------------------------------------------

PromptOptions = Annotated[dict[str, Any], PROMPT]


class PromptSide(TypedDict):
    """Totals of one prompt, in bits: over its `scored` tokens (the first has nothing before it); null where numbers are
    not finite."""

    tokens: TokenTable
    total: float | None
    scored: int
    perplexity: float | None


class PromptManifest(ComparedManifest):
    """What the prompt view's picture means.

    Blocks, by side "A" (and "B"): `A/surprisal` (bits, NaN where nothing stands before), `A/rank`, `A/entropy` (bits)
    [position] (f32); `A/top_ids` (f32, exact), `A/top_probs` [position, k].
    """

    kind: Literal["prompt"]
    sides: list[PromptSide]
    pairs: list[list[int]] | None
    names: list[TokenName]
    top_k: int
    d_vocab: int
    prepended: bool


class PromptState(ComparedState):
    """The synchronised state of the prompt view. `written` is how many of the last
    tokens the model itself wrote, by candidates or by sampling."""

    options: PromptOptions
    written: int
