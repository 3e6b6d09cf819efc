"""`ClickData`: a folder of prepared columns, and `ClickPart`, which streams batches of one part of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from coset.data.clicks.batch import ClickBatch
from coset.data.clicks.columns import HEADER, ColumnReader, file_name
from coset.data.clicks.order import BatchOrder
from coset.data.clicks.stream import Paths, ahead, batches
from coset.errors import InputError, unknown
from coset.files import read_json

PREPARED = "prepared.json"
"""The file that says what a prepared folder holds; written last, so a folder that has it is whole."""

FORMAT, VERSION = "coset.clicks", 1
PARTS = ("training", "validation")


@dataclass(frozen=True, eq=False)
class Feature:
    """A column of categories, numbered.

    Args:
        name: of the feature.
        num_embeddings: number of its ids.
        multi_hot: whether a row has any number of ids rather than one.
        frequencies: how often each id occurs in the training part, shape `(num_embeddings,)`, if that is known.
    """

    name: str
    num_embeddings: int
    multi_hot: bool = False
    frequencies: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.num_embeddings < 1:
            raise InputError(f"feature {self.name!r}: needs at least one id, not {self.num_embeddings}")


def label_path(folder: Path, part: str) -> Path:
    """Where the labels of a part are."""
    return folder / part / "label.npy"


def numeric_path(folder: Path, part: str, name: str) -> Path:
    """Where a numeric column of a part is."""
    return folder / part / "numeric" / f"{file_name(name)}.npy"


def ids_path(folder: Path, part: str, name: str) -> Path:
    """Where the ids of a feature in a part are."""
    return folder / part / "ids" / f"{file_name(name)}.npy"


def offsets_path(folder: Path, part: str, name: str) -> Path:
    """Where it says at which id of a multi-hot feature each row begins and, last, how many ids there are."""
    return folder / part / "ids" / f"{file_name(name)}.offsets.npy"


def frequencies_path(folder: Path, name: str) -> Path:
    """Where the frequencies of a feature's ids are."""
    return folder / "frequencies" / f"{file_name(name)}.npy"


class ClickData:
    """A click log, prepared: columns of labels, numbers and ids in two parts, training and validation.

    Attributes:
        folder: where it is.
        name: of the data.
        synthetic: whether they are made up.
        numeric: names of the numeric columns.
        features: one-hot features first.
        parts: rows by part.
        facts: what whoever wrote the folder says of it.
    """

    def __init__(self, folder: Path, described: Mapping[str, Any]) -> None:
        self.folder = folder
        self.name: str = described["name"]
        self.synthetic: bool = described["synthetic"]
        self.numeric: tuple[str, ...] = tuple(described["numeric"])
        self.parts: dict[str, int] = dict(described["parts"])
        self.facts: dict[str, Any] = described["facts"]
        self.columns: dict[str, dict[str, Any]] = described["columns"]
        self.features: tuple[Feature, ...] = tuple(
            Feature(each["name"], each["num_embeddings"], each["multi_hot"], self._frequencies(each))
            for each in described["features"]
        )
        whole = json.dumps(described, sort_keys=True).encode()
        self.fingerprint: dict[str, Any] = {
            "data": self.name,
            "rows": sum(self.parts.values()),
            "digest": hashlib.sha256(whole).hexdigest(),
        }

    @classmethod
    def open(cls, folder: str | Path) -> ClickData:
        """The data in a prepared folder.

        Raises:
            InputError: the folder holds no prepared data, or they are not whole.
        """
        folder = Path(folder)
        if not (folder / PREPARED).exists():
            raise InputError(
                f"{folder}: no prepared data ({PREPARED} is not there): make them with coset prepare, or finish what "
                "was begun with --resume"
            )
        described = read_json(folder / PREPARED)
        if not isinstance(described, dict) or described.get("format") != FORMAT:
            raise InputError(f"{folder / PREPARED}: not written by coset prepare")
        if described.get("version", 0) > VERSION:
            raise InputError(
                f"{folder / PREPARED}: of version {described['version']}, but this coset reads versions up to "
                f"{VERSION}; upgrade coset"
            )
        try:
            data = cls(folder, described)
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder / PREPARED}: damaged ({error}); prepare the data again") from None
        data._check_sizes()
        return data

    @property
    def one_hot(self) -> tuple[str, ...]:
        """Names of the features with one id a row."""
        return tuple(feature.name for feature in self.features if not feature.multi_hot)

    @property
    def multi_hot(self) -> tuple[str, ...]:
        """Names of the features with any number of ids a row."""
        return tuple(feature.name for feature in self.features if feature.multi_hot)

    def part(self, name: str) -> ClickPart:
        """One part: `"training"` or `"validation"`."""
        if name not in self.parts:
            raise unknown("part of the data", name, self.parts)
        return ClickPart(self, name)

    def _frequencies(self, feature: Mapping[str, Any]) -> np.ndarray | None:
        if not feature["counted"]:
            return None
        path = frequencies_path(self.folder, feature["name"])
        try:
            # Mapped: tables read them when they are built, if at all.
            found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not readable ({error}); prepare the data again") from None
        return found

    def _check_sizes(self) -> None:
        for name, facts in self.columns.items():
            path = self.folder / name
            if not present(path, facts):
                said = f"has {path.stat().st_size} bytes" if path.exists() else "is not there"
                raise InputError(f"{path}: {said}, expected {_size(facts)} bytes; prepare the data again")


