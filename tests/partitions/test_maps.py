import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coset.errors import InputError
from coset.partitions import MultiplyShift, Partition, RowMap, naive, quotient, remainder

FAR = [0, 1, 2**24 - 1, 2**24 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32 + 1, 2**53 - 1, 2**53 + 1, 2**62, 2**63 - 1]
ids_lists = st.lists(st.integers(0, 2**63 - 1) | st.sampled_from(FAR), min_size=1, max_size=30)
moduli = st.integers(1, 2**63 - 1) | st.integers(1, 1000)


@given(ids=ids_lists, divisor=moduli, modulus=moduli)
def test_rows_are_exact_for_every_64_bit_id(rows_everywhere, ids, divisor, modulus):
    assert rows_everywhere(Partition(divisor, modulus), ids) == [i // divisor % modulus for i in ids]


@given(divisor=st.integers(1, 2**40), times=st.integers(0, 2**62), off=st.integers(-2, 2))
def test_quotients_are_exact_beside_multiples_of_the_divisor(rows_everywhere, divisor, times, off):
    # Where a float quotient rounds, and nowhere else, it shows.
    near = min(max(0, divisor * times + off), 2**63 - 1)
    assert rows_everywhere(Partition(divisor, 2**63 - 1), [near]) == [near // divisor]


def test_rows_worked_by_hand(rows_everywhere):
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


def test_every_quotient_of_ids_beyond_2_to_the_24_is_exact():
    # By float32 division, as in DLRM, about a quarter of these are wrong.
    ids = np.arange(2**24, 2**24 + 200_000)
    exact = [i // 4 for i in range(2**24, 2**24 + 200_000)]
    assert quotient(4, 40_000_000)(torch.from_numpy(ids)).tolist() == exact
    assert quotient(4, 40_000_000)(ids).tolist() == exact


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


@given(n=st.integers(1, 50), divisor=st.integers(1, 3), modulus=st.integers(1, 60))
def test_an_identity_is_told(n, divisor, modulus):
    rows = [Partition(divisor, modulus)(i) for i in range(n)]
    assert Partition(divisor, modulus).is_identity(n) <= (rows == list(range(n)))
    assert naive(n).is_identity(n)
    assert not naive(n).is_identity(n + 1)


@pytest.mark.parametrize(("divisor", "modulus"), [(0, 3), (3, 0), (-1, 3), (3, -2), (1.5, 3), (3, 2.0), (True, 3)])
def test_what_cannot_be_a_partition_is_refused(divisor, modulus):
    with pytest.raises(InputError, match=r"partition: (divisor|modulus) must be (a whole number|at least 1)"):
        Partition(divisor, modulus)


@pytest.mark.parametrize(("divisor", "modulus"), [(2**63, 3), (3, 2**63), (1, 2**80)])
def test_what_does_not_fit_int64_is_refused_at_once(divisor, modulus):
    with pytest.raises(InputError, match=rf"must lie in 1 … {2**63 - 1}, not {max(divisor, modulus)}"):
        Partition(divisor, modulus)


def test_partitions_are_row_maps():
    assert isinstance(Partition(1, 2), RowMap)
    assert isinstance(MultiplyShift(2), RowMap)
