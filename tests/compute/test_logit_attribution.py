"""Each part's share of a logit difference equals what torch hooks on the Hugging Face model give, on every architecture;
the shares sum to the model's own number; what does not split is refused. The oracle never sees TransformerLens."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tiny_models
import tiny_oracle
import torch
from attribution_oracle import Attribution
from model_state import state_of

from mi_widgets import compute
from mi_widgets.compute.forward import forward
from mi_widgets.compute.logit_attribution import attribute, attribution_sites
from mi_widgets.data import load, save
from mi_widgets.errors import AnswerError, DataError, ModelError, PromptError, UnreadError
from mi_widgets.models import load_model, tokenize

ARCHITECTURES = list(tiny_models.CONFIGS)
SPLITS = ["component", "layer", "head", "neuron"]
IDS = np.random.default_rng(0).integers(3, tiny_models.D_VOCAB, 20)
SHARED = {
    "stories260K-llama": [1, 403, 407, 261, 378, 383, 286, 261, 298, 315, 421],
    "stories3M-llama": [1, *range(5, 45)],
    "gpt-nano-sort": [2, 0, 1, 1, 2, 0, 0, 0, 1, 1, 2],
}
GROUPED = dict(tiny_models.SHAPE, max_position_embeddings=64, num_key_value_heads=2, bos_token_id=0, eos_token_id=1)
OTHERS = {
    "gptj": (
        "GPTJConfig",
        dict(
            vocab_size=128, n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=4, bos_token_id=0, eos_token_id=0
        ),
    ),
    "olmo2": ("Olmo2Config", dict(GROUPED, pad_token_id=1)),
    "qwen2": ("Qwen2Config", GROUPED),
    "cohere": ("CohereConfig", dict(GROUPED, pad_token_id=1, logit_scale=0.25)),
    "granite": (
        "GraniteConfig",
        dict(GROUPED, residual_multiplier=0.3, embedding_multiplier=5.0, logits_scaling=3.0),
    ),
    "gpt_oss": (
        "GptOssConfig",
        dict(tiny_models.ROTARY, num_local_experts=4, num_experts_per_tok=2, sliding_window=8, pad_token_id=1),
    ),
    "deepseek": (
        "DeepseekV3Config",
        dict(
            GROUPED, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2, n_group=1, topk_group=1,
            first_k_dense_replace=2, moe_intermediate_size=16, q_lora_rank=16, kv_lora_rank=8, qk_rope_head_dim=4,
            qk_nope_head_dim=4, v_head_dim=8, n_shared_experts=1, pad_token_id=1,
        ),
    ),
}  # fmt: skip


def bound(difference: float) -> float:
    """What the parts may leave unexplained in float32."""
    return 1e-4 * max(1.0, abs(difference))


def of_kind(data, kind):
    """`{layer: contribution}` of one kind of part."""
    return {
        int(layer): float(value)
        for name, layer, value in zip(data.part_kinds, data.part_layers, data.contribution, strict=True)
        if name == kind
    }


@pytest.fixture(scope="module")
def other(tiny_folder):
    """`other(name)`: folder of a tiny model beyond the seven."""
    return lambda name: tiny_folder(name, OTHERS[name])


@pytest.fixture(scope="module")
def pair(tiny_folder, other):
    """`pair(name)`: the Bridge and the oracle over `IDS`; made once each, tests only read them."""
    made = {}

    def get(name):
        if name not in made:
            folder = other(name) if name in OTHERS else tiny_folder(name)
            made[name] = load_model(folder), Attribution(tiny_oracle.load(folder), IDS)
        return made[name]

    return get


# --- the numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", SPLITS)
@pytest.mark.parametrize("name", [*ARCHITECTURES, "gptj", "olmo2", "qwen2", "cohere", "granite"])
def test_parts_sum_to_the_models_own_logit_difference(name, by, pair):
    model, oracle = pair(name)
    for position in (-1, 0, 7):
        for foil in (9, None):
            data = compute.logit_attribution(model, IDS, 5, foil, position=position, by=by)
            want = oracle.difference(position, 5, foil)
            assert data.difference == pytest.approx(want, abs=1e-5)
            assert abs(data.contribution.astype(np.float64).sum() - want) <= bound(want)
            assert abs(data.residue) <= data.tolerance == bound(data.difference)
            assert data.holds


@pytest.mark.parametrize("name", [*ARCHITECTURES, "olmo2", "qwen2"])
def test_attention_and_mlps_equal_hooks_on_the_modules(name, pair):
    model, oracle = pair(name)
    data = compute.logit_attribution(model, IDS, 5, 9, position=11)
    attention, mlp = of_kind(data, "attention"), of_kind(data, "mlp")
    assert len(attention) == len(mlp) == 2
    for layer in range(2):
        assert attention[layer] == pytest.approx(oracle.worth(oracle.attention[layer][11], 11, 5, 9), abs=1e-5)
        assert mlp[layer] == pytest.approx(oracle.worth(oracle.mlp[layer][11], 11, 5, 9), abs=1e-5)
        assert data.mlps[layer] == pytest.approx(mlp[layer], abs=1e-6)
    entering = sum(sum(of_kind(data, kind).values()) for kind in ("embedding", "position embedding"))
    assert entering == pytest.approx(oracle.worth(oracle.first[11], 11, 5, 9), abs=1e-5)
    by_layer = of_kind(compute.logit_attribution(model, IDS, 5, 9, position=11, by="layer"), "layer")
    assert by_layer == pytest.approx({layer: attention[layer] + mlp[layer] for layer in range(2)}, abs=1e-6)


@pytest.mark.parametrize("foil", [9, None])
@pytest.mark.parametrize("name", [*ARCHITECTURES, "olmo2", "qwen2"])
def test_heads_equal_slices_of_what_the_output_matrix_reads(name, foil, pair):
    model, oracle = pair(name)
    data = compute.logit_attribution(model, IDS, 5, foil, position=13, by="head")
    want = np.array([[oracle.head(layer, head, 13, 5, foil) for head in range(4)] for layer in range(2)])
    assert data.heads == pytest.approx(want, abs=1e-5)
    parts = data.to_pandas().query("kind == 'head'")
    assert parts["contribution"].to_numpy() == pytest.approx(want.ravel(), abs=1e-5)
    assert parts["head"].tolist() == [0, 1, 2, 3] * 2
    assert np.array_equal(compute.logit_attribution(model, IDS, 5, foil, position=13).heads, data.heads)


@pytest.mark.parametrize("name", ["gpt2", "neox", "qwen2"])
def test_the_bias_of_attention_is_a_part_of_its_own(name, pair):
    model, oracle = pair(name)
    found = of_kind(compute.logit_attribution(model, IDS, 5, 9, by="head"), "attention bias")
    if name == "qwen2":
        assert found == {}  # its biases are of queries, keys and values only
        return
    for layer in range(2):
        want = oracle.worth(oracle.bias(oracle.attentions[layer]), -1, 5, 9)
        assert found[layer] == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "olmo2", "qwen2"])
def test_neurons_equal_rows_of_the_output_matrix_times_activations(name, pair):
    model, oracle = pair(name)
    data = compute.logit_attribution(model, IDS, 5, 9, position=13, by="neuron", top=10_000)
    assert "rest" not in data.part_kinds
    table = data.to_pandas().query("kind == 'neuron'")
    count = oracle.neurons[0].shape[1]
    assert len(table) == 2 * count
    want = [oracle.neuron(layer, neuron, 13, 5, 9) for layer in range(2) for neuron in range(count)]
    assert table["contribution"].to_numpy() == pytest.approx(np.array(want), abs=1e-5)
    biases = of_kind(data, "mlp bias")
    if name in {"gpt2", "neox"}:
        for layer in range(2):
            want_bias = oracle.worth(oracle.bias(oracle.blocks[layer].mlp), 13, 5, 9)
            assert biases[layer] == pytest.approx(want_bias, abs=1e-5)
    else:
        assert biases == {}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_largest_neurons_stand_alone_and_the_others_are_one_rest_for_each_layer(name, pair):
    model, oracle = pair(name)
    count = oracle.neurons[0].shape[1]
    want = np.array([[oracle.neuron(layer, neuron, -1, 5, 9) for neuron in range(count)] for layer in range(2)])
    data = compute.logit_attribution(model, IDS, 5, 9, by="neuron", top=6)
    table = data.to_pandas().query("kind == 'neuron'")
    shown = {(int(layer), int(neuron)) for layer, neuron in zip(table["layer"], table["neuron"], strict=True)}
    largest = np.argsort(-np.abs(want).ravel())[:6]
    assert shown == {divmod(int(place), count) for place in largest}
    rest = of_kind(data, "rest")
    for layer in range(2):
        left = sum(want[layer, neuron] for neuron in range(count) if (layer, neuron) not in shown)
        assert rest[layer] == pytest.approx(left, abs=1e-5)
    alone = compute.logit_attribution(model, IDS, 5, 9, by="neuron", top=0)
    assert "neuron" not in alone.part_kinds
    assert alone.holds


@pytest.mark.parametrize("name", [*ARCHITECTURES, "gptj"])
def test_sources_equal_pattern_times_value_through_the_heads_own_weights(name, pair, tiny_folder, other):
    model, oracle = pair(name)
    patterns = tiny_oracle.patterns(oracle.hugging, IDS)
    values, writes = tiny_oracle.values_and_writes(oracle.hugging, IDS, heads=4)
    query = 13
    data = compute.logit_attribution(model, IDS, 5, 9, position=query, by="head")
    assert data.sources.shape == (2, 4, len(IDS))
    assert data.sources.sum(-1) == pytest.approx(data.heads, abs=1e-5)
    for layer in range(2):
        norm = oracle.after(oracle.blocks[layer])[0]
        for head in range(4):
            for key in range(len(IDS)):
                write = patterns[layer, head, query, key] * (values[layer, head, key] @ writes[layer, head])
                write = oracle.through(write, norm, oracle.attention_raw[layer][query])
                want = oracle.worth(write, query, 5, 9)
                assert data.sources[layer, head, key] == pytest.approx(want, abs=1e-5)
    assert (data.sources[:, :, query + 1 :] == 0).all()


def test_a_soft_cap_is_a_part_of_its_own(pair):
    model, oracle = pair("gemma2")
    data = compute.logit_attribution(model, IDS, 5, 9)
    raw = (oracle.worth(oracle.last[-1], -1, 5, 9),)  # Gemma's final norm has no bias
    want = oracle.difference(-1, 5, 9) - raw[0]
    assert abs(want) > 1e-3
    assert of_kind(data, "output transform")[-1] == pytest.approx(want, abs=1e-5)
    assert "output transform" not in compute.logit_attribution(pair("gemma3")[0], IDS, 5, 9).part_kinds


@pytest.mark.parametrize(("name", "multiplier"), [("cohere", 0.25), ("granite", 1 / 3)])
def test_a_plain_multiplier_of_the_logits_multiplies_every_part(name, multiplier, pair):
    model, oracle = pair(name)
    data = compute.logit_attribution(model, IDS, 5, 9)
    assert "output transform" not in data.part_kinds
    for layer, share in of_kind(data, "mlp").items():
        # Granite's blocks multiply what they add; its modules give it before that
        added = oracle.mlp[layer][-1] * (0.3 if name == "granite" else 1.0)
        assert share == pytest.approx(multiplier * oracle.worth(added, -1, 5, 9), abs=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "neox"])
def test_the_bias_of_the_final_norm_is_a_part(name, pair):
    model, oracle = pair(name)
    _, bias = oracle.affine(oracle.norm)
    want = float(bias @ oracle.column(5, 9))
    assert abs(want) > 1e-3
    assert of_kind(compute.logit_attribution(model, IDS, 5, 9), "norm bias")[-1] == pytest.approx(want, abs=1e-5)


def test_the_bias_of_the_unembedding_is_a_part(pair):
    model, oracle = pair("gptj")
    bias = oracle.hugging.lm_head.bias.detach()
    data = compute.logit_attribution(model, IDS, 5, 9)
    assert of_kind(data, "unembedding bias")[-1] == pytest.approx(float(bias[5] - bias[9]), abs=1e-5)


def test_token_and_position_embedding_stand_apart_where_they_are_all_that_enters(pair):
    model, oracle = pair("gpt2")
    data = compute.logit_attribution(model, IDS, 5, 9, position=4)
    table = oracle.hugging.transformer
    token, place = table.wte.weight[IDS[4]].detach().double().numpy(), table.wpe.weight[4].detach().double().numpy()
    assert of_kind(data, "embedding")[-1] == pytest.approx(oracle.worth(token, 4, 5, 9), abs=1e-5)
    assert of_kind(data, "position embedding")[-1] == pytest.approx(oracle.worth(place, 4, 5, 9), abs=1e-5)
    assert "position embedding" not in compute.logit_attribution(pair("gemma2")[0], IDS, 5, 9).part_kinds


@pytest.mark.parametrize("by", SPLITS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_bfloat16_models_leave_no_more_than_their_rounding(name, by, tiny_folder):
    """bfloat16 keeps 8 bits: logits near 1 are rounded to 0.004, and so is each sum in the stream. What is left is below
    2 % of the largest part, and the result says what bound it holds itself to."""
    model = load_model(tiny_folder(name), dtype=torch.bfloat16)
    oracle = Attribution(tiny_oracle.load(tiny_folder(name), torch.bfloat16), IDS)
    for foil in (9, None):
        data = compute.logit_attribution(model, IDS, 5, foil, by=by)
        assert data.contribution.dtype == np.float32
        assert data.difference == pytest.approx(oracle.difference(-1, 5, foil), abs=2e-2)
        assert abs(data.residue) <= 2e-2 * max(1.0, float(np.abs(data.contribution).max()))
        assert data.holds
        assert data.tolerance < 0.2
        assert data.heads is not None
        assert data.sources.sum(-1) == pytest.approx(data.heads, abs=5e-3)


@pytest.mark.shared
@pytest.mark.parametrize("by", SPLITS)
@pytest.mark.parametrize("name", SHARED)
def test_pretrained_models_sum_too(name, by, shared):
    folder, ids = shared / "models" / name, np.array(SHARED[name])
    hugging = tiny_oracle.load(folder)
    with torch.no_grad():
        logits = hugging(torch.tensor(np.asarray(ids))[None]).logits[0].double().numpy()
    for position in (-1, 3):
        data = compute.logit_attribution(load_model(folder), ids, 1, 2, position=position, by=by)
        want = float(logits[position, 1] - logits[position, 2])
        assert data.difference == pytest.approx(want, abs=1e-4)
        assert abs(data.contribution.astype(np.float64).sum() - want) <= bound(want)


@pytest.mark.shared
def test_a_name_in_a_story_is_split_over_heads_and_sources(shared):
    model = load_model(shared / "models" / "stories3M-llama")
    data = compute.logit_attribution(model, "Tom and Sue were playing. Tom said to", " Sue", " Tom", by="head")
    assert (data.answer_string, data.foil_string) == (" Sue", " Tom")
    assert data.difference > 0
    assert data.holds
    largest = np.argsort(-data.sources.sum((0, 1)))[:2]
    assert {data.tokens.strings[place] for place in largest} == {" Sue", " Tom"}  # and not from the other words
    assert 7 in largest  # the second Tom, who speaks, says that it is not he who is spoken to


@pytest.mark.parametrize("by", SPLITS)
def test_the_embedded_model_sums_too(by, demo_model):
    prompt = "When Mary and John went to the store , John gave a drink to"
    data = compute.logit_attribution(demo_model, prompt, " Mary", " John", by=by)
    assert abs(data.residue) <= bound(data.difference)
    assert data.sources.sum(-1) == pytest.approx(data.heads, abs=1e-5)


def test_the_models_output_is_the_second_check(pair):
    model, oracle = pair("llama")
    order = np.argsort(-oracle.logits[-1])
    likely, unlikely = int(order[0]), int(order[-1])  # the output keeps the likeliest 50 of 128
    assert compute.logit_attribution(model, IDS, likely, unlikely).max_error < 1e-5
    assert compute.logit_attribution(model, IDS, int(order[-2]), unlikely).max_error < 1e-5
    model.add_hook("unembed.hook_out", lambda logits, hook: 0.5 * logits)  # the user's own: the model says otherwise
    assert compute.logit_attribution(model, IDS, likely, unlikely).max_error > 0.1
    assert compute.logit_attribution(model, IDS, int(order[-2]), unlikely).max_error > 0.1


def test_an_answer_is_read_after_the_position_not_after_the_prompt(stories):
    prompt = "Tom and Sue were playing. Tom said to"
    data = compute.logit_attribution(stories, prompt, " S", position=3)
    assert data.answer == data.tokens.ids[4]
    prefix = compute.logit_attribution(stories, "Tom and", " S")
    assert data.answer == prefix.answer
    assert data.difference == pytest.approx(prefix.difference, abs=1e-4)


# --- one pass, and none -----------------------------------------------------------------------------------


def test_another_position_or_split_needs_no_other_activations(model):
    sites = set(attribution_sites(model, "component", -1, 20))
    assert set(attribution_sites(model, "head", 4, 20)) == sites
    assert set(attribution_sites(model, "layer", 0, 20)) == sites
    assert set(attribution_sites(model, "neuron", 4, 20)) == {*sites, "mlp.hook_post@4"}


def test_attribute_runs_no_model(model, monkeypatch):
    tokens = tokenize(model, IDS)
    activations = forward(model, IDS, attribution_sites(model, "neuron", 6, len(IDS)))
    want = {by: compute.logit_attribution(model, IDS, 5, 9, position=6, by=by) for by in SPLITS}

    def refuse(*_given, **_named):
        raise AssertionError("the model was run")

    monkeypatch.setattr(model, "forward", refuse)
    monkeypatch.setattr(model.original_model, "forward", refuse)
    for by in SPLITS:
        data = attribute(model, tokens, activations, 5, 9, 6, by)
        assert np.array_equal(data.contribution, want[by].contribution)
    assert attribute(model, tokens, activations, 5, 9, 2, "head").holds  # another position of the same activations


@pytest.mark.parametrize("by", SPLITS)
@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_where_activations_are_large_the_one_position_is_kept_alone(name, by, tiny_model, monkeypatch):
    model = tiny_model(name)
    whole = compute.logit_attribution(model, IDS, 5, 9, position=6, by=by)
    monkeypatch.setattr(sys.modules["mi_widgets.compute.logit_attribution"], "WHOLE_BYTES", 0)
    sites = attribution_sites(model, by, 6, len(IDS))
    assert {"hook_attn_out@6", "hook_mlp_out@6", "attn.hook_z@6", "attn.hook_pattern@6", "attn.hook_v"} <= set(sites)
    data = compute.logit_attribution(model, IDS, 5, 9, position=6, by=by)
    assert np.array_equal(data.contribution, whole.contribution)
    assert np.array_equal(data.sources, whole.sources)


def test_sources_are_left_out_with_the_reason_where_values_would_be_too_large(model, monkeypatch):
    monkeypatch.setattr(sys.modules["mi_widgets.compute.logit_attribution"], "VALUE_BYTES", 0)
    data = compute.logit_attribution(model, IDS, 5, 9, by="head")
    assert data.sources is None
    assert "value vectors" in data.why_no_sources
    assert data.holds


# --- the model is the user's ------------------------------------------------------------------------------


@pytest.mark.parametrize("by", SPLITS)
@pytest.mark.parametrize("name", ["gpt2", "gemma3"])
def test_the_model_is_left_as_it_was(name, by, tiny_model):
    model = tiny_model(name)
    model.train()
    model.blocks[0].eval()
    next(model.parameters()).requires_grad_(False)
    model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value)
    model(torch.tensor([[3, 4, 5]]))  # transformers installs hooks of its own in a first pass, and leaves them
    before = state_of(model)
    compute.logit_attribution(model, IDS, 5, 9, by=by)
    assert state_of(model) == before


@pytest.mark.parametrize("name", ["gpt2", "neox", "gemma2"])
def test_a_model_in_compatibility_mode_sums_too(name, tiny_model):
    model = tiny_model(name)
    plain = compute.logit_attribution(model, IDS, 5, 9)
    model.enable_compatibility_mode()  # the user's choice; it moves gains and biases about
    for by in SPLITS:
        data = compute.logit_attribution(model, IDS, 5, 9, by=by)
        assert data.holds
        assert data.difference == pytest.approx(plain.difference, abs=1e-4)
        assert data.sources is not None


def test_a_head_that_a_hook_of_the_user_silences_contributes_nothing(model):
    def silence(mixed, hook):
        mixed[:, :, 2] = 0.0
        return mixed

    model.add_hook("blocks.1.attn.hook_z", silence)
    data = compute.logit_attribution(model, IDS, 5, 9, by="head")
    assert data.heads[1, 2] == 0
    assert data.heads[1, 1] != 0
    assert data.holds
    assert data.sources is None
    assert "layer 1" in data.why_no_sources  # the pattern no longer says what that head wrote


def test_a_stream_that_a_hook_of_the_user_edits_is_refused(model):
    model.add_hook("blocks.1.hook_resid_pre", lambda stream, hook: stream + 1.0)
    with pytest.raises(ModelError, match="not the sum of its embedding, attention and MLPs"):
        compute.logit_attribution(model, IDS, 5, 9)


def test_weights_that_did_not_make_the_activations_are_noticed(model):
    tokens = tokenize(model, IDS)
    activations = forward(model, IDS, attribution_sites(model, "neuron", -1, len(IDS)))
    with torch.no_grad():
        model.original_model.model.layers[1].self_attn.o_proj.weight.mul_(torch.linspace(0.5, 2.0, 32))
        model.original_model.model.layers[0].mlp.down_proj.weight.mul_(torch.linspace(0.5, 2.0, 48))
    data = attribute(model, tokens, activations, 5, 9)
    assert data.heads is None
    assert "layer 1, heads do not sum" in data.why_no_heads
    assert data.why_no_sources
    with pytest.raises(ModelError, match="heads of this model cannot be told apart"):
        attribute(model, tokens, activations, 5, 9, by="head")
    with pytest.raises(ModelError, match="layer 0, neurons do not sum"):
        attribute(model, tokens, activations, 5, 9, by="neuron")


# --- what does not split ----------------------------------------------------------------------------------


def test_a_mixture_of_experts_has_heads_but_no_neurons(other):
    model = load_model(other("gpt_oss"))
    data = compute.logit_attribution(model, IDS, 5, 9, by="head")
    assert data.holds
    assert data.sources.sum(-1) == pytest.approx(data.heads, abs=1e-5)  # also with attention sinks in the softmax
    with pytest.raises(ModelError, match="mixture of experts"):
        compute.logit_attribution(model, IDS, 5, 9, by="neuron")


def test_heads_whose_values_are_compressed_have_no_sources(other):
    data = compute.logit_attribution(load_model(other("deepseek")), IDS, 5, 9, by="head")
    assert data.holds
    assert data.sources is None
    assert "value vectors" in data.why_no_sources


def test_hooks_that_never_fire_cost_the_heads_but_not_the_rest(model, monkeypatch):
    def without(model, ids, sites, **made):
        if "attn.hook_z" in sites:
            raise UnreadError("attn.hook_z was not computed in 1 of 2 layers.")
        return forward(model, ids, sites, **made)

    monkeypatch.setattr(sys.modules["mi_widgets.compute.logit_attribution"], "forward", without)
    data = compute.logit_attribution(model, IDS, 5, 9)
    assert data.heads is None
    assert data.why_no_heads
    assert data.holds
    with pytest.raises(ModelError, match="hook_z"):
        compute.logit_attribution(model, IDS, 5, 9, by="head")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"by": "latent"}, DataError, "component, layer, head, neuron, feature"),
        ({"position": 20}, DataError, "positions 0 to 19"),
        ({"position": -21}, DataError, "positions 0 to 19"),
        ({"position": "last"}, DataError, "positions 0 to 19"),
        ({"foil": 5}, DataError, "same token"),
        ({"top": -1}, DataError, "top"),
        ({"top": "all"}, DataError, "top"),
        ({"foil": " w9 w10"}, AnswerError, "2 tokens"),
        ({"answer": 128}, AnswerError, "0 to 127"),
        ({"prompt": ""}, PromptError, "empty"),
    ],
)
def test_wrong_requests_say_what_is_wrong(options, error, says, model):
    given = {"prompt": IDS, "answer": 5, **options}
    with pytest.raises(error, match=says):
        compute.logit_attribution(model, **given)


def test_activations_of_other_layers_or_sites_are_refused(model):
    tokens = tokenize(model, IDS)
    sites = attribution_sites(model, "component", -1, len(IDS))
    with pytest.raises(DataError, match="every layer"):
        attribute(model, tokens, forward(model, IDS, sites, layers=[1]), 5, 9)
    with pytest.raises(DataError, match="attribution_sites"):
        attribute(model, tokens, forward(model, IDS, sites[:2]), 5, 9)
    with pytest.raises(DataError, match="no neurons"):
        attribute(model, tokens, forward(model, IDS, sites), 5, 9, by="neuron")


def test_what_is_no_model_is_refused():
    with pytest.raises(ModelError, match="not a TransformerLens model"):
        compute.logit_attribution("gpt2", "prompt", 5)


def test_answers_are_tokens_in_place(model):
    data = compute.logit_attribution(model, "w3 w4 w5", " w9", " w10")
    assert (data.answer, data.foil) == (9, 10)
    assert data.answer_string == "w9"
    assert np.array_equal(data.contribution, compute.logit_attribution(model, "w3 w4 w5", 9, 10).contribution)


def test_a_result_comes_back_from_a_file(model, tmp_path):
    data = compute.logit_attribution(model, IDS, 5, 9, by="head")
    again = load(save(data, tmp_path / "attribution.npz"))
    assert again.to_pandas().equals(data.to_pandas())
    assert np.array_equal(again.sources, data.sources)
    assert (again.residue, again.difference, again.tolerance) == (data.residue, data.difference, data.tolerance)
