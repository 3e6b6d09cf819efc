"""What all row-composed methods share: vectors made of a few rows, chosen by partitions.

A method of this kind only writes down a `RowComposition`: which small arrays there are, which partition picks the
row of an id in each, and the operation that makes one vector of the rows. Everything else follows from it here:
components, module, initial values and the fit to a trained table.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coset.errors import InputError
from coset.methods.base import Method
from coset.methods.composition import CHUNK, Distribution, Operation, Projection, RowComposition, RowPart
from coset.methods.fitting import alternating, columns_at_once, fitted_rows, principal
from coset.methods.graphs import unseen
from coset.methods.index import Indexed, code_of
from coset.methods.module import TableModule
from coset.partitions import Codes, Partition
from coset.schema import Component, LookupBytes, Table
from coset.storage.pages import in_large_pages


class Rows(Indexed):
    """Stored rows; all reading goes through here, so that narrower storage changes this class alone.

    Where the rows are picked by a column of `codes`, it is kept beside them, as index state.
    """

    weight: nn.Parameter
    codes: Tensor | None

    def __init__(self, rows: int, width: int, dtype: torch.dtype, codes: Codes | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(in_large_pages(torch.empty(rows, width, dtype=dtype)))
        if codes is None:
            self.register_buffer("codes", None)
        else:
            self.give("codes", torch.tensor(codes.stored, device="cpu"), self.weight.device)

    def forward(self, ids: Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False) -> Tensor:
        """Rows at `ids`, shape `(*ids.shape, width)`; the options are those of `torch.nn.functional.embedding`."""
        return rows_at(self.weight, ids, padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq)


def rows_at(weight: Tensor, ids: Tensor, **options: Any) -> Tensor:
    """`torch.nn.functional.embedding`, which without ids has no second derivative: its backward cannot be reshaped."""
    if not unseen(ids) and ids.numel() == 0:
        return weight[:0].reshape(*ids.shape, weight.shape[1])
    return F.embedding(ids, weight, **options)


@dataclass(frozen=True)
class RowMethod(Method):
    """A method whose vectors are composed of rows: its file only says how, in `composition`."""

    @abstractmethod
    def composition(self, table: Table) -> RowComposition:
        """How the vectors of `table` are made."""

    def _check_widths(self, operation: Operation, widths: Sequence[int] | None) -> None:
        """Refuse widths that no table can have: those below 1, and any for an operation other than concat."""
        if widths is not None:
            self._at_least(1, "widths")
            if operation != "concat":
                raise InputError(f"{self._what}: widths are for operation 'concat', not {operation!r}")

    def descriptor(self, table: Table) -> RowComposition:
        """How the vectors of `table` are made, after a check that this method fits it."""
        self.check(table)
        return self.composition(table)

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """Rows and where they are, products of them, and what a projection widens."""
        return self.descriptor(table).lookup_bytes(table)

    def components(self, table: Table) -> list[Component]:
        """The arrays of the composition."""
        return self.descriptor(table).components(table.dtype)

    def build(self, table: Table) -> RowModule:
        """A fresh module."""
        return RowModule(table, self, self.descriptor(table))


class RowModule(TableModule):
    """The parameters of a `RowComposition` and the lookup through it, in plain torch."""

    def __init__(self, table: Table, method: Method, composition: RowComposition) -> None:
        super().__init__(table, method)
        self.composition = composition
        for part in {part.name: part for part in composition.parts}.values():
            codes = part.partition if isinstance(part.partition, Codes) else None
            self.add_module(part.name, Rows(part.rows, part.width, table.dtype, codes))
        if (projection := composition.projection) is not None:
            self.add_module(projection.name, Affine(composition.width, composition.dim, table.dtype, projection.bias))
        self.reset_parameters()

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of `ids`."""
        vectors = self._project(self._combine([self._rows(part)(self._row_of(part, ids)) for part in self._parts]))
        return vectors if self.composition.outputs == 1 else vectors.reshape(*ids.shape, *self.vector_shape)

    def reset_parameters(self) -> None:
        """Draw fresh values by the law that each part names."""
        for part in {part.name: part for part in self._parts}.values():
            rows = self._rows(part)
            _draw_(rows.weight, part.std, part.distribution)
            rows.restore_index()
        if (projection := self.composition.projection) is not None:
            affine = self._affine(projection)
            _draw_(affine.weight, projection.std, projection.distribution)
            if affine.bias is not None:
                nn.init.zeros_(affine.bias)

    def projections(self) -> Iterator[nn.Parameter]:
        """The matrix of the projection, if there is one, and its bias."""
        if (projection := self.composition.projection) is not None:
            yield from self._affine(projection).parameters()

    @property
    def _parts(self) -> tuple[RowPart, ...]:
        return self.composition.parts

    def _rows(self, part: RowPart) -> Rows:
        return self.get_submodule(part.name)  # type: ignore[return-value]

    def _affine(self, projection: Projection) -> Affine:
        return self.get_submodule(projection.name)  # type: ignore[return-value]

    def _row_of(self, part: RowPart, ids: Tensor) -> Tensor:
        partition = part.partition
        if isinstance(partition, Partition) and partition.is_identity(self.table.num_embeddings):
            return ids
        codes = self._rows(part).codes
        rows: Tensor = partition(ids) if codes is None else code_of(codes, ids)
        return rows

    def _combine(self, vectors: list[Tensor]) -> Tensor:
        if len(vectors) == 1:
            return vectors[0]
        if self.composition.operation == "concat":
            return torch.cat(vectors, dim=-1)
        return reduce(torch.mul if self.composition.operation == "mult" else torch.add, vectors)

    def _project(self, vectors: Tensor) -> Tensor:
        projection = self.composition.projection
        if projection is None:
            return vectors
        widened: Tensor = self._affine(projection)(vectors)
        return widened

    # -- the fit to a trained table, in closed form ----------------------------------------------------------

    @torch.no_grad()
    def _fit(self, weight: Tensor, share: Tensor) -> None:
        target, parts = weight.flatten(1), self._parts
        if (projection := self.composition.projection) is not None:
            affine = self._affine(projection)
            target, basis, centre = principal(target, share, len(affine.weight), centred=affine.bias is not None)
            affine.weight.copy_(basis)
            if affine.bias is not None:
                affine.bias.copy_(centre)
        ids = torch.arange(len(target), device=target.device)
        rows = [self._row_of(part, ids) for part in parts]
        if self.composition.operation == "concat":
            pieces = torch.split(target, [part.width for part in parts], dim=-1)
            for part, piece, row in zip(parts, pieces, rows, strict=True):
                self._fit_parts([part], piece, share, [row])
        else:
            self._fit_parts(parts, target, share, rows)

    def _fit_parts(self, parts: Sequence[RowPart], target: Tensor, share: Tensor, rows: list[Tensor]) -> None:
        """The arrays of these parts, whose rows are summed or multiplied."""
        mult, one = self.composition.operation == "mult", len({part.name for part in parts}) < len(parts)
        for columns, some in columns_at_once(target):
            if one:
                fitted = [fitted_rows(some, share, torch.stack(rows, dim=1), parts[0].rows)] * len(parts)
            else:
                fitted = alternating(some, share, rows, [part.rows for part in parts], mult)
            for part, values in zip(parts, fitted, strict=True):
                self._rows(part).weight[:, columns] = values


