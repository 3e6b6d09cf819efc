"""The training loop, by plain torch or by the fused engine, resumable at every epoch to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from coset.errors import Diverged
from coset.models.dot import DotModel
from coset.training.fused import Engine, FusedDot, choose
from coset.training.metrics import Errors, evaluate
from coset.training.order import epoch_order
from coset.training.settings import TrainingSettings

_FUSED_STEPS = 1000
"""Steps of one call of the fused engine; between calls progress is told, and an interrupt is heard."""

Epoch = dict[str, float]
"""Metrics of one epoch: epoch, train_mse, train_mae, val_mse, val_mae, seconds."""


@dataclass(frozen=True)
class Interactions:
    """Ratings by table id: three tensors of one length, int64, int64 and float."""

    users: Tensor
    items: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Tensor) -> Interactions:
        """The ratings at these rows, in this order."""
        return Interactions(self.users[rows], self.items[rows], self.targets[rows])


@dataclass
class Trainer:
    """A model in training.

    Training metrics are means over the epoch while the model learns, without the L2 term, as Keras reports
    them; validation metrics are of the model at the end of the epoch.

    Args:
        model: trained in place.
        training: what it learns from.
        validation: what it is judged by; never learned from.
        settings: how.
        seed: of the order of ratings.
        history: metrics of the epochs done.
        begun: epochs that the model was trained for before this training, whose own epochs follow them in number and
            order; the schedule is of this training alone.
        engine: `"plain"`, torch and autograd; `"fused"`, batches inside a kernel, equal but for rounding; `"auto"`,
            fused where it can be. Afterwards, the one that was chosen.
    """

    model: DotModel
    training: Interactions
    validation: Interactions
    settings: TrainingSettings
    seed: int
    history: list[Epoch] = field(default_factory=list)
    begun: int = 0
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        self.engine = choose(self.engine, self.model, self.settings)
        self.optimizer = self.settings.make_optimizer(self.model)
        self._taken_before = 0  # steps that the optimizer took in trainings before this one
        self._fused = FusedDot(self.model, self.settings, self.optimizer) if self.engine == "fused" else None

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches; the last may be smaller."""
        return -(-len(self.training) // self.settings.batch_size)

    @property
    def done(self) -> bool:
        """Whether all epochs are trained."""
        return len(self.history) >= self.settings.epochs

    def run_epoch(self, on_step: Callable[[int], None] = lambda steps: None) -> Epoch:
        """Train one epoch and append its metrics to `history`.

        Args:
            on_step: called now and then with the number of steps done since its last call.

        Raises:
            Diverged: the training did.
        """
        started = perf_counter()
        done, size, steps = len(self.history), self.settings.batch_size, self.steps_per_epoch
        epoch = self.begun + done
        order = epoch_order(len(self.training), self.settings.buffer, self.seed, epoch)
        rows, errors, told = self.training.take(order), Errors(), 0
        self.model.train()
        at_once = 1 if self._fused is None else _FUSED_STEPS
        for step in range(0, steps, at_once):
            part = slice(step * size, (step + at_once) * size)
            errors.add(self._steps(rows, part, done * steps + step))
            if step - told >= 100:
                on_step(step - told)
                told = step
        trained = perf_counter() - started
        self.model.eval()
        judged = evaluate(self.model, self.validation.users, self.validation.items, self.validation.targets)
        metrics = {
            "epoch": epoch + 1,
            "train_mse": errors.mse,
            "train_mae": errors.mae,
            "val_mse": judged.mse,
            "val_mae": judged.mae,
            "seconds": trained,
        }
        if not all(abs(value) < float("inf") for value in metrics.values()):  # false for NaN as well
            raise Diverged(
                f"training diverged in epoch {epoch + 1}: a loss is NaN or infinite; "
                f"try a learning_rate below {self.settings.learning_rate:g}"
            )
        self.history.append(metrics)
        on_step(steps - told)
        return metrics

    def _steps(self, rows: Interactions, part: slice, before: int) -> Tensor:
        """One step, or many where they are fused, on a part of the ratings; predictions less targets."""
        users, items, targets = rows.users[part], rows.items[part], rows.targets[part]
        steps = self.settings.epochs * self.steps_per_epoch
        if self._fused is not None:
            rates = [
                self.settings.rate(before + at, steps) for at in range(-(-len(targets) // self.settings.batch_size))
            ]
            return self._fused.run(users, items, targets, self._taken_before + before, rates)
        rate = self.settings.rate(before, steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        scores = self.model(users, items)
        gap: Tensor = scores.prediction - targets
        loss = (gap / self.model.unit).square().mean()
        if self.settings.l2:
            loss = loss + self.settings.l2 * scores.squared_norm.mean()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return gap

    # -- resuming --------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next epoch depends on, as tensors and plain values."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for number, of in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in of.items() if value is not None}
        return tensors, {"history": self.history, "taken_before": self._taken_before}

    def restore(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Go back to where `state` was taken."""
        model: dict[str, Tensor] = {}
        optimizer: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            owner, rest = name.split(".", 1)
            if owner == "model":
                model[rest] = value
            else:
                number, key = rest.split(".", 1)
                optimizer.setdefault(int(number), {})[key] = value
        if model:
            self.model.load_state_dict(model)
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": optimizer, "param_groups": whole["param_groups"]})
        self.history[:] = header["history"]
        self._taken_before = header["taken_before"]

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The part of `state` that is no model, from which another training goes on by `restore`."""
        tensors = {name: value for name, value in self.state()[0].items() if name.startswith("optimizer.")}
        taken = self._taken_before + len(self.history) * self.steps_per_epoch
        return tensors, {"history": [], "taken_before": taken, "optimizer": self.settings.optimizer}
