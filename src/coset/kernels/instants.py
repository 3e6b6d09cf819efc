"""Times in text → exact numbers: whole seconds, or units, and a fraction of them in steps of 10^-18.

A float64 holds no more than 104 days in nanoseconds, so rows that a split by time parts would share a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coset.kernels.compile import inlined, kernel
from coset.kernels.parse import BAD, GOOD, MISSING, OVERFLOW, _decimal, _marked, _trimmed, _whole

DATE = 4
"""What became of a field that is a date, or a date with a time, rather than a number."""

STEPS = 10**18
"""Steps of a second, or unit."""

_ZERO, _MINUS, _PLUS, _POINT, _COMMA, _COLON, _SPACE = 48, 45, 43, 46, 44, 58, 32
_T, _SMALL_T, _Z, _SMALL_Z, _U, _C = 84, 116, 90, 122, 85, 67
_LARGEST = 9.2e18


@inlined
def _number(data: Any, at: int, count: int, stop: int) -> int:
    """The number of exactly so many digits, or -1."""
    if at + count > stop:
        return -1
    value = 0
    for place in range(at, at + count):
        digit = np.int64(data[place]) - _ZERO
        if digit < 0 or digit > 9:
            return -1
        value = 10 * value + digit
    return value


@inlined
def _fraction(data: Any, at: int, stop: int) -> tuple[int, int]:
    """The fraction that the digits from `at` on are, in steps, and where they end; digits after the 18th are let go."""
    steps, count = np.int64(0), 0
    while at < stop and _ZERO <= data[at] <= 57:
        if count < 18:
            steps = 10 * steps + (np.int64(data[at]) - _ZERO)
            count += 1
        at += 1
    for _ in range(18 - count):
        steps *= 10
    return steps, at


@inlined
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar (Hinnant, chrono-compatible low-level date algorithms)."""
    year -= month <= 2
    era = year // 400
    of_era = year - 400 * era
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return 146097 * era + 365 * of_era + of_era // 4 - of_era // 100 + of_year - 719468


@inlined
def _date(data: Any, start: int, stop: int) -> tuple[int, int, int]:
    """An ISO 8601 date, or date and time, as seconds since 1970 in UTC, which is taken for granted where no zone is
    named: seconds, steps of one, and what became of it."""
    year, month, day = (
        _number(data, start, 4, stop),
        _number(data, start + 5, 2, stop),
        _number(data, start + 8, 2, stop),
    )
    if year < 1 or month < 1 or month > 12 or day < 1 or data[start + 4] != _MINUS or data[start + 7] != _MINUS:
        return 0, 0, BAD
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    longest = 28 + leap if month == 2 else 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31
    if day > longest:
        return 0, 0, BAD
    seconds, steps, at = np.int64(86400) * _days(year, month, day), np.int64(0), start + 10
    if at == stop:
        return seconds, steps, DATE
    if data[at] != _T and data[at] != _SMALL_T and data[at] != _SPACE:
        return 0, 0, BAD
    hour, minute, second = _number(data, at + 1, 2, stop), 0, 0
    at += 3
    if at < stop and data[at] == _COLON:
        minute = _number(data, at + 1, 2, stop)
        at += 3
        if at < stop and data[at] == _COLON:
            second = _number(data, at + 1, 2, stop)
            at += 3
            if at + 1 < stop and (data[at] == _POINT or data[at] == _COMMA):
                steps, at = _fraction(data, at + 1, stop)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 60:
        return 0, 0, BAD
    seconds += 3600 * hour + 60 * minute + second
    if at < stop and data[at] == _SPACE:
        at += 1
    left = stop - at
    if left == 0 or (left == 1 and (data[at] == _Z or data[at] == _SMALL_Z)):
        return seconds, steps, DATE
    if left == 3 and data[at] == _U and data[at + 1] == _T and data[at + 2] == _C:
        return seconds, steps, DATE
    if data[at] != _PLUS and data[at] != _MINUS:
        return 0, 0, BAD
    hour, minute = _number(data, at + 1, 2, stop), 0
    if left == 5:
        minute = _number(data, at + 3, 2, stop)
    elif left == 6 and data[at + 3] == _COLON:
        minute = _number(data, at + 4, 2, stop)
    elif left != 3:
        return 0, 0, BAD
    if hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return 0, 0, BAD
    shift = 3600 * hour + 60 * minute
    return seconds + (shift if data[at] == _MINUS else -shift), steps, DATE


@inlined
def _count(data: Any, start: int, stop: int) -> tuple[int, int, int]:
    """A decimal number: whole units, rounded down, steps of one, and what became of it."""
    first = start + (data[start] == _MINUS or data[start] == _PLUS)
    at = first
    while at < stop and _ZERO <= data[at] <= 57:
        at += 1
    if at == stop and first < stop:
        number, state = _whole(data, start, stop)
        return number, np.int64(0), state
    if at > first and data[at] == _POINT:
        steps, end = _fraction(data, at + 1, stop)
        if end == stop:
            number, state = _whole(data, start, at)
            if data[start] == _MINUS and steps:
                number, steps = number - 1, STEPS - steps
            return number, steps, state
    value, state = _decimal(data, start, stop)
    if state != GOOD:
        return np.int64(0), np.int64(0), state
    if abs(value) > _LARGEST:
        return np.int64(0), np.int64(0), OVERFLOW
    whole = np.floor(value)
    return np.int64(whole), np.int64((value - whole) * STEPS), GOOD


@kernel
def instants(
    data: Any, bounds: Any, column: int, quotes: bool, missing: Any, units: Any, steps: Any, states: Any
) -> None:
    """Times of a column.

    Args:
        data, bounds, quotes, missing: see `coset.kernels.parse`.
        units: for the result, int64: a number, or seconds since 1970 of a date, rounded down.
        steps: for the rest, int64, in steps of 10^-18.
        states: for what became of each, uint8: `GOOD` for a number, or `DATE`.
    """
    for line in range(len(bounds)):
        start, stop, _ = _trimmed(data, bounds[line, column] + 1, bounds[line, column + 1], quotes)
        units[line], steps[line], states[line] = 0, 0, MISSING
        if start < stop and not _marked(data, start, stop, *missing):
            found, rest, state = _count(data, start, stop)
            if state == BAD and stop - start >= 10:
                found, rest, state = _date(data, start, stop)
            units[line], steps[line], states[line] = found, rest, state
