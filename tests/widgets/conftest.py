"""Attention views that several files test: of plain data, and of a tiny model."""

from __future__ import annotations

import pytest
from made_patterns import softmax
from on_screen import PROMPT

import mi_widgets as mw


@pytest.fixture
def data_view():
    return mw.Attention.from_data(softmax(), list("abcde"))


@pytest.fixture
def view(model):
    return mw.Attention(mw.Session(model, "w3 w4 w5 w3 w4"))


@pytest.fixture
def session(model):
    return mw.Session(model, PROMPT)
