"""The contract: what a task is. A task makes a kind of experiment: which data, which model, what it is judged by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, Self, TypeVar

from torch import Tensor

from coset import settings
from coset.documents import Json
from coset.errors import InputError, unknown
from coset.methods import Method, from_json
from coset.progress import Progress
from coset.schema import Component, Table
from coset.tasks.later import Scored, Trained
from coset.tasks.metric import Metric, Scores
from coset.tasks.rows import FastSteps, Part, PartName, Running
from coset.tasks.settings import TrainingSettings
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT

if TYPE_CHECKING:
    import polars


class ModelChoices(Protocol):
    """What the `[model]` of every task says."""

    @property
    def embedding_dim(self) -> int:
        """Elements of a vector; 0 for a model without any."""
        ...


class DataChoices(Protocol):
    """What the `[data]` of every task says."""

    @property
    def source(self) -> str:
        """A name, or a place."""
        ...


class Task(ABC, Generic[DataT, EncodedT, ModelT, BatchT]):
    """What makes a kind of experiment, with all choices but the methods of tables and the seed.

    A new task is one file: a frozen dataclass whose fields are the sections of its recipes (`data`, `model` and
    `training` among them), decorated with `@register_task(name)`. Its types are those of the data as they are loaded,
    of the data as a model sees them (split and numbered for a seed), of the model, and of a batch.
    """

    data: DataChoices
    model: ModelChoices
    training: TrainingSettings

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    """The first is the score, which rows are compared by and training is stopped by."""
    costs: ClassVar[bool] = False
    """Whether the table of a comparison tells what training cost: seconds for a million rows, and the most memory."""
    row_sections: ClassVar[tuple[str, ...]] = ("model", "training")
    """The sections in which the rows of a comparison may differ."""
    files: ClassVar[tuple[str, ...]] = ()
    """What `keep` writes."""
    finetune_share: ClassVar[float] = 0.5
    """Of the learning rates of a run, where fine-tuning begins once it was made smaller; they fall to 0 as a cosine
    does."""
    collection: ClassVar[str] = "tables"
    """Where a model holds the collection of the tables that are made smaller."""
    attributes_from: ClassVar[str] = ""
    """Where attributes of ids come from, as the end of a sentence; empty where these data have none."""

    # -- choices -----------------------------------------------------------------------------------------------------

    @classmethod
    def readers(cls) -> settings.Readers:
        """How sections are read that are more than tables of fields."""
        return {Method: from_json, TrainingSettings: cls.read_training}

    @classmethod
    def read_training(cls, given: object) -> TrainingSettings:
        """`[training]`: the defaults of the task, and what is said."""
        if not isinstance(given, Mapping):
            raise InputError(f"training must be a table, not {given!r}")
        return overridden(cls.default_training(), dict(given), "training")

    @classmethod
    def default_training(cls) -> TrainingSettings:
        """How models of this task are trained unless a recipe says more."""
        return TrainingSettings()

    @classmethod
    def sections(cls) -> tuple[str, ...]:
        """Names of the sections."""
        return tuple(each.name for each in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def read(cls, given: Json, where: str) -> Self:
        """The task of these sections, as TOML or JSON have them; errors begin with `where`."""
        return settings.make(cls, given, where, cls.readers())

    def to_json(self) -> Json:
        """The sections as plain JSON values."""
        return {name: settings.plain(getattr(self, name)) for name in self.sections()}

    def changed(self, section: str, changes: Json, where: str | None = None) -> Self:
        """The task with other fields in a section; errors begin with `where`, by default the name of the section."""
        if section not in self.sections():
            raise unknown("section of a recipe", section, self.sections())
        if not changes:
            return self
        return self.having(section, overridden(getattr(self, section), changes, where or section))

    def having(self, section: str, value: object) -> Self:
        """The task with another section."""
        return replace(self, **{section: value})  # type: ignore[type-var]

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
        """Whether data of this name or at this place are of this task, where nobody says of which they are.

        Args:
            columns: that were named, of a file of rows.
            schema: of a log, if one was named.
        """
        return False

    @classmethod
    def data_asked_for(cls, subject: str, columns: Json, schema: str | None, model: str | None) -> Json:
        """The `[data]` of data of this name or at this place.

        Args:
            model: that was named; `[model]` gets it.

        Raises:
            InputError: there are none, or something was named that does not go with them.
        """
        return {"source": subject, **columns, **({} if schema is None else {"schema": schema})}

    # -- data --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def load(self, beside: Path, progress: Progress | None = None) -> DataT:
        """The data; where they must be made ready on disk first, that is done in a folder below `beside`, and
        `progress` is told."""

    @abstractmethod
    def fingerprint(self, data: DataT) -> Json:
        """What tells one data set from another."""

    @abstractmethod
    def anywhere(self) -> Self:
        """The task without a word on where the data lie."""

    def at(self, source: str) -> Self:
        """The task on the same data, which were moved to `source`."""
        return self.changed("data", {"source": source})

    @abstractmethod
    def encoded(self, data: DataT, seed: int) -> EncodedT:
        """The data as a model sees them, for this seed."""

    @abstractmethod
    def rows(self, encoded: EncodedT) -> Mapping[str, int]:
        """Rows by part."""

    @abstractmethod
    def part(self, encoded: EncodedT, name: PartName) -> Part[BatchT]:
        """The rows that train, or those that validate."""

    def check(self, encoded: EncodedT) -> None:
        """Raise an `InputError` where there is nothing to learn."""

    @abstractmethod
    def facts(self, data: DataT, encoded: EncodedT) -> Json:
        """What results say of data and protocol: `dataset`, `synthetic`, `noise_floor`, `split` and `protocol`."""

    @abstractmethod
    def trial(self, data: DataT, beside: Path, seed: int) -> tuple[Self, DataT]:
        """A cheaper experiment that foretells this one and its data, which are all of the training part; what has to be
        written for it is written below `beside`."""

    # -- models ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def tables(self, encoded: EncodedT) -> Sequence[Table]:
        """The tables that the model needs for these data; none where it has none."""

    @abstractmethod
    def dims(self) -> Sequence[int]:
        """What a plan may make of the dim of the model."""

    @abstractmethod
    def components(self, methods: Mapping[str, Method], encoded: EncodedT) -> list[Component]:
        """What counts as the bytes of the model, with nothing allocated.

        Raises:
            InputError: a method that does not fit its table.
        """

    @abstractmethod
    def build(self, methods: Mapping[str, Method], encoded: EncodedT) -> ModelT:
        """The model, its weights drawn from torch's generator.

        Args:
            methods: by table; `full` for those that are not named.

        Raises:
            InputError: a method that does not fit its table, or for a table that is not there.
        """

    @abstractmethod
    def stored(self, model: ModelT) -> tuple[list[Component], list[Component]]:
        """What counts as the bytes of a model, and what is stored beside it, such as layers."""

    # -- training ----------------------------------------------------------------------------------------------------

    def running(self) -> Running:
        """Sums of nothing yet."""
        return Running()

    @abstractmethod
    def loss(self, model: ModelT, batch: BatchT, running: Running) -> Tensor:
        """What a step makes smaller: a mean over the batch, which is also added to `running`."""

    @abstractmethod
    def evaluate(self, model: ModelT, *parts: Part[BatchT]) -> Scores:
        """The metrics of a model on these rows, together.

        Raises:
            InputError: there are no rows.
        """

    def fast_steps(self, model: ModelT, training: Part[BatchT]) -> FastSteps | None:
        """What trains many batches of this model in one call, where something does."""
        return None

    # -- runs --------------------------------------------------------------------------------------------------------

    def described(self, data: DataT) -> Json:
        """What a run says of its data: by default, what tells them from others."""
        return self.fingerprint(data)

    def keep(self, folder: Path, encoded: EncodedT) -> None:
        """Write what numbers the ids into the folder of a run, as `files`."""

    def header(self, encoded: EncodedT) -> Json:
        """What `restored` needs to know besides what a run says of itself."""
        return {}

    def notes(self, encoded: EncodedT) -> Json:
        """What `metrics.json` says of the data: `vocabulary_bytes`, and where they are, if not where `[data]` says."""
        return {"vocabulary_bytes": 0}

    @abstractmethod
    def restored(self, methods: Mapping[str, Method], folder: Path, about: Json, header: Json) -> ModelT:
        """A fresh model of the shape of that of the finished run in a folder, without its data."""

    @abstractmethod
    def own_data(self, run: Trained[ModelT], moved: str | None = None) -> DataT:
        """The data that a run was made of.

        Args:
            moved: where they are now, if not where they were.

        Raises:
            InputError: they are not there, or are others.
        """

    @abstractmethod
    def scored(self, run: Trained[ModelT], asked: Scored) -> Json:
        """Metrics of a finished run, with `run`, `dataset`, `synthetic`, `own`, `part`, `rows`, `trained_on` and
        `known`."""

    @abstractmethod
    def predictions(self, run: Trained[ModelT], asked: Scored) -> Iterator[polars.DataFrame]:
        """Predictions of a finished run for all rows or those of a part: what names a row, its rating or label if it
        has one, and `prediction`."""


S = TypeVar("S")


def overridden(base: S, changes: Json, where: str) -> S:
    """`base` with `changes`, each checked as the field it replaces."""
    if hasattr(base, "changed"):
        changed: S = base.changed(changes, where)
        return changed
    return settings.make(type(base), {**settings.plain(base), **changes}, where)


def measures(task: type[Task[DataT, EncodedT, ModelT, BatchT]]) -> Json:
    """What results of a task say of its metrics."""
    score = task.score()
    return {
        "task": task.name,
        "metrics": [asdict(metric) for metric in task.metrics],
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
    }
