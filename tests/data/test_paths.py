"""What the record of path patching says: of receivers, of the path that was walked, and how far each effect goes."""

from __future__ import annotations

import numpy as np
import pytest
from made_records import path_effects

from mi_widgets.errors import DataError


def test_effects_are_measured_as_those_of_a_grid():
    found = path_effects()
    assert (found.clean, found.corrupt, found.base, found.span) == (2.75, -0.75, -0.75, 3.5)
    np.testing.assert_allclose(found.effect, (found.values.mean(0) + 0.75) / 3.5, rtol=1e-6)
    noise = path_effects(direction="noise")
    assert (noise.base, noise.neutral, noise.base_tokens) == (2.75, 1.0, noise.clean_tokens)


def test_receivers_and_the_path_are_named():
    found = path_effects()
    assert found.labels == ("L1 MLP", "L2 H3 q", "L2 H1 k", "L2 H0 v", "L2 MLP", "logits")
    assert found.steps == ("L0 H1", "L1 H0 v")
    assert found.sender == (0, 1)
    assert path_effects(sender_head=-1).steps[0] == "L0 MLP"


def test_a_receiver_is_found_and_walked_to():
    found = path_effects()
    assert found.receiver("q", 2, 3) == 1
    assert found.walked(1) == ((1, 0, "v"), (2, 3, "q"))
    assert found.walked(found.receiver("mlp", 2)) == ((1, 0, "v"), (2, None, "mlp"))
    with pytest.raises(DataError, match="nothing comes behind the logits"):
        found.walked(found.receiver("logits"))
    with pytest.raises(DataError, match="L1 H0 v has no receiver L2 H5 q"):
        found.receiver("q", 2, 5)


def test_its_table_has_a_row_for_each_receiver():
    table = path_effects().to_pandas()
    assert list(table.columns) == ["layer", "head", "receiver", "value", "change", "effect", "spread", "low", "high"]
    assert table.receiver.tolist() == ["mlp", "q", "k", "v", "mlp", "logits"]
    assert (table.low <= table.effect + 1e-6).all() and (table.effect <= table.high + 1e-6).all()


def test_what_was_not_computed_is_not_exact():
    values = np.array([[1, np.nan, 3, 4, 5, 6], [1, 2, 3, 4, np.nan, 6]], np.float32)
    found = path_effects(values=values)
    assert found.exact.tolist() == [True, False, True, True, False, True]
    assert np.isnan(found.effect).tolist() == (~found.exact).tolist()


def test_a_path_needs_a_kind_a_layer_and_a_head_for_each_station():
    with pytest.raises(DataError, match="each station"):
        path_effects(path_heads=())
