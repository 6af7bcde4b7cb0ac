"""What is found where, and one clear answer to whatever is wrong with a file."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mi_widgets import sae
from mi_widgets.errors import DataError


@pytest.fixture
def copied(shared, tmp_path):
    """`copied(path under saes)`: a copy that a test may damage."""

    def copy(inside):
        return shutil.copytree(shared / "saes" / inside, tmp_path / inside.replace("/", "-"))

    return copy


def restate(folder, **values):
    """Changes what `cfg.json` says; None takes a key away."""
    said = json.loads((folder / "cfg.json").read_text()) | values
    (folder / "cfg.json").write_text(json.dumps({key: value for key, value in said.items() if value is not None}))


def reweigh(folder, **tensors):
    """Puts other tensors into the weights; None takes one away."""
    file = folder / "sae_weights.safetensors"
    weights = load_file(file) | tensors
    save_file({key: tensor for key, tensor in weights.items() if tensor is not None}, file)


# -- where it is -------------------------------------------------------------------------------------


def test_a_folder_of_several_lists_them_and_takes_one(copied, tmp_path):
    root = tmp_path / "release"
    for layer in (0, 1):
        shutil.copytree(copied(f"formats/{'topk' if layer else 'standard'}"), root / f"layer_{layer}" / "width_40")
    with pytest.raises(DataError, match=r"release holds 2 coders: layer_0/width_40, layer_1/width_40\..*sae_id="):
        sae.load(root)
    assert sae.load(root, "layer_1/width_40").architecture == "topk"
    with pytest.raises(DataError, match=r"release has no folder layer_7\. It has layer_0/width_40, layer_1/width_40"):
        sae.load(root, "layer_7")


def test_one_of_a_coders_files_stands_for_its_folder(shared):
    folder = shared / "saes" / "formats" / "gated"
    assert sae.load(str(folder / "cfg.json")).fingerprint == sae.load(folder).fingerprint


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        sae.load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="int is no coder"):
        sae.load(3)
    with pytest.raises(DataError, match=r"holds no coder; there is nothing\. Known are SAELens's folders"):
        sae.load(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"there is notes\.txt\."):
        sae.load(tmp_path)


def test_hooks_and_name_and_type_may_be_given(shared):
    folder = shared / "saes" / "formats" / "jumprelu_transcoder"
    coder = sae.load(folder, hook_in="blocks.4.mlp.hook_in", dtype=torch.float64, name="mine")
    assert (coder.hook_in, coder.hook_out) == ("blocks.4.mlp.hook_in", "blocks.1.hook_mlp_out")
    assert (coder.dtype, coder.name, coder.encode(torch.ones(24)).dtype) == (torch.float64, "mine", torch.float64)
    moved = sae.load(shared / "saes" / "formats" / "topk", hook_in="blocks.0.hook_resid_pre")
    assert moved.hook_in == moved.hook_out == "blocks.0.hook_resid_pre"
    assert sae.load(coder) is coder
    with pytest.raises(DataError, match=r"'int8' is no number type.*bfloat16"):
        sae.load(folder, dtype="int8")
    with pytest.raises(DataError, match="is of one layer alone"):
        sae.load(folder, layer=2)


def test_gemma_scope_elsewhere_has_no_hook_until_it_is_given(copied, model):
    folder = copied("gemma/gemma-scope-2b-pt-mlp/layer_3/width_16k/average_l0_60")
    moved = folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(DataError, match=r"elsewhere does not say at which hook.*hook_in"):
        sae.load(moved).fits(model)
    assert sae.load(moved, hook_in="blocks.3.hook_mlp_out").hook_out == "blocks.3.hook_mlp_out"


def test_gemma_scope_elsewhere_is_a_transcoder_where_two_hooks_are_given(copied):
    folder = copied("gemma/gemma-scope-2b-pt-transcoders/layer_3/width_16k/average_l0_76")
    hooks = ("blocks.3.ln2.hook_normalized", "blocks.3.hook_mlp_out")
    known = sae.load(folder)
    moved = sae.load(folder.rename(folder.with_name("moved")), hook_in=hooks[0], hook_out=hooks[1])
    assert (moved.architecture, moved.hook_in, moved.hook_out) == ("jumprelu_transcoder", *hooks)
    assert moved.fingerprint == known.fingerprint
    autoencoder = copied("formats/standard")
    with pytest.raises(DataError, match="is an autoencoder: it writes where it reads"):
        sae.load(autoencoder, hook_in=hooks[0], hook_out=hooks[1])


def test_gemma_scope_2_without_its_settings_is_told_by_its_folders(shared, tmp_path):
    scope = shared / "saes" / "gemma" / "gemma-scope-2-270m-pt"
    moved = shutil.copytree(scope, tmp_path / scope.name)
    for file in sorted(scope.rglob("params.safetensors")):
        inside = file.parent.relative_to(scope)
        (moved / inside / "config.json").unlink()
        with_settings, without = sae.load(file.parent), sae.load(moved / inside)
        assert without.fingerprint == with_settings.fingerprint
        assert without.metadata["model_name"] == "google/gemma-3-270m-pt"


def test_an_autoencoder_that_says_its_hook_twice_is_one(copied):
    file = copied("gemma/gemma-scope-2-270m-pt/resid_post/layer_3_width_16k_l0_small") / "config.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps(said | {"hf_hook_point_out": said["hf_hook_point_in"]}))
    assert sae.load(file.parent).architecture == "jumprelu"


def test_a_place_of_hugging_face_that_is_not_known_is_told_when_it_is_needed(copied, model):
    file = copied("gemma/gemma-scope-2-270m-pt/resid_post/layer_3_width_16k_l0_small") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"hf_hook_point_in": "model.vision.3.output"}))
    coder = sae.load(file.parent)
    with pytest.raises(DataError, match=r"at which hook it stands but model\.vision\.3\.output, which is not known"):
        coder.fits(model)
    file.write_text(json.dumps({"architecture": "topk"}))
    with pytest.raises(DataError, match="a Gemma Scope of architecture 'topk'"):
        sae.load(file.parent)


# -- files that are bad ------------------------------------------------------------------------------


def test_truncated_weights_are_refused(copied):
    for inside, name in (("formats/standard", "sae_weights.safetensors"), ("clt/clt-relu", "W_dec_1.safetensors")):
        file = copied(inside) / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(DataError, match=rf"{name} is no whole safetensors file"):
            sae.load(file.parent)
    file = copied("gemma/gemma-scope-2b-pt-mlp/layer_3/width_16k/average_l0_60") / "params.npz"
    whole = file.read_bytes()
    for size in (0, 20, len(whole) // 2, len(whole) - 30):
        file.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"params\.npz"):
            sae.load(file.parent)


def test_a_pointer_of_git_lfs_is_told_from_a_damaged_file(copied):
    for inside, name in (
        ("formats/standard", "sae_weights.safetensors"),
        ("gemma/gemma-scope-2b-pt-mlp/layer_3/width_16k/average_l0_60", "params.npz"),
    ):
        file = copied(inside) / name
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        with pytest.raises(DataError, match=rf"{name} is a pointer of Git LFS.*git lfs pull"):
            sae.load(file.parent)


def test_damaged_bytes_within_an_npz_are_refused(copied):
    file = copied("gemma/gemma-scope-2b-pt-mlp/layer_3/width_16k/average_l0_60") / "params.npz"
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    file.write_bytes(damaged)
    with pytest.raises(DataError, match=r"params\.npz is no whole npz file"):
        sae.load(file.parent)


class Runs:
    """What a pickle may do when it is opened."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_nothing_pickled_is_ever_opened(copied, tmp_path):
    disguised = copied("formats/standard") / "sae_weights.safetensors"
    torch.save({"W_dec": Runs()}, disguised)
    npz = copied("gemma/gemma-scope-2b-pt-mlp/layer_3/width_16k/average_l0_60") / "params.npz"
    np.savez(npz, W_enc=np.array([Runs()], dtype=object))
    plain = tmp_path / "old" / "ae.pt"
    plain.parent.mkdir()
    torch.save({"W_dec": Runs()}, plain)
    bare = copied("clt/transcoder_set-skip") / "layer_1.safetensors"
    torch.save(Runs(), bare, _use_new_zipfile_serialization=False)
    for source in (disguised.parent, npz.parent, plain.parent, plain, bare.parent):
        with pytest.raises(DataError, match="is pickled; opening it could run any code, so it is not opened"):
            sae.load(source)


