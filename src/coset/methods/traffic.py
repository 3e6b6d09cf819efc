"""The traffic of a table by id, as a curve of a few hundred numbers, and the traffic of shared rows."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from coset.errors import InputError
from coset.partitions import Codes, Partition, RowMap
from coset.schema import Table

_ALONE = 24  # so many of the first ids are a segment each …
_RATIO = 1.06  # … and then a segment ends where its ids number so many times those before it
_MEMBERS = 8  # ids of a row that are looked up one by one; the rest of the row is its share of the traffic behind them
_TIMES = 48  # points of the quadrature over random meetings
_NEARLY = 0.25  # of the traffic: how much more the hottest ids may have than the first ones where ids count as ordered
_MOST = 1e18  # lookups: more than any data have
_GOLDEN = (5**0.5 - 1) / 2


class Traffic:
    """The frequencies of a table as a piecewise linear curve over its ids.

    Segments grow with the rank of their ids, so 10 million ids are some 250 segments, and nothing but `of` looks at
    every id. Frequencies that only nearly fall, as counts of ids that are in order of another day's popularity do, are
    evened out within segments. Where ids are in no such order, the curve is that of the ids sorted by popularity, and
    every partition and block is assumed to fall on them at random.

    Args:
        edges: first id of every segment and, last, the number of ids.
        below: traffic of all ids below each edge.
        ordered: whether ids are in order of popularity.
    """

    def __init__(self, edges: np.ndarray, below: np.ndarray, ordered: bool = True) -> None:
        self.edges, self.below, self.ordered = edges, below, ordered
        self.lengths = np.diff(edges)
        self.mass = np.diff(below)
        self.counts = self.mass / self.lengths
        """Traffic of one id of each segment."""
        self.total = float(below[-1] - below[0])
        self._blocks: dict[tuple[int, int], Traffic] = {}
        self._shares: dict[RowMap, np.ndarray] = {}

    @classmethod
    def of(cls, table: Table) -> Traffic:
        """The traffic of a table.

        Raises:
            InputError: the table has no frequencies, or they are all zero.
        """
        if table.frequencies is None:
            raise InputError(
                f"table {table.name!r}: it has no frequencies, and a prediction needs them; give frequencies, counts "
                "of its ids in the training data"
            )
        counts = table.frequencies
        if not counts.any():
            raise InputError(
                f"table {table.name!r}: its frequencies are all zero; give counts of its ids in the training data"
            )
        with np.errstate(over="ignore"):
            total = float(counts.sum(dtype=np.float64))
        if total > _MOST or (counts.max() < 1 and total < 1 + 1e-6):
            raise InputError(
                f"table {table.name!r}: its frequencies sum to {total:.4g}; give counts of its ids in training data, "
                f"from which follows how much an id learns"
            )
        # An edge where ids end that occur at all, as what is behind them needs no room.
        edges = np.union1d(_edges(table.num_embeddings), np.count_nonzero(counts))
        below = _below(counts, edges)
        if bool((counts[1:] <= counts[:-1]).all()):
            return cls(edges, below)
        ranked = _ranked(counts, edges)
        nearly = float((ranked - below).max()) <= _NEARLY * below[-1]
        return cls(edges, below) if nearly else cls(edges, ranked, ordered=False)

    @property
    def ids(self) -> int:
        """Number of ids."""
        return round(float(self.edges[-1]))

    def until(self, ids: np.ndarray | float) -> np.ndarray:
        """Traffic of all ids below these, which may lie between two."""
        return np.asarray(np.interp(ids, self.edges, self.below))

    def block(self, start: int, stop: int) -> Traffic:
        """The traffic of the ids `start … stop - 1`, renumbered from 0; made once."""
        if (start, stop) not in self._blocks:
            self._blocks[start, stop] = self._block(start, stop)
        return self._blocks[start, stop]

    def _block(self, start: int, stop: int) -> Traffic:
        if not self.ordered:  # any ids: the same curve, of fewer ids
            share = (stop - start) / self.ids
            return Traffic(self.edges * share, self.below * share, ordered=False)
        inside = self.edges[(self.edges > start) & (self.edges < stop)]
        edges = np.concatenate([[start], inside, [stop]])
        below = self.until(edges)
        return Traffic(edges - start, below - below[0])

    def hot(self, share: float) -> int:
        """How many of the hottest ids carry this share of the traffic: the fewest that do, as far as the curve tells.

        Example:
            >>> Traffic.of(Table("movie", 4, 8, frequencies=[70, 20, 10, 0])).hot(0.9)
            2
        """
        if not 0 <= share <= 1:
            raise InputError(f"a share of the traffic lies in 0 … 1, not {share!r}")
        wanted = self.below[0] + share * self.total
        at = int(np.searchsorted(self.below, wanted * (1 - 1e-12)))
        if at == 0:
            return 0
        into = (wanted - self.below[at - 1]) / self.mass[at - 1]
        return int(np.ceil(self.edges[at - 1] + min(1.0, into * (1 - 1e-12)) * self.lengths[at - 1]))

    def cuts(self, blocks: int) -> list[int]:
        """Sizes of at most `blocks` ranges of ids whose popularity is as even as can be: the sum of the squared
        deviations of its logarithm within ranges, ids weighted by their traffic, is the least that cuts between
        segments reach, by dynamic programming.

        Example:
            >>> Traffic.of(Table("movie", 6, 8, frequencies=[90, 80, 20, 20, 1, 1])).cuts(3)
            [2, 2, 2]
        """
        if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 1:
            raise InputError(f"the number of blocks must be a whole number of 1 or more, not {blocks!r}")
        known = self.counts[self.counts > 0].min()
        value, count = np.log(np.maximum(self.counts, known)), len(self.counts)
        sums = [np.concatenate([[0.0], np.cumsum(self.mass * value**power)]) for power in (0, 1, 2)]
        weight, first, second = (column[None, :] - column[:, None] for column in sums)  # [start, stop]
        spread = np.where(weight > 0, second - np.square(first) / np.where(weight > 0, weight, 1.0), 0.0)
        spread = np.where(np.tri(count + 1, k=-1, dtype=bool), np.inf, np.maximum(spread, 0.0))
        best, begun = spread[0], list[np.ndarray]()
        for _ in range(min(blocks, count) - 1):
            through = best[:, None] + spread
            begun.append(through.argmin(0))
            best = through.min(0)
        stops = [count]
        for starts in reversed(begun):
            stops.append(int(starts[stops[-1]]))
        edges = self.edges[sorted({0, *stops})]
        return [int(size) for size in np.diff(edges) if size]

    def own_share(self, rows: RowMap) -> np.ndarray:
        """Of the traffic that meets in the row of an id of each segment, the share that is the id's own; found once."""
        if rows not in self._shares:
            self._shares[rows] = self._own_share(rows)
        return self._shares[rows]

    def _own_share(self, rows: RowMap) -> np.ndarray:
        if isinstance(rows, Codes) and self.ordered:
            return np.asarray(self._by_codes(rows))
        if isinstance(rows, Partition) and rows.is_identity(self.ids):
            return np.ones(len(self.counts))
        if isinstance(rows, Partition) and self.ordered:
            return self._arithmetic(rows)
        return self._at_random(rows.rows(max(1, self.ids)))

    def _arithmetic(self, rows: Partition) -> np.ndarray:
        """One id of each segment stands for it; its row is `unit + j · modulus` over units of `divisor` ids."""
        divisor, modulus, n = rows.divisor, rows.modulus, self.ids
        unit = self._samples // divisor
        first = unit % modulus
        members = first + modulus * np.arange(_MEMBERS)[:, None]
        met = (self.until((members + 1) * divisor) - self.until(members * divisor)).sum(0)
        if modulus * divisor * _MEMBERS < n:
            behind = np.minimum((first + modulus * (_MEMBERS - 0.5) + 0.5) * divisor, n)
            met += (self.total - self.until(behind)) / modulus
        return _ratio(self.counts, np.maximum(met, self.counts))

    def _at_random(self, rows: int) -> np.ndarray:
        """The mean of c / (c + X), where X is the traffic of the others in a row: of each segment a Poisson number of
        ids. It is ∫ c exp(-c t) E[exp(-X t)] dt, and the logarithm of the last mean is -φ(t) / rows."""
        weights, exponent = self._meetings
        found: np.ndarray = weights @ np.exp(-exponent / rows)
        return np.where(self.counts > 0, found, 1.0)

    def _by_codes(self, codes: Codes) -> np.ndarray:
        each = np.repeat(self.counts, np.diff(np.rint(self.edges).astype(np.int64)))
        met = np.bincount(codes.codes[: len(each)], weights=each)
        return _ratio(self.counts, np.maximum(met[codes.codes[self._samples]], self.counts))

    @cached_property
    def _samples(self) -> np.ndarray:
        """An id of each segment, at places unrelated to any modulus."""
        place = (np.arange(1, len(self.lengths) + 1) * _GOLDEN) % 1.0
        return np.asarray(self.edges[:-1] + (place * self.lengths).astype(np.int64), dtype=np.int64)

    @cached_property
    def _meetings(self) -> tuple[np.ndarray, np.ndarray]:
        known = self.counts[self.counts > 0]
        step = np.linspace(np.log(1e-4 / known.max()), np.log(40 / known.min()), _TIMES)
        times = np.exp(step)
        decay = np.exp(-self.counts[:, None] * times)
        weights = self.counts[:, None] * decay * times * (step[1] - step[0])
        weights /= np.maximum(weights.sum(1, keepdims=True), 1e-300)
        return weights, self.lengths @ (1 - decay)


