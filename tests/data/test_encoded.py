"""Encoding: which ids are known, which rows are counted, and what comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coset.data import Attributes, Ratings, encode, load_ratings, look_up, ordered_split, random_split
from coset.errors import InputError


def make(name: str, users: Any, items: Any, ratings: Any) -> Ratings:
    return Ratings(name, users, items, ratings, item_name="movie")


def tiny() -> Ratings:
    return make("tiny", [1, 1, 2, 2, 3], ["a", "b", "a", "c", "d"], [5, 3, 4, 1, 2])


def test_a_random_split_knows_all_ids_and_counts_training_rows() -> None:
    data, split = tiny(), random_split(5, 0.4, seed=1)
    encoded = encode(data, split)
    assert (encoded.user.name, encoded.item.name) == ("user", "movie")
    assert (encoded.user.num_embeddings, encoded.item.num_embeddings) == (3, 4)
    assert encoded.user.frequencies.sum() == encoded.item.frequencies.sum() == len(split.training)
    assert encoded.user.unseen == encoded.item.unseen == "error"
    assert encoded.user.values[encoded.users.numpy()].tolist() == data.users.tolist()
    assert encoded.item.values[encoded.items.numpy()].tolist() == data.items.tolist()
    assert encoded.targets.tolist() == data.ratings.tolist()
    assert (encoded.users.dtype, encoded.items.dtype, encoded.targets.dtype) == (
        torch.int64,
        torch.int64,
        torch.float32,
    )
    assert len(encoded) == 5


def test_an_ordered_split_knows_training_ids_and_shares_a_row() -> None:
    encoded = encode(tiny(), ordered_split(5, 0.4))
    assert encoded.user.values.tolist() == [1, 2]
    assert encoded.users.tolist() == [0, 0, 1, 1, 2]
    assert encoded.items.tolist() == [0, 1, 0, 2, 2]
    assert encoded.item.frequencies.tolist() == [2, 1, 0]


def test_the_rules_can_be_set() -> None:
    encoded = encode(
        tiny(),
        ordered_split(5, 0.4),
        known="all",
        unseen="error",
        frequencies="all",
        user_order="first_appearance",
    )
    assert encoded.user.order == "first_appearance"
    assert encoded.user.values.tolist() == [1, 2, 3]
    assert encoded.user.frequencies.tolist() == [2, 2, 1]


def test_attributes_become_codes_of_the_ids() -> None:
    data = replace(
        tiny(),
        user_attributes=Attributes([3, 2, 1], {"age": [30, 20, 20]}),
        item_attributes=Attributes(["a", "c", "d"], {"year": [1999, 2001, 1950]}),
    )
    encoded = encode(data, random_split(5, 0.4, seed=1))
    by_user = dict(zip(encoded.user.values.tolist(), encoded.user.attributes["age"].tolist(), strict=True))
    by_item = dict(zip(encoded.item.values.tolist(), encoded.item.attributes["year"].tolist(), strict=True))
    assert by_user == {1: 0, 2: 0, 3: 1}
    assert by_item == {"a": 1, "b": 3, "c": 2, "d": 0}
    future = encode(data, ordered_split(5, 0.4))  # knows a and b only
    assert future.item.values.tolist() == ["a", "b"]
    assert future.item.attributes["year"].tolist() == [0, 1, 2]
    assert encode(tiny(), ordered_split(5, 0.4)).item.attributes == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frequencies": "validation"}, ["'validation'", "'training'"]),
        ({"frequencies": "all"}, ["known='all'"]),
        ({"unseen": "error"}, ["feature 'user'", "3", "row 5 of the data (counted from 1)", "unseen=shared"]),
    ],
)
def test_wrong_options(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        encode(tiny(), ordered_split(5, 0.4), **options)
    for word in words:
        assert word in str(caught.value)


def test_a_split_of_other_data() -> None:
    with pytest.raises(InputError, match="tiny: a split of 6 rows for data of 5 rows"):
        encode(tiny(), ordered_split(6, 0.5))


def test_targets_are_not_the_raw_data() -> None:
    data = tiny()
    encode(data, ordered_split(5, 0.4)).targets.zero_()
    assert data.ratings.tolist() == [5, 3, 4, 1, 2]


def test_another_file_whose_ids_are_of_the_other_sort() -> None:
    encoded = encode(make("text", ["1", "x"], [1, 2], [1, 2]), random_split(2, 0.5, 0), unseen="shared")
    users, items, targets = look_up(make("numbers", [1, 7], ["2", "y"], [4, 5]), encoded.user, encoded.item)
    assert encoded.user.values[users[0]] == "1"
    assert encoded.item.values[items[0]] == 2
    assert (int(users[1]), int(items[1])) == (2, 2)
    assert targets.tolist() == [4, 5]


def test_the_real_movielens_1m(movielens_zip: Path) -> None:
    data = load_ratings("movielens-1m")
    split = random_split(len(data), 0.15, seed=0)
    encoded = encode(data, split)
    assert (len(split.training), len(split.validation)) == (850_178, 150_031)
    assert (encoded.user.num_embeddings, encoded.item.num_embeddings) == (6_040, 3_706)
    assert int(encoded.item.frequencies.sum()) == 850_178
    assert (np.diff(encoded.item.frequencies) <= 0).all()
    training = encoded.items[torch.from_numpy(split.training)]
    assert torch.bincount(training, minlength=3_706).tolist() == encoded.item.frequencies.tolist()
    assert np.array_equal(encoded.item.values[encoded.items.numpy()], data.items)
    assert np.array_equal(encoded.user.values[encoded.users.numpy()], data.users)
    sizes = {name: len(set(of.tolist())) for of in (encoded.user, encoded.item) for name, of in of.attributes.items()}
    assert sizes == {"gender": 2, "age": 7, "occupation": 21, "year": 81, "genres": 301, "first_genre": 18}
    assert data.item_attributes is not None
    years = dict(zip(data.item_attributes.ids.tolist(), data.item_attributes.columns["year"].tolist(), strict=True))
    known = np.array([years[movie] for movie in encoded.item.values.tolist()])
    assert np.array_equal(np.unique(known)[encoded.item.attributes["year"]], known)
