"""Tables of every method, and what plain torch makes of them: what the optimizers of tables are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coset.methods import (
    AttributePartitions,
    Blocks,
    FeatureGeneration,
    Full,
    Hashing,
    LowRank,
    Method,
    MixedDimension,
    QuotientRemainder,
    TableModule,
    registered,
)
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer
from coset.storage import StoredRows
from coset.tables import EmbeddingBagCollection
from coset.testing.cases import attributed, direction

DOUBLE, FLOAT = torch.float64, torch.float32


TOLERANCE = {DOUBLE: {"rtol": 1e-9, "atol": 1e-9}, FLOAT: {"rtol": 1e-4, "atol": 1e-6}}


ROWS, DIM = 90, 6


MODES = ("sum", "mean", "max")


SOME = slice(2, None, 4)
"""Tables of a few methods, where the method does not matter."""


def every_method() -> list[Method]:
    """Every row-composed example of every registered method, and what examples leave out."""
    table = attributed("any", ROWS, DIM)
    found = [
        example
        for _, kind in sorted(registered().items())
        for example in kind.examples(table)
        if example.descriptor(table) is not None
    ]
    nested = Blocks((10, 40), (Full(), Blocks((7,), (LowRank(2), QuotientRemainder(5, "concat"))), Hashing(9)))
    return [*found, nested]


def everything(dtype: torch.dtype, seed: int = 0, only: slice = slice(None)) -> EmbeddingBagCollection:
    """A collection with a table of every method; each third is read by a second feature, each fifth has an order."""
    methods = every_method()
    tables = [(attributed(f"t{n}", ROWS, DIM, dtype=dtype, std=0.3), how) for n, how in enumerate(methods)][only]
    names = [table.name for table, _ in tables]
    features = {f"f_{name}": name for name in names} | {f"again_{name}": name for name in names[::3]}
    draw = np.random.default_rng(seed)
    orders = {name: draw.permutation(ROWS) for name in names[::5]}
    modes = {feature: MODES[number % 3] for number, feature in enumerate(features)}
    torch.manual_seed(seed)
    return EmbeddingBagCollection(tables, features, mode=modes, orders=orders)


def bags_of(
    collection: EmbeddingBagCollection, generator: torch.Generator, ids: int = ROWS, missing: bool = True,
    shift: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Ids in every form, some features missing; over a few calls each feature meets each form, and over `ROUNDS` of
    numbers as `shift` each form in each type of ids."""
    drawn = int(torch.randint(100, (), generator=generator))
    shift = drawn if shift is None else shift
    given: dict[str, Any] = {}
    dtype = next(collection.parameters()).dtype
    for number, feature in enumerate(collection.features):
        form = (number + shift) % 8
        count = int(torch.randint(1, 9, (), generator=generator))
        kind = torch.int32 if (number + shift) % 3 == 0 else torch.int64
        values = torch.randint(ids, (count,), generator=generator, dtype=kind)
        if form == 0 and missing:
            continue
        if form == 1:
            given[feature] = values
        elif form == 2:
            given[feature] = torch.randint(ids, (3, 2), generator=generator, dtype=kind)
        elif form == 3:  # no bag at all
            given[feature] = values[:0], torch.zeros(0, dtype=torch.int64)
        elif form == 4:  # bags, but nothing in them
            given[feature] = values[:0], torch.zeros(3, dtype=torch.int32)
        else:  # the first bag of two is empty, or the last, or the one between them
            cuts = torch.randint(count + 1, (4,), generator=generator).sort().values
            cuts[0] = 0
            given[feature] = values, cuts.to(kind)
            if collection.modes[feature] == "sum":
                given[feature] += (torch.randn(count, generator=generator, dtype=dtype),)
    return given


def loss_of(found: Mapping[str, Tensor], seed: int) -> Tensor:
    """Each number in it has a gradient of its own, which depends on the numbers."""
    total = torch.zeros((), dtype=DOUBLE)
    for number, vectors in enumerate(found.values()):
        total = total + ((vectors + direction(vectors.detach(), seed * 1000 + number)) ** 2).sum().double()
    return total


