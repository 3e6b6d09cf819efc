"""Gradients of tables of bare rows that kernels have looked up, in plain torch, with derivatives of any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from coset.engine.base import Lookup


class BareLookup(NamedTuple):
    """A lookup of bare rows.

    Args:
        lookup: what was asked.
        order: the ranks of ids, where rows are in another order.
        place: the number of its table among the weights; -1 for a table that is not trained.
        dim: elements of a vector.
    """

    lookup: Lookup
    order: Tensor | None
    place: int
    dim: int


class WithGradient(torch.autograd.Function):
    """Vectors that something else has found, and their gradients."""

    @staticmethod
    def forward(
        ctx: Any, find: Callable[[], Tensor | None], bare: Sequence[BareLookup], joined: bool, *weights: Tensor
    ) -> Tensor | None:  # fmt: skip
        """What `find` finds: vectors that stand one after the other, or side by side where `joined`."""
        ctx.bare, ctx.joined = bare, joined
        ctx.shapes = [(weight.shape[0], weight.dtype) for weight in weights]
        # So that torch notices where they are changed before they are read again.
        ctx.save_for_backward(*(each for of in bare for each in of.lookup[1:4] if each is not None))
        return find()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        """One of the shape of every weight."""
        assert all(each is not None for each in ctx.saved_tensors)
        found: list[Tensor | None] = [None] * len(ctx.shapes)
        dims, bags = [of.dim for of in ctx.bare], [of.lookup.bags for of in ctx.bare]
        sizes = [dim if ctx.joined else dim * count for dim, count in zip(dims, bags, strict=True)]
        for of, part in zip(ctx.bare, gradient.split(sizes, -1), strict=True):
            if of.place < 0:
                continue
            count, dtype = ctx.shapes[of.place]
            ids = of.lookup.values.long() if of.order is None else of.order[of.lookup.values.long()].long()
            each = torch.ops.aten.embedding_dense_backward(
                _by_id(of.lookup, part.reshape(-1, of.dim)), ids, count, -1, False
            ).to(dtype)
            before = found[of.place]
            found[of.place] = each if before is None else before + each
        return None, None, None, *found


def _by_id(lookup: Lookup, gradient: Tensor) -> Tensor:
    """The gradient of the vector of every id."""
    if lookup.offsets is None:
        return gradient
    count, offsets = lookup.values.shape[0], lookup.offsets
    ends = offsets.new_full((1,), count)
    lengths = torch.cat([offsets, ends]).diff() if lookup.is_open else offsets.diff()
    if lookup.mean:
        gradient = gradient / lengths.clamp_min(1).unsqueeze(-1)
    each = gradient.repeat_interleave(lengths, 0, output_size=count)
    return each if lookup.weights is None else each * lookup.weights.to(each.dtype).unsqueeze(-1)