class Affine(nn.Module):
    """`vectors @ weight + bias`, with `weight` of shape `(width, dim)` as in the papers."""

    def __init__(self, width: int, dim: int, dtype: torch.dtype, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, dim, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(dim, dtype=dtype)) if bias else None

    def forward(self, vectors: Tensor) -> Tensor:
        """Widened vectors, shape `(*vectors.shape[:-1], dim)`."""
        if unseen(vectors):  # in a graph the order of sums is its compiler's, and a number of chunks would bind it
            widened = vectors @ self.weight
            return widened if self.bias is None else widened + self.bias
        flat = vectors.reshape(-1, vectors.shape[-1])
        # In chunks of a fixed size, so that the gradient of the weight is summed in a fixed order: a product over the
        # whole batch is split among threads as the library likes, and its digits depend on their number.
        chunks = F.pad(flat, (0, 0, 0, -len(flat) % CHUNK)).reshape(-1, CHUNK, flat.shape[1])
        widened = torch.bmm(chunks, self.weight.expand(len(chunks), -1, -1)).reshape(-1, self.weight.shape[1])
        widened = widened[: len(flat)].reshape(*vectors.shape[:-1], self.weight.shape[1])
        return widened if self.bias is None else widened + self.bias


@torch.no_grad()
def _draw_(weight: Tensor, std: float, distribution: Distribution) -> None:
    if distribution == "normal":
        weight.normal_(0.0, std)
    elif distribution == "uniform":
        weight.uniform_(-std * 3**0.5, std * 3**0.5)
    else:
        wave = torch.arange(weight.shape[0], device=weight.device).unsqueeze(-1)
        element = torch.arange(weight.shape[1], device=weight.device)
        values = torch.cos(torch.pi / weight.shape[1] * (element + 0.5) * wave)
        weight.copy_(values * torch.where(wave == 0, 1.0, 2**0.5) * std)
