"""coset: memory-efficient embedding tables for recommender models, on PyTorch.

`Embedding` and `EmbeddingBag` are drop-ins for torch's own; a method, such as `QuotientRemainder`, says how their
table is stored. Every method is here by its class name; all names are handed on lazily.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coset.ledger import Ledger, measure, predict
    from coset.methods import Method, method, registered
    from coset.planning.compress import compress_
    from coset.planning.expand import expand_
    from coset.planning.plan import Plan
    from coset.planning.planner import plan
    from coset.schema import Component, Table
    from coset.tables import Embedding, EmbeddingBag, EmbeddingBagCollection, EmbeddingCollection

__version__ = "0.1.0"

_HOMES = {
    "Component": "schema",
    "Embedding": "tables",
    "EmbeddingBag": "tables",
    "EmbeddingBagCollection": "tables",
    "EmbeddingCollection": "tables",
    "Ledger": "ledger",
    "Method": "methods",
    "Plan": "planning.plan",
    "Table": "schema",
    "compress_": "planning.compress",
    "expand_": "planning.expand",
    "measure": "ledger",
    "method": "methods",
    "plan": "planning.planner",
    "predict": "ledger",
    "registered": "methods",
}

__all__ = [
    "Component",
    "Embedding",
    "EmbeddingBag",
    "EmbeddingBagCollection",
    "EmbeddingCollection",
    "Ledger",
    "Method",
    "Plan",
    "Table",
    "compress_",
    "expand_",
    "measure",
    "method",
    "plan",
    "predict",
    "registered",
]


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name[0].isupper():  # a method's class; only these are capitalised
        value = getattr(import_module(f"{__name__}.methods"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
