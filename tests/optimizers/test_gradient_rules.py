"""When gradients add up, are clipped, dropped or refused, against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad
from coset.testing.cases import difference
from tests.optimizers.plain import DOUBLE, KINDS, SOME, Plain, assert_same, bags_of, everything, loss_of, single_ids


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
