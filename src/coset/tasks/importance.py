"""What an error in the vectors of a table costs a model, by column: measured on training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from coset.methods import TableModule
from coset.tasks.base import Task
from coset.tasks.settings import Order
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT

_ROWS, _BATCH = 16_384, 1024


def importance(
    task: Task[DataT, EncodedT, ModelT, BatchT], model: ModelT, encoded: EncodedT, tables: Mapping[str, TableModule]
) -> dict[str, Tensor]:
    """What the mean square error of each column costs, in units that all tables have in common.

    Errors e of the vectors that a row of data looks up raise its loss by about ½ Σ e² L'' (∂ŷ/∂v)², as first
    derivatives are 0 on average where a model is trained. Of a likelihood the mean of L'' (∂ŷ/∂v)² is that of the
    squared gradient (Fisher information), and of a squared error it is in proportion; so squared gradients are summed,
    each row's own, without penalties (LeCun, Denker and Solla, 1990, "Optimal brain damage").

    Args:
        task: of the model.
        model: trained; it is not changed.
        encoded: the data; some thousands of training rows are read.
        tables: modules of the model, by name.

    Returns:
        Half the sum of squares over the lookups of a row, by table, shape `(embedding_dim,)`, float64.
    """
    plain = task.having("training", replace(task.training, l2=0.0, ridge=0.0, bias_ridge=()))
    part = plain.part(encoded, "training")
    found = {name: torch.zeros(of.table.embedding_dim, dtype=torch.float64) for name, of in tables.items()}
    rows, was_training = 0, model.training
    model.train()
    try:
        for batch in islice(part.batches(_BATCH, Order(0, 0)), _ROWS // _BATCH):
            with _leaves(tables) as looked_up, torch.enable_grad():
                plain.loss(model, batch, plain.running()).backward()
            rows += len(batch)
            for name, leaves in looked_up.items():
                for leaf in leaves:
                    if leaf.grad is not None:
                        each = (leaf.grad.double() * len(batch)).square()
                        found[name] += each.reshape(-1, each.shape[-1]).sum(0).cpu() / 2
    finally:
        model.train(was_training)
        model.zero_grad(set_to_none=True)
    return {name: sums / max(1, rows) for name, sums in found.items()}


@contextmanager
def _leaves(tables: Mapping[str, TableModule]) -> Iterator[dict[str, list[Tensor]]]:
    """What is looked up meanwhile, as leaves of the graph, by table."""
    found: dict[str, list[Tensor]] = {name: [] for name in tables}

    def cut(name: str, module: TableModule) -> None:
        own = module.lookup

        def lookup(ids: Tensor) -> Tensor:
            with torch.no_grad():
                vectors = own(ids)
            leaf = vectors.detach().requires_grad_()
            found[name].append(leaf)
            return leaf

        module.lookup = lookup  # type: ignore[method-assign]

    for name, module in tables.items():
        cut(name, module)
    try:
        yield found
    finally:
        for module in tables.values():
            del module.lookup  # the instance's, so that the class's own is found again
