"""From ids to rows.

Work is cut into tasks by the features and sizes of a call, never by the number of threads, and no two tasks write to
one place; so results are the same bits for any number of threads, without atomics.
"""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled, kernel
from coset.kernels.hashing import hashed_row
from coset.kernels.layout import (
    ARITHMETIC,
    CHUNK,
    COUNT,
    FIRST,
    HASH,
    IDENTITY,
    IDS,
    KIND,
    NARROW_IDS,
    ORDER,
    PART,
    PARTS,
    PIECE,
    PIECES,
    SECOND,
    SPACE,
    START,
    STOP,
    THIRD,
    VALUES,
)
from coset.kernels.memory import uncounted, vector
from coset.kernels.share import claim

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
def rows_of(parts, part, ids, rows):
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
                rows_of(parts, pieces[first, PART] + j, wide_ids[start:stop], rows[j, space + start : space + stop])
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


@kernel
def find_rows(part, parts_of_work, taken, features, pieces, parts, rows, piece_of):
    """`rows[j, k]`: the row that part j picks for the k-th id of all features; `piece_of[k]`, where a feature has
    several pieces, the piece of that id. Returns whether this part of the work has met an id out of range."""
    features, pieces, parts, rows, piece_of = uncounted((features, pieces, parts, rows, piece_of))
    tasks = cut(features, COUNT)
    t = claim(taken)
    while t < len(tasks):
        if find(features, tasks[t, 0], tasks[t, 1], tasks[t, 2], pieces, parts, rows, piece_of) >= 0:
            return True
        t = claim(taken)
    return False
