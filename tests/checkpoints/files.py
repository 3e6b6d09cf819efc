"""Checkpoints of a small model, in every format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn


class Model(nn.Module):
    """Two tables and a layer."""

    def __init__(self, users: int = 1200, items: int = 300) -> None:
        super().__init__()
        self.user = nn.Embedding(users, 8)
        self.items = nn.ModuleDict({"movie_emb": nn.EmbeddingBag(items, 8, mode="sum")})
        self.head = nn.Sequential(nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def forward(self, user: Tensor, movies: Tensor) -> Tensor:
        found: Tensor = self.head(torch.cat([self.user(user), self.items["movie_emb"](movies)], 1))
        return found


def trained(seed: int = 0) -> Model:
    """A model whose tables have something that few numbers keep."""
    torch.manual_seed(seed)
    model = Model().eval()
    with torch.no_grad():
        for table in (model.user, model.items["movie_emb"]):
            axes = torch.randn(8, 8) * 0.5 ** torch.arange(8).float().unsqueeze(1)
            table.weight.copy_(torch.randn(len(table.weight), 8) @ axes)  # type: ignore[operator, arg-type]
    return model


def state() -> dict[str, Tensor]:
    """Of `trained`."""
    return {name: value.detach().clone() for name, value in trained().state_dict().items()}


def sharded(folder: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Two shards and their index."""
    folder.mkdir()
    names = list(tensors)
    halves = {"a-1.safetensors": names[::2], "a-2.safetensors": names[1::2]}
    for name, some in halves.items():
        save_file({each: tensors[each] for each in some}, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {each: name for name, some in halves.items() for each in some}}))
    return index


def every_format(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, Path]:
    """The same tensors in every format."""
    save_file(dict(tensors), folder / "plain.safetensors")
    torch.save(dict(tensors), folder / "plain.pt")
    torch.save({"epoch": 3, "state_dict": dict(tensors)}, folder / "larger.ckpt")
    index = sharded(folder / "shards", tensors)
    named = ("plain.safetensors", "plain.pt", "larger.ckpt")
    return {name: folder / name for name in named} | {"index": index, "folder": index.parent}
