"""The synthetic long tail: its law, its floors, and that it is the same everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from coset.data import load_ratings
from coset.data.long_tail import FACTORS, floors, long_tail_ratings
from coset.errors import InputError


def test_most_items_are_rated_once_or_twice() -> None:
    data = long_tail_ratings()
    counts = np.unique(data.items, return_counts=True)[1]
    assert 0.68 < (counts <= 2).mean() < 0.72
    assert counts.max() > 1000
    assert set(data.ratings.tolist()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert len(np.unique(data.users * 10**6 + data.items)) == len(data)


def test_the_same_on_every_machine() -> None:
    data = long_tail_ratings(3, 0.5)
    words = b"".join(np.ascontiguousarray(of).tobytes() for of in (data.users, data.items, data.ratings))
    assert hashlib.sha256(words).hexdigest()[:16] == "12a3c5272a555496"
    assert not np.array_equal(long_tail_ratings(4).ratings[:1000], long_tail_ratings(5).ratings[:1000])


def test_floors() -> None:
    plain, planted = floors(), floors(0, FACTORS)
    assert plain.additive == plain.best == long_tail_ratings().noise_floor
    assert planted.best == long_tail_ratings(0, FACTORS).noise_floor
    assert planted.best < plain.best < planted.additive  # extreme scores are cut, which leaves less noise


@pytest.mark.parametrize(("name", "factors"), [("synthetic-long-tail", 0.0), ("synthetic-long-tail-factors", FACTORS)])
def test_they_are_built_in(name: str, factors: float) -> None:
    data, wanted = load_ratings(name), long_tail_ratings(0, factors)
    assert data.name == name
    assert data.synthetic
    assert np.array_equal(data.ratings, wanted.ratings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((-1,), "must be a whole number from 0 on, not -1"), ((0, -0.5), "factors must be 0 or more, not -0.5"),
     ((0, float("nan")), "factors must be 0 or more, not nan")],
)  # fmt: skip
def test_bad_arguments(arguments: tuple[float, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        long_tail_ratings(*arguments)  # type: ignore[arg-type]


def test_no_times() -> None:
    with pytest.raises(InputError, match="synthetic-long-tail has no times; split it at random"):
        load_ratings("synthetic-long-tail", time=True)
