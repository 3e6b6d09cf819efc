"""A file of a log: what tells it from others, and its rows, from any place on, if it is text."""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from coset.data.files import Archive, DataFile, data_file, empty, is_archive, visible
from coset.data.shards import Shard
from coset.data.sources import Source
from coset.data.sources.delimited import Delimited
from coset.data.sources.registry import claimed
from coset.data.sources.text import Dialect, Head, Rows, first_line, head_of, rows
from coset.errors import InputError

_ENDS = 1 << 20


@dataclass(frozen=True)
class LogRows(Rows):
    """Whole rows of a file, and how many bytes of it, packed as it is, were read so far."""

    consumed: int


class LogFile:
    """One file of a log.

    Attributes:
        path: where it is.
        name: what it is called in the log.
        keys: what its folders say of all its rows: values of columns, as text.
        size: bytes, as it is.
        data: the file as sources read it: of a zip archive, what is in it.
        inside: how many bytes that is unpacked; None where the file is no archive.

    Raises:
        InputError: there is no such file, it is empty, or packed in a way that is not known, or an archive of more than
            one file.
    """

    def __init__(self, shard: Shard) -> None:
        path = shard.path
        self.path, self.name, self.keys = path, shard.name, shard.keys
        try:
            self._status = path.stat()
            if not stat.S_ISREG(self._status.st_mode):
                if not stat.S_ISFIFO(self._status.st_mode) and not stat.S_ISSOCK(self._status.st_mode):
                    raise InputError(f"{path}: neither a file nor a pipe; give the path of a file")
                raise InputError(
                    f"{path}: a pipe, which can be read only once; write it to a file, so that a preparation can go on "
                    "where it was stopped"
                )
            self.size = self._status.st_size
            if not self.size:
                raise empty(str(path))
            file = replace(data_file(path), keys=self.keys)
            self.data: DataFile = file
            self.inside: int | None = None
            if is_archive(file):
                self.data, self.inside = _only_member(file)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None

    def source(self, chosen: str | None = None) -> Source | None:
        """The source that gives the columns of the file; None for text, which kernels read.

        Raises:
            InputError: there is no source of the name that was chosen.
        """
        found = claimed(self.data, chosen)
        return None if found is None or isinstance(found, Delimited) else found

    @cached_property
    def is_text(self) -> bool:
        """Whether kernels read it, unless a source is chosen for it."""
        return self.source() is None

    def fingerprint(self, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """What tells this file from another one, or from itself after a change: its size, its first and last megabyte,
        and what its folders say, of these columns or of all."""
        with self.path.open("rb") as file:
            checksum = zlib.crc32(file.read(_ENDS))
            file.seek(max(0, self.size - _ENDS))
            checksum = zlib.crc32(file.read(_ENDS), checksum)
        keys = {key: value for key, value in self.keys.items() if columns is None or key in columns}
        return {"size": self.size, "crc32_of_ends": f"{checksum:08x}"} | ({"keys": keys} if keys else {})

    @cached_property
    def head(self) -> Head:
        """How its text begins.

        Raises:
            InputError: it is no text, but something that is known, or it is damaged.
        """
        self.data.check_known()
        if is_archive(self.data):
            raise InputError(f"{self.path}: a zip archive in another one; unpack it, and give what is in it")
        with self.data.open() as stream:
            return head_of(stream)

    def first_line(self) -> str:
        """The first line that is not blank."""
        for found in self.rows(None):
            if line := first_line(found.data):
                return line
        raise empty(str(self.path))

    def first_lines(self) -> list[bytes]:
        """The lines of the first megabyte of the text; of a line that goes on after it, whole words."""
        found = self.head.data.split(b"\n")
        if self.head.cut:
            found[-1] = re.sub(rb"[^ \t]*$", b"", found[-1])
        return found

    def rows(self, dialect: Dialect | None, offset: int = 0) -> Iterator[LogRows]:
        """All rows from an offset on at which one begins; lines where there is no dialect.

        Raises:
            InputError: the file is cut off or damaged, changes while it is read, or is no text.
        """
        begin = offset or self.head.offset
        watched: list[_Watched] = []

        def watch(file: Any) -> _Watched:
            watched.append(_Watched(self, file))
            return watched[0]

        with self.data.open(begin, watch) as stream:
            for found in rows(stream, str(self.path), self.head, dialect, begin):
                yield LogRows(found.data, found.line, found.count, found.offset, watched[0].consumed)

    def check_unchanged(self, read: int | None = None) -> None:
        """Raise an `InputError` if the file is not what it was when it was opened."""
        now = os.stat(self.path)
        if read is not None and read != self.size and now.st_size == self.size:
            raise InputError(f"{self.path}: {read} of {self.size} bytes could be read; it changes while it is read")
        if (now.st_size, now.st_mtime_ns) != (self._status.st_size, self._status.st_mtime_ns):
            verb = "shrank" if now.st_size < self.size else "grew" if now.st_size > self.size else "changed"
            raise InputError(
                f"{self.path}: the file {verb} while it was read, from {self.size} to {now.st_size} bytes; prepare a "
                "file that nothing writes to"
            )


def _only_member(file: DataFile) -> tuple[DataFile, int]:
    """The only file in a zip archive, and its bytes, unpacked."""
    archive = Archive(file)
    names = [name for name in archive.names if visible(name)]
    if len(names) != 1:
        held = f"{len(names)} files ({archive.listed()})" if names else "no file"
        raise InputError(f"{file.where}: a zip archive of {held}; unpack it, and give the log that was in it")
    return replace(archive.member(names[0]), keys=file.keys), archive.size(names[0])


class _Watched:
    """The bytes of a log as they lie, in an archive or not: no more than it had, and it must not have changed once they
    are read."""

    def __init__(self, log: LogFile, file: Any) -> None:
        self._log, self._file = log, file
        self._whole = log.size if log.inside is None else log.inside
        self._at = file.tell() if log.inside is None else 0

    @property
    def consumed(self) -> int:
        """Bytes of the log that were read, those of an archive in proportion."""
        return self._log.size * self._at // max(self._whole, 1)

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        data: bytes = self._file.read(min(size, self._whole - self._at))
        self._at += len(data)
        if size and not data:
            self._log.check_unchanged(None if self._log.inside is not None else self._at)
        return data
