import pytest
import torch

from coset.errors import InputError
from coset.methods import LowRank
from coset.schema import Table

TABLE = Table("user", 50, 8, dtype=torch.float64)


def test_bytes():
    assert LowRank(8).bytes(Table("user", 6040, 64)) == (6040 * 8 + 8 * 64) * 4


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_the_table_has_the_rank(rank):
    module = LowRank(rank).build(TABLE)
    assert torch.linalg.matrix_rank(module.materialize()) == rank


@pytest.mark.parametrize("rank", [1, 4, 7])
def test_a_fit_is_the_truncated_svd(rank):
    weight = torch.randn(50, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    error = LowRank(rank).build(TABLE).fit_(weight)
    beyond = torch.linalg.svdvals(weight)[rank:]
    assert error == pytest.approx(float(beyond.pow(2).sum()) / weight.numel(), rel=1e-6)


def test_a_weighted_fit_is_the_svd_of_weighted_rows():
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(50, 8, generator=generator, dtype=torch.float64)
    counts = torch.rand(50, generator=generator, dtype=torch.float64) ** 4
    share = counts / counts.sum()
    error = LowRank(3).build(TABLE).fit_(weight, counts)
    beyond = torch.linalg.svdvals(weight * share.sqrt()[:, None])[3:]
    assert error == pytest.approx(float(beyond.pow(2).sum()) / 8, rel=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 5, 7, 8, 9, 15, 16, 31])
@pytest.mark.parametrize("batch", [37, 1000, 5001])
def test_gradients_have_the_same_bits_on_any_number_of_threads(rank, batch):
    # A matrix product over a long batch is split between threads, for some ranks only.
    torch.manual_seed(0)
    module = LowRank(rank).build(Table("user", 2000, 32))
    ids, slope = torch.randint(2000, (batch,)), torch.randn(batch, 32)
    seen, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            module.zero_grad()
            (module.lookup(ids) * slope).sum().backward()
            seen.append([parameter.grad.clone() for parameter in module.parameters()])
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*seen, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_below_one_is_refused(rank):
    with pytest.raises(InputError, match=f"rank.*{rank}"):
        LowRank(rank)


def test_at_the_full_rank_there_is_no_projection():
    (component,) = LowRank(8).components(TABLE)
    assert component.shape == (50, 8)
    assert list(LowRank(8).build(TABLE).projections()) == []


def test_the_projection_is_told():
    module = LowRank(3).build(TABLE)
    (projection,) = module.projections()
    assert projection is module.projection.weight


@pytest.mark.parametrize("rank", [1, 2, 4, 7])
def test_fresh_elements_have_the_deviation_of_the_table_on_average_only(rank):
    basis = LowRank(rank).build(Table("user", 50, 64, std=0.2, dtype=torch.float64)).projection.weight.detach()
    deviations = 0.2 * basis.square().sum(0).sqrt()
    assert deviations.square().mean().sqrt().item() == pytest.approx(0.2)
    assert 0.2 * 0.7 < deviations.min() <= deviations.max() < 0.2 * 1.4
    if rank > 1:
        assert deviations.max() > 0.2 * 1.1


def test_a_rank_above_the_dim_is_refused():
    with pytest.raises(InputError, match=r"'user'.*9.*8"):
        LowRank(9).check(TABLE)
    with pytest.raises(InputError, match=r"'user'.*9.*8"):
        LowRank(9).build(TABLE)
    with pytest.raises(InputError, match=r"'user'.*9.*8"):
        LowRank(9).components(TABLE)
