"""Optimizers of coset against plain torch: the same collection, gradients by autograd, and a few lines of update."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from coset.errors import InputError
from coset.methods import (
    AttributePartitions,
    Blocks,
    FeatureGeneration,
    Full,
    Hashing,
    LowRank,
    Method,
    MixedDimension,
    QuotientRemainder,
    TableModule,
    TensorTrain,
    registered,
)
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer
from coset.schema import Table
from coset.storage import StoredRows
from coset.tables import Embedding, EmbeddingBag, EmbeddingBagCollection, EmbeddingCollection
from coset.testing.cases import attributed, difference, direction

DOUBLE, FLOAT = torch.float64, torch.float32
TOLERANCE = {DOUBLE: {"rtol": 1e-9, "atol": 1e-9}, FLOAT: {"rtol": 1e-4, "atol": 1e-6}}
ROWS, DIM = 90, 6
MODES = ("sum", "mean", "max")
SOME = slice(2, None, 4)
"""Tables of a few methods, where the method does not matter."""


# -- what is trained ---------------------------------------------------------------------------------------------------


def every_method() -> list[Method]:
    """Every row-composed example of every registered method, and what examples leave out."""
    table = attributed("any", ROWS, DIM)
    found = [
        example
        for _, kind in sorted(registered().items())
        for example in kind.examples(table)
        if example.descriptor(table) is not None
    ]
    nested = Blocks((10, 40), (Full(), Blocks((7,), (LowRank(2), QuotientRemainder(5, "concat"))), Hashing(9)))
    return [*found, nested]


def everything(dtype: torch.dtype, seed: int = 0, only: slice = slice(None)) -> EmbeddingBagCollection:
    """A collection with a table of every method; each third is read by a second feature, each fifth has an order."""
    methods = every_method()
    tables = [(attributed(f"t{n}", ROWS, DIM, dtype=dtype, std=0.3), how) for n, how in enumerate(methods)][only]
    names = [table.name for table, _ in tables]
    features = {f"f_{name}": name for name in names} | {f"again_{name}": name for name in names[::3]}
    draw = np.random.default_rng(seed)
    orders = {name: draw.permutation(ROWS) for name in names[::5]}
    modes = {feature: MODES[number % 3] for number, feature in enumerate(features)}
    torch.manual_seed(seed)
    return EmbeddingBagCollection(tables, features, mode=modes, orders=orders)


def bags_of(
    collection: EmbeddingBagCollection, generator: torch.Generator, ids: int = ROWS, missing: bool = True,
    shift: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Ids in every form, some features missing; over a few calls each feature meets each form, and over `ROUNDS` of
    numbers as `shift` each form in each type of ids."""
    drawn = int(torch.randint(100, (), generator=generator))
    shift = drawn if shift is None else shift
    given: dict[str, Any] = {}
    dtype = next(collection.parameters()).dtype
    for number, feature in enumerate(collection.features):
        form = (number + shift) % 8
        count = int(torch.randint(1, 9, (), generator=generator))
        kind = torch.int32 if (number + shift) % 3 == 0 else torch.int64
        values = torch.randint(ids, (count,), generator=generator, dtype=kind)
        if form == 0 and missing:
            continue
        if form == 1:
            given[feature] = values
        elif form == 2:
            given[feature] = torch.randint(ids, (3, 2), generator=generator, dtype=kind)
        elif form == 3:  # no bag at all
            given[feature] = values[:0], torch.zeros(0, dtype=torch.int64)
        elif form == 4:  # bags, but nothing in them
            given[feature] = values[:0], torch.zeros(3, dtype=torch.int32)
        else:  # the first bag of two is empty, or the last, or the one between them
            cuts = torch.randint(count + 1, (4,), generator=generator).sort().values
            cuts[0] = 0
            given[feature] = values, cuts.to(kind)
            if collection.modes[feature] == "sum":
                given[feature] += (torch.randn(count, generator=generator, dtype=dtype),)
    return given


ROUNDS = range(8), range(8, 16), range(16, 24)
"""Eight forms, and types of ids that change with every third."""


def loss_of(found: Mapping[str, Tensor], seed: int) -> Tensor:
    """Each number in it has a gradient of its own, which depends on the numbers."""
    total = torch.zeros((), dtype=DOUBLE)
    for number, vectors in enumerate(found.values()):
        total = total + ((vectors + direction(vectors.detach(), seed * 1000 + number)) ** 2).sum().double()
    return total


# -- plain torch -------------------------------------------------------------------------------------------------------


