"""The base rate of clicks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from coset.tasks.clicks.baselines import baselines
from coset.tasks.clicks.metrics import ClickScores


def test_its_metrics_are_those_of_a_constant(clicks: Any) -> None:
    (base,) = baselines(clicks)
    known, later = (torch.tensor(clicks.part(name).column("label")) for name in ("training", "validation"))
    rate = known.double().mean()
    scores = ClickScores(len(later))
    scores.add(torch.full((len(later),), float(torch.logit(rate)), dtype=torch.float64), later)
    for name, value in scores.report().items():
        assert base.metrics[f"val_{name}"] == pytest.approx(value), name
    assert base.metrics["train_calibration"] == 1
    assert (base.parameters, base.bytes) == (1, 4)


def test_there_is_none_where_all_labels_are_equal(clicks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coset.tasks.clicks.baselines._counted", lambda data, name: (10, 10))
    assert baselines(clicks) == []
