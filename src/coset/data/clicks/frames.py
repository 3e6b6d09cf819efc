"""Blocks out of the columns that a source gives, as of Parquet."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coset.data.clicks.block import TYPES, BadRow, Block, Findings, Keys, Manner, Times, plain_bytes, stripped
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.source import LogFile
from coset.data.columns import import_polars, reason_of, unreadable
from coset.data.ids import texts_of
from coset.data.sources import Source, Wanted, blocks_with_keys
from coset.data.times import fields_of, moments
from coset.errors import InputError, unknown
from coset.kernels import parse

ROWS = 1 << 16
"""Rows that are worked on at once."""


def frame_blocks(
    file: LogFile, source: Source, schema: ClickSchema, manner: Manner, ahead: Callable[[Any], Any], offset: int
) -> Generator[Block, None, None]:
    """The blocks of a file from the row on that `offset` rows come before.

    Raises:
        InputError: the file is damaged, or a column is missing or of a type that does not suit its use.
    """
    polars = import_polars(f"{file.path}: reading {source.title}")
    data = file.data
    try:
        rows = source.rows(data)
    except OSError as error:
        raise unreadable(str(file.path), source.title, error) from None
    wanted = Wanted(_Exactly(schema.columns), start=offset, rows=ROWS, reader=source.name)

    def frames() -> Iterator[tuple[int, Any]]:
        start, blocks = offset, blocks_with_keys(data, wanted)
        while True:
            file.check_unchanged()
            try:
                block = next(blocks, None)
            except (InputError, OSError) as error:
                file.check_unchanged()
                if isinstance(error, InputError):
                    raise
                raise unreadable(str(file.path), source.title, error) from None
            if block is None:
                return
            whole = polars.DataFrame(dict(zip(schema.columns, block.columns, strict=True)))
            for at in range(0, whole.height, ROWS):
                yield start + at, whole.slice(at, ROWS)
            start += whole.height

    for start, frame in ahead(frames()):
        share = 1.0 if rows is None else (start + frame.height) / rows
        yield _block(polars, file, schema, manner, frame, start, int(share * file.size))


@dataclass(frozen=True)
class _Exactly:
    """Columns by the names of a schema."""

    names: tuple[str, ...]

    def find(self, names: Sequence[str], where: str) -> tuple[int, ...]:
        """Their positions."""
        for name in self.names:
            if name not in names:
                raise unknown(f"column (of {where})", name, names)
        return tuple(list(names).index(name) for name in self.names)


def _block(
    polars: Any, file: LogFile, schema: ClickSchema, manner: Manner, frame: Any, start: int, consumed: int
) -> Block:
    findings = Findings(schema, frame.height, manner)

    def shown(series: Any) -> Callable[[int], str]:
        return lambda row: str(series[row])

    label, missing, _ = _number(polars, file, schema, frame[schema.label])
    label[missing] = np.nan
    findings.note(
        ~np.isin(label, (0, 1)),
        lambda row: findings.label_reason("" if missing[row] else str(frame[schema.label][row])),
    )
    numeric = np.empty((len(schema.numeric), frame.height))
    for place, name in enumerate(schema.numeric):
        numeric[place], missing, states = _number(polars, file, schema, frame[name])
        states[~np.isfinite(numeric[place])] = parse.BAD
        states[np.isfinite(numeric[place]) & (np.abs(numeric[place]) > np.finfo(np.float32).max)] = parse.OVERFLOW
        if schema.integers:
            states[numeric[place] != np.floor(numeric[place])] = parse.BAD
        states[missing] = parse.GOOD
        findings.values(findings.number_reason, name, states, shown(frame[name]))
        numeric[place, missing] = np.nan
    time = None if schema.time is None else _times(file, schema, frame[schema.time], findings)
    features = {}
    for name in schema.features:
        series, lengths = frame[name], None
        if name in schema.lists:
            series, lengths = _items(polars, file, series)
        keys, states, texts = _keys(polars, file, schema, series)
        findings.values(findings.category_reason, name, states, shown(series), lengths)
        features[name] = Keys(keys, states, texts, lengths).present()
    first = start + 1
    bad = [BadRow(first + row, reason, str(frame.row(row))) for row, reason in sorted(findings.wrong.items())]
    return findings.block(
        (label == 1).astype(np.uint8), numeric, time, features, bad,
        first=first, rows=frame.height, offset=start + frame.height, consumed=consumed,
    )  # fmt: skip


def _number(polars: Any, file: LogFile, schema: ClickSchema, series: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers of a column, which are missing, and what became of each. Text is read as that of a text file."""
    kind = series.dtype
    if kind in (polars.String, polars.Categorical, polars.Enum):
        data, bounds = fields_of(series.cast(polars.String).fill_null(""), str(file.path))
        values, states = np.empty((1, len(series))), np.empty((1, len(series)), dtype=np.uint8)
        one, whole = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.uint8)
        parse.numbers(data, bounds, 0, len(series), one, whole, False, parse.marks(schema.missing), values, states)
        missing = states[0] == parse.MISSING
        values[0, states[0] == parse.BAD] = np.nan
        return values[0], missing, states[0]
    if kind == polars.Duration:
        series = series.to_physical()
    elif kind.is_temporal():
        raise InputError(
            f"{file.path}, column {series.name!r}: numbers are expected, not {kind}; leave {series.name} out of "
            "numeric, or name it as time to split by it"
        )
    elif not (kind.is_numeric() or kind == polars.Boolean):
        raise InputError(f"{file.path}, column {series.name!r}: numbers are expected, not {kind}")
    series = series.cast(polars.Float64)
    missing = (series.is_null() | series.is_nan()).fill_null(True).to_numpy()
    values = np.array(series.fill_null(0).fill_nan(0).to_numpy())
    return values, missing, np.zeros(len(values), dtype=np.uint8)


