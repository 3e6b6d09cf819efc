"""What the first argument of a command names: a recipe, a run, or data of a task; and the recipe made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from coset.data.built_in import BUILT_IN
from coset.data.shards import is_given
from coset.documents import Json
from coset.errors import InputError, unknown
from coset.experiments.planning import read_plan
from coset.experiments.recipe import AnyRecipe, compressing, load_recipe, recipe_for, shipped
from coset.experiments.resolve import named_row
from coset.experiments.row import RowSettings
from coset.files import path_of
from coset.tasks import task_class, tasks

_LARGEST_PLAN = 1 << 24


@dataclass(frozen=True)
class RecipeOptions:
    """The options that a user gives with the name of a recipe or of data.

    Args:
        columns: names of the columns of ratings, their separator and attributes; values that are None count as absent.
        schema: the name or the file of the schema of a click log.
        model: the name of a click model.
        dim: embedding dim of the full model.
        methods, budgets, collisions, full_below: of the rows of a comparison on data, as `recipe_for` takes them.
        task: the name of the task; by default, the one that claims the data.
        bits: whether the one row is of packed tables, whose bits are found within the budget.
    """

    columns: Mapping[str, object] = field(default_factory=dict)
    schema: str | None = None
    model: str | None = None
    dim: int | None = None
    methods: Sequence[str] = ()
    budgets: Sequence[str] = ()
    collisions: Sequence[int] = ()
    full_below: int | None = None
    task: str | None = None
    bits: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the user gave nothing."""
        others = (getattr(self, each.name) for each in fields(self) if each.name != "columns")
        return not any(self.columns.values()) and not any(others)

    def comparison(self, subject: str) -> AnyRecipe:
        """As `recipe`, with all methods but costly ones for data of which no methods are named.

        Raises:
            InputError: as `recipe`.
        """
        if self.methods or is_recipe(subject):
            return self.recipe(subject)
        taken = compressing(costly=False)
        found = replace(self, methods=tuple(taken)).recipe(subject)
        left = [name for name in compressing() if name not in taken]
        note = (
            f"{', '.join(left[:-1])} and {left[-1]} are left out, as each trains ten times as long as other rows or "
            f"longer; --methods all includes them"
        )
        return replace(found, notes=(*found.notes, note))

    def recipe(self, subject: str) -> AnyRecipe:
        """The recipe of that name or file, or a comparison on the data of that name, file or folder.

        Raises:
            InputError: there is no such recipe nor such data, or an option does not go with it.
        """
        if is_recipe(subject):
            return self._known(subject)
        task, data = self._data(subject)
        return recipe_for(
            task, data, self.methods, self.budgets, self._of_model, collisions=self.collisions,
            full_below=self.full_below,
        )  # fmt: skip

    def one_row(self, subject: str, row: str | None = None, plan: str | None = None) -> AnyRecipe:
        """The recipe of one run: a row of the recipe of that name or file, or one model on the data of that name.

        Args:
            row: name of the row; by default the first of the recipe, or for data without a named method, the full
                model.
            plan: a file with a plan, which the run follows.

        Raises:
            InputError: as `recipe`; or no such row.
        """
        if is_recipe(subject):
            found = self._known(subject)
        else:
            task, data = self._data(subject)
            found = recipe_for(task, data, (), (), self._of_model)
        if plan is not None:
            wanted = RowSettings(f"by {Path(plan).name}", plan=plan)
            if "solver" in read_plan(plan).training:
                found = replace(found, tune=())
        elif self.bits:
            solver = found.task.solver_of_bits
            training = {} if solver is None else {"solver": solver}
            wanted = RowSettings("bits", bits=True, budgets=tuple(self.budgets), training=training)
            found = replace(found, tune=())  # of a training by gradients
        elif self.methods:
            if self.budgets and self.collisions:
                raise InputError("budgets and collisions both size a method; give one of them")
            (method,) = self.methods
            wanted = RowSettings(
                method, method=method, budgets=tuple(self.budgets), collisions=tuple(self.collisions),
                full_below=self.full_below,
            )  # fmt: skip
        else:
            return named_row(found, found.rows[0].name if row is None else row)
        return replace(found, rows=(wanted,), contrasts=(), only=(wanted.name,))

    def _data(self, subject: str) -> tuple[str, Json]:
        """The task of data, and their `[data]`."""
        refuse_results(subject)
        named = {name: value for name, value in self.columns.items() if value}
        if self.task is None and subject not in BUILT_IN and not is_given(subject) and self.schema is None:
            if subject == "-":
                raise InputError("-: no such file; to read a pipe, give /dev/stdin")
            if Path(subject).suffix or "/" in subject:
                raise InputError(f"{subject}: no such file")
            raise unknown("recipe or data set", subject, [*shipped(), *BUILT_IN])
        task = self.task or task_of(subject, named, self.schema)
        return task, task_class(task).data_asked_for(subject, named, self.schema, self.model)

    def _known(self, subject: str) -> AnyRecipe:
        if self._sizes or self.schema or any(self.columns.values()):
            raise InputError(
                f"{subject} is a recipe, which sets its own rows and columns; "
                f"methods, budgets and column names go with DATA"
            )
        recipe = load_recipe(subject)
        if self.task not in (None, recipe.task.name):
            raise InputError(f"{subject} is a recipe of the task {recipe.task.name}; leave --task out")
        if self.model is not None and not hasattr(recipe.task.model, "name"):
            raise InputError(
                f"{subject} is a recipe for {recipe.task.name}, and --model chooses a click model; leave it out"
            )
        return recipe.override("model", self._of_model) if self._of_model else recipe

    @property
    def _sizes(self) -> bool:
        return bool(self.methods or self.budgets or self.collisions or self.full_below is not None)

    @property
    def _of_model(self) -> Json:
        given = {"name": self.model, "embedding_dim": self.dim}
        return {name: value for name, value in given.items() if value is not None}


