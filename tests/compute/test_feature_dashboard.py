"""Dashboards of features equal a pass by brute force, and what SAELens measured of the shipped coders."""

import json

import numpy as np
import pytest
import torch
from random_coder import D_SAE, brute_force, coder, corpus

from mi_widgets import compute, data, sae
from mi_widgets.errors import DataError, PromptError


@pytest.fixture(scope="module")
def found(tiny_folder):
    from mi_widgets.models import load_model

    model, texts = load_model(tiny_folder("llama")), corpus()
    acts, where = brute_force(model, coder(), texts)
    return compute.feature_dashboard(model, coder(), texts, range(D_SAE)), acts, where


def test_counts_and_extremes_equal_brute_force(found):
    dashboards, acts, _ = found
    assert [one.feature for one in dashboards] == list(range(D_SAE))
    assert [one.n_active for one in dashboards] == (acts != 0).sum(0).tolist()
    assert {one.n_tokens for one in dashboards} == {len(acts)}
    for one, column in zip(dashboards, acts.T, strict=True):
        active = column[column != 0]
        if len(active):
            assert one.density == len(active) / len(column)
            assert one.max_activation == pytest.approx(active.max(), rel=1e-5)
            assert one.min_activation == pytest.approx(active.min(), rel=1e-4, abs=1e-5)
            assert one.mean_activation == pytest.approx(active.mean(), rel=1e-5)


def test_the_first_examples_are_the_largest_activations(found):
    dashboards, acts, where = found
    for one, column in zip(dashboards, acts.T, strict=True):
        best = np.argsort(-column, kind="stable")[: min(20, int((column != 0).sum()))]
        examples = one.examples[one.examples["rank"] > 0]
        assert examples["rank"].tolist() == list(range(1, len(best) + 1))
        assert list(zip(examples["text"], examples["position"], strict=True)) == [
            tuple(pair) for pair in where[best].tolist()
        ]
        np.testing.assert_allclose(examples["activation"], column[best], rtol=1e-4)


def test_bins_and_intervals_are_half_open_of_equal_width_and_count_every_activation(found):
    dashboards, acts, _ = found
    for one, column in zip(dashboards, acts.T, strict=True):
        if not one.n_active:
            continue
        edges = [*one.histogram["low"], one.histogram["high"].iloc[-1]]
        wanted, _ = np.histogram(column[column != 0], [*edges[:-1], np.nextafter(edges[-1], 0)])
        assert np.ptp(np.diff(edges)) == 0
        assert one.bin_counts.tolist() == wanted.tolist()
        assert int(one.bin_counts.sum()) == one.n_active
        assert 4 <= len(range(*one.intervals["interval"].iloc[[-1, 0]])) + 1 <= 8
        assert one.intervals["n"].sum() == one.n_active
        examples = one.examples.merge(one.intervals, on="interval")
        assert len(examples) == len(one.examples)
        assert (examples["low"] <= examples["activation"]).all()
        assert (examples["activation"] < examples["high"]).all()


def test_every_interval_with_an_activation_has_examples(found):
    dashboards, _, _ = found
    for one in dashboards:
        drawn = one.examples[one.examples["drawn"]].groupby("interval").size()
        for interval, n in one.intervals[["interval", "n"]].itertuples(index=False):
            assert drawn.get(interval, 0) == min(5, n)


def test_an_examples_window_has_the_tokens_and_activations_around_it(found):
    dashboards, acts, where = found
    texts = corpus()
    value_at = {tuple(pair): row for row, pair in enumerate(where.tolist())}
    one = dashboards[1]
    for example in range(len(one.example_ranks)):
        text, position = int(one.example_texts[example]), int(one.example_positions[example])
        strings, activations, own = one.window(example)
        around = range(max(position - 5, 0), min(position + 6, len(texts[text])))
        assert strings == tuple(one.name_of(texts[text][place]) for place in around)
        assert around[own] == position
        wanted = [acts[value_at[text, place], 1] if place else np.nan for place in around]
        np.testing.assert_allclose(activations, wanted, rtol=1e-4, atol=1e-4)


def test_a_feature_that_never_fires_says_so(found):
    one = found[0][3]
    assert (one.n_active, one.density) == (0, 0.0)
    assert np.isnan([one.max_activation, one.mean_activation]).all()
    assert one.examples.empty and one.histogram.empty and one.intervals.empty and one.correlated.empty
    assert len(one.neighbours) == 10


def test_correlated_features_are_those_active_together(found):
    dashboards, acts, _ = found
    active = (acts != 0).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.corrcoef(active.T)
    for one in dashboards:
        assert one.n_together == len(acts)
        for feature, together, correlation in one.correlated.itertuples(index=False):
            assert together == int((active[:, one.feature] * active[:, feature]).sum())
            assert correlation == pytest.approx(wanted[one.feature, feature], abs=1e-5)
        others = np.delete(np.nan_to_num(wanted[one.feature], nan=-1), one.feature)
        best = np.sort(others[others > 0])[::-1][:10]
        np.testing.assert_allclose(one.correlations, best, atol=1e-5)


