"""Delimited text → where its fields are → numbers and keys of categories, a block of rows at a time.

Where fields are is a matrix of int32 with a row for every row: the field of column `c` begins after the byte
`bounds[row, c]` and ends before `bounds[row, c + 1]`. A field has blanks and quotes at its ends, which are not part
of its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coset.kernels.compile import inlined, kernel

GOOD, MISSING, BAD, OVERFLOW = 0, 1, 2, 3
"""What became of a field: a value, an empty one, no value of its type, a value out of range."""

TEXT, HEX, INTEGER = 0, 1, 2
"""What categories are."""

_QUOTE, _NEWLINE, _RETURN, _SPACE, _TAB = 34, 10, 13, 32, 9
_PLUS, _MINUS, _POINT, _ZERO, _NINE, _E = 43, 45, 46, 48, 57, 101

FNV_BASIS = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
_MOST = np.uint64(2**63)
_EXACT = 2**53
_TENTH = np.uint64((2**64 - 1) // 10)
_DIGITS = np.full(256, 255, dtype=np.uint8)
_DIGITS[48:58] = range(10)
_DIGITS[65:71] = range(10, 16)
_DIGITS[97:103] = range(10, 16)
_POWERS = 10.0 ** np.arange(23)
"""The powers of ten that a float64 holds exactly."""


def marks(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What stands for a missing value, as kernels take it: the bytes of all words, and where each of them ends."""
    found = [word.encode() for word in words]
    return np.frombuffer(b"".join(found), dtype=np.uint8), np.cumsum([0, *map(len, found)]).astype(np.int64)


@inlined
def _closing(data: Any, at: int, separator: int, most: int) -> int:
    """Where the value ends that a quote at `at` opens: at the next single quote, `len(data)` if there is none. Over
    line feeds, of which none may come later than `most`, that must be the end of the field, too; else -1."""
    stop, broken = at + 1, False
    while stop < len(data):
        if data[stop] == _NEWLINE:
            broken = True
            if stop > most:
                return -1
        elif data[stop] == _QUOTE:
            if data[stop + 1] != _QUOTE:
                break
            stop += 1
        stop += 1
    if broken and stop < len(data):
        after = stop + 1
        while data[after] != separator and (data[after] == _SPACE or data[after] == _TAB):
            after += 1
        if data[after] != separator and data[after] != _NEWLINE and data[after] != _RETURN:
            return -1
    return stop


@kernel
def split(
    data: Any, separator: int, quotes: bool, ended: bool, longest: int, columns: int, bounds: Any, fields: Any
) -> int:  # fmt: skip
    """Find the rows of a text and their fields; how many whole rows there are.

    Args:
        data: uint8, lines from the beginning of a row on, each ended by a line feed.
        separator: between fields.
        quotes: whether a field may stand between quotes, with separators and line feeds in it.
        ended: whether the text ends with them; else its last row may be there in part.
        longest: bytes from the beginning of a row on in which it may have line feeds.
        columns: how many fields a row should have.
        bounds: for the result, one column more than fields, and a row more than there are line feeds, for the end.
        fields: for how many fields each row has: 0 for an empty one, -1 for a line in which quotes do not match.
    """
    row, column, last, quoted, bad = 0, 0, -1, -1, False
    bounds[0, 0] = -1
    for at in range(len(data)):
        byte = data[at]
        if byte == separator:
            if at < quoted:
                continue
            column += 1
            last = at
            if column <= columns:
                bounds[row, column] = at
        elif byte == _NEWLINE:
            if at < quoted:
                continue
            begin = bounds[row, 0] + 1
            column += 1
            if column <= columns:
                bounds[row, column] = at
            blank = column == 1 and (at == begin or (at == begin + 1 and data[begin] == _RETURN))
            fields[row] = -1 if bad else 0 if blank else column
            for rest in range(column + 1, columns + 1):
                bounds[row, rest] = at
            row, column, last, bad = row + 1, 0, at, False
            bounds[row, 0] = at
        elif quotes and byte == _QUOTE and at > quoted and (at == last + 1 or data[at - 1] == _RETURN):
            quoted = _closing(data, at, separator, bounds[row, 0] + longest)
            if quoted == len(data) and not ended:
                break
            if quoted < 0 or quoted == len(data):
                quoted, bad = at, True
                while data[quoted] != _NEWLINE:
                    quoted += 1
    return row


