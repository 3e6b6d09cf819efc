"""Hashes of ids: words of 32 bits as if drawn at random, in arithmetic of 64 bits."""

from __future__ import annotations

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)


def hash_words(ids: np.ndarray, seeds: np.ndarray | int) -> np.ndarray:
    """A word for each id and seed, uint64 below 2³²; the two are broadcast.

    Example:
        >>> hash_words(np.array([7]), 0).tolist(), hash_words(np.array([7]), 1).tolist()
        ([1974401977], [1008390780])
    """
    words, keys = np.asarray(ids).astype(np.uint64), np.asarray(seeds).astype(np.uint64)
    low, high = words & _LOW, words >> np.uint64(32)
    inner = _mix(low ^ _mix(keys ^ np.uint64(0x9E3779B9)))
    return _mix(inner ^ high ^ _mix(keys ^ np.uint64(0x7F4A7C15)))


def _mix(word: np.ndarray) -> np.ndarray:
    """The finaliser of MurmurHash3; products of 32-bit words fit 64 bits."""
    word = word ^ (word >> np.uint64(16))
    word = word * np.uint64(0x85EBCA6B) & _LOW
    word = word ^ (word >> np.uint64(13))
    word = word * np.uint64(0xC2B2AE35) & _LOW
    return np.asarray(word ^ (word >> np.uint64(16)))