def test_logit_effects_neighbours_and_neurons_follow_from_the_weights(tiny_model):
    model, mine = tiny_model("gpt2"), coder()
    one = compute.feature_dashboard(model, mine, corpus(), [5])[0]
    gain = model.ln_final.weight.detach()
    effects = (mine.W_dec[5] * gain) @ model.W_U.detach()
    order = torch.argsort(effects, descending=True)
    assert one.promoted.tolist() == order[:10].tolist()
    assert one.suppressed.tolist() == order.flip(0)[:10].tolist()
    np.testing.assert_allclose(one.promoted_by, effects[order[:10]], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one.suppressed_by, effects[order.flip(0)[:10]], rtol=1e-4, atol=1e-6)
    unit = mine.W_dec / mine.W_dec.norm(dim=1, keepdim=True)
    cosines = unit @ unit[5]
    cosines[5] = -2
    assert one.neighbour_features.tolist() == cosines.argsort(descending=True)[:10].tolist()
    np.testing.assert_allclose(one.neighbour_cosines, cosines.sort(descending=True)[0][:10], atol=1e-6)
    sizes = mine.W_dec[5].abs()
    assert one.neuron_numbers.tolist() == sizes.argsort(descending=True)[:10].tolist()
    np.testing.assert_allclose(one.neurons["weight"], mine.W_dec[5][one.neuron_numbers.tolist()])
    np.testing.assert_allclose(one.neuron_shares, sizes[one.neuron_numbers.tolist()] / sizes.sum(), rtol=1e-5)


@pytest.fixture(scope="module")
def stories3m(shared):
    from mi_widgets.models import load_model

    return load_model(shared / "models" / "stories3M-llama")


@pytest.mark.parametrize("name", ["topk", "batchtopk", "standard", "transcoder"])
def test_statistics_equal_what_saelens_measured_of_the_shipped_coders(shared, stories3m, name):
    model, mine = stories3m, sae.load(shared / "saes" / f"stories3m-{name}")
    texts = json.loads((shared / "data" / "tinystories_1000.json").read_text())[900:]
    known = np.load(shared / "saes" / f"stories3m-{name}" / "stats.npz")
    features = range(0, 1536, 7)
    dashboards = compute.feature_dashboard(model, mine, texts, features)
    for feature, one in zip(features, dashboards, strict=True):
        assert one.n_tokens == int(known["n_tokens"])
        assert one.n_active == round(float(known["frac_nonzero"][feature]) * one.n_tokens)
        if one.n_active:
            assert one.max_activation == pytest.approx(known["max_act"][feature], rel=1e-5)
            assert one.mean_activation == pytest.approx(known["mean_act_when_active"][feature], rel=1e-5)
            first = one.examples.iloc[0]
            assert (first["text"], first["position"]) == (known["argmax_story"][feature], known["argmax_pos"][feature])


@pytest.mark.parametrize("name", ["temporal", "temporal-untied-relu", "matching_pursuit", "gated", "abstopk"])
def test_coders_that_read_the_sequence_or_are_negative_are_counted_too(shared, tiny_folder, name):
    from mi_widgets.models import load_model

    config = dict(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=128,
        max_position_embeddings=64, num_key_value_heads=2, head_dim=6, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = load_model(tiny_folder("llama", ("LlamaConfig", config)))
    mine, texts = sae.load(shared / "saes" / "formats" / name), corpus(10)
    acts, _ = brute_force(model, mine, texts)
    found = compute.feature_dashboard(model, mine, texts, range(mine.d_sae))
    assert [one.n_active for one in found] == (acts != 0).sum(0).tolist()
    lowest = np.where(acts == 0, np.inf, acts).min(0)
    for one in found:
        if one.n_active:
            assert one.min_activation == pytest.approx(lowest[one.feature], rel=1e-3, abs=1e-5)


def test_position_0_counts_where_the_coder_was_trained_with_it_and_the_notes_say_which(model):
    texts = corpus(5)
    with_first = compute.feature_dashboard(model, coder(skips_first=False), texts, [0])[0]
    without = compute.feature_dashboard(model, coder(), texts, [0])[0]
    assert with_first.n_tokens == without.n_tokens + 5 == sum(map(len, texts))
    assert "Every position counts" in with_first.notes[1]
    assert "Position 0 of every text is left out" in without.notes[1]


def test_texts_longer_than_the_model_reads_are_cut_and_counted(model):
    texts = [[5] * 100, [6] * 64]
    one = compute.feature_dashboard(model, coder(), texts, [0])[0]
    assert one.n_tokens == 63 + 63
    assert "1 texts are read only up to 64 tokens." in one.notes
    assert compute.feature_dashboard(model, coder(), texts, [0], length=10)[0].n_tokens == 18
    with pytest.raises(DataError, match="length=65 cannot be read"):
        compute.feature_dashboard(model, coder(), texts, [0], length=65)


def test_what_stands_beside_a_text_does_not_change_its_numbers(model):
    from mi_widgets.compute.coded_corpus import Reading, coded_blocks
    from mi_widgets.compute.corpus import Corpus

    def coded(texts, number):
        reading = Reading.checked(model, coder())
        blocks = [block for _, block in coded_blocks(model, coder(), Corpus(texts), reading) if block is not None]
        block = blocks[0]
        return block.value[block.text[block.token] == number]

    texts = corpus()
    assert len(coded(texts, 7)) > 0
    np.testing.assert_array_equal(coded(texts, 7), coded([texts[7]], 0))


def test_a_model_that_reads_ahead_is_not_given_what_a_batch_is_filled_up_with(tiny_folder):
    from mi_widgets.models import load_model

    config = dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=128,
        max_position_embeddings=64,
    )  # fmt: skip
    model = load_model(tiny_folder("bert", ("BertConfig", config)))
    mine, texts = coder(hook="blocks.1.hook_resid_pre", skips_first=False), corpus(6)
    acts, _ = brute_force(model, mine, texts)
    one = compute.feature_dashboard(model, mine, texts, [1])[0]
    assert one.n_active == int((acts[:, 1] != 0).sum())
    assert one.max_activation == pytest.approx(acts[:, 1].max(), rel=1e-4)


