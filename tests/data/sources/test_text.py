"""One text, read as ratings and as a click log: the same values, however it is written, packed and cut into chunks."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coset.data.clicks import ClickData, ClickSchema, PrepareSettings
from coset.data.clicks.prepare import prepare
from coset.data.columns import Columns
from coset.data.files import DataFile
from coset.data.finding import find
from coset.data.rows import read_rows
from coset.data.sources import Wanted, text
from coset.data.sources.text import Dialect, Rows, fields_in, head_of
from coset.errors import InputError

Values = list[tuple[str, str, int]]
PLAIN: Values = [("a", "x", 1), ("b", "y", 0), ("a", "z", 1)]
ODD: Values = [("a, b", "x;y|z", 1), ('say "a"', "two\nlines,\n\nor four", 0)]


def of(values: Values, separator: str = ",", end: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    """Values as the text that Python's csv writes."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([("u", "i", "y"), *values])
    return file.getvalue().encode()


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("log.csv", data)
    return file.getvalue()


def parquet(values: Values) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(values, schema=["u", "i", "y"], orient="row").write_parquet(file)
    return file.getvalue()


SAME: dict[str, tuple[bytes, Values]] = {
    "plain": (of(PLAIN), PLAIN),
    "mark": (b"\xef\xbb\xbf" + of(PLAIN), PLAIN),
    "separator said": (b"sep=;\r\n" + of(ODD, ";", "\r\n"), ODD),
    "separator and mark": (b'\xef\xbb\xbf"sep=|"\r' + of(PLAIN, "|", "\r"), PLAIN),
    "carriage returns": (of(PLAIN, end="\r"), PLAIN),
    "both": (of(ODD, end="\r\n"), ODD),
    "every value quoted": (of(ODD, quoting=csv.QUOTE_ALL), ODD),
    "tabs": (of(PLAIN, "\t"), PLAIN),
    "tabs and quotes": (of([*ODD, ("t\tz", "u", 1)], "\t", quoting=csv.QUOTE_ALL), [*ODD, ("t\tz", "u", 1)]),
    "blank lines": (b"\n\r\n" + of(PLAIN).replace(b"\n", b"\n\n") + b"\r\n", PLAIN),
    "no last line feed": (of(ODD).rstrip(), ODD),
    "a quote within": (b'u,i,y\n5" disk,x,1\n"a\nb",y"z",0\n', [('5" disk', "x", 1), ("a\nb", 'y"z"', 0)]),
    "a header of two lines": (b'u,i,"the\nlabel",y\na,x,,1\n', [("a", "x", 1)]),
    "UTF-16": (of(ODD).decode().encode("utf-16"), ODD),
    "gzip": (gzip.compress(of(ODD)), ODD),
    "zstd": (zstandard.ZstdCompressor().compress(b"sep=;\n" + of(ODD, ";")), ODD),
    "zip": (zipped(of(ODD, "\t", quoting=csv.QUOTE_ALL)), ODD),
    "zip of gzip": (zipped(gzip.compress(of(PLAIN, end="\r"))), PLAIN),
    "gzip of zip": (gzip.compress(zipped(of(PLAIN))), PLAIN),
    "zip of Parquet": (zipped(parquet(ODD)), ODD),
}


def as_ratings(path: Path) -> Values:
    rows = read_rows(find(path).files, Wanted(Columns("u", "i", "y")))
    return list(zip(rows.users.tolist(), rows.items.tolist(), map(int, rows.ratings), strict=True))


def as_clicks(path: Path, schema: ClickSchema, skip_bad: int = 0) -> Values:
    prepare(path, path.parent / "out", schema, PrepareSettings("ordered", 0.0), skip_bad=skip_bad)
    data = ClickData.open(path.parent / "out")
    part = data.part("training")
    users, items = (
        [data.vocabulary(name).texts()[id_] for id_ in part.column(name).tolist()] for name in schema.categorical
    )
    return list(zip(users, items, part.column("label").tolist(), strict=True))


@pytest.mark.parametrize("name", SAME)
def test_ratings_and_clicks_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    data, values = SAME[name]
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(text, "CHUNK", 12)  # so that most rows go on in another chunk
    path = tmp_path / "log.txt"
    path.write_bytes(data)
    assert as_ratings(path) == values
    separator = "\t" if name.startswith("tab") or name == "zip" else ","
    assert as_clicks(path, ClickSchema("y", categorical=("u", "i"), separator=separator)) == values


