"""Splices and clamps as values: compared by what the coder computes, printed as Python, saved by who the coder is; no
torch is needed for any of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

import mi_widgets as mw
from mi_widgets.data.coder_interventions import CoderName
from mi_widgets.data.interventions import interventions_from, written_hook
from mi_widgets.errors import DataError


@dataclass
class Coder:
    """What a coder is to data: it says who it is and where it stands."""

    fingerprint: str = "abc"
    name: str = "small"
    folder: Any = None
    hook_in: Any = "blocks.3.hook_resid_post"
    hook_out: Any = "blocks.3.hook_resid_post"
    d_sae: int = 10

    def encode(self, x):
        raise AssertionError("data computes nothing")

    decode = encode


def test_they_are_equal_where_the_coder_computes_the_same():
    assert mw.Splice(Coder()) == mw.Splice(Coder())
    assert mw.Splice(Coder()) != mw.Splice(Coder("other"))
    assert mw.Splice(Coder()) != mw.Splice(Coder(), error=True)
    assert mw.Splice(Coder()) != mw.Splice(Coder(), positions=[1])
    assert mw.Clamp(Coder(), 3, 2) == mw.Clamp(Coder(), 3, 2.0)
    assert mw.Clamp(Coder(), 3, 2) != mw.Clamp(Coder(), 4, 2)
    assert len({mw.Clamp(Coder(), 3, 2), mw.Clamp(Coder(), 3, 2.0)}) == 1


def test_labels_say_where_and_by_what():
    assert mw.Splice(Coder()).label == "L3 resid_post spliced (small)"
    assert mw.Splice(Coder(), error=True, positions=4).label == "L3 resid_post spliced with its error at 4 (small)"
    z = Coder(hook_in="blocks.0.attn.hook_z", hook_out="blocks.0.attn.hook_z")
    assert mw.Clamp(z, 3, -1.5).label == "L0 attn.z feature 3 = -1.5 (small)"
    assert mw.Splice(Coder(hook_out="hook_embed", hook_in="hook_embed")).label == "hook_embed spliced (small)"


def test_they_print_as_the_python_that_makes_them():
    assert repr(mw.Splice(Coder())) == "mw.Splice(coder)"
    there = Coder(folder="/coders/small")
    assert repr(mw.Splice(there, error=True)) == "mw.Splice(mw.sae.load('/coders/small'), error=True)"
    assert repr(mw.Clamp(there, 3, 2, positions=[0])) == "mw.Clamp(mw.sae.load('/coders/small'), 3, 2.0, positions=[0])"


@pytest.mark.parametrize("make", [lambda one: mw.Splice(one, positions=[-1]), lambda one: mw.Clamp(one, 3, 0.5)])
def test_a_file_keeps_who_the_coder_is(make):
    made = make(Coder(folder="/coders/small"))
    (again,) = interventions_from(json.loads(json.dumps([made.to_dict()])))
    assert again == made
    assert again.label == made.label
    assert repr(again) == repr(made)
    assert isinstance(again.coder, CoderName)
    assert again.to_dict() == made.to_dict()
    assert again.coder.folder == "/coders/small"
    assert written_hook(again) == "blocks.3.hook_resid_post"
    assert again.layer == 3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: mw.Splice(3), "is no sparse coder: it has no encode"),
        (lambda: mw.Splice(SimpleNamespace(layers=(0, 1), __getitem__=None)), "coders of several layers"),
        (lambda: mw.Splice(Coder(hook_in=None, hook_out=None)), "does not say at which hooks"),
        (lambda: mw.Splice(Coder(), error=1), "error=1"),
        (lambda: mw.Splice(Coder(), positions=[]), "positions is empty"),
        (lambda: mw.Clamp(Coder(), 10, 1), "feature 10 does not exist. There are features 0 to 9."),
        (lambda: mw.Clamp(Coder(), -1, 1), "feature -1 does not exist"),
        (lambda: mw.Clamp(Coder(), 1.5, 1), "is no whole number"),
        (lambda: mw.Clamp(Coder(), 1, float("nan")), "value=nan"),
        (lambda: mw.Splice({"name": "small"}), "a damaged coder"),
        (lambda: interventions_from([{"kind": "clamp", "feature": 1}]), "a damaged intervention of kind clamp"),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason(make, said):
    with pytest.raises(DataError) as refused:
        make()
    assert said in str(refused.value)


def test_no_torch_is_needed():
    code = "import sys, mi_widgets as mw; mw.Splice, mw.Clamp; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
