"""`Block`: rows of a log as numbers and keys, whatever file they came out of, and what is wrong with other rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from coset.data.clicks.schema import CategoryType, ClickSchema
from coset.kernels import parse

TYPES: dict[CategoryType, int] = {"text": parse.TEXT, "hex": parse.HEX, "integer": parse.INTEGER}
"""What the kernels call the types of categories."""

Texts = Callable[[np.ndarray], list[bytes]]
"""The texts of the categories at some places of a column of keys."""


@dataclass(frozen=True)
class Keys:
    """A column of categories.

    Args:
        keys: int64, see `coset.kernels.parse.categories`.
        missing: uint8, 1 where there is none.
        texts: of categories that are texts.
        lengths: of a multi-hot feature, how many of the keys each row has.
    """

    keys: np.ndarray
    missing: np.ndarray
    texts: Texts
    lengths: np.ndarray | None = None


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: its number in its file, from 1 on, what is wrong, and what it says."""

    row: int
    reason: str
    content: str


@dataclass(frozen=True)
class Block:
    """Consecutive good rows of one file, and the bad ones between them.

    Args:
        labels: 0 or 1.
        numeric: float64, a row a column, NaN where missing.
        time: what a split by time goes by, if that is wanted.
        features: by name.
        bad: in order.
        first: number of the first row, good or bad, and `rows` of all of them.
        offset: where they end in the file.
        consumed: bytes of the file that were read so far, for progress.
    """

    labels: np.ndarray
    numeric: np.ndarray
    time: np.ndarray | None
    features: Mapping[str, Keys]
    bad: Sequence[BadRow] = field(default=(), kw_only=True)
    first: int
    rows: int
    offset: int
    consumed: int


class Findings:
    """What was found in the columns of a block, until the rows with something wrong are left out."""

    def __init__(self, schema: ClickSchema, rows: int) -> None:
        self.schema = schema
        self.rows = rows
        self.wrong: dict[int, str] = {}

    def note(self, bad: np.ndarray, reason: Callable[[int], str]) -> None:
        """Remember the rows at which `bad` is true, with what is wrong; the first thing to be said of a row stays."""
        for row in np.flatnonzero(bad).tolist():
            if row not in self.wrong:
                self.wrong[row] = reason(row)

    def number_reason(self, name: str, state: int, shown: str) -> str:
        """What is wrong with a number."""
        if state == parse.OVERFLOW:
            beyond = "64 bits" if self.schema.integers else "the range of float32"
            return f"{name} is {_short(shown)}, which is beyond {beyond}"
        return f"{name} is {_short(shown)}, expected a {'whole ' if self.schema.integers else ''}number"

    def category_reason(self, name: str, state: int, shown: str) -> str:
        """What is wrong with a category."""
        if state == parse.OVERFLOW:
            return f"{name} is {_short(shown)}, which is beyond 64 bits"
        kind = {"hex": "a number in base 16", "integer": "a whole number"}.get(self.schema.type_of(name), "a category")
        return f"{name} is {_short(shown)}, expected {kind}"

    def label_reason(self, shown: str) -> str:
        """What is wrong with a label."""
        return (
            f"{self.schema.label} is {_short(shown)}, expected 0 or 1" if shown else f"{self.schema.label} is missing"
        )

    def block(
        self,
        labels: np.ndarray,
        numeric: np.ndarray,
        time: np.ndarray | None,
        features: Mapping[str, Keys],
        bad: Sequence[BadRow],
        **place: int,
    ) -> Block:
        """The block of the rows that nothing is wrong with."""
        if not self.wrong:
            return Block(labels, numeric, time, features, bad=bad, **place)
        good = np.ones(self.rows, dtype=np.bool_)
        good[list(self.wrong)] = False
        kept = {name: _kept(keys, good) for name, keys in features.items()}
        of_time = None if time is None else time[good]
        return Block(labels[good], np.ascontiguousarray(numeric[:, good]), of_time, kept, bad=bad, **place)


def _kept(keys: Keys, good: np.ndarray) -> Keys:
    wanted = good if keys.lengths is None else np.repeat(good, keys.lengths)
    places = np.flatnonzero(wanted)
    lengths = None if keys.lengths is None else keys.lengths[good]
    return Keys(keys.keys[places], keys.missing[places], lambda at: keys.texts(places[at]), lengths)


def _short(shown: Any) -> str:
    text = str(shown)
    return repr(text if len(text) <= 40 else text[:40] + "…")
