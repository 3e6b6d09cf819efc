"""Tables of any torch model made smaller in place: what stays, what is fitted, how rules choose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import coset
import coset.optimizers
from coset import LowRank, MixedDimension, QuotientRemainder, Table, compress_, expand_
from coset.errors import InfeasibleBudget, InputError
from coset.ledger import components_of, inference_bytes
from coset.planning.compress import tables_of
from coset.planning.plan import Plan
from coset.planning.planner import plan


def low_rank_weight(n: int, dim: int, rank: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, rank, generator=draw) @ torch.randn(rank, dim, generator=draw)


class Towers(nn.Module):
    """Two towers and a head, with tables on two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.user = nn.Embedding(200, 8)
        self.items = nn.ModuleDict({"movie": nn.Embedding(300, 8), "tags": nn.EmbeddingBag(100, 8, mode="sum")})
        self.genre = nn.Embedding(12, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, user: Tensor, movie: Tensor, tags: Tensor, genre: Tensor) -> Tensor:
        item = self.items["movie"](movie) + self.items["tags"](tags) + self.genre(genre)
        scores: Tensor = self.head(self.user(user) * item)
        return scores


def towers(rank: int | None = None) -> Towers:
    torch.manual_seed(0)
    model = Towers()
    if rank is not None:
        for seed, of in enumerate((model.user, *model.items.values())):
            of.weight.data = low_rank_weight(*of.weight.shape, rank, seed)
    return model


IDS = (
    torch.tensor([0, 5, 7]),
    torch.tensor([299, 0, 4]),
    torch.tensor([[1, 2], [99, 0], [3, 3]]),
    torch.tensor([0, 1, 11]),
)


def test_what_a_table_can_hold_is_kept_and_the_rest_of_the_model_too() -> None:
    model = towers(rank=3)
    before, head = model(*IDS), model.head
    report = compress_(model, LowRank(3), full_below=50)
    torch.testing.assert_close(model(*IDS), before, rtol=1e-4, atol=1e-4)
    assert model.head is head
    assert isinstance(model.genre, nn.Embedding)
    assert [of.name for of in report.tables] == ["user", "items.movie", "items.tags", "genre"]
    assert all(of.relative is not None and of.relative < 1e-6 for of in report.tables)
    tables = (model.user, *model.items.values(), model.genre)
    assert report.bytes_after == sum(inference_bytes(components_of(of)) for of in tables)
    assert report.bytes_before == 612 * 8 * 4
    text = str(report)
    assert "items.tags" in text
    assert "left as it is" in text
    assert report.to_json()["tables"][0]["method"] == {"method": "low_rank", "version": 1, "rank": 3}
    expand_(model)
    torch.testing.assert_close(model(*IDS), before, rtol=1e-4, atol=1e-4)
    assert [type(of) for of in (model.user, *model.items.values())] == [nn.Embedding, nn.Embedding, nn.EmbeddingBag]


