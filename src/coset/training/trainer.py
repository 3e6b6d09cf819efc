"""The training loop, which can stop after any step and continue at the next sample, to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from time import perf_counter
from typing import Any, Generic, Literal

import torch
from torch import Tensor

from coset.documents import Json
from coset.engine.owners import as_they_lie
from coset.engine.reading import by_torch_alone
from coset.errors import Diverged, InputError, unknown
from coset.methods.rounding import rounding_
from coset.storage.forms import unpack_
from coset.tasks import FastSteps, Part, Task
from coset.tasks.types import BatchT, ModelT
from coset.training.optimizers import Optimizers

EngineOption = Literal["auto", "fused", "plain"]
ENGINES: tuple[EngineOption, ...] = ("auto", "fused", "plain")
Evaluation = Json
"""Metrics of one evaluation: epoch, step, those of the training part named `train_…` and of the validation part named
`val_…`, share (of an epoch, since the evaluation before) and seconds."""

_AT_ONCE = 1000
"""Steps of one call of a fast loop; between calls it reports progress, and takes interrupts."""


@dataclass(frozen=True)
class Step:
    """Training since the last step that was yielded.

    Args:
        number: number of steps that are done.
        loss: sum of the loss over the rows.
        rows: number of training rows.
        pace: the share of the learning rates in the last step.
        norm: of all gradients before clipping, where they are clipped.
        evaluation: the metrics after it, if there was an evaluation.
    """

    number: int
    loss: float
    rows: int
    pace: float
    norm: float | None
    evaluation: Evaluation | None


class Trainer(Generic[ModelT, BatchT]):
    """A model in training.

    Metrics of the training part are means over the rows since the evaluation before, taken while the model learns;
    those of the validation part are of the model at the evaluation.

    Args:
        task: the task, with the settings in its `training`.
        model: trained in place.
        training: the training part.
        validation: the validation part, which it never learns from.
        seed: of the order of rows.
        begun: epochs that the model was trained for before this training, whose own epochs follow them in number and
            order; schedule and warmup are of this training alone.
        best: the best score before this training.
        engine: `"fused"`, kernels for the tables; `"plain"`, torch and autograd, equal but for rounding; `"auto"`, the
            first, and torch for tables that kernels cannot train.

    Raises:
        InputError: an unknown engine, or settings that do not fit it.
    """

    def __init__(
        self, task: Task[Any, Any, ModelT, BatchT], model: ModelT, training: Part[BatchT], validation: Part[BatchT],
        seed: int, engine: EngineOption = "auto", *, begun: int = 0, best: float | None = None,
    ) -> None:  # fmt: skip
        if engine not in ENGINES:
            raise unknown("engine", engine, ENGINES)
        if not len(training) or not len(validation):
            empty = "validation" if len(training) else "training"
            raise InputError(f"the {empty} part has no rows")
        self.task, self.model, self.training, self.validation = task, model, training, validation
        self.settings, self.seed, self.begun, self._before = task.training, seed, begun, best
        unpack_(model)
        fast = None if engine == "plain" else task.fast_steps(model, training)
        self.by = fast or Optimizers(model, self.settings, fused=engine != "plain")
        kernels = not isinstance(self.by, Optimizers) or self.by.tables is not None
        if engine == "fused" and not kernels:
            raise InputError(
                "engine 'fused' needs tables composed of rows, of one type of numbers, and this model has none; use "
                "'auto' or 'plain'"
            )
        self.engine: Literal["fused", "plain"] = "fused" if kernels else "plain"
        self.history: list[Evaluation] = []
        self._epoch, self._batch = 0, 0
        self._running, self._seconds = task.running(), 0.0
        self._rounds = True

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
        """The number of the evaluation with the best validation score; None before the first, or where none is better
        than the score before this training."""
        return self._best()[0]

    @property
    def stopped(self) -> bool:
        """Whether training ends early, after `patience` evaluations without gain."""
        return self.settings.patience is not None and self._best()[1] >= self.settings.patience

    @property
    def done(self) -> bool:
        """Whether training has ended, early or not."""
        return self.stopped or self._epoch >= self.settings.epochs

    def run(self, every: Sequence[int] = ()) -> Iterator[Step]:
        """Train until the end, and yield after every step, or with a fast loop, after several. A caller may stop and
        continue later.

        Args:
            every: it also yields at the multiples of these numbers of steps.

        Raises:
            Diverged: the training diverged.
        """
        while not self.done:
            by = self.by
            yield from self._one_by_one(by) if isinstance(by, Optimizers) else self._many_at_once(by, every)

    def _one_by_one(self, optimizers: Optimizers) -> Iterator[Step]:
        """The remaining steps of this epoch."""
        epoch = self._epoch
        order = self.settings.order(self.seed, self.begun + epoch)
        batches = self.training.batches(self.settings.batch_size, order, self._batch)
        try:
            while self._epoch == epoch and not self.done:
                started = perf_counter()
                yield self._one(optimizers, next(batches), started)
        finally:  # also where a step raises or the caller stops, since a thread may read ahead
            close: Callable[[], None] = getattr(batches, "close", lambda: None)
            close()

    def _one(self, optimizers: Optimizers, batch: BatchT, started: float) -> Step:
        self.model.train()
        self._round()
        (pace,), before = self._paces(1), self._running.loss
        torch.autograd.backward(self.task.loss(self.model, batch, self._running))
        if not isfinite(self._running.loss):
            raise self._diverged(f"the {self.task.score().long} is NaN or infinite")
        try:
            norm = optimizers.step(pace)
        except FloatingPointError as error:
            raise self._diverged(str(error)) from None
        return self._after(1, before, len(batch), pace, norm, started)

    def _round(self) -> None:
        """Whether the next step reads tables as they will be stored."""
        first = round(self.settings.round_from * self.settings.epochs * self.steps_per_epoch)
        if (due := self.own_step >= first) != self._rounds or self.own_step == first > 0:
            rounding_(self.model, due, fit=self.own_step == first > 0)
            self._rounds = due

    def _many_at_once(self, fast: FastSteps, every: Sequence[int]) -> Iterator[Step]:
        """The same, with many steps in one call, up to the next evaluation or yield."""
        epoch, periods = (
            self._epoch,
            [*every, *([self.settings.evaluate_every] if self.settings.evaluate_every else [])],
        )
        order = self.settings.order(self.seed, self.begun + epoch)
        while self._epoch == epoch and not self.done:
            started = perf_counter()
            self.model.train()
            left = self.steps_per_epoch - self._batch
            count = min(left, _AT_ONCE, *(period - self.step % period for period in periods))
            paces = self._paces(count)
            rows, before = self._running.rows, self._running.loss
            fast.run(order, self._batch, paces, self._running)
            if not isfinite(self._running.loss):
                raise self._diverged(f"the {self.task.score().long} is NaN or infinite")
            yield self._after(count, before, self._running.rows - rows, paces[-1], None, started)

    def _paces(self, count: int) -> list[float]:
        """The shares of the learning rates in the next steps."""
        first, steps = self.own_step, self.settings.epochs * self.steps_per_epoch
        return [self.settings.pace(step, steps) for step in range(first, first + count)]

    def _after(
        self, count: int, loss_before: float, rows: int, pace: float, norm: float | None, started: float
    ) -> Step:
        """Count steps, and evaluate where it is due."""
        self._batch += count
        if end := self._batch == self.steps_per_epoch:
            self._epoch, self._batch = self._epoch + 1, 0
        loss = self._running.loss - loss_before
        every = self.settings.evaluate_every
        due = end or (every is not None and self.step % every == 0)
        if due and not isinstance(self.by, Optimizers):
            self.by.settle()
        self._seconds += perf_counter() - started
        return Step(self.step, loss, rows, pace, norm, self._evaluate() if due else None)

    def _evaluate(self) -> Evaluation:
        epoch = self.begun + self._epoch + self._batch / self.steps_per_epoch
        found: Evaluation = {"epoch": int(epoch) if epoch == int(epoch) else epoch, "step": self.step}
        found |= {f"train_{name}": value for name, value in self._running.report().items()}
        self.model.eval()
        if not self._rounds:  # a score is that of the model as it would be stored
            rounding_(self.model, True)
            self._rounds = True
        with by_torch_alone():
            scores = self.task.evaluate(self.model, self.validation)
        found |= {f"val_{name}": value for name, value in scores.items()}
        if wrong := [name for name, value in found.items() if value is not None and not isfinite(value)]:
            part = "validation" if wrong[0].startswith("val_") else "training"
            raise self._diverged(f"the {wrong[0].partition('_')[2]} of the {part} part is NaN or infinite")
        found |= {"share": self._running.rows / len(self.training), "seconds": self._seconds}
        self.history.append(found)
        self._running, self._seconds = self.task.running(), 0.0
        return found

    def _diverged(self, why: str) -> Diverged:
        of = self.settings
        ways = [f"a learning_rate below {of.learning_rate:g}"]
        if of.dense_learning_rate is not None:
            ways.append(f"a dense_learning_rate below {of.dense_learning_rate:g}")
        return Diverged(
            f"training diverged in step {self.step + 1}: {why}; try {', '.join(ways)}, a warmup, or a max_norm"
        )

    def _best(self) -> tuple[int | None, int]:
        """The number of the best evaluation, and how many came after it."""
        score = self.task.score()
        place, best = None, self._before
        for number, evaluation in enumerate(self.history):
            value = evaluation[f"val_{score.name}"]
            if value is not None and (best is None or score.gain(value, over=best) > self.settings.min_gain):
                place, best = number, value
        return place, len(self.history) if place is None else len(self.history) - 1 - place

    # -- resuming --------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """All that the next step depends on, as tensors and plain values; not copies. Taking it changes nothing."""
        tensors = {f"model.{name}": value for name, value in _lying(self.model)}
        tensors |= {f"optimizers.{name}": value for name, value in self.by.state().items()}
        return tensors, {
            "engine": self.engine,
            "epoch": self._epoch,
            "batch": self._batch,
            "running": asdict(self._running),
            "seconds": self._seconds,
            "history": self.history,
        }

    @torch.no_grad()
    def restore(self, names: Iterable[str], tensor_of: Callable[[str], Tensor], header: Mapping[str, Any]) -> None:
        """Go back to a `state`; `tensor_of` gives its tensors by name, one at a time.

        Raises:
            InputError: it is of the other engine, from which this one cannot continue.
        """
        for name, value in _lying(self.model):
            value.copy_(tensor_of(f"model.{name}"))
        own = [name.removeprefix("optimizers.") for name in names if name.startswith("optimizers.")]
        try:
            self.by.restore(own, lambda name: tensor_of(f"optimizers.{name}"))
        except InputError:
            if header["engine"] == self.engine:
                raise
            raise InputError(
                f"this run began with engine {header['engine']!r} and cannot continue with {self.engine!r}"
            ) from None
        self._epoch, self._batch = header["epoch"], header["batch"]
        self._running = type(self._running)(**header["running"])
        self._seconds = header["seconds"]
        self.history[:] = header["history"]


def _lying(model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers as they lie in memory; a state_dict would bring the rows of dense Adam to the last
    step."""
    with as_they_lie():
        lying = [(name, parameter.detach()) for name, parameter in model.named_parameters()]
    yield from lying
    yield from model.named_buffers()
