"""`Block`: rows of a log as numbers and keys, from any format, and the errors of other rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from coset.data.clicks.schema import CategoryType, ClickSchema
from coset.data.ids import MARKS, plain
from coset.kernels import parse
from coset.kernels.instants import DATE

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|$)")

TYPES: dict[CategoryType, int] = {"text": parse.TEXT, "hex": parse.HEX, "integer": parse.INTEGER}
"""The numbers of the types of categories in kernels."""

Texts = Callable[[np.ndarray], list[bytes]]
"""Gives the texts of the categories at some places of a column of keys."""


@dataclass(frozen=True)
class Keys:
    """A column of categories.

    Args:
        keys: int64, see `coset.kernels.parse.categories`.
        missing: uint8, 1 where the category is missing.
        texts: gives the texts of categories, where they are texts.
        lengths: of a multi-hot feature, how many of the keys each row has.
    """

    keys: np.ndarray
    missing: np.ndarray
    texts: Texts
    lengths: np.ndarray | None = None

    def present(self) -> Keys:
        """Lists without the items that are missing."""
        if self.lengths is None or not (self.missing == parse.MISSING).any():
            return self
        there = self.missing != parse.MISSING
        rows = np.repeat(np.arange(len(self.lengths)), self.lengths)[there]
        lengths = np.bincount(rows, minlength=len(self.lengths)).astype(np.int32)
        places = np.flatnonzero(there)
        return Keys(self.keys[places], self.missing[places], lambda at: self.texts(places[at]), lengths)


@dataclass(frozen=True)
class Times:
    """Times of rows, exactly.

    Args:
        units: int64: seconds since 1970 of dates, or numbers as they are, rounded down.
        steps: the rest, in steps of 10^-18, int64.
    """

    units: np.ndarray
    steps: np.ndarray


@dataclass
class Manner:
    """How a log writes times and labels, which may be written in two ways; the first row that shows it decides for all.

    Args:
        dates: whether times are dates rather than numbers; None until one is read.
        negative: whether -1 rather than 0 is the label of no click, likewise.
    """

    dates: bool | None = None
    negative: bool | None = None


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: its number in its file, from 1 on, the reason, and its text."""

    row: int
    reason: str
    content: str


@dataclass(frozen=True)
class Block:
    """Consecutive good rows of one file, and the bad ones between them.

    Args:
        labels: 0 or 1.
        numeric: float64, a row a column, NaN where missing.
        time: of each row, for a split by time.
        features: by name.
        bad: the bad rows, in order.
        first: number of the first row, good or bad, and `rows` of all of them.
        offset: the end of the block in the file.
        consumed: bytes of the file that were read so far, for progress.
    """

    labels: np.ndarray
    numeric: np.ndarray
    time: Times | None
    features: Mapping[str, Keys]
    bad: Sequence[BadRow] = field(default=(), kw_only=True)
    first: int
    rows: int
    offset: int
    consumed: int


