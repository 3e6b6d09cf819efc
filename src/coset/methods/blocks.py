"""`blocks`: ranges of ids in order of popularity, each stored by a method of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from coset import formulas
from coset.errors import InputError
from coset.formulas import Formula
from coset.methods.base import Method, TableModule, make, register
from coset.methods.composition import BlockedComposition, Composition
from coset.methods.facts import Facts
from coset.methods.full import Full
from coset.methods.hashing import Hashing
from coset.methods.low_rank import LowRank
from coset.methods.sizing import Sizes, largest_within, rising, spread, thinned, vector_bytes
from coset.methods.traffic import Traffic
from coset.methods.wrapped import batched
from coset.schema import Component, LookupBytes, Table
from coset.storage import DEFAULT
from coset.storage.dense import rows_at
from coset.storage.graphs import unseen
from coset.vectors import Vectors


@dataclass(frozen=True)
class BlockMethod(Method):
    """A method that cuts the ids into ranges and hands each to another method: its file only says how to cut."""

    by_popularity: ClassVar[bool] = True

    @abstractmethod
    def blocks(self, table: Table) -> list[tuple[Table, Method]]:
        """The table of each range, in order, and the method that stores it."""

    def _stored(self, table: Table) -> list[tuple[Table, Method]]:
        """The blocks; those without a storage of their own take that of the whole."""
        blocks = self.blocks(table)
        if self.storage == DEFAULT:
            return blocks
        return [(block, method.stored(self.storage)) for block, method in blocks]

    def components(self, table: Table) -> list[Component]:
        """The components of every block, below `blocks.<number>`."""
        return self._of_blocks(table, lambda method, block: method.components(block))

    def training_components(self, table: Table) -> list[Component]:
        """Those of every block, likewise."""
        return self._of_blocks(table, lambda method, block: method.training_components(block))

    def _of_blocks(self, table: Table, of: Callable[[Method, Table], list[Component]]) -> list[Component]:
        self.check(table)
        return [
            component.under(f"blocks.{number}")
            for number, (block, method) in enumerate(self._stored(table))
            for component in of(method, block)
        ]

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """As if all ids were in the block that takes most; beside that, the block of each id, and the concatenated
        vectors of all blocks."""
        self.check(table)
        each = [method.lookup_bytes(block) for block, method in self._stored(table)]
        if len(each) == 1:
            return each[0]
        kept, forward, backward = (max(sizes) for sizes in zip(*each, strict=True))
        vector = vector_bytes(self, table)
        return LookupBytes(kept + 24, forward + 2 * vector + 24, backward + vector + 24)

    def build(self, table: Table) -> BlockModule:
        """A fresh module."""
        self.check(table)
        return BlockModule(table, self, [method.build(block) for block, method in self._stored(table)])

    def descriptor(self, table: Table) -> Composition | None:
        """The compositions of the blocks, if all of them have one."""
        self.check(table)
        blocks = self._stored(table)
        found = [method.descriptor(block) for block, method in blocks]
        inner = [composition.under(f"blocks.{number}") for number, composition in enumerate(found) if composition]
        if len(inner) < len(blocks):
            return None
        return BlockedComposition(_bounds([block for block, _ in blocks]), tuple(inner))

    def formula(self, table: Table) -> Formula:
        """That of every block."""
        self.check(table)
        blocks = self._stored(table)
        of = [
            formulas.renamed(method.formula(block), lambda name, number=number: f"blocks.{number}.{name}")  # type: ignore[misc]
            for number, (block, method) in enumerate(blocks)
        ]
        return formulas.blocks(_bounds([block for block, _ in blocks]), of)


class BlockModule(TableModule):
    """A module for each block; an id is looked up in its own block only."""

    def __init__(self, table: Table, method: Method, blocks: list[TableModule]) -> None:
        super().__init__(table, method)
        self.blocks = nn.ModuleList(blocks)
        self._bounds = _bounds([block.table for block in blocks])

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of `ids`."""
        flat = ids.reshape(-1)
        if len(self.blocks) == 1:
            vectors: Tensor = self.blocks[0](flat)
        elif unseen(ids) or batched(ids):
            vectors = self._masked(flat)
        else:
            vectors = self._chosen(flat)
        return vectors.reshape(*ids.shape, self.table.embedding_dim)

    def reset_parameters(self) -> None:
        """Draw fresh values in every block."""
        for block in self._modules_in_order():
            block.reset_parameters()

    def shorten_(self, factors: Tensor) -> None:
        """Those of every block."""
        for start, stop, block in self._ranges():
            block.shorten_(factors[start:stop])

    def projections(self) -> Iterator[Tensor]:
        """Those of every block."""
        for block in self._modules_in_order():
            yield from block.projections()

    def _modules_in_order(self) -> list[TableModule]:
        return cast("list[TableModule]", list(self.blocks))

    def _ranges(self) -> list[tuple[int, int, TableModule]]:
        starts, stops = (0, *self._bounds), (*self._bounds, self.table.num_embeddings)
        return list(zip(starts, stops, self._modules_in_order(), strict=True))

    def _chosen(self, ids: Tensor) -> Tensor:
        where = [torch.nonzero((ids >= start) & (ids < stop)).squeeze(-1) for start, stop, _ in self._ranges()]
        found = [block(ids[at] - start) for at, (start, _, block) in zip(where, self._ranges(), strict=True)]
        back = torch.empty_like(ids).scatter_(0, torch.cat(where), torch.arange(len(ids), device=ids.device))
        return rows_at(torch.cat(found), back)  # its gradient sums in a fixed order, and fast

    def _masked(self, ids: Tensor) -> Tensor:
        """The same vectors in shapes that do not depend on the ids, as graphs and the meta device need them."""
        vectors: Tensor | None = None
        for start, stop, block in self._ranges():
            found = block((ids - start).clamp(0, stop - start - 1))
            vectors = found if vectors is None else torch.where((ids >= start).unsqueeze(-1), found, vectors)
        assert vectors is not None
        return vectors

    @property
    def fits_in_pieces(self) -> bool:
        """Where all blocks do."""
        return all(block.fits_in_pieces for block in self._modules_in_order())

    def _fit_from(self, vectors: Vectors, share: Tensor) -> None:
        for start, stop, block in self._ranges():
            mass = share[start:stop]
            block.fit_from_(vectors.part(start, stop), mass if float(mass.sum()) > 0 else None)

    def _fit(self, weight: Tensor, share: Tensor) -> None:
        for start, stop, block in self._ranges():
            mass = share[start:stop]
            block.fit_(weight[start:stop], mass if float(mass.sum()) > 0 else None)


