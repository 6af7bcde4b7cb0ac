"""A view of one prompt that a session keeps current, or of a result that is there already: what all such views share.

A view's shell says its kind, options and records, what it needs, how its picture is made of the answers, and which
figure prints it. Knows nothing of any particular view.
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Generator
from typing import Any, ClassVar, Generic, Literal, TypeVar

import traitlets

from mi_widgets.data.interventions import Run
from mi_widgets.described.view import Described
from mi_widgets.errors import AnswerError, DataError, StaleWarning
from mi_widgets.session import Answered, Progress, Session, aside, explain
from mi_widgets.session.prompts import from_wire, given, history_to_wire, plain, to_wire
from mi_widgets.session.runner import BEHIND, PICTURE
from mi_widgets.session.traits import Checked, Options, refusing
from mi_widgets.widgets.recipe import recipe
from mi_widgets.widgets.run_page import ORDERS, interventions_after
from mi_widgets.widgets.view import RequestError, View, status_value
from mi_widgets.wire.interventions import intervention_values, interventions_of
from mi_widgets.wire.messages import RefusedToken
from mi_widgets.wire.picture import Picture

Result = TypeVar("Result")

#: A first picture that takes longer than this is not waited for when the view is displayed.
STILL_SECONDS = 2.0

#: The page hears of progress at most this often.
TELL_SECONDS = 0.25

#: How a trait that holds a prompt crosses.
PROMPT_TRAIT: dict[str, Any] = {
    "sync": True,
    "from_page": True,
    "to_json": lambda prompt, _view: to_wire(prompt),
    "from_json": lambda value, _view: from_wire(value),
}


def options_from_wire(value: Any, view: Any) -> dict[str, Any]:
    """What the page chose; what is unknown or wrong is passed over: nothing may raise in a page's update."""
    chosen = dict(view.options)
    for name, option in value.items() if isinstance(value, dict) else ():
        try:
            chosen = view.changed_options(chosen, {name: option})
        except DataError:
            continue
    return chosen


