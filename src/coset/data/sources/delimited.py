"""Columns out of delimited text: CSV and TSV with a header, GroupLens' files without one, columns between blanks.

There are two readers of the same language. The fast one (polars) either returns every row of a chunk or gives up; then
the careful one goes line by line and either returns the same rows or says which line is wrong.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from coset.data.columns import Named, import_polars, listed, reading
from coset.data.files import DataFile
from coset.data.ids import BLANKS
from coset.data.packed import Stream
from coset.data.sources.base import Block, Source, Wanted, register_source
from coset.errors import InputError, brief

GROUPLENS_NAMES = ("user", "movie", "rating", "timestamp")
CHUNK = 1 << 23
"""Bytes of text that are worked on at once."""
LONGEST = 1 << 27
"""Bytes that a row may have."""

_SEPARATORS = ("::", "\t", ",", ";", "|")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MARK = b"\xef\xbb\xbf"  # that some programs put before UTF-8


@register_source("text")
class Delimited(Source):
    """Reads delimited text.

    The first line names the columns, but for one of three or four values between `::`, tabs or blanks that are numbers
    from the third on: that is GroupLens' layout of user, item, rating and time.
    """

    title = "text"

    def sniff(self, file: DataFile) -> bool:
        """Any text may be delimited."""
        return True

    def named(self, field: str) -> str:
        """The name of a column, as the header writes it."""
        return field.strip()

    def columns(self, file: DataFile) -> list[str]:
        """The names in the header; those of GroupLens' layout where there is none."""
        with file.open() as stream:
            line, said = _begin(stream)
            _, data = next(_chunks(stream, file.where, line, said))
            return list(form_of(data, file.where, Wanted(Named(()), said), self.named).names)

    def blocks(self, file: DataFile, wanted: Wanted) -> Iterator[Block]:
        """See `Source.blocks`."""
        polars = import_polars(f"{file.where}: reading ratings")
        with file.open() as stream:
            line, said = _begin(stream)
            wanted = wanted if said is None or wanted.separator is not None else replace(wanted, separator=said)
            form: Form | None = None
            for first, data in _chunks(stream, file.where, line, wanted.separator):
                _check_text(data, file.where, first)
                if form is None:
                    form = form_of(data, file.where, wanted, self.named)
                    header, data = _cut_header(data, form)
                    first += header
                yield _block(polars, data, form, first)


@dataclass(frozen=True)
class Form:
    """How the text is laid out, and where in a row the values stand that are wanted."""

    where: str
    separator: str
    names: tuple[str, ...]
    header: bool
    picks: tuple[int, ...]

    @property
    def quoted(self) -> bool:
        """Whether values may stand between quotes; GroupLens' own files have none."""
        return self.header and self.separator != "::"


def first_line(data: bytes) -> str:
    """The first line of a text that is not blank."""
    return data.lstrip(b"\r\n").partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")


def form_of(data: bytes, where: str, wanted: Wanted, named: Callable[[str], str] = str.strip) -> Form:
    """The layout of a text that begins with `data`; `named` makes names of the fields of its header."""
    first = first_line(data)
    separator = _separator(first, where, wanted.separator)
    if separator == " ":
        first = " ".join(first.split())
    fields = first.split(separator)
    numeric = [bool(_NUMBER.fullmatch(field.strip(BLANKS))) for field in fields]
    header = wanted.header
    if header is None:
        header = not (separator in ("::", "\t", " ") and len(fields) in (3, 4) and all(numeric[2:]))
    if not header:
        names = GROUPLENS_NAMES[: len(fields)] if len(fields) in (3, 4) else GROUPLENS_NAMES
        return Form(where, separator, names, False, wanted.columns.find(names, where))
    if len(fields) > 1 and (all(numeric) or (len(fields) in (3, 4) and all(numeric[2:]))):
        raise InputError(
            f"{where}, line 1: {brief(first)} holds {'numbers' if all(numeric) else 'values'} where the names of the "
            "columns are expected; add a header line such as userId,movieId,rating"
        )
    if separator != "::" and not (separator == " " and '"' not in first):
        fields, _ = _header(data, separator, where)
    names = tuple(map(named, fields))
    if len(names) == 1 and (other := _other_separator(first, separator)):
        raise InputError(
            f"{where}: separated by {separator!r}, the header is the single column {brief(first)}; "
            f"the separator seems to be {other!r}"
        )
    return Form(where, separator, names, True, wanted.columns.find(names, where))


def _separator(line: str, where: str, given: str | None) -> str:
    if given is None:
        found = max(_SEPARATORS, key=line.count)  # the first of equals, so `::` before others
        return " " if found not in line and len(line.split()) > 2 else found
    if given == "\\t":  # what a shell hands on for '\t'
        return "\t"
    if given != "::" and (len(given) != 1 or not given.isascii() or given in '"\r\n'):
        raise InputError(f"{where}: the separator must be one ASCII character or '::', not {brief(given)}")
    return given


def _other_separator(line: str, separator: str) -> str | None:
    best = max(_SEPARATORS, key=line.count)
    return best if best != separator and best in line else None


