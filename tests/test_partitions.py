from itertools import combinations, combinations_with_replacement
from math import gcd, prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coset.errors import InputError
from coset.partitions import (
    Collisions,
    MultiplyShift,
    Partition,
    balanced_moduli,
    chinese_remainder,
    colliding_ids,
    collisions,
    coprime_moduli,
    is_complementary,
    mixed_radix,
    naive,
    quotient,
    remainder,
)

FAR = [0, 1, 2**24 - 1, 2**24 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32 + 1, 2**53 - 1, 2**53 + 1, 2**62, 2**63 - 1]
ids_lists = st.lists(st.integers(0, 2**63 - 1) | st.sampled_from(FAR), min_size=1, max_size=30)
moduli = st.integers(1, 2**62) | st.integers(1, 1000)


def rows_everywhere(partition, ids):
    """The rows on Python integers, after checking that numpy and torch agree with them."""
    rows = [partition(i) for i in ids]
    by_numpy, by_torch = partition(np.array(ids, dtype=np.int64)), partition(torch.tensor(ids, dtype=torch.int64))
    assert by_numpy.dtype == np.int64
    assert by_torch.dtype == torch.int64
    assert by_numpy.tolist() == rows
    assert by_torch.tolist() == rows
    return rows


@given(ids_lists, moduli, moduli)
def test_rows_are_exact_for_every_64_bit_id(ids, divisor, modulus):
    assert rows_everywhere(Partition(divisor, modulus), ids) == [i // divisor % modulus for i in ids]


def test_rows_worked_by_hand():
    ids = [0, 1, 2, 3, 4, 5, 6]
    assert rows_everywhere(Partition(2, 3), ids) == [0, 0, 1, 1, 2, 2, 0]
    assert rows_everywhere(naive(7), ids) == ids
    assert rows_everywhere(remainder(3), ids) == [0, 1, 2, 0, 1, 2, 0]
    assert rows_everywhere(quotient(3, 7), ids) == [0, 0, 0, 1, 1, 1, 2]
    assert quotient(3, 7) == Partition(3, 3)
    assert naive(7) == Partition(1, 7)


@pytest.mark.parametrize("i", [16_777_217, 20_000_001, 33_762_577, 39_999_999])
def test_quotients_that_float_division_gets_wrong(i):
    assert quotient(3, 40_000_000)(torch.tensor(i)).item() == i // 3


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 60))
def test_rows_counts_what_can_be_reached(n, divisor, modulus):
    partition = Partition(divisor, modulus)
    assert {partition(i) for i in range(n)} == set(range(partition.rows(n)))


@given(st.integers(1, 300), st.integers(1, 300))
def test_quotient_and_remainder_are_complementary(n, m):
    pairs = {(quotient(m, n)(i), remainder(m)(i)) for i in range(n)}
    assert len(pairs) == n


