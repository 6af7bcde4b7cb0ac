"""Prompts in the three forms a user may give: compared, stored and sent as plain values.

Knows nothing of tokenizers; `models.tokenize` decides whether a prompt can be run.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from mi_widgets.data.integers import integer, is_integer
from mi_widgets.data.tokens import whole_characters
from mi_widgets.errors import PromptError
from mi_widgets.wire.messages import ChatMessage, PromptValue


def plain(prompt: Any) -> Any:
    """The prompt as text, list of ids or list of messages: tensors and arrays become lists, so that prompts
    compare with `==`. None stays None.

    Raises:
        PromptError: neither of these.
    """
    if prompt is None or isinstance(prompt, str):
        return prompt
    listed = prompt
    try:
        if hasattr(listed, "tolist"):
            listed = listed.tolist()
    except Exception as reason:  # a tensor on a device that is gone, or without memory: whatever it says
        raise _no_prompt(prompt) from reason
    if isinstance(listed, tuple):
        listed = list(listed)
    if not isinstance(listed, list):
        raise _no_prompt(prompt)
    if len(listed) == 1 and isinstance(listed[0], (list, tuple)):
        listed = list(listed[0])
    if _plain_ids(listed):
        return listed
    if all(is_integer(token) for token in listed):
        return [operator.index(token) for token in listed]
    if all(isinstance(message, dict) for message in listed):
        return [dict(message) for message in listed]
    raise _no_prompt(prompt)


def given(prompt: Any) -> Any:
    """`plain`, where there must be one.

    Raises:
        PromptError: there is none, or it is no prompt.
    """
    if prompt is None:
        raise PromptError("There is no prompt.", "Give text, token ids or chat messages.")
    return plain(prompt)


def _no_prompt(prompt: Any) -> PromptError:
    shown = repr(prompt) if isinstance(prompt, (int, float, bytes)) else type(prompt).__name__
    return PromptError(
        f"{shown[:60]} is no prompt: it is neither text, nor token ids [position], nor chat messages.",
        "Give a string, a list of whole numbers, or a list of messages with role and content.",
    )


def plain_answer(name: str, answer: Any) -> str | int | None:
    """An answer or foil as text or a token id; None for none.

    Raises:
        DataError: anything else; the message says `name`.
    """
    if answer is None or isinstance(answer, str):
        return answer or None
    value = answer.tolist() if hasattr(answer, "tolist") else answer
    while isinstance(value, list) and len(value) == 1:
        value = value[0]  # an array that holds one id
    return integer(name, value)


def _plain_ids(prompt: list[Any]) -> bool:
    """Whether these are whole numbers of Python itself: prompts are looked at in every edit, and may be long."""
    return set(map(type, prompt)) == {int}


#: Characters and ids of past prompts that cross to the page, which looks at every one of them in every edit.
HISTORY_SIZE = 2000


def history_to_wire(history: Sequence[Any]) -> list[PromptValue | None]:
    """The newest prompts of `history` as they cross to the page, oldest first; always at least two."""
    kept: list[PromptValue | None] = []
    size = 0
    for prompt in reversed(history):
        size += len(prompt) if hasattr(prompt, "__len__") else 1
        if size > HISTORY_SIZE and len(kept) >= 2:
            break
        kept.append(to_wire(prompt))
    return kept[::-1]


def to_wire(prompt: Any) -> PromptValue | None:
    """`prompt` as it crosses to the page."""
    prompt = plain(prompt)
    if prompt is None:
        return None
    if isinstance(prompt, str):
        return {"kind": "text", "text": whole_characters(prompt)}
    if prompt and isinstance(prompt[0], dict):
        return {"kind": "chat", "messages": [_message(message) for message in prompt]}
    return {"kind": "ids", "ids": prompt}


def _message(message: dict[str, Any]) -> ChatMessage:
    return {
        "role": whole_characters(str(message.get("role", ""))),
        "content": whole_characters(str(message.get("content", ""))),
    }


def from_wire(value: Any) -> Any:
    """The prompt the page sent.

    Raises:
        PromptError: what came is no `PromptValue`.
    """
    if value is None:
        return None
    kind = value.get("kind") if isinstance(value, dict) else None
    held = value.get("messages" if kind == "chat" else str(kind)) if kind in ("text", "ids", "chat") else None
    if isinstance(held, str if kind == "text" else list):
        prompt = plain(held)
        if kind == "text" or not prompt or isinstance(prompt[0], dict) == (kind == "chat"):
            return prompt
    raise PromptError("The page sent what is no prompt.", "Reload the page.")
