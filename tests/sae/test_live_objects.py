"""A coder of SAELens's in memory is taken as it is, without SAELens."""

import json

import numpy as np
import pytest
import torch
from saelens_ducks import (
    SAE,
    BatchTopKTrainingConfig,
    BatchTopKTrainingSAE,
    Config,
    Metadata,
    OldConfig,
    TopKConfig,
)
from safetensors.torch import load_file

from mi_widgets import sae
from mi_widgets.errors import DataError


def live(folder, kind, own=()):
    """The object that SAELens would have of a fixture's folder."""
    said = json.loads((folder / "cfg.json").read_text())
    values = {key: said[key] for key in ("d_in", "d_sae", "apply_b_dec_to_input", "normalize_activations", *own)}
    metadata = Metadata(**said["metadata"])
    return SAE(kind(**values, metadata=metadata), load_file(folder / "sae_weights.safetensors"))


@pytest.mark.parametrize(
    ("name", "kind", "own"),
    [("standard-layer_norm", Config, ()), ("topk-rescale", TopKConfig, ("k", "rescale_acts_by_decoder_norm"))],
)
def test_an_object_is_the_coder_that_its_files_are(name, kind, own, shared):
    folder = shared / "saes" / "formats" / name
    coder, filed = sae.load(live(folder, kind, own)), sae.load(folder)
    assert coder.fingerprint == filed.fingerprint
    assert coder.name == f"blocks.1.hook_resid_post {kind.word}"
    assert (coder.hook_in, coder.folder) == ("blocks.1.hook_resid_post", None)
    expected = np.load(folder / "expected.npz")
    np.testing.assert_allclose(coder.reconstruct(torch.from_numpy(expected["x"])), expected["recon"], atol=1e-5)


def test_an_object_is_copied_and_left_as_it_is(shared):
    thing = live(shared / "saes" / "formats" / "standard", Config)
    coder = sae.load(thing)
    before = coder.fingerprint
    with torch.no_grad():
        thing.W_dec.zero_()
    assert sae.load(thing).fingerprint != before
    assert bool(coder.W_dec.any())
    assert thing.W_dec.requires_grad


def test_an_object_that_was_moved_to_another_type_is_computed_in_that(shared):
    thing = live(shared / "saes" / "formats" / "standard", Config).to(torch.bfloat16)
    thing.cfg.dtype = "torch.bfloat16"
    assert sae.load(thing).dtype == torch.bfloat16
    thing.cfg.dtype = "float32"  # some ways of moving it leave the settings as they were
    assert sae.load(thing).dtype == torch.bfloat16


def test_one_in_training_is_what_would_be_saved_for_others():
    draw = torch.Generator().manual_seed(0)
    weights = {"W_enc": torch.randn(6, 10, generator=draw), "W_dec": torch.randn(10, 6, generator=draw)}
    weights |= {"b_enc": torch.zeros(10), "b_dec": torch.zeros(6)}
    coder = sae.load(BatchTopKTrainingSAE(BatchTopKTrainingConfig(6, 10), weights))
    assert coder.architecture == "jumprelu"
    x = torch.randn(20, 6, generator=draw)
    before = x @ weights["W_enc"]
    torch.testing.assert_close(coder.encode(x), before * (before > 0.25))


def test_an_object_of_version_5_is_read(shared):
    folder = shared / "saes" / "formats" / "legacy-v5-topk"
    said = json.loads((folder / "cfg.json").read_text())
    cfg = OldConfig(**{key: said[key] for key in OldConfig.__dataclass_fields__})
    coder = sae.load(SAE(cfg, load_file(folder / "sae_weights.safetensors")))
    assert coder.architecture == "topk"
    assert coder.fingerprint == sae.load(folder).fingerprint


def test_gemma_scope_2_through_saelens_stands_where_its_file_says():
    """SAELens says hook_mlp_in, which is before the norm; the file's Hugging Face name is after it."""
    metadata = Metadata(
        hook_name="blocks.3.hook_mlp_in", hf_hook_name="model.layers.3.pre_feedforward_layernorm.output"
    )
    weights = {
        "W_enc": torch.ones(6, 10),
        "W_dec": torch.ones(10, 6),
        "b_enc": torch.zeros(10),
        "b_dec": torch.zeros(6),
    }
    assert sae.load(SAE(Config(6, 10, metadata=metadata), weights)).hook_in == "blocks.3.mlp.hook_in"


def test_an_object_that_lacks_a_tensor_is_refused():
    with pytest.raises(DataError, match=r"lacks W_enc, b_enc: a standard coder is made of"):
        sae.load(SAE(Config(6, 10), {"W_dec": torch.ones(10, 6), "b_dec": torch.zeros(6)}))


def test_a_model_is_no_coder(model):
    with pytest.raises(DataError, match="the TransformerBridge object is of architecture"):
        sae.load(model)
