"""An independent implementation of descriptors: vectors from plain arrays, in numpy and Python integers.

Kernels, exports and other engines evaluate the same descriptor; this slow one checks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coset.methods.composition import BlockedComposition, RowComposition, RowPart
from coset.partitions import Codes, Partition

Array = NDArray[Any]


def compose(
    descriptor: RowComposition | BlockedComposition, state: Mapping[str, Array], ids: Array
) -> NDArray[np.float64]:
    """The vectors of `ids` in float64, shape `(*ids.shape, dim)`, or `(*ids.shape, outputs, dim / outputs)`.

    Args:
        descriptor: what `Method.descriptor` returned.
        state: the stored arrays as floats, by name.
        ids: integers of any shape.
    """
    flat = np.asarray(ids, dtype=np.int64).reshape(-1)
    if isinstance(descriptor, RowComposition):
        out = _compose(descriptor, state, flat)
    else:
        edges = [0, *descriptor.bounds, np.iinfo(np.int64).max]
        ranges = list(pairwise(edges))
        inside = [(flat >= start) & (flat < stop) for start, stop in ranges]
        found = [
            compose(block, state, flat[chosen] - start)
            for block, chosen, (start, _) in zip(descriptor.blocks, inside, ranges, strict=True)
        ]
        out = np.empty((len(flat), *found[0].shape[1:]))
        for chosen, vectors in zip(inside, found, strict=True):
            out[chosen] = vectors
    return out.reshape(*np.shape(ids), *out.shape[1:])


def _compose(composition: RowComposition, state: Mapping[str, Array], ids: Array) -> NDArray[np.float64]:
    first, *others = (_read(part, state, ids) for part in composition.parts)
    out = first
    for vectors in others:
        if composition.operation == "mult":
            out = out * vectors
        elif composition.operation == "add":
            out = out + vectors
        else:
            out = np.concatenate([out, vectors], axis=1)
    if (projection := composition.projection) is not None:
        out = out @ state[projection.name].astype(np.float64)
        if projection.bias_name is not None:
            out = out + state[projection.bias_name].astype(np.float64)
    if out.shape[1] != composition.dim:
        raise AssertionError(f"the descriptor composes {out.shape[1]} elements and says dim={composition.dim}")
    return out if composition.outputs == 1 else out.reshape(len(ids), composition.outputs, -1)


def _read(part: RowPart, state: Mapping[str, Array], ids: Array) -> NDArray[np.float64]:
    stored = state[part.name]
    if stored.shape != (part.rows, part.width):
        raise AssertionError(f"part {part.name!r} says {(part.rows, part.width)}, stored is {stored.shape}")
    rows = row_numbers(part, ids)
    if len(rows) and not (rows.min() >= 0 and rows.max() < part.rows):
        raise AssertionError(f"part {part.name!r} reads row {rows.max()} of {part.rows}")
    return stored[rows].astype(np.float64)


def row_numbers(part: RowPart, ids: Array) -> NDArray[np.int64]:
    """The row of each id; arithmetic ones and hashes by Python integers, which cannot overflow or round."""
    partition = part.partition
    if isinstance(partition, Codes):
        return np.asarray(partition(ids), dtype=np.int64)
    exact = ids.astype(object)
    rows = exact // partition.divisor % partition.modulus if isinstance(partition, Partition) else partition(exact)
    return np.asarray(rows, dtype=np.int64)
