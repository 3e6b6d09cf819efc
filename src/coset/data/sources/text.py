"""Delimited text in chunks of whole rows, for whoever reads them: ratings by polars, click logs by kernels.

In front of its table a text may have a mark of UTF-8 and a line that says the separator, as Excel writes and reads
both. Lines may end in carriage returns alone, as old programs write them. Where values may stand between quotes, line
breaks between these are characters of a value. A quote opens a value only where a field begins, as in Python's csv;
elsewhere it is a character, such as the mark of inches. One that opens a value and is closed nowhere, or in the middle
of a later line, spoils the line that it is in and no other.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from coset.data.packed import Stream
from coset.errors import InputError, brief

CHUNK = 1 << 22
"""Bytes of text that are worked on at once."""
LONGEST = 1 << 26
"""Bytes that a row may have."""
HEAD = 1 << 20
"""Bytes at the beginning that tell how a text is written."""

_FRONT = re.compile(rb"(?:\xef\xbb\xbf)?(\"?sep=([^\r\n])\"?(?:\r\n|\r|\n|\Z))?", re.IGNORECASE)


@dataclass(frozen=True)
class Head:
    """How a text begins.

    Args:
        data: the first bytes of its table; lines end in line feeds.
        cut: whether the text goes on behind them.
        offset: bytes in front of the table.
        line: the number of the table's first line.
        separator: what a line in front says is between values; None where there is no such line.
        returns: whether lines end in carriage returns alone.
    """

    data: bytes
    cut: bool
    offset: int
    line: int
    separator: str | None
    returns: bool

    @classmethod
    def of(cls, data: bytes, most: int) -> Head:
        """The head of a text out of its first bytes: `most` of them, or all where there are fewer."""
        front = _FRONT.match(data)
        assert front is not None
        table, returns = data[front.end() :], b"\r" in data and b"\n" not in data
        return cls(
            table.replace(b"\r", b"\n") if returns else table,
            len(data) == most,
            front.end(),
            1 if front[1] is None else 2,
            None if front[1] is None else front[2].decode("latin1"),
            returns,
        )


@dataclass(frozen=True)
class Dialect:
    """How values are written: what is between them, and whether they may stand between quotes."""

    separator: str
    quotes: bool

    def first_row(self, data: bytes, where: str) -> tuple[list[str], int]:
        """The fields of the first row that is not blank, and the number of lines to its end."""
        if not self.quotes:
            blank = len(data) - len(data.lstrip(b"\r\n"))
            return first_line(data).split(self.separator), data.count(b"\n", 0, blank) + 1
        lines = io.TextIOWrapper(io.BytesIO(data), "utf-8", "replace", newline="")
        reader = csv_reader(lines, self.separator, skipinitialspace=self.separator != " ")
        try:
            return next(filter(None, reader), []), reader.line_num
        except csv.Error as error:
            raise InputError(f"{where}, line 1: the names of the columns are not readable ({error})") from None


@dataclass(frozen=True)
class Rows:
    """Whole rows of a text.

    Args:
        data: the rows; each line, the last one too, ends in a line feed.
        line: the number of their first line, in a text that is read from its beginning.
        count: how many lines they have.
        offset: where they end in the text.
    """

    data: bytes
    line: int
    count: int
    offset: int


def head_of(stream: Stream) -> Head:
    """The head of a text, of which nothing is read yet."""
    return Head.of(stream.peek(HEAD), HEAD)


def first_line(data: bytes) -> str:
    """The first line that is not blank.

    Example:
        >>> first_line(b"\\r\\nuser,item\\r\\n1,2\\r\\n")
        'user,item'
    """
    return data.lstrip(b"\r\n").partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")


def rows(stream: Stream, where: str, head: Head, dialect: Dialect | None, offset: int) -> Iterator[Rows]:
    """The rows of a text in chunks; the first chunk holds more than blank lines, unless the text does not.

    Args:
        stream: at the beginning of a row.
        where: its name in errors.
        head: of the text.
        dialect: of the text; None where each line is a row, whatever its quotes.
        offset: where the stream is.

    Raises:
        InputError: a row is too long.
    """
    kept, wanted, line, begun, added = b"", CHUNK, head.line, False, 0
    while True:
        pieces, size = [kept], len(kept)
        while size < wanted and (piece := stream.read(wanted - size)):
            pieces.append(piece.replace(b"\r", b"\n") if head.returns else piece)
            size += len(piece)
        data, ended = b"".join(pieces), size < wanted
        if ended and data and not data.endswith(b"\n"):
            data, added = data + b"\n", 1
        cut = _whole(data, dialect, ended, CHUNK if begun else len(data))
        if not cut or not (begun or ended or data[:cut].strip()):
            if ended:
                return
            if max(cut, size - cut) > LONGEST:  # blank lines at the beginning are no part of the row behind them
                start = offset + cut if size - cut > LONGEST else offset
                raise InputError(
                    f"{where}: a row of more than {LONGEST >> 20} MiB, from byte {start:,} on; is it a text file?"
                )
            kept, wanted = data, min(2 * size, cut + LONGEST + CHUNK)
            continue
        begun, count, kept, wanted = True, data.count(b"\n", 0, cut), data[cut:], CHUNK
        offset += cut if kept else cut - added
        yield Rows(data[:cut], line, count, offset)
        line += count


def _whole(data: bytes, dialect: Dialect | None, ended: bool, enough: int) -> int:
    """Where the last whole row ends, or an earlier one behind about as much text as is enough."""
    if dialect is None or not dialect.quotes or b'"' not in data:
        return data.rfind(b"\n", 0, enough) + 1 or data.find(b"\n") + 1
    end = data.rfind(b"\n") + 1
    bounds, fields = _split(data[:end], data.count(b"\n"), dialect, 0, ended)
    ends = bounds[: len(fields) + 1, 0] + 1
    return int(ends[min(int(np.searchsorted(ends, enough)), len(fields))])


def fields_in(found: Rows, dialect: Dialect, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the fields of rows of so many columns are, and how many each row has; see `coset.kernels.parse.split`."""
    bounds, fields = _split(found.data, found.count, dialect, columns, True)
    return bounds[: len(fields)], fields


def _split(data: bytes, count: int, dialect: Dialect, columns: int, ended: bool) -> tuple[np.ndarray, np.ndarray]:
    from coset.kernels import parse

    lines, separator = np.frombuffer(data, dtype=np.uint8), ord(dialect.separator)
    bounds, fields = np.empty((count + 1, columns + 1), dtype=np.int32), np.empty(count, dtype=np.int32)
    found = parse.split(lines, separator, dialect.quotes, ended, LONGEST, columns, bounds, fields)
    return bounds, fields[:found]


def check_separator(separator: str, where: str) -> None:
    """Raise an `InputError` if there cannot be such a separator."""
    if separator != "::" and (len(separator) != 1 or not separator.isascii() or separator in '"\r\n'):
        raise InputError(f"{where}: the separator must be one ASCII character or '::', not {brief(separator)}")


def csv_reader(lines: Any, separator: str, strict: bool = False, skipinitialspace: bool = False) -> Any:
    """Python's own reader, which takes values as long as rows may be; reviews are longer than it takes by itself."""
    csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
    return csv.reader(lines, delimiter=separator, strict=strict, skipinitialspace=skipinitialspace)
