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


@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_below_one_is_refused(rank):
    with pytest.raises(InputError, match=f"rank.*{rank}"):
        LowRank(rank).check(TABLE)


def test_a_rank_above_the_dim_is_refused():
    with pytest.raises(InputError, match=r"'user'.*9.*8"):
        LowRank(9).check(TABLE)
    with pytest.raises(InputError, match=r"'user'.*9.*8"):
        LowRank(9).build(TABLE)
    with pytest.raises(InputError, match=r"'user'.*9.*8"):
        LowRank(9).components(TABLE)
