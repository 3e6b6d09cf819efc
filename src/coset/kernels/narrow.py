"""Numbers stored in 16 or 8 bits: widened when they are read, rounded stochastically when they are stored.

A number between two that can be stored becomes the upper one with the probability of its distance from the lower, so
that on average nothing is lost of steps far smaller than a rounding (Gupta et al., 2015, arXiv 1502.02551). The random
bits are a hash of array, row, element and step: the same in every run, for any number of threads.

Codes of 8 bits are levels of a step of their row, which stays as it is as long as the row fits: if it followed the row,
all its numbers would be rounded anew in every step, and not only those that move.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from coset.kernels.compile import compiled, inlined
from coset.kernels.hashing import LOW, mix
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
from coset.kernels.memory import fetch, vector

_U16, _U8, _F32 = np.empty(1, np.uint16), np.empty(1, np.uint8), np.empty(1, np.float32)
RATE = 0.05
"""A step is e to the power of this times its stored logarithm, as in `coset.storage.steps`."""
_MIDDLE, _TOP = 127, 254
"""The code of 8 bits that is level 0, and the largest."""
_SMALLEST, _LARGEST = 1e-25, 1e30
"""Steps are fitted to numbers between these, so that each is a number above 0."""
_ROOM, _LOOSE = 1.1, 4.0
"""A new step has room for numbers so many times the largest of the row; a row that needs but a part of its levels, one
in so many, has its step fitted again."""


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


@compiled
def step_of(arrays, a, row, like):
    """The step of a row of codes."""
    if arrays[a, SCALES_STORED] == FLOAT16:
        scale = _of_half(vector(arrays[a, SCALES], row, 1, _U16)[0])
    else:
        scale = vector(arrays[a, SCALES], row, 1, _F32)[0]
    return np.exp(like.dtype.type(RATE) * like.dtype.type(scale))


@compiled
def _load_codes(address, step, width, into):
    codes = vector(address, 0, width, _U8)
    for e in range(width):
        into[e] = into.dtype.type(np.int32(codes[e]) - np.int32(_MIDDLE)) * step


@compiled
def _load_rounded(address, levels, width, into):
    floats = vector(address, 0, width, into)
    halves, steps = vector(levels, 0, width, into), vector(levels, width, width, into)
    for e in range(width):
        place, half = floats[e] / steps[e], halves[e]
        place = -half if place < -half else place  # so that one that is not finite stays so
        place = half if place > half else place
        into[e] = (np.rint(place + half) - half) * steps[e]


@inlined
def load_row(arrays, a, row, width, into):
    """The numbers of a row of an array, into `into`."""
    stored = arrays[a, STORED]
    if stored == ROUNDED:
        _load_rounded(arrays[a, ADDRESS] + row * width * into.itemsize, arrays[a, LEVELS], width, into)
    elif stored == BYTES:
        _load_codes(arrays[a, ADDRESS] + row * width, step_of(arrays, a, row, into), width, into)
    elif stored == WIDE:
        floats = vector(arrays[a, ADDRESS], row * width, width, into)
        for e in range(width):
            into[e] = floats[e]
    else:
        load(arrays[a, ADDRESS], row * width, width, stored, into)


@inlined
def fetch_row(arrays, a, row, width, like):
    """Ask for what `load_row` will read."""
    stored = arrays[a, STORED]
    size = like.itemsize if stored in (ROUNDED, WIDE) else 1 if stored == BYTES else 2
    fetch(arrays[a, ADDRESS], row * width * size, width * size, _U8)
    if stored == BYTES:
        fetch(arrays[a, SCALES], row * (2 if arrays[a, SCALES_STORED] == FLOAT16 else 4), 1, _U8)


@inlined
def is_narrow(arrays, a):
    """Whether rows are stored in fewer bits than they are computed in, so that a step widens and rounds them."""
    return arrays[a, STORED] != WIDE and arrays[a, STORED] != ROUNDED


@inlined
def place_of(arrays, a, row, width, spare):
    """The address of a row as it is computed with: where it is stored, or `spare`, into which it is widened."""
    if arrays[a, STORED]:
        load_row(arrays, a, row, width, spare)
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
def nearest_half(number):
    """A float32 rounded to the nearest number of float16, ties to even."""
    bits = np.uint64(_bits_of(number))
    odd = (bits >> np.uint64(13)) & np.uint64(1)
    return _of_half(_to_half(number, bits, np.uint64(0xFFF) + odd))


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
def _fit_step(arrays, a, row, numbers, width):
    """The step that these numbers of a row are stored by: the one it has, or a new one where they do not fit that."""
    step, most = step_of(arrays, a, row, numbers), numbers.dtype.type(0)
    for e in range(width):
        most = max(most, abs(numbers[e]))
    limit = step * numbers.dtype.type(_MIDDLE)
    if most <= limit and (most * numbers.dtype.type(_LOOSE) >= limit or most <= numbers.dtype.type(_SMALLEST)):
        return step
    most = min(max(most, numbers.dtype.type(_SMALLEST)), numbers.dtype.type(_LARGEST))
    scale = np.float32(np.log(most * numbers.dtype.type(_ROOM / _MIDDLE)) / numbers.dtype.type(RATE))
    if arrays[a, SCALES_STORED] == FLOAT16:
        bits = np.uint64(_bits_of(scale))
        away = np.uint64(0) if scale < 0 else np.uint64(0x1FFF)  # upwards, so that all numbers fit
        vector(arrays[a, SCALES], row, 1, _U16)[0] = np.uint16(_to_half(scale, bits, away))
    else:
        vector(arrays[a, SCALES], row, 1, _F32)[0] = scale
    return step_of(arrays, a, row, numbers)


@inlined
def _part_of(noise):
    """A share of 1 out of random bits, as a number of 24 bits, so that a float32 holds it and is below 1."""
    return np.float32(np.int32(noise >> np.uint32(8))) * np.float32(2.0**-24)


@compiled
def store_row(arrays, a, row, numbers, width, key):
    """`numbers` into a row of an array of fewer bits."""
    if arrays[a, STORED] != BYTES:
        store(numbers, width, arrays[a, ADDRESS], row * width, arrays[a, STORED], key)
        return
    step = _fit_step(arrays, a, row, numbers, width)
    codes = vector(arrays[a, ADDRESS], row * width, width, _U8)
    # Each is uniform, which is all that one number needs; those of a row need not be independent of each other.
    noise = np.uint32(key)
    for e in range(width):
        place = np.int32(numbers[e] / step + (numbers.dtype.type(_MIDDLE) + numbers.dtype.type(_part_of(noise))))
        codes[e] = np.uint8(min(max(place, np.int32(0)), np.int32(_TOP)))
        noise = np.uint32(noise + np.uint32(0x9E3779B9))


@compiled
def key_of(a, row, step):
    """What the random bits of a row of an array are made of, in a step."""
    word = np.uint64(row)
    low = mix((word & LOW) ^ (np.uint64(step) * np.uint64(0x9E3779B1) & LOW))
    return mix((low ^ (word >> np.uint64(32)) ^ (np.uint64(a) * np.uint64(0x85EBCA77))) & LOW)
