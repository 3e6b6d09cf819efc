"""Label placement: names keep clear of each other, of points and of the frame, and stay near what they name."""

from __future__ import annotations

import numpy as np
import pytest

from coset.report.label_places import Array, overlaps, place_labels

FRAME = np.array([0.0, 0.0, 1200.0, 700.0])
NO_LINES = np.zeros((0, 4))
GAP = 10.0


def squares(points: Array, half: float = 8.0) -> Array:
    return np.hstack([points - half, points + half])


def collisions(boxes: Array, obstacles: Array) -> int:
    """Pairs of labels that overlap, and labels over obstacles."""
    return int(np.triu(overlaps(boxes, boxes), 1).sum() + overlaps(boxes, obstacles).sum())


def inside(boxes: Array) -> bool:
    return bool((boxes[:, :2] >= FRAME[:2]).all() and (boxes[:, 2:] <= FRAME[2:]).all())


def test_a_lone_label_is_right_beside_its_point() -> None:
    points, sizes = np.array([[300.0, 300.0]]), np.array([[80.0, 16.0]])
    (box,) = place_labels(points, sizes, squares(points), NO_LINES, FRAME, GAP)
    assert box == pytest.approx([310, 292, 390, 308])


def test_a_label_at_the_right_edge_goes_to_the_left() -> None:
    points, sizes = np.array([[1190.0, 300.0]]), np.array([[80.0, 16.0]])
    (box,) = place_labels(points, sizes, squares(points), NO_LINES, FRAME, GAP)
    assert box == pytest.approx([1100, 292, 1180, 308])


def test_a_label_keeps_off_a_line() -> None:
    points, sizes = np.array([[300.0, 300.0]]), np.array([[80.0, 16.0]])
    line = np.array([[300.0, 300.0, 600.0, 301.0]])
    (box,) = place_labels(points, sizes, squares(points), line, FRAME, GAP)
    assert box == pytest.approx([210, 292, 290, 308])


@pytest.mark.parametrize("seed", range(5))
def test_thirty_scattered_labels_do_not_collide(seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.uniform([50, 50], [1150, 650], size=(30, 2))
    sizes = random.uniform([50, 16], [170, 34], size=(30, 2))
    boxes = place_labels(points, sizes, squares(points), NO_LINES, FRAME, GAP)
    assert collisions(boxes, squares(points)) == 0
    assert inside(boxes)
    assert boxes[:, 2:] - boxes[:, :2] == pytest.approx(sizes)


@pytest.mark.parametrize("count", [2, 8, 14])
def test_labels_of_nearly_the_same_point_do_not_collide(count: int) -> None:
    points = np.array([600.0, 350.0]) + np.random.default_rng(count).normal(size=(count, 2))
    sizes = np.full((count, 2), (110.0, 16.0))
    boxes = place_labels(points, sizes, squares(points), NO_LINES, FRAME, GAP)
    assert collisions(boxes, squares(points)) == 0
    assert inside(boxes)
    edges = np.clip(points, boxes[:, :2], boxes[:, 2:])
    assert np.hypot(*(edges - points).T).max() < 200


def test_the_same_points_get_the_same_boxes() -> None:
    points = np.random.default_rng(0).uniform(100, 500, size=(20, 2))
    sizes = np.full((20, 2), (90.0, 16.0))
    first, second = (place_labels(points, sizes, squares(points), NO_LINES, FRAME, GAP) for _ in range(2))
    assert np.array_equal(first, second)


def test_overlaps_do_not_count_touching() -> None:
    boxes = np.array([[0.0, 0, 2, 2], [2, 0, 4, 2], [1, 1, 3, 3]])
    assert overlaps(boxes, boxes).tolist() == [[True, False, True], [False, True, True], [True, True, True]]
