"""Columns out of delimited text: CSV and TSV with a header, GroupLens' files without one, columns between blanks.

There are two readers of the same language. The fast one (polars) either returns every row of a chunk or gives up; then
the careful one goes line by line and either returns the same rows or says which line is wrong.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from coset.data.columns import Named, import_polars, listed, reading
from coset.data.files import DataFile, empty
from coset.data.ids import BLANKS, NUMBER
from coset.data.sources.base import Block, Source, Wanted, register_source
from coset.data.sources.text import Dialect, check_separator, csv_reader, first_line, head_of, rows
from coset.errors import InputError, brief

GROUPLENS_NAMES = ("user", "movie", "rating", "timestamp")

_SEPARATORS = ("::", "\t", ",", ";", "|")


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
        form, _, _ = next(self._chunks(file, Wanted(Named(()))))
        return list(form.names)

    def blocks(self, file: DataFile, wanted: Wanted) -> Iterator[Block]:
        """See `Source.blocks`."""
        polars = import_polars(f"{file.where}: reading ratings")
        for form, line, data in self._chunks(file, wanted):
            yield _block(polars, data, form, line)

    def _chunks(self, file: DataFile, wanted: Wanted) -> Iterator[tuple[Form, int, bytes]]:
        """The rows below the header, in chunks, each with the form of the text and the number of its first line."""
        form: Form | None = None
        with file.open() as stream:
            head = head_of(stream)
            stream.skip(head.offset)
            if wanted.separator is None:
                wanted = replace(wanted, separator=head.separator)
            dialect = _begun(first_line(head.data), file.where, wanted)[0]
            for found in rows(stream, file.where, head, dialect, head.offset):
                line, data = found.line, found.data
                _check_text(data, file.where, line)
                if form is None and not data.strip():
                    break
                if form is None:
                    form = form_of(data, file.where, wanted, self.named)
                    above, data = _cut_header(data, form)
                    line += above
                yield form, line, data
        if form is None:
            raise empty(file.where)


@dataclass(frozen=True)
class Form:
    """How the text is laid out, and where in a row the values stand that are wanted."""

    where: str
    dialect: Dialect
    names: tuple[str, ...]
    header: bool
    picks: tuple[int, ...]

    @property
    def separator(self) -> str:
        """Between values."""
        return self.dialect.separator


def form_of(data: bytes, where: str, wanted: Wanted, named: Callable[[str], str] = str.strip) -> Form:
    """The layout of a text that begins with `data`; `named` makes names of the fields of its header."""
    first = first_line(data)
    dialect, fields, header = _begun(first, where, wanted)
    if not header:
        names = GROUPLENS_NAMES[: len(fields)] if len(fields) in (3, 4) else GROUPLENS_NAMES
        return Form(where, dialect, names, False, wanted.columns.find(names, where))
    numeric = _are_numbers(fields)
    if len(fields) > 1 and (all(numeric) or (len(fields) in (3, 4) and all(numeric[2:]))):
        raise InputError(
            f"{where}, line 1: {brief(first)} holds {'numbers' if all(numeric) else 'values'} where the names of the "
            "columns are expected; add a header line such as userId,movieId,rating"
        )
    if dialect.separator != " " or '"' in first:
        fields, _ = dialect.first_row(data, where)
    names = tuple(map(named, fields))
    if len(names) == 1 and (other := _other_separator(first, dialect.separator)):
        raise InputError(
            f"{where}: separated by {dialect.separator!r}, the header is the single column {brief(first)}; "
            f"the separator seems to be {other!r}"
        )
    return Form(where, dialect, names, True, wanted.columns.find(names, where))


def _begun(line: str, where: str, wanted: Wanted) -> tuple[Dialect, list[str], bool]:
    """How a text with this first line is written, what the line holds, and whether that is the names of columns.
    GroupLens' own files have no names, and no quotes around values; nor has any with `::`."""
    separator = _separator(line, where, wanted.separator)
    fields = line.split() if separator == " " else line.split(separator)
    header = wanted.header
    if header is None:
        bare = separator in ("::", "\t", " ") and len(fields) in (3, 4)
        header = not (bare and all(_are_numbers(fields[2:])))
    return Dialect(separator, header and separator != "::"), fields, header


def _are_numbers(fields: Sequence[str]) -> list[bool]:
    return [bool(NUMBER.fullmatch(field.strip(BLANKS))) for field in fields]


def _separator(line: str, where: str, given: str | None) -> str:
    if given is None:
        found = max(_SEPARATORS, key=line.count)  # the first of equals, so `::` before others
        return " " if found not in line and len(line.split()) > 2 else found
    if given == "\\t":  # what a shell hands on for '\t'
        return "\t"
    check_separator(given, where)
    return given


def _other_separator(line: str, separator: str) -> str | None:
    best = max(_SEPARATORS, key=line.count)
    return best if best != separator and best in line else None


def _cut_header(data: bytes, form: Form) -> tuple[int, bytes]:
    """How many lines the header takes, and what is below it."""
    lines = form.dialect.first_row(data, form.where)[1] if form.header else 0
    at = 0
    for _ in range(lines):
        at = data.find(b"\n", at) + 1 or len(data)
    return lines, data[at:]


def _are_regular(data: bytes, separator: str) -> bool:
    """Whether each quote begins or ends a field, or is one of two that stand for one in it."""
    bytes_ = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(bytes_ == ord('"'))
    beside = np.concatenate([quotes[::2] - 1, quotes[1::2] + 1])
    beside = beside[(beside >= 0) & (beside < len(data))]
    return bool(np.isin(bytes_[beside], np.frombuffer(b'\r\n"' + separator.encode(), dtype=np.uint8)).all())


def _check_text(data: bytes, where: str, first: int) -> None:
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
    if form.dialect.quotes and data.count(b"\r") > data.count(b"\r\n"):  # which end rows, too
        return None
    if form.dialect.quotes and b'"' in data and not _are_regular(data, form.separator):
        return None
    # polars knows separators of one byte: `::` is read as `:` with an empty column between every two.
    step = 2 if form.separator == "::" else 1
    width = step * (len(form.names) - 1) + 1
    separator, quoted = form.separator[0], form.dialect.quotes and b'"' in data
    if quoted:  # blank lines within a value stay, and others leave nulls
        data = data.strip(b"\r\n")
    elif re.match(rb"\r?\n", data) or b"\n\n" in data or b"\n\r\n" in data:
        data = re.sub(rb"\n(\r?\n)+", b"\n", data.lstrip(b"\r\n"))
    if data.startswith(b"\xef\xbb\xbf"):  # of a file that was put behind another; polars leaves it out
        return None
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
    if not form.dialect.quotes:
        for number, line in enumerate(text.split("\n"), start=first):
            yield number, line.rstrip("\r").split(form.separator)
        return
    reader = csv_reader(io.StringIO(text, newline=""), form.separator, strict=True)
    start = 0
    try:
        for fields in reader:
            yield first + start, fields
            start = reader.line_num
    except csv.Error as error:
        raise InputError(f"{form.where}, line {first + start}: the quotes do not match ({error})") from None
