"""What one tab of a notebook edits reaches the others: the kernel hands on whatever a page has set, before it acts."""

from __future__ import annotations

import pytest

import mi_widgets as mw

EDITS = {
    "prompt": {"kind": "text", "text": "w5 w4"},
    "compare": {"kind": "text", "text": "w3 w5"},
    "answer": "w3",
    "foil": 4,
    "selection": {"layer": 1, "head": 0, "heads": [], "stamp": 7},
}


@pytest.mark.parametrize("kind", [mw.Attention, mw.LogitLens, mw.LogitAttribution, mw.Prompt])
def test_every_edit_of_a_page_is_handed_on_as_it_came(kind, session, monkeypatch):
    view = kind(session)
    sent = []
    monkeypatch.setattr(view, "_send", lambda message, buffers=None: sent.append(message))
    for name, value in {**EDITS, "options": dict(view.options)}.items():
        if name not in view.keys:
            continue
        sent.clear()
        view.set_state({name: value})
        assert sent[0] == {"method": "echo_update", "state": {name: value}, "buffer_paths": []}
