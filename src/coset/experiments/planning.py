"""Plans for the models of recipes: made for a budget, or read from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Generic, get_args

import numpy as np

from coset.errors import InfeasibleBudget, InputError, Unsuitable, unknown
from coset.experiments.foretold import by_signal, by_trainings, without_tables
from coset.experiments.in_bits import besides, better, in_bits
from coset.experiments.lean import Lean, Planned, with_tables
from coset.experiments.plan_choices import Calibration, Planning
from coset.files import path_of, read_json
from coset.ledger import TableOptimizerName
from coset.planning.alpha import alpha_rule
from coset.planning.offer import rounded
from coset.planning.plan import Choice, Plan, own_bytes
from coset.planning.planner import Planner, predicted_losses
from coset.planning.proxy import Proxy
from coset.planning.reasons import saving
from coset.planning.signal import Signal
from coset.schema import Table
from coset.sizes import format_size
from coset.tasks import Task, TrainingSettings
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT

ABOUT = "about"
"""The key of the facts that `coset plan --json` prints with a plan."""


class Plans(Generic[EncodedT]):
    """The best plans for models of a task; computes once what plans of one model share.

    Args:
        encoded: the data as the models see them; frequencies are those of the training part.
    """

    def __init__(self, encoded: EncodedT) -> None:
        self._encoded = encoded
        self._planners: dict[tuple[object, Planning, Proxy], Planner] = {}
        self._others: dict[object, int] = {}

    def best(
        self, task: Task[DataT, EncodedT, ModelT, BatchT], budget: int, how: Planning,
        calibrated: Calibration | None = None,
    ) -> Plan:  # fmt: skip
        """The best plan within a budget: of tables, or of biases alone where the task can do without tables and a
        calibration shows that these gain nothing, or the budget leaves nothing for them; in bits by column and block
        where these are allowed, and better or the only plan.

        Args:
            task: its model has the largest dim that the plan may choose.
            budget: bytes of the whole model, as results count them.
            how: what it may choose from, and whether it is calibrated.
            calibrated: measures what calibrations need; without it the plan uses constants.

        Raises:
            InfeasibleBudget: the budget is below the smallest model; the message gives its size.
            Unsuitable: a table without frequencies.
            InputError: the model has no tables, or `how` does not suit them.
        """
        check_optimizer(task.training, how.optimizer)
        bits = in_bits(task, self._encoded, budget, how)
        try:
            floats = self._in_floats(task, budget, how if bits is None else replace(how, storages=()), calibrated)
        except InfeasibleBudget:
            if bits is None:
                raise
            return bits
        return floats if bits is None else better(floats, bits, task.score())

    def _in_floats(
        self, task: Task[DataT, EncodedT, ModelT, BatchT], budget: int, how: Planning, calibrated: Calibration | None
    ) -> Plan:
        """The best plan without bits by column and block."""
        try:
            if how.alpha is not None:
                return _by_alpha(self._tables(task), budget, how.alpha, self._besides(task))
            self._tables(task)
            signal = None if calibrated is None or how.calibrate is False else calibrated.signal(task)
            planner = self._planner(task, how, Proxy() if signal is None else signal.proxy)
            leaner = self._leaner(task, signal)
            alone = self._alone(task, budget, leaner)
            if signal is not None and not signal.found and alone is not None and not how.calibrate:
                return without_tables(alone, signal, task.score(), self._rarity(task))
            plans = with_tables(planner, budget, leaner if signal is not None else ())
            if not plans:
                if alone is None:
                    planner.plan(budget)  # which raises
                    raise AssertionError("a plan that was not found was found")
                return alone.explained("the budget leaves nothing for tables beside")
            trained = None
            if calibrated is not None and (how.calibrate or (how.calibrate is None and signal is None)):
                trained = calibrated.trained(task, how, planner.proxy, cheap=not how.calibrate)
            if trained is not None and not plans[0].saved:
                measured = planner.plan(budget, trained.curves)
                return by_trainings(measured, trained, None if alone is None else alone.plan, task.score())
            return plans[0].plan if signal is None else by_signal(plans, planner.worth, signal, alone, task.score())
        except InfeasibleBudget as error:
            raise InfeasibleBudget(f"{error}{task.way_out}", error.floor) from None

    def _leaner(self, task: Task[DataT, EncodedT, ModelT, BatchT], signal: Signal | None) -> list[Lean]:
        """What the model may store less of beside its tables, with the bytes that this saves."""
        if 0 not in task.dims():
            return []
        plain = task.changed("model", {"embedding_dim": 0})
        whole = self._besides(plain)
        return [
            Lean(whole - self._besides(plain.changed("model", dict(option.model))), option)
            for option in task.leaner(self._encoded, signal)
        ]

    def _alone(
        self, task: Task[DataT, EncodedT, ModelT, BatchT], budget: int, leaner: Sequence[Lean]
    ) -> Planned | None:
        """The best model without tables, if the task has one.

        Raises:
            InfeasibleBudget: it has, and even the smallest does not fit the budget, and so does nothing.
        """
        if 0 not in task.dims():
            return None
        size = self._besides(task.changed("model", {"embedding_dim": 0}))
        ids = {table.name: table.num_embeddings for table in self._tables(task)}
        whole = Plan(0, budget, {}, size, size, loss=1.0, ids=ids)
        if size <= budget:
            return Planned(whole)
        fitting = [one for one in leaner if size - one.saved <= budget]
        if not fitting:
            floor = size - max((one.saved for one in leaner), default=0)
            raise InfeasibleBudget(
                f"the smallest plan for these data is biases alone, {format_size(floor)} ({floor} bytes), but the "
                f"budget is {budget} bytes",
                floor,
            )
        return min(fitting, key=lambda one: (one.option.loss, -one.saved)).planned(whole)

    def _rarity(self, task: Task[DataT, EncodedT, ModelT, BatchT]) -> str:
        """How little there is to learn from, as the end of a sentence; empty where that is not plain."""
        counts = [table.frequencies for table in self._tables(task) if table.frequencies is not None]
        rows, ids = max(int(of.sum()) for of in counts), sum(int(np.count_nonzero(of)) for of in counts)
        if all(of.max() <= 1 for of in counts):
            return "; every id has one training row at most, which is not enough to learn a vector from"
        return f"; there are {rows:,} training rows of {ids:,} ids" if rows < ids else ""

    def _tables(self, task: Task[DataT, EncodedT, ModelT, BatchT]) -> Sequence[Table]:
        if not (tables := task.tables(self._encoded)):
            raise InputError("a plan is for tables, and a model of embedding_dim = 0 has none")
        for table in tables:
            if table.frequencies is None or not table.frequencies.any():
                raise Unsuitable(
                    f"table {table.name!r}: none of its ids is in the training part, so it has no frequencies"
                )
        return tables

    def _besides(self, task: Task[DataT, EncodedT, ModelT, BatchT]) -> int:
        """Bytes of a model beside its tables; counted once for plans of all budgets."""
        if task.model not in self._others:
            self._others[task.model] = besides(task, self._encoded)
        return self._others[task.model]

    def _planner(self, task: Task[DataT, EncodedT, ModelT, BatchT], how: Planning, proxy: Proxy) -> Planner:
        key = (
            task.model,
            replace(how, calibrate=None),
            proxy,
        )  # calibration is about losses, not about what may be chosen
        if key not in self._planners:
            self._planners[key] = Planner(
                self._tables(task), methods=how.methods or None,
                embedding_dims=how.embedding_dims or tuple(dim for dim in task.dims() if dim), optimizer=how.optimizer,
                other_bytes=self._besides(task), proxy=proxy, storages=how.storages,
            )  # fmt: skip
        return self._planners[key]


def check_optimizer(training: TrainingSettings, given: str | None) -> None:
    """Raise an `InputError` where a plan counts the state of another optimizer than the recipe trains with."""
    own = training.optimizer
    if given is None or given == own:
        return
    if given not in (known := get_args(TableOptimizerName)):
        raise unknown("optimizer of a plan", given, known)
    raise InputError(
        f"this recipe trains with {own!r}, so a plan that counts the state of {given!r} is not for it; name {own!r}, "
        f"or change that with --set training.optimizer={given}"
    )


def _by_alpha(tables: Sequence[Table], budget: int, alpha: float, other: int) -> Plan:
    try:
        methods = alpha_rule(tables, alpha, budget=max(0, budget - other))
    except InfeasibleBudget as error:
        floor = error.floor + other
        largest = max(tables, key=lambda table: table.num_embeddings).name
        raise InfeasibleBudget(
            f"the alpha rule needs a budget of at least {format_size(floor)} ({floor} bytes: {error.floor} for tables "
            f"in rows of one element, of which {largest!r} is the largest, {other} for what the model stores beside "
            f"them), not {budget} bytes",
            floor,
        ) from None
    loss, (each, _) = predicted_losses(tables, methods), own_bytes(tables, methods)
    said = {
        table.name: Choice(
            table.num_embeddings, methods[table.name], each[table.name], rounded(loss[table.name]),
            f"{saving(table, each[table.name])}; sized by the alpha-power rule with α = {alpha:g}",
        )
        for table in tables
    }  # fmt: skip
    taken = sum(each.values()) + other
    return Plan(tables[0].embedding_dim, budget, said, taken, other, loss=rounded(sum(loss.values())))


def read_plan(path: Path | str) -> Plan:
    """The plan in a file that `coset plan` wrote or printed as JSON, or that a person wrote.

    Raises:
        InputError: no such file, or no plan in it.
    """
    path = path_of(path)
    if not path.is_file():
        raise InputError(f"{path}: no such plan")
    value = read_json(path)
    if isinstance(value, Mapping):
        value = {name: said for name, said in value.items() if name != ABOUT}
    try:
        return Plan.from_json(value)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
