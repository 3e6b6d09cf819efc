"""The training loop against a second one, written out in a few lines; threads; divergence; state."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest
import torch
from torch import Tensor

from coset.data.settings import DataSettings
from coset.errors import InputError
from coset.methods import Method, method
from coset.models.dot import DotModel, DotSettings
from coset.schema import Table
from coset.tasks import Metric, Order, TrainingSettings
from coset.tasks.ratings import Interactions, RatingsPart, RatingsTask
from coset.tasks.ratings.parts import permutation
from coset.testing.cases import stored
from coset.training.trainer import EngineOption, Trainer


def interactions(n: int, users: int, items: int, seed: int) -> Interactions:
    generator = torch.Generator().manual_seed(seed)
    return Interactions(
        torch.randint(users, (n,), generator=generator),
        torch.randint(items, (n,), generator=generator),
        torch.randint(1, 6, (n,), generator=generator).float(),
    )


def model_of(users: int, items: int, methods: dict[str, Method] | None = None, **choices: Any) -> DotModel:
    settings = DotSettings(**({"embedding_dim": 4, "low": 1.0, "high": 5.0, "std": 0.3} | choices))
    torch.manual_seed(7)
    tables = (Table(name, n, settings.embedding_dim, settings.std) for name, n in (("user", users), ("item", items)))
    return DotModel(*tables, methods or {}, settings, mean=3.0)


def weights(model: DotModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in stored(model).items()}


def without_seconds(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [
        {name: value for name, value in epoch.items() if name not in ("seconds", "step", "share")} for epoch in history
    ]


def trainer_of(
    model: DotModel, training: Interactions, validation: Interactions, settings: TrainingSettings, seed: int,
    engine: EngineOption = "auto",
) -> Trainer[DotModel, Interactions]:  # fmt: skip
    task = RatingsTask(DataSettings(""), training=settings)
    return Trainer(task, model, RatingsPart(training), RatingsPart(validation), seed, engine)


def run_epoch(each: Trainer[Any, Any]) -> dict[str, Any]:
    """Train to the next evaluation."""
    return next(step.evaluation for step in each.run() if step.evaluation is not None)


def restore(each: Trainer[Any, Any], tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    each.restore(tensors, tensors.__getitem__, header)


def run_to_the_end(trainer: Trainer[Any, Any]) -> None:
    while not trainer.done:
        run_epoch(trainer)


OPTIMIZERS = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}


def reference(
    start: dict[str, Tensor], training: Interactions, validation: Interactions, of: TrainingSettings, output: str,
    seed: int,
) -> tuple[dict[str, Tensor], list[dict[str, float]]]:  # fmt: skip
    """Biased matrix factorisation on plain arrays, one batch after the other."""
    now = {name: value.clone().requires_grad_() for name, value in start.items()}

    def find(part: str) -> Tensor:
        (key,) = (key for key in now if key.startswith(part))
        return now[key]

    p, q = find("embeddings.tables.user"), find("embeddings.tables.item")
    b, c, mean = find("biases.tables.user"), find("biases.tables.item"), now["mean"]
    options = {} if of.optimizer == "sgd" else {"eps": of.eps or (1e-10 if of.optimizer == "adagrad" else 1e-8)}
    optimizer = OPTIMIZERS[of.optimizer](now.values(), lr=of.learning_rate, **options)

    def score(users: Tensor, items: Tensor) -> Tensor:
        raw = (p[users] * q[items]).sum(1) + b[users, 0] + c[items, 0] + mean
        return 1 + 4 * torch.sigmoid(raw) if output == "sigmoid" else raw

    history = []
    steps = -(-len(training) // of.batch_size)
    for epoch in range(of.epochs):
        order = permutation(len(training), of.order(seed, epoch) or Order(0, 0))
        squares, absolutes = 0.0, 0.0
        for step, rows in enumerate(order.split(of.batch_size)):
            users, items, targets = training.users[rows], training.items[rows], training.targets[rows]
            gap = score(users, items) - targets
            looked_up = torch.cat([p[users], q[items], b[users], c[items]], dim=1)
            loss = (gap**2).mean() + of.l2 * (looked_up**2).sum(1).mean()
            if of.schedule == "cosine":
                rate = of.learning_rate / 2 * (1 + cos(pi * (epoch * steps + step) / (of.epochs * steps)))
                optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            squares += float((gap.detach().double() ** 2).sum())
            absolutes += float(gap.detach().double().abs().sum())
        with torch.no_grad():
            gap = (score(validation.users, validation.items).clamp(1, 5) - validation.targets).double()
        history.append({
            "epoch": epoch + 1, "train_mse": squares / len(training), "train_mae": absolutes / len(training),
            "val_mse": float((gap**2).mean()), "val_mae": float(gap.abs().mean()),
        })  # fmt: skip
    return {name: value.detach() for name, value in now.items()}, history


@pytest.mark.parametrize(
    ("output", "choices"),
    [
        ("sigmoid", {"optimizer": "adam", "eps": 1e-7}),
        ("linear", {"optimizer": "adam", "l2": 0.02, "schedule": "cosine"}),
        ("sigmoid", {"optimizer": "adagrad", "l2": 0.1, "shuffle": "buffer(40)"}),
        ("linear", {"optimizer": "sgd", "schedule": "cosine", "l2": 0.05}),
        ("linear", {"optimizer": "adam", "batch_size": 1000}),
    ],
)
def test_the_loop_is_the_one_written_out(output: Any, choices: dict[str, Any]) -> None:
    training, validation = interactions(333, 30, 20, 0), interactions(77, 30, 20, 1)
    settings = TrainingSettings(**({"batch_size": 32, "epochs": 3, "learning_rate": 0.02} | choices))
    model = model_of(30, 20, biases=True, output=output)
    expected, expected_history = reference(weights(model), training, validation, settings, output, seed=5)
    trainer = trainer_of(model, training, validation, settings, seed=5)
    run_to_the_end(trainer)
    for name, value in weights(model).items():
        torch.testing.assert_close(value, expected[name], rtol=2e-5, atol=2e-6)
    for found, wanted in zip(without_seconds(trainer.history), expected_history, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5)


def test_validation_is_never_learned_from() -> None:
    training = interactions(200, 30, 20, 0)
    found = []
    for seed in (1, 2):
        model = model_of(30, 20)
        run_epoch(trainer_of(model, training, interactions(50, 30, 20, seed), TrainingSettings(batch_size=64), 0))
        found.append(weights(model))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_steps_are_told_in_full() -> None:
    training = interactions(1000, 30, 20, 0)
    trainer = trainer_of(model_of(30, 20), training, training, TrainingSettings(batch_size=3, epochs=2), 0)
    assert trainer.steps_per_epoch == 334
    told = [step.number for step in trainer.run([100])]
    assert told == [100, 200, 300, 334, 400, 500, 600, 668]
    assert trainer.step == 668
    assert trainer.done
    assert [epoch["epoch"] for epoch in trainer.history] == [1, 2]


METHODS: dict[str, dict[str, Method]] = {
    "full": {},
    "hashing": {"user": method("hashing", num_buckets=900, hash="multiply_shift")},
    "quotient_remainder": {"user": method("quotient_remainder", num_buckets=80)},
    "mixed_dimension": {"user": method("mixed_dimension", block_sizes=(500, 4500), block_dims=(32, 8))},
    "low_rank": {"user": method("low_rank", rank=4)},
}


@pytest.mark.parametrize("name", METHODS)
def test_results_do_not_depend_on_threads(name: str) -> None:
    """In sizes at which torch shares work among threads."""
    training, validation = interactions(20_000, 5000, 3000, 0), interactions(20_000, 5000, 3000, 1)
    settings = TrainingSettings(batch_size=8192, epochs=1, learning_rate=0.01, l2=0.01)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            model = model_of(5000, 3000, METHODS[name], embedding_dim=32, biases=True)
            trainer = trainer_of(model, training, validation, settings, 0)
            run_epoch(trainer)
            found.append((without_seconds(trainer.history), weights(model)))
    finally:
        torch.set_num_threads(before)
    for history, state in found[1:]:
        assert history == found[0][0]
        assert [key for key in state if not torch.equal(state[key], found[0][1][key])] == []


@pytest.mark.parametrize("rate", [1e18, 1e30])
def test_a_training_that_diverges_says_so(rate: float) -> None:
    data = interactions(200, 30, 20, 0)
    settings = TrainingSettings(optimizer="sgd", learning_rate=rate, batch_size=10, epochs=3)
    trainer = trainer_of(model_of(30, 20, output="linear"), data, data, settings, 0)
    with pytest.raises(InputError, match="learning_rate") as caught:
        run_to_the_end(trainer)
    assert "\n" not in str(caught.value)
    assert all(abs(value) < float("inf") for epoch in trainer.history for value in epoch.values())


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "sgd"])
def test_state_goes_to_another_trainer_bit_for_bit(optimizer: Any) -> None:
    data = interactions(300, 30, 20, 0)
    settings = TrainingSettings(optimizer=optimizer, batch_size=32, epochs=3, schedule="cosine", learning_rate=0.01)
    first = trainer_of(model_of(30, 20, biases=True), data, data, settings, 0)
    run_epoch(first)
    tensors, header = first.state()
    tensors = {name: value.clone() for name, value in tensors.items()}
    header = {**header, "history": [dict(epoch) for epoch in header["history"]]}
    torch.manual_seed(99)
    second = trainer_of(model_of(30, 20, biases=True, std=1.0), data, data, settings, 0)
    restore(second, tensors, header)
    for trainer in (first, second):
        run_to_the_end(trainer)
    assert without_seconds(first.history) == without_seconds(second.history)
    left, right = weights(first.model), weights(second.model)
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("engine", "optimizer"),
    [*((engine, of) for engine in ("fused", "plain") for of in ("adam", "adagrad", "sgd")), ("fused", "lazy_adam")],
)
@pytest.mark.parametrize("choices", [{}, {"evaluate_every": 4}], ids=str)
def test_it_goes_on_from_any_step(optimizer: Any, choices: dict[str, Any], engine: EngineOption) -> None:
    """In the middle of an epoch too, and however often somebody looks: to the same bits."""
    data = interactions(300, 30, 20, 0)
    settings = TrainingSettings(
        optimizer=optimizer,
        batch_size=32,
        epochs=3,
        schedule="cosine",
        warmup=5,
        learning_rate=0.02,
        l2=0.01,
        **choices,
    )
    methods = {"user": method("mixed_dimension", block_sizes=(10, 20), block_dims=(4, 2))}

    def fresh() -> Trainer[DotModel, Interactions]:
        return trainer_of(model_of(30, 20, methods, biases=True), data, data, settings, 0, engine)

    whole, watched = fresh(), fresh()
    run_to_the_end(whole)
    kept = []
    for step in watched.run([1, 5]):
        if step.number in (1, 4, 7, 10, 13, 20):
            tensors, header = watched.state()
            copied = {name: value.clone() for name, value in tensors.items()}
            kept.append((copied, {**header, "history": [*header["history"]]}))
    assert len(kept) == 6
    for tensors, header in kept:
        again = fresh()
        restore(again, tensors, header)
        run_to_the_end(again)
        assert again.step == 30
        for other in (watched, again):
            assert without_seconds(other.history) == without_seconds(whole.history)
            left, right = weights(other.model), weights(whole.model)
            assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_score_that_is_better_when_higher_stops_the_training() -> None:
    data = interactions(200, 30, 20, 0)
    settings = TrainingSettings(batch_size=50, epochs=20, patience=3, learning_rate=1e-30)

    class Upwards(RatingsTask):
        metrics = (Metric("up", better="higher"),)
        values = iter([0.1, 0.3, 0.2, 0.3, None, 0.9])

        def evaluate(self, model: Any, *parts: Any) -> Any:
            return {"up": next(self.values)}

    trainer = Trainer(
        Upwards(DataSettings(""), training=settings), model_of(30, 20), RatingsPart(data), RatingsPart(data), 0
    )
    run_to_the_end(trainer)
    assert trainer.stopped
    assert (trainer.best, len(trainer.history)) == (1, 5)
