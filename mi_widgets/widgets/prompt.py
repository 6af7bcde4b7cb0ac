"""The prompt as the model sees it: tokens as run, how far each was expected, what may come next, and text that the
model writes on.

A shell: the numbers come from `compute.next_tokens` and `compute.sampling`, the bytes from `wire.prompt_picture`, the
page view is `js/src/widgets/prompt/`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, ClassVar

import traitlets

from mi_widgets.data import Continuation, NextTokens, NextTokensComparison, Tokens, next_tokens_from_logits
from mi_widgets.data.integers import is_integer, several
from mi_widgets.described.prompt import PROMPT as OPTIONS
from mi_widgets.errors import DataError
from mi_widgets.session import Answered, Need, Progress, Session, aside
from mi_widgets.session.prompts import plain
from mi_widgets.widgets.compared import ComparedView
from mi_widgets.widgets.prompt_writing import Writing
from mi_widgets.widgets.view import page_source, status_value
from mi_widgets.wire.prompt_picture import PromptPicture

#: Candidates kept for each position, unless the view is told otherwise.
TOP_K = 10


class Prompt(ComparedView[NextTokens, NextTokensComparison]):
    """Every token of the prompt as run, its surprisal, and the likeliest tokens at each position.

    Args:
        source: a `Session`, or a TransformerBridge together with `prompt`.
        prompt: text, token ids or chat messages; not with a session, which has its own.
        compare: a second prompt of the same forms, e.g. the other sentence of a minimal pair: surprisal of A, of B and
            A − B on aligned tokens are shown.
        top_k: candidates kept for each position, 1 to 50.
        prepend_bos: for a model and a text prompt; None means what `model.to_tokens(prompt)` does.
        height: on the page, in pixels.
        options: how it is shown; listed below.

    `written` is how many of the prompt's last tokens the model wrote itself.

    Raises:
        ModelError, DataError: a wrong model or option. A prompt that cannot be run is no error here: the view says
            what is wrong and `wait()` raises it.
    """

    kind: ClassVar[str] = "prompt"
    OPTIONS = OPTIONS
    RECORD, COMPARISON, PICTURE = NextTokens, NextTokensComparison, PromptPicture
    _esm, _css = page_source("prompt")

    written = traitlets.Int(0).tag(sync=True)

    #: The text being written; here, so that a view whose construction failed can be closed.
    _writing: Writing | None = None

    def __init__(
        self,
        source: Any = None,
        prompt: Any = None,
        *,
        compare: Any = None,
        top_k: int = TOP_K,
        prepend_bos: bool | None = None,
        height: int = OPTIONS.height,
        **options: Any,
    ) -> None:
        #: How many of the last tokens of a prompt the model wrote, by the prompt.
        self._authored: dict[str, int] = {}
        self._top_k = top_k
        session, chosen = self._opened(source, prompt, prepend_bos, options, compare)
        if session is not None:
            from mi_widgets.compute.next_tokens import check_top_k

            check_top_k(top_k)
        super().__init__(session, height=height, options=chosen, compare=compare)
        self._begin()

    @classmethod
    def from_data(
        cls,
        result: Any,
        tokens: Any = None,
        *,
        compare: Any = None,
        compare_tokens: Any = None,
        vocabulary: Sequence[str] | None = None,
        top_k: int = TOP_K,
        **view: Any,
    ) -> Prompt:
        """The view of a result that is there already, without a model and without torch.

        Args:
            result: as `compute.next_tokens` returns it, or `mw.data.load`; or logits `[position, d_vocab]`.
            tokens: with logits, one id per position.
            compare: a second result, or second logits.
            compare_tokens: with second logits, their ids, if they differ.
            vocabulary: with logits, the display string of each id.
            top_k: with logits, candidates kept for each position.
            view: height and options.

        Raises:
            DataError: a wrong shape, or arguments that do not go together.
        """

        def made(logits: Any, second: bool) -> NextTokens:
            ids = compare_tokens if second and compare_tokens is not None else tokens
            if ids is None:
                raise DataError("logits alone do not say which tokens were run.", "Give tokens=, one id per position.")
            return next_tokens_from_logits(logits, ids, vocabulary=vocabulary, top_k=top_k)

        given = {"tokens": tokens, "vocabulary": vocabulary}
        known = [name for name, value in given.items() if value is not None]
        return cls._of_results(result, compare, made, known, **view)

    # --- results -------------------------------------------------------------------------------------

    def figure(self, **options: Any) -> Any:
        """The picture on screen as a plotly Figure.

        Args:
            options: see `figures.next_tokens_figure`; `kind="candidates"` shows what may follow the selected token.
        """
        from mi_widgets.figures import next_tokens_figure
        from mi_widgets.figures.next_tokens import KINDS

        self._current()
        shown = self._shown()
        kind = "difference" if isinstance(shown, NextTokensComparison) else self.options["color"]
        return next_tokens_figure(
            shown, **{"kind": kind if kind in KINDS else "surprisal", "position": self._focused(), **options}
        )

    def _recipe_words(self) -> dict[str, Any]:
        own = {} if self.session is None or self._top_k == TOP_K else {"top_k": self._top_k}
        return {**own, **super()._recipe_words()}

    def _offline(self, picture: PromptPicture) -> dict[str, Any]:
        return {**super()._offline(picture), "written": self.written}

    # --- writing on ----------------------------------------------------------------------------------

    def append(self, *tokens: int | str) -> None:
        """Put tokens after the session's prompt, as a click on a candidate does; every linked view follows.

        Args:
            tokens: ids, or texts of one token each.

        Raises:
            PromptError: no room for so many.
            AnswerError: a text that is no single token there; the message says what it falls into.
            DataError: an id outside the vocabulary, or a view of plain data.
        """
        from mi_widgets.compute.answers import resolve

        session = self._writable()
        longer, ids = session.prompt, []
        for token in tokens:  # a text is one token or another by what stands before it
            before = session.tokenize(longer)
            ids.append(resolve(session.model, before, token, role="token"))
            longer = self._longer(before, ids[-1:])
        self._put_behind(ids)

    def sample(self, n_tokens: int | None = None) -> Continuation | None:
        """Let the model write after the session's prompt, with the options' `temperature`, `top_p` and `seed`.

        Done when this returns, and every linked view shows the longer prompt. The kernel's interrupt, or Stop from
        another thread, keeps what is written until then.

        Args:
            n_tokens: at most so many; the option `length` if None.

        Returns:
            The continuation, or None where it was stopped.

        Raises:
            PromptError: no room for so many; the message says how many fit.
            DataError: an option out of range, or a view of plain data.
        """
        found: list[Continuation | None] = []
        self._write(int(self.options["length"]) if n_tokens is None else n_tokens, found.append)
        self._writable().runner.flush()
        if self.last_error is not None:
            raise self.last_error
        return found[0] if found else None

    def _order(self, order: dict[str, Any]) -> None:
        if order.get("order") == "append":
            self._put_behind(several("ids", order.get("ids") or []))
        elif order.get("order") == "sample":
            self._write(order.get("tokens") or int(self.options["length"]))
        else:
            super()._order(order)

    def _writable(self) -> Session:
        if self.session is None:
            raise DataError("a view of plain data has no model to write with.", "Make it from a session.")
        return self.session

    def _put_behind(self, ids: Sequence[Any]) -> None:
        """Make the session's prompt longer by `ids`."""
        session = self._writable()
        new = []
        for token in ids:
            if not is_integer(token) or not 0 <= int(token) < session.info.d_vocab:
                raise DataError(f"{token!r} is no token.", f"Ids run from 0 to {session.info.d_vocab - 1}.")
            new.append(int(token))
        if not new:
            return
        longer = self._longer(session.tokens, new)
        self._authored[repr(plain(longer))] = self._authored.get(repr(session.prompt), 0) + len(new)
        session.prompt = longer

    def _longer(self, tokens: Tokens, new: list[int]) -> Any:
        """The prompt that runs `tokens` and `new`."""
        from mi_widgets.compute.sampling import continued

        session = self._writable()
        return continued(session.model, tokens, new, session.prepend_bos, session.beyond_context)

    def _write(self, n_tokens: int, result: Any = lambda _continuation: None) -> None:
        """Begin to write; what is being written is given up for it."""
        session = self._writable()
        run = self._picture.run if self._picture is not None else session.run

        def told(ids: list[int]) -> None:
            message = f"writing, {len(ids)} of {n_tokens} tokens"
            self.status = status_value("computing", run, message=message, done=len(ids), total=n_tokens)

        def done(ids: list[int], continuation: Continuation | None) -> None:
            self._writing = None
            result(continuation)
            if ids:
                self._put_behind(ids)
            else:
                self.status = status_value("idle", run, message="Stopped before a token was written.")

        def failed(error: Exception) -> None:
            self._writing = None
            self.session_fails(run, error)

        if self._writing is not None:
            self._writing.cancel()
        self._writing = Writing(session, session.tokens, n_tokens, self.options, told=told, done=done, failed=failed)
        self.last_error = None
        told([])
        self._writing.start()

    # --- computing -----------------------------------------------------------------------------------

    def session_needs(self) -> Sequence[Need]:
        """See `session.SessionView`."""
        from mi_widgets.compute.next_tokens import next_token_sites

        return self._needs(lambda name, run, called: Need(name, run, next_token_sites(), layers=(), called=called))

    def _drawing(
        self,
        progress: Progress,
        answers: dict[str, Answered],
        subject: dict[str, Any],  # noqa: ARG002
    ) -> Generator[Any, None, PromptPicture]:
        sides = {}
        for name, answer in answers.items():
            sides[name] = yield from self._expected(answer, progress.large)
            yield None

        def make() -> PromptPicture:
            comparison = NextTokensComparison(sides["A"], sides["B"]) if "B" in sides else None
            return PromptPicture(sides["A"], comparison, run=progress.run, notes=progress.notes)

        return (yield from aside(make, progress.large))

    def _becomes(self, picture: PromptPicture, subject: dict[str, Any]) -> None:
        self.written = min(self._authored.get(repr(subject["prompt"]), 0), len(picture.data.tokens))

    def _expected(self, answer: Answered, large: bool) -> Generator[Any, None, NextTokens]:
        """The numbers in an answer; views that keep as many candidates share them."""
        from mi_widgets.compute.next_tokens import read_next_tokens

        model, top_k = answer.run.model, self._top_k

        def make() -> NextTokens:
            return read_next_tokens(model, answer.tokens, answer.activations, top_k)

        return (yield from answer.once_aside(("next_tokens", top_k), make, large))

    def session_changed(self, name: str) -> None:
        """See `session.SessionView`."""
        super().session_changed(name)
        # What was being written belongs to no run now.
        if name in {"prompt", "interventions"} and self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def close(self) -> None:
        """Leave the session and the page; what is being written is given up."""
        if self._writing is not None:
            self._writing.cancel()
        super().close()

    # --- what is on screen ---------------------------------------------------------------------------

    def _focused(self) -> int:
        """The position whose next tokens are shown: the selected one where what is shown has it, else the last."""
        from mi_widgets.figures.next_tokens import candidate_places

        try:
            candidate_places(self._shown(), -1 if self.selection.position is None else self.selection.position)
        except DataError:
            return -1
        return -1 if self.selection.position is None else self.selection.position

    def _draw_still(self) -> Any:
        from mi_widgets.figures.next_tokens import next_tokens_still

        return next_tokens_still(self._shown(), self._focused(), by=self.options["color"])
