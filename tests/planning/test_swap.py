"""What full tables keep when they are expanded, how shared modules are called, and what seeds and modes do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import coset
from coset import LowRank, PathBased, QuotientRemainder, compress_, expand_
from coset.planning.compress import tables_of
from coset.testing.cases import stored

IDS = torch.tensor([[1, 3], [3, 0], [1, 1]])


@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
@pytest.mark.parametrize(
    "options", [{"max_norm": 0.5}, {"max_norm": 0.5, "norm_type": 1.0}, {"scale_grad_by_freq": True}], ids=str
)
def test_options_that_need_a_row_an_id_are_expanded_as_torch_has_them(kind: str, options: dict[str, Any]) -> None:
    """Against torch's own module of these options: vectors, the rows that are left, and gradients."""
    expected = getattr(nn, kind)(6, 4, **options)
    table = getattr(coset, kind)(6, 4, "full", **options)
    table.load_state_dict({name: expected.weight.detach().clone() for name in stored(table)}, strict=False)
    model = nn.Sequential(table)
    expand_(model)
    assert type(model[0]) is type(expected)
    torch.testing.assert_close(model(IDS), expected(IDS))
    torch.testing.assert_close(model[0].weight, expected.weight)
    for module in (model[0], expected):
        module(IDS).square().sum().backward()
    torch.testing.assert_close(model[0].weight.grad, expected.weight.grad)


def test_a_shared_module_is_called_as_torch_calls_it() -> None:
    """By its first place from top to bottom, though a parent nearer to the top holds it too."""
    model = nn.ModuleDict({"deep": nn.Sequential(nn.Sequential(nn.Embedding(20, 4))), "near": nn.Identity()})
    model["near"] = model["deep"][0][0]
    named = {id(of): name for name, of in model.named_modules()}[id(model["near"])]
    assert [table.name for table in tables_of(model)] == [named.replace(".", "/")] == ["deep/0/0"]
    report = compress_(model, {"near": LowRank(2)}, frequencies={"near": [1.0] * 20})
    assert [of.name for of in report.tables] == ["deep.0.0"]
    assert [of.name for of in expand_(model).tables] == ["deep.0.0"]


def test_only_tables_of_fewer_ids_stay_full() -> None:
    model = nn.ModuleList([nn.Embedding(n, 4) for n in (19, 20, 21)])
    report = compress_(model, LowRank(2), full_below=20)
    assert [of.method.name for of in report.tables] == ["full", "low_rank", "low_rank"]


def test_fresh_values_are_those_of_the_seed() -> None:
    found = []
    for seed in (0, 1, 1):
        model = nn.Sequential(nn.Embedding(30, 4, _weight=torch.linspace(-1, 1, 120).view(30, 4)))
        compress_(model, QuotientRemainder(5), fit=False, seed=seed)
        found.append(model(torch.arange(30)))
    assert torch.equal(found[1], found[2])
    assert not torch.isclose(found[0], found[1]).any(-1).all()


def test_fits_by_gradient_are_the_same_where_gradients_are_off() -> None:
    errors = []
    for mode in (torch.no_grad, torch.enable_grad):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(20, 4))
        with mode():
            errors.append(compress_(model, PathBased((5, 4), hidden=4)).tables[0].error)
        assert all(p.requires_grad for p in model.parameters())
    assert errors[0] == errors[1] < 0.1
