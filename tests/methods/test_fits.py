"""Fits to trained tables: errors that never rise from sweep to sweep, and tables that are found again."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coset import (
    Bloom,
    ChineseRemainder,
    GeneralizedQuotientRemainder,
    HashEmbedding,
    LowRank,
    MixedDimension,
    QuotientRemainder,
    Table,
    TensorTrain,
)
from coset.methods import Method, fitting, hash_embedding, tensor_train

N, DIM = 60, 8
TABLE = Table("t", N, DIM, std=1.0)

ALTERNATING = {
    "QR mult": QuotientRemainder(10),
    "QR add": QuotientRemainder(10, "add"),
    "three mult": GeneralizedQuotientRemainder((5, 4, 3)),
    "CRT add": ChineseRemainder((7, 9), "add"),
}


def drawn(method: Method, seed: int) -> Tensor:
    """What a table of this method can hold."""
    torch.manual_seed(seed)
    return method.build(TABLE).materialize()


def left(found: Tensor, target: Tensor, share: Tensor) -> float:
    return float(((found - target).double().square().mean(-1) * share).sum())


SHARES = st.sampled_from([torch.ones(N), 1.0 / (1 + torch.arange(N)), torch.arange(N) % 3 + 0.0])


@pytest.mark.parametrize("name", ALTERNATING)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), share=SHARES)
def test_the_error_never_rises_from_sweep_to_sweep(name: str, seed: int, share: Tensor) -> None:
    share = (share / share.sum()).double()
    module: Any = ALTERNATING[name].build(TABLE)
    target = torch.randn(N, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = [module._row_of(part, torch.arange(N)) for part in module._parts]
    mult = module.composition.operation == "mult"
    errors = []
    for sweeps in range(1, 12):
        parts = [torch.ones(part.rows, part.width, dtype=torch.float64) for part in module._parts]
        errors.append(float(fitting.descend(parts, target, share, rows, mult, sweeps=sweeps)[1].sum()))
    assert all(after <= before * (1 + 1e-9) for before, after in itertools.pairwise(errors))
    assert errors[-1] < float((target.square() * share[:, None]).sum())


@pytest.mark.parametrize(
    ("file", "method"),
    [(tensor_train, TensorTrain(3)), (hash_embedding, HashEmbedding(12))],
    ids=["TT", "hash embedding"],
)
def test_more_sweeps_never_do_worse(file: Any, method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    target = torch.randn(N, DIM, generator=torch.Generator().manual_seed(3))
    share = torch.ones(N).double() / N
    errors = []
    for sweeps in (1, 2, 4, 8, 16):
        monkeypatch.setattr(file, "_SWEEPS", sweeps)
        torch.manual_seed(1)
        module: Any = method.build(TABLE)
        if file is hash_embedding:  # one beginning, so that there is one way down
            monkeypatch.setattr(file, "_BEGINNINGS", 1)
        errors.append(module.fit_(target))
        assert errors[-1] == pytest.approx(left(module.materialize(), target, share))
    assert all(after <= before * (1 + 1e-6) for before, after in itertools.pairwise(errors))
    assert errors[-1] < 0.99 * errors[0]


@pytest.mark.parametrize("share", [None, 1.0 / (1 + torch.arange(N))], ids=["alike", "by frequency"])
@pytest.mark.parametrize(
    "method",
    [
        *ALTERNATING.values(), QuotientRemainder(10, "concat"), TensorTrain(2), HashEmbedding(12), Bloom(20),
    ],
    ids=str,
)  # fmt: skip
def test_what_the_method_can_hold_is_found_again(method: Method, share: Tensor | None) -> None:
    target = drawn(method, seed=5)
    torch.manual_seed(6)
    module = method.build(TABLE)
    assert module.fit_(target, share) < 1e-3 * float(target.square().mean())


@pytest.mark.parametrize(
    "method",
    [*ALTERNATING.values(), QuotientRemainder(10, "concat"), LowRank(3), Bloom(20),
     MixedDimension((20, 40), (8, 3))],
    ids=str,
)  # fmt: skip
def test_a_table_in_pieces_is_fitted_as_in_one(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    target = torch.randn(N, DIM, generator=torch.Generator().manual_seed(3))
    share = 1.0 / (1 + torch.arange(N))
    found = []
    for at_once in (2**24, 3 * N, 1):
        monkeypatch.setattr(fitting, "_AT_ONCE", at_once)
        torch.manual_seed(1)
        found.append(method.build(TABLE).fit_(target, share))
    # A piece stops when nothing is won in it, not in the whole.
    assert found == pytest.approx([found[0]] * 3, rel=1e-3 if method in ALTERNATING.values() else 1e-6)


@pytest.mark.parametrize("rank", [1, 2, 4, 8, 64])
def test_tensor_trains_begin_at_the_best_split_of_the_table(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sweeps the fit is TT-SVD: exact from the rank of the table on, and else no worse than the two singular
    value decompositions that it is made of (Oseledets, 2011, theorem 2.2)."""
    monkeypatch.setattr(tensor_train, "_SWEEPS", 0)
    monkeypatch.setattr(tensor_train, "_MOST_RANK", 64)
    shape = (4, 5, 3)
    table = Table("t", 60, DIM, std=1.0, dtype=torch.float64)
    target = TensorTrain(4, shape, (2, 2, 2)).build(table).materialize()
    error = TensorTrain(rank, shape, (2, 2, 2)).build(table).fit_(target) * target.numel()
    whole = target.view(3, 5, 4, 2, 2, 2).permute(2, 3, 1, 4, 0, 5)  # the first digit of an id is the one that runs
    lost = [
        float(torch.linalg.svdvals(matrix)[rank:].square().sum())
        for matrix in (whole.reshape(4 * 2, -1), whole.reshape(4 * 2 * 5 * 2, -1))
    ]
    assert max(lost) - 1e-9 <= error <= sum(lost) + 1e-9
    assert (error < 1e-9) == (rank >= 4)
