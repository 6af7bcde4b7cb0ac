"""The sparse coders that come with the demo model: they fit it, and are worth what its card says."""

from __future__ import annotations

import json

import pytest
import torch

import mi_widgets as mw
from mi_widgets.demo import CODER_SITES, card, coder_folder, coders
from mi_widgets.errors import DataError

PLACES = [(layer, site) for layer in range(4) for site in CODER_SITES]


@pytest.fixture(scope="module")
def known() -> dict:
    return json.loads((mw.demo.WEIGHTS / coders.KNOWN).read_text())


@pytest.mark.parametrize(("layer", "site"), PLACES)
def test_every_layer_has_a_coder_of_each_kind_that_fits(demo_model, layer, site):
    coder = mw.demo.coder(layer, site)
    coder.fits(demo_model)
    assert (coder.d_in, coder.d_out, coder.dtype, coder.skips_first) == (128, 128, torch.float32, True)
    hook, hook_out = (name and name.format(layer) for name in CODER_SITES[site])
    assert (coder.hook_in, coder.hook_out) == (hook, hook_out or hook)
    assert coder.is_transcoder == (site == "mlp")


def test_they_are_worth_what_the_card_says(demo_model, known):
    found = coders.measured(demo_model, coder_folder(0).parent)
    assert found.keys() == known.keys() == {coder_folder(*place).name for place in PLACES}
    for name, entry in found.items():
        numbers = {key: one for key, one in known[name].items() if key != "architecture"}
        assert entry.pop("architecture") == known[name]["architecture"]
        assert entry == pytest.approx(numbers, abs=0.002), name
    assert min(entry["variance_explained"] for entry in found.values()) > 0.8
    assert min(entry["loss_recovered"] for entry in found.values()) > 0.95


def test_the_card_is_filled_in(known):
    assert card.coder_table(known) in card.CARD.read_text(encoding="utf-8")


def test_the_text_that_measures_was_not_learned_from():
    learned, held_out = ({tuple(row) for row in coders.texts(seed, 30)} for seed in (coders.SEED, coders.HELD_OUT_SEED))
    assert not learned & held_out
    assert all(row[-1] != 0 for row in learned | held_out)  # no padding


def test_features_that_never_fire_are_taken_out_and_the_others_say_the_same(demo_model):
    coder, learned = mw.demo.coder(1), coders.texts(7, 2)
    kept = coders.living(demo_model, coder, learned)
    hook = coder.hook_in
    _, cache = demo_model.run_with_cache(torch.tensor(learned[:1]), names_filter=[hook])
    x = cache[hook][0, 1:]
    assert 0 < kept.d_sae < coder.d_sae
    torch.testing.assert_close(kept.reconstruct(x), coder.reconstruct(x), atol=1e-4, rtol=1e-4)
    assert bool((kept.encode(x) != 0).sum() == (coder.encode(x) != 0).sum())


def test_a_tiny_run_trains_measures_and_leaves_what_is_shipped(tmp_path, capsys, monkeypatch):
    before = {path: path.read_bytes() for path in mw.demo.WEIGHTS.rglob("*") if path.is_file()}
    monkeypatch.setattr(coders, "ROWS", 12)
    monkeypatch.setattr(coders, "HELD_OUT_ROWS", 2)
    coders.main(["--out", str(tmp_path), "--layers", "0", "--steps", "3"])
    assert "| 0 | resid_post | topk |" in capsys.readouterr().out
    assert (tmp_path / "coders" / "layer_0_mlp" / "sae_weights.safetensors").is_file()
    assert {path: path.read_bytes() for path in before} == before


def test_a_coder_that_there_is_not_is_refused_by_what_there_is():
    with pytest.raises(DataError, match=r"no mlp coder of layer 9.*layer_0_mlp, layer_1_mlp"):
        mw.demo.coder(9, "mlp")
    with pytest.raises(DataError, match="resid_post"):
        mw.demo.coder(0, "resid")
