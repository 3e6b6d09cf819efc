"""Which table of a model gets which method: rules, budgets and plans."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import coset
import coset.optimizers
from coset import LowRank, QuotientRemainder, compress_
from coset.errors import InfeasibleBudget, InputError
from coset.ledger import components_of, inference_bytes
from coset.planning.compress import tables_of
from coset.planning.plan import Plan
from coset.planning.planner import plan
from tests.planning.models import towers

FLOATS = ["float32"]

# -- rules --------------------------------------------------------------------------------------------


def methods(model: nn.Module) -> dict[str, Any]:
    return {
        name: of.method for name, of in model.named_modules() if isinstance(of, coset.Embedding | coset.EmbeddingBag)
    }


def test_an_exact_name_counts_before_patterns_and_the_first_of_these() -> None:
    model = towers()
    rules = {
        "items.*": LowRank(2),
        "*": {"method": "low_rank", "rank": 3},
        "items.tags": "full",
        "genre": lambda t: LowRank(1),
    }
    compress_(model, rules)
    assert methods(model) == {"user": LowRank(3), "items.movie": LowRank(2), "genre": LowRank(1)}


def test_no_rule_is_about_some_and_others_are_left_on_purpose() -> None:
    model = towers()
    report = compress_(model, {"items.*": LowRank(2)}, leave=["items.tags"])
    assert methods(model) == {"items.movie": LowRank(2)}
    assert [of.note for of in report.tables] == ["left as it is", "", "left as it is", "left as it is"]
    model = towers()
    compress_(model, {"user": LowRank(2)}, full_below=201)
    assert methods(model) == {}


def test_a_function_sizes_each_table_for_itself() -> None:
    model = towers()
    compress_(model, lambda table: QuotientRemainder.for_collisions(table, 4))
    assert methods(model)["user"] == QuotientRemainder(50)
    assert methods(model)["genre"] == QuotientRemainder(3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 25_000), st.sampled_from([0, 50, 150]))
def test_a_budget_is_never_exceeded_and_counts_what_stays_full(budget: int, full_below: int) -> None:
    model = towers()
    floor = 600 * 4 + 3 * 32 + 12 * 32 if full_below else 612 * 4 + 4 * 32
    floor = floor if full_below < 150 else 500 * 4 + 2 * 32 + 112 * 32
    if budget < floor:
        with pytest.raises(InfeasibleBudget, match="the tables of this model") as caught:
            compress_(model, budget, full_below=full_below, fit=False, storages=FLOATS)
        assert caught.value.floor == floor
        budget = floor
    report = compress_(model, budget, full_below=full_below, fit=False, storages=FLOATS)
    tables = (model.user, *model.items.values(), model.genre)
    assert report.bytes_after == sum(inference_bytes(components_of(of)) for of in tables) <= budget


@settings(max_examples=8, deadline=None)
@given(
    st.integers(1000, 25_000), st.sampled_from([0, 50]), st.sampled_from(["down", "up", "nearly", "any"]), st.booleans()
)
def test_a_budget_is_planned_for_where_frequencies_are_known(budget: int, few: int, order: str, wide: bool) -> None:
    model = towers()
    if wide:
        model.user = nn.Embedding(200, 16)
    tables = {"user": model.user, "items.movie": model.items["movie"], "items.tags": model.items["tags"]}
    tables["genre"] = model.genre
    counts = {name: 1000 / (1 + np.arange(of.num_embeddings)) for name, of in tables.items()}
    draw = np.random.default_rng(budget)
    ordered = {
        "down": lambda of: of, "up": lambda of: of[::-1], "any": draw.permutation,
        "nearly": lambda of: of * draw.uniform(0.9, 1.1, len(of)),
    }  # fmt: skip
    counts = {name: ordered[order](of) for name, of in counts.items()}
    floor = 0
    try:
        report = compress_(model, budget, frequencies=counts, full_below=few)
    except InfeasibleBudget as error:
        floor = error.floor
    if floor:
        assert budget < floor < 6000
        return
    stored = sum(inference_bytes(components_of(model.get_submodule(name))) for name in tables)
    assert report.bytes_after == stored <= budget
    assert isinstance(model.genre, nn.Embedding) or not few


def test_a_share_is_a_budget() -> None:
    report = compress_(towers(), "50%", leave=["genre"])
    assert 0.4 * 600 * 32 < report.bytes_after - 12 * 32 <= 0.5 * 600 * 32


def test_a_plan_names_its_tables_as_the_model_does() -> None:
    model = towers()
    chosen = {"user": LowRank(2), "items.movie": coset.Hashing(30), "items/tags": coset.Full(), "genre": coset.Full()}
    tables = {name: {"method": of.to_json()} for name, of in chosen.items()}
    planned = Plan.from_json({"embedding_dim": 8, "tables": tables})
    compress_(model, planned)
    assert {name: type(of).__name__ for name, of in methods(model).items()} == {
        "user": "LowRank",
        "items.movie": "Hashing",
    }
    assert [table.name for table in tables_of(towers())] == ["user", "items/movie", "items/tags", "genre"]


@pytest.mark.parametrize("noise", [0.05, 3.0])
def test_a_plan_takes_what_it_says_in_whatever_order_ids_come(noise: float) -> None:
    """The plan is for ids as they come, so none of its tables gets an order, which it has not counted."""
    draw = np.random.default_rng(0)
    counts = 1e4 / (1 + np.arange(1000)) * draw.lognormal(0, noise, 1000)
    for budget in range(4000, 32_000, 4000):
        model = nn.ModuleDict({"a": nn.Embedding(1000, 8)})
        found = plan(tables_of(model, {"a": counts}), budget, embedding_dims=[8])
        report = compress_(model, found, frequencies={"a": counts}, fit=False)
        assert report.bytes_after == found.bytes <= budget


def test_what_stays_full_for_being_small_is_within_the_budget_of_a_plan() -> None:
    def model() -> nn.Module:
        return nn.ModuleDict({"a": nn.Embedding(1000, 8), "b": nn.Embedding(100, 8)})

    found = plan(tables_of(model(), {"a": [9] * 1000, "b": [50] * 100}), 10_000, embedding_dims=[8])
    assert found.tables["b"].bytes < 3200
    with pytest.raises(InputError, match=r"over its budget of 10KB.*'(a|b)'"):
        compress_(model(), found, full_below=101)
    assert compress_(model(), found, full_below=100).bytes_after == found.bytes


def test_a_plan_says_nothing_of_what_is_left() -> None:
    model = towers()
    said = {"method": LowRank(2).to_json()}
    planned = Plan.from_json({"embedding_dim": 8, "tables": {of.name: said for of in tables_of(model)}})
    report = compress_(model, planned, leave=["items.*"])
    assert [(of.name, of.note) for of in report.tables] == [
        ("user", ""), ("items.movie", "left as it is"), ("items.tags", "left as it is"), ("genre", ""),
    ]  # fmt: skip
    assert type(model.items["movie"]) is nn.Embedding
    report = compress_(towers(), {"user": LowRank(2), "genre": LowRank(2)}, leave=["genre"])
    assert {of.name for of in report.tables if of.note != "left as it is"} == {"user"}


def test_a_number_of_numpy_is_a_budget() -> None:
    assert compress_(towers(), np.int64(9000), fit=False).bytes_after <= 9000


# -- budgets of tables of several dims ----------------------------------------------------------------


def rows_and_biases() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"v": nn.Embedding(1000, 16), "b": nn.Embedding(1000, 1)})


def test_tables_of_several_dims_are_planned_for() -> None:
    counts = 1e6 / (1 + np.arange(1000))
    model = rows_and_biases()
    report = compress_(model, "10%", frequencies={"v": counts, "b": counts}, storages=FLOATS)
    assert report.bytes_after <= 6800
    assert any(not isinstance(of, LowRank) for of in report.methods.values())
    report = compress_(rows_and_biases(), 0.5, frequencies={"v": counts, "b": counts}, storages=FLOATS)
    assert report.methods["b"] == coset.Full()


@pytest.mark.parametrize("beside", [(1000, 1), (1000, 8), (3, 16)], ids=["biases", "narrow", "few"])
def test_a_table_is_not_cut_to_what_another_can_tell(beside: tuple[int, int]) -> None:
    torch.manual_seed(0)
    alone = nn.ModuleDict({"v": nn.Embedding(1000, 16)})
    both = nn.ModuleDict({"v": nn.Embedding.from_pretrained(alone["v"].weight.detach()), "b": nn.Embedding(*beside)})
    counts = {"v": 1e4 / (1 + np.arange(1000)), "b": 1e4 / (1 + np.arange(beside[0]))}
    first = compress_(alone, "80%", frequencies={"v": counts["v"]}, storages=FLOATS).tables[0]
    report = compress_(both, "80%", frequencies=counts, storages=FLOATS)
    assert 0.7 * report.bytes_before <= report.bytes_after <= 0.8 * report.bytes_before
    assert report.tables[0].relative == pytest.approx(first.relative, rel=0.2)


def test_what_a_budget_cannot_make_smaller_stays_full() -> None:
    model = rows_and_biases()
    report = compress_(model, "25%", storages=FLOATS)
    assert report.methods == {"v": LowRank(3), "b": coset.Full()}
    assert isinstance(model["b"], nn.Embedding)
    for budget in ("150%", "100%", 1.0, 68_000):
        assert compress_(rows_and_biases(), budget).methods == {"v": coset.Full(), "b": coset.Full()}


def test_frequencies_of_some_tables_are_not_enough_for_a_budget() -> None:
    with pytest.raises(InputError, match="table 'b': a budget is planned by frequencies, which 'v' has"):
        compress_(rows_and_biases(), "25%", frequencies={"v": np.ones(1000)})
