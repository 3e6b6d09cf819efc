import pytest
import torch

from coset.errors import InputError
from coset.methods import Hashing
from coset.schema import Table

TABLE = Table("user", 10, 2)


def test_ids_with_the_same_remainder_share_a_vector():
    module = Hashing(4).build(TABLE)
    vectors = module.materialize()
    assert torch.equal(vectors[[0, 4, 8]], vectors[[0, 0, 0]])
    assert torch.equal(vectors[[1, 5, 9]], vectors[[1, 1, 1]])
    assert len(vectors.unique(dim=0)) == 4


def test_bytes():
    assert Hashing(1510).bytes(Table("user", 6040, 64)) == 1510 * 64 * 4


def test_the_seed_chooses_who_meets():
    table = Table("user", 1000, 2)
    torch.manual_seed(0)
    meetings = set()
    for seed in range(3):
        vectors = Hashing(100, hash="multiply_shift", seed=seed).build(table).materialize()
        _, rows = vectors.unique(dim=0, return_inverse=True)
        meetings.add(tuple((rows == rows[0]).nonzero().view(-1).tolist()))
    assert len(meetings) == 3


def test_a_fit_is_the_mean_of_those_who_meet():
    table = Table("user", 4, 1)
    weight, frequencies = torch.tensor([[0.0], [1.0], [4.0], [1.0]]), torch.tensor([3.0, 1.0, 1.0, 5.0])
    module = Hashing(2).build(table)
    assert module.fit_(weight) == pytest.approx(2.0)  # ids 0 and 2 at 2: errors 4, 0, 4, 0
    assert torch.allclose(module.materialize(), torch.tensor([[2.0], [1.0], [2.0], [1.0]]))
    # Weighted: (3 · 0 + 1 · 4) / 4 = 1; errors 1, 0, 9, 0 with shares 0.3, 0.1, 0.1, 0.5.
    assert module.fit_(weight, frequencies) == pytest.approx(1.2)
    assert torch.allclose(module.materialize(), torch.tensor([[1.0], [1.0], [1.0], [1.0]]))


@pytest.mark.parametrize("buckets", [0, -3])
def test_without_buckets_there_is_no_row(buckets):
    with pytest.raises(InputError, match=f"num_buckets.*{buckets}"):
        Hashing(buckets)


def test_more_buckets_than_ids_are_refused():
    with pytest.raises(InputError, match=r"'user'.*11.*10"):
        Hashing(11).check(TABLE)


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match=r"seed.*-1"):
        Hashing(3, hash="multiply_shift", seed=-1)


def test_what_the_hash_cannot_take_is_refused_before_there_is_a_table():
    Hashing(2**31, hash="multiply_shift", seed=2**32 - 1)
    with pytest.raises(InputError, match=rf"'hashing'.*seed.*{2**40}"):
        Hashing(3, hash="multiply_shift", seed=2**40)
    with pytest.raises(InputError, match=rf"'hashing'.*num_buckets.*{2**31 + 1}"):
        Hashing(2**31 + 1, hash="multiply_shift")
    Hashing(2**31 + 1)
