"""Tables, features and jagged values that tests of collections share."""

from dataclasses import dataclass

import torch
from torch import Tensor

from coset.methods import QuotientRemainder
from coset.schema import Table
from coset.tables import EmbeddingBagCollection

DOUBLE = torch.float64


MOVIE, GENRE = Table("movie", 20, 4, dtype=DOUBLE), Table("genre", 5, 3, dtype=DOUBLE)


PAIR = [(MOVIE, QuotientRemainder(5)), (GENRE, "full")]


FEATURES = {"seen": "movie", "liked": "movie", "genre": "genre"}


@dataclass
class Jagged:
    """What is read of a TorchRec `JaggedTensor`."""

    given: tuple[Tensor, Tensor, Tensor | None]

    def values(self) -> Tensor:
        return self.given[0]

    def offsets(self) -> Tensor:
        return self.given[1]

    def weights_or_none(self) -> Tensor | None:
        return self.given[2]


@dataclass
class KeyedJagged:
    """What is read of a TorchRec `KeyedJaggedTensor`: it is no mapping, and its offsets end with the number of ids."""

    features: dict[str, Jagged]
    inverse: tuple[list[str], Tensor] | None = None

    def inverse_indices_or_none(self) -> tuple[list[str], Tensor] | None:
        return self.inverse

    def keys(self) -> list[str]:
        return list(self.features)

    def to_dict(self) -> dict[str, Jagged]:
        return self.features


def jagged(values, offsets, weights=None):
    weights = None if weights is None else torch.tensor(weights, dtype=DOUBLE)
    return Jagged((torch.tensor(values, dtype=torch.int64), torch.tensor(offsets), weights))


def bags(tables=PAIR, features=FEATURES, seed=0, **options):
    torch.manual_seed(seed)
    return EmbeddingBagCollection(tables, features, **options)


def rows(collection, table, ids):
    """The vectors of a list of ids, detached."""
    return collection.tables[table].lookup(torch.tensor(ids, dtype=torch.int64)).detach()
