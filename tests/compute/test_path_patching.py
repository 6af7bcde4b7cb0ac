"""Path patching is what TransformerLens gives with the sender's change added by hand to one receiver's split input, on
every architecture, also through stations; and its sums are those of patching the sender itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_models
import tiny_oracle
import torch
from model_state import state_of

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute.forward import forward
from mi_widgets.compute.interventions import resolve
from mi_widgets.compute.path_patching import path_patch, path_patch_steps
from mi_widgets.data import Pairs, load, save
from mi_widgets.errors import DataError
from mi_widgets.models import load_model, tokenize

DRAW = np.random.default_rng(23)
CLEAN = DRAW.integers(3, tiny_models.D_VOCAB, 10)
CORRUPT = CLEAN.copy()
CORRUPT[[4, 6]] = DRAW.integers(3, tiny_models.D_VOCAB, 2)
ANSWER, FOIL = 5, 9
SENDER = (0, 1)
#: Three blocks, so that a path may have a station between its ends.
DEEP = {
    name: (config, {**values, ("n_layer" if name == "gpt2" else "num_hidden_layers"): 3}
           | ({"layer_types": [*values["layer_types"], "sliding_attention"]} if "layer_types" in values else {}))
    for name, (config, values) in tiny_models.CONFIGS.items()
}  # fmt: skip
DEAF = {
    "gptj": (tiny_models.DEAF["gptj"][0], {**tiny_models.DEAF["gptj"][1], "n_layer": 3}),
    "gptneo": (
        tiny_models.DEAF["gptneo"][0],
        {**tiny_models.DEAF["gptneo"][1], "num_layers": 3, "attention_types": [[["global", "local", "global"], 1]]},
    ),
}


@pytest.fixture(scope="module")
def deep(tiny_folder):
    """`deep(architecture)`: a Bridge of three blocks, and one with inputs split for the oracle; left as they were."""
    made = {}

    def get(name):
        if name not in made:
            folder = tiny_folder(name, DEEP.get(name) or DEAF[name])
            split = load_model(folder)
            if name in DEEP:
                split.set_use_split_qkv_input(True)
                split.set_use_hook_mlp_in(True)
            made[name] = load_model(folder), split
        return made[name]

    return get


class ByHand:
    """The same with TransformerLens's own hooks, one whole run at a time."""

    def __init__(self, model, base=CORRUPT, source=CLEAN):
        self.model, self.base, self.source = model, base, source

    def run(self, ids, hooks=(), read=None):
        found = {}
        kept = [] if read is None else [(read, lambda value, hook: found.__setitem__("value", value.clone()))]
        with torch.no_grad():
            logits = self.model.run_with_hooks(torch.tensor(ids)[None], fwd_hooks=[*hooks, *kept])[0, -1]
        return found["value"] if read else float(logits[ANSWER] - logits[FOIL])

    def passed(self, out, hooks):
        return self.run(self.base, hooks, out) - self.run(self.base, (), out)

    def sent(self, layer, head):
        if head is None:
            out = f"blocks.{layer}.hook_mlp_out"
            return self.run(self.source, (), out) - self.run(self.base, (), out)
        z = f"blocks.{layer}.attn.hook_z"
        theirs = self.run(self.source, (), z)

        def put(value, hook):
            value[:, :, head] = theirs[:, :, head]
            return value

        return self.passed(f"blocks.{layer}.hook_attn_out", [(z, put)])

    def hears(self, node, change):
        """The hook that adds `change` to the input of one receiver."""
        layer, head, kind = node

        def add(value, hook):
            if head is None:
                return value + change
            value = value.clone()
            value[:, :, head] += change
            return value

        last = len(self.model.blocks) - 1
        if kind == "logits":
            return f"blocks.{last}.hook_resid_post", add
        return (f"blocks.{layer}.hook_mlp_in" if kind == "mlp" else f"blocks.{layer}.attn.hook_{kind}_input"), add

    def value(self, sender, node, path=()):
        change = self.sent(*sender)
        for station in path:
            out = "hook_mlp_out" if station[2] == "mlp" else "hook_attn_out"
            change = self.passed(f"blocks.{station[0]}.{out}", [self.hears(station, change)])
        return self.run(self.base, [self.hears(node, change)])