def test_a_header_that_begins_like_a_pickle_is_read(copied):
    folder = copied("formats/standard")
    file = folder / "sae_weights.safetensors"
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + length].ljust(0x0280)
    file.write_bytes(len(header).to_bytes(8, "little") + header + whole[8 + length :])
    assert file.read_bytes().startswith(b"\x80\x02")
    assert sae.load(folder).d_sae == 40


def test_settings_that_cannot_be_read_are_refused(copied):
    folder = copied("formats/standard")
    for text, said in (("{", "is no whole JSON file"), ("[1]", "holds list, not names and values")):
        (folder / "cfg.json").write_text(text)
        with pytest.raises(DataError, match=rf"cfg\.json {said}"):
            sae.load(folder)
    (folder / "cfg.json").unlink()
    with pytest.raises(DataError, match=r"there is no cfg\.json in"):
        sae.load(folder)
    folder = copied("clt/clt-relu")
    for text, said in (
        ("a: [", "is no whole YAML file"),
        ("word", "holds str"),
        ("model_kind: sae", "'sae'.*Known are"),
    ):
        (folder / "config.yaml").write_text(text)
        with pytest.raises(DataError, match=said):
            sae.load(folder)


def test_settings_of_wrong_kinds_are_refused(copied):
    folder = copied("formats/topk")
    metadata = json.loads((folder / "cfg.json").read_text())["metadata"]
    for wrong, said in (
        ({"metadata": [1]}, "the metadata of .* is list"),
        ({"metadata": metadata | {"seqpos_slice": 5}}, "seqpos_slice=5 of .* is no slice"),
        ({"metadata": metadata, "d_in": "24"}, "d_in='24' is no whole number"),
        ({"d_in": 24, "k": "many"}, "k='many' of .* means nothing"),
        ({"k": [6]}, r"k=\[6\] of .* means nothing"),
        ({"k": 6, "apply_b_dec_to_input": "yes"}, "apply_b_dec_to_input='yes' of .* means nothing"),
    ):
        restate(folder, **wrong)
        with pytest.raises(DataError, match=said):
            sae.load(folder)


