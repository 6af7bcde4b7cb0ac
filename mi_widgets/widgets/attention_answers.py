"""Answers to what the page of the attention explorer asks for: single heads, and thumbnails of the other side."""

from __future__ import annotations

from typing import Any

from mi_widgets.described.attention import ATTENTION
from mi_widgets.errors import DataError
from mi_widgets.widgets.view import RequestError
from mi_widgets.wire.attention_picture import AttentionPicture
from mi_widgets.wire.blocks import pack


def answer(picture: AttentionPicture | None, request: dict[str, Any]) -> bytes:
    """The parcel that `request` (a `wire.messages.Request`) asks for.

    Raises:
        RequestError: another run's picture, or something that is not there.
    """
    if picture is None:
        raise RequestError("stale", "There is no picture yet.")
    if request.get("run") != picture.run:
        raise RequestError("stale", "A newer picture has been computed.")
    if request.get("want") == "heads":
        try:
            heads = [(int(layer), int(head)) for layer, head in request.get("heads", [])]
            return pack(picture.heads(heads, request.get("sides") or ["A"]))
        except DataError as reason:
            raise RequestError("unknown", reason.message, reason.hint) from reason
    if request.get("want") == "atlas":
        show = str(request.get("show"))
        if show not in ATTENTION.values("show"):
            raise RequestError("unknown", f"There is no thumbnail of {show!r}.")
        if show != picture.side(show):
            raise RequestError("unknown", "There is no second prompt to compare with.", "Add one with “compare”.")
        return pack([picture.atlas(show)])
    raise RequestError("unknown", f"The attention view has no {request.get('want')!r}.")
