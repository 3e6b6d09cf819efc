"""The order of batches: every row once, the same for the same numbers, and another for other ones."""

from __future__ import annotations

import numpy as np
import pytest

from coset.data.clicks import order
from coset.data.clicks.order import BatchOrder
from coset.errors import InputError


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "BLOCK", 4)
    monkeypatch.setattr(order, "WINDOW", 20)


def rows_of(made: BatchOrder) -> np.ndarray:
    found = []
    for window in range(-(-made.batches // made.per_window)):
        rows = np.concatenate([np.arange(start, stop) for start, stop in made.ranges(window)])
        shuffled = made.shuffled(window, len(rows))
        found.append(rows if shuffled is None else rows[shuffled])
    return np.concatenate(found)


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 19, 20, 21, 97, 100])
@pytest.mark.parametrize("batch_size", [1, 3, 20, 33, 1000])
def test_every_row_comes_once(rows: int, batch_size: int) -> None:
    for seed in (None, 0, 7):
        made = rows_of(BatchOrder(rows, batch_size, seed))
        assert np.array_equal(np.sort(made), np.arange(rows))
        if seed is None:
            assert np.array_equal(made, np.arange(rows))


def test_seed_epoch_and_batch_size_make_the_order() -> None:
    first = rows_of(BatchOrder(97, 6, 1, 0))
    assert np.array_equal(first, rows_of(BatchOrder(97, 6, 1, 0)))
    for other in (BatchOrder(97, 6, 2, 0), BatchOrder(97, 6, 1, 1), BatchOrder(97, 7, 1, 0)):
        assert not np.array_equal(first, rows_of(other))


def test_few_rows_are_shuffled_wholly() -> None:
    places = np.mean([rows_of(BatchOrder(20, 5, seed))[0] for seed in range(400)])
    assert 8 < places < 11  # 9.5 ± 0.29


def test_rows_of_a_window_come_from_all_over() -> None:
    first = np.concatenate([np.arange(*each) for each in BatchOrder(4000, 5, 0).ranges(0)])
    assert len(first) == 20
    assert first.max() - first.min() > 1000


def test_bad_numbers() -> None:
    for numbers in ((0, 1), (1, 0)):
        with pytest.raises(InputError, match="at least 1"):
            BatchOrder(*numbers)
    with pytest.raises(InputError, match="seed must be at least 0, not -1"):
        BatchOrder(1, 1, -1)
