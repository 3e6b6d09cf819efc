"""Numbers rounded stochastically to 16 or 8 bits, when they are stored.

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
from coset.kernels.lanes import codes_of_numbers, largest, narrowed_bfloat16
from coset.kernels.layout import BFLOAT16, BYTES, FLOAT16
from coset.kernels.memory import vector
from coset.kernels.narrow import RATE, of_half, step_at

_U16, _F32 = np.empty(1, np.uint16), np.empty(1, np.float32)
_TOP = 127
"""The largest level of codes of 8 bits."""
_SMALLEST, _LARGEST = 1e-25, 1e30
"""Steps are fitted to numbers between these, so that each is a number above 0."""
_ROOM, _LOOSE = 1.1, 4.0
"""A new step has room for numbers so many times the largest of the row; a row that needs but a part of its levels, one
in so many, has its step fitted again."""


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _bits_of(context: Any, number: Any) -> Any:
    """The bits of a float32."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), build


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
    return of_half(_to_half(number, bits, np.uint64(0xFFF) + odd))


@compiled
def _store_half(numbers, into, key):
    for e in range(len(numbers)):
        number = np.float32(numbers[e])
        bits, noise = np.uint64(_bits_of(number)), mix((key + np.uint64(e) * np.uint64(0x9E3779B9)) & LOW)
        into[e] = np.uint16(_to_half(number, bits, noise))


@compiled
def _fit_step(scales, stored, row, most, zero):
    """The step that a row whose largest number has this size is stored by: the one it has, or a new one where the row
    does not fit that."""
    type_ = type(zero)
    step = step_at(scales, stored, row, zero)
    limit = step * type_(_TOP)
    if most <= limit and (most * type_(_LOOSE) >= limit or most <= type_(_SMALLEST)):
        return step
    most = min(max(most, type_(_SMALLEST)), type_(_LARGEST))
    scale = np.float32(np.log(most * type_(_ROOM / _TOP)) / type_(RATE))
    if stored == FLOAT16:
        bits = np.uint64(_bits_of(scale))
        away = np.uint64(0) if scale < 0 else np.uint64(0x1FFF)  # upwards, so that all numbers fit
        vector(scales, row, 1, _U16)[0] = np.uint16(_to_half(scale, bits, away))
    else:
        vector(scales, row, 1, _F32)[0] = scale
    return step_at(scales, stored, row, zero)


@inlined
def store_in(source, row, width, numbers, key, like):
    """The numbers at an address into a row of a source of fewer bits, see `coset.kernels.narrow.source_of`; they are of
    the type of `like`."""
    address, stored, scales, scales_stored, _ = source
    zero = like.dtype.type(0)
    if stored == BFLOAT16:
        narrowed_bfloat16(zero, width, (numbers, np.int64(key), address + row * width * np.int64(2)))
    elif stored == BYTES:
        step = _fit_step(scales, scales_stored, row, largest(zero, width, numbers), zero)
        codes_of_numbers(step, width, (numbers, np.int64(key), address + row * width))
    else:
        _store_half(vector(numbers, 0, width, like), vector(address, row * width, width, _U16), key)


@compiled
def key_of(a, row, step):
    """What the random bits of a row of an array are made of, in a step."""
    word = np.uint64(row)
    low = mix((word & LOW) ^ (np.uint64(step) * np.uint64(0x9E3779B1) & LOW))
    return mix((low ^ (word >> np.uint64(32)) ^ (np.uint64(a) * np.uint64(0x85EBCA77))) & LOW)
