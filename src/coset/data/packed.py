"""Unpacks gzip, zstd, bzip2 and xz, recognised by the first bytes and not by a name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from coset.errors import InputError

CHUNK = 1 << 20
"""Bytes that are read at once where all are read."""
_DEEPEST = 3  # most nested packings; a file packed by accident is packed twice


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


class Stream:
    """A stream of bytes that allows a look ahead.

    Args:
        file: the stored bytes.
        where: its name in errors; truncated or damaged bytes raise an `InputError`.
        packing: the name of its packing, if it has one.
    """

    def __init__(self, file: Readable, where: str, packing: str = "") -> None:
        self._file = file
        self._where = where
        self._packing = packing
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or as many as there are, without reading them."""
        while len(self._ahead) < size and (data := self._more(size - len(self._ahead))):
            self._ahead += data
        return self._ahead[:size]

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        if not self._ahead:
            return self._more(size)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def skip(self, size: int) -> None:
        """Read on behind the next `size` bytes.

        Raises:
            InputError: there are fewer.
        """
        while size:
            if not (data := self.read(min(size, CHUNK))):
                raise InputError(f"{self._where}: shorter than when it was first read; begin anew elsewhere")
            size -= len(data)

    def all(self) -> bytes:
        """All remaining bytes."""
        pieces = []
        while data := self.read(CHUNK):
            pieces.append(data)
        return b"".join(pieces)

    def _more(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
            raise self._damaged(error) from None
        except OSError as error:
            if error.errno is not None:  # of the system; what bz2 says of its data has no number
                raise
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> InputError:
        packed = f"packed with {self._packing}, and " if self._packing else ""
        return InputError(f"{self._where}: {packed}cut off or damaged ({error}); fetch it again")


def unpacked(file: Readable, where: str) -> Stream:
    """The bytes of `file`, unpacked, also where they are packed several times.

    Raises:
        InputError: when it is read: packed bytes are cut off or damaged; or zstd is not installed.

    Example:
        >>> import io
        >>> unpacked(io.BytesIO(gzip.compress(b"user,item,rating")), "small.csv.gz").all()
        b'user,item,rating'
    """
    stream = Stream(file, where)
    for _ in range(_DEEPEST):
        if not (mark := packing_of(stream.peek(8))):
            break
        stream = opened(stream, mark, where)
    return stream


def packing_of(head: bytes) -> bytes:
    """The key in `PACKINGS` of the packing of bytes that begin so; empty if they are not packed."""
    return next((mark for mark in PACKINGS if head.startswith(mark)), b"")


def opened(file: Readable, mark: bytes, where: str) -> Stream:
    """The contents of `file`, by the key of its packing; see `unpacked`."""
    name, opener = PACKINGS[mark]
    return Stream(opener(file, where), where, name)


def _gzip(stream: Readable, where: str) -> Readable:
    return gzip.GzipFile(fileobj=stream)  # type: ignore[call-overload, no-any-return, unused-ignore]


def _bzip2(stream: Readable, where: str) -> Readable:
    return bz2.BZ2File(stream)  # type: ignore[call-overload, no-any-return, unused-ignore]


def _xz(stream: Readable, where: str) -> Readable:
    return lzma.LZMAFile(stream)  # type: ignore[arg-type, unused-ignore]


class Zstd:
    """A reader of zstd with any number of frames, which raises where the last one is cut off."""

    def __init__(self, raw: Readable, where: str) -> None:
        try:
            import zstandard
        except ImportError:
            raise InputError(
                f"{where}: reading zstd needs zstandard, which is not installed: pip install 'coset[cli]'"
            ) from None
        self._make = zstandard.ZstdDecompressor
        self._error = zstandard.ZstdError
        self._raw = raw
        self._frame: Any = None
        self._ready = b""
        self._packed = b""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        pieces, left = [], size
        while left and (self._ready or self._unpack()):
            pieces.append(self._ready[:left])
            self._ready = self._ready[left:]
            left -= len(pieces[-1])
        return b"".join(pieces)

    def _unpack(self) -> bool:
        """Unpack more bytes, if there are more."""
        while not self._ready:
            packed = self._packed or self._raw.read(1 << 18)
            self._packed = b""
            if not packed:
                if self._frame is not None:
                    raise EOFError("the last frame is not complete")
                return False
            if self._frame is None:
                self._frame = self._make().decompressobj()
            try:
                self._ready = self._frame.decompress(packed)
            except self._error as error:
                raise EOFError(str(error)) from None
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        return True


PACKINGS: Mapping[bytes, tuple[str, Callable[[Readable, str], Readable]]] = {
    b"\x1f\x8b": ("gzip", _gzip),
    b"\x28\xb5\x2f\xfd": ("zstd", Zstd),
    b"BZh": ("bzip2", _bzip2),
    b"\xfd7zXZ": ("xz", _xz),
}
"""First bytes → the name of a packing, and the function that unpacks it."""
