"""Many training steps of a dot model in one compiled loop: forward, loss, backward and update of every batch."""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled, kernel
from coset.kernels.history import close_batch, move, open_batch, pool_histories, spread_gradients
from coset.kernels.layout import (
    ADDRESS,
    BAGS,
    CHUNK,
    COUNT,
    DIM,
    IDS,
    PROJECTED,
    SPACE,
    STRIDE,
    TASK_ARRAY,
    TASK_COLUMNS,
    VALUES,
    VECTORS,
)  # fmt: skip
from coset.kernels.memory import vector
from coset.kernels.projected import narrow, partial_size
from coset.kernels.rows import find
from coset.kernels.spaces import lay_out
from coset.kernels.sums import add_up
from coset.kernels.updates import bring_task, update_rows
from coset.kernels.vectors import pool

# What `model` holds: the range of ratings, the unit of the score, the weights of L2 on vectors and on biases, whether
# the output is a sigmoid, the elements of one vector (0: no dot product, biases alone), and the ridge of vectors, of
# users' biases and of items'.
LOW, HIGH, UNIT, L2, L2_OF_BIASES, SIGMOID, WIDTH, RIDGE, RIDGE_OF_BIASES = 0, 1, 2, 3, 4, 5, 6, 7, 8


@compiled
def scores_and_gradients(features, vectors, model, mean, targets, gaps, biased, ids, rarity, histories, rooms, read):
    """Predictions less targets into `gaps`; the gradients of all vectors in their place; that of the mean returned.

    The score is the sum of the products of all pairs of vectors of a rating, ((Σ v)² - Σ v²) / 2, which for a user's
    and an item's vector is their product; its gradient for a vector is the sum of the others. `rarity` holds one over
    the training rows of each id of a side, and of all ids that read its bias, where there is a ridge: an id's weight of
    L2 then has λ times that in it.
    Where histories are read, see `coset.kernels.history`; else the last three are None, and what is about them is left
    out when this is compiled.
    """
    type_ = vectors.dtype.type
    n, width = len(targets), np.int64(model[WIDTH])
    dots = 2 if width else 0
    unit, l2, l2_of_biases = type_(model[UNIT]), type_(2 * model[L2] / n), type_(2 * model[L2_OF_BIASES] / n)
    ridge, shrinks = type_(2 * model[RIDGE] / n), rarity.shape[1] > 0
    left_l2, right_l2 = l2, l2
    low, span = type_(model[LOW]), type_(model[HIGH] - model[LOW])
    total = np.empty(max(width, 1), vectors.dtype)
    slope_of_mean = type_(0)
    if read is not None:
        _, _, gradients, _, less, _, moved = read
    for i in range(n):
        score = mean
        if dots:
            size, other = features[0, DIM], features[1, DIM]
            left = vector(features[0, VECTORS], i * size, size, vectors)
            right = vector(features[1, VECTORS], i * other, other, vectors)
            if read is not None:
                factor, own_item = move(i, ids[1, i], histories, rooms, read)
                for e in range(width):
                    left[e] += moved[e]
            if size == width and other == width:
                product = type_(0)
                for e in range(width):
                    product += left[e] * right[e]
                score += product
            else:
                squares = type_(0)
                for e in range(width):
                    total[e] = 0
                for e in range(size):
                    total[e % width] += left[e]
                    squares += left[e] * left[e]
                for e in range(other):
                    total[e % width] += right[e]
                    squares += right[e] * right[e]
                product = type_(0)
                for e in range(width):
                    product += total[e] * total[e]
                score += (product - squares) / type_(2)
        if biased:
            score += vector(features[dots, VECTORS], i, 1, vectors)[0]
            score += vector(features[dots + 1, VECTORS], i, 1, vectors)[0]
        if model[SIGMOID]:
            share = type_(1) / (type_(1) + np.exp(-score))
            gap = low + span * share - targets[i]
            slope = type_(2) * gap / type_(n) * span * share * (type_(1) - share)
        else:
            gap = score * unit - targets[i]
            slope = type_(2) * (gap / unit) / type_(n)
        gaps[i] = gap
        slope_of_mean += slope
        if shrinks:
            left_l2 = l2 + ridge * rarity[0, ids[0, i]]
            right_l2 = l2 + ridge * rarity[1, ids[1, i]]
        if dots:
            size, other = features[0, DIM], features[1, DIM]
            left = vector(features[0, VECTORS], i * size, size, vectors)
            right = vector(features[1, VECTORS], i * other, other, vectors)
            if read is not None:
                into, paired = gradients[rooms[0][i]], size == width and other == width
                for e in range(width):
                    by = slope * factor * (right[e] if paired else total[e] - left[e])
                    into[e] += by
                    if own_item >= 0:
                        less[own_item, e] -= by
            if size == width and other == width:
                for e in range(width):
                    kept = left[e]
                    left[e] = slope * right[e] + left_l2 * kept
                    right[e] = slope * kept + right_l2 * right[e]
            else:
                for e in range(size):
                    left[e] = slope * (total[e % width] - left[e]) + left_l2 * left[e]
                for e in range(other):
                    right[e] = slope * (total[e % width] - right[e]) + right_l2 * right[e]
            if read is not None:  # which is no part of what is held back here
                for e in range(width):
                    left[e] -= left_l2 * moved[e]
        if biased:
            for f in range(dots, dots + 2):
                one = vector(features[f, VECTORS], i, 1, vectors)
                own = l2_of_biases
                if shrinks:
                    side = f - dots
                    own += type_(2 * model[RIDGE_OF_BIASES + side] / n) * rarity[2 + side, ids[side, i]]
                one[0] = slope + own * one[0]
    return slope_of_mean


