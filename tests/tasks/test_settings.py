"""Choices of a training, and the learning rate of every step."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest
import torch
from torch import nn

from coset import settings
from coset.errors import InputError
from coset.tasks import Order, TrainingSettings
from coset.training.optimizers import Optimizers, of_torch


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": -5}, "batch_size"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 2 * 10**9}, "epochs must lie in 1 … 1000000000"),
        ({"epochs": 10**20}, "epochs must be a whole number of at most 64 bits"),
        ({"batch_size": 10**20}, "batch_size must be a whole number of at most 64 bits"),
        ({"learning_rate": -1e-3}, "learning_rate"),
        ({"eps": 0.0}, "eps"),
        ({"l2": -0.1}, "l2"),
        (
            {"dense_optimizer": "SGD", "dense_options": {"momentum": 10**20}},
            "must be a whole number of at most 64 bits",
        ),
        ({"patience": 0}, "patience must be at least 1"),
        ({"evaluate_every": 0}, "evaluate_every must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"dense_learning_rate": -1.0}, "dense_learning_rate must be positive"),
        ({"max_norm": 0.0}, "max_norm must be positive"),
        ({"decay_from": 1.0}, "decay_from must be 0 or more and below 1"),
        ({"min_gain": -1.0}, "min_gain must be 0 or more"),
        ({"optimizer": "dense_adam"}, "optimizer must be one of"),
        ({"dense_options": {"nesterov": True}}, "dense_options need a dense_optimizer; name it"),
        ({"schedule": "step"}, "schedule must be one of"),
        ({"dense_options": {"lr": 1.0}}, "the rate is dense_learning_rate"),
        ({"shuffle": "ful"}, "'full', 'none' or 'buffer"),
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
        ({"optimizer": "adm"}, "'sgd', 'adagrad', 'row_wise_adagrad', 'lazy_adam', 'adam'"),
        ({"schedule": "cosin"}, "'constant', 'linear', 'quadratic', 'cosine'"),
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
    assert TrainingSettings().order(3, 5) == Order(3, 5)
    assert TrainingSettings(shuffle="none").order(3, 5) is None
    assert TrainingSettings(shuffle="buffer(10000)").order(3, 5) == Order(3, 5, 10_000)
    assert TrainingSettings(shuffle="buffer( 7 )").order(3, 5) == Order(3, 5, 7)


def test_a_constant_pace_stays() -> None:
    assert [TrainingSettings().pace(step, 10) for step in range(10)] == [1.0] * 10


def test_a_cosine_falls_from_the_rate_to_nothing() -> None:
    of = TrainingSettings(schedule="cosine")
    paces = [of.pace(step, 8) for step in range(9)]
    assert paces[0] == 1.0
    assert paces[4] == pytest.approx(0.5)
    assert paces[8] == pytest.approx(0.0)
    assert paces == sorted(paces, reverse=True)
    assert paces == pytest.approx([0.5 * (1 + cos(pi * step / 8)) for step in range(9)])
    assert paces[7] > 0  # the last step taken


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dense_optimizer": "Addam"}, "did you mean 'Adam'"),
        ({"dense_optimizer": "lbfgs"}, "several times a step"),
        ({"dense_optimizer": "SparseAdam"}, "sparse gradients"),
        ({"dense_optimizer": "Adam", "dense_options": {"nesterov": True}}, "dense_options of Adam"),
    ],
)
def test_optimizers_that_torch_does_not_have(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        of_torch([torch.nn.Parameter(torch.ones(1))], TrainingSettings(**given))


def test_rates_rise_and_fall() -> None:
    constant = TrainingSettings(warmup=4)
    assert [constant.pace(step, 10) for step in (0, 1, 3, 4, 9)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    late = TrainingSettings(schedule="quadratic", decay_from=0.5)
    assert [late.pace(step, 10) for step in (0, 5, 6, 9)] == [1.0, 1.0, pytest.approx(0.64), pytest.approx(0.04)]
    cosine = TrainingSettings(schedule="cosine")
    assert cosine.pace(5, 10) == pytest.approx(0.5)
    longer_than_all = TrainingSettings(warmup=100, schedule="linear")
    assert longer_than_all.pace(9, 10) == 0.1


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adagrad", torch.optim.Adagrad), ("sgd", torch.optim.SGD)]
)
def test_the_optimizer_is_torchs_own(name: str, kind: type[torch.optim.Optimizer]) -> None:
    model = nn.Linear(3, 2)
    chosen = settings.make(TrainingSettings, {"optimizer": name, "learning_rate": 0.125, "eps": 1e-7}, "training")
    (found,) = Optimizers(model, chosen).others
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
    (found,) = Optimizers(model, TrainingSettings(projection_rate=0.25), fused=False).others
    rows, projections = found.param_groups
    assert (rows["scale"], projections["scale"]) == (1.0, 0.25)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    slow = {names[id(parameter)] for parameter in projections["params"]}
    assert slow == {name for name in names.values() if "projection" in name}
    assert len(slow) == 2
    assert len(rows["params"]) + len(slow) == len(names)
