"""DCN: a cross network beside a deep one, both on numeric columns and features side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coset.errors import InputError
from coset.models.base import MAX_WIDTH, ClickModel, ClickSettings, check_widths, linear, perceptron
from coset.models.cross import LowRankCross, MatrixCross, VectorCross
from coset.tables import EmbeddingBagCollection
from coset.tables.features import FeatureIds

MAX_LAYERS = 100
"""Most cross layers that are accepted: x to the power of 101."""


@dataclass(frozen=True)
class DCNSettings(ClickSettings):
    """Choices of a DCN; the defaults are those of Shi et al., 2019 (arXiv 1909.02107) for Criteo.

    Args:
        embedding_dim, std: see `ClickSettings`; a DCN takes tables of any dims, this is the dim of those that
            `table` describes.
        cross: `"vector"`, the layer of the first paper; `"matrix"`, that of DCN-V2; `"low_rank"`, the same with a
            matrix of two factors.
        cross_layers: number of cross layers.
        rank: of `"low_rank"`; by default a quarter of the width, as TensorFlow Recommenders advises.
        deep: widths of the layers of the deep network.
    """

    cross: Literal["vector", "matrix", "low_rank"] = "vector"
    cross_layers: int = 6
    rank: int | None = None
    deep: tuple[int, ...] = (512, 256, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths("deep", self.deep, least=1)
        if not 1 <= self.cross_layers <= MAX_LAYERS:
            raise InputError(f"model: cross_layers must be in 1 … {MAX_LAYERS}, not {self.cross_layers}")
        if self.rank is not None and self.cross != "low_rank":
            raise InputError(f"model: rank is for cross = 'low_rank', not for {self.cross!r}")
        if self.rank is not None and not 1 <= self.rank <= MAX_WIDTH:
            raise InputError(f"model: rank must be in 1 … {MAX_WIDTH}, not {self.rank}")


class DCN(ClickModel):
    """`head(cross(x), deep(x))` with x the vectors of all features and the numeric columns, side by side.

    The deep and cross network of Wang et al., 2017 (arXiv 1708.05123), without its batch normalisation, and its second
    version of 2020 (arXiv 2008.13535) in its parallel form; `settings.cross` says which.

    Args:
        tables: of all features, of any dims.
        num_numeric: number of numeric columns; there may be none.
        settings: see `DCNSettings`.

    Example:
        >>> settings = DCNSettings(embedding_dim=4, deep=(8,), cross="matrix", cross_layers=2)
        >>> tables = EmbeddingBagCollection([(settings.table(name, 10), "full") for name in ("C1", "C2")])
        >>> model = DCN(tables, 13, settings)
        >>> model(torch.zeros(5, 13), {"C1": torch.arange(5), "C2": torch.arange(5)}).shape
        torch.Size([5])
    """

    def __init__(self, tables: EmbeddingBagCollection, num_numeric: int, settings: DCNSettings | None = None) -> None:
        super().__init__(tables, num_numeric)
        self.settings = settings = settings if settings is not None else DCNSettings()
        self.width = sum(tables.output_dims.values()) + num_numeric
        self.cross = self._cross(settings)
        self.deep = perceptron(self.width, settings.deep)
        self.head = linear(self.width + settings.deep[-1], 1)
        self._like_tables()

    def forward(self, numeric: Tensor, features: Mapping[str, FeatureIds] | Tensor | Any) -> Tensor:
        """Logits of a click, shape `(batch,)`; the arguments are those of `vectors`."""
        x = self.vectors(numeric, features)
        if self.num_numeric:
            x = torch.cat([x, numeric], 1)
        crossed, deep = self.head.weight[0].split([self.width, self.settings.deep[-1]])
        # The two halves of the head separately, so that the outputs of both networks need not be concatenated.
        logits: Tensor = torch.addmv(self.head.bias, self.cross(x), crossed) + self.deep(x) @ deep
        return logits

    def _cross(self, settings: DCNSettings) -> nn.Module:
        if settings.cross == "vector":
            return VectorCross(self.width, settings.cross_layers)
        if settings.cross == "matrix":
            return MatrixCross(self.width, settings.cross_layers)
        return LowRankCross(self.width, settings.cross_layers, settings.rank or max(1, self.width // 4))
