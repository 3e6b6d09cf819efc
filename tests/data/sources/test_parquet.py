"""Ratings out of Parquet."""

from __future__ import annotations

import io
import os
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from coset.data.columns import Columns
from coset.data.files import DataFile, data_file
from coset.data.rows import read_rows
from coset.data.sources import Wanted
from coset.errors import InputError

GOOD: dict[str, Any] = {"user_id": [1, 2], "item_id": ["a", "b"], "rating": [4.5, 3.0]}


def read_delimited(data: bytes, where: str) -> tuple[np.ndarray, ...]:
    rows = read_rows([DataFile(where, lambda: io.BytesIO(data))], Wanted())
    return rows.users, rows.items, rows.ratings


def read_parquet(path: Path, columns: Columns | None = None) -> tuple[np.ndarray, ...]:
    rows = read_rows([data_file(path)], Wanted(columns or Columns()))
    return rows.users, rows.items, rows.ratings, *rows.attributes


def write(folder: Path, **columns: Any) -> Path:
    path = folder / "f.parquet"
    pl.DataFrame({**GOOD, **columns}).write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        (pl.Series([1, 2], dtype=pl.UInt8), [1, 2]),
        (pl.Series([1, 2], dtype=pl.Int64), [1, 2]),
        (pl.Series([1.0, 2.0]), [1, 2]),
        (pl.Series(["1", "x"]), ["1", "x"]),
        (pl.Series(["1", " 2"]), [1, 2]),
        (pl.Series(["7", "007"]), ["7", "007"]),
        (pl.Series(["x ", "\ty"]), ["x", "y"]),
        (pl.Series([" 1", "2 "], dtype=pl.Categorical), [1, 2]),
        (pl.Series(["x", "y"], dtype=pl.Categorical), ["x", "y"]),
        (pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"])), ["x", "y"]),
        (pl.Series([1.0, 2.5]), ["1", "2.5"]),
        (pl.Series([1, 2**63], dtype=pl.UInt64), ["1", str(2**63)]),
        (pl.Series([b"x", b"y"]), ["x", "y"]),
    ],
)
def test_ids_keep_their_sort(tmp_path: Path, users: pl.Series, expected: list[object]) -> None:
    found, items, ratings = read_parquet(write(tmp_path, user_id=users))
    assert found.tolist() == expected
    assert items.tolist() == ["a", "b"]
    assert ratings.tolist() == [4.5, 3.0]
    assert ratings.dtype == np.float32


@pytest.mark.parametrize(
    "ids",
    [
        ["1", "2"],
        [" 1", "2 "],
        ["007", "7"],
        [" b", "b"],
        ["1", "x"],
        ["", "b"],
        [" ", "b"],
        ["1.0", "2"],
        ["nan", "2"],
    ],
)
def test_text_gives_the_ids_that_it_gives_in_a_text_file(tmp_path: Path, ids: list[str]) -> None:
    path = write(tmp_path, item_id=ids)
    text = pl.read_parquet(path).write_csv().encode()
    try:
        expected = read_delimited(text, "f.csv")[1]
    except InputError:
        with pytest.raises(InputError, match="the item is missing"):
            read_parquet(path)
    else:
        found = read_parquet(path)[1]
        assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


def test_columns_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, stars=[1, 2], extra=[None, None])
    assert read_parquet(path, Columns(rating="stars"))[2].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([1999, 2001], dtype=pl.UInt16), [1999, 2001]),
        (pl.Series([1999, None]), ["1999", ""]),
        (pl.Series([" 7", "7 "]), [7, 7]),
        (pl.Series(["x", None]), ["x", ""]),
        (pl.Series(["x", "y"], dtype=pl.Categorical), ["x", "y"]),
        (pl.Series([0.5, 1.0]), ["0.5", "1"]),
        (pl.Series([True, False]), ["true", "false"]),
        (pl.Series([date(2001, 2, 3), None]), ["2001-02-03", ""]),
    ],
)
def test_attributes(tmp_path: Path, values: pl.Series, expected: list[object]) -> None:
    columns = Columns(user_attributes=("extra",), item_attributes=("user_id", "extra"))
    found = read_parquet(write(tmp_path, extra=values), columns)
    assert [column.tolist() for column in found[3:]] == [expected, [1, 2], expected]


