"""Features of a coder on a prompt equal what hooks by hand give: activations, what is left out, losses with the coder in
place, and what each feature adds to an answer; the model is as it was."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from coders_in_models import made_coder
from model_state import state_of

import mi_widgets as mw
from mi_widgets import compute, sae
from mi_widgets.data import load, save
from mi_widgets.errors import AnswerError, DataError, ModelError, PromptError
from mi_widgets.models import load_model

IDS = np.random.default_rng(5).integers(3, 128, 12)
CODERS = ("topk", "batchtopk", "standard", "transcoder")


@pytest.fixture(scope="module")
def stories3m(shared):
    model = load_model(shared / "models" / "stories3M-llama")
    compute.next_tokens(model, [1, 2, 3])  # libraries put hooks of their own on it in a first pass
    return model


@pytest.fixture(scope="module")
def texts(shared, stories3m):
    """Token ids of each story, cut as the coders' tables were made."""
    stories = json.loads((shared / "data" / "tinystories_1000.json").read_text())
    return lambda first, last: [stories3m.to_tokens(story)[0, :512].tolist() for story in stories[first:last]]


def by_hand(model, coder, ids, fwd_hooks=()):
    """With TransformerLens's own hooks: what is encoded, its features, what they decode, and the four losses."""
    ids = torch.tensor(np.asarray(ids))[None]
    first = int(coder.skips_first)
    caught = {}

    def keep(name):
        return lambda value, hook: caught.__setitem__(name, value.clone())

    hooks = [*fwd_hooks, (coder.hook_in, keep("x")), (coder.hook_out, keep("y"))]
    with torch.no_grad():
        clean = model.run_with_hooks(ids, fwd_hooks=hooks, return_type="logits")

    x, y = caught["x"], caught["y"]
    acts = coder.encode(coder.flat(x))
    decoded = coder.unflat(coder.decode(acts, coder.flat(x)), y)
    losses = [loss(clean, ids, first)]
    for put in (decoded, decoded + (y - decoded), torch.zeros_like(y)):

        def splice(value, hook, put=put):
            return torch.cat([value[:, :first], put[:, first:].to(value.dtype)], 1)

        with torch.no_grad():
            logits = model.run_with_hooks(ids, fwd_hooks=[*fwd_hooks, (coder.hook_out, splice)], return_type="logits")
        losses.append(loss(logits, ids, first))
    return acts[0].numpy(), decoded[0].flatten(1).double().numpy(), y[0].flatten(1).double().numpy(), losses


def loss(logits, ids, first):
    log_p = logits[0].double().log_softmax(-1)
    return float(-log_p[torch.arange(first, len(ids[0]) - 1), ids[0, first + 1 :]].mean())


def check(data, coder, expected):
    acts, decoded, y, losses = expected
    first = int(coder.skips_first)
    np.testing.assert_allclose(data.values[first:], acts[first:], atol=1e-5)
    assert not data.values[:first].any()
    np.testing.assert_array_equal(data.l0[first:], (acts[first:] != 0).sum(-1))
    error = ((y - decoded) ** 2).sum(-1)[first:]
    deviation = ((y[first:] - y[first:].mean(0)) ** 2).sum(-1)
    np.testing.assert_allclose(data.variance_unexplained[first:], error / deviation, rtol=1e-4)
    assert data.fraction_unexplained == pytest.approx(error.sum() / deviation.sum(), rel=1e-5)
    if first:
        assert math.isnan(data.l0[0])
        assert math.isnan(data.variance_unexplained[0])
        assert data.left_out == [0]
    found = [data.loss, data.loss_spliced, data.loss_spliced_with_error, data.loss_zeroed]
    np.testing.assert_allclose(found, losses, atol=2e-5)
    assert data.loss_spliced_with_error == pytest.approx(data.loss, abs=1e-5)


@pytest.mark.parametrize("name", CODERS)
def test_real_coders_on_a_real_model(name, shared, stories3m, texts):
    coder = sae.load(shared / "saes" / f"stories3m-{name}")
    before = state_of(stories3m)
    data = compute.features(stories3m, coder, texts(900, 901)[0])
    check(data, coder, by_hand(stories3m, coder, data.tokens.ids))
    expected = np.load(coder.folder / "expected.npz")
    np.testing.assert_allclose(data.values[1:40], expected["acts"][1:40], atol=1e-4)
    assert state_of(stories3m) == before


