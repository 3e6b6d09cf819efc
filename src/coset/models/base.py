"""Shared code of click models: the settings of their tables, the concatenated vectors of all features, and
perceptrons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from coset import settings
from coset.errors import InputError, unknown
from coset.ledger import components_of
from coset.schema import Component, Table
from coset.storage import StoredRows
from coset.tables import EmbeddingBagCollection
from coset.tables.features import FeatureIds, read_features

MAX_WIDTH = 65536
"""Widest layers and vectors that are accepted; wider ones are probably a typing error."""


@dataclass(frozen=True)
class ClickSettings:
    """Choices that every click model has.

    Args:
        embedding_dim: elements of a vector.
        std: standard deviation of the elements of fresh vectors; by default that of DLRM's own code, which draws them
            from ±1/√n for a table of n ids, so 1/√(3 n).

    Example:
        >>> ClickSettings().table("C9", 3).std
        0.3333333333333333
    """

    embedding_dim: int = 16
    std: float | None = None

    def __post_init__(self) -> None:
        settings.check(self, "model")
        if not 1 <= self.embedding_dim <= MAX_WIDTH:
            raise InputError(f"model: embedding_dim must be in 1 … {MAX_WIDTH}, not {self.embedding_dim}")
        if self.std is not None and not self.std > 0:
            raise InputError(f"model: std must be positive, not {self.std}")

    def table(self, name: str, num_embeddings: int, **options: Any) -> Table:
        """The table of a feature for this model; `options` are further arguments of `Table`."""
        std = self.std if self.std is not None else 1 / sqrt(3 * num_embeddings)
        return Table(name, num_embeddings, self.embedding_dim, std, **options)


def check_widths(what: str, widths: Sequence[int], least: int = 0) -> None:
    """Raise an `InputError` unless these are at least `least` widths of layers."""
    if len(widths) < least:
        raise InputError(f"model: {what} must have {least} layer or more")
    for width in widths:
        if not 1 <= width <= MAX_WIDTH:
            raise InputError(f"model: widths of {what} must be in 1 … {MAX_WIDTH}, not {width}")


class ClickModel(nn.Module):
    """A model of clicks: numeric columns and features in, one logit a row out.

    Args:
        tables: of all features, by any methods.
        num_numeric: number of numeric columns; there may be none.

    Raises:
        InputError: no feature, or a number of columns below 0.
    """

    head: nn.Linear  # the last layer, whose single output is the logit

    def __init__(self, tables: EmbeddingBagCollection, num_numeric: int) -> None:
        super().__init__()
        if num_numeric < 0:
            raise InputError(f"a click model has 0 numeric columns or more, not {num_numeric}")
        if not tables.features:
            raise InputError("a click model needs at least one feature beside its numeric columns")
        self.tables = tables
        self.num_numeric = num_numeric

    def vectors(self, numeric: Tensor, features: Mapping[str, FeatureIds] | Tensor | Any) -> Tensor:
        """The vectors of all features side by side, shape `(batch, sum of their dims)`, in the order of the collection
        whatever the order in which they are given.

        Args:
            numeric: the numeric columns, shape `(batch, num_numeric)`; only the shape is checked here.
            features: as `EmbeddingBagCollection` takes them; one id of every feature as a matrix
                `(features, batch)` is the fastest way.

        Raises:
            InputError: a feature is missing or unknown, or shapes do not agree.
        """
        if not isinstance(features, Tensor):
            features = self._in_order(features)
        found = self.tables.concatenated(features)
        if numeric.shape != (len(found), self.num_numeric):
            raise InputError(
                f"numeric columns are a matrix of shape {(len(found), self.num_numeric)} here, a row for every bag of "
                f"the features, not of shape {tuple(numeric.shape)}"
            )
        return found

    @torch.no_grad()
    def begin(self, rate: float) -> None:
        """Begin at a base rate: the last bias becomes its log-odds, `log(rate / (1 - rate))`, so that training need not
        find the share of clicks first, nor make layers and tables carry it (Lin et al., 2017, arXiv 1708.02002, section
        4.1, do so for rare classes). All else stays as it is.

        Args:
            rate: the share of clicks, in (0, 1).

        Raises:
            InputError: a rate outside of (0, 1).

        Example:
            >>> from coset.models import build, make_settings
            >>> settings = make_settings("dcn")
            >>> model = build("dcn", EmbeddingBagCollection([(settings.table("C1", 10), "full")]), 13, settings)
            >>> model.begin(0.2)
            >>> round(float(model.head.bias.detach().sigmoid()), 6)
            0.2
        """
        if not 0 < rate < 1:
            raise InputError(f"a click model begins at a share of clicks between 0 and 1, not at {rate}")
        self.head.bias.fill_(log(rate / (1 - rate)))

    @torch.no_grad()
    def predict(self, numeric: Tensor, features: Mapping[str, FeatureIds] | Tensor | Any) -> Tensor:
        """Probabilities of a click, shape `(batch,)`."""
        logits: Tensor = self(numeric, features)
        return logits.sigmoid()

    def components(self) -> list[Component]:
        """All that is stored, tables and layers, under the names of the state."""
        return components_of(self)

    def _in_order(self, features: Mapping[str, FeatureIds] | Any) -> Mapping[str, FeatureIds]:
        """All features, in the order of the collection: layers know their inputs by place."""
        names = self.tables.features
        given: Mapping[str, FeatureIds] = (
            features if isinstance(features, Mapping) else read_features(features, names, include_last=True)
        )
        if list(given) == list(names):
            return given
        if stray := [name for name in given if name not in names]:
            raise unknown("feature", stray[0], names)
        if missing := [name for name in names if name not in given]:
            raise InputError(f"a click model needs ids of every feature, and {missing[0]!r} is missing")
        return {name: given[name] for name in names}

    def _like_tables(self) -> None:
        """Bring the layers to the type and device of the tables."""
        like = next(chain(self.tables.parameters(), (b for b in self.tables.buffers() if b.is_floating_point())))
        # What is read, which may be wider than what is stored.
        dtype = next((of.dtype for of in self.tables.modules() if isinstance(of, StoredRows)), like.dtype)
        for name, layer in self.named_children():
            if name != "tables":
                layer.to(like.device, dtype)


def perceptron(inputs: int, widths: Iterable[int]) -> nn.Sequential:
    """Linear layers, one for each width, with a ReLU after each.

    Fresh weights are normal with variance 2 / (inputs + outputs), biases with variance 1 / outputs, as in DLRM's own
    code.

    Args:
        inputs: elements of the input.
        widths: outputs of every layer.

    Example:
        >>> perceptron(13, (512, 256))(torch.zeros(2, 13)).shape
        torch.Size([2, 256])
    """
    layers: list[nn.Module] = []
    for width in widths:
        # In place, as a linear layer needs its input only for its gradient: half of the memory and of the writes.
        layers += [linear(inputs, width), nn.ReLU(inplace=True)]
        inputs = width
    return nn.Sequential(*layers)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with the fresh values of `perceptron`."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=sqrt(2 / (inputs + outputs)))
    nn.init.normal_(layer.bias, std=sqrt(1 / outputs))
    return layer
