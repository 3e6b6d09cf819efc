"""Arguments of another kind are refused in one sentence of coset's, never by a raw error or with a wrong result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import coset
from coset.data import Ratings, Vocabulary, ordered_split, random_split
from coset.data.splits import last_split, time_split
from coset.errors import InputError
from coset.methods import known_methods
from coset.settings import number, whole

TABLE = coset.Table("user", 12, 4)
SIZED = ("feature_generation", "hashing", "path_based", "quotient_remainder")


def bag(offsets: Any = None, weights: Any = None) -> Any:
    ids = torch.tensor([0, 3, 3, 11])
    given = torch.tensor([0, 2]) if offsets is None else offsets
    return coset.EmbeddingBag(12, 4, mode="sum")(ids, given, weights)


def fit(weight: Any, frequencies: Any = None) -> Any:
    return coset.Embedding(12, 4).fit_(weight, frequencies)


def pairs_of(tables: Any, features: Any = None) -> Any:
    return coset.EmbeddingCollection(tables, features)


PAIRS = [(TABLE, coset.Full())]
WEIGHT = torch.ones(12, 4)
CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "more rows than numpy counts": (lambda: ordered_split(2**63, 0.25), "number of rows to split must lie in"),
    "rows of a float": (lambda: random_split(12.0, 0.25, 0), "number of rows to split must be a whole number"),
    "a share of text": (lambda: ordered_split(12, "0.25"), "must lie between 0 and 1, not '0.25'"),
    "a share that is none": (lambda: ordered_split(12, float("nan")), "must lie between 0 and 1, not nan"),
    "a seed of a float": (lambda: random_split(12, 0.25, 0.5), "seed of a split must be a whole number"),
    "too few groups": (lambda: random_split(12, 0.25, 0, np.arange(6)), "each of 12 rows, not for 6"),
    "times of text": (lambda: time_split(np.array(["a"] * 4), 0.5), "times of a split must be a numpy array"),
    "times of other rows": (lambda: last_split(np.zeros(3), np.zeros(2)), "must be as many, not 3 and 2"),
    "training rows of floats": (
        lambda: Vocabulary.build("user", np.arange(3), training=np.ones(3)), "training must be numbers of rows",
    ),
    "training rows of two dims": (
        lambda: Vocabulary.build("user", np.arange(3), training=np.zeros((3, 1), int)), "training must be numbers of",
    ),
    "ids in a graph": (lambda: Ratings("a", torch.ones(2, requires_grad=True), [1, 2], [1, 2]), "ids are a column"),
    "a chunk of no ids": (lambda: coset.Embedding(12, 4).materialize(-1), "chunk must be at least 1, not -1"),
    "sparse offsets": (lambda: bag(torch.tensor([0, 2]).to_sparse()), "offsets must be a dense tensor"),
    "offsets without values": (lambda: bag(torch.tensor([0, 2], device="meta")), "offsets must be a dense tensor"),
    "sparse weights": (lambda: bag(weights=torch.ones(4).to_sparse()), "per_sample_weights must be dense"),
    "a weight of one number": (lambda: fit(1.0), "the weight to fit must be a tensor, not float"),
    "a sparse weight": (lambda: fit(WEIGHT.to_sparse()), "the weight to fit must be a dense tensor"),
    "frequencies of text": (lambda: fit(WEIGHT, np.array(["a"] * 12)), "frequencies must be 12 numbers"),
    "frequencies of nothing": (lambda: fit(WEIGHT, torch.ones(12, device="meta")), "must be a dense tensor"),
    "a column of nothing": (
        lambda: coset.Table("user", 12, 4, frequencies=torch.ones(12, device="meta")), "must be a dense tensor",
    ),
    "tables without methods": (lambda: pairs_of([TABLE]), "tables are pairs of a Table and its method"),
    "tables by name": (lambda: pairs_of({"user": TABLE}), "tables are pairs of a Table and its method"),
    "predicted tables by name": (lambda: coset.predict({"user": TABLE}), "tables are pairs of a Table and its method"),
    "features in a list": (lambda: pairs_of(PAIRS, ["user"]), "features must map names of features to tables"),
    "a deviation of 401 digits": (lambda: coset.Embedding(9, 4, std=10**400), "std must be positive and at most 10000"),
    "a deviation of 1e300": (lambda: coset.Embedding(9, 4, std=1e300), "std must be positive and at most 10000"),
    "times with a gradient": (
        lambda: Ratings("mine", [1, 2], [1, 2], [1, 2], times=torch.ones(2, requires_grad=True)),
        "mine: times must be whole numbers, as many as ratings",
    ),
    "ratings with a gradient": (
        lambda: Ratings("mine", [1, 2], [1, 2], torch.ones(2, requires_grad=True)),
        "mine: ratings must be a column of numbers",
    ),
    "times that are NaN": (lambda: time_split(np.array([np.nan, 1.0]), 0.5), "times of a split must be numbers"),
    "a budget of text": (lambda: coset.LowRank.for_budget(TABLE, "1KB"), "a finite number of bytes, not '1KB'"),
    "a budget that is none": (lambda: coset.LowRank.for_budget(TABLE, float("nan")), "max_bytes is a finite number"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "said"), CALLS.values(), ids=CALLS)
def test_refused(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()


@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize("collisions", [0, -0.0, 2.5, "3", np.float64("nan"), True])
def test_collisions_are_a_positive_whole_number(name: str, collisions: Any) -> None:
    with pytest.raises(InputError, match="collisions must be"):
        known_methods()[name].for_collisions(TABLE, collisions)


def test_numbers_of_numpy_are_numbers() -> None:
    """Also of a narrow type, whose own arithmetic would overflow."""
    assert coset.QuotientRemainder.for_collisions(TABLE, np.uint8(3)) == coset.QuotientRemainder(4)
    assert type(whole("n", np.uint8(3))) is int
    assert number("n", np.float32(0.5)) == 0.5


def test_an_error_is_one_line_whatever_it_shows() -> None:
    assert str(InputError("not array([1,\n       2])")) == "not array([1, 2])"
