"""Every coder that others wrote is read, and encodes and decodes as they computed it: SAELens, circuit-tracer."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mi_widgets import sae

SAES = Path(__file__).parents[3] / "shared" / "saes"
#: Every folder with weights in it, whoever put it there: one that is not read fails.
WEIGHTS = (".safetensors", ".npz", ".pt", ".bin")
FOLDERS = sorted({path.parent for path in SAES.rglob("*") if path.suffix in WEIGHTS})
SETS = [folder for folder in FOLDERS if folder.parent.name == "clt"]
ALONE = [folder for folder in FOLDERS if folder not in SETS]
RESTATED = [folder for folder in FOLDERS if (folder / "cfg_as_loaded.json").exists()]
GRAPHED = SAES.parent / "oracles" / "circuit-tracer" / "transcoders"


def named(folder):
    return str(folder.relative_to(SAES))


def expected_of(folder):
    with np.load(folder / "expected.npz") as read:
        return {key: read[key] for key in read.files}


def same(found, expected):
    np.testing.assert_allclose(found.float().numpy(), expected, rtol=0, atol=1e-5)


def test_all_that_there_is_is_tried(shared):
    assert len(ALONE) >= 60
    assert len(SETS) >= 3


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_encodes_and_decodes_as_those_who_wrote_it(folder, shared):
    coder, expected = sae.load(folder), expected_of(folder)
    x = torch.from_numpy(expected["x"])
    acts = coder.encode(x)
    same(acts, expected["acts"])
    same(coder.decode(acts, x), expected["recon"])
    same(coder.reconstruct(x), expected["recon"])


@pytest.mark.parametrize("folder", ALONE, ids=named)
def test_some_features_are_those_of_all(folder, shared):
    coder = sae.load(folder)
    x = torch.from_numpy(expected_of(folder)["x"])
    some = [coder.d_sae - 1, 0, 7]
    torch.testing.assert_close(coder.encode_some(x, some), coder.encode(x)[..., some], rtol=0, atol=1e-5)


@pytest.mark.parametrize("folder", ALONE, ids=named)
def test_what_is_saved_is_the_same_coder(folder, shared, tmp_path):
    coder = sae.load(folder)
    back = sae.load(sae.save(coder, tmp_path / "saved"))
    assert back.fingerprint == coder.fingerprint
    assert (back.hook_in, back.hook_out, back.skips_first) == (coder.hook_in, coder.hook_out, coder.skips_first)
    assert back.architecture == coder.architecture
    assert back.settings == coder.settings


@pytest.mark.parametrize("folder", RESTATED, ids=named)
def test_old_and_foreign_settings_are_read_as_saelens_reads_them(folder, shared):
    coder, said = sae.load(folder), json.loads((folder / "cfg_as_loaded.json").read_text())
    assert coder.architecture == said["architecture"]
    assert {key: said[key] for key in coder.settings if key in said} == {
        key: value for key, value in coder.settings.items() if key in said
    }
    assert (coder.d_in, coder.d_sae, coder.d_out) == (said["d_in"], said["d_sae"], said.get("d_out", said["d_in"]))
    # SAELens puts Gemma Scope 2's transcoders before the norm, the file says after it
    hook = said["metadata"]["hook_name"].replace("hook_mlp_in", "mlp.hook_in")
    assert coder.hook_in == hook
    assert coder.hook_out == said["metadata"].get("hook_name_out", hook)


def test_features_alone_are_what_saelens_decodes_without_the_input(shared):
    for folder in (SAES / "formats" / "skip_transcoder-d_out16", SAES / "formats" / "temporal-untied-relu"):
        coder, expected = sae.load(folder), expected_of(folder)
        alone = torch.from_numpy(expected["acts"]) @ coder.W_dec + coder.b_dec
        same(alone, expected["recon_decode_only"])


def test_float32_arithmetic_on_half_precision_weights_is_near(shared):
    folder = SAES / "formats" / "jumprelu-bfloat16"
    coder, expected = sae.load(folder, dtype="float32"), expected_of(folder)
    acts = coder.encode(torch.from_numpy(expected["x"]))
    assert coder.dtype == acts.dtype == torch.float32
    assert torch.equal(acts > 0, torch.from_numpy(expected["acts"] > 0))
    np.testing.assert_allclose(acts.numpy(), expected["acts"], atol=3e-2)


@pytest.mark.parametrize("alone", [SAES / "formats" / "temporal", SAES / "formats" / "temporal-untied-relu"], ids=named)
def test_a_temporal_coder_reads_several_sequences_each_by_itself(alone, shared):
    coder = sae.load(alone)
    assert coder.reads_sequence
    x = torch.randn(3, 2, 7, 24, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(coder.encode(x)[1, 1], coder.encode(x[1, 1]))
    torch.testing.assert_close(coder.reconstruct(x)[2, 0], coder.reconstruct(x[2, 0]))


def test_a_set_gives_the_transcoder_of_each_layer(shared):
    folder = SAES / "clt" / "transcoder_set-skip"
    transcoders, expected = sae.load(folder), expected_of(folder)
    assert transcoders.layers == (0, 1, 2)
    assert transcoders.hooks_in == tuple(f"blocks.{layer}.mlp.hook_in" for layer in range(3))
    x = torch.from_numpy(expected["x"])
    for layer, coder in zip(transcoders.layers, transcoders, strict=True):
        same(coder.encode(x[layer]), expected["acts"][layer])
        same(coder.reconstruct(x[layer]), expected["recon"][layer])
    assert sae.load(folder, layer=2).fingerprint == transcoders[2].fingerprint


def test_a_cross_layer_feature_writes_to_its_layer_and_those_above(shared):
    folder = SAES / "clt" / "clt-jumprelu"
    clt, expected = sae.load(folder), expected_of(folder)
    acts = torch.from_numpy(expected["acts"])
    without = acts.clone()
    without[1, 4] = 0
    change = clt.decode(acts) - clt.decode(without)
    assert not change[0].any()
    for layer in (1, 2):
        same(change[layer, 4], (acts[1, 4] @ clt.decoder(1, layer)).numpy())


@pytest.mark.parametrize("name", ["plt-jumprelu", "plt-skip-topk", "clt-jumprelu"])
def test_sets_stored_in_half_precision_are_computed_in_single(name, shared):
    coders = sae.load(GRAPHED / name)
    x = torch.randn(6, 5, 192, generator=torch.Generator().manual_seed(0))
    acts = coders.encode(x)
    assert acts.dtype == torch.float32
    assert coders.decode(acts, x).shape == (6, 5, 192)


def test_activations_are_those_of_a_circuit_tracers_graph(shared):
    """The features that its graph of a prompt holds, with their activations, where the model's own MLP inputs are."""
    from mi_widgets.models import load_model

    model = load_model(shared / "models" / "stories3M-llama")
    for name in ("plt-jumprelu", "plt-skip-topk", "clt-jumprelu"):
        coders = sae.load(GRAPHED / name)
        coders.fits(model)
        with np.load(GRAPHED.parent / name / "graph_0.npz") as read:
            graph = {key: read[key] for key in ("tokens", "active_features", "activation_values")}
        _, cache = model.run_with_cache(
            torch.from_numpy(graph["tokens"])[None], names_filter=list(coders.hooks_in), prepend_bos=False
        )
        acts = coders.encode([cache[hook][0] for hook in coders.hooks_in])
        acts[:, 0] = 0
        assert np.array_equal(acts.nonzero().numpy(), graph["active_features"])
        np.testing.assert_allclose(acts[acts != 0].numpy(), graph["activation_values"], atol=1e-4)
