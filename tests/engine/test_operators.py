"""Lookups by kernels inside graphs of torch.compile: the same vectors, sums and steps as eager ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim

from coset import Embedding, EmbeddingBag, EmbeddingBagCollection, EmbeddingCollection, Table
from coset.methods.quotient_remainder import QuotientRemainder
from coset.optimizers import SGD, Adam, TableOptimizer


def collection() -> EmbeddingBagCollection:
    torch.manual_seed(0)
    return EmbeddingBagCollection([(Table("a", 50, 8), "full"), (Table("b", 40, 4), QuotientRemainder(10))])


def loss(bags: EmbeddingBagCollection, ids: Tensor, offsets: Tensor, weights: Tensor, joined: bool) -> Tensor:
    if joined:
        return bags.concatenated({"a": ids[: len(offsets)], "b": (ids, offsets, weights)}).square().sum()
    return torch.stack([v.square().sum() for v in bags({"a": ids, "b": (ids, offsets, weights)}).values()]).sum()


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_a_compiled_graph_trains_as_eager_calls_do(joined: bool, dense: bool) -> None:
    def optimizer(bags: EmbeddingBagCollection) -> TableOptimizer:
        return Adam(bags, lr=0.1, mode="dense") if dense else SGD(bags, lr=0.1)

    eager, graph = collection(), collection()
    steps = [optimizer(bags) for bags in (eager, graph)]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        ids = torch.randint(40, (20,), generator=generator)
        given = ids, torch.arange(0, 20, 4), torch.rand(20, generator=generator), joined
        for run, bags in ((loss, eager), (compiled, graph)):
            run(bags, *given).backward()  # type: ignore[operator]
        for each in steps:
            each.step()
    before, after = eager.state_dict(), graph.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(before["tables.a.rows.weight"], collection().state_dict()["tables.a.rows.weight"])


@pytest.mark.parametrize("kind", [EmbeddingBagCollection, EmbeddingCollection])
def test_one_graph_may_look_up_twice(kind: type[EmbeddingBagCollection] | type[EmbeddingCollection]) -> None:
    tables = kind([(Table("a", 50, 8), "full"), (Table("b", 40, 4), QuotientRemainder(10, "concat"))])
    before = {name: value.clone() for name, value in tables.state_dict().items()}
    optimizer = SGD(tables, lr=0.25)

    def total(ids: Tensor) -> Tensor:
        return torch.stack([v.sum() for _ in range(2) for v in tables({"a": ids, "b": ids}).values()]).sum()

    torch.compile(total, fullgraph=True, backend="aot_eager")(torch.tensor([1, 3, 3])).backward()
    optimizer.step()
    moved = before["tables.a.rows.weight"] - tables.state_dict()["tables.a.rows.weight"]
    expected = torch.zeros(50, 8)
    expected[1], expected[3] = 0.5, 1.0
    assert torch.allclose(moved, expected)


@pytest.mark.parametrize("bag", [False, True])
def test_owned_tables_make_the_graphs_of_torch(bag: bool) -> None:
    def graphs(module: nn.Module, optimizer: Any) -> int:
        torch.compiler.reset()
        counter = CompileCounterWithBackend("eager")
        compiled = torch.compile(module, backend=counter, fullgraph=True)
        for count in (20, 25, 60):
            compiled(torch.arange(count) % 40, *([torch.tensor([0, 7])] if bag else [])).sum().backward()
            optimizer.step()  # and what changes with it makes no graph of its own
        return counter.frame_count

    torchs: nn.Module = nn.EmbeddingBag(50, 8) if bag else nn.Embedding(50, 8)
    ours: nn.Module = (EmbeddingBag if bag else Embedding)(50, 8, QuotientRemainder(10))
    assert graphs(ours, Adam(ours, lr=0.1, mode="dense")) <= graphs(
        torchs, torch.optim.SGD(torchs.parameters(), lr=0.1)
    )


@pytest.mark.parametrize("mode", ["lazy", "dense"])
def test_any_number_of_owned_models_share_the_graphs_of_one(mode: Any) -> None:
    torch.compiler.reset()
    counter = CompileCounterWithBackend("eager")
    for _ in range(10):  # more than the graphs that torch makes of one function
        module = Embedding(50, 8, QuotientRemainder(10))
        optimizer = Adam(module, lr=0.1, mode=mode)
        compiled = torch.compile(module, backend=counter, fullgraph=True)
        for count in (20, 25):
            ids = torch.arange(count) % 40
            found = compiled(ids)
            assert torch.equal(found, module(ids))
            found.sum().backward()
            optimizer.step()
    assert counter.frame_count <= 2


@pytest.mark.parametrize("strict", [False, True], ids=["traced", "strict"])
def test_an_exported_graph_holds_rows_that_are_up_to_date(strict: bool) -> None:
    tables = collection()
    optimizer = Adam(tables, lr=0.1, mode="dense")
    for row in (3, 5, 7):  # which then miss steps
        tables({"a": torch.tensor([row]), "b": torch.tensor([row])})["a"].sum().backward()
        optimizer.step()
    dims = {"a": {0: Dim.DYNAMIC}, "b": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}}
    given = {"a": torch.arange(4), "b": torch.arange(12).view(4, 3)}
    exported = torch.export.export(tables, (given,), dynamic_shapes=(dims,), strict=strict).module()
    other = {"a": torch.arange(40), "b": torch.arange(40).view(20, 2)}
    for name, found in exported(other).items():
        torch.testing.assert_close(found, tables(other)[name])
