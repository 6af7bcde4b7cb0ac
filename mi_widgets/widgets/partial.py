"""Pictures of what is known so far, put on the page while a long computation goes on: when it is worth one, and what
views have that do so.

Knows nothing of what is computed or drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from mi_widgets.session import aside
from mi_widgets.session.runner import BEHIND, PICTURE
from mi_widgets.widgets.live import LiveView, Result
from mi_widgets.widgets.view import status_value

#: Where everything is there within so many seconds, it is waited for.
SOON_SECONDS = 0.5
#: Between two pictures at least.
APART_SECONDS = 0.3


class PartialPictures:
    """Takes partial results out of the steps of a computation, and puts pictures of them on the page.

    The steps that it gives on say `partial=True` where a picture was put, and hold no results: a session then lets the
    pictures of others go first.

    Args:
        put: called with the step and its partial result; puts the picture, in steps of its own.
    """

    def __init__(self, put: Callable[[Any, Any], Generator[Any, None, None]]) -> None:
        self._put = put
        self._began = time.perf_counter()
        self._last: float | None = None

    def of(self, steps: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
        """`steps`, with pictures; returns what they return."""
        known = None
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                return finished.value
            if step is None:
                yield None
                continue
            known = step.partial if step.partial is not None else known
            if known is None or not self._worth(step):
                yield replace(step, partial=None)
                continue
            yield from self._put(step, known)
            known, self._last = None, time.perf_counter()
            yield replace(step, partial=True)

    def _worth(self, step: Any) -> bool:
        now = time.perf_counter()
        if self._last is not None:
            return now - self._last >= APART_SECONDS
        rest = step.total - step.done
        return (now - self._began) * rest > SOON_SECONDS * step.done


class PartialView(LiveView[Result]):
    """Base of views that show what is known so far; `view.data` stays that of the last whole picture meanwhile."""

    def _how_far(self, picture: Any, done: int, total: int) -> str:  # noqa: ARG002
        """What the status line says beside a partial picture."""
        raise TypeError(f"{type(self).__name__} has no partial pictures")

    def _stopped(self, picture: Any) -> str:  # noqa: ARG002
        """What it says of a partial picture that stays because the user stopped."""
        raise TypeError(f"{type(self).__name__} has no partial pictures")

    def _as_known(
        self,
        steps: Generator[Any, None, Any],
        run: int,
        pictured: Callable[[Any, Any], Any],
        subject: dict[str, Any],
    ) -> Generator[Any, None, Any]:
        """`steps`, with what they know shown: `pictured` makes a picture of a partial result and its step. Returns what
        they return."""

        def put(step: Any, known: Any) -> Generator[Any, None, None]:
            picture = pictured(known, step)
            parcel = yield from aside(picture.parcel)
            self._on_page = picture
            far = {"done": step.done, "total": step.total}
            with self.hold_sync():
                self._becomes(picture, subject)
                self._put(run, parcel, state="computing", message=self._how_far(picture, **far), **far)

        return PartialPictures(put).of(steps)

    def _part(self, run: int) -> Any:
        """The partial picture of this run that stands on the page, if one does."""
        part = self._on_page
        return None if part is None or part is self._picture or part.run != run else part

    def _say_progress(self, run: int, done: int, total: int, about: str) -> None:
        part = self._part(run)
        if part is None:
            super()._say_progress(run, done, total, about)
        elif self._may_say():
            said = self._how_far(part, done, total)
            self.status = status_value("computing", run, done=done, total=total, message=said)

    def session_stops(self, run: int, error: Exception) -> None:
        """See `session.SessionView`. A picture that is partial stays, and says so."""
        super().session_stops(run, error)
        part = self._part(run)
        if part is not None:
            self.status = status_value("idle", run, message=self._stopped(part))

    def _flush(self, priority: int | None = BEHIND) -> None:
        try:
            super()._flush(priority)
        except Exception:
            # For a still picture what is known so far is one.
            if priority != PICTURE or self._on_page is None:
                raise