def test_weights_that_are_missing_are_said(copied):
    folder = copied("formats/gated")
    reweigh(folder, r_mag=None)
    with pytest.raises(DataError, match=r"lacks r_mag: a gated coder is made of .*; there is .*W_dec \[40, 24\]"):
        sae.load(folder)
    (folder / "sae_weights.safetensors").unlink()
    with pytest.raises(DataError, match=r"there is no sae_weights\.safetensors in"):
        sae.load(folder)


def test_an_affine_transcoder_without_its_skip_is_refused(copied):
    file = copied("gemma/gemma-scope-2-270m-pt/transcoder/layer_3_width_16k_l0_small_affine") / "params.safetensors"
    save_file({key: one for key, one in load_file(file).items() if key != "affine_skip_connection"}, file)
    with pytest.raises(DataError, match="lacks W_skip"):
        sae.load(file.parent)


def test_widths_of_settings_and_weights_are_both_named(copied):
    folder = copied("formats/transcoder-d_out16")
    restate(folder, d_out=24)
    with pytest.raises(DataError, match=r"the settings of .* say d_out 24, its weights are of 16"):
        sae.load(folder)
    restate(folder, d_out=16)
    reweigh(folder, b_enc=torch.zeros(41))
    with pytest.raises(DataError, match=r"b_enc of .* is of shape \[41\], not \[d_sae\] = \[40\]"):
        sae.load(folder)


