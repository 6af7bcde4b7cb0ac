"""What is saved is what SAELens 6 reads, whole or not at all."""

import json
import os

import pytest
import torch
from made_coders import made
from safetensors.torch import load_file

from mi_widgets import sae
from mi_widgets.errors import DataError, ExportError


def test_what_saelens_wrote_is_written_again_the_same(shared, tmp_path):
    for name in ("topk-rescale", "jumprelu_skip_transcoder-d_out16", "temporal-untied-relu", "standard-bfloat16"):
        folder = shared / "saes" / "formats" / name
        saved = sae.save(sae.load(folder), tmp_path / name)
        was, said = (json.loads((one / "cfg.json").read_text()) for one in (folder, saved))
        metadata, again = was.pop("metadata"), said.pop("metadata")
        assert said == was
        assert metadata.items() <= again.items()
        new, old = (load_file(one / "sae_weights.safetensors") for one in (saved, folder))
        assert set(new) == set(old)
        assert all(torch.equal(new[key], old[key]) for key in new)


def test_an_old_file_is_written_as_a_new_one(shared, tmp_path):
    saved = sae.save(sae.load(shared / "saes" / "formats" / "legacy-v5-hook_z"), tmp_path / "new")
    said = json.loads((saved / "cfg.json").read_text())
    assert said["metadata"]["sae_lens_version"] == "6.0.0"
    assert said["metadata"]["hook_name"] == "blocks.1.attn.hook_z"
    assert said["reshape_activations"] == "hook_z"
    assert "activation_fn_str" not in said


def test_coders_that_saelens_has_no_name_for_are_not_saved(shared, tmp_path):
    skip = shared / "oracles" / "circuit-tracer" / "transcoders" / "plt-skip-topk"
    with pytest.raises(DataError, match=r"topk_skip_transcoder .*SAELens cannot read it"):
        sae.save(sae.load(skip, layer=0), tmp_path)
    negative = made("jumprelu", settings={"clips": False}, threshold=torch.full((10,), -0.5))
    with pytest.raises(DataError, match="keeps negative activations"):
        sae.save(negative, tmp_path)
    with pytest.raises(DataError, match="one by one"):
        sae.save(sae.load(skip), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_transcoder_of_a_set_is_saved_where_clipping_changes_nothing(shared, tmp_path):
    folder = shared / "oracles" / "circuit-tracer" / "transcoders" / "plt-jumprelu"
    coder = sae.load(folder, layer=3)
    back = sae.load(sae.save(coder, tmp_path / "one"))
    x = torch.randn(9, 192, generator=torch.Generator().manual_seed(0))
    assert (back.architecture, back.hook_in) == ("jumprelu_transcoder", "blocks.3.mlp.hook_in")
    assert torch.equal(back.reconstruct(x), coder.reconstruct(x))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="cannot make the folder"):
        sae.save(made(), tmp_path / "file" / "inside")


def test_what_cannot_be_written_leaves_the_old_files(tmp_path, monkeypatch):
    first = made()
    folder = sae.save(first, tmp_path / "coder")

    def full(*_given, **_options):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(ExportError, match=r"cannot write .*sae_weights.*the old file stands.*Free some space"):
        sae.save(made(b_enc=torch.ones(10)), folder)
    assert sae.load(folder).fingerprint == first.fingerprint
    assert sorted(path.name for path in folder.iterdir()) == ["cfg.json", "sae_weights.safetensors"]
