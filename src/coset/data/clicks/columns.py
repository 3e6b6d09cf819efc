"""Columns on disk: `.npy` files of one dimension, appended to in chunks, and read by ranges of rows.

They are read with ordinary reads into reused arrays, not through a mapping: mapped pages count as memory of the
process, and would hide what a model takes.
"""

from __future__ import annotations

import re
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import quote

import numpy as np
from numpy.lib import format as npy

from coset.errors import InputError
from coset.files import replacing

HEADER = 128
"""Bytes of the header of a file of one dimension, however many numbers it holds."""


_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00v\x00\{'descr': '([|<][fiu][1248])', 'fortran_order': False, 'shape': \((\d{1,18}),\), \} *\n"
)


@dataclass(frozen=True)
class ColumnFacts:
    """A column: the type of its numbers, how many there are, and their checksum."""

    type: str
    length: int
    crc32: str

    @property
    def bytes(self) -> int:
        """Bytes of its file."""
        return self.length * np.dtype(self.type).itemsize + HEADER


@dataclass(frozen=True)
class FileFacts:
    """A file as it was written: how large it is, and its checksum."""

    bytes: int
    crc32: str

    @classmethod
    def of(cls, path: Path) -> FileFacts:
        """The facts of an existing file."""
        size, found = 0, 0
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                size, found = size + len(piece), zlib.crc32(piece, found)
        return cls(size, f"{found:08x}")


_PIECE = 1 << 20


LONGEST_NAME = 200
"""Most characters of a column's name in file names: systems allow 255, and temporary files need some."""


def file_name(name: str) -> str:
    """A file name made from the name of a column, whatever characters that holds."""
    return quote(name, safe=" ")


def narrowest(largest: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds `largest`."""
    return np.min_scalar_type(largest)


class ColumnWriter:
    """Writes one column, in chunks; the file appears, whole, once the column is closed.

    Used in a `with` block: when that raises, there is no file. The caller flushes its folder.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.path = path
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.length = 0
        self.checksum = 0

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        aside = self._stack.enter_context(replacing(self.path, flush_folder=False))
        self._file: BinaryIO = self._stack.enter_context(aside.open("wb"))
        self._head()
        return self

    def append(self, values: np.ndarray) -> None:
        """Write one more chunk; the caller makes sure that the type of the column holds the values."""
        chunk = np.ascontiguousarray(values, dtype=self.dtype)
        self._file.write(chunk.data)
        self.checksum = zlib.crc32(chunk.data, self.checksum)
        self.length += len(chunk)

    @property
    def facts(self) -> ColumnFacts:
        """The facts of the file for `prepared.json`."""
        return ColumnFacts(self.dtype.name, self.length, f"{self.checksum:08x}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._file.seek(0)
            self._head()
            self._file.flush()
        self._stack.__exit__(kind, error, at)

    def _head(self) -> None:
        head = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.length,)}
        npy.write_array_header_1_0(self._file, head)
        assert self._file.tell() == HEADER, "numpy's header has another length"


class ColumnReader:
    """Reads ranges of one column into existing arrays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; prepare the data again") from None
        # Not by numpy, which evaluates a header as a Python expression and raises many kinds of errors.
        head = _HEAD.fullmatch(self._file.read(HEADER))
        if head is None:
            self._file.close()
            raise InputError(f"{path}: not a column of prepared data; prepare the data again")
        self.dtype: np.dtype[Any] = np.dtype(head[1].decode())
        self.length = int(head[2])

    def read_into(self, out: np.ndarray, start: int) -> None:
        """Fill `out`, which is contiguous, with the numbers from `start` on."""
        view = memoryview(out.view(np.uint8))  # type: ignore[arg-type, unused-ignore]
        self._file.seek(HEADER + start * self.dtype.itemsize)
        while view:
            count = self._file.readinto(view)
            if not count:
                raise InputError(f"{self.path}: cut off; prepare the data again")
            view = view[count:]

    def read(self, start: int, stop: int) -> np.ndarray:
        """The numbers from `start` to before `stop`."""
        out = np.empty(stop - start, dtype=self.dtype)
        if len(out):
            self.read_into(out, start)
        return out

    def mapped(self) -> np.ndarray:
        """All numbers, mapped into memory."""
        try:
            return np.memmap(self.path, dtype=self.dtype, mode="r", offset=HEADER, shape=(self.length,))
        except ValueError:
            raise InputError(f"{self.path}: cut off; prepare the data again") from None

    def check(self, kind: str, length: int, checksum: str) -> None:
        """Raise an `InputError` unless the numbers are those that were written."""
        if (self.dtype.name, self.length) != (kind, length):
            raise InputError(
                f"{self.path}: damaged, it holds {self.length} numbers of {self.dtype}, expected {length} of {kind}; "
                "prepare the data again"
            )
        found, piece = 0, bytearray(_PIECE)
        self._file.seek(HEADER)
        while count := self._file.readinto(piece):
            found = zlib.crc32(memoryview(piece)[:count], found)
        if f"{found:08x}" != checksum:
            raise InputError(f"{self.path}: damaged, its contents do not match their checksum; prepare the data again")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
