"""The types of what crosses between kernel and page: what every view has, and the attention explorer's own.

TypeScript types are generated from this file and `view_messages.py` (`python -m mi_widgets.wire.typescript`), so both
sides can only agree.

Every value here is plain JSON; NaN crosses as null. Knows nothing of widgets.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from mi_widgets.described.attention import ATTENTION

Dtype = Literal["u8", "f16", "f32"]
Transform = Literal["linear", "sqrt", "signed_sqrt"]
Layout = Literal["dense", "lower"]
#: A value of an option, and all of a view's options: what a reader chose, settable from Python as `view.options`.
Weighting = Annotated[str, ATTENTION.by_name["weighting"]]
Show = Annotated[str, ATTENTION.by_name["show"]]
Scale = Annotated[str, ATTENTION.by_name["scale"]]
AttentionOptions = Annotated[dict[str, Any], ATTENTION]
State = Literal["idle", "computing", "error", "frozen"]


class BlockHeader(TypedDict):
    """How one block's bytes are read; see `wire/blocks.py`."""

    name: str
    dtype: Dtype
    shape: list[int]
    axes: list[str]
    layout: Layout
    transform: Transform
    low: float
    high: float
    offset: int
    nbytes: int


class ParcelHeader(TypedDict):
    """The JSON at the head of a parcel. `manifest` is null or what the picture means."""

    schema: int
    manifest: object | None
    blocks: list[BlockHeader]


class PromptValue(TypedDict, total=False):
    """A prompt as the user gave it: exactly one of text, ids, messages, by `kind`."""

    kind: Literal["text", "ids", "chat"]
    text: str
    ids: list[int]
    messages: list[ChatMessage]


class ChatMessage(TypedDict):
    """One message for the tokenizer's chat template."""

    role: str
    content: str


class InterventionValue(TypedDict):
    """A `data.interventions.Change` as the page sees it: what it is called, its kind ("ablate", "patch", "add",
    "splice", "clamp", "own"), of an ablation what it puts in place ("zero", "mean", "resample"), and the block and head
    that it is made at; null where it has no such thing."""

    label: str
    kind: str
    by: str | None
    layer: int | None
    head: int | None


class RunValue(TypedDict):
    """A `data.Run` beside the session's; what is null is the session's. The model and the interventions are named by
    their labels; a page that edits the prompt sends the others back as they came, or no interventions."""

    kind: Literal["run"]
    prompt: PromptValue | None
    model: str | None
    interventions: list[str] | None


class OtherRun(TypedDict):
    """What a picture's side B is, beside its prompt: labels of the interventions made in it, the heads that they
    ablate, and the label of its model where it is not A's."""

    interventions: list[str]
    ablated: list[list[int]]
    model: str | None


class SelectionValue(TypedDict):
    """`data.Selection`, whose fields are the others here, with `stamp`, which grows with every change anywhere: the
    larger stamp is the newer."""

    stamp: int


class StatusValue(TypedDict):
    """What the kernel says beside the picture."""

    state: State
    run: int
    message: str
    hint: str
    done: int
    total: int
    estimate: str
    elapsed_ms: float


class TokenTable(TypedDict):
    """`data.Tokens`: ids are -1 where a token has none; spans are [-1, -1] likewise."""

    ids: list[int]
    strings: list[str]
    special: list[bool]
    spans: list[list[int]]
    text: str | None


class ScoreColumn(TypedDict):
    """One number per head by which the wall can be sorted and filtered: layer-major, null where undefined."""

    name: str
    label: str
    description: str
    values: list[float | None]


class CheckValue(TypedDict):
    """A self-check: what is compared, whether it holds, and the number."""

    label: str
    ok: bool
    detail: str


class CompareTable(TypedDict):
    """The second prompt and its alignment: `pairs` holds [position in A or -1, position in B or -1] per column."""

    tokens: TokenTable
    pairs: list[list[int]]


class ViewManifest(TypedDict):
    """What every picture says of its run A: `interventions` are labels of those made in it."""

    run: int
    model: str
    interventions: list[str]
    checks: list[CheckValue]
    notes: list[str]
    live: bool


class ComparedManifest(ViewManifest):
    """What a picture that may have a side B says; `other` is null where nothing is compared."""

    other: OtherRun | None


