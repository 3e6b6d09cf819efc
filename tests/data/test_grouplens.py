"""GroupLens' files of users and movies: what is read out of them, and which line is wrong."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from coset.data import load_ratings
from coset.data.attributes import Attributes
from coset.data.grouplens import LISTINGS
from coset.errors import InputError

FLAGS = ["0"] * 19
USERS = "1::F::1::10::48067\n2::M::56::16::70072\n"
MOVIES = "10::Toy (1995)::Animation|Comedy\n20::Zoë (2000) (1968)::War\n30::unknown::Drama\n"
U_USER = "1|24|M|technician|85711\n2|53|F|other|V3N4P\n"


def u_item(number: int, title: str, *genres: int) -> str:
    flags = [str(int(at in genres)) for at in range(19)]
    return "|".join([str(number), title, "01-Jan-1995", "", "http://x", *flags]) + "\n"


U_ITEM = u_item(10, "Toy (1995) (V)", 3, 5) + u_item(20, "unknown", 0)


def read(layout: str, role: str, text: str, encoding: str = "latin-1") -> Attributes:
    return LISTINGS[layout][role].read(text.encode(encoding), "the file")


def as_lists(found: Attributes) -> dict[str, list[object]]:
    return {"ids": found.ids.tolist(), **{name: column.tolist() for name, column in found.columns.items()}}


def test_users() -> None:
    assert as_lists(read("ratings.dat", "user", USERS)) == {
        "ids": [1, 2], "gender": ["F", "M"], "age": [1, 56], "occupation": [10, 16],
    }  # fmt: skip
    assert as_lists(read("u.data", "user", U_USER)) == {
        "ids": [1, 2], "gender": ["M", "F"], "age": [24, 53], "occupation": ["technician", "other"],
    }  # fmt: skip


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_movies(encoding: str, end: str) -> None:
    assert as_lists(read("ratings.dat", "item", MOVIES.replace("\n", end), encoding)) == {
        "ids": [10, 20, 30],
        "year": ["1995", "1968", ""],
        "genres": ["Animation|Comedy", "War", "Drama"],
        "first_genre": ["Animation", "War", "Drama"],
    }
    assert as_lists(read("u.data", "item", U_ITEM.replace("\n", end), encoding)) == {
        "ids": [10, 20],
        "year": ["1995", ""],
        "genres": ["Animation|Comedy", "unknown"],
        "first_genre": ["Animation", "unknown"],
    }
    assert read("ratings.dat", "item", MOVIES.replace("unknown", "It (1990)")).columns["year"].dtype == np.int64


@pytest.mark.parametrize(
    ("layout", "role", "text", "words"),
    [
        ("ratings.dat", "user", USERS + "3::M::25::15\n", ["line 3", "4 fields", "'::'", "expected 5 (user, gender"]),
        ("ratings.dat", "user", "1,M,25,15,1\n", ["line 1", "1 field ", "expected 5"]),
        ("ratings.dat", "user", USERS + "\n::M::25::15::1\n", ["line 4", "column 'user'", "the user is missing"]),
        ("ratings.dat", "user", USERS + "3::::25::15::1\n", ["line 3", "column 'gender'", "missing"]),
        ("ratings.dat", "user", USERS + "3::M::2x::15::1\n", ["line 3", "column 'age'", "'2x' is not a whole"]),
        ("ratings.dat", "user", USERS + "1::M::25::15::1\n", ["raw id 1 is listed twice"]),
        ("ratings.dat", "user", "\n", ["empty", "user::gender"]),
        ("ratings.dat", "item", MOVIES + "40::Alien (1979)::\n", ["line 4", "column 'genres'", "missing"]),
        ("u.data", "user", U_USER + "3|23|M|writer\n", ["line 3", "4 fields", "'|'", "expected 5"]),
        ("u.data", "item", U_ITEM + "30|It (1990)\n", ["line 3", "2 fields", "expected 24", "Film-Noir"]),
        ("u.data", "item", U_ITEM + u_item(30, "It", 1)[:-2] + "2\n", ["line 3", "'Western'", "neither 0 nor 1"]),
    ],
)
def test_a_wrong_line_is_named(layout: str, role: str, text: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read(layout, role, text)
    assert str(caught.value).startswith("the file")
    for word in words:
        assert word in str(caught.value)


# --- beside the ratings ------------------------------------------------------------------------------------

RATINGS = "1::10::5::9\n2::20::3::9\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the larger set, in a folder of its own."""
    folder = tmp_path / "ml-mini"
    folder.mkdir()
    for name, text in (("ratings.dat", RATINGS), ("users.dat", USERS), ("movies.dat", MOVIES)):
        (folder / name).write_bytes(text.encode("latin-1"))
    return folder