@kernel
def train_dot(
    given, targets, batch, model, rarity, biased, dense, kind, template, pieces, parts, arrays, several, most_parts,
    widest_projected, full_tasks, last_tasks, uses, states, before, begun, numbers, rates, paces, roots, decays,
    mean_array, gaps, histories, rooms, read,
):  # fmt: skip
    """Train on `targets`, whose ids are `given[side]`, batch by batch; step `before + 1` is the first.

    Args:
        given: ids by side (user, item) and rating, int64, in range.
        rarity: see `scores_and_gradients`; of shape `(4, ids)`, or `(4, 0)` without a ridge.
        template: features: user and item vectors where there is a dot product, then their biases where `biased`, then
            the vectors of items in histories, where there are these.
        full_tasks, last_tasks: tasks of sums for a batch, and for the last one.
        dense: whether rows without a gradient are moved as well (Adam): their missed steps are made up for when they
            are read, and all of them by `bring_all`.
        before: steps taken before these.
        begun: steps after which all rows were up to date.
        rates, paces, roots, decays: see `coset.kernels.updates`, one for each step after `begun`; here `rates` too.
        mean_array: the array of the mean, or -1.
        gaps: takes predictions less targets.
        histories, rooms, read: see `coset.kernels.history`; None for a model without.
    """
    count = len(targets)
    features = template.copy()
    every = len(features)
    lines = every - (1 if histories is not None else 0)
    widths = 0
    for f in range(lines):
        widths += features[f, DIM]
    most_lookups, most_numbers = lines * batch, batch * widths
    if histories is not None:
        most_lookups += features[lines, IDS]
        most_numbers += features[lines, IDS] * features[lines, DIM]
    vectors = np.empty(most_numbers, gaps.dtype)
    like = vectors[:0]
    rows = np.empty((most_parts, most_lookups), np.int64)
    piece_of = np.empty(most_lookups if several else 0, np.int32)
    narrowed = np.empty((most_lookups if widest_projected else 0, widest_projected), gaps.dtype)
    partials, distinct, sums = np.empty(0, gaps.dtype), np.empty(0, np.int64), np.empty(0, gaps.dtype)
    slope = np.zeros(1, gaps.dtype)
    mean_task, first_row = np.zeros(TASK_COLUMNS, np.int64), np.zeros(1, np.int64)
    mean_task[TASK_ARRAY] = mean_array
    rate_now = np.zeros(rates.shape[0], np.float64)
    for b in range((count + batch - 1) // batch):
        start = b * batch
        n = min(batch, count - start)
        now = before + b + 1
        tasks = full_tasks if n == batch else last_tasks
        at = 0
        for f in range(lines):
            features[f, VALUES] = given[f % 2, start:].ctypes.data
            features[f, COUNT] = features[f, BAGS] = n
            features[f, SPACE] = f * n
            features[f, STRIDE] = features[f, DIM]
            features[f, VECTORS] = vectors[at:].ctypes.data
            at += n * features[f, DIM]
            find(features, f, 0, n, pieces, parts, rows, piece_of)
        few, many = np.int64(0), np.int64(0)
        if histories is not None:
            few, many = open_batch(given[0, start : start + n], histories, rooms)
            features[lines, VALUES] = rooms[2].ctypes.data
            features[lines, COUNT] = features[lines, BAGS] = many
            features[lines, SPACE] = lines * n
            features[lines, STRIDE] = features[lines, DIM]
            features[lines, VECTORS] = vectors[at:].ctypes.data
            find(features, lines, 0, many, pieces, parts, rows, piece_of)
        if dense and now - 1 > begun:
            for t in range(len(tasks)):
                bring_task(tasks[t], uses, features, rows, piece_of, arrays, states, now - 1, begun, numbers, paces,
                           roots, decays, like)  # fmt: skip
        for f in range(every):
            pool(features, f, 0, features[f, BAGS], pieces, parts, arrays, rows, piece_of, like)
        if histories is not None:
            pool_histories(features, lines, few, many, histories, rooms, read)
        mean = gaps.dtype.type(0)
        if mean_array >= 0:
            mean = vector(arrays[mean_array, ADDRESS], 0, 1, like)[0]
        slope[0] = scores_and_gradients(
            features, vectors, model, mean, targets[start : start + n], gaps[start : start + n], biased,
            given[:, start : start + n], rarity, histories, rooms, read,
        )  # fmt: skip
        if histories is not None:
            l2, ridge = gaps.dtype.type(2 * model[L2] / n), gaps.dtype.type(2 * model[RIDGE] / n)
            spread_gradients(features, lines, few, many, histories, rooms, read, l2, ridge, rarity[1])
            close_batch(few, many, rooms)
        space, room, base = lay_out(features, pieces, tasks, uses, arrays, rows, piece_of)
        if len(partials) < space:
            partials = np.empty(space, gaps.dtype)
        if len(distinct) < room:
            distinct = np.empty(room, np.int64)
        if len(sums) < base:
            sums = np.empty(base, gaps.dtype)
        for f in range(every):
            if features[f, PROJECTED] >= 0:
                size, bags = partial_size(features, f, pieces), features[f, BAGS]
                for first in range(0, bags, CHUNK):
                    place = features[f, PROJECTED] + first // CHUNK * size
                    narrow(features, f, first, min(first + CHUNK, bags), pieces, parts, arrays, rows, piece_of,
                           narrowed, partials[place : place + size])  # fmt: skip
        for g in range(len(rate_now)):
            rate_now[g] = rates[g, now - begun - 1]
        # All sums first: a part of a product is differentiated with the other parts as they were read.
        found = np.empty(len(tasks), np.int64)
        for t in range(len(tasks)):
            found[t] = add_up(
                tasks[t], uses, features, pieces, parts, arrays, rows, piece_of, narrowed, partials, distinct, sums
            )
        for t in range(len(tasks)):
            update_rows(tasks[t], found[t], kind, arrays, states, distinct, sums, now, begun, numbers, rate_now, paces,
                        roots, decays)  # fmt: skip
        if mean_array >= 0:
            update_rows(mean_task, np.int64(1), kind, arrays, states, first_row, slope, now, begun, numbers, rate_now,
                        paces, roots, decays)  # fmt: skip