class Plain:
    """Rows that were read are updated by the textbook, written out; their gradients are torch's."""

    def __init__(self, module: nn.Module, kind: str, options: Mapping[str, Any]) -> None:
        self.kind, self.options = kind, {"weight_decay": 0.0, "eps": 0.0, **options}
        self.parameters = {id(p): p for p in module.parameters()}
        self.first, self.second = ({n: torch.zeros_like(p) for n, p in self.parameters.items()} for _ in range(2))
        self.read: dict[int, Tensor] = {}
        self.steps = 0
        self._forget()
        for inner in module.modules():
            if isinstance(inner, StoredRows):
                inner.register_forward_hook(self._note)
        tables = (inner for inner in module.modules() if isinstance(inner, TableModule))
        self.projections = {id(p) for table in tables for p in table.projections()}

    def _note(self, inner: Any, given: tuple[Tensor, ...], _: Tensor) -> None:
        """A lookup reads some rows."""
        self.read[id(inner.weight)][given[0].reshape(-1).long()] = True

    def _forget(self) -> None:
        for n, p in self.parameters.items():
            self.read[n] = torch.zeros(len(p) if p.dim() == 2 else 1, dtype=torch.bool)

    def zero_grad(self) -> None:
        for p in self.parameters.values():
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        lr, eps, decay = (self.options[name] for name in ("lr", "eps", "weight_decay"))
        for n, p in self.parameters.items():
            some = self.read[n]
            if n in self.projections and p.grad is not None:  # read whole, unless there is nothing to widen
                some[:] = bool(p.grad.any())
            if p.grad is None or not some.any():
                continue
            rows, g, first, second = (
                of.view(1, -1) if of.dim() == 1 else of for of in (p, p.grad, self.first[n], self.second[n])
            )
            assert not g[~some].any()
            now, g = rows[some] * (1 - lr * decay), g[some]
            if self.kind == "sgd":
                now -= lr * g
            elif self.kind == "adagrad":
                first[some] += g * g
                now -= lr * g / (first[some].sqrt() + eps)
            elif self.kind == "rowwise":
                first[some] += (g * g).mean(1, keepdim=True)
                now -= lr * g / (first[some].sqrt() + eps)
            else:
                b1, b2 = self.options.get("betas", (0.9, 0.999))
                first[some] = b1 * first[some] + (1 - b1) * g
                second[some] = b2 * second[some] + (1 - b2) * g * g
                bias1, bias2 = 1 - b1**self.steps, 1 - b2**self.steps
                now -= lr / bias1 * first[some] / ((second[some] / bias2).sqrt() + eps)
            rows[some] = now
        self._forget()


def zeros_for_none(module: nn.Module) -> None:
    """A dense gradient is a tensor, of zeros where nothing was read."""
    for p in module.parameters():
        if p.grad is None:
            p.grad = torch.zeros_like(p)


def assert_same(found: nn.Module, wanted: nn.Module, dtype: torch.dtype = DOUBLE) -> None:
    state = found.state_dict()
    for name, value in wanted.state_dict().items():
        torch.testing.assert_close(state[name], value, **TOLERANCE[dtype], msg=lambda m, name=name: f"{name}: {m}")


KINDS: dict[str, tuple[Callable[..., TableOptimizer], dict[str, Any]]] = {
    "sgd": (SGD, {"lr": 0.02}),
    "adagrad": (Adagrad, {"lr": 0.05, "eps": 1e-10}),
    "rowwise": (RowWiseAdagrad, {"lr": 0.05, "eps": 1e-8}),
    "adam": (Adam, {"lr": 0.01, "eps": 1e-8}),
}


# -- every method, mode, form of ids -----------------------------------------------------------------------------------


def test_no_row_composed_method_is_left_out() -> None:
    names = {method.name for method in every_method()}
    assert {"full", "quotient_remainder", "attribute_partitions", "feature_generation", "blocks"} <= names
    collection = everything(FLOAT)
    SGD(collection)
    assert collection.engine is not None
    assert collection.engine.program.numbers.keys() == collection.features.keys()


@pytest.mark.parametrize(("kind", "steps"), list(zip(KINDS, (*ROUNDS, ROUNDS[0]), strict=True)), ids=KINDS)
@pytest.mark.parametrize("dtype", [DOUBLE, FLOAT], ids=["double", "float"])
def test_a_round_of_steps_of_every_method(kind: str, steps: range, dtype: torch.dtype) -> None:
    """How rows are found and gradients summed is the same for all kinds, which share the rounds."""
    plain, fused = everything(dtype), everything(dtype)
    of, options = KINDS[kind]
    reference, optimizer = Plain(plain, kind, options), of(fused, **options)
    for step in steps:
        batch = bags_of(plain, torch.Generator().manual_seed(step), shift=step)
        expected, found = plain(batch), fused(batch)
        assert list(found) == list(expected)
        for name, vectors in expected.items():
            torch.testing.assert_close(found[name], vectors, **TOLERANCE[dtype], msg=f"step {step}, {name}")
        reference.zero_grad()
        loss_of(expected, step).backward()
        loss_of(found, step).backward()
        reference.step()
        optimizer.step()
    assert_same(fused, plain, dtype)
    assert all(p.grad is None for p in fused.parameters())


