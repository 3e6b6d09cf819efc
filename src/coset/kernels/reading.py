"""Lookups of tables that nothing trains: from ids to pooled vectors in one kernel.

There is one for rows of floats, one for codes of 8 or 4 bits, and one for codes of any, so that nobody waits until more
is compiled than is needed. They read tables and write vectors, so any number of their calls may run at once.
"""

from __future__ import annotations

import numpy as np

from coset.kernels.chunks import AHEAD, MANY, WEIGHTED, codes, floats, word_at
from coset.kernels.compile import gathered, inlined, kernel
from coset.kernels.layout import (
    ADDRESS,
    ARRAY_WIDTH,
    BAGS,
    BEGIN,
    CODED,
    CODED_COLUMNS,
    COUNT,
    DIM,
    FLOAT16,
    IN_COMMON,
    MASK,
    MEAN,
    NIBBLES,
    OFFSETS,
    OPEN,
    PIECE,
    PLACE,
    PLACE_COLUMNS,
    ROW_BITS,
    ROWS,
    SCALES,
    SCALES_STORED,
    SIZE,
    STORED,
    STRIDE,
    TOP,
    VALUES,
    VECTORS,
    WEIGHTS,
    WIDE,
)
from coset.kernels.memory import fetch, vector
from coset.kernels.narrow import RATE, load, step_of

_I64 = np.empty(1, np.int64)
_F32 = np.empty(1, np.float32)
_U8 = np.empty(1, np.uint8)
_AT_ONCE = 1 << 22
"""Codes of features of more ids than these are summed as floats, since a sum might not fit 32 bits."""
_WORD = 57
"""Bits that can be read at once from any bit on."""


@inlined
def share_of(features, f, total, at, part, parts):
    """The bags of a feature that a part of the work does; `at` is the work of the features before, of `total`."""
    work, bags = features[f, COUNT] * (features[f, DIM] + 8) + features[f, BAGS], features[f, BAGS]
    low, high = total * part // parts - at, total * (part + 1) // parts - at
    if work == 0:
        return np.int64(0), np.int64(0), work
    return bags * min(max(low, 0), work) // work, bags * min(max(high, 0), work) // work, work


@inlined
def total_work(features):
    """The work of all features, of which `share_of` gives each part as much."""
    total = np.int64(0)
    for f in range(len(features)):
        total += features[f, COUNT] * (features[f, DIM] + 8) + features[f, BAGS]
    return total


@inlined
def _bounds(features, f):
    """How many offsets a feature has; 0 where every id is a bag of its own."""
    return features[f, BAGS] + 1 - features[f, OPEN] if features[f, OFFSETS] else np.int64(0)


@inlined
def uncut(features, f):
    """Whether the ids of a feature are more than its bags have."""
    bounds = _bounds(features, f)
    if bounds == 0:
        return features[f, BAGS] != features[f, COUNT]
    offsets = vector(features[f, OFFSETS], 0, bounds, _I64)
    return offsets[0] != 0 or (features[f, OPEN] == 0 and offsets[bounds - 1] != features[f, COUNT])


@inlined
def stretch(dim, c, widest, small, least):
    """How many columns to sum from column c on, and where to begin: earlier than c where fewer are left than a loop
    takes, and the dim has as many."""
    if dim - c >= widest:
        return widest, c
    if dim >= 16:
        return np.int64(16), min(c, dim - 16)
    if dim >= small:
        return small, min(c, dim - small)
    return least, c


@kernel
def read_floats(part, parts, features, sources, like):
    """Vectors of every bag of every feature, to where features want them, from rows of floats; numbers are of the type
    of `like`. Returns whether this part of the work has met an id out of range, or offsets that do not cut ids into
    bags."""
    total, at, item, one = total_work(features), np.int64(0), np.int64(like.itemsize), np.empty(1, like.dtype)
    one[0], wrong = 1, False
    for f in range(len(features)):
        start, stop, work = share_of(features, f, total, at, part, parts)
        at += work
        if start == stop:
            continue
        wrong |= uncut(features, f)
        s, dim, c = features[f, PIECE], features[f, DIM], np.int64(0)
        stored = sources[s, STORED]
        size = item if stored == WIDE else np.int64(2)
        weights = features[f, WEIGHTS] if features[f, WEIGHTS] else np.int64(one.ctypes.data)
        while c < dim and not wrong:
            widest = np.int64(MANY if stored == WIDE else 16)
            width, c = stretch(dim, c, widest, np.int64(4), np.int64(1))
            wrong |= floats(like, stored * 256 + width, (
                start, stop, features[f, OFFSETS] if features[f, OFFSETS] else features[f, VALUES],
                _bounds(features, f), features[f, COUNT], features[f, MEAN], features[f, VALUES], sources[s, ROWS],
                sources[s, ADDRESS] + c * size, dim * size, weights, item if features[f, WEIGHTS] else np.int64(0),
                features[f, VECTORS] + c * item, features[f, STRIDE] * item, np.int64(0), np.int64(0),
            ))  # fmt: skip
            c += width
    return wrong or len(one) == 0  # what was read by its address lives until here


