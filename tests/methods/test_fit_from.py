"""Fits in pieces against fits of the same vectors in memory."""

from __future__ import annotations

import pytest
import torch

from coset.errors import InputError
from coset.methods import Blocks, Full, Hashing, LowRank, Method, QuotientRemainder
from coset.schema import Table
from coset.storage import Dense, Packed
from coset.storage.forms import pack_
from coset.vectors import InMemory

N = 700
METHODS: dict[str, Method] = {
    "full": Full(), "bfloat16": Full(storage=Dense("bfloat16")), "4 bits": Full(storage=Packed(4)),
    "bits by column": Full(storage=Packed((3, 2, 0, 8, 1, 5), step_dtype="float16")),
    "by row": Full(storage=Packed(4, step="row", padded=True)),
    "by block": Full(storage=Packed(3, step="block", block=2)), "one row": Hashing(1), "hashing": Hashing(50),
    "low rank": LowRank(3), "low rank, 5 bits": LowRank(3, storage=Packed(5)),
    "blocks": Blocks((20, 300), (Full(storage=Packed(8)), LowRank(2), Full(storage=Packed(2)))),
    "not in pieces": QuotientRemainder(30),
}  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
def test_as_in_memory(monkeypatch: pytest.MonkeyPatch, weighted: bool) -> None:
    monkeypatch.setattr("coset.vectors._NUMBERS_AT_ONCE", 6 * 64)
    torch.manual_seed(0)
    weight = torch.randn(N, 6) @ torch.randn(6, 6)
    counts = torch.randint(0, 50, (N,)).double() if weighted else None
    table = Table("user", N, 6)
    for name, method in METHODS.items():
        wanted, found = method.build(table), pack_(method.build(table))
        error = wanted.fit_(weight, counts)
        left = found.fit_from_(InMemory(weight), counts)
        assert left.error == pytest.approx(error, rel=1e-6), name
        share = torch.ones(N).double() if counts is None else counts
        power = float(share @ weight.double().square().mean(1) / share.sum())
        assert left.power == pytest.approx(power), name
        assert found.fits_in_pieces == (name != "not in pieces")
        for key, value in pack_(wanted).state_dict().items():
            torch.testing.assert_close(found.state_dict()[key], value, msg=lambda said, name=name: f"{name}: {said}")


def test_the_training_form_too() -> None:
    weight, method = torch.randn(50, 4), Full(storage=Packed(4))
    trained, packed = method.build(Table("user", 50, 4)), pack_(method.build(Table("user", 50, 4)))
    assert trained.fit_from_(InMemory(weight)) == packed.fit_from_(InMemory(weight))
    with pytest.raises(InputError, match=r"table 'user': vectors to fit have shape \(50, 4\), not \(51, 4\)"):
        method.build(Table("user", 51, 4)).fit_from_(InMemory(weight))
