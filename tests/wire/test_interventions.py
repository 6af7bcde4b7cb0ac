"""How interventions cross: by their names, with the heads that they ablate; and what tells side B from side A."""

from __future__ import annotations

import dataclasses
import json

from made_patterns import softmax

from mi_widgets.data import AttentionComparison, patterns_from_arrays
from mi_widgets.data.interventions import Ablate, Intervention, Patch
from mi_widgets.wire.attention_picture import AttentionPicture
from mi_widgets.wire.interventions import ablated_heads, intervention_values, other_run

MADE = (
    Ablate(1, 0),
    Ablate(1, 0, by="mean", positions=(2,)),
    Ablate(0, site="mlp_out"),
    Patch("z", 0, source="w3", head=1),
    Intervention("blocks.0.hook_mlp_out", abs),
)


def test_ablated_are_the_heads_of_ablations_once_each():
    assert ablated_heads(MADE) == [[1, 0]]


def test_every_value_is_plain_and_says_where_it_is_made():
    values = json.loads(json.dumps(intervention_values(MADE)))
    assert [(value["kind"], value["by"], value["layer"], value["head"]) for value in values] == [
        ("ablate", "zero", 1, 0),
        ("ablate", "mean", 1, 0),
        ("ablate", "zero", 0, None),
        ("patch", None, 0, 1),
        ("own", None, None, None),
    ]
    assert [value["label"] for value in values] == [change.label for change in MADE]


def test_of_side_b_another_model_is_named_and_the_same_one_is_not():
    a = patterns_from_arrays(softmax(), list("abcde"))
    b = dataclasses.replace(a, model="another", interventions=MADE[:1])
    assert other_run(a, b) == {"interventions": ["L1 H0 ablated"], "ablated": [[1, 0]], "model": "another"}
    assert other_run(b, b)["model"] is None


def test_a_picture_of_two_runs_says_what_was_made_in_each():
    a = patterns_from_arrays(softmax(), list("abcde"))
    b = dataclasses.replace(a, interventions=MADE[:1])
    manifest = AttentionPicture(a, AttentionComparison(a, b)).manifest()
    assert (manifest["interventions"], manifest["ablated"]) == ([], [])
    assert manifest["other"] == {"interventions": ["L1 H0 ablated"], "ablated": [[1, 0]], "model": None}
    assert AttentionPicture(b).manifest()["ablated"] == [[1, 0]]
