"""How a model is trained: the choices, and what of them depends on the step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import torch
from torch import nn

from coset import settings
from coset.errors import InputError
from coset.ledger import Optimizer
from coset.methods import TableModule


@dataclass(frozen=True)
class TrainingSettings:
    """Choices of a training.

    Args:
        optimizer: `"adam"`, dense: the moments of rows that a batch does not touch decay and move them on;
            `"lazy_adam"`, of the fused engine: they wait; `"adagrad"` or `"sgd"`.
        learning_rate: at the first step.
        projection_rate: learning rate of projections relative to that of rows. Every step moves a projection, and
            most steps miss a given row, so under Adam an equal rate carries projections away while rows learn.
        eps: added to the root of the second moment.
        batch_size: ratings a step.
        epochs: passes over the training part.
        schedule: `"constant"`, or `"cosine"`, which falls to 0 at the end of the last epoch.
        l2: weight of the mean, over a batch, of the sum of squares of all that was looked up for a rating; beside
            a squared error in the model's unit, which for linear outputs is a quarter of the range of ratings.
        shuffle: order of the ratings in an epoch: `"full"`, any order; or `"buffer(N)"`, drawn from a buffer of N
            that is filled in file order (as `tf.data.Dataset.shuffle` does), so it stays near file order.
    """

    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3
    projection_rate: float = 1.0
    eps: float = 1e-8
    batch_size: int = 1024
    epochs: int = 12
    schedule: Literal["constant", "cosine"] = "constant"
    l2: float = 0.0
    shuffle: str = "full"

    def __post_init__(self) -> None:
        settings.check(self, "training")
        settings.check_range("training: batch_size", self.batch_size, 1, settings.LARGEST_SEED)
        settings.check_range("training: epochs", self.epochs, 1, settings.MOST_EPOCHS)
        for name in ("learning_rate", "projection_rate", "eps"):
            if not getattr(self, name) > 0:
                raise InputError(f"training: {name} must be positive, not {getattr(self, name)}")
        if not self.l2 >= 0:
            raise InputError(f"training: l2 must be 0 or more, not {self.l2}")
        self.buffer  # noqa: B018 - raises for a word that is no shuffle

    @property
    def buffer(self) -> int | None:
        """Size of the shuffle buffer; None when all of the epoch is shuffled."""
        if self.shuffle == "full":
            return None
        found = re.fullmatch(r"buffer\(\s*([1-9]\d*)\s*\)", self.shuffle)
        if not found:
            raise InputError(f"training: shuffle must be 'full' or 'buffer(N)' with N ≥ 1, not {self.shuffle!r}")
        return int(found[1])

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step `step`, from 0, of `steps` in all."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + cos(pi * step / steps))

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of all parameters of `model`; a group's `scale` is its share of the learning rate."""
        slow = {id(p) for module in model.modules() if isinstance(module, TableModule) for p in module.projections()}
        groups = [
            {"params": [p for p in model.parameters() if (id(p) in slow) == is_slow], "scale": scale}
            for is_slow, scale in ((False, 1.0), (True, self.projection_rate))
        ]
        filled = [group for group in groups if group["params"]]
        if self.optimizer in ("adam", "lazy_adam"):
            return torch.optim.Adam(filled, lr=self.learning_rate, eps=self.eps, fused=True)
        if self.optimizer == "adagrad":
            return torch.optim.Adagrad(filled, lr=self.learning_rate, eps=self.eps)
        return torch.optim.SGD(filled, lr=self.learning_rate)
