"""Lookups of tables that nothing trains and whose vectors are composed: products, sums and concatenations of rows, with
projections and blocks, of whatever is stored.

Ids are taken some at a time, few enough that all that is made of them stays in the core's cache: the rows that a part
picks are read by the loops of `coset.kernels.chunks`, then combined, projected, and added to their bags. So no way of
storing rows needs a loop for every way of composing them.
"""

from __future__ import annotations

import numpy as np

from coset.kernels.chunks import codes_one_by_one, floats_one_by_one, products, sums_of_floats
from coset.kernels.compile import compiled, gathered, inlined, kernel
from coset.kernels.layout import (
    ADDRESS,
    ARRAY,
    ARRAY_WIDTH,
    BIAS,
    BITS,
    BYTES,
    CODED_COLUMNS,
    COLUMN,
    CONCAT,
    COUNT,
    DIM,
    IDS,
    IN_COMMON,
    MEAN,
    MULT,
    NIBBLES,
    OFFSETS,
    OPERATION,
    OUT,
    PART,
    PARTS,
    PIECE,
    PIECES,
    PROJECTION,
    ROW_BITS,
    ROWS,
    START,
    STOP,
    STORED,
    STRIDE,
    VALUES,
    VECTORS,
    WEIGHTS,
    WIDE,
    WIDTH,
)
from coset.kernels.memory import fetch, vector
from coset.kernels.narrow import step_of
from coset.kernels.reading import bag_at, levels, share_of, stretch, total_work, uncut, write_bits
from coset.kernels.rows import rows_of

CHUNK = 128
"""Ids that are at work together."""

_I64 = np.empty(1, np.int64)
_U8 = np.empty(1, np.uint8)


@inlined
def _row_bytes(sources, s, item):
    """Bytes from one row to the next, rounded down where rows begin within bytes."""
    stored = sources[s, STORED]
    if stored >= BYTES:
        return sources[s, ROW_BITS] >> 3
    return sources[s, ARRAY_WIDTH] * (item if stored == WIDE else np.int64(2))


@gathered
def _ask_for(sources, s, rows, item):
    """Ask for these rows."""
    address, bits = sources[s, ADDRESS], sources[s, ROW_BITS]
    size = _row_bytes(sources, s, item)
    packed = sources[s, STORED] >= BYTES
    for k in range(len(rows)):
        fetch(address, (rows[k] * bits) >> 3 if packed else rows[k] * size, size + packed, _U8)


@gathered
def _read(sources, s, rows, out, apart, tops, steps, factors, like):
    """Rows of one array, to `out` and every `apart` bytes from there; whether one is not a row."""
    width, item, stored, c = sources[s, ARRAY_WIDTH], np.int64(like.itemsize), sources[s, STORED], np.int64(0)
    if stored == BITS:
        return write_bits(sources, s, rows, out, apart, tops, steps, like)
    size, factor, step = _row_bytes(sources, s, item), np.int64(factors.ctypes.data), np.int64(0)
    coded, wrong = stored >= BYTES, False
    if coded and sources[s, IN_COMMON] == 0:
        step = item
        for k in range(len(rows)):
            if rows[k] >= 0 and rows[k] < sources[s, ROWS]:
                factors[k] = step_of(sources, s, rows[k], like)
    else:
        factors[0] = 1
    while c < width and not wrong:
        least = np.int64(2 if stored == NIBBLES else 1)
        number, c = stretch(width, c, np.int64(16), np.int64(4), least)
        begin = (c >> 1 if stored == NIBBLES else c) if coded else c * (item if stored == WIDE else np.int64(2))
        asked = (
            np.int64(0), np.int64(len(rows)), np.int64(0), np.int64(0), np.int64(len(rows)), np.int64(0),
            np.int64(rows.ctypes.data), sources[s, ROWS], sources[s, ADDRESS] + begin, size, factor, step,
            out + c * item, apart, tops + c * item, steps + c * item,
        )  # fmt: skip
        if coded:
            wrong |= codes_one_by_one(like, stored * 256 + number, asked)
        else:
            wrong |= floats_one_by_one(like, stored * 256 + number, asked)
        c += number
    return wrong


