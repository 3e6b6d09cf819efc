"""A task outside of coset: whether a user likes an item, judged by the AUC, which is better when higher.

A package names it in its pyproject.toml, and `--task likes` or `task = "likes"` in a recipe finds it:

    [project.entry-points."coset.tasks"]
    likes = "likes"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import polars
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from coset.models.dot import DotModel, DotSettings
from coset.tasks import FastSteps, Metric, Part, Running, Scored, Trained, TrainingSettings, register_task
from coset.tasks.clicks.metrics import ClickScores, Losses
from coset.tasks.ratings import Interactions, RatingsTask

LIKED = 4.0
"""The lowest rating of what a user likes."""
_TRAINING = TrainingSettings(learning_rate=0.004, epochs=8, schedule="cosine")


@register_task("likes")
@dataclass(frozen=True)
class LikesTask(RatingsTask):
    """Ratings, of which only that counts whether they are of `LIKED` or more."""

    model: DotSettings = field(default_factory=lambda: DotSettings(16, biases=True, output="linear", std=0.02))
    training: TrainingSettings = _TRAINING

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("auc", better="higher", label="AUC", article="an"),
        Metric("logloss", label="log-loss", shown=True),
    )

    @classmethod
    def default_training(cls) -> TrainingSettings:
        """Dense Adam, at a rate that falls."""
        return _TRAINING

    def running(self) -> Losses:
        """Sums of log-losses."""
        return Losses()

    def loss(self, model: DotModel, batch: Interactions, running: Running) -> Tensor:
        """The mean log-loss of `rating ≥ LIKED`."""
        logits, liked = self._logits(model, batch), (batch.targets >= LIKED).float()
        assert isinstance(running, Losses)
        running.add(logits, liked)
        return binary_cross_entropy_with_logits(logits, liked)

    @torch.no_grad()
    def evaluate(self, model: DotModel, *parts: Part[Interactions]) -> dict[str, float | None]:
        """AUC and log-loss."""
        scores = ClickScores(sum(map(len, parts)))
        for part in parts:
            for batch in part.batches(4096):
                scores.add(self._logits(model, batch), batch.targets >= LIKED)
        found = scores.report()
        return {metric.name: found[metric.name] for metric in self.metrics}

    def fast_steps(self, model: DotModel, training: Part[Interactions]) -> FastSteps | None:
        """None: the kernels' own loop knows squared errors alone."""
        return None

    def predictions(self, run: Trained[DotModel], asked: Scored) -> Iterator[polars.DataFrame]:
        """The probability that the user likes the item, beside both."""
        for frame in super().predictions(run, asked):
            above = polars.col("prediction") - (LIKED - 0.5)
            yield frame.with_columns(prediction=1 / (1 + (-above).exp()))

    def _logits(self, model: DotModel, batch: Interactions) -> Tensor:
        """How far predicted ratings lie above the middle between what is liked and what is not."""
        logits: Tensor = model(batch.users, batch.items).prediction - (LIKED - 0.5)
        return logits
