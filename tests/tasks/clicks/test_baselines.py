"""The baselines of clicks: the base rate, and a linear model by hashing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from coset.data.clicks import ClickData, Feature
from coset.models.hashed_linear import LinearChoice
from coset.tasks.clicks.baselines import baselines
from coset.tasks.clicks.linear import ALPHAS, MOST_EPOCHS, PENALTIES, chosen, sizes
from coset.tasks.clicks.metrics import ClickScores


def test_its_metrics_are_those_of_a_constant(clicks: Any) -> None:
    base, _ = baselines(clicks)
    known, later = (torch.tensor(clicks.part(name).column("label")) for name in ("training", "validation"))
    rate = known.double().mean()
    scores = ClickScores(len(later))
    scores.add(torch.full((len(later),), float(torch.logit(rate)), dtype=torch.float64), later)
    for name, value in scores.report().items():
        assert base.metrics[f"val_{name}"] == pytest.approx(value), name
    assert base.metrics["train_calibration"] == 1
    assert (base.parameters, base.bytes) == (1, 4)


def test_there_is_none_where_all_labels_are_equal(clicks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ClickData.open(clicks.folder)
    monkeypatch.setattr(ClickData, "click_rate", 1.0)
    assert baselines(data) == []


def test_the_linear_model_counts_its_bytes_and_tells_its_time(clicks: Any) -> None:
    base, linear = baselines(clicks)
    assert linear.name == "linear, 2^8"
    assert linear.parameters == 2**8 + len(clicks.numeric) + 1
    assert linear.bytes == 4 * linear.parameters
    assert (linear.seconds or 0) > 0
    assert base.seconds is None
    for name in ("train_logloss", "val_logloss", "val_normalised_entropy"):
        assert (linear.metrics[name] or 0) < (base.metrics[name] or 0) - 0.005, name
    assert (linear.metrics["val_auc"] or 0) > 0.6


def test_it_is_fitted_once_and_always_alike(clicks: Any) -> None:
    again = baselines(ClickData.open(clicks.folder))
    assert [of.metrics for of in again] == [of.metrics for of in baselines(clicks)]
    assert baselines(clicks) is baselines(clicks)


def test_settings_are_chosen_on_the_training_part(clicks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ClickData.open(clicks.folder)
    read: list[str] = []
    monkeypatch.setattr(data, "part", lambda name: (read.append(name), ClickData.part(data, name))[1])
    found = chosen(data, 8, 0.4)
    assert read == ["training"]
    assert found.alpha in ALPHAS
    assert found.l2 in PENALTIES
    assert 1 <= found.epochs <= MOST_EPOCHS


def test_rows_that_cannot_judge_choose_nothing(clicks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coset.tasks.clicks.linear._SAMPLE", 1)
    monkeypatch.setattr("coset.tasks.clicks.linear._BATCH", 1 << 20)
    assert chosen(clicks, 8, 0.4) == LinearChoice()


@pytest.mark.parametrize(("ids", "bits"), [([3], [8]), ([1000, 24], [10, 8]), ([33_000_000, 5], [22, 18])])
def test_there_are_as_many_weights_as_ids(ids: list[int], bits: list[int]) -> None:
    class Data:
        features = tuple(Feature(f"C{at}", size) for at, size in enumerate(ids))

    assert sizes(Data()) == bits  # type: ignore[arg-type]
