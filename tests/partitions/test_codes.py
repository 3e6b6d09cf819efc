from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coset.errors import InputError
from coset.partitions import Codes, Partition, RowMap, check_complementary, colliding_ids, is_complementary, tie_breaker

# {0, 1, 2, 3, 4} with three set partitions, as in the paper (Shi et al., 2019, section 3.1).
PUBLISHED = [
    Codes("first", [0, 1, 2, 1, 1]),  # {0}, {1, 3, 4}, {2}
    Codes("second", [0, 0, 1, 0, 1]),  # {0, 1, 3}, {2, 4}
    Codes("third", [0, 1, 1, 0, 1]),  # {0, 3}, {1, 2, 4}
]
columns = st.integers(1, 40).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 4), min_size=n, max_size=n), min_size=1, max_size=4)
)


def test_the_published_example_is_complementary():
    assert is_complementary(PUBLISHED, 5)
    check_complementary(PUBLISHED, 5)
    assert len({tuple(partition(i) for partition in PUBLISHED) for i in range(5)}) == 5


@pytest.mark.parametrize(("dropped", "pair"), [(0, (0, 3)), (1, (1, 4)), (2, (1, 3))])
def test_the_published_example_needs_each_of_its_partitions(dropped, pair):
    kept = [partition for at, partition in enumerate(PUBLISHED) if at != dropped]
    found = colliding_ids(kept, 5)
    assert found == pair
    with pytest.raises(InputError, match=f"ids {pair[0]} and {pair[1]} of 5 share every row.*2 partitions"):
        check_complementary(kept, 5)
    assert all(partition(found[0]) == partition(found[1]) for partition in kept)
    assert not is_complementary(kept, 5)


@given(columns)
def test_columns_are_complementary_when_their_tuples_are_distinct(given_columns):
    n = len(given_columns[0])
    partitions = [Codes(f"column {at}", codes) for at, codes in enumerate(given_columns)]
    tuples = list(zip(*given_columns, strict=True))
    found = colliding_ids(partitions, n)
    assert (found is None) == (len(set(tuples)) == n) == is_complementary(partitions, n)
    if found is not None:
        assert found[0] < found[1] < n
        assert tuples[found[0]] == tuples[found[1]]
        assert len(set(tuples[: found[0]])) == found[0]  # no earlier id meets another before it


@given(columns)
def test_a_tie_breaker_makes_any_columns_complementary(given_columns):
    n = len(given_columns[0])
    number = tie_breaker([np.array(codes) for codes in given_columns])
    assert number.dtype == np.int64
    assert is_complementary([*(Codes("c", codes) for codes in given_columns), Codes("number", number)], n)
    tuples = list(zip(*given_columns, strict=True))
    assert number.tolist() == [tuples[:at].count(own) for at, own in enumerate(tuples)]


def test_a_tie_breaker_of_wide_codes_does_not_overflow():
    wide = np.array([2**62, 2**62, 0, 2**62 - 1])
    assert tie_breaker([wide, wide, wide, wide]).tolist() == [0, 1, 0, 0]


def test_columns_of_one_length_make_a_tie_breaker():
    with pytest.raises(InputError, match=r"\(2,\).*\(3,\)"):
        tie_breaker([np.array([0, 0, 1]), np.array([5, 2])])
    with pytest.raises(InputError, match=r"\(1,\).*\(3,\)"):  # numpy would broadcast it
        tie_breaker([np.array([0, 0, 1]), np.array([5])])
    with pytest.raises(InputError, match="columns of codes"):
        tie_breaker([])


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(0, np.uint8), (255, np.uint8), (256, np.int16), (2**15 - 1, np.int16), (2**15, np.int32),
     (2**31 - 1, np.int32), (2**31, np.int64), (2**63 - 1, np.int64)],
)  # fmt: skip
@pytest.mark.parametrize("given_as", [np.int64, np.uint64])
def test_codes_are_kept_in_the_narrowest_type(largest, dtype, given_as):
    codes = Codes("year", np.array([0, largest, 0], dtype=given_as))
    assert codes.codes.dtype == dtype
    assert codes.codes.tolist() == [0, largest, 0]
    assert codes.rows(3) == largest + 1
    assert codes(1) == largest  # as an int64, whatever it is kept in
    assert codes(np.array([1, 0])).tolist() == codes(torch.tensor([1, 0])).tolist() == [largest, 0]


@given(codes=st.lists(st.integers(0, 70_000), min_size=1, max_size=30), data=st.data())
def test_the_code_of_an_id_is_its_row(rows_everywhere, codes, data):
    ids = data.draw(st.lists(st.integers(0, len(codes) - 1), max_size=10))
    assert rows_everywhere(Codes("year", codes), ids) == [codes[i] for i in ids]


def test_shape_and_type_of_ids_are_kept():
    year = Codes("year", [3, 1, 4, 1, 5])
    assert isinstance(year, RowMap)
    for shape in ((), (0,), (2, 2), (1, 0, 3)):
        by_numpy, by_torch = year(np.ones(shape, dtype=np.int64)), year(torch.ones(shape, dtype=torch.int64))
        assert by_numpy.shape == by_torch.shape == shape
        assert by_numpy.dtype == np.int64
        assert by_torch.dtype == torch.int64


def test_rows_are_those_of_the_ids_that_there_are():
    year = Codes("year", [0, 2, 1, 7])
    assert [year.rows(n) for n in (1, 2, 3, 4)] == [1, 3, 3, 8]


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ([0.0, 1.0], "float64"),
        ([True, False], "bool"),
        (["1960", "1961"], "<U4"),
        ([], r"\(0,\)"),
        ([[0, 1], [1, 0]], r"\(2, 2\)"),
        (3, r"\(\)"),
        ([0, -1, 4], "0 or more, not -1 .of id 1."),
        (np.array([2**63], dtype=np.uint64), f"int64, not {2**63}"),
    ],
)
def test_what_is_no_column_of_codes_is_refused(codes, said):
    with pytest.raises(InputError, match=f"attribute 'year': .*{said}"):
        Codes("year", codes)


@pytest.mark.parametrize("ids", [5, np.array([0, 5]), torch.tensor([5, 1])])
def test_an_id_without_a_code_is_named(ids):
    with pytest.raises(IndexError, match=r"'year'.*5.*0 … 4"):
        Codes("year", [0, 1, 2, 3, 4])(ids)


def test_a_column_of_too_few_codes_is_no_proof():
    with pytest.raises(IndexError, match=r"'year'.*0 … 2"):
        colliding_ids([Codes("year", [0, 1, 2]), Partition(1, 3)], 6)


def test_columns_and_arithmetic_together():
    half = Codes("half", [0, 0, 0, 1, 1, 1])
    assert is_complementary([half, Partition(1, 3)], 6)
    assert colliding_ids([half, Partition(1, 2)], 6) == (0, 2)
    for pair in combinations([half, Partition(1, 3), Partition(3, 2)], 2):
        rows = [tuple(partition(i) for partition in pair) for i in range(6)]
        assert is_complementary(pair, 6) == (len(set(rows)) == 6)
