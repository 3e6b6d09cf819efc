"""Lookups by kernels inside graphs of torch.compile: the same vectors, sums and steps as eager ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coset import EmbeddingBagCollection, EmbeddingCollection, Table
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
