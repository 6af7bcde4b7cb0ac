"""What each feature of a coder adds to a logit difference equals its share by hand on the Hugging Face model, on every
architecture and at every place a coder may stand; with the coder's bias and error, and what is added behind it, that sums
to the model's own number; elsewhere it is refused. The oracle never sees TransformerLens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attribution_oracle import Attribution
from coders_in_models import made_coder
from edited_views import ARCHITECTURES, IDS, pairs
from model_state import state_of

import mi_widgets as mw
from mi_widgets import compute, sae
from mi_widgets.data import LogitAttributionComparison, load, save
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import load_model

ANSWER, FOIL = 5, 9
PLACES = {
    "resid_pre": "blocks.1.hook_resid_pre",
    "resid_mid": "blocks.0.hook_resid_mid",
    "resid_post": "blocks.0.hook_resid_post",
    "last": "blocks.1.hook_resid_post",
    "attn_out": "blocks.1.hook_attn_out",
    "mlp_out": "blocks.0.hook_mlp_out",
    "z": "blocks.1.attn.hook_z",
    "neurons": "blocks.0.mlp.hook_post",
}
WIDTHS = {"z": 32, "neurons": 48}


@pytest.fixture(scope="module")
def pair(tiny_folder):
    return pairs(tiny_folder)


def stands(oracle, place):
    """`[position, d]` of what stands at a place, and how a share of it at the last position is carried to the stream."""
    layer = int(PLACES[place].split(".")[1])
    if place in ("z", "neurons"):
        units, raw, part = (
            (oracle.mixed, oracle.attention_raw, oracle.attentions[layer])
            if place == "z"
            else (oracle.neurons, oracle.mlp_raw, oracle.blocks[layer].mlp)
        )
        norm = oracle.after(oracle.blocks[layer])[0 if place == "z" else 1]
        return units[layer], lambda share: oracle.through(share @ oracle.matrix(part), norm, raw[layer][-1])
    if place in ("attn_out", "mlp_out"):
        return (oracle.attention if place == "attn_out" else oracle.mlp)[layer], lambda share: share
    stream = oracle.first.copy()
    for below in range(layer + 1):
        if below < layer or place in ("resid_mid", "resid_post", "last"):
            stream = stream + oracle.attention[below]
        if below < layer or place in ("resid_post", "last"):
            stream = stream + oracle.mlp[below]
    return stream, lambda share: share


def by_hand(oracle, coder, place):
    """What each feature adds, and the coder's bias and error."""
    value, carried = stands(oracle, place)
    x = torch.from_numpy(value).float()
    acts = coder.encode(x)
    decoded = coder.decode(acts, x)[-1].double().numpy()

    def worth(share):
        return oracle.worth(carried(share), -1, ANSWER, FOIL)

    scale = float(torch.as_tensor(coder.scale(x)).expand(len(x), 1)[-1])
    writes = (acts[-1][:, None] * scale * coder.W_dec).double().numpy()
    features = {one: worth(writes[one]) for one in acts[-1].nonzero()[:, 0].tolist()}
    return features, worth(decoded - writes.sum(0)), worth(value[-1] - decoded)


def coder_at(place, model=None, **how):
    width = WIDTHS.get(place, 32)
    if model is not None and place == "neurons":
        width = int(model.blocks[0].mlp.W_out.shape[0])
    settings = {"reshape_activations": "hook_z"} if place == "z" else {}
    return made_coder(width, PLACES[place], settings=settings | how.pop("settings", {}), **how)


