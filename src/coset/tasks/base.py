"""The contract: what a task is. A task makes a kind of experiment: which data, which model, which metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, Self

from torch import Tensor

from coset import settings
from coset.documents import Json
from coset.errors import InputError
from coset.methods import Method
from coset.planning.signal import Foretold, Leaner, Signal
from coset.progress import Progress
from coset.schema import Component, Table
from coset.tasks.baselines import Baseline
from coset.tasks.inspection import Inspection, summary_of
from coset.tasks.later import Scored, Trained
from coset.tasks.metric import Metric, Scores
from coset.tasks.rows import FastSteps, Part, PartName, Running
from coset.tasks.sections import Sections
from coset.tasks.served import Served
from coset.tasks.settings import TrainingSettings
from coset.tasks.trials import Trials
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT

if TYPE_CHECKING:
    import polars


class ModelChoices(Protocol):
    """What the `[model]` of every task has."""

    @property
    def embedding_dim(self) -> int:
        """Elements of a vector; 0 for a model without tables of vectors."""
        ...


class DataChoices(Protocol):
    """What the `[data]` of every task has."""

    @property
    def source(self) -> str:
        """The name of a built-in data set, or a path."""
        ...


class Task(Sections, ABC, Generic[DataT, EncodedT, ModelT, BatchT]):
    """A kind of experiment, with all choices but the methods of tables and the seed.

    A new task is one file: a frozen dataclass whose fields are the sections of its recipes (`data`, `model` and
    `training` among them), decorated with `@register_task(name)`. Its types are those of the data as they are loaded,
    of the data as a model sees them (split and numbered for a seed), of the model, and of a batch.
    """

    data: DataChoices
    model: ModelChoices
    training: TrainingSettings

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    """The first is the score: it orders the rows of a comparison and stops training."""
    costs: ClassVar[bool] = False
    """Whether the table of a comparison shows the cost of training: seconds for a million rows, and the most memory."""
    least_evaluations: ClassVar[int] = 3
    """Evaluations without which a training is too short to show that baselines are better."""
    few_updates: ClassVar[int] = 100
    """A training of fewer updates is too short for any model."""
    row_sections: ClassVar[tuple[str, ...]] = ("model", "training")
    """The sections in which the rows of a comparison may differ."""
    files: ClassVar[tuple[str, ...]] = ()
    """Names of the files that `keep` writes."""
    finetune_share: ClassVar[float] = 0.5
    """Fine-tuning after compression begins at this share of the learning rates of the run; from there they fall to 0
    along a cosine."""
    collection: ClassVar[str] = "tables"
    """The attribute of a model that holds the collection of its tables."""
    shrinkage: ClassVar[str] = ""
    """The settings that hold vectors back, as a user may set them; empty where there are none."""
    solver_of_bits: ClassVar[str | None] = None
    """The solver that rounds tables to the bits that `in_bits` finds."""
    attributes_from: ClassVar[str] = ""
    """Where a user names attributes of ids, as the end of a sentence; empty where these data have none."""

    # -- choices -----------------------------------------------------------------------------------------------------

    @classmethod
    def score(cls) -> Metric:
        """The metric that rows are compared by."""
        return cls.metrics[0]

    @property
    def way_out(self) -> str:
        """What makes a model smaller besides its methods, as the end of a sentence; empty where nothing does."""
        return ""

    @classmethod
    def claims(cls, subject: str, columns: Json, schema: str | None) -> bool:
        """Whether data of this name or at this place are of this task, where the user names no task.

        Args:
            columns: the columns of a file of rows that the user named.
            schema: the schema of a log, if the user named one.
        """
        return False

    @classmethod
    def data_asked_for(cls, subject: str, columns: Json, schema: str | None, model: str | None) -> Json:
        """The `[data]` of data of this name or at this place.

        Args:
            columns, schema: as for `claims`.
            model: the name of the model, if the user named one; `[model]` gets it.

        Raises:
            InputError: there are no such data, or an argument does not go with them.
        """
        return {"source": subject, **columns, **({} if schema is None else {"schema": schema})}

    # -- data --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def load(self, beside: Path, progress: Progress | None = None) -> DataT:
        """The data. A task that must prepare them on disk first does so in a folder below `beside`, and reports to
        `progress`."""

    @abstractmethod
    def fingerprint(self, data: DataT) -> Json:
        """A fingerprint that tells one data set from another."""

    @abstractmethod
    def anywhere(self) -> Self:
        """The task without the place of its data."""

    def at(self, source: str) -> Self:
        """The task on the same data, which were moved to `source`."""
        return self.changed("data", {"source": source})

    @abstractmethod
    def encoded(self, data: DataT, seed: int) -> EncodedT:
        """The data as a model sees them, for this seed."""

    @abstractmethod
    def rows(self, encoded: EncodedT) -> Mapping[str, int]:
        """Numbers of rows by part."""

    @abstractmethod
    def part(self, encoded: EncodedT, name: PartName) -> Part[BatchT]:
        """The training rows, or the validation rows."""

    def check(self, encoded: EncodedT) -> None:
        """Raise an `InputError` where there is nothing to learn."""

    @abstractmethod
    def facts(self, data: DataT, encoded: EncodedT) -> Json:
        """What results record of data and protocol: `dataset`, `synthetic`, `noise_floor`, `split` and `protocol`."""

    def hints(self, data: DataT) -> Sequence[str]:
        """Sentences on what a user should change, if anything, before a model is trained on these data."""
        return ()

    def terms(self, data: DataT) -> Sequence[str]:
        """Sentences on what the metrics of results mean, where that is not plain."""
        return ()

    def inspected(self, data: DataT) -> Inspection:
        """What `coset inspect` shows of the data: by default, their size and the tables of a model with seed 0."""
        encoded = self.encoded(data, 0)
        facts, rows = self.facts(data, encoded), self.rows(encoded)
        return Inspection(
            facts["dataset"],
            sum(rows.values()),
            summary_of(rows),
            self.tables(encoded),
            synthetic=facts["synthetic"],
            noise_floor=facts["noise_floor"],
        )

    @abstractmethod
    def trial(self, data: DataT, beside: Path, seed: int) -> tuple[Self, DataT]:
        """A cheaper experiment that predicts this one, and its data, all of them from the training part. A task that
        must write files for it writes them below `beside`."""

    def tuned(self, names: Sequence[str], data: DataT, seed: int, trials: Trials[Self, DataT, EncodedT]) -> Json:
        """Values of these fields of `[training]` that suit the data, chosen on the training part alone; of those that
        have no meaning for this model, none.

        Args:
            names: of the fields; those that are not among them stay as they are.
            seed: of the split, whose validation part is not read.
            trials: trains cheaper experiments.

        Raises:
            InputError: a field that this task does not choose.
        """
        if names:
            raise InputError(f"the task {self.name} chooses no settings of training by itself, so not {names[0]!r}")
        return {}

    def signal(self, data: DataT, seed: int, untuned: Sequence[str] = ()) -> Signal | None:
        """What vectors are worth on these data, measured on the training part of this seed in a small part of the time
        of a training; None where the task has no such measurement, or too little data for it.

        Args:
            seed: of the split, whose validation part is not read.
            untuned: fields of `[training]` that are not chosen for the data yet (see `tuned`).
        """
        return None

    def leaner(self, encoded: EncodedT, signal: Signal | None) -> Sequence[Leaner]:
        """Models that store less beside their tables, each with what that is measured to lose; by default none.

        Args:
            signal: of these data; without it, losses only say which of two models loses less.
        """
        return ()

    # -- models ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def tables(self, encoded: EncodedT) -> Sequence[Table]:
        """The tables that the model needs for these data; none where it has none."""

    @abstractmethod
    def dims(self) -> Sequence[int]:
        """The dims of the model that a plan may choose from; 0 among them where it can do without vectors."""

    @abstractmethod
    def components(self, methods: Mapping[str, Method], encoded: EncodedT) -> list[Component]:
        """What counts as the bytes of the model, with nothing allocated.

        Raises:
            InputError: a method does not fit its table.
        """

    @abstractmethod
    def build(self, methods: Mapping[str, Method], encoded: EncodedT) -> ModelT:
        """The model, its weights drawn from torch's generator.

        Args:
            methods: by table; `full` for tables that are not named.

        Raises:
            InputError: a method does not fit its table, or its table does not exist.
        """

    @abstractmethod
    def stored(self, model: ModelT) -> tuple[list[Component], list[Component]]:
        """What counts as the bytes of a model, and what is stored beside it, such as layers."""

    def beside(self) -> Mapping[str, str]:
        """Attributes of a model that hold further collections whose tables may be given methods, such as biases, and
        what stands behind the names of tables there in methods."""
        return {}

    def turned(self, model: ModelT) -> Mapping[str, Tensor]:
        """Other vectors of tables with which a model predicts the same, and whose columns fall in importance, so that
        bits by column follow it; by name of the table, and none for those that cannot be turned."""
        return {}

    def baselines(self, encoded: EncodedT) -> Sequence[Baseline]:
        """Models that take seconds, which any trained one should beat, scored on these data."""
        return ()

    def in_bits(self, encoded: EncodedT, budget: int) -> tuple[int, Mapping[str, Method]]:
        """A dim, up to that of the model, and methods of packed tables, found on the training part.

        Args:
            budget: bytes of the whole model.

        Raises:
            InfeasibleBudget: the budget is below what is feasible.
            InputError: the task finds no bits.
        """
        raise InputError(f"the task {self.name} finds no bits by itself; name them: methods with a storage 'packed'")

    def score_in_bits(self, encoded: EncodedT, budget: int) -> Foretold:
        """What a model with the tables of `in_bits` reaches on training rows that it did not learn from.

        Raises:
            InputError: as `in_bits`.
        """
        raise InputError(f"the task {self.name} finds no bits by itself, so it foretells nothing of them")

    # -- training ----------------------------------------------------------------------------------------------------

    def solve(self, model: ModelT, encoded: EncodedT) -> None:
        """Bring a fresh model to what its training part tells of it, by the solver of `[training]`.

        Raises:
            InputError: the task has no such solver, or it does not fit the model.
        """
        raise InputError(f"training: the task {self.name} has no solver {self.training.solver!r}; leave it out")

    def running(self) -> Running:
        """Fresh sums, over no rows yet."""
        return Running()

    @abstractmethod
    def loss(self, model: ModelT, batch: BatchT, running: Running) -> Tensor:
        """The loss of a batch: a scalar, a mean over the rows, which is also added to `running`."""

    @abstractmethod
    def evaluate(self, model: ModelT, *parts: Part[BatchT]) -> Scores:
        """The metrics of a model on all rows of these parts together.

        Raises:
            InputError: there are no rows.
        """

    def fast_steps(self, model: ModelT, training: Part[BatchT]) -> FastSteps | None:
        """A loop that trains many batches of this model in one call; None where there is none for it."""
        return None

    # -- runs --------------------------------------------------------------------------------------------------------

    def described(self, data: DataT) -> Json:
        """What a run records of its data: by default, their fingerprint."""
        return self.fingerprint(data)

    def keep(self, folder: Path, encoded: EncodedT) -> None:
        """Write what maps raw values to ids into the folder of a run, as `files`."""

    def header(self, encoded: EncodedT) -> Json:
        """What `restored` needs to know besides what `run.json` holds."""
        return {}

    def notes(self, encoded: EncodedT) -> Json:
        """What `metrics.json` records of the data: `vocabulary_bytes`, and where the data are, if not where `[data]`
        says."""
        return {"vocabulary_bytes": 0}

    @abstractmethod
    def restored(self, methods: Mapping[str, Method], folder: Path, about: Json, header: Json) -> ModelT:
        """A fresh model with the shapes of that of the finished run in a folder, made without its data."""

    @abstractmethod
    def own_data(self, run: Trained[ModelT], moved: str | None = None) -> DataT:
        """The data that a run was trained on.

        Args:
            moved: where the data are now, if not where they were.

        Raises:
            InputError: the data are not there, or have changed.
        """

    def served(self, run: Trained[ModelT]) -> Served:
        """What an artifact holds of a finished run, so that it can be used without coset (docs/artifact.md).

        Raises:
            InputError: this task makes no artifacts.
        """
        raise InputError(f"{run.folder}: the task {self.name} makes no artifacts")

    @classmethod
    def revived(cls, model: Json, tables: Mapping[str, tuple[Table, Method]]) -> ModelT:
        """A fresh model with the shapes of that of an artifact.

        Args:
            model: `Served.model`.
            tables: of `Served.tables`.

        Raises:
            InputError: they do not fit each other, or this task makes no artifacts.
        """
        raise InputError(f"the task {cls.name} makes no artifacts")

    @abstractmethod
    def scored(self, run: Trained[ModelT], asked: Scored) -> Json:
        """Metrics of a finished run, with `run`, `dataset`, `synthetic`, `own`, `part`, `rows`, `trained_on` and
        `known`."""

    @abstractmethod
    def predictions(self, run: Trained[ModelT], asked: Scored) -> Iterator[polars.DataFrame]:
        """Predictions of a finished run for all rows or those of a part: columns that identify a row, its rating or
        label if it has one, and `prediction`."""


def measures(task: type[Task[DataT, EncodedT, ModelT, BatchT]]) -> Json:
    """What results of a task record of its metrics."""
    score = task.score()
    return {
        "task": task.name,
        "metrics": [settings.plain(metric) for metric in task.metrics],
        "score": f"val_{score.name}",
        "train": f"train_{score.name}",
        "better": score.better,
        "label": score.label,
        "article": score.article,
        "long": score.long,
        "columns": [
            {"metric": f"val_{metric.name}", "heading": metric.label, "spread": metric.spread}
            for metric in task.metrics[1:]
            if metric.shown
        ],
        "costs": task.costs,
        "shrinkage": task.shrinkage,
        "least_evaluations": task.least_evaluations,
        "few_updates": task.few_updates,
    }
