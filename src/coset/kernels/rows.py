"""From ids to rows, and from rows to vectors.

Work is cut into tasks by the features and sizes of a call, never by the number of threads, and no two tasks write to
one place; so results are the same bits for any number of threads, without atomics.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from coset.kernels.compile import compiled, inlined, parallel_kernel
from coset.kernels.hashing import hashed_row
from coset.kernels.layout import (
    ADDRESS,
    ARITHMETIC,
    ARRAY,
    BAGS,
    BIAS,
    CHUNK,
    COLUMN,
    CONCAT,
    COUNT,
    DIM,
    FIRST,
    HASH,
    IDENTITY,
    IDS,
    KIND,
    MEAN,
    MULT,
    NARROW_IDS,
    OFFSETS,
    OPERATION,
    ORDER,
    OUT,
    PART,
    PART_WIDTH,
    PARTS,
    PIECE,
    PIECES,
    PROJECTION,
    SECOND,
    SPACE,
    START,
    STOP,
    STORED,
    STRIDE,
    THIRD,
    VALUES,
    VECTORS,
    WEIGHTS,
    WIDTH,
)
from coset.kernels.memory import fetch, vector
from coset.kernels.narrow import load, place_of

AHEAD = 32
"""How many ids ahead of the one at work memory is asked for."""

_I64 = np.empty(1, np.int64)
_I32 = np.empty(1, np.int32)
_I16 = np.empty(1, np.int16)
_U8 = np.empty(1, np.uint8)


@compiled
def cut(features, column):
    """Tasks `(feature, from, to)` of at most `CHUNK` of what `column` counts."""
    total = 0
    for f in range(len(features)):
        total += (features[f, column] + CHUNK - 1) // CHUNK
    tasks = np.empty((total, 3), np.int64)
    at = 0
    for f in range(len(features)):
        for start in range(0, features[f, column], CHUNK):
            tasks[at, 0] = f
            tasks[at, 1] = start
            tasks[at, 2] = min(start + CHUNK, features[f, column])
            at += 1
    return tasks


# -- ids to rows ---------------------------------------------------------------------------------------------------


@compiled
def _code(address, size, at):
    if size == 1:
        return np.int64(vector(address, at, 1, _U8)[0])
    if size == 2:
        return np.int64(vector(address, at, 1, _I16)[0])
    if size == 4:
        return np.int64(vector(address, at, 1, _I32)[0])
    return vector(address, at, 1, _I64)[0]


@compiled
def row_of(parts, part, at):
    """The row that `part` picks for the id `at`, which is counted from the beginning of its piece."""
    kind = parts[part, KIND]
    if kind == IDENTITY:
        return at
    if kind == ARITHMETIC:
        divisor, modulus = np.uint64(parts[part, FIRST]), np.uint64(parts[part, SECOND])
        if (np.uint64(at) | divisor | modulus) < np.uint64(1) << np.uint64(32):  # half the bits divide faster
            return np.int64(np.uint32(at) // np.uint32(divisor) % np.uint32(modulus))
        return np.int64(np.uint64(at) // divisor % modulus)
    if kind == HASH:
        return hashed_row(np.uint64(at), parts[part, FIRST], parts[part, SECOND], parts[part, THIRD])
    return _code(parts[part, FIRST], parts[part, SECOND], at)


@compiled
def _rows_of(parts, part, ids, rows):
    """`row_of` for many ids of a table with one piece."""
    kind, divisor, modulus = parts[part, KIND], np.uint64(parts[part, FIRST]), np.uint64(parts[part, SECOND])
    if kind == IDENTITY:
        for i in range(len(ids)):
            rows[i] = ids[i]
        return
    top = np.uint64(0)
    for i in range(len(ids)):
        top |= np.uint64(ids[i])
    half = np.uint64(1) << np.uint64(31)
    if kind == ARITHMETIC and max(top, divisor, modulus) < half:
        # Division by a constant d of numbers below 2^31, exactly (Granlund and Montgomery, 1994): times
        # ⌈2^(32+l) / d⌉, shifted down by 32 + l, where l = ⌈log₂ d⌉; the product stays below 2^64.
        by, much = _reciprocal(divisor)
        over, far = _reciprocal(modulus)
        for i in range(len(ids)):
            quotient = (np.uint64(ids[i]) * by) >> much if divisor > np.uint64(1) else np.uint64(ids[i])
            rows[i] = np.int64(quotient - ((quotient * over) >> far) * modulus)
        return
    for i in range(len(ids)):
        rows[i] = row_of(parts, part, ids[i])


@compiled
def _reciprocal(divisor):
    bits = np.uint64(0)
    while (np.uint64(1) << bits) < divisor:
        bits += np.uint64(1)
    shift = np.uint64(32) + bits
    return ((np.uint64(1) << shift) + divisor - np.uint64(1)) // divisor, shift


@compiled
def find(features, f, start, stop, pieces, parts, rows, piece_of):
    """Rows of the ids `start … stop - 1` of a feature; the place of the first id out of range, or -1."""
    count, ids, first, order = features[f, COUNT], features[f, IDS], features[f, PIECE], features[f, ORDER]
    several = features[f, PIECES] > 1
    narrow = features[f, NARROW_IDS] != 0
    wide_ids = vector(features[f, VALUES], 0, 0 if narrow else count, _I64)
    narrow_ids = vector(features[f, VALUES], 0, count if narrow else 0, _I32)
    ranks = vector(order, 0, ids if order else 0, _I32)
    space = features[f, SPACE]
    if not several and not narrow and order == 0:
        wrong = False
        for at in wide_ids[start:stop]:
            wrong |= np.uint64(at) >= np.uint64(ids)
        if not wrong:
            for j in range(pieces[first, PARTS]):
                _rows_of(parts, pieces[first, PART] + j, wide_ids[start:stop], rows[j, space + start : space + stop])
            return -1
    for i in range(start, stop):
        at = np.int64(narrow_ids[i]) if narrow else wide_ids[i]
        if at < 0 or at >= ids:
            return i
        if order:
            at = np.int64(ranks[at])
        p = first
        if several:
            low, high = first, first + features[f, PIECES] - 1
            while low < high:
                middle = (low + high) // 2
                if at < pieces[middle, STOP]:
                    high = middle
                else:
                    low = middle + 1
            p = low
            piece_of[features[f, SPACE] + i] = p
        at -= pieces[p, START]
        part = pieces[p, PART]
        for j in range(pieces[p, PARTS]):
            rows[j, space + i] = row_of(parts, part + j, at)
    return -1


@parallel_kernel
def find_rows(features, pieces, parts, rows, piece_of):
    """`rows[j, k]`: the row that part j picks for the k-th id of all features; `piece_of[k]`, where a feature has
    several pieces, the piece of that id. Returns `(feature, place)` of the first id out of range, or (-1, -1)."""
    tasks = cut(features, COUNT)
    wrong = np.empty(len(tasks), np.int64)
    for t in prange(len(tasks)):
        wrong[t] = find(features, tasks[t, 0], tasks[t, 1], tasks[t, 2], pieces, parts, rows, piece_of)
    for t in range(len(tasks)):
        if wrong[t] >= 0:
            return tasks[t, 0], wrong[t]
    return np.int64(-1), np.int64(-1)


# -- rows to vectors -----------------------------------------------------------------------------------------------


@compiled
def has_stored(features, f, pieces, parts, arrays):
    """Whether a feature reads rows that are stored in fewer bits than they are computed with."""
    for p in range(features[f, PIECE], features[f, PIECE] + features[f, PIECES]):
        for j in range(pieces[p, PART], pieces[p, PART] + pieces[p, PARTS]):
            if arrays[parts[j, ARRAY], STORED]:
                return True
    return False


def _composing(place, build):
    """What composes rows that are where `place` says, built by `build`: one for each way, as a choice within the loop
    costs a sixth of an epoch."""

    @build
    def compose_rows(pieces, parts, arrays, p, rows, k, whole, spare):
        first, count, width = pieces[p, PART], pieces[p, PARTS], pieces[p, WIDTH]
        operation = pieces[p, OPERATION]
        for j in range(count):
            a, size = parts[first + j, ARRAY], parts[first + j, PART_WIDTH]
            row = vector(place(arrays, a, rows[j, k], size, spare), 0, size, whole)
            if operation == CONCAT:
                column = parts[first + j, COLUMN]
                for e in range(size):
                    whole[column + e] = row[e]
            elif j == 0:
                for e in range(width):
                    whole[e] = row[e]
            elif operation == MULT:
                for e in range(width):
                    whole[e] *= row[e]
            else:
                for e in range(width):
                    whole[e] += row[e]

    return compose_rows


@inlined
def _own_place(arrays, a, row, width, spare):
    return arrays[a, ADDRESS] + row * width * spare.itemsize


_compose, _compose_stored = _composing(_own_place, inlined), _composing(place_of, compiled)


@inlined
def compose(stored, pieces, parts, arrays, p, rows, k, whole, spare):
    """The composed row of the k-th id, before its projection, into `whole`; `spare` is room for a row where `stored`
    says that a row may be stored in fewer bits."""
    if stored:
        _compose_stored(pieces, parts, arrays, p, rows, k, whole, spare)
    else:
        _compose(pieces, parts, arrays, p, rows, k, whole, spare)


@compiled
def projections(features, f, pieces, arrays, like):
    """Where the projection and the bias of every piece of a feature lie as they are computed with, in two columns; and
    the room that those of narrower numbers were widened into, which is to be kept as long as they are read."""
    first, size = features[f, PIECE], 0
    for p in range(first, first + features[f, PIECES]):
        size += (pieces[p, WIDTH] + 1) * pieces[p, OUT] if pieces[p, PROJECTION] >= 0 else 0
    places, room, at = np.zeros((features[f, PIECES], 2), np.int64), np.empty(size, like.dtype), 0
    for p in range(first, first + features[f, PIECES]):
        if pieces[p, PROJECTION] >= 0:
            for column, a, height in ((0, pieces[p, PROJECTION], pieces[p, WIDTH]), (1, pieces[p, BIAS], 1)):
                if a >= 0:
                    length = height * pieces[p, OUT]
                    places[p - first, column] = place_of(arrays, a, 0, length, room[at:])
                    at += length
    return places, room


@inlined
def widen(pieces, p, matrix, bias, whole, wide, room):
    """The composed row times the projection, plus the bias, into `wide`; where these lie, and `room`, `projections`
    says."""
    width, dim = pieces[p, WIDTH], pieces[p, OUT]
    if pieces[p, BIAS] >= 0:
        wide[:dim] = vector(bias, 0, dim, room)
    else:
        wide[:dim] = 0
    for w in range(width):
        factor = whole[w]
        line = vector(matrix, w * dim, dim, room)
        for e in range(dim):
            wide[e] += factor * line[e]


@compiled
def bag(features, f, b):
    """Where bag b of a feature begins and ends among its ids."""
    if features[f, OFFSETS] == 0:
        return b, b + 1
    count = features[f, BAGS]
    offsets = vector(features[f, OFFSETS], 0, count + 1, _I64)
    return offsets[b], offsets[b + 1]


@compiled
def share(features, f, begin, end, like):
    """The factor of every id of a bag from `begin` to `end`: one over their number where bags are averaged, else 1."""
    one = like.dtype.type(1)
    return one / like.dtype.type(end - begin) if features[f, MEAN] and end > begin else one


@compiled
def pool_rows(features, f, start, stop, address, rows, weights, like):
    """`pool` for bags of bare rows."""
    dim, space, count = features[f, DIM], features[f, SPACE], features[f, COUNT]
    weighted = len(weights) > 0
    for b in range(start, stop):
        out = vector(features[f, VECTORS], b * features[f, STRIDE], dim, like)
        begin, end = bag(features, f, b)
        scale = share(features, f, begin, end, like)
        for e in range(dim):
            out[e] = 0
        for i in range(begin, end):
            if i + AHEAD < count:
                fetch(address, rows[space + i + AHEAD] * dim, dim, like)
            row = vector(address, rows[space + i] * dim, dim, like)
            factor = scale * weights[i] if weighted else scale
            for e in range(dim):
                out[e] += factor * row[e]


@compiled
def pool_products(features, f, start, stop, address, other, rows, weights, like):
    """`pool` for bags of products of two rows."""
    dim, space, count = features[f, DIM], features[f, SPACE], features[f, COUNT]
    weighted = len(weights) > 0
    for b in range(start, stop):
        out = vector(features[f, VECTORS], b * features[f, STRIDE], dim, like)
        begin, end = bag(features, f, b)
        scale = share(features, f, begin, end, like)
        for e in range(dim):
            out[e] = 0
        for i in range(begin, end):
            if i + AHEAD < count:
                fetch(address, rows[0, space + i + AHEAD] * dim, dim, like)
                fetch(other, rows[1, space + i + AHEAD] * dim, dim, like)
            left = vector(address, rows[0, space + i] * dim, dim, like)
            right = vector(other, rows[1, space + i] * dim, dim, like)
            factor = scale * weights[i] if weighted else scale
            for e in range(dim):
                out[e] += factor * (left[e] * right[e])


@compiled
def pool(features, f, start, stop, pieces, parts, arrays, rows, piece_of, like):
    """Vectors of the bags `start … stop - 1` of a feature, to where the feature wants them."""
    dim, stride, space = features[f, DIM], features[f, STRIDE], features[f, SPACE]
    several, single = features[f, PIECES] > 1, features[f, OFFSETS] == 0 and features[f, WEIGHTS] == 0
    weighted = features[f, WEIGHTS] != 0
    weights = vector(features[f, WEIGHTS], 0, features[f, COUNT] if weighted else 0, like)
    p = features[f, PIECE]
    bare = not several and pieces[p, PROJECTION] < 0
    part = pieces[p, PART]
    address, stored = arrays[parts[part, ARRAY], ADDRESS], arrays[parts[part, ARRAY], STORED]
    if bare and single and pieces[p, PARTS] == 1:
        if stored:
            for b in range(start, stop):
                load(
                    address, rows[0, space + b] * dim, dim, stored, vector(features[f, VECTORS], b * stride, dim, like)
                )
            return
        for b in range(start, stop):
            if b + AHEAD < stop:
                fetch(address, rows[0, space + b + AHEAD] * dim, dim, like)
            out = vector(features[f, VECTORS], b * stride, dim, like)
            row = vector(address, rows[0, space + b] * dim, dim, like)
            for e in range(dim):
                out[e] = row[e]
        return
    products = bare and pieces[p, PARTS] == 2 and pieces[p, OPERATION] == MULT and not stored
    products = products and not arrays[parts[part + 1, ARRAY], STORED]
    if products and single:
        other = arrays[parts[part + 1, ARRAY], ADDRESS]
        for b in range(start, stop):
            if b + AHEAD < stop:
                fetch(address, rows[0, space + b + AHEAD] * dim, dim, like)
                fetch(other, rows[1, space + b + AHEAD] * dim, dim, like)
            out = vector(features[f, VECTORS], b * stride, dim, like)
            left = vector(address, rows[0, space + b] * dim, dim, like)
            right = vector(other, rows[1, space + b] * dim, dim, like)
            for e in range(dim):
                out[e] = left[e] * right[e]
        return
    if bare and pieces[p, PARTS] == 1 and not stored:
        pool_rows(features, f, start, stop, address, rows[0], weights, like)
        return
    if products:
        pool_products(features, f, start, stop, address, arrays[parts[part + 1, ARRAY], ADDRESS], rows, weights, like)
        return
    widest = 0
    for q in range(features[f, PIECES]):
        widest = max(widest, pieces[p + q, WIDTH])
    whole, wide, spare = np.empty(widest, like.dtype), np.empty(dim, like.dtype), np.empty(widest, like.dtype)
    places, room = projections(features, f, pieces, arrays, like)
    narrow = has_stored(features, f, pieces, parts, arrays)
    for b in range(start, stop):
        out = vector(features[f, VECTORS], b * stride, dim, like)
        begin, end = bag(features, f, b)
        for e in range(dim):
            out[e] = 0
        scale = share(features, f, begin, end, like)
        for i in range(begin, end):
            if several:
                p = np.int64(piece_of[space + i])
            factor = scale * weights[i] if weighted else scale
            compose(narrow, pieces, parts, arrays, p, rows, space + i, whole, spare)
            if pieces[p, PROJECTION] >= 0:
                q = p - features[f, PIECE]
                widen(pieces, p, places[q, 0], places[q, 1], whole, wide, room)
                for e in range(dim):
                    out[e] += factor * wide[e]
            else:
                for e in range(dim):
                    out[e] += factor * whole[e]


@parallel_kernel
def look_up(features, pieces, parts, arrays, rows, piece_of, like):
    """Vectors of every bag of every feature, to where the features want them; numbers are of the type of `like`."""
    tasks = cut(features, BAGS)
    for t in prange(len(tasks)):
        pool(features, tasks[t, 0], tasks[t, 1], tasks[t, 2], pieces, parts, arrays, rows, piece_of, like)