def _edges(n: int) -> np.ndarray:
    """First ids of segments, and n."""
    if n <= 256:
        return np.arange(n + 1)
    steps = int(np.ceil(np.log(n / _ALONE) / np.log(_RATIO)))
    later = np.unique(np.rint(np.geomspace(_ALONE, n, steps + 1)).astype(np.int64))
    return np.concatenate([np.arange(_ALONE), later])


def _ranked(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Traffic of the most frequent ids, as many as each edge says."""
    if counts.dtype.kind not in "iu" or counts.max() >= 1 << 24:
        return _below(np.sort(counts)[::-1], edges)
    number = np.bincount(counts.astype(np.int32, copy=False))  # sorting 10 million takes a second
    value = np.flatnonzero(number)[::-1]
    ids = np.concatenate([[0], np.cumsum(number[value])])
    traffic = np.concatenate([[0.0], np.cumsum(number[value] * value, dtype=np.float64)])
    return np.asarray(np.interp(edges, ids, traffic))


def _below(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Traffic of all ids below each edge."""
    return np.concatenate([[0.0], np.cumsum(np.add.reduceat(counts, edges[:-1], dtype=np.float64))])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`; 1 where there is no traffic."""
    shares: np.ndarray = np.divide(part, whole, out=np.ones(len(part)), where=whole > 0)
    return shares
