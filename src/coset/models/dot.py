"""The dot model: matrix factorisation with tables stored by any method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from math import log
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from coset import settings
from coset.errors import InputError, Unsuitable
from coset.methods import Method
from coset.models.ridge import RidgeBias
from coset.schema import Component, Table
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
    """

    embedding_dim: int = 64
    biases: bool = False
    output: Literal["sigmoid", "linear"] = "sigmoid"
    low: float | None = None
    high: float | None = None
    std: float = 0.05

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

    @property
    def centred(self) -> bool:
        """Whether a trained mean is added: beside biases, and wherever the score is the rating itself, as products of
        fresh vectors are near 0 and ratings are not. A sigmoid of 0 is the middle of the range already."""
        return self.biases or self.output == "linear"


class Scores(NamedTuple):
    """The outputs for a batch.

    Args:
        prediction: of the rating, of shape `(batch,)`.
        squares: the sums of squares of what was looked up, of shape `(batch, 2)` or `(batch, 4)`: of the user's vector
            and the item's, where the model has vectors, then of their biases, where it has these.
    """

    prediction: Tensor
    squares: Tensor

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

    Args:
        user, item: the two tables; their `embedding_dim` is that of `settings`, or anything when that is 0.
        methods: the method of each table, by name; `full` for those not named.
        settings: see `DotSettings`; `low` and `high` must be given here.
        mean: of the training ratings; the start of the trained mean.

    Example:
        >>> settings = DotSettings(embedding_dim=8, low=1.0, high=5.0)
        >>> model = DotModel(Table("user", 10, 8), Table("movie", 20, 8), {}, settings)
        >>> model(torch.tensor([0, 1]), torch.tensor([2, 3])).prediction.shape
        torch.Size([2])
    """

    def __init__(
        self, user: Table, item: Table, methods: Mapping[str, Method], settings: DotSettings, mean: float = 0.0
    ) -> None:
        super().__init__()
        if settings.low is None or settings.high is None or not settings.low < settings.high:
            raise InputError(f"the dot model needs low < high, not {settings.low} and {settings.high}")
        if stray := sorted(set(methods) - {user.name, item.name}):
            raise InputError(f"there is a method for {stray[0]!r}, but the tables are {user.name!r} and {item.name!r}")
        self.settings = settings
        self.user, self.item = user, item
        self.low, self.high = settings.low, settings.high
        # A linear score is in units of a quarter of the range, which is one star of five, so that learning rate, L2
        # and deviations that suit stars suit ratings of any range.
        self.unit = (settings.high - settings.low) / 4 if settings.output == "linear" else 1.0
        self.embeddings: EmbeddingCollection | None = None
        if settings.embedding_dim:
            self.embeddings = EmbeddingCollection([(t, methods.get(t.name, "full")) for t in (user, item)])
        self.biases: EmbeddingCollection | None = None
        if settings.biases:
            self.biases = EmbeddingCollection([(Table(t.name, t.num_embeddings, 1), "full") for t in (user, item)])
            for bias in self.biases.parameters():
                nn.init.zeros_(bias)
        self.mean = nn.Parameter(torch.tensor(self._score(mean))) if settings.centred else None

    def forward(self, users: Tensor, items: Tensor) -> Scores:
        """Scores of pairs of ids, each of shape `(batch,)`."""
        score = torch.zeros((), device=users.device) if self.mean is None else self.mean
        squares: list[Tensor] = []
        for collection in (self.embeddings, self.biases):
            if collection is None:
                continue
            found = collection({self.user.name: users, self.item.name: items})
            left, right = (_together(collection, name, found) for name in (self.user.name, self.item.name))
            squares += _squares(left), _squares(right)
            if collection is self.embeddings:
                score = score + _products(left, right)
            else:
                score = score + left.squeeze(-1) + right.squeeze(-1)
        if self.settings.output == "sigmoid":
            score = self.low + (self.high - self.low) * torch.sigmoid(score)
        else:
            score = score * self.unit
        return Scores(score, torch.stack(squares, -1))

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
        for table, counts in zip((self.user, self.item), self.counts, strict=True):
            self.embeddings.tables[table.name].shorten_((counts / (counts + ridge))[: table.num_embeddings])

    def components(self) -> list[Component]:
        """All that is stored, under the names of the state: tables, biases and the mean."""
        found = []
        for prefix, collection in (("embeddings", self.embeddings), ("biases", self.biases)):
            if collection is not None:
                found += [component.under(prefix) for component in collection.components()]
        return found if self.mean is None else [*found, Component("mean", 1, 0, self.mean.dtype)]

    def _score(self, rating: float) -> float:
        """The score whose output is `rating`."""
        if self.settings.output == "linear":
            return rating / self.unit
        share = min(max((rating - self.low) / (self.high - self.low), 1e-3), 1 - 1e-3)
        return log(share / (1 - share))


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
