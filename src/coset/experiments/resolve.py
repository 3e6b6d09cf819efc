"""From the rows of a recipe to rows that can be run: a model, and a sized method for every table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, Literal

from coset import ledger
from coset.errors import InfeasibleBudget, InputError, MissingAttributes, Unsuitable, unknown
from coset.experiments.in_bits import besides
from coset.experiments.plan_choices import Calibration, Planning
from coset.experiments.planning import Plans, check_optimizer, read_plan
from coset.experiments.recipe import Recipe
from coset.experiments.row import RowSettings
from coset.methods import Method, from_json, method_class
from coset.planning.plan import Plan
from coset.planning.uniform import uniform
from coset.sizes import budget_bytes
from coset.tasks import Task
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT
from coset.training.spec import RunSpec

Group = Literal["full", "narrow", "bias", "compressed"]


@dataclass(frozen=True)
class Row(Generic[DataT, EncodedT, ModelT, BatchT]):
    """One row of a comparison, ready to run.

    Args:
        name, note: as the recipe has them.
        group: its kind, for pictures and comparisons.
        task: that of the recipe, with the changes of the row.
        methods: by table.
        budget: in bytes, where one was given.
        plan: the plan that it follows, if any.
    """

    name: str
    note: str | None
    group: Group
    task: Task[DataT, EncodedT, ModelT, BatchT]
    methods: Mapping[str, Method]
    budget: int | None = None
    plan: Plan | None = None

    @property
    def slug(self) -> str:
        """The name as a folder: letters, digits and dashes."""
        return re.sub(r"[^a-z0-9.%=]+", "-", self.name.lower()).strip("-.") or "row"

    def spec(self, seed: int) -> RunSpec[DataT, EncodedT, ModelT, BatchT]:
        """The run of the row with one seed."""
        return RunSpec(self.task, self.methods, seed)


@dataclass(frozen=True)
class _Case:
    """One row, not yet sized."""

    name: str
    budget: object = None
    collisions: int | None = None
    dim: int | None = None  # of the model, which may not allow it: only rows that run are checked


def resolve(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], encoded: EncodedT, calibrated: Calibration | None = None
) -> tuple[list[Row[DataT, EncodedT, ModelT, BatchT]], list[str]]:
    """The rows of `recipe`, with budgets turned into sizes for the tables of `encoded`, and notes on what is
    left out: with `skip_infeasible`, rows whose budget lies below the floor of their method.

    Args:
        calibrated: measures losses of a model, for plans that calibrate; without it they use predicted losses.

    Raises:
        InputError: a method that does not fit its table, two rows of one name, a budget below the floor.
    """
    resolver = _Resolver(recipe, encoded)
    if calibrated is not None and any(_calibrates(given) for given in recipe.rows):
        resolver.rows(None)  # errors in any row are raised before anything is trained
    return resolver.rows(calibrated)


def named_row(recipe: Recipe[DataT, EncodedT, ModelT, BatchT], name: str) -> Recipe[DataT, EncodedT, ModelT, BatchT]:
    """The recipe with only the row of that name, or with the row that stands for several, one of which has that name.

    Raises:
        InputError: there is no such row.
    """
    cases = [(given, case.name) for given in recipe.rows for case in _cases(given)]
    for given, case in cases:
        if name in (given.name, case):
            return replace(recipe, rows=(given,), contrasts=(), only=(name,))
    raise unknown(f"row of recipe {recipe.name!r}", name, {of for given, case in cases for of in (given.name, case)})


class _Resolver(Generic[DataT, EncodedT, ModelT, BatchT]):
    """Finds sizes for the rows of a recipe."""

    def __init__(self, recipe: Recipe[DataT, EncodedT, ModelT, BatchT], encoded: EncodedT) -> None:
        self.recipe, self.encoded, self.plans = recipe, encoded, Plans(encoded)

    def rows(self, calibrated: Calibration | None) -> tuple[list[Row[DataT, EncodedT, ModelT, BatchT]], list[str]]:
        recipe = self.recipe
        rows: list[Row[DataT, EncodedT, ModelT, BatchT]] = []
        notes: list[str] = []
        seen: list[str] = []
        sized = 0
        for given in recipe.rows:
            task = recipe.task
            for section, changes in given.changes.items():
                task = task.changed(section, changes, f"row {given.name!r}: {section}")
            for case in _cases(given):
                name = case.name
                seen += [name, given.name]
                if recipe.only and not {name, given.name} & set(recipe.only):
                    continue
                try:
                    row = self._row(given, case, task, calibrated)
                except Unsuitable as error:
                    if isinstance(error, MissingAttributes):
                        error = MissingAttributes(f"{error}{task.attributes_from}")
                    if name in recipe.only or not recipe.skip_infeasible:  # rows that the user named are not left out
                        raise error.under(f"row {name!r}") from None
                    notes.append(f"left out {name}: {error}")
                    continue
                except InputError as error:
                    raise InputError(f"row {name!r}: {error}") from None
                sized += given.sized
                rows.append(row)
        _check_names(recipe, rows, seen)
        wanted = any(given.sized for given in recipe.rows) and not recipe.only
        if not rows or (wanted and not sized):
            raise InputError(f"recipe {recipe.name!r}: no method fits its budget ({'; '.join(notes)})")
        return rows, notes

    def _row(
        self, given: RowSettings, case: _Case, task: Task[DataT, EncodedT, ModelT, BatchT],
        calibrated: Calibration | None,
    ) -> Row[DataT, EncodedT, ModelT, BatchT]:  # fmt: skip
        if case.dim is not None:
            task = _of_dim(given, task, case.dim)
        limit = None if case.budget is None else budget_bytes(case.budget, self._full_bytes(task))
        plan = None if given.plan is None else self._planned(given, task, limit, calibrated)
        if plan is not None:
            task = _of_plan(given, task, plan)
            limit = plan.budget or None
        if given.bits:
            assert limit is not None
            dim, methods = task.in_bits(self.encoded, limit)
            task = _of_dim(given, task, dim)
        else:
            methods = self._chosen(given, case, task, limit) if plan is None else plan.methods
        task.components(methods, self.encoded)  # raises where a method does not fit
        return Row(case.name, given.note, self._group(task, methods), task, methods, limit, plan)

    def _planned(
        self, given: RowSettings, task: Task[DataT, EncodedT, ModelT, BatchT], limit: int | None,
        calibrated: Calibration | None,
    ) -> Plan:  # fmt: skip
        """The plan of a row: that of its file, checked against these tables, or the best within its budget."""
        if isinstance(given.plan, str):
            plan = read_plan(given.plan)
            check_optimizer(task.training, plan.optimizer)
            plan.check_ids(task.tables(self.encoded))
            planned = _of_plan(given, task, plan)
            return plan.fitted(planned.tables(self.encoded), besides(planned, self.encoded, plan.beside))
        assert limit is not None
        return self.plans.best(task, limit, Planning.of(given.plan, "plan"), calibrated)

    def _chosen(
        self, given: RowSettings, case: _Case, task: Task[DataT, EncodedT, ModelT, BatchT], limit: int | None
    ) -> Mapping[str, Method]:
        """A method for each table that does not stay full."""
        if given.method is None:
            return given.methods
        if not task.model.embedding_dim:
            raise InputError("a budget sizes tables, and a model of embedding_dim = 0 has none")
        fixed = dict(given.method) if isinstance(given.method, Mapping) else {"method": given.method}
        if "method" not in fixed:
            raise InputError(f'a method with fields is written {{ method = "<name>", … }}, not {fixed!r}')
        every = task.tables(self.encoded)
        tables = [table for table in every if table.num_embeddings >= (given.full_below or 0)]
        if case.collisions is None and limit is None:
            return dict.fromkeys((table.name for table in tables), from_json(fixed))
        cls = method_class(str(fixed.pop("method")))
        if case.collisions is not None:
            return {table.name: cls.for_collisions(table, case.collisions, **fixed) for table in tables}
        assert limit is not None
        taken = self._full_bytes(task) - sum(table.full_bytes for table in tables)
        try:
            return uniform(tables, cls, limit - taken, **fixed) if tables else {}
        except InfeasibleBudget as error:
            floor = error.floor + taken
            what = "what stays full" if len(every) > len(tables) else "biases" if taken else "the rest"
            raise InfeasibleBudget(
                f"{cls.name} needs a budget of at least {floor} bytes here ({error.floor} for the tables, "
                f"{taken} for {what}), not {limit}{task.way_out}",
                floor,
            ) from None

    def _full_bytes(self, task: Task[DataT, EncodedT, ModelT, BatchT]) -> int:
        return ledger.inference_bytes(task.components({}, self.encoded))

    def _group(self, task: Task[DataT, EncodedT, ModelT, BatchT], methods: Mapping[str, Method]) -> Group:
        if task.model.embedding_dim == 0:
            return "bias"
        if not all(method.is_full for method in methods.values()):
            return "compressed"
        return "full" if task.model.embedding_dim >= self.recipe.task.model.embedding_dim else "narrow"


def _check_names(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], rows: list[Row[DataT, EncodedT, ModelT, BatchT]], seen: list[str]
) -> None:
    for name in recipe.only:
        if name not in seen:
            raise unknown(f"row of recipe {recipe.name!r}", name, set(seen))
    for name in (name for pair in recipe.contrasts for name in pair):
        if name not in seen:
            raise unknown(f"row in a contrast of recipe {recipe.name!r}", name, set(seen))
    slugs = [row.slug for row in rows]
    if double := [row.name for row in rows if slugs.count(row.slug) > 1]:
        raise InputError(
            f"recipe {recipe.name!r}: rows {' and '.join(map(repr, double[:2]))} would have one folder; rename one"
        )


def _cases(given: RowSettings) -> Iterator[_Case]:
    """The rows that `given` stands for."""
    for budget in given.budgets:
        yield _Case(given.name if len(given.budgets) == 1 else f"{given.name} {budget}", budget)
    many = given.collisions
    for number in many:
        yield _Case(given.name if len(many) == 1 else f"{given.name} c={number}", collisions=number)
    for dim in given.embedding_dims:
        name = given.name if len(given.embedding_dims) == 1 else f"{given.name} d={dim}"
        yield _Case(name, dim=dim)
    if not given.budgets and not given.embedding_dims and not many:
        yield _Case(given.name)


def _of_dim(
    given: RowSettings, task: Task[DataT, EncodedT, ModelT, BatchT], dim: int
) -> Task[DataT, EncodedT, ModelT, BatchT]:
    return task.changed("model", {"embedding_dim": dim}, f"row {given.name!r}: model")


def _of_plan(
    given: RowSettings, task: Task[DataT, EncodedT, ModelT, BatchT], plan: Plan
) -> Task[DataT, EncodedT, ModelT, BatchT]:
    where = f"row {given.name!r}"
    task = task.changed("model", {**plan.model, "embedding_dim": plan.embedding_dim}, f"{where}: model")
    return task.changed("training", dict(plan.training), f"{where}: training") if plan.training else task


def _calibrates(given: RowSettings) -> bool:
    wanted = given.plan is not None and not isinstance(given.plan, str)
    return wanted and Planning.of(given.plan, "plan").calibrate is True