def test_the_model_goes_on_learning() -> None:
    model = towers()
    compress_(model, {"*": LowRank(2)})
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        loss = (model(*IDS) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


# -- rules --------------------------------------------------------------------------------------------------------


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
            compress_(model, budget, full_below=full_below, fit=False)
        assert caught.value.floor == floor
        budget = floor
    report = compress_(model, budget, full_below=full_below, fit=False)
    tables = (model.user, *model.items.values(), model.genre)
    assert report.bytes_after == sum(inference_bytes(components_of(of)) for of in tables) <= budget


@settings(max_examples=15, deadline=None)
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


# -- options ------------------------------------------------------------------------------------------------------

BAGS = st.fixed_dictionaries({
    "mode": st.sampled_from(["sum", "mean", "max"]), "include_last_offset": st.booleans(),
    "padding_idx": st.sampled_from([None, 0, 5, -1]),
})  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(BAGS, st.booleans())
def test_bags_pool_as_before(options: dict[str, Any], weighted: bool) -> None:
    bag = nn.EmbeddingBag(20, 6, **options)
    bag.weight.data = low_rank_weight(20, 6, 2)
    if bag.padding_idx is not None:
        bag.weight.data[bag.padding_idx] = 7.0  # never read
    model = nn.ModuleList([bag])
    ids, offsets = torch.tensor([0, 1, 5, 19, 3, 3]), torch.tensor([0, 2, 2, 6])
    weights = torch.linspace(0.5, 2, 6) if weighted and options["mode"] == "sum" else None
    if not options["include_last_offset"]:
        offsets = offsets[:-1]
    before = bag(ids, offsets, weights)
    compress_(model, LowRank(2))
    torch.testing.assert_close(model[0](ids, offsets, weights), before, rtol=1e-4, atol=1e-4)
    expand_(model)
    assert (model[0].mode, model[0].include_last_offset, model[0].padding_idx) == (
        bag.mode, bag.include_last_offset, bag.padding_idx,
    )  # fmt: skip
    torch.testing.assert_close(model[0](ids, offsets, weights), before, rtol=1e-4, atol=1e-4)


def test_padding_stays_zero_without_a_gradient_and_takes_no_part_in_the_fit() -> None:
    model = nn.Sequential(nn.Embedding(10, 4, padding_idx=3))
    mean = model[0].weight.detach().sum(0) / 9
    compress_(model, coset.Hashing(1))
    torch.testing.assert_close(model(torch.tensor([8]))[0], mean)
    assert not model(torch.tensor([3])).any()
    model(torch.tensor([3])).sum().backward()
    assert not any(p.grad.any() for p in model.parameters())
    expand_(model)
    assert model[0].padding_idx == 3
    torch.testing.assert_close(model[0].weight[8], mean)
    assert not model[0].weight[3].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_type_mode_and_frozen_weights_stay(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Embedding(40, 4, dtype=dtype)).eval()
    model[0].weight.requires_grad_(False)
    model[0].mark = "mine"
    for change in (lambda: compress_(model, LowRank(2)), lambda: expand_(model)):
        change()
        assert not model[0].training
        assert not any(p.requires_grad for p in model.parameters())
        assert model[0].mark == "mine"
        assert model(torch.tensor([1])).dtype == dtype


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_hooks_stay_and_their_handles_still_remove_them() -> None:
    model = nn.Sequential(nn.Embedding(40, 4))
    told: list[str] = []
    handles = [
        model[0].register_forward_pre_hook(lambda *_: told.append("pre")),
        model[0].register_forward_hook(lambda *_, **__: told.append("post"), with_kwargs=True),
        model[0].register_full_backward_hook(lambda *_: told.append("back")),
    ]
    for change in (lambda: compress_(model, LowRank(2)), lambda: expand_(model)):
        change()
        told.clear()
        model(torch.tensor([1, 2])).sum().backward()
        assert told == ["pre", "post", "back"]
    compress_(model, LowRank(2))
    for handle in handles:
        handle.remove()
    told.clear()
    model(torch.tensor([1, 2])).sum().backward()
    assert told == []


def test_the_generator_of_torch_is_not_touched_and_results_are_the_same_bits() -> None:
    found = []
    for _ in range(2):
        model = towers()
        state = torch.get_rng_state()
        compress_(model, {"user": coset.TensorTrain(2)})
        assert torch.equal(torch.get_rng_state(), state)
        found.append(model.state_dict())
        expand_(model)
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(3)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_saved_state_fits_a_fresh_model_of_the_same_methods() -> None:
    model = towers()
    report = compress_(model, "40%")
    other = towers()
    with torch.no_grad():
        other.user.weight.zero_()
    fresh = compress_(other, report.methods, fit=False)
    assert fresh.tables[0].error is None
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(*IDS), other(*IDS))


