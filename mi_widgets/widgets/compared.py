"""Views that can set a second run beside the first: what is compared, and both results.

Knows nothing of any particular view.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, ClassVar, Generic, Self, TypeVar

import traitlets

from mi_widgets.data.interventions import Run
from mi_widgets.errors import DataError
from mi_widgets.session import Answered, Need, Progress, Session, explain
from mi_widgets.session.prompts import plain
from mi_widgets.session.traits import refusing
from mi_widgets.widgets.live import PROMPT_TRAIT, LiveView, Result
from mi_widgets.widgets.run_page import run_from_wire, run_to_wire

Both = TypeVar("Both")


class ComparedView(LiveView[Result], Generic[Result, Both]):
    """Base of views that can set a second run beside the first.

    Attributes:
        compare: a second prompt, run as the session's is (its model, its interventions); or a `Run`, whose parts that
            are left out are the session's, also when that changes; or None.
        beside: the session's `beside`, for reading, while the view compares nothing of its own.
    """

    #: Two results, as the view compares them.
    COMPARISON: ClassVar[type]

    compare = traitlets.Any(None, allow_none=True).tag(
        **{**PROMPT_TRAIT, "to_json": run_to_wire, "from_json": run_from_wire}
    )

    beside = traitlets.Any(None, allow_none=True).tag(sync=True, to_json=run_to_wire)

    def __init__(self, session: Session | None, *, compare: Any = None, **traits: Any) -> None:
        super().__init__(session, compare=session.compared(compare) if session is not None else None, **traits)
        self.beside = self._lent()
        self.observe(self._compare_edited, "compare")

    def _opened(
        self, source: Any, prompt: Any, prepend_bos: bool | None, options: dict[str, Any], compare: Any = None
    ) -> tuple[Session | None, dict[str, Any]]:
        if isinstance(source, self.COMPARISON):
            self._data, self._comparison = source.a, source
        session, chosen = super()._opened(source, prompt, prepend_bos, options)
        if session is None and compare is not None:
            raise DataError("a result that is there already cannot be compared anew.", "Give a comparison of both.")
        lent = None if session is None else session.beside
        if compare is not None or lent is not None or self._comparison is not None:
            chosen["show"] = options.get("show", "difference")
        return session, chosen

    @classmethod
    def _of_results(
        cls, first: Any, second: Any, made: Callable[[Any, bool], Any], known: Iterable[str], **view: Any
    ) -> Self:
        """The view of one result, or of two: `made` makes one of what is none yet, and is told whether that is the
        second; `known` names what was given and a result knows itself."""
        if isinstance(first, (cls.RECORD, cls.COMPARISON)):
            if known := list(known):
                raise DataError(f"{', '.join(known)}: a result of mi_widgets knows its own.", "Leave it out.")
            if isinstance(first, cls.COMPARISON) and second is not None:
                raise DataError("this result is a comparison already.", "Leave compare= out.")
        else:
            first = made(first, False)
        if second is not None:
            first = cls.COMPARISON(first, second if isinstance(second, cls.RECORD) else made(second, True))
        return cls(first, **view)

    @property
    def comparison(self) -> Both | None:
        """Both results and what tells them apart, as current as `data`; None where nothing is compared."""
        self._current()
        return self._comparison

    def frozen_state(self, **options: Any) -> dict[str, Any]:
        """The state for an offline page; takes what `PAGE_OPTIONS` names."""
        compared = run_to_wire(self._subject.get("compare"), self)
        return {**super().frozen_state(**options), "compare": compared, "beside": None}

    def _runs(self) -> dict[str, tuple[Run, str]]:
        if self._second is None:
            return super()._runs()
        return {"A": (self._live.filled(), "Prompt A"), "B": (self._live.filled(self._second), "Prompt B")}

    def _needs(self, need: Callable[[str, Run, str], Need], **own: Any) -> list[Need]:
        """What `need` makes of every run: of its name, it, and what errors call it; `own` as in `_wanted`."""
        needs = []
        for name, (run, called) in self._wanted(**own).items():
            try:
                needs.append(need(name, run, called))
            except Exception as error:
                if name == "A" or not self.session_besides:
                    raise
                self._next_subject["why_alone"] = error
        return needs

    def _wanted(self, **own: Any) -> dict[str, tuple[Run, str]]:
        return super()._wanted(compare=self._second, **own)

    def _result(self) -> Any:
        self._current()
        return self._data if self._comparison is None else self._comparison

    def _shown(self) -> Result | Both:
        """What is on screen: one side, or the comparison."""
        return self._on_page.shown(self.options["show"])

    @traitlets.validate("compare")
    @refusing
    def _checked_compare(self, proposal: Any) -> Any:
        given = proposal["value"]
        return plain(given) if self.session is None else self.session.compared(given)

    # --- the session's run beside --------------------------------------------------------------------

    @property
    def session_besides(self) -> bool:
        """See `session.SessionView`."""
        return self.session is not None and self.compare is None

    @property
    def _second(self) -> Any:
        """What side B is to be: the view's own, or that of the session."""
        return self.beside if self.compare is None else self.compare

    def _lent(self) -> Any:
        """What the session gives the view to set beside its run."""
        return self.session.beside if self.session is not None and self.session_besides else None

    def session_changed(self, name: str) -> None:
        """See `session.SessionView`."""
        super().session_changed(name)
        if name == "beside":
            self._second_edited(self._second)

    def session_draws(self, progress: Progress, answers: dict[str, Answered]) -> Generator[Any, None, None]:
        """See `session.SessionView`. What fails of the session's run beside costs nothing of A."""
        refused = progress.refused or self._next_subject.get("why_alone")
        if refused is None:
            try:
                return (yield from super().session_draws(progress, answers))
            except Exception as error:
                if "B" not in answers or not self.session_besides:
                    raise
                refused = error
        message, hint = explain(refused)
        progress.note(f"B cannot be shown: {message}")
        self._next_subject = {**self._next_subject, "compare": None}
        yield from super().session_draws(progress, {"A": answers["A"]})
        self._complain(DataError(f"B cannot be shown: {message}", hint))

    def _order(self, order: dict[str, Any]) -> None:
        if order.get("order") != "alone":
            super()._order(order)
        elif self.session is not None:
            self.session.beside = None

    # --- edits ---------------------------------------------------------------------------------------

    def _compare_edited(self, change: Any) -> None:
        if self.session is not None:
            self._second_edited(self.beside if change["old"] is None else change["old"])
            self._compute()

    def _second_edited(self, before: Any) -> None:
        """Side B was `before`; show what there is now."""
        self.beside = self._lent()
        # A first second run is there to be compared with; without one, only A is left to show.
        if before is not None and self._second is None:
            self.options = {"show": "A"}  # the comparison itself stays until its successor is drawn
        elif before is None and self._second is not None and self.options["show"] == "A":
            self.options = {"show": "difference"}