class LiveView(View, Generic[Result]):
    """Base of views of a prompt.

    Args:
        session: or None over a result, as `_opened` says.
        options: every option.
        traits: what the view has of its own.

    Attributes:
        prompt: the session's prompt; None over plain data.
        history: prompts run before, newest last, as far as they are not too long to keep on the page.
        interventions: those of the session as the page knows them, for reading; set the session's.
        options: how it is shown; set single ones, `view.options = {"color": "entropy"}`, the others stay.
    """

    #: What is described of the view; its options stand at the end of its documentation.
    OPTIONS: ClassVar[Described]
    #: The results that the view shows, and its pictures of them.
    RECORD: ClassVar[type]
    PICTURE: ClassVar[type[Picture[Any, Any]]]
    #: What a picture of a session owes to chance, for its recipe.
    DRAWN_BY: ClassVar[str] = ""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if cls.__doc__ and "OPTIONS" in vars(cls):
            cls.__doc__ = f"{inspect.cleandoc(cls.__doc__)}\n\nOptions:\n{cls.OPTIONS.manual}\n"

    prompt: Any = Checked(None).tag(**PROMPT_TRAIT)
    history = traitlets.List().tag(sync=True)
    interventions = traitlets.List(help="What the page knows of the interventions made.").tag(sync=True)
    options: Any = Options().tag(sync=True, from_page=True, from_json=options_from_wire)

    #: The result of the last whole picture, and that picture.
    _data: Any = None
    _picture: Any = None
    #: What stands on the page: `_picture`, or a part of the one that is being made.
    _on_page: Any = None
    #: Both results and what tells them apart; None where nothing is compared.
    _comparison: Any = None
    _elapsed_ms = 0.0
    #: When the page last heard how far a run is.
    _said_at = 0.0

    def __init__(self, session: Session | None, *, options: dict[str, Any], **traits: Any) -> None:
        self._started = time.perf_counter()
        #: What the picture on screen, and the one being made, are of: runs, and the view's own choices.
        self._subject: dict[str, Any] = {}
        self._next_subject: dict[str, Any] = {}
        #: The interventions of now, and those before their last change.
        self._made = self._made_before = interventions_of(self._data if session is None else session)
        super().__init__(
            session,
            options=options,
            prompt=session.prompt if session is not None else None,
            history=history_to_wire(session.history) if session is not None else [],
            interventions=intervention_values(self._made),
            **traits,
        )
        self.observe(self._prompt_edited, "prompt")
        self.observe(self._options_edited, "options")

    def _opened(
        self, source: Any, prompt: Any, prepend_bos: bool | None, options: dict[str, Any]
    ) -> tuple[Session | None, dict[str, Any]]:
        """What the view is made from: a session, made here of a model and a prompt, or None and a result, which is
        kept. And every option, as the user gave it or as the result says.

        Raises:
            DataError: `source` is neither, or arguments that do not go together.
        """
        chosen = self.OPTIONS.changed({}, options)
        if isinstance(source, self.RECORD):
            self._data = source
        if self._data is not None:
            return None, {**chosen, **self._said_by(self._data)}
        return _session_of(source, prompt, prepend_bos, type(self).__name__), chosen

    def _begin(self) -> None:
        """Have the first picture made; the last thing that a view's construction does."""
        if self.session is not None:
            self.session.join(self)
            return
        self._on_page = self._picture = picture = self._alone()
        self._put(0, *self._parcels(picture)())

    # --- what a view says ----------------------------------------------------------------------------

    def _said_by(self, data: Result) -> dict[str, Any]:  # noqa: ARG002
        """The options that a result which is there already leaves no choice of."""
        return {}

    def _alone(self) -> Picture[Any, Any]:
        """The picture of a result that is there already."""
        return self.PICTURE(self._data, self._comparison, live=False)

    def _drawing(
        self,
        progress: Progress,  # noqa: ARG002
        answers: dict[str, Answered],  # noqa: ARG002
        subject: dict[str, Any],  # noqa: ARG002
    ) -> Generator[Any, None, Picture[Any, Any]]:
        """The picture of `subject`, made of the answers; yields between long pieces."""
        raise TypeError(f"{type(self).__name__} draws nothing")

    def _parcels(self, picture: Any) -> Callable[[], tuple[bytes, bytes]]:
        """What makes the bytes of the picture, and of what of it is in focus. It is called beside the loop, so what it
        needs of traits is looked up before."""
        return lambda: (picture.parcel(), b"")

    def _becomes(self, picture: Any, subject: dict[str, Any]) -> None:
        """Set what else the page is to know of a picture that is about to stand there, in the same message."""

    def _asked_for(self, picture: Any, request: dict[str, Any]) -> bytes | None:  # noqa: ARG002
        """The parcel that the page asks for; None for a kind of request that is not known, DataError for something
        that is not there."""
        return None

    def _offline(self, picture: Any) -> dict[str, Any]:
        """What an offline page has of the picture, and of the view's own traits; takes what `PAGE_OPTIONS` names."""
        return {"picture": picture.parcel(live=False)}

    def _recipe_words(self) -> dict[str, Any]:
        """Arguments of the view that a recipe gives: of the picture that is there, for an edit that failed since has
        none. Of a result what is computed is in its file."""
        computed = self.OPTIONS.computed
        drawn = {name: self._subject[name] for name in computed if name in self._subject}
        words = self.OPTIONS.words({**self.options, **drawn})
        if self._comparison is not None:
            words["show"] = self.options["show"]  # its default follows from whether there are two
        return {name: value for name, value in words.items() if self.session is not None or name not in computed}

    # --- results -------------------------------------------------------------------------------------

    @property
    def data(self) -> Result:
        """The result on screen, of two that are compared the first; pending work is done before, also what is still
        missing of a picture that is partial.

        After a failed or stopped run it is that of the last good picture, with a warning; `wait()` raises. Raises the
        error if there is no picture yet.
        """
        self._current()
        return self._data

    def recipe(self) -> str:
        """Python that makes this picture again: versions, model, prompt, options, selection."""
        if self.session is not None:
            self._flush()
        about = self.session, self._subject, self._recipe_words(), self.selection
        return recipe(type(self).__name__, self.kind, *about, drawn_by=self.DRAWN_BY)

    def frozen_state(self, **options: Any) -> dict[str, Any]:
        """The state for an offline page; takes what `PAGE_OPTIONS` names."""
        self._flush()
        picture = self._picture
        return {
            "session_id": self.session_id,
            "prompt": to_wire(self._subject.get("prompt")),
            "history": [],
            "interventions": intervention_values(interventions_of(self._data)),
            "selection": {**self.selection.to_dict(), "stamp": self._stamp},
            "options": self.options,
            "status": status_value("frozen", picture.run),
            "focus": b"",
            "store": b"",
            "height": self.height,
            **self._offline(picture, **options),
        }

    def _answer(self, request: dict[str, Any]) -> bytes:
        picture = self._on_page
        if picture is None:
            raise RequestError("stale", "There is no picture yet.")
        if request.get("run") != picture.run:
            raise RequestError("stale", "A newer picture has been computed.")
        try:
            parcel = self._asked_for(picture, request)
        except DataError as reason:
            raise RequestError("unknown", reason.message, reason.hint) from reason
        if parcel is None:
            raise RequestError("unknown", f"{type(self).__name__} has no {request.get('want')!r}.")
        return parcel

    # --- what the session says -----------------------------------------------------------------------

    def session_waits(self, progress: Progress) -> None:
        """See `session.SessionView`."""
        if progress.total == 0:
            self._started = time.perf_counter()
        super().session_waits(progress)

    def session_draws(self, progress: Progress, answers: dict[str, Answered]) -> Generator[Any, None, None]:
        """See `session.SessionView`."""
        subject, self._large = self._next_subject, progress.large  # a newer one may come while this is drawn
        picture = yield from self._drawing(progress, answers, subject)
        parcels = yield from aside(self._parcels(picture), progress.large)
        self._data, self._comparison = picture.data, picture.comparison
        self._on_page = self._picture = picture
        self._subject, self.last_error = subject, None
        with self.hold_sync():
            self._becomes(picture, subject)
            self._put(progress.run, *parcels)

    def session_changed(self, name: str) -> None:
        """See `session.SessionView`."""
        super().session_changed(name)
        if name == "prompt" and self.session is not None:
            with self.hold_sync():
                self.prompt = self.session.prompt
                self.history = history_to_wire(self.session.history)
        elif name == "interventions" and self.session is not None:
            self._made_before, self._made = self._made, interventions_of(self.session)
            self.interventions = intervention_values(self._made)

    # --- what a subclass uses ------------------------------------------------------------------------

    @property
    def _live(self) -> Session:
        """The session, where there is one to be asked."""
        assert self.session is not None
        return self.session

    def _session_hears(self, name: str, value: Any) -> None:
        """What the session holds for all its views was edited in this one, or is as it has it now."""
        if self.session is not None:
            if getattr(self.session, name) != value:
                setattr(self.session, name, value)
            self._compute()

    def _runs(self) -> dict[str, tuple[Run, str]]:
        """Every run of the picture by the name of its need, and what errors of its prompt call it."""
        return {"A": (self._live.filled(), "")}

    def _wanted(self, **own: Any) -> dict[str, tuple[Run, str]]:
        """`_runs`; from now on these, and the view's `own` choices, are what the next picture is of."""
        runs = self._runs()
        first = runs["A"][0]
        self._next_subject = {"prompt": first.prompt, "interventions": first.interventions, **own}
        return runs

    def _put(
        self,
        run: int,
        picture: bytes,
        focus: bytes = b"",
        elapsed_ms: float | None = None,
        state: str = "idle",
        **status: Any,
    ) -> None:
        """Everything the picture needs, in one message; a partial picture has another `state`, and says how far it
        is."""
        self._elapsed_ms = 1000 * (time.perf_counter() - self._started) if elapsed_ms is None else elapsed_ms
        with self.hold_sync():
            self.picture = picture
            self.focus = focus
            self.status = status_value(state, run, elapsed_ms=round(self._elapsed_ms, 1), **status)

    def _with_progress(self, steps: Generator[Any, None, Any], run: int, about: str) -> Generator[Any, None, Any]:
        """`steps`, with the page told how far they are where they take long; returns what they return."""
        self._said_at = time.perf_counter()
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                return finished.value
            if step is not None:
                self._say_progress(run, step.done, step.total, about)
            yield step

    def _say_progress(self, run: int, done: int, total: int, about: str) -> None:
        """Tell the page how far the run is, not too often."""
        if self._may_say():
            self.status = status_value("computing", run, done=done, total=total, estimate=about)

    def _may_say(self) -> bool:
        """Whether the page has not heard for a while; from now on it has."""
        late = time.perf_counter() - self._said_at > TELL_SECONDS
        self._said_at = time.perf_counter() if late else self._said_at
        return late

    def _compute(self) -> None:
        """Make the picture anew, alone: other views do not change by it."""
        if self.session is not None:
            self.session.compute([self])

    def _flush(self, priority: int | None = BEHIND) -> None:
        """Do pending work now, as far as it has this priority: pictures, whole, and writing. Raises if there is still
        no picture."""
        if self.session is not None:
            self.session.catch_up(self)
            self.session.runner.flush(priority=priority)
        if self._data is None:
            raise self.last_error or DataError("nothing has been computed yet.", "Call view.wait().")

    def _current(self) -> None:
        """Numbers that leave the view say so where they are not of the present prompt."""
        self._flush()
        if self.last_error is not None:
            said = " ".join(filter(None, explain(self.last_error)))
            warnings.warn(f"not current, the last good picture's numbers: {said}", StaleWarning, stacklevel=3)

    def changed_options(self, current: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """`current` with `changes`; DataError for what this view cannot show."""
        return self.OPTIONS.changed(current, changes)

    def _draw_still(self) -> Any:
        """The sheet (`figures.sheet.Sheet`) of the still picture; None where there is none."""
        return None

    def _still(self, form: str) -> str | bytes:
        session = self.session
        waiting = self._data is None and session is not None and self._loop is not None and session.runner.busy
        if waiting and session is not None and session.expected_seconds() > STILL_SECONDS:
            return ""  # the cell ends now, and the live view shows progress and Stop
        try:
            self._flush(PICTURE)  # the picture alone
        except Exception:
            return ""  # the live view shows the error; a still picture of nothing helps nobody
        self._settle()
        sheet = self._draw_still()
        return "" if sheet is None else sheet.svg() if form == "svg" else sheet.png()

    # --- edits ---------------------------------------------------------------------------------------

    @traitlets.validate("prompt")
    @refusing
    def _plain_prompt(self, proposal: Any) -> Any:
        return (plain if self.session is None else given)(proposal["value"])

    @traitlets.validate("options")
    @refusing
    def _whole_options(self, proposal: Any) -> dict[str, Any]:
        current = self._trait_values.get("options") or self.OPTIONS.defaults
        return self.changed_options(current, dict(proposal["value"]))

    def _order(self, order: dict[str, Any]) -> None:
        if order.get("order") not in ORDERS:
            super()._order(order)
        if self.session is None:
            raise DataError("a view of plain data has no model to change.", "Make it from a session.")
        self.session.interventions = interventions_after(order, self._made, self._made_before, self._shape())

    def _prompt_edited(self, change: Any) -> None:
        if self.session is not None and change["new"] != self.session.prompt:
            self.session.prompt = change["new"]

    def _options_edited(self, change: Any) -> None:
        if any(change["new"][name] != change["old"].get(name) for name in self.OPTIONS.computed):
            self._compute()
        self._settle_soon()


def _session_of(source: Any, prompt: Any, prepend_bos: bool | None, name: str) -> Session:
    """The session behind `source`, made here where a model and a prompt are given; `name` is the view's class."""
    if isinstance(source, Session):
        if prompt is not None or prepend_bos is not None:
            raise DataError("a session has its own prompt.", "Set session.prompt, or give a model and a prompt.")
        return source
    if source is None or prompt is None:
        raise DataError(
            f"{name} needs a session, or a model and a prompt.",
            f'mw.{name}(session), mw.{name}(model, "prompt") or mw.{name}.from_data(result).',
        )
    return Session(source, prompt, prepend_bos=prepend_bos)


def refused_token(role: Literal["answer", "foil", "target"], error: AnswerError) -> RefusedToken:
    """A word that is no single token as the page shows it: its pieces, and single tokens to choose from."""
    return {
        "role": role,
        "text": error.text,
        "pieces": list(error.pieces),
        "offers": [{"id": token, "string": string} for token, string in error.offers],
    }
