import pytest
import torch

from coset.errors import InputError
from coset.methods import Robe
from coset.partitions import MAX_SEED, hash_words
from coset.schema import Table


def places(method, table):
    """Where every element of every vector is read."""
    module = method.build(table)
    with torch.no_grad():
        next(module.parameters()).copy_(torch.arange(method.size).unsqueeze(1))
    return module.materialize().long()


@pytest.mark.parametrize(("dim", "chunk"), [(8, 4), (8, 3), (7, 7), (7, 1), (5, 100), (1, 1), (16, 8)])
@pytest.mark.parametrize("size", [1, 5, 97, 1000])
def test_chunks_are_read_around_the_end_from_a_hashed_place(dim, chunk, size):
    read = places(Robe(size, chunk, seed=6), Table("item", 50, dim, dtype=torch.float64))
    chunk = min(chunk, dim)
    for i in range(50):
        expected = []
        for number in range(-(-dim // chunk)):
            start = hash_words(i, hash_words(number, 6)) % size
            expected += [(start + within) % size for within in range(chunk)]
        assert read[i].tolist() == expected[:dim]


def test_some_chunks_go_around_the_end():
    read = places(Robe(97, 8), Table("item", 200, 8))
    assert ((read[:, 1:] - read[:, :-1]) % 97 == 1).all()
    assert (read[:, 0] > read[:, -1]).any()


@pytest.mark.parametrize("size", [1, 10_000, 123_457])
def test_bytes_are_those_of_the_array(size):
    table = Table("user", 6040, 64)
    assert Robe(size).bytes(table) == size * 4
    assert [c.numel for c in Robe(size).components(table)] == [size]
    assert sum(parameter.numel() for parameter in Robe(size).build(table).parameters()) == size


def test_every_element_serves_about_as_many_vectors():
    read = places(Robe(100, 4), Table("item", 20_000, 8))
    counts = torch.bincount(read.view(-1), minlength=100)
    assert 1400 < counts.min() <= counts.max() < 1800  # 1600 on average


def test_chunks_of_one_vector_are_read_apart():
    read = places(Robe(1000, 4), Table("item", 1000, 8))
    assert ((read[:, 4] - read[:, 0]) % 1000 == 4).float().mean() < 0.02
    assert (read[:, 0] == read[:, 4]).float().mean() < 0.02


def test_vectors_are_unique_though_elements_are_few():
    torch.manual_seed(0)
    vectors = Robe(100, 2).build(Table("item", 5000, 16, dtype=torch.float64)).materialize()
    assert len(vectors.unique(dim=0)) == 5000


def test_seeds_read_elsewhere():
    table = Table("item", 1000, 8)
    assert (places(Robe(1000, 8, seed=0), table) == places(Robe(1000, 8, seed=1), table)).float().mean() < 0.02


def test_tables_that_share_an_array_read_it_by_hashes_of_their_own():
    user, movie = (places(Robe(1000, 8, "all"), Table(name, 1000, 8)) for name in ("user", "movie"))
    assert (user == movie).float().mean() < 0.02
    assert torch.equal(places(Robe(1000, 8), Table("user", 1000, 8)), places(Robe(1000, 8), Table("movie", 1000, 8)))


def test_an_element_is_the_weighted_mean_of_what_reads_it():
    # One element for all: the mean of all targets, ids weighted.
    module = Robe(1).build(Table("item", 3, 2, dtype=torch.float64))
    module.fit_(torch.tensor([[1.0, 3.0], [5.0, 7.0], [0.0, 0.0]]), torch.tensor([1.0, 1.0, 2.0]))
    assert next(module.parameters()).item() == pytest.approx((2 + 6 + 2 * 0) / 4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": 0}, "size must be at least 1, not 0"),
        ({"size": -8}, "size must be at least 1, not -8"),
        ({"size": 2**31 + 1}, "size must be at most"),
        ({"chunk": 0}, "chunk must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"seed": MAX_SEED + 1}, "seed must be at most"),
        ({"array": ""}, "array needs a name"),
        ({"array": "a.b"}, "array needs a name without dots, not 'a.b'"),
        ({"array": 3}, "array"),
    ],
)
def test_wrong_choices_are_refused(fields, said):
    with pytest.raises(InputError, match=f"'robe': {said}"):
        Robe(**{"size": 10} | fields)
