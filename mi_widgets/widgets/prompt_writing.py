"""Text that the model writes in a session's queue: one token a job, so that edits, pictures and Stop come in between.

Knows nothing of how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from mi_widgets.data import Continuation, Tokens
from mi_widgets.session import Session
from mi_widgets.session.aside import loop_runs
from mi_widgets.session.runner import BEHIND, Job


class Writing:
    """One continuation in the making.

    Args:
        session: whose model writes.
        tokens: the prompt to write after.
        n_tokens: at most so many.
        options: `temperature`, `top_p` and `seed`.
        told: called with the ids so far after each token but the last.
        done: called with the ids, and with the continuation, or None where it was stopped.
        failed: called with the error.

    Raises:
        PromptError, DataError: no room for so many tokens, or an option out of range.
    """

    def __init__(
        self,
        session: Session,
        tokens: Tokens,
        n_tokens: int,
        options: dict[str, Any],
        *,
        told: Callable[[list[int]], None],
        done: Callable[[list[int], Continuation | None], None],
        failed: Callable[[Exception], None],
    ) -> None:
        from mi_widgets.compute.sampling import check_room, check_sampling

        how = {name: options[name] for name in ("temperature", "top_p", "seed")}
        check_sampling(n_tokens, **how)
        check_room(session.model, tokens, n_tokens, session.beyond_context)
        self._session = session
        self._steps = self._written(tokens, n_tokens, how)
        self._told, self._done, self._fails = told, done, failed
        self._job: Job | None = None
        self.ids: list[int] = []
        self.over = False

    def start(self) -> None:
        """Queue the next token."""
        self._job = Job(
            slot=f"writing {id(self)} {len(self.ids)}",
            steps=self._token(),
            failed=self._failed,
            stopped=lambda _replaced: self._finish(None),
            priority=BEHIND,  # an edit elsewhere is drawn before the next token
        )
        self._session.runner.submit(self._job)

    def cancel(self) -> None:
        """Forget it: the prompt has changed meanwhile."""
        self.over = True

    def _written(self, tokens: Tokens, n_tokens: int, how: dict[str, Any]) -> Generator[Any, None, Continuation]:
        """The steps of `compute.sampling.sample_steps`, in the session's run."""
        from mi_widgets.compute.sampling import sample_steps
        from mi_widgets.session.estimate import LARGE_SECONDS

        session = self._session
        pausing = session.expected_seconds() > LARGE_SECONDS and loop_runs()
        edits = yield from session.edits()
        beyond = session.beyond_context
        return (
            yield from sample_steps(
                session.model, tokens, n_tokens, **how, beyond_context=beyond, pausing=pausing, edits=edits
            )
        )

    def _token(self) -> Generator[None, None, None]:
        job = self._job
        if self.over:
            return
        written = None
        while written is None:  # a long pass pauses between its blocks
            try:
                step = next(self._steps)
            except StopIteration as finished:
                self._finish(finished.value)
                return
            written = getattr(step, "partial", None)
            if written is not None:
                self.ids = written
            yield
            if self.over:
                self._steps.close()
                return
            if job is not None and job.cancelled:  # stopped from another thread during the pass
                self._finish(None)
                return
        self._told(self.ids)
        self.start()

    def _finish(self, continuation: Continuation | None) -> None:
        self._steps.close()  # also of what was given up: a pass may wait in its pause
        if not self.over:
            self.over = True
            self._done(self.ids, continuation)

    def _failed(self, error: Exception) -> None:
        if not self.over:
            self.over = True
            self._fails(error)
