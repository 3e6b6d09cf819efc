"""What optimizers do to the rows that have a gradient, and, where they are dense, to those that had none.

`numbers` holds eps, β₁, β₂, the factor of all gradients (of clipping), and the decoupled weight decay. `paces[g, s]`,
`roots[s]` and `decays[g, s]` are for step `begun + 1 + s`: the learning rate of group g over Adam's first bias
correction, one over the root of the second, and the factor that weight decay leaves of a row.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from coset.kernels.compile import compiled, inlined, kernel
from coset.kernels.layout import (
    ADAGRAD,
    ADDRESS,
    ARRAY_WIDTH,
    BROUGHT,
    CHUNKS,
    COUNT,
    FIRST_USE,
    GROUP,
    OTHER,
    PIECES,
    REMAINDER,
    ROOM,
    ROWS,
    ROWWISE_ADAGRAD,
    SGD,
    SPACE,
    STATE,
    SUMS,
    TASK_ARRAY,
    USE_FEATURE,
    USE_PART,
    USE_PIECE,
    USES,
)  # fmt: skip
from coset.kernels.memory import fetch, uncounted, vector
from coset.kernels.narrow import fetch_from, is_narrow, load_from, load_row, source_of
from coset.kernels.share import claim
from coset.kernels.storing import key_of, store_in

EPS, BETA1, BETA2, SCALE, FORGET, POWERS = 0, 1, 2, 3, 4, 5
"""`FORGET`: after so many steps without a gradient a row stands still, since its first moment has decayed away. From
`POWERS` on stand the powers 0 … FORGET of β₁, then those of √β₂."""


@lru_cache(64)  # schedules that move β ask for others in every step
def numbers_of(eps: float, beta1: float, beta2: float, precision: float) -> np.ndarray:
    """`numbers` for these settings, and for numbers of this precision; the factor of gradients is 1."""
    forget = max(1, int(np.ceil(np.log(precision * _STILL) / np.log(beta1)))) if beta1 > 0 else 1
    missed = np.arange(forget + 1)
    return np.concatenate([[eps, beta1, beta2, 1.0, forget], beta1**missed, beta2 ** (missed / 2)])


_STILL = 1e-3
"""The part of the precision of a number that a first moment decays to before its row is said to stand still."""

_STEPS = np.empty(1, np.int32)


@inlined
def replay(row, mean, square, group, brought, now, begun, numbers, paces, roots, decays):
    """What `torch.optim.Adam` does to a row in the steps `brought + 1 … now`, in which it has no gradient.

    Both moments decay by a constant factor a step, so they are computed from where they stood, without a root for
    every step; a row that never had a gradient only decays.
    """
    width, type_ = len(row), row.dtype.type
    idle = True
    for e in range(width):
        idle &= square[e] == 0
    missed, forget = now - brought, np.int64(numbers[FORGET])
    steps, first = min(missed, forget), brought - begun
    if not idle:
        firsts, seconds = numbers[POWERS:], numbers[POWERS + forget + 1 :]
        eps = type_(numbers[EPS])
        if width == 1:  # biases: in scalars, which have no loops to begin and end
            root, value, slope = np.sqrt(square[0]), row[0], mean[0]
            for k in range(steps):
                pace, over = type_(paces[group, first + k] * firsts[k + 1]), type_(seconds[k + 1] * roots[first + k])
                value = type_(decays[group, first + k]) * value - pace * slope / (over * root + eps)
            row[0] = value
        else:
            for e in range(width):
                square[e] = np.sqrt(square[e])
            for k in range(steps):
                pace, over = type_(paces[group, first + k] * firsts[k + 1]), type_(seconds[k + 1] * roots[first + k])
                keep = type_(decays[group, first + k])
                for e in range(width):
                    row[e] = keep * row[e] - pace * mean[e] / (over * square[e] + eps)
            for e in range(width):
                square[e] *= square[e]
        if missed <= forget:
            decayed, shrunk = type_(firsts[missed]), type_(seconds[missed] * seconds[missed])
        else:
            decayed, shrunk = type_(numbers[BETA1] ** missed), type_(numbers[BETA2] ** missed)
        for e in range(width):
            mean[e] *= decayed
            square[e] *= shrunk
    rest = first if idle else first + steps
    keep = 1.0
    for s in range(rest, now - begun):
        keep *= decays[group, s]
    if keep != 1.0:
        for e in range(width):
            row[e] *= row.dtype.type(keep)


_AHEAD = 24
"""How many rows ahead of the one at work memory is asked for."""


@compiled
def _keep(row, keep):
    """What decoupled weight decay leaves of a row."""
    if keep != 1:
        for e in range(len(row)):
            row[e] *= keep


@compiled
def _sgd_rows(address, places, sums, width, rate, scale, keep):
    for s in range(len(places)):
        if s + _AHEAD < len(places):
            fetch(address, places[s + _AHEAD] * width, width, sums)
        row = vector(address, places[s] * width, width, sums)
        gradient = sums[s * width : (s + 1) * width]
        _keep(row, keep)
        for e in range(width):
            row[e] -= rate * (scale * gradient[e])


@compiled
def _adagrad_rows(address, places, state, distinct, sums, width, rate, scale, keep, eps):
    for s in range(len(distinct)):
        if s + _AHEAD < len(distinct):
            fetch(address, places[s + _AHEAD] * width, width, sums)
            fetch(state, distinct[s + _AHEAD] * width, width, sums)
        row = vector(address, places[s] * width, width, sums)
        total = vector(state, distinct[s] * width, width, sums)
        gradient = sums[s * width : (s + 1) * width]
        _keep(row, keep)
        for e in range(width):
            given = scale * gradient[e]
            total[e] += given * given
            row[e] -= rate * given / (np.sqrt(total[e]) + eps)


@compiled
def _rowwise_rows(address, places, state, distinct, sums, width, rate, scale, keep, eps):
    part = sums.dtype.type(1) / sums.dtype.type(width)
    for s in range(len(distinct)):
        if s + _AHEAD < len(distinct):
            fetch(address, places[s + _AHEAD] * width, width, sums)
            fetch(state, distinct[s + _AHEAD], 1, sums)
        row = vector(address, places[s] * width, width, sums)
        total = vector(state, distinct[s], 1, sums)
        gradient = sums[s * width : (s + 1) * width]
        _keep(row, keep)
        squares = sums.dtype.type(0)
        if scale != 1:  # first: the square of what is not scaled down yet may be infinite
            for e in range(width):
                gradient[e] *= scale
        for e in range(width):
            squares += gradient[e] * gradient[e]
        total[0] += squares * part
        pace = rate / (np.sqrt(total[0]) + eps)
        for e in range(width):
            row[e] -= pace * gradient[e]


@compiled
def _adam_rows(
    address, places, state, other, brought, distinct, sums, width, group, scale, now, begun, numbers, paces, roots,
    decays,
):  # fmt: skip
    type_ = sums.dtype.type
    eps, keep = type_(numbers[EPS]), type_(decays[group, now - begun - 1])
    beta1, beta2 = type_(numbers[BETA1]), type_(numbers[BETA2])
    left1, left2 = type_(1 - numbers[BETA1]), type_(1 - numbers[BETA2])
    pace, root = type_(paces[group, now - begun - 1]), type_(roots[now - begun - 1])
    for s in range(len(distinct)):
        if s + _AHEAD < len(distinct):
            ahead = distinct[s + _AHEAD] * width
            fetch(address, places[s + _AHEAD] * width, width, sums)
            fetch(state, ahead, width, sums)
            fetch(other, ahead, width, sums)
        r = distinct[s]
        row = vector(address, places[s] * width, width, sums)
        mean = vector(state, r * width, width, sums)
        square = vector(other, r * width, width, sums)
        if len(brought):
            if brought[r] < now - 1:
                replay(row, mean, square, group, brought[r], now - 1, begun, numbers, paces, roots, decays)
            brought[r] = now
        gradient = sums[s * width : (s + 1) * width]
        _keep(row, keep)
        for e in range(width):
            given = scale * gradient[e]
            mean[e] = beta1 * mean[e] + left1 * given
            square[e] = beta2 * square[e] + left2 * (given * given)
            row[e] -= pace * mean[e] / (np.sqrt(square[e]) * root + eps)


@compiled
def _step(
    kind, address, places, state, other, brought, rows, gradients, width, group, now, begun, numbers, rates, paces,
    roots, decays,
):  # fmt: skip
    """One step of these rows along their gradients; they lie at `places`, counted in rows, of what is at `address`."""
    type_ = gradients.dtype.type
    rate, scale, eps = type_(rates[group]), type_(numbers[SCALE]), type_(numbers[EPS])
    keep = type_(decays[group, now - begun - 1])
    if kind == SGD:
        _sgd_rows(address, places, gradients, width, rate, scale, keep)
    elif kind == ADAGRAD:
        _adagrad_rows(address, places, state, rows, gradients, width, rate, scale, keep, eps)
    elif kind == ROWWISE_ADAGRAD:
        _rowwise_rows(address, places, state, rows, gradients, width, rate, scale, keep, eps)
    else:
        _adam_rows(
            address, places, state, other, brought, rows, gradients, width, group, scale, now, begun, numbers, paces,
            roots, decays,
        )  # fmt: skip


_BLOCK = np.int64(64)
"""Rows that are widened at once: as many as the fastest cache holds."""


@compiled
def update_rows(
    task, count, kind, arrays, states, distinct, sums, now, begun, numbers, rates, paces, roots, decays
):  # fmt: skip
    """One step of all distinct rows of a task along their gradients; first `replay`, where rows are behind."""
    a = task[TASK_ARRAY]
    width, group = arrays[a, ARRAY_WIDTH], states[a, GROUP]
    rows = distinct[task[ROOM] : task[ROOM] + count]
    gradients = sums[task[SUMS] : task[SUMS] + count * width]
    state, other = states[a, STATE], states[a, OTHER]
    brought = vector(states[a, BROUGHT], 0, arrays[a, ROWS] if states[a, BROUGHT] else 0, _STEPS)
    if not is_narrow(arrays, a):
        _step(
            kind, arrays[a, ADDRESS], rows, state, other, brought, rows, gradients, width, group, now, begun, numbers,
            rates, paces, roots, decays,
        )  # fmt: skip
        return
    source, zero, size = source_of(arrays, a), sums.dtype.type(0), width * np.int64(sums.itemsize)
    wide, places = np.empty(_BLOCK * width, sums.dtype), np.arange(_BLOCK)
    address = np.int64(wide.ctypes.data)
    for first in range(0, count, _BLOCK):
        last = min(first + _BLOCK, count)
        for s in range(first, last):
            if s + _AHEAD < count:
                fetch_from(source, rows[s + _AHEAD], width, zero)
            load_from(source, rows[s], width, address + (s - first) * size, zero)
        _step(
            kind, address, places[: last - first], state, other, brought, rows[first:last],
            gradients[first * width : last * width], width, group, now, begun, numbers, rates, paces, roots, decays,
        )  # fmt: skip
        for s in range(first, last):
            store_in(source, rows[s], width, address + (s - first) * size, key_of(a, rows[s], now), sums)


@kernel
def apply(
    part, parts_of_work, taken, kind, arrays, states, tasks, distinct, sums, counts, now, begun, numbers, rates, paces,
    roots, decays,
):  # fmt: skip
    """Step `now` of an optimizer for all rows that `add_gradients` found, which then counts none of them any more: to
    ask twice for a step is to ask once."""
    arrays, states, tasks, distinct, sums, counts, numbers, rates, paces, roots, decays = uncounted(
        (arrays, states, tasks, distinct, sums, counts, numbers, rates, paces, roots, decays)
    )
    t = claim(taken)
    while t < len(tasks):
        update_rows(
            tasks[t], counts[t], kind, arrays, states, distinct, sums, now, begun, numbers, rates, paces, roots,
            decays,
        )  # fmt: skip
        counts[t] = 0
        t = claim(taken)


@inlined
def _bring_row(arrays, states, a, r, now, begun, numbers, paces, roots, decays, like):
    """Bring one row of an array to step `now`."""
    brought = vector(states[a, BROUGHT], r, 1, _STEPS)
    if brought[0] < now:
        width = arrays[a, ARRAY_WIDTH]
        replay(
            vector(arrays[a, ADDRESS], r * width, width, like), vector(states[a, STATE], r * width, width, like),
            vector(states[a, OTHER], r * width, width, like), states[a, GROUP], brought[0], now, begun, numbers, paces,
            roots, decays,
        )  # fmt: skip
        brought[0] = now


@compiled
def _bring_stored(arrays, states, a, r, now, begun, numbers, paces, roots, decays, like):
    """`_bring_row` for a row that is stored in fewer bits than it is computed with."""
    brought = vector(states[a, BROUGHT], r, 1, _STEPS)
    if brought[0] < now:
        width = arrays[a, ARRAY_WIDTH]
        wide = np.empty(width, like.dtype)
        load_row(arrays, a, r, width, wide)
        replay(
            wide, vector(states[a, STATE], r * width, width, like), vector(states[a, OTHER], r * width, width, like),
            states[a, GROUP], brought[0], now, begun, numbers, paces, roots, decays,
        )  # fmt: skip
        store_in(source_of(arrays, a), r, width, np.int64(wide.ctypes.data), key_of(a, r, now), wide)
        brought[0] = now


def _bringing(bring_one):
    """What brings the rows of a task by `bring_one`: a loop of its own for each, as a choice within the loop costs a
    tenth of an epoch."""

    @compiled
    def bring_rows(
        task, uses, features, rows, piece_of, arrays, states, now, begun, numbers, paces, roots, decays, like
    ):
        a, chunks = task[TASK_ARRAY], task[CHUNKS]
        for u in range(task[FIRST_USE], task[FIRST_USE] + task[USES]):
            f, q, part = uses[u, USE_FEATURE], uses[u, USE_PIECE], uses[u, USE_PART]
            if part < 0:  # a projection or a bias: all of it
                if features[f, COUNT]:
                    for r in range(arrays[a, ROWS]):
                        bring_one(arrays, states, a, r, now, begun, numbers, paces, roots, decays, like)
                continue
            space, several = features[f, SPACE], features[f, PIECES] > 1
            for i in range(features[f, COUNT]):
                if several and piece_of[space + i] != q:
                    continue
                r = rows[part, space + i]
                if chunks == 1 or r % chunks == task[REMAINDER]:
                    bring_one(arrays, states, a, r, now, begun, numbers, paces, roots, decays, like)

    return bring_rows


_bring_rows, _bring_stored_rows = _bringing(_bring_row), _bringing(_bring_stored)


@compiled
def bring_task(
    task, uses, features, rows, piece_of, arrays, states, now, begun, numbers, paces, roots, decays, like
):  # fmt: skip
    """Bring the rows of a task that are about to be read to step `now`."""
    if is_narrow(arrays, task[TASK_ARRAY]):
        _bring_stored_rows(
            task, uses, features, rows, piece_of, arrays, states, now, begun, numbers, paces, roots, decays, like
        )
    else:
        _bring_rows(
            task, uses, features, rows, piece_of, arrays, states, now, begun, numbers, paces, roots, decays, like
        )


@kernel
def bring(
    part, parts_of_work, taken, tasks, uses, features, rows, piece_of, arrays, states, now, begun, numbers, paces,
    roots, decays, like,
):  # fmt: skip
    """Bring the rows that a call is about to read to step `now`."""
    t = claim(taken)
    while t < len(tasks):
        bring_task(
            tasks[t], uses, features, rows, piece_of, arrays, states, now, begun, numbers, paces, roots, decays, like
        )
        t = claim(taken)


@kernel
def bring_all(part, parts_of_work, arrays, states, now, begun, numbers, paces, roots, decays, like):
    """Bring every row of every array to step `now`."""
    for a in range(len(arrays)):
        if states[a, BROUGHT]:
            count = arrays[a, ROWS]
            for r in range(count * part // parts_of_work, count * (part + 1) // parts_of_work):
                if is_narrow(arrays, a):
                    _bring_stored(arrays, states, a, r, now, begun, numbers, paces, roots, decays, like)
                else:
                    _bring_row(arrays, states, a, r, now, begun, numbers, paces, roots, decays, like)
