"""From the words of a recipe's rows to rows that can be run: a model and a method of a size for every table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from coset import ledger
from coset.errors import InfeasibleBudget, InputError, MissingAttributes, Unsuitable, unknown
from coset.experiments.plan_choices import Calibration, Planning
from coset.experiments.planning import Plans, besides, check_optimizer, read_plan
from coset.experiments.task import Group, Recipe, Row, RowSettings, overridden
from coset.methods import Method, method_class
from coset.planning.plan import Plan
from coset.planning.uniform import uniform
from coset.sizes import budget_bytes


@dataclass(frozen=True)
class _Case:
    """One row, not yet sized."""

    name: str
    model: Any
    budget: Any = None
    collisions: int | None = None
    dim: int | None = None  # of the model, which may not have this one: only rows that run are held to it


def resolve(recipe: Any, encoded: Any, calibrated: Calibration | None = None) -> tuple[list[Row], list[str]]:
    """The rows of `recipe`, with budgets turned into sizes for the tables of `encoded`, and notes on what is
    left out: with `skip_infeasible`, rows whose budget lies below the floor of their method.

    Args:
        calibrated: measures losses of a model, for plans that want them; without it they go by what is predicted.

    Raises:
        InputError: a method that does not fit its table, two rows of one name, a budget below the floor.
    """
    plans = Plans(recipe, encoded)
    if calibrated is not None and any(_calibrates(given) for given in recipe.rows):
        _resolved(recipe, encoded, None, plans)  # what is wrong with any row is said before anything is trained
    return _resolved(recipe, encoded, calibrated, plans)


def _resolved(recipe: Any, encoded: Any, calibrated: Calibration | None, plans: Plans) -> tuple[list[Row], list[str]]:
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
                if case.dim is not None:
                    case = replace(case, model=_of_dim(given, case.model, case.dim))
                limit = (
                    None if case.budget is None else budget_bytes(case.budget, _full_bytes(recipe, case.model, encoded))
                )
                plan = (
                    None
                    if given.plan is None
                    else _planned(recipe, training, given, case, limit, encoded, calibrated, plans)
                )
                if plan is not None:
                    case = replace(case, model=_of_dim(given, case.model, plan.embedding_dim))
                    limit = plan.budget or None
                chosen = _chosen(recipe, given, case, limit, encoded) if plan is None else plan.methods
                recipe.components(case.model, chosen, encoded)  # raises where one does not fit
            except Unsuitable as error:
                if isinstance(error, MissingAttributes):
                    error = MissingAttributes(f"{error}{recipe.attributes_from}")
                if name in recipe.only or not recipe.skip_infeasible:  # what was asked for by name is not left out
                    raise error.under(f"row {name!r}") from None
                notes.append(f"left out {name}: {error}")
                continue
            except InputError as error:
                raise InputError(f"row {name!r}: {error}") from None
            group = _group(recipe, case.model, chosen)
            sized += given.sized
            rows.append(Row(name, given.note, group, case.model, chosen, training, vocabulary, limit, plan))
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
    wanted = any(given.sized for given in recipe.rows) and not recipe.only
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
        yield _Case(name, model, dim=dim)
    if not given.budgets and not given.embedding_dims and not many:
        yield _Case(given.name, model)


def _of_dim(given: RowSettings, model: Any, dim: int) -> Any:
    return overridden(model, {"embedding_dim": dim}, f"row {given.name!r}: model")


def _planned(
    recipe: Recipe, training: Any, given: RowSettings, case: _Case, limit: int | None, encoded: Any,
    calibrated: Calibration | None, plans: Plans,
) -> Plan:  # fmt: skip
    """The plan of a row: that of its file, if it is one for these tables, or the best within its budget."""
    if isinstance(given.plan, str):
        plan = read_plan(given.plan)
        check_optimizer(training, plan.optimizer)
        model = _of_dim(given, case.model, plan.embedding_dim)
        return plan.fitted(recipe.tables(model, encoded), besides(recipe, model, encoded))
    how = Planning.of(given.plan, "plan")
    assert limit is not None
    return plans.best(case.model, training, limit, how, calibrated)


def _calibrates(given: RowSettings) -> bool:
    wanted = given.plan is not None and not isinstance(given.plan, str)
    return wanted and Planning.of(given.plan, "plan").calibrate


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
    taken = _full_bytes(recipe, case.model, encoded) - sum(table.full_bytes for table in tables)
    try:
        return uniform(tables, cls, limit - taken, **fixed) if tables else {}
    except InfeasibleBudget as error:
        floor = error.floor + taken
        what = "what stays full" if len(every) > len(tables) else "biases" if taken else "the rest"
        raise InfeasibleBudget(
            f"{cls.name} needs a budget of at least {floor} bytes here ({error.floor} for the tables, "
            f"{taken} for {what}), not {limit}{recipe.way_out(case.model)}",
            floor,
        ) from None


def _full_bytes(recipe: Recipe, model: Any, encoded: Any) -> int:
    return ledger.inference_bytes(recipe.components(model, {}, encoded))


def _group(recipe: Recipe, model: Any, methods: Mapping[str, Method]) -> Group:
    if model.embedding_dim == 0:
        return "bias"
    if not all(method.is_full for method in methods.values()):
        return "compressed"
    return "full" if model.embedding_dim >= recipe.model.embedding_dim else "narrow"
