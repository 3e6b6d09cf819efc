"""`Ratings`, and how they are read from files."""

from __future__ import annotations

from collections.abc import Iterator
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
from coset.data.shards import unpacked_name
from coset.data.transforms import Transform, transform_named
from coset.errors import InputError, brief
from coset.settings import of_kind


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of items by users: three columns of equal length, rows in file order.

    Args:
        name: of the data set.
        users: raw user ids, int64 or text (object array of `str`), shape `(rows,)`.
        items: raw item ids, likewise.
        ratings: finite numbers, float32, shape `(rows,)`.
        user_name: the name of the feature and table of users.
        item_name: that of items.
        synthetic: whether a generator made the data; shown wherever results are.
        noise_floor: mean squared error of the best possible predictor, where it is known.
        source: where the data came from, for errors.
        user_attributes: columns that describe users, if any.
        item_attributes: columns that describe items, if any.
        times: the time of each row, whole numbers, int64, shape `(rows,)`, if known; splits by time use only their
            order.
        files: the files of a folder that they were read from, in that order.
        left_out: the number of empty rows in these files, which were left out.
        transform: the scale on which they are learned (see `targets`); that of `ratings` by default.

    Raises:
        InputError: columns of different lengths, no rows, ids of mixed sorts, or a rating that is not finite or that
            the transform does not take.

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
    transform: Transform | None = field(default=None, repr=False)

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
        if self.transform is not None and not (taken := self.transform.takes(ratings)).all():
            row = int(np.argmin(taken))
            raise InputError(
                f"{where}: the rating at row {row + 1} of the data (counted from 1) is {ratings[row]:g}, and "
                f"{self.transform.name}, which makes {self.transform.formula} of it, needs {self.transform.needs}"
            )
        for column, value in (("users", users), ("items", items), ("ratings", ratings)):
            object.__setattr__(self, column, value)

    def __len__(self) -> int:
        return len(self.ratings)

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest rating."""
        return float(self.ratings.min()), float(self.ratings.max())

    @cached_property
    def targets(self) -> np.ndarray:
        """What a model learns: the transformed ratings, or the ratings where there is no transform; float32."""
        return self.ratings if self.transform is None else self.transform.forward(self.ratings).astype(np.float32)

    def transformed(self, name: str) -> Ratings:
        """The same ratings, learned on the scale of the transform of that name. Their noise floor is not known.

        Raises:
            InputError: there is no such transform, or a rating that it does not take.

        Example:
            >>> Ratings("plays", [1, 1, 2], ["a", "b", "a"], [0, 1, 99]).transformed("log").targets.round(2).tolist()
            [0.0, 0.6899999976158142, 4.610000133514404]
        """
        return replace(self, transform=transform_named(name), noise_floor=None)

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
        """How many rows have the same user, item and rating as a row of `others`.

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
        if given.dtype.kind not in "cmM":  # numpy would convert complex numbers and times to meaningless floats
            with np.errstate(over="ignore"):
                return np.asarray(given, dtype=np.float32)
        reason = f"not {given.dtype}"
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last of a tensor of a graph
        reason = f"but {str(error)[:100]}"
    raise InputError(f"{where}: ratings must be a column of numbers, {reason}")


def read_ratings(
    path: Path,
    columns: Columns | None = None,
    separator: str | None = None,
    name: str | None = None,
    reader: str | None = None,
) -> Ratings:
    """The ratings in the files at `path`; see `load_ratings`.

    Args:
        path: a file, a pipe, an archive or a folder.
        columns: which columns are which.
        separator: in place of that of the file's layout. Files beside the ratings are then ignored, as the layout is
            not quite GroupLens'.
        name: of the data set; by default that of its file.
        reader: the name of the source; by default found by the first bytes of each file.
    """
    from coset.data.finding import find
    from coset.data.rows import read_rows
    from coset.data.sources import Wanted

    columns = columns or Columns()
    with readable(path):
        found = find(path)
        layout = found.layout
        rows = read_rows(found.files, Wanted(columns, separator or layout, False if layout else None, reader=reader))
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
    """Turns errors of the system while `path` is read into one sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror or error})") from None
    except MemoryError:
        raise InputError(
            f"{path}: too large for the memory that is free; load fewer rows or use a machine with more"
        ) from None
