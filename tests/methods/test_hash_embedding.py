import pytest
import torch

from coset.errors import InputError
from coset.methods import HashEmbedding
from coset.partitions import MAX_SEED, MultiplyShift
from coset.schema import Table


def filled(method, table):
    """A module whose row r is (r, 1), with weights 1, 2, 3 … in reading order."""
    module = method.build(table)
    rows, weights = module.parameters()
    with torch.no_grad():
        rows.copy_(torch.stack([torch.arange(len(rows)), torch.ones(len(rows))], dim=1))
        weights.copy_(torch.arange(1, weights.numel() + 1).view_as(weights))
    return module


@pytest.mark.parametrize("k", [1, 2, 3])
def test_vectors_are_weighted_sums_of_hashed_rows(k):
    vectors = filled(HashEmbedding(7, k, seed=4), Table("item", 20, 2)).materialize()
    for i in range(20):
        rows, weights = [MultiplyShift(7, 4 + j)(i) for j in range(k)], [i * k + j + 1 for j in range(k)]
        assert vectors[i].tolist() == [sum(w * r for w, r in zip(weights, rows, strict=True)), sum(weights)]


def test_shared_weights_are_picked_by_one_more_hash():
    vectors = filled(HashEmbedding(7, 2, num_weights=5, seed=4), Table("item", 20, 2)).materialize()
    for i in range(20):
        row = MultiplyShift(5, 4 + 2)(i)
        assert vectors[i, 1].item() == (row * 2 + 1) + (row * 2 + 2)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("num_weights", [None, 100])
def test_bytes_are_those_of_rows_and_weights(k, num_weights):
    table = Table("user", 6040, 64)
    method = HashEmbedding(1000, k, num_weights)
    assert [c.shape for c in method.components(table)] == [(1000, 64), (num_weights or 6040, k)]
    assert method.bytes(table) == (1000 * 64 + (num_weights or 6040) * k) * 4


def test_ids_of_the_same_rows_differ_by_their_weights():
    torch.manual_seed(0)
    vectors = HashEmbedding(2, 2).build(Table("item", 500, 3, dtype=torch.float64)).materialize()
    assert len(vectors.unique(dim=0)) == 500
    assert torch.linalg.matrix_rank(vectors) == 2  # all in the span of two rows
    shared = HashEmbedding(2, 2, num_weights=3).build(Table("item", 500, 3)).materialize()
    assert len(shared.unique(dim=0)) <= 12


def test_weights_begin_with_both_signs():
    torch.manual_seed(0)
    module = HashEmbedding(100, 2).build(Table("item", 5000, 8, std=0.2))
    rows, weights = module.parameters()
    assert rows.std().item() == pytest.approx(0.2, rel=0.1)
    assert weights.std().item() == pytest.approx(2**-0.5, rel=0.05)
    assert abs(weights.mean()) < 0.05


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_buckets": 0}, "num_buckets must be at least 1, not 0"),
        ({"num_hashes": -1}, "num_hashes must be at least 1, not -1"),
        ({"num_weights": 0}, "num_weights must be at least 1, not 0"),
        ({"seed": -3}, "seed must be at least 0, not -3"),
        ({"seed": MAX_SEED - 1}, "seed must be at most"),
        ({"num_buckets": 2.5}, "num_buckets"),
    ],
)
def test_wrong_choices_are_refused(fields, said):
    with pytest.raises(InputError, match=f"'hash_embedding': {said}"):
        HashEmbedding(**{"num_buckets": 5} | fields)


@pytest.mark.parametrize(
    ("method", "said"), [(HashEmbedding(11), "11 buckets"), (HashEmbedding(5, num_weights=12), "12 rows of weights")]
)
def test_more_rows_than_ids_are_refused(method, said):
    for act in (method.check, method.components, method.build):
        with pytest.raises(InputError, match=f"'user'.*{said} for 10 ids.*1 … 10"):
            act(Table("user", 10, 2))


def test_the_last_seed_leaves_room_for_the_hash_of_weights():
    assert HashEmbedding(5, 2, 3, MAX_SEED - 2).build(Table("item", 9, 2)).materialize().shape == (9, 2)