def nodes_of(found):
    heads = [None if head < 0 else head for head in found.heads.tolist()]
    return list(zip(found.layers.tolist(), heads, found.kinds, strict=True))


def check(found, by_hand, sender, path=()):
    wanted = np.array([by_hand.value(sender, node, path) for node in nodes_of(found)])
    span = abs(found.clean - found.corrupt)
    np.testing.assert_allclose(found.value, wanted, atol=1e-4 * max(span, np.abs(wanted).max()))
    assert np.abs(wanted - found.base).max() > 1e-3 * span, "nothing was heard"


@pytest.mark.parametrize("architecture", DEEP)
def test_every_edge_is_the_senders_change_in_one_receivers_input(architecture, deep):
    model, split = deep(architecture)
    forward(model, CLEAN, ("output.top_ids",))
    before = state_of(model)
    found = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=SENDER)
    assert state_of(model) == before
    kv = model.cfg.n_key_value_heads or 4
    assert len(found.labels) == 2 * (4 + 2 * kv + 1) + 1 + (architecture != "neox")
    check(found, ByHand(split), SENDER)


@pytest.mark.parametrize("station", [(1, 2, "q"), (1, 1, "k"), (1, 0, "v"), (1, None, "mlp")])
@pytest.mark.parametrize("architecture", ["gpt2", "neox", "llama", "gemma2", "qwen3"])
def test_what_a_station_hears_is_what_the_next_one_is_sent(architecture, station, deep):
    model, split = deep(architecture)
    found = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=SENDER, path=[station])
    assert found.path == (station,)
    wanted = np.array([ByHand(split).value(SENDER, node, [station]) for node in nodes_of(found)])
    np.testing.assert_allclose(found.value, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))
    assert np.abs(wanted - found.base).max() > 0


def test_a_path_of_two_stations(deep):
    model, split = deep("llama")
    path = [(0, None, "mlp"), (1, 1, "v")]
    found = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=SENDER, path=path)
    assert found.steps == ("L0 H1", "L0 MLP", "L1 H1 v")
    assert nodes_of(found)[0] == (1, None, "mlp")
    check(found, ByHand(split), SENDER, path)


@pytest.mark.parametrize("architecture", ["gpt2", "neox", "gemma3"])
def test_an_mlp_can_be_the_sender_and_noise_goes_the_other_way(architecture, deep):
    model, split = deep(architecture)
    found = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=(0, None), direction="noise")
    assert found.labels[0] == "L1 H0 q"
    check(found, ByHand(split, CLEAN, CORRUPT), (0, None))


@pytest.mark.parametrize("architecture", ["gptj", "gptneo"])
def test_models_whose_inputs_cannot_be_split_too(architecture, deep):
    """The sender of the last block but one: all that hears it together is what patching it does."""
    model, _ = deep(architecture)
    found = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=(2, 3))
    assert found.labels == (("L2 MLP", "logits") if architecture == "gptneo" else ("logits",))
    whole = changed(model, mw.Patch("z", 2, head=3, source=CLEAN))
    if architecture == "gptj":
        assert found.value[-1] == pytest.approx(whole, abs=1e-5)
    rest = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=(1, 0))
    assert np.isfinite(rest.value).all()
    assert {label.split()[-1] for label in rest.labels} == {"q", "k", "v", "MLP", "logits"}


MULTIPLIED = dict(residual_multiplier=0.3, attention_multiplier=0.2, embedding_multiplier=3.0, logits_scaling=2.0)


