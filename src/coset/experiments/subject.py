"""What the first argument of a command names: a recipe, a run, data of clicks or of ratings; and the recipe to make of
it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coset.data.clicks.logs import BUILT_IN, TWIN, is_log
from coset.data.shards import is_given
from coset.errors import InputError, unknown
from coset.experiments.planning import read_plan
from coset.experiments.recipe import load_recipe, recipe_for_clicks, recipe_for_data, shipped
from coset.experiments.task import RowSettings
from coset.files import path_of

CLICKS = (*BUILT_IN, TWIN)
"""Built-in data sets of clicks."""
_LARGEST_PLAN = 1 << 24


@dataclass(frozen=True)
class RecipeOptions:
    """What may be said besides the name of a recipe or of data.

    Args:
        columns: of ratings: names of columns, separator and attributes.
        schema: of a click log.
        model: of clicks: which.
        dim: embedding dim of the full model.
        methods, budgets, collisions, full_below: of data: see `recipe_for_data`.
        plan: a file with a plan, which becomes a further row.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    schema: str | None = None
    model: str | None = None
    dim: int | None = None
    methods: Sequence[str] = ()
    budgets: Sequence[str] = ()
    collisions: Sequence[int] = ()
    full_below: int | None = None
    plan: str | None = None

    @property
    def planned(self) -> str | None:
        """Name of the row of the plan."""
        return None if self.plan is None else f"by {Path(self.plan).name}"

    def recipe(self, subject: str) -> Any:
        """The recipe of that name or file, or a comparison on the data of that name, file or folder.

        Raises:
            InputError: there is no such recipe nor such data, or words that do not go with it.
        """
        found = self._of(subject)
        if self.planned is None:
            return found
        return replace(found, rows=(*found.rows, RowSettings(self.planned, plan=self.plan)))

    def _of(self, subject: str) -> Any:
        if is_recipe(subject):
            return self._known(subject)
        refuse_results(subject)
        if self.schema is not None or is_clicks(subject, self.columns):
            return self._clicks(subject)
        return self._ratings(subject)

    def _known(self, subject: str) -> Any:
        if self._sizes or self.schema or any(self.columns.values()):
            raise InputError(
                f"{subject} is a recipe, which says its own rows and columns; "
                f"methods, budgets and column names are for DATA"
            )
        recipe = load_recipe(subject)
        if self.model is not None and recipe.task != "clicks":
            raise InputError(f"{subject} is a recipe of ratings, and --model chooses a model of clicks")
        return recipe.override("model", self._of_model) if self._of_model else recipe

    def _clicks(self, subject: str) -> Any:
        from coset.experiments.clicks import ClickSource

        if any(self.columns.values()):
            raise InputError(
                f"{subject} is a click log, whose columns a --schema names; --user and the like are of ratings"
            )
        if subject not in CLICKS and not is_given(subject):
            raise InputError(f"{subject}: no such file or folder")
        sizes = {"collisions": self.collisions, "full_below": self.full_below}
        return recipe_for_clicks(
            ClickSource(subject, self.schema),
            self.methods,
            self.budgets,
            self._of_model,
            **sizes,  # type: ignore[arg-type]
        )

    def _ratings(self, subject: str) -> Any:
        from coset.data import DATASETS
        from coset.data.settings import DataSettings

        if subject == "-":
            raise InputError("-: no such file; to read a pipe, give /dev/stdin")
        if subject not in DATASETS and not is_given(subject):
            if Path(subject).suffix or "/" in subject:
                raise InputError(f"{subject}: no such file")
            raise unknown("recipe or data set", subject, [*shipped(), *DATASETS, *CLICKS])
        if self.model is not None:
            raise InputError(
                f"{subject}: --model chooses a model of clicks, and these are ratings (a log needs --schema)"
            )
        return recipe_for_data(
            DataSettings(subject, **self.columns), self.methods, self.budgets, self.dim,
            collisions=self.collisions, full_below=self.full_below,
        )  # fmt: skip

    @property
    def _sizes(self) -> bool:
        return bool(self.methods or self.budgets or self.collisions or self.full_below is not None)

    @property
    def _of_model(self) -> dict[str, Any]:
        given = {"name": self.model, "embedding_dim": self.dim}
        return {name: value for name, value in given.items() if value is not None}


def is_recipe(subject: str) -> bool:
    """Whether this names a recipe; a path of data wins."""
    return subject.endswith(".toml") or (subject in shipped() and not path_of(subject).exists())


def is_run(subject: str) -> bool:
    """Whether this is the folder of a run, finished or not."""
    return (path_of(subject) / "run.json").is_file()


def refuse_results(subject: str) -> None:
    """Raise an `InputError` for what coset itself writes and is no data: a run, a comparison or a plan."""
    path = path_of(subject)
    if is_run(subject):
        raise InputError(
            f"{subject} is a run, made of data already; coset inspect {subject} tells of it and what to do"
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
        source = load_recipe(subject).data.source
        raise InputError(f"{subject} is a recipe; its data are {source}: coset inspect {source}")
    refuse_results(subject)


def is_clicks(subject: str, columns: Mapping[str, Any]) -> bool:
    """Whether this names data of clicks by itself: a built-in set, a folder that `coset prepare` made, or a log whose
    content says so, unless columns of ratings are named."""
    folder = path_of(subject)
    if subject in CLICKS or (folder / "prepared.json").exists() or (folder / "prepare.json").exists():
        return True
    return not any(columns.values()) and is_log(subject)
