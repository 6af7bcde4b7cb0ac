"""What a view of a session may be made from: a session, or a model and a prompt."""

from __future__ import annotations

from typing import Any

from mi_widgets.errors import DataError
from mi_widgets.session import Session


def session_of(source: Any, prompt: Any, prepend_bos: bool | None, name: str) -> Session:
    """The session behind `source`, made here where a model and a prompt are given.

    Args:
        source: a session or a TransformerBridge.
        prompt: with a model.
        prepend_bos: with a model.
        name: of the view's class, for the message.

    Raises:
        DataError: something else, or arguments that do not go together.
    """
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