@pytest.mark.parametrize(("decay", "steps"), [(0.0, ROUNDS[1]), (0.02, ROUNDS[2])], ids=["bare", "decay"])
@pytest.mark.parametrize("dtype", [DOUBLE, FLOAT], ids=["double", "float"])
def test_a_round_of_steps_of_dense_adam(decay: float, steps: range, dtype: torch.dtype) -> None:
    plain, fused = everything(dtype), everything(dtype)
    reference = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=decay)
    optimizer = Adam(fused, lr=0.01, weight_decay=decay, mode="dense")
    for step in steps:
        batch = bags_of(plain, torch.Generator().manual_seed(step), shift=step)
        expected, found = plain(batch), fused(batch)
        for name, vectors in expected.items():
            torch.testing.assert_close(found[name], vectors, **TOLERANCE[dtype], msg=f"step {step}, {name}")
        reference.zero_grad()
        loss_of(expected, step).backward()
        loss_of(found, step).backward()
        zeros_for_none(plain)
        reference.step()
        optimizer.step()
    assert_same(fused, plain, dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_weight_decay_is_of_rows_with_a_gradient(kind: str) -> None:
    plain, fused = everything(DOUBLE, only=slice(0, 9)), everything(DOUBLE, only=slice(0, 9))
    of, options = KINDS[kind]
    options = {**options, "weight_decay": 0.3}
    reference, optimizer = Plain(plain, kind, options), of(fused, **options)
    for step in range(10):
        batch = bags_of(plain, torch.Generator().manual_seed(step))
        reference.zero_grad()
        loss_of(plain(batch), step).backward()
        loss_of(fused(batch), step).backward()
        reference.step()
        optimizer.step()
    assert_same(fused, plain)


@pytest.mark.parametrize("mode", MODES)
def test_offsets_with_a_last_one(mode: Any) -> None:
    def collection() -> EmbeddingBagCollection:
        torch.manual_seed(0)
        tables = [
            (Table("a", ROWS, DIM, dtype=DOUBLE), QuotientRemainder(20)),
            (Table("b", 9, 3, dtype=DOUBLE), "full"),
        ]
        return EmbeddingBagCollection(tables, mode=mode, include_last_offset=True)

    plain, fused = collection(), collection()
    reference, optimizer = Plain(plain, "sgd", {"lr": 0.1}), SGD(fused, lr=0.1)
    for step, last in enumerate((4, 0, 7)):
        batch = {
            "b": (torch.arange(last) % 9, torch.tensor([0, last // 2, last // 2, last])),
            "a": (torch.arange(last, dtype=torch.int32) * 11, torch.tensor([0, last], dtype=torch.int32)),
        }
        expected, found = plain(batch), fused(batch)
        assert {name: vectors.shape for name, vectors in found.items()} == {"b": (3, 3), "a": (1, DIM)}
        reference.zero_grad()
        loss_of(expected, step).backward()
        loss_of(found, step).backward()
        reference.step()
        optimizer.step()
    assert_same(fused, plain)


def single_ids(dtype: torch.dtype = DOUBLE, mode: Any = "sum") -> EmbeddingBagCollection:
    """Two tables of every kind that has a loop of its own, and two features of one of them."""
    methods = {
        "full": Full(), "mult": QuotientRemainder(25), "add": QuotientRemainder(25, "add"),
        "concat": QuotientRemainder(25, "concat"), "low_rank": LowRank(2), "generated": FeatureGeneration((10, 9)),
        "mixed": MixedDimension((30, 60), (6, 2)), "attributes": AttributePartitions(),
    }  # fmt: skip
    tables = [(attributed(name, ROWS, DIM, dtype=dtype, std=0.3), how) for name, how in methods.items()]
    torch.manual_seed(2)
    return EmbeddingBagCollection(tables, {**{name: name for name in methods}, "twice": "mult"}, mode=mode)


@pytest.mark.parametrize("form", ["matrix", "narrow_matrix", "strided_matrix", "mapping", "backwards", "bags"])
@pytest.mark.parametrize("mode", ["sum", "max", {"add": "max", "twice": "mean"}], ids=["sum", "max", "mixed"])
@pytest.mark.parametrize("kind", ["rowwise", "dense"])
def test_concatenated_is_the_dict_side_by_side(form: str, mode: Any, kind: str) -> None:
    plain, by_dict, joined = (single_ids(mode=mode) for _ in range(3))
    make = RowWiseAdagrad if kind == "rowwise" else lambda m: Adam(m, mode="dense")
    optimizers = [make(by_dict), make(joined)]
    for step in range(5):
        generator = torch.Generator().manual_seed(step)
        ids = torch.randint(ROWS, (len(plain.features), 40 if step % 2 else 7), generator=generator)
        ids[:, -1] = ids[:, 0]
        batch: Any = ids
        if form == "narrow_matrix":
            batch = ids.int()
        elif form == "strided_matrix":
            batch = ids.T.contiguous().T
        elif form != "matrix":
            batch = dict(zip(plain.features, ids, strict=True))
            if form == "backwards":
                batch = dict(reversed(batch.items()))
            elif form == "bags":
                batch = {name: (of, torch.tensor([0, 2, 2, 5])) for name, of in batch.items()}
        expected = torch.cat(list(plain(batch).values()), dim=-1)
        left, right = torch.cat(list(by_dict(batch).values()), dim=-1), joined.concatenated(batch)
        if step == 0:
            torch.testing.assert_close(right, expected, **TOLERANCE[DOUBLE])
            torch.testing.assert_close(plain.concatenated(batch), expected, rtol=0, atol=0)
        assert torch.equal(left, right)
        for vectors in (left, right):
            ((vectors + direction(vectors.detach(), step)) ** 2).sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    assert difference(by_dict.state_dict(), joined.state_dict()) is None


def test_large_batches_take_the_loops_of_many_tasks() -> None:
    """Rows are cut among tasks where a batch is large; ids are skewed, so that many meet in one row."""
    plain, fused = single_ids(), single_ids()
    optimizer, reference = Adagrad(fused, lr=0.05), Plain(plain, "adagrad", {"lr": 0.05, "eps": 1e-10})
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        ids = (torch.rand(len(plain.features), 5000, generator=generator) ** 3 * ROWS).long()
        batch: Any = ids
        if step == 1:
            batch = {name: (of, torch.arange(0, 5000, 3)) for name, of in zip(plain.features, ids, strict=True)}
        reference.zero_grad()
        loss_of(plain(batch), step).backward()
        loss_of(fused(batch), step).backward()
        reference.step()
        optimizer.step()
    assert_same(fused, plain)


@pytest.mark.filterwarnings("ignore::coset.errors.UnownedTables")
def test_collections_of_single_vectors_and_several_collections() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            first, second = Table("user", 50, 4, dtype=DOUBLE), Table("movie", 30, 4, dtype=DOUBLE)
            self.vectors = EmbeddingCollection(
                [(first, QuotientRemainder(9)), (second, "full")], {"user": "user", "movie": "movie", "other": "movie"},
                orders={"movie": torch.arange(30).flip(0)},
            )  # fmt: skip
            self.bags = EmbeddingBagCollection(
                [(second, LowRank(2)), (Table("x", 12, 4, dtype=DOUBLE), TensorTrain(2))]
            )
            self.head = nn.Linear(4, 1, dtype=DOUBLE)

        def forward(self, seed: int) -> Tensor:
            generator = torch.Generator().manual_seed(seed)
            ids = torch.randint(12, (6, 5), generator=generator)
            found = self.vectors({"user": ids[:2], "other": ids[2], "movie": ids[3].int()})
            found |= {
                f"bag_{n}": v for n, v in self.bags({"movie": ids[4:], "x": (ids[5], torch.tensor([0, 2]))}).items()
            }
            total: Tensor = sum(self.head(v).square().sum() for v in found.values()) + loss_of(found, seed)
            return total

    plain, fused = Model(), Model()
    reference = torch.optim.Adam(plain.parameters(), lr=0.01)
    optimizer = Adam(fused, lr=0.01, mode="dense")
    others = optimizer.others(fused)
    rest = torch.optim.Adam(others, lr=0.01)
    train = [name for name, p in fused.named_parameters() if any(p is other for other in others)]
    assert [name for name in train if not name.startswith("bags.tables.x.")] == ["head.weight", "head.bias"]
    assert len(train) > 2
    for step in range(20):
        reference.zero_grad()
        rest.zero_grad()
        plain(step).backward()
        fused(step).backward()
        reference.step()
        optimizer.step()
        rest.step()
    assert_same(fused, plain)


# -- rows that wait, rates that change ---------------------------------------------------------------------------------

SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "none": lambda o: lr_scheduler.ConstantLR(o, factor=1.0),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=200),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, gamma=0.99),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.0 if step % 7 == 3 else 1 / (1 + step)),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.02, total_steps=500),  # changes the betas as well
}


