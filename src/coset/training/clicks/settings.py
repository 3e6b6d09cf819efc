"""How a click model is trained: the choices, and what of them depends on the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import cos, pi
from typing import Any, Literal

from coset import settings
from coset.errors import InputError
from coset.ledger import TableOptimizerName

Schedule = Literal["constant", "linear", "quadratic", "cosine"]

_FALLS: dict[str, Callable[[float], float]] = {
    "constant": lambda part: 1.0,
    "linear": lambda part: 1 - part,
    "quadratic": lambda part: (1 - part) ** 2,
    "cosine": lambda part: 0.5 * (1 + cos(pi * part)),
}


@dataclass(frozen=True)
class ClickTrainingSettings:
    """Choices of the training of a click model.

    Args:
        optimizer: of the tables, one of coset's: `"row_wise_adagrad"`, `"adagrad"`, `"sgd"`, `"lazy_adam"`, whose
            step moves the rows of its batch alone, or `"adam"`, dense, as torch's.
        learning_rate: of the tables, once warm.
        eps: of the tables' optimizer; its own by default.
        projection_rate: learning rate of projections relative to that of rows.
        dense_optimizer: of all else, and of tables that are not composed of rows: any class of `torch.optim`, by name.
        dense_learning_rate: of it, once warm.
        dense_options: further arguments of it, such as `{ amsgrad = true }`.
        batch_size: rows a step.
        epochs: passes over the training part.
        shuffle: whether an epoch visits the rows in an order of its own, drawn from the seed; file order otherwise.
        warmup: steps in which the learning rates rise from 0, linearly.
        schedule: `"constant"`; or how they fall to 0 at the last step of the last epoch: `"linear"`, `"quadratic"` (as
            DLRM's own), or `"cosine"`.
        decay_from: share of all steps after which they begin to fall; never before they are warm.
        max_norm: longest allowed norm of all gradients together, tables' and others'; no limit by default.
        evaluate_every: steps from one evaluation to the next; by default there is one at the end of each epoch. There
            always is one there.
        patience: stop after this many evaluations in a row whose validation log-loss is not below the lowest before
            them, and keep the model of the lowest. Without it all epochs are trained, and the last model is kept.
        min_gain: by how much it must be below.
    """

    optimizer: TableOptimizerName = "row_wise_adagrad"
    learning_rate: float = 0.02
    eps: float | None = None
    projection_rate: float = 1.0
    dense_optimizer: str = "Adam"
    dense_learning_rate: float = 0.001
    dense_options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 2048
    epochs: int = 1
    shuffle: bool = True
    warmup: int = 0
    schedule: Schedule = "constant"
    decay_from: float = 0.0
    max_norm: float | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    min_gain: float = 0.0

    def __post_init__(self) -> None:
        settings.check(self, "training")
        settings.check_range("training: epochs", self.epochs, 1, settings.MOST_EPOCHS)
        for name, least in (("batch_size", 1), ("warmup", 0), ("evaluate_every", 1), ("patience", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise InputError(f"training: {name} must be at least {least}, not {value}")
        for name in ("learning_rate", "dense_learning_rate", "projection_rate", "eps", "max_norm"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise InputError(f"training: {name} must be positive, not {value}")
        if not 0 <= self.decay_from < 1:
            raise InputError(f"training: decay_from must be 0 or more and below 1, not {self.decay_from}")
        if not self.min_gain >= 0:
            raise InputError(f"training: min_gain must be 0 or more, not {self.min_gain}")
        if wrong := sorted({"lr", "params"} & self.dense_options.keys()):
            raise InputError(f"training: dense_options cannot hold {wrong[0]!r}; the rate is dense_learning_rate")

    def pace(self, step: int, steps: int) -> float:
        """The share of the learning rates in step `step`, from 0, of `steps` in all.

        Example:
            >>> settings = ClickTrainingSettings(warmup=2, schedule="linear")
            >>> [settings.pace(step, 6) for step in range(6)]
            [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        begin = max(float(self.warmup), self.decay_from * steps)
        part = 0.0 if step <= begin else (step - begin) / (steps - begin)
        return _FALLS[self.schedule](part)
