"""From gradients of vectors to sums of gradients, one for every distinct row that was read.

Tasks are cut by arrays and by the remainders of row numbers, as sizes of a call want it, so that no two have a row in
common.
"""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled, kernel
from coset.kernels.layout import (
    ADDRESS,
    ARRAY,
    ARRAY_WIDTH,
    AS_BIAS,
    AS_STEPS,
    BAGS,
    BIAS,
    CHUNK,
    CHUNKS,
    COLUMN,
    CONCAT,
    COUNT,
    DIM,
    FIRST_USE,
    MULT,
    OFFSETS,
    OPERATION,
    OUT,
    PART,
    PARTIAL,
    PARTS,
    PIECE,
    PIECES,
    PROJECTED,
    PROJECTION,
    REMAINDER,
    ROOM,
    ROUNDED,
    ROWS,
    SPACE,
    STORED,
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
from coset.kernels.memory import fetch, vector
from coset.kernels.narrow import place_of
from coset.kernels.rounded import through
from coset.kernels.rows import cut
from coset.kernels.share import shared_out
from coset.kernels.vectors import (
    AHEAD,
    as_it_lies,
    ask,
    ask_stored,
    bag,
    compose,
    has_stored,
    projections,
    share,
    widened,
)


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
def no_slots(task, arrays, capacity):
    """A table of places for the distinct rows of a task, of so many lookups at most; sparse where that stays in the
    fastest caches."""
    capacity = min(capacity, arrays[task[TASK_ARRAY], ROWS] // task[CHUNKS] + 1)
    size = 16
    while size < (4 if capacity <= 4096 else 2) * capacity:
        size *= 2
    slots = np.empty(size, np.int64)
    for s in range(size):
        slots[s] = -1
    return slots


_TAG = np.int64(0x7FFFFFFF)


@compiled
def slot_of(row, slots, distinct, room, found):
    """Which of the distinct rows `row` is, by a table of places with open addressing; `found`, the number of rows
    until now, for a new one, which is noted. A place holds the low bits of its row beside its number, so that few
    comparisons read anything else."""
    mask, tag = len(slots) - 1, row & _TAG
    at = np.int64((np.uint64(row) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while True:
        slot = slots[at]
        if slot < 0:
            slots[at] = tag << 32 | found
            distinct[room + found] = row
            return found
        s = slot & 0xFFFFFFFF
        if slot >> 32 == tag and distinct[room + s] == row:
            return s
        at = (at + 1) & mask


def _adding(place, fetch_from, build):
    """`add_up` for a feature without blocks or a projection: the gradient of a row is that of its bag's vector, from
    `column` on, times the factor of the id and, if `other` is an array, the row of the other of two factors, which is
    where `place` says. One for each way, as a choice within the loop would take time."""

    @build
    def add_simple(
        features, f, rows, part, column, arrays, other, task, found, slots, distinct, sums, width,
        spare,
    ):  # fmt: skip
        chunks, remainder, room = task[CHUNKS], task[REMAINDER], task[ROOM]
        address = features[f, VECTORS] + column * sums.itemsize
        stride, space, count = features[f, STRIDE], features[f, SPACE], features[f, COUNT]
        base = sums.ctypes.data + task[SUMS] * sums.itemsize
        mine = rows[part, space : space + count]
        factors = other >= 0
        address_beside = arrays[other, ADDRESS] if factors else np.int64(0)
        beside_rows = rows[1 - part if factors else part, space : space + count]
        single, weighted = features[f, OFFSETS] == 0, features[f, WEIGHTS] != 0
        weights = vector(features[f, WEIGHTS], 0, count if weighted else 0, sums)
        for b in range(features[f, BAGS]):
            begin, end = (b, b + 1) if single else bag(features, f, b)
            scale = share(features, f, begin, end, sums)
            given = vector(address, b * stride, width, sums)
            for i in range(begin, end):
                row = mine[i]
                if chunks > 1 and row % chunks != remainder:
                    continue
                if i + AHEAD < count:
                    if single:
                        fetch(address, (i + AHEAD) * stride, width, sums)
                    if factors:
                        fetch_from(address_beside, arrays, other, beside_rows[i + AHEAD], width, sums)
                factor = scale * weights[i] if weighted else scale
                s = slot_of(row, slots, distinct, room, found)
                into = vector(base, s * width, width, sums)
                if factors:
                    beside = vector(
                        place(address_beside, arrays, other, beside_rows[i], width, sums, spare), 0, width, sums
                    )
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

    return add_simple


_add_simple, _add_simple_stored = _adding(as_it_lies, ask, compiled), _adding(widened, ask_stored, compiled)


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
    product, spare = np.empty(width, sums.dtype), np.empty(width, sums.dtype)
    for b in range(features[f, BAGS]):
        begin, end = bag(features, f, b)
        scale = share(features, f, begin, end, sums)
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
                        place = place_of(arrays, parts[first + j, ARRAY], rows[j, k], width, spare)
                        beside = vector(place, 0, width, sums)
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
    capacity = np.int64(0)
    for u in range(task[FIRST_USE], task[FIRST_USE] + task[USES]):
        if uses[u, USE_PART] == AS_STEPS:
            return 0  # `add_steps` does it, when all others are done
        if uses[u, USE_PART] < 0:
            return _add_partials(task, uses, features, pieces, arrays, partials, distinct, sums)
        capacity += features[uses[u, USE_FEATURE], COUNT]
    slots = no_slots(task, arrays, capacity)
    found = np.int64(0)
    for u in range(task[FIRST_USE], task[FIRST_USE] + task[USES]):
        f, q, part = uses[u, USE_FEATURE], uses[u, USE_PIECE], uses[u, USE_PART]
        first, count, operation = pieces[q, PART], pieces[q, PARTS], pieces[q, OPERATION]
        factors = operation == MULT and count > 1
        if features[f, PIECES] == 1 and pieces[q, PROJECTION] < 0 and (not factors or count == 2):
            column = parts[first + part, COLUMN] if operation == CONCAT else np.int64(0)
            other = parts[first + 1 - part, ARRAY] if factors else np.int64(-1)
            width = arrays[a, ARRAY_WIDTH]
            room = np.empty(width, sums.dtype)
            spare = np.int64(room.ctypes.data)
            if factors and arrays[other, STORED]:
                found = _add_simple_stored(
                    features, f, rows, part, column, arrays, other, task, found, slots, distinct, sums, width, spare
                )
            else:
                found = _add_simple(
                    features, f, rows, part, column, arrays, other, task, found, slots, distinct, sums, width, spare
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


@compiled
def partial_size(features, f, pieces):
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
        size = partial_size(features, f, pieces)
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
        size = partial_size(features, f, pieces)
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


@kernel
def narrow_gradients(part, parts_of_work, features, pieces, parts, arrays, rows, piece_of, narrowed, partials):
    """`narrow_all` for every task of a call: what has projections is brought to the width of its rows."""
    tasks = cut(features, BAGS)
    for t in range(part, len(tasks), parts_of_work):
        narrow_all(features, tasks[t], pieces, parts, arrays, rows, piece_of, narrowed, partials)


@kernel
def add_gradients(
    part, parts_of_work, features, pieces, parts, arrays, tasks, uses, rows, piece_of, narrowed, partials, of_steps,
    distinct, sums, counts, squares,
):  # fmt: skip
    """Gradients of vectors, which stand where the features say, summed for every distinct row of every array.

    Task t finds `counts[t]` distinct rows of its array; `squares[t]` is the sum of squares of all its sums, which is
    not finite where one of them is not. What it adds to the gradients of steps is in `of_steps[t]`.
    """
    weights = np.empty(len(tasks), np.int64)
    for t in range(len(tasks)):
        lookups = np.int64(0)
        for u in range(tasks[t, FIRST_USE], tasks[t, FIRST_USE] + tasks[t, USES]):
            lookups += features[uses[u, USE_FEATURE], COUNT] if uses[u, USE_PART] != AS_STEPS else 0
        weights[t] = lookups // tasks[t, CHUNKS]
    shared_out(weights, parts_of_work)
    for t in range(len(tasks)):
        if weights[t] == part:
            counts[t] = add_up(
                tasks[t], uses, features, pieces, parts, arrays, rows, piece_of, narrowed, partials, distinct, sums
            )
            a = tasks[t, TASK_ARRAY]
            count = counts[t] * arrays[a, ARRAY_WIDTH]
            if arrays[a, STORED] == ROUNDED:
                room, begin = tasks[t, ROOM], tasks[t, SUMS]
                through(arrays, a, distinct[room : room + counts[t]], sums[begin : begin + count], of_steps[t])
            squares[t] = square(sums, tasks[t, SUMS], count)