def test_what_is_multiplied_on_its_way_into_the_stream_is_sent_so(tiny_folder):
    """Granite: the change in the stream, not what the attention gave."""

    class InTheStream(ByHand):
        def passed(self, out, hooks):
            return super().passed(out.replace("hook_attn_out", "hook_resid_mid"), hooks)

    config = dict(tiny_models.ROTARY, num_hidden_layers=3, **MULTIPLIED)
    model, split = (load_model(tiny_folder("granite", ("GraniteConfig", config))) for _ in range(2))
    split.set_use_split_qkv_input(True)
    split.set_use_hook_mlp_in(True)
    check(path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=SENDER), InTheStream(split), SENDER)


def test_an_mlp_that_shares_its_norm_with_the_attention_hears_for_itself(tiny_folder):
    """Cohere: TransformerLens's `hook_mlp_in` changes nothing there; by hand on Hugging Face's own modules."""
    folder = tiny_folder("cohere", ("CohereConfig", dict(tiny_models.ROTARY, num_hidden_layers=3, logit_scale=0.5)))
    model, hugging = load_model(folder), tiny_oracle.load(folder)
    first, layer = hugging.model.layers[0], hugging.model.layers[1]
    found = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=SENDER, receivers="mlp")
    mixed, entered = {}, {}

    def run(ids, hooks):
        handles = [put(hook) for put, hook in hooks]
        try:
            with torch.no_grad():
                logits = hugging(torch.tensor(ids)[None]).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()
        return float(logits[ANSWER] - logits[FOIL])

    reads = first.self_attn.o_proj.register_forward_pre_hook
    for name, ids in (("clean", CLEAN), ("corrupt", CORRUPT)):
        keep = lambda module, given, name=name: mixed.__setitem__(name, given[0].clone())  # noqa: E731
        run(ids, [(reads, keep)])
    enters = layer.input_layernorm.register_forward_pre_hook
    run(CORRUPT, [(enters, lambda module, given: entered.__setitem__("stream", given[0].clone()))])
    with torch.no_grad():
        change = (mixed["clean"] - mixed["corrupt"])[..., 8:16] @ first.self_attn.o_proj.weight[:, 8:16].T
        heard = layer.mlp(layer.input_layernorm(entered["stream"] + change))
    wanted = run(CORRUPT, [(layer.mlp.register_forward_hook, lambda module, given, out: heard)])
    assert found.value[found.receiver("mlp", 1)] == pytest.approx(wanted, abs=1e-6)
    assert abs(wanted - found.base) > 1e-3


def changed(model, change):
    tokens = tokenize(model, CORRUPT)
    writes = resolve(model, tokens, change).writes
    logits = forward(model, tokens.ids, ("output.last_logits",), writes=writes).arrays["output.last_logits"]
    return float(logits[ANSWER] - logits[FOIL])


@pytest.mark.parametrize("architecture", DEEP)
def test_of_the_last_block_of_a_parallel_model_the_logits_alone_hear_all(architecture, deep):
    model, _ = deep(architecture)
    found = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=(2, 0))
    if architecture == "neox":
        assert found.labels == ("logits",)
        assert found.value[0] == pytest.approx(changed(model, mw.Patch("z", 2, head=0, source=CLEAN)), abs=1e-5)
    else:
        assert found.labels == ("L2 MLP", "logits")


@pytest.mark.shared
@pytest.mark.parametrize("folder", ["demo-ioi", "stories3M-ioi"])
def test_edges_are_those_of_the_eap_ig_repository(folder, shared):
    """Exact scores of Hanna et al.'s code, made with HookedTransformer. Where queries are grouped it gives each query
    head keys and values of its own, so that there only queries, MLPs and logits can be compared."""
    oracle = shared / "oracles" / "eap-ig"
    held, facts = np.load(oracle / folder / "scores.npz"), json.loads((oracle / folder / "scores.json").read_text())
    model = load_model(oracle / "demo-model" if folder == "demo-ioi" else shared / "models" / "stories3M-llama")
    pairs = Pairs(tuple(zip(held["clean"], held["corrupt"], held["answer"].tolist(), held["foil"].tolist())))
    grouped = int(model.cfg.n_key_value_heads or model.cfg.n_heads) < int(model.cfg.n_heads)
    kinds = ("q", "mlp", "logits") if grouped else ("q", "k", "v", "mlp", "logits")
    for layer, head in ((0, 2), (1, None)):
        found = path_patch(model, pairs, sender=(layer, head), receivers=kinds, direction="noise")
        row = facts["sources"].index(f"m{layer}" if head is None else f"a{layer}.h{head}")
        names = {"mlp": "m{0}", "logits": "logits"}
        columns = [facts["targets"].index(names.get(kind, "a{0}.h{1}<{2}>").format(*node))
                   for node, kind in zip(nodes_of(found), found.kinds, strict=True)]  # fmt: skip
        wanted = -held["scores_exact"][row, columns]
        np.testing.assert_allclose(found.change_in_metric, wanted, atol=1e-4 * np.abs(wanted).max() + 2e-4)


