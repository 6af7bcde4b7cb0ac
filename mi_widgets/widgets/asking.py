"""Views that ask for an answer and a foil, next tokens that the session holds: what is given, refused, or chosen.

Knows nothing of what is made of them.
"""

from __future__ import annotations

from typing import Any

import traitlets

from mi_widgets.errors import AnswerError
from mi_widgets.session import Answered, Session
from mi_widgets.session.prompts import plain_answer
from mi_widgets.session.traits import refusing
from mi_widgets.widgets.live import LiveView, Result, refused_token

#: Likely next tokens offered as answers.
CANDIDATES = 10
#: How a trait that holds an answer crosses: text, an id, or null.
ANSWER_TRAIT: dict[str, Any] = {"sync": True, "from_page": True}


class AskingView(LiveView[Result]):
    """Base of views that ask for an answer and a foil.

    Attributes:
        answer: the token asked for: text of one token, or its id; None: the model's own first choice.
        foil: the token it is compared with, likewise; the model's second choice where neither is given.
        refused: the last of them that is no single token, for the page.
    """

    answer: Any = traitlets.Any(None, allow_none=True).tag(**ANSWER_TRAIT)
    foil: Any = traitlets.Any(None, allow_none=True).tag(**ANSWER_TRAIT)
    refused = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)

    def __init__(self, session: Session | None, *, answer: Any = None, foil: Any = None, **traits: Any) -> None:
        if session is not None:
            # The session holds them, so that other views ask for the same.
            if answer is not None:
                session.answer = answer
            if foil is not None:
                session.foil = foil
            answer, foil = session.answer, session.foil
        super().__init__(session, answer=answer, foil=foil, **traits)
        self.observe(lambda change: self._session_hears(change["name"], change["new"]), ["answer", "foil"])

    def session_changed(self, name: str) -> None:
        """See `session.SessionView`."""
        super().session_changed(name)
        if name in {"answer", "foil"} and self.session is not None:
            setattr(self, name, getattr(self.session, name))

    def _becomes(self, picture: Any, subject: dict[str, Any]) -> None:
        super()._becomes(picture, subject)
        self.refused = None

    def _offline(self, picture: Any) -> dict[str, Any]:
        return {**super()._offline(picture), "answer": self.answer, "foil": self.foil, "refused": None}

    def _tokens(
        self, subject: dict[str, Any], found: Answered, position: int, candidates: list[tuple[int, str, float]]
    ) -> tuple[int, int | None, bool]:
        """Ids of answer and foil, and whether both are the model's own choice."""
        from mi_widgets.compute.answers import resolve

        chosen: dict[str, int | None] = {}
        for role in ("answer", "foil"):
            given = subject[role]
            try:
                before = found.tokens.upto(position)
                chosen[role] = None if given is None else resolve(found.run.model, before, given, role=role)
            except AnswerError as error:
                self.refused = refused_token(role, error)
                raise
        answer, foil = chosen["answer"], chosen["foil"]
        automatic = answer is None and foil is None
        if answer is None:
            answer = next(token for token, _, _ in candidates if token != foil)
        if automatic:
            foil = next(token for token, _, _ in candidates if token != answer)
        return answer, foil, automatic

    @traitlets.validate("answer", "foil")
    @refusing
    def _plain_answer(self, proposal: Any) -> Any:
        return plain_answer(proposal["trait"].name, proposal["value"])