@pytest.mark.parametrize(
    ("schedule", "decay"),
    [("none", 0.0), ("cosine", 0.05), ("exponential", 0.0), ("lambda", 0.05), ("one_cycle", 0.05)],
)
def test_dense_adam_makes_up_for_long_gaps(schedule: str, decay: float) -> None:
    """Some rows are read in a few of the first steps, again 330 steps later, and some never; in between one table at a
    time is read, a few rows of it."""
    plain, fused = single_ids(), single_ids()
    reference = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=decay, foreach=True)
    optimizer = Adam(fused, lr=0.01, weight_decay=decay, mode="dense")
    schedules = [SCHEDULES[schedule](reference), SCHEDULES[schedule](optimizer)]
    often = [name for name in plain.features if name not in ("low_rank", "mixed")]  # which wait, with their projections
    for step in range(365):
        generator = torch.Generator().manual_seed(step)
        if 10 <= step < 340:
            batch = {often[step % len(often)]: torch.randint(5, (4,), generator=generator)}
        else:
            ids = torch.randint(70, (len(plain.features), 4), generator=generator)
            batch = dict(zip(plain.features, ids, strict=True))
        expected, found = plain(batch), fused(batch)
        for name, vectors in expected.items():
            torch.testing.assert_close(found[name], vectors, **TOLERANCE[DOUBLE], msg=f"step {step}, {name}")
        reference.zero_grad()
        loss_of(expected, step).backward()
        loss_of(found, step).backward()
        zeros_for_none(plain)
        for each in (reference, optimizer, *schedules):
            each.step()
    assert set(schedules[0].get_last_lr()) == set(schedules[1].get_last_lr())
    assert_same(fused, plain)


