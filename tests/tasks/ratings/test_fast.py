"""The fused engine of dot models against the plain one, and lazy Adam against a few lines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from coset.data.settings import DataSettings
from coset.errors import InputError
from coset.methods import (
    AttributePartitions,
    Blocks,
    Bloom,
    FeatureGeneration,
    Full,
    Hashing,
    LowRank,
    Method,
    MixedDimension,
    QuotientRemainder,
    TensorTrain,
    registered,
)
from coset.models.dot import DotModel, DotSettings
from coset.models.history import Histories
from coset.schema import Table
from coset.tasks import Order, TrainingSettings
from coset.tasks.ratings import Interactions, RatingsPart, RatingsTask
from coset.tasks.ratings.fast import FastDot, unfit
from coset.tasks.ratings.parts import permutation
from coset.testing.cases import attributed, difference, stored
from coset.training import checkpoint
from coset.training.trainer import Trainer

DOUBLE, FLOAT = torch.float64, torch.float32
USERS, ITEMS = 60, 42


def interactions(n: int, seed: int = 0, dtype: torch.dtype = DOUBLE) -> Interactions:
    draw = torch.Generator().manual_seed(seed)
    users = (torch.rand(n, generator=draw) ** 2 * USERS).long()  # some ids often, some never
    items = (torch.rand(n, generator=draw) ** 3 * ITEMS).long()
    return Interactions(users, items, torch.randint(1, 6, (n,), generator=draw).to(dtype))


def histories_of(most: int) -> Histories:
    """What users rated in the data of most tests, but for some of it, and something else."""
    data, other = interactions(170), interactions(40, 9)
    users, items = (
        torch.cat([one, two]).numpy() for one, two in ((data.users, other.users), (data.items, other.items))
    )
    return Histories.of(users, items, users_in_all=USERS, most=most)


def model_of(
    user: Method | None = None, item: Method | None = None, rated: Method | None = None, dtype: torch.dtype = DOUBLE,
    **choices: Any,
) -> DotModel:  # fmt: skip
    settings = DotSettings(**({"embedding_dim": 4, "low": 1.0, "high": 5.0, "std": 0.3} | choices))
    torch.manual_seed(7)
    dim = max(1, settings.embedding_dim)
    tables = [
        attributed(name, n, dim, std=settings.std, frequencies=np.arange(n)[::-1] // 3)
        for name, n in (("user", USERS), ("item", ITEMS))
    ]
    given = ("user", user), ("item", item), ("rated_item", rated)
    methods = {name: how for name, how in given if how is not None}
    model = DotModel(*tables, methods, settings, 3.0, histories_of(settings.history) if settings.has_history else None)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("biases"):
                parameter.normal_(0, 0.1)
    return model.to(dtype)


def trainer(
    engine: Any, model: DotModel, training: Interactions | None = None, **choices: Any
) -> Trainer[DotModel, Interactions]:
    settings = TrainingSettings(**({"batch_size": 16, "epochs": 3, "learning_rate": 0.02} | choices))
    training = interactions(203) if training is None else training
    task = RatingsTask(DataSettings(""), training=settings)
    return Trainer(task, model, RatingsPart(training), RatingsPart(interactions(50, 1)), 5, engine)


def state_of(of: Trainer[Any, Any]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in of.state()[0].items() if "optimizers.fast." not in name}


def timeless(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


def run_epoch(each: Trainer[Any, Any]) -> dict[str, Any]:
    """Train to the next evaluation."""
    return next(step.evaluation for step in each.run() if step.evaluation is not None)


def restore(each: Trainer[Any, Any], tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    each.restore(tensors, tensors.__getitem__, header)


def learn_from(each: Trainer[Any, Any], data: Interactions) -> None:
    """From now on."""
    each.training = RatingsPart(data)
    if isinstance(each.by, FastDot):
        each.by.training = each.training


def run_to_the_end(each: Trainer[Any, Any]) -> None:
    while not each.done:
        run_epoch(each)


def assert_same(fused: Trainer[Any, Any], plain: Trainer[Any, Any], tolerance: float = 1e-9) -> None:
    found, wanted = state_of(fused), state_of(plain)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )
    for one, other in zip(timeless(fused.history), timeless(plain.history), strict=True):
        assert one == pytest.approx(other, rel=tolerance)


MODELS: dict[str, dict[str, Any]] = {
    "full": {},
    "linear": {"output": "linear"},
    "biased": {"biases": True},
    "biased_linear": {"biases": True, "output": "linear", "low": -2.0, "high": 9.0},
    "biases_alone": {"biases": True, "embedding_dim": 0},
    "biases_alone_linear": {"biases": True, "embedding_dim": 0, "output": "linear"},
    "mult": {"user": QuotientRemainder(13), "item": QuotientRemainder(9, "add"), "biases": True},
    "concat": {"user": QuotientRemainder(13, "concat"), "item": Hashing(7, hash="multiply_shift")},
    "low_rank": {"user": LowRank(2), "item": LowRank(3), "biases": True},
    "mixed": {"user": MixedDimension((20, 40), (4, 2)), "item": MixedDimension((10, 32), (4, 1), layout="keras")},
    "blocks": {
        "user": Blocks((5, 30), (Full(), Blocks((7,), (LowRank(2), QuotientRemainder(5))), Hashing(9))),
        "item": Bloom(11, 3), "biases": True,
    },
    "generated": {"user": FeatureGeneration((8, 8)), "item": FeatureGeneration((4, 4, 3)), "output": "linear"},
    "half_generated": {"user": FeatureGeneration((8, 8)), "biases": True},
    "attributes": {"user": AttributePartitions(), "item": AttributePartitions(operation="concat")},
    "history": {"history": 100, "biases": True, "output": "linear"},
    "history_mult": {"history": 6, "rated": QuotientRemainder(9), "user": LowRank(2)},
    "history_blocks": {
        "history": 8, "rated": Blocks((5, 20), (Full(), LowRank(2), Hashing(9))), "biases": True,
        "item": MixedDimension((10, 32), (4, 1)),
    },
    "history_generated": {"history": 7, "rated": FeatureGeneration((4, 4, 3)), "user": FeatureGeneration((8, 8))},
}  # fmt: skip
OPTIMIZERS = ("adam", "adagrad", "sgd")
FORMS: tuple[dict[str, Any], ...] = (
    {}, {"l2": 0.05}, {"schedule": "cosine", "l2": 0.01}, {"projection_rate": 0.1, "schedule": "cosine"},
    {"eps": 1e-5, "shuffle": "buffer(20)"}, {"ridge": 3.0, "bias_ridge": (4.0, 0.5), "l2": 0.02},
)  # fmt: skip


@pytest.mark.compiles
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_engines_agree_in_single_precision(optimizer: str) -> None:
    data = interactions(203, dtype=FLOAT)
    fused, plain = (
        trainer(engine, model_of(user=QuotientRemainder(13), item=LowRank(2), biases=True, dtype=FLOAT), data,
                optimizer=optimizer, l2=0.01)
        for engine in ("fused", "plain")
    )  # fmt: skip
    while not plain.done:
        run_epoch(fused)
        run_epoch(plain)
    assert_same(fused, plain, 1e-4)


@pytest.mark.compiles
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_engines_agree_epoch_by_epoch(name: str, optimizer: str) -> None:
    of = {**MODELS[name]}
    choices = FORMS[(list(MODELS).index(name) + OPTIMIZERS.index(optimizer)) % len(FORMS)]
    rate = 0.1 if optimizer == "sgd" else 0.02
    fused, plain = (
        trainer(engine, model_of(**of), optimizer=optimizer, learning_rate=rate, **choices)
        for engine in ("fused", "plain")
    )
    while not plain.done:
        run_epoch(fused)
        run_epoch(plain)
        assert_same(fused, plain)


@pytest.mark.parametrize("choices", FORMS, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_engines_agree_step_by_step(optimizer: str, choices: dict[str, Any]) -> None:
    of = {"user": MODELS["blocks"]["user"], "item": LowRank(2), "biases": True}
    fused, plain = (
        trainer(engine, model_of(**of), optimizer=optimizer, epochs=2, **choices) for engine in ("fused", "plain")
    )
    for steps in zip(fused.run([1]), plain.run(), strict=True):
        fused.by.settle()  # type: ignore[union-attr]
        assert steps[0].loss == pytest.approx(steps[1].loss, rel=1e-9)
        assert_same(fused, plain)


@pytest.mark.parametrize("kind", sorted(registered()))
def test_every_row_composed_method(kind: str) -> None:
    table = attributed("user", USERS, 4)
    methods = [m for m in registered()[kind].examples(table) if m.descriptor(table) is not None]
    for number, method in enumerate(methods):
        choices = {"optimizer": OPTIMIZERS[number % 3], "epochs": 1, "l2": 0.01}
        fused, plain = (
            trainer(engine, model_of(user=method, biases=number % 2 == 0), interactions(80), **choices)
            for engine in ("fused", "plain")
        )
        run_epoch(fused)
        run_epoch(plain)
        assert_same(fused, plain)


@pytest.mark.parametrize(("count", "batch"), [(1, 16), (15, 16), (16, 16), (17, 16), (40, 1), (2060, 2), (2000, 1500)])
def test_batches_of_any_number(count: int, batch: int) -> None:
    """Of one rating, more than the ratings there are, more than one call of a kernel trains, more than a chunk."""
    fused, plain = (
        trainer(engine, model_of(user=LowRank(2), biases=True), interactions(count), batch_size=batch, epochs=2)
        for engine in ("fused", "plain")
    )
    for _ in range(2 if count < 2060 else 1):
        run_epoch(fused)
        run_epoch(plain)
    assert_same(fused, plain)


def test_dense_adam_moves_rows_that_are_not_read() -> None:
    """Users above 9 are read in the first epoch alone, and their rows go on moving for 400 steps."""
    first, rest = interactions(203), interactions(203)
    rest = Interactions(rest.users % 10, rest.items % 10, rest.targets)
    engines = [trainer(engine, model_of(biases=True), first, batch_size=2, epochs=6) for engine in ("fused", "plain")]
    for each in engines:
        run_epoch(each)
        learn_from(each, rest)
        for _ in range(4):
            run_epoch(each)
        learn_from(each, first)
        run_epoch(each)
    assert_same(*engines)


# -- resuming ----------------------------------------------------------------------------------------------------------


@pytest.mark.compiles
@pytest.mark.parametrize("history", [0, 8])
@pytest.mark.parametrize("engines", [("fused", "plain"), ("plain", "fused"), ("fused", "fused")], ids="-".join)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_either_engine_goes_on_where_the_other_stopped(
    optimizer: str, engines: tuple[str, str], history: int, tmp_path: Any
) -> None:
    def fresh(engine: str) -> Trainer[Any, Any]:
        of = model_of(user=MODELS["blocks"]["user"], biases=True, history=history)
        return trainer(engine, of, optimizer=optimizer, schedule="cosine", l2=0.01)

    whole = fresh("plain" if engines[0] != engines[1] else "fused")
    while not whole.done:
        run_epoch(whole)
    stopped = fresh(engines[0])
    run_epoch(stopped)
    checkpoint.save(tmp_path / "x", "checkpoint", *stopped.state())
    resumed = fresh(engines[1])
    run_epoch(resumed)  # whatever it did before is gone
    restore(resumed, *checkpoint.load(tmp_path / "x", "checkpoint"))
    while not resumed.done:
        run_epoch(resumed)
    assert len(resumed.history) == 3
    assert_same(resumed, whole)
    if engines[0] == engines[1]:
        assert difference(state_of(resumed), state_of(whole)) is None
        assert timeless(resumed.history) == timeless(whole.history)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "lazy_adam"])
def test_the_same_bits_run_to_run_and_for_any_threads(optimizer: str) -> None:
    seen = []
    for threads in (1, 1, 2):
        torch.set_num_threads(threads)
        try:
            each = trainer(
                "fused", model_of(user=LowRank(2), item=QuotientRemainder(9), biases=True, dtype=FLOAT),
                interactions(3000, dtype=FLOAT), optimizer=optimizer, batch_size=1500, epochs=2,
            )  # fmt: skip
            while not each.done:
                run_epoch(each)
        finally:
            torch.set_num_threads(1)
        seen.append((state_of(each), timeless(each.history)))
    for other, history in seen[1:]:
        assert difference(seen[0][0], other) is None
        assert history == seen[0][1]


@pytest.mark.parametrize("l2", [{}, {"l2": 0.05, "ridge": 2.0}], ids=str)
def test_histories_the_same_bits_run_to_run(l2: dict[str, Any]) -> None:
    first, second = (
        trainer("fused", model_of(rated=LowRank(2), biases=True, history=9), batch_size=64, **l2) for _ in range(2)
    )
    run_to_the_end(first)
    run_to_the_end(second)
    assert difference(state_of(first), state_of(second)) is None
    assert timeless(first.history) == timeless(second.history)


# -- lazy Adam ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
@pytest.mark.parametrize("choices", [{}, {"l2": 0.05, "schedule": "cosine"}], ids=str)
def test_lazy_adam_is_the_one_written_out(output: Any, choices: dict[str, Any]) -> None:
    data = interactions(203)
    model = model_of(biases=True, output=output)
    now = {name: value.clone().requires_grad_() for name, value in stored(model).items()}
    each = trainer("auto", model, data, optimizer="lazy_adam", **choices)
    assert each.engine == "fused"
    p, q, b, c = (
        next(value for key, value in now.items() if key.startswith(part))
        for part in ("embeddings.tables.user", "embeddings.tables.item", "biases.tables.user", "biases.tables.item")
    )
    moments = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in now.items()}
    of, steps = each.settings, each.steps_per_epoch
    for epoch in range(of.epochs):
        run_epoch(each)
        for at, rows in enumerate(permutation(len(data), Order(5, epoch)).split(of.batch_size)):
            step = epoch * steps + at
            users, items = data.users[rows], data.items[rows]
            score = (p[users] * q[items]).sum(1) + b[users, 0] + c[items, 0] + now["mean"]
            gap = (1 + 4 * torch.sigmoid(score) if output == "sigmoid" else score) - data.targets[rows]
            looked_up = torch.cat([p[users], q[items], b[users], c[items]], 1)
            loss = gap.square().mean() + of.l2 * looked_up.square().sum(1).mean()
            gradients = torch.autograd.grad(loss, list(now.values()))
            for (name, value), g in zip(now.items(), gradients, strict=True):
                side = users if "user" in name else items if "item" in name else None
                some = ... if side is None else side.unique()
                rate = of.learning_rate * of.pace(step, steps * of.epochs)
                first, second = moments[name]
                with torch.no_grad():
                    first[some] = 0.9 * first[some] + 0.1 * g[some]
                    second[some] = 0.999 * second[some] + 0.001 * g[some] ** 2
                    root = (second[some] / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
                    value[some] -= rate / (1 - 0.9 ** (step + 1)) * first[some] / root
    for name, value in stored(model).items():
        torch.testing.assert_close(value, now[name].detach(), rtol=1e-9, atol=1e-9)


# -- what is refused, and what is chosen -------------------------------------------------------------------------------


def is_fast(model: DotModel, **choices: Any) -> bool:
    return unfit(model, TrainingSettings(**choices)) is None


def test_the_loop_is_chosen_by_the_methods() -> None:
    table = attributed("user", USERS, 4)
    for kind in registered().values():
        for method in kind.examples(table):
            assert is_fast(model_of(user=method)) == (method.descriptor(table) is not None)


def test_the_loop_is_chosen_by_the_settings() -> None:
    model = model_of()
    assert is_fast(model, optimizer="lazy_adam")
    for choices in (
        {"max_norm": 1.0}, {"dense_optimizer": "SGD"}, {"dense_learning_rate": 0.1}, {"optimizer": "row_wise_adagrad"},
    ):  # fmt: skip
        assert not is_fast(model, **choices)


def test_wrong_engines_are_refused() -> None:
    with pytest.raises(InputError, match="unknown engine 'fast'"):
        trainer("fast", model_of())
    with pytest.raises(InputError, match="'lazy_adam' is of the fused engine alone"):
        trainer("plain", model_of(), optimizer="lazy_adam")
    unfusable = model_of(user=TensorTrain(2), item=TensorTrain(2))
    with pytest.raises(InputError, match="needs tables composed of rows"):
        trainer("fused", unfusable)
    with pytest.raises(InputError, match="'lazy_adam' is of the fused engine alone"):
        trainer("auto", unfusable, optimizer="lazy_adam")


def test_models_of_two_types_are_left_to_torch() -> None:
    """The biases of a model are of single precision, whatever its tables are."""
    settings = DotSettings(embedding_dim=4, biases=True, low=1.0, high=5.0)
    for dtypes in ((DOUBLE, DOUBLE), (FLOAT, DOUBLE)):
        torch.manual_seed(0)
        tables = [
            Table(name, n, 4, dtype=d) for name, n, d in zip(("user", "item"), (USERS, ITEMS), dtypes, strict=True)
        ]
        model = DotModel(*tables, {}, settings, mean=3.0)
        assert "one type" in str(unfit(model, TrainingSettings()))
        each = trainer("auto", model, epochs=1)
        run_epoch(each)
        assert each.history[0]["train_mse"] < 5


def test_frozen_tables_are_left_to_torch() -> None:
    model = model_of(biases=True)
    model.mean.requires_grad_(False)
    assert not is_fast(model)
    model = model_of()
    model.embeddings.requires_grad_(False)  # type: ignore[union-attr]
    assert not is_fast(model)


@pytest.mark.parametrize("wrong", [-1, ITEMS, 2**40])
@pytest.mark.parametrize("side", ["users", "items"])
def test_ids_out_of_range_are_those_of_the_plain_engine(side: str, wrong: int) -> None:
    data = interactions(64)
    getattr(data, side)[40] = wrong if wrong != ITEMS or side == "items" else USERS
    messages = []
    for engine in ("fused", "plain"):
        each = trainer(engine, model_of(), data, batch_size=64)
        before = state_of(each)
        with pytest.raises(IndexError) as found:
            run_epoch(each)
        assert difference({n: v for n, v in state_of(each).items() if n in before}, before) is None
        messages.append(str(found.value))
    assert messages[0] == messages[1]


def test_ids_of_any_layout() -> None:
    data, expected = interactions(203), trainer("fused", model_of(biases=True))
    run_epoch(expected)
    forms = (
        replace(data, users=data.users.int(), items=data.items.int()),
        replace(data, users=data.users.int()),
        replace(data, targets=data.targets.float()),
        Interactions(*torch.stack([data.users, data.items, data.targets.long()], 1).unbind(1)),
    )
    for form in forms:
        each = trainer("fused", model_of(biases=True), form)
        run_epoch(each)
        assert difference(each.model.state_dict(), expected.model.state_dict()) is None


def test_a_training_that_diverges_says_so() -> None:
    for engine in ("fused", "plain"):
        each = trainer(engine, model_of(output="linear"), optimizer="sgd", learning_rate=1e6, epochs=8)
        with pytest.raises(InputError, match="training diverged"), np.errstate(all="ignore"):
            run_to_the_end(each)


def test_parameters_know_that_they_were_changed() -> None:
    """Their versions move on, by which autograd refuses a backward pass through what they were."""
    each = trainer("fused", model_of(biases=True), epochs=1)
    before = [p._version for p in each.model.parameters()]
    run_epoch(each)
    assert all(p._version > was for p, was in zip(each.model.parameters(), before, strict=True))
    assert isinstance(each.by, FastDot)
