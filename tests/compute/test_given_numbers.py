"""Whole numbers, truth values and fractions of numpy and torch are numbers wherever a number is taken."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mi_widgets import compute, data
from mi_widgets.errors import DataError, MiWidgetsError

IDS = [5, 6, 7, 8, 9, 5]
WHOLE = [np.int64, np.uint8, lambda value: torch.tensor(value), lambda value: np.array(value)]
NAMES = ["int64", "uint8", "torch", "array"]


@pytest.mark.parametrize("make", WHOLE, ids=NAMES)
def test_whole_numbers_of_any_make(make, model, tmp_path):
    assert compute.next_tokens(model, IDS, top_k=make(3)).top_k == 3
    assert compute.logit_lens(model, IDS, top_k=make(3), positions=[make(1)], targets=[make(9)]).top_k == 3
    found = compute.logit_attribution(model, IDS, make(9), make(8), position=make(3), by="neuron", top=make(2))
    plain = compute.logit_attribution(model, IDS, 9, 8, position=3, by="neuron", top=2)
    assert found.to_pandas().equals(plain.to_pandas())
    assert json.dumps(found.header()) == json.dumps(plain.header())
    assert data.load(data.save(found, tmp_path / "found.npz")).answer == 9
    written = compute.sample(model, IDS, n_tokens=make(2), seed=make(5))
    assert written.ids.tolist() == compute.sample(model, IDS, n_tokens=2, seed=5).ids.tolist()
    assert type(written.seed) is int
    assert compute.head_scores(model, seed=make(5)).equals(compute.head_scores(model, seed=5))


@pytest.mark.parametrize("layers", [np.arange(2), torch.arange(2), (layer for layer in (0, 1)), range(2)], ids=str)
def test_layers_of_any_make(layers, model, tmp_path):
    found = compute.attention_patterns(model, IDS, layers=layers)
    assert found.layers == (0, 1)
    assert data.load(data.save(found, tmp_path / "found.npz")).layers == (0, 1)


def test_generators_of_layers_positions_and_targets_are_read_once_and_whole(model):
    found = compute.logit_lens(
        model,
        IDS,
        layers=(layer for layer in (0, 1)),
        positions=(position for position in (1, 3)),
        targets=(token for token in (9, 11)),
    )
    assert (found.layers, found.positions, found.target_ids.tolist()) == ((0, 1), (1, 3), [9, 11])
    compared = compute.logit_lens_comparison(
        model, IDS, IDS[::-1], layers=(layer for layer in (0, 1)), positions=(position for position in (1, 3))
    )
    assert compared.a.positions == compared.b.positions == (1, 3)


def test_fractions_and_truth_values_of_numpy_and_torch(model):
    plain = compute.sample(model, IDS, 3, temperature=0.5, top_p=0.75, stop_at_eos=True)
    for half, most in ((np.float32(0.5), np.float64(0.75)), (torch.tensor(0.5), torch.tensor(0.75))):
        found = compute.sample(model, IDS, 3, temperature=half, top_p=most, stop_at_eos=np.bool_(True))
        assert found.ids.tolist() == plain.ids.tolist()
        assert type(found.temperature) is float and type(found.top_p) is float


@pytest.mark.parametrize("wrong", [True, np.bool_(True), 1.5, np.float32(2), "3", None, [1, 2]], ids=repr)
def test_what_is_no_whole_number_is_refused(wrong, model):
    for ask in (
        lambda: compute.next_tokens(model, IDS, top_k=wrong),
        lambda: compute.logit_lens(model, IDS, top_k=wrong),
        lambda: compute.sample(model, IDS, n_tokens=wrong),
        lambda: compute.sample(model, IDS, seed=wrong),
        lambda: compute.head_scores(model, seed=wrong),
        lambda: compute.logit_attribution(model, IDS, 9, 8, top=wrong),
        lambda: compute.logit_attribution(model, IDS, 9, 8, position=wrong),
    ):
        with pytest.raises(DataError):
            ask()


@pytest.mark.parametrize("wrong", [np.bool_(True), "1", None, [1.0], float("nan"), torch.tensor([1.0, 2.0])], ids=repr)
def test_what_is_no_temperature_is_refused(wrong, model):
    with pytest.raises(MiWidgetsError):
        compute.sample(model, IDS, 2, temperature=wrong)
