"""Logs that are not what they should be: one sentence that says where, and nothing written before is lost."""

from __future__ import annotations

import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

from coset.data.clicks import ClickData, read
from coset.data.clicks.logs import log_files
from coset.data.clicks.prepare import prepare
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.settings import PrepareSettings, hashing_of
from coset.data.clicks.source import LogFile
from coset.data.shards import Shard
from coset.errors import InputError

Rows = Callable[..., list[list[str]]]
Text = Callable[[list[list[str]]], bytes]
SCHEMA = ClickSchema("y", ("n",), ("c", "k"), ("l",), types={"k": "integer"})
LINE = "1,2.5,a,7,x|y\n"


@pytest.fixture
def rows(criteo_rows: Rows) -> list[list[str]]:
    return criteo_rows(60)


@pytest.mark.parametrize(
    ("column", "field", "words"),
    [
        (0, "2", r"row 42: label is '2', expected 0 or 1"),
        (0, "", r"row 42: label is missing"),
        (0, "x", r"row 42: label is 'x', expected 0 or 1"),
        (3, "1.5", r"row 42: I3 is '1.5', expected a whole number"),
        (3, "nan", r"row 42: I3 is 'nan', expected a whole number"),
        (3, "9223372036854775808", r"row 42: I3 is '9223372036854775808', which is beyond 64 bits"),
        (3, "-99999999999999999999", r"row 42: I3 is '-99999999999999999999', which is beyond 64 bits"),
        (16, "68fg1e64", r"row 42: C3 is '68fg1e64', expected a number in base 16"),
        (16, "-1", r"row 42: C3 is '-1', expected a number in base 16"),
        (16, "z" * 90, r"row 42: C3 is 'z{40}…', expected"),
        (16, "a\tb", r"row 42: 41 columns, expected 40 \(label, I1 … C26\)"),
    ],
)
def test_bad_fields_of_criteo(
    tmp_path: Path, rows: list[list[str]], criteo_text: Text, column: int, field: str, words: str
) -> None:
    rows[41][column] = field
    (tmp_path / "log.tsv").write_bytes(criteo_text(rows))
    with pytest.raises(InputError, match=rf"log\.tsv, {words}.*--skip-bad"):
        prepare(tmp_path / "log.tsv", tmp_path / "out", "criteo-kaggle")
    assert not (tmp_path / "out").exists()  # so it can be tried again
    found = prepare(tmp_path / "log.tsv", tmp_path / "out", "criteo-kaggle", skip_bad=1)
    assert (found["rows"], found["skipped"]) == (59, 1)
    (told,) = map(json.loads, (tmp_path / "out" / "skipped.jsonl").read_text().splitlines())
    assert (told["file"], told["row"], told["content"]) == ("log.tsv", 42, "\t".join(rows[41]))