def test_dense_adam_goes_on_over_steps_without_any_gradient() -> None:
    plain, fused = single_ids(), single_ids()
    reference, optimizer = torch.optim.Adam(plain.parameters(), lr=0.01), Adam(fused, lr=0.01, mode="dense")
    for step in range(12):
        reference.zero_grad()
        if step % 4 == 0:
            ids = torch.full((len(plain.features), 2), step)
            loss_of(plain(ids), step).backward()
            loss_of(fused(ids), step).backward()
        zeros_for_none(plain)
        reference.step()
        optimizer.step()
    assert optimizer.steps == 12
    assert_same(fused, plain)


@pytest.mark.parametrize("betas", [(0.0, 0.999), (0.9, 0.9), (0.5, 0.99)])
def test_dense_adam_with_other_betas(betas: tuple[float, float]) -> None:
    plain, fused = single_ids(), single_ids()
    reference = torch.optim.Adam(plain.parameters(), lr=0.01, betas=betas, eps=1e-6)
    optimizer = Adam(fused, lr=0.01, betas=betas, eps=1e-6, mode="dense")
    for step in range(30):
        ids = torch.randint(60, (len(plain.features), 2), generator=torch.Generator().manual_seed(step))
        reference.zero_grad()
        loss_of(plain(ids), step).backward()
        loss_of(fused(ids), step).backward()
        zeros_for_none(plain)
        reference.step()
        optimizer.step()
    assert_same(fused, plain)


@pytest.mark.parametrize("kind", ["sgd", "adagrad", "adam"])
def test_schedulers_of_torch_drive_the_rate(kind: str) -> None:
    plain, fused = single_ids(), single_ids()
    of, options = KINDS[kind]
    reference, optimizer = Plain(plain, kind, options), of(fused, **options)
    schedule = lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5), lr_scheduler.StepLR(optimizer, 3, 0.5)], [5]
    )
    rates = []
    for step in range(12):
        reference.options["lr"] = optimizer.param_groups[0]["lr"]
        rates.append(optimizer.param_groups[0]["lr"])
        ids = torch.randint(60, (len(plain.features), 3), generator=torch.Generator().manual_seed(step))
        reference.zero_grad()
        loss_of(plain(ids), step).backward()
        loss_of(fused(ids), step).backward()
        reference.step()
        optimizer.step()
        schedule.step()
    assert len(set(rates)) > 6
    assert_same(fused, plain)


def test_projections_may_have_a_rate_of_their_own() -> None:
    plain, fused = single_ids(), single_ids()
    slow = {id(p) for m in plain.modules() if isinstance(m, TableModule) for p in m.projections()}
    assert slow
    groups = [
        {"params": [p for p in plain.parameters() if (id(p) in slow) == late], "lr": rate}
        for late, rate in ((False, 0.02), (True, 0.005))
    ]
    reference = torch.optim.Adam(groups)
    optimizer = Adam(fused, lr=0.02, projection_scale=0.25, mode="dense")
    for step in range(10):
        ids = torch.randint(60, (len(plain.features), 3), generator=torch.Generator().manual_seed(step))
        reference.zero_grad()
        loss_of(plain(ids), step).backward()
        loss_of(fused(ids), step).backward()
        reference.step()
        optimizer.step()
    assert_same(fused, plain)


# -- gradients: clipped, added, refused --------------------------------------------------------------------------------


def learn(module: EmbeddingBagCollection, optimizer: TableOptimizer, steps: range) -> None:
    for step in steps:
        loss_of(module(bags_of(module, torch.Generator().manual_seed(step))), step).backward()
        optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("longest", [0.5, 1e6])
