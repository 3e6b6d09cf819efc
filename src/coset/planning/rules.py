"""The forms of a plan for any model: a `Plan`, rules by name and pattern, one method, or a byte budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from coset.errors import InfeasibleBudget, InputError, brief, unknown
from coset.methods import Method, method
from coset.methods.full import Full
from coset.methods.low_rank import LowRank
from coset.planning.fits import Trained, best_fits
from coset.planning.plan import Choice, Plan
from coset.planning.planner import methods_within
from coset.planning.sites import Site, first_of_weights, named
from coset.planning.storages import AllowedStorages
from coset.planning.uniform import uniform
from coset.schema import Table
from coset.settings import scalar
from coset.sizes import budget_bytes

PlanLike = Plan | Mapping[str, Any] | Method | str | int | float | Callable[[Table], Method]


def methods_of(
    plan: PlanLike, model: nn.Module, tables: Mapping[str, tuple[Site, Table]], small: Set[str], left: Sequence[Site],
    allowed: AllowedStorages,
) -> dict[str, Method]:  # fmt: skip
    """The method of each table, by the name of its module; tables that the plan does not name are left out.

    Args:
        plan: see `coset.compress_`.
        tables: the modules that may be compressed, and their tables, by name of the module.
        small: the modules that stay full.
        left: modules that are left as they are.
        allowed: storages that a budget may choose from.

    Raises:
        InputError: a name that is no module, a size that is not its table's, or a method that does not fit it.
    """
    if isinstance(plan, Plan):
        return _of_plan(plan, tables, small, left)
    if isinstance(plan, Mapping) and "method" not in plan:
        return _of_rules(plan, model, tables, small, left)
    if is_budget(plan):
        return _of_budget(plan, tables, small, allowed)
    return {name: _made(plan, name, table) for name, (_, table) in tables.items() if name not in small}


def within(tables: Sequence[Table], budget: int, other_bytes: int = 0, together: bool = False) -> dict[str, Method]:
    """Methods for the tables of an existing model, which keep their dims: those of the planner, or without frequencies,
    low rank that gives every table the same share.

    Args:
        tables: what to store.
        budget: for all of them and `other_bytes`.
        together: see `methods_within`.

    Raises:
        InfeasibleBudget: the budget is below what is feasible.
        InputError: some tables have frequencies and some have none.
    """
    if _know_frequencies(tables):
        return methods_within(tables, budget, other_bytes, together)
    try:
        return uniform(tables, LowRank, max(0, budget - other_bytes))
    except InfeasibleBudget as error:
        raise InfeasibleBudget(str(error), error.floor + other_bytes) from None


def _know_frequencies(tables: Sequence[Table]) -> bool:
    """Whether tables have frequencies, after a check that all have or none has."""
    known = [table for table in tables if table.frequencies is not None and table.frequencies.any()]
    if known and len(known) < len(tables):
        without = next(table.name for table in tables if table not in known)
        raise InputError(
            f"table {without.replace('/', '.')!r}: a budget is planned by frequencies, which {known[0].name!r} has and "
            "this table does not; give them for every table, or for none"
        )
    return bool(known)


def is_budget(plan: Any) -> bool:
    """Whether this is a number of bytes or a share, or text that begins with a digit or ends as a share does."""
    found = scalar(plan)
    return (isinstance(found, int | float) and not isinstance(found, bool)) or (
        isinstance(found, str) and (found.strip()[:1] in set("0123456789.-+") or found.strip()[-1:] == "%")
    )


def _of_plan(
    plan: Plan, tables: Mapping[str, tuple[Site, Table]], small: Set[str], left: Sequence[Site]
) -> dict[str, Method]:
    """A plan names tables by their modules, with dots or with slashes."""
    alone = {site.table_name for site in left}
    given = {name.replace(".", "/"): choice for name, choice in plan.tables.items()}
    given = {name: choice for name, choice in given.items() if name not in alone}
    known = {site.table_name: name for name, (site, _) in tables.items()}
    for name in (*given, *plan.beside):
        if name not in known or name in plan.beside:
            raise unknown("module of the plan", name.replace("/", "."), list(tables))
    first = first_of_weights([site for site, _ in tables.values()])
    for name, of in known.items():
        if name not in given and first[of] == of:
            raise InputError(
                f"module {of!r}: the plan has no method for it; plan it too, or leave it as it is (leave=)"
            )
    if not given:
        return {}
    whole = {name: Choice(0, Full()) if known[name] in small else choice for name, choice in given.items()}
    fitted = replace(plan, tables=whole).fitted([table for _, table in tables.values() if table.name in given])
    found = {known[name]: of for name, of in fitted.methods.items()}
    return {name: found[name if name in found else first[name]] for name in tables}


def _of_rules(
    rules: Mapping[str, Any],
    model: nn.Module,
    tables: Mapping[str, tuple[Site, Table]],
    small: Set[str],
    left: Sequence[Site],
) -> dict[str, Method]:
    """An exact name comes before patterns; of these, the first that matches counts."""
    sites = [site for site, _ in tables.values()]
    exact: dict[str, Any] = {}
    patterns: dict[str, Any] = {}
    for key, rule in rules.items():
        if not isinstance(key, str):
            raise InputError(f"a rule is for the name of a module or a pattern, not for {key!r}")
        if site := named(model, [*sites, *left], key):
            if site.name in exact and exact[site.name] != rule:
                raise InputError(f"module {site.name!r}: two rules match it, under two of its names; give one")
            exact[site.name] = rule
        elif set(key) & set("*?["):
            patterns[key] = rule
        else:
            raise unknown("module with a table", key, list(tables))
    found: dict[str, Method] = {}
    for name, (site, table) in tables.items():
        ways = [place.name for place in site.places]
        matching = (rule for key, rule in patterns.items() if any(fnmatchcase(way, key) for way in ways))
        rule = exact[name] if name in exact else next(matching, None)
        if rule is not None and name not in small:
            found[name] = _made(rule, name, table)
    for key in patterns:
        if not any(fnmatchcase(place.name, key) for site in (*sites, *left) for place in site.places):
            raise unknown("module with a table that matches", key, list(tables))
    return found


def _of_budget(
    budget: Any, tables: Mapping[str, tuple[Site, Table]], small: Set[str], allowed: AllowedStorages
) -> dict[str, Method]:
    """Those that fit the weights best or, where nothing but floats is allowed, the methods of `within`. Small tables
    take their bytes first, and a tied weight counts once."""
    first = first_of_weights([site for site, _ in tables.values()])
    whole = {name: tables[name][1] for name in tables if first[name] == name}
    full = sum(table.full_bytes for table in whole.values())
    left = budget_bytes(budget, full)
    if left >= full:
        return {}
    kept = sum(table.full_bytes for name, table in whole.items() if name in small)
    going = [table for name, table in whole.items() if name not in small]
    if not going and kept > left:
        raise InfeasibleBudget(
            f"the small tables of this model stay full and take {kept} bytes, more than the budget leaves them, {left}",
            kept,
        )
    try:
        if not going:
            found: Mapping[str, Method] = {}
        elif not is_measured(budget, tables, allowed):
            found = within(going, left, kept)
        else:
            _know_frequencies(going)
            found = best_fits([_trained(table, tables) for table in going], left, allowed, kept)
    except InfeasibleBudget as error:
        raise error.under("the tables of this model") from None
    return {name: found[whole[first[name]].name] for name in tables if first[name] not in small}


def is_measured(plan: Any, tables: Mapping[str, tuple[Site, Table]], allowed: AllowedStorages) -> bool:
    """Whether a budget is one for bits that fit the weights best, in which blocks of ids in no order of popularity have
    an order."""
    return is_budget(plan) and not allowed.floats_alone and not any(of.weight.is_meta for of, _ in tables.values())


def _trained(table: Table, tables: Mapping[str, tuple[Site, Table]]) -> Trained:
    """The weight of a table, without the row of its padding if all modules that hold it have the same."""
    sites = [site for site, own in tables.values() if own.name == table.name]
    alike = [site for site, _ in tables.values() if site.weight is sites[0].weight]
    paddings = {getattr(site.module, "padding_idx", None) for site in alike}
    try:
        return Trained(table, sites[0].weight, skipped=paddings.pop() if len(paddings) == 1 else None, may_order=True)
    except InputError as error:
        raise InputError(f"module {sites[0].name!r}: {error}") from None


def _made(rule: Any, name: str, table: Table) -> Method:
    try:
        chosen = rule(table) if callable(rule) and not isinstance(rule, type) else rule
        made = method(chosen)
        made.check(table)
    except InputError as error:
        raise InputError(f"module {name!r}: {error}") from None
    return made


def apart(every: Sequence[Site], leave: Sequence[str]) -> tuple[list[Site], list[Site]]:
    """The sites that may be swapped, and those that names or patterns in `leave` match.

    Raises:
        InputError: a name or pattern that matches none.
    """
    if isinstance(leave, str) or not isinstance(leave, Sequence) or not all(isinstance(name, str) for name in leave):
        raise InputError(f"leave must be a list of names or patterns of modules, not {brief(leave)}")
    for pattern in leave:
        if not any(_is_about(pattern, site) for site in every):
            raise unknown("module to leave as it is", pattern, [site.name for site in every])
    left = [site for site in every if any(_is_about(pattern, site) for pattern in leave)]
    return [site for site in every if site not in left], left


def _is_about(pattern: str, site: Site) -> bool:
    return any(fnmatchcase(place.name, pattern) for place in site.places)
