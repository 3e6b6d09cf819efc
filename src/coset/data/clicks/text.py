"""Blocks out of text: whole rows, parsed by kernels, on some threads at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import numpy as np

from coset.data.clicks.atomic import without_types
from coset.data.clicks.block import TYPES, BadRow, Block, Findings, Keys, Manner, Times, plain_bytes, stripped
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.source import LogFile, LogRows
from coset.data.sources.text import Dialect, check_separator, fields_in, first_line
from coset.errors import InputError, brief, unknown
from coset.kernels import instants, parse


@dataclass(frozen=True)
class Layout:
    """Where in a row the columns of a schema are.

    Args:
        schema: of the log.
        dialect: how values are written.
        names: of all columns of the file.
        header: whether a row with names comes first.
        constants: what the folders of the file say of all rows, for columns that the file has not.
    """

    schema: ClickSchema
    dialect: Dialect
    names: tuple[str, ...]
    header: bool
    constants: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, file: LogFile, schema: ClickSchema) -> Layout:
        """The layout of a file.

        Raises:
            InputError: it has no column of a name that the schema has.
        """
        dialect, fields = first_row(file, schema)
        names = schema.names
        if names is None:
            names = without_types(fields, schema.columns)
        elif file.keys:
            there = tuple(name for name in names if name not in file.keys)
            names = there if len(fields) == len(there) else names
        constants = {name: file.keys[name] for name in schema.columns if name not in names and name in file.keys}
        if schema.names is not None:
            for name in schema.columns:
                if name not in names and name not in constants:
                    raise unknown("column (it is not among the names in the schema)", name, names)
            return cls(schema, dialect, names, False, constants)
        for name in schema.columns:
            if names.count(name) != 1 and name not in constants:
                near = get_close_matches(name, [of for of in names if of not in schema.columns], n=1, cutoff=0.5)
                said = "two columns are called" if name in names else "no column"
                hint = f": did you mean {near[0]!r}?" if near and name not in names else ""
                raise InputError(
                    f"{file.path}: {said} {brief(name)}; its first line says {brief(file.first_line(), 200)}, between "
                    f"{dialect.separator!r}{hint}"
                )
        return cls(schema, dialect, names, True, constants)

    def places(self, *names: str) -> np.ndarray:
        """The places of columns."""
        return np.array([self.place(name) for name in names], dtype=np.int64)

    def place(self, name: str) -> int:
        """The place of a column; those of constants come after those of the file, and one that is nobody's."""
        if name in self.constants:
            return len(self.names) + 1 + list(self.constants).index(name)
        return self.names.index(name)

    def with_constants(self, data: bytes, bounds: np.ndarray) -> tuple[bytes, np.ndarray]:
        """Rows as if constants stood at the end of each of them: they are there once, and every row points there."""
        if not self.constants:
            return data, bounds
        told = [value.encode() for value in self.constants.values()]
        ends = len(data) + np.cumsum([0, *(len(value) + 1 for value in told)], dtype=np.int32) - 1
        more = np.broadcast_to(ends.astype(np.int32), (len(bounds), len(ends)))
        return data + b"\n".join(told) + b"\n", np.concatenate([bounds, more], axis=1)


def first_row(file: LogFile, schema: ClickSchema) -> tuple[Dialect, tuple[str, ...]]:
    """How a file is written, and the fields of its first row that is not blank; none where it has no row.

    A line that says the separator counts unless the schema says another one than by default. Between tabs a quote is an
    ordinary character, unless all fields of the first line stand between quotes.
    """
    separator, quotes = schema.separator, True
    if separator == ClickSchema.separator and file.head.separator is not None:
        separator = file.head.separator
        check_separator(separator, str(file.path))
    if separator == "\t":
        first = next(file.rows(None), None)
        fields = [] if first is None else first_line(first.data).split(separator)
        quotes = all(len(of) > 1 and of.startswith('"') and of.endswith('"') for of in fields)
    dialect = Dialect(separator, quotes)
    first = next(file.rows(dialect), None)
    fields = [] if first is None else dialect.first_row(first.data, str(file.path))[0]
    return dialect, tuple(map(str.strip, fields))


