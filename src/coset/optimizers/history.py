"""A record of what steps did to all rows alike, for rows that are brought to them later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class History:
    """The record, in arrays that grow: paces and decays by group and step, roots by step."""

    def __init__(self, groups: int) -> None:
        self.arrays = np.zeros((groups, 64)), np.zeros(64), np.zeros((groups, 64))

    def put(self, at: int, paces: list[float], root: float, decays: list[float]) -> None:
        """Record the step that is number `at` since the last synchronization."""
        if at == len(self.arrays[1]):
            first, second, third = (np.concatenate([array, np.zeros_like(array)], axis=-1) for array in self.arrays)
            self.arrays = first, second, third
        self.arrays[0][:, at], self.arrays[1][at], self.arrays[2][:, at] = paces, root, decays

    def load(self, arrays: Sequence[np.ndarray]) -> None:
        """Begin with these arrays, with the capacity that they would have grown to."""
        steps = arrays[1].shape[-1]
        room = max(64, 1 << max(0, steps - 1).bit_length())
        first, second, third = (np.zeros((*array.shape[:-1], room)) for array in arrays)
        for fresh, given in zip((first, second, third), arrays, strict=True):
            fresh[..., :steps] = given
        self.arrays = first, second, third
