"""What is looked at is a run: a model, a prompt, and the interventions made in it.

An intervention says what is changed and where; how is `compute/interventions.py`. Knows nothing of models, torch or
the page. Interventions are compared, printed as the Python that makes them, and saved as JSON.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from mi_widgets.data.arrays import as_float32
from mi_widgets.data.held import checked_prompt, checked_prompts, frozen, identity, name_of, plain
from mi_widgets.data.integers import integer, integers, is_integer, number, text, word
from mi_widgets.errors import DataError, choose

#: Where an intervention can act by a word of its own, and the hook of a block that it is. Of heads: `"z"`, what they
#: read, before W_O; their queries, keys and values as the weights give them (before any rotation); and their pattern.
#: Of neurons: `"post"`, after the nonlinearity (and gate).
SITES = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "z": "attn.hook_z",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "pattern": "attn.hook_pattern",
    "post": "mlp.hook_post",
}
#: Sites of `d_model` numbers at each position, and those that are told apart by head.
STREAMS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
HEADS = ("z", "q", "k", "v", "pattern")
#: What an ablation puts in place of what was there.
BY = ("zero", "mean", "resample")


class Change(ABC):
    """What the kinds of intervention have in common: how they are compared, printed and saved."""

    #: A word for the kind, on the page and in files.
    kind: ClassVar[str]

    @property
    @abstractmethod
    def label(self) -> str:
        """A few words for a header: `"L2 H6 ablated"`."""

    @property
    def identity(self) -> Hashable:
        """Equal for interventions that do the same; for caches. Of a function of the user's: that very function."""
        return (type(self).__name__, *(identity(getattr(self, one.name)) for one in fields(self)))  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.identity == self.identity  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        """Python that makes it again, `mi_widgets` imported as `mw`; an array or function stands by its name."""
        first = self._positional()
        words = []
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            if one.name in first:
                words.append(_shown(one.name, value))
            elif identity(value) != identity(one.default):
                words.append(f"{one.name}={_shown(one.name, value)}")
        return f"mw.{type(self).__name__}({', '.join(words)})"

    def _positional(self) -> tuple[str, ...]:
        return ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; of a function of the user's only its name."""
        values = {one.name: plain(getattr(self, one.name)) for one in fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind, **values}

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class AtHook(Change):
    """What the kinds have in common that name the hook they write at in full."""

    #: As TransformerLens names it: `"blocks.2.attn.hook_z"`.
    hook_name: str