def check(data, oracle, coder, place):
    features, bias, error = by_hand(oracle, coder, place)
    table = data.to_pandas()
    found = table[table["kind"] == "feature"].set_index("feature")["contribution"]
    assert sorted(found.index) == sorted(features)
    for feature, share in features.items():
        assert found[feature] == pytest.approx(share, abs=2e-5)
    rows = table.set_index("kind")["contribution"]
    assert rows["coder bias"] == pytest.approx(bias, abs=2e-5)
    assert rows["coder error"] == pytest.approx(error, abs=2e-5)
    assert data.difference == pytest.approx(oracle.difference(-1, ANSWER, FOIL), abs=1e-4)
    assert data.holds
    assert abs(data.residue) < 1e-4


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_feature_adds_its_share(architecture, place, pair):
    model, hugging = pair(architecture)
    coder = coder_at(place, model)
    before = state_of(model)
    if architecture == "neox" and place == "resid_mid":
        with pytest.raises((ModelError, DataError)):
            compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder)
        return
    data = compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder)
    check(data, Attribution(hugging, IDS), coder, place)
    assert state_of(model) == before


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated", "topk"])
@pytest.mark.parametrize("how", ["none", "layer_norm", "constant_norm_rescale"])
def test_each_kind_of_coder_and_normalisation(architecture, how, pair):
    model, hugging = pair("llama")
    coder = coder_at("resid_post", architecture=architecture, settings={"normalize_activations": how})
    data = compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder, top=40)
    check(data, Attribution(hugging, IDS), coder, "resid_post")


def test_a_transcoder_splits_what_the_mlp_adds(pair):
    model, _ = pair("gemma2")
    coder = made_coder(32, "blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out", "jumprelu_skip")
    data = compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder, top=100)
    whole = compute.logit_attribution(model, IDS, ANSWER, FOIL)
    table, other = data.to_pandas(), whole.to_pandas()
    inside = table["kind"].isin(["feature", "coder bias", "coder error"])
    mlp = other[(other["kind"] == "mlp") & (other["layer"] == 1)]["contribution"].sum()
    assert table[inside]["contribution"].sum() == pytest.approx(mlp, abs=1e-5)
    rest = [label for label in whole.labels if label != "L1 MLP"]
    assert [label for label, own in zip(data.labels, inside, strict=True) if not own] == rest
    assert data.coder == "jumprelu_skip_transcoder at L1 mlp_out"


def test_features_that_are_not_shown_alone_are_one_part(pair):
    model, _ = pair("llama")
    coder = coder_at("resid_post", architecture="standard")
    whole = compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder, top=100)
    some = compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder, top=3)
    assert some.part_kinds.count("feature") == 3
    assert "L0 other features" in some.labels
    assert some.contribution.sum() == pytest.approx(whole.contribution.sum(), abs=1e-5)
    alone = np.sort(np.abs(whole.contribution[[kind == "feature" for kind in whole.part_kinds]]))[-3:]
    shown = np.sort(np.abs(some.contribution[[kind == "feature" for kind in some.part_kinds]]))
    np.testing.assert_allclose(shown, alone, atol=1e-6)


OWN = {
    "spliced": lambda coder: [mw.Splice(coder)],
    "clamped": lambda coder: [mw.Clamp(coder, 3, 5.0)],
    "spliced and clamped": lambda coder: [mw.Splice(coder), mw.Clamp(coder, 3, 5.0)],
    "and others": lambda coder: [mw.Ablate(0, head=1), mw.Splice(coder), mw.Ablate(1, site="mlp_out")],
    "others alone": lambda coder: [mw.Add(np.ones(32, np.float32), layer=0), mw.Ablate(1, site="resid_pre")],
}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("architecture", ["gpt2", "gemma3"])
def test_in_a_changed_run_the_parts_sum_too(architecture, place, kind, pair):
    model, _ = pair(architecture)
    coder = coder_at(place, model)
    changes = OWN[kind](coder)
    data = compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder, top=40, interventions=changes)
    plain = compute.logit_attribution(model, IDS, ANSWER, FOIL, interventions=changes)
    assert data.difference == plain.difference
    assert data.holds, (data.residue, data.tolerance)
    if kind in ("spliced", "clamped"):  # the rows of the features are of what the coder read
        own = compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder, top=40)
        both = LogitAttributionComparison(data, own).to_pandas()
        assert (both["kind"] == "feature").sum() == (own.to_pandas()["kind"] == "feature").sum()
    if kind == "spliced" and place not in ("resid_mid", "z", "neurons"):
        rows = data.to_pandas().groupby("kind")["contribution"].sum()
        assert rows["coder error"] + rows["intervention"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_rounding_explains_the_residue(dtype, place, tiny_model):
    model = tiny_model("gpt2", dtype=dtype)
    coder = coder_at(place, model)
    for changes in ([], [mw.Splice(coder)]):
        data = compute.logit_attribution(
            model, IDS, ANSWER, FOIL, by="feature", coder=coder, interventions=changes, top=40
        )
        assert data.holds, (data.residue, data.tolerance)


def test_what_stood_before_the_coder_cannot_be_told_from_what_it_read(pair):
    model, _ = pair("llama")
    coder = coder_at("resid_post")
    changes = [mw.Ablate(0, site="resid_post", positions=[1]), mw.Splice(coder)]
    with pytest.raises(DataError, match=r"another intervention acts at blocks\.0\.hook_resid_post before"):
        compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder, interventions=changes)


