"""The synthetic twin: sizes, shape, determinism and the noise floor."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from coset.data import synthetic
from coset.data.loading import load_ratings
from coset.data.ratings import Ratings
from coset.data.synthetic import noise_floor, synthetic_ratings
from coset.errors import InputError


@pytest.fixture(scope="module")
def twin() -> Ratings:
    return synthetic_ratings(seed=0)


def digest(data: Ratings) -> str:
    total = hashlib.sha256()
    for column, kind in ((data.users, "<i8"), (data.items, "<i8"), (data.ratings, "<f4")):
        total.update(np.ascontiguousarray(column, dtype=kind).tobytes())
    return total.hexdigest()


def test_it_is_the_same_on_every_machine(twin: Ratings) -> None:
    assert digest(twin) == "34edac6367d4be678a267dbffc6faf792a2a4bff55b213c42fb131eee50036c6"
    assert twin.noise_floor == pytest.approx(0.6452043635688587, rel=1e-9)


def test_it_is_labelled(twin: Ratings) -> None:
    assert twin.synthetic
    assert (twin.name, twin.item_name) == ("synthetic-ratings", "movie")
    assert twin.source == "synthetic-ratings (seed 0)"


def test_sizes_are_those_of_movielens_1m(twin: Ratings) -> None:
    assert len(twin) == 1_000_209
    users, per_user = np.unique(twin.users, return_counts=True)
    items, per_item = np.unique(twin.items, return_counts=True)
    assert (len(users), len(items)) == (6_040, 3_706)
    assert per_user.min() == 20
    assert per_item.min() >= 1
    assert len(np.unique(twin.users * 10_000 + twin.items)) == 1_000_209
    assert np.bincount(twin.ratings.astype(int))[1:].tolist() == [56_174, 107_557, 261_197, 348_971, 226_310]


def test_skew_is_that_of_movielens_1m(twin: Ratings) -> None:
    per_user = np.unique(twin.users, return_counts=True)[1]
    per_item = np.unique(twin.items, return_counts=True)[1]
    assert np.quantile(per_user, [0.25, 0.5, 0.75, 0.9]) == pytest.approx([44, 96, 208, 400], rel=0.05)
    assert np.quantile(per_item, [0.25, 0.5, 0.75, 0.9]) == pytest.approx([33, 123, 350, 730], rel=0.05)
    assert (per_user.max(), per_item.max()) == pytest.approx((2_314, 3_428), rel=0.1)


def test_rows_are_sorted_by_user_and_raw_ids_tell_nothing(twin: Ratings) -> None:
    assert (np.diff(twin.users) >= 0).all()
    assert not (np.diff(twin.items[:20]) > 0).all()
    for ids in (twin.users, twin.items):
        raw, counts = np.unique(ids, return_counts=True)
        assert abs(np.corrcoef(raw, counts)[0, 1]) < 0.05
    assert (twin.items.min(), twin.items.max()) == (1, 3_952)


def test_attributes_have_the_names_and_sizes_of_those_of_movielens_1m(twin: Ratings) -> None:
    sizes = {}
    for attributes, ids in ((twin.user_attributes, twin.users), (twin.item_attributes, twin.items)):
        assert attributes is not None
        assert sorted(attributes.ids) == np.unique(ids).tolist()
        for name, values in attributes.columns.items():
            counts = np.bincount(values)
            assert (np.diff(counts) <= 1).all()
            assert counts.min() > 0
            sizes[name] = len(counts)
    assert sizes == {"gender": 2, "age": 7, "occupation": 21, "year": 81, "genres": 301, "first_genre": 18}
    assert twin.user_attributes is not None
    assert twin.user_attributes.columns["age"][:8].tolist() == [0, 1, 2, 3, 6, 2, 0, 0]


def test_the_noise_floor_against_drawing_ratings_again() -> None:
    users, items, popularity = synthetic._pairs(0)
    score = synthetic._scores(0, users, items, popularity)
    _, thresholds = synthetic._cut(score + synthetic._normals(0, "noise", len(score)))
    few = score[::50]
    generator = np.random.Generator(np.random.PCG64(1))
    mean = np.zeros(len(few))
    squares = np.zeros(len(few))
    draws = 300
    for _ in range(draws):
        rating = 1 + np.searchsorted(thresholds, few + generator.standard_normal(len(few)))
        mean += rating / draws
        squares += rating**2 / (draws - 1)
    drawn = (squares - mean**2 * draws / (draws - 1)).mean()
    assert noise_floor(few, thresholds) == pytest.approx(drawn, rel=0.002)
    assert noise_floor(score, thresholds) == pytest.approx(noise_floor(few, thresholds), rel=0.01)


def test_the_best_predictor_reaches_the_noise_floor(twin: Ratings) -> None:
    users, items, popularity = synthetic._pairs(0)
    score = synthetic._scores(0, users, items, popularity)
    ratings, _ = synthetic._cut(score + synthetic._normals(0, "noise", len(score)))
    # The mean rating in a narrow band of scores is the best prediction there.
    bands = np.argsort(np.argsort(score)) // 500
    best = np.bincount(bands, ratings) / np.bincount(bands)
    assert twin.noise_floor is not None
    assert ((best[bands] - ratings) ** 2).mean() == pytest.approx(twin.noise_floor, rel=0.005)


def test_noise_floor_worked_by_hand() -> None:
    # One threshold at the score itself: 1 or 2 with equal chance, variance 1/4; far below it: always 2.
    assert noise_floor(np.array([0.0, 40.0]), np.array([0.0])) == pytest.approx(0.125, abs=1e-9)


def test_biases_alone_reach_what_they_reach_on_movielens_1m(twin: Ratings) -> None:
    users = np.unique(twin.users, return_inverse=True)[1]
    items = np.unique(twin.items, return_inverse=True)[1]
    validates = np.random.PCG64(5).random_raw(len(twin)) % np.uint64(20) < 3
    trains = ~validates
    rest = twin.ratings.astype(np.float64) - twin.ratings[trains].mean(dtype=np.float64)
    user_bias, item_bias = np.zeros(6_040), np.zeros(3_706)
    for _ in range(8):  # alternating least squares, shrunk by 3 and 6 ratings of error 0
        without = rest[trains] - user_bias[users[trains]]
        item_bias = np.bincount(items[trains], without, 3_706) / (np.bincount(items[trains], minlength=3_706) + 3)
        without = rest[trains] - item_bias[items[trains]]
        user_bias = np.bincount(users[trains], without, 6_040) / (np.bincount(users[trains]) + 6)
    error = rest[validates] - user_bias[users[validates]] - item_bias[items[validates]]
    mse = float((error**2).mean())
    assert mse == pytest.approx(0.823, abs=0.01)
    assert twin.noise_floor is not None
    assert 0.6 < twin.noise_floor < 0.7 < mse


def test_seeds(twin: Ratings) -> None:
    assert digest(synthetic_ratings(seed=1)) != digest(twin)
    assert digest(load_ratings("synthetic-ratings")) == digest(twin)
    with pytest.raises(InputError, match=r"seed.*-1"):
        synthetic_ratings(seed=-1)


def test_an_item_that_nobody_drew_gets_a_rating(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "NUM_ITEMS", 6)
    items = np.array([0, 1, 0, 2, 0, 3])
    assert synthetic._leave_no_item_out(items).tolist() == [4, 1, 5, 2, 0, 3]
