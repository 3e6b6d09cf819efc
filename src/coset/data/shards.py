"""Data in many files: the files of a folder or a pattern, their order, and the values in the names of their folders.

Files come in the order of the numbers in their names, so `day_2` comes before `day_10`, and `part-00009` before
`part-00010`. A folder named `key=value`, as Hive and Spark write them, gives every file below it a column of that name
with that value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from coset.errors import InputError
from coset.files import path_of

MOST_FOLDERS = 10_000
"""Most folders that are searched: years of hours, but not a whole disk."""

PACKINGS = (".gz", ".zst", ".bz2", ".xz")
"""Endings of the names of packed files."""

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_KEY = re.compile(r"([^=]+)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Shard:
    """One file of data.

    Args:
        path: where it is.
        name: its path below the given folder.
        keys: column → value, from the names of its folders; empty text for a missing value.
    """

    path: Path
    name: str
    keys: Mapping[str, str] = field(default_factory=dict)


def unpacked_name(name: str) -> str:
    """The name of a file without the ending of its packing.

    Example:
        >>> unpacked_name("ratings.csv.gz"), unpacked_name("ratings.csv")
        ('ratings.csv', 'ratings.csv')
    """
    return next((name.removesuffix(end) for end in PACKINGS if name.endswith(end)), name)


def is_given(data: str | Path) -> bool:
    """Whether `data` exists or is a pattern, which may match no file.

    Example:
        >>> is_given("day_*.csv"), is_given("no such file")
        (True, False)
    """
    return path_of(data).exists() or has_magic(str(data))


def shards(data: str | Path, endings: Sequence[str]) -> list[Shard]:
    """The files of data, in the order of the numbers in their names: a file itself; those of a folder and of folders in
    it, at any depth; or those that match a pattern with `*`, `?` or `[…]` (`**` for any folders), where there is no
    file of that name.

    In a folder it takes files with these `endings`, and files without any ending whose name has a number (`day_0`, as
    Criteo's), except files and folders whose name begins with `.` or `_`.

    Raises:
        InputError: a folder or pattern of no such file. A single file need not be there.

    Example:
        >>> [shard.name for shard in sorted([Shard(Path(n), n) for n in ("day_10", "day_9")], key=in_order)]
        ['day_9', 'day_10']
    """
    path = path_of(data)
    if not path.exists() and has_magic(str(data)):
        found = [Path(each) for each in glob(str(data), recursive=True)]
        base = Path(os.path.commonpath([each.parent for each in found])) if found else path
        files = [each for each in found if each.is_file() and not _aside(each.name)]
        if not files:
            raise InputError(f"{data}: no file fits this pattern")
        return sorted((_shard(each, base) for each in files), key=in_order)
    if not path.is_dir():
        return [_shard(path, path.parent)]
    below: list[Path] = []
    for count, (folder, folders, names) in enumerate(os.walk(path)):
        if count > MOST_FOLDERS:
            raise InputError(f"{path}: holds more than {MOST_FOLDERS:,} folders; give the folder of the data")
        folders[:] = [name for name in folders if not _aside(name)]
        below += [Path(folder) / name for name in names if not _aside(name)]
    files = [each for each in below if each.suffix in endings or (not each.suffix and re.search(r"\d", each.name))]
    if not files:
        raise InputError(f"{path}: the folder holds no file that ends in {', '.join(endings)}")
    return sorted((_shard(each, path) for each in files), key=in_order)


def in_order(shard: Shard) -> Any:
    """The sort key of shards: numbers in names as numbers, folder by folder."""
    parts = Path(shard.name).parts
    return [tuple(map(_pieces, part.partition("."))) for part in parts], parts


def _pieces(text: str) -> list[Any]:
    """Text and numbers in turns, so that a number is never compared with a text."""
    return [int(piece) if at % 2 else piece for at, piece in enumerate(re.split(r"([0-9]+)", text))]


def _shard(path: Path, base: Path) -> Shard:
    # Folders above the given one count, too: that may be a single day of a tree.
    found = [_KEY.fullmatch(part) for part in path.parent.parts]
    keys = {unquote(key[1]): "" if key[2] == _NO_VALUE else unquote(key[2]) for key in found if key}
    return Shard(path, path.relative_to(base).as_posix(), keys)


def _aside(name: str) -> bool:
    return name.startswith((".", "_"))
