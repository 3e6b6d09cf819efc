"""`Ratings`, who rated what and how much, and `load_ratings`, which finds them by name or in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from coset.data.attributes import Attributes, rows_by_id
from coset.data.columns import Columns
from coset.data.grouplens import MEMBERS
from coset.data.ids import are_text, as_ids
from coset.data.shards import is_given, unpacked_name
from coset.errors import InputError, brief, unknown
from coset.files import expanded
from coset.settings import of_kind, truth


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who rated what and how much: three columns of equal length, rows in file order.

    Args:
        name: of the data set.
        users: raw user ids, int64 or text (object array of `str`), shape `(rows,)`.
        items: raw item ids, likewise.
        ratings: finite numbers, float32, shape `(rows,)`.
        user_name: what a user is called: the name of its feature and table.
        item_name: what an item is called, likewise.
        synthetic: whether a generator made the data; shown wherever results are.
        noise_floor: mean squared error of the best possible predictor, where it is known.
        source: where the data came from; begins every error about it.
        user_attributes: what is known of users besides, where anything is.
        item_attributes: what is known of items, likewise.
        times: when each row was, whole numbers, int64, shape `(rows,)`, where that is known; splits by time go by their
            order alone.
        files: the files of a folder that they were read from, in that order.
        left_out: how many rows of those held nothing, and were left out.

    Raises:
        InputError: columns of different lengths, no rows, ids of mixed sorts, or a rating that is not finite.

    A user may rate an item more than once; every row counts (see `pairs`).

    Example:
        >>> Ratings("tiny", [1, 1, 2], ["a", "b", "a"], [5, 3, 4]).range
        (3.0, 5.0)
    """

    name: str
    users: np.ndarray = field(repr=False)
    items: np.ndarray = field(repr=False)
    ratings: np.ndarray = field(repr=False)
    user_name: str = "user"
    item_name: str = "item"
    synthetic: bool = False
    noise_floor: float | None = None
    source: str = ""
    user_attributes: Attributes | None = field(default=None, repr=False)
    item_attributes: Attributes | None = field(default=None, repr=False)
    times: np.ndarray | None = field(default=None, repr=False)
    files: tuple[str, ...] = field(default=(), repr=False)
    left_out: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        for what in ("name", "source", "user_name", "item_name"):
            of_kind(f"ratings: {what}", getattr(self, what), str, "text")
        where = self.source or self.name
        users = as_ids(self.users, f"{where}, {self.user_name} ids")
        items = as_ids(self.items, f"{where}, {self.item_name} ids")
        ratings = _numbers(self.ratings, where)
        if not users.shape == items.shape == ratings.shape or ratings.ndim != 1:
            raise InputError(
                f"{where}: users, items and ratings must be columns of one length, "
                f"but have shapes {users.shape}, {items.shape} and {ratings.shape}"
            )
        if len(ratings) == 0:
            raise InputError(f"{where}: the data set is empty; at least one rating is needed")
        if not np.isfinite(ratings).all():
            row = int(np.argmin(np.isfinite(ratings)))
            raise InputError(
                f"{where}: the rating at row {row + 1} of the data (counted from 1) is {ratings[row]}, "
                "not a finite number"
            )
        try:
            times = ratings if self.times is None else np.asarray(self.times)
        except (TypeError, ValueError, RuntimeError):  # a tensor with a gradient, lists of several lengths
            times = np.empty(0)
        if times.shape != ratings.shape or (times.dtype.kind != "i" and self.times is not None):
            raise InputError(f"{where}: times must be whole numbers, as many as ratings")
        for column, value in (("users", users), ("items", items), ("ratings", ratings)):
            object.__setattr__(self, column, value)

    def __len__(self) -> int:
        return len(self.ratings)

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest rating."""
        return float(self.ratings.min()), float(self.ratings.max())

    @cached_property
    def pairs(self) -> np.ndarray | None:
        """A number for every row, equal for rows of the same user and item; `None` where no two rows are."""
        users, items = rows_by_id(self.users)[0], rows_by_id(self.items)[0]
        pairs = users.astype(np.int64) * (int(items.max()) + 1) + items
        distinct, numbers = np.unique(pairs, return_inverse=True)
        return None if len(distinct) == len(self) else numbers

    @property
    def repeated(self) -> int:
        """How many rows rate an item that the same user rated in an earlier row."""
        return 0 if self.pairs is None else len(self) - int(self.pairs.max()) - 1

    def equal_to(self, others: Ratings) -> int:
        """How many rows have the user, the item and the rating of one of the rows of `others`.

        Example:
            >>> one = Ratings("one", [1, 2, 3], [7, 7, 8], [1.0, 2.0, 3.0])
            >>> one.equal_to(Ratings("two", ["3", "1"], [8, 7], [3.0, 5.0]))
            1
        """
        numbers = np.zeros(len(self) + len(others), dtype=np.int64)
        for mine, theirs in (
            (self.users, others.users), (self.items, others.items), (self.ratings, others.ratings)
        ):  # fmt: skip
            if are_text(mine) != are_text(theirs):
                mine, theirs = (of if are_text(of) else of.astype(str).astype(object) for of in (mine, theirs))
            values = rows_by_id(np.concatenate([mine, theirs]))[0]
            numbers = np.unique(numbers * (int(values.max()) + 1) + values, return_inverse=True)[1]
        return int(np.isin(numbers[: len(self)], numbers[len(self) :]).sum())

    def select(self, index: Any) -> Ratings:
        """The rows that `index` picks (positions, a boolean mask or a slice), in that order."""
        try:
            times = None if self.times is None else self.times[index]
            self.ratings[index].shape[0]
        except (IndexError, OverflowError, TypeError, ValueError, RuntimeError):
            raise InputError(
                f"{self.source or self.name}: rows are picked by positions within {len(self)}, a mask or a slice, not "
                f"by {brief(index)}"
            ) from None
        return replace(self, users=self.users[index], items=self.items[index], ratings=self.ratings[index], times=times)


def _numbers(ratings: Any, where: str) -> np.ndarray:
    """Ratings as float32."""
    try:
        given = np.asarray(ratings)
        if given.dtype.kind not in "cmM":  # complex numbers and times have a float in numpy, which says nothing
            with np.errstate(over="ignore"):
                return np.asarray(given, dtype=np.float32)
        reason = f"not {given.dtype}"
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last of a tensor of a graph
        reason = f"but {str(error)[:100]}"
    raise InputError(f"{where}: ratings must be a column of numbers, {reason}")


def _movielens(name: str) -> Callable[[bool], Ratings]:
    def load(timed: bool = False) -> Ratings:
        from coset.data.movielens import load_movielens

        return load_movielens(name, timed)

    return load


def _synthetic(timed: bool = False) -> Ratings:
    from coset.data.synthetic import synthetic_ratings

    if timed:
        raise InputError("synthetic-ratings has no times; split it at random")
    return synthetic_ratings()


DATASETS: Mapping[str, Callable[[bool], Ratings]] = {
    "movielens-1m": _movielens("movielens-1m"),
    "movielens-100k": _movielens("movielens-100k"),
    "synthetic-ratings": _synthetic,
}
"""The built-in data sets: name → loader, which is told whether times are wanted."""


def load_ratings(
    data: str | Path,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    separator: str | None = None,
    user_attributes: Sequence[str] | None = None,
    item_attributes: Sequence[str] | None = None,
    time: str | bool = False,
    to_learn: bool = True,
) -> Ratings:
    """The ratings called `data`: a built-in name, or a path.

    Args:
        data: a key of `DATASETS`; or the path of a file, pipe, zip archive or folder of CSV, TSV or Parquet (see
            docs/data.md), or a pattern of such files; GroupLens' own files too. A built-in name always means the
            built-in set; write `./movielens-1m` for a file of that name.
        user: column of the user ids; a usual name such as `userId` or `user_id` is found by itself.
        item: column of the item ids, likewise (`movieId`, `item_id`, …).
        rating: column of the ratings, likewise.
        separator: between the values of a line: one character or `::`; found by itself.
        user_attributes: columns that say something about the user of a row, the same in all of his rows.
        item_attributes: columns that say something about the item of a row, likewise.
        time: column of the times of rows: whole numbers, numbers, or ISO 8601 dates; `True` for a usual name such as
            `timestamp`. Not read by default.
        to_learn: refuse data from which nothing can be learned.

    GroupLens' own files of users and movies, where they lie beside the ratings, give their attributes by themselves
    (see `coset.data.grouplens`); columns that are named take their place.

    Ids are int64 when every one is written as a whole number of 64 bits, and text otherwise (see `coset.data.ids`).
    Attributes are read as ids are, and an empty value is a value like any other.

    Raises:
        InputError: the name is unknown, or the file is missing, unreadable or has a wrong row, or two rows of one id
            disagree in one of its attributes. With `to_learn`, also one user only, one item only, or all ratings
            equal.
        DataNotFound: a built-in set is neither on this machine nor to be downloaded.

    Example:
        >>> load_ratings("synthetic-ratings").range
        (1.0, 5.0)
    """
    for what, value in (("user", user), ("item", item), ("rating", rating), ("separator", separator)):
        of_kind(what, value, (str, type(None)), "text")
    of_kind("time", time, (str, bool), "the name of a column, or True or False")
    columns = Columns(user, item, rating, _names(user_attributes), _names(item_attributes), time)
    to_learn = truth("to_learn", to_learn)
    if isinstance(data, str) and data in DATASETS:
        flags = {"user": user, "item": item, "rating": rating, "separator": separator,
                 "user_attributes": user_attributes, "item_attributes": item_attributes,
                 "time": time if isinstance(time, str) else None}  # fmt: skip
        if given := [name for name, value in flags.items() if value is not None]:
            words = ", ".join(f"--{name.replace('_', '-').removesuffix('s')}" for name in given)
            raise InputError(
                f"{data} is built in and its columns are known: leave out {', '.join(given)} (on the command line "
                f"{words}), as columns and separator are for files"
            )
        return DATASETS[data](bool(time))
    if isinstance(data, str) and not data:  # which a Path would take for the current folder
        raise InputError(f"the name of the data is empty; expected one of {', '.join(DATASETS)}, or a path")
    if not is_given(path := expanded(data)):
        raise _missing(data)
    ratings = read_ratings(path, columns, separator)
    if to_learn:
        _check_learnable(ratings)
    return ratings


def _names(attributes: Any) -> tuple[str, ...]:
    """The names of columns of attributes."""
    if attributes is None:
        return ()
    if not isinstance(attributes, list | tuple) or not all(isinstance(name, str) for name in attributes):
        raise InputError(f"attributes are a list of names of columns, not {brief(attributes)}")
    return tuple(attributes)


def _missing(data: str | Path) -> InputError:
    path = Path(data)
    if data == "-":
        return InputError("-: no such file; to read a pipe, give /dev/stdin")
    if isinstance(data, str) and not path.suffix and path.name == data:  # a name rather than a path
        nearest = unknown("dataset", data, DATASETS)
        return InputError(f"{nearest} (a path to a CSV, TSV, Parquet or zip file is possible too)")
    return InputError(
        f"{data}: no such file; expected a CSV, TSV, Parquet or zip file, or one of {', '.join(DATASETS)}"
    )


def read_ratings(
    path: Path, columns: Columns | None = None, separator: str | None = None, name: str | None = None
) -> Ratings:
    """The ratings in the files at `path`; see `load_ratings`.

    Args:
        path: a file, a pipe, an archive or a folder.
        columns: which columns are which.
        separator: to be used instead of the one that goes with the file. The layout is then not quite GroupLens', and
            the files beside the ratings are left alone.
        name: what the data set is called; by default as its file.
    """
    from coset.data.finding import find
    from coset.data.rows import read_rows
    from coset.data.sources import Wanted

    columns = columns or Columns()
    with readable(path):
        found = find(path)
        layout = found.layout
        rows = read_rows(found.files, Wanted(columns, separator or layout, False if layout else None))
        beside = {} if separator else found.beside
        known = {role: said for role, read in beside.items() if (said := read()) is not None}
    for role, ids in (("user", rows.users), ("item", rows.items)):
        of_role = zip(columns.attributes, rows.attributes, strict=True)
        if named := {column: values for (whose, column), values in of_role if whose == role}:
            known[role] = Attributes.of_rows(ids, named, str(path), role)
    return Ratings(
        name or path.stem or str(path), rows.users, rows.items, rows.ratings,
        item_name="movie" if unpacked_name(PurePosixPath(found.names[0]).name) in MEMBERS else "item", source=str(path),
        user_attributes=known.get("user"), item_attributes=known.get("item"),
        files=found.names if path.is_dir() or not path.exists() else (), times=rows.times, left_out=rows.left_out,
    )  # fmt: skip


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """One sentence about `path` for what the system refuses while it is read."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror or error})") from None
    except MemoryError:
        raise InputError(
            f"{path}: too large for the memory that is free; load fewer rows or use a machine with more"
        ) from None


def _check_learnable(ratings: Ratings) -> None:
    for what, ids in ((ratings.user_name, ratings.users), (ratings.item_name, ratings.items)):
        if bool((ids == ids[0]).all()):
            raise InputError(
                f"{ratings.source}: all {len(ratings)} ratings belong to one {what} ({ids[0]!s}); "
                f"at least two are needed to learn anything, so check which column holds the {what}"
            )
    low, high = ratings.range
    if low == high:
        raise InputError(
            f"{ratings.source}: every rating is {low:g}, so there is nothing to learn; "
            "check which column holds the rating"
        )
