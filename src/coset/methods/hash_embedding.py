"""`hash_embedding`: hashed rows of one array, weighted by numbers of each id's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from coset import formulas
from coset.errors import InputError
from coset.formulas import Formula
from coset.methods.base import Method, TableModule, make, register
from coset.methods.facts import Facts
from coset.methods.fitting import fitted_rows, sum_by
from coset.methods.rows import drawn
from coset.methods.sizing import Sizes, vector_bytes
from coset.partitions import MAX_MODULUS, MAX_SEED, MultiplyShift, hash_words
from coset.schema import Component, LookupBytes, Table

_SWEEPS = 40
_BEGINNINGS = 6


@register("hash_embedding")
@dataclass(frozen=True)
class HashEmbedding(Method):
    """Hash embeddings, a weighted multi-hash (Svenstrup, Hansen and Winther, 2017, arXiv 1709.03933):
    `Σ_j w_ij · E[h_j(i)]`, k hash functions into one array and k trained weights an id.

    Each id weights its rows, so it can favour one that it shares only with rare ids; two ids that share all rows still
    differ by their weights.

    Bytes: `(num_buckets · dim + num_weights · k) · itemsize`. Operations: k hashes, k row reads, `k · dim`
    multiplications. Vectors are unique with high probability (with `num_weights` = n), though those of ids with the
    same rows lie in one subspace. Prefer it where the dim is large beside k, so that a weight costs little, and the
    order of popularity is unknown. The weights alone take more than the full table unless the dim exceeds k.

    Args:
        num_buckets: rows of the array, 1 … n.
        num_hashes: k, rows an id; 2 in the paper.
        num_weights: rows of weights; by default one an id. Ids share fewer by a hash.
        seed: of the first hash function; the others take the next integers.

    Example:
        >>> from coset.schema import Table
        >>> HashEmbedding(num_buckets=1000).bytes(Table("user", 6040, 64)) == (1000 * 64 + 6040 * 2) * 4
        True
    """

    num_buckets: int
    num_hashes: int = 2
    num_weights: int | None = None
    seed: int = 0

    worth: ClassVar[float] = 0.3

    facts: ClassVar[Facts] = Facts(
        paper="Svenstrup et al., 2017, arXiv 1709.03933",
        formula="Σ_j w_ij · E[h_j(i)], k hashes into one array",
        elements="m · D + n · k",
        operations="k hashes, k rows, k · D multiplications",
        uniqueness="probable",
        prefer="wide vectors; ids without a known order of popularity",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "num_buckets", "num_hashes")
        self._at_least(0, "seed")
        self._at_most(MAX_MODULUS, "num_buckets")
        self._at_most(MAX_SEED - self.num_hashes, "seed")
        if self.num_weights is not None:
            self._at_least(1, "num_weights")
            self._at_most(MAX_MODULUS, "num_weights")

    def check(self, table: Table) -> None:
        """There are no more buckets, and no more rows of weights, than ids."""
        n = table.num_embeddings
        for what, number in (("buckets", self.num_buckets), ("rows of weights", self.num_weights or 1)):
            if number > n:
                raise InputError(
                    f"table {table.name!r}: {number} {what} for {n} ids; hash_embedding takes 1 … {n}, or use full"
                )

    def components(self, table: Table) -> list[Component]:
        """The array of rows and the weights."""
        self.check(table)
        return [
            *self.storage.components("buckets", self.num_buckets, table.embedding_dim, table.dtype),
            *self.storage.components("weights", *self._weights(table), table.dtype),
        ]

    def _weights(self, table: Table) -> tuple[int, int]:
        """Rows of weights, and how many in each."""
        return self.num_weights or table.num_embeddings, self.num_hashes

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """The k rows and weights of an id, their products, and its hashes."""
        k, vector = self.num_hashes, vector_bytes(self, table)
        kept = k * (vector + table.dtype.itemsize + 8) + 8
        return LookupBytes(kept, k * (vector + 40) + vector, 2 * k * vector + vector)

    def formula(self, table: Table) -> Formula:
        """A row of k weights times the k rows of an id."""
        hashed = [MultiplyShift(self.num_buckets, self.seed + number) for number in range(self.num_hashes)]
        shared = None if self.num_weights is None else MultiplyShift(self.num_weights, self.seed + self.num_hashes)
        weights = formulas.rows("weights", formulas.same() if shared is None else formulas.row_map(shared))
        rows = [formulas.rows("buckets", formulas.row_map(of)) for of in hashed]
        return formulas.product(weights, formulas.joined("concat", rows), self.num_hashes)

    def build(self, table: Table) -> HashEmbeddingModule:
        """A fresh module."""
        self.check(table)
        return HashEmbeddingModule(table, self)

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """Any number of buckets with which rows and weights take no more than the full table; at least one."""
        if "num_buckets" in fixed:
            return [make(cls, fixed)]
        one = make(cls, {"num_buckets": 1} | fixed)
        one.check(table)
        most = (table.num_embeddings * table.embedding_dim - prod(one._weights(table))) // table.embedding_dim
        most = max(1, min(most, table.num_embeddings, MAX_MODULUS))
        return Sizes(range(1, most + 1), lambda m: make(cls, {"num_buckets": m} | fixed))

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """At 4 collisions: two hashes and three. Shared weights are no example: their fit has local minima."""
        m = -(-table.num_embeddings // 4)
        return [cls(m), cls(m, 3, seed=5)]


class HashEmbeddingModule(TableModule):
    """Rows and weights."""

    method: HashEmbedding

    def __init__(self, table: Table, method: HashEmbedding) -> None:
        super().__init__(table, method)
        self.seeds = tuple(method.seed + number for number in range(method.num_hashes))
        self.buckets = method.storage.build(method.num_buckets, table.embedding_dim, table.dtype)
        self.weights = method.storage.build(*method._weights(table), table.dtype)
        self.reset_parameters()

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of `ids`."""
        vectors: Tensor = (self.buckets(self._rows(ids)) * self.weights(self._weight_rows(ids)).unsqueeze(-1)).sum(-2)
        return vectors

    def _rows(self, ids: Tensor) -> Tensor:
        """The rows that ids read, shape `(*ids.shape, k)`."""
        seeds = torch.tensor(self.seeds, device=ids.device)
        rows: Tensor = (hash_words(ids.unsqueeze(-1), seeds) >> 1) % self.method.num_buckets
        return rows

    def _weight_rows(self, ids: Tensor) -> Tensor:
        shared = self.method.num_weights
        rows: Tensor = MultiplyShift(shared, self.seeds[-1] + 1)(ids) if shared else ids
        return rows

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Rows of deviation `table.std`, weights of deviation 1 / √k: of both signs, so that ids which share a row
        begin apart."""
        self.buckets.draw_(drawn(self.table.std, "normal"))
        self.weights.draw_(drawn(self.weights.width**-0.5, "normal"))

    @torch.no_grad()
    def _fit(self, weight: Tensor, share: Tensor) -> None:
        """Alternating least squares from several starting points, as it has local minima; keeps the best."""
        target = weight.double()
        power = float((target.square().mean(-1) * share).sum())
        generator = torch.Generator().manual_seed(0)
        best, begun = float("inf"), self.weights.whole().double()
        for _ in range(_BEGINNINGS):
            array, factors, error = self._alternate(target, share, begun)
            hopeless = error > 0.9 * best and best > 0.5 * power  # the weight has no such structure
            if error < best:
                best = error
                self.buckets.write_(array)
                self.weights.write_(factors)
            if hopeless or best <= 1e-3 * power:
                break
            begun = torch.randn(begun.shape, generator=generator, dtype=begun.dtype).to(begun)

    def _alternate(self, target: Tensor, share: Tensor, factors: Tensor) -> tuple[Tensor, Tensor, float]:
        """Solves for all rows with the weights held, then for each row of weights with the rows held, and so on."""
        ids = torch.arange(len(target), device=target.device)
        rows, places = self._rows(ids), self._weight_rows(ids)
        stored, k = self.method.num_buckets, factors.shape[1]
        error = float("inf")
        for _ in range(_SWEEPS):
            array = fitted_rows(target, share, rows, stored, factors[places])
            read = array[rows]
            normal = sum_by(share[:, None, None] * (read @ read.transpose(1, 2)), places, len(factors))
            moment = sum_by(share[:, None] * (read @ target.unsqueeze(-1)).squeeze(-1), places, len(factors))
            # Stay near the current weights where the rows leave them undetermined or no id of any weight reads them.
            ridge = 1e-9 * normal.diagonal(dim1=1, dim2=2).mean() + 1e-300
            eye = torch.eye(k, dtype=target.dtype, device=target.device) * ridge
            factors = torch.linalg.solve(normal + eye, moment + ridge * factors)
            left = torch.einsum("nkw,nk->nw", read, factors[places]) - target
            previous, error = error, float((left.square().mean(-1) * share).sum())
            if previous - error <= 1e-6 * error:
                break
        return array, factors, error
