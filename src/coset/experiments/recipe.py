"""Recipes: a TOML file that says everything about an experiment, and the rows of the comparison it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from coset import settings
from coset.data.settings import DataSettings
from coset.documents import parse_toml
from coset.errors import InputError, unknown
from coset.experiments.task import SCHEMA, Group, Recipe, Row, RowSettings
from coset.files import path_of, read_text
from coset.methods import method_class, registered

__all__ = [
    "SCHEMA",
    "Group",
    "Recipe",
    "Row",
    "RowSettings",
    "kind_of",
    "load_recipe",
    "parse_recipe",
    "recipe_for_clicks",
    "recipe_for_data",
    "shipped",
]

TASKS = {
    "ratings": ("coset.experiments.ratings", "RatingsRecipe"),
    "clicks": ("coset.experiments.clicks", "ClicksRecipe"),
}
"""Kinds of recipes by their `task`, imported when one is read."""
PLANNED = "the planner's choice of a dim and a method for each table, made of frequencies alone."


def shipped() -> dict[str, Any]:
    """The recipes that come with coset, by name."""
    folder = files("coset.experiments") / "recipes"
    return {entry.name.removesuffix(".toml"): entry for entry in folder.iterdir() if entry.name.endswith(".toml")}


def load_recipe(name: str | Path) -> Any:
    """The recipe in the file `name`, or the shipped one of that name; a file wins.

    Raises:
        InputError: no such recipe (the nearest is suggested), not TOML, or a key or value that is wrong.
    """
    path = path_of(name)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise InputError(f"{path}: no such recipe file")
        return parse_recipe(read_text(path, "a recipe"), path.stem, str(path))
    known = shipped()
    if str(name) not in known:
        raise unknown("recipe", str(name), known)
    return parse_recipe(known[str(name)].read_text(encoding="utf-8"), str(name), f"recipe {name}")


def parse_recipe(text: str, name: str, where: str) -> Any:
    """The recipe written in `text`, of the class of its `task` (ratings where it names none); errors begin with
    `where`."""
    given = parse_toml(text, where)
    if isinstance(given.get("data"), str):
        given["data"] = {"source": given["data"]}
    try:
        cls = kind_of(given.pop("task", "ratings"))
        return settings.make(cls, {"name": name, **given}, "recipe", cls.readers)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def kind_of(task: Any) -> type[Recipe]:
    """The class of the recipes of a task.

    Raises:
        InputError: there is no such task.
    """
    if not isinstance(task, str) or task not in TASKS:
        raise unknown("task", str(task), TASKS)
    module, name = TASKS[task]
    kind: type[Recipe] = getattr(import_module(module), name)
    return kind


def recipe_for_data(
    data: DataSettings,
    methods: Sequence[str],
    budgets: Sequence[str],
    embedding_dim: int | None = None,
    *,
    collisions: Sequence[int] = (),
    full_below: int | None = None,
) -> Any:
    """A comparison on any ratings: the shipped recipe `ratings`, with a row for each method and budget.

    Args:
        data: the ratings.
        methods: names of methods; `["all"]` for all that can be made smaller. A budget below the floor of a method
            leaves that row out, with a note; beside them there is a planned row for each budget.
        budgets: bytes of the whole model; by default a quarter of the full one.
        embedding_dim: of the full model.
        collisions: in place of budgets: ids for each row of the largest component.
        full_below: tables of fewer ids than this stay full.
    """
    base = load_recipe("ratings")
    base = base if embedding_dim is None else base.override("model", {"embedding_dim": embedding_dim})
    return _with_rows(base, data, f"Ratings of {data.source}", methods, budgets, collisions, full_below)


def recipe_for_clicks(
    data: Any,
    methods: Sequence[str],
    budgets: Sequence[str],
    model: Mapping[str, Any] | None = None,
    *,
    collisions: Sequence[int] = (),
    full_below: int | None = None,
) -> Any:
    """A comparison on any clicks: the shipped recipe `clicks`, with a row for each method and size.

    Args:
        data: the clicks, as the `[data]` of a recipe.
        model: what differs from the `[model]` of the shipped recipe.
        methods, budgets, collisions, full_below: as for `recipe_for_data`.
    """
    base = load_recipe("clicks").override("model", model or {})
    return _with_rows(base, data, f"Clicks of {data.source}", methods, budgets, collisions, full_below)


def _with_rows(
    base: Recipe, data: Any, title: str, methods: Sequence[str], budgets: Sequence[str], collisions: Sequence[int],
    full_below: int | None,
) -> Recipe:  # fmt: skip
    if budgets and collisions:
        raise InputError("budgets and collisions both size a method; give one of them")
    size: dict[str, Any] = {"collisions": tuple(collisions)} if collisions else {"budgets": tuple(budgets) or ("25%",)}
    sized = bool(budgets or collisions)
    if full_below is not None:
        size["full_below"] = full_below
    if list(methods or (["all"] if sized else [])) == ["all"]:
        methods = [name for name, cls in registered().items() if not cls.row_per_id]
    planned: tuple[RowSettings, ...] = ()
    if methods and not collisions:
        planned = (RowSettings("planned", note=PLANNED, plan=True, budgets=size["budgets"]),)
    for name in methods:
        if name == "all":
            raise InputError("'all' stands for every method; leave the others out")
        if method_class(name).row_per_id:
            raise InputError(f"method {name!r} has one size, that of the full table; the row 'full' is there already")
    rows = tuple(RowSettings(name, method=name, **size) for name in methods)
    return replace(base, name=Path(data.source).stem, title=title, data=data, rows=(*base.rows, *planned, *rows),
                   skip_infeasible=True)  # fmt: skip
