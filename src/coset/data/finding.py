"""Finds the files of ratings at a path, and the files beside them that describe users and items."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from coset.data.attributes import Attributes
from coset.data.files import Archive, DataFile, data_file, is_archive, visible
from coset.data.grouplens import LISTINGS, MEMBERS, Listing
from coset.data.shards import PACKINGS, Shard, in_order, shards, unpacked_name
from coset.data.sources import recbole
from coset.errors import InputError
from coset.files import path_of

ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".data", ".parquet", ".pq", *PACKINGS, recbole.ENDING)
"""Endings of the names of files that are read from a folder."""


@dataclass(frozen=True)
class Found:
    """The files at a path.

    Args:
        files: of ratings, in the order in which they are read.
        names: the names of these below the path.
        beside: by `"user"` and `"item"`, a function that reads the attributes in a file beside GroupLens' or RecBole's
            ratings, if it has any.
    """

    files: tuple[DataFile, ...]
    names: tuple[str, ...]
    beside: Mapping[str, Callable[[], Attributes | None]] = field(default_factory=dict)

    @property
    def layout(self) -> str | None:
        """The separator of GroupLens' files without a header, by their name; `None` for others."""
        return MEMBERS.get(_plain_name(self.names[0])) if len(self.names) == 1 else None


def find(path: Path) -> Found:
    """The files of ratings at `path`: a file, a pipe, a zip archive, a folder, or a pattern of names (`*`, `?`, `[…]`).

    In an archive or folder GroupLens' files are looked for first (in a folder in it or one level down), then RecBole's,
    which may be in parts, then any: the only one of an archive, or the only one with `rating` in its name; all of a
    folder, in the order of the numbers in their names.

    Raises:
        InputError: there are none, or it is not clear which.
    """
    path = path_of(path)
    if path.is_dir():
        member = _topmost(_grouplens_in(path))
        if member is not None:
            return _found(member, lambda name: data_file(path / name), lambda name: os.path.isfile(path / name))
        if (only := _only_interactions(path)) is not None:
            return find(only)
    if path.is_dir() or not path.exists():
        parts = shards(path, ENDINGS)
        # Spark and others write files without a row where a part has none.
        parts = recbole.interactions([part for part in parts if part.path.stat().st_size] or parts[:1])
        return _parts(path, parts, lambda name: data_file(Path(name)), os.path.isfile)
    file = data_file(path)
    if is_archive(file):
        archive = Archive(file)
        parts = [Shard(Path(name), name) for name in archive.names if visible(name) and recbole.is_interactions(name)]
        if len(parts) > 1:
            parts = recbole.interactions(sorted(parts, key=in_order))
            return _parts(path, parts, archive.member, archive.names.__contains__)
        return _found(_member(path, archive), archive.member, archive.names.__contains__)
    keys = shards(path, ENDINGS)[0].keys
    return _found(
        path.name,
        lambda name: replace(data_file(path.parent / name), keys=keys),
        lambda name: os.path.isfile(path.parent / name),
    )


def _found(member: str, file: Callable[[str], DataFile], is_there: Callable[[str], bool]) -> Found:
    beside: dict[str, Callable[[], Attributes | None]] = {}
    at = PurePosixPath(member)
    for role, listing in LISTINGS.get(_plain_name(member), {}).items():
        if (name := _first([f"{listing.name}{end}" for end in ("", *PACKINGS)], at, is_there)) is not None:
            beside[role] = partial(_listed, listing, file(name))
    for role, name in _recbole_beside(at, is_there).items():
        beside[role] = partial(recbole.read_attributes, file(name))
    return Found((file(member),), (member,), beside)


def _parts(
    path: Path, parts: Sequence[Shard], file: Callable[[str], DataFile], is_there: Callable[[str], bool]
) -> Found:
    """Several files, and those beside RecBole's interactions, which must be of one data set."""
    beside: dict[str, str] = {}
    for part in parts:
        for role, name in _recbole_beside(PurePosixPath(part.path.as_posix()), is_there).items():
            if beside.setdefault(role, name) != name:
                raise InputError(
                    f"{path}: holds interactions of more than one data set, beside {PurePosixPath(beside[role]).name} "
                    f"and {PurePosixPath(name).name}; give the files of one, by their folder or a pattern"
                )
    reading = {role: partial(recbole.read_attributes, file(name)) for role, name in beside.items()}
    files = (replace(file(part.path.as_posix()), keys=part.keys) for part in parts)
    return Found(tuple(files), tuple(part.name for part in parts), reading)


def _recbole_beside(at: PurePosixPath, is_there: Callable[[str], bool]) -> dict[str, str]:
    """By role, the file that describes the users or items of RecBole's interactions."""
    if not recbole.is_interactions(at.name):
        return {}
    named = {role: _first(recbole.listings(at.name, role), at, is_there) for role in ("user", "item")}
    return {role: name for role, name in named.items() if name is not None}


def _first(names: Iterable[str], at: PurePosixPath, is_there: Callable[[str], bool]) -> str | None:
    """The first of some files that is there, beside the one at `at`."""
    return next((name for name in (str(at.with_name(name)) for name in names) if is_there(name)), None)


def _plain_name(member: str) -> str:
    return unpacked_name(PurePosixPath(member).name)


def _listed(listing: Listing, file: DataFile) -> Attributes:
    return listing.read(file.read(), file.where)


def _only_interactions(folder: Path) -> Path | None:
    """The one file of RecBole's interactions in a folder; `None` where there is none, or there are several."""
    found = [name for name in os.listdir(folder) if recbole.is_interactions(name)]
    return folder / found[0] if len(found) == 1 else None


def _member(path: Path, archive: Archive) -> str:
    """The file of ratings in an archive."""
    if (member := _topmost(name for name in archive.names if visible(name))) is not None:
        return member
    names = [name for name in archive.names if visible(name) and name.lower().endswith(ENDINGS)]
    by_name = [name for name in names if "rating" in PurePosixPath(name).name.lower()]
    for candidates in (names, by_name):
        if len(candidates) == 1:
            return candidates[0]
    if not names:
        inside = f"; in it are {archive.listed()}" if archive.names else ""
        raise InputError(
            f"{path}: holds no ratings; expected a file {', '.join(MEMBERS)}, or one that ends in .csv, .tsv or "
            f".parquet{inside}"
        )
    raise InputError(
        f"{path}: holds {len(names)} files ({archive.listed()}); unpack it and give the one of the ratings"
    )


def _topmost(names: Iterable[str]) -> str | None:
    """The file of GroupLens' ratings that is nearest to the top."""
    ratings = [name for name in names if _plain_name(name) in MEMBERS]
    return min(ratings, key=lambda name: (name.count("/"), name), default=None)


def _grouplens_in(folder: Path) -> list[str]:
    """GroupLens' files of ratings in a folder and one level down; never further, because it may be a whole disk."""
    below = [name for name in os.listdir(folder) if os.path.isdir(folder / name)]
    members = [f"{member}{end}" for member in MEMBERS for end in ("", *PACKINGS)]
    candidates = [*members, *(f"{name}/{member}" for name in below for member in members)]
    # Unlike those of pathlib, these checks return False where access is denied.
    return [name for name in candidates if os.path.isfile(folder / name)]
