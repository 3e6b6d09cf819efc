"""What recipes of all kinds of models share: rows, seeds, notes; and what each kind answers for itself.

A kind of model is a subclass of `Recipe` with its own sections (`[data]`, `[model]`, `[training]` …), which answers a
handful of questions: load the data, what are the tables, what is stored, train one row with one seed. Sizing of rows,
comparison, report and pictures ask these and no others. `coset.experiments.recipe` finds the subclass by the name of
its task.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

from coset import settings
from coset.data.vocabulary import Order
from coset.errors import InputError, unknown
from coset.experiments.plan_choices import Planning
from coset.experiments.progress import Progress
from coset.methods import Method
from coset.planning.plan import Plan
from coset.schema import Component, Table
from coset.sizes import budget_bytes
from coset.training.compressible import CompressibleRun

S = TypeVar("S")
SCHEMA = 1
_MOST_SEEDS = 1_000_000
Part = Literal["validation", "training", "all"]
Group = Literal["full", "narrow", "bias", "compressed"]


@dataclass(frozen=True)
class RowSettings:
    """Rows of a comparison: one, or one for each budget, number of collisions or dim.

    Args:
        name: of the row; of several rows, what their names begin with.
        note: a line shown below the table.
        methods: how each table is stored, by table name; `full` for those not named.
        method: one method for all tables, sized by `budgets` or `collisions`: a name, or a table with its fixed fields.
        budgets: bytes of the whole model, one row each.
        collisions: ids for each row of the largest component, one row of the comparison each.
        plan: a file with a plan; or `true`, or what it may choose from (see `coset.experiments.plan_choices.Planning`),
            for a plan of its own within each of `budgets`.
        full_below: tables of fewer ids than this stay full; goes with `method`.
        embedding_dims: dims of the model, one row each.
        model, training: what differs from the recipe's own `[model]` and `[training]`.
        order: of the ids of users and items, where it is not that of the recipe's `[vocabulary]`; of ratings only.
    """

    name: str
    note: str | None = None
    methods: Mapping[str, Method] = field(default_factory=dict)
    method: Any = None
    budgets: tuple[Any, ...] = ()
    embedding_dims: tuple[int, ...] = ()
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    order: Order | None = None
    # `None` rather than empty, so that what was written down before there were these still compares equal.
    collisions: tuple[int, ...] | None = None
    full_below: int | None = None
    plan: Any = None

    def __post_init__(self) -> None:
        where = f"row {self.name!r}"
        if self.plan is not None:
            self._check_planned(where)
            return
        if not (self.method is None or isinstance(self.method, str | Mapping)):
            raise InputError(f"{where}: method must be a name or a table of fields, not {self.method!r}")
        if (self.method is None) == bool(self.budgets or self.collisions):
            raise InputError(f"{where}: method and budgets go together, one sizes the other (or method and collisions)")
        if self.budgets and self.collisions:
            raise InputError(f"{where}: budgets and collisions both size a method; leave one out")
        if (self.budgets or self.collisions) and (self.methods or self.embedding_dims):
            what = "budgets size" if self.budgets else "collisions size"
            raise InputError(f"{where}: {what} one method; leave out methods and embedding_dims")
        for number in self.collisions or ():
            if number < 1:
                raise InputError(f"{where}: collisions must be at least 1, not {number}")
        if self.full_below is not None and (self.method is None or self.full_below < 0):
            raise InputError(f"{where}: full_below goes with a method and is 0 or more")
        for budget in self.budgets:
            budget_bytes(budget, full=0)

    def _check_planned(self, where: str) -> None:
        sized = self.method, self.methods, self.embedding_dims, self.collisions, self.full_below
        if any(word is not None and word != () and word != {} for word in sized):
            raise InputError(
                f"{where}: a plan says every method and the dim; leave out method, methods, embedding_dims, collisions "
                f"and full_below"
            )
        if isinstance(self.plan, str):
            if self.budgets:
                raise InputError(
                    f"{where}: the plan {self.plan} has its budget; leave out budgets, or write plan = true"
                )
        elif Planning.of(self.plan, f"{where}: plan") and not self.budgets:
            raise InputError(f"{where}: a plan needs budgets, or the name of a file that has one")
        for budget in self.budgets:
            budget_bytes(budget, full=0)

    @property
    def sized(self) -> bool:
        """Whether methods are found for a size, and so may not fit."""
        return self.method is not None or self.plan is not None

    def without(self, section: str, names: Iterable[str]) -> RowSettings:
        """The same rows, with no word of their own on these fields of `model` or `training`."""
        own = {key: value for key, value in getattr(self, section).items() if key not in names}
        return replace(self, model=own) if section == "model" else replace(self, training=own)


@dataclass(frozen=True)
class Row:
    """One row of a comparison, ready to run."""

    name: str
    note: str | None
    group: Group
    model: Any
    methods: Mapping[str, Method]
    training: Any
    vocabulary: Any
    budget: int | None = None
    plan: Plan | None = None

    @property
    def slug(self) -> str:
        """The name as a folder: letters, digits and dashes."""
        return re.sub(r"[^a-z0-9.%=]+", "-", self.name.lower()).strip("-.") or "row"


@dataclass(frozen=True)
class Column:
    """A metric that the table shows beside the one that rows are compared by."""

    metric: str
    heading: str
    spread: bool = False


@dataclass(frozen=True)
class Measures:
    """What is reported of a kind of model; written to the results, but for ratings, which had no such word at first.

    Args:
        metrics: those of the evaluations of a run that results have means of.
        score: of these, the one that rows are compared by, the lower the better.
        train: what it is called on the training part.
        label, article, long: of the score, in words.
        columns: further metrics in the table.
        interval: whether results have a 95 % interval of every mean over seeds.
        costs: whether the table tells what training cost: seconds for a million rows, and the most memory.
    """

    metrics: tuple[str, ...]
    score: str
    train: str
    label: str
    article: str
    long: str
    columns: tuple[Column, ...]
    interval: bool = False
    costs: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "metrics": list(self.metrics), "columns": [asdict(of) for of in self.columns]}


@dataclass(frozen=True)
class Scored:
    """Which rows a finished run is to be scored on.

    Args:
        source: the data; those of the run by default.
        columns: of ratings: names of columns, and the separator, that differ from those of the run.
        part: `"validation"`, the default for the data of the run; `"training"`; or `"all"`, the default for others.
        data: where the data of the run are now, if they were moved.
    """

    source: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    part: Part | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        if self.part not in (None, *get_args(Part)):
            raise unknown("part", str(self.part), get_args(Part))


@dataclass(frozen=True)
class Options:
    """How runs are driven; results do not depend on it, but for rounding by the engine.

    Args:
        resume: continue what a folder holds.
        engine: `"auto"`, `"fused"` or `"plain"`.
        checkpoints: steps or minutes between checkpoints and how many are kept, where a kind of model takes any within
            an epoch: fields of its own settings of them.
        tensorboard: whether event files are written.
        keep_state: whether a finished run keeps the state of its optimizers, so that it may be trained on from there.
    """

    resume: bool = False
    engine: Any = "auto"
    checkpoints: Mapping[str, Any] = field(default_factory=dict)
    tensorboard: bool = False
    keep_state: bool = False


@dataclass(frozen=True)
class Recipe(ABC):
    """Everything about an experiment.

    Args:
        name: of the recipe.
        title: of its table and pictures.
        data: what to read.
        rows: what is compared; the row named `full` is what ratios refer to.
        model: its `embedding_dim` is that of the full model.
        training: how.
        seeds: how many.
        first_seed: of them; the others follow it.
        notes: lines shown below the table.
        contrasts: pairs of names of rows whose difference is told below the table.
        skip_infeasible: leave out rows that no size of their method can fit, or whose method the tables lack something
            for, with a note, instead of raising.
        only: names of the rows to run; all by default.
    """

    name: str
    title: str
    data: Any
    rows: tuple[RowSettings, ...]
    model: Any = None
    training: Any = None
    seeds: int = 1
    first_seed: int = 0
    notes: tuple[str, ...] = ()
    contrasts: tuple[tuple[str, ...], ...] = ()
    skip_infeasible: bool = False
    only: tuple[str, ...] = ()
    schema: int = SCHEMA

    task: ClassVar[str]
    sections: ClassVar[tuple[str, ...]]
    measures: ClassVar[Measures]
    readers: ClassVar[settings.Readers]

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise InputError(f"recipe {self.name!r}: of schema {self.schema}; this coset reads schema {SCHEMA}")
        settings.check_range(f"recipe {self.name!r}: seeds", self.seeds, 1, _MOST_SEEDS)
        settings.check_range(f"recipe {self.name!r}: seed", self.first_seed, 0, settings.LARGEST_SEED - self.seeds)
        if not self.rows:
            raise InputError(f"recipe {self.name!r}: has no rows")
        if wrong := [pair for pair in self.contrasts if len(pair) != 2]:
            raise InputError(f"recipe {self.name!r}: a contrast is a pair of names, not {list(wrong[0])}")

    def override(self, section: str, changes: Mapping[str, Any]) -> Self:
        """The recipe with fields of a section changed, also where rows have a word of their own in that field."""
        if section not in self.sections:
            raise unknown("section of a recipe", section, self.sections)
        changed = replace(self, **{section: overridden(getattr(self, section), changes, section)})
        if section not in ("model", "training"):
            return changed
        return replace(changed, rows=tuple(row.without(section, changes) for row in self.rows))

    # -- what each kind of model answers ------------------------------------------------------------------------

    @abstractmethod
    def load(self, beside: Path, progress: Any = None) -> Any:
        """The data; where they must be made ready on disk first, that is done in a folder below `beside`, and
        `progress` is told."""

    @abstractmethod
    def fingerprint(self, data: Any) -> dict[str, Any]:
        """What tells one data set from another."""

    @abstractmethod
    def anywhere(self) -> Recipe:
        """The recipe without a word on where the data lie."""

    @abstractmethod
    def encoded(self, data: Any, seed: int) -> Any:
        """The data as all rows share them for this seed."""

    @abstractmethod
    def numbered(self, given: RowSettings) -> Any:
        """How the ids of this row are numbered; None where the data say it."""

    @abstractmethod
    def tables(self, model: Any, encoded: Any) -> Sequence[Table]:
        """The tables that a model needs for these data; none where it has none."""

    @abstractmethod
    def dims(self, model: Any) -> Sequence[int]:
        """What a plan may make of the dim of a model."""

    @abstractmethod
    def components(self, model: Any, methods: Mapping[str, Method], encoded: Any) -> list[Component]:
        """What counts as the bytes of a model, with nothing allocated.

        Raises:
            InputError: a method that does not fit its table.
        """

    attributes_from: ClassVar[str] = ""
    """Where attributes of ids come from, as the end of a sentence; empty where these data have none."""

    def way_out(self, model: Any) -> str:
        """What makes a model smaller besides its methods, as the end of a sentence; empty where nothing does."""
        return ""

    @abstractmethod
    def steps(self, row: Row, encoded: Any) -> int:
        """Steps of the training of a row."""

    @abstractmethod
    def execute(
        self, row: Row, seed: int, folder: Path, data: Any, encoded: Any, options: Options,
        on_step: Callable[[int], None],
    ) -> dict[str, Any]:  # fmt: skip
        """Train a row in `folder`, or go on there, and return the metrics of the run.

        Args:
            encoded: `self.encoded(data, seed)`.
        """

    @abstractmethod
    def trial(self, data: Any, beside: Path) -> tuple[Self, Any]:
        """A cheaper experiment that foretells this one and its data, which are all of the training part; what has to be
        written for it is written below `beside`."""

    @abstractmethod
    def facts(self, data: Any, encoded: Any) -> dict[str, Any]:
        """What results say of data and protocol: `dataset`, `synthetic`, `noise_floor`, `split` and `protocol`."""

    @classmethod
    @abstractmethod
    def scored(cls, run: Path, asked: Scored) -> dict[str, Any]:
        """Metrics of the finished run in the folder `run`, with `run`, `dataset`, `synthetic`, `own`, `part`, `rows`
        and `trained_on`."""

    @classmethod
    @abstractmethod
    def predictions(cls, run: Path, asked: Scored) -> Iterator[Any]:
        """Predictions of the finished run in the folder `run` for all rows or those of a part, as polars frames: what
        names a row, its rating or label if it has one, and `prediction`."""

    @classmethod
    @abstractmethod
    def train_on(
        cls, run: Path, out: Path, training: Mapping[str, Any], source: str | None, options: Options, progress: Progress
    ) -> dict[str, Any]:
        """Train the finished run in the folder `run` on, as a run in `out`, and return its metrics, with `dataset` and
        `synthetic`.

        Args:
            training: what differs from its training, with `epochs`, how many further ones.
            source: where its data are now, if they were moved.
        """

    @classmethod
    @abstractmethod
    def compressible(cls, run: Path, source: str | None = None) -> CompressibleRun:
        """The finished run in the folder `run` with its data, which may be at another place now, to be made smaller."""


def overridden(base: S, changes: Mapping[str, Any], where: str) -> S:
    """`base` with `changes`, each checked as the field it replaces."""
    if hasattr(base, "changed"):
        changed: S = base.changed(changes, where)
        return changed
    return settings.make(type(base), {**settings.plain(base), **changes}, where)
