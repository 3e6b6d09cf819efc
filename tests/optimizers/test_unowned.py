"""Tables that an optimizer of coset cannot own are named, and the pattern of the README trains them all the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coset.engine.composed import fusable
from coset.errors import InputError, UnownedTables
from coset.methods import Blocks, Robe, registered
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad
from coset.schema import Table
from coset.tables import Embedding, EmbeddingBag, EmbeddingBagCollection
from coset.testing.cases import ROOMY


@pytest.mark.parametrize("name", sorted(registered()))
def test_the_pattern_of_the_readme_trains_every_method(name: str) -> None:
    method = registered()[name].examples(ROOMY)[0]
    bags = EmbeddingBagCollection([(ROOMY, method), (Table("country", 20, 16), "full")])
    owned = fusable(bags.tables[ROOMY.name])
    tower = nn.Linear(sum(bags.output_dims.values()), 1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tables = RowWiseAdagrad(bags, lr=0.05)
    assert [each.category for each in told] == ([] if owned else [UnownedTables])
    if not owned:
        assert told[0].filename == __file__
        assert f"'roomy' (method {name!r} is not composed of rows)" in str(told[0].message)
        assert "country" not in str(told[0].message)
    optimizer = torch.optim.Adam(tables.others(bags, tower), lr=0.01)
    before = {key: value.clone() for key, value in bags.state_dict().items()}
    for _ in range(2):
        ids = torch.tensor([[1, 2, 999], [1, 2, 19]])
        tower(bags.concatenated(ids)).square().mean().backward()
        for each in (tables, optimizer):
            each.step()
            each.zero_grad()
    for key, parameter in bags.named_parameters():
        assert not torch.equal(before[key], bags.state_dict()[key]), key
        assert parameter.grad is None


class Wrapped(Tensor):
    """A harmless tensor of a type of its own."""


def with_parameter(change: Callable[[nn.Parameter], Any]) -> Embedding:
    found = Embedding(10, 4, name="t")
    rows = found.tables["t"].rows
    rows.weight = change(rows.weight)
    return found


UNFIT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "padding": (lambda: Embedding(10, 4, padding_idx=0, name="t"), "kernels do not have padding_idx"),
    "options": (
        lambda: EmbeddingBag(10, 4, max_norm=1.0, scale_grad_by_freq=True, name="t"),
        "kernels do not have max_norm and scale_grad_by_freq",
    ),
    "frozen": (lambda: Embedding(10, 4, name="t").requires_grad_(False), "frozen by requires_grad=False"),
    "half": (lambda: Embedding(10, 4, name="t").half(), "it is of float16, not float32 or float64"),
    "meta": (lambda: Embedding(10, 4, name="t", device="meta"), "it is on meta, not on the CPU"),
    "method": (lambda: Embedding(10, 4, Robe(50), name="t"), "method 'robe' is not composed of rows"),
    "subclass": (
        lambda: with_parameter(lambda p: nn.Parameter(p.detach().as_subclass(Wrapped))), "its weight is a Wrapped",
    ),
    "strides": (lambda: with_parameter(lambda p: nn.Parameter(torch.zeros(4, 10).t())), "is not contiguous"),
    "no_memory": (lambda: emptied(with_parameter(lambda p: p)), "its weight has no memory"),
    "parametrized": (lambda: parametrized(with_parameter(lambda p: p)), "a parametrization"),
    "bare": (lambda: Embedding(10, 4, name="t").tables["t"], "it is in no collection"),
}  # fmt: skip


def emptied(module: Embedding) -> Embedding:
    module.tables["t"].rows.weight.untyped_storage().resize_(0)
    return module


def parametrized(module: Embedding) -> Embedding:
    nn.utils.parametrize.register_parametrization(module.tables["t"].rows, "weight", nn.Identity())
    return module


@pytest.mark.parametrize("case", UNFIT)
def test_what_cannot_be_owned_is_named_with_the_reason(case: str) -> None:
    make, why = UNFIT[case]
    with pytest.raises(InputError, match="can own no table here: 't'") as found:
        SGD(make())
    assert why in str(found.value)
    model = nn.ModuleDict({"x": make(), "y": Embedding(9, 2, name="other")})
    with pytest.warns(UnownedTables, match="does not train 1 table of this model: 't' of x") as told:
        optimizer = Adagrad(model)
    assert why in str(told[0].message)
    assert {id(p) for p in optimizer.others(model)} == {id(p) for p in model["x"].parameters()}


def test_the_warning_can_be_made_an_error_and_is_short() -> None:
    many = nn.ModuleList([Embedding(9, 2, padding_idx=0, name=f"t{number}") for number in range(50)])
    model = nn.Sequential(many, Embedding(9, 2, name="good"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnownedTables)
        with pytest.raises(UnownedTables, match=r"50 tables .* and 45 more") as found:
            SGD(model)
    assert len(str(found.value)) < 800
    SGD(model[1])  # nobody owns it after the error


@pytest.mark.parametrize("kind", [SGD, Adagrad, RowWiseAdagrad, Adam])
def test_parameters_in_place_of_a_model(kind: Any) -> None:
    bags = EmbeddingBagCollection([(Table("a", 9, 4), "full")])
    for wrong in (bags.parameters(), [], list(bags.parameters()), [{"params": []}], None, torch.zeros(2)):
        with pytest.raises(InputError, match=rf"{kind.__name__}\(model\)"):
            kind(wrong, lr=0.1)
    with pytest.raises(InputError, match="finds no table of coset"):
        kind(nn.Embedding(9, 4))
    optimizer = kind(bags)
    assert optimizer.others(bags, bags) == []
    for wrong in (bags.parameters(), [bags], None):
        with pytest.raises(InputError, match="others takes modules"):
            optimizer.others(wrong)


def test_the_block_that_is_not_composed_of_rows_is_named() -> None:
    inner = Blocks.hot(2, Blocks.hot(2, Robe(50)))
    with pytest.raises(
        InputError, match=r"'t' \(method 'blocks' has a block of 'robe', which is not composed of rows\)"
    ):
        SGD(Embedding(10, 4, inner, name="t"), lr=0.1)


def test_embeddings_of_torch_beside_those_of_coset_are_named() -> None:
    rest = nn.ModuleDict({"plain": nn.Embedding(9, 4), "frozen": nn.EmbeddingBag(9, 4).requires_grad_(False)})
    model = nn.ModuleDict({"ours": Embedding(9, 4, name="t"), "rest": rest})
    with pytest.warns(UnownedTables, match=r"does not train 1 table .*: 'rest.plain' \(it is torch's own") as told:
        optimizer = SGD(model, lr=0.1)
    assert len(told) == 1
    assert [p.shape for p in optimizer.others(model) if p.requires_grad] == [(9, 4)]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "part"])
def test_collections_that_are_compiled_are_met_once(whole: bool) -> None:
    bags = EmbeddingBagCollection([(Table("a", 9, 4), "full")])
    compiled = torch.compile(bags, backend="eager")
    optimizer = SGD(compiled if whole else nn.Sequential(compiled), lr=1.0)
    before = bags({"a": torch.tensor([1])})["a"].detach().clone()
    compiled({"a": torch.tensor([1])})["a"].sum().backward()
    optimizer.step()
    torch.testing.assert_close(compiled({"a": torch.tensor([1])})["a"], before - 1)
