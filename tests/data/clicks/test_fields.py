"""What fields are worth, however they are written: categories, missing values and times."""

from __future__ import annotations

import csv
import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from coset.data.clicks import ClickData, ClickSchema, PrepareSettings
from coset.data.clicks.prepare import prepare
from coset.data.ids import plain
from coset.data.loading import load_ratings
from coset.errors import InputError
from coset.kernels import parse
from coset.kernels.instants import DATE, STEPS, instants

ALL = PrepareSettings("ordered", 0.0)
Coset = Any


def ids(folder: Path, name: str = "c", part: str = "training") -> list[int]:
    return ClickData.open(folder).part(part).column(name).tolist()


def texts(folder: Path, name: str = "c") -> list[str]:
    return ClickData.open(folder).vocabulary(name).texts()


WRITTEN = [
    "7", "7.0", "7.", "-7.00", "-0.0", "0", "00.0", "07.0", "1e+05", "1.50e+01", "1.55e+01", "1e+16", "1e5", "1.e+05",
    "0e+05", "1e+00", ".0", "-", "a.0", "1.2.0", "10", "e+05", "5.5", "9.007199254740992e+15", "9.007199254740993e+15",
    "1.23e+99", "1.000e+03", "12.0e+01", "18446744073709551615", "18446744073709551615.0", "-1.20e+01", "+7.0",
    "-9223372036854775808.0", "-9223372036854775809.0", "9223372036854775807.0",
]  # fmt: skip


def keys(words: list[str], kind: int) -> tuple[list[int], list[int]]:
    ends = np.cumsum([0, *(len(word) for word in words)])
    bounds = np.stack([ends[:-1] - 1, ends[1:]], 1).astype(np.int32)
    found, states = np.empty((1, len(words)), np.int64), np.empty((1, len(words)), np.uint8)
    first, types = np.zeros(1, dtype=np.int64), np.array([kind])
    data = np.frombuffer("".join(words).encode(), np.uint8)
    parse.categories(data, bounds, 0, len(words), first, types, False, parse.marks(()), found, states)
    return found[0].tolist(), states[0].tolist()


def test_kernels_have_the_rule_of_ids() -> None:
    """A category has the key of its plain form, as text and, where it is one, as a whole number."""
    draw = np.random.default_rng(0)
    more = ["".join(draw.choice(list("0123456789.e+-"), draw.integers(1, 9))) for _ in range(2000)]
    floats = [f"{draw.choice([-1, 1]) * float(draw.integers(0, 10 ** draw.integers(1, 18))):{f}}" for f in "efg" * 300]
    words = [*WRITTEN, *more, *floats]
    plains = [plain(word) for word in words]
    assert sum(a != b for a, b in zip(words, plains, strict=True)) > 100
    assert keys(words, parse.TEXT) == keys(plains, parse.TEXT)
    found, states = keys(words, parse.INTEGER)
    for word, key, state in zip(plains, found, states, strict=True):
        number = int(word) if re.fullmatch(r"[+-]?\d+", word) else None
        fits = number is not None and -(2**63) <= number < 2**63
        assert state == (parse.GOOD if fits else parse.BAD if number is None else parse.OVERFLOW), word
        assert not fits or key == number


def test_one_category_however_it_is_written(tmp_path: Path) -> None:
    """In a CSV, in Parquet of any type, and as ids of ratings."""
    values = ["7", "7.0", "8", "", "7", "8.0", "18446744073709551615"]
    (tmp_path / "a.csv").write_text("y,c\n" + "".join(f"{k % 2},{value}\n" for k, value in enumerate(values)))
    frame = {"y": [k % 2 for k in range(7)]}
    pl.DataFrame({**frame, "c": [value or None for value in values]}).write_parquet(tmp_path / "b.parquet")
    whole = pl.Series([7, 7, 8, None, 7, 8, 2**64 - 1], dtype=pl.UInt64)
    pl.DataFrame({**frame, "c": whole}).write_parquet(tmp_path / "c.parquet")
    for name in ("a.csv", "b.parquet", "c.parquet"):
        prepare(tmp_path / name, tmp_path / name[0], ClickSchema("y", categorical=("c",)), ALL)
        assert ids(tmp_path / name[0]) == [0, 0, 1, 3, 0, 1, 2]
        assert texts(tmp_path / name[0]) == ["7", "8", "18446744073709551615"]
    rows = "".join(f"{value},i{k},{k}\n" for k, value in enumerate(values) if value)
    (tmp_path / "ratings.csv").write_text("user,item,rating\n" + rows)
    users = load_ratings(tmp_path / "ratings.csv").users
    assert users.tolist() == ["7", "7", "8", "7", "8", "18446744073709551615"]


