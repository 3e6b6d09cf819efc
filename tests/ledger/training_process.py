"""A process that trains one table for a few steps and prints what it had resident at most, and what was predicted;
without words, the same process without the table.

    $ python tests/ledger/training_process.py fused row_wise_adagrad 4000000 32
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from coset import EmbeddingBagCollection, Full, Table, optimizers, predict
from coset.kernels.compile import _FOLDER

BATCH, STEPS = 4096, 2
FUSED = {
    "row_wise_adagrad": optimizers.RowWiseAdagrad,
    "lazy_adam": optimizers.Adam,
    "dense_adam": lambda module: optimizers.Adam(module, mode="dense"),
}
PLAIN = {"adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam, "sparse_adam": torch.optim.SparseAdam}


def train(engine: str, optimizer: str, rows: int, dim: int) -> int:
    """Bytes that a table of so many rows takes in training, as predicted; and train it."""
    torch.manual_seed(0)
    table = Table("ids", rows, dim)
    sparse = optimizer == "sparse_adam"
    model: torch.nn.Module
    model = torch.nn.Embedding(rows, dim, sparse=True) if sparse else EmbeddingBagCollection([(table, "full")])
    training = FUSED[optimizer](model) if engine == "fused" else PLAIN[optimizer](model.parameters())
    for _ in range(STEPS):
        ids = torch.randint(rows, (BATCH,))
        vectors = model(ids) if sparse else model({"ids": ids})["ids"]
        vectors.square().mean().backward()
        training.step()
        training.zero_grad()
    return predict([(table, Full())], optimizer=optimizer, engine=engine, batch_size=BATCH).training


def peak_resident_bytes() -> int:
    """The most that this process has had resident. What `getrusage` says would be its parent's, where that had more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    kept = len(list(_FOLDER.rglob("*")))
    for engine, known in (("fused", FUSED), ("plain", PLAIN)):  # libraries and kernels are there in either process
        for optimizer in known:
            train(engine, optimizer, 100, 8)
    predicted = train(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])) if sys.argv[1:] else 0
    compiled = len(list(_FOLDER.rglob("*"))) > kept  # which takes memory that no later process needs
    print(json.dumps({"resident": peak_resident_bytes(), "predicted": predicted, "compiled": compiled}))
