"""Superposition: which features are kept, and how near a coder comes to them."""

from __future__ import annotations

import numpy as np
import pytest
from made_records import superposition

from mi_widgets.errors import DataError


def test_a_short_direction_is_no_feature_that_is_kept_and_does_not_count_in_the_match():
    found = superposition(decoder=np.array([[2, 0], [-0.5, 0.9], [-0.5, -0.9]]))
    assert found.kept.tolist() == [True, True, True, False]
    assert found.match == pytest.approx(1.0)
    assert found.best.tolist()[:3] == [0, 1, 2]


def test_the_match_is_the_mean_of_the_largest_cosines():
    found = superposition()
    unit = found.directions / np.linalg.norm(found.directions, axis=1, keepdims=True)
    rows = found.decoder / np.linalg.norm(found.decoder, axis=1, keepdims=True)
    assert found.match == pytest.approx((unit @ rows.T).max(1)[:3].mean(), abs=1e-6)
    assert found.to_pandas()["cosine"].tolist() == pytest.approx((unit @ rows.T).max(1).tolist(), abs=1e-6)


def test_without_a_coder_there_is_no_match():
    alone = superposition(decoder=None, active=None, coder="")
    assert "cosine" not in alone.to_pandas()
    with pytest.raises(DataError, match="no coder"):
        _ = alone.match
