"""How many rows of some data are equal to rows that a model was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from coset.data.clicks import ClickBatch, ClickPart

_ROWS = 1 << 16
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def known_rows(rows: Sequence[ClickPart], trained: ClickPart) -> int:
    """How many of the rows equal a row of `trained` in every column, as a model sees them, and in the label.

    Both have the same columns. It compares digests of 64 bits, keeps those of `rows` in memory, and reads `trained`
    once."""
    digests = np.concatenate([np.zeros(0, dtype=np.uint64), *(found for part in rows for found in _digests(part))])
    distinct, counts = np.unique(digests, return_counts=True)
    met = np.zeros(len(distinct), dtype=np.bool_)
    for found in _digests(trained) if len(distinct) else ():
        places = np.minimum(np.searchsorted(distinct, found), len(distinct) - 1)
        met[places[distinct[places] == found]] = True
    return int(counts[met].sum())


def _digests(part: ClickPart) -> Iterator[np.ndarray]:
    for batch in part.batches(_ROWS):
        yield _of_rows(batch)


def _of_rows(batch: ClickBatch) -> np.ndarray:
    found = batch.labels.numpy().astype(np.uint64)
    for column in batch.numeric.numpy().T:
        found = _mixed(found + np.ascontiguousarray(column).view(np.uint32))
    for ids in batch.ids.numpy():
        found = _mixed(found + ids.view(np.uint64))
    for ids, begins in batch.bags.values():
        items = _mixed(ids.numpy().view(np.uint64))
        sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(items, dtype=np.uint64)])
        ends = np.append(begins.numpy(), len(items))[1:]
        found = _mixed(found + (sums[ends] - sums[begins.numpy()]))
    return found


def _mixed(words: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: every output bit depends on every input bit."""
    words = words + _ODD[0]
    words = (words ^ (words >> np.uint64(30))) * _ODD[1]
    words = (words ^ (words >> np.uint64(27))) * _ODD[2]
    found: np.ndarray = words ^ (words >> np.uint64(31))
    return found
