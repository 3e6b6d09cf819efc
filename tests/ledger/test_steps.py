"""What a step takes, as predicted, against what torch and numpy hand out in a real one."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from coset import EmbeddingBagCollection, Full, Hashing, LowRank, QuotientRemainder, Table, optimizers, predict
from coset.kernels.slots import no_slots
from coset.ledger.fused import _STEPS, places_of
from coset.methods import Method, registered
from coset.optimizers.behind import _LONGEST
from coset.testing.cases import attributed

TABLE = attributed("ids", 200, 16)
CASES = [
    pytest.param(example, id=f"{name}-{number}")
    for name, cls in sorted(registered().items())
    for number, example in enumerate(cls.examples(TABLE))
]
COMPOSED = [case for case in CASES if case.values[0].descriptor(TABLE) is not None]
BATCH = 6000
PYTHON = 40_000
"""Bytes of what Python itself allocates in a step, which numpy's arrays are counted with."""


def bytes_of(step: Callable[[], Any]) -> int:
    """The most that torch's tensors and numpy's arrays, of kernels too, took at one moment each."""
    tracemalloc.start()
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            step()
            arrays = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    events = found.profiler.kineto_results.events()  # type: ignore[union-attr]
    moments = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return int(np.cumsum([size for _, size in moments]).max(initial=0)) + arrays


def taken(
    bags: EmbeddingBagCollection, optimizer: torch.optim.Optimizer, ids: Any, engines: tuple[Any, ...] = ()
) -> int:
    """Bytes that the third step takes, with no memory kept of the first two."""

    def step() -> None:
        found = bags(ids)
        torch.autograd.backward(list(found.values()), [torch.ones_like(vectors) for vectors in found.values()])
        optimizer.step()
        optimizer.zero_grad()

    step()
    step()
    for engine in engines:
        engine.outputs.clear()
        engine.sums.clear()
        engine.widened.clear()
    return bytes_of(step)


