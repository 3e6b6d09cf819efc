"""Tasks shared out among the parts of a kernel's work."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from coset.kernels.compile import compiled


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _add_one(context: Any, address: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        return builder.atomic_rmw("add", builder.inttoptr(arguments[0], word.as_pointer()), word(1), "monotonic")

    return types.int64(types.int64), build


def none_taken() -> np.ndarray:
    """What `claim` counts in, for one launch."""
    return np.zeros(1, np.int64)


@compiled
def claim(taken):
    """The number of the next task that nobody has claimed; `taken` is what `none_taken` gave for this launch.

    Whoever is free takes the next task, so a thread that comes late, or whose rows are not in its cache, does fewer.
    What a task computes must not depend on who does it. A part that is done once more finds nothing left to claim.
    """
    return _add_one(np.int64(taken.ctypes.data))
