"""From rows to vectors: composed, projected, pooled."""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled, inlined, kernel
from coset.kernels.lanes import copied, product
from coset.kernels.layout import (
    ADDRESS,
    ARRAY,
    BAGS,
    BIAS,
    COLUMN,
    CONCAT,
    COUNT,
    DIM,
    MEAN,
    MULT,
    OFFSETS,
    OPERATION,
    OUT,
    PART,
    PART_WIDTH,
    PARTS,
    PIECE,
    PIECES,
    PROJECTION,
    SPACE,
    STORED,
    STRIDE,
    VECTORS,
    WEIGHTS,
    WIDTH,
)
from coset.kernels.memory import fetch_bytes, size_of, uncounted, vector
from coset.kernels.narrow import fetch_from, load_from, load_row, place_in, place_of, source_of
from coset.kernels.rows import cut, find
from coset.kernels.share import claim

AHEAD = 32
"""How many ids ahead of the one at work memory is asked for."""

_I64 = np.empty(1, np.int64)


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
                width = pieces[p, OUT]
                if a < 0:
                    continue
                places[p - first, column] = arrays[a, ADDRESS]
                if arrays[a, STORED]:
                    places[p - first, column] = room.ctypes.data + at * room.itemsize
                    for r in range(height):
                        load_row(arrays, a, np.int64(r), width, room[at : at + width])
                        at += width
    return places, room


@inlined
def widen(pieces, p, matrix, bias, whole, wide, room):
    """The composed row times the projection, plus the bias, into `wide`; where these lie, and `room`, `projections`
    says."""
    width, dim = pieces[p, WIDTH], pieces[p, OUT]
    if pieces[p, BIAS] >= 0:
        begin = vector(bias, 0, dim, room)
        for e in range(dim):
            wide[e] = begin[e]
    else:
        for e in range(dim):
            wide[e] = 0
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


@inlined
def as_it_lies(source, row, width, spare, zero):
    """`place_in` of a source whose rows are stored as they are computed with."""
    return source[0] + row * width * size_of(zero)


@inlined
def ask(source, row, width, zero):
    """Ask for such a row."""
    size = width * size_of(zero)
    fetch_bytes(source[0] + row * size, size)


def _pooling(place, fetch_from, build):
    """What pools bags of bare rows, and of products of two, that are where `place` says; as `_composing`."""

    @build
    def pool_rows(features, f, start, stop, source, rows, weights, like, spare):
        dim, space, count = features[f, DIM], features[f, SPACE], features[f, COUNT]
        weighted, zero = len(weights) > 0, like.dtype.type(0)
        for b in range(start, stop):
            out = vector(features[f, VECTORS], b * features[f, STRIDE], dim, like)
            begin, end = bag(features, f, b)
            scale = share(features, f, begin, end, like)
            for e in range(dim):
                out[e] = 0
            for i in range(begin, end):
                if i + AHEAD < count:
                    fetch_from(source, rows[space + i + AHEAD], dim, zero)
                row = vector(place(source, rows[space + i], dim, spare, zero), 0, dim, like)
                factor = scale * weights[i] if weighted else scale
                for e in range(dim):
                    out[e] += factor * row[e]

    @build
    def pool_products(features, f, start, stop, source, beside, rows, weights, like, spare, room):
        dim, space, count = features[f, DIM], features[f, SPACE], features[f, COUNT]
        weighted, zero = len(weights) > 0, like.dtype.type(0)
        for b in range(start, stop):
            out = vector(features[f, VECTORS], b * features[f, STRIDE], dim, like)
            begin, end = bag(features, f, b)
            scale = share(features, f, begin, end, like)
            for e in range(dim):
                out[e] = 0
            for i in range(begin, end):
                if i + AHEAD < count:
                    fetch_from(source, rows[0, space + i + AHEAD], dim, zero)
                    fetch_from(beside, rows[1, space + i + AHEAD], dim, zero)
                left = vector(place(source, rows[0, space + i], dim, spare, zero), 0, dim, like)
                right = vector(place(beside, rows[1, space + i], dim, room, zero), 0, dim, like)
                factor = scale * weights[i] if weighted else scale
                for e in range(dim):
                    out[e] += factor * (left[e] * right[e])

    return pool_rows, pool_products


