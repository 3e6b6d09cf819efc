"""The training loop of click models, which can stop after any step and go on at the next sample, to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from math import isfinite
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from coset.data.clicks import ClickBatch, ClickPart
from coset.engine.owners import as_they_lie
from coset.errors import Diverged, InputError
from coset.models.base import ClickModel
from coset.training.clicks.metrics import Losses, Scores
from coset.training.clicks.optimizers import Optimizers
from coset.training.clicks.settings import ClickTrainingSettings

Engine = Literal["auto", "fused", "plain"]
Evaluation = dict[str, Any]
"""Metrics of one evaluation: epoch, step, train_logloss, train_calibration, val_logloss, val_auc, val_calibration,
val_normalised_entropy, share (of an epoch, since the evaluation before) and seconds."""

_ROWS = 4096  # evaluated at once, whatever the batch size, so that no digit of a metric depends on it


@torch.no_grad()
def evaluate(model: ClickModel, *parts: ClickPart) -> dict[str, float | None]:
    """Log-loss, AUC, calibration and normalised entropy of `model` on parts of prepared data, together.

    Raises:
        InputError: the parts have no rows.
    """
    model.eval()
    names = tuple(model.tables.features)
    scores = Scores(sum(map(len, parts)))
    for batch in chain.from_iterable(part.batches(_ROWS) for part in parts):
        scores.add(model(batch.numeric, batch.features(names)), batch.labels)
    return scores.report()


@dataclass(frozen=True)
class Step:
    """What one step of training was like.

    Args:
        number: how many steps are done.
        loss: sum of the log-loss over its rows.
        rows: of its batch.
        pace: the share of the learning rates.
        norm: of all gradients before clipping, where they are to be clipped.
        evaluation: what was found after it, if there was an evaluation.
    """

    number: int
    loss: float
    rows: int
    pace: float
    norm: float | None
    evaluation: Evaluation | None


class ClickTrainer:
    """A click model in training.

    Metrics of the training part are means over the rows since the evaluation before, taken while the model learns;
    those of the validation part are of the model as it is then.

    Args:
        model: trained in place.
        training: what it learns from.
        validation: what it is judged by.
        settings: how.
        seed: of the order of rows.
        begun: epochs that the model was trained for before this training, whose own epochs follow them in number and
            order; schedule and warmup are of this training alone.
        least: the lowest validation log-loss before this training.
        engine: `"fused"`, kernels for the tables; `"plain"`, torch and autograd, equal but for rounding; `"auto"`, the
            first, and torch for tables that kernels cannot train.

    Raises:
        InputError: an unknown engine, or settings that do not fit it.
    """

    def __init__(
        self, model: ClickModel, training: ClickPart, validation: ClickPart, settings: ClickTrainingSettings, seed: int,
        engine: Engine = "auto", *, begun: int = 0, least: float | None = None,
    ) -> None:  # fmt: skip
        if not len(training) or not len(validation):
            empty = "validation" if len(training) else "training"
            raise InputError(f"the {empty} part has no rows")
        self.model, self.training, self.validation = model, training, validation
        self.settings, self.seed, self.begun, self._least = settings, seed, begun, least
        self.optimizers = Optimizers(model, settings, fused=engine != "plain")
        if engine == "fused" and self.optimizers.tables is None:
            raise InputError("engine 'fused' needs a table composed of rows, and here is none; use 'auto' or 'plain'")
        self.engine: Engine = "plain" if self.optimizers.tables is None else "fused"
        self.history: list[Evaluation] = []
        self._epoch, self._batch = 0, 0
        self._losses, self._seconds = Losses(), 0.0
        self._names = tuple(model.tables.features)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches; the last may be smaller."""
        return -(-len(self.training) // self.settings.batch_size)

    @property
    def step(self) -> int:
        """Steps done, those of the epochs before this training included."""
        return (self.begun + self._epoch) * self.steps_per_epoch + self._batch

    @property
    def own_step(self) -> int:
        """Steps done in this training."""
        return self.step - self.begun * self.steps_per_epoch

    @property
    def best(self) -> int | None:
        """Which evaluation had the lowest validation log-loss; None before the first, or where all are above that from
        before this training."""
        return self._best()[0]

    @property
    def stopped(self) -> bool:
        """Whether so many evaluations in a row were without gain that training ends early."""
        return self.settings.patience is not None and self._best()[1] >= self.settings.patience

    @property
    def done(self) -> bool:
        """Whether training has ended, early or not."""
        return self.stopped or self._epoch >= self.settings.epochs

    def run(self) -> Iterator[Step]:
        """Train until the end, and yield after every step; whoever asks for no more may go on later.

        Raises:
            Diverged: the training did.
        """
        while not self.done:
            yield from self._rest_of_epoch()

    def _rest_of_epoch(self) -> Iterator[Step]:
        """The steps of this epoch that are not done."""
        seed, epoch = self.seed if self.settings.shuffle else None, self._epoch
        order = self.begun + epoch
        batches = self.training.batches(self.settings.batch_size, seed=seed, epoch=order, start=self._batch)
        try:
            while self._epoch == epoch and not self.done:
                started = perf_counter()
                yield self._step(next(batches), started)
        finally:  # also where a step raises or nobody asks for another: a thread reads ahead
            close: Callable[[], None] = getattr(batches, "close", lambda: None)
            close()

    def _step(self, batch: ClickBatch, started: float) -> Step:
        self.model.train()
        pace = self.settings.pace(self.own_step, self.settings.epochs * self.steps_per_epoch)
        logits = self.model(batch.numeric, batch.features(self._names))
        torch.autograd.backward(binary_cross_entropy_with_logits(logits, batch.labels.to(logits.dtype)))
        before = self._losses.loss
        self._losses.add(logits, batch.labels)
        if not isfinite(self._losses.loss):
            raise self._diverged("the log-loss is NaN or infinite")
        try:
            norm = self.optimizers.step(pace)
        except FloatingPointError as error:
            raise self._diverged(str(error)) from None
        self._batch += 1
        if end := self._batch == self.steps_per_epoch:
            self._epoch, self._batch = self._epoch + 1, 0
        loss = self._losses.loss - before
        self._seconds += perf_counter() - started
        every = self.settings.evaluate_every
        evaluation = self._evaluate() if end or (every is not None and self.step % every == 0) else None
        return Step(self.step, loss, len(batch.labels), pace, norm, evaluation)

    def _evaluate(self) -> Evaluation:
        epoch = self.begun + self._epoch + self._batch / self.steps_per_epoch
        found: Evaluation = {
            "epoch": int(epoch) if epoch == int(epoch) else epoch,
            "step": self.step,
            "train_logloss": self._losses.logloss,
            "train_calibration": self._losses.calibration,
        }
        found |= {f"val_{name}": value for name, value in evaluate(self.model, self.validation).items()}
        if not isfinite(found["val_logloss"]):
            raise self._diverged("the log-loss of the validation part is NaN or infinite")
        found |= {"share": self._losses.rows / len(self.training), "seconds": self._seconds}
        self.history.append(found)
        self._losses, self._seconds = Losses(), 0.0
        return found

    def _diverged(self, why: str) -> Diverged:
        return Diverged(
            f"training diverged in step {self.step + 1}: {why}; try a learning_rate below "
            f"{self.settings.learning_rate:g}, a dense_learning_rate below {self.settings.dense_learning_rate:g}, a "
            f"warmup, or a max_norm"
        )

    def _best(self) -> tuple[int | None, int]:
        """Which evaluation was the best, and how many came after it."""
        place, lowest = None, float("inf") if self._least is None else self._least
        for number, evaluation in enumerate(self.history):
            if lowest == float("inf") or evaluation["val_logloss"] < lowest - self.settings.min_gain:
                place, lowest = number, evaluation["val_logloss"]
        return place, len(self.history) if place is None else len(self.history) - 1 - place

    # -- resuming --------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next step depends on, as tensors and plain values; not copies. Taking it changes nothing."""
        tensors = {f"model.{name}": value for name, value in _lying(self.model)}
        tensors |= {f"optimizers.{name}": value for name, value in self.optimizers.state().items()}
        return tensors, {
            "engine": self.engine,
            "epoch": self._epoch,
            "batch": self._batch,
            "losses": asdict(self._losses),
            "seconds": self._seconds,
            "history": self.history,
        }

    @torch.no_grad()
    def restore(self, names: Iterable[str], tensor_of: Callable[[str], Tensor], header: Mapping[str, Any]) -> None:
        """Go back to where `state` was taken; `tensor_of` gives its tensors by name, one at a time.

        Raises:
            InputError: it was taken with the other engine.
        """
        if header["engine"] != self.engine:
            raise InputError(
                f"this run was begun with engine {header['engine']!r} and cannot go on with {self.engine!r}"
            )
        for name, value in _lying(self.model):
            value.copy_(tensor_of(f"model.{name}"))
        own = [name.removeprefix("optimizers.") for name in names if name.startswith("optimizers.")]
        self.optimizers.restore(own, lambda name: tensor_of(f"optimizers.{name}"))
        self._epoch, self._batch = header["epoch"], header["batch"]
        self._losses, self._seconds = Losses(**header["losses"]), header["seconds"]
        self.history[:] = header["history"]


def _lying(model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers as they lie; a state_dict would bring the rows of dense Adam to the last step."""
    with as_they_lie():
        lying = [(name, parameter.detach()) for name, parameter in model.named_parameters()]
    yield from lying
    yield from model.named_buffers()
