"""What clicks are compared with before anything is trained: the base rate, and a linear model by hashing."""

from __future__ import annotations

from math import log
from time import perf_counter
from weakref import WeakKeyDictionary

import numpy as np
import torch

from coset import ledger
from coset.data.clicks import ClickData
from coset.tasks.baselines import Baseline
from coset.tasks.clicks.linear import fitted, rows_of, sizes
from coset.tasks.clicks.metrics import ClickScores

_BYTES = 4
"""Of a number, float32."""
_ROWS = 4096  # scored at once
_KNOWN: WeakKeyDictionary[ClickData, list[Baseline]] = WeakKeyDictionary()


def baselines(data: ClickData) -> list[Baseline]:
    """The share of clicks in the training part as the probability of every click, and linear models by hashing of two
    sizes; none where that share is 0 or 1. They are the same for every seed, so data are read for them once."""
    if data not in _KNOWN:
        _KNOWN[data] = _found(data)
    return _KNOWN[data]


def _found(data: ClickData) -> list[Baseline]:
    rate, (others, clicks) = data.click_rate, _counted(data, "validation")
    if rate is None or not 0 < rate < 1 or not others:
        return []
    return [_base_rate(rate, clicks / others), *(_linear(data, bits, rate) for bits in sizes(data))]


def _base_rate(rate: float, seen: float) -> Baseline:
    """The constant `rate`, where the validation part has the share `seen` of clicks."""
    loss = _entropy(seen, rate)
    metrics = {
        "train_logloss": _entropy(rate, rate),
        "train_calibration": 1.0,
        "val_logloss": loss,
        "val_auc": 0.5 if 0 < seen < 1 else None,
        "val_calibration": rate / seen if seen else None,
        "val_normalised_entropy": loss / _entropy(seen, seen) if 0 < seen < 1 else None,
    }
    return Baseline("base rate", "the share of clicks in the training part, for every row.", 1, _BYTES, metrics)


def _linear(data: ClickData, bits: int, rate: float) -> Baseline:
    started = perf_counter()
    model = fitted(data, bits, rate)
    seconds = perf_counter() - started
    metrics: dict[str, float | None] = {}
    for short, name in (("train", "training"), ("val", "validation")):
        part = data.part(name)
        scores = ClickScores(len(part))
        for rows in rows_of(data, part.batches(_ROWS), bits):
            scores.add(torch.from_numpy(model.logits(rows)), torch.from_numpy(rows.labels))
        found = scores.report()
        metrics |= {f"{short}_{of}": found[of] for of in (found if short == "val" else ("logloss", "calibration"))}
    stored = model.components()
    return Baseline(
        f"linear, 2^{bits}",
        "logistic regression on numbers and 2^k buckets of hashed ids; its settings are chosen on the training part.",
        ledger.parameters(stored), ledger.inference_bytes(stored), metrics, seconds,
    )  # fmt: skip


def _counted(data: ClickData, name: str) -> tuple[int, int]:
    """Rows and clicks of a part."""
    labels = data.part(name).column("label")
    return len(labels), int(np.count_nonzero(labels))


def _entropy(of: float, predicted: float) -> float:
    """The mean log-loss of a constant where this share of the labels is 1."""
    return -(of * log(predicted) + (1 - of) * log(1 - predicted))
