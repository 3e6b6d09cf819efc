"""Least squares against torch's own, and how factors stand to one another afterwards."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from coset import GeneralizedQuotientRemainder, QuotientRemainder, Table, TensorTrain
from coset.methods import TableModule, fitting, tensor_train

N, DIM = 60, 8
SHARE = (1 / (1.0 + torch.arange(N)) ** 1.5).double()


def noise(seed: int) -> Tensor:
    return torch.randn(N, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("at_once", [True, False], ids=["solved", "by-steps"])
@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize("stored", [7, 40])
def test_rows_that_are_summed_are_those_of_weighted_least_squares(
    stored: int, factored: bool, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where several arrays do as well, of which the shortest is meant; row 0 is read by no id."""
    if not at_once:
        monkeypatch.setattr(fitting, "_SOLVED_AT_ONCE", 0)
    draw = torch.Generator().manual_seed(stored)
    rows = torch.randint(1, stored, (N, 2), generator=draw)
    factors = torch.randn(N, 2, generator=draw, dtype=torch.float64) if factored else None
    matrix = torch.zeros(N, stored, dtype=torch.float64)
    matrix.scatter_add_(1, rows, torch.ones(N, 2, dtype=torch.float64) if factors is None else factors)
    root = SHARE.sqrt().unsqueeze(-1)
    expected = torch.linalg.lstsq(root * matrix, root * noise(0), driver="gelsd").solution
    found = fitting.fitted_rows(noise(0), SHARE, rows, stored, factors)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert not found[0].any()
    alike = torch.linalg.lstsq(matrix, noise(0), driver="gelsd").solution
    assert (alike - expected).abs().max() > 0.1


@pytest.mark.parametrize("method", [QuotientRemainder(10), GeneralizedQuotientRemainder((5, 4, 3))], ids=str)
def test_factors_are_left_of_one_size(method) -> None:
    """Else one of them would have hardly any gradient, and the other a huge one."""
    module = method.build(Table("t", N, DIM, dtype=torch.float64))
    module.fit_(1000 * noise(1), SHARE)
    sizes = torch.stack([p.detach().square().mean(0).sqrt() for p in module.parameters()])
    torch.testing.assert_close(sizes, sizes[:1].expand_as(sizes))
    assert sizes.min() > 1


@pytest.mark.parametrize("rank", [1, 3])
def test_cores_are_left_as_large_as_fresh_ones(rank: int) -> None:
    """The deviation 1 along the train, and all that there is of size in the last core."""
    module = TensorTrain(rank).build(Table("t", N, DIM, dtype=torch.float64))
    target = 1000 * TensorTrain(rank).build(Table("t", N, DIM, std=1.0, dtype=torch.float64)).materialize()
    assert module.fit_(target) < 1e-6 * float(target.square().mean())
    first, second, third = (float(p.detach().square().mean()) ** 0.5 for p in module.parameters())
    assert (first, second) == pytest.approx((1, rank**-0.5))
    assert third > 100


def of_train(rank: int, target: Tensor) -> float:
    torch.manual_seed(0)
    return TensorTrain(rank).build(Table("t", N, DIM, dtype=torch.float64)).fit_(target, SHARE)


def test_trains_of_high_rank_are_fitted_to_weights_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """By gradient, as sweeps would take long; the split of the table, which knows no weights, is only the beginning."""
    monkeypatch.setattr(tensor_train, "_MOST_RANK", 1)
    found = of_train(2, noise(2))
    monkeypatch.setattr(TableModule, "_fit", lambda *_: None)
    split = of_train(2, noise(2))
    monkeypatch.setattr(tensor_train, "_MOST_RANK", 32)
    assert found < 0.8 * split
    assert of_train(2, noise(2)) < 0.8 * split


def test_sweeps_go_on_as_long_as_they_win_by_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though what is left of all ids alike rises meanwhile: they may stop only after one that won a ten thousandth."""
    errors = []
    for sweeps in range(1, 9):
        monkeypatch.setattr(tensor_train, "_SWEEPS", sweeps)
        errors.append(of_train(4, noise(3)))
    wins = [1 - after / before for before, after in itertools.pairwise(errors)]
    assert all(after > 0 or before <= 1e-4 for before, after in itertools.pairwise(wins))
    assert errors[-1] < 0.8 * errors[1]
