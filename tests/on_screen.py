"""What a view shows, read from the bytes that cross; and the prompt of the tests of views of a prompt."""

from __future__ import annotations

from mi_widgets.wire.blocks import unpack

PROMPT = "w3 w4 w5 w3 w4"


def manifest_of(view):
    """The manifest of the picture on screen."""
    return unpack(view.picture)[0]
