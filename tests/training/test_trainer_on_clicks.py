"""The loop: it learns, stops when it should, and goes on from any step to the same bits."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from coset.data.clicks import ClickBatch, ClickData
from coset.errors import InputError
from coset.methods import Full, Hashing, Method, QuotientRemainder, TensorTrain, method_class
from coset.models.base import ClickModel
from coset.tasks import TrainingSettings
from coset.tasks.clicks import ClickRows, ClickSource, ClicksTask, ModelChoice
from coset.training.spec import RunSpec
from coset.training.trainer import EngineOption, Trainer

SMALL = ModelChoice.from_json({"name": "dlrm", "embedding_dim": 8, "bottom": [8], "top": [8]})
TRAINING = replace(ClicksTask.default_training(), batch_size=64, epochs=2, learning_rate=0.1, dense_learning_rate=0.01)
PATH = method_class("path_based")
MIXED = {"C1": QuotientRemainder(50), "C2": TensorTrain(2), "tags": Hashing(5)}
UNFUSABLE = {
    name: PATH(moduli=(-(-n // 2), 2), hidden=4) for name, n in {"C1": 200, "C2": 40, "C3": 3, "tags": 10}.items()
}


ClickTrainer = Trainer[ClickModel, ClickBatch]


def trainer(
    data: ClickData, methods: dict[str, Method] | None = None, engine: EngineOption = "auto",
    training: TrainingSettings = TRAINING, model: ModelChoice = SMALL, seed: int = 0,
) -> ClickTrainer:  # fmt: skip
    task = ClicksTask(ClickSource("mine"), model, training)
    made = RunSpec(task, methods or {}, seed).build(data)
    return Trainer(task, made, task.part(data, "training"), task.part(data, "validation"), seed, engine)


def finished(given: ClickTrainer) -> ClickTrainer:
    for _ in given.run():
        pass
    return given


def bare(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in history]


def equal(left: ClickTrainer, right: ClickTrainer) -> None:
    """All that can be seen of two trainings is the same, to the bit."""
    assert bare(left.history) == bare(right.history)
    for one, other in ((left.model.state_dict(), right.model.state_dict()), (left.state()[0], right.state()[0])):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_and_says_how_well(clicks: ClickData) -> None:
    given = finished(trainer(clicks, training=replace(TRAINING, epochs=3)))
    first, *_, last = given.history
    labels = torch.from_numpy(clicks.part("validation").column("label").astype("float32"))
    rate = float(labels.mean())
    constant = float(binary_cross_entropy_with_logits(torch.full_like(labels, rate).logit(), labels))
    assert last["val_logloss"] < constant
    assert last["val_normalised_entropy"] < 1
    assert last["val_auc"] > 0.7
    assert 0.7 < last["val_calibration"] < 1.3
    assert last["train_logloss"] < first["train_logloss"]
    assert [entry["epoch"] for entry in given.history] == [1, 2, 3]
    assert given.step == last["step"] == 3 * 24
    assert given.task.evaluate(given.model, ClickRows(clicks.part("validation")))["auc"] == last["val_auc"]


@pytest.mark.parametrize("optimizer", ["row_wise_adagrad", "adagrad", "sgd", "lazy_adam", "adam"])
def test_every_optimizer_goes_on_from_any_step(clicks: ClickData, optimizer: Any) -> None:
    training = replace(
        TRAINING, batch_size=128, optimizer=optimizer, learning_rate=0.01, schedule="cosine", warmup=4, evaluate_every=9
    )
    whole, watched = trainer(clicks, MIXED, training=training), trainer(clicks, MIXED, training=training)
    kept: dict[int, Any] = {}
    for step in watched.run():
        if step.number in (1, 8, 9, 12, 15):  # within an epoch, at an evaluation, at the end of an epoch
            tensors, header = watched.state()
            kept[step.number] = (
                {name: t.clone() for name, t in tensors.items()},
                {**header, "history": [*header["history"]]},
            )
    finished(whole)
    equal(whole, watched)  # a look at the state changes nothing
    for tensors, header in kept.values():
        again = trainer(clicks, MIXED, training=training, seed=0)
        again.restore(tensors, tensors.__getitem__, header)
        equal(whole, finished(again))


@pytest.mark.parametrize("dense", ["adam", "AdamW", "SGD", "Adagrad", "RMSprop", "NAdam", "ASGD"])
def test_optimizers_of_torch_go_on(clicks: ClickData, dense: str) -> None:
    options = {"momentum": 0.9} if dense == "SGD" else {"amsgrad": True} if dense == "adam" else {}
    training = replace(TRAINING, batch_size=128, dense_optimizer=dense, dense_options=options, epochs=1)
    whole = finished(trainer(clicks, UNFUSABLE, training=training))
    part = trainer(clicks, UNFUSABLE, training=training)
    assert part.engine == "plain"  # nothing for kernels here
    steps = part.run()
    for _ in range(5):
        next(steps)
    tensors, header = part.state()
    again = trainer(clicks, UNFUSABLE, training=training)
    again.restore(tensors, tensors.__getitem__, header)
    equal(whole, finished(again))


def test_who_asks_for_no_more_goes_on_later(clicks: ClickData) -> None:
    whole, halting = finished(trainer(clicks)), trainer(clicks)
    while not halting.done:
        steps = halting.run()
        for _, _ in zip(range(5), steps, strict=False):
            pass
        steps.close()  # type: ignore[attr-defined]
    equal(whole, halting)


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd", "adam"])
def test_engines_agree(clicks: ClickData, optimizer: Any) -> None:
    training = replace(TRAINING, optimizer=optimizer, learning_rate=0.02, epochs=1, max_norm=0.5)
    methods: dict[str, Method] = {"C1": QuotientRemainder(50), "C2": Hashing(10)}
    fused, plain = (finished(trainer(clicks, methods, engine, training)) for engine in ("fused", "plain"))
    assert (fused.engine, plain.engine) == ("fused", "plain")
    for one, other in zip(fused.history, plain.history, strict=True):
        for name in ("train_logloss", "val_logloss", "val_auc", "val_calibration"):
            assert one[name] == pytest.approx(other[name], rel=2e-4), name


def test_engines_that_do_not_fit(clicks: ClickData) -> None:
    with pytest.raises(InputError, match="of the fused engine alone"):
        trainer(clicks, engine="plain")
    with pytest.raises(InputError, match="needs tables composed of rows"):
        trainer(clicks, UNFUSABLE, engine="fused")
    fused, plain = (
        trainer(clicks, engine=engine, training=replace(TRAINING, optimizer="sgd")) for engine in ("fused", "plain")
    )
    tensors, header = fused.state()
    with pytest.raises(InputError, match="began with engine 'fused'"):
        plain.restore(tensors, tensors.__getitem__, header)


def test_gradients_of_all_are_clipped_together(clicks: ClickData) -> None:
    """Against torch's own clipping, on the same model trained plainly."""
    training = replace(TRAINING, optimizer="sgd", dense_optimizer="SGD", dense_learning_rate=0.1, max_norm=0.05)
    given, plain = trainer(clicks, training=training), trainer(clicks, engine="plain", training=training)
    step, expected = next(given.run()), next(plain.run())
    batch = next(clicks.part("training").batches(64, seed=0))
    model = trainer(clicks, engine="plain", training=training).model
    logits = model(batch.numeric, batch.features(tuple(model.tables.features)))
    torch.autograd.backward(binary_cross_entropy_with_logits(logits, batch.labels))
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05))
    assert norm > 0.05
    assert step.norm == pytest.approx(norm, rel=1e-5)
    assert expected.norm == pytest.approx(norm, rel=1e-5)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(given.model.state_dict()[name], value)