@inlined
def _stripped(data: Any, start: int, stop: int) -> tuple[int, int]:
    while start < stop and (data[start] == _SPACE or data[start] == _TAB):
        start += 1
    while start < stop and (data[stop - 1] == _SPACE or data[stop - 1] == _TAB or data[stop - 1] == _RETURN):
        stop -= 1
    return start, stop


@inlined
def _trimmed(data: Any, start: int, stop: int, quotes: bool) -> tuple[int, int, bool]:
    """A field without blanks and quotes at its ends, and whether it had quotes; blanks within them go, too."""
    start, stop = _stripped(data, start, stop)
    if quotes and stop - start >= 2 and data[start] == _QUOTE and data[stop - 1] == _QUOTE:
        start, stop = _stripped(data, start + 1, stop - 1)
        return start, stop, True
    return start, stop, False


@inlined
def _marked(data: Any, start: int, stop: int, words: Any, ends: Any) -> bool:
    """Whether a field is one of the words for a missing value."""
    for place in range(len(ends) - 1):
        if ends[place + 1] - ends[place] == stop - start:
            same = True
            for at in range(stop - start):
                same = same and data[start + at] == words[ends[place] + at]
            if same:
                return True
    return False


@inlined
def _hexadecimal(data: Any, start: int, stop: int) -> tuple[int, int]:
    """A number in base 16, and what became of it."""
    value, wrong, first = np.uint64(0), 0, start
    for at in range(start, stop):
        digit = _DIGITS[data[at]]  # a table, since nobody foresees which branch a random digit takes
        wrong |= digit
        value = (value << np.uint64(4)) | np.uint64(digit)
    if wrong > 15:
        return 0, BAD
    if stop - start > 16:
        while first < stop and data[first] == _ZERO:
            first += 1
        if stop - first > 16:
            value = FNV_BASIS
            for at in range(first, stop):
                byte = data[at]
                value = (value ^ np.uint64(byte + 32 if 65 <= byte <= 70 else byte)) * FNV_PRIME
    return np.int64(value), GOOD


@inlined
def _float_form(data: Any, start: int, stop: int) -> tuple[int, int, int, int, int]:
    """Where the digits of a whole number are that is written as a float: `coset.data.ids.plain` has the rule.

    The number is `data[begin:end]`, without its sign, then `data[more:last]`, and then so many zeros; `begin` is -1 of
    anything else.
    """
    begin = start + (data[start] == _MINUS)
    power = stop - begin >= 5 and data[stop - 3] == _PLUS and data[stop - 4] == _E
    if not power and data[stop - 1] != _ZERO and data[stop - 1] != _POINT:
        return -1, 0, 0, 0, 0
    point = stop - 4 if power else stop
    while point > begin and data[point - 1] == _ZERO:  # zeros of the fraction say nothing
        point -= 1
    last = point
    while point > begin and _ZERO <= data[point - 1] <= _NINE:
        point -= 1
    if not power:
        if point != last or point == begin or data[point - 1] != _POINT:
            return -1, 0, 0, 0, 0
        end = point - 1
        for at in range(begin, end):
            if data[at] < _ZERO or data[at] > _NINE:
                return -1, 0, 0, 0, 0
        if end == begin or (data[begin] == _ZERO and end > begin + 1):
            return -1, 0, 0, 0, 0
        return begin, end, end, end, 0
    # One digit that is no 0, perhaps a point and digits, and an exponent of two digits.
    tens, ones = np.int64(data[stop - 2]) - _ZERO, np.int64(data[stop - 1]) - _ZERO
    if tens < 0 or tens > 1 or ones < 0 or ones > 9 or data[begin] <= _ZERO or data[begin] > _NINE:
        return -1, 0, 0, 0, 0
    exponent, more = 10 * tens + ones, begin + 2
    if data[begin + 1] == _POINT:
        if data[begin + 2] == _E or (point != more and last > more):
            return -1, 0, 0, 0, 0
        last = max(last, more)
    elif stop - 4 == begin + 1:
        last = more
    else:
        return -1, 0, 0, 0, 0
    zeros = exponent - (last - more)
    value = np.int64(data[begin]) - _ZERO
    if zeros < 0 or exponent > 15:
        return -1, 0, 0, 0, 0
    for at in range(more, last):
        value = 10 * value + (np.int64(data[at]) - _ZERO)
    for _ in range(zeros):
        value *= 10
    return (begin, begin + 1, more, last, zeros) if value <= _EXACT else (-1, 0, 0, 0, 0)


