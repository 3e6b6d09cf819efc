import pytest
import torch

from coset.errors import InputError
from coset.methods import Bloom, Hashing
from coset.partitions import MAX_SEED, MultiplyShift
from coset.schema import Table


def numbered(method, table):
    """A module whose row r is (r, r²)."""
    module = method.build(table)
    with torch.no_grad():
        row = torch.arange(method.num_buckets)
        next(module.parameters()).copy_(torch.stack([row, row.square()], dim=1))
    return module


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_vectors_are_sums_of_hashed_rows(k):
    vectors = numbered(Bloom(7, k, seed=3), Table("item", 40, 2)).materialize()
    for i in range(40):
        rows = [MultiplyShift(7, 3 + j)(i) for j in range(k)]
        assert vectors[i].tolist() == [sum(rows), sum(row**2 for row in rows)]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_bytes_do_not_depend_on_the_number_of_hashes(k):
    table = Table("user", 6040, 64)
    assert Bloom(1000, k).bytes(table) == 1000 * 64 * 4
    (component,) = Bloom(1000, k).components(table)
    assert component.shape == (1000, 64)
    assert len(list(Bloom(1000, k).build(table).parameters())) == 1


def test_far_fewer_ids_are_confused_than_by_one_hash():
    torch.manual_seed(0)
    table = Table("item", 20_000, 2, dtype=torch.float64)
    one = len(Hashing(2000, "multiply_shift").build(table).materialize().unique(dim=0))
    two = len(Bloom(2000, 2).build(table).materialize().round(decimals=9).unique(dim=0))
    assert one <= 2000
    assert two > 19_700  # of m² / 2 = 2 million sets, about n² / m² = 100 pairs meet


def test_seeds_choose_other_rows():
    table = Table("item", 50, 2)
    one, other = (numbered(Bloom(1000 // 20, 2, seed), table).materialize() for seed in (0, 5))
    assert not torch.equal(one, other)


def test_a_gradient_comes_to_every_row_of_an_id():
    table = Table("item", 40, 2)
    module = Bloom(30, 3).build(table)
    module.lookup(torch.tensor([11])).sum().backward()
    rows = [MultiplyShift(30, seed)(11) for seed in range(3)]
    (array,) = module.parameters()
    assert array.grad[:, 0].tolist() == [float(rows.count(row)) for row in range(30)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_buckets": 0}, "num_buckets must be at least 1, not 0"),
        ({"num_buckets": -2}, "num_buckets must be at least 1, not -2"),
        ({"num_hashes": 0}, "num_hashes must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"seed": MAX_SEED}, "seed must be at most"),
        ({"num_buckets": 2**31 + 1}, "num_buckets must be at most"),
    ],
)
def test_wrong_choices_are_refused(fields, said):
    with pytest.raises(InputError, match=f"'bloom': {said}"):
        Bloom(**{"num_buckets": 5} | fields)


def test_the_last_seed_is_that_of_the_last_hash():
    assert Bloom(5, 2, MAX_SEED - 1).build(Table("item", 9, 2)).materialize().shape == (9, 2)


def test_more_buckets_than_ids_are_refused():
    with pytest.raises(InputError, match=r"'user'.*11 buckets for 10 ids.*1 … 10"):
        Bloom(11).check(Table("user", 10, 2))
