"""What an intervention is: compared, printed as the Python that makes it again, saved, and refused where it is none."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace

import numpy as np
import pytest
from made_records import RECORDS

import mi_widgets as mw
from mi_widgets.data import AttentionComparison, load, save
from mi_widgets.data.interventions import checked_interventions, interventions_from
from mi_widgets.errors import DataError


def double(activation, hook):
    return activation * 2


DIRECTION = np.array([1.5, -0.1, 3e-8], np.float32)
CHANGES = [
    mw.Ablate(2, head=6),
    mw.Ablate(layer=2, head=6, by="mean"),
    mw.Ablate(2, 6, by="mean", reference=["one prompt", "another"]),
    mw.Ablate(2, 6, by="resample", reference=["one prompt", [0, 5, 7]], seed=3),
    mw.Ablate(0, site="mlp_out", positions=[-1, 4]),
    mw.Ablate(1, neuron=512, positions=3),
    mw.Patch("resid_pre", layer=1, position=4, source="another prompt"),
    mw.Patch("z", layer=1, head=0, source=[0, 4, 5]),
    mw.Patch("resid_post", layer=1, position=[1, -2], source=[{"role": "user", "content": "Hi"}]),
    mw.Patch("q", layer=2, position=4, source="x", head=6),
    mw.Patch("pattern", layer=2, position=[4, 5], source="x", head=6, key=2),
    mw.Patch("pattern", layer=2, source="x", key=-1),
    mw.Patch("post", layer=1, source="x", neuron=7),
    mw.Add(DIRECTION, layer=2, strength=4.0),
    mw.Add(DIRECTION, site="z", layer=0, head=1, strength=-0.5, positions=[-1]),
    mw.Intervention("blocks.2.attn.hook_z", double),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.label)
def test_the_python_that_it_prints_makes_it_again(change):
    again = eval(repr(change), {"mw": mw, "direction": DIRECTION, "double": double})
    assert again == change
    assert hash(again) == hash(change)


def test_only_what_differs_from_the_default_is_printed():
    assert repr(mw.Ablate(2, head=6)) == "mw.Ablate(layer=2, head=6)"
    patch = mw.Patch("resid_pre", layer=1, position=4, source="another prompt")
    assert repr(patch) == "mw.Patch('resid_pre', layer=1, position=4, source='another prompt')"
    assert repr(mw.Add(DIRECTION, layer=0)) == "mw.Add(direction, layer=0)"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.label)
def test_it_comes_back_from_json(change):
    (again,) = interventions_from(json.loads(json.dumps([change.to_dict()])))
    assert type(again) is type(change)
    if isinstance(change, mw.Intervention):
        assert again.function == "double"
        assert again.label == change.label
    else:
        assert again == change


def test_a_direction_comes_back_bit_for_bit():
    (again,) = interventions_from(json.loads(json.dumps([mw.Add(DIRECTION, layer=0).to_dict()])))
    np.testing.assert_array_equal(again.direction, DIRECTION)


@pytest.mark.parametrize(
    "other",
    [
        mw.Ablate(2, head=5),
        mw.Ablate(1, head=6),
        mw.Ablate(2, neuron=6),
        mw.Ablate(2, head=6, by="mean"),
        mw.Ablate(2, head=6, positions=[0]),
    ],
    ids=repr,
)
def test_what_does_something_else_is_not_equal(other):
    assert other != mw.Ablate(2, head=6)
    assert other.identity != mw.Ablate(2, head=6).identity


def test_directions_are_compared_by_their_numbers():
    assert mw.Add(DIRECTION, layer=1) == mw.Add(DIRECTION.tolist(), layer=1)
    assert mw.Add(DIRECTION, layer=1) != mw.Add(-DIRECTION, layer=1)


def test_functions_are_compared_as_themselves():
    assert mw.Intervention("blocks.0.hook_in", double) == mw.Intervention("blocks.0.hook_in", double)
    twin = lambda activation, hook: activation * 2  # noqa: E731
    assert mw.Intervention("blocks.0.hook_in", twin) != mw.Intervention("blocks.0.hook_in", double)


def test_what_can_be_called_and_not_hashed_is_a_function_too():
    class Doubling:
        __hash__ = None

        def __eq__(self, other):
            return False

        def __call__(self, activation, hook):
            return activation * 2

    change = mw.Intervention("blocks.0.hook_in", Doubling())
    assert {change: "kept"}[change] == "kept"
    assert change.label == "Doubling at blocks.0.hook_in"


def test_nothing_that_it_was_given_can_change_it_later():
    ids, direction = [0, 4, 5], DIRECTION.copy()
    patch, add = mw.Patch("z", 0, source=ids), mw.Add(direction, layer=0)
    identity = patch.identity
    ids.append(9)
    direction[0] = 0
    assert patch.identity == identity
    assert add.direction[0] == DIRECTION[0]
    with pytest.raises(ValueError, match="read-only"):
        add.direction[0] = 0


@pytest.mark.parametrize("alone", ["a prompt", [0, 4, 5], np.array([0, 4, 5]), [{"role": "user", "content": "Hi"}]])
def test_one_reference_prompt_needs_no_list_around_it(alone):
    assert len(mw.Ablate(0, 1, by="mean", reference=alone).reference) == 1


@pytest.mark.parametrize(
    ("change", "label"),
    [
        (mw.Ablate(2, head=6), "L2 H6 ablated"),
        (mw.Ablate(2, head=6, by="mean", positions=[-1]), "L2 H6 mean-ablated at -1"),
        (mw.Ablate(2, site="mlp_out", by="resample", reference="x"), "L2 mlp_out resampled"),
        (mw.Ablate(2, neuron=7, positions=range(9)), "L2 neuron 7 ablated at 0, 1, 2, 3 …"),
        (mw.Patch("z", 1, head=0, source="x"), "L1 H0 patched"),
        (mw.Patch("q", 2, position=4, head=6, source="x"), "L2 H6 q patched at 4"),
        (mw.Patch("k", 2, source="x"), "L2 k patched"),
        (mw.Patch("pattern", 2, position=4, head=6, key=1, source="x"), "L2 H6 pattern patched at 4 → 1"),
        (mw.Patch("pattern", 2, head=6, key=1, source="x"), "L2 H6 pattern patched at key 1"),
        (mw.Patch("post", 2, position=4, neuron=7, source="x"), "L2 neuron 7 patched at 4"),
        (mw.Add(DIRECTION, layer=2, strength=4), "L2 resid_post + 4 × direction"),
        (mw.Add(DIRECTION, layer=2, strength=-0.5), "L2 resid_post − 0.5 × direction"),
        (mw.Intervention("blocks.2.attn.hook_z", double), "double at blocks.2.attn.hook_z"),
    ],
)
def test_a_header_names_it_in_a_few_words(change, label):
    assert change.label == label


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: mw.Ablate(2), "none is given"),
        (lambda: mw.Ablate(2, head=6, neuron=1), "head and neuron is given"),
        (lambda: mw.Ablate(-1, head=6), "layer=-1 is negative"),
        (lambda: mw.Ablate(1.5, head=6), "layer=1.5 is no whole number"),
        (lambda: mw.Ablate(True, head=6), "layer=True is no whole number"),
        (lambda: mw.Ablate(0, head=-1), "head=-1 is negative"),
        (lambda: mw.Ablate(0, head=6, by="means"), "Did you mean 'mean'"),
        (lambda: mw.Ablate(0, site="z"), "unknown site 'z'"),
        (lambda: mw.Ablate(0, site="mlp_ou"), "Did you mean 'mlp_out'"),
        (lambda: mw.Ablate(0, head=6, by="resample"), "there are none"),
        (lambda: mw.Ablate(0, head=6, positions=[]), "positions is empty"),
        (lambda: mw.Ablate(0, head=6, positions="all"), "positions='all' is no list"),
        (lambda: mw.Ablate(0, head=6, seed=0.5), "seed=0.5 is no whole number"),
        (lambda: mw.Patch("resid_pre", 0), "there is none"),
        (lambda: mw.Patch("resid", 0, source="x"), "Did you mean 'resid_"),
        (lambda: mw.Patch("resid_pre", 0, head=1, source="x"), "resid_pre has no heads"),
        (lambda: mw.Add(DIRECTION), "layer is missing"),
        (lambda: mw.Add([[1.0, 2.0]], layer=0), "shape [1, 2]"),
        (lambda: mw.Add([1.0, np.nan], layer=0), "finite numbers"),
        (lambda: mw.Add([], layer=0), "shape [0]"),
        (lambda: mw.Add("north", layer=0), "numbers"),
        (lambda: mw.Add(DIRECTION, layer=0, strength=np.inf), "strength=inf is no number"),
        (lambda: mw.Add(DIRECTION, layer=0, strength="4"), "strength='4' is no number"),
        (lambda: mw.Add(DIRECTION, site="z", layer=0), "Give a head with site"),
        (lambda: mw.Add(DIRECTION, layer=0, head=1), "Give a head with site"),
        (lambda: mw.Intervention("", double), "hook_name is empty"),
        (lambda: mw.Intervention(3, double), "hook_name=3 is no text"),
        (lambda: mw.Intervention("blocks.0.hook_in", 3), "cannot be called"),
        (lambda: mw.Run(interventions=["ablate"]), "'ablate' is no intervention"),
        (lambda: checked_interventions("ablate"), "'ablate' is no intervention"),
        (lambda: checked_interventions({"kind": "ablate"}), "is no intervention"),
        (lambda: interventions_from([{"kind": "melt"}]), "of kind 'melt' is not known"),
        (lambda: interventions_from([{"kind": "ablate", "layer": 0, "heads": 1}]), "a damaged intervention"),
        (lambda: interventions_from(["ablate"]), "of kind None is not known"),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason(make, said):
    with pytest.raises(DataError) as refused:
        make()
    assert said in str(refused.value)


def test_one_alone_and_none_will_do():
    one = mw.Ablate(0, head=1)
    assert checked_interventions(one) == (one,)
    assert checked_interventions(None) == ()
    assert checked_interventions(change for change in [one, one]) == (one, one)


def test_a_run_holds_what_differs_from_the_session():
    run = mw.Run(prompt="another", interventions=mw.Ablate(0, head=1))
    assert run == mw.Run(prompt="another", interventions=[mw.Ablate(0, head=1)])
    assert run != mw.Run(prompt="another")
    assert mw.Run(interventions=[]) != mw.Run()
    assert mw.Run(prompt=np.array([1, 2])) == mw.Run(prompt=[1, 2])
    assert repr(run) == "mw.Run(prompt='another', interventions=[mw.Ablate(layer=0, head=1)])"


def test_its_names_cost_no_torch():
    import subprocess
    import sys

    program = "import sys, mi_widgets as mw; mw.Ablate(0, head=1), mw.Run(), mw.Patch, mw.Add, mw.Intervention; "
    said = subprocess.run(
        [sys.executable, "-c", program + "print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert said.stdout.strip() == "False", said.stderr


# --- in results -------------------------------------------------------------------------------------------

SINGLE = ["AttentionPatterns", "LogitLens", "LogitAttribution", "NextTokens", "Continuation"]


@pytest.mark.parametrize("kind", SINGLE)
def test_a_result_names_them_and_brings_them_back_from_its_file(kind, tmp_path):
    record = replace(RECORDS[kind](), interventions=CHANGES)
    assert record.interventions == tuple(CHANGES)
    again = load(save(record, tmp_path / "result.npz"))
    assert again.interventions[:-1] == tuple(CHANGES[:-1])
    assert again.interventions[-1].label == CHANGES[-1].label


@pytest.mark.parametrize("kind", SINGLE)
def test_a_result_takes_one_alone_and_refuses_what_is_none(kind):
    record = RECORDS[kind]()
    assert record.interventions == ()
    assert replace(record, interventions=CHANGES[0]).interventions == (CHANGES[0],)
    with pytest.raises(DataError, match="is no intervention"):
        replace(record, interventions=["ablated"])


@pytest.mark.parametrize("kind", RECORDS)
def test_files_from_before_interventions_are_read(kind, tmp_path):
    record = RECORDS[kind]()

    def without(header):
        return {name: without(value) if isinstance(value, dict) else value for name, value in header.items()
                if name != "interventions"}  # fmt: skip

    header = json.dumps({"kind": kind, "schema": 2, **without(record.header())})
    np.savez_compressed(tmp_path / "old.npz", header=np.array(header), **record.arrays())
    assert load(tmp_path / "old.npz").header() == record.header()


def test_a_result_in_which_they_are_damaged_is_refused(tmp_path):
    record = RECORDS["NextTokens"]()
    header = {"kind": "NextTokens", "schema": 3, **record.header(), "interventions": [{"kind": "ablate", "layer": -1}]}
    np.savez_compressed(tmp_path / "damaged.npz", header=np.array(json.dumps(header)), **record.arrays())
    with pytest.raises(DataError, match="layer=-1 is negative"):
        load(tmp_path / "damaged.npz")


def test_one_prompt_with_and_without_them_can_be_compared(tmp_path):
    a, b = replace(RECORDS["AttentionPatterns"](), interventions=CHANGES[0]), RECORDS["AttentionPatterns"]()
    again = load(save(AttentionComparison(a, b), tmp_path / "compared.npz"))
    assert (again.a.interventions, again.b.interventions) == ((CHANGES[0],), ())
    assert again.a.tokens == again.b.tokens == a.tokens


def test_another_function_that_cannot_be_hashed_is_never_taken_for_one_that_is_gone():
    class Steer:
        __hash__ = None

        def __call__(self, activation, hook):
            return activation

    steer = Steer()
    held = weakref.ref(steer)
    key = mw.Intervention("blocks.0.hook_resid_post", steer).identity
    del steer
    assert held() is not None  # so that no other gets its id
    assert mw.Intervention("blocks.0.hook_resid_post", held()).identity == key
    assert mw.Intervention("blocks.0.hook_resid_post", Steer()).identity != key


def test_a_seed_below_zero_is_refused_where_it_is_given():
    with pytest.raises(DataError, match="seed"):
        mw.Ablate(0, 1, by="resample", reference="a prompt", seed=-1)


@pytest.mark.parametrize("given", [5, np.array(5), slice(3), {1, 2}, [{1, 2}], {"w3 w4": 1, 2: 3}, [["w3"]], [1.5]])
def test_what_is_no_prompt_is_no_reference_and_no_source(given):
    if not isinstance(given, dict):  # which may be one chat message
        with pytest.raises(DataError, match="reference"):
            mw.Ablate(1, 2, "mean", reference=given)
        with pytest.raises(DataError, match="source"):
            mw.Patch("z", 1, source=given)
    with pytest.raises(DataError, match="intervention"):
        checked_interventions(given)


def test_one_prompt_of_any_form_is_a_reference():
    message = {"role": "user", "content": "w3"}
    for given in ("w3 w4", [3, 4], np.array([[3, 4]]), message, [message]):
        assert len(mw.Ablate(1, 2, "mean", reference=given).reference) == 1, given
    assert len(mw.Ablate(1, 2, "mean", reference=["w3", [3, 4]]).reference) == 2
