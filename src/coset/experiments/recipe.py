"""Recipes: a TOML file that says everything about an experiment, and the rows of the comparison it stands for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from coset import ledger, settings
from coset.data.settings import DataSettings
from coset.errors import InfeasibleBudget, InputError, Unsuitable, unknown
from coset.experiments.task import SCHEMA, Group, Recipe, Row, RowSettings, bytes_of, overridden
from coset.methods import Method, method_class, registered
from coset.planning.uniform import uniform
from coset.schema import Table

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
    "resolve",
    "shipped",
]

TASKS = {
    "ratings": ("coset.experiments.ratings", "RatingsRecipe"),
    "clicks": ("coset.experiments.clicks", "ClicksRecipe"),
}
"""Kinds of recipes by their `task`, imported when one is read."""


def shipped() -> dict[str, Any]:
    """The recipes that come with coset, by name."""
    folder = files("coset.experiments") / "recipes"
    return {entry.name.removesuffix(".toml"): entry for entry in folder.iterdir() if entry.name.endswith(".toml")}


def load_recipe(name: str | Path) -> Any:
    """The recipe in the file `name`, or the shipped one of that name; a file wins.

    Raises:
        InputError: no such recipe (the nearest is suggested), not TOML, or a key or value that is wrong.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise InputError(f"{path}: no such recipe file")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not readable as a recipe ({error})") from None
        return parse_recipe(text, path.stem, str(path))
    known = shipped()
    if str(name) not in known:
        raise unknown("recipe", str(name), known)
    return parse_recipe(known[str(name)].read_text(encoding="utf-8"), str(name), f"recipe {name}")


