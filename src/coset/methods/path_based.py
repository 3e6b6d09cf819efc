"""`path_based`: a row of the first partition, passed through a small function for each further one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coset import formulas
from coset.errors import InputError
from coset.formulas import Formula
from coset.methods.base import Method, TableModule, make, register
from coset.methods.facts import Facts
from coset.methods.moduli import check_moduli
from coset.methods.rows import drawn
from coset.methods.sizing import rising, rows_at, spread, vector_bytes
from coset.partitions import balanced_moduli, mixed_radix
from coset.schema import Component, LookupBytes, Table

_SLOPE = 0.1
_ROOM = 2**24  # elements of gathered functions at one time in `materialize`


@register("path_based")
@dataclass(frozen=True)
class PathBased(Method):
    """Path-based compositional embeddings (Shi et al., 2019, arXiv 1909.02107).

    The row of id i in the first partition goes through one function for each further partition j, picked by the row of
    i there: `x ← W₂ f(W₁ x + b₁) + b₂`, with one hidden layer; f is a leaky relu, so that a narrow layer always has a
    gradient. The partitions are the digits of the id, so two ids differ in the row or in a function on the way.

    Bytes: `(m_1 · dim + Σ_(j>1) m_j · (2 · dim · hidden + hidden + dim)) · itemsize`. Operations: one row read and, for
    each further partition, `2 · dim · hidden` multiplications and as many reads. Vectors are unique almost surely.
    Prefer it where few buckets share many rows (4 collisions: m_1 = ⌈n / 4⌉ and 4 functions) and the product of QR is
    not expressive enough; it is the slowest of the family.

    Args:
        moduli: m_1 … m_k of product n or more: the rows of the array, then the number of functions of each step.
        hidden: width of the hidden layers; the paper tries 16 to 128.

    Example:
        >>> from coset.schema import Table
        >>> PathBased((1510, 4), hidden=16).bytes(Table("user", 6040, 16)) // 4 == 1510 * 16 + 4 * (2 * 256 + 32)
        True
    """

    moduli: tuple[int, ...]
    hidden: int = 16

    costly: ClassVar[bool] = True
    worth: ClassVar[float] = 0.5

    facts: ClassVar[Facts] = Facts(
        paper="Shi et al., 2019, arXiv 1909.02107",
        formula="f_k,p_k(i) ∘ … ∘ f_2,p_2(i) (E[p_1(i)]), f one hidden layer",
        elements="m_1 · D + Σ_(j>1) m_j · (2 · D · h + h + D)",
        operations="1 row, (k - 1) · 2 · D · h multiplications",
        uniqueness="probable",
        prefer="few collisions, where a product of rows is not expressive enough",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "moduli", "hidden")
        if not self.moduli:
            raise InputError(f"{self._what}: moduli must hold at least one number")

    def check(self, table: Table) -> None:
        """The partitions tell all ids apart."""
        check_moduli(table, self.name, self.moduli, balanced_moduli, mixed_radix)

    def components(self, table: Table) -> list[Component]:
        """The rows, then for each step both layers of all its functions, a function in a row."""
        self.check(table)
        dim, dtype = table.embedding_dim, table.dtype
        first, *steps = self.rows(table)
        found = self.storage.components("rows", first, dim, dtype)
        for number, functions in enumerate(steps):
            widths = {"inward": self.hidden * dim, "inward_bias": self.hidden,
                      "outward": dim * self.hidden, "outward_bias": dim}  # fmt: skip
            for what, width in widths.items():
                found += self.storage.components(f"steps.{number}.{what}", functions, width, dtype)
        return found

    def rows(self, table: Table) -> list[int]:
        """Rows of each partition that ids reach."""
        return [partition.rows(table.num_embeddings) for partition in mixed_radix(self.moduli)]

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """For each step, both layers of the function of an id and their outputs; and the gradients of one step."""
        dim, hidden = table.embedding_dim, self.hidden
        step = (2 * dim * hidden + 3 * hidden + 3 * dim) * table.dtype.itemsize
        steps = len(self.moduli) - 1
        vector = vector_bytes(self, table)
        return LookupBytes(8 * len(self.moduli) + steps * step, 2 * vector, (step if steps else 0) + vector)

    def formula(self, table: Table) -> Formula:
        """A row, passed through the layers of each step: matrices times a vector."""
        first, *others = (formulas.row_map(partition) for partition in mixed_radix(self.moduli))
        found = formulas.rows("rows", first)
        for number, at in enumerate(others):
            inward, inward_bias, outward, outward_bias = (
                formulas.rows(f"steps.{number}.{what}", at)
                for what in ("inward", "inward_bias", "outward", "outward_bias")
            )
            inside = formulas.joined("add", [formulas.product(inward, found, table.embedding_dim), inward_bias])
            inside = formulas.activated(inside, "leaky_relu", slope=_SLOPE)
            found = formulas.joined("add", [formulas.product(outward, inside, self.hidden), outward_bias])
        return found

    def build(self, table: Table) -> PathModule:
        """A fresh module."""
        self.check(table)
        return PathModule(table, self)

    @classmethod
    def sizes(cls, table: Table, *, parts: int = 2, **fixed: Any) -> Sequence[Self]:
        """`parts` partitions, from the fewest bytes: the rows grow up to n, the functions shrink in number."""
        if "moduli" in fixed:
            return [make(cls, fixed)]
        n = table.num_embeddings
        families = [
            (first, *balanced_moduli(-(-n // first), parts - 1)) if parts > 1 else (first,)
            for first in spread(balanced_moduli(n, parts)[0], n)
        ]
        return rising((make(cls, {"moduli": moduli} | fixed) for moduli in families), table)

    @classmethod
    def for_collisions(cls, table: Table, collisions: int, **fixed: Any) -> Self:
        """⌈n / collisions⌉ rows, and a function for each id that shares one."""
        first = rows_at(table, collisions)
        return make(cls, {"moduli": (first, -(-table.num_embeddings // first))} | fixed)

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """One step at about 4 collisions, two steps, and none."""
        n = table.num_embeddings
        return [cls((-(-n // 4), 4), 4), cls((-(-n // 6), 2, 3), 3), cls((n,))]


class PathModule(TableModule):
    """The rows, and stacked layers for each further partition."""

    def __init__(self, table: Table, method: PathBased) -> None:
        super().__init__(table, method)
        self.partitions = mixed_radix(method.moduli)
        first, *steps = method.rows(table)
        self.rows = method.storage.build(first, table.embedding_dim, table.dtype)
        self.steps = nn.ModuleList(_Step(functions, method, table) for functions in steps)
        self.ids_at_once = max(1, min(self.ids_at_once, _ROOM // (table.embedding_dim * method.hidden)))
        self.reset_parameters()

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of `ids`."""
        first, *others = self.partitions
        flat = ids.reshape(-1)
        vectors: Tensor = self.rows(first(flat))
        for partition, step in zip(others, self.steps, strict=True):
            vectors = step(vectors, partition(flat))
        return vectors.reshape(*ids.shape, self.table.embedding_dim)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Rows of deviation `table.std`, functions that keep it, biases of zero."""
        self.rows.draw_(drawn(self.table.std, "normal"))
        for step in cast("list[_Step]", list(self.steps)):
            step.reset_parameters()


class _Step(nn.Module):
    """One function a bucket: one hidden layer, each layer of all functions in one array."""

    def __init__(self, functions: int, method: PathBased, table: Table) -> None:
        super().__init__()
        self.dim, self.hidden = table.embedding_dim, method.hidden
        build = method.storage.build
        self.inward = build(functions, self.hidden * self.dim, table.dtype)
        self.inward_bias = build(functions, self.hidden, table.dtype)
        self.outward = build(functions, self.dim * self.hidden, table.dtype)
        self.outward_bias = build(functions, self.dim, table.dtype)

    def forward(self, vectors: Tensor, bucket: Tensor) -> Tensor:
        """Each vector, shape `(ids, dim)`, through the function of its bucket."""
        inward = self.inward(bucket).view(-1, self.hidden, self.dim)
        outward = self.outward(bucket).view(-1, self.dim, self.hidden)
        inside = F.leaky_relu((inward @ vectors.unsqueeze(-1)).squeeze(-1) + self.inward_bias(bucket), _SLOPE)
        moved: Tensor = (outward @ inside.unsqueeze(-1)).squeeze(-1) + self.outward_bias(bucket)
        return moved

    def reset_parameters(self) -> None:
        """Layers that keep the mean square, of which the leaky relu leaves (1 + slope²) / 2."""
        self.inward.draw_(drawn(self.dim**-0.5, "normal"))
        self.outward.draw_(drawn((self.hidden * (1 + _SLOPE**2) / 2) ** -0.5, "normal"))
        self.inward_bias.draw_(nn.init.zeros_)
        self.outward_bias.draw_(nn.init.zeros_)
