"""Vectors wherever they lie: every view gives the rows that indexing a tensor gives, at once and in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coset.vectors import InMemory, Piece, Vectors, vectors_of


class Elsewhere(Vectors):
    """Those of a tensor that no view may see as one, in pieces of any size."""

    def __init__(self, tensor: Tensor, size: int) -> None:
        super().__init__(len(tensor), tensor.shape[1], tensor.dtype)
        self._tensor, self._size = tensor, size

    def at(self, rows: Tensor) -> Tensor:
        return self._tensor[rows]

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        for rows in torch.arange(start, self.rows if stop is None else stop).split(self._size):
            yield Piece(rows, self._tensor[rows])


def same(found: Vectors, wanted: Tensor) -> None:
    assert found.shape == tuple(wanted.shape)
    assert torch.equal(found.whole(), wanted)
    some = torch.arange(len(wanted)).flip(0)[::2]
    assert torch.equal(found.at(some), wanted[some])
    half = len(wanted) // 2
    pieces = list(found.pieces(half))
    rows = torch.cat([piece.rows for piece in pieces])
    assert sorted(rows.tolist()) == list(range(half, len(wanted)))
    assert torch.equal(torch.cat([piece.numbers for piece in pieces]), wanted[rows])
    assert torch.equal(found.summary.largest, wanted.abs().amax(0).double())


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_views(rows: int, width: int, size: int, seed: int, in_memory: bool) -> None:
    torch.manual_seed(seed)
    tensor = torch.randn(rows, width)
    own: Vectors = InMemory(tensor) if in_memory else Elsewhere(tensor, size)
    order, cut = torch.randperm(rows), rows // 2
    same(own, tensor)
    same(own.ordered(order), tensor[order])
    same(own.part(1, rows), tensor[1:])
    same(own.ordered(order).part(cut, rows), tensor[order][cut:])
    matrix, centre = torch.randn(width, 2).double(), torch.randn(width).double()
    product = ((tensor.double() - centre) @ matrix).float()
    torch.testing.assert_close(own.times(matrix, centre).whole(), product)
    torch.testing.assert_close(own.times(matrix, centre).part(1, rows).at(torch.tensor([0])), product[1:2])
    assert vectors_of(own) is own
    assert torch.equal(vectors_of(tensor).whole(), tensor)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_the_first_row_that_is_not_finite(wrong: float) -> None:
    tensor = torch.ones(20, 3)
    tensor[13, 1] = tensor[17, 0] = wrong
    for own in (InMemory(tensor), Elsewhere(tensor, 4)):
        assert own.summary.fault == 13
        assert own.ordered(torch.arange(20).flip(0)).summary.fault in (2, 6)
        assert own.part(14, 20).summary.fault == 3
        assert own.part(0, 13).summary.fault is None
