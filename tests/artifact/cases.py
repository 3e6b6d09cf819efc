"""Models of ratings that nobody trained, by any method and storage, and their artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coset import ledger
from coset.artifact.writing import write_artifact
from coset.data.settings import DataSettings
from coset.data.vocabulary import Vocabulary
from coset.methods import Method, registered
from coset.models.dot import DotModel, DotSettings
from coset.models.history import Histories
from coset.schema import Table
from coset.storage import Dense, Packed, Storage
from coset.storage.forms import pack_
from coset.tasks.ratings.served import served

USERS, ITEMS, DIM = 23, 57, 8
STORAGES: dict[str, Storage] = {
    "as the table": Dense(), "float64": Dense("float64"), "float16": Dense("float16"), "bfloat16": Dense("bfloat16"),
    "8 bits by column": Packed(8), "8 bits by row": Packed(8, step="row", step_dtype="float16", masters=False),
    "5 bits by array": Packed(5, step="array"), "4 bits by row": Packed(4, step="row", padded=True),
    "3 bits by block": Packed(3, step="block", block=3, step_dtype="float16"), "2 bits": Packed(2),
    "1 bit by row": Packed(1, step="row"), "no bits": Packed(0),
}  # fmt: skip
FACTS: dict[str, Any] = {
    "title": "made up", "task": "ratings",
    "scores": {
        "seed": 0, "seeds": [0], "spread": None, "rows": {"training": 1, "validation": 1}, "metrics": {"val_mse": 1.0},
    },
    "data": {"dataset": "made up", "columns": {}, "licence": None, "fingerprint": {"rows": 2}},
}  # fmt: skip


def table(name: str, n: int, dim: int = DIM) -> Table:
    """A table whose ids have attributes, which tell them apart together."""
    ids = np.arange(n)
    return Table(name, n, dim, std=0.5, attributes={"make": ids // 8, "year.of": ids * 3 % 8})


def vocabulary(name: str, n: int, kind: str = "numbers", unseen: str = "error") -> Vocabulary:
    """Raw ids in no order."""
    draw = np.random.default_rng(n)
    own = n - (unseen == "shared")
    numbers = draw.permutation(own * 7)[:own] - 9
    values: Any = numbers if kind == "numbers" else np.array([f"ä{number}" for number in numbers], object)
    return Vocabulary(name, values, np.zeros(n, np.int64), unseen)  # type: ignore[arg-type]


def model_of(methods: Mapping[str, Any], seed: int = 0, history: bool = False, **choices: Any) -> DotModel:
    """A dot model of random values, in its stored form."""
    fields: dict[str, Any] = {"embedding_dim": DIM, "biases": True, "output": "linear", "low": 1.0, "high": 5.0}
    chosen = DotSettings(**(fields | choices), history=5 if history else 0)
    draw = np.random.default_rng(seed)
    pairs = draw.integers(0, USERS - 1, 150), draw.integers(0, ITEMS, 150)
    rated = Histories.of(*pairs, users_in_all=USERS, most=5) if history else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DotModel(table("user", USERS), table("item", ITEMS), methods, chosen, 3.5, rated)
        if model.biases is not None:
            for of in model.biases.tables._modules.values():
                of.reset_parameters()  # type: ignore[union-attr, operator]
    return pack_(model).eval()


def variants(name: str) -> list[Method]:
    """Every variant of every method, with the storage of that name; or, of storages that read their rows like another
    one, the first of three methods."""
    every = [method for kind in registered().values() for method in kind.examples(table("item", ITEMS))]
    if name not in ("as the table", "8 bits by column", "3 bits by block"):
        firsts = {method.name: method for method in reversed(every)}
        every = [firsts[name] for name in ("full", "quotient_remainder", "tensor_train")]
    return [replace(method, storage=STORAGES[name]) for method in every]


def write(folder: Path, model: DotModel, kind: str = "numbers", unseen: str = "error", **data: Any) -> dict[str, Any]:
    """Its artifact."""
    ids = vocabulary("user", USERS, kind, unseen), vocabulary("item", ITEMS, kind, unseen)
    of = served(model, DataSettings("made up", **data), ids)
    return write_artifact(folder, model, of, FACTS, ledger.inference_bytes(model.components()))