@pytest.mark.parametrize("kind", ["text", "integer", "hex"])
def test_an_empty_field_is_missing_between_quotes_too(tmp_path: Path, kind: Any) -> None:
    """As in ratings, whoever wrote the file: with quotes around all fields, around none, or as empty text."""
    values = ["7", "", "8", "", "7"]
    plain = "y,c,l\n" + "".join(f"{k % 2},{value},{value}\n" for k, value in enumerate(values))
    (tmp_path / "a.csv").write_text(plain)
    (tmp_path / "b.csv").write_text("".join(
        ",".join(f'"{field}"' for field in line.split(",")) + "\n" for line in plain.splitlines()
    ))  # fmt: skip
    lists = [[value] for value in values]
    pl.DataFrame({"y": [0, 1, 0, 1, 0], "c": values, "l": lists}).write_parquet(tmp_path / "c.parquet")
    schema = ClickSchema("y", categorical=("c",), lists=("l",), category_type=kind)
    for name in ("a.csv", "b.csv", "c.parquet"):
        prepare(tmp_path / name, tmp_path / name[0], schema, ALL)
        assert ids(tmp_path / name[0]) == ids(tmp_path / "a")
        assert texts(tmp_path / name[0]) == ["7", "8"]
        (batch,) = ClickData.open(tmp_path / name[0]).part("training").batches(10)
        assert [part.tolist() for part in batch.bags["l"]] == [[0, 1, 0], [0, 1, 1, 2, 2]]


def test_quotes_and_blanks_within_a_field_between_quotes(tmp_path: Path) -> None:
    """As Python's csv reads them, in categories and in lists, and as Parquet says them."""
    values, lists = [' say "a", b', '"', "c  ", '"a"|"b"', ""], [["x"], ['y "z"', '"'], ['""'], [], ["a, b", "x"]]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("c", "y", "l"))
        writer.writerows((value, k % 2, "|".join(of)) for k, (value, of) in enumerate(zip(values, lists, strict=True)))
    pl.DataFrame({"c": values, "y": [0, 1, 0, 1, 0], "l": lists}).write_parquet(tmp_path / "b.parquet")
    for name in ("a.csv", "b.parquet"):
        prepare(tmp_path / name, tmp_path / name[0], ClickSchema("y", categorical=("c",), lists=("l",)), ALL)
        assert texts(tmp_path / name[0]) == ['say "a", b', '"', "c", '"a"|"b"']
        assert texts(tmp_path / name[0], "l") == ["x", 'y "z"', '"', '""', "a, b"]
        (batch,) = ClickData.open(tmp_path / name[0]).part("training").batches(10)
        assert [part.tolist() for part in batch.bags["l"]] == [[0, 1, 2, 3, 4, 0], [0, 1, 3, 4, 4]]


