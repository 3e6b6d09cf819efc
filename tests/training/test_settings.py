"""Choices of a training, and the learning rate of every step."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest
import torch
from torch import nn

from coset import settings
from coset.errors import InputError
from coset.training.settings import TrainingSettings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": -5}, "batch_size"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 2 * 10**9}, "epochs must lie in 1 … 1000000000"),
        ({"epochs": 10**20}, "epochs must be a whole number of at most 64 bits"),
        ({"batch_size": 10**20}, "batch_size must be a whole number of at most 64 bits"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": -1e-3}, "learning_rate"),
        ({"eps": 0.0}, "eps"),
        ({"l2": -0.1}, "l2"),
        ({"shuffle": "ful"}, "'full' or 'buffer"),
        ({"shuffle": "buffer(0)"}, "buffer"),
        ({"shuffle": "buffer(-3)"}, "buffer"),
        ({"shuffle": "buffer(1.5)"}, "buffer"),
        ({"shuffle": "buffer()"}, "buffer"),
        ({"shuffle": "buffer(10) "}, "buffer"),
    ],
)
def test_wrong_values(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingSettings(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "adm"}, "'sgd', 'adagrad', 'adam'"),
        ({"schedule": "cosin"}, "'constant', 'cosine'"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"l2": float("inf")}, "finite"),
        ({"epochs": 2.0}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"batchsize": 3}, "did you mean 'batch_size'"),
    ],
)
def test_wrong_words(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings.make(TrainingSettings, fields, "training")


def test_shuffle() -> None:
    assert TrainingSettings().buffer is None
    assert TrainingSettings(shuffle="buffer(10000)").buffer == 10_000
    assert TrainingSettings(shuffle="buffer( 7 )").buffer == 7


def test_a_constant_rate_stays() -> None:
    of = TrainingSettings(learning_rate=0.25)
    assert [of.rate(step, 10) for step in range(10)] == [0.25] * 10


def test_a_cosine_falls_from_the_rate_to_nothing() -> None:
    of = TrainingSettings(learning_rate=0.5, schedule="cosine")
    rates = [of.rate(step, 8) for step in range(9)]
    assert rates[0] == 0.5
    assert rates[4] == pytest.approx(0.25)
    assert rates[8] == pytest.approx(0.0)
    assert rates == sorted(rates, reverse=True)
    assert rates == pytest.approx([0.25 * (1 + cos(pi * step / 8)) for step in range(9)])
    assert rates[7] > 0  # the last step taken


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adagrad", torch.optim.Adagrad), ("sgd", torch.optim.SGD)]
)
def test_the_optimizer_is_torchs_own(name: str, kind: type[torch.optim.Optimizer]) -> None:
    model = nn.Linear(3, 2)
    found = settings.make(
        TrainingSettings, {"optimizer": name, "learning_rate": 0.125, "eps": 1e-7}, "training"
    ).make_optimizer(model)
    assert type(found) is kind
    (group,) = found.param_groups
    assert group["lr"] == 0.125
    assert group["params"] == list(model.parameters())
    assert group["weight_decay"] == 0
    if name != "sgd":
        assert group["eps"] == 1e-7
    else:
        assert group["momentum"] == 0


def test_projections_learn_at_a_rate_of_their_own() -> None:
    from coset.methods import method
    from coset.models.dot import DotModel, DotSettings
    from coset.schema import Table

    blocks = method("mixed_dimension", block_sizes=(3, 7), block_dims=(4, 2))
    methods = {"user": method("low_rank", rank=2), "item": blocks}
    model = DotModel(Table("user", 5, 4), Table("item", 10, 4), methods, DotSettings(4, biases=True, low=0.0, high=1.0))
    rows, projections = TrainingSettings(projection_rate=0.25).make_optimizer(model).param_groups
    assert (rows["scale"], projections["scale"]) == (1.0, 0.25)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    slow = {names[id(parameter)] for parameter in projections["params"]}
    assert slow == {name for name in names.values() if "projection" in name}
    assert len(slow) == 2
    assert len(rows["params"]) + len(slow) == len(names)
