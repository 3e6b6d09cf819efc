"""Metrics of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from coset import settings
from coset.errors import InputError

Scores = Mapping[str, float | None]
"""Metrics by name; None for one that is undefined for these rows, such as the AUC of rows that are all clicks."""


@dataclass(frozen=True)
class Metric:
    """A metric of a model.

    Args:
        name: its name in the metrics of an evaluation, after `val_` or `train_`.
        better: which values are better; None for neither, as of a calibration, whose best is 1.
        label: in tables and pictures.
        long: in sentences; the label by default.
        article: before the label.
        shown: whether the table of a comparison has a column of it beside that of the score.
        spread: whether that column shows the interval of the mean.
        sound: the lowest and the highest value of a model that is worth having; empty where any value may be.
        unsound: what a model with another value does, in words that its name follows, such as "Worse than the mean".
    """

    name: str
    better: Literal["lower", "higher"] | None = "lower"
    label: str = ""
    long: str = ""
    article: str = "a"
    shown: bool = False
    spread: bool = False
    sound: tuple[float, ...] = ()
    unsound: str = ""

    def __post_init__(self) -> None:
        settings.check(self, "metric")
        object.__setattr__(self, "label", self.label or self.name)
        object.__setattr__(self, "long", self.long or self.label)
        if self.sound and (len(self.sound) != 2 or not self.sound[0] <= self.sound[1] or not self.unsound):
            raise InputError(
                f"metric {self.name}: sound must be two values, the lower one first, and unsound a sentence"
            )

    def gain(self, value: float, over: float) -> float:
        """By how much `value` is better than `over`.

        Example:
            >>> Metric("auc", better="higher").gain(0.75, over=0.5)
            0.25
        """
        return value - over if self.better == "higher" else over - value
