"""Logarithms, for counts: a few ids of any play count are a hundred times the usual one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from coset.data.transforms.base import Transform, register_transform


@register_transform("log")
class Log(Transform):
    """log(1 + rating), the natural logarithm: 0 for a count of 0, and about the logarithm of large ones.

    Between counts of 1 and 2 there is as much as between 100 and 150, so a squared error is one of ratios, and not of
    the few largest counts alone. The way back of a mean of logarithms is a geometric mean, which is below the mean of
    the counts themselves.
    """

    formula: ClassVar[str] = "log(1 + rating)"
    needs: ClassVar[str] = "ratings of 0 or more"
    inverse: ClassVar[str | None] = "expm1"

    def takes(self, ratings: np.ndarray) -> np.ndarray:
        """Whether each is 0 or more."""
        return np.asarray(ratings >= 0)

    def forward(self, ratings: np.ndarray) -> np.ndarray:
        """log(1 + rating)."""
        return np.log1p(np.asarray(ratings, np.float64))

    def back(self, values: np.ndarray) -> np.ndarray:
        """exp(value) - 1."""
        return np.expm1(np.asarray(values, np.float64))
