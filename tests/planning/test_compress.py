"""Models made smaller: what is kept of vectors, options and types."""

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
from coset import LowRank, MixedDimension, QuotientRemainder, Table, compress_, expand_
from coset.ledger import components_of, inference_bytes
from coset.planning.compress import tables_of
from tests.planning.models import low_rank_weight, towers

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


# -- options ------------------------------------------------------------------------------------------


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


# -- frequencies --------------------------------------------------------------------------------------


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


# -- types --------------------------------------------------------------------------------------------


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
