"""A run on clicks, in a folder that any later moment can continue from, at the next sample.

run.json                      all choices, and a fingerprint of the data
checkpoints/                  the last few, gone when the run is done
best.safetensors              the model of the best evaluation, while training may end early
model.safetensors             the artifact: the trained model
optimizer.safetensors         the state of the optimizers, if it is kept, so that training may go on from it
metrics.json                  written last; a run that has it is done
tensorboard/                  event files, if they are wanted
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from coset import ledger
from coset.data.clicks import ClickData, ClickPart
from coset.data.clicks.described import PARTS
from coset.errors import InputError
from coset.files import claimed, read_json, write_json
from coset.models.base import ClickModel
from coset.training import checkpoint
from coset.training.checkpoint import Rotation
from coset.training.clicks import board
from coset.training.clicks.finished import described, fill
from coset.training.clicks.loop import ClickTrainer, Engine
from coset.training.clicks.spec import ClickRunSpec, components
from coset.training.folder import (
    forget_peak,
    host,
    nothing_kept_of_divergence,
    peak_resident_bytes,
    refuse_others,
    versions,
)
from coset.training.further import Beginning, epochs_of
from coset.training.seal import METRICS, RUN, SCHEMA, State, opened, opened_state, write_finished

TASK = "clicks"
_TELL = 20  # steps from one word about progress to the next


@dataclass(frozen=True)
class Saving:
    """When checkpoints are taken; results do not depend on it.

    Args:
        steps: from one to the next; None for no such limit.
        minutes: from one to the next; None for no such limit.
        keep: how many of the last are kept.
    """

    steps: int | None = None
    minutes: float | None = 5.0
    keep: int = 2

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise InputError(f"checkpoints are taken every step or less often, not every {self.steps} steps")
        if self.minutes is not None and not 0 <= self.minutes < float("inf"):
            raise InputError(f"minutes between checkpoints must be 0 or more, not {self.minutes:g}")
        if self.keep < 1:
            raise InputError(f"at least one checkpoint must be kept, not {self.keep}")


def execute(
    spec: ClickRunSpec,
    folder: Path,
    data: ClickData,
    *,
    resume: bool = False,
    engine: Engine = "auto",
    saving: Saving | None = None,
    tensorboard: bool = False,
    after: Path | None = None,
    keep_state: bool = False,
    on_step: Callable[[int], None] = lambda steps: None,
) -> dict[str, Any]:
    """Train `spec` in `folder`, or go on where an earlier process stopped, and return the metrics.

    Args:
        data: what was prepared.
        resume: continue what the folder holds; without it the folder must not hold a run.
        engine: see `ClickTrainer`.
        saving: when checkpoints are taken; there always is one after an evaluation.
        tensorboard: write event files.
        after: the folder of a finished run of the same data and model, which training goes on with: its epochs come
            before those of `spec`, whose schedule and warmup are for its own epochs alone. The state of its optimizers
            is gone on with where it was kept and they are the same. That folder stays as it is.
        keep_state: keep the state of the optimizers in `optimizer.safetensors`, so that `after` finds it; not where
            the model that is kept is not the last.
        on_step: told the number of steps done, for progress.

    Raises:
        InputError: the folder holds a run and `resume` is false, or a run of other choices or other data.
        Diverged: the training did; of one that was begun here nothing is kept.
    """
    folder = Path(folder)
    if tensorboard:
        board.check()
    with claimed(folder, "run.json", resume):
        about = {"schema": SCHEMA, "task": TASK, "spec": spec.to_json(), "data": described(data)}
        before = None if after is None else _Before.load(after, spec, engine)
        if before is not None:
            about["continued"] = asdict(before.beginning)
        if begun := (folder / RUN).exists():
            refuse_others(folder, read_json(folder / RUN), about)
        if (folder / METRICS).exists():
            with opened(folder) as finished:
                return finished.metrics
        for part in PARTS:
            data.part(part).check()
        refuse_one_label(data)
        run = _Run(spec, folder, data, about, engine, saving or Saving(), before, keep_state)
        if not begun:  # not before it is sure that there can be a run of these choices
            write_json(folder / RUN, about)
        with nothing_kept_of_divergence(folder, begun):
            return run.train(tensorboard, on_step)


def refuse_one_label(data: ClickData) -> None:
    """Raise an `InputError` if all rows of the training part have one label, as data of ratings with one rating are
    refused."""
    labels = data.part("training").column("label")
    if len(labels) and (value := int(labels[0])) == labels.min() == labels.max():
        raise InputError(
            f"{data.folder}: every label of the training part is {value}, so there is nothing to learn; check which "
            "column the schema calls the label, and how the rows are split"
        )


class _Run:
    """A run in its folder."""

    def __init__(
        self, spec: ClickRunSpec, folder: Path, data: ClickData, about: Mapping[str, Any], engine: Engine,
        saving: Saving, before: _Before | None, keep_state: bool,
    ) -> None:  # fmt: skip
        self.spec, self.folder, self.data, self.about, self.engine, self.saving = (
            spec, folder, data, about, engine, saving,
        )  # fmt: skip
        self.before, self.keep_state = before, keep_state
        self.rotation = Rotation(folder / "checkpoints", saving.keep)
        self.best = folder / "best.safetensors"
        forget_peak()
        self.trainer = self._trainer()

    def train(self, tensorboard: bool, on_step: Callable[[int], None]) -> dict[str, Any]:
        trainer = self.trainer
        if self._restore(trainer) and not self._best_is_there(trainer):
            warnings.warn(
                f"{self.best}: damaged or missing, and the model of the best evaluation with it; this run begins anew",
                stacklevel=3,
            )
            self.rotation.clear()
            trainer = self.trainer = self._trainer()
        on_step(trainer.own_step)
        told = trainer.step
        if self.before is not None and self._may_end_early and not trainer.history:
            header = {"step": trainer.step, "run": self.about}  # the best until there is a better one
            checkpoint.save(self.best, "model", trainer.model.state_dict(), header)
        saved = monotonic()
        log = board.Board(self.folder / "tensorboard", trainer.step) if tensorboard else nullcontext()
        with log:
            for step in trainer.run():
                if isinstance(log, board.Board):
                    log.tell(step)
                if step.evaluation is not None and self._may_end_early and trainer.best == len(trainer.history) - 1:
                    header = {"step": step.number, "run": self.about}
                    checkpoint.save(self.best, "model", trainer.model.state_dict(), header)
                if self._due(step.number, saved) or (step.evaluation is not None and not trainer.done):
                    self._save(trainer)
                    saved = monotonic()
                if step.number - told >= _TELL or step.evaluation is not None:
                    on_step(step.number - told)
                    told = step.number
        return self._finish(trainer)

    @property
    def _may_end_early(self) -> bool:
        return self.spec.training.patience is not None

    def _trainer(self) -> ClickTrainer:
        model = self.spec.build(self.data.features, len(self.data.numeric))
        parts = self.data.part("training"), self.data.part("validation")
        if self.before is None:
            return ClickTrainer(model, *parts, self.spec.training, self.spec.seed, self.engine)
        least = self.before.least if self._may_end_early else None
        return self.before.trainer(model, parts, self.spec, least)

    def _restore(self, trainer: ClickTrainer) -> bool:
        """Go back to the newest whole checkpoint, if there is one."""
        with self.rotation.latest() as saved:
            if saved is None:
                return False
            refuse_others(saved.path, saved.header["run"], self.about)
            if (threads := saved.header["threads"]) != torch.get_num_threads():
                warnings.warn(
                    f"{self.folder}: this run was begun with --threads {threads}, and layers round otherwise with "
                    f"{torch.get_num_threads()}; for the same digits go on with as many",
                    stacklevel=4,
                )
            trainer.restore(saved.names, saved.tensor, saved.header)
            return True

    def _best_is_there(self, trainer: ClickTrainer) -> bool:
        """Whether the best model until now, or one that will be the best once again, is there."""
        if not self._may_end_early or (trainer.best is None and self.before is None):
            return True
        try:
            with checkpoint.opened(self.best, "model") as saved:
                step, about = saved.header.get("step"), saved.header.get("run")
        except InputError:
            return False
        if about != self.about or not isinstance(step, int):  # of another run
            return False
        begun = trainer.begun * trainer.steps_per_epoch
        return step == (begun if trainer.best is None else trainer.history[trainer.best]["step"]) or step > trainer.step

    def _due(self, step: int, saved: float) -> bool:
        steps, minutes = self.saving.steps, self.saving.minutes
        if steps is not None and step % steps == 0:
            return True
        return minutes is not None and monotonic() - saved >= 60 * minutes

    def _save(self, trainer: ClickTrainer) -> None:
        tensors, header = trainer.state()
        self.rotation.save(trainer.step, tensors, {**header, "threads": torch.get_num_threads(), "run": self.about})

    def _finish(self, trainer: ClickTrainer) -> dict[str, Any]:
        earlier = [] if self.before is None else self.before.history
        history = [*earlier, *trainer.history]
        reported = len(history) - 1
        if self._may_end_early:
            if trainer.best is not None:
                reported = len(earlier) + trainer.best
            elif self.before is not None:  # nothing was better than what it went on with
                reported = self.before.reported
            with checkpoint.opened(self.best, "model") as saved:
                fill(trainer.model, saved)
        metrics = finish(
            self.folder, self.about, trainer.model, self.data, engine=trainer.engine, history=history,
            optimizer_bytes=sum(value.nbytes for value in trainer.optimizers.state().values()),
            reported=reported,
            stopped_early=trainer.stopped and trainer.own_step < self.spec.training.epochs * trainer.steps_per_epoch,
            state=_state(trainer, self.spec) if self.keep_state and reported == len(history) - 1 else None,
        )  # fmt: skip
        self.rotation.clear()
        self.best.unlink(missing_ok=True)
        return metrics


def finish(
    folder: Path, about: Mapping[str, Any], model: ClickModel, data: ClickData, *, engine: str, optimizer_bytes: int,
    history: Sequence[Mapping[str, Any]], reported: int, stopped_early: bool = False,
    state: Callable[[], State] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write the model and the metrics of a run whose `run.json` is there, and return the metrics."""
    tables, layers = components(model)
    metrics = {
        "parameters": ledger.parameters(tables),
        "bytes": ledger.inference_bytes(tables),
        "layers_parameters": ledger.parameters(layers),
        "layers_bytes": ledger.inference_bytes(layers),
        "optimizer_bytes": optimizer_bytes,
        "peak_resident_bytes": peak_resident_bytes(),
        "vocabulary_bytes": sum(path.stat().st_size for path in (data.folder / "vocabularies").glob("*")),
        "prepared": str(data.folder.resolve()),  # where the vocabularies are, for later logs
        "engine": engine,
        "rows": dict(data.parts),
        "history": list(history),
        "reported": reported,
        "stopped_early": stopped_early,
        "host": host(),
        "versions": versions(),
    }
    tensors = model.state_dict()  # which brings tables up to date, and the state of what owns them
    write_finished(folder, about, tensors, {}, metrics, state=None if state is None else state())
    return metrics


