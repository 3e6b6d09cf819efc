"""Pooling: how the vectors of the ids of a bag become one, with derivatives of any order, also within `torch.func`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coset.methods.wrapped import batched
from coset.storage.dense import rows_at
from coset.storage.graphs import unseen
from coset.tables.bags import Bags, Mode
from coset.tables.owner import or_nan

_NUMBERS: dict[Mode, int] = {"sum": 0, "mean": 1, "max": 2}
"""The numbers of the modes in torch's kernel."""


def pool(
    vectors: Tensor,
    bags: Bags,
    mode: Mode,
    *,
    weights: Tensor | None = None,
    left_out: Tensor | None = None,
    inside: Tensor | None = None,
) -> Tensor:
    """One vector a bag, by torch's own kernel, which reads the vectors of the ids as its table.

    Args:
        vectors: of all ids, composed one by one, shape `(ids, *shape)`.
        bags: of the ids.
        mode: `"sum"`, `"mean"` or `"max"`.
        weights: a factor for each id.
        left_out: whether each id is left out of its bag, boolean.
        inside: whether each id is in range, boolean; a bag with any other becomes NaN.

    Returns:
        Shape `(bags, *shape)`; zeros for an empty bag.
    """
    shape, flat = vectors.shape[1:], or_nan(vectors.flatten(1), inside)
    weights = None if weights is None else weights.reshape(-1).to(flat.dtype)
    rectangular = bags.length is not None and (unseen(bags.ids) or batched(flat) or batched(bags.ids))
    how = _rows if rectangular else _ragged
    pooled = how(flat, bags, mode, weights, left_out)
    if inside is not None and mode == "max":  # torch's maximum ignores NaN unless it is the first of its bag
        marks = or_nan(flat.new_zeros(flat.shape[0], 1), inside)
        pooled = pooled + how(marks, bags, "sum", None, None)
    return pooled.reshape(pooled.shape[0], *shape) if len(shape) > 1 else pooled


def _ragged(flat: Tensor, bags: Bags, mode: Mode, weights: Tensor | None, left_out: Tensor | None) -> Tensor:
    """Bags that begin at offsets."""
    given = flat, weights, bags.offsets, left_out, mode, bags.include_last
    pooled: Tensor = (_kernel(*given) if unseen(bags.ids) else _Pool.apply(*given))[0]  # type: ignore[no-untyped-call]
    return pooled