def _header(data: bytes, separator: str, where: str) -> tuple[list[str], int]:
    """The fields of the first line that is not blank, and the number of lines to its end."""
    reader = _csv(data.decode("utf-8"), separator)
    try:
        return next(filter(None, reader)), reader.line_num
    except csv.Error as error:
        raise InputError(f"{where}, line 1: the names of the columns are not readable ({error})") from None


def _cut_header(data: bytes, form: Form) -> tuple[int, bytes]:
    """How many lines the header takes, and what is below it."""
    if not form.header:
        return 0, data
    if form.quoted:
        lines = _header(data, form.separator, form.where)[1]
    else:
        lines = data[: len(data) - len(data.lstrip(b"\r\n"))].count(b"\n") + 1
    at = 0
    for _ in range(lines):
        at = data.find(b"\n", at) + 1 or len(data)
    return lines, data[at:]


def _begin(stream: Stream) -> tuple[int, str | None]:
    """Read on to the first line of the table: its number, and the separator that a line above it says, as Excel writes
    one, and reads it again itself."""
    if stream.peek(3) == _MARK:
        stream.read(3)
    said = re.match(rb"\"?sep=(.)\"?\r?(?:\n|$)", stream.peek(10), re.IGNORECASE)
    if said is None:
        return 1, None
    stream.read(said.end())
    return 2, said[1].decode("latin1")


def _chunks(stream: Stream, where: str, line: int, separator: str | None) -> Iterator[tuple[int, bytes]]:
    """Whole rows, in chunks, each with the number of its first line, which at the beginning is `line`; the first chunk
    holds more than blank lines."""
    head = stream.peek(1 << 16)
    # Lines that end in carriage returns alone, as old programs write them, are lines all the same.
    returns = b"\r" in head and b"\n" not in head
    separator = _separator(first_line(head.replace(b"\r", b"\n") if returns else head), where, separator)
    kept, ended, begun = b"", False, False
    while not ended:
        pieces, size = [kept], 0
        while size < CHUNK and not ended:
            piece = stream.read(CHUNK - size)
            pieces.append(piece.replace(b"\r", b"\n") if returns else piece)
            size += len(piece)
            ended = not piece
        data = b"".join(pieces)
        cut = len(data) if ended else _end_of_rows(data, separator)
        if (
            not cut and len(data) > LONGEST
        ):  # no value is as long: a quote in it is a character, such as the mark of inches
            cut = data.rfind(b"\n") + 1
        if not cut or not (begun or ended or data[:cut].strip()):
            kept = data
            if len(data) > LONGEST:
                raise InputError(f"{where}, line {line}: a row of more than {LONGEST >> 20} MiB; is it a text file?")
            continue
        begun = True
        yield line, data[:cut]
        line += data.count(b"\n", 0, cut)
        kept = data[cut:]


def _end_of_rows(data: bytes, separator: str) -> int:
    """Where the last whole row ends: behind a line feed that stands between no quotes. As in Python's csv, those begin
    where a field does; elsewhere a quote is a character, such as the mark of inches."""
    cut = data.rfind(b"\n") + 1
    if b'"' not in data or separator == "::":
        return cut
    if (quotes := _regular_quotes(data, separator)) is not None:
        while (before := int(np.searchsorted(quotes, cut))) % 2:  # this one stands in a value
            cut = data.rfind(b"\n", 0, int(quotes[before - 1])) + 1
        return cut
    field = rb'(?:"(?:[^"]++|"")*+"|(?!"))[^\r\n%b]*+' % re.escape(separator.encode())
    rows = re.match(rb"(?:(?:%b[\r%b])*+%b\n)*+" % (field, re.escape(separator.encode()), field), data)
    return rows.end() if rows else 0


def _regular_quotes(data: bytes, separator: str) -> np.ndarray | None:
    """Where quotes stand, if each begins or ends a field or is one of two that stand for one in it; else `None`."""
    bytes_ = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(bytes_ == ord('"'))
    beside = np.concatenate([quotes[::2] - 1, quotes[1::2] + 1])
    beside = beside[(beside >= 0) & (beside < len(data))]
    regular = np.isin(bytes_[beside], np.frombuffer(b'\r\n"' + separator.encode(), dtype=np.uint8)).all()
    return quotes if regular else None


def _check_text(data: bytes, where: str, first: int) -> None:
    if first == 1 and not data.strip():
        raise InputError(f"{where}: the file is empty; expected a header line and ratings")
    if data.isascii():
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + first
        odd = sum(byte < 9 or 13 < byte < 32 for byte in data[:1000])
        if odd > len(data[:1000]) // 20:
            raise InputError(f"{where}: neither text nor Parquet; write the table as CSV or Parquet") from None
        raise InputError(
            f"{where}, line {line}: not UTF-8 text (byte {data[error.start]:#04x}); "
            "save the file as UTF-8 (iconv -f latin1 -t utf-8)"
        ) from None


