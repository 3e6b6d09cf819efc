"""Measured loss curves: short trainings measure what each table loses, in place of the prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from coset import settings
from coset.errors import InputError

LEAST = 1e-9
"""Predicted losses up to this are rounding errors."""
_POWERS = np.geomspace(0.25, 4, 33)


@dataclass(frozen=True)
class Point:
    """One training with one table compressed and all others full.

    Args:
        predicted: loss of the table by the proxy, as `predicted_losses` gives it.
        measured: by how much the validation metric was worse than with the full table; noise may make it negative.
    """

    predicted: float
    measured: float


@dataclass(frozen=True)
class Curve:
    """`loss = scale · predicted ** power`, in the units of what was measured.

    Example:
        >>> Curve(scale=0.5, power=2.0)(0.1)
        0.005000000000000001
    """

    scale: float
    power: float = 1.0

    def __post_init__(self) -> None:
        settings.check(self, "curve")
        if self.scale < 0 or self.power <= 0:
            raise InputError(f"curve: scale must be 0 or more and power positive, not {self.scale} and {self.power}")

    def __call__(self, predicted: float) -> float:
        """The loss of a candidate with this predicted loss; at least 0."""
        return float(self.scale * max(0.0, predicted) ** self.power)


def fit_curves(points: Mapping[str, Iterable[Point]]) -> dict[str, Curve]:
    """A curve for every table, by least squares: a power on a fixed grid, common to all tables, and a scale each.

    A few trainings of one table are too few to fit a power to, so all tables have one in common. A scale is never
    negative; a table whose points are all below 0, which may be noise, gets a hundredth of the largest scale, so that
    the proxy still ranks its candidates.

    Args:
        points: by table name; those with a predicted loss of `LEAST` or less are left out.

    Raises:
        InputError: a table without a point above `LEAST`, or a point that is not finite.

    Example:
        >>> fit_curves({"user": [Point(0.1, 0.02), Point(0.4, 0.08)]})
        {'user': Curve(scale=0.2, power=1.0)}
    """
    columns: dict[str, np.ndarray] = {}
    for name, given in points.items():
        column = np.array([(point.predicted, point.measured) for point in given], dtype=np.float64).reshape(-1, 2)
        if not np.isfinite(column).all():
            raise InputError(f"table {name!r}: a measured loss must be finite; a training that diverged tells nothing")
        column = column[column[:, 0] > LEAST]
        if not len(column):
            raise InputError(
                f"table {name!r}: no training of it is predicted to lose anything, so there is no curve to fit"
            )
        columns[name] = column
    if not columns:
        raise InputError("curves need points of at least one table")

    def fitted(power: float) -> tuple[float, dict[str, float]]:
        error, scales = 0.0, {}
        for name, column in columns.items():
            x, y = column[:, 0] ** power, column[:, 1]
            scales[name] = max(0.0, float(x @ y) / float(x @ x))
            error += float(np.square(y - scales[name] * x).sum())
        return error, scales

    # Of powers that fit equally well, the one nearest 1: the proxy holds unless the points contradict it.
    power = min(_POWERS, key=lambda power: (round(fitted(power)[0], 15), abs(np.log(power))))
    scales = fitted(power)[1]
    least = max(scales.values()) / 100 or 1e-6  # also where all are 0, so that the proxy decides
    return {name: Curve(float(f"{max(scale, least):.6g}"), float(f"{power:.6g}")) for name, scale in scales.items()}