_pool_rows, _pool_products = _pooling(as_it_lies, ask, compiled)
_pool_stored_rows, _pool_stored_products = _pooling(place_in, fetch_from, compiled)


@compiled
def _pool_single(features, f, start, stop, products, source, beside, rows, like):
    """Bags of one row, or product of two, without a factor."""
    dim, stride, space = features[f, DIM], features[f, STRIDE], features[f, SPACE]
    zero, first = like.dtype.type(0), features[f, VECTORS]
    for b in range(start, stop):
        if b + AHEAD < stop:
            ask(source, rows[0, space + b + AHEAD], dim, zero)
            if products:
                ask(beside, rows[1, space + b + AHEAD], dim, zero)
        out = first + b * stride * size_of(zero)
        row = as_it_lies(source, rows[0, space + b], dim, np.int64(0), zero)
        if products:
            product(zero, dim, (row, as_it_lies(beside, rows[1, space + b], dim, np.int64(0), zero), out))
        else:
            copied(zero, dim, (row, out))


@compiled
def _pool_single_stored(features, f, start, stop, products, source, beside, rows, like):
    """The same where rows may be stored in fewer bits."""
    dim, stride, space = features[f, DIM], features[f, STRIDE], features[f, SPACE]
    zero, first, room = like.dtype.type(0), features[f, VECTORS], np.empty(dim, like.dtype)
    spare = np.int64(room.ctypes.data)
    for b in range(start, stop):
        if b + AHEAD < stop:
            fetch_from(source, rows[0, space + b + AHEAD], dim, zero)
            if products:
                fetch_from(beside, rows[1, space + b + AHEAD], dim, zero)
        out = first + b * stride * size_of(zero)
        if products:
            left = place_in(source, rows[0, space + b], dim, out, zero)
            product(zero, dim, (left, place_in(beside, rows[1, space + b], dim, spare, zero), out))
        else:
            load_from(source, rows[0, space + b], dim, out, zero)


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
    products = bare and pieces[p, PARTS] == 2 and pieces[p, OPERATION] == MULT
    if products or (bare and pieces[p, PARTS] == 1):
        source = source_of(arrays, parts[part, ARRAY])
        beside = source_of(arrays, parts[part + 1, ARRAY]) if products else source
        stored = source[1] != 0 or beside[1] != 0  # where one is, both are read as if they were
        if single and stored:
            _pool_single_stored(features, f, start, stop, products, source, beside, rows, like)
        elif single:
            _pool_single(features, f, start, stop, products, source, beside, rows, like)
        else:
            none, room = np.int64(0), np.empty((2, dim if stored else 0), like.dtype)
            spare, other = np.int64(room.ctypes.data), np.int64(room.ctypes.data) + dim * like.itemsize
            if products and stored:
                _pool_stored_products(features, f, start, stop, source, beside, rows, weights, like, spare, other)
            elif products:
                _pool_products(features, f, start, stop, source, beside, rows, weights, like, none, none)
            elif stored:
                _pool_stored_rows(features, f, start, stop, source, rows[0], weights, like, spare)
            else:
                _pool_rows(features, f, start, stop, source, rows[0], weights, like, none)
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


@kernel
def look_up(part, parts_of_work, taken, finds, features, pieces, parts, arrays, rows, piece_of, like):
    """Vectors of every bag of every feature, to where the features want them; numbers are of the type of `like`. If it
    `finds` the rows of ids, too, see `find_rows`: whether this part of the work has met an id out of range."""
    features, pieces, parts, arrays, rows, piece_of, like = uncounted(
        (features, pieces, parts, arrays, rows, piece_of, like)
    )
    tasks = cut(features, BAGS)
    t = claim(taken)
    while t < len(tasks):
        f, start, stop = tasks[t, 0], tasks[t, 1], tasks[t, 2]
        if finds:
            first, last = bag(features, f, start)[0], bag(features, f, stop - 1)[1]
            if find(features, f, first, last, pieces, parts, rows, piece_of) >= 0:
                return True
        pool(features, f, start, stop, pieces, parts, arrays, rows, piece_of, like)
        t = claim(taken)
    return False
