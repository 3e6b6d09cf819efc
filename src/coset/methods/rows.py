"""The base of row-composed methods, whose vectors are composed of a few rows, chosen by partitions.

A method of this kind only defines a `RowComposition`: which small arrays there are, which partition picks the
row of an id in each, and the operation that makes one vector of the rows. Everything else follows from it here:
components, module, initial values and the fit to a trained table.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coset.errors import InputError
from coset.methods.base import Method, TableModule
from coset.methods.composition import CHUNK, Distribution, Operation, RowComposition, RowPart, codes_of
from coset.methods.fitting import alternating, columns_at_once, fitted_rows, principal, principal_axes, sum_by
from coset.methods.index import code_of
from coset.partitions import Codes, Partition
from coset.schema import Component, LookupBytes, Table
from coset.storage import StoredRows
from coset.storage.graphs import unseen
from coset.vectors import InMemory, Vectors


@dataclass(frozen=True)
class RowMethod(Method):
    """A method whose vectors are composed of rows: its file only says how, in `composition`."""

    @abstractmethod
    def composition(self, table: Table) -> RowComposition:
        """The composition of the vectors of `table`."""

    def _check_widths(self, operation: Operation, widths: Sequence[int] | None) -> None:
        """Refuse widths that no table can have: those below 1, and any for an operation other than concat."""
        if widths is not None:
            self._at_least(1, "widths")
            if operation != "concat":
                raise InputError(f"{self._what}: widths are for operation 'concat', not {operation!r}")

    def descriptor(self, table: Table) -> RowComposition:
        """The composition of the vectors of `table`, after a check that this method fits it."""
        self.check(table)
        return self.composition(table).stored(self.storage)

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
            self.add_module(part.name, part.storage.build(part.rows, part.width, table.dtype))
            if isinstance(part.partition, Codes):
                codes = torch.tensor(part.partition.stored, device="cpu")
                self.give(codes_of(part.name), codes, self._stored(part.name).device)
        if (projection := composition.projection) is not None:
            build = projection.storage.build
            self.add_module(projection.name, build(composition.width, composition.dim, table.dtype))
            if projection.bias_name is not None:
                self.add_module(projection.bias_name, build(1, composition.dim, table.dtype))
        self.reset_parameters()

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of `ids`."""
        rows = [self._stored(part.name)(self._row_of(part, ids)) for part in self._parts]
        vectors = self._project(self._combine(rows))
        return vectors if self.composition.outputs == 1 else vectors.reshape(*ids.shape, *self.vector_shape)

    def reset_parameters(self) -> None:
        """Draw fresh values by the law that each part names."""
        for part in {part.name: part for part in self._parts}.values():
            self._stored(part.name).draw_(drawn(part.std, part.distribution))
        self.restore_index()
        if (projection := self.composition.projection) is not None:
            self._stored(projection.name).draw_(drawn(projection.std, projection.distribution))
            if projection.bias_name is not None:
                self._stored(projection.bias_name).draw_(nn.init.zeros_)

    @torch.no_grad()
    def shorten_(self, factors: Tensor) -> None:
        """The rows of parts without collisions."""
        for part in self._parts:
            if isinstance(part.partition, Partition) and part.partition.is_identity(self.table.num_embeddings):
                stored = self._stored(part.name)
                whole = stored.whole()
                stored.write_(whole * factors.to(whole).unsqueeze(-1))

    def projections(self) -> Iterator[Tensor]:
        """The matrix of the projection, if there is one, and its bias; codes and steps of these among them."""
        if (projection := self.composition.projection) is not None:
            for name in (projection.name, projection.bias_name):
                if name is not None:
                    yield from chain(self._stored(name).parameters(), self._stored(name).buffers())

    @torch.no_grad()
    def reads(self) -> Iterator[tuple[StoredRows, Tensor]]:
        """Of the arrays of its parts."""
        counts = self.table.frequencies
        if counts is None or not counts.any() or self.device.type == "meta":
            return
        found: dict[str, Tensor] = {}
        for part in self._parts:
            if not self._stored(part.name).adjusted:  # rounding loses nothing there
                continue
            total = found.setdefault(part.name, torch.zeros(part.rows, dtype=torch.float64, device=self.device))
            for start in range(0, len(counts), CHUNK):
                some = torch.tensor(counts[start : start + CHUNK], dtype=torch.float64, device=self.device)
                rows = self._row_of(part, torch.arange(start, start + len(some), device=self.device))
                if rows.dim() > 1:
                    some = some.unsqueeze(1).expand(rows.shape)
                total.index_add_(0, rows.reshape(-1), some.reshape(-1))
        for name, total in found.items():
            yield self._stored(name), total

    @property
    def _parts(self) -> tuple[RowPart, ...]:
        return self.composition.parts

    def _stored(self, name: str) -> StoredRows:
        return self.get_submodule(name)  # type: ignore[return-value]

    def _row_of(self, part: RowPart, ids: Tensor) -> Tensor:
        partition = part.partition
        if isinstance(partition, Partition) and partition.is_identity(self.table.num_embeddings):
            return ids
        if isinstance(partition, Codes):
            return code_of(self.get_buffer(codes_of(part.name)), ids)
        rows: Tensor = partition(ids)
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
        bias = None if projection.bias_name is None else self._stored(projection.bias_name).whole()
        return widen(vectors, self._stored(projection.name).whole(), bias)

    # -- the fit to a trained table, in closed form ----------------------------------------------------------

    @torch.no_grad()
    def _fit(self, weight: Tensor, share: Tensor) -> None:
        target, parts = weight.flatten(1), self._parts
        if (projection := self.composition.projection) is not None:
            target, basis, centre = principal(target, share, self.composition.width, centred=projection.bias)
            self._stored(projection.name).write_(basis)
            if projection.bias_name is not None:
                self._stored(projection.bias_name).write_(centre.reshape(1, -1))
        ids = torch.arange(len(target), device=target.device)
        rows = [self._row_of(part, ids) for part in parts]
        if self.composition.operation == "concat":
            pieces = torch.split(target, [part.width for part in parts], dim=-1)
            for part, piece, row in zip(parts, pieces, rows, strict=True):
                self._fit_parts([part], piece, share, [row])
        else:
            self._fit_parts(parts, target, share, rows)

    @property
    def fits_in_pieces(self) -> bool:
        """Where a vector has one row."""
        return len(self._parts) == 1

    @torch.no_grad()
    def _fit_from(self, vectors: Vectors, share: Tensor) -> None:
        (part,) = self._parts
        if (projection := self.composition.projection) is not None:
            basis, centre = principal_axes(vectors, share, self.composition.width, centred=projection.bias)
            self._stored(projection.name).write_from_(InMemory(basis))
            if projection.bias_name is not None:
                self._stored(projection.bias_name).write_from_(InMemory(centre.reshape(1, -1)))
            vectors = vectors.times(basis.t(), centre)
        if isinstance(part.partition, Partition) and part.partition.is_identity(self.table.num_embeddings):
            self._stored(part.name).write_from_(vectors, share)
            return
        mass = torch.zeros(part.rows, dtype=torch.float64)
        sums = torch.zeros(part.rows, vectors.width, dtype=torch.float64)
        for ids, numbers in vectors.pieces():
            rows = self._row_of(part, ids)
            mass.index_add_(0, rows, share[ids])
            sums.index_add_(0, rows, numbers.double() * share[ids, None])
        means = torch.where(mass > 0, mass, 1.0).reciprocal()[:, None] * sums
        self._stored(part.name).write_from_(InMemory(means), mass)

    def _fit_parts(self, parts: Sequence[RowPart], target: Tensor, share: Tensor, rows: list[Tensor]) -> None:
        """The arrays of these parts, whose rows are summed or multiplied."""
        mult, one = self.composition.operation == "mult", len({part.name for part in parts}) < len(parts)
        for columns, some in columns_at_once(target):
            if one:
                fitted = [fitted_rows(some, share, torch.stack(rows, dim=1), parts[0].rows)] * len(parts)
            else:
                fitted = alternating(some, share, rows, [part.rows for part in parts], mult)
            for part, values, row in zip(parts, fitted, rows, strict=True):
                weights = sum_by(share, row, part.rows)
                self._stored(part.name).write_(values, columns=columns, weights=weights)


