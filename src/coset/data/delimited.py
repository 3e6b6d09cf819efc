"""Ratings out of delimited text: CSV and TSV with a header, and GroupLens' files without one.

There are two readers of the same language. The fast one (polars) either returns every row or gives up; then
the careful one goes line by line and either returns the same rows or says which line and column is wrong.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from coset.data.columns import ROLES, Columns, import_polars
from coset.data.ids import BLANKS, ids_from_text, marks_among_numbers
from coset.errors import InputError

Read = tuple[np.ndarray, ...]
"""Users and items (see `coset.data.ids`), float32 ratings, and a column for each attribute that was asked for (whole
numbers or text, as ids are); one entry a row, in file order."""

GROUPLENS_NAMES = ("user", "movie", "rating", "timestamp")

_SEPARATORS = ("::", "\t", ",", ";", "|")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class _Form:
    """How the text is laid out, and where in a row the values stand that `Read` lists."""

    where: str
    separator: str
    names: tuple[str, ...]
    header: bool
    picks: tuple[int, ...]

    @property
    def quoted(self) -> bool:
        return self.header and self.separator != "::"  # GroupLens' own files have no quotes


def read_delimited(
    data: bytes,
    where: str,
    columns: Columns | None = None,
    separator: str | None = None,
    header: bool | None = None,
) -> Read:
    """Users, items, ratings and attributes in delimited text.

    Args:
        data: the whole file.
        where: its name in errors.
        columns: names of the columns; those of users, items and ratings are guessed where not given.
        separator: one ASCII character or `"::"`; found from the first line when not given.
        header: whether the first line names the columns. Found when not given: a first line of three or four
            values between `::` or tabs, numbers from the third on, is GroupLens' layout, which has no header.

    Raises:
        InputError: names `where`, the line (counted from 1, the header included), the column, and what was
            expected.

    Example:
        >>> users, items, ratings = read_delimited(b"user,item,rating\\n7,a,3.5\\n8,b,4\\n", "small.csv")
        >>> users, items, ratings
        (array([7, 8]), array(['a', 'b'], dtype=object), array([3.5, 4. ], dtype=float32))
    """
    polars = import_polars(f"{where}: reading ratings")
    data = data.removeprefix(b"\xef\xbb\xbf")  # the mark that some programs put before UTF-8
    _check_text(data, where)
    form = _form(data, where, columns or Columns(), separator, header)
    rows = _read_fast(polars, data, form)
    return _read_carefully(polars, data, form) if rows is None else rows


def _check_text(data: bytes, where: str) -> None:
    if not data.strip():
        raise InputError(f"{where}: the file is empty; expected a header line and ratings")
    if data.startswith(b"\x1f\x8b"):
        raise InputError(f"{where}: the file is packed with gzip; unpack it first (gunzip)")
    if data.isascii():
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{where}, line {line}: not UTF-8 text (byte {data[error.start]:#04x}); "
            "save the file as UTF-8 (iconv -f latin1 -t utf-8)"
        ) from None


def _form(data: bytes, where: str, columns: Columns, separator: str | None, header: bool | None) -> _Form:
    first = data.lstrip(b"\r\n").partition(b"\n")[0].decode("utf-8").rstrip("\r")
    if separator is None:
        separator = max(_SEPARATORS, key=first.count)  # the first of equals, so `::` before others
    elif separator == "\\t":  # what a shell hands on for '\t'
        separator = "\t"
    elif separator != "::" and (len(separator) != 1 or not separator.isascii() or separator in '"\r\n'):
        raise InputError(f"{where}: the separator must be one ASCII character or '::', not {separator!r}")
    fields = first.split(separator)
    numeric = [bool(_NUMBER.fullmatch(field.strip(BLANKS))) for field in fields]
    if header is None:
        header = not (separator in ("::", "\t") and len(fields) in (3, 4) and all(numeric[2:]))
    if not header:
        names = GROUPLENS_NAMES[: len(fields)] if len(fields) in (3, 4) else GROUPLENS_NAMES
        return _Form(where, separator, names, False, columns.find(names, where))
    if len(fields) > 1 and all(numeric):
        raise InputError(
            f"{where}, line 1: {first[:60]!r} holds numbers where the names of the columns are expected; "
            "add a header line such as userId,movieId,rating"
        )
    if separator != "::":
        records = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=separator)
        fields = next(filter(None, records))
    names = tuple(field.strip() for field in fields)
    if len(names) == 1 and (other := _other_separator(first, separator)):
        raise InputError(
            f"{where}: separated by {separator!r}, the header is the single column {first[:60]!r}; "
            f"the separator seems to be {other!r}"
        )
    return _Form(where, separator, names, True, columns.find(names, where))


def _other_separator(line: str, separator: str) -> str | None:
    best = max(_SEPARATORS, key=line.count)
    return best if best != separator and best in line else None


def _read_fast(polars: Any, data: bytes, form: _Form) -> Read | None:
    """All rows, or `None` when anything is out of the ordinary and wants the careful reader."""
    # polars knows separators of one byte: `::` is read as `:` with an empty column between every two.
    step = 2 if form.separator == "::" else 1
    width = step * (len(form.names) - 1) + 1
    between = range(1, width, 2) if step == 2 else range(0)
    # The last column is read as well: polars fills short rows with nulls, and there it shows.
    wanted = sorted({step * pick for pick in form.picks} | {*between, width - 1})
    try:
        frame = polars.read_csv(
            data,
            separator=form.separator[0],
            has_header=form.header,
            columns=wanted,
            infer_schema=False,
            quote_char='"' if form.quoted else None,
        )
    except (polars.exceptions.PolarsError, IndexError, OverflowError):
        return None
    if frame.height == 0:
        return None
    series = dict(zip(wanted, frame.get_columns(), strict=True))
    if any(series[k].null_count() < frame.height for k in between) or series[width - 1].null_count():
        return None
    users, items, ratings, *attributes = (series[step * pick].str.strip_chars(BLANKS) for pick in form.picks)
    if any(
        column.null_count() or (column == "").any() or marks_among_numbers(column).any() for column in (users, items)
    ):
        return None
    numbers = ratings.cast(polars.Float64, strict=False)
    if numbers.null_count():
        return None
    with np.errstate(over="ignore"):
        values = numbers.to_numpy().astype(np.float32)
    if not np.isfinite(values).all():
        return None
    of_attributes = (ids_from_text(column.fill_null("")) for column in attributes)
    return ids_from_text(users), ids_from_text(items), values, *of_attributes


def _read_carefully(polars: Any, data: bytes, form: _Form) -> Read:
    """All rows, or an error that says which line is wrong, and in which column."""
    width = len(form.names)
    picked: list[list[str]] = [[] for _ in form.picks]
    roles = (*ROLES, *["attribute"] * (len(form.picks) - len(ROLES)))
    for line, fields in _records(data.decode("utf-8"), form):
        if len(fields) <= 1 and not "".join(fields).strip(BLANKS):
            continue  # a blank line
        if len(fields) != width:
            other = _other_separator(fields[0], form.separator) if len(fields) == 1 else None
            hint = f"; the separator seems to be {other!r}" if other else ""
            raise InputError(
                f"{form.where}, line {line}: {len(fields)} {'field' if len(fields) == 1 else 'fields'} "
                f"separated by {form.separator!r}, expected {width} ({', '.join(form.names)}){hint}"
            )
        for role, pick, column in zip(roles, form.picks, picked, strict=True):
            value = fields[pick].strip(BLANKS)
            spot = f"{form.where}, line {line}, column {form.names[pick]!r}"
            if not value and role in ROLES:
                raise InputError(f"{spot}: the {role} is missing; fill it in or remove the line")
            if role == "rating":
                _check_rating(value, spot)
            column.append(value)
    if not picked[0]:
        raise InputError(
            f"{form.where}: no ratings below the header; give a file with at least two"
            if form.header
            else f"{form.where}: no ratings"
        )
    for role, pick, column in zip(ROLES[:2], form.picks, picked, strict=False):
        marks = marks_among_numbers(polars.Series(column, dtype=polars.String))
        if marks.any():
            row = marks.arg_max()
            filled = (line for line, fields in _records(data.decode("utf-8"), form) if "".join(fields).strip(BLANKS))
            raise InputError(
                f"{form.where}, line {next(islice(filled, row, None))}, column {form.names[pick]!r}: the {role} is "
                f"missing ({column[row]!r} among numbers); fill it in or remove the line"
            )
    ratings = np.array([float(value) for value in picked.pop(2)], dtype=np.float32)
    users, items, *attributes = (ids_from_text(polars.Series(column, dtype=polars.String)) for column in picked)
    return users, items, ratings, *attributes


def _check_rating(value: str, spot: str) -> None:
    if not _NUMBER.fullmatch(value):
        finite = "finite " if value.lower().lstrip("+-") in ("nan", "inf", "infinity") else ""
        raise InputError(f"{spot}: the rating {value[:40]!r} is not a {finite}number; correct or remove the line")
    with np.errstate(over="ignore"):
        fits = np.isfinite(np.float32(float(value)))
    if not fits:
        raise InputError(f"{spot}: the rating {value[:40]!r} is beyond the range of float32")


def _records(text: str, form: _Form) -> Iterator[tuple[int, list[str]]]:
    """The rows below the header, each with the number of the line it starts on."""
    if not form.quoted:
        lines = enumerate(text.split("\n"), start=1)
        if form.header:
            next(filter(lambda numbered: numbered[1].strip(), lines))
        for number, line in lines:
            yield number, line.rstrip("\r").split(form.separator)
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=form.separator, strict=True)
    headers = 1
    start = 1
    try:
        for fields in reader:
            if headers and fields:
                headers = 0
            elif not headers:
                yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{form.where}, line {start}: the quotes do not match ({error})") from None
