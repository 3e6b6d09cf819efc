"""The order in which an epoch visits the training rows: a function of seed and epoch, of nothing else."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def epoch_order(n: int, buffer: int | None, seed: int, epoch: int) -> Tensor:
    """A permutation of `0 … n - 1`, int64, for this epoch.

    Args:
        n: number of training rows.
        buffer: None for any permutation; else rows are drawn, one at a time and uniformly, from a buffer that
            holds the next `buffer` rows of the file not yet drawn.
        seed, epoch: the same pair gives the same order.
    """
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch, 3]))
    if buffer is None or buffer >= n:
        return torch.from_numpy(_sorting(bits.random_raw(n)))
    waiting = list(range(buffer))
    raw = bits.random_raw(n)
    draws = (raw % np.uint64(buffer)).tolist()
    order = []
    for row in range(buffer, n):
        at = draws[row]
        order.append(waiting[at])
        waiting[at] = row
    rest = np.array(waiting)[np.argsort(raw[:buffer], kind="stable")]
    return torch.from_numpy(np.concatenate([np.array(order, dtype=np.int64), rest]))


def _sorting(raw: np.ndarray) -> np.ndarray:
    """The permutation that sorts `raw`, ties in file order: by the faster sort where there are none."""
    order = np.argsort(raw)
    drawn = raw[order]
    return np.argsort(raw, kind="stable") if bool((drawn[1:] == drawn[:-1]).any()) else order
