"""Parsing: what kernels make of fields is what Python makes of them."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coset.kernels import parse

BLANKS = st.sampled_from(["", " ", "\t", "  "])
FLOATS = st.floats(allow_nan=False, width=32).map(repr) | st.from_regex(
    r"[+-]?[0-9]{1,30}(\.[0-9]{0,9})?", fullmatch=True
)


def bounds_of(fields: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    ends = np.cumsum([0, *map(len, fields)])
    return np.frombuffer(b"".join(fields), dtype=np.uint8), np.stack([ends[:-1] - 1, ends[1:]], 1).astype(np.int32)


def numbers(fields: list[str], whole: bool) -> tuple[list[float], list[int]]:
    data, bounds = bounds_of([field.encode() for field in fields])
    values, states = np.empty((1, len(fields))), np.empty((1, len(fields)), dtype=np.uint8)
    first = np.zeros(1, dtype=np.int64)
    parse.numbers(
        data, bounds, 0, len(fields), first, np.array([whole], np.uint8), False, parse.marks(()), values, states
    )
    return values[0].tolist(), states[0].tolist()


def categories(fields: list[bytes], kind: int, quotes: bool = False) -> tuple[list[int], list[int]]:
    data, bounds = bounds_of(fields)
    keys, states = np.empty((1, len(fields)), dtype=np.int64), np.empty((1, len(fields)), dtype=np.uint8)
    first = np.zeros(1, dtype=np.int64)
    parse.categories(data, bounds, 0, len(fields), first, np.array([kind]), quotes, parse.marks(()), keys, states)
    return keys[0].tolist(), states[0].tolist()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(BLANKS, FLOATS, BLANKS).map("".join), min_size=1, max_size=20))
def test_decimal_numbers(fields: list[str]) -> None:
    for field, value, state in zip(fields, *numbers(fields, whole=False), strict=True):
        expected = float(field)
        if abs(expected) >= 3.4028235677973366e38:  # what is not rounded to the largest float32
            assert state == (parse.BAD if "inf" in field else parse.OVERFLOW)
        else:
            assert state == parse.GOOD
            assert value == pytest.approx(expected, rel=1e-13, abs=1e-300)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-(2**65), 2**65) | st.integers(-(2**63) - 2, -(2**63) + 2) | st.integers(2**63 - 2, 2**63 + 2))
)
def test_whole_numbers(values: list[int]) -> None:
    fields = [str(value).encode() for value in values]
    for value, key, state in zip(values, *categories(fields, parse.INTEGER), strict=True):
        fits = -(2**63) <= value < 2**63
        assert state == (parse.GOOD if fits else parse.OVERFLOW)
        assert not fits or key == value


@settings(max_examples=200, deadline=None)
@given(st.lists(st.from_regex(r"[0-9a-fA-F]{1,20}", fullmatch=True)))
def test_numbers_in_base_16(fields: list[str]) -> None:
    found, states = categories([field.encode() for field in fields], parse.HEX)
    assert states == [parse.GOOD] * len(fields)
    for field, key in zip(fields, found, strict=True):
        if len(field.lstrip("0")) <= 16:
            assert key % 2**64 == int(field, 16)
        else:
            hashed = 0xCBF29CE484222325
            for byte in field.lstrip("0").lower().encode():
                hashed = (hashed ^ byte) * 0x100000001B3 % 2**64
            assert key % 2**64 == hashed


@pytest.mark.parametrize("field", ["", " ", "\t \r"])
def test_nothing_is_missing(field: str) -> None:
    for kind in (parse.TEXT, parse.HEX, parse.INTEGER):
        assert categories([field.encode()], kind)[1] == [parse.MISSING]
    assert numbers([field], whole=True)[1] == numbers([field], whole=False)[1] == [parse.MISSING]


@pytest.mark.parametrize(
    "field", ["-", "+", ".", "1.2.3", "1e", "e5", "0x1", "1 2", "1_000", "nan", "--1", "1e5.5", "١"]
)
def test_what_is_no_number(field: str) -> None:
    assert numbers([field], whole=False)[1] == [parse.BAD]
    assert numbers([field], whole=True)[1] == [parse.BAD]
    assert categories([field.encode()], parse.INTEGER)[1] == [parse.BAD]


FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(FIELDS, min_size=2, max_size=4), min_size=1, max_size=9), st.booleans())
def test_fields_are_split_as_python_splits_them(rows: list[list[str]], everywhere: bool) -> None:
    """What the writer of Python's csv module makes of rows."""
    text = io.StringIO()
    quoting: Any = csv.QUOTE_ALL if everywhere else csv.QUOTE_MINIMAL
    csv.writer(text, quoting=quoting, lineterminator="\n").writerows(rows)
    data = np.frombuffer(text.getvalue().encode(), dtype=np.uint8)
    bounds, fields = np.empty((len(rows) + 1, 5), dtype=np.int32), np.empty(len(rows), dtype=np.int32)
    assert parse.split(data, ord(","), True, True, len(data), 4, bounds, fields) == len(rows)
    assert fields.tolist() == [len(row) for row in rows]
    for line, row in enumerate(rows):
        for place, value in enumerate(row):
            found = data[bounds[line, place] + 1 : bounds[line, place + 1]].tobytes().decode()
            if found.startswith('"'):
                found = found[1:-1].replace('""', '"')
            assert found == value