@dataclass(frozen=True, eq=False, repr=False)
class Ablate(Change):
    """Take a part of one block out of the run.

    Attributes:
        layer: the block, from 0.
        head: the query head, from 0: what it reads (z, before W_O) is replaced. None: a whole part, see `site`.
        by: `"zero"`; `"mean"`: the mean over the prompts of `reference`, position by position where all of them are as
            long as the prompt, else over all their positions, and without a `reference` over the positions of the
            prompt itself; `"resample"`: what stands there in a run of one prompt of `reference`, drawn with `seed`:
            position by position where it is as long as the prompt, else by alignment, its last position standing in
            for what has no partner.
        positions: only there (negative ones count from the end); everywhere if None.
        site: `"attn_out"`, `"mlp_out"`, `"resid_pre"`, `"resid_mid"` or `"resid_post"` instead of a head.
        neuron: one neuron of the MLP, after its nonlinearity (and gate), instead of a head.
        reference: prompts (text, ids or messages) for `"mean"` and `"resample"`; their runs are untouched.
        seed: of the draw.

    Raises:
        DataError: a number or word that means nothing, or not exactly one of head, site and neuron.
    """

    kind: ClassVar[str] = "ablate"

    layer: int
    head: int | None = None
    by: str = "zero"
    positions: tuple[int, ...] | None = None
    site: str | None = None
    neuron: int | None = None
    reference: tuple[Any, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        self._set("layer", checked_index("layer", self.layer))
        self._set("by", word("by", self.by, BY))
        self._set("positions", checked_positions("positions", self.positions))
        for name in ("head", "neuron"):
            self._set(name, None if getattr(self, name) is None else checked_index(name, getattr(self, name)))
        if self.site is not None:
            self._set("site", word("site", self.site, STREAMS))
        given = [name for name in ("head", "site", "neuron") if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise DataError(f"an ablation is of one head, site or neuron; {said} is given.", "E.g. head=6.")
        self._set("reference", checked_prompts("reference", self.reference))
        if self.by == "resample" and not self.reference:
            raise DataError('by="resample" draws from prompts; there are none.', "Give reference=[…], a few prompts.")
        self._set("seed", checked_index("seed", self.seed))

    @property
    def label(self) -> str:
        """See `Change`."""
        how = {"zero": "ablated", "mean": "mean-ablated", "resample": "resampled"}[self.by]
        return f"{_where(self)} {how}{at_positions(self.positions)}"


@dataclass(frozen=True, eq=False, repr=False)
class Patch(Change):
    """Put in what stands there in the run of another prompt (activation patching).

    Attributes:
        site: a word of `SITES`.
        layer: the block, from 0.
        position: only there: one or several, negative ones from the end; None is everywhere that both prompts have. Of
            site `"pattern"` the queries.
        source: the other prompt: text, ids or messages. Prompts of one length correspond position by position, others
            by their alignment.
        head: of sites `"z"`, `"q"`, `"k"`, `"v"` and `"pattern"`: only this head; all of them if None. Keys and values
            have key-value heads, fewer than query heads where the model groups its queries.
        key: of site `"pattern"`: only what goes to this one key; all keys if None.
        neuron: of site `"post"`: only this neuron; all of them if None.

    Raises:
        DataError: a number or word that means nothing, or no source.
    """

    kind: ClassVar[str] = "patch"

    site: str
    layer: int
    position: tuple[int, ...] | None = None
    source: Any = None
    head: int | None = None
    key: int | None = None
    neuron: int | None = None

    def __post_init__(self) -> None:
        self._set("site", word("site", self.site, SITES))
        self._set("layer", checked_index("layer", self.layer))
        self._set("position", checked_positions("position", self.position))
        for name, sites in (("head", HEADS), ("neuron", ("post",)), ("key", ("pattern",))):
            if getattr(self, name) is not None and self.site not in sites:
                has = " or ".join(f'"{site}"' for site in sites)
                raise DataError(f"{self.site} has no {name}s.", f"Give site={has} with a {name}.")
        for name in ("head", "neuron"):
            self._set(name, None if getattr(self, name) is None else checked_index(name, getattr(self, name)))
        self._set("key", None if self.key is None else integer("key", self.key))
        if self.source is None:
            raise DataError("a patch is from another prompt's run; there is none.", 'Give source="another prompt".')
        self._set("source", checked_prompt("source", self.source))

    def _positional(self) -> tuple[str, ...]:
        return ("site",)

    @property
    def label(self) -> str:
        """See `Change`."""
        site = f" {self.site}" if self.head is not None and self.site != "z" else ""
        to = "" if self.key is None else f" → {self.key}" if self.position else f" at key {self.key}"
        return f"{_where(self)}{site} patched{at_positions(self.position)}{to}"


@dataclass(frozen=True, eq=False, repr=False)
class Add(Change):
    """Add a direction to an activation (steering).

    Attributes:
        direction: float32 `[d_model]` (of site `"z"` with a head `[d_head]`); numpy, torch or a list.
        site: where, as in `Patch`.
        layer: the block, from 0.
        strength: the direction is multiplied by it.
        positions: only there; everywhere if None.
        head: of site `"z"`: the query head.

    Raises:
        DataError: a direction that is not one row of finite numbers, or a number or word that means nothing.
    """

    kind: ClassVar[str] = "add"

    direction: np.ndarray
    site: str = "resid_post"
    layer: int = None  # type: ignore[assignment]  # none is right for every model
    strength: float = 1.0
    positions: tuple[int, ...] | None = None
    head: int | None = None

    def __post_init__(self) -> None:
        direction = np.array(as_float32(self.direction))
        if direction.ndim != 1 or not direction.size or not np.isfinite(direction).all():
            raise DataError(
                f"a direction of shape {list(direction.shape)} is not [d_model] finite numbers.", "Give one vector."
            )
        direction.flags.writeable = False
        self._set("direction", direction)
        self._set("site", word("site", self.site, (*STREAMS, "z")))
        if self.layer is None:
            raise DataError("layer is missing.", "Say where the direction is added: layer=2.")
        self._set("layer", checked_index("layer", self.layer))
        self._set("strength", number("strength", self.strength))
        self._set("positions", checked_positions("positions", self.positions))
        self._set("head", None if self.head is None else checked_index("head", self.head))
        if (self.head is None) == (self.site == "z"):
            raise DataError(f"site={self.site!r} with head={self.head}.", 'Give a head with site="z", and only there.')

    def _positional(self) -> tuple[str, ...]:
        return ("direction",)

    @property
    def label(self) -> str:
        """See `Change`."""
        sign = "−" if self.strength < 0 else "+"
        return f"{_where(self)} {sign} {abs(self.strength):g} × direction{at_positions(self.positions)}"


@dataclass(frozen=True, eq=False, repr=False)
class Intervention(AtHook):
    """A function of the user's own at one hook.

    Attributes:
        hook_name: in full, as TransformerLens names it: `"blocks.2.attn.hook_z"`. What is changed there is what
            TransformerLens's own `run_with_hooks` changes: at `hook_resid_mid` of most models only what the MLP reads,
            where `Ablate`, `Patch` and `Add` with `site="resid_mid"` change the residual stream itself.
        function: called as TransformerLens calls a hook, `function(activation, hook)`, with the activation
            `[1, position, …]`; what it returns stands instead, None leaves it (or what was changed in place).
            Of an intervention that was read from a file it is its name, and it cannot be run.

    Raises:
        DataError: no name, or nothing that can be called.
    """

    kind: ClassVar[str] = "own"

    hook_name: str
    function: Callable[[Any, Any], Any] | str

    def __post_init__(self) -> None:
        if not text("hook_name", self.hook_name):
            raise DataError("hook_name is empty.", 'Give e.g. "blocks.2.attn.hook_z".')
        if not callable(self.function) and not isinstance(self.function, str):
            raise DataError(f"function={self.function!r} cannot be called.", "Give function(activation, hook).")

    def _positional(self) -> tuple[str, ...]:
        return ("hook_name", "function")

    @property
    def label(self) -> str:
        """See `Change`."""
        return f"{name_of(self.function)} at {self.hook_name}"


KINDS: dict[str, type[Change]] = {kind.kind: kind for kind in (Ablate, Patch, Add, Intervention)}


@dataclass(frozen=True, eq=False)
class Run:
    """What a view looks at. What is left out (None) is the session's.

    Attributes:
        model: a TransformerBridge of the same shape.
        prompt: text, token ids or chat messages.
        interventions: made in it; `[]` is the untouched run.
    """

    model: Any = None
    prompt: Any = None
    interventions: tuple[Change, ...] | None = None

    def __post_init__(self) -> None:
        if self.interventions is not None:
            object.__setattr__(self, "interventions", checked_interventions(self.interventions))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Run)
            and other.model is self.model
            and identity(frozen(other.prompt)) == identity(frozen(self.prompt))
            and other.interventions == self.interventions
        )

    __hash__ = None  # type: ignore[assignment]  # prompts may be lists

    def __repr__(self) -> str:
        words = [] if self.model is None else ["model=other"]
        words += [] if self.prompt is None else [f"prompt={self.prompt!r}"]
        words += [] if self.interventions is None else [f"interventions={list(self.interventions)!r}"]
        return f"mw.Run({', '.join(words)})"