@gathered
def _counted(count):
    """0, 1, 2 …"""
    found = np.empty(count, np.int64)
    for k in range(count):
        found[k] = k
    return found


@gathered
def _compose(pieces, parts, sources, p, ids, rows, scales, whole, factor, factors):
    """The composed rows of `ids`, which count from the beginning of their piece, one after the other in `whole`, each
    of as many numbers as the piece is wide; `factor` is room for those of one part."""
    width, operation, first = pieces[p, WIDTH], pieces[p, OPERATION], pieces[p, PART]
    count, item, some = len(ids), np.int64(whole.itemsize), rows[: len(ids)]
    begin, beside, wrong = np.int64(whole.ctypes.data), np.int64(factor.ctypes.data), False
    for j in range(pieces[p, PARTS]):
        s = parts[first + j, ARRAY]
        rows_of(parts, first + j, ids, some)
        _ask_for(sources, s, some, item)
        column = parts[first + j, COLUMN] if operation == CONCAT else np.int64(0)
        apart = j == 0 or operation == CONCAT
        out = begin + column * item if apart else beside
        wrong |= _read(sources, s, some, out, width * item, scales[2 * s], scales[2 * s + 1], factors, whole)
        if not apart and operation == MULT:
            for e in range(count * width):
                whole[e] *= factor[e]
        elif not apart:
            for e in range(count * width):
                whole[e] += factor[e]
    return wrong


@gathered
def _pool(bags, scales, whole, width, bounds, ids, shares, pooled):
    """Rows of `width` columns, scaled and summed over runs of ids of one bag, one after the other in `pooled`, and the
    sum of the scales of each; how many runs there are. The bags of these are the first of `bags` then."""
    runs, item, c, count = 0, np.int64(whole.itemsize), np.int64(0), np.int64(len(bags))
    for k in range(count):
        if runs == 0 or bags[k] != bags[runs - 1]:
            bounds[runs], bags[runs], shares[runs] = k, bags[k], scales[k]
            runs += 1
        else:
            shares[runs - 1] += scales[k]
    bounds[runs] = count
    while c < width:
        number, c = stretch(width, c, np.int64(16), np.int64(4), np.int64(1))
        sums_of_floats(whole, np.int64(WIDE) * 256 + number, (
            np.int64(0), np.int64(runs), np.int64(bounds.ctypes.data), np.int64(runs + 1), count, np.int64(0),
            np.int64(ids.ctypes.data), count, np.int64(whole.ctypes.data) + c * item, width * item,
            np.int64(scales.ctypes.data), item, np.int64(pooled.ctypes.data) + c * item, width * item, np.int64(0),
            np.int64(0),
        ))  # fmt: skip
        c += number
    return runs


@gathered
def _widen(rows, count, matrix, width, dim, shares, wide):
    """Rows of `width` numbers times a projection, whose bias lies behind it, one after the other in `wide`."""
    item, c, nothing = np.int64(wide.itemsize), np.int64(0), np.int64(0)
    while c < dim:
        number, c = stretch(dim, c, np.int64(16), np.int64(4), np.int64(1))
        products(wide, number, (
            nothing, np.int64(count), nothing, nothing, nothing, nothing, nothing, width,
            np.int64(matrix.ctypes.data) + c * item, dim * item, np.int64(rows.ctypes.data), item,
            np.int64(wide.ctypes.data) + c * item, dim * item, nothing, nothing,
        ))  # fmt: skip
        c += number
    bias = matrix[width * dim : (width + 1) * dim]
    for k in range(count):
        for e in range(dim):
            wide[k * dim + e] += shares[k] * bias[e]


