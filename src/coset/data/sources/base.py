"""The contract of a source: a reader of one file format, which says what files are its own and gives their columns.

A new format is one new file in this folder, or of another package through the entry-point group `coset.sources`: a
class with `@register_source(name)`. Ratings and clicks are views of the columns that it gives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from coset.data.columns import Columns
from coset.data.files import DataFile
from coset.registry import Registry

S = TypeVar("S", bound="Source")


class Finder(Protocol):
    """Says which columns are wanted, such as `Columns` and `Named`."""

    def find(self, names: Sequence[str], where: str) -> tuple[int, ...]:
        """Their positions among the names of all columns of a file."""
        ...


@dataclass(frozen=True)
class Wanted:
    """What is asked of a file.

    Args:
        columns: which ones.
        separator: between the values of a line of text; found by itself where `None`.
        header: whether the first line of a text names the columns; found by itself where `None`.
        start: how many rows to leave out at the beginning, since they were read before.
        rows: how many a block should have at most, where a format allows to choose.
        reader: the name of the source; found by the first bytes of the file where `None`.
    """

    columns: Finder = field(default_factory=Columns)
    separator: str | None = None
    header: bool | None = None
    start: int = 0
    rows: int = 1 << 22
    reader: str | None = None


@dataclass(frozen=True)
class Block:
    """Some rows of a file, in its order.

    Args:
        columns: those that are wanted, in the order of `Columns.find` (user, item, rating, then the attributes), as
            polars columns of any type, called as in the file; a null is a missing value, and so is an empty text.
        where: the file, for errors.
        spot: where a row of the block stands, likewise: `"f.csv, line 7"`.
    """

    columns: list[Any]
    where: str
    spot: Callable[[int], str]


class Source(ABC):
    """A reader of one file format.

    Attributes:
        name: by which it is registered, and chosen.
        title: what the format is called in a sentence.
        starts_anywhere: whether `blocks` begins at `wanted.start` by itself; else whoever asks leaves those rows out.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    starts_anywhere: ClassVar[bool] = False

    @abstractmethod
    def sniff(self, file: DataFile) -> bool:
        """Whether a file is of this format, by its first bytes (`file.head`)."""

    @abstractmethod
    def columns(self, file: DataFile) -> list[str]:
        """The names of all columns of a file, in order."""

    def rows(self, file: DataFile) -> int | None:
        """How many rows a file has, where it says so by itself."""
        return None

    @abstractmethod
    def blocks(self, file: DataFile, wanted: Wanted) -> Iterator[Block]:
        """The columns that are wanted, in blocks that together need little memory.

        Raises:
            InputError: names the file and what is wrong with it; a row by its line or number.
        """


SOURCES: Registry[Source] = Registry("source", "coset.data.sources", group="coset.sources")


def register_source(name: str) -> Callable[[type[S]], type[S]]:
    """Class decorator: make a reader known by `name`."""

    def enter(cls: type[S]) -> type[S]:
        SOURCES.add(name, cls)
        return cls

    return enter
