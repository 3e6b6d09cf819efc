"""Where plans end in biases alone, and what they are predicted to reach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from coset.errors import InfeasibleBudget, InputError
from coset.experiments.calibrate import calibration
from coset.experiments.foretold import by_trainings, without_tables
from coset.experiments.lean import Planned
from coset.experiments.plan_choices import Measured, Planning
from coset.experiments.planning import Plans
from coset.experiments.recipe import AnyRecipe, recipe_for
from coset.methods.low_rank import LowRank
from coset.planning.curves import Curve
from coset.planning.plan import Choice, Plan
from coset.planning.proxy import Proxy
from coset.planning.signal import Signal
from coset.schema import Table
from coset.tasks import Metric

ALONE = Plan(0, 1000, {}, 400, 400, loss=1.0)
TABLES = Plan(4, 1000, {"user": Choice(50, LowRank(1), 500)}, 900, 400, loss=0.02)
MSE = Metric("mse", label="MSE")


def measured(loss: float, residual: float = 0.001) -> Measured:
    return Measured({"user": Curve(1.0)}, (1.2, loss), residual, trainings=9)


def test_trainings_tell_what_tables_gain_over_biases_alone() -> None:
    found = by_trainings(TABLES, measured(0.1), ALONE, MSE)
    assert found.embedding_dim == 4
    assert found.prediction is not None
    assert found.prediction.expected == pytest.approx(1.2 - 0.08)
    assert found.prediction.losses == "score"


def test_trainings_that_show_no_gain_end_in_biases_alone() -> None:
    found = by_trainings(TABLES, measured(0.0205), ALONE, MSE)
    assert (found.embedding_dim, found.bytes) == (0, 400)
    assert "biases alone at 400B are better than every table; take those" in found.why


def test_a_model_that_needs_tables_keeps_them() -> None:
    found = by_trainings(TABLES, replace(measured(0.0), alone=None), None, MSE)
    assert found.embedding_dim == 4
    assert found.prediction is not None
    assert found.prediction.expected is None


SIGNAL = Signal(Proxy(), 0.0, 1.2, 0.0, 0.001, 0.0, 900)


def test_biases_that_a_budget_forces_are_not_said_to_be_better_than_tables() -> None:
    lean = replace(ALONE, bytes=80, other_bytes=80, why="30 items with the fewest ratings share one bias")
    found = without_tables(Planned(lean, loss=0.1, saved=320, error=0.02), SIGNAL, MSE)
    assert found.why.startswith("the budget leaves room for biases alone at 80B, and on these data tables would gain")
    assert found.why.endswith("; 30 items with the fewest ratings share one bias")
    assert found.prediction is not None
    assert (found.prediction.gain, found.prediction.error) == (-0.1, 0.04)
    assert found.prediction.expected == pytest.approx(1.3)


def test_a_plan_without_tables_is_for_data_of_as_many_ids() -> None:
    plan = replace(ALONE, ids={"user": 50, "item": 40})
    assert Plan.from_json(plan.to_json()) == plan
    plan.check_ids([Table("user", 50, 4), Table("item", 40, 4)])
    with pytest.raises(InputError, match=r"table 'item': the plan is for 40 ids and the table has 41; plan anew"):
        plan.check_ids([Table("user", 50, 4), Table("item", 41, 4)])


def recipe(source: str, **model: object) -> AnyRecipe:
    return recipe_for("ratings", {"source": source}, (), (), {"embedding_dim": 8, **model})


def planned(source: str, budget: int, how: Planning | None = None, measure: bool = True, **model: object) -> Plan:
    of = recipe(source, **model)
    data = of.task.load(Path())
    encoded = of.task.encoded(data, 0)
    found = calibration(of, data, Path()) if measure else None
    return Plans(encoded).best(of.task, budget, how or Planning(methods=("blocks",)), found)


def test_biases_are_all_there_is_on_a_tail_without_factors() -> None:
    found = planned("synthetic-long-tail", 106_000)
    assert (found.embedding_dim, found.bytes, dict(found.tables)) == (0, 62_376, {})
    assert "biases alone at 62.4KB are better than every table" in found.why
    assert found.prediction is not None
    assert found.prediction.gain == 0


def test_vectors_are_worth_their_bytes_on_a_tail_with_factors() -> None:
    found = planned("synthetic-long-tail-factors", 106_000)
    assert found.embedding_dim > 1
    assert found.prediction is not None
    assert 0.04 < found.prediction.gain < 0.11
    assert found.prediction.error < 0.03


def test_without_calibration_tables_are_planned_by_constants() -> None:
    found = planned("synthetic-long-tail", 106_000, Planning(methods=("blocks",), calibrate=False))
    assert found.embedding_dim > 0
    assert found.prediction is None


def test_a_budget_for_biases_only_gives_these() -> None:
    found = planned("synthetic-long-tail-factors", 62_376, measure=False)
    assert (found.embedding_dim, found.bytes) == (0, 62_376)
    assert "leaves nothing for tables" in found.why


def test_below_all_biases_the_error_says_the_smallest() -> None:
    with pytest.raises(InfeasibleBudget, match="the smallest plan for these data is biases alone") as caught:
        planned("synthetic-long-tail", 100, measure=False)
    floor = caught.value.floor
    assert planned("synthetic-long-tail", floor, measure=False).bytes == floor
    with pytest.raises(InfeasibleBudget):
        planned("synthetic-long-tail", floor - 1, measure=False)


def test_rare_ids_share_a_bias_where_the_bytes_are_worth_more_in_tables() -> None:
    whole = planned("synthetic-long-tail-factors", 106_000)
    assert whole.model["bias_ids"][1] < 4000
    assert "items with the fewest ratings share one bias" in whole.why
    assert whole.bytes <= 106_000
    assert whole.other_bytes < 30_000


def test_below_four_bytes_an_id_biases_are_shared() -> None:
    found = planned("synthetic-long-tail", 30_000)
    assert found.embedding_dim == 0
    assert found.bytes <= 30_000
    assert found.model["bias_ids"][0] + found.model["bias_ids"][1] <= 7_500
    assert found.prediction is not None
    assert found.prediction.gain is not None
    assert -0.1 < found.prediction.gain < 0
