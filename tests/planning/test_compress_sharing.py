"""Shared modules, tied weights, trees of modules and foreign tables that are made smaller or left."""

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
from coset import LowRank, MixedDimension, Table, compress_, expand_
from coset.errors import InfeasibleBudget, InputError
from coset.planning.compress import tables_of
from coset.planning.planner import plan
from tests.planning.models import towers

# -- sharing ------------------------------------------------------------------------------------------


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
    assert compress_(model, 50 * 2 * 4 + 2 * 4 * 4, storages=["float32"]).bytes_after == 50 * 2 * 4 + 2 * 4 * 4
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
    with pytest.raises(
        InfeasibleBudget,
        match="small tables of this model stay full and take 800 bytes, more than the budget leaves them, 799",
    ) as caught:
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


# -- random trees -------------------------------------------------------------------------------------


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


# -- tables that are something else already -----------------------------------------------------------


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
    with pytest.raises(InputError, match="module 'q': its weight is a Halves, not a plain array"):
        compress_(make(), {"q": LowRank(2)})
    assert compress_(make(), LowRank(2), leave=["q"]).bytes_before == 32_000
    assert compress_(nn.Sequential(coset.Embedding(10, 4)), LowRank(2)).left == ()