@pytest.mark.parametrize("kind", ["text", "integer", "hex"])
def test_floats_of_whole_numbers_with_gaps(tmp_path: Path, kind: Any) -> None:
    schema = ClickSchema("y", categorical=("c",), lists=("l",), category_type=kind)
    lists = [[7.0], [], None, [8.0, float("nan")], [10.0]]
    pl.DataFrame({"y": [0, 1, 0, 1, 1], "c": [7.0, None, float("nan"), 10.0, 7.0], "l": lists}).write_parquet(
        tmp_path / "f.parquet"
    )
    pl.DataFrame({"y": [0, 1, 0, 1, 1], "c": [7, None, None, 10, 7], "l": [[7], [], [], [8], [10]]}).write_parquet(
        tmp_path / "i.parquet"
    )
    for name in "fi":
        prepare(tmp_path / f"{name}.parquet", tmp_path / name, schema, ALL)
        assert ids(tmp_path / name) == [0, 1, 1, 2, 0]
        assert texts(tmp_path / name) == (["7", "a"] if kind == "hex" else ["7", "10"])
        assert texts(tmp_path / name, "l")[0] == "7"
        assert len(ids(tmp_path / name, "l")) == 3
    pl.DataFrame({"y": [0, 1], "c": [7.0, 0.5], "l": [[], []]}).write_parquet(tmp_path / "half.parquet")
    if kind == "text":
        pl.DataFrame({"y": [0], "c": [2.0**53 + 2], "l": [[1.0]]}).write_parquet(tmp_path / "half.parquet")
    with pytest.raises(InputError, match=r"fall together|row 2: c is .0\.5., expected a"):
        prepare(tmp_path / "half.parquet", tmp_path / "half", schema, ALL)


def test_words_for_what_is_missing(tmp_path: Path) -> None:
    lines = ["y,n,c,l,k", r"1,\N,NA,a|NA,1", "0,1.5,b,NA,NA", "1,NA,NAN,b,-", "0,-,b,,2"]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    schema = ClickSchema("y", ("n",), ("c", "k"), ("l",), types={"k": "integer"}, missing=("NA", "-"))
    with pytest.raises(InputError, match=r"row 1: n is '\\\\N', expected a number .*--missing '\\\\N', or missing ="):
        prepare(tmp_path / "a.csv", tmp_path / "no", schema, ALL)
    prepare(tmp_path / "a.csv", tmp_path / "a", schema, PrepareSettings("ordered", 0.0, log=False), missing=(r"\N",))
    (batch,) = ClickData.open(tmp_path / "a").part("training").batches(9)
    assert batch.numeric[:, 1].tolist() == [1, 0, 1, 1]
    assert batch.ids.tolist() == [[2, 0, 1, 0], [1, 0, 0, 2]]  # of equal frequency: values first, then missing ones
    assert texts(tmp_path / "a") == ["b", "NAN"]
    assert texts(tmp_path / "a", "l") == ["a", "b"]
    assert batch.bags["l"][1].tolist() == [0, 1, 1, 2]
    rows = {
        "y": [1, 0, 1],
        "n": ["NA", "1.5", None],
        "c": ["NA", "b", None],
        "k": [1, None, 2],
        "l": [["a", "NA"], [], None],
    }
    pl.DataFrame(rows).write_parquet(tmp_path / "p.parquet")
    prepare(tmp_path / "p.parquet", tmp_path / "p", schema, ALL)
    assert texts(tmp_path / "p") == ["b"]
    (batch,) = ClickData.open(tmp_path / "p").part("training").batches(9)
    assert batch.numeric[:, 1].tolist() == [1, 0, 1]
    for word in ("", " a", "a\nb", 'a"b', "x" * 41):
        with pytest.raises(InputError, match="a mark of a missing value must be a word"):
            ClickSchema("y", ("n",), missing=(word,))


