"""Ratings out of a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from coset.data.columns import ROLES, Columns, import_polars
from coset.data.delimited import BLANKS, Read
from coset.data.ids import ids_from_text
from coset.errors import InputError


def read_parquet(path: Path, columns: Columns | None = None) -> Read:
    """Users, items, ratings and attributes in the Parquet file at `path`; only their columns are read.

    Ids may be whole numbers (of any width, or floats that are whole) or text, which is taken as in a text file:
    without spaces at its ends, and for numbers when every one is written as one. Ratings may be any numbers. Values of
    attributes are taken as the text that stands for them, a missing one as the empty text, as in a text file.

    Raises:
        InputError: names the file, the row (counted from 1) and the column, and what was expected.
    """
    where = str(path)
    polars = import_polars(f"{where}: reading Parquet")
    try:
        names = list(polars.read_parquet_schema(path))
        picks = (columns or Columns()).find(names, where)
        frame = polars.read_parquet(path, columns=list(dict.fromkeys(names[pick] for pick in picks)))
    except (polars.exceptions.PolarsError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{where}: not readable as Parquet ({reason})") from None
    if frame.height == 0:
        raise InputError(f"{where}: the file has columns and no ratings")
    user, item, rating, *attributes = (frame[names[pick]] for pick in picks)
    for role, series in zip(ROLES, (user, item, rating), strict=True):
        _check_filled(role, series, series.is_null(), where)
    users, items = (_ids(polars, role, series, where) for role, series in (("user", user), ("item", item)))
    return users, items, _numbers(polars, rating, where), *(_values(polars, series, where) for series in attributes)


def _ids(polars: Any, role: str, series: Any, where: str) -> np.ndarray:
    kind = series.dtype
    if kind in (polars.String, polars.Categorical, polars.Enum):
        text = series.cast(polars.String).str.strip_chars(BLANKS)
        _check_filled(role, series, text == "", where)
        return ids_from_text(text)
    numbers = series.cast(polars.Int64, strict=False) if kind.is_numeric() else None
    if numbers is None:
        raise InputError(f"{where}, column {series.name!r}: ids must be whole numbers or text, not {kind}")
    bad = numbers.is_null()
    if not kind.is_integer():
        bad = bad | (numbers.cast(polars.Float64) != series.cast(polars.Float64))
    if bad.any():
        raise InputError(f"{_spot(where, series, bad)}: {series.filter(bad)[0]} is not a whole number of 64 bits")
    return np.ascontiguousarray(numbers.to_numpy(), dtype=np.int64)


def _values(polars: Any, series: Any, where: str) -> np.ndarray:
    try:
        text = None if series.dtype.is_nested() else series.cast(polars.String)
    except polars.exceptions.PolarsError:
        text = None
    if text is None:
        raise InputError(
            f"{where}, column {series.name!r}: values of an attribute must be numbers or text, not {series.dtype}"
        )
    return ids_from_text(text.str.strip_chars(BLANKS).fill_null(""))


def _numbers(polars: Any, series: Any, where: str) -> np.ndarray:
    if not (series.dtype.is_numeric() or series.dtype == polars.Boolean):
        raise InputError(f"{where}, column {series.name!r}: ratings must be numbers, not {series.dtype}")
    with np.errstate(over="ignore"):
        values: np.ndarray = series.cast(polars.Float64).to_numpy().astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        spot = _spot(where, series, polars.Series(~finite))
        raise InputError(f"{spot}: the rating {series.filter(polars.Series(~finite))[0]} is not a finite number")
    return values


def _check_filled(role: str, series: Any, missing: Any, where: str) -> None:
    if missing.any():
        raise InputError(f"{_spot(where, series, missing)}: the {role} is missing; fill it in or remove the row")


def _spot(where: str, series: Any, bad: Any) -> str:
    """The place of the first bad row of a column."""
    return f"{where}, row {bad.arg_max() + 1}, column {series.name!r}"
