"""Candidates whose numbers get fewer bits the less often their ids occur, by the prediction.

Ids in order of popularity are cut into blocks. A block b of the width w in a storage that loses the share ε of its
numbers' squares keeps, of what its ids learn (`Judge`),

    (1 - ε) Σ_{k ≤ w} λ_k Σ_{i in b} p_i s_k(c_i)

so for a price of bytes the best width and storage of each block follow by themselves; prices that fall give candidates
of rising bytes. It is the allocation of `planning.bits` by frequencies alone, before there are numbers to measure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from coset.methods import Blocks, Full, Hashing, LowRank, Method
from coset.methods.traffic import Traffic
from coset.planning.proxy import Judge
from coset.planning.storages import AllowedStorages
from coset.schema import Table
from coset.storage import DEFAULT

_BLOCKS = 6
_PRICES = 32


@dataclass(frozen=True)
class _Option:
    """A way to store a block, its bytes and what it keeps, in units of what the table is worth."""

    method: Method
    bytes: int
    worth: float


def graded(table: Table, traffic: Traffic, judge: Judge, allowed: AllowedStorages) -> Iterator[Method]:
    """Blocks by popularity, from the fewest bytes to the most; none where ids are in no such order.

    Args:
        table: to be stored.
        traffic: of its ids.
        judge: predicts what a method keeps of a block.
        allowed: storages.
    """
    if not traffic.ordered or allowed.floats_alone:
        return
    edges = [0, *np.cumsum(traffic.cuts(_BLOCKS)).tolist()]
    blocks = [
        _options(table.block(start, stop), traffic.block(start, stop), judge, allowed)
        for start, stop in pairwise(edges)
    ]
    rates = [
        (many.worth - one.worth) / (many.bytes - one.bytes)
        for options in blocks
        for one, many in pairwise(options)
        if many.worth > one.worth and many.bytes > one.bytes
    ]
    if not rates:
        return
    for price in np.geomspace(max(rates), min(rates) / 2, _PRICES):
        chosen = [max(options, key=lambda one: one.worth - price * one.bytes).method for options in blocks]
        starts = [at for at in range(len(chosen)) if not at or chosen[at] != chosen[at - 1]]
        yield Blocks(tuple(edges[at] for at in starts[1:]), tuple(chosen[at] for at in starts))


def _options(block: Table, traffic: Traffic, judge: Judge, allowed: AllowedStorages) -> list[_Option]:
    dim = block.embedding_dim
    methods: list[Method] = [Hashing(1)]
    for width in sorted({max(1, dim // part) for part in (1, 2, 4)}):
        bare = Full() if width == dim else LowRank(width)
        methods += [bare.stored(storage) for storage in (DEFAULT, *allowed.each)]
    found = []
    for method in methods:
        composition = method.descriptor(block)
        assert composition is not None
        kept, _ = judge.composed(traffic, composition)
        found.append(_Option(method, method.bytes(block), float(kept @ judge.spectrum)))
    return sorted(found, key=lambda one: (one.bytes, -one.worth))
