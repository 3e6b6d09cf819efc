import time
from itertools import combinations, combinations_with_replacement
from math import gcd, prod

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from coset.errors import InputError
from coset.partitions import (
    Partition,
    balanced_moduli,
    chinese_remainder,
    colliding_ids,
    coprime_below,
    coprime_moduli,
    is_complementary,
    mixed_radix,
    quotient,
    remainder,
)

sizes = st.integers(1, 2**40)
ids_far = st.integers(0, 2**63 - 1) | st.sampled_from([2**24 + 1, 2**31 - 1, 2**31, 2**53 + 1, 2**62 + 1, 2**63 - 1])


def from_digits(digits, moduli):
    """The number whose mixed-radix digits these are, the least significant first."""
    number = 0
    for digit, modulus in zip(reversed(digits), reversed(moduli), strict=True):
        number = number * modulus + digit
    return number


@given(moduli=st.lists(st.integers(1, 2**20), min_size=1, max_size=4), i=ids_far)
def test_the_digits_of_mixed_radix_make_the_id_again(rows_everywhere, moduli, i):
    assume(prod(moduli[:-1]) < 2**63)
    i %= min(prod(moduli), 2**63)
    digits = [rows_everywhere(partition, [i])[0] for partition in mixed_radix(moduli)]
    assert all(0 <= digit < modulus for digit, modulus in zip(digits, moduli, strict=True))
    assert from_digits(digits, moduli) == i


