"""The planner: an embedding dim and a method for every table, with the least predicted loss within a byte budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from coset.errors import InfeasibleBudget, InputError, brief
from coset.methods import Method
from coset.methods.full import Full
from coset.methods.traffic import Traffic
from coset.planning.candidates import Allowed, Candidate, classes
from coset.planning.curves import Curve
from coset.planning.offer import Offer, Stock, rounded
from coset.planning.plan import Choice, Plan, state_bytes
from coset.planning.proxy import Proxy, losses, names_of, worth
from coset.planning.reasons import reason
from coset.planning.storages import AllowedStorages, Storages
from coset.schema import Table
from coset.settings import of_kind, whole
from coset.sizes import budget_bytes, format_size

_NARROWEST = 4  # of the dims of the model that are tried by default; narrower tables are low-rank ones
_ALIKE = 1.01  # losses this close count as equal: the narrower model is chosen, as its layers are smaller


def plan(
    tables: Sequence[Table],
    budget: int | float | str,
    *,
    methods: Sequence[str | Mapping[str, Any]] | None = None,
    embedding_dims: Sequence[int] | None = None,
    optimizer: str | None = None,
    other_bytes: int | Callable[[int], int] = 0,
    curves: Mapping[str, Curve] | None = None,
    proxy: Proxy | None = None,
    sizes: int | None = None,
    storages: Storages = (),
) -> Plan:
    """A dim for the model and a method for every table, together within `budget` and with the least predicted loss.

    For every dim, candidates of all methods are laid out along their bytes (`Method.candidates`), judged by `Proxy`
    and chosen by `knapsack.solve`. The worth of a dim of a table depends on what the others keep of it, so it chooses
    again given the choice before, and keeps the best.

    Args:
        tables: what to store, each with frequencies.
        budget: bytes of all tables, of `other_bytes` and, with an optimizer, of its state; text may have a unit;
            `"25%"` or 0.25 is a share of their sum where every table is full.
        methods: the allowed methods, by name or as a table of fixed fields, such as
            `{"method": "quotient_remainder", "operation": "add"}`; those that plan by default if None. Full tables are
            always allowed.
        embedding_dims: of the model, to choose among; by default that of the tables and its halves down to 4.
        optimizer: name of an optimizer of `coset.optimizers` whose state counts within the budget.
        other_bytes: what the model stores beside its tables, or a function that says how much at a dim.
        curves: measured ones, by table, in the place of the predicted loss (`fit_curves`); for all tables or none.
        proxy: the constants of the prediction.
        sizes: about how many of every method are tried for a table, 4 or more; by default 32, and more where there are
            few tables.
        storages: what numbers may be stored as besides the types of tables: names, such as `"packed"`, `"int8"` or
            `"bfloat16"`, or storages; none by default.

    Returns:
        A plan, whose bytes are exactly those of the tables built by it.

    Raises:
        InfeasibleBudget: even the smallest candidates are over the budget; `floor` is their bytes.
        InputError: a table without frequencies, two of one name, an unknown method.

    Example:
        >>> import numpy as np
        >>> counts = 1e6 / (1 + np.arange(100_000))
        >>> user, age = Table("user", 100_000, 16, frequencies=counts), Table("age", 7, 16, frequencies=[1] * 7)
        >>> found = plan([user, age], "1MB")
        >>> found.bytes <= 1_000_000, found.tables["age"].method
        (True, Full())
    """
    _check(curves, names_of(tables))  # checked before long work begins
    planner = Planner(
        tables, methods=methods, embedding_dims=embedding_dims, optimizer=optimizer, other_bytes=other_bytes,
        proxy=proxy, sizes=sizes, storages=storages,
    )  # fmt: skip
    return planner.plan(budget, curves)


class Planner:
    """Makes plans of the same tables within several budgets; it computes once what these have in common.

    Args:
        tables, methods, embedding_dims, optimizer, other_bytes, proxy, sizes, storages: as for
            `plan`.

    Raises:
        InputError: as `plan`.

    Example:
        >>> planner = Planner([Table("movie", 1000, 8, frequencies=[1000 // (1 + rank) for rank in range(1000)])])
        >>> [planner.plan(budget).bytes <= budget for budget in (4000, 8000)]
        [True, True]
    """

    def __init__(
        self,
        tables: Sequence[Table],
        *,
        methods: Sequence[str | Mapping[str, Any]] | None = None,
        embedding_dims: Sequence[int] | None = None,
        optimizer: str | None = None,
        other_bytes: int | Callable[[int], int] = 0,
        proxy: Proxy | None = None,
        sizes: int | None = None,
        storages: Storages = (),
    ) -> None:
        self._names = names_of(tables)
        if not tables:
            raise InputError("a plan needs at least one table")
        self._other_bytes = other_bytes if callable(other_bytes) else whole("other_bytes", other_bytes)
        sizes = _sizes(tables) if sizes is None else max(4, whole("sizes", sizes))
        if proxy is not None and not isinstance(proxy, Proxy):
            raise InputError(f"proxy must be a Proxy, not {proxy!r}")
        self._tables, self._optimizer, self._dims = tables, optimizer, _dims(tables, embedding_dims)
        self.proxy = proxy or Proxy()
        self._stock = _stocks(
            tables, classes(methods), optimizer, self.proxy, sizes, storages=AllowedStorages(storages)
        )

    @property
    def worth(self) -> float:
        """What full tables of unlimited dim are worth (`proxy.worth`); a plan is worth 1 less its loss of that, where
        no curves were given."""
        stock = self._stock(self._dims[0])
        return worth({name: judge.unlimited for name, judge in stock.judges.items()}, stock.spectrum)

    def plan(self, budget: int | float | str, curves: Mapping[str, Curve] | None = None) -> Plan:
        """What `plan` gives for this budget and these curves."""
        _check(curves, self._names)
        limit = budget_bytes(budget, _full_bytes(self._tables, self._other_bytes, self._optimizer))
        best: tuple[float, Plan] | None = None
        floors: dict[int, tuple[int, dict[str, int]]] = {}
        for dim in self._dims:
            other = self._other_bytes(dim) if callable(self._other_bytes) else self._other_bytes
            stock = self._stock(dim)
            offer = Offer(stock, limit - other, curves)
            if best is not None and offer.full_loss() > best[0] * _ALIKE:
                break  # and so would any narrower model
            chosen = offer.choose()
            if chosen is None:
                smallest = offer.floors()
                floors[other + sum(smallest.values())] = other, smallest
                continue
            loss = sum(offer.losses(chosen).values())
            if best is None or loss <= best[0] * _ALIKE:
                found = _planned(stock.tables, offer, chosen, dim, limit, other, self._optimizer)
                best = min(loss, best[0] if best else loss), found
        if best is None:
            floor = min(floors)
            raise infeasible(limit, *floors[floor])
        return best[1]


def _stocks(
    tables: Sequence[Table],
    allowed: Allowed,
    optimizer: str | None,
    proxy: Proxy,
    sizes: int,
    together: bool = True,
    storages: AllowedStorages | None = None,
) -> Callable[[int | None], Stock]:
    """The candidates for tables at a dim of the model, or at None, with each table at its own dim."""
    traffic = {table.name: Traffic.of(table) for table in tables}
    judges = {name: proxy.judge(found, len(tables)) for name, found in traffic.items()}

    @cache
    def at(dim: int | None) -> Stock:
        wide = tables if dim is None else [table.of_dim(dim) for table in tables]
        return Stock(wide, traffic, judges, allowed, optimizer, proxy.spectrum, sizes, together, storages)

    return at


def methods_within(
    tables: Sequence[Table], budget: int, other_bytes: int = 0, together: bool = False
) -> dict[str, Method]:
    """What `plan` would choose if every table kept its own dim, which may differ from table to table: for existing
    models.

    Args:
        tables: what to store, each with frequencies.
        budget: for all of them and `other_bytes`.
        together: whether the model is known to multiply their vectors, as `plan` assumes, so that the worth of a dim
            depends on what the others keep of it; else every table is judged by itself.

    Raises:
        InfeasibleBudget: as `plan`.

    Example:
        >>> import numpy as np
        >>> counts = 1e6 / (1 + np.arange(10_000))
        >>> tables = [Table("rows", 10_000, 16, frequencies=counts), Table("bias", 10_000, 1, frequencies=counts)]
        >>> methods_within(tables, 200_000)["bias"]
        Full()
    """
    names = names_of(tables)
    stock = _stocks(tables, classes(None), None, Proxy(), _sizes(tables), together)(None)
    offer = Offer(stock, budget - other_bytes)
    if (chosen := offer.choose()) is None:
        raise infeasible(budget, other_bytes, offer.floors())
    return {name: chosen[name].method for name in names}


def predicted_losses(
    tables: Sequence[Table], methods: Mapping[str, Method], proxy: Proxy | None = None
) -> dict[str, float]:
    """The predicted loss of every table against full ones of unlimited dim: plans minimise it, and curves are fitted to
    it (`Point`).

    Args:
        tables: each with frequencies.
        methods: by table; full for those not named.
        proxy: as for `plan`.

    Example:
        >>> from coset.methods.low_rank import LowRank
        >>> tables = [Table("user", 50, 8, frequencies=[9] * 50), Table("movie", 20, 8, frequencies=[22] * 20)]
        >>> {name: round(loss, 3) for name, loss in predicted_losses(tables, {"user": LowRank(2)}).items()}
        {'user': 0.108, 'movie': 0.001}
    """
    proxy = proxy or Proxy()
    names_of(tables)
    judges = {table.name: proxy.judge(Traffic.of(table), len(tables)) for table in tables}
    kept = {
        table.name: judges[table.name].kept(one := methods.get(table.name, Full()), table, one.descriptor(table)).dims
        for table in tables
    }
    return losses(kept, {name: judge.unlimited for name, judge in judges.items()}, proxy.spectrum)


def _sizes(tables: Sequence[Table]) -> int:
    """How many sizes of every method are tried by default."""
    return min(96, max(32, 400 // len(tables)))


def _full_bytes(tables: Sequence[Table], other_bytes: int | Callable[[int], int], optimizer: str | None) -> int:
    """The bytes that a budget may be a share of."""
    components = [component for table in tables for component in Full().components(table)]
    other = other_bytes(max(table.embedding_dim for table in tables)) if callable(other_bytes) else other_bytes
    return sum(table.full_bytes for table in tables) + state_bytes(components, optimizer) + other


def infeasible(limit: int, other: int, smallest: Mapping[str, int]) -> InfeasibleBudget:
    """The error for a budget below the smallest candidates of all tables, by name, and the bytes beside them."""
    floor = other + sum(smallest.values())
    name, most = max(smallest.items(), key=lambda item: item[1])
    beside = f"{other} of them beside the tables, " if other else ""
    return InfeasibleBudget(
        f"the smallest plan for these tables takes {format_size(floor)} ({floor} bytes, {beside}{most} for the "
        f"largest, table {name!r}), but the budget is {limit} bytes",
        floor,
    )


def _check(curves: Any, names: Sequence[str]) -> None:
    of_kind("curves", curves, (Mapping, type(None)), "a Curve by name of the table")
    for name, curve in (curves or {}).items():
        if not callable(curve):
            raise InputError(f"table {name!r}: its curve must be a Curve, not {curve!r}")
    for name in names:
        if curves is not None and name not in curves:
            raise InputError(f"table {name!r}: it has no measured curve; measure all tables, or none")


def _dims(tables: Sequence[Table], given: Sequence[int] | None) -> list[int]:
    """Dims of the model to try, the widest first."""
    if given is not None:
        if isinstance(given, str | bytes) or not isinstance(given, Sequence) or not given:
            raise InputError(f"embedding_dims must be a list of whole numbers of 1 or more, not {brief(given)}")
        return sorted({whole("every one of embedding_dims", dim, 1) for dim in given}, reverse=True)
    widest = max(table.embedding_dim for table in tables)
    dims = [widest]
    while dims[-1] % 2 == 0 and dims[-1] // 2 >= _NARROWEST:
        dims.append(dims[-1] // 2)
    return dims


def _planned(
    tables: Sequence[Table], offer: Offer, chosen: Mapping[str, Candidate], dim: int, limit: int, other: int,
    optimizer: str | None,
) -> Plan:  # fmt: skip
    """The plan of a choice."""
    found = offer.losses(chosen)
    said = {}
    for table in tables:
        one, loss, instead = chosen[table.name], found[table.name], offer.instead(table.name, chosen)
        why = reason(table, one.method, one.bytes, loss, instead, offer.measured)
        said[table.name] = Choice(table.num_embeddings, one.method, one.bytes, rounded(loss), why, instead)
    size, weight = sum(one.bytes for one in chosen.values()), sum(one.weight for one in chosen.values())
    return Plan(dim, limit, said, weight + other, other, optimizer, weight - size, rounded(sum(found.values())))