def checked_interventions(given: Any) -> tuple[Change, ...]:
    """Interventions as a tuple; one alone, or None for none, will do.

    Raises:
        DataError: something else.
    """
    if given is None:
        return ()
    listed: Sequence[Any] = [given] if isinstance(given, (Change, str)) or not _many(given) else list(given)
    wrong = [one for one in listed if not isinstance(one, Change)]
    if wrong:
        raise DataError(
            f"{wrong[0]!r:.60} is no intervention.",
            "Give mw.Ablate, mw.Patch, mw.Add, mw.Splice, mw.Clamp or mw.Intervention, or a list.",
        )
    return tuple(listed)


def written_hook(change: Change) -> str:
    """The hook that an intervention writes at, in full."""
    if isinstance(change, AtHook):
        return change.hook_name
    made: Any = change
    site = made.site or ("z" if getattr(made, "neuron", None) is None else "post")
    return f"blocks.{made.layer}.{SITES[site]}"


def interventions_from(values: Iterable[Any]) -> tuple[Change, ...]:
    """Interventions from what `to_dict` made of them.

    Raises:
        DataError: a kind that is not known, or damaged values.
    """
    found = []
    for value in values:
        held = dict(value) if isinstance(value, dict) else {}
        kind = held.pop("kind", None)
        if kind not in KINDS:
            raise DataError(f"an intervention of kind {kind!r} is not known.", choose(kind, KINDS))
        try:
            found.append(KINDS[kind](**held))
        except TypeError as reason:
            raise DataError(f"a damaged intervention of kind {kind}: {reason}") from reason
    return tuple(found)


def _many(given: Any) -> bool:
    return hasattr(given, "__iter__") and not isinstance(given, dict) and getattr(given, "ndim", 1) > 0


def checked_index(name: str, value: Any) -> int:
    """A whole number from 0.

    Raises:
        DataError: something else.
    """
    index = integer(name, value)
    if index < 0:
        raise DataError(f"{name}={index} is negative.", "Count from 0.")
    return index


def checked_positions(name: str, value: Any) -> tuple[int, ...] | None:
    """Positions as a tuple, each once; one alone, or None for all, will do.

    Raises:
        DataError: no whole numbers, or none at all.
    """
    if value is None:
        return None
    listed = [integer(name, value)] if is_integer(value) else integers(name, value)
    if not listed:
        raise DataError(f"{name} is empty: nothing would be changed.", "Give positions, or None for all.")
    return tuple(dict.fromkeys(listed))


def _where(change: Any) -> str:
    """`"L2 H6"`, `"L2 mlp_out"`, `"L2 neuron 7"`."""
    part = getattr(change, "site", None)
    if getattr(change, "neuron", None) is not None:
        part = f"neuron {change.neuron}"
    elif change.head is not None:
        part = f"H{change.head}"
    return f"L{change.layer} {part}"


def at_positions(positions: tuple[int, ...] | None) -> str:
    """`" at 3, 4"`, as labels end; nothing for all positions."""
    if positions is None:
        return ""
    shown = ", ".join(map(str, positions[:4])) + (" …" if len(positions) > 4 else "")
    return f" at {shown}"


def _shown(name: str, value: Any) -> str:
    if isinstance(value, np.ndarray):
        return name
    if callable(value) or name == "function":
        return name_of(value)
    if name == "coder":
        folder = getattr(value, "folder", None)
        return name if folder is None else f"mw.sae.load({str(folder)!r})"
    if name == "position" and value is not None and len(value) == 1:
        return repr(value[0])
    return repr(list(value)) if isinstance(value, tuple) else repr(value)
