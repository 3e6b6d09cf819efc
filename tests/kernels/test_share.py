"""Tasks shared out by what they cost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coset.kernels.share import _BESIDE, shared_out


@given(st.lists(st.integers(0, 10_000), max_size=80), st.integers(1, 8))
def test_no_part_has_more_than_one_task_above_another(costs: list[int], parts: int) -> None:
    owners = np.array(costs, np.int64)
    shared_out.py_func(owners, parts)
    loads = np.zeros(parts, np.int64)
    for cost, owner in zip(costs, owners, strict=True):
        loads[owner] += cost + _BESIDE
    assert loads.max() - loads.min() <= max(costs, default=0) + _BESIDE
