"""Exact times of rows from columns of any type: whole numbers, numbers with a fraction, dates of ISO 8601."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coset.data.sources.base import Block
from coset.errors import InputError, brief


class Times:
    """A column of times, as it grows.

    Whole numbers are kept as they are, in any unit. Of other times only the order is kept, which is all that a split
    needs: a float64 holds only 104 days in nanoseconds, and a float32, as RecBole uses for times, cannot tell seconds
    apart.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[np.ndarray, np.ndarray]] = []
        self._dates: bool | None = None

    def add(self, series: Any, block: Block) -> None:
        """Add the times of one more block."""
        from coset.kernels import parse
        from coset.kernels.instants import DATE

        units, steps, states = moments(series, block.where)
        if not len(states):
            return
        if self._dates is None:
            self._dates = bool(states[0] == DATE)
        good = states == (DATE if self._dates else parse.GOOD)
        if not good.all():
            row = int(np.argmin(good))
            value, spot = brief(str(series[row]), 42), f"{block.spot(row)}, column {series.name!r}"
            if states[row] == parse.MISSING:
                raise InputError(f"{spot}: the time is missing; fill it in or remove the row")
            if states[row] == parse.OVERFLOW:
                raise InputError(f"{spot}: the time {value} is beyond 64 bits")
            if states[row] == parse.BAD:
                raise InputError(f"{spot}: the time {value} is neither a number nor a date such as 2020-01-31T23:59:59")
            one, many = ("date", "numbers") if states[row] == DATE else ("number", "dates")
            raise InputError(f"{spot}: the time {value} is a {one} where others are {many}")
        self._pieces.append((units, steps))

    def together(self) -> np.ndarray:
        """All times, int64."""
        units, steps = (np.concatenate(pieces) for pieces in zip(*self._pieces, strict=True))
        if not steps.any():
            return units
        order = np.lexsort((steps, units))
        later = (np.diff(units[order]) != 0) | (np.diff(steps[order]) != 0)
        ranks = np.empty(len(units), dtype=np.int64)
        ranks[order] = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(later)])
        return ranks


def moments(series: Any, where: str, missing: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The times of a polars column of any type.

    Args:
        where: the file, for errors.
        missing: marks of a missing value in columns of text.

    Returns:
        Whole units (seconds since 1970 of dates, numbers as they are, rounded down) and the rest in steps of 10^-18,
        both int64; and what became of each, uint8 (see `coset.kernels.instants`).

    Raises:
        InputError: the column holds other values than numbers, dates and texts.
    """
    import polars

    from coset.kernels import instants, parse

    kind = series.dtype
    absent = series.is_null().to_numpy()
    states = np.full(len(series), parse.GOOD, dtype=np.uint8)
    steps: np.ndarray = np.zeros(len(series), dtype=np.int64)
    if kind == polars.Date:
        units = 86400 * series.to_physical().cast(polars.Int64).fill_null(0).to_numpy()
        states[:] = instants.DATE
    elif kind.is_temporal():
        ticks = {"ms": 10**3, "us": 10**6, "ns": 10**9}[getattr(kind, "time_unit", "ns")]
        units, rest = np.divmod(series.to_physical().fill_null(0).to_numpy(), ticks)
        steps = rest * (instants.STEPS // ticks)
        if isinstance(kind, polars.Datetime):
            states[:] = instants.DATE
    elif kind.is_integer():
        numbers = series.cast(polars.Int64, strict=False)
        states[numbers.is_null().to_numpy() & ~absent] = parse.OVERFLOW
        units = numbers.fill_null(0).to_numpy()
    elif kind.is_float():
        values = series.cast(polars.Float64).fill_null(0).to_numpy()
        absent = absent | np.isnan(values)
        states[~(np.abs(values) < 2.0**63)] = parse.OVERFLOW
        values = np.where(states == parse.OVERFLOW, 0, values)
        units = np.floor(values).astype(np.int64)
        steps = ((values - units) * instants.STEPS).astype(np.int64)
    elif kind.is_nested() or kind in (polars.Boolean, polars.Binary):
        raise InputError(f"{where}, column {series.name!r}: times are expected, not {kind}")
    else:  # text, and decimals as text
        data, bounds = fields_of(series.cast(polars.String).fill_null(""), where)
        units, steps = np.empty(len(series), dtype=np.int64), np.empty(len(series), dtype=np.int64)
        instants.instants(data, bounds, 0, False, parse.marks(missing), units, steps, states)
    states[absent] = parse.MISSING
    return np.array(units, dtype=np.int64), steps, states


def fields_of(text: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a polars column of text, and where its fields are, as `coset.kernels.parse` takes them: the bytes
    before and after one belong to no other."""
    data = "".join(text.to_list()).encode()
    ends = np.cumsum(text.str.len_bytes().to_numpy(), dtype=np.int64)
    if len(data) > np.iinfo(np.int32).max - 1:
        raise InputError(f"{where}, column {text.name!r}: texts of more than 32 kB on average")
    begins = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]]) if len(ends) else ends
    return np.frombuffer(data, dtype=np.uint8), np.stack([begins - 1, ends], axis=1).astype(np.int32)
