"""From gradients of vectors to sums of gradients, one for every distinct row that was read.

Tasks are cut by arrays and by the remainders of row numbers, as sizes of a call want it, so that no two have a row in
common.
"""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled, kernel
from coset.kernels.layout import (
    ARRAY,
    ARRAY_WIDTH,
    AS_STEPS,
    BAGS,
    CHUNKS,
    COLUMN,
    CONCAT,
    COUNT,
    FIRST_USE,
    MULT,
    OFFSETS,
    OPERATION,
    PART,
    PARTS,
    PIECES,
    PROJECTION,
    REMAINDER,
    ROOM,
    ROUNDED,
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
)
from coset.kernels.memory import fetch, uncounted, vector
from coset.kernels.narrow import fetch_from, place_in, place_of, source_of
from coset.kernels.projected import add_partials
from coset.kernels.rounded import through
from coset.kernels.share import claim
from coset.kernels.slots import no_slots, slot_of
from coset.kernels.vectors import (
    AHEAD,
    as_it_lies,
    ask,
    bag,
    share,
)


def _adding(place, fetch_beside, build):
    """`add_up` for a feature without blocks or a projection: the gradient of a row is that of its bag's vector, from
    `column` on, times the factor of the id and, if there are two `factors`, the row of the other one, which is where
    `place` says, of `source`. One for each way, as a choice within the loop would take time."""

    @build
    def add_simple(
        features, f, rows, part, column, factors, source, task, found, slots, distinct, sums, width, spare
    ):  # fmt: skip
        chunks, remainder, room = task[CHUNKS], task[REMAINDER], task[ROOM]
        address = features[f, VECTORS] + column * sums.itemsize
        stride, space, count = features[f, STRIDE], features[f, SPACE], features[f, COUNT]
        base = sums.ctypes.data + task[SUMS] * sums.itemsize
        mine = rows[part, space : space + count]
        zero = sums.dtype.type(0)
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
                        fetch_beside(source, beside_rows[i + AHEAD], width, zero)
                factor = scale * weights[i] if weighted else scale
                s = slot_of(row, slots, distinct, room, found)
                into = vector(base, s * width, width, sums)
                if factors:
                    beside = vector(place(source, beside_rows[i], width, spare, zero), 0, width, sums)
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


_add_simple, _add_simple_stored = _adding(as_it_lies, ask, compiled), _adding(place_in, fetch_from, compiled)


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
            return add_partials(task, uses, features, pieces, arrays, partials, distinct, sums)
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
            source = source_of(arrays, max(other, np.int64(0)))
            if factors and arrays[other, STORED]:
                room = np.empty(width, sums.dtype)
                found = _add_simple_stored(
                    features, f, rows, part, column, factors, source, task, found, slots, distinct, sums, width,
                    np.int64(room.ctypes.data),
                )  # fmt: skip
            else:
                found = _add_simple(
                    features, f, rows, part, column, factors, source, task, found, slots, distinct, sums, width,
                    np.int64(0),
                )  # fmt: skip
        else:
            found = add_any(
                features, f, q, pieces, parts, arrays, rows, piece_of, part, task, found, slots, distinct, sums,
                narrowed,
            )  # fmt: skip
    return found


@compiled
def square(sums, start, length):
    """Sum of squares in float64; not finite where a number is not."""
    total = 0.0
    part = sums[start : start + length]
    for e in range(length):
        total += np.float64(part[e]) * np.float64(part[e])
    return total


@kernel
def add_gradients(
    part, parts_of_work, taken, features, pieces, parts, arrays, read, tasks, uses, rows, piece_of, narrowed,
    partials, of_steps, distinct, sums, counts, squares,
):  # fmt: skip
    """Gradients of vectors, which stand where the features say, summed for every distinct row of every array.

    Task t finds `counts[t]` distinct rows of its array; `squares[t]` is the sum of squares of all its sums, which is
    not finite where one of them is not. Rows are read where `read` says, see `coset.kernels.opened`. What it adds to
    the gradients of steps is in `of_steps[t]`.
    """
    features, pieces, parts, arrays, read, tasks, uses, rows, piece_of = uncounted(
        (features, pieces, parts, arrays, read, tasks, uses, rows, piece_of)
    )
    narrowed, partials, of_steps, distinct, sums, counts, squares = uncounted(
        (narrowed, partials, of_steps, distinct, sums, counts, squares)
    )
    t = claim(taken)
    while t < len(tasks):
        counts[t] = add_up(
            tasks[t], uses, features, pieces, parts, read, rows, piece_of, narrowed, partials, distinct, sums
        )
        a = tasks[t, TASK_ARRAY]
        count = counts[t] * arrays[a, ARRAY_WIDTH]
        if arrays[a, STORED] == ROUNDED:
            room, begin = tasks[t, ROOM], tasks[t, SUMS]
            through(arrays, a, distinct[room : room + counts[t]], sums[begin : begin + count], of_steps[t])
        squares[t] = square(sums, tasks[t, SUMS], count)
        t = claim(taken)
