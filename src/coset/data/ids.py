"""What a raw id is: a whole number of 64 bits, or a piece of text; a column holds one sort only.

Text is kept in numpy object arrays of `str`, because numpy's own fixed-width text drops NUL characters at
the end of a value and pads every value to the longest one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coset.errors import InputError


def as_ids(values: Any, where: str, what: str = "id") -> np.ndarray:
    """The raw ids `values` as an int64 array or an object array of `str`, of the same shape.

    Args:
        values: array, list or tensor of whole numbers, or of text; not both.
        where: what the ids are, for the error: `"vocabulary 'user'"`.
        what: a single one is called in the error; values of attributes are of the same sorts.

    Raises:
        InputError: a value is neither, the sorts are mixed, or a number needs more than 64 bits.

    Example:
        >>> as_ids(["b", "a"], "feature 'user'")
        array(['b', 'a'], dtype=object)
    """
    # Of a list, numpy by itself would turn ["a", 1] into text, and 2**63 into a float.
    array = np.array(values, dtype=object) if isinstance(values, list | tuple) else np.asarray(values)
    if array.dtype.kind == "i":
        return array.astype(np.int64, copy=False)
    if array.dtype.kind == "u":
        if array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise InputError(f"{where}: the {what} {array.max()} does not fit into 64 signed bits; give it as text")
        return array.astype(np.int64)
    if array.dtype.kind == "U":
        return array.astype(object)
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
            raise InputError(f"{where}: one {what} needs more than 64 signed bits; give the {what}s as text") from None
    if all(issubclass(sort, str) for sort in sorts):
        return np.array([str(value) for value in flat], dtype=object).reshape(array.shape)
    position, stranger = _stranger(flat)
    raise InputError(
        f"{where}: the {what}s are not all whole numbers or all text: position {position} (counted from 0) "
        f"holds {stranger!r} of type {type(stranger).__name__}"
    )


def are_text(ids: np.ndarray) -> bool:
    """Whether `ids`, as made by `as_ids`, are text."""
    return ids.dtype == object


def ids_from_text(series: Any) -> np.ndarray:
    """The ids, or values of an attribute, that a polars column of text stands for.

    They are int64 when each one is the plain decimal form of a whole number, and text otherwise.

    `"007"` or `"+7"` keep a whole column text: as numbers they would fall together with `"7"`. So the text of
    a number is always `str(number)`, and nothing is lost either way.
    """
    import polars as pl

    numbers = series.cast(pl.Int64, strict=False)
    if numbers.null_count() == 0 and bool((numbers.cast(pl.String) == series).all()):
        return np.ascontiguousarray(numbers.to_numpy(), dtype=np.int64)
    return np.array(series.to_list(), dtype=object)


def _stranger(flat: list[Any]) -> tuple[int, Any]:
    """Position and value of the first entry that does not go with the first one."""
    first_is_text = isinstance(flat[0], str)
    for position, value in enumerate(flat):
        number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not (isinstance(value, str) if first_is_text else number):
            return position, value
    return 0, flat[0]
