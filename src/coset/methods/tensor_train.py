"""`tensor_train`: the table as a product of three small cores, picked by the digits of an id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from coset import formulas
from coset.errors import InputError
from coset.formulas import Formula
from coset.methods.base import Method, TableModule, make, register
from coset.methods.facts import Facts
from coset.methods.moduli import check_moduli
from coset.methods.rows import drawn
from coset.methods.sizing import rising, vector_bytes
from coset.partitions import Partition, balanced_moduli, mixed_radix
from coset.schema import Component, LookupBytes, Table
from coset.storage import StoredRows

_CORES = 3
_SWEEPS = 40
_MOST_RANK = 32  # that the fit solves exactly; its matrices have rank² rows
_MOST_RANK_OFFERED = 512


@register("tensor_train")
@dataclass(frozen=True)
class TensorTrain(Method):
    """Tensor-train embeddings, TT-Rec (Yin, Acun, Liu and Wu, 2021, arXiv 2101.11714): the digits i_1, i_2, i_3 of an
    id pick a slice of each of three cores, and the vector is their matrix product.

    With n ≤ n_1 · n_2 · n_3 and dim = d_1 · d_2 · d_3, the slices have the shapes (d_1, r), (r, d_2, r) and (r, d_3).

    Bytes: `(n_1 · d_1 · r + n_2 · r · d_2 · r + n_3 · r · d_3) · itemsize`. Operations: three rows read and
    `d_1 · d_2 · r² + dim · r` multiplications. Vectors are unique almost surely. The fit to a trained table is
    TT-SVD, then alternating least squares. Prefer it at ratios of hundreds, for tables of millions of ids and wide
    vectors; at small ratios it is slow for the bytes that it saves.

    Args:
        rank: r, the inner dimension of the matrix products.
        row_shape: n_1, n_2, n_3, of product n or more; by default the most equal, `balanced_moduli(n, 3)`.
        dim_shape: d_1, d_2, d_3, of product dim; by default the most equal.

    Example:
        >>> from coset.schema import Table
        >>> [c.shape for c in TensorTrain(rank=8).components(Table("user", 6040, 64))]
        [(19, 32), (18, 256), (18, 32)]
    """

    rank: int
    row_shape: tuple[int, ...] | None = None
    dim_shape: tuple[int, ...] | None = None

    costly: ClassVar[bool] = True
    worth: ClassVar[float] = 0.05

    facts: ClassVar[Facts] = Facts(
        paper="Yin et al., 2021, arXiv 2101.11714",
        formula="G_1[i_1] · G_2[i_2] · G_3[i_3], matrix products of rank r",
        elements="about n^(1/3) · D^(1/3) · (2 r + r²)",
        operations="3 rows, d_1 · d_2 · r² + D · r multiplications",
        uniqueness="probable",
        prefer="ratios of hundreds on millions of ids",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "rank")
        for what in ("row_shape", "dim_shape"):
            if (shape := getattr(self, what)) is not None:
                self._at_least(1, what)
                if len(shape) != _CORES:
                    raise InputError(f"{self._what}: {what} must hold {_CORES} numbers, not {list(shape)}")

    def check(self, table: Table) -> None:
        """The shapes fit the number of ids and the dim."""
        n, dim = table.num_embeddings, table.embedding_dim
        if self.row_shape is not None and prod(self.row_shape) < n:
            raise InputError(
                f"table {table.name!r}: tensor_train needs a row_shape of product {n} or more, such as "
                f"{list(balanced_moduli(n, _CORES))}, not {list(self.row_shape)}"
            )
        if self.row_shape is not None:
            check_moduli(table, self.name, self.row_shape, balanced_moduli, mixed_radix)
        if self.dim_shape is not None and prod(self.dim_shape) != dim:
            raise InputError(
                f"table {table.name!r}: tensor_train needs a dim_shape of product {dim}, such as "
                f"{list(_equal_factors(dim))}, not {list(self.dim_shape)}"
            )

    def partitions(self, table: Table) -> Sequence[Partition]:
        """The digits of an id."""
        return mixed_radix(self.row_shape or balanced_moduli(table.num_embeddings, _CORES))

    def slices(self, table: Table) -> list[tuple[int, int, int]]:
        """Shape of a slice of each core: rank before, elements of the dim, rank behind."""
        first, second, third = self.dim_shape or _equal_factors(table.embedding_dim)
        return [(1, first, self.rank), (self.rank, second, self.rank), (self.rank, third, 1)]

    def components(self, table: Table) -> list[Component]:
        """The cores, a slice in a row."""
        self.check(table)
        shapes = zip(self.partitions(table), self.slices(table), strict=True)
        return [
            component
            for number, (partition, slice_) in enumerate(shapes)
            for component in self.storage.components(
                f"core{number}", partition.rows(table.num_embeddings), prod(slice_), table.dtype
            )
        ]

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """The slices of an id, the product of the first two, and the gradients of all of these."""
        slices = self.slices(table)
        left = slices[0][1] * slices[1][1] * self.rank
        numbers = (sum(prod(slice_) for slice_ in slices) + left) * table.dtype.itemsize
        vector = vector_bytes(self, table)
        return LookupBytes(numbers + 24, vector + 40, numbers + vector)

    def formula(self, table: Table) -> Formula:
        """The product of the slices of the three cores."""
        first, second, third = (
            formulas.rows(f"core{number}", formulas.row_map(partition))
            for number, partition in enumerate(self.partitions(table))
        )
        return formulas.product(formulas.product(first, second, self.rank), third, self.rank)

    def build(self, table: Table) -> TrainModule:
        """A fresh module."""
        self.check(table)
        return TrainModule(table, self)

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """Ranks from 1 to the last that is no larger than the full table, at most 512."""
        if "rank" in fixed:
            return [make(cls, fixed)]
        return rising((make(cls, {"rank": rank} | fixed) for rank in range(1, _MOST_RANK_OFFERED + 1)), table)

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """Ranks 1 and 3 with shapes chosen, and shapes given."""
        n, dim = table.num_embeddings, table.embedding_dim
        return [cls(1), cls(3), cls(2, (n, 1, 1), (1, 1, dim))]


class TrainModule(TableModule):
    """Three cores."""

    def __init__(self, table: Table, method: TensorTrain) -> None:
        super().__init__(table, method)
        self.partitions, self.slices = method.partitions(table), method.slices(table)
        for number, (partition, slice_) in enumerate(zip(self.partitions, self.slices, strict=True)):
            rows = partition.rows(table.num_embeddings)
            self.add_module(f"core{number}", method.storage.build(rows, prod(slice_), table.dtype))
        self.reset_parameters()

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of `ids`."""
        first, second, third = self._read(ids.reshape(-1))
        elements, rank = first.shape[2] * second.shape[2], third.shape[1]
        left = (first.squeeze(1) @ second.flatten(2)).view(first.shape[0], elements, rank)
        vectors = left @ third.squeeze(-1)
        return vectors.reshape(*ids.shape, self.table.embedding_dim)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Cores that keep the deviation 1 along the train, and `table.std` in the last: if all were small, every
        gradient would be too."""
        rank = self.slices[0][2]
        for core, std in zip(self._cores, (1.0, rank**-0.5, self.table.std * rank**-0.5), strict=True):
            core.draw_(drawn(std, "normal"))

    @property
    def _cores(self) -> list[StoredRows]:
        return [cast("StoredRows", self.get_submodule(f"core{number}")) for number in range(_CORES)]

    def _read(self, ids: Tensor) -> list[Tensor]:
        """The slices of flat ids, each of shape `(ids, rank before, elements, rank behind)`."""
        return [
            core(partition(ids)).view(ids.shape[0], *slice_)
            for core, partition, slice_ in zip(self._cores, self.partitions, self.slices, strict=True)
        ]

    @torch.no_grad()
    def _fit(self, weight: Tensor, share: Tensor) -> None:
        """TT-SVD, which ignores weights, then alternating least squares: solves each core in turn exactly, slice by
        slice, with the others held."""
        ids = torch.arange(len(weight), device=weight.device)
        digits = [partition(ids) for partition in self.partitions]
        target = weight.double().view(-1, *(elements for _, elements, _ in self.slices))
        cores = _decomposed(target, digits, [core.rows for core in self._cores], rank := self.slices[0][2])
        if rank <= _MOST_RANK:
            _alternate(cores, target, digits, share)
        self._keep(cores)
        if rank > _MOST_RANK:
            with torch.enable_grad():
                super()._fit(weight, share)

    def _keep(self, cores: list[Tensor]) -> None:
        """Store these cores, scaled relative to each other as fresh ones are, so that training continues well."""
        rank = self.slices[0][2]
        first, second = cores[0].square().mean().sqrt(), cores[1].square().mean().sqrt() * rank**0.5
        scales = (1 / first, 1 / second, first * second) if bool(first * second > 0) else (1.0, 1.0, 1.0)
        for core, values, scale in zip(self._cores, cores, scales, strict=True):
            core.write_(values.flatten(1) * scale)


def _decomposed(target: Tensor, digits: list[Tensor], rows: list[int], rank: int) -> list[Tensor]:
    """The cores by TT-SVD (Oseledets, 2011, SIAM J. Sci. Comput. 33): the table has three axes, each a digit with a
    piece of the vector, and is split along one after another by its leading singular vectors. Ids beyond the table
    count as zeros."""
    _, d_1, d_2, d_3 = target.shape
    n_1, n_2, n_3 = rows
    whole = target.new_zeros(*rows, d_1, d_2, d_3)
    whole[tuple(digits)] = target
    first, rest = _split(whole.permute(0, 3, 1, 4, 2, 5).reshape(n_1 * d_1, -1), rank)
    second, third = _split(rest.reshape(rank * n_2 * d_2, n_3 * d_3), rank)
    return [
        first.view(n_1, 1, d_1, rank),
        second.view(rank, n_2, d_2, rank).transpose(0, 1).contiguous(),
        third.view(rank, n_3, d_3, 1).transpose(0, 1).contiguous(),
    ]


def _split(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """`(left, right)` whose product comes nearest to `matrix`, of shapes `(rows, rank)` and `(rank, columns)`."""
    if len(matrix) <= matrix.shape[1]:
        left = torch.linalg.eigh(matrix @ matrix.t()).eigenvectors[:, -rank:]
        right = left.t() @ matrix
    else:
        right = torch.linalg.eigh(matrix.t() @ matrix).eigenvectors[:, -rank:].t()
        left = matrix @ right.t()
    more = rank - left.shape[1]
    return F.pad(left, (0, more)), F.pad(right, (0, 0, 0, more))


def _alternate(cores: list[Tensor], target: Tensor, digits: list[Tensor], share: Tensor) -> None:
    """Changes the cores in place, until a sweep over all slices lowers the error no further."""
    error = float("inf")
    for _ in range(_SWEEPS):
        for number in (2, 1, 0):
            for row in range(len(cores[number])):
                at = torch.nonzero(digits[number] == row).squeeze(-1)
                if len(at):
                    others = [core[digit[at]] for core, digit in zip(cores, digits, strict=True)]
                    cores[number][row] = _solved(number, others, target[at], share[at], cores[number][row])
        found = [core[digit] for core, digit in zip(cores, digits, strict=True)]
        whole = torch.einsum("nxar,nrbs,nscy->nabc", *found)
        previous, error = error, float(((whole - target).square().flatten(1).mean(-1) * share).sum())
        if previous - error <= 1e-4 * error:
            break


def _solved(number: int, slices: list[Tensor], target: Tensor, share: Tensor, held: Tensor) -> Tensor:
    """The slice of core `number` for these ids that leaves the least weighted error, given their other slices."""
    first, second, third = slices
    one = target.new_ones(len(target), 1, 1)
    if number == 0:
        behind = torch.einsum("nrbs,nscy->nrbc", second, third).flatten(2)
        before, wanted = one, target.flatten(2).unsqueeze(1)
    elif number == 1:
        before, behind, wanted = first.squeeze(1), third.squeeze(-1), target
    else:
        before = torch.einsum("nxar,nrbs->nabs", first, second).flatten(1, 2)
        behind, wanted = one, target.flatten(1, 2).unsqueeze(-1)
    if not bool(share.max() > 0):
        return held
    share = share / share.max()  # that of an id may be next to nothing beside the others'
    # The slice X has shape (p, e, q); the model is before (a, p) · X · behind (q, c), for each id.
    weight = share[:, None, None]
    left = (before.transpose(1, 2) @ before * weight).flatten(1)
    right = (behind @ behind.transpose(1, 2)).flatten(1)
    p, q = before.shape[2], behind.shape[1]
    normal = (left.t() @ right).view(p, p, q, q).permute(0, 2, 1, 3).reshape(p * q, p * q)
    moment = torch.einsum("nap,naec,nqc,n->pqe", before, wanted, behind, share).reshape(p * q, -1)
    size = normal.diagonal().mean()
    if not bool(size > 0):
        return held
    normal = normal + torch.eye(p * q, dtype=normal.dtype, device=normal.device) * 1e-10 * size
    found: Tensor = torch.linalg.solve(normal, moment)
    return found.view(p, q, -1).permute(0, 2, 1)


def _equal_factors(dim: int) -> tuple[int, int, int]:
    """Three factors of `dim` with the smallest sum, the largest first.

    Example:
        >>> _equal_factors(64), _equal_factors(16), _equal_factors(7)
        ((4, 4, 4), (4, 2, 2), (7, 1, 1))
    """
    found = [
        (dim // (second * third), second, third)
        for third in range(1, round(dim ** (1 / 3)) + 1)
        if dim % third == 0
        for second in range(third, dim // third + 1)
        if (dim // third) % second == 0 and dim // (second * third) >= second
    ]
    return min(found, key=sum)
