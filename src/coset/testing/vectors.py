"""Checks on vectors: what ids read, what gradients write, and how bags pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from coset.errors import InputError
from coset.storage import StoredRows
from coset.testing.cases import DOUBLE, SMALL, Case, arrays, attributed, direction, equal, gradients, named, near
from coset.testing.check import check, expect, refused
from coset.testing.reference import compose

MODES = ("sum", "mean", "max")
OFFSETS = (0, 0, 3, 4, 4, 9, 12)  # of 12 ids: empty bags first, in the middle and last, and a bag of one
TINY = (*named("odd"), attributed("wide", 5, 6))
"""For finite differences, which take long for many elements."""
FEW = named("one", "prime")
"""For checks that do not depend on the size of a table: what is done with the vectors of any method."""


@check(*named("one", "odd", "wider_than_long", "round"))
def shapes(case: Case) -> None:
    """ids of any shape give vectors of that shape, in the table's dtype, and `forward` is `lookup`"""
    module = case.seeded(0)
    expect(module.table == case.table and module.method == case.method, "the module forgot its table or method")
    for shape in ((), (5,), (2, 3), (0,), (2, 0)):
        ids = case.ids(*shape)
        vectors = module.lookup(ids)
        expect(
            tuple(vectors.shape) == case.shape(*shape),
            f"ids of shape {shape} give vectors of shape {tuple(vectors.shape)}, expected {case.shape(*shape)}",
        )
        expect(vectors.dtype == case.table.dtype, f"vectors are {vectors.dtype}, the table is {case.table.dtype}")
        expect(equal(module(ids), vectors), f"forward and lookup differ on ids of shape {shape}")
    ids = case.ids(4, 6)
    alone = torch.stack([module.lookup(one) for one in ids.view(-1)]).view(case.shape(4, 6))
    expect(near(module.lookup(ids), alone, 1e-6, 1e-7), "the vector of an id depends on the ids beside it")
    expect(tuple(case.embedding()(ids).shape) == case.shape(4, 6), "Embedding gives another shape than lookup")


@check(*SMALL)
def lookup_follows_the_descriptor(case: Case) -> None:
    """lookup reads and composes exactly the rows that the descriptor says, to 1e-12 in float64"""
    case = case.double
    descriptor = case.method.descriptor(case.table)
    if descriptor is None:
        return
    module = case.seeded(0)
    told = torch.from_numpy(compose(descriptor, arrays(module), case.every_id.numpy()))
    found = module.lookup(case.every_id).detach()
    expect(found.shape == told.shape, f"lookup gives {tuple(found.shape)}, the descriptor {tuple(told.shape)}")
    wrong = ((found - told).abs() > 1e-12 * told.abs() + 1e-14).flatten(1).any(dim=1).nonzero().view(-1).tolist()
    expect(not wrong, f"lookup and descriptor disagree on ids {wrong[:5]}")


@check(*named("one", "odd", "round"))
def materialize_is_every_lookup(case: Case) -> None:
    """`materialize()` is the lookup of every id, detached, whatever the chunk"""
    case = case.double
    module = case.seeded(0)
    whole = module.materialize()
    expect(not whole.requires_grad, "materialize() is not detached")
    expect(near(whole, module.lookup(case.every_id).detach()), "materialize() differs from lookup")
    expect(near(module.materialize(chunk=3), whole), "materialize() depends on its chunk")
    expect(near(case.embedding().materialize(), case.embedding()(case.every_id).detach()), "Embedding.materialize()")


@check(*SMALL)
def gradient_reaches_every_parameter(case: Case) -> None:
    """a loss over all ids moves every parameter tensor, but for those that say how numbers are rounded"""
    module = case.seeded(0)
    arrays = {name: of for name, of in module.named_modules() if isinstance(of, StoredRows)}
    adjusted = {f"{name}.{one}" for name, of in arrays.items() for one in of.adjusted}
    for name, gradient in gradients(module, module.lookup(case.every_id)).items():
        reached = gradient is not None and bool(gradient.any())
        expect(reached or name in adjusted, f"no gradient reaches {name!r}")


@check(*TINY)
def gradients_are_those_of_the_values(case: Case) -> None:
    """gradients of an Embedding agree with differences of its values (gradcheck, float64)"""
    embedding = _steep(case).embedding()
    _gradcheck(embedding, lambda: (case.ids(3, 2),))


