"""Methods and storages for trained tables within a budget: those that come nearest to the trained numbers.

A candidate replaces the vector v of id i by v̂, and loses

    Σ_i p_i Σ_k w_k (v̂_ik - v_ik)²        (p_i of the reads)

Without data w_k is one over the mean square of the table's vectors, so a loss is the share of them that is not kept,
and tables count alike. With data it is what an error in column k costs the model (`Trained.importance`).

Losses are measured on the numbers themselves, rounding included:

* the table in every storage that may be chosen;
* low rank of several ranks, the principal axes of the vectors, its rows and its matrix in every storage;
* one row for all ids, their mean, which is the least that a table takes;
* bits by column and by block of popularity, along the curve of `planning.bits`; ids that come in no such order may be
  given one, for 4 bytes each, where the caller can store it.

Of large tables a few thousand rows are looked at: those that are read most, and others at equal distances that stand
for the rest. One candidate of each table is chosen by `knapsack.solve`; the bits of all tables that get some by column
are then found together, within what the others leave.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
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
from coset.vectors import Vectors, vectors_of

METHODS = frozenset({"blocks", "full", "hashing", "low_rank"})
"""Names of the methods that are tried; `full` in all storages."""
_LOOKED_AT = 4096
"""Rows of a table that are looked at: half of them those that are read most."""
_OF_A_PIECE, _PIECES = 1024, 8
"""Rows of a block that are looked at, and the most blocks: each is a lookup of its own."""
_ORDER_BYTES = 4
"""Of the rank of an id."""
_READ = 1.0
"""What is added to the counts of ids, as those that were not read yet may be."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained table that is to take fewer bytes.

    Args:
        table: its sizes, and how often its ids are read, if that is known.
        weight: its vectors, shape `(num_embeddings, embedding_dim)`: a tensor, or those in a file, of which the rows
            that are looked at are read.
        importance: what the mean square error of a column costs, shape `(embedding_dim,)`; by default one over the mean
            square of a vector.
        skipped: an id whose vector does not matter, such as padding.
        may_order: whether ids that are in no order of popularity may be given one.
    """

    table: Table
    weight: Tensor | Vectors = field(repr=False)
    importance: Tensor | None = field(default=None, repr=False)
    skipped: int | None = None
    may_order: bool = False

    def __post_init__(self) -> None:
        if (row := self.vectors.summary.fault) is not None:
            raise InputError(f"table {self.table.name!r}: row {row} has a number that is not finite")

    @cached_property
    def vectors(self) -> Vectors:
        """Its vectors, wherever they lie."""
        return vectors_of(self.weight)

    @property
    def reads(self) -> Tensor:
        """How much each id counts, float64; not kept, as it is one number for each id of all tables."""
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
        return _is_known(self.table) and Traffic.of(self.table).ordered

    @cached_property
    def buys_order(self) -> bool:
        """Whether blocks of it need an order of ids."""
        return self.may_order and buys_order(self.table)

    @property
    def order_bytes(self) -> int:
        """Of an order of ids, where blocks need one."""
        return _ORDER_BYTES * self.table.num_embeddings if self.buys_order else 0

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
        return self.vectors.at(rows).double()


class Fit(NamedTuple):
    """A candidate of a table: its bytes and its loss; and where its bits are found again with those of others, the runs
    that they are found in and the bytes of an order beside."""

    method: Method
    bytes: int
    loss: float
    runs: Runs | None = None
    order: int = 0


class Fits:
    """The candidates of a trained table."""

    def __init__(self, trained: Trained, allowed: AllowedStorages, methods: Set[str] = METHODS) -> None:
        self.trained, self._allowed, self._methods = trained, allowed, methods
        self._numbers, self._share = trained.looked_at

    def _runs(self, ranked: bool) -> Runs:
        """The losses of its blocks by bits; of ids in order of popularity, which need not be that of the table."""
        trained, vectors, reads = self.trained, self.trained.vectors, self.trained.reads
        if ranked and trained.buys_order:
            counts = np.asarray(trained.table.frequencies, np.float64)
            order = torch.from_numpy(np.argsort(-counts, kind="stable"))
            vectors, reads = vectors.ordered(order), reads[order]
        numbers = Numbers(vectors, reads, trained.costs / reads.sum(), ranked)
        return Runs(numbers, pieces=_PIECES, looked_at=_OF_A_PIECE)

    @cached_property
    def each(self) -> list[Fit]:
        """All of them, none larger than the table as it is but that itself."""
        table, numbers = self.trained.table, self._numbers
        found = [self._fit(Hashing(1), (self._share @ numbers).expand_as(numbers))]
        found += [self._fit(Full(storage=one), self._read(one, numbers, self._share)) for one in self._allowed.each]
        narrow, basis, _ = principal(numbers, self._share, table.embedding_dim)
        ranks, by_popularity = _ranks(table), "blocks" in self._methods
        for storage in (DEFAULT, *self._allowed.each) if ranks else ():
            # Those of the highest rank, of which lower ones have the first: nearly what they would have by themselves.
            rows = self._read(storage, narrow[:, : ranks[-1]], self._share)
            matrix = self._read(storage, basis[: ranks[-1]], torch.ones(ranks[-1], dtype=torch.float64))
            found += [self._fit(LowRank(at, storage=storage), rows[:, :at] @ matrix[:at]) for at in ranks]
        if self._allowed.free:
            found += self._by_bits(self._runs(self.trained.ordered and by_popularity), 0)
            if self.trained.buys_order and by_popularity:
                ranked = self._by_bits(self._runs(ranked=True), self.trained.order_bytes)
                found += [fit for fit in ranked if fit.method.by_popularity]
        found = [fit for fit in found if fit.method.name in self._methods and fit.bytes < table.full_bytes]
        return [Fit(Full(), table.full_bytes, 0.0), *found]

    def _by_bits(self, runs: Runs, order: int) -> list[Fit]:
        return [
            Fit(as_method(blocks), blocks.bytes + order, blocks.loss, runs, order)
            for blocks in runs.curve()
            if any(any(bits) for bits in blocks.bits)
        ]

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
    trained: Sequence[Trained], budget: int, allowed: AllowedStorages, other_bytes: int = 0,
    tried: Set[str] = METHODS,
) -> dict[str, Method]:  # fmt: skip
    """The method of each table, by name.

    Args:
        trained: the tables.
        budget: bytes for all of them and `other_bytes`.
        allowed: storages.
        other_bytes: of what is stored beside.
        tried: names of methods, of `METHODS`.

    Raises:
        InfeasibleBudget: one row for all ids of each table is over the budget.
        InputError: numbers that are not finite.

    Example:
        >>> table = Trained(Table("user", 1000, 8), torch.randn(1000, 8, generator=torch.Generator().manual_seed(0)))
        >>> best_fits([table], 5000, AllowedStorages())["user"].bytes(table.table) <= 5000
        True
    """
    fits = [Fits(one, allowed, tried) for one in trained]
    groups = [
        Group(np.array([fit.bytes for fit in of.each], np.int64), np.array([fit.loss for fit in of.each]))
        for of in fits
    ]
    if (picks := solve(groups, budget - other_bytes)) is None:
        smallest = {of.trained.table.name: min(fit.bytes for fit in of.each) for of in fits}
        raise infeasible(budget, other_bytes, smallest)
    chosen = [of.each[pick] for of, pick in zip(fits, picks, strict=True)]
    methods = {of.trained.table.name: fit.method for of, fit in zip(fits, chosen, strict=True)}
    some = {of.trained.table.name: fit for of, fit in zip(fits, chosen, strict=True) if fit.runs is not None}
    if not some:
        return methods
    left = budget - other_bytes - sum(fit.bytes if fit.runs is None else fit.order for fit in chosen)
    found = allocated([fit.runs for fit in some.values() if fit.runs is not None], left)
    if sum(blocks.loss for blocks in found) > sum(fit.loss for fit in some.values()):
        return methods
    return methods | {name: as_method(blocks) for name, blocks in zip(some, found, strict=True)}


def buys_order(table: Table) -> bool:
    """Whether ids are known to be in no order of popularity, so that blocks by popularity need one.

    Example:
        >>> [buys_order(Table("user", 4, 8, frequencies=counts)) for counts in ([9, 5, 2, 1], [1, 2, 9, 5])]
        [False, True]
    """
    return _is_known(table) and not Traffic.of(table).ordered


def _is_known(table: Table) -> bool:
    return table.frequencies is not None and bool(table.frequencies.any())


def _ranks(table: Table) -> list[int]:
    """Ranks to try, whose floats are fewer than those of the table."""
    dim, n = table.embedding_dim, table.num_embeddings
    each = sorted({round(2 ** (at / 2)) for at in range(2 * dim.bit_length())})
    return [rank for rank in each if rank < dim and rank * (n + dim) < n * dim]
