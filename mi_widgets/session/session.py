"""The shared state of several views: one model, one prompt, one selection, one cache, one forward pass.

Views made from one session are linked. The session knows views only by what `SessionView` says; it knows
nothing of traits, pages or pictures.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Generator, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from mi_widgets.data import Selection, Tokens
from mi_widgets.errors import Cancelled, MiWidgetsError, PromptError
from mi_widgets.session.cache import ActivationCache
from mi_widgets.session.head_scores import HeadScores
from mi_widgets.session.prompts import given, plain, plain_answer
from mi_widgets.session.protocol import Answered, Need, Progress, SessionView, union_of_layers
from mi_widgets.session.runner import Job, Runner
from mi_widgets.session.traits import Checked, SelectionTrait, Truth, refusing

if TYPE_CHECKING:
    from mi_widgets.compute.forward import Activations

#: Default bound of the activation cache.
CACHE_BYTES = 1_000_000_000
#: The job that makes the pictures.
PICTURES = "pictures"
#: Prompts remembered for undo and the history menu.
HISTORY = 50


class Session(traitlets.HasTraits):
    """One model and one prompt, shared by every view made from it.

    Args:
        model: a TransformerBridge. It is never changed: no hook, flag, gradient or weight is left behind.
        prompt: text, token ids `[position]` or `[1, position]`, or chat messages.
        corrupt: a second prompt, for views that compare or patch.
        answer: the right next token, for views that need one.
        foil: the wrong one.
        prepend_bos: for text prompts; None means what `model.to_tokens(prompt)` does.
        cache_limit: bound of the activation cache in bytes.
        beyond_context: let models whose positions are not learned run past `n_ctx`.

    `prompt`, `corrupt`, `answer`, `foil` and `selection` are traits: set them, or `session.observe(f, "selection")`.

    Raises:
        ModelError: not a TransformerLens model with attention heads.
    """

    prompt: Any = Checked(help="The prompt; setting it recomputes every view, once.")
    corrupt = traitlets.Any(None, allow_none=True, help="The second prompt.")
    answer = traitlets.Any(None, allow_none=True, help="The right next token.")
    foil = traitlets.Any(None, allow_none=True, help="The wrong next token.")
    selection: Any = SelectionTrait(help="What the user points at.")
    beyond_context = Truth(False, help="Run rotary models past n_ctx.")

    def __init__(
        self,
        model: Any,
        prompt: Any,
        corrupt: Any = None,
        answer: Any = None,
        foil: Any = None,
        prepend_bos: bool | None = None,
        *,
        cache_limit: int = CACHE_BYTES,
        beyond_context: bool = False,
    ) -> None:
        from mi_widgets.models import describe
        from mi_widgets.session.estimate import Clock

        self.model = model
        self.info = describe(model)
        self.prepend_bos = prepend_bos
        self.id = uuid.uuid4().hex[:12]
        self.runner = Runner()
        self.run = 0
        self._errors: dict[SessionView, Exception] = {}
        self.history: list[Any] = []
        self.passes = 0
        self._cache = ActivationCache(cache_limit)
        self._clock = Clock(model)
        self._views: list[SessionView] = []
        #: Views that wait for a picture, and the run that is to make it.
        self._stale: dict[SessionView, int] = {}
        self._lock = threading.RLock()  # edits may come on a handler's thread
        self.head_scores = HeadScores(model, self.info, self.runner, self._clock, self._fingerprint)
        self._known: tuple[Any, ...] | None = None
        self._behind: set[SessionView] = set()
        super().__init__(
            prompt=plain(prompt),
            corrupt=plain(corrupt),
            answer=answer,
            foil=foil,
            selection=Selection(),
            beyond_context=beyond_context,
        )
        self._remember(self.prompt)
        self.observe(self._prompt_set, ["prompt", "beyond_context"])
        self.observe(lambda _change: self._tell("selection"), "selection")
        self.observe(lambda change: self._tell(change["name"]), ["corrupt", "answer", "foil"])

    def __repr__(self) -> str:
        return f"Session({self.info.label!r}, {self.prompt!r})"

    @traitlets.validate("prompt", "corrupt")
    @refusing
    def _plain_prompt(self, proposal: Any) -> Any:
        return (given if proposal["trait"].name == "prompt" else plain)(proposal["value"])

    @traitlets.validate("answer", "foil")
    @refusing
    def _plain_answer(self, proposal: Any) -> Any:
        return plain_answer(proposal["trait"].name, proposal["value"])

    @traitlets.validate("selection")
    @refusing
    def _there(self, proposal: Any) -> Selection:
        return proposal["value"].within(self.info.n_layers, self.info.n_heads)

    # --- what users call -----------------------------------------------------------------------------

    @property
    def tokens(self) -> Tokens:
        """The present prompt as run.

        Raises:
            PromptError: it cannot be run.
        """
        return self.tokenize(self.prompt)

    @property
    def last_error(self) -> Exception | None:
        """Why some view is not current: the newest error of those there are, or None. Hidden views do not count."""
        return next((error for view, error in reversed(self._errors.items()) if not view.session_hidden), None)

    def wait(self, timeout: float | None = None) -> None:
        """Return when every view is current. Works inside a cell: pending work is done at once.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: not done in time.
            Exception: the error of the computation, if it failed.
        """
        self.runner.flush(timeout)
        if self.last_error is not None:
            raise self.last_error

    def stop(self) -> None:
        """Stop what is being computed, after the pass or chunk it is in. Views keep their last picture."""
        self.runner.stop()

    def refresh(self) -> None:
        """Forget cached activations and compute every view again, e.g. after editing weights through `.data`."""
        self._cache.clear()
        self.head_scores.forget()
        self._compute_all()

    @property
    def cache_limit(self) -> int:
        """Bound of the activation cache in bytes; set it to change it. The newest result is always kept."""
        return self._cache.limit_bytes

    @cache_limit.setter
    def cache_limit(self, limit: int) -> None:
        self._cache.limit_bytes = limit

    @property
    def cache_bytes(self) -> int:
        """Bytes of activations held now."""
        return self._cache.nbytes

    # --- what views call -----------------------------------------------------------------------------

    def join(self, view: SessionView) -> None:
        """Link `view` and compute it."""
        self._views.append(view)
        self.compute([view])

    def leave(self, view: SessionView) -> None:
        """Unlink `view`; a computation that served only it is stopped."""
        with self._lock:
            if view in self._views:
                self._views.remove(view)
            self._stale.pop(view, None)
            self._errors.pop(view, None)
            self._behind.discard(view)
        if not self._stale:
            self.runner.drop(PICTURES)
        self.head_scores.leave(view)

    def compute(self, views: Sequence[SessionView]) -> None:
        """Make these views' pictures anew, together with those that wait already; replaces a running computation."""
        with self._lock:
            waiting = [*self._stale, *views]
            if not waiting:
                return
            self.run += 1
            run = self.run
            self._stale = dict.fromkeys(waiting, run)
            for view in waiting:
                self._errors.pop(view, None)
            self._behind -= set(waiting)
        for view in list(self._stale):
            view.session_waits(Progress(run, 0, 0))
        self.runner.submit(
            Job(
                slot=PICTURES,
                steps=self._pictures(run),
                failed=lambda error: self._fail(run, self._of(run), error),
                stopped=lambda replaced: None if replaced else self._stopped(run),
                order=run,
            )
        )

    def tokenize(self, prompt: Any) -> Tokens:
        """`prompt` as it will be run in this session."""
        from mi_widgets.models import tokenize

        return tokenize(self.model, prompt, self.prepend_bos, self.beyond_context)

    def expected_seconds(self) -> float:
        """Estimated seconds of one pass over the present prompt; 0 for one that cannot be run."""
        try:
            return self._clock.estimate(self.info, len(self.tokens), ()).seconds
        except MiWidgetsError:
            return 0.0

    # --- computing -----------------------------------------------------------------------------------

    def _fingerprint(self) -> tuple[Any, ...]:
        """The model's fingerprint: taken once a run, for it walks over all parameters and hook points."""
        from mi_widgets.models import fingerprint

        return self._known if self._known is not None else fingerprint(self.model)

    def _pictures(self, run: int) -> Generator[Any, None, None]:
        self._known = None
        self._known = self._fingerprint()
        try:
            yield from self._all_pictures(run)
        finally:
            self._known = None

    def _all_pictures(self, run: int) -> Generator[Any, None, None]:
        """One forward pass for each distinct prompt, of the union of what is needed; then every view's picture."""
        from mi_widgets.compute.step import Step

        needs: dict[int, list[Need]] = {}
        for view in self._of(run):
            try:
                needs[id(view)] = list(view.session_needs())
            except Exception as error:  # e.g. an architecture that this view refuses: it fails alone
                self._fail(run, [view], error)
        views = self._of(run)
        prompts: dict[Hashable, list[Need]] = {}
        for wanted in needs.values():
            for need in wanted:
                prompts.setdefault(repr(need.prompt), []).append(need)
        total = len(prompts) + 1
        answers: dict[int, Answered | Exception] = {}
        progress = Progress(run, 0, total)
        for done, group in enumerate(prompts.values()):
            try:
                tokens = self.tokenize(group[0].prompt)
                progress.done, progress.estimate = done, self._estimate(tokens, group)
                for view in self._of(run):
                    view.session_waits(progress)
                yield Step(done, total)
                answers |= self._meet(tokens, group)
            except Exception as error:  # a prompt that fails must not take other views' pictures along
                answers |= {id(need): error for need in group}
                continue
            for answer in answers.values():
                if isinstance(answer, Answered):
                    self._notes(progress, answer)
        progress.done = total - 1
        yield Step(total - 1, total)
        for view in views:
            if self._stale.get(view) != run:
                continue  # it left, or a newer run has it
            failed = [(need, answers[id(need)]) for need in needs[id(view)]]
            errors = [_named(need, error) for need, error in failed if isinstance(error, Exception)]
            if errors:
                self._fail(run, [view], errors[0])
                continue
            try:
                yield from view.session_draws(progress, {need.name: answers[id(need)] for need in needs[id(view)]})  # type: ignore[misc]
            except Exception as error:
                self._fail(run, [view], error)
                continue
            self._done(view, run)

    def _of(self, run: int) -> list[SessionView]:
        """The views that wait for this very run."""
        return [view for view, wanted in list(self._stale.items()) if wanted == run]

    def _done(self, view: SessionView, run: int) -> bool:
        """Take `view` off the waiting ones, unless a newer run has it by now: then False."""
        with self._lock:
            if self._stale.get(view) != run:
                return False
            del self._stale[view]
            return True

    def _estimate(self, tokens: Tokens, group: list[Need]) -> str:
        from mi_widgets.session.estimate import check_memory

        sites = {site for need in group for site in need.sites}
        layers = union_of_layers(group)
        estimate = self._clock.estimate(self.info, len(tokens), sites, None if layers is None else len(layers))
        check_memory(estimate)
        return str(estimate)

    def _meet(self, tokens: Tokens, group: list[Need]) -> dict[int, Answered | Exception]:
        """Answers by id of the need: one pass for all. If that fails, one for each kind of need, so that a view
        whose sites this architecture lacks fails alone."""
        union = tuple(dict.fromkeys(site for need in group for site in need.sites))
        try:
            return _answers(tokens, self._activations(tokens, group, union), group)
        except MemoryError:
            raise
        except Exception:
            kinds = dict.fromkeys(need.sites for need in group)
            if len(kinds) == 1:
                raise
        answers: dict[int, Answered | Exception] = {}
        for sites in kinds:
            alike = [need for need in group if need.sites == sites]
            try:
                answers |= _answers(tokens, self._activations(tokens, alike, sites), alike)
            except Exception as error:
                answers |= {id(need): error for need in alike}
        return answers

    def _activations(self, tokens: Tokens, group: list[Need], sites: tuple[str, ...]) -> Activations:
        """From the cache where every site is there, else by one pass of those that are missing."""
        from mi_widgets.compute.forward import Activations, forward
        from mi_widgets.models import in_training

        layers = union_of_layers(group)
        known = (self._fingerprint(), tokens.ids.tobytes(), layers)
        found = {site: self._cached(known, site) for site in sites}
        missing = tuple(site for site in sites if found[site] is None)
        chosen = layers if layers is not None else tuple(range(self.info.n_layers))
        result = Activations(chosen, {site: array for site, array in found.items() if array is not None})
        result.was_training = not missing and in_training(self.model)  # said of a cached picture too
        if missing:
            readers: dict[str, Any] = {}
            for need in group:
                if set(need.sites) & set(missing):
                    readers |= need.readers()
            started = time.perf_counter()
            fresh = forward(self.model, tokens.ids, missing, layers, readers)
            self._clock.learn(len(tokens), time.perf_counter() - started)
            self.passes += 1
            result.was_training = fresh.was_training
            for site, array in fresh.arrays.items():
                result.arrays[site] = array
                self._cache.put(_cache_key(known, site), array)
        return result

    def _cached(self, known: tuple[Any, ...], site: str) -> np.ndarray | None:
        """The site's array from the cache; one position of a site also where the whole site is there."""
        from mi_widgets.compute.forward import take_position

        array = self._cache.get(_cache_key(known, site))
        if array is None and "@" in site:
            whole = self._cache.get(_cache_key(known, site.partition("@")[0]))
            array = None if whole is None else take_position(site, whole)
        return array

    def _notes(self, progress: Progress, answered: Answered) -> None:
        from mi_widgets.loading import load_notes

        def note(text: str) -> None:
            if text not in progress.notes:
                progress.notes.append(text)

        for text in load_notes(self.model):
            note(text)
        if answered.activations.was_training:
            note("The model is in training mode; it was evaluated for this pass and put back.")
        if len(answered.tokens) and all(answered.tokens.special):
            note("The prompt holds only special tokens.")
        if self.info.n_ctx is not None and len(answered.tokens) > self.info.n_ctx:
            note(f"The prompt is longer than the {self.info.n_ctx:,} positions the model was made for.")

    def _fail(self, run: int, views: list[SessionView], error: Exception) -> None:
        for view in views:
            if self._done(view, run):
                self._errors[view] = error
                view.session_fails(run, error)

    def _stopped(self, run: int) -> None:
        for view in self._of(run):
            if self._done(view, run):
                self._errors[view] = error = Cancelled(
                    "Stopped before it was done.", "Change the prompt, or call refresh()."
                )
                view.session_stops(run, error)

    # --- traits --------------------------------------------------------------------------------------

    def _prompt_set(self, change: Any) -> None:
        if change["name"] == "prompt":
            self._remember(change["new"])
        self._tell("prompt")
        self._compute_all()

    def _compute_all(self) -> None:
        """Every view that someone may be looking at now; the others when they are shown or asked."""
        with self._lock:
            self._behind |= {view for view in self._views if view.session_hidden}
        self.compute([view for view in self._views if not view.session_hidden])

    def catch_up(self, view: SessionView) -> None:
        """Compute `view` if it was left behind while no page showed it."""
        if view in self._behind:
            self.compute([view])

    def _remember(self, prompt: Any) -> None:
        if prompt in self.history:
            self.history.remove(prompt)
        self.history = [*self.history, prompt][-HISTORY:]

    def _tell(self, name: str) -> None:
        for view in list(self._views):
            view.session_changed(name)


def _cache_key(known: tuple[Any, ...], site: str) -> Hashable:
    """Where the cache holds `site`: what stands once in a model is the same whichever layers were asked for."""
    from mi_widgets.compute.forward import in_block

    model, ids, layers = known
    return model, ids, layers if in_block(site) else None, site


def _named(need: Need, error: Exception) -> Exception:
    """`error` of one of several prompts, saying of which."""
    if not need.called or not isinstance(error, PromptError):
        return error
    return PromptError(f"{need.called}: {error.message}", error.hint)


def _answers(tokens: Tokens, activations: Activations, group: Sequence[Need]) -> dict[int, Answered | Exception]:
    """One answer for each set of layers, shared by the needs that want it."""
    by_layers: dict[tuple[int, ...] | None, Answered] = {}
    for need in group:
        if need.layers not in by_layers:
            by_layers[need.layers] = Answered(tokens, activations.only(need.layers))
    return {id(need): by_layers[need.layers] for need in group}