def _kind(spec: ClickRunSpec, engine: str) -> list[Any]:
    """What must be the same where the state of optimizers is gone on with."""
    training = spec.training
    return [engine, training.optimizer, training.dense_optimizer, dict(training.dense_options)]


def _state(trainer: ClickTrainer, spec: ClickRunSpec) -> Callable[[], State]:
    return lambda: State(trainer.optimizers.state(), {"kind": _kind(spec, trainer.engine)})


@dataclass(frozen=True)
class _Before:
    """The run that another one goes on with."""

    folder: Path
    beginning: Beginning
    history: Sequence[Mapping[str, Any]]
    reported: int
    engine: Engine

    @staticmethod
    def load(folder: Path, spec: ClickRunSpec, engine: Engine) -> _Before:
        """The finished run in `folder`, for a training by `spec`."""
        with opened(folder) as finished, opened_state(folder, finished) as saved:
            metrics = finished.metrics
            chosen = metrics["engine"] if engine == "auto" else engine
            same = saved is not None and saved.header["kind"] == json.loads(json.dumps(_kind(spec, chosen)))
            beginning = Beginning.of(folder, finished, epochs_of(metrics), same)
        return _Before(folder, beginning, metrics["history"], metrics["reported"], chosen)

    @property
    def least(self) -> float:
        """The validation log-loss of its model."""
        found: float = self.history[self.reported]["val_logloss"]
        return found

    def trainer(
        self, model: ClickModel, parts: tuple[ClickPart, ClickPart], spec: ClickRunSpec, least: float | None
    ) -> ClickTrainer:
        """What trains `model`, which becomes that of the run, from where the run ended."""
        with opened(self.folder) as finished, opened_state(self.folder, finished) as saved:
            fill(model, finished.model)
            training = spec.training
            if self.beginning.state:  # warm already
                training = replace(training, warmup=0)
            trainer = ClickTrainer(
                model, *parts, training, spec.seed, self.engine, begun=self.beginning.epochs, least=least
            )
            if self.beginning.state and saved is not None:
                trainer.optimizers.restore(saved.names, saved.tensor)
        return trainer
