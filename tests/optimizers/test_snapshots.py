"""Snapshots change nothing, and going back to one gives the same bits; gradients are clipped together with others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from coset.engine.owners import as_they_lie
from coset.errors import InputError
from coset.methods import Full, LowRank, QuotientRemainder
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer
from coset.optimizers.snapshots import restore, snapshot
from coset.schema import Table
from coset.tables import EmbeddingBagCollection

KINDS: dict[str, Callable[[EmbeddingBagCollection], TableOptimizer]] = {
    "sgd": lambda bags: SGD(bags, lr=0.1),
    "adagrad": lambda bags: Adagrad(bags, lr=0.1),
    "row_wise_adagrad": lambda bags: RowWiseAdagrad(bags, lr=0.1),
    "lazy_adam": lambda bags: Adam(bags, lr=0.01),
    "dense_adam": lambda bags: Adam(bags, lr=0.01, mode="dense", weight_decay=0.1, projection_scale=0.1),
}
STEPS, AT = 150, 97  # past the first length of a history, so that it has grown once


def fresh() -> EmbeddingBagCollection:
    torch.manual_seed(0)
    methods = {"a": Full(), "b": QuotientRemainder(20), "c": LowRank(3)}
    return EmbeddingBagCollection([(Table(name, 300, 8), method) for name, method in methods.items()])


def step(bags: EmbeddingBagCollection, optimizer: TableOptimizer, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    ids = torch.randint(300, (3, 5), generator=generator)
    for group in optimizer.param_groups:
        group["lr"] *= 0.99
    loss = sum(vectors.square().sum() * (number % 7) for vectors in bags(ids).values())
    torch.autograd.backward(loss)
    optimizer.step()


def raw(bags: EmbeddingBagCollection) -> dict[str, Tensor]:
    with as_they_lie():
        return {name: parameter.detach().clone() for name, parameter in bags.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_changes_nothing_and_is_gone_back_to(kind: str) -> None:
    whole, watched = fresh(), fresh()
    plain, optimizer = KINDS[kind](whole), KINDS[kind](watched)
    for number in range(STEPS):
        step(whole, plain, number)
        step(watched, optimizer, number)
        if number == AT:
            kept = {name: value.clone() for name, value in snapshot(optimizer).items()}
            rates = [group["lr"] for group in optimizer.param_groups]
            parameters = raw(watched)
    again = fresh()
    resumed = KINDS[kind](again)
    step(again, resumed, 0)  # whatever it did before is gone
    with torch.no_grad(), as_they_lie():
        for name, parameter in again.named_parameters():
            parameter.copy_(parameters[name])
    restore(resumed, kept, kept.__getitem__)
    for group, rate in zip(resumed.param_groups, rates, strict=True):
        group["lr"] = rate
    for number in range(AT + 1, STEPS):
        step(again, resumed, number)
    for other in (watched, again):
        left, right = raw(whole), raw(other)
        assert all(torch.equal(left[name], right[name]) for name in left)
    left, right = whole.state_dict(), again.state_dict()  # and once rows are brought up
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert resumed.steps == STEPS


def test_a_snapshot_of_another_optimizer_is_refused() -> None:
    mine, other = KINDS["adagrad"](one := fresh()), KINDS["sgd"](two := fresh())
    with pytest.raises(InputError, match="another optimizer"):
        restore(mine, snapshot(other), snapshot(other).__getitem__)
    assert one is not two


def test_gradients_are_clipped_together_with_those_of_other_parameters() -> None:
    bags, plain = fresh(), fresh()
    optimizer = SGD(bags, lr=1.0)
    others = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))]
    ids = torch.tensor([[1, 1], [2, 3], [4, 250]])
    for given, other in ((bags, others[0]), (plain, others[1])):
        for _ in range(2):  # two backward passes before one step
            torch.autograd.backward(sum(v.sum() * 3 for v in given(ids).values()) + (other * other).sum())
    expected = torch.nn.utils.clip_grad_norm_([*plain.parameters(), others[1]], 0.5)
    norm = (optimizer.gradient_norm() ** 2 + float(others[0].grad.norm()) ** 2) ** 0.5
    assert norm == pytest.approx(float(expected))
    optimizer.scale_gradients(0.5 / (norm + 1e-6))
    optimizer.step()
    torch.optim.SGD(plain.parameters(), lr=1.0).step()
    left, right = bags.state_dict(), plain.state_dict()
    for name in left:
        torch.testing.assert_close(left[name], right[name])
    torch.autograd.backward(sum(v.sum() for v in bags(ids).values()))
    before = raw(bags)
    optimizer.step()  # the factor was for one step
    assert float((raw(bags)["tables.a.rows.weight"] - before["tables.a.rows.weight"]).abs().max()) == pytest.approx(2)
