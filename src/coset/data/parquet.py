"""Ratings out of a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from coset.data.columns import ROLES, Columns, import_polars
from coset.data.delimited import Read
from coset.data.ids import ids_from_text, ids_of, marks_among_numbers, texts_of
from coset.errors import InputError


def read_parquet(path: Path, columns: Columns | None = None) -> Read:
    """Users, items, ratings and attributes in the Parquet file at `path`; only their columns are read.

    Ids and values of attributes are what their text would be in a text file (see `coset.data.ids`); a missing attribute
    is the empty text. Ratings may be any numbers.

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
    if series.dtype.is_integer():
        return ids_of(series, where)
    text = texts_of(series, where)
    _check_filled(role, series, text.is_null() | marks_among_numbers(text.fill_null("")), where)
    return ids_from_text(text)


def _values(polars: Any, series: Any, where: str) -> np.ndarray:
    return ids_from_text(texts_of(series, where).fill_null(""))


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
