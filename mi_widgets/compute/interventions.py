"""What interventions do in a pass: each becomes writes at hooks of one model, for one prompt.

Says before the pass what cannot be done: a head that does not exist, a direction of another width, a hook whose value
nothing reads. Source activations are those of untouched runs. Knows nothing of sessions, caches or pages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np

from mi_widgets.compute.acts import MIDDLE, Act, Adding, Middle, Own, Part, Putting, PuttingEdges
from mi_widgets.compute.forward import PATTERN, Activations, Layers, Write, forward
from mi_widgets.compute.reach import Reach, carries, reach
from mi_widgets.compute.recoding import Recoding
from mi_widgets.compute.replacements import Mean, partners_of, resampled
from mi_widgets.data import Tokens
from mi_widgets.data.coder_interventions import CoderChange, CoderName
from mi_widgets.data.interventions import (
    HEADS,
    SITES,
    Ablate,
    Add,
    Change,
    Intervention,
    Patch,
    checked_interventions,
    written_hook,
)
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import ModelInfo, describe, tokenize

#: Makes, or finds, a pass without interventions: of a prompt as tokenized, these sites, of these layers by site.
Read = Callable[[Tokens, tuple[str, ...], Mapping[str, Layers]], Activations]
#: Several, one, or none.
Interventions = Iterable[Change] | Change | None


@dataclass(frozen=True, eq=False)
class Edits:
    """Interventions made ready for one model and prompt.

    Attributes:
        writes: for `compute.forward`, in the order in which they act.
        notes: what a reader must know beside the labels: what a mean is over, which prompt was drawn.
        interventions: what they were made from.
        whole: a function of the user's own is among them, or a coder that reads positions in order: it expects every
            position of the prompt in its activation, so no keys and values may be kept.
        middles: by block, what carries changes of the stream in its middle to its end.
    """

    writes: tuple[Write, ...] = ()
    notes: tuple[str, ...] = ()
    interventions: tuple[Change, ...] = ()
    whole: bool = False
    middles: Mapping[int, Middle] = field(default_factory=dict)


def resolve(
    model: Any,
    tokens: Tokens,
    interventions: Interventions,
    *,
    read: Read | None = None,
    prepend_bos: bool | None = None,
    beyond_context: bool = False,
) -> Edits:
    """Make interventions ready for a run of `tokens`. They act in the order given.

    Args:
        model: a TransformerBridge.
        tokens: the prompt as run.
        interventions: `mw.Ablate`, `mw.Patch`, `mw.Add`, `mw.Splice`, `mw.Clamp`, `mw.Intervention`; several, one, or
            none.
        read: makes or finds the untouched passes that they take activations from, one for each other prompt;
            `compute.forward` if None.
        prepend_bos: for the other prompts, as for this one.
        beyond_context: for the other prompts, as for this one.

    Raises:
        DataError: a layer, head, neuron or position that does not exist, a direction or coder of another width, a
            position without a partner in the source, or a function or coder that is only a name.
        ModelError: a site or hook that this architecture lacks, or whose value nothing reads.
        PromptError: another prompt that cannot be run.
    """
    changes = checked_interventions(interventions)
    if not changes:
        return Edits()
    run = _Run(model, model.hook_dict, describe(model), tokens, prepend_bos, beyond_context)
    plans = [_plan(run, change) for change in changes]
    _fetch(plans, read or (lambda prompt, sites, layers: forward(model, prompt.ids, sites, layers)))
    middles: dict[int, Middle] = {}
    recodings: dict[str, Recoding] = {}
    writes: list[Write] = []
    for plan in plans:
        if isinstance(plan.change, CoderChange):
            coder = plan.change.coder
            if (known := recodings.get(coder.fingerprint)) is not None:
                known.add(plan.change, plan.places)
                continue
            same = run.hooks[coder.hook_in] is run.hooks[coder.hook_out]
            plan.function = recodings[coder.fingerprint] = Recoding(coder, same, plan.change, plan.places)
        act, layer = plan.act(), getattr(plan.change, "layer", -1)
        if plan.site == MIDDLE and not carries(model, tokens.ids, layer):
            act = middles.setdefault(layer, Middle(layer)).changing(act)
        writes.append(Write(plan.hook, act))
    before = [write for middle in middles.values() for write in middle.before()]
    after = [write for middle in middles.values() for write in middle.after()]
    after += [Write(one.coder.hook_in, one.hear) for one in recodings.values() if not one.same]
    notes = tuple(f"{plan.change.label}: {plan.note}" for plan in plans if plan.note)
    whole = any(isinstance(change, Intervention) for change in changes)
    whole = whole or any(recoding.coder.reads_sequence for recoding in recodings.values())
    return Edits((*before, *writes, *after), notes, changes, whole, middles)


def reaches(model: Any, tokens: Tokens, interventions: Interventions) -> tuple[Reach, ...]:
    """What is known of the hook of each intervention, once it is seen that it can act in a run of `tokens`. Raises what
    `resolve` raises before any activation is taken."""
    run = _Run(model, model.hook_dict, describe(model), tokens, None, True)
    return tuple(_plan(run, change).reach for change in checked_interventions(interventions))


@dataclass(frozen=True, eq=False)
class _Run:
    """What interventions are made in: a model, its hooks and facts (both take long to ask for), a prompt."""

    model: Any
    hooks: Mapping[str, Any]
    info: ModelInfo
    tokens: Tokens
    prepend_bos: bool | None
    beyond_context: bool


@dataclass(eq=False)
class _Plan:
    """One intervention on its way to a write.

    Attributes:
        change: the intervention.
        hook: where it acts, in full.
        site: the same within its block.
        tokens: the prompt that is run.
        places: the positions it acts at, counted from the start; None for all.
        reach: what is known of the hook.
        n_heads: heads there, where an activation does not tell: query heads, of keys and values key-value heads.
        sources: prompts whose untouched runs it takes activations from.
        taken: what it took, float32 `[position, …]` of each, in their order; of a pattern `[head, query, key]`.
        note: see `Edits.notes`.
    """

    change: Any
    hook: str
    site: str
    tokens: Tokens
    places: tuple[int, ...] | None
    reach: Reach
    n_heads: int
    sources: list[Tokens] = field(default_factory=list)
    taken: list[np.ndarray] = field(default_factory=list)
    note: str = ""
    function: Act | None = None

    @property
    def part_shape(self) -> tuple[int, ...]:
        """Of what is changed at one position: `(d_head,)`, `()` for a neuron, else the activation's own."""
        own = tuple(self.reach.shape or ())[2:]
        if getattr(self.change, "neuron", None) is not None:
            return ()
        if getattr(self.change, "head", None) is None:
            return own
        return own[1:] if len(own) == 2 else (own[0] // self.n_heads,)

    def act(self) -> Act:
        """What `Write.act` wants."""
        if self.function is not None:
            return self.function
        part = Part(getattr(self.change, "head", None), getattr(self.change, "neuron", None), self.n_heads)
        if isinstance(self.change, Add):
            direction = np.float32(self.change.strength) * self.change.direction
            return Adding(self.hook, part, self.places, direction)
        if self.site == PATTERN:
            return self._edges()
        rows, beyond = self._rows()
        everywhere = range(len(self.tokens)) if self.places is None else self.places
        places = [place for place in everywhere if place in rows]
        stacked = np.stack([rows[place] for place in places]) if places else np.zeros((0,))
        return Putting(part, tuple(places), stacked, len(self.tokens), beyond if self.places is None else None)

    def _rows(self) -> tuple[dict[int, np.ndarray], np.ndarray | None]:
        """What is put at each position of the prompt, and at those that come after it (None: nothing)."""
        if isinstance(self.change, Patch):
            return self._patched(), None
        if self.change.by == "zero":
            nothing = np.zeros(self.part_shape, np.float32)
            return dict.fromkeys(range(len(self.tokens)), nothing), nothing
        if self.change.by == "mean":
            mean = Mean(len(self.tokens), self.sources if self.change.reference else ())
            for taken in self.taken:
                mean.add(taken)
            (rows, beyond), self.note = mean.rows(), mean.note
        else:
            (rows, beyond), self.note = resampled(self.tokens, self.sources[0], self.taken[0])
        return dict(enumerate(rows)), beyond

    def _patched(self) -> dict[int, np.ndarray]:
        (taken,) = self.taken
        return {place: taken[other] for place, other in self._partners_in_source(self.places or ()).items()}

    def _edges(self) -> PuttingEdges:
        """What is put in place of a pattern: from the queries that are asked for, to the keys that are."""
        (taken,), asked = self.taken, () if self.change.key is None else (self.change.key % len(self.tokens),)
        partners = self._partners_in_source((*(self.places or ()), *asked))
        queries, keys = (tuple(places or partners) for places in (self.places, asked))
        if self.note and not asked:
            self.note += "; attention to the others stays as it is, so that it need not sum to 1"
        rows, columns = ([partners[place] for place in places] for places in (queries, keys))
        heads = tuple(range(self.n_heads)) if self.change.head is None else (self.change.head,)
        return PuttingEdges(heads, queries, keys, taken[:, rows][:, :, columns])

    def _partners_in_source(self, asked: Sequence[int]) -> dict[int, int]:
        """By position of the prompt, that of the source which answers to it; those asked for must have one."""
        (source,) = self.sources
        partners = partners_of(self.tokens, source)
        lacking = [place for place in asked if place not in partners]
        if lacking:
            raise DataError(
                f"{self.change.label}: position {lacking[0]} ({self.tokens.labels()[lacking[0]]}) has no partner in "
                f"the source, whose {len(source)} tokens were aligned with these {len(self.tokens)}.",
                "Choose another position, or a source as long as the prompt.",
            )
        if len(source) != len(self.tokens):
            self.note = f"{len(partners)} of {len(self.tokens)} positions have a partner in the source, by alignment"
        return partners


def _plan(run: _Run, change: Change) -> _Plan:
    """The plan for one intervention, once it is seen that it can act."""
    model, info, tokens = run.model, run.info, run.tokens
    if isinstance(change, Intervention):
        found = _checked_hook(run, change.hook_name)
        if isinstance(change.function, str):
            raise DataError(
                f"only the name of the function ({change.function}) at {change.hook_name} is known.",
                f"Give the function: mw.Intervention({change.hook_name!r}, function).",
            )
        own = Own(change, run.hooks[change.hook_name])
        return _Plan(change, change.hook_name, "", tokens, None, found, info.n_heads, function=own)
    if isinstance(change, CoderChange):
        check_coder(model, tokens.ids, change.coder)
        hook, found = change.hook_name, _checked_hook(run, change.hook_name)
        site = MIDDLE if hook.startswith("blocks.") and hook.endswith(f".{MIDDLE}") else ""
        if site:
            _check_middle(run, change, hook)
        return _Plan(change, hook, site, tokens, _places(tokens, change), found, info.n_heads)
    assert isinstance(change, (Ablate, Patch, Add))
    if change.layer >= info.n_layers:
        raise DataError(
            f"{change.label}: layer {change.layer} does not exist.",
            f"This model has layers 0 to {info.n_layers - 1}.",
        )
    hook = written_hook(change)
    site = hook.split(".", 2)[2]
    if hook not in run.hooks:
        raise _lacking(run, change)
    found = _checked_hook(run, hook)
    if site == MIDDLE:
        _check_middle(run, change, hook)
    heads = info.kv_heads if change.site in {"k", "v"} else info.n_heads
    plan = _Plan(change, hook, site, tokens, _places(tokens, change), found, heads)
    _check_size(plan)
    if site == SITES["post"]:
        _check_neurons(run, change)
    given = change.reference if isinstance(change, Ablate) else [change.source] if isinstance(change, Patch) else []
    if isinstance(change, Ablate) and change.by == "resample":
        given = [given[int(np.random.default_rng(change.seed).integers(len(given)))]]
    if isinstance(change, Ablate) and change.by == "zero":
        given = []
    plan.sources = [tokenize(model, prompt, run.prepend_bos, run.beyond_context) for prompt in given]
    if isinstance(change, Ablate) and change.by == "mean" and not given:
        plan.sources = [tokens]
    return plan


def _check_middle(run: _Run, change: Any, hook: str) -> None:
    if carries(run.model, run.tokens.ids, change.layer) is None:
        raise ModelError(
            f"{change.label}: what stands at {hook} is not the residual stream that the MLP adds to in this "
            "architecture.",
            "Choose resid_pre or resid_post.",
        )


def check_coder(model: Any, ids: np.ndarray, coder: Any) -> None:
    """Nothing, where a coder can read and write the hooks of this model that it names.

    Args:
        model: a TransformerBridge.
        ids: int64 `[position]`, a prompt that it can run.
        coder: of one layer; anything with what `sae.coder.SparseCoder` has.

    Raises:
        DataError: only its name is known, a hook that the model lacks, or another width; the message has both sides.
        ModelError: a hook that is not called in a pass.
    """
    if isinstance(coder, CoderName):
        raise DataError(
            f"only the name of the coder {coder.name} is known, not its weights.",
            f"Load it: mw.sae.load({coder.folder or 'folder'!r}).",
        )
    coder.fits(model)
    for hook, width in ((coder.hook_in, coder.d_in), (coder.hook_out, coder.d_out)):
        shape = reach(model, ids, hook).shape
        if shape is None:
            raise ModelError(f"{hook} is not called in a pass of this model, so {coder.name} cannot stand there.")
        own = math.prod(shape[2:])
        if own != width:
            raise DataError(
                f"{coder.name} is {width} wide at {hook}, where this model is {own} wide.",
                "Give a coder of this model.",
            )


def _lacking(run: _Run, change: Any) -> ModelError:
    """That this architecture has no such site."""
    hook, there = written_hook(change).split(".", 2)[2], []
    site = next(word for word, own in SITES.items() if own == hook)
    for word, hook in SITES.items():
        if f"blocks.{change.layer}.{hook}" in run.hooks:
            there.append(word)
    if site == "resid_mid" and getattr(run.model.cfg, "parallel_attn_mlp", False):
        what = "attention and MLP of this model run side by side: there is no residual stream between them."
    elif site == "post":
        what = f"layer {change.layer} has no MLP whose neurons can be told apart."
    elif site in HEADS:
        what = f"layer {change.layer} has no attention whose heads can be told apart."
    else:
        what = f"layer {change.layer} of this architecture has no {site}."
    return ModelError(f"{change.label}: {what}", f"It has {', '.join(there) or 'none of the sites known here'}.")


def _checked_hook(run: _Run, hook: str) -> Reach:
    """What is known of `hook`, once it is seen that a change there changes something."""
    if hook not in run.hooks:
        raise _unknown_hook(run, hook)
    found = reach(run.model, run.tokens.ids, hook)
    if found.shape is None:
        raise ModelError(
            f"{hook} is not called in a pass of this model, so nothing can be changed there.",
            "Some hooks are called only after e.g. model.set_use_attn_result(True); else choose another hook.",
        )
    if not found.acts:
        raise ModelError(
            f"nothing in this model reads what stands at {hook}: a change there would change nothing.",
            "Choose another hook; heads can be changed at attn.hook_z.",
        )
    return found


def _unknown_hook(run: _Run, hook: str) -> ModelError:
    known, count = list(run.hooks), run.info.n_layers
    numbered = re.match(r"blocks\.(\d+)\.", hook)
    if numbered and int(numbered[1]) >= count:
        return ModelError(f"layer {numbered[1]} of {hook} does not exist.", f"This model has layers 0 to {count - 1}.")
    near = get_close_matches(hook, known, n=3)
    where = "See model.hook_dict for all of them."
    return ModelError(
        f"this model has no hook {hook!r}.", f"Did you mean {' or '.join(map(repr, near))}? {where}" if near else where
    )


def _places(tokens: Tokens, change: Any) -> tuple[int, ...] | None:
    """The positions that it asks for, counted from the start."""
    given, count = (change.position if isinstance(change, Patch) else change.positions), len(tokens)
    key = getattr(change, "key", None)
    wrong = [place for place in (*(given or ()), *(() if key is None else (key,))) if not -count <= place < count]
    if wrong:
        raise DataError(
            f"{change.label}: position {wrong[0]} does not exist.", f"The prompt has positions 0 to {count - 1}."
        )
    return None if given is None else tuple(sorted({place % count for place in given}))


def _check_size(plan: _Plan) -> None:
    """Raise DataError for a head, neuron or width that this model does not have there."""
    change, shape = plan.change, plan.reach.shape or ()
    if len(shape) < 3:
        raise ModelError(
            f"{change.label}: {plan.hook} holds {list(shape)}, not [run, position, …].", "It cannot be changed there."
        )
    head, neuron = getattr(change, "head", None), getattr(change, "neuron", None)
    heads, width = (shape[2], shape[3]) if len(shape) == 4 else (plan.n_heads, shape[2] // plan.n_heads)
    if plan.site == PATTERN:
        heads = shape[1]
    if head is not None and head >= heads:
        kind = "key-value heads" if change.site in {"k", "v"} else "heads"
        raise DataError(
            f"{change.label}: head {head} does not exist.", f"Layer {change.layer} has {kind} 0 to {heads - 1}."
        )
    if neuron is not None and neuron >= shape[-1]:
        raise DataError(
            f"{change.label}: neuron {neuron} does not exist.",
            f"Layer {change.layer} has neurons 0 to {shape[-1] - 1}.",
        )
    if isinstance(change, Add):
        needed = width if head is not None else shape[-1]
        if len(change.direction) != needed:
            raise DataError(
                f"{change.label}: the direction has {len(change.direction)} numbers; "
                f"{'a head' if head is not None else change.site} of this model has {needed}.",
                f"Give one of [{'d_head' if head is not None else 'd_model'}] = [{needed}].",
            )


def _check_neurons(run: _Run, change: Ablate | Patch | Add) -> None:
    """Raise ModelError where the layer is a mixture of experts: it has no neurons that are the same for all tokens."""
    try:
        weight = run.model.blocks[change.layer].mlp.W_out
    except AttributeError:
        weight = None
    if weight is None or weight.ndim != 2:
        raise ModelError(
            f"{change.label}: layer {change.layer} has no single output matrix (a mixture of experts, or fused "
            "weights), so its neurons cannot be told apart.",
            'Choose site="mlp_out".',
        )


def _fetch(plans: Sequence[_Plan], read: Read) -> None:
    """Read what the plans take from untouched runs, one pass for each prompt."""
    prompts: dict[bytes, tuple[Tokens, list[_Plan]]] = {}
    for plan in plans:
        for source in plan.sources:
            takers = prompts.setdefault(source.ids.tobytes(), (source, []))[1]
            if plan not in takers:
                takers.append(plan)
    for source, takers in prompts.values():
        layers: dict[str, tuple[int, ...]] = {}
        for plan in takers:
            layers[plan.site] = tuple(sorted({*layers.get(plan.site, ()), plan.change.layer}))
        found = read(source, tuple(layers), layers)
        for plan in takers:
            held = found.rows.get(plan.site, found.layers)
            array = found.arrays[plan.site][held.index(plan.change.layer)]
            taken = np.array(_of_part(array, plan))
            plan.taken += [taken] * sum(one.ids.tobytes() == source.ids.tobytes() for one in plan.sources)


def _of_part(array: np.ndarray, plan: _Plan) -> np.ndarray:
    """`[position, …]` of the head or neuron that is changed, or all of it; of a pattern `[head, query, key]`."""
    head, neuron = getattr(plan.change, "head", None), getattr(plan.change, "neuron", None)
    if plan.site == PATTERN:
        return array if head is None else array[[head]]
    if head is not None:
        return array.reshape(len(array), plan.n_heads, -1)[:, head] if array.ndim == 2 else array[:, head]
    return array if neuron is None else array[:, neuron]