@gathered
def _scales(features, f, pieces, parts, sources, like):
    """Where the levels and the steps of each array of codes that a feature reads are, and what is there."""
    used, most = np.zeros(len(sources), np.int64), np.int64(0)
    for p in range(features[f, PIECE], features[f, PIECE] + features[f, PIECES]):
        for j in range(pieces[p, PART], pieces[p, PART] + pieces[p, PARTS]):
            used[parts[j, ARRAY]] = 1
        for s in (pieces[p, PROJECTION], pieces[p, BIAS]):
            if s >= 0:
                used[s] = 1
    for s in range(len(sources)):
        most += 2 * sources[s, CODED_COLUMNS] if used[s] else 0
    places, room, at = np.zeros(2 * len(sources), np.int64), np.empty(most, like.dtype), np.int64(0)
    for s in range(len(sources)):
        if used[s] and sources[s, CODED_COLUMNS]:
            tops, steps = levels(sources, s, like)
            count = len(tops)
            for c in range(count):
                room[at + c], room[at + count + c] = tops[c], steps[c]
            places[2 * s] = room.ctypes.data + at * like.itemsize
            places[2 * s + 1] = places[2 * s] + count * like.itemsize
            at += 2 * count
    return places, room


@gathered
def _projections(features, f, pieces, sources, scales, like):
    """Where the projection of each piece of a feature is among the numbers that are returned, its bias behind it."""
    first, many = features[f, PIECE], features[f, PIECES]
    begins, size, most = np.zeros(many + 1, np.int64), np.int64(0), np.int64(1)
    for q in range(many):
        begins[q] = size
        size += (pieces[first + q, WIDTH] + 1) * pieces[first + q, OUT] if pieces[first + q, PROJECTION] >= 0 else 0
        most = max(most, pieces[first + q, WIDTH])
    begins[many] = size
    room, rows, factors = np.empty(size, like.dtype), _counted(most), np.empty(most, like.dtype)
    for e in range(size):
        room[e] = 0
    for q in range(many):
        p, dim = first + q, pieces[first + q, OUT]
        if pieces[p, PROJECTION] < 0:
            continue
        for bias in range(2):
            s, height = (pieces[p, BIAS], np.int64(1)) if bias else (pieces[p, PROJECTION], pieces[p, WIDTH])
            if s >= 0:
                out = np.int64(room.ctypes.data) + (begins[q] + bias * pieces[p, WIDTH] * dim) * like.itemsize
                tops, steps = scales[2 * s], scales[2 * s + 1]
                _read(sources, s, rows[:height], out, dim * like.itemsize, tops, steps, factors, like)
    return begins, room


@compiled
def _by_piece(pieces, first, many, ids, order, behind):
    """Ids sorted by the piece of each: their places in `order`, of which the piece numbered q has those up to
    `behind[q]`."""
    for q in range(many):
        behind[q] = 0
    for k in range(len(ids)):
        low, high = 0, many - 1
        while low < high:
            middle = (low + high) // 2
            if ids[k] < pieces[first + middle, STOP]:
                high = middle
            else:
                low = middle + 1
        order[CHUNK + k] = low
        behind[low] += 1
    total = 0
    for q in range(many):
        total, behind[q] = total + behind[q], total
    for k in range(len(ids)):
        q = order[CHUNK + k]
        order[behind[q]] = k
        behind[q] += 1


@gathered
def _bags_of(features, f, b, at, bags, scales, like):
    """The bag of each of some ids of a feature from the one numbered `at` on, none of which are in bags before b, and
    its factor in the sum of the bag."""
    mean, weighted = features[f, MEAN] != 0, features[f, WEIGHTS] != 0
    weights = vector(features[f, WEIGHTS], at, len(bags) if weighted else 0, like)
    begin, end, one = bag_at(features, f, b), bag_at(features, f, b + 1), like.dtype.type(1)
    for k in range(len(bags)):
        while at + k >= end:
            b += 1
            begin, end = end, bag_at(features, f, b + 1)
        bags[k] = b
        scales[k] = weights[k] if weighted else one
        if mean:
            scales[k] /= like.dtype.type(end - begin)


@gathered
def _bags_fit(features, f, start, stop):
    """Whether each of these bags begins and ends among the ids, and not before the one before it."""
    for b in range(start, stop):
        begin, end = bag_at(features, f, b), bag_at(features, f, b + 1)
        if begin < 0 or end < begin or end > features[f, COUNT]:
            return False
    return True


