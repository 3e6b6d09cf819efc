"""What a raw id is: a whole number of 64 bits, or a piece of text; a column holds one sort only.

The rule, the same for CSV, Parquet, ratings, click logs and arrays:

* A value is its text, without blanks at its ends. A whole number that is written as a float, as programs write a
  column with a gap, is that number: `55.0` and `5.5e+01` are `55` (`plain`). Nothing else is changed: `055`, `+55`,
  `-0` and `1e5` may be codes, and stay as they are.
* A column whose values all are whole numbers of 64 bits, with a sign, is numbers; any other one is text. As the text of
  a number is that number's plain form, `55` among texts and the number 55 are one id.
* A typed column gives the same ids as its text would: numbers of any width, floats, decimals, bytes in UTF-8.
  Unsigned numbers beyond 64 bits with a sign are text. Floats are refused where ids fall together, beyond 2⁵³ (of 32
  bits beyond 2²⁴).
* A missing value is no id: an empty one, null, NaN; nor is a word for it, such as `nan`, among numbers.

Text is kept in numpy object arrays of `str`, because numpy's own fixed-width text drops NUL characters at
the end of a value and pads every value to the longest one.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import numpy as np

from coset.errors import InputError

BLANKS = " \t\r"
"""Stripped from the ends of a value; listed here, because Python and polars differ in others."""
_EXACT = 1 << 53  # up to here a float64 holds every whole number
MARKS = frozenset(
    {"na", "n/a", "#n/a", "<na>", "nan", "none", "null", "nil", "nat", "inf", "infinity", "\\n", "?", "-"}
)
"""Marks of a missing value in columns of numbers, in lower case and without a sign before `inf`."""

_FLOAT = r"-?(?:0|[1-9][0-9]*)\.0*|-?[1-9](?:\.[0-9]+)?e\+[0-9]{2}"
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""A decimal number, whole or not, as text writes it."""
_IS_FLOAT = re.compile(_FLOAT)


def plain(text: str) -> str:
    """The stored text of an id: a whole number that is written as a float loses its fraction or exponent.

    Exponents count where C, Python and R write them, with a sign and two digits, and up to 2⁵³.

    Example:
        >>> [plain(text) for text in ("55.0", "1e+05", "-0.0", "055", "1e5", "5.5")]
        ['55', '100000', '0', '055', '1e5', '5.5']
    """
    if not _IS_FLOAT.fullmatch(text):
        return text
    if "e" in text:
        number = Decimal(text)
        return str(int(number)) if number == number.to_integral_value() and abs(number) <= _EXACT else text
    digits = text.partition(".")[0]
    return "0" if digits == "-0" else digits


def plain_texts(series: Any) -> Any:
    """`plain` of every value of a polars column of text; nulls stay."""
    odd = series.filter(series.str.contains(f"^(?:{_FLOAT})$").fill_null(False)).unique()
    return series.replace(odd.to_list(), list(map(plain, odd.to_list()))) if len(odd) else series


def texts_of(series: Any, where: str) -> Any:
    """The text of every value of a polars column of any type, as a text file would hold it, stripped, in `plain` form;
    null where a value is missing.

    Raises:
        InputError: the column holds lists or records, bytes that are no UTF-8, or floats beyond 2⁵³.
    """
    import polars as pl

    kind = series.dtype
    if kind.is_float():
        exact = _exact(np.dtype(np.float32 if kind == pl.Float32 else np.float64))
        series = series.fill_nan(None)
        beyond = (series.is_finite() & (series.abs() > exact)).fill_null(False)
        if beyond.any():
            raise InputError(
                f"{where}, column {series.name!r}: {series.filter(beyond)[0]:.17g} is stored as {kind}, where numbers "
                f"beyond {exact} fall together; store the column as whole numbers or as text"
            )
        whole = series.is_null() | (series == series.floor()) & series.is_finite()
        numbers = series.cast(pl.Int64, strict=False).cast(pl.String)
        return numbers if whole.all() else numbers.zip_with(whole, series.cast(pl.String))
    if kind.is_integer():
        return series.cast(pl.String)
    try:
        text = None if kind.is_nested() or kind == pl.Object else series.cast(pl.String)
    except pl.exceptions.PolarsError:
        text = None
    if text is None:
        said = "bytes that are not UTF-8 text" if kind == pl.Binary else str(kind)
        raise InputError(f"{where}, column {series.name!r}: expected whole numbers or text, not {said}")
    text = plain_texts(text.str.strip_chars(BLANKS))
    return text.set(text == "", None)


def plain_numbers(series: Any) -> np.ndarray | None:
    """The numbers of a polars column, if all its values are whole numbers of 64 bits, as a type or in plain form."""
    import polars as pl

    if not (series.dtype.is_integer() or series.dtype == pl.String):
        return None
    numbers = series.cast(pl.Int64, strict=False)
    if numbers.null_count() or not (series.dtype.is_integer() or (numbers.cast(pl.String) == series).all()):
        return None
    return np.ascontiguousarray(numbers.to_numpy(), dtype=np.int64)


def ids_from_text(series: Any) -> np.ndarray:
    """The ids, or values of an attribute, that a polars column of text stands for, none of them missing.

    They are int64 when each one is, in `plain` form, a whole number of 64 bits, and text otherwise.

    Example:
        >>> import polars
        >>> ids_from_text(polars.Series(["7", "55.0"])), ids_from_text(polars.Series(["07", "55.0"]))
        (array([ 7, 55]), array(['07', '55'], dtype=object))
    """
    numbers = plain_numbers(series)
    return ids_from_plain(plain_texts(series)) if numbers is None else numbers  # which are not checked twice


