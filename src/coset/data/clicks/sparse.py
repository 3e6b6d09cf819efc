"""Logs in libsvm or libffm text: their columns, and blocks of them.

`label index:value …` (libsvm) gives the values of some of many columns; `label field:feature:value …` (libffm) the
features of some fields. Omitted values are 0. A column or field with other values than 0 and 1 is a number for coset,
and all others are categories: of libsvm, all such columns of a row are one list, `features`; of libffm, a field is a
column of categories, or a list where a row has several of its features. The names of columns are their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from coset.data.clicks.block import BadRow, Block, Findings, Keys, Manner
from coset.data.clicks.forms import LIBFFM, LIBSVM
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.source import LogFile, LogRows
from coset.errors import InputError, brief
from coset.kernels import parse, sparse

FEATURES = "features"
"""The name of the list of all columns of libsvm text that are no numbers."""
_MOST_NUMBERS = 1000

_SAYS = re.compile(rb"^(?=[ \t]*[^\s#])", re.MULTILINE)  # where a line begins that says something
_NAMES = {LIBSVM: "libsvm", LIBFFM: "libffm"}


@dataclass(frozen=True)
class Words:
    """Parsed lines: a label for each row, and the row, field, feature and value of every word.

    Args:
        lines: that were read.
        begins: where each row begins.
        bad: where the first malformed word of a row begins, or -1.
    """

    lines: LogRows
    begins: np.ndarray
    labels: np.ndarray
    label_states: np.ndarray
    bad: np.ndarray
    rows: np.ndarray
    fields: np.ndarray
    features: np.ndarray
    values: np.ndarray

    def text(self, begin: int, ends: bytes) -> str:
        """The text from a place on, to the first of these characters."""
        end = next(at for at in range(begin, len(self.lines.data)) if self.lines.data[at] in ends)
        return self.lines.data[begin:end].decode("utf-8", "replace")


def words_of(file: LogFile, form: int, offset: int = 0, label: str | None = None) -> Iterator[Words]:
    """The words of a file, from an offset on; leaves out empty lines. Where lines have no label, they get `label`."""
    for lines in file.rows(None, offset):
        if label is not None:
            lines = replace(lines, data=_SAYS.sub(label.encode() + b" ", lines.data))
        count, most = lines.count, lines.data.count(b":")
        labels, states = np.empty(count), np.empty(count, dtype=np.uint8)
        begins, bad = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
        rows, fields, features = (np.empty(most, dtype=np.int64) for _ in range(3))
        values = np.empty(most)
        data = np.frombuffer(lines.data, dtype=np.uint8)
        found = sparse.tokens(data, form, labels, states, begins, bad, rows, fields, features, values)
        told = states != parse.MISSING
        numbers = np.cumsum(told) - 1
        yield Words(
            lines, begins[told], labels[told], states[told], bad[told], numbers[rows[:found]], fields[:found],
            features[:found], values[:found],
        )  # fmt: skip


def schema_of_sparse(given: ClickSchema | None, form: int, files: Sequence[LogFile]) -> ClickSchema:
    """The schema of logs in this form: the given one, with whole numbers as categories; or one of all columns, for
    which the files are read once.

    Raises:
        InputError: it names columns that such files cannot have, or they hold weights.
    """
    if given is None:
        return _inferred(form, files)
    name = _NAMES[form]
    if form == LIBSVM and (given.categorical or set(given.lists) - {FEATURES}):
        raise InputError(
            f"schema: of {name} text, numeric names indices, and lists is [{FEATURES!r}], all indices that are no "
            "numbers"
        )
    if given.time is not None:
        raise InputError(f"schema: {name} text has no column of times; leave time out")
    for column in (*given.numeric, *given.categorical, *(given.lists if form == LIBFFM else ())):
        if not re.fullmatch("0|[1-9][0-9]{0,17}", column):
            raise InputError(f"schema: columns of {name} text are called by their numbers, not {brief(column)}")
    return replace(given, category_type="integer", types={})


def _inferred(form: int, files: Sequence[LogFile]) -> ClickSchema:
    weighted: set[int] = set()
    plain = np.zeros(0, dtype=np.int64)
    several: set[int] = set()
    feature: dict[int, int] = {}
    mixed: set[int] = set()  # fields of several features
    for file in files:
        for words in words_of(file, form):
            there = words.values != 0
            other = there & (words.values != 1)
            weighted |= set(np.unique(words.fields[other]).tolist())
            plain = np.union1d(plain, words.fields[there & ~other])
            if form == LIBSVM:
                continue
            for field in np.unique(words.fields[there]).tolist():
                of = there & (words.fields == field)
                rows, features = words.rows[of], words.features[of]
                if (np.diff(rows) == 0).any():  # rows come in their order
                    several.add(field)
                if (features != feature.setdefault(field, int(features[0]))).any():
                    mixed.add(field)
    if weights := sorted(weighted & mixed):
        raise InputError(
            f"{files[0].path}: the field {weights[0]} has features with other values than 1, which are weights; coset "
            "takes such values for numbers where a field has a single feature: say which fields to read in a --schema"
        )
    if len(weighted) > _MOST_NUMBERS:
        raise InputError(
            f"{files[0].path}: {len(weighted):,} columns have other values than 1, which are weights; coset has no "
            "weights of categories: say which columns are numbers in a --schema"
        )
    numbers = tuple(map(str, sorted(weighted)))
    fields = np.setdiff1d(plain, np.array(sorted(weighted), dtype=np.int64)).tolist()
    if form == LIBSVM:
        return ClickSchema("label", numbers, lists=(FEATURES,) if fields else (), category_type="integer")
    return ClickSchema(
        "label",
        numbers,
        tuple(str(field) for field in fields if field not in several),
        tuple(str(field) for field in fields if field in several),
        category_type="integer",
    )


def sparse_blocks(
    file: LogFile, schema: ClickSchema, form: int, manner: Manner, offset: int, row: int, label: str | None = None
) -> Generator[Block, None, None]:
    """The blocks of a file from an offset on, whose first row there is that of the number `row`; where lines have no
    label, they get `label`."""
    for words in words_of(file, form, offset, label):
        block = _block(words, schema, form, manner, row)
        row += block.rows
        yield block


def _block(words: Words, schema: ClickSchema, form: int, manner: Manner, first: int) -> Block:
    rows = len(words.labels)
    findings = Findings(schema, rows, manner)
    form_text = "index:value" if form == LIBSVM else "field:feature:value"
    ends = b" \t\r\n#"
    findings.note(
        (words.label_states != parse.GOOD) | ~np.isin(words.labels, (-1, 0, 1)),
        lambda row: f"label is {brief(words.text(int(words.begins[row]), ends))}, expected 0 or 1, or -1 or 1",
    )
    low = (words.label_states == parse.GOOD) & np.isin(words.labels, (-1, 0))
    if manner.negative is None and low.any():
        manner.negative = bool(words.labels[low.argmax()] == -1)
    usual, other = (-1, 0) if manner.negative else (0, -1)
    findings.note(
        low & (words.labels == other),
        lambda row: f"label is {other} where others are {usual}; write all labels of a log alike",
    )

    def said(row: int) -> str:
        word = words.text(int(words.bad[row]), ends)
        what = (
            ", but names a group of a ranking, which coset does not read: remove it from all lines"
            if word.startswith("qid:")
            else ""
        )
        return f"{brief(word)} is no {form_text}{what}"

    findings.note(words.bad >= 0, said)
    numeric = np.zeros((len(schema.numeric), rows))
    for place, name in enumerate(schema.numeric):
        of = words.fields == int(name)
        numeric[place, words.rows[of]] = words.values[of]
        _once(findings, words.rows[of], f"{name} occurs twice")
    present = words.values != 0
    features = {}
    for name in schema.features:
        if form == LIBSVM:
            of = present & ~np.isin(words.fields, np.array(schema.numeric, dtype=np.int64))
        else:
            of = present & (words.fields == int(name))
        where, values, found = words.rows[of], words.values[of], words.features[of]
        weighted = np.zeros(rows, dtype=np.bool_)
        weighted[where[values != 1]] = True
        findings.note(weighted, lambda row: f"a feature of {name!r} has another value than 1: {_WEIGHTS}")  # noqa: B023
        if name in schema.lists:
            lengths = np.bincount(where, minlength=rows).astype(np.int32)
            features[name] = Keys(found, np.zeros(len(found), dtype=np.uint8), lambda places: [], lengths)
            continue
        _once(findings, where, f"field {name} has several features; name it in lists")
        keys, missing = np.zeros(rows, dtype=np.int64), np.ones(rows, dtype=np.uint8)
        keys[where], missing[where] = found, parse.GOOD
        features[name] = Keys(keys, missing, lambda places: [])
    bad = [
        BadRow(first + row, reason, words.text(int(words.begins[row]), b"\n"))
        for row, reason in sorted(findings.wrong.items())
    ]
    return findings.block(
        (words.labels == 1).astype(np.uint8), numeric, None, features, bad,
        first=first, rows=rows, offset=words.lines.offset, consumed=words.lines.consumed,
    )  # fmt: skip


_WEIGHTS = "coset has no weights of categories; name a column of numbers in numeric"


def _once(findings: Findings, where: np.ndarray, reason: str) -> None:
    """Record the rows that occur several times here."""
    again = np.zeros(findings.rows, dtype=np.bool_)
    again[where[1:][np.diff(where) == 0]] = True
    findings.note(again, lambda row: reason)
