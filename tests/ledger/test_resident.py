"""The ledger against the memory of real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("training_process.py")
MB = 10**6


def run(*words: object) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True, check=True, timeout=280
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def without_tables() -> int:
    """Bytes of the same process without its table, once all kernels are compiled."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux says what a process had resident at most, its parent apart")
    found = run()
    return (run() if found["compiled"] else found)["resident"]


@pytest.mark.parametrize(
    ("engine", "optimizer", "rows", "dim"),
    [
        ("fused", "row_wise_adagrad", 5_000_000, 32),
        ("fused", "dense_adam", 4_000_000, 32),
        ("plain", "adam", 4_000_000, 32),  # dense gradients
        ("plain", "sparse_adam", 4_000_000, 32),
    ],
)
def test_large_tables_take_what_is_predicted(
    without_tables: int, engine: str, optimizer: str, rows: int, dim: int
) -> None:
    found = run(engine, optimizer, rows, dim)
    assert rows * dim * 4 >= 500 * MB
    assert found["resident"] - without_tables == pytest.approx(found["predicted"], rel=0.1)
