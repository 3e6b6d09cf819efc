"""`predict`: the ledger of tables that are not built yet, from their sizes and methods alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from math import ceil
from typing import Any

import torch

from coset.errors import InputError, brief, unknown
from coset.ledger.asked import Asked, Stored, pieces_of, stored_in
from coset.ledger.book import Ledger, Line, owner_of
from coset.ledger.components import together
from coset.ledger.fused import fused_step
from coset.ledger.optimizers import EngineName, Keeps, keeps
from coset.ledger.plain import plain_step, sparse_step
from coset.schema import CHOICE, Component, Table, pairs
from coset.settings import number, of_kind, one_of, truth, whole

_DTYPES = torch.float32, torch.float64
"""Types that kernels compute in."""
_MOST_IDS = 2**40  # of a bag: more than any memory holds


def predict(
    tables: Iterable[tuple[Table, Stored]],
    features: Mapping[str, str] | None = None,
    *,
    optimizer: str | None = None,
    others: str | None = None,
    engine: EngineName = "plain",
    batch_size: int | None = None,
    ids_per_bag: float | Mapping[str, float] = 1,
    sparse: bool = False,
    orders: Collection[str] = (),
    threads: int | None = None,
) -> Ledger:
    """The bytes of the tables of one collection. It builds nothing, so it takes microseconds.

    Parameters, index state, optimizer state and an artifact's tensors are exact. What a step takes is an upper bound
    for batches of this size: as if all looked-up ids were distinct, as far as there are rows. It counts the vectors and
    their gradients; what autograd keeps of lookups; gradients of parameters, dense or sparse, or sums of gradients by
    row; the arrays in which lookups, sums and optimizers compute. It does not count ids and labels, the other layers of
    a model with all that they keep, a first batch of another size, or what torch, numba and Python take by themselves.

    Args:
        tables: each table with its method, an object such as `coset.Full()`.
        features: feature → table, as in a collection; by default every table is a feature.
        optimizer: name of the optimizer of the tables, which are counted in the form that it trains: floats where a
            storage rounds them to a few bits. Engine `"plain"`: torch's (`sgd`, `sgd_momentum`, `adagrad`, `adam`,
            `adam_amsgrad`, `adamw`, `sparse_adam`, `rmsprop` …), with torch's own choice of implementation. Engine
            `"fused"`: those of `coset.optimizers` (`sgd`, `adagrad`, `row_wise_adagrad`, `lazy_adam`, `adam`). Without
            one there are no state and no step, and tables are counted as they are stored.
        others: engine `"fused"`: name of torch's optimizer of the tables that are not composed of rows.
        engine: `"plain"` or `"fused"`.
        batch_size: bags of every feature in a step; without it, steps are not counted.
        ids_per_bag: how many ids a bag has on average, of all features or by name.
        sparse: engine `"plain"`: full tables as in `torch.nn.Embedding(sparse=True)`.
        orders: the tables that have an `order` (see `Embedding`).
        threads: that kernels run on; by default as many as torch has now.

    Raises:
        InputError: an unknown name; a method that does not fit its table; a table that the optimizer cannot train.

    Example:
        >>> from coset import Full, QuotientRemainder, Table, predict
        >>> tables = [(Table("user", 6040, 64), QuotientRemainder(120)), (Table("movie", 3706, 64), Full())]
        >>> found = predict(tables, optimizer="row_wise_adagrad", engine="fused", batch_size=1024)
        >>> found.parameters, found.optimizer, found.owners["tables.user"].parameters
        (992512, 15508, 43776)
    """
    given = pairs(tables)
    _check(given, orders, engine)
    if batch_size is not None:
        batch_size = whole("batch_size", batch_size, 1)
        if optimizer is None:
            raise InputError("a training step needs an optimizer; name one, or leave batch_size out")
    pieces = {table.name: _pieces(table, method, engine) for table, method in given}
    stored = together({table.name: _components(table, method, orders, optimizer) for table, method in given})
    chosen = None if optimizer is None else keeps(optimizer, engine)
    rest = _rest(given, pieces, others, chosen, engine)
    by_kernels = {f"tables.{name}" for name, found in pieces.items() if found}
    for component in stored:
        if component.state_rows and optimizer is not None and owner_of(component.key) not in by_kernels:
            raise InputError(
                f"{owner_of(component.key)}: kernels alone train codes without masters, where a table is composed of "
                f"rows and read in float32 or float64; name engine 'fused', or give its storage masters"
            )
        if component.state_rows and chosen is not None and chosen.steps:
            raise InputError(
                f"{owner_of(component.key)}: optimizer {optimizer!r} moves all rows in every step, and does not train "
                f"codes without masters; name 'lazy_adam', 'row_wise_adagrad', 'adagrad' or 'sgd'"
            )
    lines = tuple(
        _line(component, chosen if engine == "plain" or owner_of(component.key) in by_kernels else rest)
        for component in stored
    )
    words = {key: size for table, method in given for key, size in _words(table, method, orders)}
    about: dict[str, Any] = {"optimizer": optimizer, "others": others, "engine": engine, "batch_size": batch_size}
    if batch_size is None or chosen is None:
        return Ledger(lines, {}, words, "predicted", about)
    threads = torch.get_num_threads() if threads is None else whole("threads", threads, 1)
    asked = _asked(given, features, pieces, batch_size, ids_per_bag)
    if truth("sparse", sparse) or chosen.only_sparse:
        moments = sparse_step(asked, chosen, str(optimizer))
    elif engine == "plain":
        moments = plain_step(asked, stored, chosen)
    else:
        fused, left = [of for of in asked if of.pieces], [of for of in asked if not of.pieces]
        own = [component for component in stored if owner_of(component.key) not in by_kernels]
        by_torch = plain_step(left, own, rest or Keeps())
        moments = list(map(_added, fused_step(fused, threads, dense=chosen.steps > 0), by_torch))
        about["threads"] = threads
    return Ledger(lines, max(moments, key=lambda found: sum(found.values())), words, "predicted", about)


def _check(given: list[tuple[Table, Stored]], orders: Collection[str], engine: EngineName) -> None:
    names = [table.name for table, _ in given]
    for table, method in given:
        if not hasattr(method, "components"):
            raise InputError(f"table {table.name!r}: a method is an object such as coset.Full(), not {method!r}")
    if len(set(names)) < len(names):
        raise InputError(f"tables need distinct names, not {names}")
    of_kind("orders", orders, Collection, "the names of tables")
    if unknown_order := [name for name in orders if name not in names]:
        raise unknown("table with an order", unknown_order[0], names)
    one_of("engine", engine, ("plain", "fused"))


def _pieces(table: Table, method: Stored, engine: EngineName) -> tuple[Any, ...]:
    if engine == "plain" or table.dtype not in _DTYPES:
        return ()
    found = tuple(pieces_of(method.descriptor(table)))
    return found if all(part.storage.form is not None for piece in found for part in stored_in(piece)) else ()


def _components(table: Table, method: Stored, orders: Collection[str], optimizer: str | None) -> list[Component]:
    found = method.components(table) if optimizer is None else method.training_components(table)
    if table.name in orders:
        found = [*found, Component("order", table.num_embeddings, 0, torch.int32, "index")]
    return found


def _words(table: Table, method: Stored, orders: Collection[str]) -> Iterator[tuple[str, int]]:
    """The extra state of a table: its key and bytes."""
    yield f"tables.{table.name}.{CHOICE}", len(method.description(table, table.name in orders).encode())


def _rest(
    given: list[tuple[Table, Stored]], pieces: Mapping[str, Any], others: str | None, chosen: Keeps | None,
    engine: EngineName,
) -> Keeps | None:  # fmt: skip
    """What the optimizer of the tables that kernels cannot train keeps."""
    if others is not None:
        return keeps(others, "plain")
    left = [(table, method) for table, method in given if not pieces[table.name]]
    if engine == "fused" and chosen is not None and left:
        raise InputError(
            f"table {left[0][0].name!r}: kernels do not train {left[0][1]}, which is not composed of rows in float32 "
            f"or float64; name torch's optimizer for such tables with others="
        )
    return None


def _line(component: Component, kept: Keeps | None) -> Line:
    state = kept.bytes(component) if kept is not None and component.is_trained else 0
    return Line(
        owner_of(component.key), component.key, component.shape, component.dtype, component.kind, component.bytes, state
    )


def _asked(
    given: list[tuple[Table, Stored]], features: Mapping[str, str] | None, pieces: Mapping[str, tuple[Any, ...]],
    batch_size: int, ids_per_bag: float | Mapping[str, float],
) -> list[Asked]:  # fmt: skip
    by_name = {table.name: (table, method) for table, method in given}
    of_kind("features", features, (Mapping, type(None)), "tables by name of the feature")
    read = {name: name for name in by_name} if features is None else features
    for feature, name in read.items():
        if not isinstance(name, str) or name not in by_name:
            raise unknown(f"table (of feature {feature!r})", name, by_name)
    lengths = dict(ids_per_bag) if isinstance(ids_per_bag, Mapping) else dict.fromkeys(read, ids_per_bag)
    for feature, length in lengths.items():
        if feature not in read:
            raise unknown("feature with ids_per_bag", feature, read)
        lengths[feature] = number(f"feature {feature!r}: ids_per_bag", length)
        if not 0 <= lengths[feature] <= _MOST_IDS:
            raise InputError(f"feature {feature!r}: ids_per_bag must lie in 0 … {_MOST_IDS}, not {brief(length)}")
    return [
        Asked(*by_name[name], ceil(batch_size * lengths.get(feature, 1)), batch_size, pieces[name])
        for feature, name in read.items()
    ]


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
