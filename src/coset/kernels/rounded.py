"""Floats that are rounded when they are read, with learned steps: their levels, and gradients through the rounding.

The gradient of a float is that of its level, and 0 half a step beyond the outermost level or further; that of a step
follows how far levels lie from floats (Esser et al., 2019, arXiv 1902.08153, section 2.1), as in
`coset.storage.rounding`. Both need the sum of the gradients of a row alone, so they are found once a distinct row.
"""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled, kernel
from coset.kernels.lanes import through_levels
from coset.kernels.layout import (
    ADDRESS,
    ARRAY_WIDTH,
    AS_STEPS,
    FIRST_USE,
    FLOAT16,
    IN_COMMON,
    LEVELS,
    ROOM,
    ROUNDED,
    ROWS,
    SCALES,
    SCALES_STORED,
    STORED,
    SUMS,
    TASK_ARRAY,
    USE_PART,
    USE_PIECE,
)
from coset.kernels.memory import fetch_bytes, vector
from coset.kernels.narrow import RATE
from coset.kernels.storing import nearest_half

_AHEAD = 24
"""How many rows ahead of the one at work memory is asked for."""


@compiled
def find_steps(arrays, a, like):
    """The step of every column of an array of rounded floats, beside their levels."""
    width, common = arrays[a, ARRAY_WIDTH], arrays[a, IN_COMMON]
    steps = vector(arrays[a, LEVELS], width, width, like)
    scales = vector(arrays[a, SCALES], 0, (width + common - 1) // common, like)
    for e in range(width):
        if e % common:
            steps[e] = steps[e - 1]
            continue
        scale = np.float32(scales[e // common])
        if arrays[a, SCALES_STORED] == FLOAT16:
            scale = nearest_half(scale)
        steps[e] = np.exp(like.dtype.type(RATE) * like.dtype.type(scale))


@compiled
def through(arrays, a, rows, sums, of_steps):
    """Turn the sums of the gradients of levels, of these rows of an array, into those of floats; `of_steps` gets what
    they add to the gradient of the logarithm of every column's step."""
    width = arrays[a, ARRAY_WIDTH]
    row, halves, zero = width * sums.itemsize, arrays[a, LEVELS], sums.dtype.type(0)
    first, begin, added = arrays[a, ADDRESS], np.int64(sums.ctypes.data), np.int64(of_steps.ctypes.data)
    for e in range(width):
        of_steps[e] = 0
    for s in range(len(rows)):
        if s + _AHEAD < len(rows):
            fetch_bytes(first + rows[s + _AHEAD] * row, row)
        floats, gradient = first + rows[s] * row, begin + s * row
        through_levels(zero, width, (floats, halves, halves + row, gradient, added))
    steps = vector(halves, width, width, sums)
    for e in range(width):
        of_steps[e] *= RATE * steps[e]


@kernel
def add_steps(arrays, tasks, uses, of_steps, distinct, sums, counts, squares):
    """Gradients of the logarithms of steps: what all tasks of their rows have found, in order; none where no row was
    looked up, or none is rounded."""
    for t in range(len(tasks)):
        if uses[tasks[t, FIRST_USE], USE_PART] != AS_STEPS:
            continue
        a = uses[tasks[t, FIRST_USE], USE_PIECE]
        number, common = arrays[tasks[t, TASK_ARRAY], ROWS], arrays[a, IN_COMMON]
        into = sums[tasks[t, SUMS] : tasks[t, SUMS] + number]
        for s in range(number):
            into[s] = 0
            distinct[tasks[t, ROOM] + s] = s
        counts[t], squares[t] = 0, 0.0
        if arrays[a, STORED] != ROUNDED:
            continue
        for other in range(len(tasks)):
            if tasks[other, TASK_ARRAY] == a and counts[other]:
                counts[t] = number
                for e in range(arrays[a, ARRAY_WIDTH]):
                    into[e // common] += of_steps[other, e]
        for s in range(number):
            squares[t] += np.float64(into[s]) * np.float64(into[s])