# --- what is asked for ------------------------------------------------------------------------------------


def test_receivers_are_chosen_by_kind_or_one_by_one(deep):
    model, _ = deep("llama")
    whole = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=SENDER)
    some = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, SENDER, ["v", (2, 3, "q"), "logits"])
    assert some.labels == ("L1 H0 v", "L1 H1 v", "L2 H3 q", "L2 H0 v", "L2 H1 v", "logits")
    np.testing.assert_allclose(some.value, [whole.value[whole.labels.index(one)] for one in some.labels], atol=1e-5)
    (alone,) = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, SENDER, "logits").labels
    assert alone == "logits"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (dict(), "there is no sender"),
        (dict(sender=(0,)), "is no sender"),
        (dict(sender=(3, 0)), "layer 3 does not exist"),
        (dict(sender=(0, 4)), "head 4 does not exist"),
        (dict(sender=(1, 0), receivers=[(1, 0, "q")]), "does not hear L1 H0"),
        (dict(sender=(2, 0), receivers="q"), "'q' does not hear L2 H0"),
        (dict(sender=(0, 0), receivers="z"), "unknown receiver 'z'"),
        (dict(sender=(0, 0), path=[(1, 2, "k")]), "L1 H2 k does not hear L0 H0"),
        (dict(sender=(0, 0), path=[(1, 2, "q"), (1, 1, "v")]), "L1 H1 v does not hear L1 H2 q"),
        (dict(sender=(0, 0), path=[(-1, None, "logits")]), "cannot go on from logits"),
        (dict(sender=(0, 0), path=[(1, 2)]), "is no receiver"),
        (dict(sender=(0, 0), direction="up"), "unknown direction"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_any_run(asked, said, deep):
    with pytest.raises(DataError) as refused:
        path_patch(deep("llama")[0], CLEAN, CORRUPT, ANSWER, FOIL, **asked)
    assert said in str(refused.value)


# --- in all that patching can do --------------------------------------------------------------------------


def test_pairs_are_done_one_after_the_other(deep, tmp_path):
    model, _ = deep("gpt2")
    other = CLEAN.copy()
    other[2] = 77
    pairs = Pairs(((CLEAN, CORRUPT, ANSWER, FOIL), (CLEAN, other, ANSWER, FOIL)))
    both = path_patch(model, pairs, sender=SENDER)
    each = [path_patch(model, pair.clean, pair.corrupt, ANSWER, FOIL, SENDER) for pair in pairs]
    np.testing.assert_allclose(both.values, [one.values[0] for one in each], atol=1e-5)
    again = load(save(both, tmp_path / "paths.npz"))
    assert again.labels == both.labels
    assert np.array_equal(again.effect, both.effect)


def test_of_prompts_of_unequal_length_what_has_a_partner_is_sent(deep):
    model, _ = deep("llama")
    longer = np.concatenate([CLEAN[:3], [99, 98], CLEAN[3:]])
    found = path_patch(model, longer, CORRUPT, ANSWER, FOIL, sender=SENDER, receivers="logits")
    assert "unequal length" in found.notes[0]
    tokens = tokenize(model, CORRUPT)
    edits = resolve(model, tokens, mw.Patch("z", 0, head=1, source=longer))
    change = np.subtract(
        *(
            forward(model, CORRUPT, ("hook_attn_out",), (0,), writes=writes).arrays["hook_attn_out"][0]
            for writes in (edits.writes, ())
        )
    )
    assert found.value[0] == pytest.approx(changed(model, mw.Add(change[-1], layer=2, positions=-1)), abs=1e-4)


def test_the_same_prompt_twice_sends_nothing(deep):
    found = path_patch(deep("llama")[0], CLEAN, CLEAN, ANSWER, FOIL, sender=SENDER)
    assert np.array_equal(found.values[0], np.full(len(found.kinds), found.clean_values[0]))
    assert not found.differs
    assert "same prompt" in found.notes[0]


def test_logits_may_be_read_before_the_end(deep):
    model, _ = deep("llama")
    there = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, SENDER, position=-3)
    cut = path_patch(model, CLEAN[:-2], CORRUPT[:-2], ANSWER, FOIL, SENDER)
    np.testing.assert_allclose(there.value, cut.value, atol=1e-4)
    early = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, SENDER, position=-8)
    assert np.array_equal(early.values[0], np.full(len(early.kinds), early.corrupt_values[0]))


