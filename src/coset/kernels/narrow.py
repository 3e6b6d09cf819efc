"""Numbers stored in 16 bits: widened when they are read, rounded stochastically when they are stored.

A number between two that can be stored becomes the upper one with the probability of its distance from the lower, so
that on average nothing is lost of steps far smaller than a rounding (Gupta et al., 2015, arXiv 1502.02551). The random
bits are a hash of array, row, element and step: the same in every run, for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from coset.kernels.compile import compiled, inlined
from coset.kernels.hashing import LOW, mix
from coset.kernels.layout import ADDRESS, BFLOAT16, STORED
from coset.kernels.memory import vector

_U16 = np.empty(1, np.uint16)


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _float_of(context: Any, bits: Any) -> Any:
    """The float32 with these bits."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), build


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _bits_of(context: Any, number: Any) -> Any:
    """The bits of a float32."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), build


@compiled
def _of_half(half):
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
    """`length` stored numbers, from the element `start` on of what is at `address`, into `into`."""
    given = vector(address, start, length, _U16)
    if stored == BFLOAT16:
        for e in range(length):
            into[e] = _float_of(np.uint32(given[e]) << np.uint32(16))
    else:
        for e in range(length):
            into[e] = _of_half(given[e])


@inlined
def place_of(arrays, a, row, width, spare):
    """The address of a row as it is computed with: where it is stored, or `spare`, into which it is widened."""
    if arrays[a, STORED]:
        load(arrays[a, ADDRESS], row * width, width, arrays[a, STORED], spare)
        return np.int64(spare.ctypes.data)  # an unsigned one and a signed one would make a float
    return arrays[a, ADDRESS] + row * width * spare.itemsize


@compiled
def _to_bfloat16(bits, noise):
    """Upwards where the random bits carry; never beyond what is finite."""
    if bits & np.uint64(0x7F800000) == np.uint64(0x7F800000):
        is_nan = (bits & np.uint64(0x7FFFFF)) != np.uint64(0)
        return bits >> np.uint64(16) | (np.uint64(0x40) if is_nan else np.uint64(0))
    up = bits + (noise & np.uint64(0xFFFF))
    return (bits if up & np.uint64(0x7F800000) == np.uint64(0x7F800000) else up) >> np.uint64(16)


@compiled
def _to_half(number, bits, noise):
    sign, size = (bits >> np.uint64(16)) & np.uint64(0x8000), bits & np.uint64(0x7FFFFFFF)
    if size > np.uint64(0x7F800000):
        return sign | np.uint64(0x7E00)
    if size == np.uint64(0x7F800000):
        return sign | np.uint64(0x7C00)
    if size < np.uint64(113 << 23):  # steps of 2^-24 below the smallest normal number
        part = np.float64(noise) * 2.0**-32
        return sign | np.uint64(abs(np.float64(number)) * 2.0**24 + part)
    up = (size + (noise & np.uint64(0x1FFF))) >> np.uint64(13)
    return sign | min(up - np.uint64(112 << 10), np.uint64(0x7BFF))


@compiled
def store(numbers, length, address, start, stored, key):
    """`numbers` into `length` stored ones, from the element `start` on of what is at `address`."""
    into = vector(address, start, length, _U16)
    for e in range(length):
        number = np.float32(numbers[e])
        bits, noise = np.uint64(_bits_of(number)), mix((key + np.uint64(e) * np.uint64(0x9E3779B9)) & LOW)
        if stored == BFLOAT16:
            into[e] = np.uint16(_to_bfloat16(bits, noise))
        else:
            into[e] = np.uint16(_to_half(number, bits, noise))


@compiled
def key_of(a, row, step):
    """What the random bits of a row of an array are made of, in a step."""
    word = np.uint64(row)
    low = mix((word & LOW) ^ (np.uint64(step) * np.uint64(0x9E3779B1) & LOW))
    return mix((low ^ (word >> np.uint64(32)) ^ (np.uint64(a) * np.uint64(0x85EBCA77))) & LOW)
