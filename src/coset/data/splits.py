"""The rows that train and those that validate: a function of the arguments alone, without a global generator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from coset.errors import InputError, brief
from coset.settings import number, whole

SplitKind = Literal["random", "ordered", "time", "last"]

_ROWS = "the number of rows to split"
_SPLIT, _TUNING = 1, 2  # so that one seed draws two unrelated slices


@dataclass(frozen=True, eq=False)
class Split:
    """Rows that train and rows that validate: int64 row numbers, each ascending, none in both.

    Args:
        training: rows to learn from.
        validation: rows to report on.
        kind: how they were drawn.
        together: see `random_split`.
        times: see `time_split` and `last_split`.
        users: see `last_split`.
    """

    training: np.ndarray
    validation: np.ndarray
    kind: SplitKind = "random"
    together: np.ndarray | None = None
    times: np.ndarray | None = None
    users: np.ndarray | None = None

    @property
    def future(self) -> bool:
        """Whether the validation part comes after the training part, so that it may have ids that training has not
        seen."""
        return self.kind != "random"

    def __len__(self) -> int:
        return len(self.training) + len(self.validation)

    def tuning(self, fraction: float = 0.05, seed: int = 0) -> Split:
        """The training part, split again: a slice of it to tune settings on, so that validation stays unread.

        Args:
            fraction: of the training rows, in (0, 1).
            seed: of the draw; only random splits use it.

        Returns:
            A split of the rows of `training`; its `validation` is the slice for tuning.

        Example:
            >>> len(random_split(1000, validation=0.15, seed=0).tuning(0.1).validation)
            85
        """
        n = len(self.training)
        together, times, users = (
            None if column is None else column[self.training] for column in (self.together, self.times, self.users)
        )
        if self.kind == "ordered":
            inner = ordered_split(n, fraction)
        elif times is None:
            inner = _random(n, fraction, seed, _TUNING, together)
        else:
            inner = time_split(times, fraction) if users is None else last_split(users, times)
        return replace(self, training=self.training[inner.training], validation=self.training[inner.validation])


def random_split(n: int, validation: float, seed: int, together: np.ndarray | None = None) -> Split:
    """A split of `n` rows at random.

    Args:
        n: number of rows.
        validation: share of the rows that validate, in (0, 1); their number is `round(n * validation)`.
        seed: a whole number from 0 on; the same arguments give the same split on every machine.
        together: a number for every row, shape `(n,)`: rows of one number all train or all validate. The number of
            validation rows is then the largest that whole groups reach, at most that; but one group always validates.

    Raises:
        InputError: the share is out of range, a part would be empty, or the seed is negative.

    Example:
        >>> random_split(5, validation=0.4, seed=0).validation.shape
        (2,)
    """
    return _random(whole(_ROWS, n), validation, seed, _SPLIT, together)


def ordered_split(n: int, validation: float) -> Split:
    """A split of `n` rows in file order: the last `round(n * validation)` validate; see `random_split`.

    Right for files in order of time. One sorted by user (as MovieLens is) would give users without training.

    Example:
        >>> ordered_split(5, validation=0.4).validation
        array([3, 4])
    """
    n = whole(_ROWS, n)
    cut = n - _count(n, validation)
    rows = np.arange(n, dtype=np.int64)
    return Split(rows[:cut], rows[cut:], "ordered")


def time_split(times: np.ndarray, validation: float) -> Split:
    """A split by time: the latest rows validate, `round(n * validation)` of them and any more of the same time.

    Args:
        times: of each row, whole numbers, shape `(n,)`.
        validation: share of the rows that validate, in (0, 1).

    Raises:
        InputError: the share is out of range, or so many rows are of one time that none is left to train on.

    Example:
        >>> time_split(np.array([30, 10, 20, 10]), validation=0.25).validation
        array([0])
    """
    times = _column("times", times)
    held = _count(len(times), validation)
    cut = np.partition(times, len(times) - held)[len(times) - held]
    validates = times >= cut
    if validates.all():
        one = times.max() == cut
        raise InputError(
            f"{'all' if one else 'the earliest'} rows are of one time ({cut}), so a split by time leaves none to train "
            f"on; check which column holds the time{'' if one else ', take a smaller share'}, or split at random"
        )
    return Split(np.flatnonzero(~validates), np.flatnonzero(validates), "time", times=times)


def last_split(users: np.ndarray, times: np.ndarray) -> Split:
    """A split where the last row of every user with two rows or more validates: the latest one, and among equal times
    the last in the order of rows.

    Args:
        users: a number for each row, equal for rows of one user, shape `(n,)`.
        times: of each row, whole numbers, likewise.

    Raises:
        InputError: no user has two rows.

    Example:
        >>> last_split(np.array([7, 7, 8]), np.array([20, 10, 5])).validation
        array([0])
    """
    users, times = _column("users", users), _column("times", times)
    if users.shape != times.shape:
        raise InputError(f"users and times of a split must be as many, not {len(users)} and {len(times)}")
    order = np.lexsort((times, users))  # stable: of equal times the last row comes last
    of = users[order]
    ends, again = np.ones(len(of), np.bool_), np.zeros(len(of), np.bool_)
    ends[:-1], again[1:] = of[1:] != of[:-1], of[1:] == of[:-1]
    validation = np.sort(order[ends & again])
    if not len(validation):
        raise InputError("no user has two rows, so none has a last one to leave out; split by time or at random")
    training = np.delete(np.arange(len(users), dtype=np.int64), validation)
    return Split(training, validation, "last", times=times, users=users)


def _random(n: int, fraction: float, seed: int, purpose: int, together: np.ndarray | None = None) -> Split:
    held = _count(n, fraction)
    seed = whole("the seed of a split", seed, most=1 << 128)
    # Raw bits and a sort, not `Generator.permutation`: numpy guarantees the bits for ever, but not the permutation.
    keys = np.random.PCG64(np.random.SeedSequence([seed, purpose])).random_raw(n)
    validates = np.zeros(n, dtype=np.bool_)
    if together is None:
        validates[np.argsort(keys, kind="stable")[:held]] = True
    else:
        together = _column("together", together)
        if len(together) != n:
            raise InputError(f"together must be a number for each of {n} rows, not for {len(together)}")
        _, first, group = np.unique(together, return_index=True, return_inverse=True)
        validates[_fitting(keys[first], np.bincount(group), held)[group]] = True
        if validates.all():
            raise InputError(
                f"all {n} rows are of one user and item, which stay together, so none can be held out; take more data"
            )
    return Split(
        np.flatnonzero(~validates).astype(np.int64), np.flatnonzero(validates).astype(np.int64), "random", together
    )


def _fitting(keys: np.ndarray, sizes: np.ndarray, held: int) -> np.ndarray:
    """The groups that validate: in the order of their keys, each that still fits into `held` rows; the first if none
    fits."""
    taken = np.zeros(len(keys), dtype=np.bool_)
    order = np.argsort(keys, kind="stable")
    count = int(np.searchsorted(np.cumsum(sizes[order]), held, side="right"))
    taken[order[:count]] = True
    left = held - int(sizes[order[:count]].sum())
    for group in order[count:].tolist():
        if not left:
            break
        if sizes[group] <= left:
            taken[group] = True
            left -= int(sizes[group])
    taken[order[0]] |= not taken.any()
    return taken


def _column(what: str, values: Any) -> np.ndarray:
    """Numbers, one a row."""
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "biuf":
        found = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise InputError(f"{what} of a split must be a numpy array of numbers, one a row, not {found}")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise InputError(f"{what} of a split must be numbers, and one of them is NaN")
    return values


def _count(n: int, fraction: float) -> int:
    fraction = number("the share of the rows to hold out", fraction)
    if not 0 < fraction < 1:
        raise InputError(f"the share of the rows to hold out must lie between 0 and 1, not {brief(fraction)}")
    held = round(n * fraction)
    if not 0 < held < n:
        raise InputError(
            f"holding out {fraction:g} of {n} rows leaves {n - held} to train on and {held} held out; "
            "both parts need at least one row: take another share or more data"
        )
    return held
