"""Where sums of gradients, and partial sums of those of projections, begin."""

from __future__ import annotations

from coset.kernels.compile import compiled, kernel
from coset.kernels.layout import (
    ARRAY_WIDTH,
    BAGS,
    CHUNK,
    CHUNKS,
    COUNT,
    FIRST_USE,
    PIECES,
    PROJECTED,
    REMAINDER,
    ROOM,
    ROWS,
    SPACE,
    SUMS,
    TASK_ARRAY,
    USE_FEATURE,
    USE_PART,
    USE_PIECE,
    USES,
)
from coset.kernels.projected import partial_size


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


@kernel
def plan_sums(features, pieces, tasks, uses, arrays, rows, piece_of):
    """`lay_out`; beside it, how many distinct rows and sums to make room for."""
    return lay_out(features, pieces, tasks, uses, arrays, rows, piece_of)
