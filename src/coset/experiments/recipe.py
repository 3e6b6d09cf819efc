"""Recipes: a TOML file that says everything about an experiment, and the rows of the comparison it stands for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

from coset import ledger, settings
from coset.data import Encoded
from coset.data.settings import DataSettings, SplitSettings, VocabularySettings
from coset.data.vocabulary import Order
from coset.errors import InfeasibleBudget, InputError, Unsuitable, unknown
from coset.methods import Method, from_json, method_class, registered
from coset.models.dot import DotSettings
from coset.planning.uniform import uniform
from coset.sizes import parse_size
from coset.training.run import RunSpec, predicted_components, tables_of
from coset.training.settings import TrainingSettings

S = TypeVar("S")
SCHEMA = 1
Group = Literal["full", "narrow", "bias", "compressed"]


@dataclass(frozen=True)
class RowSettings:
    """Rows of a comparison: one, or one for each budget or each dim.

    Args:
        name: of the row; of several rows, what their names begin with.
        note: a line shown below the table.
        methods: how each table is stored, by table name; `full` for those not named.
        method: one method for all tables, sized by `budgets`: a name, or a table with its fixed fields.
        budgets: bytes of the whole model, one row each.
        embedding_dims: dims of the model, one row each.
        model, training: what differs from the recipe's own `[model]` and `[training]`.
        order: of the ids of users and items, where it is not that of the recipe's `[vocabulary]`.
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

    def __post_init__(self) -> None:
        where = f"row {self.name!r}"
        if not (self.method is None or isinstance(self.method, str | Mapping)):
            raise InputError(f"{where}: method must be a name or a table of fields, not {self.method!r}")
        if (self.method is None) == bool(self.budgets):
            raise InputError(f"{where}: method and budgets go together, one sizes the other")
        if self.budgets and (self.methods or self.embedding_dims):
            raise InputError(f"{where}: budgets size one method; leave out methods and embedding_dims")
        for budget in self.budgets:
            _bytes(budget, full=0)

    def without(self, section: str, names: Iterable[str]) -> RowSettings:
        """The same rows, with no word of their own on these fields of `model` or `training`."""
        own = {key: value for key, value in getattr(self, section).items() if key not in names}
        return replace(self, model=own) if section == "model" else replace(self, training=own)


