"""A run with a coder spliced in, or one of its features clamped, is what the same edit by hand gives: through Hugging
Face's own modules in every view's numbers and on every architecture, and through TransformerLens's hooks for real
coders; the model is as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from coders_in_models import made_coder
from edited_oracle import Edit
from edited_views import ARCHITECTURES, IDS, check_all, only_at, pairs
from model_state import state_of

import mi_widgets as mw
from mi_widgets import compute, sae
from mi_widgets.compute.forward import forward, gradients
from mi_widgets.compute.interventions import resolve
from mi_widgets.data.interventions import interventions_from
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import load_model, tokenize

CODER = made_coder(32)
FIRSTLESS = made_coder(32, skips_first=True, seed=1)
NORMALISED = made_coder(32, architecture="standard", settings={"normalize_activations": "layer_norm"}, seed=2)


def but_first(change):
    return lambda value: torch.cat([value[:1], change(value)[1:]])


def clamped(coder, feature, to):
    """By the definition: what the coder decodes with that activation, less what it decodes without."""

    def change(value):
        acts = coder.encode(value)
        held = acts.clone()
        held[..., feature] = to
        return value + coder.decode(held, value) - coder.decode(acts, value)

    return change


def held(coder, feature, to):
    """Spliced and clamped: nothing but what the coder decodes."""

    def change(value):
        acts = coder.encode(value)
        acts[..., feature] = to
        return coder.decode(acts, value)

    return change


def at(site, layer=0, **how):
    hook = f"blocks.{layer}.hook_{site}"
    return made_coder(32, hook, **how)


KINDS = {
    "spliced": lambda: (mw.Splice(CODER), [Edit("resid_post", 0, CODER.reconstruct)]),
    "but at position 0": lambda: (mw.Splice(FIRSTLESS), [Edit("resid_post", 0, but_first(FIRSTLESS.reconstruct))]),
    "normalised": lambda: (mw.Splice(NORMALISED), [Edit("resid_post", 0, NORMALISED.reconstruct)]),
    "at positions": lambda: (
        mw.Splice(FIRSTLESS, positions=[0, -1]),
        [Edit("resid_post", 0, only_at([0, -1], FIRSTLESS.reconstruct))],
    ),
    "resid_pre": lambda: (mw.Splice(at("resid_pre", 1)), [Edit("resid_pre", 1, at("resid_pre", 1).reconstruct)]),
    "resid_mid": lambda: (mw.Splice(at("resid_mid")), [Edit("resid_mid", 0, at("resid_mid").reconstruct)]),
    "attn_out": lambda: (mw.Splice(at("attn_out", 1)), [Edit("attn_out", 1, at("attn_out", 1).reconstruct)]),
    "mlp_out": lambda: (mw.Splice(at("mlp_out")), [Edit("mlp_out", 0, at("mlp_out").reconstruct)]),
    "clamped": lambda: (mw.Clamp(CODER, 3, 4.0), [Edit("resid_post", 0, clamped(CODER, 3, 4.0))]),
    "clamped where normalised": lambda: (
        mw.Clamp(NORMALISED, 7, 1.5),
        [Edit("resid_post", 0, clamped(NORMALISED, 7, 1.5))],
    ),
    "two clamped": lambda: (
        [mw.Clamp(CODER, 3, 4.0), mw.Clamp(CODER, 8, -2.0, positions=[-1, 2])],
        [
            Edit(
                "resid_post",
                0,
                lambda value: clamped(CODER, 3, 4.0)(value) + only_at([-1, 2], clamped(CODER, 8, -2.0))(value) - value,
            )
        ],
    ),
    "spliced and clamped": lambda: (
        [mw.Splice(CODER), mw.Clamp(CODER, 3, 4.0)],
        [Edit("resid_post", 0, held(CODER, 3, 4.0))],
    ),
    "with its error and clamped": lambda: (
        [mw.Clamp(CODER, 3, 4.0), mw.Splice(CODER, error=True)],
        [Edit("resid_post", 0, clamped(CODER, 3, 4.0))],
    ),
    "behind another": lambda: (
        [mw.Ablate(0, site="resid_post", positions=[2, -1]), mw.Splice(CODER)],
        [Edit("resid_post", 0, lambda value: CODER.reconstruct(only_at([2, -1], torch.zeros_like)(value)))],
    ),
}


@pytest.fixture(scope="module")
def pair(tiny_folder):
    return pairs(tiny_folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_view_shows_the_spliced_run_as_edited_by_hand(architecture, kind, pair):
    if architecture == "neox" and "mid" in kind:
        pytest.skip("parallel blocks have no stream between attention and MLP; refused below")
    model, hugging = pair(architecture)
    before = state_of(model)
    changes, edits = KINDS[kind]()
    check_all(model, hugging, IDS, changes, edits)
    assert state_of(model) == before


# --- real coders, by TransformerLens's hooks ---------------------------------------------------------


@pytest.fixture(scope="module")
def stories3m(shared):
    model = load_model(shared / "models" / "stories3M-llama")
    forward(model, np.array([1, 2, 3]), ("output.top_ids",))
    return model


def logits_by_hand(model, coder, ids, change):
    """`change(x, y)` at the coder's output, by TransformerLens's own hooks; position 0 as the coder's metadata says."""
    caught, first = {}, int(coder.skips_first)

    def hear(value, hook):
        caught["x"] = value.clone()

    def put(value, hook):
        x = value if coder.hook_in == coder.hook_out else caught["x"]
        return torch.cat([value[:, :first], change(x, value)[:, first:]], 1)

    with torch.no_grad():
        hooks = [(coder.hook_in, hear), (coder.hook_out, put)]
        return model.run_with_hooks(torch.tensor(ids)[None], fwd_hooks=hooks, return_type="logits")[0]