def _times(file: LogFile, schema: ClickSchema, series: Any, findings: Findings) -> Times:
    """The times of a column, whatever its type."""
    return findings.times(*moments(series, str(file.path), schema.missing), lambda row: str(series[row]))


def _items(polars: Any, file: LogFile, series: Any) -> tuple[Any, np.ndarray]:
    """All items of lists one after the other, and how many each row has."""
    where, kind = f"{file.path}, column {series.name!r}", series.dtype
    if not isinstance(kind, polars.List | polars.Array):
        way = "" if kind.is_nested() else "; name the column in categorical, or cut its texts into lists first"
        raise InputError(f"{where}: lists are expected, not {kind}{way}")
    if kind.inner.is_nested():
        raise InputError(
            f"{where}: lists of text or whole numbers are expected, not {kind}; leave it out of the schema"
        )
    lists = series.cast(polars.List(series.dtype.inner)).list.drop_nulls()
    lengths = lists.list.len().fill_null(0)
    items = lists.filter(lengths > 0).explode() if lengths.sum() else polars.Series(series.name, [], series.dtype.inner)
    return items, lengths.to_numpy().astype(np.int32)


def _keys(
    polars: Any, file: LogFile, schema: ClickSchema, series: Any
) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], list[bytes]]]:
    kind, wanted = series.dtype, schema.type_of(series.name)
    missing = series.is_null().to_numpy()
    if kind.is_integer() and wanted != "text":
        # A number as it is written in base 16 or 10: either way the number itself is the key.
        signed = series if kind != polars.UInt64 or wanted == "integer" else series.reinterpret(signed=True)
        numbers = signed.cast(polars.Int64, strict=False)
        states = missing.astype(np.uint8)
        states[numbers.is_null().to_numpy() & ~missing] = parse.OVERFLOW
        return np.array(numbers.fill_null(0).to_numpy()), states, lambda places: []
    if kind.is_nested():
        way = "name it in lists" if isinstance(kind, polars.List | polars.Array) else "leave it out of the schema"
        raise InputError(
            f"{file.path}, column {series.name!r}: categories are text or whole numbers, not {kind}; {way}"
        )
    if kind.is_float():  # as programs store whole numbers that miss some
        series = texts_of(series, str(file.path))
        missing = series.is_null().to_numpy()
    if kind.is_float() and wanted == "hex":
        numbers = series.cast(polars.Int64, strict=False)
        states = missing.astype(np.uint8)
        states[numbers.is_null().to_numpy() & ~missing] = parse.BAD
        return np.array(numbers.fill_null(0).to_numpy()), states, lambda places: []
    try:
        text = series.cast(polars.String).fill_null("")
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        raise InputError(f"{file.path}, column {series.name!r}: no text ({reason_of(error)})") from None
    data, bounds = fields_of(text, str(file.path))
    keys, states = np.empty((1, len(text)), dtype=np.int64), np.empty((1, len(text)), dtype=np.uint8)
    parse.categories(
        data, bounds, 0, len(text), np.zeros(1, dtype=np.int64), np.array([TYPES[wanted]], dtype=np.int64), False,
        parse.marks(schema.missing), keys, states,
    )  # fmt: skip

    def texts(places: np.ndarray) -> list[bytes]:
        return [plain_bytes(stripped(value.encode())) for value in text.gather(places).to_list()]

    return keys[0], states[0], texts
