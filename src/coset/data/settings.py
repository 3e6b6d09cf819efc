"""What to read, how to split it and how to number its ids: the sections of a recipe on data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from coset import settings
from coset.data.attributes import rows_by_id
from coset.data.encoded import Encoded, encode
from coset.data.loading import load_ratings
from coset.data.ratings import Ratings
from coset.data.splits import Split, last_split, ordered_split, random_split, time_split
from coset.data.vocabulary import IdOrder
from coset.errors import InputError


@dataclass(frozen=True)
class DataSettings:
    """The source of ratings.

    Args:
        source: a built-in name or a path.
        user, item, rating: names of the columns of a file; guessed by default.
        separator: between the columns of a text file; guessed by default.
        reader: the source that reads the files (see `coset.data.sources`); found by their first bytes by default.
        user_attributes, item_attributes: names of the columns of a file that describe the user or the item of a row;
            none by default.
        time: name of the column of times, for splits that go by them; guessed by default.
        rating_transform: the name of the transform of ratings that is learned and that errors are measured on, such as
            `"log"` for counts (see `coset.data.transforms`); none by default.
    """

    source: str
    user: str | None = None
    item: str | None = None
    rating: str | None = None
    separator: str | None = None
    reader: str | None = None
    # `None` rather than empty, so that settings without attributes compare equal.
    user_attributes: tuple[str, ...] | None = None
    item_attributes: tuple[str, ...] | None = None
    time: str | None = None
    rating_transform: str | None = None

    def load(self, to_learn: bool = True, timed: bool = False) -> Ratings:
        """The ratings, with their times if `timed` or if their column is named; see `load_ratings`."""
        return load_ratings(
            self.source, user=self.user, item=self.item, rating=self.rating, separator=self.separator,
            reader=self.reader, user_attributes=self.user_attributes, item_attributes=self.item_attributes,
            to_learn=to_learn,
            time=self.time if self.time is not None else timed, rating_transform=self.rating_transform,
        )  # fmt: skip


@dataclass(frozen=True)
class SplitSettings:
    """The rows that validate.

    Args:
        kind: `"random"`, any rows; `"ordered"`, the last rows of the file; `"time"`, the rows of the latest times; or
            `"last"`, the last row of every user, by time.
        validation: share of the rows that validate; without a meaning for `"last"`.
        tuning: if positive, this share of the training part is held out and reported on in place of the validation
            part, so that settings can be chosen without a look at that.
    """

    kind: Literal["random", "ordered", "time", "last"] = "random"
    validation: float = 0.15
    tuning: float = 0.0

    def __post_init__(self) -> None:
        settings.check(self, "split")
        if not 0 < self.validation < 1:
            raise InputError(f"split: validation must lie between 0 and 1, not {self.validation}")
        if not 0 <= self.tuning < 1:
            raise InputError(f"split: tuning must lie between 0 and 1, not {self.tuning}")

    @property
    def timed(self) -> bool:
        """Whether the split needs the times of rows."""
        return self.kind in ("time", "last")

    def split(self, ratings: Ratings, seed: int) -> Split:
        """The split of the rows of `ratings` for this seed, `tuning` left aside.

        Where a user rates an item more than once, a random split keeps these rows on one side: a model that has seen
        one of them almost knows the others.
        """
        if self.kind == "ordered":
            return ordered_split(len(ratings), self.validation)
        if self.timed:
            if ratings.times is None:
                raise InputError(f"{ratings.source or ratings.name}: a split by time needs times, and there are none")
            try:
                if self.kind == "time":
                    return time_split(ratings.times, self.validation)
                return last_split(rows_by_id(ratings.users)[0], ratings.times)
            except InputError as error:
                raise InputError(f"{ratings.source or ratings.name}: {error}") from None
        return random_split(len(ratings), self.validation, seed, ratings.pairs)


@dataclass(frozen=True)
class VocabularySettings:
    """How ids are numbered; see `coset.data.encode`.

    Args:
        user_order, item_order: `"frequency"`, `"first_appearance"` or `"random"`.
        frequencies: the rows that they are counted on: `"training"`, or `"all"` to repeat work that did so.
        unseen: the treatment of ids that the vocabulary lacks: `"error"`, or `"shared"`, one more row for all of them;
            by default `"error"` for a random split, whose vocabulary has all ids, and `"shared"` for others.
    """

    user_order: IdOrder = "frequency"
    item_order: IdOrder = "frequency"
    frequencies: Literal["training", "all"] = "training"
    unseen: Literal["error", "shared"] | None = None

    def __post_init__(self) -> None:
        settings.check(self, "vocabulary")


def prepare(ratings: Ratings, split: SplitSettings, vocabulary: VocabularySettings, seed: int) -> Encoded:
    """Split and number `ratings`. With `split.tuning`, the result has no validation rows."""
    parts = split.split(ratings, seed)
    if split.tuning:
        slices = parts.tuning(split.tuning, seed)
        ratings = ratings.select(parts.training)
        parts = Split(
            np.searchsorted(parts.training, slices.training),
            np.searchsorted(parts.training, slices.validation),
            slices.kind,
        )
    return encode(
        ratings,
        parts,
        user_order=vocabulary.user_order,
        item_order=vocabulary.item_order,
        frequencies=vocabulary.frequencies,
        known="all" if vocabulary.frequencies == "all" else None,
        unseen=vocabulary.unseen,
    )