def test_clipping_by_global_norm_counts_shared_rows_once(kind: str, longest: float) -> None:
    plain, fused = everything(DOUBLE, only=SOME), everything(DOUBLE, only=SOME)
    of, options = KINDS[kind]
    reference, optimizer = Plain(plain, kind, options), of(fused, **options, max_norm=longest)
    for step in range(8):
        batch = bags_of(plain, torch.Generator().manual_seed(step), ids=12)
        reference.zero_grad()
        for number in range(1 + step % 2):  # one backward pass, or two
            loss_of(plain(batch), step + number).backward()
            loss_of(fused(batch), step + number).backward()
        norm = torch.nn.utils.clip_grad_norm_([p for p in plain.parameters() if p.grad is not None], longest)
        assert (norm > 0.5).item()
        reference.step()
        optimizer.step()
    assert_same(fused, plain)


@pytest.mark.parametrize("kind", KINDS)
def test_two_backward_passes_before_a_step_add_up(kind: str) -> None:
    plain, fused = everything(DOUBLE, only=SOME), everything(DOUBLE, only=SOME)
    of, options = KINDS[kind]
    reference, optimizer = Plain(plain, kind, options), of(fused, **options)
    for step in range(6):
        reference.zero_grad()
        for number in range(2):
            batch = bags_of(plain, torch.Generator().manual_seed(2 * step + number), ids=30)
            loss_of(plain(batch), step).backward()
            loss = loss_of(fused(batch), step)
            loss.backward(retain_graph=step == 4)
            if step == 4 and number:  # once more through the same graph
                loss.backward()
                loss_of(plain(batch), step).backward()
        reference.step()
        optimizer.step()
    assert_same(fused, plain)


def test_one_parameter_counts_once_when_read_by_calls_before_one_backward() -> None:
    plain, fused = single_ids(), single_ids()
    reference, optimizer = Plain(plain, "rowwise", {"lr": 0.1, "eps": 1e-8}), RowWiseAdagrad(fused, lr=0.1)
    ids = torch.randint(9, (len(plain.features), 6), generator=torch.Generator().manual_seed(0))
    for module in (plain, fused):
        first, second = module(ids), module(ids.flip(1))
        loss_of({name: first[name] * second[name] for name in first}, 0).backward()
    reference.step()
    optimizer.step()
    assert_same(fused, plain)


def test_zero_grad_drops_what_waits_and_that_of_the_model_does_not() -> None:
    fused, untouched = everything(DOUBLE, only=SOME), everything(DOUBLE, only=SOME)
    optimizer = Adagrad(fused)
    loss_of(fused(bags_of(fused, torch.Generator().manual_seed(0))), 0).backward()
    torch.nn.Sequential(fused).zero_grad()
    assert optimizer.gradient_norm() > 0
    optimizer.zero_grad()
    assert optimizer.gradient_norm() == 0
    optimizer.step()
    assert difference(fused.state_dict(), untouched.state_dict()) is None


def test_a_closure_is_called_and_its_loss_returned() -> None:
    fused, twin = single_ids(), single_ids()
    optimizer, other = SGD(fused, lr=0.1), SGD(twin, lr=0.1)
    ids = torch.zeros(len(fused.features), 1, dtype=torch.int64)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(fused(ids), 0)
        loss.backward()
        return loss

    with torch.no_grad():
        loss = optimizer.step(closure)
    wanted = loss_of(twin(ids), 0)
    wanted.backward()
    other.step()
    assert torch.equal(loss, wanted)
    assert difference(fused.state_dict(), twin.state_dict()) is None


def test_backward_after_step_raises_and_changes_nothing() -> None:
    fused = single_ids()
    optimizer = SGD(fused, lr=0.1)
    ids = torch.zeros(len(fused.features), 1, dtype=torch.int64)
    early, late = loss_of(fused(ids), 0), loss_of(fused(ids), 1)
    early.backward()
    optimizer.step()
    before = {name: value.clone() for name, value in fused.state_dict().items()}
    with pytest.raises(RuntimeError, match="call backward before step"):
        late.backward()
    optimizer.step()
    assert difference(fused.state_dict(), before) is None


def test_there_are_no_second_derivatives() -> None:
    fused = single_ids()
    SGD(fused)
    loss = loss_of(fused(torch.zeros(len(fused.features), 1, dtype=torch.int64)), 0)
    with pytest.raises(RuntimeError, match="no second derivative"):
        loss.backward(create_graph=True)


def test_lookups_without_grad_read_what_is_there() -> None:
    plain, fused = everything(DOUBLE, only=SOME), everything(DOUBLE, only=SOME)
    Adam(fused, mode="dense")
    batch = bags_of(plain, torch.Generator().manual_seed(0))
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            for name, vectors in plain(batch).items():
                torch.testing.assert_close(fused(batch)[name], vectors)
                assert not fused(batch)[name].requires_grad


