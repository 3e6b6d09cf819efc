"""coset: memory-efficient embedding tables for recommender models, on PyTorch.

`Embedding` and `EmbeddingBag` are drop-ins for torch's own; a method, such as `QuotientRemainder`, says how their
table is stored. Every method is here by its class name; all names load lazily.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coset.lazy import handing_on

if TYPE_CHECKING:
    from coset import artifact as artifact
    from coset import data as data
    from coset import ledger as ledger
    from coset import methods as methods
    from coset import models as models
    from coset import optimizers as optimizers
    from coset import planning as planning
    from coset import storage as storage
    from coset import tables as tables
    from coset import testing as testing
    from coset.artifact import load_artifact
    from coset.checkpoints import load_compressed
    from coset.errors import InfeasibleBudget, InputError
    from coset.ledger import Ledger, measure, predict
    from coset.methods import Method, method, registered
    from coset.models import DCN, DLRM, DotModel
    from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad
    from coset.planning.compress import compress_
    from coset.planning.expand import expand_
    from coset.planning.plan import Plan
    from coset.planning.planner import plan
    from coset.schema import Component, Table
    from coset.storage import Dense, Packed, Storage, pack_, unpack_
    from coset.tables import Embedding, EmbeddingBag, EmbeddingBagCollection, EmbeddingCollection

__version__ = "0.2.0"

__all__ = [
    "DCN",
    "DLRM",
    "SGD",
    "Adagrad",
    "Adam",
    "Component",
    "Dense",
    "DotModel",
    "Embedding",
    "EmbeddingBag",
    "EmbeddingBagCollection",
    "EmbeddingCollection",
    "InfeasibleBudget",
    "InputError",
    "Ledger",
    "Method",
    "Packed",
    "Plan",
    "RowWiseAdagrad",
    "Storage",
    "Table",
    "compress_",
    "expand_",
    "load_artifact",
    "load_compressed",
    "measure",
    "method",
    "pack_",
    "plan",
    "predict",
    "registered",
    "unpack_",
]

# -- made by `make docs` of the registered methods --
if TYPE_CHECKING:
    from coset.methods import (
        AttributePartitions,
        Blocks,
        Bloom,
        ChineseRemainder,
        DeepHash,
        FeatureGeneration,
        Full,
        GeneralizedQuotientRemainder,
        HashEmbedding,
        Hashing,
        LowRank,
        MixedDimension,
        PathBased,
        QuotientRemainder,
        Robe,
        TensorTrain,
    )

__all__ += [
    "AttributePartitions",
    "Blocks",
    "Bloom",
    "ChineseRemainder",
    "DeepHash",
    "FeatureGeneration",
    "Full",
    "GeneralizedQuotientRemainder",
    "HashEmbedding",
    "Hashing",
    "LowRank",
    "MixedDimension",
    "PathBased",
    "QuotientRemainder",
    "Robe",
    "TensorTrain",
]
# -- end --

_ROOMS = ("artifact", "data", "ledger", "methods", "models", "optimizers", "planning", "storage", "tables", "testing")
_HOMES = dict.fromkeys(__all__, "methods") | {
    "Adagrad": "optimizers",
    "Adam": "optimizers",
    "Component": "schema",
    "DCN": "models",
    "DLRM": "models",
    "Dense": "storage",
    "DotModel": "models",
    "Embedding": "tables",
    "EmbeddingBag": "tables",
    "EmbeddingBagCollection": "tables",
    "EmbeddingCollection": "tables",
    "InfeasibleBudget": "errors",
    "InputError": "errors",
    "Ledger": "ledger",
    "Packed": "storage",
    "Plan": "planning.plan",
    "RowWiseAdagrad": "optimizers",
    "SGD": "optimizers",
    "Storage": "storage",
    "Table": "schema",
    "compress_": "planning.compress",
    "expand_": "planning.expand",
    "load_artifact": "artifact",
    "load_compressed": "checkpoints",
    "measure": "ledger",
    "pack_": "storage",
    "plan": "planning.planner",
    "predict": "ledger",
    "unpack_": "storage",
    **dict.fromkeys(_ROOMS, ""),
}


def _method_of_another_package(name: str) -> Any:
    if name[0].isupper():  # only classes of methods are capitalised
        from coset import methods

        found = getattr(methods, name, None)
        if found is not None:
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:  # to a type checker, only the names above are there
    __getattr__, __dir__ = handing_on(__name__, _HOMES, _method_of_another_package)
