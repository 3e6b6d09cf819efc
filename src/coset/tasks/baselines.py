"""Baselines: models without training, which every comparison shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Baseline:
    """A model in closed form, scored.

    Args:
        name, note: as the rows of a comparison have them.
        parameters: how many numbers it has.
        bytes: of them.
        metrics: named `val_…` and `train_…`, as evaluations name them; None where there is no value.
    """

    name: str
    note: str
    parameters: int
    bytes: int
    metrics: Mapping[str, float | None]
