"""Splits: whole, disjoint, ascending, the same everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coset.data.splits import Split, ordered_split, random_split, time_split
from coset.errors import InputError


def assert_parts(split: Split, rows: np.ndarray) -> None:
    for part in (split.training, split.validation):
        assert part.dtype == np.int64
        assert len(part) > 0
        assert (np.diff(part) > 0).all()
    assert np.array_equal(np.sort(np.concatenate([split.training, split.validation])), rows)


@given(st.integers(10, 500), st.floats(0.1, 0.9), st.integers(0, 2**70))
def test_a_random_split_is_a_partition_of_the_rows(n: int, share: float, seed: int) -> None:
    split = random_split(n, share, seed)
    assert_parts(split, np.arange(n))
    assert len(split.validation) == round(n * share)
    again = random_split(n, share, seed)
    assert np.array_equal(again.validation, split.validation)


@given(st.integers(10, 500), st.floats(0.1, 0.9))
def test_an_ordered_split_validates_on_the_end(n: int, share: float) -> None:
    split = ordered_split(n, share)
    assert_parts(split, np.arange(n))
    assert split.training.max() < split.validation.min()
    assert len(split.validation) == round(n * share)


def test_the_draw_never_changes() -> None:
    split = random_split(1000, 0.15, 0)
    digest = hashlib.sha256(split.validation.astype("<i8").tobytes()).hexdigest()
    assert digest == "79ddd7bbc69eeadcffe6f28b3de65dc4ff44dde1448d5d2685082099020ba256"
    assert split.tuning(0.05, 0).validation[:5].tolist() == [30, 34, 45, 57, 82]


def test_global_generators_neither_steer_nor_move() -> None:
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    first = random_split(100, 0.3, 5).validation
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, random_split(100, 0.3, 5).validation)


def test_seeds_differ_and_validation_rows_are_spread() -> None:
    one, two = random_split(10_000, 0.15, 0), random_split(10_000, 0.15, 1)
    assert len(np.intersect1d(one.validation, two.validation)) == pytest.approx(225, abs=75)
    assert one.validation.mean() == pytest.approx(5_000, abs=300)


@pytest.mark.parametrize("split", [random_split(1000, 0.15, 3), ordered_split(1000, 0.15)])
def test_tuning_stays_inside_the_training_part(split: Split) -> None:
    inner = split.tuning(0.1, seed=3)
    assert_parts(inner, split.training)
    assert len(inner.validation) == 85
    assert inner.kind == split.kind
    assert len(np.intersect1d(inner.validation, split.validation)) == 0
    assert len(split.tuning().validation) == round(850 * 0.05)


def test_tuning_of_an_ordered_split_takes_the_last_training_rows() -> None:
    assert ordered_split(100, 0.2).tuning(0.1).validation.tolist() == list(range(72, 80))


def test_tuning_is_another_draw_than_the_split_of_the_same_seed() -> None:
    inner = random_split(2000, 0.5, 0).tuning(0.5, seed=0)
    outer = random_split(1000, 0.5, 0)
    rows = random_split(2000, 0.5, 0).training
    assert not np.array_equal(inner.validation, rows[outer.validation])


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_shares_outside_of_0_and_1_are_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"must (lie between 0 and 1|be a number), not"):
        random_split(10, share, 0)
    with pytest.raises(InputError, match=r"must (lie between 0 and 1|be a number), not"):
        ordered_split(10, share)


def test_an_empty_part_is_refused() -> None:
    for n, share in ((10, 0.01), (10, 0.99), (1, 0.5), (0, 0.5)):
        with pytest.raises(InputError, match=f"of {n} rows"):
            random_split(n, share, 0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match=r"seed.*-1"):
        random_split(10, 0.5, -1)


@given(st.lists(st.integers(0, 30), min_size=10, max_size=200), st.floats(0.1, 0.9), st.integers(0, 100))
def test_rows_that_belong_together_stay_together(together: list[int], share: float, seed: int) -> None:
    groups = np.array(together)
    if len(set(together)) == 1:
        with pytest.raises(InputError, match=r"all .* rows are of one user and item"):
            random_split(len(groups), share, seed, groups)
        return
    split = random_split(len(groups), share, seed, groups)
    assert_parts(split, np.arange(len(groups)))
    assert not set(groups[split.training]) & set(groups[split.validation])
    over = round(len(groups) * share) - len(split.validation)
    assert 0 <= over < np.bincount(groups).max() or len(set(groups[split.validation])) == 1
    try:
        tuning = split.tuning(0.5, seed)
    except InputError:
        return
    assert_parts(tuning, split.training)
    assert not set(groups[tuning.training]) & set(groups[tuning.validation])


def test_groups_of_one_row_each_are_split_as_rows_are() -> None:
    rows = np.arange(1000)
    assert np.array_equal(random_split(1000, 0.15, 3).validation, random_split(1000, 0.15, 3, rows).validation)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([7, 7, 7, 7], r"all rows are of one time \(7\), .*holds the time, or split at random$"),
        ([7, 7, 7, 9], r"the earliest rows are of one time \(7\), .*, take a smaller share, or split at random$"),
    ],
)
def test_a_smaller_share_is_advised_where_it_helps(times: list[int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        time_split(np.array(times), validation=0.5)
