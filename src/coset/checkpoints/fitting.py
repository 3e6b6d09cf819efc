"""From tables in a checkpoint to methods within a budget, and from a method to fitted arrays, in pieces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import sqrt
from typing import Any

import numpy as np
import torch

from coset.checkpoints.base import Checkpoint
from coset.checkpoints.tables import Found, OnDisk
from coset.errors import InfeasibleBudget, InputError, unknown
from coset.methods import Method, TableModule
from coset.planning.fits import METHODS, Trained, best_fits, buys_order
from coset.planning.storages import AllowedStorages
from coset.schema import Table
from coset.storage import StoredRows
from coset.storage.forms import pack_
from coset.tables import Embedding
from coset.tables.fitted import frequency_weights


@dataclass(frozen=True)
class Chosen:
    """What a table of a checkpoint becomes.

    Args:
        found: where it is.
        table: its sizes, with frequencies where these are known.
        method: that stores it.
    """

    found: Found
    table: Table
    method: Method

    @property
    def order(self) -> np.ndarray | None:
        """The rank of each id by frequency, where the method needs one that ids do not have."""
        if not (self.method.by_popularity and buys_order(self.table)):
            return None
        counts = np.asarray(self.table.frequencies, np.float64)
        found = np.empty(len(counts), np.int64)
        found[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
        return found


def choose(
    checkpoint: Checkpoint, tables: Sequence[Found], counts: Mapping[str, np.ndarray], budget: int,
    allowed: AllowedStorages, methods: Collection[str] = (),
) -> list[Chosen]:  # fmt: skip
    """The methods that come nearest to the numbers within a budget, as `compress_` chooses them. Every number is looked
    at once, to see that it is finite; errors are measured on some thousand rows of each table.

    Args:
        checkpoint: an open one.
        tables: in it.
        counts: how often ids occur, by name of the table.
        budget: bytes of all tables together.
        allowed: storages.
        methods: names of those that may be chosen, of `coset.planning.fits.METHODS`; all by default.

    Raises:
        InputError: a number that is not finite, or a method that is not fitted in pieces.
        InfeasibleBudget: the budget is below what is possible.
    """
    for name in methods:
        if name not in METHODS:
            raise unknown("method that fits a checkpoint", name, METHODS)
    sized = [(found, found.table(counts.get(found.name))) for found in tables]
    try:
        trained = [Trained(table, OnDisk(checkpoint, found.entry), may_order=True) for found, table in sized]
        best = best_fits(trained, budget, allowed, tried=frozenset(methods) or METHODS)
    except InfeasibleBudget as error:
        raise error.under(str(checkpoint.path)) from None
    except InputError as error:
        raise InputError(f"{checkpoint.path}: {error}") from None
    return [Chosen(found, table, best[table.name]) for found, table in sized]


def unfitted(chosen: Chosen) -> TableModule:
    """Its module in the stored form, on the meta device."""
    built = Embedding.from_table(chosen.table, chosen.method, order=chosen.order, device="meta")
    module: TableModule = pack_(built).tables[chosen.table.name]
    return module


def in_memory(module: TableModule) -> TableModule:
    """The same on the CPU, its arrays full of zeros."""
    module.to_empty(device="cpu")
    for inner in module.modules():
        if isinstance(inner, StoredRows):  # an order has its values again, as it was given with them
            for array in chain(inner.parameters(), inner.buffers()):
                array.detach().zero_()
    return module


def fit(checkpoint: Checkpoint, chosen: Chosen, module: TableModule) -> tuple[float, float | None]:
    """Fit a module of `in_memory` to its table.

    Returns:
        The root mean square difference of an element, each id weighted by its frequency; and its share of the root
        mean square element, None where that is 0.
    """
    vectors, weights = OnDisk(checkpoint, chosen.found.entry), frequency_weights(chosen.table.frequencies)
    order: Any = getattr(module, "order", None)
    if order is not None:
        place = torch.argsort(order.long())
        left = module.fit_from_(vectors.ordered(place), None if weights is None else weights[place])
    else:
        left = module.fit_from_(vectors, weights)
    error = sqrt(left.error)
    return error, sqrt(left.error / left.power) if left.power else (None if error else 0.0)