def _kernel(
    flat: Tensor, weights: Tensor | None, offsets: Tensor, left_out: Tensor | None, mode: Mode, include_last: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The outputs of torch's kernel: vectors of bags, their sizes, and, in mode `"max"`, the id that each element comes
    from, -1 for none."""
    count, padding = flat.shape[0], -1
    places = torch.arange(count, device=flat.device)
    if left_out is not None or unseen(offsets) or count == 0:
        # Ids that are left out read one more row, which torch's kernel skips; and with no ids at all, the kernel
        # still needs a row. It is the first, as a last one would make the number of ids a constant of a graph.
        padding = 0
        places = places + 1 if left_out is None else torch.where(left_out, 0, places + 1)
        flat = torch.cat([flat.new_zeros(1, flat.shape[1]), flat])
    pooled, _, sizes, highest = torch.ops.aten._embedding_bag(
        flat, places, offsets.contiguous(), False, _NUMBERS[mode], False, weights, include_last, padding
    )
    if mode == "max":  # arbitrary for an empty bag
        highest = torch.where((sizes > 0).unsqueeze(-1), highest - (padding + 1), -1)
    return pooled, sizes, highest


class _Pool(torch.autograd.Function):
    """`_kernel` with second derivatives and forward mode, which torch's own lacks.

    An id is in one bag, so the gradient of its vector is that of its bag, times its weight.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        flat: Tensor, weights: Tensor | None, offsets: Tensor, left_out: Tensor | None, mode: Mode, include_last: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        if mode == "max" or not any(each is not None and batched(each) for each in (flat, weights, offsets, left_out)):
            return _kernel(flat, weights, offsets, left_out, mode, include_last)
        # Torch has no rule for its kernel under `vmap`, and would call it once for each of the batch.
        return _summed(flat, weights, offsets, left_out, mode, include_last)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        flat, weights, offsets, left_out, ctx.mode, ctx.include_last = inputs
        _, sizes, highest = output
        ctx.mark_non_differentiable(sizes, highest)
        ctx.count = flat.shape[0]
        kept = None if weights is None else flat, weights, offsets, left_out, sizes, highest
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        flat, weights, offsets, left_out, sizes, highest = ctx.saved_tensors
        if ctx.mode == "max":
            room = gradient.new_zeros(ctx.count + 1, gradient.shape[1])  # the first for elements of no id
            return room.scatter_add(0, highest + 1, gradient)[1:], *[None] * 5
        if ctx.mode == "mean":
            gradient = gradient / sizes.clamp_min(1).unsqueeze(-1)
        each = rows_at(gradient, _bag_of(offsets, ctx.count))
        if left_out is not None:
            each = torch.where(left_out.unsqueeze(-1), 0, each)
        if weights is None:
            return each, *[None] * 5
        return each * weights.unsqueeze(-1), (each * flat).sum(-1), *[None] * 4

    @staticmethod
    def jvp(ctx: Any, moved: Tensor | None, moved_weights: Tensor | None, *_: Any) -> tuple[Tensor, None, None]:
        flat, weights, offsets, left_out, _, highest = ctx.saved_tensors
        rest = offsets, left_out, ctx.mode, ctx.include_last
        ways = []
        if moved is not None and ctx.mode == "max":
            ways.append(torch.cat([moved.new_zeros(1, moved.shape[1]), moved]).gather(0, highest + 1))
        elif moved is not None:
            ways.append(_Pool.apply(moved, weights, *rest)[0])  # type: ignore[no-untyped-call]
        if moved_weights is not None:
            ways.append(_Pool.apply(flat, moved_weights, *rest)[0])  # type: ignore[no-untyped-call]
        return sum(ways[1:], ways[0]), None, None


def _summed(
    flat: Tensor, weights: Tensor | None, offsets: Tensor, left_out: Tensor | None, mode: Mode, include_last: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_kernel` gives, in operators that `vmap` has rules for."""
    bag_of = _bag_of(offsets, flat.shape[0])
    each = flat if weights is None else flat * weights.unsqueeze(-1)
    counted = torch.ones_like(bag_of)
    if left_out is not None:
        each, counted = torch.where(left_out.unsqueeze(-1), 0, each), torch.where(left_out, 0, counted)
    bags = offsets.shape[0] - include_last
    sizes = counted.new_zeros(bags).index_add(0, bag_of, counted)
    total = each.new_zeros(bags, each.shape[1]).index_add(0, bag_of, each)
    return total / sizes.clamp_min(1).unsqueeze(-1) if mode == "mean" else total, sizes, sizes


def _bag_of(offsets: Tensor, count: int) -> Tensor:
    """The bag that each of so many ids is in."""
    begun = torch.zeros(count + 1, dtype=torch.int64, device=offsets.device)
    return begun.scatter_add(0, offsets, torch.ones_like(offsets)).cumsum(0)[:count] - 1


def _rows(flat: Tensor, bags: Bags, mode: Mode, weights: Tensor | None, left_out: Tensor | None) -> Tensor:
    """Bags of one length, in operators that every compiler and runtime knows."""
    assert bags.length is not None
    shape = bags.offsets.shape[0], bags.length
    each = flat.reshape(*shape, flat.shape[1])
    if weights is not None:
        each = each * weights.reshape(*shape, 1)
    left_out = torch.zeros_like(bags.ids, dtype=torch.bool) if left_out is None else left_out
    out = left_out.reshape(*shape, 1)
    if mode == "max":
        lowest = each.new_full((shape[0], 1, each.shape[2]), -torch.inf)  # so that no bag is without elements
        found = torch.cat([lowest, torch.where(out, -torch.inf, each)], 1).amax(1)
        return torch.where(out.all(1), 0, found)
    total = torch.where(out, 0, each).sum(1)
    return total if mode == "sum" else total / (~out).sum(1).clamp_min(1)