@check(*TINY)
def bag_gradients_are_those_of_the_values(case: Case) -> None:
    """gradients of an EmbeddingBag, those of `per_sample_weights` included, agree with differences of its values"""
    ids, offsets = case.ids(12), torch.tensor(OFFSETS)
    for mode in MODES:
        # The gradients of the vectors are checked element by element above; here, along a direction of each array.
        _gradcheck(_steep(case).bag(mode=mode), lambda: (ids, offsets), fast_mode=True)
    bag = _steep(case).bag(mode="sum")
    weights = direction(torch.empty(12, dtype=DOUBLE), seed=1).requires_grad_()
    expect(
        torch.autograd.gradcheck(lambda given: bag(ids, offsets, per_sample_weights=given), (weights,), fast_mode=True),
        "per_sample_weights",
    )


@check(*FEW)
def a_bag_is_the_pool_of_its_items(case: Case) -> None:
    """a bag is the sum, mean or maximum of its items' vectors, composed one by one first; an empty bag is zeros"""
    case = case.double
    ids, bounds = case.ids(12), (*OFFSETS, 12)
    for mode in MODES:
        bag = case.bag(mode=mode)
        items = _items(case, bag, ids)
        expected = torch.stack([_pool(items[a:b], mode) for a, b in pairwise(bounds)])
        _expect_bags(bag(ids, torch.tensor(OFFSETS)), expected, f"mode {mode!r}, 1-D ids with offsets")
        _expect_bags(
            bag(ids.view(3, 4)),
            torch.stack([_pool(items[at : at + 4], mode) for at in (0, 4, 8)]),
            f"mode {mode!r}, 2-D ids",
        )
        last = case.bag(mode=mode, include_last_offset=True)
        _expect_bags(last(ids, torch.tensor(bounds)), expected, f"mode {mode!r}, include_last_offset")
        nothing = bag(ids[:0], torch.zeros(3, dtype=torch.int64))
        expect(nothing.requires_grad, f"mode {mode!r}: a batch of only empty bags cannot be trained on (no gradient)")
        _expect_bags(nothing, torch.zeros(case.shape(3), dtype=DOUBLE), f"mode {mode!r}, only empty bags")


@check(*FEW)
def weights_scale_the_items_of_a_sum(case: Case) -> None:
    """`per_sample_weights` multiply each item of a sum before it is pooled, and are refused by other modes"""
    case = case.double
    ids, bounds = case.ids(12), (*OFFSETS, 12)
    bag = case.bag(mode="sum")
    weights = direction(torch.empty(12, dtype=DOUBLE), seed=1)
    items = _items(case, bag, ids)
    items = items * weights.reshape(-1, *[1] * (items.dim() - 1))
    expected = torch.stack([items[a:b].sum(0) for a, b in pairwise(bounds)])
    _expect_bags(bag(ids, torch.tensor(OFFSETS), per_sample_weights=weights), expected, "1-D weights")
    two = bag(ids.view(3, 4), per_sample_weights=weights.view(3, 4))
    _expect_bags(two, items.view(3, 4, *items.shape[1:]).sum(1), "2-D weights")
    for mode in ("mean", "max"):
        other = case.bag(mode=mode)
        act = partial(other, ids, torch.tensor(OFFSETS), per_sample_weights=weights)
        refused((NotImplementedError, ValueError), act, "per_sample_weights")


@check(*FEW)
def integer_types_agree(case: Case) -> None:
    """int32 and int64 ids give the same vectors and gradients; other types raise a TypeError naming the table"""
    ids, offsets = case.ids(12), torch.tensor(OFFSETS)
    embedding, bag = case.embedding(), case.bag()
    expect(equal(embedding(ids), embedding(ids.int())), "Embedding: int32 and int64 ids differ")
    expect(equal(bag(ids, offsets), bag(ids.int(), offsets.int())), "EmbeddingBag: int32 and int64 ids differ")
    wide, narrow = gradients(embedding, embedding(ids)), gradients(embedding, embedding(ids.int()))
    expect(all(equal(wide[name], narrow[name]) for name in wide), "gradients of int32 and int64 ids differ")
    for dtype in (torch.float32, torch.float64, torch.bool):
        given = ids.to(dtype)
        refused(TypeError, partial(embedding, given), case.table.name)
        refused(TypeError, partial(bag, given, offsets), case.table.name)


