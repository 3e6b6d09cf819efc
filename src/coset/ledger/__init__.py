"""The ledger: bytes of everything that tables need, predicted from choices alone and measured on real tensors.

components   bytes of what methods and modules store
optimizers   what each optimizer keeps of a parameter
book         `Ledger`: all of it, by array and by purpose
prediction   `predict`: the ledger of tables that are not built yet
fused        what a step of the fused engine takes
plain        what a step of plain torch takes
asked        what the ledger reads from methods
measuring    `measure`: the ledger of an existing model
holding      which tensors a model holds
memory       where tensors lie, so that no byte is counted twice
"""

from __future__ import annotations

from coset.ledger.book import Ledger, Line, Sums
from coset.ledger.components import bytes_by_table, components_of, inference_bytes, parameters, together
from coset.ledger.measuring import measure
from coset.ledger.optimizers import EngineName, TableOptimizerName, optimizer_bytes, table_optimizer_bytes
from coset.ledger.prediction import predict

__all__ = [
    "EngineName",
    "Ledger",
    "Line",
    "Sums",
    "TableOptimizerName",
    "bytes_by_table",
    "components_of",
    "inference_bytes",
    "measure",
    "optimizer_bytes",
    "parameters",
    "predict",
    "table_optimizer_bytes",
    "together",
]
