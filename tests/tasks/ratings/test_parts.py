"""The order of an epoch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coset.tasks import Order
from coset.tasks.ratings.parts import permutation


def epoch_order(n: int, buffer: int | None, seed: int, epoch: int) -> torch.Tensor:
    return permutation(n, Order(seed, epoch, buffer))


rows = st.integers(0, 300)
buffers = st.none() | st.integers(1, 400)
seeds = st.integers(0, 2**40)
epochs = st.integers(0, 50)


@settings(deadline=None)
@given(rows, buffers, seeds, epochs)
def test_an_order_is_a_permutation(n: int, buffer: int | None, seed: int, epoch: int) -> None:
    order = epoch_order(n, buffer, seed, epoch)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(n))
    assert torch.equal(order, epoch_order(n, buffer, seed, epoch))


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), seeds, epochs)
def test_a_buffer_holds_a_row_back_for_any_time_and_hands_none_out_early(
    n: int, buffer: int, seed: int, epoch: int
) -> None:
    """At each place, all rows drawn so far are among the first place + buffer of the file."""
    for place, row in enumerate(epoch_order(n, buffer, seed, epoch).tolist()):
        assert row < place + buffer


def test_a_buffer_of_one_is_file_order() -> None:
    assert epoch_order(50, 1, 3, 4).tolist() == list(range(50))


def test_a_buffer_of_the_whole_file_is_a_full_shuffle() -> None:
    assert torch.equal(epoch_order(50, 50, 3, 4), epoch_order(50, None, 3, 4))
    assert torch.equal(epoch_order(50, 10_000, 3, 4), epoch_order(50, None, 3, 4))


@pytest.mark.parametrize("buffer", [None, 50])
def test_seeds_and_epochs_differ(buffer: int | None) -> None:
    seen = {tuple(epoch_order(300, buffer, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(seen) == 25


def test_no_global_generator_is_touched() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    epoch_order(100, 10, 0, 0)
    epoch_order(100, None, 0, 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_draws_from_a_buffer_are_uniform() -> None:
    """Of three rows and a buffer of two there are four equally likely orders; 5 sigma around 1000 of 4000 each."""
    found = Counter(tuple(epoch_order(3, 2, seed, 0).tolist()) for seed in range(4000))
    assert set(found) == {(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0)}
    assert all(abs(count - 1000) < 140 for count in found.values()), found


def test_a_full_shuffle_is_uniform() -> None:
    found = Counter(tuple(epoch_order(3, None, seed, 1).tolist()) for seed in range(6000))
    assert len(found) == 6
    assert all(abs(count - 1000) < 150 for count in found.values()), found