def is_recipe(subject: str) -> bool:
    """Whether this names a recipe; a path of data wins."""
    return subject.endswith(".toml") or (subject in shipped() and not path_of(subject).exists())


def is_run(subject: str) -> bool:
    """Whether this is the folder of a run, finished or not."""
    return (path_of(subject) / "run.json").is_file()


def refuse_results(subject: str) -> None:
    """Raise an `InputError` for a result of coset in place of data: a run, a comparison or a plan."""
    path = path_of(subject)
    if is_run(subject):
        raise InputError(
            f"{subject} is a run, not data; coset inspect {subject} shows what it is and what can be done with it"
        )
    if (path / "compare.json").is_file():
        raise InputError(
            f"{subject} holds a comparison: its table is in results.md, its runs are in runs, which coset inspect takes"
        )
    if _is_plan(path):
        raise InputError(
            f"{subject} is a plan; give it with the data that it is for: coset train DATA --plan {subject}"
        )


def _is_plan(path: Path) -> bool:
    if path.suffix != ".json" or not path.is_file() or path.stat().st_size > _LARGEST_PLAN:
        return False
    try:
        read_plan(path)
    except InputError:
        return False
    return True


def refuse_all_but_data(subject: str) -> None:
    """As `refuse_results`; and for a recipe, which names its data."""
    if is_recipe(subject):
        source = load_recipe(subject).task.data.source
        raise InputError(f"{subject} is a recipe; its data are {source}: coset inspect {source}")
    refuse_results(subject)


def task_of(subject: str, columns: Json, schema: str | None = None) -> str:
    """The name of the first task that claims the data, coset's own tasks first; `"ratings"` where none does.

    Args:
        columns: the columns of a file of rows that the user named.
        schema: the schema of a log, if the user named one.
    """
    return next((name for name, task in tasks().items() if task.claims(subject, columns, schema)), "ratings")
