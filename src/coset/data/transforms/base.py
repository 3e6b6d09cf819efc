"""The contract of a transform: a scale on which ratings are learned in place of their own, and the way back.

A new transform is one new file in this folder, or of another package through the entry-point group `coset.transforms`:
a class with `@register_transform(name)`. `Ratings` hold what the data say and name their transform; whatever learns or
scores takes `Ratings.targets`, and `coset predict` goes back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

import numpy as np

from coset.registry import Registry

T = TypeVar("T", bound="Transform")


class Transform(ABC):
    """A function of a rating that grows with it, and its inverse.

    Attributes:
        name: by which it is registered, and chosen.
        formula: what it makes of a rating, in a sentence.
        needs: the ratings that it takes, in a sentence.
        inverse: the way back as an artifact names it, which other programs must know: `"expm1"`; None for one that they
            do not.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    needs: ClassVar[str]
    inverse: ClassVar[str | None] = None

    @abstractmethod
    def takes(self, ratings: np.ndarray) -> np.ndarray:
        """Whether it can transform each of these ratings: booleans, shape `(rows,)`."""

    @abstractmethod
    def forward(self, ratings: np.ndarray) -> np.ndarray:
        """The transformed ratings, float64, of the same shape."""

    @abstractmethod
    def back(self, values: np.ndarray) -> np.ndarray:
        """The ratings of transformed ones, float64, of the same shape."""


TRANSFORMS: Registry[Transform] = Registry("transform", "coset.data.transforms", group="coset.transforms")


def register_transform(name: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: make a transform known by `name`."""

    def enter(cls: type[T]) -> type[T]:
        TRANSFORMS.add(name, cls)
        return cls

    return enter


def transform_named(name: str) -> Transform:
    """The transform of that name.

    Raises:
        InputError: there is none; the nearest is suggested.

    Example:
        >>> transform_named("log").formula
        'log(1 + rating)'
    """
    return TRANSFORMS.find(name)()
