"""What a view shows, read from the bytes that cross, and what it refuses; and the prompt of the tests of views of a
prompt."""

from __future__ import annotations

import pytest

from mi_widgets.errors import DataError
from mi_widgets.wire.blocks import unpack

PROMPT = "w3 w4 w5 w3 w4"


def manifest_of(view):
    """The manifest of the picture on screen."""
    return unpack(view.picture)[0]


def refused_both_ways(view, options):
    """Assert that these options raise when Python gives them, and change nothing when the page does."""
    with pytest.raises(DataError):
        view.options = options
    before = dict(view.options)
    view.set_state({"options": options})
    assert view.options == before