def test_real_coders_on_a_real_model(shared):
    model = load_model(shared / "models" / "stories3M-llama")
    ids = np.load(shared / "saes" / "stories3m-topk" / "expected.npz")["tokens"].reshape(-1)[:40]
    for name in ("topk", "batchtopk", "standard", "transcoder"):
        coder = sae.load(shared / "saes" / f"stories3m-{name}")
        data = compute.logit_attribution(model, ids, int(ids[-1]), 300, by="feature", coder=coder, top=30)
        assert data.holds
        acts = np.load(shared / "saes" / f"stories3m-{name}" / "expected.npz")["acts"][39]
        table = data.to_pandas()
        shown = set(table[table["kind"] == "feature"]["feature"])
        assert shown == set(np.flatnonzero(acts).tolist())


def test_results_are_saved_and_compared(pair, tmp_path):
    model, _ = pair("llama")
    coder = coder_at("resid_post")
    a, b = (
        compute.logit_attribution(model, ids, ANSWER, FOIL, by="feature", coder=coder, top=2)
        for ids in (IDS, IDS[::-1].copy())
    )
    save(a, tmp_path / "a.npz")
    again = load(tmp_path / "a.npz")
    assert again.labels == a.labels
    assert again.coder == a.coder == "topk at L0 resid_post"
    np.testing.assert_array_equal(again.part_features, a.part_features)
    minus = LogitAttributionComparison(a, b).minus
    assert minus.contribution.sum() == pytest.approx(a.contribution.sum() - b.contribution.sum(), abs=1e-5)
    assert {label for label in minus.labels if "feature " in label} == (
        {label for label in a.labels if "feature " in label} & {label for label in b.labels if "feature " in label}
    )
    other = compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder_at("last"), top=2)
    with pytest.raises(DataError, match="features of one coder"):
        LogitAttributionComparison(a, other)


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: None, DataError, "no coder whose features"),
        (lambda: 3, DataError, "is no sparse coder"),
        (lambda: made_coder(16), DataError, "16 wide at blocks.0.hook_resid_post"),
        (lambda: made_coder(32, "blocks.7.hook_resid_post"), DataError, "blocks.7.hook_resid_post"),
        (lambda: made_coder(32, "blocks.0.hook_q_input_that_is_not"), DataError, "does not have"),
        (lambda: made_coder(32, "blocks.0.ln2.hook_normalized"), ModelError, "no direct contribution"),
        (lambda: made_coder(32, "ln_final.hook_normalized"), ModelError, "no direct contribution"),
    ],
)
def test_what_cannot_be_split_so_is_refused(make, kind, said, pair):
    model, _ = pair("llama")
    with pytest.raises(kind, match=said.replace(".", r"\.")):
        compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=make())


def test_a_position_that_the_coder_leaves_out_is_refused(pair):
    model, _ = pair("llama")
    coder = coder_at("resid_post", skips_first=True)
    with pytest.raises(DataError, match="leaves position 0 out"):
        compute.logit_attribution(model, IDS, ANSWER, FOIL, position=0, by="feature", coder=coder)


def test_nan_is_named_where_it_began(tiny_model):
    model = tiny_model("llama")
    with torch.no_grad():
        model.original_model.model.layers[0].mlp.down_proj.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match="from layer 0 on"):
        compute.logit_attribution(model, IDS, ANSWER, FOIL, by="feature", coder=coder_at("resid_post"))
