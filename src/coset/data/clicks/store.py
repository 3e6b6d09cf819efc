"""`ClickData`: a folder of prepared columns, and `ClickPart`, which streams batches of one part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from coset.data.clicks.batch import ClickBatch
from coset.data.clicks.columns import ColumnReader, FileFacts
from coset.data.clicks.described import (
    Described,
    frequencies_path,
    ids_path,
    label_path,
    numeric_path,
    offsets_path,
    vocabulary_path,
)
from coset.data.clicks.order import BatchOrder
from coset.data.clicks.stream import Paths, ahead, batches
from coset.errors import InputError, unknown
from coset.files import path_of
from coset.settings import LARGEST_SIZE, of_kind, truth, whole

if TYPE_CHECKING:
    from coset.data.clicks.vocabulary import ClickVocabulary


@dataclass(frozen=True, eq=False)
class Feature:
    """A column of categories, as ids.

    Args:
        name: of the feature.
        num_embeddings: number of its ids.
        multi_hot: whether a row has any number of ids rather than one.
        counts: reads `frequencies`, if they are known.
    """

    name: str
    num_embeddings: int
    multi_hot: bool = False
    counts: Callable[[], np.ndarray] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        of_kind("the name of a feature", self.name, str, "text")
        where = f"feature {self.name!r}"
        rows = whole(f"{where}: num_embeddings", self.num_embeddings, 1, LARGEST_SIZE)
        object.__setattr__(self, "num_embeddings", rows)
        object.__setattr__(self, "multi_hot", truth(f"{where}: multi_hot", self.multi_hot))

    @cached_property
    def frequencies(self) -> np.ndarray | None:
        """How often each id occurs in the training part, int64, shape `(num_embeddings,)`, if they are known.

        Raises:
            InputError: their file is damaged, which is found when they are first read.
        """
        return None if self.counts is None else self.counts()


class ClickData:
    """A prepared click log: columns of labels, numbers and ids in two parts, training and validation.

    Every file of the folder is compared with its checksum, once, before it is read.

    Attributes:
        folder: where it is.
        name: of the data.
        synthetic: whether they are made up.
        numeric: names of the numeric columns.
        features: one-hot features first.
        parts: rows by part.
        facts: further facts of the writer of the folder.
        log: the files that the data were made of, in the order in which they were read, and the good rows of each.
        fingerprint: what tells the data from others.
        where: their name in errors.
    """

    def __init__(self, folder: Path, described: Described, where: str | None = None) -> None:
        self.folder = folder
        self.where = where or str(folder)
        self.name = described.name
        self.synthetic = described.synthetic
        self.numeric = described.numeric
        self.parts = dict(described.parts)
        self.facts = dict(described.facts)
        self.log = {of.file: of.rows for of in described.log}
        self.fingerprint = described.fingerprint
        self.features = tuple(
            Feature(of.name, of.num_embeddings, of.multi_hot, self._counts(of.name) if of.counted else None)
            for of in described.features
        )
        self._columns = described.columns
        self._vocabularies = described.vocabularies
        self._checked: set[str] = set()

    @classmethod
    def open(cls, folder: str | Path, where: str | None = None) -> ClickData:
        """The data in a prepared folder.

        Args:
            folder: where they are.
            where: their name in errors; that of the folder by default.

        Raises:
            InputError: the folder holds no prepared data, or they are not whole.
        """
        folder = path_of(folder)
        data = cls(folder, Described.read(folder), where)
        for name, size in data._sizes():
            path = folder / name
            found = path.stat().st_size if path.is_file() else None
            if found != size:
                said = "is not there" if found is None else f"has {found} bytes"
                raise InputError(f"{path}: {said}, expected {size} bytes; prepare the data again")
        return data

    @cached_property
    def click_rate(self) -> float | None:
        """The share of clicks in the training part; None where that has no rows. `prepare` notes it; where it did not,
        the labels are counted, once.

        Raises:
            InputError: the labels are damaged.
        """
        rows = self.parts["training"]
        if not rows:
            return None
        noted = self.facts.get("click_rate")
        if isinstance(noted, float) and 0 <= noted <= 1:
            return noted
        return int(np.count_nonzero(self.part("training").column("label"))) / rows

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
        if not isinstance(name, str) or name not in self.parts:
            raise unknown("part of the data", name, self.parts)
        return ClickPart(self, name)

    def vocabulary(self, feature: str) -> ClickVocabulary:
        """The vocabulary of a feature.

        Raises:
            InputError: it has none, as it is hashed or synthetic, or the file has changed.
        """
        from coset.data.clicks.vocabulary import ClickVocabulary  # needs kernels, unlike most of this file

        path = vocabulary_path(self.folder, of_kind("the name of a feature", feature, str, "text"))
        facts = self._vocabularies.get(path.relative_to(self.folder).as_posix())
        if facts is None:
            raise InputError(f"{self.folder}: there is no vocabulary of a feature {feature!r}")
        if FileFacts.of(path) != facts:
            raise InputError(
                f"{path}: not the vocabulary that these data were prepared with (its checksum does not match); restore "
                "it, or prepare the data again"
            )
        return ClickVocabulary.load(path)

    def check(self, below: str) -> None:
        """Raise an `InputError` that names the file if a column whose path begins with `below` does not match its
        checksum. Reads each column once, about as fast as the disk can."""
        of_kind("the beginning of a column's path", below, str, "text")
        for name, facts in self._columns.items():
            if name.startswith(below) and name not in self._checked:
                with closing(ColumnReader(self.folder / name)) as column:
                    column.check(facts.type, facts.length, facts.crc32)
                self._checked.add(name)

    def _counts(self, feature: str) -> Callable[[], np.ndarray]:
        path = frequencies_path(self.folder, feature)

        def read() -> np.ndarray:
            self.check(path.relative_to(self.folder).as_posix())
            with closing(ColumnReader(path)) as column:
                return column.mapped()

        return read

    def _sizes(self) -> Iterator[tuple[str, int]]:
        yield from ((name, facts.bytes) for name, facts in self._columns.items())
        yield from ((name, facts.bytes) for name, facts in self._vocabularies.items())


class ClickPart:
    """The rows of one part; see `ClickData.part`."""

    def __init__(self, data: ClickData, name: str) -> None:
        self.data = data
        self.name = name

    def __len__(self) -> int:
        return self.data.parts[self.name]

    def check(self) -> None:
        """Raise an `InputError` that names the file if a column of this part does not match its checksum; ids and
        numbers are trusted afterwards. Reads all columns once, about as fast as the disk can."""
        self.data.check(f"{self.name}/")

    def num_batches(self, batch_size: int) -> int:
        """The number of batches of an epoch; the last one may be smaller."""
        return -(-len(self) // whole("batch_size", batch_size, 1))

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
        self.data.check(path.relative_to(folder).as_posix())
        with closing(ColumnReader(path)) as column:
            return column.mapped()

    def batches(
        self, batch_size: int, *, seed: int | None = None, epoch: int = 0, start: int = 0, read_ahead: int = 2
    ) -> Iterator[ClickBatch]:
        """Every row once, in batches.

        Args:
            batch_size: rows of a batch; the last batch has the rest.
            seed: of the order, which is a function of seed, epoch, number of rows and batch size; None for the order
                of the file.
            epoch: number of the epoch; each has another order.
            start: how many batches to skip, at no cost, to continue in the middle of an epoch.
            read_ahead: batches that a thread makes in advance; 0 for no thread. Errors of the thread are raised here.
                Closing the iterator ends it.

        Memory is that of two windows of some 260,000 rows, however many rows there are. It checks the part first
        (`check`), once.
        """
        start, read_ahead = whole("start", start), whole("read_ahead", read_ahead, 0, 1 << 16)
        order = BatchOrder(max(len(self), 1), batch_size, seed, epoch)
        if len(self) == 0:
            return iter(())
        self.check()
        made = batches(self._paths(), order, start)
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
