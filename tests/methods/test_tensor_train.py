from itertools import product
from math import prod

import pytest
import torch

from coset.errors import InputError
from coset.methods import TensorTrain
from coset.partitions import balanced_moduli
from coset.schema import Table


def test_of_rank_one_it_is_an_outer_product():
    module = TensorTrain(1, (2, 2, 2), (2, 2, 2)).build(Table("item", 8, 8, dtype=torch.float64))
    with torch.no_grad():
        for core, values in zip(
            module.parameters(), ([[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 10], [11, 12]]), strict=True
        ):
            core.copy_(torch.tensor(values))
    # Id 5 = 1 + 2 · 0 + 4 · 1: slices (3, 4), (5, 6) and (11, 12).
    expected = [a * b * c for a, b, c in product((3, 4), (5, 6), (11, 12))]
    assert module.lookup(torch.tensor(5)).tolist() == expected


@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize(("n", "rows"), [(60, (5, 4, 3)), (50, (5, 4, 3)), (12, (1, 12, 1))])
@pytest.mark.parametrize("dims", [(2, 3, 2), (12, 1, 1), (1, 1, 12), (3, 1, 4)])
def test_vectors_are_products_of_slices(rank, n, rows, dims):
    torch.manual_seed(rank)
    module = TensorTrain(rank, rows, dims).build(Table("item", n, 12, std=1.0, dtype=torch.float64))
    d1, d2, d3 = dims
    first, second, third = (core.detach() for core in module.parameters())
    for i in range(n):
        one = first[i % rows[0]].view(d1, rank)
        two = second[i // rows[0] % rows[1]].view(rank, d2, rank)
        three = third[i // (rows[0] * rows[1])].view(rank, d3)
        expected = torch.einsum("ap,pbq,qc->abc", one, two, three).reshape(12)
        torch.testing.assert_close(module.lookup(torch.tensor(i)).detach(), expected)


@pytest.mark.parametrize("rank", [1, 8, 32])
@pytest.mark.parametrize(
    ("rows", "dims"), [((19, 18, 18), (4, 4, 4)), ((200, 31, 1), (64, 1, 1)), ((10, 10, 61), (2, 2, 16))]
)
def test_bytes_are_those_of_the_paper(rank, rows, dims):
    table = Table("user", 6040, 64)
    (n1, n2, n3), (d1, d2, d3) = rows, dims
    elements = n1 * d1 * rank + n2 * rank * d2 * rank + n3 * rank * d3
    assert TensorTrain(rank, rows, dims).bytes(table) == elements * 4


@pytest.mark.parametrize("dim", [*range(1, 65), 96, 97, 100, 128, 210, 1024, 65521])
def test_factors_of_the_dim_are_the_most_equal(dim):
    table = Table("item", 1000, dim)
    chosen = [component.width for component in TensorTrain(1).components(table)]
    assert prod(chosen) == dim
    if dim < 1000:
        divisors = [d for d in range(1, dim + 1) if dim % d == 0]
        least = min(a + b + dim // (a * b) for a in divisors for b in divisors if dim % (a * b) == 0)
        assert sum(chosen) == least


def test_factors_of_the_ids_are_the_most_equal():
    table = Table("user", 6040, 64)
    assert TensorTrain(3) == TensorTrain(3, None, None)
    assert [c.shape for c in TensorTrain(3).components(table)] == [c.shape for c in TensorTrain(
        3, balanced_moduli(6040, 3), (4, 4, 4)).components(table)]  # fmt: skip


def test_vectors_are_unique_though_rows_are_few():
    torch.manual_seed(0)
    vectors = TensorTrain(2).build(Table("item", 5000, 8, dtype=torch.float64)).materialize()
    assert len(vectors.unique(dim=0)) == 5000


def test_a_fit_bears_ids_that_count_next_to_nothing():
    module = TensorTrain(2, (100, 1, 1), (1, 1, 8)).build(Table("item", 100, 8))
    shares = torch.ones(100, dtype=torch.float64)
    shares[0] = 1e300
    assert module.fit_(torch.randn(100, 8, generator=torch.Generator().manual_seed(0)), shares) < 1e-10
    assert torch.isfinite(module.materialize()).all()


@pytest.mark.parametrize("shape", [(19, 18, 17), (1, 1, 1), (6039, 1, 1)])
def test_shapes_of_too_few_ids_are_refused(shape):
    for act in ("check", "components", "build"):
        with pytest.raises(InputError, match=rf"'user'.*row_shape of product 6040.*\[19, 18, 18\].*{shape[0]}"):
            getattr(TensorTrain(2, shape), act)(Table("user", 6040, 64))


@pytest.mark.parametrize("shape", [(4, 4, 5), (64, 2, 1), (1, 1, 1), (8, 8, 8)])
def test_shapes_that_do_not_make_the_dim_are_refused(shape):
    with pytest.raises(InputError, match=rf"'user'.*dim_shape of product 64.*\[4, 4, 4\].*{shape[0]}"):
        TensorTrain(2, None, shape).check(Table("user", 6040, 64))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rank": 0}, "rank must be at least 1, not 0"),
        ({"rank": -2}, "rank must be at least 1, not -2"),
        ({"row_shape": (4, 0, 4)}, r"row_shape must be at least 1, not \[4, 0, 4\]"),
        ({"dim_shape": (4, -1, 4)}, "dim_shape must be at least 1"),
        ({"row_shape": (4, 4)}, "row_shape must hold 3 numbers"),
        ({"dim_shape": (4, 4, 4, 4)}, "dim_shape must hold 3 numbers"),
    ],
)
def test_wrong_choices_are_refused(fields, said):
    with pytest.raises(InputError, match=f"'tensor_train': {said}"):
        TensorTrain(**{"rank": 2} | fields)