def test_hooks_of_the_users_own_that_know_one_run_alone_still_fire(deep):
    model, split = deep("gpt2")

    def one(value, hook):
        assert len(value) == 1
        return value * 1.5

    try:
        for each in (model, split):
            each.blocks[1].hook_mlp_out.add_hook(one)
        found = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=SENDER)
        check(found, ByHand(split), SENDER)
    finally:
        for each in (model, split):
            each.reset_hooks()


def test_hooks_that_mix_positions_carry_the_change_back(deep):
    model, split = deep("gpt2")

    def centred(value, hook):
        return value - value.mean(1, keepdim=True)

    last = CLEAN.copy()
    last[-2] = 50
    try:
        for each in (model, split):
            each.blocks[1].hook_mlp_out.add_hook(centred)
        found = path_patch(model, last, CLEAN, ANSWER, FOIL, sender=SENDER)
        check(found, ByHand(split, CLEAN, last), SENDER)
    finally:
        for each in (model, split):
            each.reset_hooks()


def test_interventions_are_made_in_every_run(deep):
    model, split = deep("gpt2")
    change = mw.Ablate(1, head=2)
    found = path_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, sender=SENDER, interventions=change)
    assert found.interventions == (change,)
    queries = found.receiver("q", 1, 2)
    assert found.value[queries] == pytest.approx(found.base, abs=1e-5)

    def zero(value, hook):
        value[:, :, 2] = 0
        return value

    split.blocks[1].attn.hook_z.add_hook(zero)
    try:
        check(found, ByHand(split), SENDER)
    finally:
        split.reset_hooks()


def test_a_model_in_bfloat16_gives_the_same_within_its_rounding(tiny_folder):
    folder = tiny_folder("llama", DEEP["llama"])
    narrow, wide = (path_patch(load_model(folder, dtype=dtype), CLEAN, CORRUPT, ANSWER, FOIL, sender=SENDER)
                    for dtype in (torch.bfloat16, torch.float32))  # fmt: skip
    assert np.abs(narrow.change_in_metric - wide.change_in_metric).max() < 0.1
    assert narrow.value.dtype == np.float32


def test_what_is_known_comes_with_the_steps_and_stopping_leaves_the_model_clean(deep, monkeypatch):
    monkeypatch.setattr("mi_widgets.compute.patch_grids.PARTIAL_SECONDS", 0.0)
    model, _ = deep("llama")
    forward(model, CLEAN, ("output.top_ids",))
    before = state_of(model)
    steps = path_patch_steps(model, CLEAN, CORRUPT, ANSWER, FOIL, SENDER)
    known = []
    for step in steps:
        if step.partial is not None:
            assert state_of(model) == before
            known.append(int(step.partial.exact.sum()))
        if known and known[-1]:
            break
    steps.close()
    assert state_of(model) == before
    assert known[-1] == 1  # the logits


def test_it_is_a_function_of_compute():
    assert compute.path_patch is path_patch
