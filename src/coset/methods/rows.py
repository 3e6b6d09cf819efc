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

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coset.errors import InputError
from coset.kernels.room import in_large_pages
from coset.methods.base import Method, TableModule
from coset.methods.composition import CHUNK, Distribution, Operation, Projection, RowComposition, RowPart
from coset.methods.fitting import fitted_rows
from coset.partitions import Codes, Partition
from coset.schema import Component, LookupBytes, Table

_RESTARTS = 8


class Rows(nn.Module):
    """Stored rows; all reading goes through here, so that narrower storage changes this class alone.

    Where the rows are picked by a column of `codes`, it is kept beside them, as index state.
    """

    weight: nn.Parameter
    codes: Tensor | None

    def __init__(self, rows: int, width: int, dtype: torch.dtype, codes: Codes | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(in_large_pages(torch.empty(rows, width, dtype=dtype)))
        self.register_buffer("codes", None if codes is None else torch.tensor(codes.codes))

    def forward(self, ids: Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False) -> Tensor:
        """Rows at `ids`, shape `(*ids.shape, width)`; the options are those of `torch.nn.functional.embedding`."""
        return F.embedding(ids, self.weight, padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq)


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
            _draw_(self._rows(part).weight, part.std, part.distribution)
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
        rows: Tensor = partition(ids) if codes is None else codes[ids].long()
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
        target = weight.double().flatten(1)
        if (projection := self.composition.projection) is not None:
            affine = self._affine(projection)
            if affine.bias is not None:
                centre = share @ target
                affine.bias.copy_(centre)
                target = target - centre
            target, basis = _principal(target, share, affine.weight.shape[0])
            affine.weight.copy_(basis)
        rows = [self._row_of(part, torch.arange(len(target), device=target.device)) for part in self._parts]
        if self.composition.operation == "concat":
            pieces = torch.split(target, [part.width for part in self._parts], dim=-1)
            fitted = [
                _weighted_mean(piece, share, row, part.rows)
                for piece, row, part in zip(pieces, rows, self._parts, strict=True)
            ]
        elif len({part.name for part in self._parts}) < len(self._parts):
            fitted = [fitted_rows(target, share, torch.stack(rows, dim=1), self._parts[0].rows)] * len(rows)
        else:
            fitted = self._alternate(target, share, rows)
        for part, values in zip(self._parts, fitted, strict=True):
            self._rows(part).weight.copy_(values)

    def _alternate(self, target: Tensor, share: Tensor, rows: list[Tensor]) -> list[Tensor]:
        """Alternating least squares: each part in turn solved exactly with the others held.

        Begins with the parts of fewest rows at a constant, so that the first solved part is a weighted mean. Products
        of three and more have local minima; each element is a problem of its own, so other beginnings are tried for
        the elements that are not found yet.
        """
        mult = self.composition.operation == "mult"
        shapes = [(part.rows, part.width) for part in self._parts]
        parts, error = self._descend([target.new_full(shape, float(mult)) for shape in shapes], target, share, rows)
        generator = torch.Generator().manual_seed(0)
        for _ in range(_RESTARTS if mult and len(parts) > 2 else 0):
            worse = error > 1e-3 * (share[:, None] * target.square()).sum(0)
            if not bool(worse.any()):
                break
            begun = [torch.randn(shape, generator=generator, dtype=target.dtype).to(target) for shape in shapes]
            others, found = self._descend([part[:, worse] for part in begun], target[:, worse], share, rows)
            better = found < error[worse]
            at = torch.nonzero(worse).squeeze(-1)[better]
            error[at] = found[better]
            for part, other in zip(parts, others, strict=True):
                part[:, at] = other[:, better]
        return _balanced(parts) if mult else parts

    def _descend(
        self, parts: list[Tensor], target: Tensor, share: Tensor, rows: list[Tensor], sweeps: int = 50
    ) -> tuple[list[Tensor], Tensor]:
        """The parts that alternating leads to from `parts`, and the weighted squared error left in each element."""
        mult = self.composition.operation == "mult"
        order = sorted(range(len(parts)), key=lambda at: -len(parts[at]))
        error = target.new_full((target.shape[1],), float("inf"))
        for _ in range(sweeps):
            for at in order:
                others = [parts[o][rows[o]] for o in order if o != at]
                if mult:
                    rest = reduce(torch.mul, others, torch.ones_like(target))
                    over = _sum_by(rest * target * share[:, None], rows[at], len(parts[at]))
                    under = _sum_by(rest.square() * share[:, None], rows[at], len(parts[at]))
                    parts[at] = torch.where(under > 0, over / under.clamp_min(1e-300), parts[at])
                else:
                    rest = reduce(torch.add, others, torch.zeros_like(target))
                    parts[at] = _weighted_mean(target - rest, share, rows[at], len(parts[at]))
            whole = reduce(torch.mul if mult else torch.add, [p[row] for p, row in zip(parts, rows, strict=True)])
            previous, error = error, ((whole - target).square() * share[:, None]).sum(0)
            if float(previous.sum() - error.sum()) <= 1e-9 * float(error.sum()):
                break
        return parts, error


class Affine(nn.Module):
    """`vectors @ weight + bias`, with `weight` of shape `(width, dim)` as in the papers."""

    def __init__(self, width: int, dim: int, dtype: torch.dtype, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, dim, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(dim, dtype=dtype)) if bias else None

    def forward(self, vectors: Tensor) -> Tensor:
        """Widened vectors, shape `(*vectors.shape[:-1], dim)`."""
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


def _sum_by(values: Tensor, row: Tensor, rows: int) -> Tensor:
    return torch.zeros(rows, values.shape[1], dtype=values.dtype, device=values.device).index_add_(0, row, values)


def _weighted_mean(values: Tensor, share: Tensor, row: Tensor, rows: int) -> Tensor:
    """Mean of the values that meet in each row, weighted by `share`; rows of no weight take the plain mean."""
    weight = share[:, None] + 1e-12 * share.max()
    total = _sum_by(weight, row, rows)
    return _sum_by(values * weight, row, rows) / total.clamp_min(1e-300)


def _principal(target: Tensor, share: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """`(narrow, basis)` with `narrow @ basis` the best approximation of `target` of that rank, ids weighted.

    Through the (dim × dim) weighted Gram matrix, whose leading eigenvectors span the best subspace; so the cost
    in memory does not grow with the number of ids. Each pair is scaled to equal length on both sides.
    """
    _, vectors = torch.linalg.eigh(target.t() @ (target * share[:, None]))
    basis = vectors[:, -rank:].flip(-1).t()
    return target @ basis.t(), basis


def _balanced(parts: list[Tensor]) -> list[Tensor]:
    """The same products, with all factors of one element at the same root mean square."""
    norms = [part.square().mean(0).sqrt().clamp_min(1e-30) for part in parts]
    middle = torch.stack(norms).log().mean(0).exp()
    return [part * (middle / norm) for part, norm in zip(parts, norms, strict=True)]
