"""A plan: an `embedding_dim` and one method per table under one byte budget, as JSON that people read and edit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from coset import settings
from coset.errors import InputError, brief, unknown
from coset.files import path_of, read_json, write_json
from coset.ledger import TableOptimizerName, bytes_by_table, table_optimizer_bytes, together
from coset.methods import Method, method
from coset.schema import Component, Table
from coset.sizes import format_size, parse_size

PLAN_SCHEMA = 1


@dataclass(frozen=True)
class Alternative:
    """The next best candidate for a table.

    Args:
        method: of the table.
        bytes: of the table.
        loss: predicted, in the units of `Choice.loss`.
    """

    method: Method
    bytes: int
    loss: float


@dataclass(frozen=True)
class Choice:
    """The choice of a plan for one table.

    Args:
        num_embeddings: number of ids of the table; 0 where a plan written by hand leaves it out.
        method: that stores the table.
        bytes: of the table; an array shared with other tables counts for the first of them.
        loss: the table's part of the predicted loss of the plan; in units of the metric, where curves were measured;
            None where a person chose the method.
        why: one sentence with numbers.
        instead: the next best candidate, if there is one.
        digest: of the method that `loss`, `why` and `instead` are about; by default, of `method`.
    """

    num_embeddings: int
    method: Method
    bytes: int = 0
    loss: float | None = None
    why: str = ""
    instead: Alternative | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        settings.check(self, "plan of a table")
        if self.digest is None:
            object.__setattr__(self, "digest", _digest(self.method))


@dataclass(frozen=True)
class Prediction:
    """What the model of a plan is predicted to reach, by a calibration on its data.

    Args:
        metric: the label of the score.
        better: the direction of the score.
        alone: the score of biases alone, where the calibration measured it; None for models that need tables.
        gain: by how much the plan is predicted to be better than that.
        error: half the width of the 95 % interval of `gain`.
        by: what was measured, in words.
        losses: the unit of the losses of the plan: shares of what full tables of unlimited dim gain over biases alone,
            or that of the score.

    Example:
        >>> Prediction("MSE", "lower", alone=1.3, gain=0.1, error=0.02, by="4 short trainings").expected
        1.2
    """

    metric: str
    better: Literal["lower", "higher"]
    alone: float | None
    gain: float | None
    error: float
    by: str
    losses: Literal["share", "score"] = "share"

    def __post_init__(self) -> None:
        settings.check(self, "prediction of a plan")

    @property
    def expected(self) -> float | None:
        """The predicted score."""
        if self.alone is None or self.gain is None:
            return None
        return round(self.alone - self.gain if self.better == "lower" else self.alone + self.gain, 9)


@dataclass(frozen=True)
class Plan:
    """An embedding dim and one method per table, under one byte budget.

    In a file, all but `embedding_dim` and the method of every table may be left out, and is worked out by `fitted`.

    Args:
        embedding_dim: elements of a vector, the same for all tables of the model; 0 for a model of biases alone, which
            has no tables.
        budget: most bytes; 0 for a plan without a budget.
        tables: the choice for every table, by name.
        bytes: of the tables, `other_bytes` and, where there is an optimizer, `optimizer_bytes`: what the budget bounds.
        other_bytes: what the model stores beside its tables, such as the biases per id of the dot model.
        optimizer: name of the optimizer of `coset.optimizers` whose state counts within the budget; None for no state.
        optimizer_bytes: of the state that it keeps for the tables.
        loss: predicted for the whole model, the sum over its tables; None where that of one is not known.
        model: further settings of the model, where the plan chooses them too, such as `{"bias_ids": [900, 500]}`.
        beside: methods of what is stored beside the tables, such as biases of ids, where the plan chooses them too;
            their bytes are part of `other_bytes`.
        training: settings of the training that these tables need, such as `{"solver": "posterior"}`.
        why: a sentence on the whole, where there is more to say than on each table.
        prediction: of the score, with its error, where a calibration made one; else losses are predicted by constants.
        ids: of a plan without tables, the number of ids of each table that it does without.
        schema: version of the layout of the file.

    Example:
        >>> plan = Plan.from_json({"embedding_dim": 8, "tables": {"user": {"method": "full"}}})
        >>> plan = plan.fitted([Table("user", 100, 8)])
        >>> plan.bytes, plan.methods
        (3200, {'user': Full()})
    """

    embedding_dim: int
    budget: int
    tables: Mapping[str, Choice]
    bytes: int = 0
    other_bytes: int = 0
    optimizer: str | None = None
    optimizer_bytes: int = 0
    loss: float | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Method] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    prediction: Prediction | None = None
    ids: Mapping[str, int] = field(default_factory=dict)
    schema: int = PLAN_SCHEMA

    def __post_init__(self) -> None:
        _check_schema(self.schema)
        settings.check(self, "plan")
        for name in ("embedding_dim", "budget", "bytes", "other_bytes", "optimizer_bytes"):
            if (value := getattr(self, name)) < 0:
                raise InputError(f"plan: {name} must be at least 0, not {value}")
        if not self.tables and self.embedding_dim:
            raise InputError("plan: it names no table; it needs at least one, or embedding_dim 0 for biases alone")
        if self.tables and not self.embedding_dim:
            raise InputError("plan: embedding_dim 0 is for biases alone, without tables; give it 1 at least")
        if self.optimizer is not None and self.optimizer not in (known := get_args(TableOptimizerName)):
            raise unknown("optimizer of a plan", self.optimizer, known)

    @property
    def methods(self) -> dict[str, Method]:
        """The method of every table, and of what is stored beside them, by name."""
        return {name: choice.method for name, choice in self.tables.items()} | dict(self.beside)

    def check(self, tables: Sequence[Table]) -> None:
        """Raise an `InputError` that names the table unless this plan is one for `tables`, within its budget."""
        self.fitted(tables)

    def fitted(self, tables: Sequence[Table], other_bytes: int | None = None) -> Plan:
        """The same choices for `tables`, with all sizes recomputed; drops the reasons of choices that a person edited.

        Args:
            tables: of the model, each with the dim of the plan.
            other_bytes: what that model stores beside them; by default that of the plan.

        Raises:
            InputError: a table is missing or unknown, its size or dim is another, its method does not fit it, or all
                together are over the budget.
        """
        is_list = isinstance(tables, Sequence) and all(isinstance(table, Table) for table in tables)
        if not is_list:
            raise InputError(f"tables must be a list of coset.Table, not {brief(tables)}")
        self._check_names(tables)
        for table in tables:
            self._check_table(table)
        found = {table.name: self.tables[table.name] for table in tables}
        each, _ = own_bytes(tables, self.methods)
        other = self.other_bytes if other_bytes is None else settings.whole("other_bytes", other_bytes)
        trained = together({table.name: self.methods[table.name].training_components(table) for table in tables})
        state = state_bytes(trained, self.optimizer)
        plan = replace(
            self,
            tables={
                table.name: _renewed(found[table.name], table.num_embeddings, each[table.name]) for table in tables
            },
            bytes=sum(each.values()) + state + other,
            other_bytes=other,
            optimizer_bytes=state,
        )
        losses = [choice.loss for choice in plan.tables.values()]
        if any(loss is None for loss in losses):
            plan = replace(plan, loss=None, why="", prediction=None)
        elif plan.loss is None:
            plan = replace(plan, loss=sum(loss for loss in losses if loss is not None))
        plan._check_budget()
        return plan

    def check_ids(self, tables: Sequence[Table]) -> None:
        """Raise an `InputError` unless a plan without tables is for data with as many ids as these tables have."""
        for table in tables:
            if (ids := self.ids.get(table.name, table.num_embeddings)) != table.num_embeddings:
                raise _other_ids(f"table {table.name!r}", ids, table)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values, keys always in one order; `from_json` gives an equal one back."""
        head = {name: settings.plain(getattr(self, name)) for name in ("schema", *_HEAD)}
        head |= {name: settings.plain(value) for name in _SELDOM if (value := getattr(self, name))}
        return head | {"tables": settings.plain(self.tables)}

    @classmethod
    def from_json(cls, value: Any) -> Plan:
        """The plan that `to_json` or a person wrote; `budget` may have a unit, and a method may be just a name."""
        if not isinstance(value, Mapping):
            raise InputError(f"plan: expected a table of fields, not {value!r}")
        given = dict(value)
        _check_schema(given.get("schema", PLAN_SCHEMA))
        given["budget"] = parse_size(given["budget"]) if given.get("budget") is not None else 0
        if isinstance(tables := given.get("tables"), Mapping):
            given["tables"] = {name: _choice(str(name), said) for name, said in tables.items()}
        if isinstance(beside := given.get("beside"), Mapping):
            given["beside"] = {name: _choice(str(name), {"method": said}).method for name, said in beside.items()}
        return settings.make(cls, given, "plan", {Method: method})

    def save(self, path: Path | str) -> None:
        """Write the plan to a file, as indented JSON."""
        write_json(path_of(path), self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> Plan:
        """The plan in a file; an `InputError` begins with the path."""
        value = read_json(path_of(path))
        try:
            return cls.from_json(value)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _check_names(self, tables: Sequence[Table]) -> None:
        names = [table.name for table in tables]
        for name in self.tables:
            if name not in names:
                raise InputError(
                    f"table {name!r}: the plan has it and the model does not; the model has {', '.join(names)}"
                )
        for name in names:
            if name not in self.tables:
                raise InputError(
                    f"table {name!r}: the model has it and the plan does not; the plan has {', '.join(self.tables)}"
                )
            if names.count(name) > 1:
                raise InputError(f"table {name!r}: there are several tables of this name")

    def _check_table(self, table: Table) -> None:
        choice, where = self.tables[table.name], f"table {table.name!r}"
        if choice.num_embeddings and choice.num_embeddings != table.num_embeddings:
            raise _other_ids(where, choice.num_embeddings, table)
        if self.embedding_dim != table.embedding_dim:
            raise InputError(
                f"{where}: the plan has embedding_dim {self.embedding_dim} and the table {table.embedding_dim}"
            )
        if choice.method.needs_attributes and table.attributes is None:
            raise InputError(f"{where}: {choice.method.name} needs attributes, and the table has none")
        choice.method.check(table)
        if self.optimizer is not None and choice.method.descriptor(table) is None:
            raise untrained(table, choice.method, self.optimizer)

    def _check_budget(self) -> None:
        if self.budget and self.bytes > self.budget:
            largest = ""
            if self.tables:  # biases alone are a plan, too
                name, most = max(self.tables.items(), key=lambda item: item[1].bytes)
                largest = f"; the largest is table {name!r} with {most.bytes} bytes"
            raise InputError(
                f"plan: it takes {format_size(self.bytes)} ({self.bytes} bytes), {self.bytes - self.budget} bytes over "
                f"its budget of {format_size(self.budget)}{largest}"
            )


_HEAD = (
    "embedding_dim",
    "budget",
    "bytes",
    "other_bytes",
    "optimizer",
    "optimizer_bytes",
    "loss",
    "model",
    "why",
    "prediction",
    "ids",
)
_SELDOM = "beside", "training"
"""Fields that a file has only where they say something."""


def _other_ids(where: str, planned: int, table: Table) -> InputError:
    return InputError(
        f"{where}: the plan is for {planned} ids and the table has {table.num_embeddings}; plan anew for this data"
    )


def own_bytes(tables: Iterable[Table], methods: Mapping[str, Method]) -> tuple[dict[str, int], list[Component]]:
    """Bytes of every table, and the components of all; a shared array occurs once, at its first table."""
    found = {table.name: methods[table.name].components(table) for table in tables}
    return bytes_by_table(found), together(found)


def state_bytes(components: Iterable[Component], optimizer: str | None) -> int:
    """Bytes of the state of an optimizer of tables; 0 for none."""
    return 0 if optimizer is None else table_optimizer_bytes(components, optimizer)


def untrained(table: Table, method: Method, optimizer: str) -> InputError:
    """The error for counting the state of an optimizer for a table without a descriptor, which it does not train."""
    return InputError(
        f"table {table.name!r}: {optimizer} only trains methods that compose rows, which {method.name} does not, so "
        "its state cannot be counted; choose another method, or leave the optimizer out of the plan"
    )


def _renewed(choice: Choice, num_embeddings: int, size: int) -> Choice:
    """`choice` with these sizes; keeps its loss and reason only if they are about this method."""
    if choice.digest == _digest(choice.method):
        return replace(choice, num_embeddings=num_embeddings, bytes=size)
    return Choice(num_embeddings, choice.method, size, why="chosen by hand")


def _digest(method: Method) -> str:
    return hashlib.sha256(json.dumps(method.to_json(), sort_keys=True).encode()).hexdigest()[:8]


def _check_schema(schema: Any) -> None:
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise InputError(f"plan: schema must be {PLAN_SCHEMA}, not {schema!r}")
    if schema > PLAN_SCHEMA:
        raise InputError(f"plan: it has schema {schema}, and this coset reads schema {PLAN_SCHEMA}; update coset")


def _choice(name: str, said: Any) -> Choice:
    """The choice of a plan for table `name`; a bare method is enough."""
    where = f"plan: table {name!r}"
    given = dict(said) if isinstance(said, Mapping) else {}
    if "method" not in given:
        raise InputError(f'{where} needs a method, such as {{"method": "full"}}, not {said!r}')
    try:
        given["method"] = method(given["method"])
        if isinstance(instead := given.get("instead"), Mapping) and "method" in instead:
            given["instead"] = {**instead, "method": method(instead["method"])}
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if given.get("digest") is None:
        given["digest"] = ""  # without it, nothing says which method the reason is about
    return settings.make(Choice, {"num_embeddings": 0} | given, where)
