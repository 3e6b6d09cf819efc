"""Methods and storages for trained tables within a budget: those that come nearest to the trained numbers.

A candidate replaces the vector v of id i by v̂, and loses

    Σ_i p_i Σ_k w_k (v̂_ik - v_ik)²        (p_i of the reads)

Without data w_k is one over the mean square of the table's vectors, so a loss is the share of them that is not kept,
and tables count alike. With data it is what an error in column k costs the model (`Trained.importance`).

Losses are measured on the numbers themselves, rounding included:

* the table in every storage that may be chosen;
* low rank of several ranks, the principal axes of the vectors, its rows and its matrix in every storage;
* one row for all ids, their mean, which is the least that a table takes;
* bits by column and by block of popularity, along the curve of `planning.bits`.

Of large tables a few thousand rows are looked at: those that are read most, and others at equal distances that stand
for the rest. One candidate of each table is chosen by `knapsack.solve`; the bits of all tables that get some by column
are then found together, within what the others leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from coset.errors import InputError
from coset.methods import Full, Hashing, LowRank, Method
from coset.methods.fitting import principal
from coset.methods.traffic import Traffic
from coset.planning.bits import allocated, as_method
from coset.planning.knapsack import Group, solve
from coset.planning.numbers import Numbers, Runs
from coset.planning.planner import infeasible
from coset.planning.storages import AllowedStorages
from coset.schema import Table
from coset.storage import DEFAULT, Storage

_LOOKED_AT = 4096
"""Rows of a table that are looked at: half of them those that are read most."""
_OF_A_PIECE, _PIECES = 1024, 8
"""Rows of a block that are looked at, and the most blocks: each is a lookup of its own."""
_READ = 1.0
"""What is added to the counts of ids, as those that were not read yet may be."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained table that is to take fewer bytes.

    Args:
        table: its sizes, and how often its ids are read, if that is known.
        weight: its vectors, shape `(num_embeddings, embedding_dim)`.
        importance: what the mean square error of a column costs, shape `(embedding_dim,)`; by default one over the mean
            square of a vector.
        skipped: an id whose vector does not matter, such as padding.
    """

    table: Table
    weight: Tensor = field(repr=False)
    importance: Tensor | None = field(default=None, repr=False)
    skipped: int | None = None

    def __post_init__(self) -> None:
        if not bool((fine := self.weight.isfinite().flatten(1).all(1)).all()):
            row = int((~fine).nonzero()[0])
            raise InputError(f"table {self.table.name!r}: row {row} has a number that is not finite")

    @cached_property
    def reads(self) -> Tensor:
        """How much each id counts, float64."""
        counts = self.table.frequencies
        n = self.table.num_embeddings
        found = torch.zeros(n) if counts is None else torch.from_numpy(np.array(counts, np.float64))
        found = found.double() + _READ
        if self.skipped is not None:
            found[self.skipped] = 0
        return found

    @cached_property
    def ordered(self) -> bool:
        """Whether ids are known to be in order of popularity, or nearly so."""
        counts = self.table.frequencies
        return counts is not None and bool(counts.any()) and Traffic.of(self.table).ordered

    @cached_property
    def looked_at(self) -> tuple[Tensor, Tensor]:
        """Rows that stand for all, float64, and their shares of the reads."""
        n, reads = self.table.num_embeddings, self.reads
        if n <= _LOOKED_AT:
            return self._rows(torch.arange(n)), reads / reads.sum()
        most = reads.topk(_LOOKED_AT // 2).indices
        other = torch.ones(n, dtype=torch.bool)
        other[most] = False
        others = other.nonzero().squeeze(1)
        some = others[torch.linspace(0, len(others) - 1, _LOOKED_AT // 2, dtype=torch.float64).long()]
        part = reads[some] * (reads[others].sum() / reads[some].sum().clamp(min=1e-300))
        return self._rows(torch.cat([most, some])), torch.cat([reads[most], part]) / reads.sum()

    @cached_property
    def costs(self) -> Tensor:
        """What the mean square error of each column costs, float64."""
        if self.importance is not None:
            return self.importance.double()
        numbers, share = self.looked_at
        power = float(share @ numbers.square().sum(1))
        return torch.full((numbers.shape[1],), 1 / power if power > 0 else 1.0, dtype=torch.float64)

    def loss(self, found: Tensor) -> float:
        """That of these vectors in the place of the rows that are looked at."""
        numbers, share = self.looked_at
        return float(share @ ((found - numbers).square() @ self.costs))

    def _rows(self, rows: Tensor) -> Tensor:
        return self.weight.detach()[rows.to(self.weight.device)].double().cpu()


class Fit(NamedTuple):
    """A candidate of a table: its bytes and its loss; `free` where its bits are found again with those of others."""

    method: Method
    bytes: int
    loss: float
    free: bool = False


class Fits:
    """The candidates of a trained table."""

    def __init__(self, trained: Trained, allowed: AllowedStorages) -> None:
        self.trained, self._allowed = trained, allowed
        self._numbers, self._share = trained.looked_at

    @cached_property
    def runs(self) -> Runs:
        """The losses of its blocks by bits."""
        trained = self.trained
        costs = trained.costs / trained.reads.sum()
        numbers = Numbers(trained.weight.detach().cpu(), trained.reads, costs, trained.ordered)
        return Runs(numbers, pieces=_PIECES, looked_at=_OF_A_PIECE)

    @cached_property
    def each(self) -> list[Fit]:
        """All of them, none larger than the table as it is but that itself."""
        table, numbers = self.trained.table, self._numbers
        found = [Fit(Full(), table.full_bytes, 0.0)]
        found.append(self._fit(Hashing(1), (self._share @ numbers).expand_as(numbers)))
        found += [self._fit(Full(storage=one), self._read(one, numbers, self._share)) for one in self._allowed.each]
        narrow, basis, _ = principal(numbers, self._share, table.embedding_dim)
        ranks = _ranks(table)
        for storage in (DEFAULT, *self._allowed.each) if ranks else ():
            # Those of the highest rank, of which lower ones have the first: nearly what they would have by themselves.
            rows = self._read(storage, narrow[:, : ranks[-1]], self._share)
            matrix = self._read(storage, basis[: ranks[-1]], torch.ones(ranks[-1], dtype=torch.float64))
            found += [self._fit(LowRank(at, storage=storage), rows[:, :at] @ matrix[:at]) for at in ranks]
        if self._allowed.free:
            found += [
                Fit(as_method(blocks), blocks.bytes, blocks.loss, free=True)
                for blocks in self.runs.curve()
                if any(any(bits) for bits in blocks.bits)
            ]
        return [found[0], *(fit for fit in found[1:] if fit.bytes < table.full_bytes)]

    def _fit(self, method: Method, vectors: Tensor) -> Fit:
        return Fit(method, method.bytes(self.trained.table), self.trained.loss(vectors))

    def _read(self, storage: Storage, numbers: Tensor, share: Tensor) -> Tensor:
        """These numbers after they were stored."""
        if storage == DEFAULT:
            return numbers
        stored = storage.build(len(numbers), numbers.shape[1], torch.float32)
        with torch.no_grad():
            stored.write_(numbers.float(), weights=share)
            return stored.whole().double()


def best_fits(
    trained: Sequence[Trained], budget: int, allowed: AllowedStorages, other_bytes: int = 0
) -> dict[str, Method]:
    """The method of each table, by name.

    Args:
        trained: the tables.
        budget: bytes for all of them and `other_bytes`.
        allowed: storages.
        other_bytes: of what is stored beside.

    Raises:
        InfeasibleBudget: one row for all ids of each table is over the budget.
        InputError: numbers that are not finite.

    Example:
        >>> table = Trained(Table("user", 1000, 8), torch.randn(1000, 8, generator=torch.Generator().manual_seed(0)))
        >>> best_fits([table], 5000, AllowedStorages())["user"].bytes(table.table) <= 5000
        True
    """
    fits = [Fits(one, allowed) for one in trained]
    groups = [
        Group(np.array([fit.bytes for fit in of.each], np.int64), np.array([fit.loss for fit in of.each]))
        for of in fits
    ]
    if (picks := solve(groups, budget - other_bytes)) is None:
        smallest = {of.trained.table.name: min(fit.bytes for fit in of.each) for of in fits}
        raise infeasible(budget, other_bytes, smallest)
    chosen = [of.each[pick] for of, pick in zip(fits, picks, strict=True)]
    methods = {of.trained.table.name: fit.method for of, fit in zip(fits, chosen, strict=True)}
    some = [(of, fit) for of, fit in zip(fits, chosen, strict=True) if fit.free]
    if not some:
        return methods
    left = budget - other_bytes - sum(fit.bytes for fit in chosen if not fit.free)
    found = allocated([of.runs for of, _ in some], left)
    if sum(blocks.loss for blocks in found) > sum(fit.loss for _, fit in some):
        return methods
    return methods | {of.trained.table.name: as_method(blocks) for (of, _), blocks in zip(some, found, strict=True)}


def _ranks(table: Table) -> list[int]:
    """Ranks to try, whose floats are fewer than those of the table."""
    dim, n = table.embedding_dim, table.num_embeddings
    each = sorted({round(2 ** (at / 2)) for at in range(2 * dim.bit_length())})
    return [rank for rank in each if rank < dim and rank * (n + dim) < n * dim]
