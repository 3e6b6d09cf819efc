"""A run: one model trained on one data set with one seed, in a folder from which it can be continued at the next
sample.

run.json                      all choices, and a fingerprint of the data
…                             files of the task, such as vocabularies
checkpoints/                  the last few, removed when the run is done
best.safetensors              the model of the best evaluation, while training may end early
model.safetensors             the artifact: the trained model
optimizer.safetensors         the state of the optimizers, if it is kept, for further training
metrics.json                  written last; a run that has it is done (`seal.py` ties them together)
tensorboard/                  event files, if requested
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any, Generic

import torch

from coset import ledger
from coset.documents import Json
from coset.engine.reading import by_torch_alone
from coset.errors import InputError
from coset.files import claimed, write_json
from coset.storage.forms import pack_
from coset.tasks.rows import PARTS
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT
from coset.training import board, checkpoint
from coset.training.checkpoint import Rotation
from coset.training.finished import fill
from coset.training.folder import (
    forget_peak,
    host,
    nothing_kept_of_divergence,
    peak_resident_bytes,
    refuse_others,
    versions,
)
from coset.training.further import Beginning, epochs_of
from coset.training.seal import METRICS, RUN, SCHEMA, State, opened, opened_state, read_about, write_finished
from coset.training.spec import RunSpec
from coset.training.trainer import ENGINES, EngineOption, Evaluation, Trainer

_TELL = 20  # steps from one report of progress to the next


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


@dataclass(frozen=True)
class Options:
    """How a run is executed; results do not depend on it, but for the rounding of the engine.

    Args:
        resume: continue what the folder holds; without it, it must not hold a run.
        engine: see `Trainer`.
        saving: when checkpoints are taken; there always is one after an evaluation.
        tensorboard: write event files.
        keep_state: keep the state of the optimizers in `optimizer.safetensors` for further training; not where the
            model that is kept is not the last.
    """

    resume: bool = False
    engine: EngineOption = "auto"
    saving: Saving = field(default_factory=Saving)
    tensorboard: bool = False
    keep_state: bool = False


def execute(
    spec: RunSpec[DataT, EncodedT, ModelT, BatchT],
    folder: Path,
    data: DataT,
    options: Options | None = None,
    *,
    encoded: EncodedT | None = None,
    after: Path | None = None,
    on_step: Callable[[int], None] = lambda steps: None,
) -> Json:
    """Train `spec` in `folder`, or continue where an earlier process stopped, and return the metrics.

    Args:
        data: already loaded.
        options: how the run is executed.
        encoded: `spec.task.encoded(data, spec.seed)`, where the caller has it.
        after: the folder of a finished run of the same data and model to continue: its epochs come before those of
            `spec`, whose schedule and warmup are for its own epochs alone. The state of its optimizers is continued
            where it was kept and they are the same. That folder stays as it is.
        on_step: told the number of steps done, for progress.

    Raises:
        InputError: the folder holds a run and `resume` is false, or a run of other choices or data.
        Diverged: the training diverged; nothing of a run that began in this call is kept.
    """
    folder, options = Path(folder), options or Options()
    if options.tensorboard:
        board.check()
    with claimed(folder, RUN, options.resume):
        about: Json = {
            "schema": SCHEMA, "task": spec.task.name, "spec": spec.to_json(), "data": spec.task.described(data),
        }  # fmt: skip
        before = None if after is None else _Before.load(after, spec, options.engine)
        if before is not None:
            about["continued"] = asdict(before.beginning)
        if begun := (folder / RUN).exists():
            refuse_others(folder, read_about(folder), about)
        if (folder / METRICS).exists():
            with opened(folder) as finished:
                return finished.metrics
        if encoded is None:
            encoded = spec.task.encoded(data, spec.seed)
        spec.task.check(encoded)
        if spec.task.training.solver is not None:
            if after is not None:
                raise InputError("a solver begins anew; train further without training.solver")
            return _solved(spec, folder, encoded, about, on_step)
        run = _Run(spec, folder, encoded, about, options, before)
        if not begun:  # only once the choices are known to be valid
            write_json(folder / RUN, about)
        spec.task.keep(folder, encoded)
        with nothing_kept_of_divergence(folder, begun):
            return run.train(on_step)


class _Run(Generic[DataT, EncodedT, ModelT, BatchT]):
    """A run in its folder."""

    def __init__(
        self, spec: RunSpec[DataT, EncodedT, ModelT, BatchT], folder: Path, encoded: EncodedT, about: Json,
        options: Options, before: _Before | None,
    ) -> None:  # fmt: skip
        self.spec, self.folder, self.encoded, self.about = spec, folder, encoded, about
        self.options, self.before = options, before
        self.rotation = Rotation(folder / "checkpoints", options.saving.keep)
        self.best = folder / "best.safetensors"
        self.may_end_early = spec.task.training.patience is not None
        forget_peak()
        self.trainer = self._trainer()

    def train(self, on_step: Callable[[int], None]) -> Json:
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
        if self.before is not None and self.may_end_early and not trainer.history:
            self._keep_best(trainer)  # until there is a better one
        saved = monotonic()
        tensorboard = self.options.tensorboard
        log = board.Board(self.folder / "tensorboard", trainer.step) if tensorboard else nullcontext()
        every = [of for of in (self.options.saving.steps, board.EVERY if tensorboard else None) if of is not None]
        with log:
            for step in trainer.run(every):
                if isinstance(log, board.Board):
                    log.tell(step)
                if step.evaluation is not None and self.may_end_early and trainer.best == len(trainer.history) - 1:
                    self._keep_best(trainer)
                if self._due(step.number, saved) or (step.evaluation is not None and not trainer.done):
                    self._save(trainer)
                    saved = monotonic()
                if step.number - told >= _TELL or step.evaluation is not None:
                    on_step(step.number - told)
                    told = step.number
        return self._finish(trainer)

    def _trainer(self) -> Trainer[ModelT, BatchT]:
        task, model = self.spec.task, self.spec.build(self.encoded)
        training, validation = (task.part(self.encoded, name) for name in PARTS)
        if self.before is None:
            return Trainer(task, model, training, validation, self.spec.seed, self.options.engine)
        with opened(self.before.folder) as finished, opened_state(self.before.folder, finished) as saved:
            fill(pack_(model), finished.model)
            state = saved if self.before.beginning.state else None
            task = task.having("training", replace(task.training, round_from=0.0))  # levels are there already
            if state is not None:  # warm already
                task = task.having("training", replace(task.training, warmup=0))
            trainer = Trainer(
                task, model, training, validation, self.spec.seed, self.before.engine,
                begun=self.before.beginning.epochs,
                best=self.before.score(task.score().name) if self.may_end_early else None,
            )  # fmt: skip
            if state is not None:
                trainer.by.restore(state.names, state.tensor)
        return trainer

    def _restore(self, trainer: Trainer[ModelT, BatchT]) -> bool:
        """Go back to the newest whole checkpoint, if there is one."""
        with self.rotation.latest() as saved:
            if saved is None:
                return False
            refuse_others(saved.path, saved.header["run"], self.about)
            threads, layers = saved.header["threads"], self.spec.task.stored(trainer.model)[1]
            if layers and threads != torch.get_num_threads():
                warnings.warn(
                    f"{self.folder}: this run was begun with --threads {threads}, and layers round differently with "
                    f"{torch.get_num_threads()}; for the same digits continue with as many",
                    stacklevel=4,
                )
            trainer.restore(saved.names, saved.tensor, saved.header)
            return True

    def _keep_best(self, trainer: Trainer[ModelT, BatchT]) -> None:
        header = {"step": trainer.step, "run": self.about}
        checkpoint.save(self.best, "model", trainer.model.state_dict(), header)

    def _best_is_there(self, trainer: Trainer[ModelT, BatchT]) -> bool:
        """Whether the best model until now, or one that becomes the best again, is on disk."""
        if not self.may_end_early or (trainer.best is None and self.before is None):
            return True
        try:
            with checkpoint.opened(self.best, "model") as saved:
                step, about = saved.header.get("step"), saved.header.get("run")
        except InputError:
            return False
        if about != self.about or not isinstance(step, int):  # of another run
            return False
        begun = trainer.begun * trainer.steps_per_epoch
        expected = begun if trainer.best is None else trainer.history[trainer.best]["step"]
        return bool(step == expected or step > trainer.step)

    def _due(self, step: int, saved: float) -> bool:
        steps, minutes = self.options.saving.steps, self.options.saving.minutes
        if steps is not None and step % steps == 0:
            return True
        return minutes is not None and monotonic() - saved >= 60 * minutes

    def _save(self, trainer: Trainer[ModelT, BatchT]) -> None:
        tensors, header = trainer.state()
        self.rotation.save(trainer.step, tensors, {**header, "threads": torch.get_num_threads(), "run": self.about})

    def _finish(self, trainer: Trainer[ModelT, BatchT]) -> Json:
        earlier = [] if self.before is None else self.before.history
        history = [*earlier, *trainer.history]
        reported = len(history) - 1
        if self.may_end_early and (trainer.best is not None or self.before is not None):
            if trainer.best is not None:
                reported = len(earlier) + trainer.best
            elif self.before is not None:  # nothing was better than the model it continued
                reported = self.before.reported
            with checkpoint.opened(self.best, "model") as saved:
                fill(trainer.model, saved)
        kept = self.options.keep_state and reported == len(history) - 1
        metrics = finish(
            self.spec, self.folder, self.about, trainer.model, self.encoded, engine=trainer.engine, history=history,
            optimizer_bytes=sum(value.nbytes for value in trainer.by.state().values()),
            reported=reported,
            stopped_early=trainer.stopped and trainer.own_step < self.spec.steps(self.encoded),
            state=(lambda: State(trainer.by.state(), {"kind": _kind(self.spec)})) if kept else None,
        )  # fmt: skip
        self.rotation.clear()
        self.best.unlink(missing_ok=True)
        return metrics


def _solved(
    spec: RunSpec[DataT, EncodedT, ModelT, BatchT], folder: Path, encoded: EncodedT, about: Json,
    on_step: Callable[[int], None],
) -> Json:  # fmt: skip
    """A run whose model is solved, which takes no longer than a checkpoint is worth."""
    started, task = monotonic(), spec.task
    forget_peak()
    model = spec.build(encoded)
    task.solve(model, encoded)
    model.eval()
    seconds = monotonic() - started
    found: Evaluation = {"epoch": 0, "step": 0}
    for name, prefix in zip(PARTS, ("train", "val"), strict=True):
        with by_torch_alone():
            scores = task.evaluate(model, task.part(encoded, name))
        found |= {f"{prefix}_{metric}": value for metric, value in scores.items()}
    found |= {"share": 1.0, "seconds": seconds}
    write_json(folder / RUN, about)
    task.keep(folder, encoded)
    on_step(1)
    return finish(spec, folder, about, model, encoded, engine="solver", optimizer_bytes=0, history=[found], reported=0)


def finish(
    spec: RunSpec[DataT, EncodedT, ModelT, BatchT], folder: Path, about: Json, model: ModelT, encoded: EncodedT, *,
    engine: str, optimizer_bytes: int, history: Sequence[Evaluation], reported: int, stopped_early: bool = False,
    state: Callable[[], State] | None = None,
) -> Json:  # fmt: skip
    """Write the model and the metrics of a run whose `run.json` is there, and return the metrics."""
    task = spec.task
    pack_(model)
    tables, layers = task.stored(model)
    metrics: Json = {
        "parameters": ledger.parameters(tables),
        "bytes": ledger.inference_bytes(tables),
        "layers_parameters": ledger.parameters(layers),
        "layers_bytes": ledger.inference_bytes(layers),
        "optimizer_bytes": optimizer_bytes,
        "peak_resident_bytes": peak_resident_bytes(),
        **task.notes(encoded),
        "engine": engine,
        "rows": dict(task.rows(encoded)),
        "history": list(history),
        "reported": reported,
        "stopped_early": stopped_early,
        "host": host(),
        "versions": versions(),
    }
    tensors = model.state_dict()  # brings tables and the state of their optimizers up to date
    header = task.header(encoded)
    write_finished(folder, about, tensors, header, metrics, task.files, None if state is None else state())
    return metrics


def _kind(spec: RunSpec[DataT, EncodedT, ModelT, BatchT]) -> list[object]:
    """What must be equal for the state of optimizers to be continued."""
    training = spec.task.training
    together = training.dense_optimizer is None and training.dense_learning_rate is None
    return [training.optimizer, training.dense_optimizer, dict(training.dense_options), together]


@dataclass(frozen=True)
class _Before:
    """The run that another one continues."""

    folder: Path
    beginning: Beginning
    history: Sequence[Evaluation]
    reported: int
    engine: EngineOption

    @staticmethod
    def load(folder: Path, spec: RunSpec[Any, Any, Any, Any], engine: EngineOption) -> _Before:
        """The finished run in `folder`, for a training by `spec`."""
        with opened(folder) as finished, opened_state(folder, finished) as saved:
            metrics = finished.metrics
            chosen = metrics["engine"] if engine == "auto" and metrics["engine"] in ENGINES else engine
            same = saved is not None and saved.header["kind"] == json.loads(json.dumps(_kind(spec)))
            if (
                same and saved is not None and chosen != metrics["engine"]
            ):  # torch continues from the state that kernels kept
                same = chosen == "plain" and not any(name.startswith("tables.") for name in saved.names)
            beginning = Beginning.of(folder, finished, epochs_of(metrics), same)
        return _Before(folder, beginning, metrics["history"], metrics["reported"], chosen)

    def score(self, name: str) -> float | None:
        """The validation score of its model."""
        found: float | None = self.history[self.reported][f"val_{name}"]
        return found
