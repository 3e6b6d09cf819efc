"""Which click model, and what a run on clicks says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coset import settings
from coset.errors import InputError
from coset.tasks.clicks import ClickSource, ClicksTask, ModelChoice
from coset.training.spec import RunSpec


def test_a_spec_goes_through_json() -> None:
    model = ModelChoice.from_json({"name": "dcn", "cross": "low_rank", "rank": 4, "pooling": "mean"})
    training = replace(
        ClicksTask.default_training(), dense_optimizer="SGD", dense_options={"momentum": 0.9}, patience=3
    )
    spec = RunSpec(ClicksTask(ClickSource("mine"), model, training), {}, 3)
    assert RunSpec.from_json("clicks", spec.to_json()) == spec
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


def test_what_clicks_do_not_have() -> None:
    for training, words in (({"l2": 0.1}, "l2 is for ratings"), ({"shuffle": "buffer(9)"}, "'full' or 'none'")):
        with pytest.raises(InputError, match=words):
            ClicksTask.read({"data": {"source": "mine"}, "training": training}, "recipe")
