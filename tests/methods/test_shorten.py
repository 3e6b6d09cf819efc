"""`shorten_`: rows that an id has to itself, multiplied by its factor."""

from __future__ import annotations

import pytest
import torch

from coset import Dense
from coset.methods import Blocks, Full, Hashing, LowRank, Method, MixedDimension, QuotientRemainder, TensorTrain
from coset.schema import Table

TABLE = Table("item", 40, 6, std=1.0)
FACTORS = torch.linspace(0, 1, 40)


def before_and_after(method: Method) -> tuple[torch.Tensor, torch.Tensor]:
    module = method.build(TABLE)
    before = module.materialize().clone()
    module.shorten_(FACTORS)
    return before, module.materialize()


@pytest.mark.parametrize(
    "method", [Full(), LowRank(2), MixedDimension((20, 20), (6, 2)), Blocks((), (Full(),))], ids=repr
)
def test_vectors_of_rows_of_their_own_shrink(method: Method) -> None:
    before, after = before_and_after(method)
    torch.testing.assert_close(after, before * FACTORS.unsqueeze(-1))


def test_a_narrow_storage_rounds() -> None:
    before, after = before_and_after(Full(storage=Dense("bfloat16")))
    torch.testing.assert_close(after, before * FACTORS.unsqueeze(-1), rtol=1e-2, atol=0)


@pytest.mark.parametrize("method", [Hashing(8), QuotientRemainder(7), TensorTrain(2)], ids=repr)
def test_shared_rows_stay(method: Method) -> None:
    before, after = before_and_after(method)
    assert torch.equal(before, after)


def test_of_blocks_those_with_rows_of_their_own() -> None:
    before, after = before_and_after(Blocks((10,), (Full(), Hashing(4))))
    torch.testing.assert_close(after[:10], before[:10] * FACTORS[:10].unsqueeze(-1))
    assert torch.equal(after[10:], before[10:])
