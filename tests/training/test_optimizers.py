"""Optimizers of torch for rows of narrow types."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from coset import Embedding, Full
from coset.storage import Dense
from coset.tasks import TrainingSettings
from coset.training.optimizers import of_tables_in_torch, of_torch


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_rows_without_a_gradient_stay_numbers(dtype: str, optimizer: str) -> None:
    """An eps that is 0 in the type of the rows would divide nothing by nothing."""
    table = Embedding(20, 4, Full(storage=Dense(dtype)))  # type: ignore[arg-type]
    before = table.materialize().detach().clone()
    parameters: list[nn.Parameter] = list(table.parameters())
    chosen = of_tables_in_torch(parameters, set(), TrainingSettings(optimizer=optimizer, learning_rate=0.01))
    for _ in range(3):
        chosen.zero_grad()
        (table(torch.arange(5)).sum() + 1e-5 * table(torch.arange(5, 8)).sum()).backward()
        chosen.step()
    after = table.materialize()
    assert torch.equal(after[8:], before[8:])
    assert ((after[:5] - before[:5]).abs() - 0.02).abs().max() < 0.02
    assert (after[5:8] - before[5:8]).abs().max() < 0.04
    usual = of_torch(parameters, TrainingSettings(optimizer=optimizer)).param_groups[0]["eps"]
    assert usual == (2**-12 if dtype == "float16" else {"adam": 1e-8, "adagrad": 1e-10}[optimizer])
