"""From rows to vectors: composed, projected, pooled."""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled, inlined, kernel
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
from coset.kernels.memory import fetch, vector
from coset.kernels.narrow import fetch_row, load_row, place_of
from coset.kernels.rows import cut

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
def as_it_lies(address, arrays, a, row, width, like, spare):
    """Where a row of an array at an address is as it is computed with."""
    return address + row * width * like.itemsize


@inlined
def ask(address, arrays, a, row, width, like):
    """Ask for such a row."""
    fetch(address, row * width, width, like)


@inlined
def widened(address, arrays, a, row, width, like, spare):
    """The same for any array: in the memory at `spare`, into which the row is widened. An address, as an array would be
    counted at every call."""
    load_row(arrays, a, row, width, vector(spare, 0, width, like))
    return spare


@inlined
def ask_stored(address, arrays, a, row, width, like):
    """Ask for a row of any array."""
    fetch_row(arrays, a, row, width, like)


def _pooling(place, fetch_from, build):
    """What pools bags of bare rows, and of products of two, that are where `place` says; as `_composing`."""

    @build
    def pool_rows(features, f, start, stop, arrays, a, rows, weights, like, spare):
        dim, space, count = features[f, DIM], features[f, SPACE], features[f, COUNT]
        weighted, address = len(weights) > 0, arrays[a, ADDRESS]
        for b in range(start, stop):
            out = vector(features[f, VECTORS], b * features[f, STRIDE], dim, like)
            begin, end = bag(features, f, b)
            scale = share(features, f, begin, end, like)
            for e in range(dim):
                out[e] = 0
            for i in range(begin, end):
                if i + AHEAD < count:
                    fetch_from(address, arrays, a, rows[space + i + AHEAD], dim, like)
                row = vector(place(address, arrays, a, rows[space + i], dim, like, spare), 0, dim, like)
                factor = scale * weights[i] if weighted else scale
                for e in range(dim):
                    out[e] += factor * row[e]

    @build
    def pool_products(features, f, start, stop, arrays, a, other, rows, weights, like, spare, room):
        dim, space, count = features[f, DIM], features[f, SPACE], features[f, COUNT]
        weighted, address, beside = len(weights) > 0, arrays[a, ADDRESS], arrays[other, ADDRESS]
        for b in range(start, stop):
            out = vector(features[f, VECTORS], b * features[f, STRIDE], dim, like)
            begin, end = bag(features, f, b)
            scale = share(features, f, begin, end, like)
            for e in range(dim):
                out[e] = 0
            for i in range(begin, end):
                if i + AHEAD < count:
                    fetch_from(address, arrays, a, rows[0, space + i + AHEAD], dim, like)
                    fetch_from(beside, arrays, other, rows[1, space + i + AHEAD], dim, like)
                left = vector(place(address, arrays, a, rows[0, space + i], dim, like, spare), 0, dim, like)
                right = vector(place(beside, arrays, other, rows[1, space + i], dim, like, room), 0, dim, like)
                factor = scale * weights[i] if weighted else scale
                for e in range(dim):
                    out[e] += factor * (left[e] * right[e])

    return pool_rows, pool_products


_pool_rows, _pool_products = _pooling(as_it_lies, ask, compiled)
_pool_stored_rows, _pool_stored_products = _pooling(widened, ask_stored, compiled)


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
            a = parts[part, ARRAY]
            for b in range(start, stop):
                if b + AHEAD < stop:
                    fetch_row(arrays, a, rows[0, space + b + AHEAD], dim, like)
                load_row(arrays, a, rows[0, space + b], dim, vector(features[f, VECTORS], b * stride, dim, like))
            return
        for b in range(start, stop):
            if b + AHEAD < stop:
                fetch(address, rows[0, space + b + AHEAD] * dim, dim, like)
            out = vector(features[f, VECTORS], b * stride, dim, like)
            row = vector(address, rows[0, space + b] * dim, dim, like)
            for e in range(dim):
                out[e] = row[e]
        return
    other = parts[part + 1, ARRAY] if pieces[p, PARTS] == 2 else np.int64(0)
    products = bare and pieces[p, PARTS] == 2 and pieces[p, OPERATION] == MULT
    stored = stored or (products and arrays[other, STORED])  # where one is, both are read by `load_row`
    if products and single and not stored:
        beside = arrays[other, ADDRESS]
        for b in range(start, stop):
            if b + AHEAD < stop:
                fetch(address, rows[0, space + b + AHEAD] * dim, dim, like)
                fetch(beside, rows[1, space + b + AHEAD] * dim, dim, like)
            out = vector(features[f, VECTORS], b * stride, dim, like)
            left = vector(address, rows[0, space + b] * dim, dim, like)
            right = vector(beside, rows[1, space + b] * dim, dim, like)
            for e in range(dim):
                out[e] = left[e] * right[e]
        return
    if bare and pieces[p, PARTS] == 1:
        a, room = parts[part, ARRAY], np.empty(dim, like.dtype)
        if stored:
            spare = np.int64(room.ctypes.data)
            _pool_stored_rows(features, f, start, stop, arrays, a, rows[0], weights, like, spare)
        else:
            _pool_rows(features, f, start, stop, arrays, a, rows[0], weights, like, np.int64(0))
        return
    if products:
        a, room, none = parts[part, ARRAY], np.empty((2, dim), like.dtype), np.int64(0)
        if stored and single:
            spare = vector(np.int64(room.ctypes.data), 0, dim, like)
            for b in range(start, stop):
                if b + AHEAD < stop:
                    fetch_row(arrays, a, rows[0, space + b + AHEAD], dim, like)
                    fetch_row(arrays, other, rows[1, space + b + AHEAD], dim, like)
                out = vector(features[f, VECTORS], b * stride, dim, like)
                load_row(arrays, a, rows[0, space + b], dim, out)
                load_row(arrays, other, rows[1, space + b], dim, spare)
                for e in range(dim):
                    out[e] *= spare[e]
        elif stored:
            begin = np.int64(room.ctypes.data)
            _pool_stored_products(
                features, f, start, stop, arrays, a, other, rows, weights, like, begin, begin + dim * like.itemsize
            )
        else:
            _pool_products(features, f, start, stop, arrays, a, other, rows, weights, like, none, none)
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
def look_up(part, parts_of_work, features, pieces, parts, arrays, rows, piece_of, like):
    """Vectors of every bag of every feature, to where the features want them; numbers are of the type of `like`."""
    tasks = cut(features, BAGS)
    for t in range(part, len(tasks), parts_of_work):
        pool(features, tasks[t, 0], tasks[t, 1], tasks[t, 2], pieces, parts, arrays, rows, piece_of, like)