@given(st.integers(1, 10**6), st.integers(1, 1000))
def test_quotient_reaches_one_row_in_m(n, m):
    assert quotient(m, n).rows(n) == -(-n // m)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (1, 0, 2)])
def test_shape_is_kept(shape):
    for partition in (Partition(3, 5), MultiplyShift(5, seed=1)):
        assert partition(torch.zeros(shape, dtype=torch.int64)).shape == shape
        assert partition(np.zeros(shape, dtype=np.int64)).shape == shape


@pytest.mark.parametrize(("divisor", "modulus"), [(0, 3), (3, 0), (-1, 3), (3, -2), (1.5, 3), (3, 2.0), (True, 3)])
def test_what_cannot_be_a_partition_is_refused(divisor, modulus):
    with pytest.raises(InputError, match="positive integer"):
        Partition(divisor, modulus)


@given(ids_lists, st.integers(1, 2**31), st.integers(0, 2**32 - 1))
def test_hash_is_the_same_everywhere_and_in_range(ids, modulus, seed):
    hashed = rows_everywhere(MultiplyShift(modulus, seed), ids)
    assert all(0 <= row < modulus for row in hashed)


@given(st.integers(1, 2**31), st.integers(1, 10**9))
def test_hash_rows_hold_every_row(modulus, n):
    assert MultiplyShift(modulus, 0).rows(n) <= modulus


@pytest.mark.parametrize("modulus", [2, 16, 100, 128])
@pytest.mark.parametrize("seed", [0, 1, 77])
@pytest.mark.parametrize("stride", [1, 2, 128, 100, 2**20, 2**32, 2**40])
def test_hash_spreads_ids_evenly(modulus, seed, stride):
    ids = np.arange(20_000, dtype=np.int64) * stride
    counts = np.bincount(MultiplyShift(modulus, seed)(ids), minlength=modulus)
    expected = len(ids) / modulus
    chi_square = ((counts - expected) ** 2 / expected).sum()
    # Mean modulus - 1, deviation √(2 · (modulus - 1)); eight deviations (the tail of few buckets is long).
    assert chi_square < modulus - 1 + 8 * (2 * (modulus - 1)) ** 0.5 + 8


def test_hash_seeds_throw_ids_differently():
    ids = np.arange(10_000, dtype=np.int64)
    rows = [MultiplyShift(100, seed)(ids) for seed in range(4)]
    for at, one in enumerate(rows):
        for other in rows[at + 1 :]:
            assert 0.005 < (one == other).mean() < 0.015  # as by chance: 1 in 100
    assert (rows[0] == MultiplyShift(100, 0)(ids)).all()


def test_hash_mixes_the_upper_half_of_an_id():
    ids = np.arange(1000, dtype=np.int64)
    partition = MultiplyShift(1000, seed=3)
    assert (partition(ids) == partition(ids + 2**32)).mean() < 0.02


def test_hash_shares_rows_as_often_as_chance():
    ids = np.arange(10_000, dtype=np.int64)
    reached = len(np.unique(MultiplyShift(10_000, seed=5)(ids)))
    assert abs(reached - 10_000 * (1 - np.exp(-1))) < 300


@pytest.mark.parametrize(("modulus", "seed"), [(0, 0), (-5, 0), (2.0, 0), (3, -1), (3, 1.5), (2**31 + 1, 0)])
def test_what_cannot_be_a_hash_is_refused(modulus, seed):
    with pytest.raises(InputError, match="hash"):
        MultiplyShift(modulus, seed)


sizes = st.integers(1, 2**40)


@given(n=sizes, parts=st.integers(1, 5))
def test_balanced_moduli_are_the_fewest_rows(n, parts):
    moduli = balanced_moduli(n, parts)
    assert len(moduli) == parts
    assert prod(moduli) >= n
    fewer = sum(moduli) - 1  # the best that one row less could do
    if fewer >= parts:
        each, more = divmod(fewer, parts)
        assert (each + 1) ** more * each ** (parts - more) < n


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("n", [*range(1, 60), 100, 210, 997])
def test_coprime_moduli_are_the_fewest_rows_of_all(n, parts):
    moduli = coprime_moduli(n, parts)
    assert prod(moduli) >= n
    assert all(gcd(one, other) == 1 for one, other in combinations(moduli, 2))
    total = sum(moduli)
    if n <= 60 or parts < 4:
        for chosen in combinations_with_replacement(range(1, total - parts + 2), parts - 1):
            last = total - 1 - sum(chosen)
            family = (*chosen, last)
            if last < 1 or prod(family) < n:
                continue
            assert any(gcd(one, other) > 1 for one, other in combinations(family, 2)), family


@given(n=sizes, parts=st.integers(1, 5), ids=st.lists(st.integers(0, 2**40 - 1), min_size=2, max_size=2, unique=True))
def test_built_in_families_are_complementary(n, parts, ids):
    for family in (mixed_radix(balanced_moduli(n, parts)), chinese_remainder(coprime_moduli(n, parts))):
        assert is_complementary(family, n)
        one, other = (number % n for number in ids)
        assert one == other or [p(one) for p in family] != [p(other) for p in family]


@given(moduli=st.lists(st.integers(1, 7), min_size=1, max_size=3), n=st.integers(1, 200), data=st.data())
def test_colliding_ids_are_those_that_counting_finds(moduli, n, data):
    divisors = data.draw(st.lists(st.integers(1, 9), min_size=len(moduli), max_size=len(moduli)))
    for family in (
        mixed_radix(moduli),
        [remainder(modulus) for modulus in moduli],
        [Partition(divisor, modulus) for divisor, modulus in zip(divisors, moduli, strict=True)],
    ):
        rows = [tuple(partition(number) for partition in family) for number in range(n)]
        found = colliding_ids(family, n)
        assert (found is None) == (len(set(rows)) == n)
        if found is not None:
            assert found[0] < found[1] < n
            assert rows[found[0]] == rows[found[1]]


def test_what_cannot_be_known_is_not_guessed():
    with pytest.raises(InputError, match="too many to count"):
        colliding_ids([Partition(3, 5), Partition(2, 7)], 10**9)
    with pytest.raises(InputError, match="4 and 6 share the factor 2"):
        chinese_remainder([5, 4, 6])
    with pytest.raises(InputError, match="at least one id"):
        balanced_moduli(0, 2)


def test_collisions_by_hand():
    frequencies = [50, 20, 15, 10, 5]
    assert collisions(remainder(3), frequencies) == Collisions(4, 0.85)  # 0 with 3, 1 with 4; 2 alone
    assert collisions(remainder(5), frequencies) == Collisions(0, 0.0)
    assert collisions(remainder(1), frequencies) == Collisions(5, 1.0)
    with pytest.raises(InputError, match="not all zero"):
        collisions(remainder(3), [0, 0])