@register("blocks")
@dataclass(frozen=True)
class Blocks(BlockMethod):
    """Ranges of ids, each with its own method; ids are in order of popularity, so block 0 is the hottest.

    Private rows for the hot ids with hashing for the rest, mixed dimensions, "small tables stay full": all are
    blocks. The inner methods see ids renumbered from 0. Bytes, operations and uniqueness are those of the inner
    methods; across blocks vectors are never shared.

    Args:
        bounds: the first id of every block but the first, increasing, each in 1 … n - 1; none for one block.
        methods: one method a block, `len(bounds) + 1` of them.

    Example:
        >>> from coset.schema import Table
        >>> hot = Blocks(bounds=(1000,), methods=(Full(), Hashing(num_buckets=500)))
        >>> hot.bytes(Table("user", 6040, 64)) == (1000 + 500) * 64 * 4
        True
    """

    bounds: tuple[int, ...]
    methods: tuple[Method, ...]

    planned: ClassVar[bool] = True

    facts: ClassVar[Facts] = Facts(
        paper="blocks as in Ginart et al., 2019, arXiv 1909.11810",
        formula="that of the block of i",
        elements="the sum over the blocks",
        operations="those of the block of i",
        uniqueness="that of the blocks; none is shared across them",
        prefer="ids in order of popularity: private rows for the hot ones",
        combines="every method",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(start >= stop for start, stop in pairwise((0, *self.bounds))):
            raise InputError(f"{self._what}: bounds must increase and begin at 1 or later, not {list(self.bounds)}")
        if len(self.methods) != len(self.bounds) + 1:
            raise InputError(
                f"{self._what}: bounds {list(self.bounds)} make {len(self.bounds) + 1} blocks, "
                f"but there are {len(self.methods)} methods"
            )
        if several := [method.name for method in self.methods if method.table_outputs > 1]:
            raise InputError(f"{self._what}: {several[0]} gives several vectors an id, and a block must give one")

    @property
    def hashes_name(self) -> bool:
        """Whether the vectors of a block do."""
        return any(method.hashes_name for method in self.methods)

    def check(self, table: Table) -> None:
        """The last block begins within the table, and every block fits its method."""
        n = table.num_embeddings
        if self.bounds and self.bounds[-1] >= n:
            raise InputError(f"table {table.name!r}: bounds must lie in 1 … {n - 1}, not {list(self.bounds)}")
        for block, method in self.blocks(table):
            method.check(block)

    def blocks(self, table: Table) -> list[tuple[Table, Method]]:
        """The ranges between the bounds."""
        edges = (0, *self.bounds, table.num_embeddings)
        cuts = [table.block(start, stop) for start, stop in pairwise(edges)]
        return list(zip(cuts, self.methods, strict=True))

    @classmethod
    def hot(cls, ids: int, rest: Method) -> Self:
        """Private rows for the `ids` most frequent ids; the rest share those of another method."""
        return cls((ids,), (Full(), rest))

    @classmethod
    def threshold(cls, table: Table, limit: int, method: Method) -> Self:
        """`method` for a table of at least `limit` ids; a smaller one stays full."""
        return cls((), (Full() if table.num_embeddings < limit else method,))

    @classmethod
    def sizes(cls, table: Table, *, rest: str | Mapping[str, Any] = "hashing", **fixed: Any) -> Sequence[Self]:
        """Hot ids: the h most frequent keep private rows, the rest share half as many bytes; h grows up to n.

        Args:
            table: to be stored.
            rest: the method of the others, by name or with its fixed fields; hashing by default.
            fixed: fields of `Blocks` itself; with them there is one size.
        """
        if fixed:
            return [make(cls, fixed)]
        if rest != "hashing":
            return cls._hot_sizes(table, rest)

        # h + min(n - h, h // 2) rows never fall as h grows: the second term loses at most the row h gains.
        def hot(h: int) -> Self:  # type: ignore[type-var]
            rest = table.num_embeddings - h
            if rest == 0:
                return cls((), (Full(),))
            return cls((h,), (Full(), Hashing(min(rest, max(1, h // 2)))))

        return Sizes(range(1, table.num_embeddings + 1), hot)

    @classmethod
    def _hot_sizes(cls, table: Table, rest: str | Mapping[str, Any]) -> list[Self]:
        n = table.num_embeddings
        given = dict(rest) if isinstance(rest, Mapping) else {"method": rest}
        kind, row = _class_of(given), table.full_bytes // n

        def shared(h: int) -> Method:
            others = table.block(h, n)
            sizes = kind.offered(others, **given)
            return largest_within(sizes, others, max(sizes[0].bytes(others), h // 2 * row))

        hot = (cls.hot(h, shared(h)) for h in spread(1, n - 1, 64))
        return rising([*hot, cls((), (Full(),))], table) if n > 1 else [cls((), (Full(),))]

    @classmethod
    def candidates(cls, table: Table, traffic: Traffic, count: int = 24, **fixed: Any) -> Iterable[Method]:
        """Hot ids by the share of the traffic that they carry, in rows of their own of several widths; the others share
        one row, or half as many rows as there are hot ids."""
        n, dim = table.num_embeddings, table.embedding_dim
        if fixed or not traffic.ordered:
            yield from thinned(cls.sizes(table, **fixed), count)
            return
        yield cls((), (Hashing(1),))
        widths = sorted({max(1, dim // part) for part in (1, 2, 4)})
        # Finer near all of the traffic, since nine tenths of it often fall on a tenth of the ids.
        shares = 1 - np.geomspace(1, 0.01, count // 2)
        for hot in sorted({traffic.hot(float(share)) for share in (*shares, 1.0)} - {0, n}):
            private = [Full() if width == dim else LowRank(width) for width in widths]
            for one in private:
                for shared in sorted({1, min(max(1, hot // 2), n - hot)}):
                    yield cls((hot,), (one, Hashing(shared)))

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """One block, two blocks, and blocks within a block."""
        n = table.num_embeddings
        if n < 4:
            return [cls((), (Full(),))]
        inner = cls((1,), (Full(), Hashing(1)))
        return [cls((), (Full(),)), cls((n // 4,), (Full(), Hashing(max(1, n // 8)))), cls((n // 2,), (Full(), inner))]


def _class_of(given: dict[str, Any]) -> type[Method]:
    """The class that `given` names; takes the name out, so that its fields remain."""
    if not isinstance(name := given.pop("method", None), str):
        raise InputError(
            f"blocks: rest must be the name of a method, or a table with its name under 'method', not {name!r}"
        )
    from coset.methods.registry import method_class  # knows all methods, once this file and the others are loaded

    return method_class(name)


def _bounds(blocks: Sequence[Table]) -> tuple[int, ...]:
    stops = [sum(block.num_embeddings for block in blocks[: at + 1]) for at in range(len(blocks))]
    return tuple(stops[:-1])
