"""Arguments of another kind are refused in one sentence of coset's, never by a raw error or with a wrong result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import coset
from coset.data import Ratings, Vocabulary, encode, load_ratings, ordered_split, random_split
from coset.data.clicks import Feature, write_synthetic
from coset.data.splits import last_split, time_split
from coset.errors import InputError
from coset.methods import registered
from coset.optimizers import SGD
from coset.settings import number, whole

TABLE = coset.Table("user", 12, 4)
SIZED = ("feature_generation", "hashing", "path_based", "quotient_remainder")


def bag(offsets: Any = None, weights: Any = None) -> Any:
    ids = torch.tensor([0, 3, 3, 11])
    given = torch.tensor([0, 2]) if offsets is None else offsets
    return coset.EmbeddingBag(12, 4, mode="sum")(ids, given, weights)


def fit(weight: Any, frequencies: Any = None) -> Any:
    return coset.Embedding(12, 4).fit_(weight, frequencies)


def compressed(plan: Any = "full", **given: Any) -> Any:
    return coset.compress_(torch.nn.ModuleDict({"user": torch.nn.Embedding(12, 4)}), plan, **given)


def step(**given: Any) -> Any:
    return coset.predict(PAIRS, **({"optimizer": "adam", "batch_size": 5} | given))


def pairs_of(tables: Any, features: Any = None) -> Any:
    return coset.EmbeddingCollection(tables, features)


def owner(**options: Any) -> Any:
    return SGD(coset.EmbeddingCollection(PAIRS), lr=0.1, **options)


PAIRS = [(TABLE, coset.Full())]
PLAN = coset.Plan.from_json({"embedding_dim": 4, "tables": {"user": {"method": "full"}}})
RATINGS = Ratings("mine", [1, 2], [1, 2], [1, 2])
WEIGHT = torch.ones(12, 4)
CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "more rows than numpy counts": (lambda: ordered_split(2**63, 0.25), "number of rows to split must lie in"),
    "rows of a float": (lambda: random_split(12.0, 0.25, 0), "number of rows to split must be a whole number"),
    "a share of text": (lambda: ordered_split(12, "0.25"), "hold out must be a number, not '0.25'"),
    "a share that is none": (lambda: ordered_split(12, float("nan")), "hold out must be a number, not nan"),
    "a seed of a float": (lambda: random_split(12, 0.25, 0.5), "seed of a split must be a whole number"),
    "too few groups": (lambda: random_split(12, 0.25, 0, np.arange(6)), "each of 12 rows, not for 6"),
    "times of text": (lambda: time_split(np.array(["a"] * 4), 0.5), "times of a split must be a numpy array"),
    "times of other rows": (lambda: last_split(np.zeros(3), np.zeros(2)), "must be as many, not 3 and 2"),
    "no rows at all": (lambda: last_split(np.zeros(0, int), np.zeros(0, int)), "no user has two rows"),
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
    "sparse weights": (lambda: bag(weights=torch.ones(4).to_sparse()), "per_sample_weights must be a dense tensor"),
    "weights without values": (
        lambda: bag(weights=torch.ones(4, device="meta")), "per_sample_weights .* on the meta device, without values"
    ),
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
    "an order of lists of several lengths": (
        lambda: coset.Embedding(12, 4, order=[1, [2]]), r"order must be 12 whole numbers, one an id, not \[1, \[2\]",
    ),
    "an order of text": (lambda: coset.Embedding(12, 4, order=list("abc")), "order must be 12 whole numbers"),
    "an order that is sparse": (
        lambda: coset.Embedding(12, 4, order=torch.arange(12).to_sparse()), "one an id, not of int64, sparse_coo",
    ),
    "an order of booleans": (lambda: coset.Embedding(2, 4, order=np.array([True, False])), "order must be 2 whole"),
    "more ids than a tensor counts": (lambda: coset.Table("t", 10**30, 4), "num_embeddings must lie in 1 … 9223372036"),
    "more elements than that": (lambda: coset.Table("t", 4, 2**63), "embedding_dim must lie in 1 …"),
    "more buckets than 64 bits count": (lambda: coset.QuotientRemainder(10**30), "a whole number of at most 64 bits"),
    "a float where a whole number is meant": (lambda: coset.Table("t", 4.0, 4), "whole number, not the float 4.0"),
    "a batch of a float": (lambda: step(batch_size=3.0), "batch_size must be a whole number, not the float 3.0"),
    "bags of more ids than memory has": (lambda: step(ids_per_bag=1e300), "ids_per_bag must lie in 0 … "),
    "bags of text": (lambda: step(ids_per_bag="1"), "feature 'user': ids_per_bag must be a number, not '1'"),
    "threads of a half": (lambda: step(threads=0.5), "threads must be a whole number, not 0.5"),
    "frequencies of a model in a list": (
        lambda: compressed(frequencies=[1]), "frequencies must be a column by name of the module, not",
    ),
    "one name where a list is meant": (
        lambda: compressed(leave="user"), "leave must be a list of names",
    ),
    "tables that are a number": (lambda: coset.predict(5), "tables are pairs of a Table and its method, not 5"),
    "a device that is none": (lambda: coset.Embedding(4, 2, device=-1), "device must be one of torch's, such as 'cpu'"),
    "a type that is an array": (lambda: coset.Embedding(4, 2, dtype=np.ones(2)), "dtype must be"),
    "no table": (lambda: coset.Embedding.from_table(None), "table must be a coset.Table, not None"),
    "a mode that is an array": (lambda: coset.EmbeddingBag(4, 2, mode=np.ones(2)), "mode must be 'sum', 'mean' or"),
    "a bound that is an array": (lambda: coset.EmbeddingCollection(PAIRS, full_below=np.ones(2)), "full_below must be"),
    "orders in a list": (lambda: coset.EmbeddingCollection(PAIRS, orders=[1]), "orders must be an order by name"),
    "a flag that is an array": (lambda: step(sparse=np.ones(2)), "sparse must be True or False, not array"),
    "an optimizer in a list": (lambda: step(optimizer=["adam"]), "unknown optimizer of engine 'plain'"),
    "no optimizer": (lambda: coset.measure(torch.nn.Linear(2, 2), True), "measure takes optimizers of torch"),
    "a plan of no tables": (lambda: coset.plan(None, 5), "tables must be a list of coset.Table, not None"),
    "methods that are a flag": (lambda: coset.plan([TABLE], 5, methods=True), "methods must be a list of names"),
    "curves in a list": (lambda: coset.plan([TABLE], 5, curves=[1]), "curves must be a Curve by name of the table"),
    "a plan for no tables": (lambda: PLAN.fitted("ab"), "tables must be a list of coset.Table, not 'ab'"),
    "a plan beside text": (lambda: PLAN.fitted([TABLE], "1"), "other_bytes must be a whole number, not '1'"),
    "a choice of no method": (lambda: type(PLAN.tables["user"])(4, None), "method must be a table of fields, not None"),
    "no model": (lambda: coset.expand_(None), "the model must be a module of torch, not None"),
    "a state of nothing": (lambda: owner().load_state_dict(None), "the state to load is of another optimizer"),
    "a state of other things": (
        lambda: owner().load_state_dict({**owner().state_dict(), "state": {"a": 1}}), "the state to load is of another",
    ),
    "a word that is an array": (lambda: owner(nonfinite=np.ones(2)), "nonfinite must be 'error' or 'skip'"),
    "ratings that are text": (lambda: encode("x", ordered_split(4, 0.5)), "ratings must be coset.data.Ratings"),
    "rows that are a half": (lambda: RATINGS.select(1.5), "rows are picked by positions within 2"),
    "a separator that is a flag": (lambda: load_ratings(__file__, separator=True), "separator must be text, not True"),
    "attributes that are a flag": (lambda: load_ratings(__file__, user_attributes=True), "attributes are a list"),
    "a source that is a number": (lambda: Ratings("a", [1, 2], [1, 2], [1, 2], source=5), "source must be text, not 5"),
    "a feature of a half": (lambda: Feature("a", 0.5), "feature 'a': num_embeddings must be a whole number, not 0.5"),
    "more rows than a disk has": (lambda: write_synthetic("x", 2**63), "rows must lie in 1 … 1099511627776"),
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
        registered()[name].for_collisions(TABLE, collisions)


def test_a_step_of_no_ids_takes_what_a_step_takes() -> None:
    assert step(ids_per_bag=0, engine="fused", optimizer="sgd").step >= 0


@pytest.mark.parametrize("one", [np.int64(5), np.uint8(5), np.array(5), torch.tensor(5)], ids=repr)
def test_a_whole_number_is_one_in_whatever_it_comes(one: Any) -> None:
    """And what is made of it are numbers of Python."""
    ledger = step(batch_size=one, ids_per_bag=np.float64(1.5), threads=one)
    assert ledger.to_json() == step(batch_size=5, ids_per_bag=1.5, threads=5).to_json()
    assert type(ledger.step) is int
    assert coset.QuotientRemainder(one) == coset.QuotientRemainder(5)
    assert type(coset.QuotientRemainder(one).num_buckets) is int
    assert coset.Table("user", one, one) == coset.Table("user", 5, 5)
    assert coset.plan([coset.Table("user", 9, 4, frequencies=[1] * 9)], torch.tensor(64), embedding_dims=[one]).bytes


def test_numbers_of_numpy_are_numbers() -> None:
    """Also of a narrow type, whose own arithmetic would overflow."""
    assert coset.QuotientRemainder.for_collisions(TABLE, np.uint8(3)) == coset.QuotientRemainder(4)
    assert type(whole("n", np.uint8(3))) is int
    assert number("n", np.float32(0.5)) == 0.5


def test_an_error_is_one_line_whatever_it_shows() -> None:
    assert str(InputError("not array([1,\n       2])")) == "not array([1, 2])"