def test_without_a_fit_values_are_fresh_of_the_deviation_that_the_weights_have() -> None:
    model = nn.Sequential(nn.Embedding(5000, 16))
    with torch.no_grad():
        model[0].weight.mul_(0.3)
    compress_(model, QuotientRemainder(500), fit=False)
    assert model[0].materialize().std().item() == pytest.approx(0.3, rel=0.1)
    with torch.device("meta"):
        model = nn.Sequential(nn.Embedding(50, 4))
    compress_(model, LowRank(2), fit=False)
    assert all(p.is_meta for p in model.parameters())


# -- frequencies --------------------------------------------------------------------------------------------------


def test_frequent_ids_are_met_best() -> None:
    errors = []
    for counts in (None, np.array([1000.0] * 20 + [1.0] * 180)):
        model = towers()
        weight = model.user.weight.detach().clone()
        compress_(model, {"user": LowRank(3)}, frequencies=None if counts is None else {"user": counts})
        errors.append((model.user.materialize() - weight)[:20].square().mean().item())
    assert errors[1] < 0.8 * errors[0]


def test_a_method_that_wants_ids_by_popularity_gets_their_order() -> None:
    counts = np.arange(200)  # the last ids are the hot ones
    method = MixedDimension(block_sizes=(20, 180), block_dims=(8, 1))
    model = towers()
    weight = model.user.weight.detach().clone()
    report = compress_(model, {"user": method}, frequencies={"user": counts})
    torch.testing.assert_close(model.user.materialize()[180:], weight[180:])
    table = next(table for table in tables_of(towers()) if table.name == "user")
    assert report.tables[0].bytes_after == method.bytes(table) + 4 * 200
    falling = compress_(towers(), {"user": method}, frequencies={"user": counts[::-1].copy()})
    assert falling.tables[0].bytes_after == method.bytes(table)


# -- sharing ------------------------------------------------------------------------------------------------------


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Embedding(50, 4))
        self.right = nn.ModuleDict({"same": self.left[0]})
        self.tied = nn.EmbeddingBag(50, 4)
        self.tied.weight = self.left[0].weight


def test_shared_modules_and_tied_weights_stay_so() -> None:
    model = Shared()
    report = compress_(model, {"right.same": LowRank(2), "tied": LowRank(2)})
    assert model.right["same"] is model.left[0]
    assert [id(p) for p in model.tied.parameters()] == [id(p) for p in model.left[0].parameters()]
    assert len(list(model.parameters())) == 2
    assert [(of.name, of.tied) for of in report.tables] == [("left.0", ("tied",))]
    with torch.no_grad():
        next(model.left[0].parameters()).zero_()
    assert not model.tied(torch.tensor([[1, 2]])).any()
    expand_(model)
    assert model.right["same"] is model.left[0]
    assert model.tied.weight is model.left[0].weight
    assert type(model.tied) is nn.EmbeddingBag


def test_a_tied_weight_is_planned_for_once() -> None:
    model = Shared()
    tables = tables_of(model, {"left.0": [3] * 50})
    assert [(table.name, table.num_embeddings) for table in tables] == [("left/0", 50)]
    found = plan(tables, 50 * 2 * 4 + 2 * 4 * 4, embedding_dims=[4])
    report = compress_(model, found)
    assert [(of.name, of.tied) for of in report.tables] == [("left.0", ("tied",))]
    assert [id(p) for p in model.tied.parameters()] == [id(p) for p in model.left[0].parameters()]


def test_a_tied_weight_is_counted_once_by_a_budget() -> None:
    model = Shared()
    assert compress_(model, 50 * 2 * 4 + 2 * 4 * 4).bytes_after == 50 * 2 * 4 + 2 * 4 * 4
    assert len(list(model.parameters())) == 2


def test_a_saved_state_of_tied_weights_fits_a_fresh_model_of_the_same_methods() -> None:
    first, second = Shared(), Shared()
    report = compress_(first, LowRank(2))
    compress_(second, report.methods, fit=False)
    second.load_state_dict(first.state_dict())
    assert second.tied.tables is second.left[0].tables
    torch.testing.assert_close(second.tied(torch.tensor([[1, 2]])), first.tied(torch.tensor([[1, 2]])), rtol=0, atol=0)


