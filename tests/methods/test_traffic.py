"""Traffic curves, against counting every id."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from coset.errors import InputError
from coset.methods.traffic import Traffic
from coset.partitions import Codes, MultiplyShift, Partition, naive, quotient, remainder
from coset.schema import Table

N = 50_000
COUNTS = np.sort(np.random.default_rng(0).poisson(500_000 / np.arange(1, N + 1)))[::-1].astype(float)


def traffic(counts) -> Traffic:
    return Traffic.of(Table("user", len(counts), 8, frequencies=counts))


def alone(counts: np.ndarray, rows) -> float:
    """Share of the traffic of rows that is the id's own, over all traffic, by counting."""
    row = rows(np.arange(len(counts)))
    met = np.bincount(row, weights=counts)[row]
    return float((counts * np.divide(counts, met, out=np.ones(len(counts)), where=met > 0)).sum() / counts.sum())


@pytest.mark.parametrize("n", [1, 7, 200, 5000, N])
@pytest.mark.parametrize("share", [1, 4, 60])
def test_shares_of_rows_are_those_of_counting(n: int, share: int) -> None:
    counts, rows = COUNTS[:n], max(1, n // share)
    curve = traffic(counts)
    partitions = [remainder(rows), quotient(rows, n), Partition(3, rows), naive(n)]
    for partition in partitions:
        found = curve.mass @ curve.own_share(partition) / curve.total
        assert found == pytest.approx(alone(counts, partition), abs=0.004)


@pytest.mark.parametrize("rows", [20_000, 2000, 50])
def test_random_meetings(rows: int) -> None:
    """Both for hashes, and for partitions of ids in no order."""
    curve = traffic(COUNTS)
    expected = np.mean([alone(COUNTS, MultiplyShift(rows, seed)) for seed in range(5)])
    assert curve.mass @ curve.own_share(MultiplyShift(rows)) / curve.total == pytest.approx(expected, abs=0.015)
    shuffled = np.random.default_rng(1).permutation(COUNTS)
    curve = traffic(shuffled)
    assert not curve.ordered
    found = curve.mass @ curve.own_share(remainder(rows)) / curve.total
    assert found == pytest.approx(alone(shuffled, remainder(rows)), abs=0.03)


def test_codes() -> None:
    codes = Codes("year", np.arange(200) % 7)
    curve = traffic(COUNTS[:200])
    assert curve.mass @ curve.own_share(codes) / curve.total == pytest.approx(alone(COUNTS[:200], codes), abs=1e-9)


def test_blocks_have_the_traffic_of_their_ids() -> None:
    curve = traffic(COUNTS)
    for start, stop in ((0, 10), (10, 777), (777, N)):
        block = curve.block(start, stop)
        assert block.ids == stop - start
        assert block.total == pytest.approx(COUNTS[start:stop].sum(), rel=0.01)
    assert curve.block(0, 10) is curve.block(0, 10)


def test_hot_ids() -> None:
    curve = traffic(COUNTS)
    below = np.cumsum(COUNTS) / COUNTS.sum()
    for share in (0.1, 0.5, 0.9):
        assert curve.hot(share) == pytest.approx(np.searchsorted(below, share) + 1, rel=0.01, abs=1)
    assert curve.hot(0) == 0
    assert curve.hot(1.0) == np.count_nonzero(COUNTS)


def test_counts_that_only_nearly_fall_are_still_in_order() -> None:
    """Ids by true popularity, counted on a sample."""
    curve = traffic(np.random.default_rng(2).poisson(500_000 / np.arange(1, N + 1)))
    assert curve.ordered
    assert curve.total == curve.mass.sum()
    shuffled = traffic(np.random.default_rng(2).permutation(COUNTS.astype(np.int64)))
    assert not shuffled.ordered
    assert shuffled.until(100.0) == pytest.approx(traffic(COUNTS).until(100.0), rel=1e-9)


def test_cuts_are_the_best_there_are() -> None:
    counts = np.array([90.0, 80, 70, 20, 19, 3, 1, 1])
    curve = traffic(counts)

    def cost(edges: list[int]) -> float:
        total = 0.0
        for start, stop in pairwise(edges):
            value, weight = np.log(counts[start:stop]), counts[start:stop]
            total += float(weight @ np.square(value - weight @ value / weight.sum()))
        return total

    every = [[0, one, two, 8] for one in range(1, 8) for two in range(one + 1, 8)]
    sizes = curve.cuts(3)
    assert sum(sizes) == 8
    assert cost([0, *np.cumsum(sizes).tolist()]) == pytest.approx(min(map(cost, every)))
    assert curve.cuts(1) == [8]
    assert traffic([5.0]).cuts(4) == [1]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_that_are_none(share: float) -> None:
    with pytest.raises(InputError, match="in 0 … 1"):
        traffic(COUNTS).hot(share)


@pytest.mark.parametrize("blocks", [0, -1, 2.5, "x", None])
def test_numbers_of_blocks_that_are_none(blocks: Any) -> None:
    with pytest.raises(InputError, match="a whole number of 1 or more"):
        traffic(COUNTS).cuts(blocks)


def test_what_has_no_traffic() -> None:
    with pytest.raises(InputError, match=r"'user'.*no frequencies"):
        Traffic.of(Table("user", 10, 8))
    with pytest.raises(InputError, match=r"'user'.*all zero"):
        traffic(np.zeros(10))
