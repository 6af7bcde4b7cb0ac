"""A view of one prompt that a session keeps current: the prompt and its options, the picture and what it is of.

What the numbers are, and how they cross, each view says itself. Knows nothing of any particular view.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator
from typing import Any, ClassVar

import traitlets

from mi_widgets.data.interventions import Run
from mi_widgets.described.view import Described
from mi_widgets.errors import DataError, StaleWarning
from mi_widgets.session import Progress, Session, explain
from mi_widgets.session.prompts import from_wire, given, history_to_wire, plain, to_wire
from mi_widgets.session.runner import BEHIND, PICTURE
from mi_widgets.session.traits import Checked, Options, refusing
from mi_widgets.widgets.options import options_from_wire
from mi_widgets.widgets.run_page import ORDERS, interventions_after, run_from_wire, run_to_wire
from mi_widgets.widgets.view import View, status_value
from mi_widgets.wire.interventions import intervention_values, interventions_of

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
#: How a trait that holds what is compared with crosses.
COMPARE_TRAIT: dict[str, Any] = {**PROMPT_TRAIT, "to_json": run_to_wire, "from_json": run_from_wire}


class LiveView(View):
    """Base of views of a prompt.

    A subclass says its `OPTIONS`, keeps its result in `_data`, and sets `_drawn` when its picture is drawn.

    Attributes:
        prompt: the session's prompt; None over plain data.
        history: prompts run before, newest last, as far as they are not too long to keep on the page.
        interventions: those of the session as the page knows them, for reading; set the session's.
        options: how it is shown; set single ones, `view.options = {"color": "entropy"}`, the others stay.
    """

    OPTIONS: ClassVar[Described]

    prompt: Any = Checked(None).tag(**PROMPT_TRAIT)
    history = traitlets.List().tag(sync=True)
    interventions = traitlets.List(help="What the page knows of the interventions made.").tag(sync=True)
    options: Any = Options().tag(sync=True, from_page=True, from_json=options_from_wire)

    #: The result of the picture, kept by the subclass.
    _data: Any = None
    _elapsed_ms = 0.0
    #: When the page last heard how far a run is.
    _told_at = 0.0

    def __init__(self, session: Session | None, *, options: dict[str, Any], **traits: Any) -> None:
        self._started = time.perf_counter()
        #: What the picture on screen, and the one being made, are of.
        self._drawn: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
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

    # --- what the session says -----------------------------------------------------------------------

    def session_waits(self, progress: Progress) -> None:
        """See `session.SessionView`."""
        if progress.total == 0:
            self._started = time.perf_counter()
        super().session_waits(progress)

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

    def _runs(self) -> dict[str, tuple[Run, str]]:
        """Every run of the picture by the name of its need, and what errors of its prompt call it."""
        assert self.session is not None
        return {"A": (self.session.filled(), "")}

    def _asking(self, **own: Any) -> dict[str, tuple[Run, str]]:
        """`_runs`; from now on these, and the view's `own` choices, are what the next picture is of (`_asked`)."""
        runs = self._runs()
        first = runs["A"][0]
        self._asked = {
            "prompt": first.prompt,
            "interventions": first.interventions,
            **own,
        }
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

    def _told(self, steps: Generator[Any, None, Any], run: int, about: str) -> Generator[Any, None, Any]:
        """`steps`, with the page told how far they are where they take long; returns what they return."""
        self._told_at = time.perf_counter()
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                return finished.value
            if step is not None:
                self._tell(run, step.done, step.total, about)
            yield step

    def _tell(self, run: int, done: int, total: int, about: str) -> None:
        """Tell the page how far the run is, not too often."""
        if self._may_tell():
            self.status = status_value("computing", run, done=done, total=total, estimate=about)

    def _may_tell(self) -> bool:
        """Whether the page has not heard for a while; from now on it has."""
        late = time.perf_counter() - self._told_at > TELL_SECONDS
        self._told_at = time.perf_counter() if late else self._told_at
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

    def _frozen(self, run: int, picture: bytes, store: bytes = b"", **own: Any) -> dict[str, Any]:
        """The state of an offline page: what every view has, and the view's `own` traits."""
        return {
            "session_id": self.session_id,
            "prompt": to_wire(self._drawn.get("prompt")),
            "history": [],
            "interventions": intervention_values(interventions_of(self._data)),
            "selection": {**self.selection.to_dict(), "stamp": self._stamp},
            "options": self.options,
            "status": status_value("frozen", run),
            "picture": picture,
            "focus": b"",
            "store": store,
            "height": self.height,
            **own,
        }

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


class ComparedView(LiveView):
    """Base of views that can set a second run beside the first.

    Attributes:
        compare: a second prompt, run as the session's is (its model, its interventions); or a `Run`, whose parts that
            are left out are the session's, also when that changes; or None.
    """

    compare = traitlets.Any(None, allow_none=True).tag(**COMPARE_TRAIT)

    #: Both results and what tells them apart, kept by the subclass; None where nothing is compared.
    _comparison: Any = None

    def __init__(self, session: Session | None, *, compare: Any = None, **traits: Any) -> None:
        super().__init__(session, compare=session.compared(compare) if session is not None else None, **traits)
        self.observe(self._compare_edited, "compare")

    def _runs(self) -> dict[str, tuple[Run, str]]:
        assert self.session is not None
        if self.compare is None:
            return super()._runs()
        return {"A": (self.session.filled(), "Prompt A"), "B": (self.session.filled(self.compare), "Prompt B")}

    def _asking(self, **own: Any) -> dict[str, tuple[Run, str]]:
        return super()._asking(compare=self.compare, **own)

    def _result(self) -> Any:
        self._current()
        return self._data if self._comparison is None else self._comparison

    def _frozen(self, run: int, picture: bytes, store: bytes = b"", **own: Any) -> dict[str, Any]:
        return super()._frozen(run, picture, store, compare=run_to_wire(self._drawn.get("compare"), self), **own)

    @traitlets.validate("compare")
    @refusing
    def _checked_compare(self, proposal: Any) -> Any:
        given = proposal["value"]
        return plain(given) if self.session is None else self.session.compared(given)

    def _compare_edited(self, change: Any) -> None:
        if self.session is None:
            return
        # A first second prompt is there to be compared with; without one, only A is left to show.
        if change["new"] is None:
            self.options = {"show": "A"}  # the comparison itself stays until its successor is drawn
        elif change["old"] is None and self.options["show"] == "A":
            self.options = {"show": "difference"}
        self._compute()
