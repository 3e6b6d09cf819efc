"""A process that has loaded libraries and kernels, and for each line of stdin forks one that trains one table for a few
steps and prints what it had resident at most, and what was predicted; for an empty line, one without a table.

    $ echo fused row_wise_adagrad 4000000 32 codes | python tests/ledger/training_process.py
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from coset import EmbeddingBagCollection, Full, Packed, Table, optimizers, predict

BATCH, STEPS = 4096, 2
FUSED = {
    "row_wise_adagrad": optimizers.RowWiseAdagrad,
    "lazy_adam": optimizers.Adam,
    "adam": lambda module: optimizers.Adam(module, mode="dense"),
}
PLAIN = {"adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam, "sparse_adam": torch.optim.SparseAdam}


CODES = Packed(8, step="row", step_dtype="float16", masters=False)


def train(engine: str, optimizer: str, rows: int, dim: int, stored: str = "floats") -> int:
    """Bytes that a table of so many rows takes in training, as predicted; and train it."""
    torch.manual_seed(0)
    table, method = Table("ids", rows, dim), Full(storage=CODES) if stored == "codes" else Full()
    sparse = optimizer == "sparse_adam"
    model: torch.nn.Module
    model = torch.nn.Embedding(rows, dim, sparse=True) if sparse else EmbeddingBagCollection([(table, method)])
    training = FUSED[optimizer](model) if engine == "fused" else PLAIN[optimizer](model.parameters())
    for _ in range(STEPS):
        ids = torch.randint(rows, (BATCH,))
        vectors = model(ids) if sparse else model({"ids": ids})["ids"]
        vectors.square().mean().backward()
        training.step()
        training.zero_grad()
    return predict([(table, method)], optimizer=optimizer, engine=engine, batch_size=BATCH).training


def peak_resident_bytes() -> int:
    """The most that this process has had resident. What `getrusage` says would be its parent's, where that had more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def answer(words: list[str]) -> dict[str, int]:
    predicted = train(words[0], words[1], int(words[2]), int(words[3]), words[4]) if words else 0
    return {"resident": peak_resident_bytes(), "predicted": predicted}


if __name__ == "__main__":
    torch.set_num_threads(1)  # a fork has no other threads
    for engine, known in (("fused", FUSED), ("plain", PLAIN)):
        for optimizer in known:
            train(engine, optimizer, 100, 8)
    train("fused", "row_wise_adagrad", 100, 8, "codes")
    for line in sys.stdin:
        if process := os.fork():
            os.waitpid(process, 0)
        else:
            code = 1
            try:
                print(json.dumps(answer(line.split())), flush=True)
                code = 0
            finally:
                os._exit(code)
