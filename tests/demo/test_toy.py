"""The toy model of superposition: what the paper says of it is so, and a coder finds what was planted."""

from __future__ import annotations

import numpy as np
import pytest

from mi_widgets import demo
from mi_widgets.errors import DataError


@pytest.fixture(scope="module")
def toy():
    return demo.superposition(steps=1000)


def test_five_rare_features_in_two_dimensions_stand_as_a_pentagon(toy):
    angles = np.sort(np.arctan2(*toy.data.directions.T))
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    np.testing.assert_allclose(gaps, 2 * np.pi / 5, atol=0.15)
    assert toy.data.kept.all()
    assert toy.data.loss < 0.3 * toy.data.loss_of_nothing


def test_frequent_features_are_not_in_superposition():
    dense = demo.superposition(probability=1.0, importance=0.7, steps=600)
    assert dense.data.kept.sum() == 2
    assert dense.data.lengths[:2].min() > 0.9  # the two that count most


def test_a_coder_finds_the_planted_directions(toy):
    found = toy.found(toy.coder(steps=600))
    assert found.match >= 0.95
    assert (found.cosines.max(1) > 0.95).all()
    used = found.active[found.best]
    assert used.sum() > 0.8  # where anything is, it is mostly these


def test_more_features_in_more_dimensions_are_found_too():
    larger = demo.superposition(12, 4, steps=800)
    assert larger.data.kept.sum() > 4  # more than dimensions
    assert larger.found(larger.coder(steps=600)).match >= 0.95


def test_a_coder_that_has_learned_nothing_does_not_match(toy):
    from mi_widgets import sae

    noise = np.random.default_rng(0).normal(size=(500, 2)) * [1, 0.01]
    assert toy.found(sae.train_on(noise, d_sae=2, k=1, steps=50)).match < 0.95


def test_its_samples_are_those_it_was_trained_on(toy):
    features = toy.features(4000)
    assert features.shape == (4000, 5)
    assert (features > 0).mean() == pytest.approx(0.05, abs=0.01)
    assert features.max() <= 1 and features[features > 0].mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(toy.hidden(np.eye(5)), toy.data.directions)


def test_the_same_seed_gives_the_same_toy():
    one, again, other = (demo.superposition(steps=20, seed=seed).data.directions for seed in (3, 3, 4))
    assert (one == again).all() and not (one == other).all()


@pytest.mark.parametrize(
    "given",
    [{"n_features": 0}, {"n_dimensions": 1}, {"probability": 0}, {"steps": 0}, {"importance": [1, 2]}, {"importance": -1}],
)  # fmt: skip
def test_numbers_that_make_no_toy_are_refused(given):
    with pytest.raises(DataError):
        demo.superposition(**{"steps": 5, **given})


def test_a_coder_of_another_width_is_refused(toy):
    from mi_widgets import sae

    with pytest.raises(DataError, match="3 wide, the toy model 2"):
        toy.found(sae.train_on(np.random.default_rng(0).normal(size=(50, 3)), d_sae=4, k=1, steps=2))
