"""Codes of a few bits are read and written as in one long number, row after row."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from coset.storage.bits import BitLayout

BITS = st.lists(st.integers(0, 8), min_size=1, max_size=9)


def reference(bits: list[int], padded: bool, codes: torch.Tensor) -> bytes:
    """The bytes of codes of all columns, by whole numbers of Python."""
    whole, at = 0, 0
    for row in codes.tolist():
        for width, code in zip(bits, row, strict=True):
            whole |= code << at
            at += width
        if padded:
            at = -(-at // 8) * 8
    return whole.to_bytes(-(-at // 8), "little")


@given(BITS, st.booleans(), st.integers(1, 20), st.integers(0, 2**31))
def test_bytes_are_those_of_one_long_number(bits: list[int], padded: bool, rows: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    codes = torch.stack([torch.randint(1 << width, (rows,), generator=draw) for width in bits], dim=1)
    layout, stored = BitLayout(bits, padded), [column for column, width in enumerate(bits) if width]
    data = torch.zeros(layout.bytes(rows), dtype=torch.uint8)
    order = torch.randperm(rows, generator=draw)
    for some in order.split(3):  # neighbours share bytes
        layout.write_(data, some, codes[some][:, stored])
    assert bytes(data.tolist()) == reference(bits, padded, codes)
    assert torch.equal(layout.read(data, order), codes[order][:, stored])


@given(BITS, st.booleans(), st.integers(2, 20), st.integers(0, 2**31))
def test_other_rows_keep_their_bits(bits: list[int], padded: bool, rows: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    stored = [width for width in bits if width]
    before = torch.stack([torch.randint(1 << width, (rows,), generator=draw) for width in stored or [1]], dim=1)
    layout = BitLayout(bits, padded)
    data = torch.zeros(layout.bytes(rows), dtype=torch.uint8)
    every, one = torch.arange(rows), torch.tensor([rows // 2])
    layout.write_(data, every, before[:, : len(stored)])
    layout.write_(data, one, torch.zeros(1, len(stored), dtype=torch.int64))
    expected = before[:, : len(stored)].clone()
    expected[one] = 0
    assert torch.equal(layout.read(data, every), expected)
