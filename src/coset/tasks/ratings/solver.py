"""A dot model of ratings in closed form: vectors and biases as ratings tell them, in floats or in the levels of packed
tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch

from coset.data.encoded import Encoded
from coset.errors import InputError
from coset.methods import Blocks, Full, TableModule
from coset.models.dot import DotModel
from coset.models.posterior import Posterior, Ratings, posterior
from coset.models.rounding import Blocks4, rounded
from coset.planning.numbers import BitBlocks
from coset.storage import StoredRows
from coset.storage.packed_rows import PackedRows


def ratings_of(encoded: Encoded, rows: np.ndarray, unit: float) -> Ratings:
    """Some ratings by their ids, in units of scores, in which they vary by about 1, as `posterior` assumes."""
    users, items, targets = (of.numpy()[rows] for of in (encoded.users, encoded.items, encoded.targets))
    return Ratings(
        users, items, targets.astype(np.float64) / unit, (encoded.user.num_embeddings, encoded.item.num_embeddings)
    )


@torch.no_grad()
def solve(model: DotModel, encoded: Encoded) -> None:
    """Bring a model to what its training part tells of it: dense tables to the means of `posterior`, packed ones to the
    levels of `rounded`, which are fitted to the ratings again.

    Raises:
        InputError: a model of another form, or tables that it cannot fill.
    """
    tables = _tables(model)
    arrays = [_arrays(table) for table in tables]
    packed = {isinstance(array, PackedRows) for of in arrays for array in of}
    if len(packed) > 1:
        raise InputError("training: the solver 'posterior' fills tables that are all dense or all packed, biases too")
    ratings = ratings_of(encoded, encoded.split.training, model.unit)
    found = posterior(ratings, model.settings.embedding_dim)
    assert model.mean is not None
    model.mean.fill_(found.mean)
    if packed == {True}:
        _round(ratings, found.turned(), arrays)
        return
    numbers = [*(side.vectors for side in found.sides), *(side.biases.unsqueeze(1) for side in found.sides)]
    for table, values in zip(tables, numbers, strict=True):
        table.fit_(values)


def _round(ratings: Ratings, found: Posterior, arrays: Sequence[Sequence[StoredRows]]) -> None:
    kept = [[of for of in one if isinstance(of, PackedRows)] for one in arrays]
    packings = [of.packing for one in kept for of in one]
    if len({(of.kind, of.step_dtype) for of in packings}) > 1 or packings[0].kind != "column":
        raise InputError("training: the solver 'posterior' needs steps by column, of one type in all tables")
    blocks = Blocks4(*map(_blocks, kept))
    result = rounded(ratings, found, blocks, storable=packings[0].storable)
    numbers = result.user, result.item, result.user_biases, result.item_biases
    for one, values, steps in zip(kept, numbers, result.steps, strict=True):
        begin = 0
        for array, own in zip(one, steps, strict=True):
            array.settle_(values[begin : begin + array.rows], own[own > 0])
            begin += array.rows


def _blocks(arrays: Sequence[PackedRows]) -> BitBlocks:
    ends = list(accumulate(array.rows for array in arrays))
    return BitBlocks(tuple(ends[:-1]), tuple(array.bits for array in arrays), 0, 0.0)


def _tables(model: DotModel) -> list[TableModule]:
    """The tables of users, of items, of users' biases and of items' biases."""
    if model.biases is None or model.embeddings is None or model.settings.output != "linear":
        raise InputError("training: the solver 'posterior' is for vectors beside biases, with output 'linear'")
    if model.histories is not None or model.settings.bias_ids is not None:
        raise InputError("training: the solver 'posterior' knows no history and no bias_ids; leave them out")
    both = model.user.name, model.item.name
    return [of.tables[name] for of in (model.embeddings, model.biases) for name in both]


def _arrays(table: TableModule) -> list[StoredRows]:
    """The rows of a table, block after block."""
    method = table.method
    for each in method.methods if isinstance(method, Blocks) else (method,):
        if not isinstance(each, Full):
            raise InputError(
                f"table {table.table.name!r}: the solver 'posterior' fills full tables and blocks of them, not {each!r}"
            )
    return [inner for inner in table.modules() if isinstance(inner, StoredRows)]
