"""What kernels leave to torch: lookups as an engine is asked for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from coset.engine.base import Lookup
from coset.tables.bags import Bags, Mode, check_offsets
from coset.tables.owner import Tables, checked, or_nan
from coset.tables.pooling import pool


def by_torch(tables: Tables, names: Sequence[str], asked: Sequence[Lookup] | Tensor, joined: bool) -> Tensor:
    """What `Engine.look_up` returns, and its errors.

    Args:
        tables: that are read.
        names: of the table of each feature.
        asked, joined: see `coset.engine.base.Engine`.
    """
    lookups = [Lookup(at, ids) for at, ids in enumerate(asked.unbind())] if isinstance(asked, Tensor) else asked
    found = [_vectors(tables, names[lookup.feature], lookup).flatten(1) for lookup in lookups]
    return torch.cat(found, 1) if joined else torch.cat([each.flatten() for each in found])


def _vectors(tables: Tables, name: str, of: Lookup) -> Tensor:
    """Those of one lookup, shape `(bags, *vector_shape)`."""
    module: Any = tables.tables[name]
    if of.offsets is not None:
        check_offsets(module.table, of.values, of.offsets, not of.is_open)
    ids, inside = checked(module.table, of.values)
    vectors = module.lookup(tables._rows_of(name, ids))
    if of.offsets is None:
        return or_nan(vectors, inside)
    mode: Mode = "mean" if of.mean else "sum"
    return pool(vectors, Bags(ids, of.offsets.long(), not of.is_open), mode, weights=of.weights, inside=inside)
