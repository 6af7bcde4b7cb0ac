"""The picture of a grid of patches as bytes: honest numbers, whole, partial or of plain data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_records import patch_grid

from mi_widgets.wire import patching_picture
from mi_widgets.wire.blocks import unpack
from mi_widgets.wire.patching_messages import PatchingManifest
from mi_widgets.wire.patching_picture import PatchingPicture


def test_every_number_crosses_exactly():
    data = patch_grid()
    manifest, blocks, headers = unpack(PatchingPicture(data, run=3).parcel())
    low, high = data.interval()
    expected = {
        "effect": data.effect,
        "change": data.change_in_metric,
        "estimate": data.effect_estimate,
        "estimated_change": data.estimate - np.float32(data.base),
        "low": low,
        "high": high,
        "spread": data.spread,
    }
    assert set(blocks) == set(expected)
    for name, values in expected.items():
        assert np.array_equal(blocks[name], values.ravel()), name
    assert {(tuple(header["axes"]), header["dtype"]) for header in headers.values()} == {(("cell",), "f32")}
    assert (manifest["run"], manifest["kind"], manifest["pairs"]) == (3, "patching", 2)
    assert (manifest["clean"], manifest["corrupt"]) == (data.clean, data.corrupt)


def test_the_manifest_is_what_the_contract_says():
    manifest = unpack(PatchingPicture(patch_grid()).parcel())[0]
    assert set(manifest) == {name for base in PatchingManifest.__mro__ for name in getattr(base, "__annotations__", ())}


def test_a_part_says_how_much_of_it_is_exact():
    values = np.full((2, 8), np.nan, np.float32)
    values[:, :3] = 1
    picture = PatchingPicture(patch_grid(values=values), total=8)
    manifest, blocks, _ = unpack(picture.parcel())
    assert (manifest["done"], manifest["total"]) == (3, 8)
    assert np.isfinite(blocks["effect"]).sum() == 3
    assert np.isfinite(blocks["estimate"]).all()
    assert "low" not in blocks  # of pairs only when all is known


def test_very_many_cells_cross_in_half_precision(monkeypatch):
    monkeypatch.setattr(patching_picture, "EXACT_CELLS", 7)
    data = patch_grid()
    _, blocks, headers = unpack(PatchingPicture(data).parcel())
    assert {header["dtype"] for header in headers.values()} == {"f16"}
    np.testing.assert_allclose(blocks["effect"], data.effect.ravel(), rtol=1e-3)


def test_equal_metrics_leave_no_effect_and_honest_json():
    data = patch_grid(clean_values=[np.nan, 1.0], corrupt_values=[1.0, 1.0])
    manifest, blocks, _ = unpack(PatchingPicture(data).parcel())
    assert manifest["clean"] is None
    assert not manifest["differs"]
    assert np.isnan(blocks["effect"]).all()
    json.dumps(manifest, allow_nan=False)


def test_an_ablation_has_one_prompt_and_no_corrupt_metric():
    data = patch_grid(method="ablation", site="z", by=("layer", "head"), ablated_by="mean", reference="2 prompts")
    manifest = unpack(PatchingPicture(data).parcel())[0]
    assert (manifest["compare"], manifest["other"], manifest["corrupt"], manifest["base"]) == (None, None, None, "A")
    assert (manifest["experiment"], manifest["ablated_by"], manifest["grids"]) == ("ablation", "mean", [])


@pytest.mark.parametrize(("error", "ok"), [(3e-6, True), (3e-3, False), (float("nan"), False)])
def test_a_check_that_fails_says_so(error, ok):
    (check,) = unpack(PatchingPicture(patch_grid(), errors={"a cell = its run": error}).parcel())[0]["checks"]
    assert check["ok"] == ok
    assert check["label"] == "a cell = its run"


def test_what_the_grid_does_not_know_is_as_given():
    picture = PatchingPicture(patch_grid(), facts={"n_heads": 8, "sites": ["z", "q"]})
    manifest = picture.manifest()
    assert (manifest["n_layers"], manifest["n_heads"]) == (2, 8)
    assert manifest["sites"] == ["z", "q"]
    assert manifest["answer"] == {"id": 3, "string": " c"}
    assert manifest["foil"] == {"id": 1, "string": " a"}
