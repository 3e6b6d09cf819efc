"""`prepared.json`: what a folder of prepared data holds, as checked fields, and a checksum of every file in it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coset import settings
from coset.data.clicks.columns import ColumnFacts, FileFacts, file_name, narrowest
from coset.errors import InputError
from coset.files import path_of, read_json, write_json

PREPARED = "prepared.json"
"""The file that describes a prepared folder; written last, so a folder that has it is whole."""

FORMAT, VERSION = "coset.clicks", 3
PARTS = ("training", "validation")

_SEALED = ("log", "sha256")  # not part of the data: the names of their files, and the checksum itself


@dataclass(frozen=True)
class FeatureFacts:
    """A feature, and whether the folder has frequencies of its ids."""

    name: str
    num_embeddings: int
    multi_hot: bool
    counted: bool


@dataclass(frozen=True)
class LogFacts:
    """A file of the prepared log, by its path below the folder of the log, and the number of its good rows."""

    file: str
    rows: int


@dataclass(frozen=True)
class Described:
    """The contents of `prepared.json`.

    Args:
        name: of the data.
        synthetic: whether they are made up.
        parts: rows by part.
        numeric: names of the numeric columns.
        features: one-hot ones first.
        facts: further facts of the writer of the folder.
        columns: facts of columns, by path in the folder.
        vocabularies: facts of their files, by path in the folder.
        log: the files that the data were made of, in the order in which they were read.
        sha256: of all the rest.
    """

    format: str
    version: int
    name: str
    synthetic: bool
    parts: Mapping[str, int]
    numeric: tuple[str, ...]
    features: tuple[FeatureFacts, ...]
    facts: Mapping[str, Any]
    columns: Mapping[str, ColumnFacts]
    vocabularies: Mapping[str, FileFacts]
    log: tuple[LogFacts, ...]
    sha256: str = ""

    def write(self, folder: Path) -> None:
        """Write the file, with its checksum."""
        told = settings.plain(self)
        write_json(folder / PREPARED, told | {"sha256": _digest(told, ("sha256",))})

    @classmethod
    def read(cls, folder: Path) -> Described:
        """The description of a folder.

        Raises:
            InputError: the folder has no description, or one that is damaged or changed.
        """
        path = path_of(folder) / PREPARED
        if not path.is_file():  # to open a pipe would wait for ever
            raise InputError(
                f"{folder}: no prepared data ({PREPARED} is not there): make them with coset prepare, or finish a "
                "begun preparation with --resume"
            )
        told = read_json(path)
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise InputError(f"{path}: not written by coset prepare")
        version = told.get("version")
        if isinstance(version, int) and version > VERSION:
            raise InputError(f"{path}: of version {version}, but this coset reads version {VERSION}; upgrade coset")
        if isinstance(version, int) and version < VERSION:
            raise InputError(
                f"{path}: of version {version}, but this coset reads version {VERSION}; prepare the data again"
            )
        try:
            found = settings.make(cls, told, str(path))
        except InputError as error:
            raise InputError(f"{error}; restore it, or prepare the data again") from None
        if wrong := found._wrong():
            raise InputError(f"{path}: damaged ({wrong}); prepare the data again")
        if found.sha256 != _digest(told, ("sha256",)):
            raise InputError(
                f"{path}: changed since it was written (its checksum does not match); restore it, or prepare the data "
                "again"
            )
        return found

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What tells these data from others, whatever the names of the log's files."""
        return {
            "data": self.name,
            "rows": sum(self.parts.values()),
            "digest": _digest(settings.plain(self), _SEALED),
        }

    def _wrong(self) -> str | None:
        """The first contradiction, as text; None where there is none."""
        if set(self.parts) != set(PARTS) or min(self.parts.values()) < 0:
            return f"parts must be the rows of {' and '.join(PARTS)}"
        names = ["label", *self.numeric, *(feature.name for feature in self.features)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            return f"two columns are called {twice[0]!r}"
        if few := [feature.name for feature in self.features if feature.num_embeddings < 1]:
            return f"the feature {few[0]!r} has no ids"
        wanted = self._columns()
        for path, (kind, length) in wanted.items():
            found = self.columns.get(path)
            if found is None:
                return f"the column {path} is not named"
            if found.type != kind or (found.length < 0 if length is None else found.length != length):
                return f"{path} has {found.length} numbers of {found.type}, expected {length} of {kind}"
        vocabularies = {vocabulary_path(Path(), feature.name).as_posix() for feature in self.features}
        for kind, paths, known in (("column", self.columns, wanted), ("vocabulary", self.vocabularies, vocabularies)):
            if odd := [path for path in paths if path not in known]:
                return f"no feature has the {kind} {odd[0][:100]!r}"
        sums = [of.crc32 for of in self.columns.values()] + [of.crc32 for of in self.vocabularies.values()]
        if odd := [of for of in sums if not re.fullmatch("[0-9a-f]{8}", of)]:
            return f"{odd[0][:20]!r} is no checksum"
        return None

    def _columns(self) -> dict[str, tuple[str, int | None]]:
        """The type and length of every column, by path; None for any length."""
        found: dict[Path, tuple[str, int | None]] = {}
        here = Path()
        for part, rows in self.parts.items():
            found[label_path(here, part)] = ("uint8", rows)
            found |= {numeric_path(here, part, name): ("float32", rows) for name in self.numeric}
            for feature in self.features:
                ids = narrowest(feature.num_embeddings - 1).name
                found[ids_path(here, part, feature.name)] = (ids, None if feature.multi_hot else rows)
                if feature.multi_hot:
                    found[offsets_path(here, part, feature.name)] = ("int64", rows + 1)
        for feature in self.features:
            if feature.counted:
                found[frequencies_path(here, feature.name)] = ("int64", feature.num_embeddings)
        return {path.as_posix(): of for path, of in found.items()}


def _digest(told: Mapping[str, Any], without: tuple[str, ...]) -> str:
    kept = {key: value for key, value in told.items() if key not in without}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def label_path(folder: Path, part: str) -> Path:
    """The path of the labels of a part."""
    return folder / part / "label.npy"


def numeric_path(folder: Path, part: str, name: str) -> Path:
    """The path of a numeric column of a part."""
    return folder / part / "numeric" / f"{file_name(name)}.npy"


def ids_path(folder: Path, part: str, name: str) -> Path:
    """The path of the ids of a feature in a part."""
    return folder / part / "ids" / f"{file_name(name)}.npy"


def offsets_path(folder: Path, part: str, name: str) -> Path:
    """The path of the column with the index of the first id of each row of a multi-hot feature and, last, the number of
    ids."""
    return folder / part / "ids" / f"{file_name(name)}.offsets.npy"


def frequencies_path(folder: Path, name: str) -> Path:
    """The path of the frequencies of a feature's ids."""
    return folder / "frequencies" / f"{file_name(name)}.npy"


def vocabulary_path(folder: Path, name: str) -> Path:
    """The path of the vocabulary of a feature."""
    return folder / "vocabularies" / f"{file_name(name)}.safetensors"
