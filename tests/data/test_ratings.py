"""`Ratings` and `load_ratings`: names, paths, and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from coset.data.loading import DATASETS, load_ratings
from coset.data.ratings import Ratings
from coset.errors import InputError

CSV = "userId,movieId,rating\n1,10,5\n2,20,3\n"


def put(folder: Path, name: str, text: str = CSV) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def tiny(**changes: Any) -> Ratings:
    return Ratings(**{"name": "tiny", "users": [1, 1, 2], "items": ["a", "b", "a"], "ratings": [5, 3, 4], **changes})


def test_the_columns() -> None:
    data = tiny()
    assert len(data) == 3
    assert data.range == (3.0, 5.0)
    assert [column.dtype.str[1:] for column in (data.users, data.items, data.ratings)] == ["i8", "O", "f4"]
    assert (data.user_name, data.item_name, data.synthetic, data.noise_floor) == ("user", "item", False, None)


@pytest.mark.parametrize("index", [[2, 0], np.array([2, 0]), np.array([True, False, True]), slice(1, None)])
def test_select(index: Any) -> None:
    data = tiny(source="here", item_name="movie")
    chosen = data.select(index)
    assert chosen.users.tolist() == data.users[index].tolist()
    assert chosen.items.tolist() == data.items[index].tolist()
    assert chosen.ratings.tolist() == data.ratings[index].tolist()
    assert (chosen.name, chosen.source, chosen.item_name) == ("tiny", "here", "movie")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"users": [1, 2]}, ["one length", "(2,)", "(3,)"]),
        ({"users": [[1], [2], [3]]}, ["one length"]),
        ({"users": [], "items": [], "ratings": []}, ["empty"]),
        ({"ratings": [1, np.nan, 2]}, ["row 2 of the data (counted from 1)", "nan", "finite"]),
        ({"ratings": [np.inf, 1, 2]}, ["row 1 of the data", "inf", "finite"]),
        ({"items": ["a", 1, 2]}, ["item ids", "position 1"]),
        ({"ratings": ["5", "good", "1"]}, ["ratings must be a column of numbers", "'good'"]),
        ({"ratings": [1, 2j, 3]}, ["ratings must be a column of numbers", "complex"]),
        ({"ratings": np.array([1, 2j, 3])}, ["ratings must be a column of numbers", "complex128"]),
        ({"ratings": np.array([1, 2, 3], dtype="M8[s]")}, ["datetime64"]),
        ({"ratings": [1, [2], 3]}, ["ratings must be a column of numbers"]),
        ({"ratings": [1, 10**400, 3]}, ["ratings must be a column of numbers"]),
        ({"ratings": [1, {}, 3]}, ["ratings must be a column of numbers"]),
        ({"ratings": [1, 1e39, 3]}, ["row 2", "finite"]),
    ],
)
def test_wrong_columns_are_refused(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        tiny(source="file.csv", **changes)
    for word in ["file.csv", *words]:
        assert word in str(caught.value)


def test_a_csv_file(tmp_path: Path) -> None:
    path = put(tmp_path, "mine.csv")
    data = load_ratings(path)
    assert (data.name, data.source, data.item_name) == ("mine", str(path), "item")
    assert data.users.tolist() == [1, 2]
    assert not data.synthetic


@pytest.mark.parametrize("name", ["mine.tsv", "mine.txt", "mine"])
def test_other_text(tmp_path: Path, name: str) -> None:
    assert load_ratings(str(put(tmp_path, name, CSV.replace(",", "\t")))).items.tolist() == [10, 20]


def test_columns_and_separator_by_name(tmp_path: Path) -> None:
    path = put(tmp_path, "mine.csv", "a;b;c;rating\n1;x;5;0\n2;y;3;0\n")
    data = load_ratings(path, user="a", item="b", rating="c", separator=";")
    assert (data.items.tolist(), data.ratings.tolist()) == (["x", "y"], [5.0, 3.0])


BESIDE = "user,item,rating,age,year\n1,10,5,20,1999\n2,20,3,,1999\n1,30,4,20,2001\n2,10,2,,1999\n"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_attributes_beside_the_ratings(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path, "mine.csv", BESIDE)
    if kind == "parquet":
        path = tmp_path / "mine.parquet"
        pl.read_csv(tmp_path / "mine.csv").write_parquet(path)
    plain = load_ratings(path)
    assert plain.user_attributes is None
    assert plain.item_attributes is None
    data = load_ratings(path, user_attributes=["age"], item_attributes=("year",))
    assert data.users.tolist() == plain.users.tolist()
    assert data.user_attributes is not None
    assert data.item_attributes is not None
    assert data.user_attributes.columns["age"].tolist() == ["20", ""]
    assert data.item_attributes.columns["year"].tolist() == [1999, 1999, 2001]
    assert data.select([0]).item_attributes is data.item_attributes
    with pytest.raises(InputError) as caught:
        load_ratings(path, item_attributes=["age"])
    for word in [str(path), "column 'age'", "the item 10", "'' in row 4 of the data (counted from 1)", "'20' in row 1"]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mine.parquet", "mine.data"])
def test_a_parquet_file_under_any_name(tmp_path: Path, name: str) -> None:
    pl.DataFrame({"user": [1, 2], "item": [3, 4], "rating": [1, 2]}).write_parquet(tmp_path / name)
    assert load_ratings(tmp_path / name).items.tolist() == [3, 4]


def test_grouplens_folder_zip_and_file(tmp_path: Path) -> None:
    (tmp_path / "ml-mini").mkdir()
    file = put(tmp_path / "ml-mini", "ratings.dat", "1::10::5::9\n2::20::3::9\n")
    with zipfile.ZipFile(tmp_path / "mini.zip", "w") as archive:
        archive.write(file, "ml-mini/ratings.dat")
    for path in (tmp_path / "ml-mini", tmp_path / "mini.zip", file):
        data = load_ratings(path)
        assert (data.items.tolist(), data.item_name) == ([10, 20], "movie")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user,item,rating\n7,1,5\n7,2,4\n", ["one user", "7", "at least two"]),
        ("user,item,rating\n7,1,5\n8,1,4\n", ["one item", "1", "at least two"]),
        ("user,item,rating\n7,1,4\n8,2,4\n", ["every rating is 4", "nothing to learn"]),
        ("user,item,rating\n", ["no ratings"]),
        ("", ["empty"]),
        ("user,item,rating\n7,1,5\n8,1,x\n", ["line 3", "'rating'", "'x'"]),
    ],
)
def test_what_cannot_be_learned_from(tmp_path: Path, text: str, words: list[str]) -> None:
    path = put(tmp_path, "mine.csv", text)
    with pytest.raises(InputError) as caught:
        load_ratings(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file.*movielens-1m"):
        load_ratings(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["movielens1m", "movielens-1M"])
def test_a_near_name_is_suggested(name: str) -> None:
    expected = f"unknown dataset {name!r}: did you mean 'movielens-1m'?"
    with pytest.raises(InputError, match=re.escape(expected) + ".*path"):
        load_ratings(name)


def test_a_far_name_lists_all() -> None:
    with pytest.raises(InputError, match=r"unknown dataset 'xyz': known are movielens-100k.*path"):
        load_ratings("xyz")


def test_an_empty_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "ratings.dat", "1::10::5::9\n2::20::3::9\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"the name of the data is empty; expected one of movielens-1m.*path"):
        load_ratings("")
    assert load_ratings(".").items.tolist() == [10, 20]


def test_flags_do_not_go_with_a_built_in_name() -> None:
    expected = (
        "movielens-1m is built in and its columns are known: leave out user, separator (on the command line --user, "
        "--separator), as columns and separator are for files"
    )
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        load_ratings("movielens-1m", user="u", separator=",")
    with pytest.raises(InputError, match=r"leave out item_attributes \(on the command line --item-attribute\)"):
        load_ratings("movielens-1m", item_attributes=["year"])


def test_a_built_in_name_wins_over_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "movielens-1m")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coset.data.loading.DATASETS", {"movielens-1m": lambda timed: tiny()})
    assert load_ratings("movielens-1m").name == "tiny"
    assert load_ratings("./movielens-1m").items.tolist() == [10, 20]


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "mine.csv")

    def refuse(*_: object, **__: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"mine\.csv: not readable \(Permission denied\)"):
        load_ratings(path)


def test_missing_polars_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    for name in ("mine.csv", "mine.parquet"):
        with pytest.raises(InputError, match=r"pip install 'coset\[cli\]'"):
            load_ratings(put(tmp_path, name))


def test_the_built_in_names() -> None:
    twins = {f"synthetic-{name}" for name in ("ratings", "long-tail", "long-tail-factors")}
    assert set(DATASETS) == {"movielens-1m", "movielens-100k", *twins}


def test_importing_the_room_loads_nothing_and_its_names_are_there() -> None:
    code = """
import sys
import coset.data
assert not {"torch", "polars", "numpy"} & set(sys.modules), "the room loads too much"
from coset.data.encoded import Encoded
for name in coset.data.__all__:
    value = getattr(coset.data, name)
    assert name in dir(coset.data)
    assert name == "DATASETS" or callable(value), name
assert "polars" not in sys.modules, "polars is loaded before it is needed"
try:
    coset.data.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)


def test_pairs_that_come_again() -> None:
    data = Ratings("again", [1, 1, 2, 1, 1], ["a", "b", "a", "a", "a"], [1, 2, 3, 4, 5])
    assert data.pairs is not None
    assert (data.pairs[0], data.repeated) == (data.pairs[3], 2)
    assert len(set(data.pairs.tolist())) == 3
    once = data.select([0, 1, 2])
    assert (once.pairs, once.repeated) == (None, 0)
