"""What is kept of a model's output equals loops over the Hugging Face model's logits in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import tiny_oracle
import torch

from mi_widgets.compute import output
from mi_widgets.compute.forward import forward
from mi_widgets.compute.output import KEPT, OUTPUT_SITES, kept_output, summarised

IDS = np.random.default_rng(4).integers(3, tiny_models.D_VOCAB, 14)


def loops(logits, ids):
    """Each site by its definition, one position at a time."""
    out = {site: [] for site in OUTPUT_SITES}
    for position, row in enumerate(logits):
        normalizer = row.max() + np.log(np.exp(row - row.max()).sum())
        log_p = row - normalizer
        last = position == len(logits) - 1
        following = ids[(position + 1) % len(ids)]
        out["output.top_logits"].append(np.sort(row)[::-1][:KEPT])
        out["output.top_ids"].append(np.argsort(-row, kind="stable")[:KEPT])
        out["output.normalizer"].append(normalizer)
        out["output.entropy"].append(-(np.exp(log_p) * log_p).sum())
        out["output.next_logit"].append(np.nan if last else row[following])
        out["output.next_rank"].append(np.nan if last else (row > row[following]).sum())
    return {site: np.array(values) for site, values in out.items()}


@pytest.mark.parametrize("architecture", list(tiny_models.CONFIGS))
def test_it_equals_loops_over_hugging_faces_logits(architecture, tiny_folder, tiny_model):
    hugging = tiny_oracle.load(tiny_folder(architecture))
    with torch.no_grad():
        logits = hugging(torch.as_tensor(IDS)[None]).logits[0].double().numpy()
    got = forward(tiny_model(architecture), IDS, OUTPUT_SITES).arrays
    for site, want in loops(logits, IDS).items():
        if site != "output.top_ids":  # near ties may stand either way round; their logits say it all
            assert np.allclose(got[site], want, rtol=1e-4, atol=1e-4, equal_nan=True), site
    held = np.take_along_axis(logits, got["output.top_ids"], axis=1)
    assert np.allclose(held, got["output.top_logits"], atol=1e-4)


@pytest.mark.parametrize("d_vocab", [3, 128, 20_000])
@pytest.mark.parametrize("offset", [0.0, -120.0])
def test_any_vocabulary_and_offset_give_the_same_as_loops(d_vocab, offset, monkeypatch):
    monkeypatch.setattr("mi_widgets.compute.distributions.CHUNK", 4 * d_vocab)  # three chunks
    draw = np.random.default_rng(0)
    logits = (draw.standard_normal((10, d_vocab)) * 3 + offset).astype(np.float32)
    ids = draw.integers(0, d_vocab, 10)
    got = summarised(torch.from_numpy(logits), torch.from_numpy(ids))
    want = loops(logits.astype(float), ids)
    for site in OUTPUT_SITES:
        assert np.allclose(got[site], want[site], rtol=1e-6, atol=2e-5, equal_nan=True), site


def test_equal_logits_count_as_not_larger():
    logits = torch.tensor([[1.0, 1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    got = summarised(logits, torch.tensor([3, 0]))
    assert got["output.next_rank"][0] == 1
    assert got["output.top_ids"].tolist() == [[3, 0, 1, 2], [0, 1, 2, 3]]


def test_half_precision_gives_float32():
    got = summarised(torch.randn(3, 500).bfloat16(), torch.tensor([1, 2, 3]))
    assert {array.dtype.name for site, array in got.items() if site != "output.top_ids"} == {"float32"}


def strange_logits():
    """float32 `[position, d_vocab]`, at first as they should be, then each in its own way not."""
    logits = torch.from_numpy(np.random.default_rng(1).standard_normal((7, 20_000)).astype(np.float32))
    logits[1, 7], logits[2, 19_999], logits[3, 300], logits[4] = torch.nan, torch.nan, torch.inf, -torch.inf
    logits[5, ::2] = -torch.inf
    return logits


@pytest.mark.parametrize("sites", [*((site,) for site in OUTPUT_SITES), OUTPUT_SITES[:2], OUTPUT_SITES[::-1]])
def test_any_sites_alone_are_what_they_are_among_all(sites):
    logits, ids = strange_logits(), torch.arange(7)
    every, some = summarised(logits, ids), kept_output(logits, ids, sites)
    assert tuple(some) == sites
    assert all(np.array_equal(some[site], every[site], equal_nan=True) for site in sites)


def test_only_positions_without_a_distribution_have_no_likeliest_token():
    got = summarised(strange_logits(), torch.arange(7))
    assert (got["output.top_ids"] < 0).all(1).tolist() == [False, True, True, True, True, False, False]
    assert np.isfinite(got["output.normalizer"]).tolist() == [True, False, False, False, False, True, True]


def test_likeliest_tokens_alone_walk_over_no_distribution(monkeypatch):
    for walk in ("softmaxes", "entropies", "ranks"):
        monkeypatch.delattr(output, walk)
    assert kept_output(torch.randn(3, 500), torch.tensor([1, 2, 3]), ("output.top_ids",))["output.top_ids"].shape == (
        3,
        KEPT,
    )
