"""From ids to rows, from rows to vectors, and from gradients of vectors to sums of gradients by row.

Work is cut into tasks by the features and sizes of a call, never by the number of threads, and no two tasks write to
one place; so results are the same bits for any number of threads, without atomics.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from coset.kernels.compile import compiled, kernel, parallel_kernel
from coset.kernels.layout import (
    ADDRESS,
    ARITHMETIC,
    ARRAY,
    ARRAY_WIDTH,
    AS_BIAS,
    BAGS,
    BIAS,
    CHUNKS,
    COLUMN,
    CONCAT,
    COUNT,
    DIM,
    FIRST,
    FIRST_USE,
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
    PARTIAL,
    PARTS,
    PIECE,
    PIECES,
    PROJECTED,
    PROJECTION,
    REMAINDER,
    ROOM,
    ROWS,
    SECOND,
    SPACE,
    START,
    STOP,
    STRIDE,
    SUMS,
    TASK_ARRAY,
    THIRD,
    USE_FEATURE,
    USE_PART,
    USE_PIECE,
    USES,
    VALUES,
    VECTORS,
    WEIGHTS,
    WIDTH,
)  # fmt: skip
from coset.kernels.memory import fetch, vector

CHUNK = 1024
"""Ids, or bags, of one task."""

_AHEAD = 12
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


_LOW = np.uint64(0xFFFFFFFF)


@compiled
def _mix(word):
    """As in `coset.partitions.hashes`: words of 32 bits, in 64 bits as numba computes them."""
    word = (word ^ (word >> np.uint64(16))) * np.uint64(0x85EBCA6B) & _LOW
    word = (word ^ (word >> np.uint64(13))) * np.uint64(0xC2B2AE35) & _LOW
    return word ^ (word >> np.uint64(16))


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
        low, high = np.uint64(at) & _LOW, np.uint64(at) >> np.uint64(32)
        word = _mix(_mix(low ^ np.uint64(parts[part, FIRST])) ^ high ^ np.uint64(parts[part, SECOND]))
        return np.int64((word >> np.uint64(1)) % np.uint64(parts[part, THIRD]))
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
def compose(pieces, parts, arrays, p, rows, k, whole):
    """The composed row of the k-th id, before its projection, into `whole`."""
    first, count, width = pieces[p, PART], pieces[p, PARTS], pieces[p, WIDTH]
    operation = pieces[p, OPERATION]
    for j in range(count):
        a, size = parts[first + j, ARRAY], parts[first + j, PART_WIDTH]
        row = vector(arrays[a, ADDRESS], rows[j, k] * size, size, whole)
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


@compiled
def widen(pieces, arrays, p, whole, wide):
    """The composed row times the projection, plus the bias, into `wide`."""
    width, dim = pieces[p, WIDTH], pieces[p, OUT]
    if pieces[p, BIAS] >= 0:
        wide[:dim] = vector(arrays[pieces[p, BIAS], ADDRESS], 0, dim, wide)
    else:
        wide[:dim] = 0
    matrix = arrays[pieces[p, PROJECTION], ADDRESS]
    for w in range(width):
        factor = whole[w]
        line = vector(matrix, w * dim, dim, wide)
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
def pool_rows(features, f, start, stop, address, rows, weights, like):
    """`pool` for bags of bare rows."""
    dim, space, count = features[f, DIM], features[f, SPACE], features[f, COUNT]
    weighted, one = len(weights) > 0, like.dtype.type(1)
    for b in range(start, stop):
        out = vector(features[f, VECTORS], b * features[f, STRIDE], dim, like)
        begin, end = bag(features, f, b)
        scale = one / like.dtype.type(max(end - begin, 1)) if features[f, MEAN] else one
        for e in range(dim):
            out[e] = 0
        for i in range(begin, end):
            if i + _AHEAD < count:
                fetch(address, rows[space + i + _AHEAD] * dim, dim, like)
            row = vector(address, rows[space + i] * dim, dim, like)
            factor = scale * weights[i] if weighted else scale
            for e in range(dim):
                out[e] += factor * row[e]


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
    address = arrays[parts[part, ARRAY], ADDRESS]
    if bare and single and pieces[p, PARTS] == 1:
        for b in range(start, stop):
            if b + _AHEAD < stop:
                fetch(address, rows[0, space + b + _AHEAD] * dim, dim, like)
            out = vector(features[f, VECTORS], b * stride, dim, like)
            row = vector(address, rows[0, space + b] * dim, dim, like)
            for e in range(dim):
                out[e] = row[e]
        return
    if bare and single and pieces[p, PARTS] == 2 and pieces[p, OPERATION] == MULT:
        other = arrays[parts[part + 1, ARRAY], ADDRESS]
        for b in range(start, stop):
            if b + _AHEAD < stop:
                fetch(address, rows[0, space + b + _AHEAD] * dim, dim, like)
                fetch(other, rows[1, space + b + _AHEAD] * dim, dim, like)
            out = vector(features[f, VECTORS], b * stride, dim, like)
            left = vector(address, rows[0, space + b] * dim, dim, like)
            right = vector(other, rows[1, space + b] * dim, dim, like)
            for e in range(dim):
                out[e] = left[e] * right[e]
        return
    if bare and pieces[p, PARTS] == 1:
        pool_rows(features, f, start, stop, address, rows[0], weights, like)
        return
    widest = 0
    for q in range(features[f, PIECES]):
        widest = max(widest, pieces[p + q, WIDTH])
    whole, wide = np.empty(widest, like.dtype), np.empty(dim, like.dtype)
    for b in range(start, stop):
        out = vector(features[f, VECTORS], b * stride, dim, like)
        begin, end = bag(features, f, b)
        for e in range(dim):
            out[e] = 0
        scale = like.dtype.type(1)
        if features[f, MEAN] and end > begin:
            scale = like.dtype.type(1) / like.dtype.type(end - begin)
        for i in range(begin, end):
            if several:
                p = np.int64(piece_of[space + i])
            factor = scale * weights[i] if weighted else scale
            compose(pieces, parts, arrays, p, rows, space + i, whole)
            if pieces[p, PROJECTION] >= 0:
                widen(pieces, arrays, p, whole, wide)
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


# -- gradients of vectors to sums by row ---------------------------------------------------------------------------


@compiled
def narrow(features, f, start, stop, pieces, parts, arrays, rows, piece_of, gradients, partial):
    """For the bags `start … stop - 1` of a feature with projections: the gradient of every composed row into
    `gradients`, and what these bags add to the gradients of projections and biases into `partial`."""
    dim, stride, space = features[f, DIM], features[f, STRIDE], features[f, SPACE]
    several, weighted = features[f, PIECES] > 1, features[f, WEIGHTS] != 0
    weights = vector(features[f, WEIGHTS], 0, features[f, COUNT] if weighted else 0, gradients)
    whole = np.empty(gradients.shape[1], gradients.dtype)
    partial[:] = 0
    p = features[f, PIECE]
    for b in range(start, stop):
        upstream = vector(features[f, VECTORS], b * stride, dim, gradients)
        begin, end = bag(features, f, b)
        scale = gradients.dtype.type(1)
        if features[f, MEAN] and end > begin:
            scale = gradients.dtype.type(1) / gradients.dtype.type(end - begin)
        for i in range(begin, end):
            if several:
                p = np.int64(piece_of[space + i])
            factor = scale * weights[i] if weighted else scale
            if pieces[p, PROJECTION] < 0:
                continue
            compose(pieces, parts, arrays, p, rows, space + i, whole)
            width, at = pieces[p, WIDTH], pieces[p, PARTIAL]
            partial[at] += 1  # how many ids met this piece
            at += 1
            matrix = arrays[pieces[p, PROJECTION], ADDRESS]
            for w in range(width):
                line = vector(matrix, w * dim, dim, gradients)
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
def count_of(task, uses, features, rows, piece_of):
    """How many lookups a task has; no more than this many distinct rows."""
    found = 0
    for u in range(task[FIRST_USE], task[FIRST_USE] + task[USES]):
        f, part = uses[u, USE_FEATURE], uses[u, USE_PART]
        if part < 0:
            continue
        space, several = features[f, SPACE], features[f, PIECES] > 1
        for i in range(features[f, COUNT]):
            if several and piece_of[space + i] != uses[u, USE_PIECE]:
                continue
            found += rows[part, space + i] % task[CHUNKS] == task[REMAINDER]
    return found


@compiled
def slot_of(row, slots, distinct, room, found):
    """Which of the distinct rows `row` is, by a table of places with open addressing; `found`, the number of rows
    until now, for a new one, which is noted."""
    mask = len(slots) - 1
    at = np.int64((np.uint64(row) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while True:
        s = slots[at]
        if s < 0:
            slots[at] = found
            distinct[room + found] = row
            return found
        if distinct[room + s] == row:
            return np.int64(s)
        at = (at + 1) & mask


@compiled
def add_simple(features, f, rows, part, column, other, task, found, slots, distinct, sums, width):
    """`add_up` for a feature without blocks or a projection: the gradient of a row is that of its bag's vector, from
    `column` on, times the row of the other of two factors, if `other` is its address, and the factor of the id."""
    chunks, remainder, room = task[CHUNKS], task[REMAINDER], task[ROOM]
    address = features[f, VECTORS] + column * sums.itemsize
    stride, space, count = features[f, STRIDE], features[f, SPACE], features[f, COUNT]
    base = sums.ctypes.data + task[SUMS] * sums.itemsize
    mine = rows[part, space : space + count]
    beside_rows = rows[1 - part if other else part, space : space + count]
    single, weighted = features[f, OFFSETS] == 0, features[f, WEIGHTS] != 0
    weights = vector(features[f, WEIGHTS], 0, count if weighted else 0, sums)
    one = sums.dtype.type(1)
    for b in range(features[f, BAGS]):
        begin, end = (b, b + 1) if single else bag(features, f, b)
        scale = one / sums.dtype.type(max(end - begin, 1)) if features[f, MEAN] else one
        given = vector(address, b * stride, width, sums)
        for i in range(begin, end):
            row = mine[i]
            if chunks > 1 and row % chunks != remainder:
                continue
            if i + _AHEAD < count:
                if single:
                    fetch(address, (i + _AHEAD) * stride, width, sums)
                if other:
                    fetch(other, beside_rows[i + _AHEAD] * width, width, sums)
            factor = scale * weights[i] if weighted else scale
            s = slot_of(row, slots, distinct, room, found)
            into = vector(base, s * width, width, sums)
            if other:
                beside = vector(other, beside_rows[i] * width, width, sums)
                if s == found:
                    found += 1
                    for e in range(width):
                        into[e] = factor * given[e] * beside[e]
                else:
                    for e in range(width):
                        into[e] += factor * given[e] * beside[e]
            elif s == found:
                found += 1
                for e in range(width):
                    into[e] = factor * given[e]
            else:
                for e in range(width):
                    into[e] += factor * given[e]
    return found


@compiled
def add_any(
    features, f, q, pieces, parts, arrays, rows, piece_of, part, task, found, slots, distinct, sums, narrowed
):  # fmt: skip
    """`add_up` for any feature."""
    chunks, remainder, room = task[CHUNKS], task[REMAINDER], task[ROOM]
    width = arrays[task[TASK_ARRAY], ARRAY_WIDTH]
    base = sums.ctypes.data + task[SUMS] * sums.itemsize
    stride, space = features[f, STRIDE], features[f, SPACE]
    several, weighted = features[f, PIECES] > 1, features[f, WEIGHTS] != 0
    weights = vector(features[f, WEIGHTS], 0, features[f, COUNT] if weighted else 0, sums)
    first, count, operation = pieces[q, PART], pieces[q, PARTS], pieces[q, OPERATION]
    projected = pieces[q, PROJECTION] >= 0
    column = parts[first + part, COLUMN] if operation == CONCAT else 0
    product = np.empty(width, sums.dtype)
    for b in range(features[f, BAGS]):
        begin, end = bag(features, f, b)
        scale = sums.dtype.type(1)
        if features[f, MEAN] and end > begin:
            scale = sums.dtype.type(1) / sums.dtype.type(end - begin)
        for i in range(begin, end):
            k = space + i
            if several and piece_of[k] != q:
                continue
            row = rows[part, k]
            if chunks > 1 and row % chunks != remainder:
                continue
            s = slot_of(row, slots, distinct, room, found)
            into = vector(base, s * width, width, sums)
            if projected:  # its gradient has the factor already
                given = narrowed[k, column : column + width]
                factor = sums.dtype.type(1)
            else:
                given = vector(features[f, VECTORS], b * stride + column, width, sums)
                factor = scale * weights[i] if weighted else scale
            for e in range(width):
                product[e] = factor * given[e]
            if operation == MULT:
                for j in range(count):
                    if j != part:
                        beside = vector(arrays[parts[first + j, ARRAY], ADDRESS], rows[j, k] * width, width, sums)
                        for e in range(width):
                            product[e] *= beside[e]
            if s == found:
                found += 1
                for e in range(width):
                    into[e] = product[e]
            else:
                for e in range(width):
                    into[e] += product[e]
    return found


@compiled
def add_up(task, uses, features, pieces, parts, arrays, rows, piece_of, narrowed, partials, distinct, sums):
    """Sums of the gradients of a task's rows, in the order in which they were read: `distinct[room + s]` is the
    s-th row, and its sum begins at `sums[task sums + s · width]`. Returns the number of distinct rows."""
    a = task[TASK_ARRAY]
    capacity = 0
    for u in range(task[FIRST_USE], task[FIRST_USE] + task[USES]):
        if uses[u, USE_PART] < 0:
            return _add_partials(task, uses, features, pieces, arrays, partials, distinct, sums)
        capacity += features[uses[u, USE_FEATURE], COUNT]
    size = 16
    while size < 2 * min(capacity, arrays[a, ROWS] // task[CHUNKS] + 1):
        size *= 2
    slots = np.empty(size, np.int32)
    slots[:] = -1
    found = 0
    for u in range(task[FIRST_USE], task[FIRST_USE] + task[USES]):
        f, q, part = uses[u, USE_FEATURE], uses[u, USE_PIECE], uses[u, USE_PART]
        first, count, operation = pieces[q, PART], pieces[q, PARTS], pieces[q, OPERATION]
        factors = operation == MULT and count > 1
        if features[f, PIECES] == 1 and pieces[q, PROJECTION] < 0 and (not factors or count == 2):
            column = parts[first + part, COLUMN] if operation == CONCAT else 0
            other = arrays[parts[first + 1 - part, ARRAY], ADDRESS] if factors else np.int64(0)
            found = add_simple(
                features, f, rows, part, column, other, task, found, slots, distinct, sums, arrays[a, ARRAY_WIDTH]
            )
        else:
            found = add_any(
                features, f, q, pieces, parts, arrays, rows, piece_of, part, task, found, slots, distinct, sums,
                narrowed,
            )  # fmt: skip
    return found


@compiled
def _add_partials(task, uses, features, pieces, arrays, partials, distinct, sums):
    """The gradient of a projection or a bias: what all tasks of `narrow` found, in their order; all rows of it, or
    none where no id met it."""
    a = task[TASK_ARRAY]
    height, width = arrays[a, ROWS], arrays[a, ARRAY_WIDTH]
    into = sums[task[SUMS] : task[SUMS] + height * width]
    into[:] = 0
    met = False
    for u in range(task[FIRST_USE], task[FIRST_USE] + task[USES]):
        f, q = uses[u, USE_FEATURE], uses[u, USE_PIECE]
        size = _partial_size(features, f, pieces)
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


@compiled
def _partial_size(features, f, pieces):
    """Numbers that one task of `narrow` keeps for a feature."""
    size = 0
    for p in range(features[f, PIECE], features[f, PIECE] + features[f, PIECES]):
        if pieces[p, PROJECTION] >= 0:
            size += 1 + (pieces[p, WIDTH] + (1 if pieces[p, BIAS] >= 0 else 0)) * pieces[p, OUT]
    return size


@compiled
def lay_out(features, pieces, tasks, uses, arrays, rows, piece_of):
    """Fill in where the features' partial sums and the tasks' sums begin; the sizes of all partial sums, all distinct
    rows and all sums."""
    space = 0
    for f in range(len(features)):
        size = _partial_size(features, f, pieces)
        features[f, PROJECTED] = space if size else -1
        space += size * ((features[f, BAGS] + CHUNK - 1) // CHUNK)
    room, base = 0, 0
    for t in range(len(tasks)):
        a = tasks[t, TASK_ARRAY]
        if uses[tasks[t, FIRST_USE], USE_PART] < 0:
            count = arrays[a, ROWS]
        elif tasks[t, CHUNKS] == 1:
            count = 0
            for u in range(tasks[t, FIRST_USE], tasks[t, FIRST_USE] + tasks[t, USES]):
                count += features[uses[u, USE_FEATURE], COUNT]
            count = min(count, arrays[a, ROWS])
        else:
            count = min(count_of(tasks[t], uses, features, rows, piece_of), arrays[a, ROWS])
        tasks[t, ROOM], tasks[t, SUMS] = room, base
        room += count
        base += count * arrays[a, ARRAY_WIDTH]
    return space, room, base


@compiled
def narrow_all(features, f_task, pieces, parts, arrays, rows, piece_of, narrowed, partials):
    """`narrow` for one task of `cut`, if its feature has projections."""
    f = f_task[0]
    if features[f, PROJECTED] >= 0:
        size = _partial_size(features, f, pieces)
        at = features[f, PROJECTED] + f_task[1] // CHUNK * size
        narrow(
            features, f, f_task[1], f_task[2], pieces, parts, arrays, rows, piece_of, narrowed,
            partials[at : at + size],
        )  # fmt: skip


@compiled
def square(sums, start, length):
    """Sum of squares in float64; not finite where a number is not."""
    total = 0.0
    part = sums[start : start + length]
    for e in range(length):
        total += np.float64(part[e]) * np.float64(part[e])
    return total


@kernel
def plan_sums(features, pieces, tasks, uses, arrays, rows, piece_of):
    """`lay_out`; beside it, how many distinct rows and sums to make room for."""
    return lay_out(features, pieces, tasks, uses, arrays, rows, piece_of)


@parallel_kernel
def add_gradients(
    features, pieces, parts, arrays, tasks, uses, rows, piece_of, narrowed, partials, distinct, sums, counts, squares
):
    """Gradients of vectors, which stand where the features say, summed for every distinct row of every array.

    Task t finds `counts[t]` distinct rows of its array; `squares[t]` is the sum of squares of all its sums, which is
    not finite where one of them is not.
    """
    if len(partials):
        pre = cut(features, BAGS)
        for t in prange(len(pre)):
            narrow_all(features, pre[t], pieces, parts, arrays, rows, piece_of, narrowed, partials)
    for t in prange(len(tasks)):
        counts[t] = add_up(
            tasks[t], uses, features, pieces, parts, arrays, rows, piece_of, narrowed, partials, distinct, sums
        )
        squares[t] = square(sums, tasks[t, SUMS], counts[t] * arrays[tasks[t, TASK_ARRAY], ARRAY_WIDTH])
