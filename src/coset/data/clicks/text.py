"""Blocks out of text: whole lines, parsed by kernels, on some threads at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import numpy as np

from coset.data.clicks.atomic import without_types
from coset.data.clicks.block import TYPES, BadRow, Block, Findings, Keys, Manner, Times, plain_bytes
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.source import Lines, LogFile
from coset.errors import InputError, brief, unknown
from coset.kernels import instants, parse

Split = tuple[Lines, np.ndarray, np.ndarray, np.ndarray]
"""Lines, their bytes, where the fields are, and how many there are in each line."""


@dataclass(frozen=True)
class Layout:
    """Where in a line the columns of a schema are.

    Args:
        schema: of the log.
        names: of all columns of the file.
        header: whether a line with names comes first.
        quotes: whether fields may stand between quotes: between tabs only where all fields of the first line do, as a
            quote is an ordinary character there otherwise.
        constants: what the folders of the file say of all rows, for columns that the file has not.
    """

    schema: ClickSchema
    names: tuple[str, ...]
    header: bool
    quotes: bool
    constants: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, file: LogFile, schema: ClickSchema) -> Layout:
        """The layout of a file.

        Raises:
            InputError: it has no column of a name that the schema has.
        """
        names = schema.names
        # A file without a row has nothing to say where it need not name its columns.
        first = file.first_line() if names is None else next(filter(bytes.strip, file.first_lines()), b"")
        line = first.decode("utf-8", "replace").rstrip("\r")
        quotes = _has_quotes(line, schema.separator)
        if names is None:
            names = without_types(names_in(line, schema.separator), schema.columns)
        elif file.keys:
            there = tuple(name for name in names if name not in file.keys)
            names = there if len(names_in(line, schema.separator)) == len(there) else names
        constants = {name: file.keys[name] for name in schema.columns if name not in names and name in file.keys}
        if schema.names is not None:
            for name in schema.columns:
                if name not in names and name not in constants:
                    raise unknown("column (it is not among the names in the schema)", name, names)
            return cls(schema, names, False, quotes, constants)
        for name in schema.columns:
            if names.count(name) != 1 and name not in constants:
                near = get_close_matches(name, [of for of in names if of not in schema.columns], n=1, cutoff=0.5)
                said = "two columns are called" if name in names else "no column"
                hint = f": did you mean {near[0]!r}?" if near and name not in names else ""
                raise InputError(
                    f"{file.path}: {said} {brief(name)}; its first line says {brief(line, 200)}, between "
                    f"{schema.separator!r}{hint}"
                )
        return cls(schema, names, True, quotes, constants)

    def places(self, *names: str) -> np.ndarray:
        """The places of columns."""
        return np.array([self.place(name) for name in names], dtype=np.int64)

    def place(self, name: str) -> int:
        """The place of a column; those of constants come after those of the file, and one that is nobody's."""
        if name in self.constants:
            return len(self.names) + 1 + list(self.constants).index(name)
        return self.names.index(name)

    def with_constants(self, lines: Lines, bounds: np.ndarray) -> tuple[Lines, np.ndarray]:
        """Lines as if constants stood at the end of each of them: they are there once, and every line points there."""
        if not self.constants:
            return lines, bounds
        told = [value.encode() for value in self.constants.values()]
        begin = len(lines.data)
        ends = begin + np.cumsum([0, *(len(value) + 1 for value in told)], dtype=np.int32) - 1
        more = np.broadcast_to(ends.astype(np.int32), (len(bounds), len(ends)))
        data = lines.data + b"\n".join(told) + b"\n"
        return replace(lines, data=data), np.concatenate([bounds, more], axis=1)


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
        lines, bounds = layout.with_constants(lines, bounds)
        yield lines, np.frombuffer(lines.data, dtype=np.uint8), bounds, fields


def _parsed(found: Split, layout: Layout, manner: Manner, pool: ThreadPoolExecutor, threads: int, first: int) -> Block:
    lines, data, bounds, fields = found
    schema, rows, quotes = layout.schema, len(fields), layout.quotes
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

    def field(row: int, name: str) -> bytes:
        place = layout.place(name)
        return lines.data[bounds[row, place] + 1 : bounds[row, place + 1]].strip(b" \t\r")

    def shown(row: int, name: str) -> str:
        return field(row, name).decode("utf-8", "replace")

    findings = Findings(schema, rows, manner)
    findings.note(fields != len(layout.names), lambda row: _miscounted(int(fields[row]), layout))
    if "text" in map(schema.type_of, schema.features):
        findings.note(_undecodable(lines.data, bounds[:, : len(layout.names) + 1]), lambda row: "not UTF-8 text")
    labels = values[0]
    findings.note(
        (value_states[0] != parse.GOOD) | ((labels != 0) & (labels != 1)),
        lambda row: findings.label_reason(shown(row, schema.label)),
    )
    for place, name in enumerate(schema.numeric, start=1):
        states = value_states[place]
        if states.max(initial=0) > parse.MISSING:
            findings.note(states > parse.MISSING, _bad_value(findings.number_reason, name, states, shown))
    time = _times(data, bounds, layout, findings, shown)
    features = {}
    for place, name in enumerate(schema.categorical):
        states = key_states[place]
        if states.max(initial=0) > parse.MISSING:
            findings.note(states > parse.MISSING, _bad_value(findings.category_reason, name, states, shown))
        features[name] = Keys(keys[place], states, _texts(lines.data, bounds, layout.place(name), quotes))
    for name in schema.lists:
        features[name] = _list(lines.data, data, bounds, layout, name, findings)
    values[value_states == parse.MISSING] = np.nan
    bad = [
        BadRow(first + row, reason, _line(lines.data, bounds, row)) for row, reason in sorted(findings.wrong.items())
    ]
    return findings.block(
        (labels == 1).astype(np.uint8), values[1:], time, features, bad,
        first=first, rows=rows, offset=lines.offset, consumed=lines.consumed,
    )  # fmt: skip


