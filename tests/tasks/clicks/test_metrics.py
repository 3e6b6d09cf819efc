"""Metrics of clicks against formulas written down another way."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from math import exp, fsum, log

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from coset.errors import InputError
from coset.tasks.clicks.metrics import ClickScores, Losses


def scored(logits: Tensor, labels: Tensor, batch: int) -> ClickScores:
    scores = ClickScores(len(labels))
    for at in range(0, len(labels), batch):
        scores.add(logits[at : at + batch], labels[at : at + batch])
    return scores


def by_pairs(logits: Tensor, labels: Tensor) -> float:
    """The AUC as it is defined: over all pairs."""
    mine, rest = logits[labels == 1].double(), logits[labels == 0].double()
    gaps = mine[:, None] - rest[None]
    wins = int((gaps > 0).sum()) * 2 + int((gaps == 0).sum())
    return float(Fraction(wins, 2 * len(mine) * len(rest)))


def drawn(rows: int, seed: int, values: int | None = None) -> tuple[Tensor, Tensor]:
    """Logits, of so many different values, and labels that they say something about."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, generator=generator) * 3
    if values is not None:
        logits = (logits * values / 12).round()
    labels = (torch.rand(rows, generator=generator) < torch.sigmoid(logits)).float()
    return logits, labels


@pytest.mark.parametrize("values", [None, 5, 1])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_auc_is_that_of_all_pairs(values: int | None, batch: int) -> None:
    logits, labels = drawn(1000, 3, values)
    assert scored(logits, labels, batch).auc() == by_pairs(logits, labels)


def test_auc_over_many_chunks_with_ties_is_that_of_ranks() -> None:
    logits, labels = drawn(400_000, 0, 3000)
    values, place, counts = np.unique(logits.numpy(), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # mean rank among equals, from 1
    clicks = int(labels.sum())
    u = ranks[labels.numpy() == 1].sum() - clicks * (clicks + 1) / 2
    assert len(values) < 10_000
    assert scored(logits, labels, 4096).auc() == pytest.approx(u / (clicks * (len(labels) - clicks)), abs=1e-14)


def test_auc_agrees_with_torchmetrics() -> None:
    logits, labels = drawn(20_000, 1, 200)
    expected = float(binary_auroc(torch.sigmoid(logits.double()), labels.long()))
    assert scored(logits, labels, 999).auc() == pytest.approx(expected, abs=1e-6)


def test_losses_are_those_of_plain_formulas() -> None:
    logits, labels = drawn(5000, 2)
    pairs = list(zip(logits.double().tolist(), labels.tolist(), strict=True))
    probabilities = [1 / (1 + exp(-z)) for z, _ in pairs]
    loss = -fsum(log(p if y else 1 - p) for p, (_, y) in zip(probabilities, pairs, strict=True)) / 5000
    rate = float(labels.double().mean())
    found = scored(logits, labels, 512).report()
    assert found["logloss"] == pytest.approx(loss, rel=1e-12)
    assert found["calibration"] == pytest.approx(fsum(probabilities) / 5000 / rate, rel=1e-12)
    entropy = -rate * log(rate) - (1 - rate) * log(1 - rate)
    assert found["normalised_entropy"] == pytest.approx(loss / entropy, rel=1e-12)


def test_the_best_constant_has_entropy_1_and_is_calibrated() -> None:
    labels = (torch.arange(1000) % 4 == 0).float()
    logits = torch.full((1000,), log(1 / 3), dtype=torch.float64)
    losses = Losses()
    losses.add(logits, labels)
    assert losses.normalised_entropy == pytest.approx(1, abs=1e-15)
    assert losses.calibration == pytest.approx(1, abs=1e-15)


def test_sure_and_wrong_is_finite() -> None:
    found = scored(torch.tensor([1e4, -1e4]), torch.tensor([0.0, 1.0]), 2).report()
    assert found["logloss"] == 1e4
    assert found["auc"] == 0


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_kind_of_rows_has_no_auc(label: float) -> None:
    found = scored(torch.zeros(5), torch.full((5,), label), 2).report()
    assert found["auc"] is None
    assert found["normalised_entropy"] is None
    assert (found["calibration"] is None) == (label == 0)


def test_no_rows_and_too_many_rows() -> None:
    with pytest.raises(InputError, match="no rows"):
        ClickScores(5).report()
    with pytest.raises(InputError, match="3 rows, where 2"):
        scored(torch.zeros(2), torch.zeros(2), 2).add(torch.zeros(1), torch.zeros(1))
    few = ClickScores(10)  # fewer than announced
    few.add(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))
    assert few.auc() == 1


def test_running_sums_go_through_json() -> None:
    logits, labels = drawn(100, 4)
    whole, first = Losses(), Losses()
    for part in (slice(0, 50), slice(50, 100)):
        whole.add(logits[part], labels[part])
    first.add(logits[:50], labels[:50])
    again = Losses(**asdict(first))
    again.add(logits[50:], labels[50:])
    assert again == whole
