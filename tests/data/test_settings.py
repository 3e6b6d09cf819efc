"""The data part of a recipe: what it refuses, and what it makes of ratings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coset import settings
from coset.data import Attributes, Ratings
from coset.data.settings import DataSettings, SplitSettings, VocabularySettings, prepare
from coset.errors import InputError

N = 400
RATINGS = Ratings("made", np.arange(N) % 23, (np.arange(N) * 7) % 31, 1 + np.arange(N) % 5)


@pytest.mark.parametrize(
    ("cls", "fields", "message"),
    [
        (SplitSettings, {"validation": 0.0}, "validation"),
        (SplitSettings, {"validation": 1.0}, "validation"),
        (SplitSettings, {"validation": -0.1}, "validation"),
        (SplitSettings, {"tuning": 1.0}, "tuning"),
        (SplitSettings, {"tuning": -0.05}, "tuning"),
        (SplitSettings, {"kind": "randm"}, "'random', 'ordered'"),
        (SplitSettings, {"validaton": 0.1}, "did you mean 'validation'"),
        (VocabularySettings, {"user_order": "popularity"}, "'frequency', 'first_appearance'"),
        (VocabularySettings, {"frequencies": "test"}, "'training', 'all'"),
        (DataSettings, {}, "needs source"),
        (DataSettings, {"source": "x.csv", "item_attributes": "year"}, "item_attributes must be a list"),
        (DataSettings, {"source": 3}, "source must be of type str"),
        (DataSettings, {"source": "x.csv", "usr": "u"}, "did you mean 'user'"),
    ],
)
def test_wrong_settings(cls: type[Any], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings.make(cls, fields, "part")


def test_settings_written_before_there_were_attributes_compare_equal() -> None:
    assert {key for key, value in settings.plain(DataSettings("x.csv")).items() if value is not None} == {"source"}


def test_attributes_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item,rating,year\n1,1,1,1999\n2,2,2,2001\n")
    data = settings.make(DataSettings, {"source": str(path), "item_attributes": ["year"]}, "data")
    assert settings.make(DataSettings, settings.plain(data), "data") == data
    attributes = data.load().item_attributes
    assert attributes is not None
    assert attributes.columns["year"].tolist() == [1999, 2001]


def test_tuning_keeps_the_attributes() -> None:
    known = Attributes(np.arange(23), {"parity": np.arange(23) % 2})
    tuned = prepare(replace(RATINGS, user_attributes=known), SplitSettings(tuning=0.1), VocabularySettings(), 0)
    assert tuned.user.attributes["parity"].tolist() == (tuned.user.values % 2).tolist()
    assert tuned.item.attributes == {}


def test_all_rows_of_one_seed_share_the_split() -> None:
    first, again, other = (prepare(RATINGS, SplitSettings(), VocabularySettings(), seed) for seed in (0, 0, 1))
    assert np.array_equal(first.split.validation, again.split.validation)
    assert not np.array_equal(first.split.validation, other.split.validation)
    assert len(first.split.validation) == round(0.15 * N)


@pytest.mark.parametrize("kind", ["random", "ordered"])
def test_a_tuning_slice_comes_out_of_training_and_validation_is_gone(kind: Any) -> None:
    marked = Ratings("made", np.arange(N) % 23, (np.arange(N) * 7) % 31, np.arange(N))
    split = SplitSettings(kind=kind)
    plain = prepare(marked, split, VocabularySettings(), 5)
    tuned = prepare(marked, SplitSettings(kind=kind, tuning=0.1), VocabularySettings(), 5)
    validation = set(plain.split.validation.tolist())
    assert len(tuned) == len(tuned.split) == N - len(validation)
    assert validation.isdisjoint(tuned.targets.int().tolist())  # ratings are the row numbers here
    assert len(tuned.split.validation) == round(0.1 * (N - len(validation)))
    assert set(tuned.split.training.tolist()).isdisjoint(tuned.split.validation.tolist())
    again = prepare(marked, SplitSettings(kind=kind, tuning=0.1), VocabularySettings(), 5)
    assert np.array_equal(tuned.split.validation, again.split.validation)


def test_frequencies_come_from_training_rows_unless_told_otherwise() -> None:
    of_training = prepare(RATINGS, SplitSettings(), VocabularySettings(), 0)
    of_all = prepare(RATINGS, SplitSettings(), VocabularySettings(frequencies="all"), 0)
    assert of_training.user.frequencies.sum() == len(of_training.split.training)
    assert of_all.user.frequencies.sum() == N


def test_a_random_split_keeps_every_id_and_an_ordered_one_sends_new_ids_to_the_shared_row() -> None:
    users = np.concatenate([np.arange(N - 1) % 23, [99]])
    late = Ratings("late", users, RATINGS.items, RATINGS.ratings)
    for seed in range(5):
        assert prepare(late, SplitSettings(), VocabularySettings(), seed).user.num_embeddings == 24
    ordered = prepare(late, SplitSettings(kind="ordered"), VocabularySettings(), 0)
    assert ordered.user.num_embeddings == 24
    assert ordered.users[-1].item() == 23
    assert ordered.user.frequencies[-1] == 0


def test_users_may_be_numbered_by_first_appearance() -> None:
    found = prepare(RATINGS, SplitSettings(), VocabularySettings(user_order="first_appearance"), 0)
    assert found.users[:23].tolist() == list(range(23))