def parse_recipe(text: str, name: str, where: str) -> Any:
    """The recipe written in `text`, of the class of its `task` (ratings where it names none); errors begin with
    `where`."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not a TOML file ({error})") from None
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
        methods: names of methods; `["all"]` for all that can be made smaller, where a budget below the floor of
            one leaves that row out instead of raising.
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
    everything = list(methods or (["all"] if sized else [])) == ["all"]
    if everything:
        methods = [name for name, cls in registered().items() if not cls.row_per_id]
    for name in methods:
        if name == "all":
            raise InputError("'all' stands for every method; leave the others out")
        if method_class(name).row_per_id:
            raise InputError(f"method {name!r} has one size, that of the full table; the row 'full' is there already")
    rows = tuple(RowSettings(name, method=name, **size) for name in methods)
    return replace(base, name=Path(data.source).stem, title=title, data=data, rows=(*base.rows, *rows),
                   skip_infeasible=everything)  # fmt: skip


# -- from words to rows that can be run ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    """One row, not yet sized."""

    name: str
    model: Any
    budget: Any = None
    collisions: int | None = None


def resolve(recipe: Any, encoded: Any) -> tuple[list[Row], list[str]]:
    """The rows of `recipe`, with budgets turned into sizes for the tables of `encoded`, and notes on what is
    left out: with `skip_infeasible`, rows whose budget lies below the floor of their method.

    Raises:
        InputError: a method that does not fit its table, two rows of one name, a budget below the floor.
    """
    rows: list[Row] = []
    notes: list[str] = []
    seen: list[str] = []
    sized = 0
    for given in recipe.rows:
        model = overridden(recipe.model, given.model, f"row {given.name!r}: model")
        training = overridden(recipe.training, given.training, f"row {given.name!r}: training")
        vocabulary = recipe.numbered(given)
        for case in _cases(given, model):
            name = case.name
            seen += [name, given.name]
            if recipe.only and not {name, given.name} & set(recipe.only):
                continue
            try:
                limit = None if case.budget is None else bytes_of(case.budget, _full_bytes(recipe, case.model, encoded))
                chosen = _chosen(recipe, given, case, limit, encoded)
                recipe.components(case.model, chosen, encoded)  # raises where one does not fit
            except Unsuitable as error:
                if not recipe.skip_infeasible:
                    raise error.under(f"row {name!r}") from None
                notes.append(f"left out {name}: {error}")
                continue
            except InputError as error:
                raise InputError(f"row {name!r}: {error}") from None
            group = _group(recipe, case.model, chosen)
            sized += given.method is not None
            rows.append(Row(name, given.note, group, case.model, chosen, training, vocabulary, limit))
    for name in recipe.only:
        if name not in seen:
            raise unknown(f"row of recipe {recipe.name!r}", name, set(seen))
    for name in (name for pair in recipe.contrasts for name in pair):
        if name not in seen:
            raise unknown(f"row in a contrast of recipe {recipe.name!r}", name, set(seen))
    slugs = [row.slug for row in rows]
    if double := [row.name for row in rows if slugs.count(row.slug) > 1]:
        raise InputError(
            f"recipe {recipe.name!r}: {' and '.join(map(repr, double[:2]))} are too much alike for two rows"
        )
    wanted = any(given.method is not None for given in recipe.rows) and not recipe.only
    if not rows or (wanted and not sized):
        raise InputError(f"recipe {recipe.name!r}: no method fits its budget ({'; '.join(notes)})")
    return rows, notes


def _cases(given: RowSettings, model: Any) -> Iterator[_Case]:
    """The rows that `given` stands for."""
    for budget in given.budgets:
        yield _Case(given.name if len(given.budgets) == 1 else f"{given.name} {budget}", model, budget)
    many = given.collisions or ()
    for number in many:
        yield _Case(given.name if len(many) == 1 else f"{given.name} c={number}", model, collisions=number)
    for dim in given.embedding_dims:
        name = given.name if len(given.embedding_dims) == 1 else f"{given.name} d={dim}"
        yield _Case(name, overridden(model, {"embedding_dim": dim}, f"row {given.name!r}: model"))
    if not given.budgets and not given.embedding_dims and not many:
        yield _Case(given.name, model)


def _chosen(recipe: Recipe, given: RowSettings, case: _Case, limit: int | None, encoded: Any) -> Mapping[str, Method]:
    """A method for each table that does not stay full."""
    if given.method is None:
        return given.methods
    if not case.model.embedding_dim:
        raise InputError("a budget sizes tables, and a model of embedding_dim = 0 has none")
    fixed = {"method": given.method} if isinstance(given.method, str) else dict(given.method)
    if "method" not in fixed:
        raise InputError(f'a method with fields is written {{ method = "<name>", … }}, not {fixed!r}')
    cls = method_class(str(fixed.pop("method")))
    every = recipe.tables(case.model, encoded)
    tables = [table for table in every if table.num_embeddings >= (given.full_below or 0)]
    if case.collisions is not None:
        return {table.name: cls.for_collisions(table, case.collisions, **fixed) for table in tables}
    assert limit is not None
    besides = _full_bytes(recipe, case.model, encoded) - sum(table.full_bytes for table in tables)
    return _within(cls, tables, limit, besides, len(every) > len(tables), fixed) if tables else {}


def _within(
    cls: type[Method], tables: Sequence[Table], limit: int, besides: int, some_full: bool, fixed: Mapping[str, Any]
) -> dict[str, Method]:
    """Sizes of a method for these tables, where `besides` bytes of the limit are taken already."""
    try:
        return uniform(tables, cls, limit - besides, **fixed)
    except InfeasibleBudget as error:
        floor = error.floor + besides
        what = "what stays full" if some_full else "biases"
        raise InfeasibleBudget(
            f"{cls.name} needs a budget of at least {floor} bytes here ({error.floor} for the tables, "
            f"{besides} for {what}), not {limit}",
            floor,
        ) from None


def _full_bytes(recipe: Recipe, model: Any, encoded: Any) -> int:
    return ledger.inference_bytes(recipe.components(model, {}, encoded))


def _group(recipe: Recipe, model: Any, methods: Mapping[str, Method]) -> Group:
    if model.embedding_dim == 0:
        return "bias"
    if not all(method.row_per_id for method in methods.values()):
        return "compressed"
    return "full" if model.embedding_dim >= recipe.model.embedding_dim else "narrow"
