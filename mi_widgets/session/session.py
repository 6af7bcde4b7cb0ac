"""The shared state of several views: one model, one prompt, its interventions, one selection, one cache.

Views made from one session are linked. The session knows views only by what `SessionView` says; it knows
nothing of traits, pages or pictures.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Generator, Sequence
from typing import Any

import traitlets

from mi_widgets.data import Selection, Tokens
from mi_widgets.data.interventions import Run
from mi_widgets.errors import MiWidgetsError
from mi_widgets.session.cache import ActivationCache
from mi_widgets.session.head_scores import HeadScores
from mi_widgets.session.pictures import Pictures
from mi_widgets.session.prompts import given, plain, plain_answer
from mi_widgets.session.protocol import Answered, SessionView
from mi_widgets.session.runner import Runner
from mi_widgets.session.runs import compared, fitting
from mi_widgets.session.traits import Checked, SelectionTrait, Truth, refusing

#: Default bound of the activation cache.
CACHE_BYTES = 1_000_000_000
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
        interventions: made in the run that every view shows: `mw.Ablate`, `mw.Patch`, `mw.Add`, `mw.Splice` …

    `prompt`, `interventions`, `corrupt`, `answer`, `foil`, `beside` and `selection` are traits: set them, or observe
    them: `session.observe(f, "selection")`. `beside` is a `mw.Run` (or a prompt) that linked views compare with their
    own run while they are given nothing else to compare; None takes it away. What fails of it they say, and `wait` does
    not raise: their own run is as current as without it.

    Raises:
        ModelError: not a TransformerLens model with attention heads.
        DataError: an intervention in a layer, head or hook that the model does not have.
    """

    prompt: Any = Checked(help="The prompt; setting it recomputes every view, once.")
    interventions: Any = Checked((), help="Made in the run; setting them recomputes every view, once. [] is untouched.")
    corrupt = traitlets.Any(None, allow_none=True, help="The second prompt.")
    answer = traitlets.Any(None, allow_none=True, help="The right next token.")
    foil = traitlets.Any(None, allow_none=True, help="The wrong next token.")
    beside = traitlets.Any(None, allow_none=True, help="Set beside their own run by views that compare nothing else.")
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
        interventions: Any = (),
    ) -> None:
        from mi_widgets.models import describe

        self.model = model
        self.info = describe(model)
        self.prepend_bos = prepend_bos
        self.id = uuid.uuid4().hex[:12]
        self.runner = Runner()
        self.history: list[Any] = []
        self._cache = ActivationCache(cache_limit)
        self._views: list[SessionView] = []
        self._lock = threading.RLock()  # edits may come on a handler's thread
        self._behind: set[SessionView] = set()
        self._pictures = Pictures(self, self._cache)
        clock = self._pictures.passes.clock(model)
        self.head_scores = HeadScores(model, self.info, self.runner, clock, self._pictures.fingerprint)
        super().__init__(
            prompt=plain(prompt),
            corrupt=plain(corrupt),
            answer=answer,
            foil=foil,
            selection=Selection(),
            beyond_context=beyond_context,
            interventions=interventions,
        )
        self._remember(self.prompt)
        self.observe(self._run_set, ["prompt", "interventions", "beyond_context"])
        self.observe(lambda _change: self._tell("selection"), "selection")
        self.observe(lambda change: self._tell(change["name"]), ["corrupt", "answer", "foil"])
        self.observe(self._beside_set, "beside")

    def __repr__(self) -> str:
        return f"Session({self.info.label!r}, {self.prompt!r})"

    @traitlets.validate("prompt", "corrupt")
    @refusing
    def _plain_prompt(self, proposal: Any) -> Any:
        return (given if proposal["trait"].name == "prompt" else plain)(proposal["value"])

    @traitlets.validate("interventions")
    @refusing
    def _fitting(self, proposal: Any) -> Any:
        return fitting(proposal["value"], self.model, self.info)

    @traitlets.validate("beside")
    @refusing
    def _comparable(self, proposal: Any) -> Any:
        return self.compared(proposal["value"])

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
        errors = self._pictures.errors
        return next((error for view, error in reversed(errors.items()) if not view.session_hidden), None)

    @property
    def run(self) -> int:
        """The number of the newest edit."""
        return self._pictures.run

    @property
    def passes(self) -> int:
        """How many forward passes were made for the views."""
        return self._pictures.passes.made

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
        """Stop what is being computed, after the block or chunk it is in. Views keep their last picture."""
        self.runner.stop()

    def refresh(self) -> None:
        """Forget cached activations and compute every view again, e.g. after editing weights through `.data`."""
        self._pictures.passes.forget()
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
            self._behind.discard(view)
        self._pictures.leave(view)
        self.head_scores.leave(view)

    def compute(self, views: Sequence[SessionView]) -> None:
        """Make these views' pictures anew; what is being computed for others goes on."""
        with self._lock:
            self._behind -= set(views)
        self._pictures.compute(views)

    def filled(self, run: Any = None) -> Run:
        """A run with what it leaves out taken from the session.

        Args:
            run: a `Run`, or a prompt; the session's own if None.
        """
        if not isinstance(run, Run):
            run = Run(prompt=run)
        return Run(
            self.model if run.model is None else run.model,
            self.prompt if run.prompt is None else plain(run.prompt),
            self.interventions if run.interventions is None else run.interventions,
        )

    def edits(self) -> Generator[Any, None, Any]:
        """What the interventions write in the session's run, `compute.interventions.Edits` or None, in steps."""
        return self._pictures.edits()

    def made(self, run: Any, sites: Any) -> Generator[Any, None, Answered]:
        """What a pass over `run` leaves at `sites` (as a `Need` names them), found or made, in steps."""
        return self._pictures.made(run, sites)

    def compared(self, given: Any) -> Any:
        """What a view is to compare the session's run with, checked: a prompt as plain values, a `Run`, or None.

        Raises:
            PromptError: neither.
            ModelError: the run's model is none, or of another shape than the session's.
            DataError: interventions that its model cannot have.
        """
        return compared(given, self.model, self.info)

    def tokenize(self, prompt: Any, model: Any = None) -> Tokens:
        """`prompt` as it will be run in this session, by its model or that given."""
        from mi_widgets.models import tokenize

        return tokenize(self.model if model is None else model, prompt, self.prepend_bos, self.beyond_context)

    def expected_seconds(self) -> float:
        """Estimated seconds of one pass over the present prompt; 0 for one that cannot be run."""
        try:
            return self._pictures.passes.clock(self.model).estimate(self.info, len(self.tokens), ()).seconds
        except MiWidgetsError:
            return 0.0

    def catch_up(self, view: SessionView) -> None:
        """Compute `view` if it was left behind while no page showed it."""
        if view in self._behind:
            self.compute([view])

    # --- traits --------------------------------------------------------------------------------------

    def _run_set(self, change: Any) -> None:
        if change["name"] == "prompt":
            self._remember(change["new"])
        self._tell("interventions" if change["name"] == "interventions" else "prompt")
        self._compute_all()

    def _beside_set(self, _change: Any) -> None:
        self._tell("beside")
        self._compute_all([view for view in self._views if view.session_besides])

    def _compute_all(self, views: Sequence[SessionView] | None = None) -> None:
        """Of these views, or of all, every one that someone may be looking at now; the others when they are shown or
        asked."""
        views = list(self._views) if views is None else views
        with self._lock:
            self._behind |= {view for view in views if view.session_hidden}
        self.compute([view for view in views if not view.session_hidden or self._pictures.waits(view)])

    def _remember(self, prompt: Any) -> None:
        if prompt in self.history:
            self.history.remove(prompt)
        self.history = [*self.history, prompt][-HISTORY:]

    def _tell(self, name: str) -> None:
        for view in list(self._views):
            view.session_changed(name)
