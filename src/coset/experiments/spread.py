"""Intervals of means over seeds."""

from __future__ import annotations

from math import sqrt


def half_interval(std: float | None, values: int) -> float | None:
    """Half the width of the 95 % interval of the mean of so many values with standard deviation `std` (ddof = 1); None
    where `std` is None.

    Example:
        >>> round(half_interval(1.0, 3), 3)
        2.484
    """
    return None if std is None else student(values) * std / sqrt(values)


def student(values: int) -> float:
    """The 97.5 % quantile of Student's t distribution for so many values: a mean lies at most this many standard errors
    from the true one in 95 of 100 cases.

    Example:
        >>> student(3), student(1000)
        (4.303, 1.96)
    """
    degrees = values - 1
    if degrees <= len(_T):
        return _T[degrees - 1]
    return 1.96 + 2.4 / degrees if degrees < 500 else 1.96


_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
      2.110, 2.101, 2.093, 2.086)  # fmt: skip
