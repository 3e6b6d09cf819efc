"""Ratings solved in closed form, and the bits that are found for them within a budget."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coset import Blocks, Full, LowRank, Packed
from coset.data import Ratings, load_ratings
from coset.data.encoded import Encoded
from coset.data.settings import DataSettings
from coset.errors import InfeasibleBudget, InputError
from coset.experiments.compare import compare
from coset.experiments.compress import compress_run
from coset.experiments.in_bits import better, in_bits
from coset.experiments.jobs import TrainOptions
from coset.experiments.plan import make_plan
from coset.experiments.plan_choices import Planning
from coset.experiments.recipe import parse_recipe, recipe_for
from coset.experiments.subject import RecipeOptions
from coset.experiments.train import train_on
from coset.ledger import inference_bytes
from coset.models.dot import DotSettings
from coset.planning.plan import Plan, Prediction
from coset.tasks import TrainingSettings
from coset.tasks.ratings import RatingsTask
from coset.training.finished import FinishedRun
from coset.training.run import Options, execute
from coset.training.spec import RunSpec

MODEL = DotSettings(embedding_dim=5, biases=True, output="linear")
FOUR = {name: Full(storage=Packed(4)) for name in ("user", "item", "user_bias", "item_bias")}


def task(**choices: Any) -> RatingsTask:
    return RatingsTask(
        **{"data": DataSettings("tastes.csv"), "model": MODEL, "training": TrainingSettings(solver="posterior")}
        | choices
    )


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Ratings:
    """8,000 ratings from 1 to 5 of 200 users and 100 items of two tastes."""
    draw = np.random.default_rng(0)
    users, items = (draw.beta(0.7, 2, (2, 8000)) * [[200], [100]]).astype(int)
    tastes = (draw.normal(0, 0.7, (200, 2))[users] * draw.normal(0, 0.7, (100, 2))[items]).sum(1)
    score = 3 + draw.normal(0, 0.4, 200)[users] + draw.normal(0, 0.4, 100)[items] + tastes + draw.normal(0, 0.3, 8000)
    path = tmp_path_factory.mktemp("tastes") / "tastes.csv"
    rows = zip(users, items, np.clip(score, 1, 5), strict=True)
    path.write_text("userId,itemId,rating\n" + "".join(f"{u},{i},{r:.3f}\n" for u, i, r in rows))
    return load_ratings(path, user="userId", item="itemId")


@pytest.fixture(scope="module")
def encoded(ratings: Ratings) -> Encoded:
    return task().encoded(ratings, 0)


def solved(of: RatingsTask, encoded: Encoded, methods: Any) -> tuple[Any, float]:
    model = RunSpec(of, methods, 0).build(encoded)
    of.solve(model, encoded)
    error = of.evaluate(model.eval(), of.part(encoded, "validation"))["mse"]
    assert error is not None
    return model, error


def test_the_solver_finds_tastes_and_rounds_them(encoded: Encoded) -> None:
    _, dense = solved(task(), encoded, {})
    _, packed = solved(task(), encoded, FOUR)
    alone = RunSpec(task(model=replace(MODEL, embedding_dim=0)), {}, 0).build(encoded)
    alone.begin(task().ridge_bias(encoded, (5.0, 5.0)))
    biased = task().evaluate(alone.eval(), task().part(encoded, "validation"))["mse"]
    assert biased is not None
    assert dense < 0.6 * biased
    assert dense < packed < 1.2 * dense


def test_the_range_of_ratings_does_not_matter(ratings: Ratings) -> None:
    wide = replace(ratings, ratings=ratings.ratings * 20)
    (one, small), (other, large) = (solved(task(), task().encoded(of, 0), FOUR) for of in (ratings, wide))
    assert large == pytest.approx(400 * small, rel=0.02)
    assert other.mean.item() == pytest.approx(one.mean.item(), rel=1e-5)


@pytest.mark.parametrize("budget", [120, 400, 900])
def test_bits_keep_the_budget(budget: int, encoded: Encoded) -> None:
    dim, methods = task().in_bits(encoded, budget)
    chosen = task(model=replace(MODEL, embedding_dim=dim))
    size = inference_bytes(chosen.components(methods, encoded))
    assert budget // 2 < size <= budget
    assert task().in_bits(encoded, budget) == (dim, methods)
    hot = methods["user"]
    if isinstance(hot, Blocks):
        sums = [sum(inner.storage.bits_of(dim)) for inner in hot.methods]  # type: ignore[attr-defined]
        assert sums[0] == max(sums)  # frequent ids get the most bits


def test_more_bytes_lose_less(encoded: Encoded) -> None:
    errors = []
    for budget in (60, 200, 600, 2000):
        dim, methods = task().in_bits(encoded, budget)
        errors.append(solved(task(model=replace(MODEL, embedding_dim=dim)), encoded, methods)[1])
    assert errors == sorted(errors, reverse=True)
    dense = solved(task(), encoded, {})[1]
    assert errors[-1] < 1.1 * dense


def test_a_run_and_a_comparison(ratings: Ratings, tmp_path: Path) -> None:
    recipe = parse_recipe(
        """
        schema = 2
        title = "tastes"
        data = "tastes.csv"
        seeds = 2
        [model]
        embedding_dim = 5
        biases = true
        output = "linear"
        [training]
        solver = "posterior"
        [[rows]]
        name = "full"
        [[rows]]
        name = "bits"
        bits = true
        budgets = ["10%", "5%"]
        """,
        "tastes",
        "tastes",
    )
    found = compare(recipe, tmp_path / "out", ratings)
    rows = {row["name"]: row for row in found["rows"]}
    full = rows["full"]["bytes"]
    assert rows["bits 10%"]["bytes"] <= full / 10
    assert rows["bits 5%"]["bytes"] <= full / 20
    assert rows["bits 10%"]["metrics"]["val_mse"]["mean"] < 1.3 * rows["full"]["metrics"]["val_mse"]["mean"]
    assert not any("Trained too short" in note for note in found["notes"])
    folder = tmp_path / "out" / "runs" / "bits-10%" / "seed-1"
    run = FinishedRun.load(folder)
    assert run.metrics["engine"] == "solver"
    assert sum(value.nbytes for value in run.model.buffers()) + 4 == run.metrics["bytes"]
    again = execute(run.spec, tmp_path / "again", ratings)
    assert again["history"][0]["val_mse"] == run.metrics["history"][0]["val_mse"]
    before = (folder / "metrics.json").read_text()
    assert execute(run.spec, folder, ratings, Options(resume=True))["history"] == json.loads(before)["history"]
    assert (folder / "metrics.json").read_text() == before


@pytest.mark.parametrize(
    ("model", "methods", "sentence"),
    [
        ({"biases": False}, {}, "is for vectors beside biases"),
        ({"output": "sigmoid"}, {}, "is for vectors beside biases"),
        ({"embedding_dim": 0}, {}, "is for vectors beside biases"),
        ({"history": 5}, {}, "knows no history and no bias_ids"),
        ({"bias_ids": (5, 5)}, {}, "knows no history and no bias_ids"),
        ({}, {"user": LowRank(2)}, "fills full tables and blocks of them, not LowRank"),
        ({}, {"user": Full(storage=Packed(4))}, "all dense or all packed, biases too"),
        ({}, FOUR | {"user": Full(storage=Packed(4, step="row"))}, "steps by column"),
    ],
)
def test_models_that_the_solver_does_not_know(
    model: dict[str, Any], methods: Any, sentence: str, encoded: Encoded
) -> None:
    of = task(model=replace(MODEL, **model))
    with pytest.raises(InputError, match=sentence):
        of.solve(RunSpec(of, methods, 0).build(encoded), encoded)


def test_what_is_refused(encoded: Encoded, ratings: Ratings, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleBudget, match="the mean alone takes 4 bytes, and the budget is 3"):
        task().in_bits(encoded, 3)
    with pytest.raises(InputError, match="with output 'linear'"):
        task(model=replace(MODEL, output="sigmoid")).in_bits(encoded, 500)
    wrong = task(training=TrainingSettings(solver="svd"))
    with pytest.raises(InputError, match="solver of ratings is 'posterior', not 'svd'"):
        execute(RunSpec(wrong, {}, 0), tmp_path / "wrong", ratings)
    assert not (tmp_path / "wrong").exists()
    whole = tmp_path / "whole"
    execute(RunSpec(task(), {}, 0), whole, ratings)
    with pytest.raises(InputError, match="a solver begins anew"):
        execute(RunSpec(task(), {}, 0), tmp_path / "further", ratings, after=whole)


def test_a_solved_run_is_trained_further(ratings: Ratings, tmp_path: Path) -> None:
    whole = execute(RunSpec(task(), FOUR, 0), tmp_path / "whole", ratings)
    slow = task(training=TrainingSettings(learning_rate=1e-9, epochs=1))
    further = execute(RunSpec(slow, FOUR, 0), tmp_path / "further", ratings, after=tmp_path / "whole")
    assert further["history"][-1]["val_mse"] == pytest.approx(whole["history"][0]["val_mse"], rel=1e-4)
    assert torch.isfinite(torch.tensor(further["history"][-1]["val_mse"]))


def test_one_command_on_any_ratings(ratings: Ratings, tmp_path: Path) -> None:
    assert isinstance(ratings.source, str)
    job = TrainOptions(RecipeOptions(budgets=("900",), bits=True)).job(ratings.source, tmp_path / "run")
    job.load()
    metrics = job.train(Options())
    assert metrics["bytes"] <= 900
    assert metrics["engine"] == "solver"
    for wrong, sentence in (
        ({"bits": True}, "--bits needs a --budget"),
        ({"bits": True, "budgets": ("900",), "methods": ("hashing",)}, "leave out --method"),
        ({"budgets": ("900",)}, "needs a --method to size, or --bits"),
    ):
        with pytest.raises(InputError, match=sentence):
            TrainOptions(RecipeOptions(**wrong)).job(ratings.source, tmp_path / "other")  # type: ignore[arg-type]


def test_a_plan_in_bits_is_foretold_and_trained(ratings: Ratings, encoded: Encoded, tmp_path: Path) -> None:
    assert isinstance(ratings.source, str)
    columns = {"source": ratings.source, "user": "userId", "item": "itemId"}
    recipe = recipe_for("ratings", columns, (), (), {"embedding_dim": 2})
    every, data = Planning(storages=("dense", "packed")), recipe.task.load(tmp_path)
    plan, _ = make_plan(recipe, data, "900", every, tmp_path)  # less than float32 biases alone
    assert plan.bytes <= 900
    assert plan.training == {"solver": "posterior"}
    assert set(plan.beside) == {"user_bias", "item_bias"}
    assert plan.prediction is not None
    assert plan.prediction.gain > plan.prediction.error
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    plan.save(tmp_path / "plan.json")
    job = TrainOptions(RecipeOptions(), plan=str(tmp_path / "plan.json")).job(ratings.source, tmp_path / "run")
    job.load()
    metrics = job.train(Options())
    assert metrics["bytes"] == plan.bytes
    assert metrics["engine"] == "solver"
    assert metrics["history"][-1]["val_mse"] == pytest.approx(plan.prediction.expected, rel=0.2)
    with pytest.raises(InputError, match="a model that a solver makes"):
        compress_run(tmp_path / "run", tmp_path / "small", plan=tmp_path / "plan.json")
    # Other wishes leave bits out.
    for other in (Planning(), Planning(storages=("int8",)), replace(every, methods=("low_rank",))):
        assert in_bits(recipe.task, encoded, 900, other) is None


def test_the_plan_that_is_predicted_to_be_better_counts() -> None:
    def plan(score: float, **fields: Any) -> Plan:
        said = Prediction("MSE", "lower", alone=1.0, gain=1.0 - score, error=0.01, by="a guess")
        return Plan(0, 900, {}, 800, 800, prediction=said, **fields)

    bits, mse = plan(0.8, training={"solver": "posterior"}), RatingsTask.score()
    assert better(plan(0.7), bits, mse) == plan(0.7)
    found = better(plan(0.9), bits, mse)
    assert found.training
    assert found.why.endswith("the best plan in floats, 800B, is predicted to reach MSE 0.9000")
    assert better(plan(0.805), bits, mse) == plan(0.805)  # biases alone, where vectors in bits are hardly better
    assert better(replace(plan(0.9), prediction=None), bits, mse).training == {}


def test_bits_of_ratings_of_any_range(ratings: Ratings) -> None:
    wide = replace(ratings, ratings=ratings.ratings * 1000)
    found = [task().in_bits(task().encoded(of, 0), 400) for of in (ratings, wide)]
    assert found[0] == found[1]


def test_a_solved_run_is_compressed_and_continued(ratings: Ratings, tmp_path: Path) -> None:
    assert isinstance(ratings.source, str)
    of = task(data=DataSettings(ratings.source))
    execute(RunSpec(of, FOUR, 0), tmp_path / "whole", ratings)
    small = compress_run(tmp_path / "whole", tmp_path / "small", budget="60%")
    assert small["bytes"] <= 0.6 * small["bytes_before"]
    further = train_on(tmp_path / "whole", tmp_path / "further", {"epochs": 1, "learning_rate": 1e-9})
    assert further["history"][-1]["epoch"] == 1
