"""What a reader of a file format does: it says which files are its own, and gives the columns that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from coset.data.columns import Columns
from coset.data.files import DataFile


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
    """

    columns: Finder = field(default_factory=Columns)
    separator: str | None = None
    header: bool | None = None


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


class Source(Protocol):
    """A reader of one file format."""

    name: str
    """What it is called in a sentence."""

    def sniff(self, file: DataFile) -> bool:
        """Whether a file is of this format, by its first bytes."""
        ...

    def blocks(self, file: DataFile, wanted: Wanted) -> Iterator[Block]:
        """The columns that are wanted, in blocks that together need little memory.

        Raises:
            InputError: names the file and what is wrong with it; a row by its line or number.
        """
        ...
