"""MovieLens as GroupLens publishes it: archives and folders, and the built-in sets with their search order.

The data may be used for research and not passed on, so coset bundles none of it: it reads the user's own
copy, or downloads one from GroupLens.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from coset.data.attributes import Attributes
from coset.data.columns import Columns
from coset.data.delimited import Read, read_delimited
from coset.data.download import DownloadFailed, cache_folder, download
from coset.data.grouplens import LISTINGS, Listing
from coset.data.ratings import Ratings, readable
from coset.errors import InputError, unknown


class DataNotFound(InputError):
    """A built-in set is neither on this machine nor to be downloaded; a caller may take a synthetic twin."""


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

# GroupLens' file of ratings → separator; `ratings.csv`, of the newer sets, has a header, the others do not.
_MEMBERS: Mapping[str, str | None] = {"ratings.dat": "::", "u.data": "\t", "ratings.csv": None}

LARGEST = 4 << 30
"""Bytes that a file in an archive may have unpacked; a small archive can announce, and hold, far more."""


def load_movielens(name: str) -> Ratings:
    """The built-in set `name`, `"movielens-1m"` or `"movielens-100k"`.

    It is looked for in `$COSET_DATA`, then in the user cache (see `cache_folder`), then downloaded from
    GroupLens into the cache. A local copy is recognised by what it holds, not by a checksum: repacked
    archives and extracted folders are welcome. The files of users and movies beside the ratings, where they are there,
    give the attributes (see `coset.data.grouplens`).

    Raises:
        DataNotFound: it is in none of these places.
        InputError: the copy that was found is unreadable or not this data set.

    Example:
        >>> load_movielens("movielens-1m").range  # doctest: +SKIP
        (1.0, 5.0)
    """
    wanted = _published(name)
    path = locate(name) or _fetch(name, wanted)
    with readable(path):
        (users, items, ratings), attributes = read_grouplens(path)
    found = (len(ratings), len(np.unique(users)), len(np.unique(items)))
    if found != (wanted.rows, wanted.users, wanted.movies):
        raise InputError(
            f"{path}: holds {found[0]:,} ratings of {found[1]:,} users and {found[2]:,} movies, but {name} "
            f"has {wanted.rows:,} of {wanted.users:,} and {wanted.movies:,}; replace the file by GroupLens' own, "
            "or load this one by its path"
        )
    return Ratings(
        name, users, items, ratings, item_name="movie", source=str(path),
        user_attributes=attributes.get("user"), item_attributes=attributes.get("item"),
    )  # fmt: skip


def available(name: str) -> bool:
    """Whether the built-in set `name` is on this machine, so that loading it needs no network."""
    return locate(name) is not None


def locate(name: str) -> Path | None:
    """The local copy of the built-in set `name`, an archive or a file of ratings; `None` without one."""
    folder = _published(name).folder
    member = "ratings.dat" if folder == "ml-1m" else "u.data"
    bases = [Path(base).expanduser() for base in [os.environ.get("COSET_DATA")] if base]
    for base in [*bases, cache_folder()]:
        for candidate in (base / f"{folder}.zip", base / folder / member, base / member):
            if candidate.is_file():
                return candidate
    return None


def is_archive(path: Path) -> bool:
    """Whether the file at `path` is, or claims to be, a zip archive."""
    with path.open("rb") as file:
        return path.suffix.lower() == ".zip" or file.read(4) == b"PK\x03\x04"


def read_grouplens(
    path: Path, columns: Columns | None = None, separator: str | None = None
) -> tuple[Read, dict[str, Attributes]]:
    """Users, movies and ratings in GroupLens' layout, and what the files beside them say of users and movies.

    Args:
        path: a zip archive with `ratings.dat`, `u.data` or `ratings.csv` in it, at any depth; a folder with one
            in it or one level down; or such a file.
        columns: names of the columns, for `ratings.csv`; the others have `user`, `movie`, `rating` and
            `timestamp`.
        separator: to be used instead of the one that goes with the file's name. The layout is then not quite
            GroupLens', and the files beside the ratings are left alone.

    Returns:
        The columns of the ratings, and the attributes of `"user"` and of `"item"` where there is a file of them.

    Raises:
        InputError: the archive is unreadable or holds no ratings, or a row is wrong (see `read_delimited`).
    """
    place = f"{path}/"
    if path.is_dir():
        files = _beside(path, _member(path, _ratings_in(path), "in it or one level down"))
    elif is_archive(path):
        files = _unzip(path)
    else:
        files = _beside(path.parent, path.name)
        place = str(path).removesuffix(path.name)
    member = next(iter(files))
    layout = _MEMBERS.get(PurePosixPath(member).name)
    read = read_delimited(files[member], place + member, columns, separator or layout, False if layout else None)
    attributes = {
        role: listing.read(files[beside], place + beside)
        for beside, (role, listing) in _listings(member).items()
        if beside in files and separator is None
    }
    return read, attributes


def _listings(member: str) -> dict[str, tuple[str, Listing]]:
    """The files of users and of movies that belong beside a file of ratings, and how they are read."""
    place = PurePosixPath(member)
    return {
        str(place.with_name(listing.name)): (role, listing) for role, listing in LISTINGS.get(place.name, {}).items()
    }


def _beside(folder: Path, member: str) -> dict[str, bytes]:
    """The contents of the file of ratings, which comes first, and of those that belong beside it and are there."""
    names = [member, *(name for name in _listings(member) if os.path.isfile(folder / name))]
    return {name: (folder / name).read_bytes() for name in names}


def _ratings_in(folder: Path) -> list[str]:
    """The files of ratings in a folder and one level down; never further, because it may be a whole disk."""
    below = [name for name in os.listdir(folder) if os.path.isdir(folder / name)]
    candidates = [*_MEMBERS, *(f"{name}/{member}" for name in below for member in _MEMBERS)]
    # Unlike those of pathlib, these checks say no where access is denied, as in a folder of somebody else.
    return [name for name in candidates if os.path.isfile(folder / name)]


def _member(path: Path, names: list[str], place: str = "in it") -> str:
    """The file of ratings among `names`: the one nearest to the top."""
    ratings = [name for name in names if PurePosixPath(name).name in _MEMBERS]
    if not ratings:
        raise InputError(
            f"{path}: holds no ratings; expected a file {', '.join(_MEMBERS)} {place}, as in GroupLens' archives"
        )
    return min(ratings, key=lambda name: (name.count("/"), name))


def _unzip(path: Path) -> dict[str, bytes]:
    """The contents of the file of ratings, which comes first, and of those that belong beside it and are there."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            member = _member(path, names)
            return {name: _unpack(archive, name) for name in (member, *_listings(member)) if name in names}
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zipfile and the decompressors raise a dozen kinds on damaged archives
        raise InputError(
            f"{path}: not readable as a zip archive ({str(error) or type(error).__name__}); it seems cut off or "
            "damaged: remove it and fetch it again"
        ) from None


def _unpack(archive: zipfile.ZipFile, member: str) -> bytes:
    size = archive.getinfo(member).file_size
    if size > LARGEST:
        raise InputError(
            f"{archive.filename}/{member}: {size:,} bytes when unpacked, but at most {LARGEST:,} are read out of an "
            "archive; unpack it and load the file by its path"
        )
    with archive.open(member) as file:
        data = file.read(size + 1)  # not all, because more may be there than was announced
    if len(data) != size:
        raise zipfile.BadZipFile(f"{member} has {len(data):,} bytes, where {size:,} are announced")
    return data


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
    if name not in PUBLISHED:
        raise unknown("dataset", name, PUBLISHED)
    return PUBLISHED[name]
