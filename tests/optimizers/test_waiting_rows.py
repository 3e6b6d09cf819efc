"""Rows that wait for their steps, and rates that change, against plain torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from coset.methods import (
    TableModule,
)
from coset.optimizers import Adam
from tests.optimizers.plain import DOUBLE, KINDS, TOLERANCE, Plain, assert_same, loss_of, single_ids, zeros_for_none

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
        whole, wanted = (torch.cat([of[name].flatten() for name in expected]) for of in (found, expected))
        torch.testing.assert_close(whole, wanted, **TOLERANCE[DOUBLE], msg=lambda text, at=step: f"step {at}: {text}")
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
