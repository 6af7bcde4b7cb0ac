"""The shell of the patching view: its grid is its data, a cell is a run, and what cannot be patched is said."""

from __future__ import annotations

import patches_one_by_one as one_by_one
import pytest
from on_screen import manifest_of

import mi_widgets as mw
from mi_widgets import compute

CLEAN, CORRUPT = "w3 w4 w5 w3 w4", "w3 w7 w5 w3 w7"


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    for name in ("patch_steps", "attribution_patch", "patch_cost"):
        if not hasattr(compute, name):
            monkeypatch.setattr(compute, name, getattr(one_by_one, name), raising=False)


@pytest.fixture
def session(model):
    return mw.Session(model, CLEAN)


@pytest.fixture
def view(session):
    return mw.Patching(session, corrupt=CORRUPT, answer="w5", foil="w6")


def test_first(view):
    print(view.status, view.data.shape, manifest_of(view))
    assert view.status["state"] == "idle"
