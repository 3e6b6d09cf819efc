"""`load_ratings`: ratings by the name of a built-in data set, or from files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coset.data.built_in import built_in
from coset.data.columns import Columns
from coset.data.ratings import Ratings, read_ratings
from coset.data.shards import is_given
from coset.errors import InputError, brief, unknown
from coset.files import expanded
from coset.settings import of_kind, truth


def _movielens(name: str) -> Callable[[bool], Ratings]:
    def load(timed: bool = False) -> Ratings:
        from coset.data.movielens import load_movielens

        return load_movielens(name, timed)

    return load


def _synthetic(name: str) -> Callable[[bool], Ratings]:
    def load(timed: bool = False) -> Ratings:
        from coset.data.long_tail import FACTORS, long_tail_ratings
        from coset.data.synthetic import synthetic_ratings

        if timed:
            raise InputError(f"{name} has no times; split it at random")
        if name == "synthetic-ratings":
            return synthetic_ratings()
        return long_tail_ratings(factors=FACTORS if name.endswith("factors") else 0.0)

    return load


DATASETS: Mapping[str, Callable[[bool], Ratings]] = {
    name: _movielens(name) if name.startswith("movielens") else _synthetic(name) for name in built_in("ratings")
}
"""The built-in data sets of ratings: name → loader, whose argument tells whether to load times."""


def load_ratings(
    data: str | Path,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    separator: str | None = None,
    reader: str | None = None,
    user_attributes: Sequence[str] | None = None,
    item_attributes: Sequence[str] | None = None,
    time: str | bool = False,
    rating_transform: str | None = None,
    to_learn: bool = True,
) -> Ratings:
    """The ratings called `data`: a built-in name, or a path.

    Args:
        data: a key of `DATASETS`; or the path of a file, pipe, zip archive or folder of CSV, TSV or Parquet (see
            docs/data.md), or a pattern of such files; GroupLens' own files too. A built-in name always means the
            built-in set; write `./movielens-1m` for a file of that name.
        user: column of the user ids; by default one with a usual name, such as `userId` or `user_id`.
        item: column of the item ids, likewise (`movieId`, `item_id`, …).
        rating: column of the ratings, likewise.
        separator: between the values of a line: one character or `::`; by default found in the file.
        reader: the source that reads the files, one of `coset.data.sources.registered_sources()`; by default found by
            the first bytes.
        user_attributes: columns that describe the user of a row, the same in all rows of a user.
        item_attributes: columns that describe the item of a row, likewise.
        time: column of the times of rows: whole numbers, numbers, or ISO 8601 dates; `True` for a usual name such as
            `timestamp`. Not read by default.
        rating_transform: the scale on which ratings are learned, such as `"log"` for counts (see
            `coset.data.transforms`); their own by default.
        to_learn: refuse data from which nothing can be learned.

    GroupLens' own files of users and movies beside the ratings give their attributes (see `coset.data.grouplens`),
    unless columns are named.

    Ids are int64 when every one is written as a whole number of 64 bits, and text otherwise (see `coset.data.ids`).
    Attributes are read as ids are, and an empty value is a value like any other.

    Raises:
        InputError: the name is unknown, or the file is missing, unreadable or has a wrong row, or two rows of one id
            disagree in one of its attributes. With `to_learn`, also one user only, one item only, or all ratings
            equal.
        DataNotFound: a built-in set is neither on this machine nor can be downloaded.

    Example:
        >>> load_ratings("synthetic-ratings").range
        (1.0, 5.0)
    """
    named = {"user": user, "item": item, "rating": rating, "separator": separator, "reader": reader}
    for what, value in {**named, "rating_transform": rating_transform}.items():
        of_kind(what, value, (str, type(None)), "text")
    of_kind("time", time, (str, bool), "the name of a column, or True or False")
    columns = Columns(user, item, rating, _names(user_attributes), _names(item_attributes), time)
    to_learn = truth("to_learn", to_learn)
    if isinstance(data, str) and data in DATASETS:
        flags = {**named,
                 "user_attributes": user_attributes, "item_attributes": item_attributes,
                 "time": time if isinstance(time, str) else None}  # fmt: skip
        if given := [name for name, value in flags.items() if value is not None]:
            words = ", ".join(f"--{name.replace('_', '-').removesuffix('s')}" for name in given)
            raise InputError(
                f"{data} is built in and its columns are known: leave out {', '.join(given)} (on the command line "
                f"{words}), as columns and separator are for files"
            )
        return _on_scale(DATASETS[data](bool(time)), rating_transform)
    if isinstance(data, str) and not data:  # which a Path would take for the current folder
        raise InputError(f"the name of the data is empty; expected one of {', '.join(DATASETS)}, or a path")
    if not is_given(path := expanded(data)):
        raise _missing(data)
    ratings = read_ratings(path, columns, separator, reader=reader)
    if to_learn:
        _check_learnable(ratings)
    return _on_scale(ratings, rating_transform)


def _on_scale(ratings: Ratings, transform: str | None) -> Ratings:
    return ratings if transform is None else ratings.transformed(transform)


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
