"""Random numbers of the synthetic twins, made from raw 64-bit words of generators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def stream(key: Sequence[int]) -> np.random.PCG64:
    """A generator of raw 64-bit numbers for every key. numpy guarantees these for ever, but not its distributions."""
    return np.random.PCG64(np.random.SeedSequence(list(key)))


def uniforms(source: np.random.PCG64, n: int) -> np.ndarray:
    """Numbers in (0, 1), neither bound included, so that their logarithm is finite."""
    return np.asarray(((source.random_raw(n) >> np.uint64(11)) + 0.5) * 2.0**-53)


def normals(source: np.random.PCG64, n: int) -> np.ndarray:
    """Standard normal numbers by the formula of Box and Muller."""
    half = (n + 1) // 2
    drawn = uniforms(source, 2 * half)
    radius = np.sqrt(-2 * np.log(drawn[:half]))
    angle = 2 * np.pi * drawn[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]