def surprisal(logits, ids):
    return -logits.double().log_softmax(-1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()


@pytest.mark.parametrize("name", ["topk", "batchtopk", "standard", "transcoder"])
def test_real_coders_by_transformerlenss_hooks(name, shared, stories3m):
    coder = sae.load(shared / "saes" / f"stories3m-{name}")
    expected = np.load(coder.folder / "expected.npz")
    ids = expected["tokens"].reshape(-1)
    feature = int(np.flatnonzero(expected["acts"][20])[0])
    before = state_of(stories3m)
    for changes, change in (
        ([mw.Splice(coder)], lambda x, y: coder.reconstruct(x)),
        (
            [mw.Clamp(coder, feature, 3.0)],
            lambda x, y: y + (3.0 - coder.encode(x)[..., [feature]]) * coder.W_dec[feature],
        ),
    ):
        found = compute.next_tokens(stories3m, ids, interventions=changes)
        wanted = surprisal(logits_by_hand(stories3m, coder, ids, change), ids)
        np.testing.assert_allclose(-found.log_prob[1:], wanted, atol=2e-4)
    assert state_of(stories3m) == before


@pytest.mark.parametrize("hook", ["blocks.1.ln2.hook_normalized", "blocks.0.mlp.hook_in"])
def test_a_transcoder_hears_what_the_mlp_reads_in_this_run(hook, tiny_model):
    """Also where that is changed: what it decodes follows."""
    model = tiny_model("gpt2")
    layer = hook.split(".")[1]
    coder = made_coder(32, hook, f"blocks.{layer}.hook_mlp_out", "jumprelu_skip")
    edit = mw.Intervention(hook, lambda value, hook: value + 0.5)
    ids = IDS

    caught = {}
    with torch.no_grad():
        logits = model.run_with_hooks(
            torch.tensor(ids)[None],
            fwd_hooks=[
                (hook, lambda value, hook: value + 0.5),
                (hook, lambda value, hook: caught.__setitem__("x", value.clone())),
                (f"blocks.{layer}.hook_mlp_out", lambda value, hook: coder.reconstruct(caught["x"])),
            ],
        )[0]
    for changes in ([edit, mw.Splice(coder)], [mw.Splice(coder), edit]):
        found = compute.next_tokens(model, ids, interventions=changes)
        np.testing.assert_allclose(-found.log_prob[1:], surprisal(logits, ids), atol=1e-4)


def test_with_its_error_nothing_changes(tiny_model, shared, stories3m):
    model = tiny_model("gemma2")
    for name in ("resid_post", "attn_out", "attn.hook_z"):
        hook = f"blocks.0.{name if '.' in name else f'hook_{name}'}"
        coder = made_coder(32, hook)
        plain = compute.logit_attribution(model, IDS, 5, 9)
        spliced = compute.logit_attribution(model, IDS, 5, 9, interventions=[mw.Splice(coder, error=True)])
        assert spliced.difference == pytest.approx(plain.difference, abs=1e-5)
        assert compute.logit_attribution(
            model, IDS, 5, 9, interventions=[mw.Splice(coder)]
        ).difference != pytest.approx(plain.difference, abs=1e-3)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma3"])
def test_a_coder_of_heads_side_by_side(architecture, tiny_model):
    model = tiny_model(architecture)
    coder = made_coder(32, "blocks.1.attn.hook_z", settings={"reshape_activations": "hook_z"})
    wanted = surprisal(logits_by_hand(model, coder, IDS, lambda x, y: coder.reconstruct(x)), IDS)
    found = compute.next_tokens(model, IDS, interventions=[mw.Splice(coder)])
    np.testing.assert_allclose(-found.log_prob[1:], wanted, atol=1e-4)


def test_the_model_writes_on_from_the_spliced_run_with_kept_keys(tiny_model):
    model, ids = tiny_model("llama"), IDS.tolist()
    coder = made_coder(32, skips_first=True)
    written = compute.sample(model, ids, n_tokens=6, temperature=0, interventions=[mw.Splice(coder)])
    for token in written.ids:
        logits = logits_by_hand(model, coder, ids, lambda x, y: coder.reconstruct(x))
        assert int(logits[-1].argmax()) == token
        ids.append(int(token))


def test_gradients_go_through_the_coder(tiny_model):
    """The slope of the answer by a direction before the splice, against finite differences."""
    model, coder = tiny_model("llama"), made_coder(32, architecture="standard")
    edits = resolve(model, tokenize(model, IDS), [mw.Splice(coder)])
    direction = torch.randn(32, generator=torch.Generator().manual_seed(3))

    def metric(logits):
        return (logits[:, -1, 5] - logits[:, -1, 9]).sum()

    _, back = gradients(model, IDS, metric, ("blocks.0.hook_resid_pre",), (), edits.writes)
    slope = float(back.arrays["blocks.0.hook_resid_pre"][4] @ direction.numpy())

    def value(step):
        add = mw.Add(step * direction, "resid_pre", 0, positions=[4])
        data = compute.logit_attribution(model, IDS, 5, 9, interventions=[add, mw.Splice(coder)])
        return data.difference

    assert slope == pytest.approx((value(2e-3) - value(-2e-3)) / 4e-3, rel=2e-2)
    assert slope != 0


def test_with_its_error_gradients_do_not_change_either(tiny_model):
    model = tiny_model("llama")

    def gradient(changes):
        edits = resolve(model, tokenize(model, IDS), changes)
        metric = lambda logits: logits[:, -1, 5].sum()  # noqa: E731
        return gradients(model, IDS, metric, ("hook_resid_pre",), writes=edits.writes)[1].arrays["hook_resid_pre"]

    np.testing.assert_allclose(gradient([mw.Splice(CODER, error=True)]), gradient([]), atol=1e-5)
    assert np.abs(gradient([mw.Splice(CODER)]) - gradient([])).max() > 1e-3


@pytest.mark.parametrize("site", ["resid_pre", "z", "mlp_out"])
def test_patching_has_the_splice_in_both_runs(site, tiny_model):
    """Each cell is the run with that patch and the splice, one by one."""
    model, coder = tiny_model("llama"), made_coder(32, "blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out")
    clean, corrupt = IDS.tolist(), IDS[::-1].tolist()
    changes = [mw.Splice(coder), mw.Clamp(made_coder(32, seed=4), 2, 1.0)]
    grid = compute.patch(model, clean, corrupt, 5, 9, site=site, interventions=changes)
    table = grid.to_pandas()

    def difference(prompt, *more):
        data = compute.logit_attribution(model, prompt, 5, 9, interventions=[*changes, *more])
        return data.difference

    assert grid.clean == pytest.approx(difference(clean), abs=1e-4)
    assert grid.corrupt == pytest.approx(difference(corrupt), abs=1e-4)
    for index in (0, len(table) // 2, len(table) - 1):
        row = table.iloc[index]
        head = {"head": int(row["head"])} if "head" in table else {}
        place = {"position": int(row["position"])} if "position" in table else {}
        patched = _with_source_of_the_changed_run(model, changes, site, row, clean, corrupt, head, place)
        whole = grid.clean - grid.corrupt
        assert row["effect"] == pytest.approx((patched - grid.corrupt) / whole, abs=2e-4)


def _with_source_of_the_changed_run(model, changes, site, row, clean, corrupt, head, place):
    """The corrupt run with what stands there in the changed clean run, put in by a hook of one's own."""
    hook = f"blocks.{int(row['layer'])}." + ("attn.hook_z" if site == "z" else f"hook_{site}")
    edits = resolve(model, tokenize(model, clean), changes)
    source = torch.from_numpy(np.array(forward(model, np.array(clean), (hook,), writes=edits.writes).arrays[hook]))

    def put(value, hook):
        value = value.clone()
        rows = slice(None) if not place else place["position"]
        if head:
            value[0, rows, head["head"]] = source[rows, head["head"]]
        else:
            value[0, rows] = source[rows]
        return value

    data = compute.logit_attribution(model, corrupt, 5, 9, interventions=[*changes, mw.Intervention(hook, put)])
    return data.difference


# --- what cannot be -----------------------------------------------------------------------------------


def test_what_was_read_from_a_file_must_be_loaded_first(tiny_model):
    (named,) = interventions_from([mw.Splice(CODER).to_dict()])
    with pytest.raises(DataError, match=r"only the name of the coder topk is known.*Load it"):
        compute.next_tokens(tiny_model("llama"), IDS, interventions=[named])


@pytest.mark.parametrize(
    ("coder", "kind", "said"),
    [
        (lambda: made_coder(16), DataError, "16 wide at blocks.0.hook_resid_post"),
        (lambda: made_coder(32, "blocks.7.hook_resid_post"), DataError, "blocks.7.hook_resid_post"),
        (lambda: made_coder(48, "blocks.0.hook_mlp_out"), DataError, "48 wide"),
    ],
)
def test_a_coder_of_another_model_is_refused_and_both_sides_named(coder, kind, said, tiny_model):
    model = tiny_model("gpt2")
    forward(model, IDS, ("output.top_ids",))
    before = state_of(model)
    with pytest.raises(kind, match=said.replace(".", r"\.")):
        compute.next_tokens(model, IDS, interventions=[mw.Splice(coder())])
    assert state_of(model) == before


def test_parallel_blocks_have_no_stream_in_their_middle(tiny_model):
    coder = made_coder(32, "blocks.0.hook_resid_mid")
    with pytest.raises((DataError, ModelError), match="resid_mid"):
        compute.next_tokens(tiny_model("neox"), IDS, interventions=[mw.Splice(coder)])


def test_a_position_that_is_not_there_is_refused(tiny_model):
    with pytest.raises(DataError, match="position 30 does not exist"):
        compute.next_tokens(tiny_model("llama"), IDS, interventions=[mw.Clamp(CODER, 1, 1.0, positions=[30])])


@pytest.mark.parametrize("change", [lambda one: mw.Splice(one), lambda one: mw.Clamp(one, 3, 1.0)])
def test_nan_is_not_hidden_by_the_coder(change, tiny_model):
    """A threshold or the largest few of NaN look like numbers."""
    model = tiny_model("llama")
    with torch.no_grad():
        model.original_model.model.layers[0].mlp.down_proj.weight[0, 0] = torch.nan
    for architecture in ("jumprelu", "topk", "standard"):
        for coder in (
            made_coder(32, architecture=architecture),
            made_coder(32, "blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out", architecture),
        ):
            found = compute.next_tokens(model, IDS, interventions=[change(coder)])
            assert found.not_finite
            assert np.isnan(found.log_prob[1:]).all()


def test_what_raises_in_a_coder_leaves_nothing_on_the_model(tiny_model):
    model = tiny_model("llama")
    forward(model, IDS, ("output.top_ids",))
    before = state_of(model)

    class Broken(type(CODER)):
        def _encode(self, entered):
            raise RuntimeError("out of luck")

    broken = Broken(CODER.architecture, CODER.weights, CODER.settings, CODER.metadata)
    with pytest.raises(RuntimeError, match="out of luck"):
        compute.next_tokens(model, IDS, interventions=[mw.Splice(broken)])
    assert state_of(model) == before


# --- kinds of coders, number types, batches --------------------------------------------------------------


def temporal(hook="blocks.0.hook_resid_post", seed=0):
    """A small coder whose features hang on the positions before."""
    draw = torch.Generator().manual_seed(seed)
    features, width = 16, 32

    def normal(*shape):
        return 0.3 * torch.randn(*shape, generator=draw)

    weights = {"W_dec": normal(features, width), "b_dec": normal(width)}
    for part, wide in (("k_ctx", 8), ("q_target", 8), ("v_ctx", features), ("c_proj", features)):
        weights |= {
            f"attn_layers.0.{part}.weight": normal(wide, features),
            f"attn_layers.0.{part}.bias": normal(wide),
        }
    settings = {"n_heads": 2, "bottleneck_factor": 2, "kval_topk": 4}
    return sae.from_weights("temporal", weights, settings, {"hook_name": hook}, "in order")


def test_a_coder_that_reads_positions_in_order(pair):
    model, hugging = pair("llama")
    coder = temporal()
    changes = [mw.Splice(coder), mw.Ablate(1, head=0)]
    edits = [
        Edit("resid_post", 0, lambda value: coder.reconstruct(value)),
        Edit("head", 1, torch.zeros_like, 0),
    ]
    check_all(model, hugging, IDS, changes, edits)
    data = compute.logit_attribution(model, IDS, 5, 9, by="feature", coder=coder, position=6)
    assert data.holds
    features = compute.features(model, coder, IDS, 5, 9, position=6)
    x = torch.tensor(forward(model, IDS, (coder.hook_in,)).arrays[coder.hook_in])
    np.testing.assert_allclose(features.values, coder.encode(x), atol=1e-5)
    parts = data.to_pandas()
    parts = parts[parts["kind"] == "feature"]["contribution"]
    assert features.contribution.sum() == pytest.approx(parts.sum(), abs=1e-5)
    # Token by token it would hear only the last: whole prompts are run.
    written = compute.sample(model, IDS.tolist(), n_tokens=4, temperature=0, interventions=[mw.Splice(coder)])
    ids = IDS.tolist()
    for token in written.ids:
        assert int(logits_by_hand(model, coder, ids, lambda x, y: coder.reconstruct(x))[-1].argmax()) == token
        ids.append(int(token))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_in_half_precision_and_coders_in_full(dtype, tiny_model):
    model = tiny_model("llama", dtype=dtype)
    for coder in (CODER, CODER.to(dtype=dtype)):
        found = compute.next_tokens(model, IDS, interventions=[mw.Splice(coder)])
        logits = logits_by_hand(model, coder, IDS, lambda x, y, coder=coder: coder.reconstruct(x).to(y.dtype))
        np.testing.assert_allclose(-found.log_prob[1:], surprisal(logits.float(), IDS), atol=1e-5)
        same = compute.next_tokens(model, IDS, interventions=[mw.Splice(coder, error=True)])
        plain = compute.next_tokens(model, IDS)
        np.testing.assert_allclose(same.log_prob[1:], plain.log_prob[1:], atol=0.05)


def test_a_batch_of_runs_is_encoded_in_pieces(tiny_model, monkeypatch):
    model = tiny_model("llama")
    edits = resolve(model, tokenize(model, IDS), [mw.Splice(CODER), mw.Clamp(CODER, 3, 2.0, positions=[4])])
    batch = np.stack([IDS, IDS[::-1], IDS])
    whole = forward(model, batch, ("hook_resid_post",), writes=edits.writes).arrays["hook_resid_post"]
    monkeypatch.setattr("mi_widgets.compute.recoding.CHUNK", 5 * CODER.d_sae)
    some = forward(model, batch, ("hook_resid_post",), writes=edits.writes).arrays["hook_resid_post"]
    np.testing.assert_allclose(some, whole, atol=1e-6)
    for run, ids in enumerate(batch):
        alone = forward(model, ids, ("hook_resid_post",), writes=edits.writes).arrays["hook_resid_post"]
        np.testing.assert_allclose(whole[:, run], alone, atol=1e-5)
    data = compute.features(model, CODER, IDS)
    monkeypatch.setattr("mi_widgets.compute.recoding.CHUNK", 1)
    np.testing.assert_allclose(compute.features(model, CODER, IDS).values, data.values, atol=1e-6)


def test_a_pass_that_pauses_is_spliced_too(tiny_model):
    """On a thread of its own, with passes of the user's and of another splice between its blocks."""
    from mi_widgets.compute.forward import forward_steps

    model = tiny_model("llama")
    coder = made_coder(32, "blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out")
    edits, others = (resolve(model, tokenize(model, IDS), [mw.Splice(one)]) for one in (coder, CODER))
    wanted = forward(model, IDS, ("hook_resid_post",), writes=edits.writes).arrays["hook_resid_post"]
    steps = forward_steps(model, IDS, ("hook_resid_post",), writes=edits.writes, pausing=True)
    try:
        while True:
            next(steps)
            forward(model, IDS[:5], ("hook_resid_post",), writes=edits.writes)
            forward(model, IDS[:5], ("hook_resid_post",), writes=others.writes)
    except StopIteration as finished:
        found = finished.value.arrays["hook_resid_post"]
    np.testing.assert_array_equal(found, wanted)
