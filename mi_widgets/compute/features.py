"""The features of a sparse coder on a prompt: which are active where, what the coder leaves out, what it costs the
model to go on from the coder's output, and what each feature adds to an answer.

Knows nothing of sessions, widgets or pages; of the coder what `sae.coder.SparseCoder` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.answers import resolve, token_string
from mi_widgets.compute.coder_reading import Encoded, directions, encoded, read_at
from mi_widgets.compute.feature_parts import coder_write, contributions
from mi_widgets.compute.final_reading import NotFiniteError, Stream, reading_of
from mi_widgets.compute.forward import Activations, Write, forward, gradients
from mi_widgets.compute.interventions import Edits, Interventions, check_coder
from mi_widgets.compute.interventions import resolve as made_ready
from mi_widgets.compute.logit_attribution import attribution_sites, check_position
from mi_widgets.compute.not_finite import not_finite, refusal
from mi_widgets.compute.output import SURPRISAL_SITES, surprisals
from mi_widgets.compute.recoding import acting, replaced
from mi_widgets.compute.step import Step, Steps, run_at_once, steps_of
from mi_widgets.data import FeatureActivations, Splice, Tokens
from mi_widgets.data.coder_interventions import checked_coder
from mi_widgets.data.held import frozen, is_prompt
from mi_widgets.data.integers import truth
from mi_widgets.data.interventions import checked_interventions
from mi_widgets.errors import DataError, MiWidgetsError
from mi_widgets.models import Prompt, describe, tokenize


@run_at_once("features")
def features(
    model: Any,
    coder: Any,
    prompt: Prompt | Sequence[Prompt],
    answer: Any = None,
    foil: Any = None,
    position: int = -1,
    *,
    losses: bool = True,
    progress: bool = False,  # noqa: ARG001
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
) -> Steps[Any]:
    """What the features of a coder are in a prompt. Ctrl-C leaves the model as it was.

    As steps (`features_steps`): one for each prompt, whose `partial` is its result, and others between its passes.

    Args:
        model: a TransformerBridge.
        coder: a sparse coder of one layer, as `mw.sae.load` gives it.
        prompt: text, token ids or chat messages; or a list of such.
        answer: one token: text as it stands after the prompt (`" Mary"`), or an id. Then also what each feature adds to
            its logit; of a list of prompts a list of answers will do.
        foil: the token whose logit is taken away, likewise.
        position: whose next token the answer is; negative counts from the end.
        losses: also run the model with the coder's output, with that and its error, and with zero in place of what the
            coder stands for: three passes more.
        progress: show a bar.
        prepend_bos: None means what `model.to_tokens(prompt)` does.
        interventions: made in the run, as for `logit_attribution`. What a splice or clamp of this very coder changes is
            left out of what is encoded: the features are those that it read.

    Returns:
        FeatureActivations: sparse activations by position and feature, L0 and variance unexplained by position, losses,
        and with an answer `contribution` (direct, as `logit_attribution` has it) and `estimate` (all ways, to first
        order) of each. Of a list of prompts a list.

        At positions that the coder's metadata leaves out (position 0 of many) nothing is encoded or replaced.

    Raises:
        PromptError: a prompt that cannot be run, or no prompt.
        AnswerError: an answer or foil that is no single token.
        ModelError: numbers that are not finite, a hook that nothing reads, or for losses a model that sees ahead.
        DataError: a coder of another width or hook, an intervention on what does not exist, or a foil equal to the
            answer.
    """
    checked_coder(coder)
    truth("losses", losses)
    several = _several(prompt)
    prompts = [prompt] if several is None else several
    answers, foils = _each("answer", answer, several), _each("foil", foil, several)
    found = []
    for done, (one, right, wrong) in enumerate(zip(prompts, answers, foils, strict=True)):
        step = Step(done, len(prompts))
        steps = _features_steps(model, coder, one, right, wrong, position, losses, prepend_bos, interventions, step)
        found.append((yield from steps))
        yield Step(done + 1, len(prompts), found[-1])
    return found[0] if several is None else found


features_steps = steps_of(features)


def _several(prompt: Any) -> list[Any] | None:
    """The prompts of a list; None where it is one prompt, or nothing that could be one."""
    if isinstance(prompt, (str, bytes, dict)) or not isinstance(prompt, Sequence):
        return None
    return None if not len(prompt) or is_prompt(frozen(prompt)) else list(prompt)


def _each(name: str, given: Any, prompts: list[Any] | None) -> list[Any]:
    """One for each prompt."""
    if prompts is None or not isinstance(given, (list, tuple)):
        return [given] * (1 if prompts is None else len(prompts))
    if len(given) != len(prompts):
        raise DataError(
            f"{name} has {len(given)} entries for {len(prompts)} prompts.", "Give one, or one for each prompt."
        )
    return list(given)


def _features_steps(
    model: Any,
    coder: Any,
    prompt: Prompt,
    answer: Any,
    foil: Any,
    position: int,
    losses: bool,
    prepend_bos: bool | None,
    interventions: Interventions,
    step: Step,
) -> Steps[FeatureActivations]:
    tokens = tokenize(model, prompt, prepend_bos)
    check_coder(model, tokens.ids, coder)
    place, right, wrong = None, None, None
    if answer is None and foil is not None:
        raise DataError("there is a foil without an answer.", "Give answer=, too.")
    if answer is not None:
        place = check_position(position, len(tokens))
        right = resolve(model, tokens.upto(place), answer)
        wrong = None if foil is None else resolve(model, tokens.upto(place), foil, role="foil")
        if right == wrong:
            raise DataError("the answer and the foil are the same token.", "Choose another foil, or none.")
    edits = made_ready(model, tokens, interventions, prepend_bos=prepend_bos)
    read, stood = read_at(model, edits.interventions, coder)
    sites = dict.fromkeys((read, stood, *(SURPRISAL_SITES if losses else ())))
    why = ""
    if place is not None:
        try:
            more = attribution_sites(model, "feature", place, len(tokens), False, edits.interventions, coder)
        except MiWidgetsError as reason:
            why, more = reason.message, ()
        sites |= dict.fromkeys(more)
    found = forward(model, tokens.ids, tuple(sites), writes=edits.writes, interventions=edits.interventions)
    x, target = (found.arrays[site] for site in (read, stood))
    target = target.reshape(len(tokens), -1)
    acts = acting(coder, None, 0, len(tokens)).numpy()
    if not (np.isfinite(x[acts]).all() and np.isfinite(target).all()):
        raise refusal(not_finite(model, tokens.ids, found.known, edits.writes))
    made = encoded(coder, x)
    yield step
    every = np.full((len(FeatureActivations.RUNS), len(tokens)), np.nan)
    if losses:
        every = yield from _losses_steps(model, tokens, coder, found, edits, interventions, prepend_bos, step)
    contribution = None
    if place is not None and not why:
        contribution, why = _direct(model, tokens, found, coder, made, right, wrong, place)
    squared_error, squared_deviation = _squares(target, made)
    return FeatureActivations(
        tokens=tokens,
        coder=str(coder.name),
        hook_in=coder.hook_in,
        hook_out=coder.hook_out,
        d_sae=int(coder.d_sae),
        entry_positions=made.positions,
        entry_features=made.features,
        activation=made.activation,
        squared_error=squared_error,
        squared_deviation=squared_deviation,
        losses=every,
        answer=right,
        answer_string=None if right is None else token_string(model, right),
        foil=wrong,
        foil_string=None if wrong is None else token_string(model, wrong),
        position=place,
        contribution=contribution,
        estimate=None if place is None else _estimate(model, tokens, coder, made, edits, right, wrong, place),
        why_no_contribution=why,
        model=describe(model).label,
        interventions=edits.interventions,
    )


def _squares(target: np.ndarray, made: Encoded) -> tuple[np.ndarray, np.ndarray]:
    """`squared_error` and `squared_deviation` of `data.FeatureActivations`."""
    values = target.astype(np.float64)
    error = ((values - made.decoded.astype(np.float64)) ** 2).sum(-1)
    deviation = np.full(len(values), np.nan)
    if made.acts.any():
        centred = values[made.acts] - values[made.acts].mean(0)
        deviation[made.acts] = (centred**2).sum(-1)
    return error, deviation


def _losses_steps(
    model: Any,
    tokens: Tokens,
    coder: Any,
    clean: Activations,
    edits: Edits,
    interventions: Interventions,
    prepend_bos: bool | None,
    step: Step,
) -> Steps[np.ndarray]:
    """`losses` of `data.FeatureActivations`, one pass for each run but the first."""
    found = [clean]
    for error in (False, True):
        changes = (*checked_interventions(interventions), Splice(coder, error))
        spliced = made_ready(model, tokens, changes, prepend_bos=prepend_bos)
        found.append(forward(model, tokens.ids, SURPRISAL_SITES, (), writes=spliced.writes))
        yield step
    zeroing = Write(coder.hook_out, partial(replaced, coder, 0.0))
    found.append(forward(model, tokens.ids, SURPRISAL_SITES, (), writes=(*edits.writes, zeroing)))
    losses = np.full((len(found), len(tokens)), np.nan, np.float32)
    for row, left in zip(losses, found, strict=True):
        if not np.isfinite(left.arrays["output.normalizer"]).all():
            raise refusal(not_finite(model, tokens.ids, left.known, left.writes))
        row[1:] = surprisals(left.arrays)
    return losses


def _direct(
    model: Any, tokens: Tokens, found: Activations, coder: Any, made: Encoded, answer: Any, foil: int | None, place: int
) -> tuple[np.ndarray | None, str]:
    """float32 `[entry]`: what each feature adds by the direct way; or why that cannot be told."""
    values = np.zeros(len(made.activation), np.float32)
    if not made.acts[place]:
        return values, ""
    try:
        stream = Stream(model, found, place)
        write = coder_write(model, stream, reading_of(model, stream, answer, foil), coder)
    except NotFiniteError:
        raise refusal(not_finite(model, tokens.ids, found.known, found.writes)) from None
    except MiWidgetsError as reason:
        return None, reason.message
    values[made.positions == place] = contributions(coder, write, made, place)[1]
    return values, ""


def _estimate(
    model: Any,
    tokens: Tokens,
    coder: Any,
    made: Encoded,
    edits: Edits,
    answer: Any,
    foil: int | None,
    place: int,
) -> np.ndarray:
    """float32 `[entry]`: activation × the gradient of the logit difference by it, with what the coder leaves out held
    fixed."""

    def difference(logits: torch.Tensor) -> torch.Tensor:
        row = logits[:, place].float()
        return (row[:, answer] - (0.0 if foil is None else row[:, foil])).sum()

    site = coder.hook_out
    _, back = gradients(model, tokens.ids, difference, (site,), (), edits.writes, edits.interventions)
    gradient = back.arrays[site].reshape(len(tokens), -1).astype(np.float64)
    values = np.zeros(len(made.activation), np.float32)
    for position in np.unique(made.positions):
        here = made.positions == position
        each = directions(coder, made.features[here], gradient[position]) * float(made.scale[position])
        values[here] = made.activation[here] * each
    return values