@inlined
def _added(hashed: Any, byte: int) -> Any:
    return (hashed ^ np.uint64(byte)) * FNV_PRIME


@inlined
def _text(data: Any, start: int, stop: int, quoted: bool) -> int:
    hashed, at = FNV_BASIS, start
    if start < stop:
        begin, end, more, last, zeros = _float_form(data, start, stop)
        if begin >= 0:
            if begin > start and not (end == begin + 1 and data[begin] == _ZERO):  # -0 is 0
                hashed = _added(hashed, _MINUS)
            for at in range(begin, end):
                hashed = _added(hashed, data[at])
            for at in range(more, last):
                hashed = _added(hashed, data[at])
            for _ in range(zeros):
                hashed = _added(hashed, _ZERO)
            return np.int64(hashed)
    while at < stop:
        hashed = (hashed ^ np.uint64(data[at])) * FNV_PRIME
        if quoted and data[at] == _QUOTE:  # one quote of two
            at += 1
        at += 1
    return np.int64(hashed)


@inlined
def _whole(data: Any, start: int, stop: int) -> tuple[int, int]:
    """A whole number of 64 bits, and what became of it."""
    negative = False
    if start < stop and (data[start] == _MINUS or data[start] == _PLUS):
        negative = data[start] == _MINUS
        start += 1
    value, state = np.uint64(0), GOOD if start < stop else BAD
    for at in range(start, stop):
        digit = np.int64(data[at]) - _ZERO
        if digit < 0 or digit > 9:
            state = BAD
            break
        if value > _TENTH or (value == _TENTH and digit > 5):
            state = OVERFLOW
        value = value * np.uint64(10) + np.uint64(digit)
    if state == GOOD and (value > _MOST or (value == _MOST and not negative)):
        state = OVERFLOW
    number = np.int64(value)
    return (-number if negative else number), state


@inlined
def _integer(data: Any, start: int, stop: int) -> tuple[int, int]:
    """The same of a whole number that may be written as a float."""
    number, state = _whole(data, start, stop)
    if state == BAD and start < stop:
        begin, end, more, last, zeros = _float_form(data, start, stop)
        if begin >= 0:
            sign = 1 if begin == start else -1
            number, state = _whole(data, start, end)
            for at in range(more, last):
                number = 10 * number + sign * (np.int64(data[at]) - _ZERO)
            for _ in range(zeros):
                number *= 10
    return number, state


@inlined
def _power(exponent: int) -> float:
    return _POWERS[exponent] if exponent <= 22 else 10.0**exponent


