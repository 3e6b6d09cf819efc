"""Files of data as readers see them: unpacked and in UTF-8, whether on disk, in an archive or from a pipe.

The first bytes of a file, not its name, tell its format.
"""

from __future__ import annotations

import codecs
import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from coset.data.foreign import HEAD, encoding, foreign
from coset.data.packed import Readable, Stream, packing_of, unpacked
from coset.errors import InputError, brief

LARGEST = 4 << 30
"""Most bytes of an unpacked file in an archive; a small archive can hold far more."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_PIPES: dict[tuple[int, int], bytes] = {}  # the contents of pipes, which can be read once


@dataclass(frozen=True)
class DataFile:
    """One file of rows.

    Args:
        where: its name in errors.
        opener: opens its stored bytes.
        path: its place on disk, if it has one.
        keys: values of columns for all its rows, from the names of its folders, as text.
    """

    where: str
    opener: Callable[[], BinaryIO | Readable] = field(repr=False)
    path: Path | None = None
    keys: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def open(self, offset: int = 0, through: Callable[[Any], Readable] = lambda file: file) -> Iterator[Stream]:
        """Its bytes from an offset on, unpacked; text in another encoding becomes UTF-8. `through` wraps the stored
        file."""
        file = self.opener()
        try:
            if offset and self.on_disk is not None and isinstance(file, io.BufferedReader):
                file.seek(offset)
                yield Stream(through(file), self.where)
                return
            stream = unpacked(through(file), self.where)
            if (named := encoding(stream.peek(HEAD))) is not None:
                stream = Stream(_Recoded(stream, named, self.where), self.where)
            stream.skip(offset)
            yield stream
        finally:
            if close := getattr(file, "close", None):
                close()

    @cached_property
    def head(self) -> bytes:
        """The first bytes, unpacked."""
        with self.open() as stream:
            return stream.peek(HEAD)

    @cached_property
    def on_disk(self) -> Path | None:
        """The path of the file on disk with the bytes that `open` gives, if there is one."""
        if self.path is None:
            return None
        with self.path.open("rb") as file:
            head = file.read(HEAD)
        return None if packing_of(head) or encoding(head) else self.path

    def read(self) -> bytes:
        """All of its bytes."""
        with self.open() as stream:
            return stream.all()

    def check_known(self) -> None:
        """Raise an `InputError` if the file is empty, or of a format that coset recognises but does not read."""
        if not self.head:
            raise empty(self.where)
        if (found := foreign(self.head)) is not None:
            raise InputError(f"{self.where}: {found[0]}, which coset does not read; {found[1]}")


def empty(where: str) -> InputError:
    """What to raise where a file has nothing in it."""
    return InputError(f"{where}: the file is empty; expected a header line and rows")


def data_file(path: Path) -> DataFile:
    """The file at `path`. The contents of a pipe are kept, so that they can be read again.

    Raises:
        InputError: it is a device, which may give bytes for ever.
    """
    status = path.stat()
    if stat.S_ISREG(status.st_mode):
        return DataFile(str(path), lambda: path.open("rb"), path)
    if not stat.S_ISFIFO(status.st_mode) and not stat.S_ISSOCK(status.st_mode):
        raise InputError(f"{path}: neither a file nor a pipe; give the path of a file, or pipe one in")
    key = (status.st_dev, status.st_ino)
    if key not in _PIPES:
        _PIPES[key] = path.read_bytes()
    return DataFile(str(path), lambda: io.BytesIO(_PIPES[key]))


def begins(file: DataFile, marks: tuple[bytes, ...], endings: tuple[str, ...]) -> bool:
    """Whether a file begins with one of these marks. Its name counts only for a truncated file that is shorter than a
    mark and begins like one."""
    if file.head.startswith(marks):
        return True
    return file.where.lower().endswith(endings) and any(mark.startswith(file.head) for mark in marks)


def is_archive(file: DataFile) -> bool:
    """Whether `file` is a zip archive."""
    return begins(file, _ZIP, (".zip",))


class Archive:
    """The files in a zip archive, by name.

    Raises:
        InputError: it is damaged, or a zip archive of another kind: a workbook, arrays, a model.
    """

    def __init__(self, file: DataFile) -> None:
        self._file = file
        with self._opened() as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        self.names = [entry.filename for entry in entries]
        self._sizes = {entry.filename: entry.file_size for entry in entries}
        for ends, what, way in (
            (("xl/workbook.xml",), "an Excel workbook", "save its sheet as CSV UTF-8"),
            (("content.xml",), "a workbook of OpenDocument", "save its sheet as CSV in UTF-8"),
            ((".npy",), "NumPy arrays (.npz)", "write the table as CSV or Parquet"),
            (("/data.pkl",), "a file of torch.save", "write the table as CSV or Parquet"),
        ):
            if any(name.endswith(ends) for name in self.names):
                raise InputError(f"{file.where}: {what}, which coset does not read; {way}")

    def member(self, name: str) -> DataFile:
        """The file of that name."""
        return DataFile(f"{self._file.where}/{name}", lambda: self._open(name))

    def size(self, name: str) -> int:
        """Bytes of a file when unpacked."""
        return self._sizes[name]

    def listed(self) -> str:
        """The names of the files, as many as fit an error."""
        names = ", ".join(brief(name, 60, quoted=False) for name in self.names[:6])
        return f"{names} and {len(self.names) - 6} more" if len(self.names) > 6 else names

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        source = self._file.on_disk or io.BytesIO(self._file.read())
        with _guarded(self._file.where), zipfile.ZipFile(source) as archive:
            yield archive

    def _open(self, name: str) -> Readable:
        source = self._file.on_disk or io.BytesIO(self._file.read())
        with _guarded(self._file.where):
            archive = zipfile.ZipFile(source)
            size = archive.getinfo(name).file_size
        if size > LARGEST:
            archive.close()
            raise InputError(
                f"{self._file.where}/{name}: {size:,} bytes when unpacked, but coset reads at most {LARGEST:,} from an "
                "archive; unpack it and load the file by its path"
            )
        return _Member(archive, name, size, self._file.where)


class _Member:
    """The bytes of a file in an archive, whose number must be the announced one."""

    def __init__(self, archive: zipfile.ZipFile, name: str, size: int, where: str) -> None:
        self._archive, self._name, self._size, self._where = archive, name, size, where
        try:
            with _guarded(where):
                self._file = archive.open(name)
        except InputError:
            archive.close()
            raise
        self._read = 0

    def read(self, size: int, /) -> bytes:
        with _guarded(self._where):
            data = self._file.read(size)
            self._read += len(data)
            if not data and size and self._read != self._size:
                raise zipfile.BadZipFile(f"{self._name} has {self._read:,} bytes, where {self._size:,} are announced")
            return data

    def close(self) -> None:
        self._archive.close()


@contextmanager
def _guarded(where: str) -> Iterator[None]:
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zipfile and the decompressors raise a dozen kinds on damaged archives
        raise InputError(
            f"{where}: not readable as a zip archive ({brief(str(error) or type(error).__name__, 200, quoted=False)}); "
            "it seems cut off or damaged: remove it and fetch it again"
        ) from None


class _Recoded:
    """Text of another encoding as UTF-8."""

    def __init__(self, file: Readable, name: str, where: str) -> None:
        self._file, self._name, self._where = file, name, where
        self._decoder = codecs.getincrementaldecoder(name)()
        self._ended, self._ready = False, b""

    def read(self, size: int, /) -> bytes:
        while not self._ready and not self._ended:
            packed = self._file.read(max(size, 64))
            self._ended = not packed
            try:
                self._ready = self._decoder.decode(packed, final=self._ended).encode("utf-8")
            except UnicodeError:
                raise InputError(
                    f"{self._where}: begins as {self._name} text and continues as something else; save it as UTF-8"
                ) from None
        data, self._ready = self._ready[:size], self._ready[size:]
        return data


def visible(name: str) -> bool:
    """Whether a file in an archive is for readers, and not for a system."""
    parts = PurePosixPath(name).parts
    return not any(part.startswith((".", "__MACOSX")) for part in parts) and os.path.basename(name) != ""
