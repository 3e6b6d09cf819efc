"""How a model is trained: the choices, and the learning rate of each step."""

from __future__ import annotations

import re
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
class Order:
    """The order in which an epoch visits the training rows: a function of these numbers alone.

    Args:
        seed, epoch: the same pair gives the same order.
        buffer: rows are drawn, one at a time and uniformly, from a buffer of this size that is filled in file order (as
            `tf.data.Dataset.shuffle` does), so they stay near their place; None for a uniform permutation.
    """

    seed: int
    epoch: int
    buffer: int | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """Choices of a training; each task has defaults of its own.

    Args:
        optimizer: of the tables: `"row_wise_adagrad"`, `"adagrad"`, `"sgd"`, `"adam"`, which moves the rows without a
            gradient too, as `torch.optim.Adam` does, or `"lazy_adam"`, whose step moves the rows of its batch alone.
        learning_rate: of the tables, once warm.
        eps: of the tables' optimizer; its own by default.
        projection_rate: learning rate of projections relative to that of rows. Every step moves a projection, and
            most steps miss a given row, so under Adam an equal rate carries projections away while rows learn.
        dense_optimizer: of all other parameters, and of tables that are not composed of rows: any class of
            `torch.optim`, by name; by default torch's counterpart of `optimizer`.
        dense_learning_rate: of it, once warm; by default that of the tables.
        dense_options: further arguments of it, such as `{ amsgrad = true }`.
        batch_size: rows a step.
        epochs: passes over the training part.
        shuffle: the order of the rows of an epoch, drawn from the seed: `"full"`, any order; `"none"`, file order; or
            `"buffer(N)"`, drawn from a buffer of N rows that is filled in file order, so near it (see `Order`).
        warmup: steps in which the learning rates rise from 0, linearly.
        schedule: `"constant"`; or how they fall to 0 at the last step of the last epoch: `"linear"`, `"quadratic"` (as
            DLRM's own), or `"cosine"`.
        decay_from: share of all steps after which they begin to fall; never before they are warm.
        round_from: share of all steps after which tables of a storage that rounds to a few bits are read as they will
            be stored; until then they learn as floats, since levels are fitted to values that are there already. 1:
            they are rounded when they are trained, and never learn it.
        max_norm: longest allowed norm of all gradients together, tables' and others'; no limit by default.
        l2: weight of an L2 penalty on looked-up vectors: the sum of their squares for a row, averaged over the batch,
            so that an id is held back as often as it occurs (weighted λ, Zhou et al., 2008, "Large-scale parallel
            collaborative filtering for the Netflix prize"). On biases too, unless these have a `bias_ridge`.
        ridge: λ of a further penalty, which is counted once an epoch for an id: each of its n lookups has λ / n. It is
            in rows: an id with λ of them is held back half, as in ridge regression.
        bias_ridge: the same for the biases of users and of items; empty for none. Those of a model with linear output
            then start at the solution of the ridge bias model (see `coset.models.ridge`), since a rare id is moved too
            seldom to get there.
        solver: solves the model in place of an optimizer, without steps or epochs; of ratings `"posterior"`, which
            learns biases and vectors by variational Bayes (`coset.models.posterior`), and rounds those of packed tables
            so that ratings are predicted best (`coset.models.rounding`). No other setting matters then.
        evaluate_every: steps from one evaluation to the next; there always is one at the end of each epoch, and by
            default no other.
        patience: stop after this many evaluations in a row whose validation score is not better than the best before
            them, and keep the model of the best. Without it all epochs are trained, and the last model is kept.
        min_gain: by how much a score must be better to count.
    """

    optimizer: TableOptimizerName = "adam"
    learning_rate: float = 1e-3
    eps: float | None = None
    projection_rate: float = 1.0
    dense_optimizer: str | None = None
    dense_learning_rate: float | None = None
    dense_options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 1024
    epochs: int = 1
    shuffle: str = "full"
    warmup: int = 0
    schedule: Schedule = "constant"
    decay_from: float = 0.0
    round_from: float = 0.5
    max_norm: float | None = None
    l2: float = 0.0
    ridge: float = 0.0
    bias_ridge: tuple[float, ...] = ()
    solver: str | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    min_gain: float = 0.0

    def __post_init__(self) -> None:
        settings.check(self, "training")
        settings.check_range("training: batch_size", self.batch_size, 1, settings.LARGEST_SEED)
        settings.check_range("training: epochs", self.epochs, 1, settings.MOST_EPOCHS)
        for name, least in (("warmup", 0), ("evaluate_every", 1), ("patience", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise InputError(f"training: {name} must be at least {least}, not {value}")
        for name in ("learning_rate", "dense_learning_rate", "projection_rate", "eps", "max_norm"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise InputError(f"training: {name} must be positive, not {value}")
        if self.bias_ridge and (len(self.bias_ridge) != 2 or not min(self.bias_ridge) > 0):
            raise InputError(
                f"training: bias_ridge must be two positive numbers, of users and of items, not {list(self.bias_ridge)}"
            )
        for name in ("l2", "ridge", "min_gain"):
            if not getattr(self, name) >= 0:
                raise InputError(f"training: {name} must be 0 or more, not {getattr(self, name)}")
        if not 0 <= self.decay_from < 1:
            raise InputError(f"training: decay_from must be 0 or more and below 1, not {self.decay_from}")
        if wrong := sorted({"lr", "params"} & self.dense_options.keys()):
            raise InputError(f"training: dense_options cannot hold {wrong[0]!r}; the rate is dense_learning_rate")
        if not 0 <= self.round_from <= 1:
            raise InputError(f"training: round_from must lie in 0 … 1, not {self.round_from}")
        if self.dense_options and self.dense_optimizer is None:
            raise InputError("training: dense_options need a dense_optimizer; name it")
        self.order(0, 0)  # raises for an unknown shuffle

    def order(self, seed: int, epoch: int) -> Order | None:
        """The order of an epoch; None for that of the file."""
        if self.shuffle == "none":
            return None
        if self.shuffle == "full":
            return Order(seed, epoch)
        found = re.fullmatch(r"buffer\(\s*([1-9]\d*)\s*\)", self.shuffle)
        if not found:
            raise InputError(
                f"training: shuffle must be 'full', 'none' or 'buffer(N)' with N ≥ 1, not {self.shuffle!r}"
            )
        return Order(seed, epoch, int(found[1]))

    @property
    def dense_rate(self) -> float:
        """Learning rate of all parameters but tables, once warm."""
        return self.learning_rate if self.dense_learning_rate is None else self.dense_learning_rate

    def pace(self, step: int, steps: int) -> float:
        """The share of the learning rates in step `step`, from 0, of `steps` in all.

        Example:
            >>> settings = TrainingSettings(warmup=2, schedule="linear")
            >>> [settings.pace(step, 6) for step in range(6)]
            [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        begin = max(float(self.warmup), self.decay_from * steps)
        part = 0.0 if step <= begin else (step - begin) / (steps - begin)
        return _FALLS[self.schedule](part)
