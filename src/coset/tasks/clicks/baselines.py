"""What clicks are compared with before anything is trained: the base rate."""

from __future__ import annotations

from math import log

import numpy as np

from coset.data.clicks import ClickData
from coset.tasks.baselines import Baseline

_BYTES = 4
"""Of a number, float32."""


def baselines(data: ClickData) -> list[Baseline]:
    """The share of clicks in the training part as the probability of every click; none where that is 0 or 1."""
    (rows, clicks), (others, found) = (_counted(data, name) for name in ("training", "validation"))
    if not 0 < clicks < rows or not others:
        return []
    rate, seen = clicks / rows, found / others
    loss = _entropy(seen, rate)
    metrics = {
        "train_logloss": _entropy(rate, rate),
        "train_calibration": 1.0,
        "val_logloss": loss,
        "val_auc": 0.5 if 0 < seen < 1 else None,
        "val_calibration": rate / seen if seen else None,
        "val_normalised_entropy": loss / _entropy(seen, seen) if 0 < seen < 1 else None,
    }
    return [Baseline("base rate", "the share of clicks in the training part, for every row.", 1, _BYTES, metrics)]


def _counted(data: ClickData, name: str) -> tuple[int, int]:
    """Rows and clicks of a part."""
    labels = data.part(name).column("label")
    return len(labels), int(np.count_nonzero(labels))


def _entropy(of: float, predicted: float) -> float:
    """The mean log-loss of a constant where this share of the labels is 1."""
    return -(of * log(predicted) + (1 - of) * log(1 - predicted))
