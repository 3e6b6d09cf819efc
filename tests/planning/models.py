"""Models whose tables tests make smaller."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def low_rank_weight(n: int, dim: int, rank: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, rank, generator=draw) @ torch.randn(rank, dim, generator=draw)


class Towers(nn.Module):
    """Two towers and a head, with tables on two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.user = nn.Embedding(200, 8)
        self.items = nn.ModuleDict({"movie": nn.Embedding(300, 8), "tags": nn.EmbeddingBag(100, 8, mode="sum")})
        self.genre = nn.Embedding(12, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, user: Tensor, movie: Tensor, tags: Tensor, genre: Tensor) -> Tensor:
        item = self.items["movie"](movie) + self.items["tags"](tags) + self.genre(genre)
        scores: Tensor = self.head(self.user(user) * item)
        return scores


def towers(rank: int | None = None) -> Towers:
    torch.manual_seed(0)
    model = Towers()
    if rank is not None:
        for seed, of in enumerate((model.user, *model.items.values())):
            of.weight.data = low_rank_weight(*of.weight.shape, rank, seed)
    return model
