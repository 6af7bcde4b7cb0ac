"""Prompts in the three forms a user may give: compared, stored and sent as plain values.

Knows nothing of tokenizers; `models.tokenize` decides whether a prompt can be run.
"""

from __future__ import annotations

from typing import Any

from mi_widgets.wire.messages import PromptValue


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
    return prompt


def to_wire(prompt: Any) -> PromptValue | None:
    """`prompt` as it crosses to the page."""
    prompt = plain(prompt)
    if prompt is None:
        return None
    if isinstance(prompt, str):
        return {"kind": "text", "text": prompt}
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], dict):
        return {"kind": "chat", "messages": [{"role": str(m.get("role", "")), "content": str(m.get("content", ""))} for m in prompt]}
    if isinstance(prompt, list):
        return {"kind": "ids", "ids": prompt}
    return {"kind": "text", "text": repr(prompt)}


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