@pytest.mark.parametrize(
    ("name", "clean", "spliced", "zeroed", "explained", "l0"),
    [("topk", 1.433, 1.926, 10.987, 0.855, 16.0), ("transcoder", 1.433, 1.663, 2.683, 0.765, 16.6)],
)
def test_losses_are_near_those_of_all_held_out_stories(
    name, clean, spliced, zeroed, explained, l0, shared, stories3m, texts
):
    coder = sae.load(shared / "saes" / f"stories3m-{name}")
    found = compute.features(stories3m, coder, texts(900, 910))
    counts = np.array([data.scored.sum() for data in found])

    def mean(of):
        return float(np.average([of(data) for data in found], weights=counts))

    assert mean(lambda data: data.loss) == pytest.approx(clean, rel=0.1)
    assert mean(lambda data: data.loss_spliced) == pytest.approx(spliced, rel=0.1)
    assert mean(lambda data: data.loss_zeroed) == pytest.approx(zeroed, rel=0.1)
    assert mean(lambda data: data.mean_l0) == pytest.approx(l0, rel=0.05)
    assert 1 - mean(lambda data: data.fraction_unexplained) == pytest.approx(explained, abs=0.02)
    assert mean(lambda data: data.loss_recovered) == pytest.approx((zeroed - spliced) / (zeroed - clean), abs=0.03)


@pytest.mark.parametrize(
    ("hook", "hook_out", "width"),
    [
        ("blocks.0.hook_resid_post", None, 32),
        ("blocks.1.hook_resid_pre", None, 32),
        ("blocks.1.hook_attn_out", None, 32),
        ("blocks.1.attn.hook_z", None, 32),
        ("blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out", 32),
    ],
)
@pytest.mark.parametrize("architecture", ["gpt2", "neox", "llama", "mistral", "gemma2", "gemma3", "qwen3"])
def test_every_architecture(architecture, hook, hook_out, width, tiny_model):
    model = tiny_model(architecture)
    coder = made_coder(width, hook, hook_out, skips_first="resid" in hook, architecture="jumprelu")
    data = compute.features(model, coder, IDS)
    check(data, coder, by_hand(model, coder, IDS))


def test_the_embedded_model(demo_model):
    coder = made_coder(int(demo_model.cfg.d_model), "blocks.1.hook_resid_post")
    data = compute.features(
        demo_model, coder, "When Mary and John went to the store , John gave a drink to", " Mary", " John"
    )
    check(data, coder, by_hand(demo_model, coder, data.tokens.ids))
    assert (data.answer_string, data.foil_string) == ("Mary", "John") or data.answer_string.strip() == "Mary"


def test_contributions_are_those_of_the_attribution(tiny_model):
    model = tiny_model("gemma2")
    for coder in (made_coder(32), made_coder(32, "blocks.1.attn.hook_z"), made_coder(48, "blocks.0.mlp.hook_post")):
        data = compute.features(model, coder, IDS, 5, 9, position=7, losses=False)
        parts = compute.logit_attribution(model, IDS, 5, 9, position=7, by="feature", coder=coder, top=50).to_pandas()
        parts = parts[parts["kind"] == "feature"].set_index("feature")["contribution"]
        own = data.at(7).set_index("feature")["contribution"]
        np.testing.assert_allclose(own.sort_index(), parts.sort_index(), atol=1e-6)
        assert not data.contribution[data.entry_positions != 7].any()
        assert np.isnan(data.losses).all()
        assert math.isnan(data.loss)


def test_the_estimate_is_the_slope_of_the_answer_by_each_feature(tiny_model):
    model = tiny_model("llama")
    coder = made_coder(32, architecture="standard")
    data = compute.features(model, coder, IDS, 5, 9)
    before = state_of(model)
    step = 1e-2
    for entry in np.argsort(-np.abs(data.estimate))[[0, 3, 20]]:
        feature, position = int(data.entry_features[entry]), int(data.entry_positions[entry])
        act = float(data.activation[entry])

        def difference(value, feature=feature, position=position):
            change = mw.Clamp(coder, feature, value, positions=[position])
            return compute.logit_attribution(model, IDS, 5, 9, interventions=[change]).difference

        slope = (difference(act * (1 + step)) - difference(act * (1 - step))) / (2 * step)
        assert data.estimate[entry] == pytest.approx(slope, rel=2e-2, abs=1e-4)
    assert state_of(model) == before


def test_where_there_is_no_direct_way_the_estimate_stands_alone(tiny_model):
    model = tiny_model("llama")
    coder = made_coder(32, "blocks.1.ln2.hook_normalized")
    data = compute.features(model, coder, IDS, 5, 9)
    assert data.contribution is None
    assert "no direct contribution" in data.why_no_contribution
    assert np.abs(data.estimate).max() > 0


def test_several_prompts_give_several_results(tiny_model):
    model, coder = tiny_model("llama"), made_coder(32)
    prompts = [IDS.tolist(), IDS[:5].tolist(), IDS[::-1].tolist()]
    found = compute.features(model, coder, prompts, [5, 6, 7], 9)
    assert [data.answer for data in found] == [5, 6, 7]
    for prompt, data in zip(prompts, found, strict=True):
        one = compute.features(model, coder, prompt)
        np.testing.assert_array_equal(data.values, one.values)
        assert data.loss_spliced == one.loss_spliced
    assert len(compute.features(model, coder, [IDS.tolist()]).tokens) == len(IDS)  # ids [1, position] are one prompt
    assert len(compute.features(model, coder, ["t5 t6", "t7"])) == 2
    with pytest.raises(DataError, match="2 entries for 3 prompts"):
        compute.features(model, coder, prompts, [5, 6])


