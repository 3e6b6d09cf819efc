"""A model of ratings as an artifact holds it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from coset import settings
from coset.data.settings import DataSettings
from coset.data.shards import is_given
from coset.data.transforms import transform_named
from coset.data.vocabulary import Vocabulary
from coset.documents import Json
from coset.errors import InputError
from coset.files import expanded
from coset.methods import Method
from coset.models.dot import DotModel, DotSettings, bias_table, rated_table
from coset.models.history import Histories, HistorySizes
from coset.schema import Table
from coset.tasks.served import Served

ROLES = ("user", "item", "rating", "time")
"""Columns of ratings that a user may name."""


def served(model: DotModel, data: DataSettings, vocabularies: tuple[Vocabulary, Vocabulary]) -> Served:
    """A dot model.

    Raises:
        InputError: two tables would have one name, or the ratings have a transform whose inverse has no name.
    """
    tables: dict[str, str] = {}
    sides: Json = {}
    for role, table, vocabulary in zip(("user", "item"), (model.user, model.item), vocabularies, strict=True):
        sides[role] = {"vocabulary": vocabulary.name, "table": None, "bias": None}
        if model.embeddings is not None:
            sides[role]["table"] = _named(tables, table.name, f"embeddings.tables.{table.name}")
        if model.biases is not None:
            sides[role]["bias"] = _named(tables, bias_table(table), f"biases.tables.{table.name}")
    history = None
    if model.histories is not None:
        rated = rated_table(model.item).name
        history = {
            "table": _named(tables, rated, f"embeddings.tables.{rated}"),
            "ends": "histories.ends",
            "steps": "histories.steps",
            "sizes": asdict(model.histories.sizes),
        }
    inverse = None
    if data.rating_transform is not None:
        inverse = transform_named(data.rating_transform).inverse
        if inverse is None:
            raise InputError(
                f"the ratings have the transform {data.rating_transform!r}, whose inverse has no name that other "
                f"programs know; train without it"
            )
    of: Json = {
        "kind": "dot", **sides, "history": history, "mean": None if model.mean is None else "mean",
        "output": model.settings.output, "unit": model.unit, "low": model.low, "high": model.high,
        "inverse": inverse,
    }  # fmt: skip
    columns = {role: named for role in ROLES if (named := getattr(data, role)) is not None}
    source = expanded(data.source).name if is_given(expanded(data.source)) else data.source.rpartition("/")[2]
    return Served(of, tables, {each.name: each for each in vocabularies}, {"dataset": source, "columns": columns})


def revived(model: Json, tables: Mapping[str, tuple[Table, Method]]) -> DotModel:
    """The dot model, fresh.

    Args:
        model, tables: see `Task.revived`.

    Raises:
        InputError: tables and choices do not fit each other.
    """
    user, item = (_side(model[role], tables) for role in ("user", "item"))
    methods: dict[str, Method] = {}
    for role, table in (("user", user), ("item", item)):
        if (name := model[role]["table"]) is not None:
            methods[table.name] = tables[name][1]
        if (name := model[role]["bias"]) is not None:
            methods[bias_table(table)] = tables[name][1]
    histories = None
    if (history := model["history"]) is not None:
        methods[rated_table(item).name] = tables[history["table"]][1]
        histories = Histories(settings.make(HistorySizes, history["sizes"], "history"))
    chosen = DotSettings(
        embedding_dim=0 if model["user"]["table"] is None else user.embedding_dim,
        biases=model["user"]["bias"] is not None, output=model["output"], low=model["low"], high=model["high"],
        history=int(history is not None),
    )  # fmt: skip
    found = DotModel(user, item, methods, chosen, 0.0, histories)
    if found.unit != model["unit"]:
        raise InputError(f"the unit of the model is {model['unit']}, and its range makes it {found.unit}")
    return found


def _side(of: Json, tables: Mapping[str, tuple[Table, Method]]) -> Table:
    if of["table"] is not None:
        return tables[of["table"]][0]
    return tables[of["bias"]][0]


def _named(tables: dict[str, Any], name: str, path: str) -> str:
    """The name of a table, which is entered with its path."""
    if name in tables:
        raise InputError(f"two tables of the model are called {name!r}; rename a column of the ratings")
    tables[name] = path
    return name