class ViewState(TypedDict):
    """The synchronised state of every view; the names are the widget's traits.

    `interventions`: those of the session; of data and of an offline page those of the picture. `picture`: parcel with
    the view's manifest; `focus` and `store`: parcels of further blocks, on screen and in an offline page.
    """

    session_id: str
    prompt: PromptValue | None
    interventions: list[InterventionValue]
    history: list[PromptValue]
    selection: SelectionValue
    status: StatusValue
    picture: bytes
    focus: bytes
    store: bytes
    height: int


class ComparedState(ViewState):
    """The state of a view that can set a second run beside the first: its own, or while that is null what its session
    sets `beside` the runs of all its views."""

    compare: PromptValue | RunValue | None
    beside: PromptValue | RunValue | None


class AttentionManifest(ComparedManifest):
    """What the attention picture means. Ranges are over every allowed, finite cell of the shown side.

    `ablated`: the [layer, head] that the interventions in A ablate.
    """

    kind: Literal["attention"]
    ablated: list[list[int]]
    tokens: TokenTable
    layers: list[int]
    heads: int
    kv_heads: int | None
    weighting: Weighting
    unit: str
    causal: bool
    windows: list[int | None]
    low: float
    high: float
    difference_high: float | None
    head_high: list[float]
    compare: CompareTable | None
    scores: list[ScoreColumn]


class _Request(TypedDict):
    kind: Literal["request"]
    req: int
    want: Literal["heads", "atlas", "rows", "ping"]
    run: int
    heads: list[list[int]]
    sides: list[Literal["A", "B"]]
    show: Show
    encoding: Literal["buffers", "base64"]


class Request(_Request, total=False):
    """Page to kernel: `req` is the page's own number; the answer carries it back. `rows` only with want "rows"."""

    rows: list[int]


class Cancel(TypedDict):
    """Page to kernel: the answer to `req` is no longer wanted."""

    kind: Literal["cancel"]
    req: int


class Stop(TypedDict):
    """Page to kernel: the Stop button."""

    kind: Literal["stop"]


class Presence(TypedDict):
    """Page to kernel: one render of the view stands on the page, or has left it. A view whose renders have all left
    is not redrawn until it is shown again or asked for its data. `render` is a name that no other render has, on any
    page: a reloaded page cannot say that its renders have left."""

    kind: Literal["shown", "hidden"]
    render: str


class RollCall(TypedDict):
    """Kernel to page: every render that still stands says "shown" again, by its name."""

    kind: Literal["roll_call"]


class AnswerError(TypedDict):
    """Why a request has no data: `code` for programs, message and hint for people."""

    code: Literal["stale", "unknown", "failed"]
    message: str
    hint: str


class Answer(TypedDict):
    """Kernel to page: one parcel, as the message's only buffer or in `base64`; or an error."""

    kind: Literal["answer"]
    req: int
    ok: bool
    nbytes: int
    base64: str | None
    error: AnswerError | None


class TokenName(TypedDict):
    """A token of the vocabulary and how it is shown."""

    id: int
    string: str


class RefusedToken(TypedDict):
    """A word the user gave as one token and that is none: the pieces it falls into, and single tokens near it."""

    role: Literal["answer", "foil", "target"]
    text: str
    pieces: list[str]
    offers: list[TokenName]


class Order(TypedDict, total=False):
    """Page to kernel: do something once.

    Of the prompt view: `append`: put these `ids` after the prompt; `sample`: let the model write `tokens` tokens, with
    what the view's options say. Of the lens: `look`: the reader looks at the positions from the first to the second of
    `positions` of prompt `side`, which are not read yet: read them next. Of every view, on the interventions of its
    session: `ablate`: take these `heads` out, or where all of them are out, put them back; `remove`: take away the
    intervention at place `at`, which is called `label`; `restore`: take all away; `undo`: those that were made before
    the last change, and again: those of now. Of a view that compares: `alone`: take away what its session sets beside.
    """

    kind: Literal["order"]
    order: Literal["append", "sample", "look", "ablate", "remove", "restore", "undo", "alone"]
    ids: list[int]
    tokens: int
    positions: list[int]
    side: Literal["A", "B"]
    heads: list[list[int]]
    at: int
    label: str


class AttentionState(ComparedState):
    """The synchronised state of the attention explorer. `picture` has the block `atlas/<show>`, `focus` the blocks
    `head/<side>/<layer>.<head>` on screen, and `store` the same for every head kept in an offline page."""

    options: AttentionOptions
