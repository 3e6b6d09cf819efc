"""What a run notes of the machine."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from coset.training.folder import forget_peak, peak_resident_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the most memory anew")
def test_the_most_memory_is_counted_anew() -> None:
    size = 200 << 20
    large = np.ones(size, dtype=np.uint8)
    del large
    most = peak_resident_bytes()
    forget_peak()
    since = peak_resident_bytes()
    assert most is not None
    assert since is not None
    assert most - since > 0.9 * size
    large = np.ones(size, dtype=np.uint8)
    again = peak_resident_bytes()
    assert again is not None
    assert again - since > 0.9 * len(large)
