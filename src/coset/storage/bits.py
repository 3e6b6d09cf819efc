"""Codes of a few bits each, one after the other in an array of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

_AT_ONCE = 1 << 20
"""Codes that are packed together; each takes some tens of bytes meanwhile."""


class BitLayout:
    """Where the codes of an array lie: row after row, a row's codes in order of columns, each from the lowest free bit
    of its byte on. A code may lie in two bytes.

    Args:
        bits: of the codes of each column, 0 to 8; a column of 0 bits is not stored.
        padded: whether each row begins at a byte of its own.

    Example:
        >>> BitLayout([4, 3, 0, 2]).bytes(100), BitLayout([4, 3, 0, 2], padded=True).bytes(100)
        (113, 200)
    """

    def __init__(self, bits: Sequence[int], padded: bool = False) -> None:
        self.bits, self.padded = tuple(bits), padded
        self.row_bits = sum(bits)
        if padded:
            self.row_bits = -(-self.row_bits // 8) * 8

    def bytes(self, rows: int) -> int:
        """Of so many rows."""
        return -(-rows * self.row_bits // 8)

    @cached_property
    def columns(self) -> list[int]:
        """The columns that are stored."""
        return [column for column, bits in enumerate(self.bits) if bits]

    @cached_property
    def begins(self) -> list[int]:
        """The bit of a row that each column begins at."""
        return [0, *accumulate(self.bits)][:-1]

    @cached_property
    def in_bytes(self) -> bool:
        """Whether every code is a byte, and so nothing is to be shifted."""
        return bool(self.columns) and all(self.bits[column] == 8 for column in self.columns)

    def read(self, data: Tensor, rows: Tensor) -> Tensor:
        """The codes of rows.

        Args:
            data: the bytes, uint8, shape `(bytes,)`.
            rows: their numbers, int64, of any shape.

        Returns:
            int64, shape `(*rows.shape, len(self.columns))`.
        """
        if self.in_bytes:
            return data.view(-1, len(self.columns))[rows].long()
        begin, masks = self._places(data.device)
        place = rows.unsqueeze(-1) * self.row_bits + begin
        first = place >> 3
        # The byte after the last one is not there; no code that needs it begins in the last one.
        both = data[first].long() | data[(first + 1).clamp(max=data.shape[0] - 1)].long() << 8
        return (both >> (place & 7)) & masks

    def write_(self, data: Tensor, rows: Tensor, codes: Tensor) -> None:
        """Replace the codes of rows, whose numbers are distinct, and leave all other bits.

        Args:
            data, rows: as for `read`; `rows` of one dimension.
            codes: whole numbers, shape `(len(rows), len(self.columns))`.
        """
        if not self.columns:
            return
        if self.in_bytes:
            data.view(-1, len(self.columns))[rows] = codes.to(torch.uint8)
            return
        begin, masks = self._places(data.device)
        step = max(1, _AT_ONCE // len(self.columns))
        for at in range(0, len(rows), step):
            place = rows[at : at + step, None] * self.row_bits + begin
            shift, first = place & 7, place >> 3
            new, old = codes[at : at + step].long() << shift, masks << shift
            where = torch.cat([first.reshape(-1), (first + 1).reshape(-1)])
            touched, number = _numbered(where)

            def sums(of: Tensor, number: Tensor = number, touched: Tensor = touched) -> Tensor:
                halves = torch.cat([(of & 0xFF).reshape(-1), (of >> 8).reshape(-1)])
                return torch.zeros_like(touched).index_add_(0, number, halves)  # of distinct bits: their union

            added, cleared = sums(new), sums(old.expand_as(new))
            inside = touched < data.shape[0]  # no bit is beyond the last byte
            touched, added, cleared = touched[inside], added[inside], cleared[inside]
            data[touched] = ((data[touched].long() & ~cleared) | added).to(torch.uint8)

    def _places(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The first bit of each stored column, and as many ones as it has bits."""
        begins = torch.tensor([self.begins[column] for column in self.columns], device=device, dtype=torch.int64)
        masks = torch.tensor(
            [(1 << self.bits[column]) - 1 for column in self.columns], device=device, dtype=torch.int64
        )
        return begins, masks


def _numbered(places: Tensor) -> tuple[Tensor, Tensor]:
    """Places without repeats, ascending, and the number of each given one among them. Where they lie close, all between
    the first and the last are taken, which needs no sorting."""
    low, high = (int(bound) for bound in places.aminmax())
    if high - low < 4 * len(places):
        return torch.arange(low, high + 1, device=places.device), places - low
    distinct, number = places.unique(return_inverse=True)
    return distinct, number
