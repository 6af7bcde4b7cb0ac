"""Who waits for a picture, and the jobs that make them: one makes the passes, then each view draws in one of its own.

An edit of one view neither delays nor restarts what another is drawing; an edit of the prompt replaces everything.
Knows views only by what `SessionView` says, and nothing of traits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from mi_widgets.errors import Cancelled, PromptError
from mi_widgets.session.cache import ActivationCache
from mi_widgets.session.passes import ModelChangedError, Passes, Ran
from mi_widgets.session.protocol import Answered, BeginningView, Need, Progress, SessionView
from mi_widgets.session.runner import BEHIND, PASS, Job
from mi_widgets.session.runs import run_key

if TYPE_CHECKING:
    from mi_widgets.session.session import Session

#: The job that makes the passes.
PASSES = "passes"
#: Views hear of the blocks of a pass at most this often.
TELL_SECONDS = 0.25


class Pictures:
    """The pictures of one session's views.

    Args:
        session: whose prompt, model and interventions they are of.
        cache: of activations.
    """

    def __init__(self, session: Session, cache: ActivationCache) -> None:
        self._session = session
        self._runner = session.runner
        self.passes = Passes(cache, self._resolved)
        #: The number of the newest edit.
        self.run = 0
        self.errors: dict[SessionView, Exception] = {}
        #: Views that wait for a picture, and the edit it is of; of them those that wait for a pass first; and of these
        #: those that the pass being made is for.
        self._stale: dict[SessionView, int] = {}
        self._unmet: dict[SessionView, int] = {}
        self._served: dict[SessionView, int] = {}
        #: Views that have begun to draw, and of which edit, from what a pass has read that is still being made.
        self._begun: dict[SessionView, int] = {}
        self._lock = threading.RLock()
        #: Of the model, inside a step of a job that has taken it already.
        self._known: Hashable = None

    # --- edits ---------------------------------------------------------------------------------------

    def compute(self, views: Sequence[SessionView]) -> None:
        """Make these views' pictures anew. A pass that another view still waits for is made to its end first; what
        others draw goes on."""
        if not views:
            return
        with self._lock:
            self.run += 1
            run, edited = self.run, dict.fromkeys(views, self.run)
            for view in edited:
                self._stale.pop(view, None)
                self._begun.pop(view, None)
                self.errors.pop(view, None)
            self._stale |= edited
            self._unmet |= edited
        for view in edited:
            self._runner.drop(_slot(view))  # its older drawing
        for view in edited:
            view.session_waits(Progress(run, 0, 0))
        with self._lock:
            awaited = any(self._unmet.get(view) == number for view, number in self._served.items())
            if not awaited:
                self._served = dict(edited)
        if not awaited:
            self._runner.submit(
                Job(
                    slot=PASSES,
                    steps=self._rounds(),
                    failed=lambda error: self._fail(dict(self._unmet), error),
                    stopped=lambda replaced: None if replaced else self._stop(dict(self._unmet)),
                    priority=PASS,
                    order=run,
                )
            )

    def waits(self, view: SessionView) -> bool:
        """Whether `view` waits for a picture."""
        return view in self._stale

    def leave(self, view: SessionView) -> None:
        """Nothing is made for `view` any more."""
        with self._lock:
            for held in (self._stale, self._unmet, self._served, self._begun, self.errors):
                held.pop(view, None)
        self._runner.drop(_slot(view))
        if not self._unmet:
            self._runner.drop(PASSES)

    def fingerprint(self) -> Hashable:
        """Of the session's model: taken once for a picture, for it walks over all parameters and hook points."""
        from mi_widgets.models import fingerprint

        return self._known if self._known is not None else fingerprint(self._session.model)

    def edits(self) -> Generator[Any, None, Any]:
        """What the interventions of the session's run write (`compute.interventions.Edits`); None for none. A generator
        of steps: the passes that they rest on are found, or made."""
        from mi_widgets.models import fingerprint

        run = self._session.filled()
        tokens = self._session.tokenize(run.prompt, run.model)
        return (yield from self.passes.edits(Ran(run, tokens, fingerprint(run.model))))

    def made(self, run: Any, sites: Any) -> Generator[Any, None, Answered]:
        """See `Session.made`."""
        from mi_widgets.models import fingerprint

        need = Need("", self._session.filled(run), sites)
        ran = Ran(need.run, self._session.tokenize(need.run.prompt, need.run.model), fingerprint(need.run.model))
        answer = (yield from self.passes.answers(ran, [need]))[id(need)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    # --- passes --------------------------------------------------------------------------------------

    def _rounds(self) -> Generator[Any, None, None]:
        """The passes that views wait for, and those of views that come to wait meanwhile."""
        changed = False
        while True:
            with self._lock:
                self._served = serving = dict(self._unmet)
                if not serving:
                    return
            self.passes.pausing, changed = not changed, False
            try:
                yield from self._round(serving)
            except ModelChangedError:
                for view in serving:
                    self._take_back(view)
                changed = True  # all of it once more, of the model as it is now

    def _round(self, serving: dict[SessionView, int]) -> Generator[Any, None, None]:
        """One pass for each distinct run, of the union of what is needed; then every view has what it draws from."""
        from mi_widgets.compute.step import Step

        needs: dict[SessionView, list[Need]] = {}
        for view, run in serving.items():
            try:
                needs[view] = [replace(need, run=self._session.filled(need.run)) for need in view.session_needs()]
            except Exception as error:  # e.g. an architecture that this view refuses: it fails alone
                self._fail({view: run}, error)
        groups: dict[Hashable, list[tuple[SessionView, Need]]] = {}
        for view, wanted in needs.items():
            for need in wanted:
                groups.setdefault(run_key(need.run), []).append((view, need))
        total = len(groups) + 1
        told = {view: Progress(serving[view], 0, total) for view in needs}
        answers: dict[int, Answered | Exception] = {}
        fingerprints: dict[int, Hashable] = {}
        for done, group in enumerate(groups.values()):
            self._served = {view: serving[view] for view, _ in group if self._unmet.get(view) == serving[view]}
            if not self._served:
                continue  # a newer edit has them all
            wanted = [need for view, need in group if view in self._served]
            try:
                ran, estimate = self._ran(wanted, fingerprints)
                for view in self._served:
                    told[view].estimate = str(estimate)
                    told[view].large |= estimate.large
                self._tell(told, done, total)
                yield Step(done, total)
                begin = partial(self._begin, ran, needs, told, answers)
                answers |= yield from self._met(ran, wanted, told, done, total, begin)
                for view in {view for view, _ in group}:
                    self._notes(told[view], ran, answers[id(wanted[0])])
            except Exception as error:  # a prompt that fails must not take other views' pictures along
                answers |= {id(need): error for need in wanted}
        known = fingerprints.get(id(self._session.model))
        for view in needs:
            self._hand_over(view, told[view], {need.name: need for need in needs[view]}, answers, known)

    def _ran(self, needs: Sequence[Need], fingerprints: dict[int, Hashable]) -> tuple[Ran, Any]:
        """What is to be run for these needs of one run, and what it will cost."""
        from mi_widgets.models import fingerprint
        from mi_widgets.session.estimate import check_memory

        run = needs[0].run
        if id(run.model) not in fingerprints:  # taken once a round
            fingerprints[id(run.model)] = fingerprint(run.model)
        ran = Ran(run, self._session.tokenize(run.prompt, run.model), fingerprints[id(run.model)])
        estimate = self.passes.estimate(ran, needs)
        check_memory(estimate)
        return ran, estimate

    def _met(
        self,
        ran: Ran,
        needs: Sequence[Need],
        told: dict[SessionView, Progress],
        done: int,
        total: int,
        begin: Callable[[dict[int, Answered]], None],
    ) -> Generator[Any, None, dict[int, Answered | Exception]]:
        """The answers of one run, its views told how many blocks are done where that takes long."""
        steps, since = self.passes.answers(ran, needs), time.perf_counter()
        try:
            while True:
                try:
                    step = next(steps)
                except StopIteration as finished:
                    return finished.value
                if step is not None and time.perf_counter() - since > TELL_SECONDS:
                    since = time.perf_counter()
                    self._tell(told, done * step.total + step.done, total * step.total)
                if step is not None and step.partial is not None:
                    begin(step.partial)
                yield step
        finally:
            steps.close()

    def _tell(self, told: dict[SessionView, Progress], done: int, total: int) -> None:
        for view in self._of(self._served):
            told[view].done, told[view].total = done, total
            view.session_waits(told[view])

    def _resolved(self, run: Any, tokens: Any, read: Any) -> Any:
        from mi_widgets.compute.interventions import resolve

        session = self._session
        return resolve(
            run.model,
            tokens,
            run.interventions,
            read=read,
            prepend_bos=session.prepend_bos,
            beyond_context=session.beyond_context,
        )

    def _notes(self, progress: Progress, ran: Ran, answered: Answered | Exception) -> None:
        from mi_widgets.loading import load_notes
        from mi_widgets.models import describe

        if isinstance(answered, Exception):
            return
        for text in (*load_notes(ran.run.model), *self.passes.notes(ran)):
            progress.note(text)
        if answered.activations.was_training:
            progress.note("The model is in training mode; it was evaluated for this pass and put back.")
        if len(answered.tokens) and all(answered.tokens.special):
            progress.note("The prompt holds only special tokens.")
        n_ctx = describe(ran.run.model).n_ctx
        if n_ctx is not None and len(answered.tokens) > n_ctx:
            progress.note(f"The prompt is longer than the {n_ctx:,} positions the model was made for.")

    # --- drawing -------------------------------------------------------------------------------------

    def _begin(
        self,
        ran: Ran,
        needs: dict[SessionView, list[Need]],
        told: dict[SessionView, Progress],
        known: dict[int, Answered | Exception],
        found: dict[int, Answered],
    ) -> None:
        """Let views draw a first part from what this pass has read by now, and the whole of those before it. Who has
        begun and finds nothing here any more takes that back."""
        for view in self._of(self._served):
            met = {need.name: (known | found).get(id(need)) for need in needs[view]}
            answers = {name: answer for name, answer in met.items() if isinstance(answer, Answered)}
            if len(answers) < len(met):
                self._take_back(view)
                continue
            for answer in found.values():
                self._notes(told[view], ran, answer)
            self._begun[view] = run = told[view].run
            self._runner.submit(
                Job(
                    slot=_slot(view),
                    steps=cast(BeginningView, view).session_begins(told[view], answers),
                    failed=lambda _error: None,  # it will be met again as the whole is drawn
                    priority=PASS,
                    order=run,
                )
            )

    def _take_back(self, view: SessionView) -> None:
        if self._begun.pop(view, None) is not None:
            self._runner.drop(_slot(view))
            cast(BeginningView, view).session_takes_back()

    def _hand_over(
        self,
        view: SessionView,
        progress: Progress,
        needs: dict[str, Need],
        answers: dict[int, Answered | Exception],
        known: Hashable,
    ) -> None:
        """Let `view` draw from its answers, in a job of its own; or tell it why there are none."""
        run = progress.run
        with self._lock:
            if self._unmet.get(view) != run:
                return  # it left, or a newer edit has it
            del self._unmet[view]
        found = {name: answers[id(need)] for name, need in needs.items()}
        errors = {name: _named(needs[name], error) for name, error in found.items() if isinstance(error, Exception)}
        if errors and (next(iter(needs)) in errors or not view.session_besides):
            self._take_back(view)
            self._fail({view: run}, next(iter(errors.values())))
            return
        self._begun.pop(view, None)
        found = {name: answer for name, answer in found.items() if name not in errors}
        progress.refused = next(iter(errors.values()), None)
        progress.done = progress.total - 1

        def stepped(step: Any) -> None:
            if getattr(step, "partial", None):
                job.priority = BEHIND  # a picture stands; those of others come first

        job = Job(
            slot=_slot(view),
            steps=self._drawing(view, progress, found, known),
            failed=lambda error: self._fail({view: run}, error),
            stopped=lambda replaced: None if replaced else self._stop({view: run}),
            stepped=stepped,
            order=run,
        )
        self._runner.submit(job)

    def _drawing(
        self, view: SessionView, progress: Progress, answers: dict[str, Any], known: Hashable
    ) -> Generator[Any, None, None]:
        """The view's own steps; in them the model is what it was when the passes began."""
        steps = view.session_draws(progress, answers)
        try:
            while True:
                self._known = known
                try:
                    step = next(steps)
                except StopIteration:
                    break
                finally:
                    self._known = None
                yield step
        finally:
            steps.close()
        self._done(view, progress.run)

    # --- ends ----------------------------------------------------------------------------------------

    def _of(self, views: dict[SessionView, int]) -> list[SessionView]:
        """Those of these views that still wait for this very edit."""
        return [view for view, run in list(views.items()) if self._stale.get(view) == run]

    def _done(self, view: SessionView, run: int) -> bool:
        """Take `view` off the waiting ones, unless a newer edit has it by now: then False."""
        with self._lock:
            if self._stale.get(view) != run:
                return False
            del self._stale[view]
            self._unmet.pop(view, None)
            return True

    def _fail(self, views: dict[SessionView, int], error: Exception) -> None:
        for view, run in views.items():
            if self._done(view, run):
                self.errors[view] = error
                view.session_fails(run, error)

    def _stop(self, views: dict[SessionView, int]) -> None:
        for view, run in views.items():
            if self._done(view, run):
                self.errors[view] = error = Cancelled(
                    "Stopped before it was done.", "Change the prompt, or call refresh()."
                )
                view.session_stops(run, error)


def _slot(view: SessionView) -> Hashable:
    return "picture", id(view)


def _named(need: Need, error: Exception) -> Exception:
    """`error` of one of several prompts, saying of which."""
    if not need.called or not isinstance(error, PromptError):
        return error
    return PromptError(f"{need.called}: {error.message}", error.hint)
