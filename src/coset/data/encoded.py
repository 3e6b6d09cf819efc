"""From raw ratings and a split to the input of a model: ids, targets and the two vocabularies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from coset.data.ratings import Ratings
from coset.data.splits import Split
from coset.data.vocabulary import IdOrder, Known, Unseen, Vocabulary
from coset.errors import InputError
from coset.settings import of_kind


@dataclass(frozen=True, eq=False)
class Encoded:
    """Ratings as tensors, all rows in file order; `split` says which train and which validate.

    Args:
        ratings: the raw data.
        split: row numbers of the training and the validation part.
        user: vocabulary of the users.
        item: vocabulary of the items.
        users: user ids, int64, shape `(rows,)`.
        items: item ids, likewise.
        targets: ratings on the scale of their transform, float32, likewise.
    """

    ratings: Ratings
    split: Split
    user: Vocabulary
    item: Vocabulary
    users: torch.Tensor = field(repr=False)
    items: torch.Tensor = field(repr=False)
    targets: torch.Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.targets)


def encode(
    ratings: Ratings,
    split: Split,
    *,
    user_order: IdOrder = "frequency",
    item_order: IdOrder = "frequency",
    frequencies: Literal["training", "all"] = "training",
    known: Known | None = None,
    unseen: Unseen | None = None,
) -> Encoded:
    """Build both vocabularies, with the codes of attributes where the data have some, and look every row up.

    Args:
        ratings: the raw data.
        split: of its rows.
        user_order: what user ids are ordered by (see `Vocabulary.build`).
        item_order: what item ids are ordered by.
        frequencies: rows that frequencies are counted on; `"all"`, which lets validation rows influence the tables, is
            for repeating work that did so.
        known: rows that ids are taken from. By default `"all"` for a random split, whose validation rows are of the
            same ids; `"training"` for others, whose validation rows are the future.
        unseen: the treatment of other ids, by default `"error"` for a random split and `"shared"` for others.

    Raises:
        InputError: the split is of another number of rows, or an id is unseen under `"error"`.

    Example:
        >>> from coset.data import ordered_split
        >>> data = Ratings("tiny", [1, 1, 2, 2], ["a", "b", "a", "c"], [5, 3, 4, 1])
        >>> encode(data, ordered_split(4, validation=0.25)).items
        tensor([0, 1, 0, 2])
    """
    of_kind("ratings", ratings, Ratings, "coset.data.Ratings")
    of_kind("split", split, Split, "a coset.data.Split")
    if len(split) != len(ratings):
        raise InputError(f"{ratings.name}: a split of {len(split)} rows for data of {len(ratings)} rows")
    future = split.future
    known = known or ("training" if future else "all")
    unseen = unseen or ("shared" if future else "error")
    if frequencies not in ("training", "all"):
        raise InputError(f"frequencies are counted on 'training' or on 'all' rows, not {frequencies!r}")
    if frequencies == "all" and known == "training":
        raise InputError("frequencies='all' counts ids that known='training' leaves out; choose known='all'")
    rows = split.training if frequencies == "training" else None
    user = Vocabulary.build(
        ratings.user_name, ratings.users, training=rows, order=user_order, known=known, unseen=unseen
    )
    item = Vocabulary.build(
        ratings.item_name, ratings.items, training=rows, order=item_order, known=known, unseen=unseen
    )
    user, item = (
        vocabulary if attributes is None else replace(vocabulary, attributes=attributes.codes(vocabulary))
        for vocabulary, attributes in ((user, ratings.user_attributes), (item, ratings.item_attributes))
    )
    return Encoded(ratings, split, user, item, *look_up(ratings, user, item))


def look_up(ratings: Ratings, user: Vocabulary, item: Vocabulary) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """User ids, item ids (int64) and targets (float32) of `ratings` by given vocabularies, shape `(rows,)` each.

    For other data of the same schema, such as a later file. Whole numbers and their decimal text count as the
    same raw id: whether a file's column is read as numbers or as text depends on all of its values.

    Raises:
        InputError: an id is unseen and its vocabulary refuses such ids.
    """
    of_kind("ratings", ratings, Ratings, "coset.data.Ratings")
    for what, vocabulary in (("user", user), ("item", item)):
        of_kind(what, vocabulary, Vocabulary, "a coset.data.Vocabulary")
    try:
        users, items = user.lookup(ratings.users, convert=True), item.lookup(ratings.items, convert=True)
    except InputError as error:
        raise InputError(f"{ratings.source or ratings.name}: {error}") from None
    return torch.from_numpy(users), torch.from_numpy(items), torch.from_numpy(ratings.targets.copy())