def test_early_stopping_keeps_count(clicks: ClickData) -> None:
    training = replace(TRAINING, learning_rate=1.0, epochs=50, evaluate_every=12, patience=3)
    given = finished(trainer(clicks, training=training))
    losses = [entry["val_logloss"] for entry in given.history]
    assert given.stopped
    assert given.step < 50 * 24
    assert given.best == losses.index(min(losses)) == len(losses) - 4
    never = finished(trainer(clicks, training=replace(training, patience=None, epochs=2)))
    assert not never.stopped
    assert never.step == 48
    greedy = finished(trainer(clicks, training=replace(training, min_gain=10.0)))
    assert greedy.best == 0
    assert len(greedy.history) == 4


def test_file_order_is_that_of_the_file(clicks: ClickData) -> None:
    """With one SGD step on the first rows, and nothing of the others."""
    training = replace(TRAINING, optimizer="sgd", dense_optimizer="sgd", shuffle="none")
    given = trainer(clicks, training=training)
    before = given.model.state_dict()["tables.tables.C3.rows.weight"].clone()
    next(given.run())
    first = clicks.part("training").column("C3")[:64]
    changed = (given.model.state_dict()["tables.tables.C3.rows.weight"] != before).any(1)
    assert set(changed.nonzero().flatten().tolist()) == set(first.tolist())


def test_divergence_is_a_sentence(clicks: ClickData) -> None:
    training = replace(TRAINING, learning_rate=1e30, optimizer="sgd", dense_optimizer="SGD", dense_learning_rate=1e30)
    with pytest.raises(InputError, match=r"training diverged in step \d+.*learning_rate below 1e\+30"):
        finished(trainer(clicks, training=training))


def test_results_do_not_depend_on_threads(clicks: ClickData) -> None:
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(finished(trainer(clicks, MIXED)))
    torch.set_num_threads(before)
    equal(*found)


def test_dcn_and_full_tables(clicks: ClickData) -> None:
    model = ModelChoice.from_json({"name": "dcn", "embedding_dim": 4, "deep": [8], "cross_layers": 2})
    given = finished(trainer(clicks, {"C1": Full()}, model=model))
    assert given.history[-1]["val_auc"] > 0.65


def test_losses_are_means_over_all_rows(clicks: ClickData) -> None:
    """The log-loss of an untrained model, summed by hand, is that of an epoch in which nothing is learned."""
    training = replace(
        TRAINING, optimizer="sgd", dense_optimizer="SGD", learning_rate=1e-30, dense_learning_rate=1e-30, epochs=1
    )
    given = trainer(clicks, training=training)
    names = tuple(given.model.tables.features)
    total: float = 0.0
    with torch.no_grad():
        for batch in clicks.part("training").batches(100):
            logits: Tensor = given.model(batch.numeric, batch.features(names))
            for z, y in zip(logits.tolist(), batch.labels.tolist(), strict=True):
                total += -(y * z - (max(z, 0) + torch.log1p(torch.tensor(exp(-abs(z)), dtype=torch.float64)).item()))
    finished(given)
    assert given.history[0]["train_logloss"] == pytest.approx(total / 1500, rel=1e-6)
