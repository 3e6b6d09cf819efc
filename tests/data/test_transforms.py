"""Transforms of ratings: what is learned, what is kept, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from coset.data import Ratings, load_ratings, ordered_split
from coset.data.encoded import encode
from coset.data.transforms import Transform, register_transform, transform_named
from coset.data.transforms.base import TRANSFORMS
from coset.errors import InputError
from coset.tasks.ratings import fingerprint


def plays(counts: list[float]) -> Ratings:
    return Ratings("plays", list(range(len(counts))), [7, 8] * (len(counts) // 2), counts, noise_floor=1.0)


def test_a_logarithm_is_what_is_learned_and_the_data_stay() -> None:
    given = plays([0, 1, 99, 1e6]).transformed("log")
    assert given.ratings.tolist() == [0, 1, 99, 1e6]
    assert given.targets.dtype == np.float32
    assert np.allclose(given.targets, np.log1p([0, 1, 99, 1e6]), rtol=1e-6)
    assert given.noise_floor is None  # that of another scale
    encoded = encode(given, ordered_split(4, 0.25))
    assert encoded.targets.tolist() == given.targets.tolist()
    assert given.select([2, 0]).targets.tolist() == given.targets[[2, 0]].tolist()
    assert plays([1, 2]).targets.tolist() == [1, 2]


def test_there_and_back() -> None:
    for name in TRANSFORMS.all():
        transform, ratings = transform_named(name), np.array([0.0, 0.5, 1.0, 3.0, 1e7])
        assert transform.takes(ratings).all()
        assert np.allclose(transform.back(transform.forward(ratings)), ratings, rtol=1e-12)
        assert (np.diff(transform.forward(ratings)) > 0).all()
        assert transform.formula and transform.needs  # noqa: PT018


def test_ratings_without_a_logarithm_are_named() -> None:
    with pytest.raises(InputError, match=r"row 2 .* is -1, .* needs ratings of 0 or more"):
        plays([3, -1]).transformed("log")
    with pytest.raises(InputError, match="unknown transform 'logs': did you mean 'log'"):
        plays([3, 1]).transformed("logs")
    with pytest.raises(InputError, match="rating_transform"):
        load_ratings("synthetic-ratings", rating_transform=3)  # type: ignore[arg-type]


def test_a_fingerprint_tells_the_transform_and_the_same_data() -> None:
    plain, logged = (fingerprint(of) for of in (plays([1, 2]), plays([1, 2]).transformed("log")))
    assert plain != logged
    assert plain["sha256"] == logged["sha256"]


def test_a_transform_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TRANSFORMS, "_classes", dict(TRANSFORMS.so_far))

    @register_transform("root")
    class Root(Transform):
        formula = "the root of the rating"
        needs = "ratings of 0 or more"

        def takes(self, ratings: np.ndarray) -> np.ndarray:
            return np.asarray(ratings >= 0)

        def forward(self, ratings: np.ndarray) -> np.ndarray:
            return np.sqrt(np.asarray(ratings, np.float64))

        def back(self, values: np.ndarray) -> np.ndarray:
            return np.square(values)

    assert plays([4, 9]).transformed("root").targets.tolist() == [2, 3]