@given(moduli=st.lists(st.integers(1, 10**6), min_size=1, max_size=5), i=ids_far)
def test_chinese_remainders_make_the_id_again(rows_everywhere, moduli, i):
    assume(all(gcd(one, other) == 1 for one, other in combinations(moduli, 2)))
    whole = prod(moduli)
    i %= min(whole, 2**63)
    rows = [rows_everywhere(partition, [i])[0] for partition in chinese_remainder(moduli)]
    # The formula of the Chinese remainder theorem.
    again = sum(row * (whole // m) * pow(whole // m, -1, m) for row, m in zip(rows, moduli, strict=True) if m > 1)
    assert again % whole == i


def test_families_worked_by_hand():
    assert mixed_radix([3, 4, 2]) == (Partition(1, 3), Partition(3, 4), Partition(12, 2))
    assert chinese_remainder([3, 4, 5]) == (remainder(3), remainder(4), remainder(5))
    assert mixed_radix([5, 3]) == (remainder(5), quotient(5, 15))  # quotient-remainder
    assert [p(23) for p in mixed_radix([3, 4, 2])] == [2, 3, 1]
    assert [p(23) for p in chinese_remainder([3, 4, 5])] == [2, 3, 3]


@given(n=sizes, parts=st.integers(1, 5))
def test_balanced_moduli_are_the_fewest_rows(n, parts):
    moduli = balanced_moduli(n, parts)
    assert len(moduli) == parts
    assert list(moduli) == sorted(moduli, reverse=True)
    assert prod(moduli) >= n
    fewer = sum(moduli) - 1  # the best that one row less could do
    if fewer >= parts:
        each, more = divmod(fewer, parts)
        assert (each + 1) ** more * each ** (parts - more) < n


@given(root=st.integers(2, 2**20), parts=st.integers(2, 3))
def test_balanced_moduli_are_exact_beside_powers(root, parts):
    assert balanced_moduli(root**parts, parts) == (root,) * parts
    assert balanced_moduli(root**parts + 1, parts) == (root + 1,) + (root,) * (parts - 1)


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_coprime_moduli_are_the_fewest_rows_of_all(parts):
    for n in (*range(1, 60), 100, 210, 997):
        moduli = coprime_moduli(n, parts)
        assert prod(moduli) >= n
        assert all(gcd(one, other) == 1 for one, other in combinations(moduli, 2)), n
        total = sum(moduli)
        if n <= 60 or parts < 4:
            for chosen in combinations_with_replacement(range(1, total - parts + 2), parts - 1):
                last = total - 1 - sum(chosen)
                family = (*chosen, last)
                if last < 1 or prod(family) < n:
                    continue
                assert any(gcd(one, other) > 1 for one, other in combinations(family, 2)), (n, family)


def test_coprime_moduli_of_large_tables_are_found_at_once():
    began = time.monotonic()
    for parts in range(1, 9):
        assert prod(coprime_moduli(2**40, parts)) >= 2**40
    assert time.monotonic() - began < 2


@given(largest=st.integers(1, 2**40) | st.integers(1, 40), parts=st.integers(1, 6))
def test_coprime_below_takes_the_greatest_that_is_coprime_to_those_before(largest, parts):
    moduli = coprime_below(largest, parts)
    assert len(moduli) == parts
    assert moduli[0] == largest
    for at in range(1, parts):
        before, chosen = moduli[:at], moduli[at]
        assert all(gcd(chosen, other) == 1 for other in before)
        greater = range(chosen + 1, before[-1])
        assert all(any(gcd(number, other) > 1 for other in before) for number in greater)


@given(n=sizes, parts=st.integers(1, 5), ids=st.lists(st.integers(0, 2**40 - 1), min_size=2, max_size=2, unique=True))
def test_built_in_families_are_complementary(n, parts, ids):
    for family in (mixed_radix(balanced_moduli(n, parts)), chinese_remainder(coprime_moduli(n, parts))):
        assert is_complementary(family, n)
        one, other = (number % n for number in ids)
        assert one == other or [p(one) for p in family] != [p(other) for p in family]


@given(n=st.integers(1, 2**40), m=st.integers(1, 2**40))
def test_quotient_and_remainder_are_complementary_at_any_size(n, m):
    assert is_complementary([quotient(m, n), remainder(m)], n)
    assert is_complementary([remainder(m), quotient(m, n)], n)


@given(moduli=st.lists(st.integers(1, 10_000), min_size=1, max_size=5), n=st.integers(2, 2**40), data=st.data())
def test_any_moduli_of_too_small_a_product_are_refused_by_two_ids_that_collide(moduli, n, data):
    order = data.draw(st.permutations(range(len(moduli))))
    families = [mixed_radix(moduli), [remainder(modulus) for modulus in moduli]]
    if all(gcd(one, other) == 1 for one, other in combinations(moduli, 2)):
        families.append(chinese_remainder(moduli))
        assert (colliding_ids(families[-1], n) is None) == (prod(moduli) >= n)
    assert (colliding_ids(families[0], n) is None) == (prod(moduli) >= n)
    for family in families:
        found = colliding_ids([family[at] for at in order], n)
        assert is_complementary(family, n) == (found is None)
        if found is not None:
            one, other = found
            assert 0 <= one < other < n
            assert [p(one) for p in family] == [p(other) for p in family]


@given(moduli=st.lists(st.integers(1, 2**14), min_size=1, max_size=4), data=st.data())
def test_rows_of_far_ids_are_those_of_python(moduli, data):
    ids = data.draw(st.lists(ids_far, min_size=1, max_size=20))
    for partition in (*mixed_radix(moduli), *(remainder(m) for m in moduli)):
        exact = [i // partition.divisor % partition.modulus for i in ids]
        assert partition(np.array(ids)).tolist() == partition(torch.tensor(ids)).tolist() == exact


@pytest.mark.parametrize("wrong", [[5, 0], [0, 5], [5, -2], [-3]])
def test_sizes_of_nothing_are_refused(wrong):
    with pytest.raises(InputError):
        mixed_radix(wrong)
    with pytest.raises(InputError):
        chinese_remainder(wrong)


def test_moduli_with_a_common_factor_are_named():
    with pytest.raises(InputError, match=r"4 and 6 share the factor 2.*coprime_moduli"):
        chinese_remainder([5, 4, 6])


@pytest.mark.parametrize("choose", [balanced_moduli, coprime_moduli, coprime_below])
@pytest.mark.parametrize(("n", "parts"), [(0, 2), (-4, 2), (10, 0), (10, -1)])
def test_no_moduli_for_nothing(choose, n, parts):
    with pytest.raises(InputError, match=f"not {n} and {parts}"):
        choose(n, parts)