class Findings:
    """The results of parsing the columns of a block, with errors by row, before bad rows are left out."""

    def __init__(self, schema: ClickSchema, rows: int, manner: Manner) -> None:
        self.schema = schema
        self.rows = rows
        self.manner = manner
        self.wrong: dict[int, str] = {}

    def note(self, bad: np.ndarray, reason: Callable[[int], str]) -> None:
        """Record the rows where `bad` is true, with the reason; a row keeps its first reason."""
        for row in np.flatnonzero(bad).tolist():
            if row not in self.wrong:
                self.wrong[row] = reason(row)

    def values(
        self, reason: Callable[[str, int, str], str], name: str, states: np.ndarray, shown: Callable[[int], str],
        lengths: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Remember the rows at which a column has another value than one of its type, for the `reason` that goes with
        it; `shown` tells the text of the value at a place. Of lists, the values are items, `lengths` of them a row."""
        places = np.flatnonzero(states > parse.MISSING)
        rows = places if lengths is None else np.repeat(np.arange(self.rows), lengths)[places]
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            if row not in self.wrong:
                self.wrong[row] = reason(name, int(states[place]), shown(place))

    def number_reason(self, name: str, state: int, shown: str) -> str:
        """The reason why a number is bad."""
        if state == parse.OVERFLOW:
            beyond = "64 bits" if self.schema.integers else "the range of float32"
            return f"{name} is {_short(shown)}, which is beyond {beyond}"
        date = (
            f"; it is a date: leave {name} out of numeric, or name it as time to split by it"
            if _DATE.match(shown)
            else ""
        )
        kind = "a whole number" if self.schema.integers else "a number"
        return f"{name} is {_short(shown)}, expected {kind}{_mark(shown)}{date}"

    def times(self, units: np.ndarray, steps: np.ndarray, states: np.ndarray, shown: Callable[[int], str]) -> Times:
        """The times of the schema's column of times; records the rows where they are wrong."""
        name = self.schema.time
        self.note(states == parse.MISSING, lambda row: f"{name} is missing")
        self.note(states == parse.OVERFLOW, lambda row: f"{name} is {_short(shown(row))}, which is beyond 64 bits")
        self.note(
            states == parse.BAD,
            lambda row: (
                f"{name} is {_short(shown(row))}, expected a number, or a time as 2020-01-31 or "
                f"2020-01-31T23:59:59.5+01:00{_mark(shown(row))}"
            ),
        )
        read = np.flatnonzero((states == parse.GOOD) | (states == DATE))
        if self.manner.dates is None and len(read):
            self.manner.dates = bool(states[read[0]] == DATE)
        dates = self.manner.dates
        self.note(
            states == (parse.GOOD if dates else DATE),
            lambda row: (
                f"{name} is {_short(shown(row))}, a {'number' if dates else 'date'} where others are "
                f"{'dates' if dates else 'numbers'}"
            ),
        )
        return Times(units, steps)

    def category_reason(self, name: str, state: int, shown: str) -> str:
        """The reason why a category is bad."""
        if state == parse.OVERFLOW:
            return f"{name} is {_short(shown)}, which is beyond 64 bits; for any numbers give it the type text"
        kind = {"hex": "a number in base 16", "integer": "a whole number"}.get(self.schema.type_of(name), "a category")
        return f"{name} is {_short(shown)}, expected {kind}{_mark(shown)}"

    def label_reason(self, shown: str) -> str:
        """The reason why a label is bad."""
        return (
            f"{self.schema.label} is {_short(shown)}, expected 0 or 1" if shown else f"{self.schema.label} is missing"
        )

    def block(
        self,
        labels: np.ndarray,
        numeric: np.ndarray,
        time: Times | None,
        features: Mapping[str, Keys],
        bad: Sequence[BadRow],
        **place: int,
    ) -> Block:
        """The block of the good rows."""
        if not self.wrong:
            return Block(labels, numeric, time, features, bad=bad, **place)
        good = np.ones(self.rows, dtype=np.bool_)
        good[list(self.wrong)] = False
        kept = {name: _kept(keys, good) for name, keys in features.items()}
        of_time = None if time is None else Times(time.units[good], time.steps[good])
        return Block(labels[good], np.ascontiguousarray(numeric[:, good]), of_time, kept, bad=bad, **place)


def _kept(keys: Keys, good: np.ndarray) -> Keys:
    wanted = good if keys.lengths is None else np.repeat(good, keys.lengths)
    places = np.flatnonzero(wanted)
    lengths = None if keys.lengths is None else keys.lengths[good]
    return Keys(keys.keys[places], keys.missing[places], lambda at: keys.texts(places[at]), lengths)


def stripped(text: bytes) -> bytes:
    """A field without blanks at its ends, as kernels strip it."""
    return text.lstrip(b" \t").rstrip(b" \t\r")


def plain_bytes(text: bytes) -> bytes:
    """`coset.data.ids.plain` of a text in UTF-8."""
    if text[-1:] not in (b"0", b".") and text[-3:-2] != b"+":
        return text
    return plain(text.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _mark(shown: str) -> str:
    """The advice on a field that looks like a mark for a missing value."""
    if shown.lower().lstrip("+-") not in MARKS and shown != "-":
        return ""
    word = _short(shown)
    return f" (if it stands for a missing value: coset prepare --missing {word}, or missing = [{word}] in the schema)"


def _short(shown: Any) -> str:
    text = str(shown)
    return repr(text if len(text) <= 40 else text[:40] + "…")