@gathered
def _read_feature(features, f, start, stop, pieces, parts, sources, like):
    """`read_composed` for some bags of one feature."""
    dim, stride, count, first = features[f, DIM], features[f, STRIDE], features[f, COUNT], features[f, PIECE]
    many, plain = features[f, PIECES], features[f, OFFSETS] == 0 and features[f, WEIGHTS] == 0
    for b in range(start, stop):
        out = vector(features[f, VECTORS], b * stride, dim, like)
        for e in range(dim):
            out[e] = 0
    if not _bags_fit(features, f, start, stop):
        return True
    scales, levels_kept = _scales(features, f, pieces, parts, sources, like)
    begins, matrices = _projections(features, f, pieces, sources, scales, like)
    widest = dim
    for p in range(first, first + many):
        widest = max(widest, pieces[p, WIDTH])
    whole, other = np.empty(CHUNK * widest, like.dtype), np.empty(CHUNK * widest, like.dtype)
    wide, shares, factors = np.empty(CHUNK * dim, like.dtype), np.empty(CHUNK, like.dtype), np.empty(CHUNK, like.dtype)
    for k in range(CHUNK):
        shares[k] = 1
    places, local, rows = _counted(np.int64(CHUNK)), np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    bags, weights, bounds = np.empty(CHUNK, np.int64), np.empty(CHUNK, like.dtype), np.empty(CHUNK + 1, np.int64)
    order, behind = np.empty(2 * CHUNK, np.int64), np.zeros(many, np.int64)
    ids, last, before = vector(features[f, VALUES], 0, count, _I64), bag_at(features, f, stop), start
    some_bags, some_weights = np.empty(CHUNK, np.int64), np.empty(CHUNK, like.dtype)
    begin = bag_at(features, f, start)
    # Cut by nothing but the ids, so that a bag is summed in the same order whoever does it.
    for chunk in range(begin // CHUNK, (last + CHUNK - 1) // CHUNK):
        at = max(chunk * CHUNK, begin)
        size, low = min((chunk + 1) * CHUNK, last) - at, np.int64(0)
        if size <= 0:
            continue
        for k in range(size):
            if ids[at + k] < 0 or ids[at + k] >= features[f, IDS]:
                return True
        _bags_of(features, f, before, at, bags[:size], weights[:size], like)
        before = bags[size - 1]
        if many > 1:
            _by_piece(pieces, first, many, ids[at : at + size], order, behind)
        for q in range(many):
            p, high = first + q, behind[q] if many > 1 else size
            n, width = high - low, pieces[p, WIDTH]
            if n == 0:
                continue
            for k in range(n):
                place = order[low + k] if many > 1 else k
                local[k] = ids[at + place] - pieces[p, START]
                some_bags[k], some_weights[k] = bags[place], weights[place]
            low = high
            if _compose(pieces, parts, sources, p, local[:n], rows, scales, whole, other, factors):
                return True
            found = whole
            if not plain:
                n = _pool(some_bags[:n], some_weights[:n], whole, width, bounds, places, shares, other)
                found = other
            if pieces[p, PROJECTION] >= 0:
                _widen(found, n, matrices[begins[q] :], width, dim, shares, wide)
                found = wide
            for k in range(n):
                out = vector(features[f, VECTORS], some_bags[k] * stride, dim, like)
                for e in range(dim):
                    out[e] += found[k * dim + e]
    return len(levels_kept) < 0  # what was read by its address lives until here


@kernel
def read_composed(part, parts_of_work, features, pieces, parts, sources, like):
    """Vectors of every bag of every feature, to where features want them, composed as their pieces say; numbers are of
    the type of `like`. Returns whether this part of the work has met an id out of range, or offsets that do not cut ids
    into bags."""
    total, at, wrong = total_work(features), np.int64(0), False
    for f in range(len(features)):
        start, stop, work = share_of(features, f, total, at, part, parts_of_work)
        at += work
        if start < stop:
            wrong |= uncut(features, f) or _read_feature(features, f, start, stop, pieces, parts, sources, like)
    return wrong
