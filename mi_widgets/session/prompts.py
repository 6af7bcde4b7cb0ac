"""Prompts in the three forms a user may give: compared, stored and sent as plain values.

Knows nothing of tokenizers; `models.tokenize` decides whether a prompt can be run.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from mi_widgets.data.integers import integer
from mi_widgets.data.tokens import whole
from mi_widgets.wire.messages import ChatMessage, PromptValue


def plain(prompt: Any) -> Any:
    """The prompt as text, list of ids or list of messages: tensors and arrays become lists, so that prompts
    compare with `==`."""
    if prompt is None or isinstance(prompt, str):
        return prompt
    if hasattr(prompt, "tolist"):
        prompt = prompt.tolist()
    if isinstance(prompt, tuple):
        prompt = list(prompt)
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], list):
        prompt = prompt[0]
    if isinstance(prompt, list) and not _plain_ids(prompt):
        prompt = [int(token) if _is_id(token) else token for token in prompt]
    return prompt


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


def _is_id(token: Any) -> bool:
    return isinstance(token, Integral) and not isinstance(token, bool)


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
        return {"kind": "text", "text": whole(prompt)}
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], dict):
        return {"kind": "chat", "messages": [_message(message) for message in prompt]}
    if isinstance(prompt, list) and (_plain_ids(prompt) or all(_is_id(token) for token in prompt)):
        return {"kind": "ids", "ids": prompt}
    return {"kind": "text", "text": whole(repr(prompt))}  # cannot be run; shown beside the error that says so


def _message(message: Any) -> ChatMessage:
    held = message if isinstance(message, dict) else {"content": message}
    return {"role": whole(str(held.get("role", ""))), "content": whole(str(held.get("content", "")))}


def from_wire(value: PromptValue | None) -> Any:
    """The prompt the page sent."""
    if not value:
        return None
    kind = value.get("kind")
    if kind == "ids":
        return list(value.get("ids", []))
    if kind == "chat":
        return [dict(message) for message in value.get("messages", [])]
    return value.get("text", "")