@inlined
def _decimal(data: Any, start: int, stop: int) -> tuple[float, int]:
    """A decimal number, and what became of it; of more than 18 digits the first ones count."""
    negative = data[start] == _MINUS
    if negative or data[start] == _PLUS:
        start += 1
    mantissa, digits, exponent, point, seen, at = np.int64(0), 0, 0, False, False, start
    while at < stop:
        byte = np.int64(data[at])
        if _ZERO <= byte <= 57:
            seen = True
            if digits < 18:
                mantissa = mantissa * 10 + (byte - _ZERO)
                digits += mantissa > 0
                exponent -= point
            else:
                exponent += not point
        elif byte == _POINT and not point:
            point = True
        else:
            break
        at += 1
    if not seen:
        return 0.0, BAD
    if at < stop:
        if data[at] != 101 and data[at] != 69:
            return 0.0, BAD
        written, state = _whole(data, at + 1, stop)
        if state == BAD:
            return 0.0, BAD
        exponent += min(max(written, -1000), 1000) if state == GOOD else 1000
    value = np.float64(mantissa)
    if exponent > 0 and mantissa:
        value = value * _power(exponent) if exponent < 309 else np.inf
    elif exponent < 0:
        value = value / _power(-exponent) if exponent > -309 else 0.0
    if value >= 3.4028235677973366e38:  # what is no longer rounded down to the largest float32
        return 0.0, OVERFLOW
    return (-value if negative else value), GOOD


@kernel
def categories(
    data: Any, bounds: Any, begin: int, end: int, columns: Any, types: Any, quotes: bool, missing: Any, keys: Any,
    states: Any,
) -> None:  # fmt: skip
    """The keys of categories.

    A key is a number of 64 bits. Of a whole number it is that number; of a number in base 16 its low 64 bits, as a
    signed number, or the FNV-1a hash of its digits in lower case where they are more than 16, zeros in front not
    counted; of a text the FNV-1a hash of its bytes, in the form of `coset.data.ids.plain`. A field without any
    character is missing, between quotes too.

    Args:
        begin, end: which lines.
        columns: their columns.
        types: `TEXT`, `HEX` or `INTEGER`, one a column.
        quotes: whether fields may stand between quotes.
        missing: what else stands for a missing one, see `marks`.
        keys: for the result, int64, a row a column.
        states: for what became of each, uint8, of the same shape.
    """
    for line in range(begin, end):
        for place in range(len(columns)):
            column = columns[place]
            start, stop, quoted = _trimmed(data, bounds[line, column] + 1, bounds[line, column + 1], quotes)
            if start == stop or _marked(data, start, stop, *missing):
                keys[place, line], states[place, line] = 0, MISSING
            elif types[place] == HEX:
                keys[place, line], states[place, line] = _hexadecimal(data, start, stop)
            elif types[place] == TEXT:
                keys[place, line], states[place, line] = _text(data, start, stop, quoted), GOOD
            else:
                keys[place, line], states[place, line] = _integer(data, start, stop)


@kernel
def numbers(
    data: Any, bounds: Any, begin: int, end: int, columns: Any, whole: Any, quotes: bool, missing: Any, values: Any,
    states: Any,
) -> None:  # fmt: skip
    """Numbers as float64, as `categories` gives keys: whole ones of 64 bits where `whole` is 1, else decimal ones that
    a float32 can hold."""
    for line in range(begin, end):
        for place in range(len(columns)):
            column = columns[place]
            start, stop, _ = _trimmed(data, bounds[line, column] + 1, bounds[line, column + 1], quotes)
            if start == stop or _marked(data, start, stop, *missing):
                values[place, line], states[place, line] = 0.0, MISSING
            elif whole[place]:
                number, state = _whole(data, start, stop)
                values[place, line], states[place, line] = np.float64(number), state
            else:
                values[place, line], states[place, line] = _decimal(data, start, stop)


@kernel
def items(data: Any, bounds: Any, column: int, quotes: bool, separator: int, lengths: Any, found: Any) -> int:
    """The items of a list, those without any character left out; how many there are in all lines.

    Args:
        separator: between items.
        lengths: for the number of items of each line.
        found: for the bounds of the items, as of a single column; one of no rows to count first.
    """
    count = 0
    for line in range(len(bounds)):
        start, stop, _ = _trimmed(data, bounds[line, column] + 1, bounds[line, column + 1], quotes)
        lengths[line] = 0
        begin = start
        for at in range(start, stop + 1):
            if at == stop or data[at] == separator:
                first, last, _ = _trimmed(data, begin, at, False)
                if first < last:
                    if count < len(found):
                        found[count, 0], found[count, 1] = first - 1, last
                    count += 1
                    lengths[line] += 1
                begin = at + 1
    return count
