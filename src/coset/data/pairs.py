"""Rows of a user and an item, with or without a rating, to predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coset.data.columns import Columns
from coset.data.finding import find
from coset.data.ids import ids_from_plain, plain_numbers, texts_of
from coset.data.ratings import readable
from coset.data.rows import check_single, without_empty
from coset.data.sources import Block, Wanted, blocks_with_keys
from coset.errors import InputError


@dataclass(frozen=True)
class Pairs:
    """Some rows, in the order of their file.

    Args:
        users, items: raw ids (see `coset.data.ids`).
        ratings: a polars column of float32, null where there is no number; `None` where the file has no such column.
    """

    users: np.ndarray
    items: np.ndarray
    ratings: Any


@dataclass(frozen=True)
class _PairColumns(Columns):
    """Columns of a user, an item and, where there is one or it must be there, a rating."""

    rated: bool = False

    def find(self, names: Sequence[str], where: str) -> tuple[int, ...]:
        pair = self._find_one("user", names, where), self._find_one("item", names, where)
        if pair[0] == pair[1]:
            raise InputError(f"{where}: user and item must be two columns, but both are {names[pair[0]]!r}")
        if self.rating is not None and (self.rated or self.rating in names):
            return *pair, self._find_one("rating", names, where)
        with suppress(InputError):
            found = Columns().find(names, where)
            if found[2] not in pair:
                return *pair, found[2]
        return pair


def read_pairs(
    path: Path, user: str | None = None, item: str | None = None, rating: str | None = None,
    separator: str | None = None, rated: bool = False,
) -> Iterator[Pairs]:  # fmt: skip
    """The rows in the files at `path`, block by block, in constant memory; leaves out empty ones.

    Args:
        path: as for `coset.data.load_ratings`.
        user, item, rating: names of the columns; by default those with a usual name; there may be no rating.
        separator: between the values of a line; by default found in the file.
        rated: whether the column that is called `rating` must be there.

    Raises:
        InputError: the file is missing or not readable, an id is missing, or one of several files has a column of
            ratings and another has none; the message names the file and the row.
    """
    with readable(path):
        found = find(path)
        layout = found.layout
        wanted = Wanted(_PairColumns(user, item, rating, rated=rated), separator or layout, False if layout else None)
        first, expected = "", 0
        for file in found.files:
            for block in blocks_with_keys(file, wanted):
                columns = len(block.columns)
                if not first:
                    first, expected = file.where, columns
                if columns != expected:
                    one, other = (first, file.where) if expected > columns else (file.where, first)
                    raise InputError(f"{one}: has a column of ratings, and {other} has none; predict them one by one")
                yield _pairs(block)


def _pairs(block: Block) -> Pairs:
    block, _ = without_empty(block, len(block.columns))
    users, items, *rest = block.columns
    ratings = None
    if rest:
        import polars

        check_single("rating", rest[0], block)
        ratings = rest[0].cast(polars.Float32, strict=False)
    return Pairs(_ids("user", users, block), _ids("item", items, block), ratings)


def _ids(role: str, series: Any, block: Block) -> np.ndarray:
    check_single(role, series, block)
    if (numbers := plain_numbers(series)) is not None:
        return numbers
    text = texts_of(series, block.where)
    if text.null_count():
        raise InputError(f"{block.spot(int(text.is_null().arg_max()))}, column {series.name!r}: the {role} is missing")
    return ids_from_plain(text)