@gathered
def levels(sources, s, like):
    """Of every stored column, the level of code 0 in steps, turned to positive, and its step; 1 where rows have one."""
    count, common = sources[s, CODED_COLUMNS], sources[s, IN_COMMON]
    columns = vector(sources[s, CODED], 0, count * PLACE_COLUMNS, _I64)
    tops, steps = np.empty(count, like.dtype), np.empty(count, like.dtype)
    for c in range(count):
        tops[c], steps[c] = columns[c * PLACE_COLUMNS + TOP] / 2, 1
    if common and count:
        scales = _scales(sources, s, np.int64(0), (count + common - 1) // common, like)
        for c in range(count):
            steps[c] = scales[c // common]
    return tops, steps


@gathered
def _scales(sources, s, first, count, like):
    """So many steps."""
    found = np.empty(count, like.dtype)
    if sources[s, SCALES_STORED] == FLOAT16:
        load(sources[s, SCALES], first, count, FLOAT16, found)
    else:
        given = vector(sources[s, SCALES], first, count, _F32)
        for at in range(count):
            found[at] = given[at]
    for at in range(count):
        found[at] = np.exp(like.dtype.type(RATE) * found[at])
    return found


@inlined
def bag_at(features, f, b):
    """Where a bag begins among the ids of its feature, as its offset says; behind the last bag, their number."""
    bounds = _bounds(features, f)
    if bounds == 0:
        return b
    return vector(features[f, OFFSETS], b, 1, _I64)[0] if b < bounds else features[f, COUNT]


@gathered
def _factors(features, f, first, last, sources, s, like):
    """For ids of a feature from `first` to `last`, the step of the row of each, times its weight."""
    count, weighted = features[f, COUNT], features[f, WEIGHTS] != 0
    found, ids = np.empty(count, like.dtype), vector(features[f, VALUES], 0, count, _I64)
    weights = vector(features[f, WEIGHTS], 0, count if weighted else 0, like)
    for i in range(first, last):
        if ids[i] >= 0 and ids[i] < sources[s, ROWS]:
            found[i] = step_of(sources, s, ids[i], like)
            if weighted:
                found[i] *= weights[i]
    return found


@kernel
def read_codes(part, parts, features, sources, like):
    """The same from rows of codes of 8 or 4 bits that begin at bytes."""
    total, at, item, one = total_work(features), np.int64(0), np.int64(like.itemsize), np.empty(1, like.dtype)
    one[0], wrong = 1, False
    for f in range(len(features)):
        start, stop, work = share_of(features, f, total, at, part, parts)
        at += work
        if start == stop:
            continue
        wrong |= uncut(features, f)
        s, dim, c = features[f, PIECE], features[f, DIM], np.int64(0)
        stored = sources[s, STORED]
        tops, steps = levels(sources, s, like)
        factors, weights, step = one, features[f, WEIGHTS], item
        if sources[s, IN_COMMON] == 0:
            first, last = max(bag_at(features, f, start), 0), min(bag_at(features, f, stop), features[f, COUNT])
            factors = _factors(features, f, first, last, sources, s, like)
            weights = np.int64(factors.ctypes.data)
        elif weights == 0:
            weights, step = np.int64(one.ctypes.data), np.int64(0)
        weighted = step > 0 or features[f, COUNT] > _AT_ONCE
        while c < dim and not wrong:
            least = np.int64(2 if stored == NIBBLES else 1)
            widest, small = (np.int64(16), least) if weighted else (np.int64(MANY), np.int64(4))
            width, c = stretch(dim, c, widest, small, least)
            wrong |= codes(like, stored * 256 + width + (WEIGHTED if weighted else 0), (
                start, stop, features[f, OFFSETS] if features[f, OFFSETS] else features[f, VALUES],
                _bounds(features, f), features[f, COUNT], features[f, MEAN], features[f, VALUES], sources[s, ROWS],
                sources[s, ADDRESS] + (c >> 1 if stored == NIBBLES else c), sources[s, ROW_BITS] >> 3, weights, step,
                features[f, VECTORS] + c * item, features[f, STRIDE] * item,
                np.int64(tops.ctypes.data) + c * item, np.int64(steps.ctypes.data) + c * item,
            ))  # fmt: skip
            c += width
        wrong |= len(tops) + len(steps) + len(factors) < 0  # what was read by its address lives until here
    return wrong or len(one) == 0


@gathered
def _word(address, size, bit):
    """The bits from this one on of an array of bytes: 57 of them, or as many as there are."""
    first = bit >> 3
    if first + 8 <= size:
        return word_at(address + first) >> np.uint64(bit & 7)
    word, left = np.uint64(0), vector(address, first, max(size - first, 0), _U8)
    for b in range(len(left)):
        word |= np.uint64(left[b]) << np.uint64(8 * b)
    return word >> np.uint64(bit & 7)


@gathered
def _groups(columns, count):
    """The first column of each group whose codes are read as one word, and, last, the number of columns; how far each
    code is from the first bit of its group; and as many ones as it has bits."""
    many, first = 0, 0
    groups, shifts, masks = np.empty(count + 1, np.int64), np.empty(count, np.uint64), np.empty(count, np.uint64)
    for c in range(count):
        if c == 0 or columns[c * PLACE_COLUMNS + BEGIN] + 8 - columns[first * PLACE_COLUMNS + BEGIN] > _WORD:
            groups[many], first = c, c
            many += 1
        shifts[c] = np.uint64(columns[c * PLACE_COLUMNS + BEGIN] - columns[first * PLACE_COLUMNS + BEGIN])
        masks[c] = np.uint64(columns[c * PLACE_COLUMNS + MASK])
    groups[many] = count
    return groups[: many + 1], shifts, masks


@gathered
def _read_bits(features, f, start, stop, sources, s, like):
    """`read_bits` for bags of one feature."""
    dim, count, rows = features[f, DIM], features[f, COUNT], sources[s, ROWS]
    address, size, row_bits = sources[s, ADDRESS], sources[s, SIZE], sources[s, ROW_BITS]
    stored = sources[s, CODED_COLUMNS]
    columns, sums = vector(sources[s, CODED], 0, stored * PLACE_COLUMNS, _I64), np.empty(stored, like.dtype)
    (groups, shifts, masks), (tops, steps) = _groups(columns, stored), levels(sources, s, like)
    ids, by_row, one = vector(features[f, VALUES], 0, count, _I64), sources[s, IN_COMMON] == 0, like.dtype.type(1)
    weighted = features[f, WEIGHTS] != 0
    weights = vector(features[f, WEIGHTS], 0, count if weighted else 0, like)
    for b in range(start, stop):
        begin, end = bag_at(features, f, b), bag_at(features, f, b + 1)
        if begin < 0 or end < begin or end > count:
            return True
        counted = one - one
        sums[:] = 0
        for i in range(begin, end):
            row = ids[i]
            if row < 0 or row >= rows:
                return True
            if i + AHEAD < count:
                fetch(address, (ids[i + AHEAD] * row_bits) >> 3, (row_bits >> 3) + 1, _U8)
            factor = weights[i] if weighted else one
            if by_row:
                factor *= step_of(sources, s, row, like)
            counted += factor
            for g in range(len(groups) - 1):
                word = _word(address, size, row * row_bits + columns[groups[g] * PLACE_COLUMNS + BEGIN])
                for c in range(groups[g], groups[g + 1]):
                    sums[c] += factor * like.dtype.type(np.int32((word >> shifts[c]) & masks[c]))
        out = vector(features[f, VECTORS], b * features[f, STRIDE], dim, like)
        for e in range(dim):
            out[e] = 0
        scale = one / like.dtype.type(end - begin) if features[f, MEAN] and end > begin else one
        for c in range(stored):
            out[columns[c * PLACE_COLUMNS + PLACE]] = (sums[c] - counted * tops[c]) * steps[c] * scale
    return False


@gathered
def write_bits(sources, s, rows, out, apart, tops, steps, like):
    """Rows of codes of any bits, to `out` and every `apart` bytes from there; whether one is not a row. Where the
    levels of codes of 0 and the steps of columns are, `tops` and `steps` say."""
    size, row_bits, width = sources[s, SIZE], sources[s, ROW_BITS], sources[s, ARRAY_WIDTH]
    stored, by_row = sources[s, CODED_COLUMNS], sources[s, IN_COMMON] == 0
    columns = vector(sources[s, CODED], 0, stored * PLACE_COLUMNS, _I64)
    groups, shifts, masks = _groups(columns, stored)
    half, step = vector(tops, 0, stored, like), vector(steps, 0, stored, like)
    for k in range(len(rows)):
        row, into = rows[k], vector(out + k * apart, 0, width, like)
        if row < 0 or row >= sources[s, ROWS]:
            return True
        factor = step_of(sources, s, row, like) if by_row else like.dtype.type(1)
        if stored < width:
            for e in range(width):
                into[e] = 0
        for g in range(len(groups) - 1):
            word = _word(sources[s, ADDRESS], size, row * row_bits + columns[groups[g] * PLACE_COLUMNS + BEGIN])
            for c in range(groups[g], groups[g + 1]):
                code = like.dtype.type(np.int32((word >> shifts[c]) & masks[c]))
                into[columns[c * PLACE_COLUMNS + PLACE]] = (code - half[c]) * step[c] * factor
    return False


@kernel
def read_bits(part, parts, features, sources, like):
    """The same from rows of codes of any bits, which may begin within bytes, and some columns of which may be 0."""
    total, at, wrong = total_work(features), np.int64(0), False
    for f in range(len(features)):
        start, stop, work = share_of(features, f, total, at, part, parts)
        at += work
        if start < stop:
            wrong |= uncut(features, f) or _read_bits(features, f, start, stop, sources, features[f, PIECE], like)
    return wrong
