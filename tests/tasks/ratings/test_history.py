"""Runs of a model that reads histories: what they store, that they resume to the bit, what commands make of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coset import ledger
from coset.data.settings import DataSettings, SplitSettings
from coset.errors import InputError
from coset.experiments.compress import compress_run
from coset.experiments.evaluate import evaluate_run
from coset.experiments.plan_choices import Planning
from coset.experiments.planning import Plans
from coset.methods import QuotientRemainder
from coset.models.dot import DotSettings
from coset.models.history import Histories
from coset.tasks import TrainingSettings
from coset.tasks.ratings import RatingsTask
from coset.training.finished import FinishedRun
from coset.training.run import Options, execute
from coset.training.spec import RunSpec
from coset.training.trainer import Trainer

USERS, ITEMS = 40, 60


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ratings that the choice of items foretells: those of users who chose even items are high."""
    draw, path = np.random.default_rng(4), tmp_path_factory.mktemp("data") / "chosen.csv"
    rows = ["user,movie,rating"]
    for user in range(USERS):
        kind = user % 2
        chosen = sorted({2 * int(draw.random() ** 2 * ITEMS / 2) + kind for _ in range(25)})
        rows += [f"{user},{item},{4 + kind * -2 + int(draw.integers(0, 2))}" for item in chosen]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def task(source: Path, **model: Any) -> RatingsTask:
    chosen = {"embedding_dim": 4, "biases": True, "output": "linear", "history": 12} | model
    training = TrainingSettings(learning_rate=0.02, batch_size=64, epochs=3, l2=0.01, ridge=1.0, bias_ridge=(4.0, 4.0))
    return RatingsTask(DataSettings(str(source)), SplitSettings(), model=DotSettings(**chosen), training=training)


def run_of(source: Path, folder: Path, methods: Any = None, **model: Any) -> Path:
    """Trained by plain torch: kernels are in `test_fast`."""
    own = task(source, **model)
    execute(RunSpec(own, methods or {}, 1), folder, own.load(folder), Options(engine="plain"))
    return folder


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(source, tmp_path_factory.mktemp("runs") / "history", {"rated_item": QuotientRemainder(10)})


def test_the_ledger_is_what_is_stored(source: Path, run: Path) -> None:
    own = task(source)
    encoded = own.encoded(own.load(run), 1)
    methods = {"rated_item": QuotientRemainder(10)}
    predicted = own.components(methods, encoded)
    found = FinishedRun.load(run)
    assert isinstance(found.model.histories, Histories)
    assert sorted(map(str, predicted)) == sorted(map(str, found.model.components()))
    assert found.metrics["bytes"] == ledger.inference_bytes(predicted) == ledger.measure(found.model).inference
    # A byte a step, as few items are, and 4 a user.
    counts = [len(found.model.histories.read(torch.tensor([user])).items) for user in range(USERS)]
    assert found.model.histories.bytes == sum(counts) + 4 * USERS
    (rated,) = (table for table in own.tables(encoded) if table.name == "rated_item")
    without = ledger.inference_bytes(task(source, history=0).components({}, encoded))
    more = methods["rated_item"].bytes(rated) + found.model.histories.bytes
    assert found.metrics["bytes"] == without + more


def test_histories_are_of_the_training_part(source: Path, run: Path) -> None:
    own, model = task(source), FinishedRun.load(run).model
    encoded = own.encoded(own.load(run), 1)
    rows = encoded.split.training
    for user in range(USERS):
        rated = np.unique(encoded.items.numpy()[rows][encoded.users.numpy()[rows] == user])
        history = model.histories.read(torch.tensor([user])).items.numpy()
        assert len(history) == min(12, len(rated))
        assert np.isin(history, rated).all()


def test_a_finished_run_is_evaluated_as_it_was_trained(run: Path) -> None:
    found = evaluate_run(run)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert found["mse"] == pytest.approx(metrics["history"][-1]["val_mse"], rel=1e-6)


def test_it_resumes_to_the_bit(source: Path, tmp_path: Path) -> None:
    own = task(source)
    encoded = own.encoded(own.load(tmp_path), 1)
    parts = own.part(encoded, "training"), own.part(encoded, "validation")

    def fresh() -> Trainer[Any, Any]:
        return Trainer(own, RunSpec(own, {}, 1).build(encoded), *parts, 1, "plain")

    whole, stopped, resumed = fresh(), fresh(), fresh()
    for _ in whole.run():
        pass
    for step in stopped.run():
        if step.number == 5:
            break
    tensors, header = stopped.state()
    kept = {name: value.clone() for name, value in tensors.items()}
    resumed.restore(kept, kept.__getitem__, json.loads(json.dumps(header)))
    for _ in resumed.run():
        pass
    left, right = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(value, right[name]) for name, value in left.items() if isinstance(value, torch.Tensor))
    assert whole.history[-1]["val_mse"] == resumed.history[-1]["val_mse"]


def test_compression_keeps_histories(run: Path, tmp_path: Path) -> None:
    before = FinishedRun.load(run).metrics["bytes"]
    found = compress_run(run, tmp_path / "small", budget="90%", finetune=1, engine="plain")
    after = FinishedRun.load(tmp_path / "small")
    assert found["bytes"] == after.metrics["bytes"] <= 0.9 * before
    assert {table["name"] for table in found["tables"]} >= {"user", "item", "rated_item"}
    assert torch.equal(after.model.histories.steps, FinishedRun.load(run).model.histories.steps)
    assert evaluate_run(tmp_path / "small")["mse"] == pytest.approx(found["finetuned"]["val_mse"], rel=1e-6)


def test_a_plan_has_a_method_for_the_table_of_histories(source: Path, tmp_path: Path) -> None:
    own = task(source)
    encoded = own.encoded(own.load(tmp_path), 1)
    plan = Plans(encoded).best(own, 2600, Planning())
    assert set(plan.tables) == {"user", "item", "rated_item"}
    planned = dataclasses.replace(own, model=dataclasses.replace(own.model, embedding_dim=plan.embedding_dim))
    assert plan.bytes == ledger.inference_bytes(planned.components(plan.methods, encoded)) <= 2600


def test_what_users_choose_is_learned_from(source: Path, tmp_path: Path) -> None:
    """Biases and vectors of few ratings know less of a user than the choice of items does."""
    errors = []
    for number, history in enumerate((12, 0)):
        folder = run_of(source, tmp_path / str(number), biases=False, history=history)
        errors.append(evaluate_run(folder)["mse"])
    assert errors[0] < 0.8 * errors[1]


def test_cut_histories_are_said(source: Path, tmp_path: Path) -> None:
    own = task(source)
    data = own.load(tmp_path)
    (said,) = own.terms(data)
    many = int((np.bincount(data.users) > 12).sum())
    assert said == (
        f"{many} of {USERS} users have more than 12 ratings; their histories hold 12 items of them, spread evenly over "
        "popularity (model.history)."
    )
    assert not task(source, history=100).terms(data)
    assert not task(source, history=0).terms(data)
    with pytest.raises(InputError, match="history must be 0 or more items of a user, not -5"):
        task(source, history=-5)


def test_biases_alone_read_no_histories(source: Path, tmp_path: Path) -> None:
    own = task(source, embedding_dim=0)
    encoded = own.encoded(own.load(tmp_path), 1)
    assert own.build({}, encoded).histories is None
    assert len(own.components({}, encoded)) == 3
