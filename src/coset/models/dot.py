"""The dot model: matrix factorisation with tables stored by any method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from math import log
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from coset import settings
from coset.errors import InputError, Unsuitable
from coset.methods import Blocks, Full, Hashing, Method
from coset.models.history import Histories
from coset.models.ridge import RidgeBias
from coset.schema import Component, Table
from coset.storage import StoredRows
from coset.tables import EmbeddingCollection

MAX_DIM = 65536
"""Widest vectors that are accepted; wider ones are probably a typing error."""


@dataclass(frozen=True)
class DotSettings:
    """Choices of a dot model.

    Args:
        embedding_dim: elements of a vector; 0 leaves the dot product out, which makes a bias-only model.
        biases: whether one bias an id is added to the dot product.
        output: `"sigmoid"`, the score squashed to the range of ratings, or `"linear"`, the score itself, cut to
            that range when predicting but not when training.
        low, high: the range of ratings; the range in the training part by default.
        std: standard deviation of the elements of fresh vectors.
        history: how many items that a user rated are read beside the user's vector, at most (SVD++); 0 for none, and
            without vectors there are none either.
        bias_ids: how many users and how many items, of the first ids, have a bias of their own; the others of a side
            share one. By default all have.
    """

    embedding_dim: int = 64
    biases: bool = False
    output: Literal["sigmoid", "linear"] = "sigmoid"
    low: float | None = None
    high: float | None = None
    std: float = 0.05
    history: int = 0
    bias_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        settings.check(self, "model")
        if self.embedding_dim < 0:
            raise InputError(f"model: embedding_dim must be 0 or more, not {self.embedding_dim}")
        if self.embedding_dim > MAX_DIM:
            raise InputError(f"model: embedding_dim must be at most {MAX_DIM}, not {self.embedding_dim}")
        if self.embedding_dim == 0 and not self.biases:
            raise Unsuitable("model: embedding_dim = 0 leaves the biases alone, so biases must be true")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(f"model: low must be less than high, not {self.low} and {self.high}")
        if not self.std > 0:
            raise InputError(f"model: std must be positive, not {self.std}")
        if self.history < 0:
            raise InputError(f"model: history must be 0 or more items of a user, not {self.history}")
        if self.bias_ids is not None and (len(self.bias_ids) != 2 or min(self.bias_ids) < 0):
            raise InputError(f"model: bias_ids are a number of users and one of items, not {list(self.bias_ids)}")
        if self.bias_ids is not None and not self.biases:
            raise InputError("model: bias_ids are for biases, and biases are false")

    @property
    def has_history(self) -> bool:
        """Whether there is a term of histories."""
        return self.history > 0 and self.embedding_dim > 0

    @property
    def centred(self) -> bool:
        """Whether a trained mean is added: beside biases, and wherever the score is the rating itself, as products of
        fresh vectors are near 0 and ratings are not. A sigmoid of 0 is the middle of the range already."""
        return self.biases or self.output == "linear"


class Rated(NamedTuple):
    """What a batch looked up on behalf of histories: one row for each distinct item in them.

    Args:
        items: ids, shape `(count,)`.
        squares: the sum of squares of the vector of each.
        lookups: how often each was looked up, where a rating reads each item of a history of n by 1/n.
    """

    items: Tensor
    squares: Tensor
    lookups: Tensor


class Scores(NamedTuple):
    """The outputs for a batch.

    Args:
        prediction: of the rating, of shape `(batch,)`.
        squares: the sums of squares of what was looked up, of shape `(batch, 2)` or `(batch, 4)`: of the user's vector
            and the item's, where the model has vectors, then of their biases, where it has these.
        rated: of histories, where the model reads them.
    """

    prediction: Tensor
    squares: Tensor
    rated: Rated | None = None

    @property
    def squared_norm(self) -> Tensor:
        """The sum of squares of all that was looked up, of shape `(batch,)`."""
        return reduce(torch.add, self.squares.unbind(-1))


class DotModel(nn.Module):
    """`rating ≈ output(mean + user bias + item bias + user vector · item vector)`, or the terms of it that `settings`
    keep.

    Matrix factorisation with biases (Koren, Bell and Volinsky, 2009, "Matrix factorization techniques for
    recommender systems"); without biases and with a sigmoid, the model of the Keras example "Memory-efficient
    embeddings for recommendation systems".

    With histories the user's vector is that of the user plus the sum of the vectors of all items in the user's history
    over the root of their number (SVD++: Koren, 2008, "Factorization meets the neighborhood", equation 15). These
    vectors are a table of their own (`rated_table`), with a method of its own.

    Args:
        user, item: the two tables; their `embedding_dim` is that of `settings`, or anything when that is 0.
        methods: the method of each table, by name, and of the biases of its ids, by `bias_table`; `full` for those not
            named.
        settings: see `DotSettings`; `low` and `high` must be given here.
        mean: of the training ratings; the start of the trained mean.
        histories: of the users, where `settings` ask for them.

    Example:
        >>> settings = DotSettings(embedding_dim=8, low=1.0, high=5.0)
        >>> model = DotModel(Table("user", 10, 8), Table("movie", 20, 8), {}, settings)
        >>> model(torch.tensor([0, 1]), torch.tensor([2, 3])).prediction.shape
        torch.Size([2])
    """

    def __init__(
        self, user: Table, item: Table, methods: Mapping[str, Method], settings: DotSettings, mean: float = 0.0,
        histories: Histories | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if settings.low is None or settings.high is None or not settings.low < settings.high:
            raise InputError(f"the dot model needs low < high, not {settings.low} and {settings.high}")
        if settings.has_history != (histories is not None):
            raise InputError("the dot model needs the histories of users where history is more than 0, and only there")
        tables = user, item, *([rated_table(item)] if histories is not None else [])
        bias_names = [bias_table(table) for table in (user, item)] if settings.biases else []
        if stray := sorted(set(methods) - {table.name for table in tables} - set(bias_names)):
            *names, last = (repr(name) for name in (*(table.name for table in tables), *bias_names))
            raise InputError(f"there is a method for {stray[0]!r}, but the tables are {', '.join(names)} and {last}")
        self.settings = settings
        self.user, self.item = user, item
        self.low, self.high = settings.low, settings.high
        # A linear score is in units of a quarter of the range, which is one star of five, so that learning rate, L2
        # and deviations that suit stars suit ratings of any range.
        self.unit = (settings.high - settings.low) / 4 if settings.output == "linear" else 1.0
        self.embeddings: EmbeddingCollection | None = None
        if settings.embedding_dim:
            self.embeddings = EmbeddingCollection([(t, methods.get(t.name, "full")) for t in tables])
        self.histories = histories
        self.biases: EmbeddingCollection | None = None
        if settings.biases:
            of = zip((user, item), settings.bias_ids or (None, None), strict=True)
            self.biases = EmbeddingCollection([_biases(table, own, methods) for table, own in of])
            for stored in self.biases.modules():
                if isinstance(stored, StoredRows):
                    stored.draw_(nn.init.zeros_)
        self.mean = nn.Parameter(torch.tensor(self._score(mean))) if settings.centred else None

    def forward(self, users: Tensor, items: Tensor) -> Scores:
        """Scores of pairs of ids, each of shape `(batch,)`."""
        score = torch.zeros((), device=users.device) if self.mean is None else self.mean
        squares: list[Tensor] = []
        rated: Rated | None = None
        for collection in (self.embeddings, self.biases):
            if collection is None:
                continue
            asked = {self.user.name: users, self.item.name: items}
            read = None
            if self.histories is not None and collection is self.embeddings:
                read = _BatchHistories.of(self.histories, users, items)
                asked[rated_table(self.item).name] = read.items
            found = collection(asked)
            left, right = (_together(collection, name, found) for name in (self.user.name, self.item.name))
            squares += _squares(left), _squares(right)
            if read is not None:
                vectors = _together(collection, rated_table(self.item).name, found)
                rated = Rated(read.items, _squares(vectors), read.lookups.to(vectors.dtype))
                left = _moved(left, read.pooled(vectors))
            if collection is self.embeddings:
                score = score + _products(left, right)
            else:
                score = score + left.squeeze(-1) + right.squeeze(-1)
        if self.settings.output == "sigmoid":
            score = self.low + (self.high - self.low) * torch.sigmoid(score)
        else:
            score = score * self.unit
        return Scores(score, torch.stack(squares, -1), rated)

    @torch.no_grad()
    def predict(self, users: Tensor, items: Tensor) -> Tensor:
        """Ratings of pairs of ids, within the range of ratings."""
        scores: Scores = self(users, items)
        return scores.prediction.clamp(self.low, self.high)

    @cached_property
    def counts(self) -> Tensor:
        """The training rows of each id, of shape `(2, ids)`, float32: of users, and of items; 0 beyond the ids of a
        side.

        Raises:
            InputError: a table without frequencies.
        """
        found = torch.zeros(2, max(self.user.num_embeddings, self.item.num_embeddings))
        for side, table in zip(found, (self.user, self.item), strict=True):
            if table.frequencies is None:
                raise InputError(f"table {table.name!r}: a ridge needs frequencies, and it has none")
            side[: table.num_embeddings] = torch.from_numpy(table.frequencies)
        return found

    @cached_property
    def rarity(self) -> Tensor:
        """One over `counts`; 1 for an id without rows."""
        return 1 / self.counts.clamp(min=1)

    @cached_property
    def bias_rarity(self) -> Tensor:
        """One over the training rows of all ids that read the same bias as an id, as `rarity`."""
        if self.settings.bias_ids is None:
            return self.rarity
        found = self.counts.clone()
        for side, own, table in zip(found, self.settings.bias_ids, (self.user, self.item), strict=True):
            side[own : table.num_embeddings] = side[own : table.num_embeddings].sum()
        return 1 / found.clamp(min=1)

    @torch.no_grad()
    def begin(self, found: RidgeBias, ridge: float = 0.0) -> None:
        """Begin at a ridge bias model: its mean and its biases; and with vectors that are as short as a `ridge` of λ
        rows leaves them, so that those of rare ids begin near 0 and add no noise to predictions.

        Raises:
            InputError: the output is no linear score, or there are no biases.
        """
        if self.mean is None or self.biases is None or self.settings.output != "linear":
            raise InputError("a ridge bias model is one of biases with output 'linear', and this model is none")
        self.mean.fill_(self._score(found.mean))
        for table, bias in ((self.user, found.user), (self.item, found.item)):
            values = torch.from_numpy(bias / self.unit).reshape(-1, 1)
            self.biases.tables[table.name].fit_(values)
        if self.embeddings is None or not ridge:
            return
        tables = [(self.user, self.counts[0]), (self.item, self.counts[1])]
        if self.histories is not None:
            tables.append((rated_table(self.item), self.counts[1]))
        for table, counts in tables:
            self.embeddings.tables[table.name].shorten_((counts / (counts + ridge))[: table.num_embeddings])

    def components(self) -> list[Component]:
        """All that is stored, under the names of the state: tables, biases, the mean, and histories."""
        found = []
        for prefix, collection in (("embeddings", self.embeddings), ("biases", self.biases)):
            if collection is not None:
                found += [component.under(prefix) for component in collection.components()]
        if self.mean is not None:
            found.append(Component("mean", 1, 0, self.mean.dtype))
        if self.histories is not None:
            found += [component.under("histories") for component in self.histories.sizes.components()]
        return found

    def _score(self, rating: float) -> float:
        """The score whose output is `rating`."""
        if self.settings.output == "linear":
            return rating / self.unit
        share = min(max((rating - self.low) / (self.high - self.low), 1e-3), 1 - 1e-3)
        return log(share / (1 - share))


def rated_table(item: Table) -> Table:
    """The table of the vectors of items in histories."""
    return replace(item, name=f"rated_{item.name}")


class _BatchHistories(NamedTuple):
    """The histories of the users of a batch, each distinct user's once.

    Args:
        items: the distinct items in them, int64.
        slots: which of these every item of every history is.
        begins: where the history of each distinct user begins in `slots`.
        user: which of the distinct users each rating is of.
        own: which of the distinct items each rating is of, and 0 where it is `alone`.
        alone: which ratings are of items that are not in the user's history.
        roots: one over the root of the number of other items in each rating's history, float64; 0 where there are none.
        lookups: see `Rated`; float64.
    """

    items: Tensor
    slots: Tensor
    begins: Tensor
    user: Tensor
    own: Tensor
    alone: Tensor
    roots: Tensor
    lookups: Tensor

    @staticmethod
    def of(histories: Histories, users: Tensor, items: Tensor) -> _BatchHistories:
        distinct, user = users.long().unique(return_inverse=True)
        found = histories.read(distinct)
        known, slots = found.items.unique(return_inverse=True)
        times = torch.bincount(user, minlength=len(distinct))
        each = times / found.counts.clamp(min=1).double()
        lookups = torch.bincount(slots, torch.repeat_interleave(each, found.counts), len(known))
        # Pairs of user and item as numbers, which rise.
        most = int(found.items.max()) + 1 if len(found.items) else 1
        most = max(most, int(items.max()) + 1) if len(items) else most
        pairs = torch.repeat_interleave(torch.arange(len(distinct), device=users.device), found.counts) * most
        pairs = pairs + found.items
        place = torch.searchsorted(pairs, user * most + items.long())
        there = place.clamp(max=max(0, len(pairs) - 1))
        alone = pairs[there] != user * most + items if len(pairs) else torch.ones_like(user, dtype=torch.bool)
        own = torch.where(alone, 0, slots[there]) if len(pairs) else torch.zeros_like(user)
        others = found.counts[user] - (~alone).long()
        roots = torch.where(others > 0, others.clamp(min=1).double().rsqrt(), 0.0)
        return _BatchHistories(known, slots, found.begins, user, own, alone, roots, lookups)

    def pooled(self, vectors: Tensor) -> Tensor:
        """What each rating's user has of these vectors of the items, of shape `(batch, dim)`; of several vectors an
        item, their sum counts."""
        rows = vectors if vectors.dim() == 2 else vectors.sum(1)
        if not len(rows):
            return rows.new_zeros(len(self.user), rows.shape[-1])
        sums = embedding_bag(self.slots, rows, self.begins, mode="sum")[self.user]
        own = rows[self.own].masked_fill(self.alone.unsqueeze(-1), 0.0)
        return (sums - own) * self.roots.to(rows.dtype).unsqueeze(-1)


def _moved(vectors: Tensor, by: Tensor) -> Tensor:
    """The vector of each id, or the first of its vectors, moved by a vector."""
    if vectors.dim() == 2:
        return vectors + by
    return torch.cat([vectors[:, :1] + by.unsqueeze(1), vectors[:, 1:]], 1)


def bias_table(table: Table) -> str:
    """The name by which methods are given to the biases of a table's ids."""
    return f"{table.name}_bias"


def _biases(table: Table, own: int | None, methods: Mapping[str, Method]) -> tuple[Table, Method]:
    """The table of the biases of one side, of which the first `own` ids have rows of their own, and its method.

    Raises:
        InputError: two choices of what is stored.
    """
    n = table.num_embeddings
    if (given := methods.get(bias_table(table))) is not None:
        if own is not None and own < n:
            raise InputError(f"model: bias_ids and a method for {bias_table(table)!r} both store biases; leave one out")
        how = given
    elif own is None or own >= n:
        how = Full()
    else:
        how = Blocks.hot(own, Hashing(1)) if own else Hashing(1)
    return Table(table.name, n, 1, frequencies=table.frequencies), how


def _together(collection: EmbeddingCollection, feature: str, found: Mapping[str, Tensor]) -> Tensor:
    """The vector of each id of a feature, or its vectors, side by side."""
    outputs = collection.outputs(feature)
    return found[feature] if len(outputs) == 1 else torch.stack([found[output] for output in outputs], dim=-2)


def _squares(vectors: Tensor) -> Tensor:
    """Sum of squares of each id's vector, or vectors."""
    return vectors.square().flatten(1).sum(-1)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """The dot product of two vectors, shape `(batch, dim)` each; of several on either side, shape
    `(batch, count, dim)`, the sum over all pairs of them, those of one side included."""
    score: Tensor = torch.zeros((), device=left.device)
    if left.dim() == right.dim() == 2:
        return (left * right).sum(-1)
    sums = []
    for vectors in (left, right):
        vectors = vectors.reshape(len(vectors), -1, vectors.shape[-1])
        sums.append(vectors.sum(1))
        # (Σ v)² - Σ v² is twice the sum over pairs.
        score = score + (sums[-1].square() - vectors.square().sum(1)).sum(-1) / 2
    return score + (sums[0] * sums[1]).sum(-1)
