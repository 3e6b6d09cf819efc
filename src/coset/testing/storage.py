"""Checks on what is stored: predicted components and bytes, budgets, JSON, saving, exact rows at any size."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from coset.errors import InfeasibleBudget
from coset.methods import Method, TableModule, from_json
from coset.methods.composition import BlockedComposition, RowPart
from coset.partitions import Codes, Partition
from coset.schema import Table
from coset.storage.forms import pack_
from coset.testing.cases import ROOMY, SMALL, Case, arrays, difference, equal, named
from coset.testing.check import check, expect, refused
from coset.testing.reference import compose

HUGE = Table("huge", 40_000_000, 2)
ENDLESS = Table("endless", 2**40, 16)
FAR_IDS = (2**24 + 1, 2**31 - 1, 2**31, 2**32 + 3, 2**53 + 1, 2**62 - 1, 2**62, 2**62 + 12345)


@check(*SMALL, ROOMY)
def choices_fit_the_table(case: Case) -> None:
    """every example fits the table it was made for"""
    case.method.check(case.table)
    expect(hash(case.method) == hash(replace(case.method)), "equal methods have different hashes")


@check(*SMALL, ROOMY)
def components_are_the_stored_tensors(case: Case) -> None:
    """the predicted components are exactly the tensors of the module: keys, shapes, dtypes, kinds and bytes"""
    for table in (case.table, replace(case.table, dtype=torch.float64)):
        module = pack_(case.method.build(table))
        told = {component.key: component for component in case.method.components(table)}
        stored = module.state_dict()
        expect(len(told) == len(case.method.components(table)), "two components have the same key")
        expect(set(told) == set(stored), f"predicted are {sorted(told)}, stored are {sorted(stored)}")
        parameters = dict(module.named_parameters())
        for key, tensor in stored.items():
            expect(
                told[key].shape == tuple(tensor.shape),
                f"{key!r} is predicted as {told[key].shape} and stored as {tuple(tensor.shape)}",
            )
            expect(told[key].dtype == tensor.dtype, f"{key!r}: predicted {told[key].dtype}, stored {tensor.dtype}")
            kinds = ("parameter",) if key in parameters else ("index", "codes")
            expect(told[key].kind in kinds, f"{key!r} is predicted as {told[key].kind} and stored as {kinds[0]}")
            expect(told[key].kind != "index" or not tensor.is_floating_point(), f"index state {key!r} is no integers")
        hidden = {name for name, _ in (*module.named_parameters(), *module.named_buffers())} - set(stored)
        expect(not hidden, f"tensors outside the state are not counted: {sorted(hidden)}")
        total = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
        expect(case.method.bytes(table) == total, f"bytes() says {case.method.bytes(table)}, stored are {total}")
    for embedding in (case.embedding(), pack_(case.embedding())):
        listed = [component.bytes for component in embedding.components()]
        expect(sum(listed) == case.method.bytes(case.table), "Embedding.components() has other bytes than the method")


@check(ROOMY)
def components_are_closed_form(case: Case) -> None:
    """sizes, components and bytes are computed without allocating or counting through the ids"""
    if case.method.needs_attributes:
        return  # a column of 2^40 codes would be too large
    began = time.monotonic()
    sizes = case.method.sizes(ENDLESS, **case.fixed)
    for method in (sizes[0], sizes[len(sizes) // 2], sizes[-1]):
        expect(method.bytes(ENDLESS) == sum(c.bytes for c in method.components(ENDLESS)), "bytes() is not the sum")
    case.method.for_budget(ENDLESS, ENDLESS.full_bytes, **case.fixed)
    expect(time.monotonic() - began < 2, "predicting a table of 2^40 ids took more than two seconds")


@check(*SMALL, ROOMY)
def json_is_the_method(case: Case) -> None:
    """a method written to JSON text and read again is equal, nested methods and all"""
    value = case.method.to_json()
    expect(value.get("method") == type(case.method).name, f"'method' is {value.get('method')!r}")
    expect(value.get("version") == type(case.method).version, f"'version' is {value.get('version')!r}")
    again = from_json(json.loads(json.dumps(value, allow_nan=False)))
    expect(type(again) is type(case.method) and again == case.method, f"{value} came back as {again!r}")
    expect(hash(again) == hash(case.method) and again.to_json() == value, f"{value} came back as {again.to_json()}")


@check(*named("one", "odd"), ROOMY)
def state_saves_and_reloads(case: Case) -> None:
    """a saved state, loaded into a fresh module of the same method, gives the same bits"""
    pairs: tuple[tuple[Any, Any], ...] = (
        (case.seeded(0), case.seeded(1)),
        (case.embedding(0), case.embedding(1)),
        (case.bag(0), case.bag(1)),
    )
    for old, new in pairs:
        new.load_state_dict(load(save(old.state_dict())))
        expect(difference(old.state_dict(), new.state_dict()) is None, f"{type(old).__name__}: the state changed")
        expect(equal(old.materialize(), new.materialize()), f"{type(old).__name__}: vectors changed by a reload")


@check(*SMALL, ROOMY, of_variants=True)
def sizes_rise_to_full(case: Case) -> None:
    """`sizes` is never empty, never falls in bytes, and ends no larger than full (on tiny tables: than its first)"""
    sizes = case.method.sizes(case.table, **case.fixed)
    expect(len(sizes) > 0, "sizes is empty")
    taken = [method.bytes(case.table) for method in sizes]
    expect(taken == sorted(taken), f"bytes fall: {taken}")
    most = max(case.table.full_bytes, taken[0])
    expect(taken[-1] <= most, f"the last takes {taken[-1]} bytes, full is {case.table.full_bytes}")
    for method in _some(sizes, 12):
        method.check(case.table)
        for field, value in case.fixed.items():
            expect(getattr(method, field, value) == value, f"{method!r} was asked to have {field}={value!r}")


@check(*named("one", "odd", "wider_than_long"), ROOMY, of_variants=True)
def a_budget_is_kept(case: Case) -> None:
    """`for_budget` gives the largest of `sizes` within the budget, in bytes really stored, or names the floor"""
    table, fixed = case.table, case.fixed
    taken = [method.bytes(table) for method in case.method.sizes(table, **fixed)]
    floor, full = taken[0], table.full_bytes
    budgets = {floor, floor + 1, full // 7, full * 3 // 7, full - 1, full, 10 * full}
    for budget in sorted(budget for budget in budgets if budget >= floor):
        chosen = case.method.for_budget(table, budget, **fixed)
        chosen.check(table)
        stored = _stored(chosen.build(table))
        expect(stored <= budget, f"{chosen!r} stores {stored} bytes under a budget of {budget}")
        best = max(size for size in taken if size <= budget)
        expect(stored == best, f"under {budget} bytes, {stored} were taken and {best} would fit")
    for budget in {floor - 1, 0}:
        error = refused(InfeasibleBudget, partial(case.method.for_budget, table, budget, **fixed), table.name)
        expect(error.floor == floor, f"the floor is {floor} bytes, the error says {error.floor}")
        expect(str(floor) in str(error).replace(",", ""), f"{str(error)!r} does not name the floor, {floor}")


@check(*SMALL, ROOMY)
def partitions_are_exact(case: Case) -> None:
    """partitions give the same, exact row on numpy, torch and Python integers, for ids up to 2^62 and beyond"""
    for part in _parts(case.method, case.table):
        partition = part.partition
        far = () if isinstance(partition, Codes) else FAR_IDS
        ids = np.asarray([*range(case.table.num_embeddings), *far], dtype=np.int64)
        by_numpy, by_torch = np.asarray(partition(ids)), partition(torch.from_numpy(ids))
        by_hand = [int(partition(int(i))) for i in ids]
        expect(by_numpy.dtype == np.int64, f"{partition} on numpy gives {by_numpy.dtype}")
        expect(by_torch.dtype == torch.int64, f"{partition} on torch gives {by_torch.dtype}")
        expect(by_numpy.tolist() == by_hand, f"{partition} differs between numpy and Python")
        expect(by_torch.tolist() == by_hand, f"{partition} differs between torch and Python")
        if isinstance(partition, Partition):
            exact = [int(i) // partition.divisor % partition.modulus for i in ids]
            expect(by_hand == exact, f"{partition} is not id // divisor % modulus")
        rows = by_hand[: case.table.num_embeddings]
        expect(min(rows) >= 0 and max(rows) < part.rows, f"{partition} leaves the {part.rows} rows of {part.name!r}")


@check(replace(HUGE, embedding_dim=1), HUGE)
def forty_million_ids(case: Case) -> None:
    """a table of 40 million ids reads the rows that exact arithmetic says, and refuses the id after the last"""
    smallest = case.method.sizes(case.table, **case.fixed)[0]
    one = case.table.embedding_dim == 1
    if one != (smallest.bytes(case.table) * (2 if one else 1) > case.table.full_bytes // 4):
        return  # what is large even at its smallest is tried at dim 1 only, and the rest at dim 2 only
    case = Case(case.table, smallest)
    n = case.table.num_embeddings
    # Runs of neighbours, since a quotient that is off by a rounding shows only beside a multiple of its divisor, of
    # which those of the smallest quotient-remainder tables are 6,325.
    runs = [torch.arange(start, start + 7000) for start in (2**24, 2**25, n - 7000)]
    ids = torch.cat([*runs, case.ids(1000)])
    embedding = case.embedding()
    vectors = embedding(ids)
    descriptor = case.method.descriptor(case.table)
    if descriptor is not None:
        told = torch.from_numpy(compose(descriptor, arrays(_table_module(embedding)), ids.numpy())).to(vectors.dtype)
        wrong = (~torch.isclose(vectors.detach(), told, rtol=1e-5, atol=1e-7)).flatten(1).any(1).nonzero().view(-1)
        expect(not len(wrong), f"lookup and exact arithmetic disagree on ids {ids[wrong][:5].tolist()}")
    for wrong_id in (n, -1, 2**31 + 5):
        refused(IndexError, partial(embedding, torch.tensor([wrong_id])), case.table.name, wrong_id)


def _table_module(embedding: torch.nn.Module) -> TableModule:
    module, *_ = (inner for inner in embedding.modules() if isinstance(inner, TableModule))
    return module


def _parts(method: Method, table: Table) -> Iterable[RowPart]:
    descriptor = method.descriptor(table)
    if descriptor is not None and not isinstance(descriptor, BlockedComposition):
        yield from descriptor.parts  # the ids of a block are renumbered; its parts are tried with its own method


def _stored(module: torch.nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def _some(sizes: Sequence[Method], count: int) -> list[Method]:
    return [sizes[at] for at in sorted({round(at) for at in np.linspace(0, len(sizes) - 1, count)})]
