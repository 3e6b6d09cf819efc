"""The contract between a collection and the engine that looks its tables up.

A collection passes the features that its engine knows to `Engine.look_up`, and looks up all others by plain torch. So
models use collections only, and a new engine is a new file here: it finds vectors, keeps the gradients that come back
until the step of the optimizer that owns the tables, and knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class Lookup(NamedTuple):
    """The lookup of one feature in a call: ids of one dimension, contiguous, int64 or int32.

    Args:
        feature: its number.
        values: the ids.
        offsets: where bags begin, and, last, the number of ids, int64; None where every id is a bag of its own.
        weights: a factor for each id, of the type of the vectors, or None.
        mean: whether bags are averaged.
        is_open: whether the last offset is lacking, and nobody has checked them; for an engine that `checks_bags`.
    """

    feature: int
    values: Tensor
    offsets: Tensor | None = None
    weights: Tensor | None = None
    mean: bool = False
    is_open: bool = False

    @property
    def bags(self) -> int:
        """The number of vectors that it gives."""
        return self.values.shape[0] if self.offsets is None else self.offsets.shape[0] - 1 + self.is_open


class Engine(Protocol):
    """Looks up the features of one collection."""

    @property
    def numbers(self) -> Mapping[str, int]:
        """The features that it looks up, by name, and the number that a `Lookup` calls each by."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The type of the vectors, and of weights of ids."""
        ...

    @property
    def checks_bags(self) -> bool:
        """Whether it finds out by itself that offsets do not cut ids into bags."""
        ...

    def look_up(self, asked: Sequence[Lookup] | Tensor, joined: bool) -> Tensor:
        """Vectors of all lookups in one tensor.

        Args:
            asked: lookups of distinct features; or one id a bag of every feature, a matrix `(features, bags)`.
            joined: whether all have the same number of bags, and their vectors are to stand side by side: shape
                `(bags, sum of the dims)`; else one after the other, in one dimension.

        Raises:
            IndexError: an id out of range; it names the table, the id and the range.
        """
        ...

    def one_each(self, given: dict[str, Any], joined: bool) -> Tensor | Sequence[Tensor] | None:
        """A shorter way to look up one id a bag of several features, all with as many bags; None where the engine has
        none for what is given, which may be anything. Errors are left to `look_up`.

        Args:
            given: ids of one dimension by feature.
            joined: whether vectors are to stand side by side, as of `look_up`; else those of each feature are returned,
                of shape `(bags, dim)`.
        """
        ...


class Owned(Engine, Protocol):
    """One that keeps the gradients of its vectors for the optimizer that owns the tables."""

    @property
    def optimizer(self) -> Any:
        """The optimizer that owns the tables."""
        ...

    def forget_checks(self) -> None:
        """Check the tables again when they are next read: other values were loaded."""
        ...