def test_too_few_columns_and_the_largest_numbers(tmp_path: Path, rows: list[list[str]], criteo_text: Text) -> None:
    rows[0][2] = "-9223372036854775808"
    rows[0][3] = "9223372036854775807"
    rows[0][20] = "f" * 16
    rows[9] = rows[9][:-1]
    (tmp_path / "log.tsv").write_bytes(criteo_text(rows))
    with pytest.raises(InputError, match="row 10: 39 columns, expected 40"):
        prepare(tmp_path / "log.tsv", tmp_path / "out")
    assert prepare(tmp_path / "log.tsv", tmp_path / "out", skip_bad=1)["rows"] == 59


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1,1e39,a,7,x\n", "n is '1e39', which is beyond the range of float32"),
        ("1,inf,a,7,x\n", "n is 'inf', expected a number"),
        ("1,1e,a,7,x\n", "n is '1e', expected a number"),
        ("1,.,a,7,x\n", "n is '.', expected a number"),
        ("1,2020-01-31T10:00,a,7,x\n", "n is '2020-01-31T10:00', expected a number; it is a date: leave n out"),
        ("1,1,a,seven,x\n", "k is 'seven', expected a whole number"),
        ("1,1,a,18446744073709551616,x\n", "k is '18446744073709551616', which is beyond 64 bits"),
        ("1,1,a,7\n", r"4 columns, expected 5 \(y, n, c, k, l\)"),
        ("1,1,a,7,x,\n", "6 columns, expected 5"),
        ('1,1,"a,7,x\n', "the quotes do not match"),
        ("1,1,\udcff,7,x\n", "not UTF-8"),
        ("0.5,1,a,7,x\n", "y is '0.5', expected 0 or 1"),
        ("1e400,1,a,7,x\n", "y is '1e400', expected 0 or 1"),
    ],
)
def test_bad_fields_of_a_csv(tmp_path: Path, line: str, words: str) -> None:
    text = "y,n,c,k,l\n" + LINE * 3 + line + LINE
    (tmp_path / "log.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=rf"log\.csv, row 4: {words}"):
        prepare(tmp_path / "log.csv", tmp_path / "out", SCHEMA)
    assert prepare(tmp_path / "log.csv", tmp_path / "out", SCHEMA, skip_bad=1)["rows"] == 4


def test_bad_items_of_lists(tmp_path: Path) -> None:
    schema = ClickSchema("y", lists=("l",), category_type="hex")
    (tmp_path / "log.csv").write_text("y,l\n1,a|b\n0,\n1,c|x1|d\n1,e\n")
    with pytest.raises(InputError, match="row 3: l is 'x1', expected a number in base 16"):
        prepare(tmp_path / "log.csv", tmp_path / "out", schema, PrepareSettings(validation=0.0))
    prepare(tmp_path / "log.csv", tmp_path / "out", schema, PrepareSettings(validation=0.0), skip_bad=1)
    (batch,) = ClickData.open(tmp_path / "out").part("training").batches(9)
    assert batch.bags["l"][1].tolist() == [0, 2, 2]
    assert len(batch.bags["l"][0]) == 3


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"y": [1, 0, 2]}, "row 3: y is '2', expected 0 or 1"),
        ({"y": [1, None, 1]}, "row 2: y is missing"),
        ({"y": ["1", "0", "x"]}, "row 3: y is 'x', expected 0 or 1"),
        ({"n": ["1", "1e39", "x"]}, "row 2: n is '1e39', which is beyond the range of float32"),
        ({"n": [[1.0], [], []]}, "column 'n': numbers are expected, not List"),
        ({"n": [1.0, float("inf"), 2.0]}, "row 2: n is 'inf', expected a number"),
        ({"n": [1.0, 1e300, 2.0]}, "row 2: n is '1e\\+300', which is beyond the range of float32"),
        (
            {"n": pl.Series([1, 2, 3]).cast(pl.Datetime("us"))},
            "column 'n': numbers are expected, not Datetime.*; leave n out of numeric, or name it as time",
        ),
        ({"k": ["1", "x", "2"]}, "row 2: k is 'x', expected a whole number"),
        ({"k": [1.0, 2.5, 3.0]}, "row 2: k is '2.5', expected a whole number"),
        ({"c": [["a"], [], []]}, "column 'c': categories are text or whole numbers, not List.*name it in lists"),
        ({"k": pl.Series([1, 2, 2**63], dtype=pl.UInt64)}, "row 3: k is '9223372036854775808', which is beyond 64"),
        ({"l": ["a", "b", "c"]}, "column 'l': lists are expected, not String; name the column in categorical, or cut"),
        ({"l": [[["a"]], [], []]}, "column 'l': lists of text or whole numbers are expected, not List.*leave it out"),
        ({"l": [{"a": 1}] * 3}, r"column 'l': lists are expected, not Struct\(\{'a': Int64\}\)"),
        ({"c": [{"a": 1}] * 3}, "column 'c': categories are text or whole numbers, not Struct.*leave it out"),
    ],
)
def test_bad_parquet(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    good = {"y": [1, 0, 1], "n": [1.0, 2.0, 3.0], "c": ["a", "b", "c"], "k": [1, 2, 3], "l": [["a"], [], ["b", "c"]]}
    pl.DataFrame(good | columns).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(InputError, match=words):
        prepare(tmp_path / "log.parquet", tmp_path / "out", SCHEMA)


def test_damaged_parquet(tmp_path: Path) -> None:
    (tmp_path / "log.parquet").write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(InputError, match="not readable as Parquet"):
        prepare(tmp_path / "log.parquet", tmp_path / "out", SCHEMA)
    pl.DataFrame({"y": [1]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(InputError, match="unknown column"):
        prepare(tmp_path / "log.parquet", tmp_path / "out", SCHEMA)


def test_panics_and_bytes_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"y": [1, 0], "n": [1.0, 2.0], "c": ["a", "b"], "k": [1, 2], "l": [["a"], []]}
    pl.DataFrame(good | {"c": [b"\xff", b"b"]}).write_parquet(tmp_path / "bytes.parquet")
    with pytest.raises(InputError, match=r"bytes\.parquet, column 'c': no text"):
        prepare(tmp_path / "bytes.parquet", tmp_path / "out", SCHEMA)
    pl.DataFrame(good).write_parquet(tmp_path / "log.parquet")

    def panics(*_: Any, **__: Any) -> Any:
        raise pl.exceptions.PanicException("index out of bounds\nand a long trace")

    monkeypatch.setattr(pl, "scan_parquet", panics)
    with pytest.raises(InputError, match=r"not readable as Parquet \(index out of bounds\)$"):
        prepare(tmp_path / "log.parquet", tmp_path / "other", SCHEMA)


def test_a_parquet_file_with_the_name_of_a_pattern_is_that_file_alone(tmp_path: Path) -> None:
    good = {"y": [1, 0], "n": [1.0, 2.0], "c": ["a", "b"], "k": [1, 2], "l": [["a"], []]}
    for name in ("day*.parquet", "day1.parquet", "day[1].parquet"):
        pl.DataFrame(good).write_parquet(tmp_path / name)
        assert prepare(tmp_path / name, tmp_path / f"out {name}", SCHEMA)["rows"] == 2


def test_so_many_bad_rows_and_no_more(
    tmp_path: Path, criteo_rows: Rows, criteo_text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the row that was too much is kept; with more patience the rest is."""
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 4000)
    rows = criteo_rows(300)
    for bad in (100, 101, 200):
        rows[bad][0] = "7"
    (tmp_path / "log.tsv").write_bytes(criteo_text(rows))
    with pytest.raises(InputError, match=r"row 201: label is '7'.* \(the 2 that --skip-bad tolerates came"):
        prepare(tmp_path / "log.tsv", tmp_path / "out", skip_bad=2)
    kept = json.loads((tmp_path / "out" / "work" / "progress.json").read_text())
    assert 150 < kept["rows"] < 200
    with pytest.raises(InputError, match="--resume"):
        prepare(tmp_path / "log.tsv", tmp_path / "out", skip_bad=3)
    found = prepare(tmp_path / "log.tsv", tmp_path / "out", skip_bad=3, resume=True)
    assert (found["rows"], found["skipped"]) == (297, 3)
    told = [json.loads(line) for line in (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()]
    assert [each["row"] for each in told] == [101, 102, 201]
    with pytest.raises(InputError, match="at least 0"):
        prepare(tmp_path / "log.tsv", tmp_path / "other", skip_bad=-1)


def test_nothing_good_in_a_file(tmp_path: Path, rows: list[list[str]], criteo_text: Text) -> None:
    for row in rows:
        row[0] = "x"
    (tmp_path / "log.tsv").write_bytes(criteo_text(rows))
    with pytest.raises(InputError, match=r"no rows that can be used \(60 were left out\)"):
        prepare(tmp_path / "log.tsv", tmp_path / "out", skip_bad=100)
    (tmp_path / "head.csv").write_text("y,n,c,k,l\n")
    with pytest.raises(InputError, match="no rows that can be used"):
        prepare(tmp_path / "head.csv", tmp_path / "other", SCHEMA)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("log.tsv", b"", "the file is empty"),
        ("log.tsv", b"\n\n", "the file is empty"),
        ("log.bz2", b"BZh91AY", "cut off or damaged"),
        ("log.xz", lzma.compress(b"a\tb\n" * 999)[:-20], "cut off or damaged"),
        ("log.gz", gzip.compress(b"PAR1abc", mtime=0), "so a schema must say what the columns are"),
        (
            "log.tar.gz",
            gzip.compress(bytes(257) + b"ustar" + bytes(999), mtime=0),
            "a tar archive, which coset does not read",
        ),
        ("log.csv", "y,a\n1,2\n".encode("utf-16")[:-1], "begins as UTF-16 text and continues as something else"),
        ("log.jsonl", b'{"y": 1}\n{"y": 0}\n', "JSON, an object a line, which coset does not read"),
        ("log.zip", b"PK\x03\x04abc", "not readable as a zip archive"),
        ("log.orc", b"ORC123", "an ORC file, which coset does not read"),
        ("log.gz", gzip.compress(b"a\tb\n" * 999, mtime=0)[:-20], "cut off or damaged"),
        ("log.gz", b"\x1f\x8b\x08broken", "cut off or damaged"),
        ("log.zst", zstandard.ZstdCompressor().compress(b"a\tb\n" * 999)[:-4], "cut off or damaged"),
        ("log.zst", b"\x28\xb5\x2f\xfdbroken", "cut off or damaged"),
        ("log.csv", b"a,b\n1,2\n", "not in Criteo's layout .* --schema"),
    ],
)
def test_files_that_are_no_logs(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        prepare(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("y,n,C,k,l\n" + LINE)
    with pytest.raises(InputError, match=r"no column 'c'; its first line says 'y,n,C,k,l', between ','"):
        prepare(tmp_path / "log.csv", tmp_path / "out", SCHEMA)
    (tmp_path / "log.csv").write_text("y,n,c,k,l,c\n" + LINE)
    with pytest.raises(InputError, match="two columns are called 'c'"):
        prepare(tmp_path / "log.csv", tmp_path / "out", SCHEMA)


def test_logs_that_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such file"):
        prepare(tmp_path / "gone.tsv", tmp_path / "out")
    with pytest.raises(InputError, match="holds no file that ends in"):
        prepare(tmp_path, tmp_path / "out")
    monkeypatch.setenv("COSET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COSET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"set COSET_DATA .* or give the path"):
        log_files("criteo-kaggle")
    with pytest.raises(InputError, match="nothing to prepare"):
        log_files("synthetic-clicks")


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 1000)
    monkeypatch.setattr("coset.data.sources.text.LONGEST", 1 << 20)
    (tmp_path / "log.tsv").write_bytes(b"x" * (2 << 20))
    with pytest.raises(InputError, match="a row of more than 1 MiB, from byte 0 on"):
        prepare(tmp_path / "log.tsv", tmp_path / "out", "criteo-kaggle")


@pytest.mark.parametrize(("change", "verb"), [(-1000, "shrank"), (+1000, "grew")])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, criteo_rows: Rows, criteo_text: Text, monkeypatch: pytest.MonkeyPatch, change: int, verb: str
) -> None:
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 4000)
    path = tmp_path / "log.tsv"
    path.write_bytes(criteo_text(criteo_rows(300)))
    add = read.Reading._add
    done: list[int] = []

    def meddle(*arguments: Any) -> None:
        add(*arguments)
        done.append(1)
        if len(done) == 3:
            size = path.stat().st_size + change
            with path.open("rb+") as file:
                file.truncate(size)

    monkeypatch.setattr(read.Reading, "_add", meddle)
    with pytest.raises(InputError, match=rf"log\.tsv: the file {verb} while it was read"):
        prepare(path, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "work" / "progress.json").read_text())["rows"] > 0
    with pytest.raises(InputError, match="the data differ"):
        prepare(path, tmp_path / "out", resume=True)


def test_a_file_that_grew_and_was_cut_back_is_gone_on_with(
    tmp_path: Path, criteo_rows: Rows, criteo_text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was added while it was read has left no trace."""
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 4000)
    path, text = tmp_path / "log.tsv", criteo_text(criteo_rows(300))
    path.write_bytes(text)
    status = path.stat()
    add = read.Reading._add

    def meddle(*arguments: Any) -> None:
        add(*arguments)
        with path.open("ab") as file:  # it only grows: who reads ahead must not find it empty
            file.write(criteo_text(criteo_rows(50, 1)))

    with monkeypatch.context() as patched:
        patched.setattr(read.Reading, "_add", meddle)
        with pytest.raises(InputError, match="grew while it was read"):
            prepare(path, tmp_path / "out")
    path.write_bytes(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert prepare(path, tmp_path / "out", resume=True)["rows"] == 300


def test_bytes_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\n" * 10)
    file = LogFile(Shard(path, path.name))
    with pytest.raises(InputError, match="8 of 20 bytes could be read"):
        file.check_unchanged(8)


def test_settings_that_make_no_sense() -> None:
    for given, words in (
        ({"validation": 1.0}, "less than 1"),
        ({"seed": -1}, "at least 0"),
        ({"min_frequency": 0}, "at least 1"),
        ({"max_size": 0}, "at least 1"),
        ({"unseen": "error", "min_frequency": 2}, "unseen='shared'"),
        ({"unseen": "error", "hashing": {"*": 5}}, "none is unseen"),
        ({"hashing": {"a": 0}}, "at least 1"),
        ({"split": "latest"}, "one of 'random', 'ordered', 'time'"),
    ):
        with pytest.raises(InputError, match=words):
            PrepareSettings(**given)  # type: ignore[arg-type]
    for word in ("C3=", "many", "C3=-5", "="):
        with pytest.raises(InputError, match="FEATURE=BUCKETS"):
            hashing_of([word])
    assert hashing_of([]) is None


def test_a_split_by_time_needs_times(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("y,n,c,k,l\n" + LINE * 9)
    with pytest.raises(InputError, match="needs a column of times"):
        prepare(tmp_path / "log.csv", tmp_path / "out", SCHEMA, PrepareSettings("time"))
    assert not (tmp_path / "out").exists()
    timed = ClickSchema("y", categorical=("c",), time="n")
    (tmp_path / "log.csv").write_text("y,n,c\n1,5,a\n1,,b\n")
    with pytest.raises(InputError, match="row 2: n is missing"):
        prepare(tmp_path / "log.csv", tmp_path / "out", timed, PrepareSettings("time"))


def test_equal_times_cannot_be_split_by_time(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("y,c,t\n" + "1,a,7\n0,b,7\n" * 9)
    schema = ClickSchema("y", categorical=("c",), time="t")
    with pytest.raises(
        InputError, match=r"all rows are of one time, so a split by time leaves none .*; split ordered or"
    ):
        prepare(tmp_path / "log.csv", tmp_path / "out", schema, PrepareSettings("time"))
    prepare(tmp_path / "log.csv", tmp_path / "out", schema, PrepareSettings("ordered"), resume=True)
    (tmp_path / "log.csv").write_text("y,c,t\n" + "1,a,7\n0,b,7\n" * 9 + "0,b,8\n")
    with pytest.raises(
        InputError, match=r"no training rows, since those of one time .*; take a smaller validation share"
    ):
        prepare(tmp_path / "log.csv", tmp_path / "other", schema, PrepareSettings("time"))


def test_a_panic_of_polars_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Rust writes a trace of its own to stderr, past Python."""
    names = pl.Series(["a", "b", "a", "c"]).cast(pl.Categorical)
    pl.DataFrame({"y": [0, 1, 0, 1], "c": names}).write_parquet(tmp_path / "a.parquet", compression="uncompressed")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    for place in (41, 43, 80):
        changed = data.copy()
        changed[place] ^= 0x40
        (tmp_path / "a.parquet").write_bytes(changed)
        with pytest.raises(InputError, match=r"a\.parquet: not readable as Parquet"):
            prepare(tmp_path / "a.parquet", tmp_path / f"{place}", ClickSchema("y", categorical=("c",)))
    assert capfd.readouterr().err == ""
