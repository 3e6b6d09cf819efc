"""The bytes of a log: plain, packed with gzip, zstd, bzip2 or xz, or the one file of a zip archive, in chunks of whole
lines, from any place on."""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from coset.data.files import Archive, DataFile, data_file, visible
from coset.data.foreign import HEAD, encoding, foreign
from coset.data.packed import Readable, packing_of, unpacked
from coset.data.shards import Shard
from coset.data.sources import Source
from coset.data.sources.delimited import Delimited
from coset.data.sources.registry import claimed
from coset.errors import InputError

CHUNK = 1 << 22
"""Bytes of text that are worked on at once."""
LONGEST = 1 << 26
"""Bytes that a line may have."""

_PARQUET, _ZIP = b"PAR1", (b"PK\x03\x04", b"PK\x05\x06")
_MARK = b"\xef\xbb\xbf"  # that some programs put before UTF-8
_ENDS = 1 << 20


@dataclass(frozen=True)
class Lines:
    """Whole lines of a file.

    Args:
        data: the lines, each with a line feed at its end.
        offset: where they end in the file, unpacked.
        consumed: bytes of the file, packed as it is, that were read so far.
    """

    data: bytes
    offset: int
    consumed: int


class LogFile:
    """One file of a log.

    Attributes:
        path: where it is.
        name: what it is called in the log.
        keys: what its folders say of all its rows: values of columns, as text.
        size: bytes, as it is.

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
            with path.open("rb") as file:
                head = file.read(8)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        self.size = self._status.st_size
        if not self.size:
            raise InputError(f"{path}: the file is empty")
        self._member = _only_member(path) if head.startswith(_ZIP) else None
        self._packed = bool(packing_of(head)) or self._member is not None
        self._begins: bytes | None = None

    @property
    def data(self) -> DataFile:
        """The file as sources read it."""
        return replace(data_file(self.path), keys=self.keys)

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

    def first_line(self) -> bytes:
        """The first line that is not blank, without the line feed."""
        for lines in self.lines():
            for line in lines.data.split(b"\n"):
                if found := line.rstrip(b"\r"):
                    return found
        raise InputError(f"{self.path}: the file is empty")

    def first_lines(self) -> list[bytes]:
        """The lines of the first megabyte of the text; of a line that goes on after it, whole words.

        Raises:
            InputError: it is no text, but something that is known, or it is damaged.
        """
        returns = self._ends_in_returns()
        begins = (self._begins or b"").removeprefix(_MARK)
        found = (begins.replace(b"\r", b"\n") if returns else begins).split(b"\n")
        if len(self._begins or b"") == _ENDS:
            found[-1] = re.sub(rb"[^ \t]*$", b"", found[-1])
        return found

    def lines(self, offset: int = 0) -> Iterator[Lines]:
        """All lines from an offset on that is the beginning of a line.

        Raises:
            InputError: the file is cut off or damaged, changes while it is read, or is no text.
        """
        kept, at_begin = b"", offset == 0
        # Lines that end in carriage returns alone, as old programs write them, are lines all the same.
        returns = self._ends_in_returns()
        with self._opened() as raw:
            for data in self._unpacked(raw, offset):
                if at_begin and data.startswith(_MARK):
                    data, offset = data[len(_MARK) :], len(_MARK)
                at_begin = False
                if returns:
                    data = data.replace(b"\r", b"\n")
                cut = data.rfind(b"\n") + 1
                if not cut:
                    kept += data
                    if len(kept) > LONGEST:
                        raise InputError(f"{self.path}: a line of more than {LONGEST >> 20} MiB; is it a text file?")
                    continue
                whole = kept + data[:cut]
                offset += len(whole)
                kept = data[cut:]
                yield Lines(whole, offset, raw.tell())
            # Before the rest is taken for a line: that of a file that shrank is a part of one.
            self.check_unchanged(raw.tell())
            if kept:
                yield Lines(kept + b"\n", offset + len(kept), self.size)

    def _ends_in_returns(self) -> bool:
        """Whether lines end in carriage returns and no line feeds, as far as the beginning of the text tells.

        Raises:
            InputError: it is no text of the sort that is read, but something that is known.
        """
        if self._begins is None:
            with self._opened() as raw:
                self._begins = begins = unpacked(raw, str(self.path)).peek(_ENDS)
            within = " within what it is packed in" if self._packed else ""
            if begins.startswith((_PARQUET, *_ZIP)):
                name = "Parquet" if begins.startswith(_PARQUET) else "a zip archive"
                raise InputError(f"{self.path}: {name}{within}; unpack it, and give what is in it")
            if (found := foreign(begins[:HEAD])) is not None:
                raise InputError(f"{self.path}: {found[0]}{within}, which coset does not read; {found[1]}")
            if (named := encoding(begins[:HEAD])) is not None:
                raise InputError(f"{self.path}: text in {named}; save it as UTF-8 (iconv -f {named.lower()} -t utf-8)")
        return b"\n" not in self._begins and b"\r" in self._begins

    @contextmanager
    def _opened(self) -> Iterator[_Until | _Within]:
        """Its bytes as they lie, or those of the file in the archive, as they lie in it."""
        if self._member is not None:
            member, whole = self._member
            with closing(member.opener()) as inside:  # type: ignore[type-var]
                yield _Within(inside, whole, self.size)
            return
        with self.path.open("rb") as file:
            yield _Until(file, self.size)  # what is added while it is read is no part of it

    def _unpacked(self, raw: _Until | _Within, offset: int) -> Iterator[bytes]:
        if isinstance(raw, _Until) and not self._packed:
            raw.seek(offset)
        file = unpacked(raw, str(self.path)) if self._packed else raw
        left = offset if self._packed else 0
        while left:  # packed bytes can only be skipped by unpacking them
            data = file.read(min(left, CHUNK))
            if not data:
                raise InputError(f"{self.path}: shorter than when it was first read; begin anew elsewhere")
            left -= len(data)
        while data := file.read(CHUNK):
            yield data

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


def _only_member(path: Path) -> tuple[DataFile, int]:
    """The only file in a zip archive, and its bytes, unpacked."""
    archive = Archive(data_file(path))
    names = [name for name in archive.names if visible(name)]
    if len(names) != 1:
        held = f"{len(names)} files ({archive.listed()})" if names else "no file"
        raise InputError(f"{path}: a zip archive of {held}; unpack it, and give the log that was in it")
    return archive.member(names[0]), archive.size(names[0])


class _Within:
    """The bytes of a file in an archive; where its reader stands is told as if it read the archive itself."""

    def __init__(self, file: Readable, whole: int, size: int) -> None:
        self._file, self._whole, self._size = file, whole, size
        self._read = 0

    def tell(self) -> int:
        return self._size * self._read // max(self._whole, 1)

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._read += len(data)
        return data


class _Until:
    """The first `size` bytes of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))
