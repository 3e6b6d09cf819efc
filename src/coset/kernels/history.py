"""Histories within the loop of a dot model.

Each distinct user of a batch is pooled once, from vectors that are made once for each distinct item. A rating is
predicted from the history without its own item, which is not there when a rating that nobody knows is predicted.
"""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled
from coset.kernels.layout import DIM, VECTORS
from coset.kernels.memory import vector


def rooms_for(batch, users, items, width, dtype):
    """Room for batches of so many ratings: `rooms`, for numbers, and `read`, for vectors.

    Returns:
        rooms: `slot`, the number of each rating's user; `users` and `items`, who they are; `times`, how many ratings
            each user has; `user_at` and `item_at`, the number of each user and item, -1 between batches.
        read: `slot` again; `sums`, what each user's history sums up to, and its gradient; `rows`, one vector an item,
            and what the gradients of items are less by; how often each item was looked up; what a rating's user has of
            the history.
    """
    most = min(batch, users)
    slot = np.empty(batch, np.int64)
    rooms = (
        slot, np.empty(most, np.int64), np.empty(items, np.int64), np.empty(most, np.int64),
        np.full(users, -1, np.int32), np.full(items, -1, np.int32),
    )  # fmt: skip
    read = (
        slot, np.empty((most, width), dtype), np.empty((most, width), dtype), np.empty((items, width), dtype),
        np.empty((items, width), dtype), np.empty(items, dtype), np.empty(width, dtype),
    )  # fmt: skip
    return rooms, read


@compiled
def open_batch(ids, histories, rooms):
    """Number the distinct users of a batch, and the distinct items of their histories, as they come; how many of both.

    Args:
        histories: `begins`, int64, shape `(users + 1,)`, and the `items` between them, int32; `root`, one over the root
            of every number from 0 on, 0 for 0; and `each`, one over the length of each user's history.
        rooms: see `rooms_for`.
    """
    begins, entries, _, _ = histories
    slot, users, items, times, user_at, item_at = rooms
    few, many, all_items = np.int64(0), np.int64(0), len(item_at)
    for i in range(len(ids)):
        user = ids[i]
        s = user_at[user]
        if s < 0:
            s = few
            user_at[user], users[s], times[s] = s, user, 0
            few += 1
            if many < all_items:
                for k in range(begins[user], begins[user + 1]):
                    item = entries[k]
                    if item_at[item] < 0:
                        item_at[item], items[many] = many, item
                        many += 1
        slot[i] = s
        times[s] += 1
    return few, many


@compiled
def close_batch(few, many, rooms):
    """Forget the numbers that `open_batch` gave."""
    _, users, items, _, user_at, item_at = rooms
    for s in range(few):
        user_at[users[s]] = -1
    for m in range(many):
        item_at[items[m]] = -1


@compiled
def pool_histories(features, f, few, many, histories, rooms, read):
    """The sum of the vectors of feature f, those of the distinct items, over each distinct user's history. Each counts
    as the sum of what its method gives. Gradients begin at 0."""
    begins, entries, _, _ = histories
    _, users, _, _, _, item_at = rooms
    _, sums, gradients, rows, less, _, moved = read
    width, dim, base = len(moved), features[f, DIM], rows.ctypes.data
    for m in range(many):
        given = vector(features[f, VECTORS], m * dim, dim, moved)
        for e in range(width):
            rows[m, e] = given[e]
            less[m, e] = 0
        for e in range(width, dim):
            rows[m, e % width] += given[e]
    for s in range(few):
        first, last = begins[users[s]], begins[users[s] + 1]
        into = vector(sums.ctypes.data, s * width, width, moved)
        for e in range(width):
            into[e] = gradients[s, e] = 0
        fours = first + (last - first) // 4 * 4
        for k in range(first, fours, 4):
            one = vector(base, np.int64(item_at[entries[k]]) * width, width, moved)
            two = vector(base, np.int64(item_at[entries[k + 1]]) * width, width, moved)
            three = vector(base, np.int64(item_at[entries[k + 2]]) * width, width, moved)
            four = vector(base, np.int64(item_at[entries[k + 3]]) * width, width, moved)
            for e in range(width):
                into[e] += (one[e] + two[e]) + (three[e] + four[e])
        for k in range(fours, last):
            one = vector(base, np.int64(item_at[entries[k]]) * width, width, moved)
            for e in range(width):
                into[e] += one[e]


@compiled
def move(i, item, histories, rooms, read):
    """What the user of the i-th rating of a batch has of the history but for `item`, into the last of `read`; the
    factor of the sum, and the number of the item in the batch, or -1 where it is in no history of the user."""
    begins, entries, root, _ = histories
    slot, users, _, _, _, item_at = rooms
    _, sums, _, rows, _, _, moved = read
    s = slot[i]
    low, high = begins[users[s]], begins[users[s] + 1]
    left = high - low
    while low < high:
        middle = (low + high) // 2
        if entries[middle] < item:
            low = middle + 1
        else:
            high = middle
    m = np.int64(-1)
    if low < begins[users[s] + 1] and entries[low] == item:
        m = np.int64(item_at[item])
        left -= 1
    factor = root[left]
    for e in range(len(moved)):
        moved[e] = sums[s, e]
    if m >= 0:
        for e in range(len(moved)):
            moved[e] -= rows[m, e]
    for e in range(len(moved)):
        moved[e] *= factor
    return factor, m


@compiled
def spread_gradients(features, f, few, many, histories, rooms, read, l2, ridge, rarity):
    """From the gradients of the sums over histories to those of the vectors of feature f, in their place, with their
    penalty.

    Args:
        l2, ridge: the factors of a looked-up vector in the gradient of a batch.
        rarity: one over the training rows of items, where there is a ridge; else empty.
    """
    begins, entries, _, each = histories
    _, users, items, times, _, item_at = rooms
    _, _, gradients, _, rows, weights, moved = read
    width, dim, base = len(moved), features[f, DIM], rows.ctypes.data
    for m in range(many):
        weights[m] = 0
    for s in range(few):
        user = users[s]
        own = vector(gradients.ctypes.data, s * width, width, moved)
        lookups = moved.dtype.type(times[s]) * each[user]
        for k in range(begins[user], begins[user + 1]):
            m = np.int64(item_at[entries[k]])
            weights[m] += lookups
            row = vector(base, m * width, width, moved)
            for e in range(width):
                row[e] += own[e]
    for m in range(many):
        held = l2 + ridge * rarity[items[m]] if len(rarity) else l2
        held *= weights[m]
        given = vector(features[f, VECTORS], m * dim, dim, moved)
        for e in range(dim):
            given[e] = held * given[e] + rows[m, e % width]
