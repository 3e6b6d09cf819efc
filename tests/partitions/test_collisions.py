import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coset.errors import InputError
from coset.partitions import (
    Codes,
    Collisions,
    MultiplyShift,
    Partition,
    colliding_ids,
    collisions,
    is_complementary,
    mixed_radix,
    naive,
    remainder,
)


@given(moduli=st.lists(st.integers(1, 7), min_size=1, max_size=3), n=st.integers(1, 200), data=st.data())
def test_colliding_ids_are_those_that_counting_finds(moduli, n, data):
    divisors = data.draw(st.lists(st.integers(1, 9), min_size=len(moduli), max_size=len(moduli)))
    for family in (
        mixed_radix(moduli),
        [remainder(modulus) for modulus in moduli],
        [Partition(divisor, modulus) for divisor, modulus in zip(divisors, moduli, strict=True)],
        [MultiplyShift(modulus * 3, seed) for seed, modulus in enumerate(moduli)],
    ):
        rows = [tuple(partition(number) for partition in family) for number in range(n)]
        found = colliding_ids(family, n)
        assert (found is None) == (len(set(rows)) == n)
        if found is not None:
            assert found[0] < found[1] < n
            assert rows[found[0]] == rows[found[1]]


def test_the_lcm_of_moduli_decides_and_not_their_product():
    assert colliding_ids([remainder(4), remainder(6)], 12) is None
    assert colliding_ids([remainder(4), remainder(6)], 13) == (0, 12)


def test_proofs_of_built_in_families_count_nothing():
    began = time.monotonic()
    n = 2**40
    assert is_complementary([naive(n)], n)
    assert is_complementary([Partition(7, 3), naive(n)], n)
    assert is_complementary(mixed_radix([2**20, 2**20]), n)
    assert colliding_ids(mixed_radix([2**20, 2**20]), n + 1) == (0, n)
    assert is_complementary([Partition(3, 2**40), Partition(3, 1), Partition(1, 3)], n)  # in any order
    assert time.monotonic() - began < 1


def test_no_partitions_tell_one_id_apart():
    assert is_complementary([], 1)
    assert colliding_ids([], 2) == (0, 1)


def test_what_cannot_be_known_is_not_guessed():
    with pytest.raises(InputError, match=r"1000000000 ids.*too many to count.*mixed_radix"):
        colliding_ids([Partition(3, 5), Partition(2, 7)], 10**9)


def test_collisions_by_hand():
    frequencies = [50, 20, 15, 10, 5]
    assert collisions(remainder(3), frequencies) == Collisions(4, 0.85)  # 0 with 3, 1 with 4; 2 alone
    assert collisions(remainder(5), frequencies) == Collisions(0, 0.0)
    assert collisions(remainder(1), frequencies) == Collisions(5, 1.0)
    assert collisions(Codes("make", [0, 1, 2, 2, 0]), frequencies) == Collisions(4, 0.8)


@given(
    frequencies=st.lists(st.integers(0, 50), min_size=1, max_size=40).filter(any),
    divisor=st.integers(1, 5),
    modulus=st.integers(1, 20),
)
def test_collisions_are_counted_one_by_one(frequencies, divisor, modulus):
    for partition in (Partition(divisor, modulus), MultiplyShift(modulus, divisor)):
        rows = [partition(i) for i in range(len(frequencies))]
        shared = [rows.count(row) > 1 for row in rows]
        found = collisions(partition, np.array(frequencies))
        assert found.ids == sum(shared)
        met = sum(count for count, meets in zip(frequencies, shared, strict=True) if meets)
        assert found.traffic == pytest.approx(met / sum(frequencies))


@pytest.mark.parametrize("wrong", [[0, 0], [], [1, -1], [1, float("nan")], [1, float("inf")], [[1, 2]]])
def test_frequencies_that_say_nothing_are_refused(wrong):
    with pytest.raises(InputError, match="collisions: frequencies"):
        collisions(remainder(3), wrong)


def test_frequencies_of_ids_without_a_code_are_refused():
    with pytest.raises(IndexError, match=r"'year'.*0 … 1"):
        collisions(Codes("year", [0, 1]), [1, 2, 3])