def test_weights_that_are_trained_get_their_gradient() -> None:
    plain, fused = single_ids(), single_ids()
    optimizer, reference = SGD(fused, lr=0.1), Plain(plain, "sgd", {"lr": 0.1})
    values, offsets = torch.tensor([1, 2, 2, 70]), torch.tensor([0, 1])
    weights = [torch.linspace(-1, 1, 4, dtype=DOUBLE).requires_grad_() for _ in range(2)]
    for module, weight in zip((plain, fused), weights, strict=True):
        loss_of(module(dict.fromkeys(module.features, (values, offsets, weight))), 0).backward()
    torch.testing.assert_close(weights[1].grad, weights[0].grad)
    reference.step()
    optimizer.step()
    assert_same(fused, plain)


# -- who owns a table --------------------------------------------------------------------------------------------------


def test_an_optimizer_of_torch_refuses_owned_parameters_at_its_step() -> None:
    fused = single_ids()
    optimizer = Adagrad(fused)
    rest = torch.optim.Adam(fused.parameters())
    with pytest.raises(InputError, match=r"others\(model\)"):
        rest.step()
    assert optimizer.others(fused) == []
    free = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    free.step()


def test_a_table_has_one_owner_at_a_time() -> None:
    fused = single_ids()
    optimizer = SGD(fused)
    with pytest.raises(InputError, match="owns a table"):
        Adam(fused)
    assert optimizer.engines


