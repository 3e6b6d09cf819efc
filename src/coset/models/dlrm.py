"""DLRM: numeric columns and features meet in the dot products of all pairs of their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from coset.errors import InputError
from coset.models.base import ClickModel, ClickSettings, check_widths, linear, perceptron
from coset.tables import EmbeddingBagCollection
from coset.tables.features import FeatureIds


@dataclass(frozen=True)
class DLRMSettings(ClickSettings):
    """Choices of a DLRM; the defaults are those of Shi et al., 2019 (arXiv 1909.02107) for Criteo.

    Args:
        embedding_dim, std: see `ClickSettings`; every table has this dim.
        bottom: widths of the layers that numeric columns go through; one of `embedding_dim` follows.
        top: widths of the layers after the interactions; one with a single output, the logit, follows.
    """

    bottom: tuple[int, ...] = (512, 256, 64)
    top: tuple[int, ...] = (512, 256)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths("bottom", self.bottom)
        check_widths("top", self.top)


class DLRM(ClickModel):
    """`top(x, all pairs of dot products of x and the features' vectors)` with `x = bottom(numeric)`.

    The deep learning recommendation model of Naumov et al., 2019 (arXiv 1906.00091): every layer but the last is
    followed by a ReLU, pairs are of different vectors, and each pair counts once. A feature with several vectors (by
    feature generation) takes part with each of them.

    Args:
        tables: of all features, with vectors of `settings.embedding_dim` elements.
        num_numeric: number of numeric columns; without any there is no bottom, and pairs are of features only.
        settings: see `DLRMSettings`.

    Raises:
        InputError: a table of another dim, or a single feature without numeric columns.

    Example:
        >>> from coset import Table
        >>> settings = DLRMSettings(embedding_dim=4, bottom=(8,), top=(8,))
        >>> tables = EmbeddingBagCollection([(settings.table(name, 10), "full") for name in ("C1", "C2")])
        >>> model = DLRM(tables, 13, settings)
        >>> model(torch.zeros(5, 13), {"C1": torch.arange(5), "C2": torch.arange(5)}).shape
        torch.Size([5])
    """

    def __init__(self, tables: EmbeddingBagCollection, num_numeric: int, settings: DLRMSettings | None = None) -> None:
        super().__init__(tables, num_numeric)
        self.settings = settings = settings if settings is not None else DLRMSettings()
        dim = settings.embedding_dim
        for output, found in tables.output_dims.items():
            if found != dim:
                raise InputError(
                    f"DLRM: feature {output!r} has vectors of {found} elements, but dot products need embedding_dim = "
                    f"{dim} of every feature; give its table that dim (a method may store it in fewer bytes)"
                )
        count = len(tables.output_dims) + (num_numeric > 0)
        if count < 2:
            raise InputError("DLRM: dot products need two features, or one and a numeric column; a DCN takes one")
        self.bottom = perceptron(num_numeric, (*settings.bottom, dim)) if num_numeric else None
        self.dots = PairwiseDots(count)
        width = self.dots.pairs + (dim if num_numeric else 0)
        self.top = perceptron(width, settings.top)
        self.head = linear((width, *settings.top)[-1], 1)
        self._like_tables()

    def forward(self, numeric: Tensor, features: Mapping[str, FeatureIds] | Tensor | Any) -> Tensor:
        """Logits of a click, shape `(batch,)`; the arguments are those of `vectors`."""
        vectors = self.vectors(numeric, features).unflatten(-1, (-1, self.settings.embedding_dim))
        if self.bottom is None:
            found = self.dots(vectors)
        else:
            x = self.bottom(numeric)
            found = torch.cat([x, self.dots(torch.cat([x.unsqueeze(1), vectors], 1))], 1)
        logits: Tensor = self.head(self.top(found))
        return logits.squeeze(-1)


class PairwiseDots(nn.Module):
    """The dot product of each pair of `count` vectors: `(batch, count, dim)` → `(batch, count · (count - 1) / 2)`, in
    the order (1, 0), (2, 0), (2, 1), (3, 0) …, which is that of DLRM's own code.

    Example:
        >>> PairwiseDots(3)(torch.tensor([[[1.0, 0.0], [2.0, 1.0], [3.0, 5.0]]]))
        tensor([[ 2.,  3., 11.]])
    """

    pair: Tensor
    place: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.pairs = count * (count - 1) // 2
        row, column = torch.tril_indices(count, count, offset=-1)
        pair = torch.zeros(count, count, dtype=torch.int64)
        pair[row, column] = pair[column, row] = torch.arange(self.pairs)
        # The place of each pair in the matrix of products, and the pair of each place; no part of the state.
        self.register_buffer("place", row * count + column, persistent=False)
        self.register_buffer("pair", pair.flatten(), persistent=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Products of the pairs of each row."""
        if torch.compiler.is_compiling():  # which derives a backward pass of its own
            return _below_diagonal(vectors, self.place)
        found: Tensor = _Dots.apply(vectors, self.place, self.pair)  # type: ignore[no-untyped-call]
        return found


def _below_diagonal(vectors: Tensor, place: Tensor) -> Tensor:
    products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
    # Gathering by a matrix of places is several times as fast as taking columns.
    return products.gather(1, place.expand(len(products), -1))


class _Dots(torch.autograd.Function):
    """Products below the diagonal, with one product of matrices in backward.

    Autograd would scatter the gradient of the pairs into a matrix, multiply it and its transpose with the vectors, and
    add; this gathers the sum of both matrices at once, as the product of a pair is in it twice.
    """

    @staticmethod
    def forward(context: Any, vectors: Tensor, place: Tensor, pair: Tensor) -> Tensor:
        context.save_for_backward(vectors, pair)
        return _below_diagonal(vectors, place)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        vectors, pair = context.saved_tensors
        batch, count, _ = vectors.shape
        both = gradient.gather(1, pair.expand(batch, -1)).view(batch, count, count)
        both.diagonal(dim1=1, dim2=2).zero_()
        return torch.bmm(both, vectors), None, None