def ids_from_plain(series: Any) -> np.ndarray:
    """`ids_from_text` of values that are in `plain` form already, as `texts_of` gives them."""
    numbers = plain_numbers(series)
    return np.array(series.to_list(), dtype=object) if numbers is None else numbers


def are_marks(series: Any) -> Any:
    """Whether each value of a polars column of text marks a missing value in columns of numbers."""
    return series.str.to_lowercase().str.replace("^[+-]inf", "inf").is_in(list(MARKS))


def are_decimal(series: Any) -> bool:
    """Whether all values of a polars column of text are numbers, whole or not."""
    return bool(series.str.contains(f"^{NUMBER.pattern}$").all())


def as_ids(values: Any, where: str, what: str = "id") -> np.ndarray:
    """The raw ids `values` as an int64 array or an object array of `str`, of the same shape.

    Args:
        values: array, list or tensor of whole numbers, or of text; not both. Floats count as the whole numbers that
            they are, bytes as the text in UTF-8 that they are, and whole numbers as text where one of them needs more
            than 64 bits with a sign.
        where: the name of the ids in errors, such as `"vocabulary 'user'"`.
        what: the name of a single value in errors; values of attributes follow the same rule.

    Raises:
        InputError: a value is neither, or the sorts are mixed.

    Example:
        >>> as_ids(["b", "a"], "feature 'user'"), as_ids([7.0, 55.0], "feature 'item'")
        (array(['b', 'a'], dtype=object), array([ 7, 55]))
    """
    # numpy alone would turn the list ["a", 1] into text, and 2**63 into a float.
    try:
        array = np.array(values, dtype=object) if isinstance(values, list | tuple) else np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # a tensor that numpy cannot convert
        raise InputError(f"{where}: ids are a column of whole numbers or text, not {type(values).__name__}") from None
    if array.dtype.kind == "i":
        return array.astype(np.int64, copy=False)
    if array.dtype.kind == "u":
        if array.size and int(array.max()) > np.iinfo(np.int64).max:
            return _texts(array)
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        return _whole(array, where, what)
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind == "S":
        array = array.astype(object)
    if array.dtype.kind != "O":
        raise InputError(f"{where}: {what}s must be whole numbers or text, not {array.dtype}")
    flat = array.ravel().tolist()
    sorts = set(map(type, flat))
    if sorts == {str}:
        return array
    if all(issubclass(sort, int | np.integer) and sort is not bool for sort in sorts):
        try:
            return np.array(flat, dtype=np.int64).reshape(array.shape)
        except OverflowError:
            return _texts(array)
    if all(issubclass(sort, str) for sort in sorts):
        return np.array([str(value) for value in flat], dtype=object).reshape(array.shape)
    if all(issubclass(sort, bytes) for sort in sorts):
        return _decoded(flat, where, what).reshape(array.shape)
    if all(issubclass(sort, int | float | np.integer | np.floating) and sort is not bool for sort in sorts):
        return _whole(array.astype(np.float64), where, what)
    position, stranger = _stranger(flat)
    raise InputError(
        f"{where}: the {what}s are not all whole numbers or all text: position {position} (counted from 0) "
        f"holds {_shown(stranger)} of type {type(stranger).__name__}"
    )


def are_text(ids: np.ndarray) -> bool:
    """Whether `ids`, as made by `as_ids`, are text."""
    return ids.dtype == object


def _texts(numbers: np.ndarray) -> np.ndarray:
    return np.array([str(number) for number in numbers.ravel().tolist()], dtype=object).reshape(numbers.shape)


def _exact(kind: np.dtype) -> int:
    """The number up to which a float of this type holds every whole number."""
    return int(1 << (np.finfo(kind).nmant + 1))


def _whole(array: np.ndarray, where: str, what: str) -> np.ndarray:
    """Floats as the whole numbers that they are."""
    exact = _exact(array.dtype)
    with np.errstate(invalid="ignore"):
        fine = (array == np.floor(array)) & (np.abs(array) <= exact)
    if not fine.all():
        position = int(np.argmin(fine.ravel()))
        value = float(array.ravel()[position])
        reason = (
            f"the {what} is missing" if np.isnan(value)
            else f"{value:.17g} is beyond {exact}, where {array.dtype} merges numbers; give whole numbers or text"
            if abs(value) > exact
            else f"{value:.17g} is no whole number; give the {what}s as text"
        )  # fmt: skip
        raise InputError(f"{where}: position {position} (counted from 0): {reason}")
    return array.astype(np.int64)


def _decoded(flat: list[bytes], where: str, what: str) -> np.ndarray:
    try:
        return np.array([value.decode("utf-8") for value in flat], dtype=object)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}: the {what} {_shown(error.object)} is not UTF-8 text; decode the {what}s, or give numbers"
        ) from None


def _stranger(flat: list[Any]) -> tuple[int, Any]:
    """Position and value of the first entry whose sort differs from that of the first one."""
    first_is_text = isinstance(flat[0], str)
    for position, value in enumerate(flat):
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not (isinstance(value, str) if first_is_text else number):
            return position, value
    return 0, flat[0]


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
