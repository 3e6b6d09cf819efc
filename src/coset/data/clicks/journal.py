"""Files that only grow, and a note of how far they are consistent, from which the reading of a log is resumed.

The note is replaced as a whole, after the data that it covers have reached the disk. Opening a file again cuts off what
a killed process wrote beyond the note, so a resumed reading gives the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from coset import settings
from coset.errors import InputError
from coset.files import read_json, write_json

NOTE = "progress.json"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Note:
    """How far a log was read.

    Args:
        file: the number of the file that is read next, `offset` where in it, and `row` the number of its row there.
        rows: good rows so far, and `skipped` bad ones.
        rows_by_file: good rows of the files that were read, and of the one that is.
        dates, negative: see `Manner`.
        whole: whether the whole log was read.
        sizes: bytes of all growing files.
    """

    file: int = 0
    offset: int = 0
    row: int = 1
    rows: int = 0
    skipped: int = 0
    rows_by_file: tuple[int, ...] = ()
    dates: bool | None = None
    negative: bool | None = None
    whole: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = (self.file, self.offset, self.row, self.rows, self.skipped, *self.rows_by_file, *self.sizes.values())
        if min(counts) < 0:
            raise InputError(f"a note of what was read has a negative number, {min(counts)}; begin anew elsewhere")


class Grown:
    """One file of a journal: numbers of one type, or bytes."""

    def __init__(self, path: Path, dtype: Any) -> None:
        self.path = path
        self.dtype = np.dtype(dtype)
        self._file: BinaryIO | None = None

    def open(self, size: int) -> None:
        """Open for writing after its first `size` bytes."""
        self._file = self.path.open("ab", buffering=0)
        if self._file.tell() < size:
            raise InputError(f"{self.path}: cut off; begin anew in another folder")
        self._file.truncate(size)
        self._file.seek(size)

    def append(self, values: np.ndarray | bytes) -> None:
        """Append values."""
        assert self._file is not None
        left = memoryview(values) if isinstance(values, bytes) else _bytes_of(values, self.dtype)
        while left:
            left = left[self._file.write(left) :]

    def tell(self) -> int:
        """Bytes of the file now."""
        assert self._file is not None
        return int(self._file.tell())

    def flush(self) -> None:
        """Flush the file to the disk."""
        assert self._file is not None
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def length(self) -> int:
        """How many numbers it holds."""
        return self.path.stat().st_size // int(self.dtype.itemsize)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """The numbers from `start` to before `stop`."""
        size = self.dtype.itemsize
        count = (self.length if stop is None else stop) - start
        found = np.fromfile(self.path, dtype=self.dtype, count=count, offset=start * size)
        if len(found) < count:
            raise InputError(f"{self.path}: cut off; begin anew in another folder")
        return found

    def is_constant(self) -> bool:
        """Whether all its numbers are equal."""
        return all((numbers == self.read(0, 1)).all() for numbers in self.pieces())

    def pieces(self, count: int | None = None) -> Iterator[np.ndarray]:
        """All numbers, or the first `count`, in pieces of a million."""
        length = self.length if count is None else count
        for start in range(0, length, _PIECE):
            yield self.read(start, min(start + _PIECE, length))


def digest(files: Iterable[Grown]) -> str:
    """A digest of the numbers in some files, in which -0 is 0 and all NaN are equal."""
    found = hashlib.sha256()
    for file in files:
        for numbers in file.pieces():
            if numbers.dtype.kind == "f":
                numbers = np.where(np.isnan(numbers), np.float32(np.nan), numbers + np.float32(0))
            found.update(numbers.data)
        found.update(b"%d;" % file.length)
    return found.hexdigest()


def _bytes_of(values: np.ndarray, dtype: np.dtype[Any]) -> memoryview:
    array = np.ascontiguousarray(values, dtype=dtype)
    return memoryview(array.view(np.uint8))  # type: ignore[arg-type, unused-ignore]


class Journal:
    """The growing files of a folder; used in a `with` block while they are written.

    Args:
        folder: made if it does not exist.

    Raises:
        InputError: its note is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.note = Note()
        self._files: dict[str, Grown] = {}
        folder.mkdir(exist_ok=True)
        if (folder / NOTE).exists():
            self.note = settings.make(Note, read_json(folder / NOTE), str(folder / NOTE))

    def file(self, name: str, dtype: Any) -> Grown:
        """The file of that name, which may begin with `../`."""
        if name not in self._files:
            self._files[name] = Grown(self.folder / name, dtype)
        return self._files[name]

    def __enter__(self) -> Self:
        for name, file in self._files.items():
            file.open(self.note.sizes.get(name, 0))
        self._marked = self.note
        self.mark()
        return self

    def mark(self, **changes: Any) -> Note:
        """Mark that what was written until now is consistent with the note."""
        # In one assignment: an interrupt finds the last mark or this one.
        sizes = {name: file.tell() for name, file in self._files.items()}
        self._marked = replace(self._marked, **changes, sizes=sizes)
        return self._marked

    def commit(self) -> None:
        """Flush all files and then the note of the last mark to the disk."""
        for file in self._files.values():
            file.flush()
        self.note = self._marked
        write_json(self.folder / NOTE, settings.plain(self.note))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()
