"""Errors of predictions, in float64 and in a fixed order."""

from __future__ import annotations

from math import fsum
from typing import Any

import pytest
import torch

from coset.data.settings import DataSettings
from coset.errors import InputError
from coset.tasks.ratings import Interactions, RatingsPart, RatingsTask
from coset.tasks.ratings.metrics import Errors


def test_by_hand() -> None:
    errors = Errors()
    errors.add(torch.tensor([1.0, -2.0]))
    errors.add(torch.tensor([3.0]))
    assert (errors.rows, errors.mse, errors.mae) == (3, 14 / 3, 2.0)


def test_small_terms_are_not_lost_beside_large_sums() -> None:
    """In float32 the sum would stop growing at 2^24."""
    errors = Errors(rows=0, loss=2.0**24, absolute=2.0**24)
    for _ in range(10):
        errors.add(torch.ones(100))
    assert errors.loss == 2.0**24 + 1000
    assert errors.absolute == 2.0**24 + 1000


def test_squares_are_taken_in_float64() -> None:
    gap = torch.tensor([1.0 + 2.0**-23] * 7)
    errors = Errors()
    errors.add(gap)
    assert errors.loss == pytest.approx(7 * (1.0 + 2.0**-23) ** 2, rel=1e-15)


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (7, 3), (12, 3), (2000, 100), (50, 64)])
def test_many_batches_at_once_are_the_same_bits(rows: int, size: int) -> None:
    gaps = torch.rand(rows, generator=torch.Generator().manual_seed(1))
    together, apart = Errors(), Errors()
    together.take(gaps.double().numpy(), size)
    for at in range(0, rows, size):
        apart.add(gaps[at : at + size])
    assert together == apart


class Echo(torch.nn.Module):
    """Predicts the user id, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def predict(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        assert len(users) == len(items)
        self.asked.append(len(users))
        return users.float()


def evaluate(model: Any, users: torch.Tensor, items: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
    return RatingsTask(DataSettings("")).evaluate(model, RatingsPart(Interactions(users, items, targets)))


@pytest.mark.parametrize("n", [1, 16_384, 16_385, 40_000])
def test_evaluate_takes_every_row_once(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    users, targets = torch.randint(5, (n,), generator=generator), torch.rand(n, generator=generator)
    model = Echo()
    found = evaluate(model, users, users, targets)
    gaps = (users.float() - targets).double()
    assert sum(model.asked) == n
    assert found["mse"] == pytest.approx(fsum((gaps * gaps).tolist()) / n, rel=1e-13)
    assert found["mae"] == pytest.approx(fsum(gaps.abs().tolist()) / n, rel=1e-13)


def test_errors_do_not_depend_on_threads() -> None:
    before = torch.get_num_threads()
    generator = torch.Generator().manual_seed(0)
    users, targets = torch.randint(5, (100_000,), generator=generator), torch.rand(100_000, generator=generator)
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(evaluate(Echo(), users, users, targets))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_no_rows_are_no_metrics() -> None:
    none = torch.zeros(0)
    with pytest.raises(InputError, match="no rows"):
        evaluate(Echo(), none, none, none)
