"""Who owns a table, and what its state and its threads are, against plain torch."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coset.errors import InputError
from coset.methods import (
    FeatureGeneration,
    LowRank,
    QuotientRemainder,
)
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer
from coset.tables import Embedding, EmbeddingBag, EmbeddingBagCollection
from coset.testing.cases import difference, direction
from tests.optimizers.plain import (
    DOUBLE,
    FLOAT,
    ROWS,
    SOME,
    TOLERANCE,
    assert_same,
    bags_of,
    everything,
    loss_of,
    single_ids,
)


def learn(module: EmbeddingBagCollection, optimizer: TableOptimizer, steps: range) -> None:
    for step in steps:
        loss_of(module(bags_of(module, torch.Generator().manual_seed(step))), step).backward()
        optimizer.step()


# -- who owns a table ---------------------------------------------------------------------------------


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


# -- state --------------------------------------------------------------------------------------------


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


# -- threads ------------------------------------------------------------------------------------------


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
