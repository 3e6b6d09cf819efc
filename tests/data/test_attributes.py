"""Attributes: what is refused, one value out of many rows, and the codes of a vocabulary's ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coset.data.attributes import Attributes
from coset.data.vocabulary import Vocabulary
from coset.errors import InputError

COLUMNS = {"year": [1999, 1995, 1999], "genre": ["War", "", "Drama"]}


def movies(**changes: Any) -> Attributes:
    return Attributes(**{"ids": [7, 50, 9], "columns": COLUMNS, "source": "movies.dat", **changes})


def as_lists(codes: dict[str, np.ndarray]) -> dict[str, list[int]]:
    assert {of.dtype for of in codes.values()} == {np.dtype(np.int64)}
    return {name: of.tolist() for name, of in codes.items()}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": [7, 50, 7]}, ["raw id 7 is listed twice", "number 1", "number 3"]),
        ({"ids": ["a", "b", "b"]}, ["raw id 'b' is listed twice", "number 2", "number 3"]),
        ({"ids": [], "columns": {"year": []}}, ["at least one raw id"]),
        ({"ids": [[7], [8]]}, ["shape (2, 1)"]),
        ({"ids": [7, "a", 9]}, ["ids are not all", "position 1"]),
        ({"columns": {}}, ["at least one column"]),
        ({"columns": {"year": [1999, 1995]}}, ["column 'year'", "(2,)", "expected (3,)"]),
        ({"columns": {"year": np.array([1.5, 2, 3])}}, ["column 'year'", "position 0", "1.5 is no whole number"]),
        ({"columns": {"year": [1999, None, 1999]}}, ["column 'year'", "values are not all", "None"]),
    ],
)
def test_wrong_contents_are_named(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        movies(**changes)
    assert str(caught.value).startswith("movies.dat")
    for word in words:
        assert word in str(caught.value)


def test_codes_are_numbered_by_value() -> None:
    vocabulary = Vocabulary.build("movie", [50, 50, 9, 7])
    assert vocabulary.values.tolist() == [50, 7, 9]
    assert as_lists(movies().codes(vocabulary)) == {"year": [0, 1, 1], "genre": [0, 2, 1]}


def test_values_of_ids_that_are_not_known_take_no_code() -> None:
    assert as_lists(movies().codes(Vocabulary.build("movie", [7, 9]))) == {"year": [0, 0], "genre": [1, 0]}


def test_ids_that_are_not_listed_share_a_code_and_the_unseen_id_has_its_own() -> None:
    raw = [50, 50, 50, 7, 7, 1, 2]
    assert as_lists(movies().codes(Vocabulary.build("movie", raw)))["year"] == [0, 1, 2, 2]
    assert as_lists(movies().codes(Vocabulary.build("movie", raw, unseen="shared")))["year"] == [0, 1, 2, 2, 3]
    assert as_lists(movies().codes(Vocabulary.build("movie", [50, 7], unseen="shared")))["year"] == [1, 0, 2]
    assert as_lists(movies().codes(Vocabulary.build("movie", [1, 2], unseen="shared")))["year"] == [0, 0, 1]


def test_a_number_and_its_text_are_one_id() -> None:
    assert as_lists(movies().codes(Vocabulary.build("movie", ["50", "7", "x"])))["year"] == [0, 1, 2]
    listed_as_text = movies(ids=["7", "50", "x"])
    assert as_lists(listed_as_text.codes(Vocabulary.build("movie", [50, 50, 7, 8])))["year"] == [0, 1, 2]


ids = st.one_of(st.integers(-5, 5), st.sampled_from([2**62, -(2**63)]))


@given(
    st.dictionaries(ids, st.integers(-2, 2), min_size=1),
    st.lists(ids, min_size=1),
    st.sampled_from(["error", "shared"]),
    st.booleans(),
)
def test_codes_agree_with_a_dictionary(known: dict[int, int], raw: list[int], unseen: Any, text: bool) -> None:
    values: dict[Any, Any] = {key: str(value) if text else value for key, value in known.items()}
    vocabulary = Vocabulary.build("x", raw, unseen=unseen)
    codes = Attributes(list(values), {"a": list(values.values())}).codes(vocabulary)["a"].tolist()
    # Not listed and unseen are beside all values, and beside each other.
    of_ids = [("listed", values[key]) if key in values else ("not", 0) for key in vocabulary.values.tolist()]
    of_ids += [("unseen", 0)] * (unseen == "shared")
    ascending = sorted(set(of_ids), key=lambda of: (["listed", "not", "unseen"].index(of[0]), of[1]))
    assert codes == [ascending.index(of) for of in of_ids]


def test_codes_do_not_depend_on_the_order_of_ids() -> None:
    raw = np.array([50, 50, 9, 7, 7, 7])
    one, other = (Vocabulary.build("movie", raw, order=order) for order in ("frequency", "first_appearance"))
    for name in COLUMNS:
        first, second = (
            dict(zip(of.values.tolist(), movies().codes(of)[name].tolist(), strict=True)) for of in (one, other)
        )
        assert first == second


# --- out of rows -------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([3, 1, 2]), min_size=1, max_size=20), st.booleans())
def test_rows_give_each_id_its_value(raw: list[int], text: bool) -> None:
    column: Any = np.array([str(value) for value in raw], dtype=object) if text else np.array(raw)
    found = Attributes.of_rows(column, {"a": column, "b": np.array(raw) * 10}, "f.csv", "item")
    assert len(found.ids) == len(set(raw))
    assert found.ids.tolist() == found.columns["a"].tolist()
    assert [int(of) * 10 for of in found.ids] == found.columns["b"].tolist()


@pytest.mark.parametrize("text", [False, True])
def test_rows_that_disagree_are_named(text: bool) -> None:
    raw: Any = np.array(["8", "7", "7", "8", "7"], dtype=object)
    with pytest.raises(InputError) as caught:
        Attributes.of_rows(raw if text else raw.astype(np.int64), {"year": np.array([1, 5, 5, 1, 6])}, "f.csv", "item")
    raw_id = "'7'" if text else "7"
    assert str(caught.value) == (
        f"f.csv, column 'year': the item {raw_id} has 6 in row 5 of the data (counted from 1) and 5 in row 2; "
        "an attribute needs one value an id"
    )
