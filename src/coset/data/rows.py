"""From the columns of files, in any format, to ids and ratings: the rules for ratings, once for all formats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coset.data.columns import ROLES, Columns, import_polars
from coset.data.ids import NUMBER, are_decimal, are_marks, are_text, ids_from_plain, plain_numbers, texts_of
from coset.data.sources import Block, DataFile, Wanted, blocks_with_keys
from coset.data.times import Times
from coset.errors import InputError, brief


@dataclass(frozen=True)
class Rows:
    """The rows of one or more files, in their order.

    Args:
        users, items: raw ids (see `coset.data.ids`).
        ratings: finite, float32.
        attributes: a column for each named attribute, whole numbers or text, as ids are.
        left_out: the number of rows without user, item and rating.
        times: of each row, int64, if requested.
    """

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    attributes: tuple[np.ndarray, ...] = ()
    left_out: int = 0
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ratings)


def read_rows(files: Sequence[DataFile], wanted: Wanted) -> Rows:
    """All rows of some files, as if they were one file.

    It leaves out rows without user, item and rating, as spreadsheets write them below their last one.

    Raises:
        InputError: the message names the file, the row (a line of text, counted from 1 with the header, or the number
            of a row), the column, and what was expected.
    """
    columns = wanted.columns
    assert isinstance(columns, Columns)
    users, items, ratings = _Ids("user"), _Ids("item"), _Ratings()
    attributes = [_Values() for _ in columns.attributes]
    times = [Times()] if columns.time else []
    growing: list[Any] = [users, items, ratings, *attributes, *times]
    left_out = 0
    for file in files:
        import_polars(f"{file.where}: reading ratings")
        for block in blocks_with_keys(file, wanted):
            block, empty = without_empty(block)
            left_out += empty
            for column, series in zip(growing, block.columns, strict=True):
                column.add(series, block)
    if not ratings.pieces or not sum(map(len, ratings.pieces)):
        besides = f" but {left_out:,} empty rows" if left_out else ""
        raise InputError(f"{files[-1].where}: no ratings{besides}; give a file with at least two")
    return Rows(
        users.together(), items.together(), np.concatenate(ratings.pieces),
        tuple(column.together() for column in attributes), left_out, times[0].together() if times else None,
    )  # fmt: skip


def without_empty(block: Block, columns: int = len(ROLES)) -> tuple[Block, int]:
    """The block without rows whose first `columns` are empty, and the number of these."""
    import polars

    filled = [series.set(series == "", None) if series.dtype == polars.String else series for series in block.columns]
    empty = filled[0].is_null()
    for series in filled[1:columns]:
        empty = empty & series.is_null()
    count = int(empty.sum())
    if not count:
        return Block(filled, block.where, block.spot), 0
    kept = (~empty).arg_true()
    rest = [series.filter(~empty) for series in filled]
    return Block(rest, block.where, lambda row: block.spot(int(kept[row]))), count


class _Values:
    """A column of attributes, as it grows; a missing one is the empty text."""

    def __init__(self) -> None:
        self._pieces: list[np.ndarray] = []
        self._names: dict[str, str] = {}

    def add(self, series: Any, block: Block) -> None:
        series = _joined(series)
        numbers = plain_numbers(series)
        self._keep(ids_from_plain(texts_of(series, block.where).fill_null("")) if numbers is None else numbers)

    def _keep(self, ids: np.ndarray) -> None:
        if are_text(ids):  # one object for all rows with the same text
            texts = ids.tolist()
            ids = np.array(list(map(self._names.setdefault, texts, texts)), dtype=object)
        self._pieces.append(ids)

    def together(self) -> np.ndarray:
        """Numbers if all values are, else text, with numbers in plain form."""
        pieces = [piece for piece in self._pieces if len(piece)]
        self._pieces = []  # so that only one column at a time is in memory twice
        if any(map(are_text, pieces)):
            pieces = [
                piece if are_text(piece) else np.array(list(map(str, piece.tolist())), dtype=object) for piece in pieces
            ]
        return np.concatenate(pieces)


class _Ids(_Values):
    """A column of ids, as it grows; none may be missing."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role
        self._mark = ""  # the error of the first mark of a missing value, if all other values are numbers
        self._numbers, self._only_numbers = False, True

    def add(self, series: Any, block: Block) -> None:
        check_single(self._role, series, block)
        ids = plain_numbers(series)
        if ids is None:
            text = texts_of(series, block.where)
            _check_filled(self._role, text.is_null(), series.name, block)
            ids = ids_from_plain(text)
        if not are_text(ids):
            self._numbers = self._numbers or len(ids) > 0
        elif self._only_numbers:
            self._look_for_marks(text, series.name, block)
        self._keep(ids)

    def _look_for_marks(self, text: Any, name: str, block: Block) -> None:
        # Most columns of text show it in their first rows, so the rest need not be checked.
        for some in (text.head(100), text):
            marks = are_marks(some)
            others = some.filter(~marks)
            self._only_numbers = are_decimal(others)
            if not self._only_numbers:
                return
        self._numbers = self._numbers or len(others) > 0
        if marks.any() and not self._mark:
            row = int(marks.arg_max())
            self._mark = (
                f"{block.spot(row)}, column {name!r}: the {self._role} is missing ({text[row]!r} among numbers); fill "
                "it in or remove the row"
            )

    def together(self) -> np.ndarray:
        if self._mark and self._numbers and self._only_numbers:
            raise InputError(self._mark)
        return super().together()