def pack(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"ml-mini/{file.name}")
    return path


def test_a_folder_an_archive_and_a_file_of_ratings_have_them(folder: Path) -> None:
    for path in (folder, folder.parent, folder / "ratings.dat", pack(folder)):
        data = load_ratings(path)
        assert data.users.tolist() == [1, 2]
        assert data.user_attributes is not None
        assert data.item_attributes is not None
        assert as_lists(data.user_attributes)["occupation"] == [10, 16]
        assert as_lists(data.item_attributes)["year"] == ["1995", "1968", ""]


def test_packed_files_have_them(folder: Path) -> None:
    for name in ("ratings.dat", "users.dat"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    for path in (folder, folder / "ratings.dat.gz"):
        data = load_ratings(path)
        assert (data.users.tolist(), data.item_name) == ([1, 2], "movie")
        assert data.user_attributes is not None
        assert data.item_attributes is not None
        assert as_lists(data.user_attributes)["occupation"] == [10, 16]


def test_the_smaller_set(tmp_path: Path) -> None:
    for name, text in (("u.data", RATINGS.replace("::", "\t")), ("u.user", U_USER), ("u.item", U_ITEM)):
        (tmp_path / name).write_text(text)
    data = load_ratings(tmp_path)
    assert data.user_attributes is not None
    assert data.item_attributes is not None
    assert as_lists(data.item_attributes)["first_genre"] == ["Animation", "unknown"]


def test_what_is_not_there_is_not_missed(folder: Path) -> None:
    (folder / "users.dat").unlink()
    for path in (folder, pack(folder)):
        data = load_ratings(path)
        assert data.user_attributes is None
        assert data.item_attributes is not None


def test_a_wrong_line_is_named_with_its_place(folder: Path) -> None:
    (folder / "movies.dat").write_text("10::Toy (1995)\n")
    archive = pack(folder)
    for path, place in ((folder, folder), (folder / "ratings.dat", folder), (archive, archive / "ml-mini")):
        with pytest.raises(InputError) as caught:
            load_ratings(path)
        assert str(caught.value).startswith(f"{place}/movies.dat, line 1: 2 fields")


def test_another_separator_leaves_the_files_beside_alone(folder: Path) -> None:
    (folder / "movies.dat").write_text("something else")
    (folder / "ratings.dat").write_text(RATINGS.replace("::", ";"))
    data = load_ratings(folder / "ratings.dat", separator=";")
    assert data.items.tolist() == [10, 20]
    assert data.item_attributes is None


def test_columns_of_the_ratings_take_their_place(folder: Path) -> None:
    data = load_ratings(folder, item_attributes=["timestamp"])
    assert data.item_attributes is not None
    assert as_lists(data.item_attributes) == {"ids": [10, 20], "timestamp": [9, 9]}
    assert data.user_attributes is not None
    assert "timestamp" not in data.user_attributes.columns


def test_the_real_movielens_1m(movielens_zip: Path) -> None:
    data = load_ratings("movielens-1m")
    users, movies = data.user_attributes, data.item_attributes
    assert users is not None
    assert movies is not None
    assert (users.source, movies.source) == (f"{movielens_zip}/ml-1m/users.dat", f"{movielens_zip}/ml-1m/movies.dat")
    assert (len(users.ids), len(movies.ids)) == (6_040, 3_883)
    sizes = {name: len(set(of.tolist())) for name, of in {**users.columns, **movies.columns}.items()}
    assert sizes == {"gender": 2, "age": 7, "occupation": 21, "year": 81, "genres": 301, "first_genre": 18}
    assert movies.columns["year"].dtype == np.int64
    assert (movies.columns["year"].min(), movies.columns["year"].max()) == (1919, 2000)
    assert np.isin(data.users, users.ids).all()
    assert np.isin(data.items, movies.ids).all()
