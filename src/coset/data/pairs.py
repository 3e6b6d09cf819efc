"""Rows of a user and an item, with a rating or without: what predictions are asked for."""

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
from coset.data.sources import Wanted, source_of
from coset.errors import InputError


@dataclass(frozen=True)
class Pairs:
    """Some rows, in the order of their file.

    Args:
        users, items: raw ids (see `coset.data.ids`).
        ratings: the column of ratings as it is in the file, if there is one, as polars has it.
    """

    users: np.ndarray
    items: np.ndarray
    ratings: Any


class _PairColumns(Columns):
    """Columns of a user, an item and, where there is one, a rating."""

    def find(self, names: Sequence[str], where: str) -> tuple[int, ...]:
        pair = self._find_one("user", names, where), self._find_one("item", names, where)
        if pair[0] == pair[1]:
            raise InputError(f"{where}: user and item must be two columns, but both are {names[pair[0]]!r}")
        if self.rating is not None and self.rating in names:
            return *pair, list(names).index(self.rating)
        with suppress(InputError):
            found = Columns().find(names, where)
            if found[2] not in pair:
                return *pair, found[2]
        return pair


def read_pairs(
    path: Path, user: str | None = None, item: str | None = None, rating: str | None = None,
    separator: str | None = None,
) -> Iterator[Pairs]:  # fmt: skip
    """The rows in the files at `path`, block by block, so that their number does not matter.

    Args:
        path: as of `coset.data.load_ratings`.
        user, item, rating: names of the columns; a usual name is found by itself, and there may be no rating.
        separator: between the values of a line; found by itself.

    Raises:
        InputError: the file is not there or not readable, or an id is missing: names the file and the row.
    """
    with readable(path):
        found = find(path)
        layout = found.layout
        wanted = Wanted(_PairColumns(user, item, rating), separator or layout, False if layout else None)
        for file in found.files:
            for block in source_of(file).blocks(file, wanted):
                users, items, *rest = block.columns
                ids = []
                for role, series in (("user", users), ("item", items)):
                    numbers = plain_numbers(series)
                    if numbers is None:
                        text = texts_of(series, block.where)
                        if (missing := text.is_null() | (text == "")).any():
                            row = block.spot(int(missing.arg_max()))
                            raise InputError(f"{row}, column {series.name!r}: the {role} is missing")
                        numbers = ids_from_plain(text)
                    ids.append(numbers)
                yield Pairs(ids[0], ids[1], rest[0] if rest else None)
