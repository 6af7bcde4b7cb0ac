"""The demo world's pairs: clean and corrupt of one length, each with the answer that the other lacks, and such that the
demo model gives it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import mi_widgets as mw
from mi_widgets.compute.answers import resolve
from mi_widgets.compute.forward import forward
from mi_widgets.demo.records import split_tokens
from mi_widgets.errors import DataError
from mi_widgets.models import tokenize


@pytest.mark.parametrize("task", mw.demo.TASKS)
def test_pairs_of_a_task_are_alike_and_the_same_for_the_same_arguments(task):
    pairs = mw.demo.pairs(task, n=8, seed=3)
    assert pairs == mw.demo.pairs(task, n=8, seed=3)
    assert pairs != mw.demo.pairs(task, n=8, seed=4)
    assert len(pairs) == len({pair.clean for pair in pairs}) == 8
    assert len({len(split_tokens(text)) for pair in pairs for text in (pair.clean, pair.corrupt)}) == 1
    assert all(pair.answer != pair.foil and pair.clean != pair.corrupt for pair in pairs)


def test_positions_of_boxes_mean_the_same_in_each_pair():
    pairs = mw.demo.pairs("entity", n=12, where=lambda prompt: "Move" in prompt.text)
    things, boxes = mw.demo.vocabulary.THINGS, mw.demo.vocabulary.BOXES
    for column in zip(*(split_tokens(pair.clean) for pair in pairs), strict=True):
        words = {word.strip() for word in column}
        assert len(words) == 1 or words <= set(things) or words <= set(boxes)
    assert all("Move" in pair.clean for pair in pairs)


def test_one_kind_or_all_kinds_can_be_asked_for():
    assert all(pair.clean.startswith("While") for pair in mw.demo.pairs("ioi", n=5, kind="while"))
    several = mw.demo.pairs("ioi", n=40, alike=False)
    assert len({pair.clean.split()[0] for pair in several}) > 3
    assert [pair.clean for pair in several] == [prompt.text for prompt in mw.demo.prompts("ioi", n=40)]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (dict(task="boxes"), "no task 'boxes'"),
        (dict(task="ioi", kind="whil"), "Did you mean 'while'"),
        (dict(task="ioi", n=0), "one pair or more"),
        (dict(task="ioi", split="held out"), "unknown split"),
        (dict(task="facts", n=400), "Ask for n="),
        (dict(task="ioi", where=lambda prompt: False), "only 0 such pairs"),
    ],
    ids=str,
)
def test_what_there_is_not_is_refused(asked, said):
    with pytest.raises(DataError) as refused:
        mw.demo.pairs(**asked)
    assert said in str(refused.value)


@pytest.mark.parametrize("task", ["ioi", "entity"])
def test_the_demo_model_tells_clean_from_corrupt(task, demo_model):
    right = []
    for pair in mw.demo.pairs(task, n=12):
        answer, foil = (resolve(demo_model, tokenize(demo_model, pair.clean), one) for one in (pair.answer, pair.foil))
        for text, sign in ((pair.clean, 1), (pair.corrupt, -1)):
            ids = tokenize(demo_model, text).ids
            logits = forward(demo_model, ids, ("output.last_logits",)).arrays["output.last_logits"]
            right.append(sign * (logits[answer] - logits[foil]) > 0)
    assert np.mean(right) > 0.9


def test_pairs_need_no_torch():
    code = "import sys, mi_widgets as mw; mw.demo.pairs('ioi', n=2); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