@pytest.mark.parametrize("how", [{"full_below": 51}, {"leave": ["*"]}])
def test_a_tied_weight_that_stays_full_is_told_of_once(how: dict[str, Any]) -> None:
    report = compress_(Shared(), 50 * 4 * 4, **how)
    assert [(of.name, of.tied) for of in report.tables] == [("left.0", ("tied",))]
    assert report.bytes_before == report.bytes_after == 50 * 4 * 4


def test_computed_weights_that_are_left_are_not_taken_to_be_tied() -> None:
    model = nn.ModuleList([nn.utils.parametrizations.weight_norm(nn.Embedding(50, 4)) for _ in range(3)])
    report = compress_(model, LowRank(2), leave=["*"])
    assert [(of.name, of.tied, of.bytes_after) for of in report.tables] == [(str(n), (), 800) for n in range(3)]


def test_small_tables_alone_may_be_over_a_budget() -> None:
    with pytest.raises(InfeasibleBudget, match="that stay full, being small, take 800 bytes, not 799") as caught:
        compress_(Shared(), 799, full_below=51)
    assert caught.value.floor == 800


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_falling_frequencies_of_any_type_need_no_order(dtype: Any) -> None:
    counts = np.arange(200)[::-1].astype(dtype)
    method = MixedDimension(block_sizes=(20, 180), block_dims=(8, 1))
    report = compress_(towers(), {"user": method}, frequencies={"user": counts})
    assert report.tables[0].bytes_after == method.bytes(Table("user", 200, 8))


@pytest.mark.parametrize("method", [LowRank(2), coset.TensorTrain(40)])
def test_what_is_compressed_in_inference_mode_can_be_trained(method: Any) -> None:
    model = nn.Sequential(nn.Embedding(20, 4))
    with torch.inference_mode():
        compress_(model, method)
    model(torch.tensor([1])).sum().backward()
    with torch.inference_mode():
        expand_(model)
    model(torch.tensor([1])).sum().backward()


def test_frequencies_of_a_tied_weight_may_be_of_any_of_its_names() -> None:
    rising = np.arange(50)
    whole = tables_of(Shared(), {"left.0": rising})[0].frequencies
    assert tables_of(Shared(), {"tied": rising})[0].frequencies.tolist() == whole.tolist()
    assert tables_of(Shared(), {"right.same": rising, "tied": rising})[0].frequencies.tolist() == (2 * whole).tolist()
    with pytest.raises(InputError, match=r"'left\.0'.*under two of its names"):
        tables_of(Shared(), {"right.same": rising, "left.0": rising})


def test_what_an_optimizer_of_coset_trains_is_expanded_as_of_its_last_step() -> None:
    model = nn.Sequential(nn.Embedding(40, 4))
    compress_(model, LowRank(2))
    optimizer = coset.optimizers.Adam(model, lr=0.1, mode="dense")
    for ids in ([1, 2], [3], [4]):
        model(torch.tensor(ids)).sum().backward()
        optimizer.step()
    now = model(torch.arange(40)).detach().clone()
    expand_(model)
    torch.testing.assert_close(model(torch.arange(40)).detach(), now)


# -- random trees -------------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.tuples(st.just("table"), st.integers(1, 40), st.integers(1, 6)),
    st.tuples(st.just("bag"), st.integers(1, 40), st.integers(1, 6)),
    st.tuples(st.just("linear"), st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.just("again"), st.integers(0, 10), st.just(0)),
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4), max_leaves=12)