@pytest.mark.parametrize("values", [[[[1]], [[2]]], [{"a": 1}, {"a": 2}], [b"\xff", b"b"]])
def test_values_that_are_no_text_are_refused(tmp_path: Path, values: list[object]) -> None:
    path = write(tmp_path, extra=values)
    with pytest.raises(InputError, match=r"f\.parquet, column 'extra': expected whole numbers or text"):
        read_parquet(path, Columns(item_attributes=("extra",)))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"user_id": [None, 2]}, ["row 1", "'user_id'", "missing"]),
        ({"item_id": ["a", None]}, ["row 2", "'item_id'", "missing"]),
        ({"user_id": ["1", ""]}, ["row 2", "'user_id'", "the user is missing"]),
        ({"item_id": [" ", "b"]}, ["row 1", "'item_id'", "the item is missing"]),
        ({"item_id": pl.Series(["a", ""], dtype=pl.Categorical)}, ["row 2", "'item_id'", "missing"]),
        ({"rating": [1.0, None]}, ["row 2", "'rating'", "missing"]),
        ({"rating": [1.0, float("nan")]}, ["row 2", "'rating'", "nan", "finite"]),
        ({"rating": [float("inf"), 1.0]}, ["row 1", "'rating'", "inf", "finite"]),
        ({"rating": ["5", "good"]}, ["row 2", "'rating'", "'good'", "not a number"]),
        ({"rating": [date(2001, 2, 3), None]}, ["'rating'", "numbers", "Date"]),
        ({"user_id": [1.0, float("nan")]}, ["row 2", "'user_id'", "missing"]),
        ({"user_id": [1.0, float("inf")]}, ["row 2", "'user_id'", "missing"]),
        ({"user_id": ["1", "nan"]}, ["row 2", "'user_id'", "missing"]),
        ({"user_id": [1.0, 2.0**60]}, ["'user_id'", "Float64", "fall together"]),
        ({"user_id": [[1], [2]]}, ["'user_id'", "List"]),
    ],
)
def test_bad_values_are_named_by_row_and_column(tmp_path: Path, columns: dict[str, Any], words: list[str]) -> None:
    path = write(tmp_path, **columns)
    with pytest.raises(InputError) as caught:
        read_parquet(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_ratings_as_text(tmp_path: Path) -> None:
    assert read_parquet(write(tmp_path, rating=["5", " 4.5"]))[2].tolist() == [5.0, 4.5]


@pytest.mark.parametrize("name", ["day[1].parquet", "a*.parquet"])
def test_a_name_that_polars_would_take_for_a_pattern(tmp_path: Path, name: str) -> None:
    assert read_parquet(write(tmp_path).rename(tmp_path / name))[0].tolist() == [1, 2]


def test_a_panic_of_polars_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def panic(*_: object, **__: object) -> None:
        os.write(2, b"thread panicked at crates/polars-parquet\n" * 100)
        threading.Timer(0.01, os.write, (2, b"another thread panicked\n")).start()
        raise pl.exceptions.PanicException("called `Option::unwrap()` on a `None` value")

    path = write(tmp_path)
    for name in ("scan_parquet", "read_parquet_schema"):
        with monkeypatch.context() as changed:
            changed.setattr(pl, name, panic)
            with pytest.raises(InputError, match=r"f\.parquet: not readable as Parquet \(called"):
                read_parquet(path)
    time.sleep(0.05)
    assert capfd.readouterr().err == ""


def test_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pl.DataFrame(GOOD).clear().write_parquet(path)
    with pytest.raises(InputError, match="no ratings"):
        read_parquet(path)


def test_cut_off_anywhere_is_an_input_error(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"f\.parquet.*not readable as Parquet"):
            read_parquet(path)


def test_missing_columns_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(path)
    with pytest.raises(InputError, match=r"'a', 'b'.*--user"):
        read_parquet(path)


def test_lists_are_one_value_of_an_attribute_and_no_ids(tmp_path: Path) -> None:
    genres = [["Action", "Crime"], ["Action", "Crime"], None]
    path = tmp_path / "a.parquet"
    pl.DataFrame({"user": [1, 2, 1], "item": [5, 5, 6], "rating": [1, 2, 3], "genres": genres}).write_parquet(path)
    *_, found = read_parquet(path, Columns(item_attributes=("genres",)))
    assert found.tolist() == ["Action|Crime", "Action|Crime", ""]
    for role in ("user", "item", "rating"):
        with pytest.raises(
            InputError, match=rf"column 'genres': holds List\(String\) where one {role} a row is expected"
        ):
            read_parquet(path, Columns(**{role: "genres"}))
