"""Gradients of projections and of their biases, and of the rows before them.

Tasks of lookups leave partial sums, which are added up in the order of the tasks.
"""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled, kernel
from coset.kernels.layout import (
    ARRAY_WIDTH,
    AS_BIAS,
    BAGS,
    BIAS,
    CHUNK,
    COUNT,
    DIM,
    FIRST_USE,
    OUT,
    PARTIAL,
    PIECE,
    PIECES,
    PROJECTED,
    PROJECTION,
    ROOM,
    ROWS,
    SPACE,
    STRIDE,
    SUMS,
    TASK_ARRAY,
    USE_FEATURE,
    USE_PART,
    USE_PIECE,
    USES,
    VECTORS,
    WEIGHTS,
    WIDTH,
)
from coset.kernels.memory import vector
from coset.kernels.rows import cut
from coset.kernels.share import claim
from coset.kernels.vectors import bag, compose, has_stored, projections, share


@compiled
def partial_size(features, f, pieces):
    """Numbers that one task of `narrow` keeps for a feature."""
    size = 0
    for p in range(features[f, PIECE], features[f, PIECE] + features[f, PIECES]):
        if pieces[p, PROJECTION] >= 0:
            size += 1 + (pieces[p, WIDTH] + (1 if pieces[p, BIAS] >= 0 else 0)) * pieces[p, OUT]
    return size


@compiled
def narrow(features, f, start, stop, pieces, parts, arrays, rows, piece_of, gradients, partial):
    """For the bags `start … stop - 1` of a feature with projections: the gradient of every composed row into
    `gradients`, and what these bags add to the gradients of projections and biases into `partial`."""
    dim, stride, space = features[f, DIM], features[f, STRIDE], features[f, SPACE]
    several, weighted = features[f, PIECES] > 1, features[f, WEIGHTS] != 0
    whole = np.empty(gradients.shape[1], gradients.dtype)
    weights = vector(features[f, WEIGHTS], 0, features[f, COUNT] if weighted else 0, whole)
    spare = np.empty(gradients.shape[1], gradients.dtype)
    places, room = projections(features, f, pieces, arrays, whole)
    stored = has_stored(features, f, pieces, parts, arrays)
    for e in range(len(partial)):
        partial[e] = 0
    p = features[f, PIECE]
    for b in range(start, stop):
        upstream = vector(features[f, VECTORS], b * stride, dim, whole)
        begin, end = bag(features, f, b)
        scale = share(features, f, begin, end, whole)
        for i in range(begin, end):
            if several:
                p = np.int64(piece_of[space + i])
            factor = scale * weights[i] if weighted else scale
            if pieces[p, PROJECTION] < 0:
                continue
            compose(stored, pieces, parts, arrays, p, rows, space + i, whole, spare)
            width, at = pieces[p, WIDTH], pieces[p, PARTIAL]
            partial[at] += 1  # how many ids met this piece
            at += 1
            matrix = places[p - features[f, PIECE], 0]
            for w in range(width):
                line = vector(matrix, w * dim, dim, room)
                sums = partial[at + w * dim : at + (w + 1) * dim]
                product = gradients.dtype.type(0)
                amount = factor * whole[w]
                for e in range(dim):
                    product += line[e] * upstream[e]
                    sums[e] += amount * upstream[e]
                gradients[space + i, w] = factor * product
            if pieces[p, BIAS] >= 0:
                sums = partial[at + width * dim : at + (width + 1) * dim]
                for e in range(dim):
                    sums[e] += factor * upstream[e]


@compiled
def narrow_all(features, f_task, pieces, parts, arrays, rows, piece_of, narrowed, partials):
    """`narrow` for one task of `cut`, if its feature has projections."""
    f = f_task[0]
    if features[f, PROJECTED] >= 0:
        size = partial_size(features, f, pieces)
        at = features[f, PROJECTED] + f_task[1] // CHUNK * size
        narrow(
            features, f, f_task[1], f_task[2], pieces, parts, arrays, rows, piece_of, narrowed,
            partials[at : at + size],
        )  # fmt: skip


@kernel
def narrow_gradients(part, parts_of_work, taken, features, pieces, parts, arrays, rows, piece_of, narrowed, partials):
    """`narrow_all` for every task of a call: what has projections is brought to the width of its rows."""
    tasks = cut(features, BAGS)
    t = claim(taken)
    while t < len(tasks):
        narrow_all(features, tasks[t], pieces, parts, arrays, rows, piece_of, narrowed, partials)
        t = claim(taken)


@compiled
def add_partials(task, uses, features, pieces, arrays, partials, distinct, sums):
    """The gradient of a projection or a bias: what all tasks of `narrow` found, in their order; all rows of it, or
    none where no id met it."""
    a = task[TASK_ARRAY]
    height, width = arrays[a, ROWS], arrays[a, ARRAY_WIDTH]
    into = sums[task[SUMS] : task[SUMS] + height * width]
    for e in range(height * width):
        into[e] = 0
    met = False
    for u in range(task[FIRST_USE], task[FIRST_USE] + task[USES]):
        f, q = uses[u, USE_FEATURE], uses[u, USE_PIECE]
        size = partial_size(features, f, pieces)
        start = pieces[q, PARTIAL]
        skip = 1 + (pieces[q, WIDTH] * pieces[q, OUT] if uses[u, USE_PART] == AS_BIAS else 0)
        for t in range((features[f, BAGS] + CHUNK - 1) // CHUNK):
            at = features[f, PROJECTED] + t * size + start
            if partials[at] > 0:
                met = True
                for e in range(height * width):
                    into[e] += partials[at + skip + e]
    if not met:
        return 0
    for s in range(height):
        distinct[task[ROOM] + s] = s
    return height
