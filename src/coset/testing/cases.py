"""The cases of the suite: a method with its choices made, on a table that they fit."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import isqrt
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor, nn

from coset import tables
from coset.methods import Method, TableModule
from coset.schema import EXTRA, Table
from coset.storage import StoredRows
from coset.storage.forms import pack_

DOUBLE = torch.float64


def attributed(name: str, num_embeddings: int, embedding_dim: int, **options: Any) -> Table:
    """A table whose ids have two attributes, which tell them apart only together and in no order."""
    ids = np.arange(num_embeddings)
    mixed, base = ids * 7 % num_embeddings if num_embeddings % 7 else ids, isqrt(num_embeddings)
    attributes = {"make": mixed // base, "year": mixed % base}
    return Table(name, num_embeddings, embedding_dim, attributes=attributes, **options)


SMALL = (
    attributed("one", 1, 1),
    attributed("odd", 7, 3),
    attributed("even", 10, 4),
    attributed("wider_than_long", 5, 16),
    attributed("prime", 101, 8),
    attributed("round", 100, 16),
)
"""Few ids and many, dims odd and even, sizes that divide well and badly."""


def named(*names: str) -> tuple[Table, ...]:
    """The tables of `SMALL` with these names."""
    return tuple(table for table in SMALL if table.name in names)


ROOMY = attributed("roomy", 1000, 16)
"""A table that every variant of every method should fit."""


@dataclass(frozen=True)
class Case:
    """One method, with its choices made, on one table."""

    table: Table
    method: Method

    def __str__(self) -> str:
        n, dim = self.table.num_embeddings, self.table.embedding_dim
        return f"{self.method!r} on table {self.table.name!r} ({n} x {dim})"

    @property
    def double(self) -> Case:
        """The same in float64, for comparisons that are not about rounding."""
        return Case(replace(self.table, dtype=DOUBLE), self.method)

    @property
    def fixed(self) -> dict[str, Any]:
        """The fields that name a variant (those with a `Literal` type), as `sizes` and `for_budget` take them."""
        return {field: getattr(self.method, field) for field in literals(type(self.method))}

    @property
    def own_deviation(self) -> bool:
        """Whether the variant has initial values of its own: a layout that copies Keras, at any depth."""
        return '"layout": "keras"' in json.dumps(self.method.to_json())

    def seeded(self, seed: int) -> TableModule:
        """A fresh module under this seed."""
        seed_cpu(seed)
        return self.method.build(self.table)

    def embedding(self, seed: int = 0, **options: Any) -> tables.Embedding:
        """A fresh `Embedding` under this seed."""
        seed_cpu(seed)
        return tables.Embedding.from_table(self.table, self.method, **options)

    def bag(self, seed: int = 0, **options: Any) -> tables.EmbeddingBag:
        """A fresh `EmbeddingBag` under this seed."""
        seed_cpu(seed)
        return tables.EmbeddingBag.from_table(self.table, self.method, **options)

    def ids(self, *shape: int, seed: int = 0) -> Tensor:
        """Ids of the table at random, the first and the last among them."""
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(self.table.num_embeddings, shape, generator=generator)
        if ids.numel() > 1:
            ids.view(-1)[0], ids.view(-1)[-1] = self.table.num_embeddings - 1, 0
        return ids

    @property
    def every_id(self) -> Tensor:
        """All ids of the table, ascending."""
        return torch.arange(self.table.num_embeddings)

    def shape(self, *ids: int) -> tuple[int, ...]:
        """Shape of the vectors of ids of this shape."""
        return (*ids, *self.method.vector_shape(self.table))


@cache
def literals(kind: type[Method]) -> dict[str, tuple[Any, ...]]:
    """The fields of a method that have a `Literal` type, with their values."""
    hints = get_type_hints(kind)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}


def uncovered(kind: type[Method], table: Table = ROOMY) -> list[str]:
    """The variants that `kind.examples(table)` leaves out, as `field=value`."""
    examples = kind.examples(table)
    return [
        f"{field}={value!r}"
        for field, values in literals(kind).items()
        for value in values
        if not any(getattr(example, field) == value for example in examples)
    ]


def arrays(module: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    """The stored arrays of a module as floats, by name; what is stored as floats is not copied."""
    inner = ((name, of) for name, of in module.named_modules() if isinstance(of, StoredRows))
    return {name: of.whole().detach().numpy() for name, of in inner}


def stored(module: nn.Module) -> dict[str, Tensor]:
    """The state of a module, packed, without its description: the arrays that count as stored."""
    return {key: value for key, value in pack_(copy.deepcopy(module)).state_dict().items() if not key.endswith(EXTRA)}


def seed_cpu(seed: int) -> None:
    """Seed the generator of the CPU, on which the suite runs; `torch.manual_seed` seeds those of all devices, and notes
    for each that is not there where it was called from, which takes a millisecond."""
    torch.default_generator.manual_seed(seed)


def direction(like: Tensor, seed: int = 0) -> Tensor:
    """A fixed random tensor of the same shape: multiplied in, it gives every element a gradient of its own."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


def gradients(module: nn.Module, value: Tensor) -> dict[str, Tensor | None]:
    """The gradient of every parameter under a fixed random direction of `value`."""
    module.zero_grad(set_to_none=True)
    (value * direction(value.detach())).sum().backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in module.named_parameters()}


def difference(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> str | None:
    """The first key under which two states are not equal bit for bit, or None."""
    for key in sorted({*left, *right}):
        if key not in left or key not in right or not equal(left[key], right[key]):
            return key
    return None


def equal(left: Tensor | None, right: Tensor | None) -> bool:
    """Whether two tensors hold the same bits."""
    if left is None or right is None:
        return left is right
    return left.dtype == right.dtype and torch.equal(left, right)


def near(left: Tensor, right: Tensor, relative: float = 1e-12, absolute: float = 1e-14) -> bool:
    """Whether two tensors agree in shape and, within rounding, in value."""
    return left.shape == right.shape and torch.allclose(left, right, rtol=relative, atol=absolute)