@check(*FEW)
def wrong_ids_are_refused(case: Case) -> None:
    """an id out of range raises an IndexError that names the table, the id and the range"""
    embedding, bag = case.embedding(), case.bag()
    n = case.table.num_embeddings
    for wrong in (-1, n, n + 12345, 2**40, -(2**40), 2**62):
        ids = case.ids(4)
        ids[2] = wrong
        for act in (
            partial(embedding, ids),
            partial(embedding, ids.view(2, 2)),
            partial(embedding, torch.tensor(wrong)),
            partial(bag, ids.view(2, 2)),
            partial(bag, ids, torch.tensor([0, 2])),
        ):
            refused(IndexError, act, case.table.name, wrong, n - 1)
    refused(IndexError, partial(embedding, torch.tensor([n], dtype=torch.int32)), case.table.name, n)


@check(*FEW)
def padding_reads_no_parameter(case: Case) -> None:
    """the padding id writes no gradient and is left out of bags; it reads as zeros unless ids own bare rows"""
    case = case.double
    n = case.table.num_embeddings
    for padding in {0, n - 1}:
        embedding = case.embedding(padding_idx=padding)
        ids = torch.cat([case.ids(6), torch.tensor([padding])])
        vectors = embedding(ids)
        if not case.method.row_per_id:
            expect(not bool(vectors[ids == padding].any()), f"padding id {padding} does not read as zeros")
        others = ids[ids != padding]
        plain = case.embedding()
        plain.load_state_dict(embedding.state_dict())
        expect(near(vectors[ids != padding], plain(others)), "other ids read differently beside a padding id")
        for name, gradient in gradients(embedding, embedding(torch.tensor([padding, padding]))).items():
            expect(gradient is None or not bool(gradient.any()), f"padding id {padding} gives {name!r} a gradient")
        for mode in MODES:
            bag = case.bag(mode=mode, padding_idx=padding)
            plain.load_state_dict(bag.state_dict())
            expected = torch.stack([_pool(plain(others), mode), _pool(plain(others[:0]), mode)])
            given = torch.cat([ids, torch.tensor([padding])])
            _expect_bags(bag(given, torch.tensor([0, len(ids)])), expected, f"mode {mode!r} with a padding id")


@check(*FEW)
def options_of_bare_rows(case: Case) -> None:
    """`max_norm` and `scale_grad_by_freq` are taken exactly where each id owns a bare row"""
    choices: tuple[dict[str, Any], ...] = ({"max_norm": 0.5}, {"scale_grad_by_freq": True})
    for options in choices:
        if case.method.row_per_id:
            case.embedding(**options)(case.ids(4))
            case.bag(**options)(case.ids(2, 2))
        else:
            option = next(iter(options))
            refused(InputError, partial(case.embedding, **options), option, case.table.name)
            refused(InputError, partial(case.bag, **options), option, case.table.name)


def _steep(case: Case) -> Case:
    """The case in float64 with vectors of deviation 1, so that no gradient hides below a tolerance."""
    return Case(replace(case.table, dtype=DOUBLE, std=1.0), case.method)


def _gradcheck(module: nn.Module, arguments: Callable[[], tuple[Tensor, ...]], fast_mode: bool = False) -> None:
    names, values = zip(*((n, p.detach().clone().requires_grad_()) for n, p in module.named_parameters()), strict=True)

    def function(*given: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(module, dict(zip(names, given, strict=True)), arguments())
        return out

    expect(torch.autograd.gradcheck(function, values, fast_mode=fast_mode), f"gradients of {', '.join(names)}")


def _items(case: Case, bag: nn.Module, ids: Tensor) -> Tensor:
    """The vectors of ids one by one, from an Embedding in the same state as the bag."""
    embedding = case.embedding(seed=1)
    embedding.load_state_dict(bag.state_dict())
    items: Tensor = embedding(ids)
    return items.detach()


def _pool(items: Tensor, mode: str) -> Tensor:
    if not len(items):
        return items.new_zeros(items.shape[1:])
    return {"sum": items.sum(0), "mean": items.mean(0), "max": items.amax(0)}[mode]


def _expect_bags(found: Tensor, expected: Tensor, what: str) -> None:
    expect(near(found, expected, 1e-6, 1e-12), f"{what}: a bag is not the pool of its items")