def widen(vectors: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """`vectors @ matrix + bias`, shape `(*vectors.shape[:-1], dim)`, with a `matrix` of shape `(width, dim)` as in the
    papers and a `bias` of shape `(1, dim)`."""
    if unseen(vectors):  # in a graph the compiler orders the sums, and a number of chunks would fix the batch size
        widened = vectors @ matrix
    else:
        # In chunks of a fixed size, so that the gradient of the matrix is summed in a fixed order: a product over the
        # whole batch is split among threads by the library, so its digits depend on their number.
        flat = vectors.reshape(-1, vectors.shape[-1])
        chunks = F.pad(flat, (0, 0, 0, -len(flat) % CHUNK)).reshape(-1, CHUNK, flat.shape[1])
        widened = torch.bmm(chunks, matrix.expand(len(chunks), -1, -1)).reshape(-1, matrix.shape[1])
        widened = widened[: len(flat)].reshape(*vectors.shape[:-1], matrix.shape[1])
    return widened if bias is None else widened + bias[0]


def drawn(std: float, distribution: Distribution) -> Callable[[Tensor], Any]:
    """The function that fills an array by this law, with mean 0 and this deviation; of an array on the meta device,
    which holds no numbers, nothing, as torch would first load its compiler, for seconds."""
    law = _law(std, distribution)
    return lambda array: array if array.is_meta else law(array)


def _law(std: float, distribution: Distribution) -> Callable[[Tensor], Any]:
    if distribution == "normal":
        return lambda array: array.normal_(0.0, std)
    if distribution == "uniform":
        return lambda array: array.uniform_(-std * 3**0.5, std * 3**0.5)

    def waves(array: Tensor) -> None:
        wave = torch.arange(array.shape[0], device=array.device).unsqueeze(-1)
        element = torch.arange(array.shape[1], device=array.device)
        values = torch.cos(torch.pi / array.shape[1] * (element + 0.5) * wave)
        array.copy_(values * torch.where(wave == 0, 1.0, 2**0.5) * std)

    return waves