def drawn(rows: int, count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(rows, (count,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.filterwarnings("ignore")  # torch's profiler warns about itself
@pytest.mark.parametrize("method", COMPOSED)
def test_the_fused_engine_takes_what_is_predicted(method: Method) -> None:
    """Sizes that do not depend on the ids, as all rows are met: to the byte but for what Python takes."""
    bags = EmbeddingBagCollection([(TABLE, method)])
    optimizer = optimizers.RowWiseAdagrad(bags)
    told = predict([(TABLE, method)], optimizer="row_wise_adagrad", engine="fused", batch_size=BATCH)
    found = taken(bags, optimizer, {"ids": drawn(200, BATCH)}, tuple(optimizer.engines))
    assert abs(found - told.step) < PYTHON


@pytest.mark.filterwarnings("ignore")
def test_the_fused_engine_takes_no_more_for_features_that_share_tables_and_bags() -> None:
    given = [
        (Table("full", 30_000, 16), Full()),
        (Table("hashed", 50_000, 8), Hashing(9000)),
        (Table("narrow", 4000, 16), LowRank(4)),
        (Table("qr", 70_000, 16), QuotientRemainder(500)),
    ]
    features = {"a": "full", "b": "full", "c": "hashed", "d": "narrow", "e": "qr"}
    bags = EmbeddingBagCollection(given, features)
    optimizer = optimizers.Adam(bags, mode="dense")
    batch, per = 3000, {"a": 1, "b": 4, "c": 3, "d": 2, "e": 1}
    told = predict(given, features, optimizer="adam", engine="fused", batch_size=batch, ids_per_bag=per)
    rows = {table.name: table.num_embeddings for table, _ in given}
    ids = {
        feature: (drawn(rows[features[feature]], batch * count), torch.arange(0, batch * count, count))
        for feature, count in per.items()
    }
    found = taken(bags, optimizer, ids, tuple(optimizer.engines))
    held = optimizer.scratch_bytes()
    few = told.steps["steps to make up for"] - held["steps to make up for"]  # that were taken by now
    assert found - 2 * PYTHON < told.step - few < 1.2 * found  # five features, more objects of Python
    assert 0 < held["vectors"] == told.steps["vectors"]
    assert 0 < held["steps to make up for"] < told.steps["steps to make up for"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("at", "method"), [pytest.param(at, *case.values, id=case.id) for at, case in enumerate(CASES)]
)
def test_plain_torch_takes_no_more_than_predicted(at: int, method: Method) -> None:
    per = (1, 4)[at % 2]
    bags = EmbeddingBagCollection([(TABLE, method)])
    told = predict([(TABLE, method)], optimizer="adam", batch_size=BATCH // per, ids_per_bag=per)
    ids = drawn(200, BATCH), torch.arange(0, BATCH, per)
    found = taken(bags, torch.optim.Adam(bags.parameters()), {"ids": ids})
    assert found - PYTHON < told.step < 3 * found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["adagrad", "adam", "adamw", "rmsprop", "adadelta", "adamax", "nadam", "radam", "rprop"]
)
def test_dense_gradients_and_what_optimizers_put_beside_them(name: str) -> None:
    """A batch that is small beside its table."""
    table = Table("ids", 50_000, 16)
    known = {of.lower(): made for of, made in vars(torch.optim).items() if isinstance(made, type)}
    bags = EmbeddingBagCollection([(table, "full")])
    told = predict([(table, Full())], optimizer=name, batch_size=100)
    optimizer = known[name](bags.parameters())
    for _ in range(5):  # radam begins with plain steps
        taken(bags, optimizer, {"ids": drawn(50_000, 100)})
    found = taken(bags, optimizer, {"ids": drawn(50_000, 100)})
    assert found - PYTHON < told.step < 1.1 * found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rows", [5000, 500_000])
@pytest.mark.parametrize("width", [2, 32])
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "SparseAdam"])
def test_sparse_gradients(name: str, width: int, rows: int) -> None:
    model = torch.nn.Embedding(rows, width, sparse=True)
    optimizer = getattr(torch.optim, name)(model.parameters())
    told = predict(
        [(Table("ids", rows, width), Full())], optimizer=name.lower().replace("sparsea", "sparse_a"),
        batch_size=BATCH, sparse=True,
    )  # fmt: skip
    ids = drawn(rows, BATCH)

    def step() -> None:
        vectors = model(ids)
        vectors.backward(torch.ones_like(vectors))
        optimizer.step()
        optimizer.zero_grad()

    step()
    found = bytes_of(step)
    assert found - PYTHON < told.step < 2 * found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("uses", [1, 2, 3])
def test_dense_gradients_of_features_that_share_a_table_are_added_up(uses: int) -> None:
    """One more is there meanwhile, but never two."""
    table, features = Table("ids", 50_000, 16), {f"f{at}": "ids" for at in range(uses)}
    bags = EmbeddingBagCollection([(table, "full")], features)
    told = predict([(table, Full())], features, optimizer="sgd", batch_size=100)
    optimizer = torch.optim.SGD(bags.parameters())
    found = taken(bags, optimizer, {feature: drawn(50_000, 100, at) for at, feature in enumerate(features)})
    assert found - PYTHON < told.step < 1.1 * found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("width", [2, 32])
@pytest.mark.parametrize("uses", [2, 3, 5])
def test_sparse_gradients_of_features_that_share_a_table_are_put_behind_one_another(uses: int, width: int) -> None:
    """Into new arrays, beside which the old ones are still there."""
    model = torch.nn.Embedding(5000, width, sparse=True)
    optimizer = torch.optim.SGD(model.parameters())
    features = {f"f{at}": "ids" for at in range(uses)}
    given = [(Table("ids", 5000, width), Full())]
    told = predict(given, features, optimizer="sgd", batch_size=BATCH, sparse=True)
    ids = [drawn(5000, BATCH, at) for at in range(uses)]

    def step() -> None:
        vectors = [model(of) for of in ids]
        torch.autograd.backward(vectors, list(map(torch.ones_like, vectors)))
        optimizer.step()
        optimizer.zero_grad()

    step()
    found = bytes_of(step)
    assert found - PYTHON < told.step < 1.3 * found


@pytest.mark.parametrize("rows", [1, 4, 5, 1000, 4096, 4097, 60_000])
def test_hash_tables_are_those_of_the_kernel(rows: int) -> None:
    task, arrays = np.array([0, 0, 1, 0, 0, 0, 0]), np.array([[0, 10**6, 4]])
    assert len(no_slots.py_func(task, arrays, rows)) == places_of(rows)


def test_steps_to_make_up_for_are_as_many_as_the_optimizer_writes_down() -> None:
    assert _STEPS == _LONGEST
