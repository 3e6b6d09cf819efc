"""Where to write the names of points in a picture so that no name covers another name, a point or a line."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_OVERLAP, _OUTSIDE, _COVER, _THROUGH, _CROSSING, _ON_LINE = 400.0, 1000.0, 200.0, 40.0, 15.0, 8.0
_RINGS, _TURNS, _SWEEPS = 16, 24, 12
_STEP = 1.3  # from ring to ring, in gaps
_RIGHT, _LEFT, _ABOVE_OR_BELOW, _ASLANT = 0.0, 0.3, 0.35, 0.5  # a name on the right reads best


def place_labels(points: Array, sizes: Array, obstacles: Array, lines: Array, frame: Array, gap: float) -> Array:
    """Boxes for labels near their points, clear of each other and of everything drawn.

    Each label tries places on rings around its point and takes the cheapest: leaving the frame costs most, then
    covering a label, an obstacle or a line, then lines to labels that cross, then distance. Labels then move
    again, in turn, until none finds a better place; so the same points always get the same boxes.

    Args:
        points: `(n, 2)`, x and y of the named points.
        sizes: `(n, 2)`, width and height of each label.
        obstacles: `(m, 4)` boxes that no label should cover: x0, y0, x1, y1.
        lines: `(k, 4)` segments that no label should lie on: from x0, y0 to x1, y1.
        frame: the box that all labels should stay in.
        gap: distance between a point and a label right beside it, in the unit of all the others.

    Returns:
        `(n, 4)` boxes of the given sizes.
    """
    options = [_candidates(point, size, gap) for point, size in zip(points, sizes, strict=True)]
    fixed = [_fixed_cost(boxes, obstacles, lines, frame) for boxes in options]
    crowd = [int((np.hypot(*(points - point).T) < 25 * gap).sum()) for point in points]
    order = sorted(range(len(points)), key=lambda place: (-crowd[place], place))  # the hardest first
    chosen = [-1] * len(points)
    placed = np.zeros((len(points), 4))
    for _ in range(_SWEEPS):
        moved = False
        for place in order:
            others = np.array([other for other in order if other != place and chosen[other] >= 0], dtype=int)
            cost = fixed[place] + _mutual_cost(options[place], points[place], placed[others], points[others])
            cheapest = int(cost.argmin())
            if chosen[place] < 0 or cost[cheapest] < cost[chosen[place]] - 1e-9:
                chosen[place], placed[place], moved = cheapest, options[place][cheapest], True
        if not moved:
            break
    return placed


def _candidates(point: Array, size: Array, gap: float) -> Array:
    """Boxes around a point in rings, the nearest ring first, each from the right and then counterclockwise."""
    reach = np.repeat(gap * (1 + _STEP * np.arange(_RINGS)), _TURNS)[:, None]
    angle = np.tile(2 * math.pi * np.arange(_TURNS) / _TURNS, _RINGS)
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    centre = point + reach * direction + 0.5 * size * np.clip(1.6 * direction, -1, 1)
    return np.hstack([centre - size / 2, centre + size / 2])


def _distances() -> Array:
    """The cost of the distance and direction of each candidate."""
    turns = np.full(_TURNS, _ASLANT)
    turns[[0, _TURNS // 4, _TURNS // 2, 3 * _TURNS // 4]] = _RIGHT, _ABOVE_OR_BELOW, _LEFT, _ABOVE_OR_BELOW
    cost: Array = (_STEP * np.arange(_RINGS)[:, None] + turns).ravel()
    return cost


def _fixed_cost(boxes: Array, obstacles: Array, lines: Array, frame: Array) -> Array:
    """The cost of each box apart from other labels."""
    outside = np.maximum(frame[:2] - boxes[:, :2], 0).sum(1) + np.maximum(boxes[:, 2:] - frame[2:], 0).sum(1)
    cost: Array = (
        _distances()
        + np.where(outside > 0, _OUTSIDE + outside, 0)
        + _COVER * overlaps(boxes, obstacles).sum(1)
        + _ON_LINE * _meet(lines, boxes).sum(0)
    )
    return cost


def _mutual_cost(boxes: Array, point: Array, placed: Array, points: Array) -> Array:
    """The cost of each box from the labels that are placed already, and from the lines to their points."""
    mine = np.hstack([np.broadcast_to(point, (len(boxes), 2)), np.clip(point, boxes[:, :2], boxes[:, 2:])])
    theirs = np.hstack([points, np.clip(points, placed[:, :2], placed[:, 2:])])
    through = _meet(mine, placed).sum(1) + _meet(theirs, boxes).sum(0)
    cost: Array = (
        _OVERLAP * overlaps(boxes, placed).sum(1) + _THROUGH * through + _CROSSING * _cross(mine, theirs).sum(1)
    )
    return cost


def overlaps(first: Array, second: Array) -> Mask:
    """Which boxes of `first` overlap which of `second`, as a matrix; boxes that only touch do not."""
    a, b = first[:, None], second[None]
    beside: Mask = (a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:])
    return np.asarray(beside.all(axis=-1))


def _meet(segments: Array, boxes: Array) -> Mask:
    """Which segments come into which boxes, as a matrix."""
    start = segments[:, None, :2]
    step = segments[:, None, 2:] - start
    step = np.where(np.abs(step) < 1e-9, 1e-9, step)
    low, high = (boxes[None, :, :2] - start) / step, (boxes[None, :, 2:] - start) / step
    enter, leave = np.minimum(low, high).max(-1), np.maximum(low, high).min(-1)
    result: Mask = (np.maximum(enter, 0) < np.minimum(leave, 1)) & (np.abs(step) > 1e-6).any(-1)
    return result


def _cross(first: Array, second: Array) -> Mask:
    """Which segments of `first` cross which of `second`, as a matrix."""
    a, b, c, d = first[:, None, :2], first[:, None, 2:], second[None, :, :2], second[None, :, 2:]
    result: Mask = (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)
    return result


def _side(a: Array, b: Array, c: Array) -> Array:
    """On which side of the line a–b the point c lies, by its sign."""
    u, v = b - a, c - a
    result: Array = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    return result
