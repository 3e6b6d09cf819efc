"""Tables stored in 16 bits: kernels read what plain torch reads, and train them as if they were wide, on average."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from coset import Blocks, EmbeddingBagCollection, Full, HashEmbedding, LowRank, QuotientRemainder, Table
from coset.methods import Method
from coset.methods.mixed_dimension import MixedDimension
from coset.optimizers import SGD, Adam, TableOptimizer
from coset.storage import Dense
from tests.engine.small import DIM, LAZY, N, assert_the_same_bits, batch, learn, tables

METHODS: dict[str, Callable[[], Method]] = {
    "full": Full,
    "mult": lambda: QuotientRemainder(8),
    "concat": lambda: QuotientRemainder(8, "concat"),
    "low_rank": lambda: LowRank(3),
    "blocks": lambda: MixedDimension((10, 50), (6, 2)),
    "keras": lambda: MixedDimension((10, 50), (6, 2), layout="keras"),
}
KINDS: dict[str, Callable[..., TableOptimizer]] = {**LAZY, "adam": lambda model: Adam(model, lr=0.01, mode="dense")}


@pytest.mark.parametrize("stored", ["bfloat16", "float16"])
@pytest.mark.parametrize("method", METHODS)
def test_kernels_read_what_torch_reads(method: str, stored: str) -> None:
    model = tables(METHODS[method]().stored(Dense(stored)))
    plain = {name: value.detach() for name, value in model({"item": batch(0)}).items()}
    alone = model({"item": torch.arange(N)})["item"].detach()
    _ = SGD(model, lr=0.1)
    assert torch.allclose(model({"item": batch(0)})["item"], plain["item"], rtol=1e-6, atol=1e-6)
    assert torch.allclose(model({"item": torch.arange(N)})["item"], alone, rtol=1e-6, atol=1e-6)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, stored)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_the_wide_one_within_a_rounding(method: str, kind: str) -> None:
    narrow = tables(METHODS[method]().stored(Dense("bfloat16")))
    wide = tables(METHODS[method]())
    values = {name: value for name, value in narrow.state_dict().items() if not name.endswith("_extra_state")}
    wide.load_state_dict({**wide.state_dict(), **values})
    of_narrow, of_wide = KINDS[kind](narrow), KINDS[kind](wide)
    learn(narrow, of_narrow, range(1))
    learn(wide, of_wide, range(1))
    for one, other in zip(narrow.state_dict().items(), wide.state_dict().items(), strict=True):
        if one[1].is_floating_point():
            # The next number of 8 significant bits is at most 2^-7 away.
            assert torch.allclose(one[1].float(), other[1], rtol=2**-7, atol=1e-6), one[0]
    states = [of.state[p] for of in (of_narrow, of_wide) for p in of.state]
    half = len(states) // 2
    for low, high in zip(states[:half], states[half:], strict=True):
        for name in low:
            assert low[name].dtype == high[name].dtype
            assert torch.allclose(low[name].double(), high[name].double(), rtol=1e-4, atol=1e-7), name


@pytest.mark.parametrize("stored", ["bfloat16", "float16"])
def test_steps_smaller_than_a_rounding_add_up(stored: str) -> None:
    """300 steps of a hundredth of what tells two numbers of the type near 1 apart."""
    model = EmbeddingBagCollection([(Table("item", 2000, 4), Full(storage=Dense(stored)))])
    step = 0.01 * torch.finfo(getattr(torch, stored)).eps
    with torch.no_grad():
        next(model.parameters()).fill_(1.5)
    optimizer = SGD(model, lr=step)
    for _ in range(300):
        model({"item": torch.arange(2000)})["item"].sum().backward()
        optimizer.step()
    moved = (1.5 - next(model.parameters()).detach().float()) / step
    assert 290 < float(moved.mean()) < 310
    assert float(moved.std()) > 10  # rounding to nearest would have moved none of them


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["mult", "keras"])
def test_the_same_bits_again(method: str, kind: str) -> None:
    assert_the_same_bits(lambda: METHODS[method]().stored(Dense("float16")), KINDS[kind])


def test_blocks_have_storages_of_their_own() -> None:
    method = Blocks((20,), (Full(storage=Dense("float32")), QuotientRemainder(8)), storage=Dense("bfloat16"))
    model = tables(method)
    assert [str(p.dtype)[6:] for p in model.parameters()] == ["float32", "bfloat16", "bfloat16"]
    assert method.bytes(Table("item", N, DIM)) == 20 * DIM * 4 + (5 + 8) * DIM * 2
    before = model({"item": torch.arange(N)})["item"].detach()
    optimizer = Adam(model, lr=0.01)
    assert torch.allclose(model({"item": torch.arange(N)})["item"], before, rtol=1e-6)
    learn(model, optimizer, range(3))


def test_a_chosen_type_stays_through_casts() -> None:
    model = tables(QuotientRemainder(8, storage=Dense("bfloat16")))
    before = [p.clone() for p in model.parameters()]
    for cast, dtype in ((model.double, torch.float64), (model.half, torch.float16), (model.float, torch.float32)):
        cast()
        assert all(p.dtype == torch.bfloat16 for p in model.parameters())
        assert model({"item": batch(0)})["item"].dtype == dtype
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_methods_that_kernels_do_not_know_are_narrow_as_well() -> None:
    wide, narrow = tables(HashEmbedding(20)), tables(HashEmbedding(20, storage=Dense("bfloat16")))
    assert sum(p.nbytes for p in narrow.parameters()) * 2 == sum(p.nbytes for p in wide.parameters())
    found = [model({"item": batch(0)})["item"] for model in (wide, narrow)]
    assert found[1].dtype == torch.float32
    assert torch.allclose(found[0], found[1], atol=0.1)
    found[1].sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.bfloat16 for p in narrow.parameters())
