"""The logit lens and its kin on one prompt: what every layer would predict, exactly as the model reads its last one.

Model and cached activations in, `LogitLens` out. `lens_reading.py` does the reading, `lens_rows.py` knows what can be
read. Knows nothing of sessions, widgets or pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.answers import named, resolve
from mi_widgets.compute.attention import check_layers
from mi_widgets.compute.distributions import divergence, ranks
from mi_widgets.compute.forward import Activations, forward
from mi_widgets.compute.interventions import Interventions
from mi_widgets.compute.interventions import resolve as made_ready
from mi_widgets.compute.lens_order import ReadingOrder, Sight, followed
from mi_widgets.compute.lens_reading import LensReader, Side, checked_targets
from mi_widgets.compute.lens_rows import check_positions, lens_name, lens_readers, lens_rows, lens_sites
from mi_widgets.compute.readout import Readout
from mi_widgets.compute.step import Step, Steps, run
from mi_widgets.data import LogitLens, LogitLensComparison, Tokens
from mi_widgets.data.integers import integers, is_integer, several
from mi_widgets.data.interventions import checked_interventions
from mi_widgets.data.logit_lens_comparison import paired
from mi_widgets.errors import DataError
from mi_widgets.models import Prompt, tokenize


def logit_lens(
    model: Any,
    prompt: Prompt,
    stream: str = "resid_post",
    lens: Any = "logit",
    top_k: int = 10,
    targets: Sequence[str | int] | str | int | None = None,
    layers: Iterable[int] | None = None,
    positions: Iterable[int] | None = None,
    prepend_bos: bool | None = None,
    progress: bool = False,
    interventions: Interventions = (),
) -> LogitLens:
    """What the model would predict if it stopped at each layer (nostalgebraist 2020).

    Every vector goes through the final norm, with statistics of its own, the unembedding, its bias and the
    architecture's output transform (Gemma's soft-cap), in the model's own precision.

    Args:
        model: a TransformerBridge.
        prompt: text, token ids or chat messages.
        stream: `"resid_pre"`, `"resid_mid"`, `"resid_post"`, or what a block adds: `"attn_out"`, `"mlp_out"` (after
            the norm that some architectures put there).
        lens: `"logit"`, a `TunedLens`, or TransformerLens's `JacobianLens`; the latter two read `"resid_post"`.
        top_k: tokens kept for each cell.
        targets: up to eight pinned tokens: text, resolved after this prompt, or ids.
        layers: only these; all if None, or all that the lens was fitted for. The last row is always the model's output.
        positions: only these, negative ones from the end; all if None.
        prepend_bos: None means what `model.to_tokens(prompt)` does.
        progress: show a bar.
        interventions: made in the run: `mw.Ablate`, `mw.Patch`, `mw.Add`, `mw.Splice`, `mw.Clamp` …

    Returns:
        LogitLens, axes `[row, position]`; probabilities over the whole vocabulary, entropy and KL in nats.

    Raises:
        PromptError: a prompt that cannot be run.
        AnswerError: a target that is no single token.
        ModelError: an architecture that has no such stream or does not unembed one, a lens of another model, or an
            intervention that cannot act, or acts behind the residual stream.
        DataError: an unknown stream, layer or position, too many targets, or an intervention on what does not exist.
    """
    tokens = tokenize(model, prompt, prepend_bos)
    pinned, places = target_ids(model, tokens, targets), check_positions(tokens, positions)
    chosen = check_layers(model, layers)
    needed = sorted({layer for _, layer in lens_rows(model, stream, chosen, [lens])})
    activations = _read(model, tokens, stream, needed, interventions, prepend_bos)
    steps = lens_steps(model, tokens, activations, stream, lens, top_k, pinned, chosen, places)
    return run(steps, progress, "logit lens")


def logit_lens_comparison(
    model: Any,
    prompt: Prompt,
    other: Prompt | None = None,
    stream: str = "resid_post",
    lens: Any = "logit",
    other_lens: Any = None,
    top_k: int = 10,
    targets: Sequence[str | int] | str | int | None = None,
    layers: Iterable[int] | None = None,
    positions: Iterable[int] | None = None,
    prepend_bos: bool | None = None,
    progress: bool = False,
    interventions: Interventions = (),
    other_interventions: Interventions = (),
) -> LogitLensComparison:
    """One lens on two prompts, two lenses on one, or two runs of one prompt; KL(A‖B) of every cell exactly, over the
    whole vocabulary.

    Args:
        model: as for `logit_lens`, like all that is not explained here.
        prompt: side A.
        other: side B; the first prompt again if None.
        stream: what both sides read.
        lens: of side A.
        other_lens: of side B; that of side A if None.
        top_k: tokens kept for each cell.
        targets: pinned on both sides, resolved after the first prompt.
        layers: only these; all that both lenses can read if None.
        positions: counted in each prompt by itself.
        prepend_bos: for both prompts.
        progress: show a bar.
        interventions: made in the run of side A.
        other_interventions: made in the run of side B; () for the untouched one.

    Raises:
        As `logit_lens`.
    """
    made = [checked_interventions(one) for one in (interventions, other_interventions)]
    # One prompt in one run is passed once.
    prompts = [prompt] if other is None and made[0] == made[1] else [prompt, prompt if other is None else other]
    tokens = [tokenize(model, one, prepend_bos) for one in prompts]
    pinned = target_ids(model, tokens[0], targets)
    chosen = check_layers(model, layers)
    lenses = [lens, lens if other_lens is None else other_lens]
    needed = sorted({layer for _, layer in lens_rows(model, stream, chosen, lenses)})
    caches = [
        _read(model, one, stream, needed, changes, prepend_bos) for one, changes in zip(tokens, made, strict=False)
    ]
    places = None if positions is None else integers("positions", positions)
    a, b = (
        Side(one, cache, reading, check_positions(one, places))
        for one, cache, reading in zip((tokens * 2)[:2], (caches * 2)[:2], lenses, strict=True)
    )
    return run(comparison_steps(model, a, b, stream, top_k, pinned, chosen), progress, "logit lens")


def _read(
    model: Any,
    tokens: Tokens,
    stream: str,
    layers: list[int],
    interventions: Interventions,
    prepend_bos: bool | None,
) -> Activations:
    """What a lens on `stream` needs of one run."""
    edits = made_ready(model, tokens, interventions, prepend_bos=prepend_bos)
    readers = lens_readers(model, stream)
    return forward(model, tokens.ids, lens_sites(stream), layers, readers, edits.writes, edits.interventions)


def target_ids(model: Any, tokens: Tokens, targets: Sequence[str | int] | str | int | None) -> tuple[int, ...]:
    """The ids of pinned tokens, each once, in order.

    Raises:
        AnswerError: one of them is no single token after this prompt.
        DataError: more than eight.
    """
    if targets is None:
        return ()
    alone = isinstance(targets, str) or is_integer(targets)
    listed = [targets] if alone else several("targets", targets)  # type: ignore[arg-type]
    ids = [resolve(model, tokens, target, role="pinned token") for target in listed]
    return tuple(checked_targets(ids, int(model.cfg.d_vocab)))


# --- on cached activations ----------------------------------------------------------------------------


def lens_steps(
    model: Any,
    tokens: Tokens,
    activations: Activations,
    stream: str = "resid_post",
    lens: Any = "logit",
    top_k: int = 10,
    targets: Sequence[int] = (),
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    sight: Sight | None = None,
) -> Steps[LogitLens]:
    """`logit_lens` from activations of `lens_sites(stream)`, as steps of one row of a chunk of positions each. Runs no
    forward pass. `targets` are ids; all else as there.

    `sight` is what somebody looks at, in indices of the position axis: it is read first, and may change between the
    steps. Where reading takes long, some steps then have a `partial`: a LogitLens of what is read so far. Without it
    positions are read from the first to the last.
    """
    rows = lens_rows(model, stream, layers, [lens])
    reader = LensReader(model, Side(tokens, activations, lens, positions), rows, top_k, targets)
    order = ReadingOrder(np.zeros(len(reader.positions)), [reader.size], followed(sight, reader.work))
    done, total = 0, order.chunks * len(rows)
    yield Step(done, total)
    while (chunk := order.take()) is not None:
        for read in reader.read(chunk[1]):
            done += 1
            known = read.row == len(rows) - 1 and order.due()
            yield Step(done, total, reader.result(order.read) if known else None)
    return reader.result()


def comparison_steps(
    model: Any,
    a: Side,
    b: Side,
    stream: str = "resid_post",
    top_k: int = 10,
    targets: Sequence[int] = (),
    layers: Sequence[int] | None = None,
    sight: Sight | None = None,
) -> Steps[LogitLensComparison]:
    """`logit_lens_comparison` from activations, as steps. Both sides are read together, chunk by chunk, so that their
    distributions are never kept; both have the rows that both lenses can read. `sight` as for `lens_steps`, in columns
    of the comparison."""
    models = [model if side.model is None else side.model for side in (a, b)]
    rows = lens_rows(models[0], stream, layers, [a.lens, b.lens])
    readers = [LensReader(*one, rows, top_k, targets, share=2) for one in zip(models, (a, b), strict=True)]
    in_a, in_b = readers
    pairs = paired(a.tokens, in_a.positions, b.tokens, in_b.positions)
    places = np.array([[-1 if place is None else place for place in pair] for pair in pairs], int).reshape(-1, 2)
    kl = np.full((len(rows), len(pairs)), np.nan, np.float32)
    # Columns of both sides, of A alone, of B alone.
    kinds = np.where(places[:, 1] < 0, 1, np.where(places[:, 0] < 0, 2, 0))
    order = ReadingOrder(kinds, [in_a.size] * 3, followed(sight, in_a.work + in_b.work))
    done, total = 0, order.chunks * len(rows)

    def so_far() -> LogitLensComparison:
        read = places[order.read].T
        left, right = (reader.result(held[held >= 0]) for reader, held in zip(readers, read, strict=True))
        return LogitLensComparison(left, right, kl)

    yield Step(done, total)
    while (chunk := order.take()) is not None:
        kind, columns = chunk
        if kind == 0:
            for left, right in zip(in_a.read(places[columns, 0]), in_b.read(places[columns, 1]), strict=True):
                kl[left.row, columns] = (
                    divergence(left.p, left.log_p, right.log_p.to(left.p.device), left.scratch).cpu().numpy()
                )
                done += 1
                yield Step(done, total, so_far() if left.row == len(rows) - 1 and order.due() else None)
        else:
            for read in readers[kind - 1].read(places[columns, kind - 1]):
                done += 1
                yield Step(done, total, so_far() if read.row == len(rows) - 1 and order.due() else None)
    return LogitLensComparison(in_a.result(), in_b.result(), kl)


def target_steps(
    model: Any,
    activations: Activations,
    data: LogitLens,
    targets: Sequence[int],
    lens: Any = "logit",
    first: int | None = None,
) -> Steps[LogitLens]:
    """`data` with these pinned tokens in place of its own. What it holds of them already is taken over; of the others
    only probabilities and ranks are read.

    Args:
        model: the TransformerBridge that `data` was made with.
        activations: those that `data` was made from.
        data: a result.
        targets: ids.
        lens: the lens that `data` was made with.
        first: a position of the prompt to read before all others: the first step with a `partial` holds it (a
            LogitLens with NaN and -1 elsewhere), after a hundredth of the work.

    Raises:
        DataError: more than eight targets, or an id outside the vocabulary.
    """
    wanted = checked_targets(targets, Readout(model).d_vocab)
    if lens_name(lens) != data.lens:
        raise DataError(f"the result was made with the {data.lens} lens, not the {lens_name(lens)} lens.")
    held = {token: place for place, token in enumerate(data.target_ids.tolist())}
    fresh = [token for token in wanted if token not in held]
    probs = np.full((*data.shape, len(wanted)), np.nan, np.float32)
    found = np.full(probs.shape, -1, np.int32)
    for place, token in enumerate(wanted):
        if token in held:
            probs[..., place] = data.target_probs[..., held[token]]  # type: ignore[index]
            found[..., place] = data.target_ranks[..., held[token]]  # type: ignore[index]
    names = data.names | named(model, fresh)

    def so_far() -> LogitLens:
        ids = np.array(wanted, np.int32)
        return replace(data, target_ids=ids, target_probs=probs, target_ranks=found, names=names)

    if not fresh:
        yield Step(1, 1)
        return so_far()
    rows = list(zip(data.streams, data.layers, strict=True))
    reader = LensReader(model, Side(data.tokens, activations, lens, data.positions), rows, 1, ())
    columns = [place for place, token in enumerate(wanted) if token not in held]
    ids = torch.tensor(fresh, device=reader.readout.device)
    others = np.arange(len(data.positions))
    head: list[np.ndarray] = []
    if first is not None:
        head = [np.array([data.column(first)])]
        others = np.delete(others, head[0])
    chunks = [*head, *reader.chunks(others)]
    done, total = 0, len(chunks) * len(rows)
    yield Step(done, total)
    for chunk, places in enumerate(chunks):
        for row, logits in reader.logits(places, range(len(rows))):
            own = logits[:, ids]
            tops = data.top_ids[row, places, :1].astype(np.int64)
            top = torch.as_tensor(np.maximum(tops, 0), device=logits.device)
            # The top token's probability is known: it says what the logits are relative to.
            share = (own - logits.gather(1, top)).exp().cpu().numpy() * data.top_probs[row, places, :1]
            probs[row, places[:, None], columns] = share
            order = ranks(logits, own, reader.room(len(places))[0]).cpu().numpy()
            found[row, places[:, None], columns] = np.where(tops < 0, -1, order)
            done += 1
            known = bool(head) and chunk == 0 and row == len(rows) - 1
            yield Step(done, total, so_far() if known else None)
    return so_far()
