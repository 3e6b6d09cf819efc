"""Batches that the optimizers of tables refuse: wrong ids, and gradients that would ruin rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from coset.errors import InputError
from coset.methods import QuotientRemainder
from coset.optimizers import SGD, Adagrad
from coset.schema import Table
from coset.tables import EmbeddingBagCollection, EmbeddingCollection
from coset.testing.cases import difference
from tests.optimizers.small import KINDS, N, backward, collection, ids_of, learn, state

# -- ids ----------------------------------------------------------------------------------------------


WRONG: dict[str, Any] = {
    "below": {"mult": torch.tensor([3, -1, 2])},
    "at_n": {"full": torch.tensor([3, N])},
    "far": {"narrow": torch.tensor([2**62, 1])},
    "far_below": {"narrow": torch.tensor([0, -(2**63)])},
    "several": {"mult": torch.tensor([N + 3, 1, N + 9, N])},
    "several_below": {"mult": torch.tensor([N, -5, -9, 2])},
    "narrow": {"many": torch.tensor([0, N], dtype=torch.int32)},
    "wide_bag": {"again": torch.tensor([[1, 2], [N + 1, 0]])},
    "bag": {"full": (torch.tensor([1, N, 2]), torch.tensor([0, 1]))},
    "weighted": {"full": (torch.tensor([1, N, 2]), torch.tensor([0, 1]), torch.ones(3))},
    "second": {"mult": torch.tensor([0, 1]), "again": torch.tensor([N]), "full": torch.tensor([N + 1])},
    "matrix": torch.full((5, 3), N),
    "late": {"full": torch.cat([torch.zeros(3000, dtype=torch.int64), torch.tensor([-7])])},
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", ["sgd", "dense"])
@pytest.mark.parametrize("mode", ["sum", "max"])
def test_ids_out_of_range_are_those_of_plain_torch(case: str, kind: str, mode: Any) -> None:
    if case == "weighted" and mode == "max":
        return
    plain, fused = collection(mode=mode), collection(mode=mode)
    optimizer = KINDS[kind](fused)
    learn(fused, optimizer, range(2))
    before = state(fused, optimizer)
    with pytest.raises(IndexError) as expected:
        plain(WRONG[case])
    for context in (torch.enable_grad, torch.no_grad):
        with context(), pytest.raises(IndexError) as found:
            fused(WRONG[case])
        assert str(found.value) == str(expected.value)
    if case == "matrix":
        with pytest.raises(IndexError, match=f"id {N} is out of range"):
            fused.concatenated(WRONG[case])
    optimizer.step()
    before["steps"] += 1
    if kind == "sgd":  # dense Adam goes on without a gradient
        assert difference(state(fused, optimizer), before) is None


def test_ids_out_of_range_with_an_order() -> None:
    tables = [(Table("a", N, 4), QuotientRemainder(7))]
    for make in (EmbeddingCollection, EmbeddingBagCollection):
        module = make(tables, orders={"a": torch.arange(N).flip(0)})
        SGD(module)
        for wrong in (-1, N, 2**40):
            with pytest.raises(IndexError, match=f"table 'a': id {wrong} is out of range, its ids are 0 … 29"):
                module({"a": torch.tensor([0, wrong])})


def test_a_batch_with_a_wrong_id_leaves_what_waits_for_a_step() -> None:
    fused, twin = collection(), collection()
    optimizers = [Adagrad(fused), Adagrad(twin)]
    for module in (fused, twin):
        backward(module, 0)
    with pytest.raises(IndexError):
        fused({"full": torch.tensor([N])})
    for optimizer in optimizers:
        optimizer.step()
    assert difference(state(fused, optimizers[0]), state(twin, optimizers[1])) is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"full": torch.tensor([1.0])}, TypeError),
        ({"full": torch.tensor([1], dtype=torch.int16)}, TypeError),
        ({"nobody": torch.tensor([1])}, InputError),
        ({"full": torch.zeros(1, 1, 1, dtype=torch.int64)}, InputError),
        ({"full": (torch.tensor([1, 2]), torch.tensor([0, 3]))}, InputError),
        ({"full": (torch.tensor([1, 2]), torch.tensor([1]))}, InputError),
        ({"full": (torch.tensor([1, 2]), torch.tensor([0]), torch.ones(3))}, InputError),
        (torch.zeros(4, 2, dtype=torch.int64), InputError),
        (torch.zeros(5, 2), TypeError),
        ([1, 2], InputError),
    ],
)
def test_wrong_batches_are_refused_as_by_plain_torch(given: Any, error: type[Exception]) -> None:
    plain, fused = collection(), collection()
    SGD(fused)
    with pytest.raises(error) as expected:
        plain(given)
    for call in (fused, fused.concatenated):
        with pytest.raises(error) as found:
            call(given)
        assert str(found.value) == str(expected.value)


def test_bags_of_different_numbers_cannot_stand_side_by_side() -> None:
    fused = collection()
    SGD(fused)
    with pytest.raises(InputError, match="same number of bags"):
        fused.concatenated({"full": torch.tensor([1, 2]), "mult": torch.tensor([1])})


# -- gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_that_are_not_finite_change_nothing(kind: str, value: float) -> None:
    fused, skipping = collection(), collection()
    optimizer, other = KINDS[kind](fused), KINDS[kind](skipping, nonfinite="skip", max_norm=1.0)
    learn(fused, optimizer, range(2))
    learn(skipping, other, range(2))
    before, after = state(fused, optimizer), state(skipping, other)
    for module in (fused, skipping):
        vectors = module(ids_of(5))
        factor = torch.ones(4, 4)
        factor[2, 1] = value
        loss = vectors["full"].sum() + (vectors["mult"] * factor).sum()
        loss.backward()
    with pytest.raises(FloatingPointError, match="table 'mult': a gradient is NaN or infinite"):
        optimizer.step()
    assert difference(state(fused, optimizer), before) is None
    other.step()
    assert other.skipped == 1
    assert difference(state(skipping, other), after) is None
    learn(fused, optimizer, range(5, 7))  # the wrong gradients are gone
    assert all(torch.isfinite(of).all() for of in fused.parameters())


def test_passes_that_are_finite_alone_but_not_together() -> None:
    fused = collection()
    optimizer = Adagrad(fused)
    before = state(fused, optimizer)
    for _ in range(2):
        (fused({"full": torch.tensor([1])})["full"] * 3e38).sum().backward()
    with pytest.raises(FloatingPointError, match="table 'full'"):
        optimizer.step()
    for value in (float("inf"), float("-inf")):
        (fused({"full": torch.tensor([1])})["full"] * value).sum().backward()
    with pytest.raises(FloatingPointError, match="table 'full'"):
        optimizer.step()
    assert difference(state(fused, optimizer), before) is None


def test_large_gradients_are_not_infinite_ones() -> None:
    fused = collection()
    optimizer = SGD(fused, lr=1e-30, max_norm=1.0)
    (fused({"full": torch.tensor([1])})["full"] * 1e30).sum().backward()
    optimizer.step()
    assert optimizer.steps == 1


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_whose_squares_are_infinite(kind: str) -> None:
    for times in (3e22, 1e30):
        fused, plain = collection(), collection()
        optimizer = KINDS[kind](fused, max_norm=1.0)
        other = KINDS[kind](plain, max_norm=1.0)
        (fused({"full": torch.tensor([1])})["full"] * times).sum().backward()
        plain({"full": torch.tensor([1])})["full"].sum().backward()
        optimizer.step()
        other.step()
        torch.testing.assert_close(state(fused, optimizer), state(plain, other), rtol=1e-4, atol=1e-6)
    before = state(fused, optimizer)
    (fused({"full": torch.tensor([2])})["full"] * 3e22).sum().backward()
    optimizer.max_norm = None
    if kind == "sgd":
        optimizer.step()
        return
    with pytest.raises(FloatingPointError, match=r"table 'full': a gradient is .* too large to be squared"):
        optimizer.step()
    assert difference(state(fused, optimizer), before) is None


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_groups_that_would_ruin_rows(kind: str) -> None:
    fused = collection()
    optimizer = KINDS[kind](fused)
    before = state(fused, optimizer)
    for name, value in (("lr", float("nan")), ("lr", 1e39), ("lr", "x"), ("eps", float("inf")), ("betas", (1.0, 2.0))):
        backward(fused, 0)
        kept = [group[name] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group[name] = value
        with pytest.raises(InputError, match=name):
            optimizer.step()
        optimizer.zero_grad()
        for group, given in zip(optimizer.param_groups, kept, strict=True):
            group[name] = given
    assert difference(state(fused, optimizer), before) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_of_zero_without_eps(kind: str) -> None:
    if kind != "sgd":
        fused = collection()
        optimizer = KINDS[kind](fused, eps=0.0)
        backward(fused, 0, times=0.0)
        optimizer.step()
        assert all(torch.isfinite(of).all() for of in fused.state_dict().values())


def test_gradients_are_scaled_back_before_they_are_clipped() -> None:
    fused, plain = collection(), collection()
    optimizer, other = SGD(fused, lr=0.1, max_norm=0.01), SGD(plain, lr=0.1, max_norm=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for module, scale in ((fused, scaler.get_scale() if scaler.scale(torch.ones(())) else 0), (plain, 1.0)):
        backward(module, 0, times=scale)
    with pytest.raises(InputError, match="scale_gradients"):
        scaler.step(optimizer)
    optimizer.scale_gradients(1 / scaler.get_scale())
    assert optimizer.gradient_norm() == pytest.approx(other.gradient_norm())
    for each in (optimizer, other):
        each.step()
    torch.testing.assert_close(state(fused, optimizer), state(plain, other))
    for wrong in (float("nan"), float("inf"), "2"):
        with pytest.raises(InputError, match="factor"):
            optimizer.scale_gradients(wrong)  # type: ignore[arg-type]
