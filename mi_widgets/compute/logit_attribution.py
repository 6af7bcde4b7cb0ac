"""Direct attribution of a logit difference: what each part of the model adds to it, summing to the model's own number.

In raw coordinates, on every architecture, without changing the model: each part of the final residual stream, centred
where the final norm is a LayerNorm, divided by the norm's own scale, times gain ⊙ (W_U[answer] − W_U[foil]), and the
biases (Elhage et al. 2021; Wang et al. 2022). Knows nothing of sessions, widgets or pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.answers import resolve, token_string
from mi_widgets.compute.attribution_parts import (
    MIXED,
    NEURONS,
    VALUES,
    by_head,
    heads_of,
    neurons_of,
    parts_of,
    sources_of,
)
from mi_widgets.compute.coder_reading import read_at
from mi_widgets.compute.feature_parts import described, feature_parts, place_of
from mi_widgets.compute.final_reading import (
    EMBEDDING,
    FIRST,
    OUTPUT,
    POSITIONS,
    SCALE,
    NotFiniteError,
    Reading,
    Stream,
    last_site,
    reading_of,
)
from mi_widgets.compute.forward import PATTERN, Activations, at_position, forward
from mi_widgets.compute.interventions import Interventions
from mi_widgets.compute.interventions import resolve as made_ready
from mi_widgets.compute.not_finite import not_finite, refusal
from mi_widgets.compute.readout import Readout, check_readable
from mi_widgets.compute.rounding import units_explained
from mi_widgets.compute.stream_changes import ATTENTION, MLP, sites_of
from mi_widgets.data import LogitAttribution, Tokens
from mi_widgets.data.coder_interventions import checked_coder
from mi_widgets.data.integers import is_integer, word
from mi_widgets.data.interventions import Change
from mi_widgets.data.logit_attribution import SPLITS
from mi_widgets.errors import DataError, ModelError, UnreadError
from mi_widgets.models import Prompt, describe, tokenize

#: A site that takes more than this is read at the one position only; then another position needs another pass.
WHOLE_BYTES = 64_000_000
#: Value vectors, which sources need of every position, are left out beyond this.
VALUE_BYTES = 1_000_000_000
#: Neurons shown by themselves.
TOP = 50


def logit_attribution(
    model: Any,
    prompt: Prompt,
    answer: Any,
    foil: Any = None,
    position: int = -1,
    by: str = "component",
    top: int = TOP,
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
    coder: Any = None,
) -> LogitAttribution:
    """What each part of the model adds to the logit of `answer` minus that of `foil` at one position.

    Args:
        model: a TransformerBridge.
        prompt: text, token ids or chat messages.
        answer: one token: text as it stands after the prompt (`" Mary"`), or an id.
        foil: the token it is compared with; None attributes the logit of the answer alone.
        position: whose next token; negative counts from the end.
        by: `"component"` (embedding, attention and MLP of each layer), `"layer"`, `"head"`, `"neuron"`, or `"feature"`
            of `coder`.
        top: neurons shown by themselves, the largest over all layers; those left over are one part for each layer. Or
            features.
        prepend_bos: None means what `model.to_tokens(prompt)` does.
        interventions: made in the run: `mw.Ablate`, `mw.Patch`, `mw.Add`, `mw.Splice`, `mw.Clamp`,
            `mw.Intervention`. What they add to the residual stream itself is a part of its own.
        coder: a sparse coder (`mw.sae.load`) of the residual stream, of what attention or MLPs add, or of heads or
            neurons: what stands at its output is split over the features active at the position, its bias and its
            error. A coder of the stream stands for all that was added before it.

    Returns:
        LogitAttribution whose `contribution` sums to `difference`, the model's own, up to `residue`. Whatever the
        split it holds `heads` `[layer, head]`, `mlps` `[layer]` and, where they can be told, `sources`
        `[layer, head, position]`.

    Raises:
        AnswerError: an answer or foil that is no single token.
        PromptError: a prompt that cannot be run.
        ModelError: an architecture whose logits or layers do not split so, numbers that are not finite, an
            intervention that cannot act, or acts behind the residual stream, or a coder whose output does not reach
            the last stream by additions alone.
        DataError: an unknown split, a position that does not exist, a foil equal to the answer, an intervention on what
            does not exist, or a coder of another model.
    """
    check_split(by, coder)
    tokens = tokenize(model, prompt, prepend_bos)
    place = check_position(position, len(tokens))
    before = tokens.upto(place)
    chosen = resolve(model, before, answer)
    against = None if foil is None else resolve(model, before, foil, role="foil")
    edits = made_ready(model, tokens, interventions, prepend_bos=prepend_bos)

    def passed(heads: bool) -> Activations:
        sites = attribution_sites(model, by, place, len(tokens), heads, edits.interventions, coder)
        return forward(model, tokens.ids, sites, writes=edits.writes, interventions=edits.interventions)

    try:
        activations = passed(heads=True)
    except UnreadError:
        if by == "head":
            raise
        # Hooks that are there but never called: the heads cannot be told apart, all else can.
        activations = passed(heads=False)
    return attribute(model, tokens, activations, chosen, against, place, by, top, coder)


def attribution_sites(
    model: Any,
    by: str,
    position: int,
    count: int,
    heads: bool = True,
    interventions: Iterable[Change] = (),
    coder: Any = None,
) -> tuple[str, ...]:
    """The activations that `attribute` needs.

    They are the same for every split but `"neuron"`, and for every position where the prompt is short enough to keep
    them whole (64 MB each): then a change of either needs no pass.

    Args:
        model: a TransformerBridge.
        by: the split.
        position: whose next token; negative counts from the end.
        count: tokens of the prompt.
        heads: also what tells the heads apart, and the positions they read from.
        interventions: made in the run.
        coder: for `by="feature"`.

    Raises:
        ModelError: an architecture that cannot be split so, an intervention behind the residual stream, or a coder
            whose output does not reach it by additions alone.
        DataError: an unknown split, a position that does not exist, or a coder of another model.
    """
    check_split(by, coder)
    place = check_position(position, count)
    check_readable(interventions)
    Readout(model)  # refuses what is no sum of blocks that one norm and one matrix read
    info, known = describe(model), model.hook_dict
    layers = range(info.n_layers)

    def everywhere(site: str) -> bool:
        return all(f"blocks.{layer}.{site}" in known for layer in layers)

    def fitted(site: str, row: int) -> str:
        return site if 4 * info.n_layers * count * row <= WHOLE_BYTES else at_position(site, place)

    sites = [FIRST, last_site(model), *OUTPUT]
    if getattr(model, "ln_final", None) is not None:
        if SCALE not in known:
            raise ModelError("the scale of the final norm cannot be read.", "Its parts cannot be told apart.")
        sites.append(SCALE)
    if EMBEDDING in known and POSITIONS in known and "pos_embed" in (getattr(model, "_modules", None) or {}):
        sites += [EMBEDDING, POSITIONS]
    for site in (ATTENTION, MLP) if _has_mlps(model) else (ATTENTION,):
        absent = [layer for layer in layers if f"blocks.{layer}.{site}" not in known]
        if absent:
            raise ModelError(
                f"layers {absent} of this architecture have no {site}: what they add cannot be read.",
                "It cannot be attributed to attention and MLPs.",
            )
        sites.append(fitted(site, info.d_model))
    if heads and everywhere(MIXED):
        width = max(info.d_model, info.n_heads * int(getattr(model.cfg, "d_head", 0) or 0))
        sites.append(fitted(MIXED, width))
        if everywhere(PATTERN) and everywhere(VALUES) and _value_bytes(model, count) <= VALUE_BYTES:
            sites += [fitted(PATTERN, info.n_heads * count), VALUES]
    site = ""
    if by == "feature":
        coder.fits(model)
        _, site = place_of(model, coder)
        if site == MIXED and not everywhere(MIXED):
            raise ModelError("the heads of this model cannot be told apart.", "Take another coder.")
        sites += coder_sites(model, interventions, coder, place, count)
        sites += [at_position(MIXED, place)] if site == MIXED and not heads else []
    if site == NEURONS or by == "neuron":
        _check_neurons(model)
        sites.append(at_position(NEURONS, place))
    whole = 4 * count * info.d_model <= WHOLE_BYTES
    sites += [site if whole else at_position(site, place) for site in sites_of(model, interventions)]
    return tuple(dict.fromkeys(sites))


def coder_sites(model: Any, interventions: Iterable[Change], coder: Any, position: int, count: int) -> tuple[str, ...]:
    """The activations that say what a coder makes of one position; whole where they are small enough, or read in
    order."""
    read, stood = read_at(model, interventions, coder)
    sites = dict.fromkeys((read, stood, coder.hook_out))
    small = 4 * count * max(coder.d_in, coder.d_out) <= WHOLE_BYTES
    return tuple(
        site if small or (site == read and coder.reads_sequence) else at_position(site, position) for site in sites
    )


def attribute(
    model: Any,
    tokens: Tokens,
    activations: Activations,
    answer: int,
    foil: int | None = None,
    position: int = -1,
    by: str = "component",
    top: int = TOP,
    coder: Any = None,
) -> LogitAttribution:
    """The attribution from activations of `attribution_sites`; no forward pass (but to say where numbers that are not
    finite began).

    Args:
        model: a TransformerBridge; only its final norm, unembedding and output weights are read.
        tokens: the prompt as run.
        activations: of every layer.
        answer: token id.
        foil: token id, or None.
        position: whose next token; negative counts from the end.
        by: the split.
        top: neurons or features shown by themselves.
        coder: for `by="feature"`.

    Raises:
        ModelError: parts that do not make up what the model computed, or numbers that are not finite.
        DataError: an unknown split, a position that does not exist, or a foil equal to the answer.
    """
    check_split(by, coder)
    place = check_position(position, len(tokens))
    if answer == foil:
        raise DataError("the answer and the foil are the same token.", "Choose another foil, or none.")
    if not is_integer(top) or top < 0:
        raise DataError(f"top is {top!r}.", "Give a number of neurons, 0 or more.")
    parts, site = None, {"head": MIXED, "neuron": NEURONS}.get(by, "")
    try:
        stream = Stream(model, activations, place)
        reading = reading_of(model, stream, answer, foil)
        if by == "feature":
            _, site = place_of(model, coder)
            parts = feature_parts(model, stream, reading, coder, int(top))
    except NotFiniteError:  # of NaN there is no difference, and nothing to split
        raise refusal(not_finite(model, tokens.ids, activations.known, activations.writes)) from None
    n_heads = describe(model).n_heads
    heads, why_no_heads = heads_of(model, stream, reading)
    if by == "head" and heads is None:
        raise ModelError(f"the heads of this model cannot be told apart: {why_no_heads}", 'Use by="component".')
    sources, why_no_sources = sources_of(model, stream, heads, n_heads, len(tokens), why_no_heads)
    neurons = neurons_of(model, stream, reading) if by == "neuron" else []
    parts = parts or parts_of(by, stream, reading, heads, neurons, int(top), n_heads)
    n_layers = len(stream.attention)
    mlps = np.full(n_layers, np.nan) if stream.mlps is None else stream.mlps @ reading.direction
    return LogitAttribution(
        tokens=tokens,
        position=place,
        answer=int(answer),
        answer_string=token_string(model, answer),
        foil=None if foil is None else int(foil),
        foil_string=None if foil is None else token_string(model, foil),
        by=by,
        part_kinds=tuple(parts.kinds),
        part_layers=np.array(parts.layers, np.int32),
        part_heads=np.array(parts.heads, np.int32),
        part_neurons=np.array(parts.neurons, np.int32),
        contribution=np.array(parts.contributions, np.float32),
        difference=reading.difference,
        mlps=mlps.astype(np.float32),
        heads=None if heads is None else np.stack([by_head(one, n_heads) for one in heads]).astype(np.float32),
        sources=sources,
        why_no_heads=why_no_heads,
        why_no_sources=why_no_sources,
        tolerance=reading.tolerance + _split_rounding(stream, reading, site),
        max_error=reading.max_error,
        model=describe(model).label,
        interventions=activations.interventions,
        part_features=np.array(parts.features, np.int32) if by == "feature" else None,
        coder=described(coder) if by == "feature" else None,
    )


def _split_rounding(stream: Stream, reading: Reading, site: str) -> float:
    """What more rounding explains where attention or MLPs are split by what stands at `site`: their own sums are
    rounded by themselves."""
    split = stream.own_attention if site == MIXED else stream.own_mlps if site == NEURONS else None
    if split is None or stream.dtype in (torch.float32, torch.float64):
        return 0.0
    return units_explained(stream.dtype, split, reading.direction)


def check_split(by: str, coder: Any = None) -> None:
    """Raise DataError unless `by` is known, and has the coder that it needs."""
    word("split by", by, SPLITS)
    if by == "feature":
        if coder is None:
            raise DataError("there is no coder whose features it could be split by.", "Give coder=mw.sae.load(…).")
        checked_coder(coder)


def check_position(position: int, count: int) -> int:
    """`position` counted from the start; DataError if the prompt has no such position."""
    if not is_integer(position) or not -count <= position < count:
        raise DataError(f"position {position!r} does not exist.", f"The prompt has positions 0 to {count - 1}.")
    return int(position) % count


def _has_mlps(model: Any) -> bool:
    return any("mlp" in (getattr(block, "_modules", None) or {}) for block in model.blocks)


def _check_neurons(model: Any) -> None:
    """Raise ModelError unless every layer has an MLP whose neurons write to the stream."""
    for layer, block in enumerate(model.blocks):
        mlp = (getattr(block, "_modules", None) or {}).get("mlp")
        if mlp is None:
            raise ModelError(f"layer {layer} has no MLP.", 'Use by="component" or by="head".')
        try:
            weight = mlp.W_out
        except Exception as reason:  # what has no such weights says so in its own way
            kind = type(getattr(mlp, "original_component", None) or mlp).__name__
            raise ModelError(
                f"the neurons of layer {layer} cannot be read: {kind} has no single output matrix "
                f"(a mixture of experts, or fused or quantised weights; {reason}).",
                'Use by="component" or by="head".',
            ) from reason
        if weight is None or weight.ndim != 2 or f"blocks.{layer}.{NEURONS}" not in model.hook_dict:
            raise ModelError(f"the neurons of layer {layer} cannot be read.", 'Use by="component" or by="head".')


def _value_bytes(model: Any, count: int) -> int:
    cfg = model.cfg
    heads = int(getattr(cfg, "n_key_value_heads", None) or cfg.n_heads)
    return 4 * int(cfg.n_layers) * count * heads * int(getattr(cfg, "d_head", 0) or 0)
