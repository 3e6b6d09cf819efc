"""Turning two tables to principal axes keeps their products and orders their dims."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coset.errors import InputError
from coset.models.axes import principal_axes


def tables(dim: int = 5, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A left and a right table whose columns are correlated and of unlike sizes, and counts of both."""
    source = torch.Generator().manual_seed(0)

    def drawn(rows: int) -> Tensor:
        return torch.randn(rows, dim, generator=source, dtype=dtype) @ torch.randn(
            dim, dim, generator=source, dtype=dtype
        )

    left, right = drawn(60), drawn(40)
    return left, right, 60.0 / torch.arange(1, 61), 400.0 / torch.arange(1, 41)


def moments(table: Tensor, counts: Tensor) -> Tensor:
    return table.T @ (table * counts.to(table.dtype).unsqueeze(1)) / counts.sum()


def test_products_stay_and_types_too() -> None:
    left, right, *counts = tables()
    found = principal_axes(left, right, *counts)
    torch.testing.assert_close(found.left @ found.right.T, left @ right.T)
    left, right, *_ = tables(dtype=torch.float32)
    found = principal_axes(left, right)
    assert found.left.dtype == found.right.dtype == torch.float32
    torch.testing.assert_close(found.left @ found.right.T, left @ right.T, atol=1e-4, rtol=1e-4)


def test_dims_are_uncorrelated_alike_on_both_sides_and_fall() -> None:
    left, right, mine, theirs = tables()
    found = principal_axes(left, right, mine, theirs)
    for table, counts in ((found.left, mine), (found.right, theirs)):
        torch.testing.assert_close(moments(table, counts), found.strength.diag())
    assert (found.strength.diff() < 0).all()


def test_the_strengths_are_singular_values_of_the_weighted_products() -> None:
    left, right, mine, theirs = tables()
    weighted = (left * mine.double().sqrt().unsqueeze(1)) @ (right * theirs.double().sqrt().unsqueeze(1)).T
    values = torch.linalg.svdvals(weighted)[:5] / (mine.sum() * theirs.sum()).double().sqrt()
    torch.testing.assert_close(principal_axes(left, right, mine, theirs).strength, values, rtol=1e-6, atol=1e-9)


def test_leaving_the_last_dims_out_loses_what_their_strengths_say() -> None:
    left, right, *_ = tables()
    found = principal_axes(left, right)
    lost = (left @ right.T - found.left[:, :3] @ found.right[:, :3].T).square().mean()
    torch.testing.assert_close(lost, found.strength[3:].square().sum())


def test_the_turns_give_the_tables_and_undo_each_other() -> None:
    left, right, *counts = tables()
    found = principal_axes(left, right, *counts)
    torch.testing.assert_close(left @ found.left_turn, found.left)
    torch.testing.assert_close(right @ found.right_turn, found.right)
    torch.testing.assert_close(found.left_turn @ found.right_turn.T, torch.eye(5, dtype=torch.float64))


def test_a_form_found_again_is_the_same() -> None:
    left, right, *counts = tables()
    once = principal_axes(left, right, *counts)
    twice = principal_axes(once.left, once.right, *counts)
    torch.testing.assert_close(twice.left, once.left)
    torch.testing.assert_close(twice.right, once.right)


def test_dims_that_add_nothing_are_last_and_0() -> None:
    left, right, *_ = tables()
    left, right = left.clone(), right.clone()
    left[:, 1] = 0  # so that column 1 of the right adds nothing, whatever it is
    right[:, 3] = left[:, 4] = 0
    found = principal_axes(left, right)
    torch.testing.assert_close(found.left @ found.right.T, left @ right.T)
    assert not found.left[:, 2:].abs().gt(1e-6).any()
    assert not found.right[:, 2:].abs().gt(1e-6).any()
    assert not found.strength[2:].gt(1e-6).any()
    empty = principal_axes(torch.zeros(3, 2), right[:, :2])
    assert not empty.left.any()
    assert not empty.right.any()


def test_products_of_rows_that_are_never_read_stay() -> None:
    """Also where they alone have something of a dim."""
    left, right, mine, theirs = tables()
    left[:-1, 2] = 0
    mine[-1] = 0
    found = principal_axes(left, right, mine, theirs)
    torch.testing.assert_close(found.left @ found.right.T, left @ right.T)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((torch.zeros(3, 2), torch.zeros(3, 4)), "rows of the same dim"),
        ((torch.zeros(3, 2), torch.full((3, 2), torch.inf)), "the right table has a number in row 0"),
        ((torch.ones(3, 2), torch.ones(4, 2), torch.ones(4)), "counts of the left table must have the shape"),
        ((torch.ones(3, 2), torch.ones(4, 2), None, -torch.ones(4)), "counts of the right table must be 0 or more"),
    ],
)
def test_bad_tables(given: tuple[Tensor, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        principal_axes(*given)
