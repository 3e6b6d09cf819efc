"""What may stand in the place of an argument: numbers, words, arrays, ids, weights and objects, right and wrong."""

from __future__ import annotations

from typing import Any

import mutate
import numpy as np
import torch
from torch import nn

import coset

N, DIM = 12, 4
COUNTS = np.arange(N, 0, -1)

NUMBERS: tuple[Any, ...] = (
    -1, 0, 1, 2, 5, N, N + 1, True, 0.5, 3.0, -0.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"), 2**63,
    -(2**63), 10**400, np.int64(3), np.uint8(3), np.float32(0.5), np.float64("nan"), np.array(3), np.array([3]),
    torch.tensor(3), torch.tensor(0.5), "3", "", None, [3], 3 + 0j,
)  # fmt: skip
WORDS: tuple[Any, ...] = (
    "", "x", "full", "sum", "mean", "max", "adam", "sgd", "random", "shared", "error", "25%", "1KB", "-1", "nan%",
    "1" * 500, "\x00", "é.", "a.b", b"full", None, 0, 1, True, 0.5, ("a",), ["sum"], {}, {"a": 1}, np.str_("sum"),
)  # fmt: skip
ARRAYS: tuple[Any, ...] = (
    np.arange(N), np.arange(N)[::-1], np.arange(2 * N)[::2], np.arange(N, dtype=np.uint64), np.arange(N, dtype=np.int8),
    np.arange(N) - 1, np.arange(N) + 1, np.full(N, 2**62), np.zeros(N), np.ones(N, dtype=bool), np.full(N, np.nan),
    np.full(N, np.inf), np.full(N, 1e308), np.full(N, -1.0), np.arange(N).astype(np.float16), np.arange(N) / 3,
    np.arange(N) + 0j, np.arange(N).astype("M8[s]"), np.array(["a"] * N), np.array(["a", 1] * (N // 2), dtype=object),
    np.zeros((N, 1), dtype=int), np.zeros(0), np.zeros(0, dtype=int), np.array(3), np.arange(N - 1),
    np.broadcast_to(np.int64(1), N), list(range(N)), tuple(range(N)), [1, [2]], [], range(N), "abc", None, 5, {},
    torch.arange(N), torch.arange(N).flip(0), torch.ones(N, requires_grad=True), torch.arange(N, device="meta"),
    torch.arange(N, dtype=torch.int32)[::2], torch.ones(N).to_sparse(), torch.ones(N, dtype=torch.bfloat16),
)  # fmt: skip
IDS: tuple[Any, ...] = (
    torch.tensor([0, 3, 3, N - 1]), torch.tensor([[0, 1], [2, 3]]), torch.tensor([], dtype=torch.int64),
    torch.tensor(3),
    torch.tensor([0, N]), torch.tensor([-1, 2]), torch.tensor([2**62, 0]), torch.tensor([-(2**63)]), torch.zeros(3),
    torch.tensor([1, 0], dtype=torch.int32), torch.tensor([1, 0], dtype=torch.uint8), torch.tensor([True, False]),
    torch.tensor([1.0, float("nan")]), torch.arange(8)[::2], torch.arange(6).reshape(2, 3).t(),
    torch.tensor([3]).expand(4), torch.zeros(0, 3, dtype=torch.int64), torch.zeros(3, 0, dtype=torch.int64),
    torch.zeros(2, 2, 2, dtype=torch.int64), torch.tensor([1, 2]).to_sparse(), torch.tensor([1, 2], device="meta"),
    torch.tensor([1 + 0j]), torch.tensor([1, 2], dtype=torch.int16), torch.tensor([1, 2], dtype=torch.uint64),
    np.array([1, 2]), [1, 2], 3, None, "1", (torch.tensor([1]), torch.tensor([0])), {}, torch.tensor([0, 0, 2, 4]),
    torch.tensor([0, 2, 1]), torch.tensor([1, 2]), torch.tensor([0, 9]), torch.tensor([0]), torch.tensor([0, 2]),
)  # fmt: skip
WEIGHTS: tuple[Any, ...] = (
    torch.ones(4), torch.full((4,), 1e30), torch.tensor([1.0, -1, 0, 2]), torch.ones(4, dtype=torch.float64),
    torch.ones(4, dtype=torch.int64), torch.ones(4, dtype=torch.bool), torch.ones(4, dtype=torch.bfloat16),
    torch.ones(8)[::2], torch.ones(3), torch.ones(4, 1), torch.ones(()), torch.ones(0),
    torch.ones(4, requires_grad=True),
    torch.ones(4, device="meta"), torch.ones(4).to_sparse(), torch.ones(4) + 0j, np.ones(4), [1.0] * 4, 1.0, "w", None,
)  # fmt: skip
OBJECTS: tuple[Any, ...] = (
    *mutate.VALUES, nn.Linear(2, 2), nn.Embedding(3, 2), nn.LazyLinear(2), coset.Full(), coset.QuotientRemainder(4),
    coset.LowRank(2), coset.LowRank, object(), lambda *_: None, torch.float16, torch.int64, torch.complex64, np.float32,
    [("a", 1)], {"*": {}}, {"*": "full"}, {"0": "x"}, {"*": 5}, {"method": "low_rank", "rank": 4},
)  # fmt: skip