def _has_quotes(line: str, separator: str) -> bool:
    """Whether fields may stand between quotes in a text that begins with this line."""
    fields = line.split(separator)
    return separator != "\t" or all(len(of) > 1 and of.startswith('"') and of.endswith('"') for of in fields)


def names_in(line: str, separator: str) -> tuple[str, ...]:
    """The names in a line: fields as those of rows, not by Python's csv, which takes none of over 128 KiB."""
    data = line.encode() + b"\n"
    columns = data.count(separator.encode()) + 1
    bounds, fields = np.empty((1, columns + 1), dtype=np.int32), np.empty(1, dtype=np.int32)
    quotes = _has_quotes(line, separator)
    parse.split(np.frombuffer(data, dtype=np.uint8), ord(separator), quotes, columns, bounds, fields)
    row = np.zeros(1, dtype=np.int64)
    found = (_written(data, bounds, column, quotes)(row)[0] for column in range(max(int(fields[0]), 1)))
    return tuple(name.decode().strip() for name in found)


def _times(
    data: np.ndarray, bounds: np.ndarray, layout: Layout, findings: Findings, shown: Callable[[int, str], str]
) -> Times | None:
    name = layout.schema.time
    if name is None:
        return None
    units, steps = np.empty(len(bounds), dtype=np.int64), np.empty(len(bounds), dtype=np.int64)
    states = np.empty(len(bounds), dtype=np.uint8)
    missing = parse.marks(layout.schema.missing)
    instants.instants(data, bounds, layout.place(name), layout.quotes, missing, units, steps, states)
    return findings.times(units, steps, states, lambda row: shown(row, name))


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
    written = _written(data, bounds, column, quotes)
    return lambda places: list(map(plain_bytes, written(places)))


def _written(data: bytes, bounds: np.ndarray, column: int, quotes: bool) -> Callable[[np.ndarray], list[bytes]]:
    """The texts in a column at some lines, without blanks and quotes around them."""

    def texts(places: np.ndarray) -> list[bytes]:
        ends = bounds[places]
        found = []
        for start, stop in zip(ends[:, column].tolist(), ends[:, column + 1].tolist(), strict=True):
            text = _stripped(data[start + 1 : stop])
            if quotes and len(text) >= 2 and text[:1] == b'"' == text[-1:]:
                text = _stripped(text[1:-1].replace(b'""', b'"'))
            found.append(text)
        return found

    return texts


def _stripped(text: bytes) -> bytes:
    """As the kernels strip."""
    return text.lstrip(b" \t").rstrip(b" \t\r")


def _list(raw: bytes, data: np.ndarray, bounds: np.ndarray, layout: Layout, name: str, findings: Findings) -> Keys:
    column, separator = layout.place(name), ord(layout.schema.list_separator)
    lengths = np.empty(len(bounds), dtype=np.int32)
    none = np.empty((0, 2), dtype=np.int32)
    count = parse.items(data, bounds, column, layout.quotes, separator, lengths, none)
    found = np.empty((count, 2), dtype=np.int32)
    parse.items(data, bounds, column, layout.quotes, separator, lengths, found)
    if layout.quotes and b'""' in raw:
        raw = _undoubled(raw, bounds[:, column], found, lengths)
        data = np.frombuffer(raw, dtype=np.uint8)
    keys, states = np.empty((1, count), dtype=np.int64), np.empty((1, count), dtype=np.uint8)
    types = np.array([TYPES[layout.schema.type_of(name)]], dtype=np.int64)
    parse.categories(
        data, found, 0, count, np.zeros(1, dtype=np.int64), types, False, parse.marks(layout.schema.missing), keys,
        states,
    )  # fmt: skip
    wrong = np.flatnonzero(states[0] > parse.MISSING)
    rows = np.repeat(np.arange(len(bounds)), lengths)[wrong]
    for row, place in zip(rows.tolist(), wrong.tolist(), strict=True):
        item = raw[found[place, 0] + 1 : found[place, 1]].decode("utf-8", "replace")
        findings.wrong.setdefault(row, findings.category_reason(name, int(states[0, place]), item))
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
