import torch

from coset.methods import Full
from coset.schema import Table


def test_bytes_of_movielens_tables():
    assert Full().bytes(Table("user", 6040, 64)) == 386_560 * 4
    assert Full().bytes(Table("movie", 3706, 64)) == 237_184 * 4
    assert Full().bytes(Table("movie", 3706, 64, dtype=torch.float64)) == 237_184 * 8


def test_one_array_of_the_whole_table():
    (component,) = Full().components(Table("user", 7, 3))
    assert component.shape == (7, 3)


def test_vectors_are_the_rows():
    module = Full().build(Table("user", 7, 3))
    (weight,) = module.parameters()
    ids = torch.tensor([[6, 0], [0, 2]])
    assert torch.equal(module.lookup(ids), weight[ids])
    assert torch.equal(module.materialize(), weight)


def test_there_is_no_projection():
    assert list(Full().build(Table("user", 7, 3)).projections()) == []


def test_a_fit_is_a_copy():
    module = Full().build(Table("user", 7, 3))
    weight = torch.arange(21.0).view(7, 3)
    assert module.fit_(weight) == 0
    assert torch.equal(module.materialize(), weight)