def test_numbers_that_are_not_finite_are_counted(copied):
    folder = copied("formats/jumprelu")
    reweigh(folder, threshold=torch.full((40,), float("nan")))
    with pytest.raises(DataError, match=r"threshold of .* holds 40 numbers that are not finite"):
        sae.load(folder)
    file = copied("clt/clt-relu") / "W_dec_0.safetensors"
    weights = load_file(file)
    weights["W_dec_0"][3, 2, 1] = float("inf")
    save_file(weights, file)
    with pytest.raises(DataError, match=r"W_dec_0 of .* not finite"):
        sae.load(file.parent)


def test_an_architecture_that_is_not_known_is_named_with_those_that_are(copied):
    folder = copied("formats/standard")
    restate(folder, architecture="crosscoder")
    with pytest.raises(DataError, match=r"'crosscoder', which is not known here.*Known are standard, .*temporal"):
        sae.load(folder)
    restate(folder, architecture="topK", dtype="float32")
    with pytest.raises(DataError, match="Did you mean 'topk'"):
        sae.load(folder)
    restate(folder, architecture="standard", dtype="float8")
    with pytest.raises(DataError, match="'float8' is no number type"):
        sae.load(folder)


# -- settings of old versions ------------------------------------------------------------------------


def test_old_scalings_and_activations_that_saelens_dropped_are_refused(copied):
    folder = copied("formats/legacy-v1-standard")
    reweigh(folder, scaling_factor=torch.full((40,), 1.5))
    with pytest.raises(DataError, match="has a scaling_factor of its finetuning"):
        sae.load(folder)
    folder = copied("formats/legacy-v5-standard")
    restate(folder, activation_fn_str="tanh-relu")
    with pytest.raises(DataError, match=r"has the activation 'tanh-relu'.*relu, topk"):
        sae.load(folder)


def test_old_truth_values_for_the_normalisation_are_read(copied):
    folder = copied("formats/legacy-v1-standard")
    restate(folder, normalize_activations=True)
    assert sae.load(folder).normalisation == "expected_average_only_in"


def test_new_settings_without_a_version_keep_what_they_say_of_the_model(copied):
    folder = copied("formats/jumprelu_transcoder")
    metadata = json.loads((folder / "cfg.json").read_text())["metadata"]
    restate(folder, metadata={key: one for key, one in metadata.items() if key != "sae_lens_version"})
    coder = sae.load(folder)
    assert (coder.hook_in, coder.hook_out) == ("blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out")


def test_a_version_that_is_no_number_is_taken_for_a_new_one(copied):
    folder = copied("formats/topk")
    metadata = json.loads((folder / "cfg.json").read_text())["metadata"]
    restate(folder, metadata=metadata | {"sae_lens_version": "unknown"})
    assert sae.load(folder).settings["k"] == 6


def test_a_position_slice_says_whether_the_first_is_left_out(copied):
    folder = copied("formats/topk")
    metadata = json.loads((folder / "cfg.json").read_text())["metadata"]
    for given, skips in (([1, None], True), ([None], False), ([0, 20], False), ([3, -1, 1], True), (None, False)):
        restate(folder, metadata=metadata | {"seqpos_slice": given})
        assert sae.load(folder).skips_first is skips


# -- sets --------------------------------------------------------------------------------------------


def test_layers_of_a_set_are_all_there_and_of_one_size(copied):
    folder = copied("clt/transcoder_set-skip")
    with pytest.raises(DataError, match=r"has no layer 5\. It has 0, 1, 2"):
        sae.load(folder, layer=5)
    with pytest.raises(DataError, match="has hooks in every layer"):
        sae.load(folder, hook_in="blocks.0.hook_resid_mid")
    weights = load_file(folder / "layer_1.safetensors")
    cut = {key: one[:20].clone() if key in ("W_enc", "W_dec", "b_enc") else one for key, one in weights.items()}
    save_file(cut, folder / "layer_1.safetensors")
    with pytest.raises(DataError, match=r"layer 1 of .* has 20 features of 24 → 24, layer 0 has 32"):
        sae.load(folder)
    assert sae.load(folder, layer=1).d_sae == 20
    (folder / "layer_1.safetensors").unlink()
    with pytest.raises(DataError, match=r"layer_1\.safetensors …; there is layers 0, 2"):
        sae.load(folder)
    assert sae.load(folder, layer=2).name.endswith("layer_2")
    (folder / "config.yaml").unlink()
    with pytest.raises(DataError, match=r"the layers of a set, and no config\.yaml"):
        sae.load(folder)