def _block(polars: Any, data: bytes, form: Form, first: int) -> Block:
    """The rows of a chunk."""
    if form.separator == " " and b'"' not in data:  # any number of blanks between two values
        data = re.sub(rb"(?m)^ | $", b"", re.sub(rb"[ \t]+", b" ", data.replace(b"\r\n", b"\n")))
    columns = _read_fast(polars, data, form)
    if columns is None:
        columns = _read_carefully(polars, data, form, first)

    def spot(row: int) -> str:
        rows = (line for line, fields in _records(data.decode("utf-8"), form, first) if not _is_blank(fields))
        return f"{form.where}, line {next(line for at, line in enumerate(rows) if at == row)}"

    return Block(columns, form.where, spot)


def _read_fast(polars: Any, data: bytes, form: Form) -> list[Any] | None:
    """The columns that are wanted, or `None` when anything is out of the ordinary and wants the careful reader."""
    if form.quoted and data.count(b"\r") > data.count(b"\r\n"):  # which end rows, too
        return None
    if form.quoted and b'"' in data and _regular_quotes(data, form.separator) is None:
        return None
    # polars knows separators of one byte: `::` is read as `:` with an empty column between every two.
    step = 2 if form.separator == "::" else 1
    width = step * (len(form.names) - 1) + 1
    separator, quoted = form.separator[0], form.quoted and b'"' in data
    if re.match(rb"\r?\n", data) or b"\n\n" in data or b"\n\r\n" in data:
        data = re.sub(rb"\n(\r?\n)+", b"\n", data.lstrip(b"\r\n"))
    if not data or (not quoted and not _is_regular(data, ord(separator), width)):
        return None
    every = [f"{place}" for place in range(width)]
    between = [str(place) for place in range(1, width, 2)] if step == 2 else []
    wanted = [str(step * pick) for pick in form.picks]
    # Between quotes may stand separators, so there polars counts: it fills short rows with nulls, in the last column.
    read = None if quoted else sorted({int(name) for name in (*wanted, *between)})
    try:
        with reading(polars, form.where, "text"):
            frame = polars.read_csv(
                data, separator=separator, has_header=False, schema=dict.fromkeys(every, polars.String),
                columns=read, quote_char='"' if quoted else None,
            )  # fmt: skip
    except (InputError, IndexError, OverflowError):
        return None
    if any(frame[name].null_count() < frame.height for name in between):
        return None
    if quoted and frame[every[-1]].null_count():
        return None
    if not quoted and frame.height != data.count(b"\n") + (not data.endswith(b"\n")):
        return None
    stripped = {name: frame[name].str.strip_chars(BLANKS) for name in wanted}
    return [stripped[name].alias(form.names[pick]) for name, pick in zip(wanted, form.picks, strict=True)]


def _is_regular(data: bytes, separator: int, width: int) -> bool:
    """Whether every line has as many fields as there should be."""
    bytes_ = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(bytes_ == ord("\n"))
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    before = np.searchsorted(np.flatnonzero(bytes_ == separator), ends)
    return bool((np.diff(before, prepend=0) == width - 1).all())


def _read_carefully(polars: Any, data: bytes, form: Form, first: int) -> list[Any]:
    """The columns that are wanted, or an error that says which line is wrong."""
    width = len(form.names)
    picked: list[list[str]] = [[] for _ in form.picks]
    for line, fields in _records(data.decode("utf-8"), form, first):
        if _is_blank(fields):
            continue
        if len(fields) != width:
            other = _other_separator(fields[0], form.separator) if len(fields) == 1 else None
            hint = f"; the separator seems to be {other!r}" if other else ""
            names = ", ".join(form.names) if width <= 12 else listed(form.names)
            raise InputError(
                f"{form.where}, line {line}: {len(fields):,} {'field' if len(fields) == 1 else 'fields'} "
                f"separated by {form.separator!r}, expected {width:,} ({names}){hint}"
            )
        for pick, column in zip(form.picks, picked, strict=True):
            column.append(fields[pick].strip(BLANKS))
    return [
        polars.Series(form.names[pick], column, dtype=polars.String)
        for pick, column in zip(form.picks, picked, strict=True)
    ]


def _is_blank(fields: list[str]) -> bool:
    return len(fields) <= 1 and not "".join(fields).strip(BLANKS)


def _records(text: str, form: Form, first: int) -> Iterator[tuple[int, list[str]]]:
    """The rows of a text, each with the number of the line it starts on; its first line has the number `first`."""
    if not form.quoted:
        for number, line in enumerate(text.split("\n"), start=first):
            yield number, line.rstrip("\r").split(form.separator)
        return
    reader = _csv(text, form.separator, strict=True)
    start = 0
    try:
        for fields in reader:
            yield first + start, fields
            start = reader.line_num
    except csv.Error as error:
        raise InputError(f"{form.where}, line {first + start}: the quotes do not match ({error})") from None


def _csv(text: str, separator: str, strict: bool = False) -> Any:
    csv.field_size_limit(max(LONGEST, csv.field_size_limit()))  # reviews may be longer than Python's own limit
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=strict)
