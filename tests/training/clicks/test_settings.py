"""Settings of the training of click models, and of the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from coset import settings
from coset.errors import InputError
from coset.training.clicks.optimizers import of_torch
from coset.training.clicks.settings import ClickTrainingSettings
from coset.training.clicks.spec import ClickRunSpec, ModelChoice


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 10**20}, "epochs must be a whole number of at most 64 bits"),
        ({"dense_options": {"momentum": 10**20}}, "must be a whole number of at most 64 bits"),
        ({"warmup": -1}, "warmup must be at least 0"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"evaluate_every": 0}, "evaluate_every must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"dense_learning_rate": -1.0}, "dense_learning_rate must be positive"),
        ({"max_norm": 0.0}, "max_norm must be positive"),
        ({"decay_from": 1.0}, "decay_from must be 0 or more and below 1"),
        ({"min_gain": -1.0}, "min_gain must be 0 or more"),
        ({"optimizer": "adam"}, "optimizer must be one of"),
        ({"schedule": "step"}, "schedule must be one of"),
        ({"dense_options": {"lr": 1.0}}, "the rate is dense_learning_rate"),
    ],
)
def test_wrong_choices_are_sentences(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ClickTrainingSettings(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dense_optimizer": "Addam"}, "did you mean 'Adam'"),
        ({"dense_optimizer": "lbfgs"}, "several times a step"),
        ({"dense_optimizer": "SparseAdam"}, "sparse gradients"),
        ({"dense_options": {"nesterov": True}}, "dense_options of Adam"),
    ],
)
def test_optimizers_that_torch_does_not_have(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        of_torch([torch.nn.Parameter(torch.ones(1))], ClickTrainingSettings(**given))


def test_rates_rise_and_fall() -> None:
    constant = ClickTrainingSettings(warmup=4)
    assert [constant.pace(step, 10) for step in (0, 1, 3, 4, 9)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    late = ClickTrainingSettings(schedule="quadratic", decay_from=0.5)
    assert [late.pace(step, 10) for step in (0, 5, 6, 9)] == [1.0, 1.0, pytest.approx(0.64), pytest.approx(0.04)]
    cosine = ClickTrainingSettings(schedule="cosine")
    assert cosine.pace(5, 10) == pytest.approx(0.5)
    longer_than_all = ClickTrainingSettings(warmup=100, schedule="linear")
    assert longer_than_all.pace(9, 10) == 0.1


def test_a_spec_goes_through_json() -> None:
    model = ModelChoice.from_json({"name": "dcn", "cross": "low_rank", "rank": 4, "pooling": "mean"})
    training = ClickTrainingSettings(dense_optimizer="SGD", dense_options={"momentum": 0.9}, patience=3)
    spec = ClickRunSpec(model, {}, training, 3)
    assert ClickRunSpec.from_json(spec.to_json()) == spec
    assert settings.plain(model)["rank"] == 4


def test_another_model_keeps_what_all_have() -> None:
    model = ModelChoice.from_json({"name": "dlrm", "embedding_dim": 8, "top": [4]})
    assert model.changed({"name": "dcn"}, "model").embedding_dim == 8
    assert model.changed({"top": [5]}, "model").to_json()["top"] == [5]
    for changes, words in (
        ({"name": "dlmr"}, "did you mean 'dlrm'"),
        ({"tops": [5]}, "did you mean 'top'"),
        ({"pooling": "max"}, "pooling"),
        ({"name": 3}, "name of a click model"),
    ):
        with pytest.raises(InputError, match=words):
            model.changed(changes, "model")
    with pytest.raises(InputError, match="is written"):
        ModelChoice.from_json("dlrm")
