"""What a training step of the fused engine takes beside tables and their state, in closed form.

Every size here is that of an array of `coset.engine.fused` or of a kernel that it calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from coset.kernels.layout import CHUNK, chunks_of
from coset.ledger.asked import Asked

_INT64, _INT32, _FLOAT64 = 8, 4, 8
_STEPS = 1 << 16
"""Most steps that dense Adam records before it brings all rows up."""


@dataclass
class _Array:
    """An array of rows: its size, how often a step reads rows of it, whether a step reads it as a whole; and whether
    its numbers are rounded when they are read, or are the steps of such, or are stored in fewer bits."""

    rows: int
    width: int
    whole: bool = False
    lookups: int = 0
    rounded: bool = False
    steps: bool = False
    narrow: bool = False

    @property
    def whole_rounded(self) -> bool:
        """Whether it is a projection, whose steps have a learning rate of their own."""
        return self.whole and self.rounded


def fused_step(asked: Sequence[Asked], threads: int, dense: bool) -> list[dict[str, int]]:
    """Bytes by purpose, at most.

    Args:
        asked: features that kernels look up, all of tables of one dtype.
        threads: number of threads; each has a hash table of rows.
        dense: whether the optimizer makes up for the steps that rows missed.

    Returns:
        Bytes during lookups; during the backward pass; and those that stay, until the step and for the next one.
    """
    if not asked:
        return [{}, {}, {}]
    itemsize = asked[0].table.dtype.itemsize
    pieces = [piece for of in asked for piece in of.pieces]
    ids = sum(of.ids for of in asked)
    arrays = _arrays(asked)
    total = sum(array.lookups for array in arrays)
    sums = distinct = tasks = 0
    places: list[int] = []
    for array in arrays:
        chunks = 1 if array.whole or not total else chunks_of(array.lookups, total, array.rows)
        tasks += chunks
        rows = array.rows if array.whole else min(array.lookups, chunks * array.rows)
        sums, distinct = sums + rows * array.width * itemsize, distinct + rows * _INT64
        if not array.whole:
            places += [places_of(min(array.lookups, array.rows // chunks + 1)) * _INT64] * chunks
    vectors = sum(of.vectors for of in asked)
    kept = {
        "vectors": vectors,
        "sums of gradients by row": sums + sums // itemsize // 8 * itemsize + distinct,
    }
    often = [array for array in arrays if (array.narrow or array.rounded) and array.rows <= array.lookups]
    if often:
        kept["arrays widened for lookups"] = sum(array.rows * array.width for array in often) * itemsize
    projected = [piece for piece in pieces if piece.projection is not None]
    widest_rounded = max((array.width for array in arrays if array.rounded), default=0)
    if dense:
        groups = 1 + bool(projected) + len({array.whole_rounded for array in arrays if array.rounded})
        kept["steps to make up for"] = (2 * groups + 1) * _STEPS * _INT64
    parts = max(len(piece.parts) for piece in pieces)
    several = any(len(of.pieces) > 1 for of in asked)
    passing = {
        "gradients of vectors": vectors + sum(of.gradients for of in asked),  # as one matrix, and feature by feature
        "rows of ids": ids * (parts * _INT64 + several * _INT32) + sum(_offsets(of) for of in asked),
        "hash tables of rows": sum(sorted(places)[-threads:]),
    }
    if widest_rounded:
        passing["gradients of steps"] = tasks * widest_rounded * _FLOAT64
    if projected:
        widest = max(piece.width for piece in projected)
        passing["gradients before projections"] = ids * widest * itemsize + sum(map(_partials, asked)) * itemsize
    return [kept, kept | passing, kept]


def places_of(rows: int) -> int:
    """Places of the hash table for so many distinct rows; `coset.kernels.slots.no_slots` makes it."""
    size = 16
    while size < (4 if rows <= 4096 else 2) * rows:
        size *= 2
    return size


def _arrays(asked: Iterable[Asked]) -> list[_Array]:
    found: dict[tuple[str, str], _Array] = {}
    for of in asked:
        for piece in of.pieces:
            for key, array in _arrays_of(piece, of.table.dtype):
                kept = found.setdefault((of.table.name, key), array)
                kept.lookups += 0 if array.steps else of.ids
    return list(found.values())


def _arrays_of(piece: Any, dtype: Any) -> list[tuple[str, _Array]]:
    """The arrays of a composition: one for each of its parts, some of which may share an array; and those of steps."""
    found = [(part.name, part.storage, _Array(part.rows, part.width)) for part in piece.parts]
    if (projection := piece.projection) is not None:
        found.append((projection.name, projection.storage, _Array(piece.width, piece.dim, whole=True)))
        if projection.bias_name is not None:
            found.append((projection.bias_name, projection.storage, _Array(1, piece.dim, whole=True)))
    arrays = []
    for name, storage, array in found:
        stored = storage.training_components(name, array.rows, array.width, dtype)
        array.rounded, array.narrow = storage.form == "masters", stored[0].dtype != dtype
        arrays.append((name, array))
        if array.rounded:
            steps = stored[1]
            arrays.append((steps.key, _Array(steps.numel, 1, whole=True, steps=True)))
    return arrays


def _partials(of: Asked) -> int:
    """Numbers of the partial sums of the gradients of projections: those of every task."""
    size: int = sum(
        1 + (piece.width + piece.projection.bias) * piece.dim for piece in of.pieces if piece.projection is not None
    )
    return size * -(-of.bags // CHUNK)


def _offsets(of: Asked) -> int:
    return (of.bags + 1) * _INT64 if of.ids != of.bags else 0
