"""Decides which rows of a log validate, piece by piece, by the number or the time of a row, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from coset.data.clicks.journal import Grown
from coset.data.clicks.settings import PrepareSettings
from coset.errors import InputError

_SPLIT = 7  # so that other draws of the seed are unrelated
_BITS = 16


ReadTimes = Callable[[int, int], tuple[np.ndarray, np.ndarray]]
"""Gives the times of rows: whole units and the rest in steps, both int64 (see `coset.kernels.instants`)."""


class Parting(Protocol):
    """Decides which rows validate."""

    def validates(self, start: int, stop: int) -> np.ndarray:
        """For the rows from `start` to before `stop`, whether each validates: boolean, or 0 and 1."""


class RandomParting:
    """Every row validates with the same chance, drawn by its number."""

    def __init__(self, share: float, seed: int) -> None:
        self._seed = np.random.SeedSequence([seed, _SPLIT])
        self._below = np.uint64(min(round(share * 2**64), 2**64 - 1))

    def validates(self, start: int, stop: int) -> np.ndarray:
        bits = np.random.PCG64(self._seed)
        bits.advance(start)
        found: np.ndarray = bits.random_raw(stop - start) < self._below
        return found


class OrderedParting:
    """The last rows validate."""

    def __init__(self, share: float, rows: int) -> None:
        self._cut = rows - round(share * rows)

    def validates(self, start: int, stop: int) -> np.ndarray:
        return np.arange(start, stop) >= self._cut


class TimeParting:
    """The rows of the latest times validate; those of one time are all in one part."""

    def __init__(self, share: float, rows: int, read: ReadTimes) -> None:
        self._read = read
        self._rows = rows
        self._latest = round(share * rows)
        self._units, left = _from_above(self._words, self._latest)
        self._steps, _ = _from_above(self._rests, left)

    def validates(self, start: int, stop: int) -> np.ndarray:
        if not self._latest:
            return np.zeros(stop - start, np.bool_)
        units, steps = self._read(start, stop)
        words = _ascending(units)
        found: np.ndarray = (words > self._units) | ((words == self._units) & (steps.view(np.uint64) >= self._steps))
        return found

    def _pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, self._rows, 1 << 20):
            yield self._read(start, min(start + (1 << 20), self._rows))

    def _words(self) -> Iterator[np.ndarray]:
        """Whole units of all rows."""
        for units, _ in self._pieces():
            yield _ascending(units)

    def _rests(self) -> Iterator[np.ndarray]:
        """Steps of the rows whose units are those of the cut."""
        for units, steps in self._pieces():
            yield steps.view(np.uint64)[_ascending(units) == self._units]


class LaterParting:
    """All rows validate: they came after those that were trained on."""

    def validates(self, start: int, stop: int) -> np.ndarray:
        return np.ones(stop - start, dtype=np.bool_)


class NotedParting:
    """The answers of another parting, read from a growing file."""

    def __init__(self, noted: Grown) -> None:
        self._noted = noted

    def validates(self, start: int, stop: int) -> np.ndarray:
        return self._noted.read(start, stop)

    @classmethod
    def note(cls, parting: Parting, rows: int, noted: Grown) -> NotedParting:
        """Write the answers of a parting for all rows to a file."""
        noted.open(0)
        try:
            for start in range(0, rows, 1 << 20):
                noted.append(parting.validates(start, min(start + (1 << 20), rows)))
        finally:
            noted.close()
        return cls(noted)


def _from_above(pieces: Callable[[], Iterator[np.ndarray]], wanted: int) -> tuple[np.uint64, int]:
    """The largest number that at least `wanted` of all numbers reach, and how many equal to it are among the `wanted`
    largest; found by counting 16 bits at a time, without sorting."""
    prefix = 0
    for shift in range(64 - _BITS, -1, -_BITS):
        counts = np.zeros(1 << _BITS, dtype=np.int64)
        for words in pieces():
            if shift < 64 - _BITS:
                words = words[words >> np.uint64(shift + _BITS) == prefix]
            digits = (words >> np.uint64(shift)) & np.uint64((1 << _BITS) - 1)
            counts += np.bincount(digits.astype(np.int64), minlength=1 << _BITS)
        from_above = np.cumsum(counts[::-1])[::-1]
        digit = int(np.flatnonzero(from_above >= wanted)[-1]) if wanted else 0
        wanted -= int(from_above[digit + 1]) if digit + 1 < len(counts) else 0
        prefix = (prefix << _BITS) | digit
    return np.uint64(prefix), wanted


def _ascending(units: np.ndarray) -> np.ndarray:
    """Unsigned numbers in the order of signed ones."""
    return units.view(np.uint64) ^ np.uint64(1 << 63)


def parting(settings: PrepareSettings, rows: int, times: ReadTimes | None) -> Parting:
    """The split of `rows` rows by these settings.

    Raises:
        InputError: a split by time without a column of times.
    """
    if settings.split == "random":
        return RandomParting(settings.validation, settings.seed)
    if settings.split == "ordered":
        return OrderedParting(settings.validation, rows)
    if times is None:
        raise InputError('a split by time needs a column of times: name it in the schema, as time = "…"')
    return TimeParting(settings.validation, rows, times)
