"""Rows that are stored in fewer bits than they are computed with, or rounded: widened when they are read.

A row is read by whole numbers that say what its array is, its source, and by the number 0 of the type that is computed
in, as numba would count an array at every call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from coset.kernels.compile import compiled, inlined
from coset.kernels.lanes import copied, levels_of_codes, rounded, widened_bfloat16, widened_half
from coset.kernels.layout import (
    ADDRESS,
    BFLOAT16,
    BYTES,
    FLOAT16,
    LEVELS,
    ROUNDED,
    SCALES,
    SCALES_STORED,
    STORED,
    WIDE,
)
from coset.kernels.memory import fetch_bytes, size_of, vector

_U16, _F32 = np.empty(1, np.uint16), np.empty(1, np.float32)
RATE = 0.05
"""A step is e to the power of this times its stored logarithm, as in `coset.storage.steps`."""


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _float_of(context: Any, bits: Any) -> Any:
    """The float32 with these bits."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), build


@compiled
def of_half(half):
    """The float32 that bits of float16 are."""
    bits = np.uint32(half)
    sign, exponent, rest = (
        (bits & np.uint32(0x8000)) << np.uint32(16),
        bits & np.uint32(0x7C00),
        bits & np.uint32(0x3FF),
    )
    if exponent == 0:
        small = np.float32(rest) * np.float32(2.0**-24)
        return -small if sign else small
    body = (bits & np.uint32(0x7FFF)) << np.uint32(13)
    body = body | np.uint32(0x7F800000) if exponent == 0x7C00 else body + np.uint32(112 << 23)
    return _float_of(np.uint32(sign | body))


@compiled
def load(address, start, length, stored, into):
    """`length` numbers of 16 bits, from the element `start` on of what is at `address`, into `into`."""
    given = address + start * np.int64(2), np.int64(into.ctypes.data)
    if stored == BFLOAT16:
        widened_bfloat16(into.dtype.type(0), length, given)
    else:
        widened_half(into.dtype.type(0), length, given)


@compiled
def step_at(scales, stored, row, zero):
    """The step of a row of codes, by the logarithms of steps at `scales`."""
    scale = of_half(vector(scales, row, 1, _U16)[0]) if stored == FLOAT16 else vector(scales, row, 1, _F32)[0]
    return np.exp(type(zero)(RATE) * type(zero)(scale))


@inlined
def step_of(arrays, a, row, like):
    """The step of a row of an array of codes."""
    return step_at(arrays[a, SCALES], arrays[a, SCALES_STORED], row, like.dtype.type(0))


@inlined
def source_of(arrays, a):
    """What an array is: its address and what is stored there; where steps are, and what they are stored in; and where
    levels are."""
    return (
        arrays[a, ADDRESS], arrays[a, STORED], arrays[a, SCALES], arrays[a, SCALES_STORED], arrays[a, LEVELS]
    )  # fmt: skip


@inlined
def load_from(source, row, width, into, zero):
    """The numbers of a row, into what is at `into`."""
    address, stored, scales, scales_stored, levels = source
    size = width * size_of(zero)
    if stored == ROUNDED:
        rounded(zero, width, (address + row * size, levels, levels + size, into))
    elif stored == BYTES:
        levels_of_codes(step_at(scales, scales_stored, row, zero), width, (address + row * width, into))
    elif stored == BFLOAT16:
        widened_bfloat16(zero, width, (address + row * width * np.int64(2), into))
    elif stored == FLOAT16:
        widened_half(zero, width, (address + row * width * np.int64(2), into))
    else:
        copied(zero, width, (address + row * size, into))


@inlined
def fetch_from(source, row, width, zero):
    """Ask for what `load_from` will read."""
    address, stored, scales, scales_stored, _ = source
    size = width * (size_of(zero) if stored in (ROUNDED, WIDE) else np.int64(1 if stored == BYTES else 2))
    fetch_bytes(address + row * size, size)
    if stored == BYTES:
        fetch_bytes(scales + row * np.int64(2 if scales_stored == FLOAT16 else 4), np.int64(1))


@inlined
def place_in(source, row, width, spare, zero):
    """The address of a row as it is computed with: where it is stored, or `spare`, an address, where it is widened."""
    if source[1]:
        load_from(source, row, width, spare, zero)
        return spare
    return source[0] + row * width * size_of(zero)


@inlined
def load_row(arrays, a, row, width, into):
    """The numbers of a row of an array, into `into`."""
    load_from(source_of(arrays, a), row, width, np.int64(into.ctypes.data), into.dtype.type(0))


@inlined
def place_of(arrays, a, row, width, spare):
    """The address of a row as it is computed with: where it is stored, or `spare`, an array, where it is widened."""
    return place_in(source_of(arrays, a), row, width, np.int64(spare.ctypes.data), spare.dtype.type(0))


@inlined
def is_narrow(arrays, a):
    """Whether rows are stored in fewer bits than they are computed in, so that a step widens and rounds them."""
    return arrays[a, STORED] != WIDE and arrays[a, STORED] != ROUNDED
