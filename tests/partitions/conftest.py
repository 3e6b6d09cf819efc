"""What the tests of partitions share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def rows_everywhere() -> Callable[[Any, list[int]], list[int]]:
    """The rows of ids by Python integers, after checking that numpy and torch agree with them."""

    def rows_of(partition: Any, ids: list[int]) -> list[int]:
        rows = [partition(i) for i in ids]
        by_numpy, by_torch = partition(np.array(ids, dtype=np.int64)), partition(torch.tensor(ids, dtype=torch.int64))
        assert all(type(row) is int for row in rows)
        assert by_numpy.dtype == np.int64
        assert by_torch.dtype == torch.int64
        assert by_numpy.tolist() == rows
        assert by_torch.tolist() == rows
        return rows

    return rows_of
