"""RecBole's atomic files: what their headers say, and the files of users and items beside them."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from coset.data import load_ratings
from coset.errors import InputError

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "".join(
    f"{user}\t{item}\t{1 + (user * item) % 5}\t{881250949 + 7 * user + item}\n"
    for user in range(1, 9)
    for item in range(1, 6)
)
USER = "user_id:token\tage:token\tgender:token\tzip_code:token\n" + "".join(
    f"{user}\t{20 + user % 3}\t{'MF'[user % 2]}\t{90000 + user}\n" for user in range(1, 10)
)
ITEM = "item_id:token\tmovie_title:token_seq\tclass:token_seq\tprice:float\n" + "".join(
    f"{item}\tThe movie {item}\t{'Action Crime' if item % 2 else 'Drama'}\t{item}.5\n" for item in range(1, 7)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "tiny"
    found.mkdir()
    for ending, text in (("inter", INTER), ("user", USER), ("item", ITEM)):
        (found / f"tiny.{ending}").write_text(text)
    return found


def packed(folder: Path) -> Path:
    path = folder.parent / "tiny.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"tiny/{file.name}")
    return path


@pytest.mark.parametrize("given", ["folder", "file", "archive"])
def test_a_data_set_is_read_with_what_lies_beside_it(folder: Path, given: str) -> None:
    path = {"folder": folder, "file": folder / "tiny.inter", "archive": packed(folder)}[given]
    ratings = load_ratings(path)
    assert (len(ratings), ratings.range) == (40, (1.0, 5.0))
    assert ratings.users.tolist()[:6] == [1, 1, 1, 1, 1, 2]
    users, items = ratings.user_attributes, ratings.item_attributes
    assert users is not None
    assert items is not None
    # A postal code and a title are other ids, and a price is a measure.
    assert users.columns.keys() == {"age", "gender"}
    assert users.columns["age"].tolist() == [20 + user % 3 for user in range(1, 10)]
    assert {name: values.tolist() for name, values in items.columns.items()} == {"class": ["Action Crime", "Drama"] * 3}


def attributes_of(path: Path) -> tuple[set[str], set[str]]:
    found = load_ratings(path)
    return tuple(set(of.columns) if of is not None else set() for of in (found.user_attributes, found.item_attributes))


@pytest.mark.parametrize("stages", [("train", "valid", "test"), ("part1", "part2", "part3")])
@pytest.mark.parametrize("packing", ["", ".gz"])
def test_parts_of_a_data_set_have_what_lies_beside_them(folder: Path, stages: tuple[str, ...], packing: str) -> None:
    whole = load_ratings(folder)
    head, *lines = INTER.splitlines(keepends=True)
    (folder / "tiny.inter").unlink()
    for at, stage in enumerate(stages):
        put(folder / f"tiny.{stage}.inter{packing}", head + "".join(lines[14 * at : 14 * (at + 1)]))
    if packing:
        for ending, text in (("user", USER), ("item", ITEM)):
            (folder / f"tiny.{ending}").unlink()
            put(folder / f"tiny.{ending}{packing}", text)
    for path in (folder, folder / "tiny.*.inter*", packed(folder)):
        found = load_ratings(path)
        assert found.users.tolist() == whole.users.tolist()
        assert attributes_of(path) == ({"age", "gender"}, {"class"})
    assert attributes_of(folder / f"tiny.{stages[0]}.inter{packing}") == ({"age", "gender"}, {"class"})


def test_a_packed_file_has_what_lies_beside_it(folder: Path) -> None:
    put(folder / "tiny.inter.gz", INTER)
    (folder / "tiny.inter").unlink()
    for path in (folder, folder / "tiny.inter.gz", packed(folder)):
        assert attributes_of(path) == ({"age", "gender"}, {"class"})


def test_two_data_sets_are_not_one(folder: Path) -> None:
    (folder / "other.inter").write_text(INTER)
    assert attributes_of(folder) == ({"age", "gender"}, {"class"})  # more interactions of the same users and items
    (folder / "other.item").write_text(ITEM)
    for path in (folder, packed(folder)):
        with pytest.raises(
            InputError, match=r"more than one data set, beside (other|tiny)\.item and (tiny|other)\.item"
        ):
            load_ratings(path)


def put(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def test_a_header_with_types_is_known_by_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "ratings.txt"
    path.write_text(INTER)
    ratings = load_ratings(path, time=True)
    assert ratings.user_attributes is None
    assert ratings.times is not None
    assert ratings.times.tolist()[:3] == [881250957, 881250958, 881250959]  # in float32, the three are one


def test_tokens_are_ids_as_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "mine.inter"
    path.write_text("user_id:token\titem_id:token\trating:float\n01\ta b\t3\n1\tc\t4.5\n")
    ratings = load_ratings(path)
    assert ratings.users.tolist() == ["01", "1"]
    assert ratings.items.tolist() == ["a b", "c"]


def test_parts_come_in_the_order_of_their_stages(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    head = INTER.partition("\n")[0]
    for number, stage in enumerate(("train", "valid", "test")):
        (folder / f"d.{stage}.inter").write_text(f"{head}\n{number}\t{number + 5}\t{number + 1}\t0\n")
    assert load_ratings(folder).users.tolist() == [0, 1, 2]


def test_interactions_without_a_rating_are_told_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "views.inter"
    path.write_text("user_id:token\titem_id:token\ttimestamp:float\n1\t2\t3\n")
    with pytest.raises(
        InputError, match=r"views\.inter: no column looks like the rating.*--rating\); interactions without"
    ):
        load_ratings(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user_id:token\titem_id:token\trating:float\n1\t2\n", r"mine\.inter, line 2: 2 fields"),
        ("user_id:token\titem_id:token\trating:float\n", r"mine\.inter: no ratings"),
        ("user_id:token\tuser_id:token\trating:float\n1\t2\t3\n", "two columns are called 'user_id'"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.inter"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        load_ratings(path)


def test_a_listed_id_is_there_once(folder: Path) -> None:
    (folder / "tiny.user").write_text(USER + "1\t30\tM\t90001\n")
    with pytest.raises(InputError, match=r"tiny\.user: the raw id 1 is listed twice"):
        load_ratings(folder)


def test_a_file_of_another_sort_beside_is_left_alone(folder: Path) -> None:
    (folder / "tiny.user").write_text("nothing of the kind\n")
    ratings = load_ratings(folder)
    assert ratings.user_attributes is None
    assert ratings.item_attributes is not None
    assert np.array_equal(ratings.items[:5], np.arange(1, 6))