def test_a_quote_that_is_not_closed_spoils_its_line_alone(tmp_path: Path) -> None:
    """What comes later is whole, in however many lines; ratings say which line it is."""
    data = b'u,i,y\na,"x\ny",1\nb,"z,0\nc,"p""\nq" ,1\nd,r,0\ne,"s,1\n'
    (tmp_path / "log.csv").write_bytes(data)
    schema = ClickSchema("y", categorical=("u", "i"))
    with pytest.raises(InputError, match=r"log\.csv, row 2: the quotes do not match"):
        prepare(tmp_path / "log.csv", tmp_path / "no", schema)
    assert as_clicks(tmp_path / "log.csv", schema, 2) == [("a", "x\ny", 1), ("c", 'p"\nq', 1), ("d", "r", 0)]
    told = (tmp_path / "out" / "skipped.jsonl").read_text()
    assert [part in told for part in (r'b,\"z,0"', r'e,\"s,1"')] == [True, True]
    with pytest.raises(InputError, match=r"log\.csv, line 4: the quotes do not match"):
        as_ratings(tmp_path / "log.csv")


def test_all_of_a_bad_row_of_several_lines_is_kept(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b'u,i,y\na,"x\n\ny",2\n\na,b,1\n')
    assert as_clicks(tmp_path / "log.csv", ClickSchema("y", categorical=("u", "i")), 1) == [("a", "b", 1)]
    assert r'"content": "a,\"x\n\ny\",2"' in (tmp_path / "out" / "skipped.jsonl").read_text()


def test_a_schema_has_the_last_word_on_the_separator(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b"sep=,\nu;i;y\na;x;1\n")
    assert as_clicks(tmp_path / "log.csv", ClickSchema("y", categorical=("u", "i"), separator=";")) == [("a", "x", 1)]
    (tmp_path / "log.csv").write_bytes(b"sep=\xe9\nu,i,y\n")
    with pytest.raises(InputError, match="one ASCII character"):
        prepare(tmp_path / "log.csv", tmp_path / "no", ClickSchema("y", categorical=("u", "i")))


def chunks(data: bytes, dialect: Dialect, offset: int = 0) -> Iterator[Rows]:
    with DataFile("f", lambda: io.BytesIO(data)).open() as stream:
        head = head_of(stream)
        stream.skip(offset or head.offset)
        yield from text.rows(stream, "f", head, dialect, offset or head.offset)


def fields(found: Iterator[Rows], dialect: Dialect) -> list[tuple[int, list[bytes]]]:
    """How many fields rows have, and the first two."""
    every = []
    for rows in found:
        bounds, counts = fields_in(rows, dialect, 2)
        for count, (begin, middle, end) in zip(counts.tolist(), bounds.tolist(), strict=True):
            every.append((count, [rows.data[begin + 1 : middle], rows.data[middle + 1 : end]]))
    return [each for each in every if each[0]]


def test_chunks_behind_a_quote_that_is_not_closed_are_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CHUNK", 20)
    monkeypatch.setattr(text, "LONGEST", 200)
    pieces = list(chunks(b'a,b\n1,"x\n' + b"2,y\n" * 100, Dialect(",", True)))
    assert sum(rows.count for rows in pieces) == 102
    assert max(len(rows.data) for rows in pieces) <= 24


@example(drawn=";\r  \r;;;;;;;", size=1, longest=9)  # a row as long as it may be, behind a blank line
@settings(max_examples=2000 if os.environ.get("COSET_EVERY_EXAMPLE") else 200, deadline=None)
@given(st.text('"",;\n\n\r a', max_size=30), st.integers(1, 12), st.sampled_from((1 << 26, 9)))
def test_chunks_and_places_to_go_on_do_not_matter(drawn: str, size: int, longest: int) -> None:
    data, dialect = drawn.encode(), Dialect(",", True)
    with patch.object(text, "LONGEST", longest):
        try:
            whole = fields(chunks(data, dialect), dialect)
        except InputError:
            return
        with patch.object(text, "CHUNK", size):
            try:
                pieces = list(chunks(data, dialect))
            except InputError:  # without a line feed in so many bytes
                return
            assert fields(iter(pieces), dialect) == whole
            for at in range(len(pieces)):
                rest = chunks(data, dialect, pieces[at].offset)
                assert fields(rest, dialect) == fields(iter(pieces[at + 1 :]), dialect)
