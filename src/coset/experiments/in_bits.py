"""Plans of packed tables, whose bits by column and by block of popularity a task finds on its training part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from coset import ledger
from coset.errors import InputError
from coset.experiments.plan_choices import Planning
from coset.methods import Method
from coset.planning.offer import rounded
from coset.planning.plan import Choice, Plan, Prediction, own_bytes
from coset.planning.reasons import saving
from coset.planning.signal import NOTICED
from coset.planning.storages import AllowedStorages
from coset.sizes import format_size
from coset.tasks import Metric, Task
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT


def in_bits(task: Task[DataT, EncodedT, ModelT, BatchT], encoded: EncodedT, budget: int, how: Planning) -> Plan | None:
    """The plan of packed tables within a budget; None where the task finds none, or `how` asks for something else.

    Args:
        task: its model has the largest dim that the plan may choose.
        encoded: the data; the validation part is not read.
        budget: bytes of the whole model.
        how: what may be chosen.
    """
    asked = how.methods or how.embedding_dims or how.optimizer or how.alpha is not None or how.calibrate is not None
    if asked or task.solver_of_bits is None or not AllowedStorages(how.storages).free:
        return None
    try:
        dim, methods = task.in_bits(encoded, budget)
        foretold = task.score_in_bits(encoded, budget)
    except InputError:  # too little to learn from, a model that bits are not found for, or a budget of a few bytes
        return None
    planned = task.changed("model", {"embedding_dim": dim})
    tables = planned.tables(encoded)
    each, _ = own_bytes(tables, methods)
    said = {
        table.name: Choice(
            table.num_embeddings, methods[table.name], each[table.name], why=saving(table, each[table.name])
        )
        for table in tables
    }  # fmt: skip
    if not any(each.values()):  # the budget leaves nothing for vectors
        return None
    beside = {name: method for name, method in methods.items() if name not in said}
    other = besides(planned, encoded, beside)
    score = task.score()
    prediction = Prediction(
        score.label, score.better or "lower", rounded(foretold.alone), rounded(foretold.gain),
        rounded(2 * foretold.error),
        f"the same model with a tenth of the {foretold.rows:,} training rows held out",
    )  # fmt: skip
    why = f"coset solves the model in closed form ({task.solver_of_bits}) and keeps few bits of its numbers and biases"
    return Plan(
        dim, budget, said, sum(each.values()) + other, other, beside=beside, training={"solver": task.solver_of_bits},
        why=why, prediction=prediction,
    )  # fmt: skip


def better(floats: Plan, bits: Plan, metric: Metric) -> Plan:
    """The one of two plans within the same budget that is predicted to score better.

    Args:
        floats: a plan of tables in floats, or of biases alone.
        bits: a plan of packed tables.
        metric: the score.
    """
    one, other = (None if plan.prediction is None else plan.prediction.expected for plan in (floats, bits))
    if one is None or other is None or bits.prediction is None:
        return floats
    gain = one - other if metric.better != "higher" else other - one
    # Where vectors are not worth bytes in floats, they must be surely so in bits.
    if gain <= (0 if floats.tables else bits.prediction.error + NOTICED * abs(one)):
        return floats
    instead = f"the best plan in floats, {format_size(floats.bytes)}, is predicted to reach {metric.label} {one:.4f}"
    return replace(bits, why=f"{bits.why}; {instead}")


def besides(
    task: Task[DataT, EncodedT, ModelT, BatchT], encoded: EncodedT, beside: Mapping[str, Method] | None = None
) -> int:
    """Bytes of a model beside its tables, such as one bias an id.

    Args:
        beside: methods of what is stored there, by name; `full` for what is not named.
    """
    whole = ledger.inference_bytes(task.components(beside or {}, encoded))
    return whole - sum(table.full_bytes for table in task.tables(encoded))
