"""Views that several files test: of plain data, and of a tiny model; and readings that go on by one position."""

from __future__ import annotations

import pytest
from made_patterns import softmax
from on_screen import PROMPT

import mi_widgets as mw
from mi_widgets.compute import lens_order, lens_reading
from mi_widgets.widgets import partial


@pytest.fixture
def data_view():
    return mw.Attention.from_data(softmax(), list("abcde"))


@pytest.fixture
def view(model):
    return mw.Attention(mw.Session(model, "w3 w4 w5 w3 w4"))


@pytest.fixture
def session(model):
    return mw.Session(model, PROMPT)


@pytest.fixture
def long_reading(monkeypatch):
    """Readings go on by one position, count as long, and every part that is handed out is shown."""
    monkeypatch.setattr(lens_reading, "FEW", 1)
    monkeypatch.setattr(lens_reading, "FEWEST", 1)
    monkeypatch.setattr(lens_order, "LITTLE", 0)
    monkeypatch.setattr(partial, "SOON_SECONDS", -1.0)
    monkeypatch.setattr(partial, "APART_SECONDS", 0.0)
