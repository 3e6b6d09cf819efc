"""A small collection that optimizers of tables train, and steps on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from coset.methods import FeatureGeneration, Full, LowRank, QuotientRemainder
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer
from coset.schema import Table
from coset.tables import EmbeddingBagCollection

N = 30


KINDS: dict[str, Callable[..., TableOptimizer]] = {
    "sgd": lambda m, **o: SGD(m, lr=0.1, **o),
    "adagrad": lambda m, **o: Adagrad(m, lr=0.1, **o),
    "rowwise": lambda m, **o: RowWiseAdagrad(m, lr=0.1, **o),
    "lazy": lambda m, **o: Adam(m, lr=0.1, **o),
    "dense": lambda m, **o: Adam(m, lr=0.1, mode="dense", **o),
}


def collection(**options: Any) -> EmbeddingBagCollection:
    torch.manual_seed(0)
    methods = {"full": Full(), "mult": QuotientRemainder(7), "narrow": LowRank(2), "many": FeatureGeneration((6, 5))}
    tables = [(Table(name, N, 4), how) for name, how in methods.items()]
    return EmbeddingBagCollection(tables, {**{name: name for name in methods}, "again": "mult"}, **options)


def state(module: nn.Module, optimizer: TableOptimizer | None = None) -> dict[str, Tensor]:
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    if optimizer is not None:
        for number, of in optimizer.state_dict()["state"].items():
            kept |= {f"{number}.{name}": value.clone() for name, value in of.items()}
        kept["steps"] = torch.tensor(optimizer.steps)
    return kept


def ids_of(step: int, count: int = 4) -> Tensor:
    return torch.randint(N, (5, count), generator=torch.Generator().manual_seed(step))


def backward(module: nn.Module, step: int, times: float = 1.0) -> None:
    (sum(vectors.square().sum() for vectors in module(ids_of(step)).values()) * times).backward()


def learn(module: nn.Module, optimizer: TableOptimizer, steps: range) -> None:
    for step in steps:
        backward(module, step)
        optimizer.step()


class Two(nn.Module):
    """Two collections, so that a step is two calls of a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = collection(), collection()

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        left, right = self.first(ids), self.second(ids)
        return {f"{name}.{side}": of[name] for side, of in (("l", left), ("r", right)) for name in of}