@pytest.mark.filterwarnings("ignore::coset.errors.UnownedTables")
def test_single_tables_are_owned_as_well() -> None:
    """Unless they have an option that kernels do not know; those are looked up by torch and left to it."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            same = {"dtype": DOUBLE, "std": 0.3}
            self.one = Embedding(30, 4, QuotientRemainder(7), name="one", order=torch.arange(30).flip(0), **same)
            self.many = Embedding(30, 4, FeatureGeneration((5, 6)), name="many", **same)
            self.bag = EmbeddingBag(30, 4, LowRank(2), mode="mean", name="bag", **same)
            self.padded = EmbeddingBag(30, 4, mode="sum", name="padded", padding_idx=0, **same)
            self.short = Embedding(30, 4, max_norm=0.5, name="short", **same)

        def forward(self, seed: int) -> dict[str, Tensor]:
            ids = torch.randint(30, (4, 3), generator=torch.Generator().manual_seed(seed))
            singles = {"one": self.one(ids), "many": self.many(ids[0].int()), "short": self.short(ids[:0])}
            offsets = torch.tensor([0, 2, 2])
            return {**singles, "bag": self.bag(ids[1], offsets), "padded": self.padded(ids)}

    plain, fused = Model(), Model()
    reference = torch.optim.Adam(plain.parameters(), lr=0.01)
    optimizer = Adam(fused, lr=0.01, mode="dense")
    others = optimizer.others(fused)
    assert {id(p) for p in others} == {id(p) for of in (fused.padded, fused.short) for p in of.parameters()}
    rest = torch.optim.Adam(others, lr=0.01)
    for step in range(20):
        expected, found = plain(step), fused(step)
        for name, vectors in expected.items():
            torch.testing.assert_close(found[name], vectors, **TOLERANCE[DOUBLE])
        reference.zero_grad()
        rest.zero_grad()
        loss_of(expected, step).backward()
        loss_of(found, step).backward()
        for each in (reference, optimizer, rest):
            each.step()
    assert_same(fused, plain)


@pytest.mark.filterwarnings("ignore::coset.errors.UnownedTables")
def test_frozen_tables_stay_as_they_are() -> None:
    fused = single_ids()
    frozen = fused.tables["mult"].requires_grad_(False)
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    learn(fused, Adam(fused, mode="dense", weight_decay=0.1), range(3))
    assert difference(frozen.state_dict(), before) is None


# -- state -------------------------------------------------------------------------------------------------------------

STATEFUL: dict[str, Callable[[nn.Module], TableOptimizer]] = {
    "sgd": lambda m: SGD(m, 0.02),
    "adagrad": Adagrad,
    "rowwise": RowWiseAdagrad,
    "lazy": Adam,
    "dense": lambda m: Adam(m, mode="dense", weight_decay=0.01),
}


@pytest.mark.parametrize("kind", STATEFUL)
def test_a_saved_state_goes_on_bit_for_bit(kind: str) -> None:
    first = everything(FLOAT, only=SOME)
    optimizer = STATEFUL[kind](first)
    learn(first, optimizer, range(10))
    kept = io.BytesIO()
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, kept)
    kept.seek(0)
    loaded = torch.load(kept, weights_only=True)
    second = everything(FLOAT, only=SOME)
    other = STATEFUL[kind](second)
    learn(second, other, range(20, 23))  # whatever it did before is gone
    second.load_state_dict(loaded["model"])
    other.load_state_dict(loaded["optimizer"])
    assert other.steps == 10
    for module, of in ((first, optimizer), (second, other)):
        learn(module, of, range(10, 20))
    assert difference(second.state_dict(), first.state_dict()) is None
    states = [of.state_dict()["state"] for of in (optimizer, other)]
    assert states[0].keys() == states[1].keys()
    for number, state in states[0].items():
        assert difference(states[1][number], state) is None


def test_the_state_has_the_names_of_torch() -> None:
    fused = single_ids()
    optimizer = Adam(fused)
    learn(fused, optimizer, range(2))
    assert all(set(state) == {"exp_avg", "exp_avg_sq"} for state in optimizer.state_dict()["state"].values())


def test_dense_adam_is_up_to_date_wherever_it_is_read() -> None:
    readers: dict[str, Callable[[EmbeddingBagCollection], Iterator[Tensor]]] = {
        "state_dict": lambda m: iter(m.state_dict().values()),
        "deepcopy": lambda m: copy.deepcopy(m).parameters(),
        "materialize": lambda m: iter([m.tables["mult"].materialize()]),
    }
    for name, read in readers.items():
        plain, fused = single_ids(), single_ids()
        reference, optimizer = torch.optim.Adam(plain.parameters(), lr=0.01), Adam(fused, lr=0.01, mode="dense")
        for step in range(8):
            ids = torch.full((len(plain.features), 2), step * 3)
            reference.zero_grad()
            loss_of(plain(ids), step).backward()
            loss_of(fused(ids), step).backward()
            reference.step()
            optimizer.step()
        for found, wanted in zip(read(fused), read(plain), strict=True):
            torch.testing.assert_close(found, wanted, **TOLERANCE[DOUBLE], msg=name)


def test_loading_a_model_under_dense_adam_keeps_what_was_loaded() -> None:
    fused = single_ids()
    optimizer = Adam(fused, mode="dense")
    start = {name: value.clone() for name, value in fused.state_dict().items()}
    learn(fused, optimizer, range(5))
    fused.load_state_dict(start)
    assert difference(fused.state_dict(), start) is None


@pytest.mark.parametrize("kind", STATEFUL)
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_belongs_to_no_optimizer(kind: str, how: str) -> None:
    fused = everything(FLOAT, only=SOME)
    optimizer = STATEFUL[kind](fused)
    learn(fused, optimizer, range(5))
    if how == "deepcopy":
        copied = copy.deepcopy(fused)
    else:
        kept = io.BytesIO()
        torch.save(fused, kept)
        kept.seek(0)
        copied = torch.load(kept, weights_only=False)
    before = {name: value.clone() for name, value in copied.state_dict().items()}
    assert difference(before, fused.state_dict()) is None
    assert optimizer.others(copied) == list(copied.parameters())
    learn(fused, optimizer, range(5, 8))
    assert difference(copied.state_dict(), before) is None
    loss_of(copied(bags_of(copied, torch.Generator().manual_seed(0))), 0).backward()
    assert any(p.grad is not None for p in copied.parameters())
    torch.optim.SGD(copied.parameters(), lr=0.1).step()
    assert difference(copied.state_dict(), before) is not None
    learn(copied, SGD(copy.deepcopy(copied)), range(0))
    SGD(copied)


def test_an_optimizer_that_is_gone_owns_nothing() -> None:
    fused = single_ids()
    optimizer = SGD(fused)
    copied = copy.deepcopy(fused)
    other = SGD(copied, lr=0.1)
    learn(copied, other, range(2))
    del optimizer
    assert list(fused.parameters()) != []


# -- threads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STATEFUL)
def test_the_bits_do_not_depend_on_threads(kind: str) -> None:
    before = torch.get_num_threads()
    states = []
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            fused = single_ids(FLOAT)
            optimizer = STATEFUL[kind](fused)
            seen = {}
            for step in range(4):
                generator = torch.Generator().manual_seed(step)
                ids = (torch.rand(len(fused.features), 3000, generator=generator) ** 2 * ROWS).long()
                batch: Any = ids
                if step % 2:
                    batch = {name: (of, torch.arange(0, 3000, 2)) for name, of in zip(fused.features, ids, strict=True)}
                vectors = fused.concatenated(batch)
                seen[f"vectors {step}"] = vectors.detach()
                ((vectors + direction(vectors.detach(), step)) ** 2).mean().backward()
                optimizer.step()
            states.append(seen | dict(fused.state_dict()))
    finally:
        torch.set_num_threads(before)
    assert difference(states[0], states[1]) is None
    assert difference(states[0], states[2]) is None