def build(tree: Any, made: list[nn.Module]) -> nn.Module:
    """A module of nested lists; `again` is a module that stands somewhere else already."""
    if isinstance(tree, list):
        return nn.ModuleList([build(of, made) for of in tree])
    kind, first, second = tree
    if kind == "again" and made:
        return made[first % len(made)]
    module: nn.Module
    if kind == "table":
        module = nn.Embedding(first, second)
    elif kind == "bag":
        module = nn.EmbeddingBag(first, second)
    else:
        module = nn.Linear(first or 1, second or 1)
    made.append(module)
    return module


def shape(model: nn.Module) -> list[tuple[str, int]]:
    """Which paths lead to one module: the number of the first path that does."""
    first: dict[int, int] = {}
    return [(name, first.setdefault(id(of), len(first))) for name, of in model.named_modules(remove_duplicate=False)
            if "tables" not in name.split(".")]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_any_tree_of_modules_is_made_smaller_and_expanded(tree: Any) -> None:
    model = nn.ModuleList([build(tree, [])])
    before, kept = shape(model), {name: of for name, of in model.named_modules() if isinstance(of, nn.Linear)}
    expected = {
        name: of.weight.detach().clone()
        for name, of in model.named_modules()
        if isinstance(of, nn.Embedding | nn.EmbeddingBag)
    }
    report = compress_(model, lambda table: LowRank(table.embedding_dim) if table.num_embeddings % 2 else LowRank(1))
    assert shape(model) == before
    assert not [of for of in model.modules() if type(of) in (nn.Embedding, nn.EmbeddingBag)]
    assert {of.name for of in report.tables} == set(expected)
    found = expand_(model)
    assert found.bytes_before == report.bytes_after
    assert shape(model) == before
    for name, weight in expected.items():
        now = model.get_submodule(name).weight
        assert now.shape == weight.shape
        if weight.shape[0] % 2 or weight.shape[1] == 1:
            torch.testing.assert_close(now.detach(), weight, rtol=1e-4, atol=1e-5)
    assert {name: of for name, of in model.named_modules() if isinstance(of, nn.Linear)} == kept


# -- budgets of tables of several dims ----------------------------------------------------------------------------


def rows_and_biases() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"v": nn.Embedding(1000, 16), "b": nn.Embedding(1000, 1)})


def test_tables_of_several_dims_are_planned_for() -> None:
    counts = 1e6 / (1 + np.arange(1000))
    model = rows_and_biases()
    report = compress_(model, "10%", frequencies={"v": counts, "b": counts})
    assert report.bytes_after <= 6800
    assert any(not isinstance(of, LowRank) for of in report.methods.values())
    report = compress_(rows_and_biases(), 0.5, frequencies={"v": counts, "b": counts})
    assert report.methods["b"] == coset.Full()


@pytest.mark.parametrize("beside", [(1000, 1), (1000, 8), (3, 16)], ids=["biases", "narrow", "few"])
def test_a_table_is_not_cut_to_what_another_can_tell(beside: tuple[int, int]) -> None:
    torch.manual_seed(0)
    alone = nn.ModuleDict({"v": nn.Embedding(1000, 16)})
    both = nn.ModuleDict({"v": nn.Embedding.from_pretrained(alone["v"].weight.detach()), "b": nn.Embedding(*beside)})
    counts = {"v": 1e4 / (1 + np.arange(1000)), "b": 1e4 / (1 + np.arange(beside[0]))}
    first = compress_(alone, "80%", frequencies={"v": counts["v"]}).tables[0]
    report = compress_(both, "80%", frequencies=counts)
    assert 0.7 * report.bytes_before <= report.bytes_after <= 0.8 * report.bytes_before
    assert report.tables[0].relative == pytest.approx(first.relative, rel=0.2)


def test_what_a_budget_cannot_make_smaller_stays_full() -> None:
    model = rows_and_biases()
    report = compress_(model, "25%")
    assert report.methods == {"v": LowRank(3), "b": coset.Full()}
    assert isinstance(model["b"], nn.Embedding)
    for budget in ("150%", "100%", 1.0, 68_000):
        assert compress_(rows_and_biases(), budget).methods == {"v": coset.Full(), "b": coset.Full()}


