"""A session's head scores of its model: measured once for its weights and hooks, in a job behind all pictures, which
serves whoever waits for them. Knows nothing of pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable
from typing import TYPE_CHECKING, Any, Protocol

from mi_widgets.session.aside import loop_runs
from mi_widgets.session.estimate import LARGE_SECONDS, Clock
from mi_widgets.session.explain import explain
from mi_widgets.session.runner import LAST, Job, Runner

if TYPE_CHECKING:
    import pandas as pd

SLOT = "head scores"


class ScoresListener(Protocol):
    """Who waits for the head scores."""

    def scores_wait(self, done: int, total: int, seconds: float | None) -> None:
        """`done` of `total` passes are made; the others will take so many seconds, where that is known."""
        ...

    def scores_end(self, stopped: bool) -> None:
        """They are measured, or cannot be (`HeadScores.known` says), or the user stopped it."""
        ...


class HeadScores:
    """The head scores of one model.

    Args:
        model: a TransformerBridge.
        info: its facts.
        runner: of the session.
        clock: knows how long a pass takes here.
        fingerprint: of the model as it is now.
    """

    def __init__(
        self, model: Any, info: Any, runner: Runner, clock: Clock, fingerprint: Callable[[], Hashable]
    ) -> None:
        self._model, self._info, self._runner, self._clock, self._fingerprint = model, info, runner, clock, fingerprint
        #: Of which weights and hooks, and the table or why there is none.
        self._found: tuple[Hashable, pd.DataFrame | Exception] | None = None
        self._listeners: list[ScoresListener] = []
        #: What is being measured is of a model that has changed since.
        self._outdated = False

    def steps(self) -> Generator[Any, None, None]:
        """Measures them if they are not known; a generator of steps. Afterwards `known` has them."""
        from mi_widgets.compute.head_scores import SEQUENCES, head_score_steps

        if self.measured:
            return
        pausing = self.seconds() > SEQUENCES * LARGE_SECONDS and loop_runs()
        while True:
            key, self._outdated = self._fingerprint(), False
            try:
                found: pd.DataFrame | Exception = yield from head_score_steps(self._model, pausing=pausing)
            except Exception as reason:  # e.g. the user's own hooks fit the prompt only; pictures do not need these
                found = reason
            if not self._outdated:
                break
        # A model that was changed in a pause was measured half as it was and half as it is.
        self._found = (key, found) if self._fingerprint() == key else None

    @property
    def measured(self) -> bool:
        """Whether it is known, for the weights and hooks as they are, what measuring finds."""
        return self._found is not None and self._found[0] == self._fingerprint()

    def known(self) -> tuple[pd.DataFrame | None, str]:
        """The table, or None where it is not measured for the weights and hooks as they are; and why it could not be
        measured, or ""."""
        found = self._found[1] if self._found is not None and self.measured else None
        return (None, " ".join(explain(found))) if isinstance(found, Exception) else (found, "")

    def seconds(self) -> float:
        """Estimated seconds to measure them."""
        from mi_widgets.compute.head_scores import LENGTH, SEQUENCES

        return SEQUENCES * self._clock.estimate(self._info, 2 * LENGTH, ()).seconds

    def forget(self) -> None:
        """The model is another one: measure them again when they are wanted next, or now if that is under way."""
        self._found, self._outdated = None, True

    def measure(self, listener: ScoresListener) -> None:
        """Measure them behind all pictures, and tell `listener`. One job serves all who ask."""
        measuring = bool(self._listeners)
        if listener not in self._listeners:
            self._listeners.append(listener)
        if measuring:
            return
        started, told = 0.0, -1

        def stepped(step: Any) -> None:
            nonlocal started, told
            if step.done == told:
                return  # a pause within a pass
            told = step.done
            if not step.done:  # the job may have waited for the pictures of others
                started = time.perf_counter()
            left = (time.perf_counter() - started) / step.done * (step.total - step.done) if step.done else None
            for one in list(self._listeners):
                one.scores_wait(step.done, step.total, left)

        def steps() -> Generator[Any, None, None]:
            yield from self.steps()
            self._end(stopped=False)

        self._runner.submit(
            Job(
                SLOT,
                steps(),
                failed=lambda _error: self._end(stopped=True),
                stopped=lambda _replaced: self._end(stopped=True),
                stepped=stepped,
                priority=LAST,
            )
        )

    def leave(self, listener: Any) -> None:
        """`listener` waits no more; what was measured for it alone is stopped."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            if not self._listeners:
                self._runner.drop(SLOT)

    def _end(self, stopped: bool) -> None:
        waiting, self._listeners = self._listeners, []
        for one in waiting:
            one.scores_end(stopped)
