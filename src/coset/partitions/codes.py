"""Partitions that the user gives: a column of codes, one for each id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from coset.errors import InputError
from coset.partitions.maps import Ids, check_whole

_DTYPES = (np.uint8, np.int16, np.int32, np.int64)


@dataclass(frozen=True, eq=False)
class Codes:
    """`row = codes[id]`: ids of one code share a row, such as the movies of one year.

    Args:
        name: of the column; every error about it says this name.
        codes: one whole number of 0 or more an id, shape `(n,)`; kept in the narrowest type that holds the largest.

    Raises:
        InputError: codes that are not whole numbers of 0 or more, not one-dimensional, or none.

    Example:
        >>> year = Codes("year", [0, 0, 1, 2, 1])
        >>> year(3), year(np.array([1, 4])), year.rows(5), year.codes.dtype.name
        (2, array([0, 1]), 3, 'uint8')
    """

    name: str
    codes: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        codes = np.asarray(self.codes)
        if codes.ndim != 1 or not len(codes) or codes.dtype.kind not in "iu":
            raise InputError(
                f"attribute {self.name!r}: codes must be a column of whole numbers, not {codes.dtype} of shape "
                f"{codes.shape}"
            )
        if (low := int(codes.min())) < 0:
            raise InputError(
                f"attribute {self.name!r}: codes must be 0 or more, not {low} (of id {int(codes.argmin())}); number "
                f"the values 0, 1, 2 …"
            )
        high = int(codes.max())
        if high > np.iinfo(np.int64).max:
            raise InputError(f"attribute {self.name!r}: codes must fit int64, not {high}")
        narrowest = next(dtype for dtype in _DTYPES if high <= np.iinfo(dtype).max)
        object.__setattr__(self, "codes", np.ascontiguousarray(codes, dtype=narrowest))

    def __call__(self, ids: Ids) -> Ids:
        """The code of every id."""
        check_whole(ids)
        at = np.asarray(ids)
        if at.size and not 0 <= at.min() <= at.max() < len(self.codes):
            wrong = at.min() if at.min() < 0 else at.max()
            raise IndexError(
                f"attribute {self.name!r}: id {wrong} is out of range, its codes are for ids 0 … {len(self.codes) - 1}"
            )
        rows = self.codes[at].astype(np.int64)
        if isinstance(ids, int):
            return int(rows)
        return ids.new_tensor(rows) if hasattr(ids, "new_tensor") else rows

    @property
    def stored(self) -> np.ndarray:
        """The column as tables store it, in types that collectives of torch carry: numbers of 16 bits, which these do
        not, as two bytes each, the lower one first, shape `(n, 2)`.

        Example:
            >>> Codes("make", [1, 513]).stored.tolist(), Codes("year", [1, 2]).stored.tolist()
            ([[1, 0], [1, 2]], [1, 2])
        """
        if self.codes.dtype.itemsize != 2:
            return self.codes
        return self.codes.astype("<i2", copy=False).view(np.uint8).reshape(-1, 2)

    def rows(self, num_embeddings: int) -> int:
        """One more than the largest code."""
        return int(self.codes[:num_embeddings].max()) + 1


def tie_breaker(columns: Sequence[np.ndarray]) -> np.ndarray:
    """A column that numbers the ids which share all their codes; with it, any columns are complementary.

    Args:
        columns: of codes, each of shape `(n,)`.

    Returns:
        int64, shape `(n,)`: how many smaller ids have the same codes.

    Raises:
        InputError: no column, or columns of different lengths.

    Example:
        >>> tie_breaker([np.array([0, 0, 1, 0]), np.array([5, 5, 5, 6])])
        array([0, 1, 0, 0])
    """
    if len(lengths := {np.shape(column) for column in columns}) != 1:
        raise InputError(f"columns of codes need one code an id each, not the shapes {sorted(lengths)}")
    place = grouped(columns)
    order = np.argsort(place, kind="stable")
    begins = np.flatnonzero(np.diff(place[order], prepend=-1))
    number = np.empty(len(place), dtype=np.int64)
    number[order] = np.arange(len(place)) - np.repeat(begins, np.diff(begins, append=len(place)))
    return number


def grouped(columns: Sequence[np.ndarray]) -> np.ndarray:
    """The number of the group of each id, 0 …; ids are in one group that agree in every column."""
    place = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        _, codes = np.unique(column, return_inverse=True)
        _, place = np.unique(place * (int(codes.max()) + 1) + codes, return_inverse=True)
    return place.astype(np.int64)
