"""Recipes: TOML files with all choices of an experiment, and the rows of its comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from coset import settings
from coset.documents import Json, parse_toml
from coset.errors import InputError, brief, unknown
from coset.experiments.row import RowSettings
from coset.files import path_of, read_text
from coset.methods import method_class, registered
from coset.tasks import Task, task_class
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT

if TYPE_CHECKING:
    from coset.tasks.registry import AnyTask

SCHEMA = 2
_MOST_SEEDS = 1_000_000
PLANNED = "the planner's choice of a dim and a method for each table."


@dataclass(frozen=True)
class Recipe(Generic[DataT, EncodedT, ModelT, BatchT]):
    """All choices of an experiment.

    Args:
        name: of the recipe.
        title: of its table and pictures.
        task: with its sections, which in TOML are beside the other fields; its `embedding_dim` is that of the full
            model.
        rows: the rows to compare; ratios refer to the row named `full`.
        seeds: number of seeds.
        first_seed: the first seed; the others follow it.
        notes: lines shown below the table.
        contrasts: pairs of names of rows whose difference is shown below the table.
        skip_infeasible: leave out rows whose method has no size that fits, or needs what the tables lack, with a note,
            instead of raising.
        only: names of the rows to run; all by default.
        tune: fields of `[training]` that are chosen on the training part before any row is trained; not those that a
            user sets.
    """

    name: str
    title: str
    task: Task[DataT, EncodedT, ModelT, BatchT]
    rows: tuple[RowSettings, ...]
    seeds: int = 1
    first_seed: int = 0
    notes: tuple[str, ...] = ()
    contrasts: tuple[tuple[str, ...], ...] = ()
    skip_infeasible: bool = False
    only: tuple[str, ...] = ()
    tune: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settings.check_range(f"recipe {self.name!r}: seeds", self.seeds, 1, _MOST_SEEDS)
        settings.check_range(f"recipe {self.name!r}: seed", self.first_seed, 0, settings.LARGEST_SEED - self.seeds)
        if not self.rows:
            raise InputError(f"recipe {self.name!r}: has no rows")
        if wrong := [pair for pair in self.contrasts if len(pair) != 2]:
            raise InputError(f"recipe {self.name!r}: a contrast is a pair of names, not {list(wrong[0])}")

    def override(self, section: str, changes: Json) -> Recipe[DataT, EncodedT, ModelT, BatchT]:
        """The recipe with fields of a section changed, also in rows that set them."""
        rows = tuple(row.without(section, changes) for row in self.rows)
        tune = tuple(name for name in self.tune if section != "training" or name not in changes)
        return replace(self, task=self.task.changed(section, changes), rows=rows, tune=tune)

    def to_json(self) -> Json:
        """As plain JSON values, as in TOML."""
        own = {name: settings.plain(getattr(self, name)) for name in _OWN if name != "task"}
        return {"schema": SCHEMA, "task": self.task.name, **own, **self.task.to_json()}


AnyRecipe = Recipe[Any, Any, Any, Any]
"""A recipe of a task that is known by its name alone."""
_OWN = [field.name for field in fields(Recipe)]


def shipped() -> dict[str, Traversable]:
    """The recipes that come with coset, by name."""
    folder = files("coset.experiments") / "recipes"
    return {entry.name.removesuffix(".toml"): entry for entry in folder.iterdir() if entry.name.endswith(".toml")}


def load_recipe(name: str | Path) -> AnyRecipe:
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


def parse_recipe(text: str, name: str, where: str) -> AnyRecipe:
    """The recipe written in `text`, of the class of its `task` (ratings where it names none); errors begin with
    `where`."""
    given = parse_toml(text, where)
    if isinstance(given.get("data"), str):
        given["data"] = {"source": given["data"]}
    try:
        return _read({"name": name, **given})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _read(given: Json) -> AnyRecipe:
    """The recipe in TOML, of the task that it names; ratings where it names none."""
    if (schema := given.pop("schema", SCHEMA)) != SCHEMA:
        raise _of_another_version(schema)
    task = task_class(given.pop("task", "ratings"))
    sections = task.sections()
    known = [name for name in _OWN if name != "task"]
    for name in given:
        if name not in known and name not in sections:
            raise unknown("field of recipe", name, [*known, *sections])
    if missing := [name for name in ("title", "data", "rows") if name not in given]:
        raise InputError(f"recipe needs {', '.join(missing)}")
    hints = settings.fields(Recipe)
    own: Json = {}
    for name in known:
        if name in given and name != "rows":
            own[name] = settings.checked(hints[name], given[name], f"recipe: {name}")
    rows = settings.checked(tuple[Mapping[str, Any], ...], given["rows"], "recipe: rows")
    made = task.read({name: given[name] for name in sections if name in given}, "recipe")
    read = (RowSettings.read(row, task.row_sections, f"recipe: rows[{at}]") for at, row in enumerate(rows))
    return Recipe(**own, task=made, rows=tuple(read))


def _of_another_version(schema: object) -> InputError:
    if schema == 1:
        return InputError(
            f'written for coset 0.1 (schema 1): write schema = {SCHEMA}, optimizer = "adam" for "dense_adam", '
            'shuffle = "full" for true and "none" for false, and vocabulary = { user_order = …, item_order = … } for '
            "the order of a row"
        )
    return InputError(f"of schema {brief(schema)}; this coset reads schema {SCHEMA}")


def recipe_for(
    task: str,
    data: Json,
    methods: Sequence[str],
    budgets: Sequence[str],
    model: Json | None = None,
    *,
    collisions: Sequence[int] = (),
    full_below: int | None = None,
) -> AnyRecipe:
    """A comparison on any data: the shipped recipe of the name of the task (or its full model alone, where there is
    none), with a row for each method and size.

    Args:
        task: its name.
        data: fields of its `[data]`.
        methods: names of methods; `["all"]` for all that have several sizes. Each budget also gets a planned row. A
            budget below the floor of a method leaves that row out, with a note.
        budgets: bytes of the whole model; by default a quarter of the full one.
        model: changes to the `[model]` of the shipped recipe.
        collisions: in place of budgets: ids for each row of the largest component.
        full_below: tables of fewer ids than this stay full.
    """
    base = _base(task, data)
    name = Path(str(data.get("source", task))).stem
    base = replace(base.override("model", model or {}), name=name)
    return replace(base, rows=(*base.rows, *_rows(methods, budgets, collisions, full_below)), skip_infeasible=True)


def _base(task: str, data: Json) -> AnyRecipe:
    """The recipe that data of a task are compared with where the user names none."""
    cls: type[AnyTask] = task_class(task)
    title = f"{task.replace('_', ' ').replace('-', ' ').capitalize()} of {data.get('source')}"
    made = cls.read({"data": data}, task)
    if task in shipped():
        base = load_recipe(task)
        return replace(base, title=title, task=base.task.having("data", made.data))
    return Recipe(task, title, made, (RowSettings("full"),))


def compressing(*, costly: bool = True) -> list[str]:
    """Names of the methods that make a table smaller, with those that are costly or without, in order."""
    return [name for name, of in sorted(registered().items()) if not of.row_per_id and (costly or not of.costly)]


def _rows(
    methods: Sequence[str], budgets: Sequence[str], collisions: Sequence[int], full_below: int | None
) -> Iterable[RowSettings]:
    if budgets and collisions:
        raise InputError("budgets and collisions both size a method; give one of them")
    size: Json = {"collisions": tuple(collisions)} if collisions else {"budgets": tuple(budgets) or ("25%",)}
    sized = bool(budgets or collisions)
    if full_below is not None:
        size["full_below"] = full_below
    if list(methods or (["all"] if sized else [])) == ["all"]:
        methods = compressing()
    planned: tuple[RowSettings, ...] = ()
    if methods and not collisions:
        planned = (RowSettings("planned", note=PLANNED, plan=True, budgets=size["budgets"]),)
    for name in methods:
        if name == "all":
            raise InputError("'all' stands for every method; leave the others out")
    compressed = [name for name in methods if not method_class(name).row_per_id]  # the row 'full' is there already
    return (*planned, *(RowSettings(name, method=name, **size) for name in compressed))
