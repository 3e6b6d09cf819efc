"""Ratings that are few, equal or counts: a sensible result, or one sentence and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars
import pytest

from coset.data import random_split
from tests.ratings_files import Coset, coset_sentence

Rows = list[tuple[int, int, float]]
FEW = ("--methods", "hashing", "--budgets", "50%", "--dim", 2, "--epochs", 1, "--row", "full", "--row", "hashing")


def write(rows: Rows, name: str = "r.csv") -> str:
    Path(name).write_text("user,item,rating\n" + "".join(f"{u},{i},{r:g}\n" for u, i, r in rows), encoding="utf-8")
    return name


def stars(count: int) -> list[int]:
    return drawn(count, 1, 6)


def drawn(count: int, low: int, high: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(low, high, count).tolist()


HELD_OUT = int(random_split(120, 0.15, 0).validation[0])


def unlike(at: int) -> Rows:
    """Ratings that are all equal but the one at a place."""
    return [(u, i, 5 if 4 * u + i == at else 3) for u in range(30) for i in range(4)]


SENSIBLE: dict[str, Callable[[], Rows]] = {
    "fewer ratings than ids": lambda: list(zip(drawn(90, 0, 500, 1), drawn(90, 0, 500, 2), stars(90), strict=True)),
    "all users with one rating": lambda: [(u, u % 13, rating) for u, rating in enumerate(stars(90))],
    "all users and items with one rating": lambda: [(u, u, rating) for u, rating in enumerate(stars(90))],
}


@pytest.mark.parametrize("name", SENSIBLE)
def test_few_ratings_an_id(coset: Coset, name: str) -> None:
    found = coset("compare", write(SENSIBLE[name]()), *FEW, "--out", "c", "--json").json
    for row in found["rows"]:
        assert 0 <= row["metrics"]["val_mse"]["mean"] < 5, row["name"]


def test_a_search_that_could_learn_nothing_is_left_out(coset: Coset) -> None:
    """The only unlike rating is in the training part, and held out of that by the trainings that choose settings."""
    training = random_split(120, 0.15, 0).training
    at = int(training[random_split(len(training), 0.1, 0).validation[0]])
    found = coset("train", write(unlike(at)), "--row", "full", "--dim", 2, "--epochs", 1, "--out", "t", "--json").json
    assert found["history"][-1]["val_mse"] < 1
    assert "short training" not in " ".join(found["notes"])


def test_a_tuning_slice_of_one_rating(coset: Coset) -> None:
    rows = [(u, u % 5, rating) for u, rating in enumerate(stars(20))]  # 17 train, of which 5 % are one
    found = coset("compare", write(rows), *FEW, "--tuning", "--out", "c", "--json").json
    assert found["split"]["validation_rows"] == 1
    assert all(row["metrics"]["val_mse"]["mean"] >= 0 for row in found["rows"])


def test_nothing_to_learn_is_one_sentence(coset: Coset) -> None:
    same = write([(u, i, 3) for u in range(9) for i in range(4)])
    for command in ("compare", "train"):
        assert "every rating is 3, so there is nothing to learn" in coset(command, same).sentence
    # The only other rating is held out.
    sentence = coset_sentence(coset("train", write(unlike(HELD_OUT)), "--no-tune", "--epochs", 1, "--out", "t"))
    assert "all 102 training ratings are 3" in sentence
    assert "--seed" in sentence
    assert not Path("t", "run.json").exists()


@pytest.mark.filterwarnings("default")
def test_counts_are_learned_as_logarithms(coset: Coset) -> None:
    counts = np.maximum(1, np.random.default_rng(0).lognormal(1, 1.5, 600).astype(int)).tolist()
    plays = write(list(zip(drawn(600, 0, 20, 1), drawn(600, 0, 30, 2), counts, strict=True)))
    train = ("train", plays, "--row", "full", "--dim", 2, "--epochs", 2, "--no-tune")
    plain = coset(*train, "--out", "plain").err
    assert "coset: warning: The ratings look like counts" in plain
    assert "--rating-transform log" in plain
    assert any("--rating-transform log" in note for note in coset("inspect", plays, "--json").json["notes"])

    logged = coset(*train, "--rating-transform", "log", "--out", "logged", "--json")
    assert "warning" not in logged.err
    assert "errors are of that" in " ".join(logged.json["notes"])
    own = coset("evaluate", "logged", "--json").json
    assert own["scale"] == "log(1 + rating)"
    assert coset("evaluate", "plain", "--json").json["scale"] is None
    assert "errors are of log(1 + rating)" in " ".join(coset("evaluate", "logged").out.split())
    again = coset("evaluate", "logged", plays, "--json").json
    assert (again["own"], again["mse"]) == (True, own["mse"])
    coset("predict", "logged", "--part", "validation", "--out", "p.csv")
    found = polars.read_csv("p.csv")
    ratings, predicted = (found[name].to_numpy() for name in ("rating", "prediction"))
    assert np.array_equal(ratings, ratings.round())  # as they are in the file
    assert predicted.min() >= 0
    assert np.mean((np.log1p(predicted) - np.log1p(ratings)) ** 2) == pytest.approx(own["mse"], rel=1e-4)

    # A recipe says the same; another scale is another training.
    said = coset(*train, "--set", "data.rating_transform=log", "--out", "said", "--json").json
    assert said["history"][-1]["val_mse"] == logged.json["history"][-1]["val_mse"]
    other = coset(*train, "--rating-transform", "log", "--out", "plain", "--resume")
    assert "transform" in coset_sentence(other)


def test_what_no_transform_takes(coset: Coset) -> None:
    below = write([(1, 1, -2), (2, 2, 3), (1, 2, 4), (2, 1, 0)])
    assert "row 1" in coset("train", below, "--rating-transform", "log").sentence
    assert "did you mean 'log'" in coset("train", below, "--rating-transform", "logs").sentence
    assert "click log" in coset("train", "synthetic-clicks", "--rating-transform", "log").sentence
    recipe = coset("compare", "ml-1m-frontier", "--rating-transform", "log").sentence
    assert "ml-1m-frontier is a recipe" in recipe
