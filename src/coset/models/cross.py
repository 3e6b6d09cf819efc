"""Cross layers: each multiplies its input with the features once more, so that l of them reach products of l + 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VectorCross(nn.Module):
    """Cross layers of DCN (Wang et al., 2017, arXiv 1708.05123): `x' = x₀ (x · w) + b + x`.

    By induction the output of layer l is `s x₀ + b₁ + … + b_l` with one number s a row. So all products `x₀ · w` are
    one product of matrices, each layer is a step from one s to the next, and only the result has the width of x. It
    differs from computing layer by layer only in rounding.

    Args:
        width: elements of x.
        layers: number of layers.

    Example:
        >>> cross = VectorCross(2, 1)
        >>> _ = nn.init.ones_(cross.weight)
        >>> cross(torch.tensor([[1.0, 2.0]]))
        tensor([[4., 8.]], grad_fn=<AddBackward0>)
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(layers, width), std=(2 / (width + 1)) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(layers, width))

    def forward(self, x: Tensor) -> Tensor:
        """What the last layer gives, shape `(batch, width)` as of `x`."""
        biases = self.bias.cumsum(0)
        shifts = torch.cat([torch.zeros_like(biases[:1]), biases[:-1]])  # what has been added before each layer
        growth = torch.addmm(torch.ones_like(self.weight[:, 0]), x, self.weight.t())
        scale = torch.ones_like(growth[:, 0])
        for factor, shift in zip(growth.unbind(1), (shifts * self.weight).sum(1), strict=True):
            scale = torch.addcmul(shift, scale, factor)
        return x * scale.unsqueeze(1) + biases[-1]


class MatrixCross(nn.Module):
    """Cross layers of DCN-V2 (Wang et al., 2020, arXiv 2008.13535): `x' = x₀ ⊙ (W x + b) + x`.

    Args:
        width: elements of x.
        layers: number of layers.

    Example:
        >>> MatrixCross(2, 3)(torch.tensor([[1.0, 2.0]])).shape
        torch.Size([1, 2])
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_linear(width, width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """What the last layer gives, shape `(batch, width)` as of `x`."""
        first = x
        for layer in self.layers:
            x = torch.addcmul(x, first, layer(x))
        return x


class LowRankCross(nn.Module):
    """Cross layers of DCN-V2 with a matrix of two factors: `x' = x₀ ⊙ (U Vᵀ x + b) + x`.

    Args:
        width: elements of x.
        layers: number of layers.
        rank: columns of U and V.

    Example:
        >>> sum(parameter.numel() for parameter in LowRankCross(100, 3, 25).parameters())
        15300
    """

    def __init__(self, width: int, layers: int, rank: int) -> None:
        super().__init__()
        self.narrow = nn.ModuleList(_linear(width, rank, bias=False) for _ in range(layers))
        self.widen = nn.ModuleList(_linear(rank, width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """What the last layer gives, shape `(batch, width)` as of `x`."""
        first = x
        for narrow, widen in zip(self.narrow, self.widen, strict=True):
            x = torch.addcmul(x, first, widen(narrow(x)))
        return x


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A layer whose fresh weights have variance 2 / (inputs + outputs), and whose bias begins at 0."""
    layer = nn.Linear(inputs, outputs, bias)
    nn.init.xavier_normal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
