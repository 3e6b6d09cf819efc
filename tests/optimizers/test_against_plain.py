"""Every method, mode and form of ids under the optimizers of tables, against plain torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coset.methods import (
    LowRank,
    QuotientRemainder,
    TensorTrain,
)
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad
from coset.schema import Table
from coset.tables import EmbeddingBagCollection, EmbeddingCollection
from coset.testing.cases import difference, direction
from tests.optimizers.plain import (
    DIM,
    DOUBLE,
    FLOAT,
    KINDS,
    MODES,
    ROWS,
    TOLERANCE,
    Plain,
    assert_same,
    bags_of,
    every_method,
    everything,
    loss_of,
    single_ids,
    zeros_for_none,
)

# -- what is trained ----------------------------------------------------------------------------------


ROUNDS = range(8), range(8, 16), range(16, 24)
"""Eight forms, and types of ids that change with every third."""
TYPES = [pytest.param(DOUBLE, 8, id="double"), pytest.param(FLOAT, 3, id="float")]
"""And how many steps of a round: each step has every form, and all eight have it for every feature."""


# -- every method, mode, form of ids ------------------------------------------------------------------


def test_no_row_composed_method_is_left_out() -> None:
    names = {method.name for method in every_method()}
    assert {"full", "quotient_remainder", "attribute_partitions", "feature_generation", "blocks"} <= names
    collection = everything(FLOAT)
    SGD(collection)
    assert collection.engine is not None
    assert collection.engine.program.numbers.keys() == collection.features.keys()


@pytest.mark.parametrize(("kind", "steps"), list(zip(KINDS, (*ROUNDS, ROUNDS[0]), strict=True)), ids=KINDS)
@pytest.mark.parametrize(("dtype", "most"), TYPES)
def test_a_round_of_steps_of_every_method(kind: str, steps: range, dtype: torch.dtype, most: int) -> None:
    """How rows are found and gradients summed is the same for all kinds, which share the rounds."""
    plain, fused = everything(dtype), everything(dtype)
    of, options = KINDS[kind]
    reference, optimizer = Plain(plain, kind, options), of(fused, **options)
    for step in steps[:most]:
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
@pytest.mark.parametrize(("dtype", "most"), TYPES)
def test_a_round_of_steps_of_dense_adam(decay: float, steps: range, dtype: torch.dtype, most: int) -> None:
    plain, fused = everything(dtype), everything(dtype)
    reference = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=decay)
    optimizer = Adam(fused, lr=0.01, weight_decay=decay, mode="dense")
    for step in steps[:most]:
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
