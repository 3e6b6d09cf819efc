"""Columns on disk: `.npy` files of one dimension, appended to in chunks, and read by ranges of rows.

They are read with ordinary reads into arrays that are used again, not through a mapping: what a mapping has touched
counts as memory of the process, and would hide what a model takes.
"""

from __future__ import annotations

import zlib
from contextlib import ExitStack
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


def file_name(name: str) -> str:
    """A name for a file that is made of the name of a column, whatever characters that holds."""
    return quote(name, safe=" ")


def narrowest(largest: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds `largest`."""
    return np.min_scalar_type(largest)


class ColumnWriter:
    """Writes one column, in chunks; the file is there, wholly, once the column was closed.

    Used in a `with` block: when that raises, there is no file. Its folder is left to be flushed.
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
        """Write one more chunk; values that the type of the column cannot hold are the caller's defect."""
        chunk = np.ascontiguousarray(values, dtype=self.dtype)
        self._file.write(chunk.data)
        self.checksum = zlib.crc32(chunk.data, self.checksum)
        self.length += len(chunk)

    @property
    def facts(self) -> dict[str, Any]:
        """What `prepared.json` says of the file."""
        return {"type": self.dtype.name, "length": self.length, "crc32": f"{self.checksum:08x}"}

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
    """Reads ranges of one column into arrays that are there already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; prepare the data again") from None
        try:
            npy.read_magic(self._file)
            (self.length,), _, self.dtype = npy.read_array_header_1_0(self._file)
        except ValueError as error:
            self._file.close()
            raise InputError(f"{path}: not a column of prepared data ({error}); prepare the data again") from None
        self._begin = self._file.tell()

    def read_into(self, out: np.ndarray, start: int) -> None:
        """Fill `out`, which is contiguous, with what begins at the number `start`."""
        view = memoryview(out.view(np.uint8))  # type: ignore[arg-type, unused-ignore]
        self._file.seek(self._begin + start * self.dtype.itemsize)
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

    def check(self, checksum: str) -> None:
        """Raise an `InputError` unless the numbers are those that were written."""
        found, piece = 0, bytearray(1 << 20)
        self._file.seek(self._begin)
        while count := self._file.readinto(piece):
            found = zlib.crc32(memoryview(piece)[:count], found)
        if f"{found:08x}" != checksum:
            raise InputError(f"{self.path}: damaged, its contents do not match their checksum; prepare the data again")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
