"""The engine's calls as operators of torch, with what they give and what they change declared, for `torch.compile`.

Eager calls go straight to the kernels, which takes less than to go through torch's dispatcher; compiled graphs hold
these operators, which do the same.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from coset.engine.base import Lookup


class Call(Protocol):
    """One call of an engine."""

    def find(self) -> None:
        """Find the rows of all ids, and bring them to the optimizer's last step."""
        ...

    def vectors(self) -> Tensor:
        """The vectors of all lookups."""
        ...

    def add(self, gradient: Tensor) -> None:
        """Sum the gradient of the vectors by row, and leave the sums with the engine."""
        ...


class Called(Protocol):
    """What an engine shows to graphs: its tables, the numbers of it, and calls that are not made yet."""

    dense: bool
    anchor: Tensor
    tables: list[Tensor]
    number: Tensor
    dims: list[int]

    def call(self, asked: Sequence[Lookup], joined: bool, tables: Sequence[Tensor]) -> Call:
        """A call that has not been made yet, of the arrays in `tables`: a graph may hand on copies."""
        ...


_engines: weakref.WeakValueDictionary[int, Called] = weakref.WeakValueDictionary()


def number(engine: Called) -> Tensor:
    """The number of an engine in graphs, for its lifetime: a tensor, since a Python number would be a constant of the
    graph, which could then serve no other engine."""
    _engines[id(engine)] = engine
    return torch.tensor(id(engine), device="cpu")


def look_up(engine: Called, lookups: Sequence[Lookup], joined: bool) -> Tensor:
    """`Engine.look_up` in a graph."""
    # Lists of tensors cannot hold None: an empty tensor stands for an absent one.
    nothing = torch.empty(0, dtype=torch.int64)
    inputs = (
        [lookup.values for lookup in lookups],
        [nothing if lookup.offsets is None else lookup.offsets for lookup in lookups],
        [nothing.to(engine.anchor.dtype) if lookup.weights is None else lookup.weights for lookup in lookups],
        [lookup.feature for lookup in lookups],
        [lookup.offsets is not None for lookup in lookups],
        [lookup.weights is not None for lookup in lookups],
        [lookup.mean for lookup in lookups],
    )
    if engine.dense:  # else no row is behind, and tables that change cannot be looked up twice in a graph
        _bring(engine.tables, *inputs, engine.number)
    dims = [engine.dims[lookup.feature] for lookup in lookups]
    found: Tensor = _look_up(engine.anchor, engine.tables, *inputs, joined, dims, engine.number)
    return found


def _lookups(
    values: Sequence[Tensor], offsets: Sequence[Tensor], weights: Sequence[Tensor], features: Sequence[int],
    in_bags: Sequence[bool], weighted: Sequence[bool], means: Sequence[bool],
) -> list[Lookup]:  # fmt: skip
    return [
        Lookup(feature, ids, at if bags else None, by if has_weights else None, mean)
        for ids, at, by, feature, bags, has_weights, mean in zip(
            values, offsets, weights, features, in_bags, weighted, means, strict=True
        )
    ]


# Schemas are written out, as torch infers them from lists of tensors only in later versions than coset works with.
_GIVEN = (
    "Tensor[] values, Tensor[] offsets, Tensor[] weights, SymInt[] features, bool[] in_bags, bool[] weighted, "
    "bool[] means"
)
_HOW = "bool joined, SymInt[] dims, Tensor engine"


@torch.library.custom_op(
    "coset::bring", mutates_args=("tables",), schema=f"(Tensor(a0!)[] tables, {_GIVEN}, Tensor engine) -> ()"
)
def _bring(
    tables: list[Tensor], values: list[Tensor], offsets: list[Tensor], weights: list[Tensor], features: list[int],
    in_bags: list[bool], weighted: list[bool], means: list[bool], engine: Tensor,
) -> None:  # fmt: skip
    """Bring the rows that are about to be read to the optimizer's last step."""
    lookups = _lookups(values, offsets, weights, features, in_bags, weighted, means)
    _engines[int(engine)].call(lookups, False, tables).find()


@_bring.register_fake
def _(*given: Any) -> None:
    return None


@torch.library.custom_op(
    "coset::look_up", mutates_args=(), schema=f"(Tensor anchor, Tensor[] tables, {_GIVEN}, {_HOW}) -> Tensor"
)
def _look_up(
    anchor: Tensor, tables: list[Tensor], values: list[Tensor], offsets: list[Tensor], weights: list[Tensor],
    features: list[int], in_bags: list[bool], weighted: list[bool], means: list[bool], joined: bool, dims: list[int],
    engine: Tensor,
) -> Tensor:  # fmt: skip
    """Vectors of all lookups."""
    lookups = _lookups(values, offsets, weights, features, in_bags, weighted, means)
    return _engines[int(engine)].call(lookups, joined, tables).vectors()


@_look_up.register_fake
def _(
    anchor: Tensor, tables: list[Tensor], values: list[Tensor], offsets: list[Tensor], weights: list[Tensor],
    features: list[int], in_bags: list[bool], weighted: list[bool], means: list[bool], joined: bool, dims: list[int],
    engine: Tensor,
) -> Tensor:  # fmt: skip
    bags = [
        at.shape[0] - 1 if has_offsets else ids.shape[0]
        for ids, at, has_offsets in zip(values, offsets, in_bags, strict=True)
    ]
    if joined:
        return anchor.new_empty(bags[0], sum(dims))
    return anchor.new_empty(sum(count * dim for count, dim in zip(bags, dims, strict=True)))


@torch.library.custom_op(
    "coset::add_gradients", mutates_args=(), schema=f"(Tensor gradient, Tensor[] tables, {_GIVEN}, {_HOW}) -> Tensor"
)
def _add_gradients(
    gradient: Tensor, tables: list[Tensor], values: list[Tensor], offsets: list[Tensor], weights: list[Tensor],
    features: list[int], in_bags: list[bool], weighted: list[bool], means: list[bool], joined: bool, dims: list[int],
    engine: Tensor,
) -> Tensor:  # fmt: skip
    """Leave the sums of gradients with the engine; the anchor's gradient, zero, keeps the call in graphs."""
    lookups = _lookups(values, offsets, weights, features, in_bags, weighted, means)
    call = _engines[int(engine)].call(lookups, joined, tables)
    call.find()
    call.add(gradient)
    return gradient.new_zeros(())


@_add_gradients.register_fake
def _(gradient: Tensor, *given: Any) -> Tensor:
    return gradient.new_zeros(())


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, tables, values, offsets, weights, *ctx.rest, engine = inputs
    ctx.tables, ctx.count = len(tables), len(values)
    ctx.save_for_backward(engine, *values, *offsets, *weights, *tables)


def _backward(context: Any, gradient: Tensor) -> tuple[Any, ...]:
    (engine, *saved), count = context.saved_tensors, context.count
    parts = [list(saved[at : at + count]) for at in range(0, 3 * count, count)]
    slope = _add_gradients(gradient.contiguous(), list(saved[3 * count :]), *parts, *context.rest, engine)
    nothing = [None] * count
    return slope, [None] * context.tables, nothing, nothing, nothing, *[None] * len(context.rest), None


_look_up.register_autograd(_backward, setup_context=_keep)
