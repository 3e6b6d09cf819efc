"""Baselines: models that are solved or fitted in seconds, which every comparison shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Baseline:
    """A model without tables of vectors, scored.

    Args:
        name, note: as the rows of a comparison have them.
        parameters: how many numbers it has.
        bytes: of them.
        metrics: named `val_…` and `train_…`, as evaluations name them; None where there is no value.
        seconds: that its fit took, the choice of its settings included, where that is worth telling.
    """

    name: str
    note: str
    parameters: int
    bytes: int
    metrics: Mapping[str, float | None]
    seconds: float | None = None