def test_steps_come_prompt_by_prompt_and_can_be_stopped(tiny_model):
    model, coder = tiny_model("llama"), made_coder(32)
    compute.next_tokens(model, IDS)
    before = state_of(model)
    steps = compute.features_steps(model, coder, [IDS.tolist(), IDS[:4].tolist()])
    found = [step for step in steps if step.partial is not None]
    assert [(step.done, step.total) for step in found] == [(1, 2), (2, 2)]
    assert len(found[1].partial.tokens) == 4
    started = compute.features_steps(model, coder, IDS)
    next(started)
    started.close()
    assert state_of(model) == before


def test_results_are_saved_and_tabled(tiny_model, tmp_path):
    model, coder = tiny_model("llama"), made_coder(32, skips_first=True)
    data = compute.features(model, coder, IDS, 5, interventions=[mw.Splice(coder), mw.Ablate(1, head=0)])
    save(data, tmp_path / "features.npz")
    again = load(tmp_path / "features.npz")
    np.testing.assert_array_equal(again.values, data.values)
    np.testing.assert_array_equal(again.estimate, data.estimate)
    assert again.loss_zeroed == data.loss_zeroed
    assert again.interventions == data.interventions
    assert again.foil is None
    table = data.to_pandas()
    assert list(table) == ["position", "token", "feature", "activation", "contribution", "estimate"]
    assert len(table) == len(data.activation)
    assert table.attrs["loss"] == data.loss
    positions = data.positions_to_pandas()
    assert len(positions) == len(IDS)
    assert list(positions)[2:] == [
        "l0", "variance_unexplained", "loss", "loss spliced", "loss spliced with error", "loss zeroed"
    ]  # fmt: skip
    np.testing.assert_array_equal(data.of(int(table["feature"][0])), data.values[:, table["feature"][0]])
    with pytest.raises(DataError, match="feature 40 does not exist"):
        data.of(40)
    with pytest.raises(DataError, match="position 12 does not exist"):
        data.at(12)


def test_the_features_of_a_spliced_run_are_those_that_the_coder_read(tiny_model):
    model, coder = tiny_model("llama"), made_coder(32, skips_first=True)
    plain = compute.features(model, coder, IDS)
    spliced = compute.features(model, coder, IDS, interventions=[mw.Splice(coder)])
    np.testing.assert_array_equal(spliced.values, plain.values)
    assert spliced.loss == spliced.loss_spliced == plain.loss_spliced
    ablated = compute.features(model, coder, IDS, interventions=[mw.Ablate(0, site="resid_post", positions=[4])])

    def zero(value, hook):
        value[:, 4] = 0
        return value

    check(ablated, coder, by_hand(model, coder, IDS, [("blocks.0.hook_resid_post", zero)]))


def test_one_position_has_no_loss_and_no_variance(tiny_model):
    data = compute.features(tiny_model("llama"), made_coder(32), [5])
    assert math.isnan(data.loss)
    assert math.isnan(data.variance_unexplained[0])
    assert data.l0.tolist() == [(data.values[0] != 0).sum()]
    none = compute.features(tiny_model("llama"), made_coder(32, skips_first=True), [5])
    assert not len(none.activation)
    assert math.isnan(none.mean_l0)


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda model: (made_coder(16), IDS), DataError, "16 wide at blocks.0.hook_resid_post"),
        (lambda model: (made_coder(32, "blocks.7.hook_resid_post"), IDS), DataError, "blocks.7.hook_resid_post"),
        (lambda model: (made_coder(32, "blocks.0.hook_mlp_in"), IDS), (DataError, ModelError), "hook_mlp_in"),
        (lambda model: (made_coder(32, ""), IDS), DataError, "does not say at which hooks"),
        (lambda model: ("coder", IDS), DataError, "is no sparse coder"),
        (lambda model: (made_coder(32), ""), PromptError, ""),
        (lambda model: (made_coder(32), []), PromptError, ""),
        (lambda model: (made_coder(32), None), PromptError, ""),
    ],
)
def test_what_cannot_be_computed_is_refused(make, kind, said, tiny_model):
    model = tiny_model("llama")
    compute.next_tokens(model, IDS)  # libraries put hooks of their own on it in a first pass
    before = state_of(model)
    coder, prompt = make(model)
    with pytest.raises(kind, match=said.replace(".", r"\.") or None):
        compute.features(model, coder, prompt)
    assert state_of(model) == before


def test_wrong_answers_are_refused(tiny_model):
    model, coder = tiny_model("llama"), made_coder(32)
    for given, kind in (((5, 5), DataError), ((None, 5), DataError), ((999, None), AnswerError)):
        with pytest.raises(kind):
            compute.features(model, coder, IDS, *given)
    with pytest.raises(DataError, match="position 30"):
        compute.features(model, coder, IDS, 5, position=30)


def test_nan_is_named_where_it_began(tiny_model):
    model = tiny_model("llama")
    with torch.no_grad():
        model.original_model.model.layers[0].mlp.down_proj.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match="from layer 0 on"):
        compute.features(model, made_coder(32), IDS)
