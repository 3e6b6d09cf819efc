"""The plan that `coset plan` makes for the model of a recipe, and the facts that it shows with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from coset import ledger
from coset.documents import Json
from coset.experiments.calibrate import calibration
from coset.experiments.plan_choices import Planning
from coset.experiments.planning import ABOUT, Plans
from coset.experiments.recipe import Recipe
from coset.methods.full import Full
from coset.planning.plan import Plan, own_bytes, state_bytes
from coset.progress import Progress
from coset.schema import Table
from coset.sizes import budget_bytes
from coset.tasks import Task
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT

_POINTS = 64


def make_plan(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], data: DataT, budget: str, how: Planning, beside: Path,
    progress: Progress | None = None,
) -> tuple[Plan, Json]:  # fmt: skip
    """The best plan for the model of `recipe` within a budget, and what `described` returns for it.

    Args:
        data: what its task loaded.
        budget: `"240KB"`, or a share of the model with full tables, `"25%"`.
        how: what may be chosen, and whether losses are measured first.
        beside: the folder for the runs that measure them.

    Raises:
        InfeasibleBudget: the budget is below the smallest model.
    """
    encoded = recipe.task.encoded(data, recipe.first_seed)
    limit = budget_bytes(budget, ledger.inference_bytes(recipe.task.components({}, encoded)))
    plan = Plans(encoded).best(recipe.task, limit, how, calibration(recipe, data, beside, progress))
    return plan, described(recipe.task, data, encoded, plan)


def described(task: Task[DataT, EncodedT, ModelT, BatchT], data: DataT, encoded: EncodedT, plan: Plan) -> Json:
    """A plan as plain JSON values, with facts on its model under `about`.

    These are the data set; the bytes of the model with full tables of the largest dim (`full`), with the state of the
    plan's optimizer if it has one; their `ratio` to those of the plan; for every table its bytes in full and its
    `traffic`: for numbers of its most frequent ids, their share of all lookups; and `losses_are`, the unit of losses:
    `"share"`, of what full tables gain over biases alone, or where short trainings measured them, the label of the
    score.
    """
    tables = task.tables(encoded)
    each, components = own_bytes(tables, {table.name: Full() for table in tables})
    whole = ledger.inference_bytes(task.components({}, encoded))
    full = whole + state_bytes(components, plan.optimizer)
    facts = task.facts(data, encoded)
    in_units = plan.prediction is not None and plan.prediction.losses == "score"
    about = {
        "dataset": facts["dataset"],
        "synthetic": facts["synthetic"],
        "full": {"embedding_dim": task.model.embedding_dim, "bytes": full},
        "ratio": full / plan.bytes,
        "losses_are": task.score().label if in_units else "share",
        "features": {table.name: {"full_bytes": each[table.name], "traffic": traffic(table)} for table in tables},
    }
    return {**plan.to_json(), ABOUT: about}


def traffic(table: Table) -> list[list[float]]:
    """Pairs of a number of the most frequent ids and their share of all lookups; empty where frequencies are unknown.

    Example:
        >>> traffic(Table("page", 3, 4, frequencies=[1, 6, 1]))
        [[0, 0.0], [1, 0.75], [2, 0.875], [3, 1.0]]
    """
    if table.frequencies is None or not table.frequencies.sum():
        return []
    ordered = np.sort(table.frequencies)[::-1]
    shares = np.concatenate([[0.0], np.cumsum(ordered, dtype=np.float64) / ordered.sum(dtype=np.float64)])
    n = table.num_embeddings
    at = sorted({0, n, *np.geomspace(1, n, _POINTS).round().astype(int).tolist()})
    return [[int(ids), float(shares[ids])] for ids in at]
