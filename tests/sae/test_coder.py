"""What a coder says of itself, refuses, and keeps."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from made_coders import made

from mi_widgets import sae
from mi_widgets.errors import DataError


def test_the_room_is_opened_without_torch():
    code = "import sys, mi_widgets as mw; assert 'torch' not in sys.modules; mw.sae.load; print('sae' in dir(mw))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"True\n"


def test_a_coder_says_what_it_is(shared):
    coder = sae.load(shared / "saes" / "stories3m-transcoder")
    assert (coder.architecture, coder.is_transcoder, coder.skips_first) == ("jumprelu_transcoder", True, True)
    assert (coder.d_in, coder.d_out, coder.d_sae) == (192, 192, 1536)
    assert (coder.hook_in, coder.hook_out) == ("blocks.3.ln2.hook_normalized", "blocks.3.hook_mlp_out")
    assert coder.name == "stories3m-transcoder"
    assert coder.folder == shared / "saes" / "stories3m-transcoder"
    assert "1,536 features of 192" in repr(coder)


def test_directions_are_those_that_act_where_topk_rescales(shared):
    coder = sae.load(shared / "saes" / "formats" / "topk-rescale")
    x = torch.from_numpy(np.load(shared / "saes" / "formats" / "topk-rescale" / "expected.npz")["x"])
    acts = coder.encode(x)
    torch.testing.assert_close(acts @ coder.W_dec + coder.b_dec, coder.decode(acts))
    torch.testing.assert_close(coder.decoder_norms, torch.ones(40))


def test_a_feature_without_a_direction_adds_nothing():
    decoder = torch.ones(10, 6)
    decoder[2] = 0
    coder = made("topk", settings={"k": 10, "rescale_acts_by_decoder_norm": True}, W_dec=decoder)
    assert torch.isfinite(coder.reconstruct(torch.randn(4, 6))).all()
    assert not coder.encode(torch.randn(4, 6))[:, 2].any()
    assert not coder.W_dec[2].any()


@pytest.mark.parametrize("how", ["layer_norm", "constant_norm_rescale"])
def test_directions_act_times_the_scale_of_the_normalisation(how):
    coder = made(settings={"normalize_activations": how})
    x = torch.randn(5, 6)
    acts = coder.encode(x)
    more = acts.clone()
    more[:, 3] += 2
    change = coder.decode(more, x) - coder.decode(acts, x)
    torch.testing.assert_close(change, 2 * coder.scale(x) * coder.W_dec[3], rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match=rf"undoes {how} of its input.*decode\(acts, x\)"):
        coder.decode(acts)


def test_heads_are_flattened_and_set_apart_again(shared):
    coder = sae.load(shared / "saes" / "formats" / "standard-hook_z")
    expected = np.load(shared / "saes" / "formats" / "standard-hook_z" / "expected.npz")
    x = torch.from_numpy(expected["x"])
    apart = x.unflatten(-1, (3, 8))
    assert coder.flattens_heads
    assert torch.equal(coder.encode(apart), coder.encode(x))
    assert torch.equal(coder.reconstruct(apart), coder.reconstruct(x).unflatten(-1, (3, 8)))


def test_the_fingerprint_is_of_what_is_computed():
    coder = made()
    assert coder.fingerprint == made().fingerprint == coder.to("cpu", torch.float32).fingerprint
    nudged = coder.weights["b_enc"].clone()
    nudged[0] += 1e-6
    others = [made(b_enc=nudged), made(hook="blocks.2.hook_resid_post"), coder.to(dtype="float64")]
    others += [made("topk", settings={"k": 3}), made("topk", settings={"k": 4})]
    assert len({other.fingerprint for other in [coder, *others]}) == 6


def test_circuit_tracers_activations_are_not_clipped():
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    largest = made("topk_transcoder", settings={"k": 9, "clips": False})
    assert ((largest.encode(x) != 0).sum(-1) == 9).all()
    assert (largest.encode(x) < 0).any()
    assert torch.equal(largest.encode(x).relu(), made("topk_transcoder", settings={"k": 9}).encode(x))
    jumped = made("jumprelu_transcoder", settings={"clips": False}, threshold=torch.full((10,), -1.0))
    assert float(jumped.encode(x).min()) > -1
    assert (jumped.encode(x) < 0).any()
    torch.testing.assert_close(jumped.encode_some(x, [4, 2]), jumped.encode(x)[:, [4, 2]])


def test_nothing_is_computed_with_gradients():
    assert not made().encode(torch.randn(2, 6, requires_grad=True)).requires_grad


def test_activations_of_another_width_are_refused_with_both_sides():
    with pytest.raises(DataError, match=r"shape \[4, 7\] for mine, which reads 6"):
        made().encode(torch.randn(4, 7))
    with pytest.raises(DataError, match=r"shape \[4, 6\] are not of the 10 features of mine"):
        made().decode(torch.randn(4, 6))
    with pytest.raises(DataError, match="features 0 to 9"):
        made().encode_some(torch.randn(4, 6), [10])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"W_enc": None},
            r"mine lacks W_enc: a standard coder is made of W_dec, W_enc, b_dec, b_enc; there is b_enc \[10\]",
        ),
        ({"threshold": torch.ones(10)}, "mine has also threshold"),
        ({"W_enc": torch.ones(10, 6)}, r"W_enc of mine is of shape \[10, 6\], not \[d_in, d_sae\] = \[6, 10\]"),
        ({"b_enc": torch.ones(9)}, r"b_enc of mine is of shape \[9\], not \[d_sae\] = \[10\]"),
        ({"W_enc": torch.ones(60)}, r"W_enc of mine is of shape \[60\], not \[d_in, d_sae\]"),
        ({"b_enc": torch.tensor([float("nan")] * 10)}, "b_enc of mine holds 10 numbers that are not finite"),
        ({"b_enc": torch.ones(10, dtype=torch.int64)}, "b_enc of mine holds numbers of type torch.int64"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(wrong, said):
    with pytest.raises(DataError, match=said):
        made(**wrong)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(DataError, match="has no setting k"):
        made(settings={"k": 3})
    with pytest.raises(DataError, match=r"normalize_activations='rms' of mine.*layer_norm"):
        made(settings={"normalize_activations": "rms"})
    for k in (0, 2.5, "4", True, None):
        with pytest.raises(DataError, match=f"k={k!r} of mine means nothing"):
            made("topk", settings={"k": k})
    with pytest.raises(DataError, match="apply_b_dec_to_input=1 of mine means nothing"):
        made(settings={"apply_b_dec_to_input": 1})
    with pytest.raises(DataError, match="k=11 of mine, which has 10 features"):
        made("topk", settings={"k": 11})
    with pytest.raises(DataError, match=r"architecture 'crosscoder'.*Known are standard"):
        made("crosscoder")


def test_a_coder_fits_its_model_or_says_both_sides(model):
    d_model = int(model.cfg.d_model)
    made(d_in=d_model).fits(model)
    with pytest.raises(DataError, match=rf"mine is 6 wide at blocks.1.hook_resid_post, .* is {d_model} wide"):
        made().fits(model)
    with pytest.raises(DataError, match=r"mine stands at blocks.9.hook_resid_post, which the model .* does not have"):
        made(d_in=d_model, hook="blocks.9.hook_resid_post").fits(model)
    with pytest.raises(DataError, match="does not say at which hook"):
        made(d_in=d_model, hook=None).fits(model)