def test_frequencies_of_some_tables_are_not_enough_for_a_budget() -> None:
    with pytest.raises(InputError, match="table 'b': a budget is planned by frequencies, which 'v' has"):
        compress_(rows_and_biases(), "25%", frequencies={"v": np.ones(1000)})


# -- types ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [coset.PathBased((15, 4), 4), coset.DeepHash(4, 8, 1)])
def test_fits_are_as_near_in_types_of_16_bits(method: coset.Method) -> None:
    """From the same beginning as in float32; other fresh values lead to other local minima in any type."""
    torch.manual_seed(0)
    weight = 0.05 * torch.randn(60, 8)
    begun = method.build(Table("u", 60, 8)).state_dict()
    found = {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        module = method.build(Table("u", 60, 8, dtype=dtype))
        module.load_state_dict(begun)
        found[dtype] = module.fit_(weight.to(dtype)) ** 0.5
        assert {of.dtype for of in module.parameters()} == {dtype}
    assert found[torch.float32] < 0.95 * 0.05
    assert found[torch.float16] == pytest.approx(found[torch.float32], rel=0.01)
    assert found[torch.bfloat16] == pytest.approx(found[torch.float32], rel=0.03)


def test_a_model_that_was_made_under_inference_mode() -> None:
    with torch.inference_mode():
        model = nn.ModuleDict({"e": nn.Embedding(100, 8)})
    compress_(model, LowRank(2))
    model["e"](torch.tensor([1])).sum().backward()
    assert all(of.grad is not None for of in model.parameters())


# -- tables that are something else already -------------------------------------------------------------------------


class Halves(Tensor):
    """A quantized weight, as another library would make it."""

    @staticmethod
    def __new__(cls, whole: Tensor) -> Halves:
        return Tensor._make_wrapper_subclass(cls, whole.shape, dtype=torch.float32)

    def __init__(self, whole: Tensor) -> None:
        self.whole = whole

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return ["whole"], None

    @classmethod
    def __torch_dispatch__(cls, call: Any, types: Any, args: Any = (), options: Any = None) -> Any:
        if call is torch.ops.aten.detach.default:
            return cls(args[0].whole)
        raise NotImplementedError(call)


class FusedEmbeddings(nn.Module):
    """Tables of another library."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(100, 4))
        self.inner = nn.ModuleDict({"of_an_embedding": nn.Linear(2, 2)})


def test_what_is_quantized_already_or_of_others_is_left_and_told_of() -> None:
    def make() -> nn.ModuleDict:
        quantized = nn.Embedding(100, 8)
        quantized.weight = nn.Parameter(Halves(torch.zeros(100, 8, dtype=torch.int8)), requires_grad=False)
        return nn.ModuleDict({"e": nn.Embedding(1000, 8), "q": quantized, "f": nn.ModuleList([FusedEmbeddings()])})

    model = make()
    model["sparse"] = nn.Embedding(10, 8)
    model["sparse"].weight = nn.Parameter(model["sparse"].weight.detach().to_sparse())
    report = compress_(model, {"*": LowRank(2)})
    assert [of.name for of in report.tables] == ["e"]
    assert [(of.name, of.bytes) for of in report.left] == [("q", 800), ("sparse", 1600), ("f.0", 1624)]
    assert "left: q (Embedding, 800B): its weight is a Halves" in str(report)
    assert report.to_json()["left"][2]["why"] == "no nn.Embedding or nn.EmbeddingBag"
    assert [table.name for table in tables_of(make())] == ["e"]
    with pytest.raises(InputError, match="module 'q': its weight is a Halves, and no array of plain numbers"):
        compress_(make(), {"q": LowRank(2)})
    assert compress_(make(), LowRank(2), leave=["q"]).bytes_before == 32_000
    assert compress_(nn.Sequential(coset.Embedding(10, 4)), LowRank(2)).left == ()