def present(path: Path, facts: Mapping[str, Any]) -> bool:
    """Whether the file of a column is there, and as large as it should be."""
    return path.is_file() and path.stat().st_size == _size(facts)


def _size(facts: Mapping[str, Any]) -> int:
    return int(facts["length"] * np.dtype(facts["type"]).itemsize) + HEADER


class ClickPart:
    """The rows of one part; see `ClickData.part`."""

    def __init__(self, data: ClickData, name: str) -> None:
        self.data = data
        self.name = name

    def __len__(self) -> int:
        return self.data.parts[self.name]

    def check(self) -> None:
        """Raise an `InputError` that names the file if a column of this part is not what was once written: ids and
        numbers are trusted afterwards. It reads all of them, about as fast as the disk can."""
        for name, facts in self.data.columns.items():
            if name.startswith(f"{self.name}/"):
                with closing(ColumnReader(self.data.folder / name)) as column:
                    column.check(facts["crc32"])

    def num_batches(self, batch_size: int) -> int:
        """How many batches an epoch has; the last one may be a smaller one."""
        return -(-len(self) // batch_size)

    def column(self, name: str) -> np.ndarray:
        """All of one column, mapped into memory: `"label"`, or the name of a numeric column or a feature (of a
        multi-hot one, the ids of all rows)."""
        folder = self.data.folder
        if name in self.data.numeric:
            path = numeric_path(folder, self.name, name)
        elif name in self.data.one_hot + self.data.multi_hot:
            path = ids_path(folder, self.name, name)
        elif name == "label":
            path = label_path(folder, self.name)
        else:
            raise unknown("column", name, ["label", *self.data.numeric, *self.data.one_hot, *self.data.multi_hot])
        ColumnReader(path).close()  # with its words for what is not there
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return found

    def batches(
        self, batch_size: int, *, seed: int | None = None, epoch: int = 0, start: int = 0, read_ahead: int = 2
    ) -> Iterator[ClickBatch]:
        """Every row once, in batches.

        Args:
            batch_size: rows of a batch; the last batch has what is left.
            seed: of the order, which is a function of seed, epoch, number of rows and batch size; None for the order
                of the file.
            epoch: another one, another order.
            start: how many batches to leave out, at no cost: to go on in the middle of an epoch.
            read_ahead: batches that a thread makes in advance; 0 for none and no thread. What goes wrong in the thread
                is raised here. Closing the iterator ends it.

        Memory is that of two windows of some 260,000 rows, however many rows there are.
        """
        if start < 0:
            raise InputError(f"start must not be negative, but is {start}")
        if len(self) == 0:
            return iter(())
        made = batches(self._paths(), BatchOrder(len(self), batch_size, seed, epoch), start)
        return ahead(made, read_ahead) if read_ahead else made

    def _paths(self) -> Paths:
        folder, data = self.data.folder, self.data
        return Paths(
            label_path(folder, self.name),
            tuple(numeric_path(folder, self.name, name) for name in data.numeric),
            tuple(ids_path(folder, self.name, name) for name in data.one_hot),
            {
                name: (ids_path(folder, self.name, name), offsets_path(folder, self.name, name))
                for name in data.multi_hot
            },
        )
