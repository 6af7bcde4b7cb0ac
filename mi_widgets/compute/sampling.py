"""The model writes on: one token after another, drawn from its own distribution or the likeliest.

A token costs a pass over one position: keys and values of those before are kept. Each is drawn from the logits that
the views show, to the last digits of a float32 (some architectures keep none; then exactly, at the cost of a whole pass
each). Knows nothing of sessions, widgets or pages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.forward import KeptKeys, forward_steps
from mi_widgets.compute.interventions import Edits, Interventions, resolve
from mi_widgets.compute.not_finite import LOGITS, not_finite, refusal
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.compute.step import Step, Steps, as_one, run
from mi_widgets.data import Continuation, Tokens
from mi_widgets.data.integers import is_integer, is_number, truth
from mi_widgets.errors import DataError, PromptError
from mi_widgets.models import Prompt, describe, has_tokenizer, modules_of, own_hooks, token_strings, tokenize

#: Sums of probabilities that differ by less than this are the same: what double precision adds over a vocabulary.
ROUNDING = 1e-12


def sample(
    model: Any,
    prompt: Prompt,
    n_tokens: int = 20,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    prepend_bos: bool | None = None,
    stop_at_eos: bool = True,
    progress: bool = False,
    beyond_context: bool = False,
    interventions: Interventions = (),
) -> Continuation:
    """Let the model write after a prompt.

    Args:
        model: a TransformerBridge.
        prompt: text, token ids or chat messages.
        n_tokens: tokens to write, at most.
        temperature: divides the logits; 0 takes the likeliest token each time (greedy; the lowest id of equals).
        top_p: nucleus sampling (Holtzman et al. 2020): draw from the smallest set of tokens whose probability, after
            the temperature, is at least this.
        seed: of the draws; the same seed gives the same text on every machine, as far as the model gives the same
            logits there.
        prepend_bos: None means what `model.to_tokens(prompt)` does.
        stop_at_eos: stop after an end-of-text token (of the model's generation configuration, else the tokenizer's).
        progress: show a bar. Ctrl-C leaves the model as it was.
        beyond_context: let models whose positions are not learned run past `n_ctx`.
        interventions: made in every pass: `mw.Ablate`, `mw.Add` … Positions are places in the prompt; without
            positions they act on the new tokens too (but a patch, whose source has none). With a function of the
            user's own every token costs a whole pass, as it does while hooks of the user's own are on the model: they
            may expect to see the whole prompt.

    Returns:
        Continuation: the new ids, their strings and text, and the log-probability of each under the model itself.

    Raises:
        PromptError: a prompt that cannot be run, or no room for so many tokens; the message says how many fit.
        ModelError: a model whose positions read later ones, or whose logits are not finite; or an intervention that
            cannot act there.
        DataError: an option out of range.
    """
    tokens = tokenize(model, prompt, prepend_bos, beyond_context)
    steps = sample_steps(
        model, tokens, n_tokens, temperature, top_p, seed, stop_at_eos, beyond_context, interventions, prepend_bos
    )
    return run(steps, progress, "sampling")


def sample_steps(
    model: Any,
    tokens: Tokens,
    n_tokens: int = 20,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop_at_eos: bool = True,
    beyond_context: bool = False,
    interventions: Interventions = (),
    prepend_bos: bool | None = None,
    pausing: bool = False,
    edits: Edits | None = None,
) -> Steps[Continuation]:
    """`sample` as a generator of `Step`, one after each token; `partial` holds the ids written so far, `list[int]`.

    Nothing is run before the first step is asked for, but options out of range raise there. `prepend_bos` is for other
    prompts that interventions name; `edits` are interventions made ready already. With `pausing` a pass over more than
    one position pauses between its blocks, as in `compute.forward_steps`: of those further steps `partial` is None.
    """
    check_sampling(n_tokens, temperature, top_p, seed)
    n_tokens, temperature, top_p, seed = int(n_tokens), float(temperature), float(top_p), int(seed)
    check_room(model, tokens, n_tokens, beyond_context)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    ends = end_ids(model) if truth("stop_at_eos", stop_at_eos) else frozenset()
    if edits is None:
        edits = resolve(model, tokens, interventions, prepend_bos=prepend_bos, beyond_context=beyond_context)
    kept = _Kept(model, edits.whole)
    ids, new, log_probs = tokens.ids, [], []
    while len(new) < n_tokens and not (new and new[-1] in ends):
        keys = kept.keys()
        long = pausing and len(ids) - (0 if keys is None else keys.positions) > 1
        passing = forward_steps(model, ids, (LAST_LOGITS,), (), writes=edits.writes, pausing=long, keys=keys)
        passed = yield from as_one(passing, Step(len(new), n_tokens))
        logits = passed.arrays[LAST_LOGITS]
        if not np.isfinite(logits.max()):  # of NaN the largest is NaN too
            raise refusal(not_finite(model, ids, writes=edits.writes))
        own = _log_softmax(logits)
        chosen = draw(_nucleus(own, temperature, top_p), generator)
        new.append(chosen)
        log_probs.append(own[chosen])
        ids = np.append(tokens.ids, new)
        yield Step(len(new), n_tokens, list(new))
    tokenizer = model.tokenizer if has_tokenizer(model) else None
    return Continuation(
        prompt=tokens,
        ids=np.array(new, np.int64),
        strings=tuple(token_strings(tokenizer, new)),
        log_probs=np.array(log_probs, np.float32),
        text=None if tokenizer is None else _new_text(tokenizer, tokens.ids.tolist(), new),
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        ended=bool(new) and new[-1] in ends,
        model=describe(model).label,
        interventions=edits.interventions,
    )


class _Kept:
    """Keys and values from token to token, as long as they are those of the model as it is.

    Args:
        model: a TransformerBridge.
        whole: keep none.
    """

    def __init__(self, model: Any, whole: bool) -> None:
        self._model, self._whole = model, whole
        # Found once: a search for each token would cost as much as two blocks of a small model.
        self._modules = modules_of(model)
        self._parameters = [*model.parameters(), *model.buffers()]
        self._keys, self._versions = KeptKeys(), self._now()

    def keys(self) -> KeptKeys | None:
        """For the next pass; None for a whole one."""
        if self._whole or own_hooks(self._model, self._modules):
            self._keys = KeptKeys()
            return None
        if self._versions != self._now():  # a weight was edited meanwhile
            self._keys, self._versions = KeptKeys(), self._now()
        return self._keys

    def _now(self) -> list[int]:
        return [0 if held.is_inference() else held._version for held in self._parameters]


def nucleus(logits: Any, temperature: float = 1.0, top_p: float = 1.0) -> np.ndarray:
    """The distribution that a token is drawn from.

    Args:
        logits: `[d_vocab]`, numpy or torch.
        temperature: divides the logits; 0 gives all to the likeliest token (the lowest id of equals).
        top_p: the smallest set of tokens whose probability is at least this is kept and renormalised (Holtzman et
            al. 2020, section 3.1); of tokens equally likely, those with the lower id.

    Returns:
        float64 `[d_vocab]`, sums to 1; 0 for every token outside the set.

    Raises:
        DataError: an option out of range.
        ModelError: logits that are not numbers.
    """
    check_sampling(1, temperature, top_p, 0)
    temperature, top_p = float(temperature), float(top_p)
    return _nucleus(_log_softmax(logits), temperature, top_p)


def _nucleus(log_probs: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """`nucleus` of log-probabilities float64 `[d_vocab]`."""
    if temperature == 0:
        probabilities = np.zeros_like(log_probs)
        probabilities[int(log_probs.argmax())] = 1.0
        return probabilities
    with np.errstate(over="ignore"):  # of a tiny temperature: −inf is a probability of 0
        heated = (log_probs - log_probs.max()) / temperature
    probabilities = np.exp(heated)
    probabilities /= probabilities.sum()
    if top_p == 1:
        return probabilities
    order = np.argsort(-probabilities, kind="stable")
    mass = np.cumsum(probabilities[order])
    kept = order[: int(np.searchsorted(mass, top_p - ROUNDING)) + 1]
    inside = np.zeros_like(probabilities)
    inside[kept] = probabilities[kept]
    return inside / inside.sum()


def draw(probabilities: np.ndarray, generator: torch.Generator) -> int:
    """A token drawn from `probabilities` `[d_vocab]` by one uniform number of `generator`.

    The vocabulary is cut in order of the ids, so that logits that differ in their last digit, as those of two
    machines do, almost never change the token.
    """
    mass = np.cumsum(probabilities)
    uniform = float(torch.rand((), generator=generator, dtype=torch.float64))
    place = int(np.searchsorted(mass, uniform * mass[-1], side="right"))
    return min(place, int(np.flatnonzero(probabilities)[-1]))


def continued(
    model: Any,
    tokens: Tokens,
    new_ids: Sequence[int],
    prepend_bos: bool | None = None,
    beyond_context: bool = False,
) -> Prompt:
    """The prompt that runs exactly the ids of `tokens` and then `new_ids`.

    Args:
        model: a TransformerBridge.
        tokens: the prompt so far, as run.
        new_ids: to stand behind it.
        prepend_bos: as the prompt is tokenized with.
        beyond_context: let models whose positions are not learned run past `n_ctx`.

    Returns:
        The longer text where tokenizing it gives exactly these ids; else (a split character, a merge over the seam,
        no tokenizer) the list of ids, which runs as it is.

    Raises:
        PromptError: no room for so many tokens.
    """
    new = [int(token) for token in new_ids]
    wanted = [*tokens.ids.tolist(), *new]
    check_room(model, tokens, len(new), beyond_context)
    if not has_tokenizer(model) or tokens.text is None:
        return wanted
    tokenizer = model.tokenizer
    # Decoders treat leading spaces each in their own way: several suffixes are tried, and only an exact one is taken.
    suffixes = (
        _new_text(tokenizer, tokens.ids.tolist(), new),
        tokenizer.decode(new),
        "".join(token_strings(tokenizer, new)),
    )
    for suffix in dict.fromkeys(suffixes):
        text = tokens.text + suffix
        try:
            if suffix and tokenize(model, text, prepend_bos, beyond_context).ids.tolist() == wanted:
                return text
        except PromptError:
            continue
    return wanted


def room_left(model: Any, tokens: Tokens, beyond_context: bool = False) -> int | None:
    """How many more tokens the model reads behind `tokens`; None for no bound."""
    info = describe(model)
    if info.n_ctx is None or (beyond_context and not info.learned_positions):
        return None
    return max(0, info.n_ctx - len(tokens))


def check_room(model: Any, tokens: Tokens, n_tokens: int, beyond_context: bool = False) -> None:
    """Raise PromptError unless `n_tokens` more fit behind the prompt."""
    room = room_left(model, tokens, beyond_context)
    if room is not None and n_tokens > room:
        info = describe(model)
        fit = f"{room:,} more token{'' if room == 1 else 's'} fit{'s' if room == 1 else ''}" if room else "no more fit"
        raise PromptError(
            f"The prompt has {len(tokens):,} tokens and this model reads {info.n_ctx:,}: {fit}.",
            f"Ask for at most {room:,}, or shorten the prompt." if room else "Shorten the prompt.",
        )


def check_sampling(n_tokens: int, temperature: float, top_p: float, seed: int) -> None:
    """Raise DataError for options that mean nothing."""
    if not is_integer(n_tokens) or int(n_tokens) < 1:
        raise DataError(f"n_tokens={n_tokens!r}.", "Write at least one token.")
    if not is_number(temperature) or not 0 <= temperature < math.inf:
        raise DataError(f"temperature={temperature!r}.", "Give 0 (greedy) or more; 1 is the model's own distribution.")
    if not is_number(top_p) or not 0 < top_p <= 1:
        raise DataError(f"top_p={top_p!r}.", "Give a probability above 0, up to 1 (the whole vocabulary).")
    if not is_integer(seed) or not 0 <= int(seed) < 2**63:
        raise DataError(f"seed={seed!r}.", "Give a whole number from 0.")


def end_ids(model: Any) -> frozenset[int]:
    """Ids that end a text: those of the model's generation configuration, as Hugging Face's `generate` stops at; else
    the tokenizer's end-of-text token."""
    held = getattr(getattr(model, "original_model", None), "generation_config", None)
    ends = getattr(held, "eos_token_id", None)
    if ends is None and has_tokenizer(model):
        ends = getattr(model.tokenizer, "eos_token_id", None)
    if ends is None:
        return frozenset()
    return frozenset(int(token) for token in (ends if isinstance(ends, (list, tuple)) else [ends]))


def _log_softmax(logits: Any) -> np.ndarray:
    """float64 `[d_vocab]`."""
    if hasattr(logits, "detach"):
        logits = logits.detach().float().cpu().numpy()
    values = np.asarray(logits, np.float64)
    if values.ndim != 1 or not values.size:
        raise DataError(f"logits have shape {list(values.shape)}; they must be [d_vocab].")
    top = values.max()
    if not math.isfinite(top):  # of NaN the largest is NaN too
        raise refusal(LOGITS)
    shifted = values - top
    return shifted - math.log(np.exp(shifted).sum())


def _new_text(tokenizer: Any, before: list[int], new: list[int]) -> str:
    """What the new ids add to the text; decoded alone where the whole does not begin with the text before (a
    character that was split there)."""
    whole, first = tokenizer.decode([*before, *new]), tokenizer.decode(before)
    return whole[len(first) :] if whole.startswith(first) else tokenizer.decode(new)
