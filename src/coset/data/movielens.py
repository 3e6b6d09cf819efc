"""MovieLens as GroupLens publishes it: archives and folders, and the built-in sets with their search order.

The data may be used for research and not passed on, so coset bundles none of it: it reads the user's own
copy, or downloads one from GroupLens.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coset.data.columns import Columns
from coset.data.download import DownloadFailed, cache_folder, download
from coset.data.ratings import Ratings, read_ratings
from coset.errors import InputError, unknown
from coset.files import expanded


class DataNotFound(InputError):
    """A built-in set is neither on this machine nor can be downloaded; a caller may use its synthetic twin."""


@dataclass(frozen=True)
class Published:
    """A published MovieLens set: where it is and what it holds.

    Args:
        folder: name of its folder; the archive is called `<folder>.zip`.
        url: address of the archive.
        md5: checksum of the archive.
        rows: number of ratings.
        users: number of distinct users.
        movies: number of distinct rated movies.
    """

    folder: str
    url: str
    md5: str
    rows: int
    users: int
    movies: int


PUBLISHED: dict[str, Published] = {
    "movielens-1m": Published(
        "ml-1m",
        "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        "c4d9eecfca2ab87c1945afe126590906",
        1_000_209,
        6_040,
        3_706,
    ),
    "movielens-100k": Published(
        "ml-100k",
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        "0e33842e24a9c977be4e0107933c0723",
        100_000,
        943,
        1_682,
    ),
}


def load_movielens(name: str, timed: bool = False) -> Ratings:
    """The built-in set `name`, `"movielens-1m"` or `"movielens-100k"`.

    coset looks in `$COSET_DATA`, then in the user cache (see `cache_folder`), and else downloads it from GroupLens into
    the cache. It recognises a local copy by its contents, not by a checksum, so it takes repacked archives and
    extracted folders. Files of users and movies beside the ratings give the attributes (see `coset.data.grouplens`).
    With `timed`, ratings have their times.

    Raises:
        DataNotFound: it is in none of these places.
        InputError: the copy that was found is unreadable or not this data set.

    Example:
        >>> load_movielens("movielens-1m").range  # doctest: +SKIP
        (1.0, 5.0)
    """
    wanted = _published(name)
    path = locate(name) or _fetch(name, wanted)
    ratings = read_ratings(path, Columns(time=timed), name=name)
    found = (len(ratings), len(np.unique(ratings.users)), len(np.unique(ratings.items)))
    if found != (wanted.rows, wanted.users, wanted.movies):
        raise InputError(
            f"{path}: holds {found[0]:,} ratings of {found[1]:,} users and {found[2]:,} movies, but {name} "
            f"has {wanted.rows:,} of {wanted.users:,} and {wanted.movies:,}; replace the file by GroupLens' own, "
            "or load this one by its path"
        )
    return ratings


def available(name: str) -> bool:
    """Whether the built-in set `name` is on this machine, so that loading it needs no network."""
    return locate(name) is not None


def locate(name: str) -> Path | None:
    """The local copy of the built-in set `name`, an archive or a file of ratings; `None` without one."""
    folder = _published(name).folder
    member = "ratings.dat" if folder == "ml-1m" else "u.data"
    bases = [expanded(base) for base in [os.environ.get("COSET_DATA")] if base]
    for base in [*bases, cache_folder()]:
        for candidate in (base / f"{folder}.zip", base / folder / member, base / member):
            if candidate.is_file():
                return candidate
    return None


def _fetch(name: str, wanted: Published) -> Path:
    path = cache_folder() / f"{wanted.folder}.zip"
    try:
        download(wanted.url, path, wanted.md5)
    except DownloadFailed as error:
        raise DataNotFound(
            f"{name} was not found: set COSET_DATA to a folder with {wanted.folder}.zip in it, or put the file "
            f"at {path}, or connect to the network so that it can be downloaded ({error})"
        ) from None
    return path


def _published(name: str) -> Published:
    if not isinstance(name, str) or name not in PUBLISHED:
        raise unknown("dataset", name, PUBLISHED)
    return PUBLISHED[name]
