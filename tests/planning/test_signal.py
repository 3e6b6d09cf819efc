"""The signal in data is found back from the gains that it causes."""

from __future__ import annotations

import numpy as np
import pytest

from coset.planning.proxy import Proxy
from coset.planning.signal import Gains, Signal

DIMS = (1, 2, 4, 8)


def gains(unit: float, rows: float, decay: float, noise: float, many: int = 20_000) -> Gains:
    source = np.random.default_rng(3)
    counts = np.exp(source.uniform(0, 6, size=(many, 2))).astype(np.int64)
    proxy = Proxy(decay=decay, noise=1e-9, rows=rows)
    each = proxy.learned(counts[:, 0], 2) * proxy.learned(counts[:, 1], 2) * proxy.spectrum
    told = unit * each.cumsum(1)[:, [dims - 1 for dims in DIMS]]
    return Gains(counts, DIMS, told + noise * source.normal(size=(many, 1)))


@pytest.mark.parametrize(("rows", "decay"), [(4, 2.0), (32, 1.0), (16, 3.0)])
def test_constants_are_found_back(rows: float, decay: float) -> None:
    found = Signal.fitted(gains(0.1, rows, decay, noise=0.05), alone=1.0, rows=100)
    assert (found.proxy.rows, found.proxy.decay) == (rows, decay)
    assert found.unit == pytest.approx(0.1, rel=0.1)
    assert found.found
    assert found.residual < 1e-3


def test_where_noise_is_all_there_is_nothing_is_found() -> None:
    measured = gains(0.0, 8, 2.0, noise=0.5)
    found = Signal.fitted(Gains(measured.counts, DIMS, measured.gains - 0.01), alone=1.0, rows=100)
    assert not found.found
    assert found.gained(1.0) == 0


def test_few_rows_leave_the_constants_near_their_own() -> None:
    found = Signal.fitted(gains(0.1, 64, 1.0, noise=2.0, many=60), alone=1.0, rows=100)
    assert 4 <= found.proxy.rows <= 16
    assert 1.5 <= found.proxy.decay <= 3.0


def test_a_gain_that_nobody_notices_is_none() -> None:
    told = Signal(Proxy(), unit=1.0, alone=1.0, gain=9e-4, error=1e-6, residual=0.0, rows=10)
    assert not told.found


def test_the_interval_has_both_errors() -> None:
    told = Signal(Proxy(), unit=1.0, alone=1.0, gain=0.1, error=0.03, residual=0.04, rows=10)
    assert told.within(1.0) == pytest.approx(0.1)
