"""Numbering keys: as a dictionary does, through any growth; and hashing them as partitions do."""

from __future__ import annotations

import numpy as np
import pytest

from coset.data.clicks.numbering import KeyTable
from coset.kernels import distinct
from coset.partitions import MultiplyShift


@pytest.mark.parametrize("spread", [3, 1000, 2**62])
def test_keys_are_numbered_as_they_come(spread: int) -> None:
    draw = np.random.default_rng(0)
    table, known = KeyTable(), {}  # type: ignore[var-annotated]
    for _ in range(5):
        keys = draw.integers(-spread, spread, 3000)
        missing = (draw.random(3000) < 0.1).astype(np.uint8)
        before = len(known)
        expected = [
            -1 if out else known.setdefault(key, len(known)) for key, out in zip(keys.tolist(), missing, strict=True)
        ]
        numbers, fresh = table.add(keys, missing)
        assert numbers.tolist() == expected
        assert keys[fresh].tolist() == list(known)[before:]
    assert table.known == len(known)
    others = draw.integers(-spread, spread, 1000)
    none = np.zeros(1000, dtype=np.uint8)
    assert table.find(others, none).tolist() == [known.get(key, -2) for key in others.tolist()]
    assert table.find(others, none + np.uint8(1)).tolist() == [-1] * 1000


def test_keys_that_fall_into_one_place() -> None:
    """Whatever the keys are, they are told apart; these differ in their upper half only."""
    keys = np.arange(5000, dtype=np.int64) << 32
    table = KeyTable()
    assert np.array_equal(table.add(keys, np.zeros(5000, dtype=np.uint8))[0], np.arange(5000))


@pytest.mark.parametrize("modulus", [1, 7, 100_003, 2**31])
def test_hashes_are_those_of_partitions(modulus: int) -> None:
    draw = np.random.default_rng(0)
    keys = draw.integers(-(2**63), 2**63 - 1, 5000)
    missing = (draw.random(5000) < 0.1).astype(np.uint8)
    for seed in (0, 1, 2**32 - 1):
        of = MultiplyShift(modulus, seed)
        numbers = np.empty(5000, dtype=np.int32)
        distinct.hashed(keys, missing, *of.keys, modulus, numbers)
        assert np.array_equal(numbers, np.where(missing, -1, of(keys)))