def test_numbers_that_are_not_finite_are_left_out_and_counted(model):
    with torch.no_grad():
        model.W_E[7] = torch.nan
    texts = [[5, 6, 8, 9], [5, 6, 7, 9, 10]]
    one = compute.feature_dashboard(model, coder(), texts, [0])[0]
    assert one.n_tokens == 3  # within a text NaN reaches back too: attention multiplies it by 0
    assert "4 positions are left out: numbers there are not finite." in one.notes
    with pytest.raises(DataError, match="not finite"):
        compute.feature_dashboard(model, coder(), [[7, 7, 7]], [0])


def test_corpora_without_a_token_that_counts_are_refused(model):
    for texts in ([], [[5], [6]], [""]):
        with pytest.raises(DataError, match="no token that counts"):
            compute.feature_dashboard(model, coder(), texts, [0])


def test_what_does_not_fit_is_refused_with_both_sides_named(model):
    with pytest.raises(DataError, match=r"16 wide at blocks.1.hook_resid_pre.*32 wide"):
        compute.feature_dashboard(model, coder(d_in=16), corpus(), [0])
    with pytest.raises(DataError, match=r"blocks\.9\.hook_resid_pre"):
        compute.feature_dashboard(model, coder(hook="blocks.9.hook_resid_pre"), corpus(), [0])
    with pytest.raises(DataError, match="feature 24 does not exist"):
        compute.feature_dashboard(model, coder(), corpus(), [24])
    with pytest.raises(PromptError, match="text 1: Token id 999"):
        compute.feature_dashboard(model, coder(), [[5, 6], [5, 999]], [0])


def test_a_coder_away_from_the_stream_has_no_logit_effects_and_says_why(model):
    mine = coder(hook="blocks.1.ln2.hook_normalized")
    one = compute.feature_dashboard(model, mine, corpus(), [0])[0]
    assert one.logits.empty
    assert any("No logit effects" in note for note in one.notes)


def test_a_coder_of_what_heads_put_out_is_read_through_w_o(model):
    mine = coder(hook="blocks.1.attn.hook_z")
    one = compute.feature_dashboard(model, mine, corpus(), [2])[0]
    W_O = model.blocks[1].attn.W_O.detach().flatten(0, 1)
    effects = ((mine.W_dec[2] @ W_O) * model.ln_final.weight.detach()) @ model.W_U.detach()
    assert one.promoted.tolist() == effects.argsort(descending=True)[:10].tolist()


def test_large_coders_are_encoded_in_parts_with_the_same_result(model, monkeypatch):
    whole = compute.feature_dashboard(model, coder(), corpus(), [1])[0]
    monkeypatch.setitem(__import__("mi_widgets.compute.coded_corpus", fromlist=["CELLS"]).CELLS, "cpu", 5 * D_SAE)
    parts = compute.feature_dashboard(model, coder(), corpus(), [1])[0]
    assert parts.n_active == whole.n_active
    assert parts.examples[["text", "position"]].equals(whole.examples[["text", "position"]])


def test_a_dashboard_is_saved_and_loaded(found, tmp_path):
    for one in (found[0][1], found[0][3]):
        again = data.load(data.save(one, tmp_path / "one.npz"))
        assert again.examples.equals(one.examples)
        assert again.logits.equals(one.logits) and again.histogram.equals(one.histogram)
        assert again.notes == one.notes and again.names == one.names


def test_nothing_is_left_on_the_model(lived_in):
    from model_state import state_of

    before = state_of(lived_in)
    compute.feature_dashboard(lived_in, coder(), corpus(), [0])
    assert state_of(lived_in) == before
