"""The reductions over the vocabulary equal their plain definitions, also where they take short cuts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mi_widgets.compute.distributions import divergence, entropies, largest, ranks, rows_at_once


@pytest.mark.parametrize("count", [1, 3, 10, 50])
@pytest.mark.parametrize("d_vocab", [50, 129, 2561, 50_257])
def test_the_largest_are_those_of_a_full_sort(d_vocab, count):
    logits = torch.from_numpy(np.random.default_rng(count).standard_normal((7, d_vocab)).astype(np.float32))
    values, ids = largest(logits, count)
    order = np.argsort(-logits.numpy(), axis=-1, kind="stable")[:, :count]
    assert (ids.numpy() == order).all()
    assert torch.equal(values, logits.gather(1, ids))


def test_the_largest_are_found_in_one_block_and_in_the_incomplete_last():
    logits = torch.zeros(2, 128 * 30 + 5)
    logits[0, 256:266] = torch.arange(1.0, 11.0)
    logits[1, -3:] = torch.tensor([5.0, 7.0, 6.0])
    assert largest(logits, 10)[1][0].tolist() == list(range(265, 255, -1))
    assert largest(logits, 3)[1][1].tolist() == [3843, 3844, 3842]


@pytest.mark.parametrize("d_vocab", [60, 5000])
def test_of_equal_logits_the_first_comes_first(d_vocab):
    logits = torch.zeros(1, d_vocab)
    logits[0, [7, 30, 11, 55]] = 1.0
    assert largest(logits, 4)[1].tolist() == [[7, 11, 30, 55]]


def test_ranks_count_strictly_larger_logits():
    logits = torch.tensor([[3.0, 1.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    got = ranks(logits, logits.clone(), torch.empty_like(logits))
    assert got.tolist() == [[0, 3, 0, 2], [0, 0, 0, 0]]
    assert got.dtype == torch.int32
    assert ranks(logits, logits[:, :0], torch.empty_like(logits)).shape == (2, 0)


def test_divergence_and_entropy_equal_float64():
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(5, 3000, generator=draw) * 4 - 90 for _ in range(2))
    log_p, log_q, scratch = left.log_softmax(-1), right.log_softmax(-1), torch.empty_like(left)
    exact_p, exact_q = left.double().log_softmax(-1), right.double().log_softmax(-1)
    want = (exact_p.exp() * (exact_p - exact_q)).sum(-1)
    assert torch.allclose(divergence(log_p.exp(), log_p, log_q, scratch).double(), want, rtol=1e-5)
    want = -(exact_p.exp() * exact_p).sum(-1)
    assert torch.allclose(entropies(log_p.exp(), log_p, scratch).double(), want, rtol=1e-5)


def test_a_small_divergence_is_not_lost_to_rounding():
    logits = torch.randn(4, 5000, generator=torch.Generator().manual_seed(0)) * 3 - 100
    moved = logits.clone()
    moved[:, 17] += 0.01
    log_p, log_q = logits.log_softmax(-1), moved.log_softmax(-1)
    exact_p, exact_q = logits.double().log_softmax(-1), moved.double().log_softmax(-1)
    want = (exact_p.exp() * (exact_p - exact_q)).sum(-1)
    got = divergence(log_p.exp(), log_p, log_q, torch.empty_like(logits)).double()
    assert (got >= 0).all()
    assert torch.allclose(got, want, atol=1e-6)
    assert (divergence(log_p.exp(), log_p, log_p, torch.empty_like(logits)) == 0).all()


def test_a_chunk_holds_at_least_one_row():
    assert rows_at_once(10**9) == 1
