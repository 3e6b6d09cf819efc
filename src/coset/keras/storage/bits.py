"""Codes of a few bits each in bytes: where `coset.storage.bits` puts them, for the backends of Keras."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import keras
import numpy as np
from keras import ops

from coset.errors import InputError

Tensor = Any
_MANY_BYTES = 2**31
"""More than 32 bits count."""
_ROWS_AT_ONCE = 1 << 14
"""A multiple of 8, so that all but the last are whole bytes."""


class CodeLayout:
    """Row after row, a row's codes in order of columns, each from the lowest free bit of its byte on.

    Args:
        rows: number of rows.
        bits: of the codes of each column, 0 to 8; a column of 0 bits is not stored.
        padded: whether each row begins at a byte of its own.

    Raises:
        InputError: more bytes than the backend can count.

    Example:
        >>> CodeLayout(100, [4, 3, 0, 2]).shape, CodeLayout(100, [4, 3, 0, 2], padded=True).shape
        ((113,), (100, 2))
    """

    def __init__(self, rows: int, bits: Sequence[int], padded: bool = False) -> None:
        self.rows, self.bits = rows, tuple(bits)
        self.columns = [column for column, each in enumerate(bits) if each]
        self.stored_bits = [bits[column] for column in self.columns]
        self.row_bits = sum(bits)
        if padded:
            self.row_bits = -(-self.row_bits // 8) * 8
        self.bytes = -(-rows * self.row_bits // 8)
        self._begin = np.array([0, *accumulate(self.stored_bits)][:-1], dtype=np.int32)
        if self.bytes >= _MANY_BYTES and len(self.shape) == 1 and not _counts_in_64_bits():
            raise InputError(
                f"storage 'packed': {self.bytes:,} bytes of rows of {self.row_bits} bits are more than JAX counts in "
                f"32 bits; let rows be whole bytes, with padded, or set jax_enable_x64"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array of bytes: with a dimension of rows, which are read faster so, where these are whole bytes."""
        if self.row_bits and self.row_bits % 8 == 0:
            return self.rows, self.row_bits // 8
        return (self.bytes,)

    def read(self, data: Tensor, row_ids: Tensor) -> Tensor:
        """The codes of rows, int32, shape `(*row_ids.shape, columns)`.

        Args:
            data: uint8, of `shape`.
            row_ids: numbers of rows, of any shape.
        """
        masks = np.array([(1 << bits) - 1 for bits in self.stored_bits], dtype=np.int32)
        if len(self.shape) == 2:
            found = ops.take(data, row_ids, axis=0)
            if set(self.stored_bits) == {8}:
                return ops.cast(found[..., : len(self.columns)], "int32")
            first, shift = self._begin >> 3, self._begin & 7
            low = ops.cast(ops.take(found, first, axis=-1), "int32")
            if bool((shift + self.stored_bits > 8).any()):  # a code in two bytes
                after = np.minimum(first + 1, self.row_bits // 8 - 1)
                low = low + 256 * ops.cast(ops.take(found, after, axis=-1), "int32")
            return ops.bitwise_and(ops.right_shift(low, shift), masks)
        row_ids = ops.expand_dims(ops.cast(row_ids, "int64" if self.bytes >= _MANY_BYTES else "int32"), -1)
        # Every eighth row begins at a byte: so no number is larger than that of the bytes.
        place = (row_ids % 8) * self.row_bits + ops.cast(self._begin, row_ids.dtype)
        first = row_ids // 8 * self.row_bits + place // 8
        low = ops.cast(ops.take(data, first, axis=0), "int32")
        # The byte after the last one is not there; no code that needs it begins in the last one.
        high = ops.cast(ops.take(data, ops.minimum(first + 1, self.bytes - 1), axis=0), "int32")
        return ops.bitwise_and(ops.right_shift(low + 256 * high, ops.cast(place % 8, "int32")), masks)

    def written(self, codes: np.ndarray) -> np.ndarray:
        """The bytes, of `shape`, of the codes of all rows, shape `(rows, columns)`."""
        data = np.zeros(self.bytes, dtype=np.uint8)
        for start in range(0, self.rows, _ROWS_AT_ONCE):
            part = self._bytes_of(codes[start : start + _ROWS_AT_ONCE])
            at = start // 8 * self.row_bits
            data[at : at + len(part)] = part
        return data.reshape(self.shape)

    def repeated(self, codes: np.ndarray) -> np.ndarray:
        """The same for rows that all have these codes, shape `(columns,)`."""
        eight = self._bytes_of(np.tile(np.asarray(codes, dtype=np.uint8), (8, 1)))
        return np.resize(eight, self.shape) if len(eight) else np.zeros(self.shape, dtype=np.uint8)

    def _bytes_of(self, codes: np.ndarray) -> np.ndarray:
        bits = np.zeros((len(codes), self.row_bits), dtype=np.uint8)
        for column, (begin, width) in enumerate(zip(self._begin, self.stored_bits, strict=True)):
            bits[:, begin : begin + width] = codes[:, column, None] >> np.arange(width, dtype=np.uint8) & 1
        return np.packbits(bits, bitorder="little")


def _counts_in_64_bits() -> bool:
    if keras.backend.backend() != "jax":
        return True
    import jax

    return bool(jax.config.jax_enable_x64)
