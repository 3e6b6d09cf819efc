"""Checks on numbers: how fresh vectors are spread, that seeds repeat them, and what `fit_` reaches."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coset.methods import TableModule
from coset.testing.cases import ROOMY, Case, attributed, difference, equal, named, seed_cpu
from coset.testing.check import check, expect

MANY = attributed("many", 20_000, 16, std=0.03)
PRIME = attributed("prime", 101, 8)
FITTED = (attributed("odd", 7, 3), attributed("round", 400, 16))


@check(MANY)
def initial_deviation(case: Case) -> None:
    """elements of fresh vectors have mean 0 and, averaged over 20 seeds, deviation `table.std` within 5 %, and what
    rounding takes"""
    ids = case.ids(1024)
    module = case.seeded(0)
    means: list[float] = []
    squares: list[float] = []
    # A method with few independent values varies much between seeds: more seeds then, until the error of the
    # averaged variance is below 2 % (of the deviation: 1 %), so that chance alone cannot move it by 5 %.
    while len(means) < 20 or (_error(squares) > 0.02 * _mean(squares) and len(means) < 400):
        seed_cpu(len(means))
        module.reset_parameters()
        with torch.no_grad():
            vectors = module.lookup(ids).double()
        means.append(float(vectors.mean()))
        squares.append(float(vectors.pow(2).mean()))
    # Six standard errors over at least 20 seeds: a false alarm in 10^5 methods, an offset of a tenth is found.
    bar = 6 * _error(means) + 1e-9
    expect(abs(_mean(means)) <= bar, f"the mean is {_mean(means):.2e}, expected 0 within {bar:.1e}")
    deviation = math.sqrt(_mean(squares))
    if not case.own_deviation:
        off = deviation / case.table.std - 1
        expect(abs(off) <= 0.05 + _rounding(case), f"the deviation is {deviation:.4g}, {off:+.1%} from {case.table.std}")


@check(*named("odd"), ROOMY)
def same_seed_same_values(case: Case) -> None:
    """the same seed gives the same values bit for bit, when built, reset, trained or fitted; another seed others, but
    the same rows for each id, as ranks with seeds of their own need"""
    first, second, other = case.seeded(3), case.seeded(3), case.seeded(4)
    key = difference(first.state_dict(), second.state_dict())
    expect(key is None, f"two modules built under one seed differ in {key!r}")
    if any(True for _ in first.parameters()):
        expect(difference(first.state_dict(), other.state_dict()) is not None, "the seed changes nothing")
    key = difference(dict(first.named_buffers()), dict(other.named_buffers()))
    expect(key is None, f"{key!r}, which is no parameter, depends on torch's seed")
    for module in (first, other):
        seed_cpu(5)
        module.reset_parameters()
    key = difference(first.state_dict(), other.state_dict())
    expect(key is None, f"reset_parameters under one seed differs in {key!r}")
    for module in (first, other):
        _descend(module, case.ids(50))
    expect(difference(first.state_dict(), other.state_dict()) is None, "two trainings from one seed differ")


@check(*FITTED, of_variants=True)
def fit_of_any_weight(case: Case) -> None:
    """`fit_` on a weight without structure tells the error that remains, weighted by frequency, leaves no more than
    zeros would, and serves frequent ids at least as well as a fit blind to frequencies"""
    weight, counts = _random_weight(case), _skewed(case)
    blind, minding = case.seeded(0), case.seeded(0)
    _check_fit(case, blind, weight, None)
    error, without = _check_fit(case, minding, weight, counts), _measured(blind, weight, counts)
    expect(all(p.requires_grad for p in minding.parameters()), "a fitted module cannot be trained on")
    expect(equal(weight, _random_weight(case)), "fit_ changed the weight it was given")
    allowed = 1.02 * without + (5e-3 + _rounding(case)) * float(weight.pow(2).mean())
    expect(error <= allowed, f"weighted error {error:.4g} under frequencies, {without:.4g} without")


@check(PRIME, of_variants=True)
def fit_of_the_only_id_that_is_read(case: Case) -> None:
    """`fit_` under frequencies of one id alone serves it at least as well as a fit blind to them, nearly to its vector
    where the method can hold any, and repeats itself exactly"""
    weight, alone, wanted = _random_weight(case), torch.zeros(case.table.num_embeddings), 50
    alone[wanted] = 3
    minding, again = case.seeded(0), case.seeded(0)
    power = float(weight[wanted].pow(2).mean())
    left = minding.fit_(weight, alone) / power
    if left > 0.05:  # some methods cannot hold an arbitrary vector, not even a single one
        blind = case.seeded(0)
        blind.fit_(weight)
        without = float((blind.materialize()[wanted] - weight[wanted]).pow(2).mean()) / power
        expect(left <= without + _rounding(case), f"{left:.1%} of the only vector that is ever read is left as error")
    again.fit_(weight, alone)
    expect(equal(minding.materialize(), again.materialize()), "two fits from one seed differ")


@check(*FITTED, of_variants=True)
def fit_finds_what_the_method_can_hold(case: Case) -> None:
    """`fit_` on a table made by a module of the same method leaves at most 5 % of its variance"""
    weight = case.seeded(1).materialize()
    error = case.seeded(2).fit_(weight.clone())
    variance = float(weight.double().pow(2).mean())
    expect(error <= (0.05 + _rounding(case)) * variance, f"{error / variance:.1%} of the variance is left, though a perfect fit exists")


def _check_fit(case: Case, module: TableModule, weight: Tensor, counts: Tensor | None) -> float:
    """Fit, and return the reported error, after a check that it is the remaining one and no more than that of zeros."""
    told = module.fit_(weight, counts)
    measured, zeros = (
        _measured(module, weight, counts),
        _share(case, counts) @ weight.double().pow(2).flatten(1).mean(1),
    )
    expect(isinstance(told, float), f"fit_ returns {type(told).__name__}, not float")
    expect(math.isclose(told, measured, rel_tol=1e-5, abs_tol=1e-12), f"fit_ says {told:.6g}, it is {measured:.6g}")
    expect(told <= float(zeros) * (1 + 1e-6), f"the error is {told:.4g}, zeros have {float(zeros):.4g}")
    return told


def _rounding(case: Case) -> float:
    """The share of the squares of numbers that rounding may take."""
    coarseness = case.method.storage.coarseness
    return coarseness**2 if coarseness > 0.01 else 0.0


def _random_weight(case: Case) -> Tensor:
    shape = case.shape(case.table.num_embeddings)
    return torch.randn(shape, generator=torch.Generator().manual_seed(11)) * 0.1


def _skewed(case: Case) -> Tensor:
    """Counts that fall steeply with the id, some ids never seen."""
    counts = (1000 / (1 + torch.arange(case.table.num_embeddings)) ** 1.5).floor()
    counts[3::5] = 0
    return counts


def _share(case: Case, counts: Tensor | None) -> Tensor:
    share = torch.ones(case.table.num_embeddings) if counts is None else counts
    return share.double() / share.double().sum()


def _measured(module: TableModule, weight: Tensor, counts: Tensor | None) -> float:
    gap = (module.materialize().double() - weight.double()).pow(2).flatten(1).mean(1)
    return float(_share(Case(module.table, module.method), counts) @ gap)


def _descend(module: TableModule, ids: Tensor) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (module.lookup(ids) - 1).pow(2).mean().backward()
        optimizer.step()


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _error(values: list[float]) -> float:
    """Standard error of the mean."""
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
