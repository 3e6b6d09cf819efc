"""`robe`: vectors are concatenated from chunks at hashed offsets of one long array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self
from zlib import crc32

import torch
from torch import Tensor

from coset import formulas
from coset.errors import InputError
from coset.formulas import Formula
from coset.methods.base import Method, TableModule, make, register
from coset.methods.facts import Facts
from coset.methods.rows import drawn
from coset.methods.sizing import Sizes, vector_bytes
from coset.partitions import MAX_MODULUS, MAX_SEED, hash_words
from coset.schema import Component, LookupBytes, Table


@register("robe")
@dataclass(frozen=True)
class Robe(Method):
    """ROBE, random offset block embedding (Desai, Chou and Shrivastava, 2021, arXiv 2108.02191): the vector of an id is
    cut into chunks; each is read from one array of `size` elements at a hashed offset, wrapping around its end.

    All ids share every element of the array, so `size` may be anything, down to one number. Tables of one
    collection that name the same `array` read the same elements, by hashes of their own.

    Bytes: `size · itemsize`, once for all tables that share the array. Operations: `⌈dim / chunk⌉` hashes and reads of
    `chunk` neighbouring elements. Vectors are unique with high probability if they have two chunks or more; with one it
    is plain hashing. Prefer it at extreme ratios and for many tables under one budget; where ids come in order of
    popularity, methods that use it do better.

    Args:
        size: elements of the array.
        chunk: neighbouring elements that are read together, Z in the paper; larger is faster, smaller spreads more.
            `sizes` offers at most half of the dim.
        array: the name that tables share it by; None for an array of its own. Blocks of one table that share an array
            need different seeds, or ids of both would have the same vector, which a collection refuses.
        seed: which hash functions, 0 … 2^32 - 1; with `array`, hashes depend on the table's name as well.

    Example:
        >>> from coset.schema import Table
        >>> Robe(size=10_000).bytes(Table("user", 6040, 64))
        40000
    """

    size: int
    chunk: int = 8
    array: str | None = None
    seed: int = 0

    worth: ClassVar[float] = 0.2

    facts: ClassVar[Facts] = Facts(
        paper="Desai et al., 2021, arXiv 2108.02191",
        formula="chunks of Z elements at hashed offsets of one array",
        elements="any size, also one array for all tables",
        operations="⌈D / Z⌉ hashes and reads",
        uniqueness="probable",
        prefer="extreme ratios, many tables under one budget",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "size", "chunk")
        self._at_most(MAX_MODULUS, "size")
        self._at_least(0, "seed")
        self._at_most(MAX_SEED, "seed")
        if self.array is not None and (not self.array or "." in self.array):
            raise InputError(f"{self._what}: array needs a name without dots, not {self.array!r}")

    @property
    def hashes_name(self) -> bool:
        """Whether tables share the array."""
        return self.array is not None

    def components(self, table: Table) -> list[Component]:
        """The array."""
        stored = self.storage.components("array", self.size, 1, table.dtype)
        return [replace(component, shared=self.array) for component in stored]

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """The place of every element and the hashes; the elements and their gradient."""
        chunk = min(self.chunk, table.embedding_dim)
        chunks = -(-table.embedding_dim // chunk)
        places, vector = 8 * chunks * chunk, vector_bytes(self, table)
        return LookupBytes(places, places + 16 * chunks + vector, 2 * vector)

    def formula(self, table: Table) -> Formula:
        """Chunks of the array."""
        dim = table.embedding_dim
        return formulas.chunks("array", self.size, min(self.chunk, dim), dim, self.seed_of(table))

    def seed_of(self, table: Table) -> int:
        """Which hash functions the table reads the array by."""
        return self.seed if self.array is None else self.seed ^ crc32(table.name.encode("utf-8"))

    def build(self, table: Table) -> RobeModule:
        """A fresh module."""
        return RobeModule(table, self)

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """Any size, from one element to those of the full table."""
        most = min(table.num_embeddings * table.embedding_dim, MAX_MODULUS)
        chunk = min(8, max(1, table.embedding_dim // 2))
        return Sizes(range(1, most + 1), lambda size: make(cls, {"size": size, "chunk": chunk} | fixed))

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """Chunks that divide the dim, that do not, single elements, and a named array, at a quarter of the bytes."""
        size = -(-table.num_embeddings * table.embedding_dim // 4)
        return [cls(size), cls(size, 3, seed=9), cls(size, 1), cls(size, table.embedding_dim, "one")]


class RobeModule(TableModule):
    """The array and the places of chunks in it."""

    def __init__(self, table: Table, method: Robe) -> None:
        super().__init__(table, method)
        self.size, self.chunk = method.size, min(method.chunk, table.embedding_dim)
        self.chunks = -(-table.embedding_dim // self.chunk)
        self.seed = method.seed_of(table)
        self.shared_name = method.array
        self.array = method.storage.build(method.size, 1, table.dtype)
        self.reset_parameters()

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of `ids`."""
        elements: Tensor = self.array(self._places(ids))
        return elements.squeeze(-1)

    def _places(self, ids: Tensor) -> Tensor:
        """The place of each element of each vector in the array, shape `(*ids.shape, dim)`; every chunk has a hash of
        its own."""
        number = torch.arange(self.chunks, device=ids.device)
        words: Tensor = hash_words(ids.unsqueeze(-1), hash_words(number, self.seed))
        within = torch.arange(self.chunk, device=ids.device)
        places = ((words % self.size).unsqueeze(-1) + within) % self.size
        return places.flatten(-2)[..., : self.table.embedding_dim]

    def shareable(self) -> Mapping[str, str]:
        """The array, under the name that the method gives."""
        return {} if self.shared_name is None else {"array": self.shared_name}

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Elements of deviation `table.std`."""
        self.array.draw_(drawn(self.table.std, "normal"))

    @torch.no_grad()
    def _fit(self, weight: Tensor, share: Tensor) -> None:
        """Every element of the array becomes the mean of all that read it, weighted by frequency: least squares."""
        mass = torch.zeros(self.size, dtype=torch.float64, device=weight.device)
        total = torch.zeros_like(mass)
        for start in range(0, len(weight), self.ids_at_once):
            part = weight[start : start + self.ids_at_once].double()
            places = self._places(torch.arange(start, start + len(part), device=weight.device)).reshape(-1)
            each = share[start : start + len(part)].repeat_interleave(self.table.embedding_dim)
            mass.index_add_(0, places, each)
            total.index_add_(0, places, each * part.reshape(-1))
        self.array.write_((total / mass.clamp_min(1e-300)).unsqueeze(-1))
