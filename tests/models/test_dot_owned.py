"""Any optimizer of coset trains the dot model, as torch's optimizer of that name does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from coset import FeatureGeneration, Full, LowRank, QuotientRemainder, Table, optimizers
from coset.methods import Method
from coset.models.dot import DotModel, DotSettings

METHODS: dict[str, Method] = {
    "full": Full(),
    "qr": QuotientRemainder(6),
    "low_rank": LowRank(3),
    "several": FeatureGeneration((6, 6)),
}
KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sgd": (lambda model: optimizers.SGD(model, lr=0.1), lambda of: torch.optim.SGD(of, lr=0.1)),
    "adagrad": (lambda model: optimizers.Adagrad(model, lr=0.1), lambda of: torch.optim.Adagrad(of, lr=0.1)),
    "adam": (
        lambda model: optimizers.Adam(model, lr=0.01, mode="dense"),
        lambda of: torch.optim.Adam(of, lr=0.01),
    ),
}


def build(method: Method) -> DotModel:
    torch.manual_seed(1)
    settings = DotSettings(embedding_dim=4, biases=True, output="linear", low=1.0, high=5.0)
    user, item = (Table(name, 36, 4, dtype=torch.float64) for name in ("user", "item"))
    return DotModel(user, item, {"user": method, "item": method}, settings, mean=3.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_trained_as_by_torch(method: str, kind: str) -> None:
    owned, plain = build(METHODS[method]), build(METHODS[method])
    of_tables, of_torch = KINDS[kind][0](owned), KINDS[kind][1](plain.parameters())
    others = KINDS[kind][1](of_tables.others(owned))
    draw = torch.Generator().manual_seed(0)
    for _ in range(6):
        users, items = (torch.randint(36, (20,), generator=draw) for _ in range(2))
        ratings = torch.randint(1, 6, (20,), generator=draw)
        for model, steps in ((owned, (of_tables, others)), (plain, (of_torch,))):
            scores = model(users, items)
            ((scores.prediction - ratings).square() + 0.01 * scores.squared_norm).mean().backward()
            for step in steps:
                step.step()
                step.zero_grad()
    found, expected = owned.state_dict(), plain.state_dict()
    for name, value in expected.items():
        if value.is_floating_point():
            assert torch.allclose(found[name], value, rtol=1e-5, atol=1e-7), name
    assert len(of_tables.others(owned)) == 1  # the mean


@pytest.mark.parametrize("kind", ["RowWiseAdagrad", "Adam"])
def test_optimizers_that_torch_has_not(kind: str) -> None:
    model = build(QuotientRemainder(6))
    optimizer = getattr(optimizers, kind)(model, lr=0.05)
    every = torch.arange(36)
    losses = []
    for _ in range(20):
        loss = (model(every, every).prediction - 1.0).square().mean()
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