def text_blocks(
    file: LogFile, layout: Layout, manner: Manner, pool: ThreadPoolExecutor, threads: int,
    ahead: Callable[[Any], Any], offset: int, row: int,
) -> Generator[Block, None, None]:  # fmt: skip
    """The blocks of a file from an offset on, whose first row there is that of the number `row`.

    `ahead` is handed an iterator, and has it run in a thread.
    """
    for found in ahead(_split(file, layout, offset)):
        block = _parsed(found, layout, manner, pool, threads, row)
        row += block.rows
        yield block


@dataclass(frozen=True)
class _Split:
    """Rows of a file, what constants make of their bytes, where the fields are, and how many there are in each row."""

    rows: LogRows
    data: bytes
    bounds: np.ndarray
    fields: np.ndarray

    def row(self, row: int) -> str:
        """The text of a row."""
        begin = int(self.bounds[row, 0]) + 1
        end = int(self.bounds[row + 1, 0]) if row + 1 < len(self.bounds) else len(self.rows.data)
        return self.rows.data[begin:end].decode("utf-8", "replace").rstrip("\r\n")


def _split(file: LogFile, layout: Layout, offset: int) -> Iterator[_Split]:
    """Find the fields of all rows; those with names and without anything are left out."""
    columns, header, dialect = len(layout.names), layout.header and not offset, layout.dialect
    for rows in file.rows(dialect, offset):
        bounds, fields = fields_in(rows, dialect, columns)
        filled = fields != 0
        if header and filled.any():
            filled[filled.argmax()], header = False, False
        if not filled.all():
            bounds, fields = bounds[filled], fields[filled]
        yield _Split(rows, *layout.with_constants(rows.data, bounds), fields)


def _parsed(found: _Split, layout: Layout, manner: Manner, pool: ThreadPoolExecutor, threads: int, first: int) -> Block:
    raw, bounds, fields = found.data, found.bounds, found.fields
    data = np.frombuffer(raw, dtype=np.uint8)
    schema, rows, quotes = layout.schema, len(fields), layout.dialect.quotes
    missing = parse.marks(schema.missing)
    numbers = layout.places(schema.label, *schema.numeric)
    categories = layout.places(*schema.categorical)
    values, value_states = np.empty((len(numbers), rows)), np.empty((len(numbers), rows), dtype=np.uint8)
    keys, key_states = np.empty((len(categories), rows), np.int64), np.empty((len(categories), rows), dtype=np.uint8)
    whole = np.array([0, *[schema.integers] * len(schema.numeric)], dtype=np.uint8)
    types = np.array([TYPES[schema.type_of(name)] for name in schema.categorical], dtype=np.int64)

    def work(begin: int, end: int) -> None:
        parse.numbers(data, bounds, begin, end, numbers, whole, quotes, missing, values, value_states)
        parse.categories(data, bounds, begin, end, categories, types, quotes, missing, keys, key_states)

    cuts = np.linspace(0, rows, threads + 1).astype(int)
    for done in [pool.submit(work, *map(int, cut)) for cut in pairwise(cuts)]:
        done.result()

    def shown(name: str) -> Callable[[int], str]:
        place = layout.place(name)
        return lambda row: stripped(raw[bounds[row, place] + 1 : bounds[row, place + 1]]).decode("utf-8", "replace")

    findings = Findings(schema, rows, manner)
    findings.note(fields != len(layout.names), lambda row: _miscounted(int(fields[row]), layout))
    if "text" in map(schema.type_of, schema.features):
        findings.note(_undecodable(raw, bounds[:, : len(layout.names) + 1]), lambda row: "not UTF-8 text")
    labels = values[0]
    findings.note(
        (value_states[0] != parse.GOOD) | ((labels != 0) & (labels != 1)),
        lambda row: findings.label_reason(shown(schema.label)(row)),
    )
    for place, name in enumerate(schema.numeric, start=1):
        findings.values(findings.number_reason, name, value_states[place], shown(name))
    time = _times(data, bounds, layout, findings, shown)
    features = {}
    for place, name in enumerate(schema.categorical):
        findings.values(findings.category_reason, name, key_states[place], shown(name))
        features[name] = Keys(keys[place], key_states[place], _texts(raw, bounds, layout.place(name), quotes))
    for name in schema.lists:
        features[name] = _list(raw, data, bounds, layout, name, findings)
    values[value_states == parse.MISSING] = np.nan
    bad = [BadRow(first + row, reason, found.row(row)) for row, reason in sorted(findings.wrong.items())]
    return findings.block(
        (labels == 1).astype(np.uint8), values[1:], time, features, bad,
        first=first, rows=rows, offset=found.rows.offset, consumed=found.rows.consumed,
    )  # fmt: skip