def test_a_cross_layer_set_refuses_what_has_no_meaning(copied):
    folder = copied("clt/clt-jumprelu")
    clt = sae.load(folder)
    for ask in (lambda: clt[1], lambda: sae.load(folder, layer=1)):
        with pytest.raises(DataError, match="no layer of it stands alone"):
            ask()
    with pytest.raises(DataError, match=r"features of layer 2 of .* write to no layer 1"):
        clt.decoder(2, 1)
    with pytest.raises(DataError, match=r"values of 2 layers for .*, which has 3"):
        clt.encode(torch.ones(2, 4, 24))
    save_file({"W_dec_1": torch.ones(32, 3, 24)}, folder / "W_dec_1.safetensors")
    with pytest.raises(DataError, match=r"W_dec_1 of .* is \[32, 3, 24\]"):
        sae.load(folder)


def test_fingerprints_of_sets_are_of_all_their_tensors(copied):
    folder = copied("clt/clt-relu")
    first = sae.load(folder).fingerprint
    assert sae.load(folder).fingerprint == first
    weights = load_file(folder / "W_dec_0.safetensors")
    weights["W_dec_0"][0, 2, 0] += 1
    save_file(weights, folder / "W_dec_0.safetensors")
    assert sae.load(folder).fingerprint != first


def test_a_set_may_list_its_layers_files(copied, tmp_path):
    folder = copied("clt/transcoder_set-skip")
    for layer in range(3):
        (folder / f"layer_{layer}.safetensors").rename(folder / f"part-{layer}.safetensors")
    said = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(f"{said}\ntranscoders: [part-2.safetensors, part-0.safetensors]\n")
    listed = sae.load(folder)
    assert listed.layers == (0, 1)
    expected = np.load(folder / "expected.npz")
    acts = listed[0].encode(torch.from_numpy(expected["x"][2]))
    np.testing.assert_allclose(acts.numpy(), expected["acts"][2], atol=1e-5)


def test_a_set_may_be_of_gemma_scope(shared, tmp_path):
    scope = shared / "saes" / "gemma" / "gemma-scope-2b-pt-transcoders" / "layer_3" / "width_16k" / "average_l0_76"
    hooks = "feature_input_hook: ln2.hook_normalized\nfeature_output_hook: hook_mlp_out"
    listed = f"transcoders: ['{scope / 'params.npz'}', '{scope / 'params.npz'}']"
    (tmp_path / "config.yaml").write_text(f"model_kind: transcoder_set\n{hooks}\n{listed}\n")
    transcoders = sae.load(tmp_path)
    expected = np.load(scope / "expected.npz")
    assert transcoders.hooks_in == ("blocks.0.ln2.hook_normalized", "blocks.1.ln2.hook_normalized")
    acts = transcoders.encode(torch.from_numpy(expected["x"]).expand(2, -1, -1))
    np.testing.assert_allclose(acts[1].numpy(), expected["acts"], atol=1e-5)


def test_a_cross_layer_skip_is_added_as_it_lies(copied):
    folder = copied("clt/clt-relu")
    x = torch.from_numpy(np.load(folder / "expected.npz")["x"])
    before = sae.load(folder).reconstruct(x)
    skips = torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(0))
    for layer in range(3):
        file = folder / f"W_enc_{layer}.safetensors"
        save_file(load_file(file) | {f"W_skip_{layer}": skips[layer]}, file)
    clt = sae.load(folder)
    torch.testing.assert_close(clt.reconstruct(x), before + x @ skips, rtol=1e-4, atol=1e-4)
    with pytest.raises(DataError, match="adds a skip from its input"):
        clt.decode(clt.encode(x))


def test_a_set_fits_its_model_or_says_what_does_not(copied, model):
    with pytest.raises(DataError, match=r"layer_0 is 24 wide at blocks.0.mlp.hook_in, where the model"):
        sae.load(copied("clt/transcoder_set-skip")).fits(model)
