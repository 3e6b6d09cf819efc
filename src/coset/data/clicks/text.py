"""Blocks out of text: whole lines, parsed by kernels, on some threads at once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import numpy as np

from coset.data.clicks.block import TYPES, BadRow, Block, Findings, Keys
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.source import Lines, LogFile
from coset.errors import InputError
from coset.kernels import parse

Split = tuple[Lines, np.ndarray, np.ndarray, np.ndarray]
"""Lines, their bytes, where the fields are, and how many there are in each line."""


@dataclass(frozen=True)
class Layout:
    """Where in a line the columns of a schema are.

    Args:
        schema: of the log.
        names: of all columns of the file.
        header: whether a line with names comes first.
    """

    schema: ClickSchema
    names: tuple[str, ...]
    header: bool

    @classmethod
    def of(cls, file: LogFile, schema: ClickSchema) -> Layout:
        """The layout of a file.

        Raises:
            InputError: it has no column of a name that the schema has.
        """
        if schema.names is not None:
            return cls(schema, schema.names, False)
        line = file.first_line().decode("utf-8", "replace")
        names = tuple(name.strip() for name in next(csv.reader([line], delimiter=schema.separator)))
        for name in schema.columns:
            if names.count(name) != 1:
                near = get_close_matches(name, [of for of in names if of not in schema.columns], n=1, cutoff=0.5)
                said = "two columns are called" if name in names else "no column"
                hint = f": did you mean {near[0]!r}?" if near and name not in names else ""
                raise InputError(
                    f"{file.path}: {said} {name!r}; its first line says {line[:200]!r}, between "
                    f"{schema.separator!r}{hint}"
                )
        return cls(schema, names, True)

    @property
    def quotes(self) -> bool:
        """Whether fields may stand between quotes: not between tabs."""
        return self.schema.separator != "\t"

    def places(self, *names: str) -> np.ndarray:
        """The places of columns."""
        return np.array([self.names.index(name) for name in names], dtype=np.int64)


def text_blocks(
    file: LogFile, layout: Layout, pool: ThreadPoolExecutor, threads: int, ahead: Callable[[Any], Any],
    offset: int, row: int,
) -> Generator[Block, None, None]:  # fmt: skip
    """The blocks of a file from an offset on, whose first row there is that of the number `row`.

    `ahead` is handed an iterator, and has it run in a thread.
    """
    for found in ahead(_split(file, layout, offset)):
        block = _parsed(found, layout, pool, threads, row)
        row += block.rows
        yield block


def _split(file: LogFile, layout: Layout, offset: int) -> Iterator[Split]:
    """Find the fields of all lines; those with names and without anything are left out."""
    columns, header = len(layout.names), layout.header and not offset
    for lines in file.lines(offset):
        data = np.frombuffer(lines.data, dtype=np.uint8)
        count = lines.data.count(b"\n")
        bounds = np.empty((count, columns + 1), dtype=np.int32)
        fields = np.empty(count, dtype=np.int32)
        parse.split(data, ord(layout.schema.separator), layout.quotes, columns, bounds, fields)
        filled = fields != 0
        if header and filled.any():
            filled[filled.argmax()], header = False, False
        if not filled.all():
            bounds, fields = bounds[filled], fields[filled]
        yield lines, data, bounds, fields


def _parsed(found: Split, layout: Layout, pool: ThreadPoolExecutor, threads: int, first: int) -> Block:
    lines, data, bounds, fields = found
    schema, rows, quotes = layout.schema, len(fields), layout.quotes
    with_time = [schema.time] if schema.time is not None else []
    numbers = layout.places(schema.label, *schema.numeric, *with_time)
    categories = layout.places(*schema.categorical)
    values, value_states = np.empty((len(numbers), rows)), np.empty((len(numbers), rows), dtype=np.uint8)
    keys, key_states = np.empty((len(categories), rows), np.int64), np.empty((len(categories), rows), dtype=np.uint8)
    whole = np.array([0, *[schema.integers] * len(schema.numeric), *[0] * len(with_time)], dtype=np.uint8)
    types = np.array([TYPES[schema.type_of(name)] for name in schema.categorical], dtype=np.int64)

    def work(begin: int, end: int) -> None:
        parse.numbers(data, bounds, begin, end, numbers, whole, quotes, values, value_states)
        parse.categories(data, bounds, begin, end, categories, types, quotes, keys, key_states)

    cuts = np.linspace(0, rows, threads + 1).astype(int)
    for done in [pool.submit(work, *map(int, cut)) for cut in pairwise(cuts)]:
        done.result()

    def field(row: int, name: str) -> bytes:
        place = layout.names.index(name)
        return lines.data[bounds[row, place] + 1 : bounds[row, place + 1]].strip(b" \t\r")

    def shown(row: int, name: str) -> str:
        return field(row, name).decode("utf-8", "replace")

    findings = Findings(schema, rows)
    findings.note(fields != len(layout.names), lambda row: _miscounted(int(fields[row]), layout))
    if "text" in map(schema.type_of, schema.features):
        findings.note(_undecodable(lines.data, bounds), lambda row: "not UTF-8 text")
    labels = values[0]
    findings.note(
        (value_states[0] != parse.GOOD) | ((labels != 0) & (labels != 1)),
        lambda row: findings.label_reason(shown(row, schema.label)),
    )
    for place, name in enumerate((*schema.numeric, *with_time), start=1):
        states = value_states[place]
        if states.max(initial=0) > parse.MISSING:
            findings.note(states > parse.MISSING, _bad_value(findings.number_reason, name, states, shown))
        if place > len(schema.numeric):
            findings.note(states == parse.MISSING, lambda row: f"{schema.time} is missing")
    features = {}
    for place, name in enumerate(schema.categorical):
        states = key_states[place]
        if states.max(initial=0) > parse.MISSING:
            findings.note(states > parse.MISSING, _bad_value(findings.category_reason, name, states, shown))
        features[name] = Keys(keys[place], states, _texts(lines.data, bounds, layout.names.index(name), quotes))
    for name in schema.lists:
        features[name] = _list(lines.data, data, bounds, layout, name, findings)
    values[value_states == parse.MISSING] = np.nan
    bad = [
        BadRow(first + row, reason, _line(lines.data, bounds, row)) for row, reason in sorted(findings.wrong.items())
    ]
    numeric, time = values[1 : 1 + len(schema.numeric)], values[-1] if with_time else None
    return findings.block(
        (labels == 1).astype(np.uint8), numeric, time, features, bad,
        first=first, rows=rows, offset=lines.offset, consumed=lines.consumed,
    )  # fmt: skip


def _bad_value(
    reason: Callable[[str, int, str], str], name: str, states: np.ndarray, shown: Callable[[int, str], str]
) -> Callable[[int], str]:
    return lambda row: reason(name, int(states[row]), shown(row, name))


def _miscounted(fields: int, layout: Layout) -> str:
    if fields < 0:
        return "the quotes do not match (a line break between quotes is not supported: such data can come as Parquet)"
    names = layout.names
    listed = ", ".join(names) if len(names) <= 6 else f"{names[0]}, {names[1]} … {names[-1]}"
    return f"{fields} {'column' if fields == 1 else 'columns'}, expected {len(names)} ({listed})"


def _undecodable(data: bytes, bounds: np.ndarray) -> np.ndarray:
    bad = np.zeros(len(bounds), dtype=np.bool_)
    if data.isascii():
        return bad
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        for row in range(len(bounds)):
            try:
                data[bounds[row, 0] + 1 : bounds[row, -1]].decode("utf-8")
            except UnicodeDecodeError:
                bad[row] = True
    return bad


def _line(data: bytes, bounds: np.ndarray, row: int) -> str:
    begin = int(bounds[row, 0]) + 1
    return data[begin : data.index(b"\n", begin)].decode("utf-8", "replace").rstrip("\r")


def _texts(data: bytes, bounds: np.ndarray, column: int, quotes: bool) -> Callable[[np.ndarray], list[bytes]]:
    def texts(places: np.ndarray) -> list[bytes]:
        ends = bounds[places]
        found = []
        for start, stop in zip(ends[:, column].tolist(), ends[:, column + 1].tolist(), strict=True):
            text = data[start + 1 : stop].strip(b" \t").rstrip(b" \t\r")
            if quotes and len(text) >= 2 and text[:1] == b'"' == text[-1:]:
                text = text[1:-1].replace(b'""', b'"')
            found.append(text)
        return found

    return texts


def _list(raw: bytes, data: np.ndarray, bounds: np.ndarray, layout: Layout, name: str, findings: Findings) -> Keys:
    column, separator = layout.names.index(name), ord(layout.schema.list_separator)
    lengths = np.empty(len(bounds), dtype=np.int32)
    none = np.empty((0, 2), dtype=np.int32)
    count = parse.items(data, bounds, column, layout.quotes, separator, lengths, none)
    found = np.empty((count, 2), dtype=np.int32)
    parse.items(data, bounds, column, layout.quotes, separator, lengths, found)
    keys, states = np.empty((1, count), dtype=np.int64), np.empty((1, count), dtype=np.uint8)
    types = np.array([TYPES[layout.schema.type_of(name)]], dtype=np.int64)
    parse.categories(data, found, 0, count, np.zeros(1, dtype=np.int64), types, False, keys, states)
    wrong = np.flatnonzero(states[0] > parse.MISSING)
    rows = np.repeat(np.arange(len(bounds)), lengths)[wrong]
    for row, place in zip(rows.tolist(), wrong.tolist(), strict=True):
        item = raw[found[place, 0] + 1 : found[place, 1]].decode("utf-8", "replace")
        findings.wrong.setdefault(row, findings.category_reason(name, int(states[0, place]), item))
    return Keys(keys[0], states[0], _texts(raw, found, 0, False), lengths)
