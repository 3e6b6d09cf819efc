"""How a log is prepared: the split, the vocabularies or hashes, and the transformation of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from coset import settings
from coset.errors import InputError, brief, unknown

_MOST = (1 << 63) - 1


@dataclass(frozen=True)
class PrepareSettings:
    """How a log is prepared.

    Args:
        split: `"random"`, any rows; `"ordered"`, the last rows of the log; or `"time"`, the rows with the highest
            values of the schema's `time` column.
        validation: share of the rows that validate; 0 for none. A random split draws every row independently, so the
            share is met only approximately.
        seed: of a random split.
        min_frequency: a category that has fewer training rows gets no id of its own.
        max_size: the most categories of a feature that get an id of their own, the most frequent ones; the ids of
            missing and of unseen ones are extra.
        unseen: the treatment of categories without an id: `"shared"` gives them the last id, `"error"` refuses them.
        hashing: numbers of buckets by feature, where `"*"` stands for all that are not named. These features get no
            vocabulary: the id of a category is its bucket, `MultiplyShift(buckets, hash_seed)` of its key (see
            `coset.kernels.parse.categories`). Missing ones get the bucket after the last.
        hash_seed: which hash function; 0 … 2^32 - 1.
        log: whether to replace a number x by sign(x) · log(1 + |x|).
        standardise: whether to subtract the mean of the training rows from numbers, and divide by their standard
            deviation.
        indicators: whether a numeric column that misses values in the training part gets a second one, named
            `<column>:missing`, with 1 where a value is missing and 0 elsewhere. The missing value itself becomes 0,
            which is the mean where numbers are standardised.
    """

    split: Literal["random", "ordered", "time"] = "random"
    validation: float = 0.15
    seed: int = 0
    min_frequency: int = 1
    max_size: int | None = None
    unseen: Literal["shared", "error"] = "shared"
    hashing: Mapping[str, int] | None = field(default=None)
    hash_seed: int = 0
    log: bool = True
    standardise: bool = True
    indicators: bool = True

    def __post_init__(self) -> None:
        settings.check(self, "prepare")
        if not 0 <= self.validation < 1:
            raise InputError(f"prepare: validation must be 0 or more and less than 1, not {self.validation}")
        settings.check_range("prepare: seed", self.seed, 0, settings.LARGEST_SEED)
        settings.check_range("prepare: min_frequency", self.min_frequency, 1, _MOST)
        settings.check_range("prepare: hash_seed", self.hash_seed, 0, (1 << 32) - 1)
        if self.max_size is not None:
            settings.check_range("prepare: max_size", self.max_size, 1, _MOST)
        if self.unseen == "error" and (self.min_frequency > 1 or self.max_size is not None):
            raise InputError("prepare: min_frequency and max_size leave categories without an id, so unseen='shared'")
        if self.unseen == "error" and ALL in (self.hashing or {}):
            raise InputError("prepare: hashes have a bucket for every category, so none is unseen; leave unseen out")
        for feature, buckets in (self.hashing or {}).items():
            settings.check_range(f"prepare: buckets of {brief(feature)}", buckets, 1, 1 << 31)

    def buckets(self, feature: str) -> int | None:
        """The number of buckets of a feature, or None where it has a vocabulary."""
        hashing = self.hashing or {}
        return hashing.get(feature, hashing.get(ALL))

    def check_features(self, features: tuple[str, ...]) -> None:
        """Raise an `InputError` for a hashed feature that does not exist."""
        for name in self.hashing or {}:
            if name not in features and name != ALL:
                raise unknown("feature to hash", name, features)


ALL = "*"
"""Stands for all features that are not named."""


def hashing_of(words: Sequence[str]) -> dict[str, int] | None:
    """Buckets by feature, from the words of the command line.

    Raises:
        InputError: a word is neither a number nor a feature with one.

    Example:
        >>> hashing_of(["1000", "C3=50000"])
        {'*': 1000, 'C3': 50000}
    """
    found = {}
    for word in words:
        name, _, buckets = word.rpartition("=")
        if not (buckets.isascii() and buckets.isdigit()):
            raise InputError(f"--hash must be a number of buckets, or FEATURE=BUCKETS, such as C3=100000, not {word!r}")
        found[name.strip() or ALL] = int(buckets)
    return found or None
