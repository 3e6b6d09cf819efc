"""Keys of categories → numbers, while a log is read: in the order of their first appearance, or by hashing.

The journal keeps the distinct keys in a file, from which the table is made again.
"""

from __future__ import annotations

import numpy as np

from coset.data.clicks.block import Keys
from coset.data.clicks.columns import file_name
from coset.data.clicks.journal import Grown, Journal
from coset.errors import InputError
from coset.kernels import distinct
from coset.partitions import MultiplyShift

_SMALLEST = 1 << 10
_LARGEST = 1 << 31


class KeyTable:
    """The keys so far, by number; 16 to 32 bytes each."""

    def __init__(self, expected: int = 0) -> None:
        size = _SMALLEST
        while size // 4 * 3 <= expected:
            size *= 2
        self._slots = np.full((size, 3), -1, dtype=np.int32)
        self.known = 0

    def add(self, keys: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of keys, and the places where new ones first occur."""
        numbers, fresh = np.empty(len(keys), dtype=np.int32), np.empty(len(keys), dtype=np.int32)
        begin, before = 0, self.known
        while True:
            slots = self._slots
            begin, self.known = distinct.number(
                keys, missing, slots, slots.ctypes.data, self.known, begin, numbers, fresh[self.known - before :]
            )
            if begin == len(keys):
                return numbers, fresh[: self.known - before]
            if len(slots) == _LARGEST:
                raise InputError(f"a feature of more than {self.known:,} categories: hash it")
            larger = np.full((2 * len(slots), 3), -1, dtype=np.int32)
            distinct.move(slots, larger)
            self._slots = larger

    def find(self, keys: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """The numbers of keys; -1 where missing, -2 where not known."""
        numbers = np.empty(len(keys), dtype=np.int32)
        distinct.find(keys, missing, self._slots, self._slots.ctypes.data, numbers)
        return numbers


class Distinct:
    """Numbers the categories of a feature in the order of their first appearance."""

    def __init__(self, journal: Journal, name: str, texts: bool, lists: bool) -> None:
        stem = file_name(name)
        self.codes = journal.file(f"{stem}.codes", np.int32)
        self.keys = journal.file(f"{stem}.keys", np.int64)
        self.lengths = journal.file(f"{stem}.lengths", np.int32) if lists else None
        self.text = journal.file(f"{stem}.text", np.uint8) if texts else None
        self.text_lengths = journal.file(f"{stem}.text-lengths", np.int32) if texts else None
        self._table = KeyTable()

    @property
    def files(self) -> list[Grown]:
        """The files with what is known of the categories."""
        return [each for each in (self.codes, self.lengths, self.keys, self.text, self.text_lengths) if each]

    def restore(self) -> None:
        """Restore the table from the journal."""
        self._table = KeyTable(self.keys.length)
        for keys in self.keys.pieces():
            self._table.add(keys, np.zeros(len(keys), dtype=np.uint8))

    def add(self, keys: Keys) -> None:
        """Number the categories of more rows."""
        numbers, fresh = self._table.add(keys.keys, keys.missing)
        self.codes.append(numbers)
        if self.lengths is not None:
            assert keys.lengths is not None
            self.lengths.append(keys.lengths)
        if len(fresh):
            self.keys.append(keys.keys[fresh])
            if self.text is not None and self.text_lengths is not None:
                texts = keys.texts(fresh)
                self.text.append(b"".join(texts))
                self.text_lengths.append(np.array([len(text) for text in texts]))

    def forget(self) -> None:
        """Free the memory of the table; the journal keeps the keys."""
        self._table = KeyTable()


class Hashed:
    """Numbers the categories of a feature by a hash."""

    def __init__(self, journal: Journal, name: str, lists: bool, buckets: MultiplyShift) -> None:
        stem = file_name(name)
        self.codes = journal.file(f"{stem}.codes", np.int32)
        self.lengths = journal.file(f"{stem}.lengths", np.int32) if lists else None
        self.buckets = buckets

    @property
    def files(self) -> list[Grown]:
        """The files with what is known of the categories."""
        return [each for each in (self.codes, self.lengths) if each]

    def restore(self) -> None:
        """Nothing: a hash has no table."""

    def add(self, keys: Keys) -> None:
        """Number the categories of more rows."""
        numbers = np.empty(len(keys.keys), dtype=np.int32)
        lower, upper = self.buckets.keys
        distinct.hashed(keys.keys, keys.missing, lower, upper, self.buckets.modulus, numbers)
        self.codes.append(numbers)
        if self.lengths is not None:
            assert keys.lengths is not None
            self.lengths.append(keys.lengths)

    def forget(self) -> None:
        """Nothing: a hash has no table."""