class _Ratings:
    """The column of ratings, as it grows."""

    def __init__(self) -> None:
        self.pieces: list[np.ndarray] = []

    def add(self, series: Any, block: Block) -> None:
        import polars

        check_single("rating", series, block)
        kind = series.dtype
        if not (kind.is_numeric() or kind in (polars.Boolean, polars.String, polars.Categorical, polars.Enum)):
            raise InputError(f"{block.where}, column {series.name!r}: ratings must be numbers, not {kind}")
        numbers = series.cast(polars.Float64, strict=False)
        if numbers.null_count():
            series = texts_of(series, block.where)
            _check_filled("rating", series.is_null(), series.name, block)
            numbers = series.cast(polars.Float64, strict=False)
        for row in numbers.is_null().arg_true():  # no number, or one that polars cannot read
            numbers[row] = _number(series[row], f"{block.spot(row)}, column {series.name!r}")
        with np.errstate(over="ignore"):
            values = numbers.to_numpy().astype(np.float32)
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.argmin(finite))
            _number(str(series[row]), f"{block.spot(row)}, column {series.name!r}")
        self.pieces.append(values)


def _joined(series: Any) -> Any:
    """A column of lists as texts, such as `Action|Crime`; any other column unchanged."""
    import polars

    if not isinstance(series.dtype, polars.List | polars.Array) or series.dtype.inner.is_nested():
        return series
    return series.cast(polars.List(polars.String)).list.join("|", ignore_nulls=True)


def check_single(role: str, series: Any, block: Block) -> None:
    """Raise an `InputError` if a column holds lists or records where one value a row is expected."""
    if series.dtype.is_nested():
        raise InputError(
            f"{block.where}, column {series.name!r}: holds {series.dtype} where one {role} a row is expected; write a "
            f"row for each (in polars, frame.explode({series.name!r}))"
        )


def _number(value: str, spot: str) -> float:
    """A rating, or an error that says what is wrong with it."""
    if not NUMBER.fullmatch(value):
        if re.fullmatch(r"[+-]?\d+,\d+", value, re.ASCII):
            raise InputError(
                f"{spot}: the rating {value[:40]!r} has a comma for a point; write {value[:40].replace(',', '.')}"
            )
        finite = "finite " if value.lower().lstrip("+-") in ("nan", "inf", "infinity") else ""
        raise InputError(f"{spot}: the rating {brief(value, 42)} is not a {finite}number; correct or remove the line")
    with np.errstate(over="ignore"):
        fits = np.isfinite(np.float32(float(value)))
    if not fits:
        raise InputError(f"{spot}: the rating {brief(value, 42)} is beyond the range of float32")
    return float(value)


def _check_filled(role: str, missing: Any, name: str, block: Block) -> None:
    if missing.any():
        raise InputError(
            f"{block.spot(int(missing.arg_max()))}, column {name!r}: the {role} is missing; fill it in or remove the "
            "row"
        )
