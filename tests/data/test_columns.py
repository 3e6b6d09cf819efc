"""Finding the user, item and rating columns."""

from __future__ import annotations

import sys

import pytest

from coset.data.columns import Columns, import_polars
from coset.errors import InputError


@pytest.mark.parametrize(
    "names",
    [
        ["userId", "movieId", "rating", "timestamp"],
        ["user_id", "item_id", "rating"],
        ["User ID", "Item ID", "Stars"],
        ["user", "product", "score"],
    ],
)
def test_usual_names_are_found(names: list[str]) -> None:
    assert Columns().find(names, "f.csv") == (0, 1, 2)


def test_columns_that_are_not_taken_may_be_called_alike() -> None:
    assert Columns().find(["user", "item", "rating", "score", "score", "note", "note"], "f.csv") == (0, 1, 2)
    assert Columns(user="userId").find(["user_id", "userId", "item", "rating"], "f.csv") == (1, 2, 3)


def test_given_names_win_over_guesses() -> None:
    assert Columns(rating="stars", user="who").find(["user", "who", "item", "rating", "stars"], "f") == (1, 2, 4)


def test_attributes_come_after_the_three_and_may_be_any_column() -> None:
    columns = Columns(user_attributes=("age",), item_attributes=("year", "age", "movieId"))
    assert columns.find(["age", "userId", "movieId", "rating", "year"], "f") == (1, 2, 3, 0, 4, 0, 2)
    assert [whose for whose, _ in columns.attributes] == ["user", "item", "item", "item"]


@pytest.mark.parametrize(
    ("columns", "names", "words"),
    [
        (Columns(), ["a", "item", "rating"], ["user", "'a', 'item', 'rating'", "user=…", "--user"]),
        (Columns(), ["user", "a", "rating"], ["item", "--item"]),
        (Columns(item="movie"), ["user", "movies", "rating"], ["no column 'movie'", "did you mean 'movies'?"]),
        (Columns(item="zzz"), ["user", "movies", "rating"], ["no column 'zzz'", "'user', 'movies', 'rating'"]),
        (Columns(item="user"), ["user", "movies", "rating"], ["three columns", "'user'"]),
        (Columns(item="x"), ["user", "x", "x", "rating"], ["two columns", "'x'", "rename"]),
        (Columns(), ["user", "item", "rating", "rating"], ["two columns", "'rating'", "rename"]),
        (Columns(), ["user", "user", "item", "rating"], ["two columns", "'user'", "rename"]),
        (Columns(), ["user", "itemId", "itemId", "rating"], ["two columns", "'itemId'", "the item", "rename"]),
        (
            Columns(item_attributes=("yaer",)),
            ["user", "item", "rating", "year"],
            ["no column 'yaer' for the item attribute", "did you mean 'year'?"],
        ),
        (
            Columns(user_attributes=("age",)),
            ["user", "item", "rating", "age", "age"],
            ["two columns", "the user attribute is ambiguous"],
        ),
        (Columns(), ["userId", "user_id", "item", "rating"], ["2 columns", "'userId', 'user_id'", "--user"]),
    ],
)
def test_errors_list_the_columns_and_the_way_out(columns: Columns, names: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        columns.find(names, "f.csv")
    for word in ["f.csv", *words]:
        assert word in str(caught.value)


def test_missing_polars_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(InputError, match=r"f\.csv.*pip install 'coset\[cli\]'"):
        import_polars("f.csv")