class Plain:
    """Rows that were read are updated by the textbook, written out; their gradients are torch's."""

    def __init__(self, module: nn.Module, kind: str, options: Mapping[str, Any]) -> None:
        self.kind, self.options = kind, {"weight_decay": 0.0, "eps": 0.0, **options}
        self.parameters = {id(p): p for p in module.parameters()}
        self.first, self.second = ({n: torch.zeros_like(p) for n, p in self.parameters.items()} for _ in range(2))
        self.read: dict[int, Tensor] = {}
        self.steps = 0
        self._forget()
        for inner in module.modules():
            if isinstance(inner, StoredRows):
                inner.register_forward_hook(self._note)
        tables = (inner for inner in module.modules() if isinstance(inner, TableModule))
        self.projections = {id(p) for table in tables for p in table.projections()}

    def _note(self, inner: Any, given: tuple[Tensor, ...], _: Tensor) -> None:
        """A lookup reads some rows."""
        self.read[id(inner.weight)][given[0].reshape(-1).long()] = True

    def _forget(self) -> None:
        for n, p in self.parameters.items():
            self.read[n] = torch.zeros(len(p) if p.dim() == 2 else 1, dtype=torch.bool)

    def zero_grad(self) -> None:
        for p in self.parameters.values():
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        lr, eps, decay = (self.options[name] for name in ("lr", "eps", "weight_decay"))
        for n, p in self.parameters.items():
            some = self.read[n]
            if n in self.projections and p.grad is not None:  # read whole, unless there is nothing to widen
                some[:] = bool(p.grad.any())
            if p.grad is None or not some.any():
                continue
            rows, g, first, second = (
                of.view(1, -1) if of.dim() == 1 else of for of in (p, p.grad, self.first[n], self.second[n])
            )
            assert not g[~some].any()
            now, g = rows[some] * (1 - lr * decay), g[some]
            if self.kind == "sgd":
                now -= lr * g
            elif self.kind == "adagrad":
                first[some] += g * g
                now -= lr * g / (first[some].sqrt() + eps)
            elif self.kind == "rowwise":
                first[some] += (g * g).mean(1, keepdim=True)
                now -= lr * g / (first[some].sqrt() + eps)
            else:
                b1, b2 = self.options.get("betas", (0.9, 0.999))
                first[some] = b1 * first[some] + (1 - b1) * g
                second[some] = b2 * second[some] + (1 - b2) * g * g
                bias1, bias2 = 1 - b1**self.steps, 1 - b2**self.steps
                now -= lr / bias1 * first[some] / ((second[some] / bias2).sqrt() + eps)
            rows[some] = now
        self._forget()


def zeros_for_none(module: nn.Module) -> None:
    """A dense gradient is a tensor, of zeros where nothing was read."""
    for p in module.parameters():
        if p.grad is None:
            p.grad = torch.zeros_like(p)


def assert_same(found: nn.Module, wanted: nn.Module, dtype: torch.dtype = DOUBLE) -> None:
    state = found.state_dict()
    for name, value in wanted.state_dict().items():
        torch.testing.assert_close(state[name], value, **TOLERANCE[dtype], msg=lambda m, name=name: f"{name}: {m}")


KINDS: dict[str, tuple[Callable[..., TableOptimizer], dict[str, Any]]] = {
    "sgd": (SGD, {"lr": 0.02}),
    "adagrad": (Adagrad, {"lr": 0.05, "eps": 1e-10}),
    "rowwise": (RowWiseAdagrad, {"lr": 0.05, "eps": 1e-8}),
    "adam": (Adam, {"lr": 0.01, "eps": 1e-8}),
}


def single_ids(dtype: torch.dtype = DOUBLE, mode: Any = "sum") -> EmbeddingBagCollection:
    """Two tables of every kind that has a loop of its own, and two features of one of them."""
    methods = {
        "full": Full(), "mult": QuotientRemainder(25), "add": QuotientRemainder(25, "add"),
        "concat": QuotientRemainder(25, "concat"), "low_rank": LowRank(2), "generated": FeatureGeneration((10, 9)),
        "mixed": MixedDimension((30, 60), (6, 2)), "attributes": AttributePartitions(),
    }  # fmt: skip
    tables = [(attributed(name, ROWS, DIM, dtype=dtype, std=0.3), how) for name, how in methods.items()]
    torch.manual_seed(2)
    return EmbeddingBagCollection(tables, {**{name: name for name in methods}, "twice": "mult"}, mode=mode)
