"""The training loop against a second one, written out in a few lines; threads; divergence; state."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest
import torch
from torch import Tensor

from coset.errors import InputError
from coset.methods import Method, method
from coset.models.dot import DotModel, DotSettings
from coset.schema import Table
from coset.testing.cases import stored
from coset.training.loop import Interactions, Trainer
from coset.training.order import epoch_order
from coset.training.settings import TrainingSettings


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
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


def run_to_the_end(trainer: Trainer) -> None:
    while not trainer.done:
        trainer.run_epoch()


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
    options = {} if of.optimizer == "sgd" else {"eps": of.eps}
    optimizer = OPTIMIZERS[of.optimizer](now.values(), lr=of.learning_rate, **options)

    def score(users: Tensor, items: Tensor) -> Tensor:
        raw = (p[users] * q[items]).sum(1) + b[users, 0] + c[items, 0] + mean
        return 1 + 4 * torch.sigmoid(raw) if output == "sigmoid" else raw

    history = []
    steps = -(-len(training) // of.batch_size)
    for epoch in range(of.epochs):
        order = epoch_order(len(training), of.buffer, seed, epoch)
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
    trainer = Trainer(model, training, validation, settings, seed=5)
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
        Trainer(model, training, interactions(50, 30, 20, seed), TrainingSettings(batch_size=64), 0).run_epoch()
        found.append(weights(model))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_steps_are_told_in_full() -> None:
    training = interactions(1000, 30, 20, 0)
    trainer = Trainer(model_of(30, 20), training, training, TrainingSettings(batch_size=3, epochs=2), 0)
    assert trainer.steps_per_epoch == 334
    told: list[int] = []
    trainer.run_epoch(told.append)
    assert sum(told) == 334
    trainer.run_epoch(told.append)
    assert sum(told) == 668
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
            trainer = Trainer(model, training, validation, settings, 0)
            trainer.run_epoch()
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
    trainer = Trainer(model_of(30, 20, output="linear"), data, data, settings, 0)
    with pytest.raises(InputError, match="learning_rate") as caught:
        run_to_the_end(trainer)
    assert "\n" not in str(caught.value)
    assert all(abs(value) < float("inf") for epoch in trainer.history for value in epoch.values())


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "sgd"])
def test_state_goes_to_another_trainer_bit_for_bit(optimizer: Any) -> None:
    data = interactions(300, 30, 20, 0)
    settings = TrainingSettings(optimizer=optimizer, batch_size=32, epochs=3, schedule="cosine", learning_rate=0.01)
    first = Trainer(model_of(30, 20, biases=True), data, data, settings, 0)
    first.run_epoch()
    tensors, header = first.state()
    tensors = {name: value.clone() for name, value in tensors.items()}
    header = {**header, "history": [dict(epoch) for epoch in header["history"]]}
    torch.manual_seed(99)
    second = Trainer(model_of(30, 20, biases=True, std=1.0), data, data, settings, 0)
    second.restore(tensors, header)
    for trainer in (first, second):
        run_to_the_end(trainer)
    assert without_seconds(first.history) == without_seconds(second.history)
    left, right = weights(first.model), weights(second.model)
    assert all(torch.equal(left[name], right[name]) for name in left)