def test_nan_in_parquet_is_missing(tmp_path: Path) -> None:
    rows = {"y": [1, 0, 1], "n": [float("nan"), 2.0, None], "c": ["a", "b", "a"]}
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    prepare(tmp_path / "a.parquet", tmp_path / "a", ClickSchema("y", ("n",), ("c",)), ALL)
    (batch,) = ClickData.open(tmp_path / "a").part("training").batches(9)
    assert batch.numeric[:, 1].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("2020-01-31", (1580428800, 0, DATE)),
        ("2020-02-29T23:59:59.123456789+01:00", (1583017199, 123456789 * 10**9, DATE)),
        ("1969-12-31 23:59:59,5", (-1, STEPS // 2, DATE)),
        ("2020-01-01 10:00 UTC", (1577872800, 0, DATE)),
        ("2020-01-01t10z", (1577872800, 0, DATE)),
        ("2020-01-01 00:00:00-0530", (1577856600, 0, DATE)),
        ("1577836800", (1577836800, 0, parse.GOOD)),
        ("9223372036854775807", (2**63 - 1, 0, parse.GOOD)),
        ("1577836800.000000000000000001", (1577836800, 1, parse.GOOD)),
        ("-0.25", (-1, STEPS // 4 * 3, parse.GOOD)),
        ("1.5e9", (1500000000, 0, parse.GOOD)),
        ("9223372036854775808", (None, None, parse.OVERFLOW)),
        ("1e30", (None, None, parse.OVERFLOW)),
        ("", (None, None, parse.MISSING)),
        ("2020-02-30", (None, None, parse.BAD)),
        ("2019-02-29", (None, None, parse.BAD)),
        ("2020-01-01T24:00", (None, None, parse.BAD)),
        ("2020-01-01T00:00:00.", (None, None, parse.BAD)),
        ("2020-01-01x", (None, None, parse.BAD)),
        ("01/02/2020", (None, None, parse.BAD)),
    ],
)
def test_times_are_exact(word: str, wanted: tuple[int | None, int | None, int]) -> None:
    data, bounds = np.frombuffer(f"{word}\n".encode(), np.uint8), np.array([[-1, len(word)]], np.int32)
    units, steps, states = np.empty(1, np.int64), np.empty(1, np.int64), np.empty(1, np.uint8)
    instants(data, bounds, 0, False, parse.marks(()), units, steps, states)
    found = (int(units[0]), int(steps[0]), int(states[0]))
    assert found == wanted if wanted[0] is not None else found[2] == wanted[2]


TIMES = ["2020-01-01T00:00:00.000000001Z", "2020-01-01T00:00:00.000000002Z", "2020-01-01T00:00:00.000000003Z",
         "2020-01-01T00:00:00.000000004Z"]  # fmt: skip


def test_a_split_by_dates(tmp_path: Path) -> None:
    """A nanosecond parts rows, in a CSV and in Parquet; the same of whole numbers beyond 2^53, which floats mix up."""
    order = [2, 0, 3, 1]
    stamps = pl.Series([1577836800 * 10**9 + 1 + k for k in order])
    frame = {"y": [0, 1, 0, 1], "c": [f"r{k}" for k in order]}
    schema, how = ClickSchema("y", categorical=("c",), time="t"), PrepareSettings("time", 0.5)
    (tmp_path / "a.csv").write_text("y,c,t\n" + "".join(f"{n % 2},r{k},{TIMES[k]}\n" for n, k in enumerate(order)))
    (tmp_path / "b.csv").write_text("y,c,t\n" + "".join(f"{n % 2},r{k},{stamps[n]}\n" for n, k in enumerate(order)))
    pl.DataFrame({**frame, "t": stamps.cast(pl.Datetime("ns"))}).write_parquet(tmp_path / "c.parquet")
    pl.DataFrame({**frame, "t": stamps}).write_parquet(tmp_path / "d.parquet")
    pl.DataFrame({**frame, "t": [TIMES[k] for k in order]}).write_parquet(tmp_path / "e.parquet")
    days = [date(2020, 1, 1) + timedelta(days=k) for k in order]
    pl.DataFrame({**frame, "t": days}).write_parquet(tmp_path / "f.parquet")
    for name in ("a.csv", "b.csv", "c.parquet", "d.parquet", "e.parquet", "f.parquet"):
        prepare(tmp_path / name, tmp_path / name[0], schema, how)
        assert sorted(texts(tmp_path / name[0])) == ["r0", "r1"], name


def test_zones_and_a_random_order(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    moments = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(m)) for m in draw.integers(0, 10**14, 60)]
    zones = [timezone(timedelta(minutes=int(m))) for m in draw.integers(-700, 700, 60)]
    lines = [
        f"{k % 2},r{k},{moment.astimezone(zone).isoformat()}\n"
        for k, (moment, zone) in enumerate(zip(moments, zones, strict=True))
    ]
    (tmp_path / "a.csv").write_text("y,c,t\n" + "".join(lines))
    prepare(
        tmp_path / "a.csv",
        tmp_path / "a",
        ClickSchema("y", categorical=("c",), time="t"),
        PrepareSettings("time", 0.25),
    )
    early = sorted(range(60), key=lambda k: moments[k])[:45]
    assert sorted(texts(tmp_path / "a")) == sorted(f"r{k}" for k in early)


def test_times_that_are_none(tmp_path: Path) -> None:
    schema, how = ClickSchema("y", categorical=("c",), time="t"), PrepareSettings("time", 0.5)
    for times, words in (
        (["2020-01-01", "01/02/2020"], r"row 2: t is '01/02/2020', expected a number, or a time as 2020-01-31"),
        (["2020-01-01", "5"], "row 2: t is '5', a number where others are dates"),
        (["5", ""], "row 2: t is missing"),
        (["5", "9" * 20], "which is beyond 64 bits"),
        (["5", "NA"], "--missing 'NA'"),
    ):
        (tmp_path / "a.csv").write_text("y,c,t\n" + "".join(f"1,a,{t}\n" for t in times))
        with pytest.raises(InputError, match=words):
            prepare(tmp_path / "a.csv", tmp_path / "no", schema, how)
        pl.DataFrame({"y": [1, 1], "c": ["a", "a"], "t": times}).write_parquet(tmp_path / "a.parquet")
        with pytest.raises(InputError, match=words):
            prepare(tmp_path / "a.parquet", tmp_path / "no", schema, how)
    assert prepare(tmp_path / "a.csv", tmp_path / "a", schema, PrepareSettings("ordered", 0.5))["rows"] == 2
    (tmp_path / "days").mkdir()
    (tmp_path / "days" / "1.csv").write_text("y,c,t\n1,a,5\n")
    (tmp_path / "days" / "2.csv").write_text("y,c,t\n1,a,2020-01-01\n")
    with pytest.raises(InputError, match=r"2\.csv, row 1: t is '2020-01-01', a date where others are num"):
        prepare(tmp_path / "days", tmp_path / "no", schema, how)


def test_lists_between_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('y,l\n1,"a,b"\n0,b\n1,\n0,"c, a"\n')
    prepare(tmp_path / "a.csv", tmp_path / "a", ClickSchema("y", lists=("l",), list_separator=","), ALL)
    (batch,) = ClickData.open(tmp_path / "a").part("training").batches(9)
    told = texts(tmp_path / "a", "l")
    assert [told[k] for k in batch.bags["l"][0].tolist()] == ["a", "b", "b", "c", "a"]
    with pytest.raises(InputError, match="both a tab"):
        ClickSchema("y", lists=("l",), separator="\t", list_separator="\t")


@pytest.mark.parametrize("named", [False, True])
def test_between_tabs_quotes_are_read_where_all_fields_of_the_first_line_have_them(tmp_path: Path, named: bool) -> None:
    rows = ['"y"\t"n"\t"c"', '"1"\t"5"\t"a ""b"""', '"0"\t""\t"c\td"', "1\t7\tplain"]
    (tmp_path / "log.tsv").write_text("\n".join(rows[named:]) + "\n")
    schema = ClickSchema("y", ("n",), ("c",), separator="\t", names=("y", "n", "c") if named else None)
    prepare(tmp_path / "log.tsv", tmp_path / "out", schema, ALL)
    assert sorted(texts(tmp_path / "out")) == ['a "b"', "c\td", "plain"]
    assert ClickData.open(tmp_path / "out").part("training").column("label").tolist() == [1, 0, 1]
    (tmp_path / "log.tsv").write_text('y\tn\tc\n1\t5\t"a"\n'[6 * named :])  # here they are characters
    prepare(tmp_path / "log.tsv", tmp_path / "plain", schema, ALL)
    assert texts(tmp_path / "plain") == ['"a"']
