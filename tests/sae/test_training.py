"""Training sparse coders: every architecture learns, is written for SAELens, goes on where it ended, and leaves the
user's model as it was."""

from __future__ import annotations

import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from model_state import state_of
from safetensors.torch import load_file

from mi_widgets import compute, sae
from mi_widgets.errors import DataError, ModelError
from mi_widgets.sae.training_learner import Learner
from mi_widgets.sae.training_options import Options
from mi_widgets.sae.training_stream import FromTexts, Place

HOOK = "blocks.0.hook_resid_post"
TRANSCODED = {"hook": "blocks.1.mlp.hook_in", "hook_out": "blocks.1.hook_mlp_out"}
SMALL = {"d_sae": 48, "k": 4, "steps": 30, "batch_size": 64, "warm_up": 5, "learning_rate": 1e-2}


def texts(count=24, length=30, seed=0):
    draw = np.random.default_rng(seed)
    return [[0, *draw.integers(3, 128, length - 1)] for _ in range(count)]


def sparse(positions=6000, features=24, width=12, active=3, seed=0):
    """Activations made of a few of many known directions each."""
    draw = np.random.default_rng(seed)
    directions = draw.normal(size=(features, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    there = draw.random((positions, features)) < active / features
    return (there * draw.uniform(0.5, 1.5, there.shape)) @ directions, directions


def explained(coder, x, y=None):
    x = torch.as_tensor(x, dtype=torch.float32)
    y = x if y is None else torch.as_tensor(y, dtype=torch.float32)
    return 1 - float((y - coder.reconstruct(x)).square().sum() / (y - y.mean(0)).square().sum())


def equal(one, other):
    return all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


# --- what is learned -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "options", "saved_as", "least"),
    [
        ("topk", {"k": 3}, "topk", 0.75),
        ("batchtopk", {"k": 3}, "jumprelu", 0.75),
        ("jumprelu", {"k": 4}, "jumprelu", 0.6),
        ("standard", {"l1_coefficient": 1.0}, "standard", 0.6),
    ],
)
def test_every_architecture_learns_to_explain_what_it_has_not_seen(architecture, options, saved_as, least):
    x, _ = sparse()
    coder = sae.train_on(
        x[:5000], d_sae=48, architecture=architecture, steps=500, batch_size=256, learning_rate=5e-3, **options
    )
    assert coder.architecture == saved_as
    assert explained(coder, x[5000:]) > least
    l0 = float((coder.encode(torch.tensor(x[5000:]).float()) > 0).sum(1).float().mean())
    assert 1 < l0 < 9
    torch.testing.assert_close(coder.decoder_norms, torch.ones(48))
    assert len(coder.history) == 500
    assert coder.history["variance_unexplained"].iloc[-20:].mean() < 0.6 * coder.history["variance_unexplained"].iloc[0]


def test_a_transcoder_learns_another_place_than_it_reads():
    x, _ = sparse()
    draw = np.random.default_rng(1)
    y = np.maximum(x @ draw.normal(size=(12, 9)), 0) * 7 + 3
    coder = sae.train_on(x[:5000], y=y[:5000], d_sae=64, k=6, architecture="batchtopk", steps=400, batch_size=256)
    assert (coder.architecture, coder.d_in, coder.d_out) == ("jumprelu_transcoder", 12, 9)
    assert explained(coder, x[5000:], y[5000:]) > 0.6


def test_units_of_the_model_do_not_matter():
    x, _ = sparse(2000)
    one, large = (sae.train_on(factor * x, d_sae=24, k=3, steps=60, batch_size=128) for factor in (1.0, 128.0))
    assert explained(large, 128 * x) == pytest.approx(explained(one, x), abs=1e-3)


def test_features_that_do_not_fire_come_back():
    x = torch.tensor(sparse(3000)[0]).float()

    def never(dead_after):
        options = Options.checked(48, 3, "topk", False, steps=150, learning_rate=1e-2, dead_after=dead_after)
        learner = Learner(options, x, x, "cpu")
        with torch.no_grad():
            learner.parts["b_enc"][:24] = -4.0
        found = [learner.step(step, x[step * 20 :][:128], x[step * 20 :][:128])["dead"] for step in range(140)]
        assert max(found) == (24 if dead_after < 140 else 0)
        coder = sae.from_weights("topk", learner.weights(), {"k": 3})
        return int((coder.encode(x) == 0).all(0)[:24].sum())

    assert never(1000) > 20
    assert never(5) < 4


def test_the_same_seed_gives_the_same_coder_and_another_another(model):
    first, again, other = (
        sae.train(model, texts(), hook=HOOK, **SMALL, seed=seed).weights["W_enc"] for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


# --- on the user's model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [{"hook": HOOK}, TRANSCODED, {"hook": "blocks.1.attn.hook_z"}], ids=str)
def test_a_coder_of_the_users_model_fits_it_and_leaves_it_as_it_was(lived_in, place):
    before = state_of(lived_in)
    coder = sae.train(lived_in, texts(), **place, **SMALL)
    assert state_of(lived_in) == before
    coder.fits(lived_in)
    assert (coder.hook_in, coder.hook_out) == (place["hook"], place.get("hook_out", place["hook"]))
    assert coder.skips_first
    assert coder.flattens_heads == place["hook"].endswith("hook_z")


def test_what_is_streamed_is_what_stands_at_the_hook(model):
    options = Options.checked(8, 2, "topk", True, batch_size=16, length=20, skip_first=True)
    given = texts(5, 33)
    stream = FromTexts(model, given, *TRANSCODED.values(), options, None, Place())
    list(zip(range(30), stream.batches(16), strict=False))
    _, cache = model.run_with_cache(torch.tensor([given[0][:20]]), names_filter=list(TRANSCODED.values()))
    for held, hook in ((stream.x, TRANSCODED["hook"]), (stream.y, TRANSCODED["hook_out"])):
        torch.testing.assert_close(held[:19], cache[hook][0, 1:], atol=1e-5, rtol=1e-5)
    assert len(stream.x) == 5 * (19 + 12)  # each text in pieces of 20 and 13, without their first positions


def test_a_corpus_larger_than_the_buffer_is_streamed_and_wholly_seen(model):
    given = texts(40, 30)
    options = Options.checked(8, 2, "topk", False, batch_size=32, length=30, buffer_bytes=32 * 4 * 200)
    stream = FromTexts(model, given, HOOK, HOOK, options, None, Place())
    seen, most = set(), 0
    for batch in stream.batches(32):
        if batch is not None:
            seen |= {round(float(one), 4) for one in batch[0][:, 0]}
        most = max(most, len(stream.x))
        if stream.place.chunk > 0 and stream.place.start == 0:
            break
    _, cache = model.run_with_cache(torch.tensor(given), names_filter=[HOOK])
    every = {round(float(one), 4) for one in cache[HOOK][..., 0].flatten()}
    assert len(seen) > 0.8 * len(every)  # less the rests that make no batch
    assert most <= 200


def test_texts_that_can_be_read_once_are_refused_and_a_parquet_file_will_do(model, tmp_path):
    import pandas as pd

    with pytest.raises(DataError, match="read once only"):
        sae.train(model, iter(texts()), hook=HOOK, **SMALL)
    words = [" ".join(f"w{one}" for one in ids[1:]) for ids in texts()]
    pd.DataFrame({"text": [*words, None]}).to_parquet(tmp_path / "texts.parquet")
    read = sae.train(model, tmp_path / "texts.parquet", hook=HOOK, **SMALL)
    assert equal(read, sae.train(model, words, hook=HOOK, **SMALL))


class Interrupting:
    """Texts in the midst of which someone presses Ctrl-C, once."""

    def __init__(self, at):
        self.at = at

    def __iter__(self):
        for text in texts(200, 40):
            self.at -= 1
            if self.at == 0:
                os.kill(os.getpid(), signal.SIGINT)
            yield text


def test_it_learns_in_inference_mode_too(model):
    with torch.inference_mode():
        coder = sae.train(model, texts(), hook=HOOK, **SMALL)
    assert coder.history["loss"].iloc[-1] < coder.history["loss"].iloc[0]


# --- written, stopped, gone on with --------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_it_is_written_as_saelens_writes_it(model, tmp_path, architecture):
    coder = sae.train(model, texts(), hook=HOOK, folder=tmp_path / "coder", architecture=architecture, **SMALL)
    said = json.loads((tmp_path / "coder" / "cfg.json").read_text())
    weights = load_file(tmp_path / "coder" / "sae_weights.safetensors")
    assert said["architecture"] == ("topk" if architecture == "topk" else "jumprelu")
    assert said.get("k") == (4 if architecture == "topk" else None)
    assert said["metadata"]["hook_name"] == HOOK and said["metadata"]["seqpos_slice"] == [1, None]
    assert said["metadata"]["training_architecture"] == architecture
    assert (weights["W_enc"].shape, weights["W_dec"].shape) == ((32, 48), (48, 32))
    if architecture == "batchtopk":
        assert len(set(weights["threshold"].tolist())) == 1 and weights["threshold"][0] > 0
    read = sae.load(tmp_path / "coder")
    assert equal(read, coder)


@pytest.mark.parametrize("buffer_bytes", [1_000_000, 4 * 32 * 200], ids=["in memory", "streamed"])
def test_a_training_that_was_stopped_goes_on_to_the_same_coder(model, tmp_path, buffer_bytes):
    options = {**SMALL, "hook": HOOK, "buffer_bytes": buffer_bytes, "architecture": "batchtopk"}
    whole = sae.train(model, texts(), **options)
    steps = sae.train_steps(model, texts(), folder=tmp_path, **options)
    for step in steps:
        if step.done == 17:
            break
    steps.close()
    half = sae.load(tmp_path)
    assert not equal(half, whole) and half.metadata["training"]["stopped"]
    on = sae.train(model, texts(), folder=tmp_path, **options)
    assert equal(on, whole)
    assert on.history.equals(whole.history)
    assert equal(sae.train(model, texts(), folder=tmp_path, **options), whole)  # done: nothing is trained again


def test_ctrl_c_keeps_what_there_is_and_leaves_the_model_clean(lived_in, tmp_path):
    before = state_of(lived_in)
    options = {**SMALL, "steps": 4000, "buffer_bytes": 4 * 32 * 400}
    with pytest.warns(UserWarning, match="Stopped after"):
        coder = sae.train(lived_in, Interrupting(60), hook=HOOK, folder=tmp_path, **options)
    assert state_of(lived_in) == before
    assert 0 < len(coder.history) < 4000 and coder.metadata["training"]["stopped"]
    assert equal(sae.load(tmp_path), coder)


def test_ctrl_c_before_anything_is_learned_is_ctrl_c(model):
    with pytest.raises(KeyboardInterrupt):
        sae.train(model, Interrupting(1), hook=HOOK, **SMALL)


def test_another_training_in_the_folder_is_refused_by_what_differs(model, tiny_model, tmp_path):
    sae.train(model, texts(), hook=HOOK, folder=tmp_path, **SMALL)
    with pytest.raises(DataError, match="holds a training with k=4, not 5"):
        sae.train(model, texts(), hook=HOOK, folder=tmp_path, **{**SMALL, "k": 5})
    other = tiny_model("llama")
    with torch.no_grad():
        other.original_model.lm_head.weight.mul_(1.5)
    with pytest.raises(DataError, match="on another model: 1 weights differ"):
        sae.train(other, texts(), hook=HOOK, folder=tmp_path, **SMALL)


def test_a_damaged_checkpoint_is_refused(model, tmp_path):
    sae.train(model, texts(), hook=HOOK, folder=tmp_path, **SMALL)
    file = tmp_path / "training.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match="no whole training"):
        sae.train(model, texts(), hook=HOOK, folder=tmp_path, **SMALL)


def test_steps_show_how_far_it_is_and_the_coder_so_far(model):
    shown = [step for step in sae.train_steps(model, texts(), hook=HOOK, **SMALL) if step.partial is not None]
    assert [step.done for step in shown] == list(range(1, 31)) and shown[0].total == 30
    training = shown[-1].partial
    assert isinstance(training, sae.Training)
    assert training.coder().d_sae == 48
    curve = {trace.name: trace for trace in training.figure().data}
    np.testing.assert_allclose(curve["L0"].y, training.history["l0"])
    assert list(curve["L0"].x) == list(range(1, 31))


def test_a_long_curve_is_thinned_to_means():
    import pandas as pd

    from mi_widgets.sae.training_curve import POINTS, thinned

    history = pd.DataFrame({"loss": np.arange(1001.0)}, index=pd.RangeIndex(1, 1002, name="step"))
    shown = thinned(history)
    assert len(shown) <= POINTS
    assert shown["loss"].iloc[0] == 1.0 and shown.index[0] == 3 and shown.index[-1] == 1001


def test_in_a_notebook_the_curve_follows_in_its_place(model, monkeypatch):
    import IPython
    from IPython.core.interactiveshell import InteractiveShell

    from mi_widgets.sae import training_curve

    sent = []
    shell = InteractiveShell.instance()
    monkeypatch.setattr(training_curve, "PAUSE", 0.0)
    monkeypatch.setattr(shell, "kernel", True, raising=False)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    monkeypatch.setattr(shell.display_pub, "publish", lambda data, metadata, **how: sent.append((data, how)))
    sae.train(model, texts(), hook=HOOK, progress=True, **SMALL)
    curves = [data["application/vnd.plotly.v1+json"]["data"][1] for data, _ in sent]
    assert [len(curve["x"]) for curve in curves] == list(range(1, 31))
    assert [how.get("update", False) for _, how in sent] == [False] + [True] * 29
    assert len({how["transient"]["display_id"] for _, how in sent}) == 1


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"hook": "blocks.0.hook_resid_pots"}, "no hook 'blocks.0.hook_resid_pots'.*Did you mean"),
        ({"hook": "blocks.9.hook_resid_post"}, "no hook 'blocks.9"),
        ({"hook": "blocks.0.attn.hook_pattern"}, "not a vector for each position"),
        ({"hook": HOOK, "hook_out": "blocks.0.hook_mlp_outs"}, "no hook"),
        ({"hook": "blocks.1.hook_resid_post", "hook_out": "blocks.0.hook_mlp_out"}, "was not computed before"),
        ({"d_sae": 0}, "d_sae=0"),
        ({"k": 48}, "k=48 of 48"),
        ({"k": None}, "needs k"),
        ({"architecture": "standard"}, "has no k"),
        ({"architecture": "gated"}, "batchtopk"),
        ({"l1_coefficient": 1.0}, "no l1_coefficient"),
        ({"learning_rate": 0.0}, "trains nothing"),
        ({"steps": -1}, "trains nothing"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason(model, given, said):
    with pytest.raises(DataError, match=said):
        sae.train(model, texts(4), **{"hook": HOOK, **SMALL, **given})


@pytest.mark.parametrize("corpus", [[], [[0]], [None, ""]])
def test_texts_without_a_position_are_refused(model, corpus):
    with pytest.raises(DataError, match="no position to learn from"):
        sae.train(model, corpus, hook=HOOK, **SMALL)


def test_one_text_alone_is_refused(model):
    with pytest.raises(DataError, match="texts is one string"):
        sae.train(model, "w3 w4", hook=HOOK, **SMALL)


def test_activations_that_are_no_numbers_are_refused_and_the_model_is_left_as_it_was(model):
    with torch.no_grad():
        next(iter(model.blocks[0].parameters())).fill_(math.nan)
    before = state_of(model)
    with pytest.raises(ModelError, match="not finite"):
        sae.train(model, texts(), hook=HOOK, **SMALL)
    assert state_of(model)["hooks"] == before["hooks"]
    with pytest.raises(DataError, match="not finite"):
        sae.train_on(np.full((10, 4), np.nan), d_sae=8, k=2)


def test_a_training_that_diverges_says_so(model):
    wild = {**SMALL, "learning_rate": 1e38, "architecture": "standard", "k": None}
    with pytest.raises(ModelError, match="smaller learning_rate"):
        sae.train(model, texts(), hook=HOOK, **wild)


def test_a_topk_coder_of_a_pretrained_model_explains_its_stories(shared, stories):
    told = json.loads((shared / "data" / "tinystories_1000.json").read_text())
    hook = "blocks.2.hook_resid_post"
    coder = sae.train(
        stories, told[:40], hook=hook, d_sae=256, k=16, steps=100, batch_size=256, length=128, learning_rate=8e-3
    )
    found = compute.compare_coders(stories, [coder], told[900:904], length=128)
    assert 1 - found.variance_unexplained[0] > 0.6
    assert found.l0[0] == pytest.approx(16, abs=0.1)