@dataclass(frozen=True)
class Recipe:
    """Everything about an experiment.

    Args:
        name: of the recipe.
        title: of its table and pictures.
        data, split, vocabulary: see `coset.data.settings`.
        model: see `DotSettings`; its `embedding_dim` is that of the full model.
        training: see `TrainingSettings`.
        rows: what is compared; the row named `full` is what ratios refer to.
        seeds: how many; each sets a split, initial weights and an order of ratings, the same for all rows.
        first_seed: of them; the others follow it.
        notes: lines shown below the table.
        contrasts: pairs of names of rows whose difference is told below the table.
        skip_infeasible: leave out rows that no size of their method can fit, or whose method the tables lack something
            for, with a note, instead of raising.
        only: names of the rows to run; all by default.
    """

    name: str
    title: str
    data: DataSettings
    rows: tuple[RowSettings, ...]
    split: SplitSettings = field(default_factory=SplitSettings)
    vocabulary: VocabularySettings = field(default_factory=VocabularySettings)
    model: DotSettings = field(default_factory=DotSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    seeds: int = 1
    first_seed: int = 0
    notes: tuple[str, ...] = ()
    contrasts: tuple[tuple[str, ...], ...] = ()
    skip_infeasible: bool = False
    only: tuple[str, ...] = ()
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise InputError(f"recipe {self.name!r}: of schema {self.schema}; this coset reads schema {SCHEMA}")
        if self.seeds < 1:
            raise InputError(f"recipe {self.name!r}: seeds must be at least 1, not {self.seeds}")
        if self.first_seed < 0:
            raise InputError(f"recipe {self.name!r}: a seed must be 0 or more, not {self.first_seed}")
        if not self.rows:
            raise InputError(f"recipe {self.name!r}: has no rows")
        if wrong := [pair for pair in self.contrasts if len(pair) != 2]:
            raise InputError(f"recipe {self.name!r}: a contrast is a pair of names, not {list(wrong[0])}")

    def spec(self, row: Row, seed: int) -> RunSpec:
        """The run of one row with one seed."""
        return RunSpec(self.data, self.split, row.vocabulary, row.model, row.methods, row.training, seed)

    def override(self, section: str, changes: Mapping[str, Any]) -> Recipe:
        """The recipe with fields of `[data]`, `[split]`, `[vocabulary]`, `[model]` or `[training]` changed, also
        where rows have a word of their own in that field."""
        if section not in (sections := ("data", "split", "vocabulary", "model", "training")):
            raise unknown("section of a recipe", section, sections)
        changed = replace(self, **{section: _overridden(getattr(self, section), changes, section)})
        if section not in ("model", "training"):
            return changed
        return replace(changed, rows=tuple(row.without(section, changes) for row in self.rows))


@dataclass(frozen=True)
class Row:
    """One row of a comparison, ready to run."""

    name: str
    note: str | None
    group: Group
    model: DotSettings
    methods: Mapping[str, Method]
    training: TrainingSettings
    vocabulary: VocabularySettings
    budget: int | None = None

    @property
    def slug(self) -> str:
        """The name as a folder: letters, digits and dashes."""
        return re.sub(r"[^a-z0-9.%=]+", "-", self.name.lower()).strip("-.") or "row"


def shipped() -> dict[str, Any]:
    """The recipes that come with coset, by name."""
    folder = files("coset.experiments") / "recipes"
    return {entry.name.removesuffix(".toml"): entry for entry in folder.iterdir() if entry.name.endswith(".toml")}


def load_recipe(name: str | Path) -> Recipe:
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


def parse_recipe(text: str, name: str, where: str) -> Recipe:
    """The recipe written in `text`; errors begin with `where`."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not a TOML file ({error})") from None
    if isinstance(given.get("data"), str):
        given["data"] = {"source": given["data"]}
    try:
        return settings.make(Recipe, {"name": name, **given}, "recipe", {Method: from_json})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def recipe_for_data(
    data: DataSettings, methods: Sequence[str], budgets: Sequence[str], embedding_dim: int | None = None
) -> Recipe:
    """A comparison on any ratings: the shipped recipe `ratings`, with a row for each method and budget.

    Args:
        data: the ratings.
        methods: names of methods; `["all"]` for all that can be made smaller, where a budget below the floor of
            one leaves that row out instead of raising.
        budgets: bytes of the whole model; by default a quarter of the full one.
        embedding_dim: of the full model.
    """
    base = load_recipe("ratings")
    model = base.model if embedding_dim is None else replace(base.model, embedding_dim=embedding_dim)
    everything = list(methods or (["all"] if budgets else [])) == ["all"]
    if everything:
        methods = [name for name, cls in registered().items() if not cls.row_per_id]
    for name in methods:
        if name == "all":
            raise InputError("'all' stands for every method; leave the others out")
        if method_class(name).row_per_id:
            raise InputError(f"method {name!r} has one size, that of the full table; the row 'full' is there already")
    sized = tuple(RowSettings(name, method=name, budgets=tuple(budgets) or ("25%",)) for name in methods)
    return replace(base, name=Path(data.source).stem, title=f"Ratings of {data.source}", data=data, model=model,
                   rows=(*base.rows, *sized), skip_infeasible=everything)  # fmt: skip


def resolve(recipe: Recipe, encoded: Encoded) -> tuple[list[Row], list[str]]:
    """The rows of `recipe`, with budgets turned into sizes for the tables of `encoded`, and notes on what is
    left out: with `skip_infeasible`, rows whose budget lies below the floor of their method.

    Raises:
        InputError: a method that does not fit its table, two rows of one name, a budget below the floor.
    """
    rows: list[Row] = []
    notes: list[str] = []
    seen: list[str] = []
    for given in recipe.rows:
        model = _overridden(recipe.model, given.model, f"row {given.name!r}: model")
        training = _overridden(recipe.training, given.training, f"row {given.name!r}: training")
        vocabulary = recipe.vocabulary
        if given.order is not None:
            vocabulary = replace(vocabulary, user_order=given.order, item_order=given.order)
        for name, sized, budget, methods in _cases(given, model):
            seen += [name, given.name]
            if recipe.only and not {name, given.name} & set(recipe.only):
                continue
            try:
                limit = None if budget is None else _bytes(budget, _full_bytes(sized, encoded))
                chosen = methods if limit is None else _sized(given.method, limit, sized, encoded)
                predicted_components(sized, chosen, encoded.user, encoded.item)  # raises where one does not fit
            except Unsuitable as error:
                if not recipe.skip_infeasible:
                    raise error.under(f"row {name!r}") from None
                notes.append(f"left out {name}: {error}")
                continue
            except InputError as error:
                raise InputError(f"row {name!r}: {error}") from None
            group = _group(recipe, sized, chosen)
            rows.append(Row(name, given.note, group, sized, chosen, training, vocabulary, limit))
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
    wanted = any(given.budgets for given in recipe.rows) and not recipe.only
    if not rows or (wanted and not any(row.budget is not None for row in rows)):
        raise InputError(f"recipe {recipe.name!r}: no method fits its budget ({'; '.join(notes)})")
    return rows, notes


def _cases(given: RowSettings, model: DotSettings) -> Iterator[tuple[str, DotSettings, Any, Mapping[str, Method]]]:
    """Name, model, budget and methods of each row that `given` stands for; a budget has no methods yet."""
    for budget in given.budgets:
        yield given.name if len(given.budgets) == 1 else f"{given.name} {budget}", model, budget, {}
    for dim in given.embedding_dims:
        name = given.name if len(given.embedding_dims) == 1 else f"{given.name} d={dim}"
        yield name, replace(model, embedding_dim=dim), None, given.methods
    if not given.budgets and not given.embedding_dims:
        yield given.name, model, None, given.methods


def _sized(method: Any, limit: int, model: DotSettings, encoded: Encoded) -> dict[str, Method]:
    if not model.embedding_dim:
        raise InputError("a budget sizes tables, and a model of embedding_dim = 0 has none")
    fixed = {"method": method} if isinstance(method, str) else dict(method)
    if "method" not in fixed:
        raise InputError(f'a method with fields is written {{ method = "<name>", … }}, not {fixed!r}')
    cls = method_class(str(fixed.pop("method")))
    tables = tables_of(model, encoded.user, encoded.item)
    besides = _full_bytes(model, encoded) - sum(table.full_bytes for table in tables)
    try:
        return uniform(tables, cls, limit - besides, **fixed)
    except InfeasibleBudget as error:
        floor = error.floor + besides
        raise InfeasibleBudget(
            f"{cls.name} needs a budget of at least {floor} bytes here ({error.floor} for the tables, "
            f"{besides} for biases), not {limit}",
            floor,
        ) from None


def _full_bytes(model: DotSettings, encoded: Encoded) -> int:
    return ledger.inference_bytes(predicted_components(model, {}, encoded.user, encoded.item))


def _bytes(budget: Any, full: int) -> int:
    """Bytes of a budget: `"240KB"`, or a share of the bytes `full` of the full model, `"25%"`."""
    if isinstance(budget, str) and (share := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", budget)):
        return int(full * float(share[1]) / 100)
    return parse_size(budget)


def _group(recipe: Recipe, model: DotSettings, methods: Mapping[str, Method]) -> Group:
    if model.embedding_dim == 0:
        return "bias"
    if not all(method.row_per_id for method in methods.values()):
        return "compressed"
    return "full" if model.embedding_dim >= recipe.model.embedding_dim else "narrow"


def _overridden(base: S, changes: Mapping[str, Any], where: str) -> S:
    """`base` with `changes`, each checked as the field it replaces."""
    return settings.make(type(base), {**settings.plain(base), **changes}, where)
