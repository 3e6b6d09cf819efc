"""Tasks shared out among the parts of a kernel's work, by what they cost."""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import compiled

_BESIDE = 64
"""What a task costs beside its weight."""


@compiled
def shared_out(weights, parts):
    """Put into `weights`, in place of the weight of each task, the part that does it: each task goes to the part that
    has least to do."""
    loads = np.zeros(parts, np.int64)
    for t in range(len(weights)):
        least = np.int64(0)
        for part in range(1, parts):
            if loads[part] < loads[least]:
                least = np.int64(part)
        loads[least] += weights[t] + _BESIDE
        weights[t] = least
