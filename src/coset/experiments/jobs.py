"""What `coset train` trains: a new run of a recipe or of data, or a finished run trained further; and which of its
options go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from coset.documents import Json
from coset.errors import InputError
from coset.experiments import places
from coset.experiments.changes import changed, changes_of_training
from coset.experiments.planning import read_plan
from coset.experiments.recipe import AnyRecipe
from coset.experiments.subject import RecipeOptions, is_run
from coset.experiments.train import is_a_run, train_on, train_row
from coset.methods import method_class
from coset.progress import Progress
from coset.training.run import Options


class Job(Protocol):
    """One training."""

    @property
    def out(self) -> Path:
        """The folder of the run."""
        ...

    def load(self, progress: Progress | None = None) -> None:
        """Load the data, and prepare them first where they must be."""
        ...

    def train(self, options: Options, progress: Progress | None = None) -> Json:
        """Train, and return the metrics of the run."""
        ...


@dataclass(frozen=True)
class TrainOptions:
    """The options of `coset train`; None where a user gave none.

    Args:
        recipe: how to make the recipe of the run.
        row: name of the row of the recipe to train; the first by default.
        plan: a file with a plan for the tables.
        seed: of the run; 0 by default.
        epochs: passes over the training part; with `further`, how many more.
        changes: fields to change, each written as `section.field=value`.
        tuning: whether to validate on a slice of the training part.
        further: whether the subject is a finished run that is trained for more epochs.
        moved: with `further`, where the data of the run are now.
        tune: whether settings that the recipe does not set may be chosen by short trainings.
    """

    recipe: RecipeOptions = field(default_factory=RecipeOptions)
    row: str | None = None
    plan: str | None = None
    seed: int | None = None
    epochs: int | None = None
    changes: Sequence[str] = ()
    tuning: bool = False
    further: bool = False
    moved: str | None = None
    tune: bool = True

    def job(self, subject: str, out: Path | None = None) -> Job:
        """The training of that subject.

        Args:
            subject: a recipe or data; with `further`, the folder of a finished run.
            out: the folder of the run; by default one below `runs`, or beside the finished run.

        Raises:
            InputError: options that do not go together, or a subject that is not what they need.
        """
        return self._further(subject, out) if self.further else self._new(subject, out)

    def _further(self, subject: str, out: Path | None) -> Job:
        if given := [name for name, value in self._of_new_runs().items() if value]:
            raise InputError(f"--continue keeps the data and the model of a run; leave out {', '.join(given)}")
        if self.epochs is None:
            raise InputError("--continue needs --epochs, the number of further epochs")
        training = changes_of_training(self.epochs, self.changes)
        run = Path(subject)
        return _FurtherRun(out or places.beside_run(run, "continued"), run, training, self.moved)

    def _of_new_runs(self) -> dict[str, bool]:
        """The options that only a new run takes, and whether each was given."""
        recipe = self.recipe
        columns = [name for name, value in recipe.columns.items() if value is not None]
        return {
            "--row": self.row is not None,
            "--method": bool(recipe.methods),
            "--bits": recipe.bits,
            "--budget": bool(recipe.budgets),
            "--collisions": bool(recipe.collisions),
            "--plan": self.plan is not None,
            "--full-below": recipe.full_below is not None,
            "--dim": recipe.dim is not None,
            "--model": recipe.model is not None,
            "--schema": recipe.schema is not None,
            **{f"--{name.removesuffix('s').replace('_', '-')}": True for name in columns},
            "--task": recipe.task is not None,
            "--seed": self.seed is not None,
            "--tuning": self.tuning,
            "--no-tune": not self.tune,
        }

    def _new(self, subject: str, out: Path | None) -> Job:
        if self.moved is not None:
            raise InputError("--data goes with --continue: it names the place of the run's data")
        if is_run(subject):
            raise is_a_run(Path(subject))
        named = [*self.recipe.methods, *self._sizes(), *filter(None, (self.row, self.plan))]
        if len(named) == 1 and self.recipe.methods and method_class(named[0]).row_per_id:  # a row of any comparison
            return replace(self, recipe=replace(self.recipe, methods=()), row="full")._new(subject, out)
        self._check_sizes()
        recipe = self.recipe.one_row(subject, self.row, self.plan)
        seed = self.seed or 0
        recipe = changed(
            recipe, self.changes, epochs=self.epochs, tuning=self.tuning, first_seed=seed, seeds=1, tune=self.tune
        )
        return _NewRun(out or places.of_run(recipe.name, recipe.only[0], seed), recipe)

    def _sizes(self) -> list[str]:
        """The options that size a method, as far as they were given."""
        given = {"--budget": self.recipe.budgets, "--collisions": self.recipe.collisions}
        return [name for name, value in given.items() if value]

    def _check_sizes(self) -> None:
        """Raise an `InputError` unless method, size, plan and row go together."""
        recipe, sizes = self.recipe, self._sizes()
        if recipe.bits:
            others = {"--method": recipe.methods, "--collisions": recipe.collisions, "--plan": self.plan,
                      "--row": self.row, "--full-below": recipe.full_below is not None}  # fmt: skip
            if given := [name for name, value in others.items() if value]:
                raise InputError(f"--bits sets the method of every table; leave out {', '.join(given)}")
            if not recipe.budgets:
                raise InputError("--bits needs a --budget, within which they are found")
            return
        if self.row is not None and (recipe.methods or self.plan is not None):
            maker = "--method" if self.plan is None else "--plan"
            raise InputError(f"--row chooses a row of the recipe and {maker} makes a new one; give one of them")
        if self.plan is not None:
            if recipe.methods or sizes or recipe.full_below is not None:
                raise InputError("--plan sets the method and size of every table; leave out --method and what sizes it")
            if recipe.dim not in (None, planned := read_plan(self.plan).embedding_dim):
                raise InputError(
                    f"the plan {self.plan} has embedding_dim {planned}, and --dim is {recipe.dim}; leave --dim out"
                )
        if recipe.methods and not sizes:
            raise InputError(
                f"--method {recipe.methods[0]} needs a --budget, which sizes it, or --collisions (the full table is "
                "`--row full`)"
            )
        if not recipe.methods and sizes:
            raise InputError(f"{sizes[0]} needs a --method to size, or --bits")


@dataclass
class _NewRun:
    out: Path
    recipe: AnyRecipe
    data: Any = None

    def load(self, progress: Progress | None = None) -> None:
        self.data = self.recipe.task.load(self.out.parent, progress)

    def train(self, options: Options, progress: Progress | None = None) -> Json:
        return train_row(self.recipe, self.out, self.data, options=options, progress=progress)


@dataclass
class _FurtherRun:
    out: Path
    run: Path
    training: Json
    moved: str | None

    def load(self, progress: Progress | None = None) -> None:
        """Nothing: `train` opens the data with the run."""

    def train(self, options: Options, progress: Progress | None = None) -> Json:
        return train_on(self.run, self.out, self.training, data=self.moved, options=options, progress=progress)