def _times(
    data: np.ndarray,
    bounds: np.ndarray,
    layout: Layout,
    findings: Findings,
    shown: Callable[[str], Callable[[int], str]],
) -> Times | None:
    name = layout.schema.time
    if name is None:
        return None
    units, steps = np.empty(len(bounds), dtype=np.int64), np.empty(len(bounds), dtype=np.int64)
    states = np.empty(len(bounds), dtype=np.uint8)
    missing = parse.marks(layout.schema.missing)
    instants.instants(data, bounds, layout.place(name), layout.dialect.quotes, missing, units, steps, states)
    return findings.times(units, steps, states, shown(name))


def _miscounted(fields: int, layout: Layout) -> str:
    if fields < 0:
        return "the quotes do not match"
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


def _texts(data: bytes, bounds: np.ndarray, column: int, quotes: bool) -> Callable[[np.ndarray], list[bytes]]:
    """The texts in a column at some rows, without blanks and quotes around them."""

    def texts(places: np.ndarray) -> list[bytes]:
        ends = bounds[places]
        found = []
        for start, stop in zip(ends[:, column].tolist(), ends[:, column + 1].tolist(), strict=True):
            text = stripped(data[start + 1 : stop])
            if quotes and len(text) >= 2 and text[:1] == b'"' == text[-1:]:
                text = stripped(text[1:-1].replace(b'""', b'"'))
            found.append(plain_bytes(text))
        return found

    return texts


def _list(raw: bytes, data: np.ndarray, bounds: np.ndarray, layout: Layout, name: str, findings: Findings) -> Keys:
    column, separator = layout.place(name), ord(layout.schema.list_separator)
    lengths = np.empty(len(bounds), dtype=np.int32)
    none = np.empty((0, 2), dtype=np.int32)
    count = parse.items(data, bounds, column, layout.dialect.quotes, separator, lengths, none)
    found = np.empty((count, 2), dtype=np.int32)
    parse.items(data, bounds, column, layout.dialect.quotes, separator, lengths, found)
    if layout.dialect.quotes and b'""' in raw:
        raw = _undoubled(raw, bounds[:, column], found, lengths)
        data = np.frombuffer(raw, dtype=np.uint8)
    keys, states = np.empty((1, count), dtype=np.int64), np.empty((1, count), dtype=np.uint8)
    types = np.array([TYPES[layout.schema.type_of(name)]], dtype=np.int64)
    parse.categories(
        data, found, 0, count, np.zeros(1, dtype=np.int64), types, False, parse.marks(layout.schema.missing), keys,
        states,
    )  # fmt: skip

    def shown(place: int) -> str:
        return raw[found[place, 0] + 1 : found[place, 1]].decode("utf-8", "replace")

    findings.values(findings.category_reason, name, states[0], shown, lengths)
    return Keys(keys[0], states[0], _texts(raw, found, 0, False), lengths).present()


def _undoubled(raw: bytes, begins: np.ndarray, found: np.ndarray, lengths: np.ndarray) -> bytes:
    """Text with items behind it in which two quotes stood for one, as they do in a field between quotes; `found` then
    says that they are there."""
    data = np.frombuffer(raw, dtype=np.uint8)
    doubled = np.flatnonzero((data[:-1] == ord('"')) & (data[1:] == ord('"')))
    items = np.searchsorted(found[:, 0], doubled) - 1
    within = (items >= 0) & (doubled + 1 < found[items, 1]) if len(found) else np.zeros(0, dtype=np.bool_)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    more, end = [], len(raw)
    for item in np.unique(items[within]).tolist() if within.any() else []:
        if raw[begins[rows[item]] + 1 : found[item, 1]].lstrip(b" \t").startswith(b'"'):
            text = raw[found[item, 0] + 1 : found[item, 1]].replace(b'""', b'"')
            found[item] = end, end + len(text) + 1
            more += [b"\n", text]
            end += len(text) + 1
    return b"".join((raw, *more, b"\n")) if more else raw
