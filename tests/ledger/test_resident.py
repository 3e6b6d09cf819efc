"""The ledger against the memory of real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

SCRIPT = Path(__file__).with_name("training_process.py")
MB = 10**6


Run = Callable[..., dict[str, int]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """`run(engine, optimizer, rows, dim)` is what a process that trains such a table says of itself."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux says what a process had resident at most, its parent apart")
    with subprocess.Popen([sys.executable, str(SCRIPT)], stdin=PIPE, stdout=PIPE, text=True) as process:

        def ask(*words: object) -> dict[str, int]:
            assert process.stdin is not None
            assert process.stdout is not None
            print(*words, file=process.stdin, flush=True)
            found: dict[str, int] = json.loads(process.stdout.readline())
            return found

        yield ask


@pytest.fixture(scope="module")
def without_tables(run: Run) -> int:
    """Bytes of the same process without its table."""
    return run()["resident"]


@pytest.mark.parametrize(
    ("engine", "optimizer", "rows", "dim"),
    [
        ("fused", "row_wise_adagrad", 2_000_000, 32),
        ("fused", "adam", 1_000_000, 32),
        ("plain", "adam", 1_000_000, 32),  # dense gradients
        ("plain", "sparse_adam", 1_000_000, 32),
    ],
)
def test_large_tables_take_what_is_predicted(
    run: Run, without_tables: int, engine: str, optimizer: str, rows: int, dim: int
) -> None:
    found = run(engine, optimizer, rows, dim, "floats")
    assert rows * dim * 4 > 100 * MB  # beside which what torch allocates once is small
    assert found["resident"] - without_tables == pytest.approx(found["predicted"], rel=0.1)


def test_codes_without_masters_take_a_third(run: Run, without_tables: int) -> None:
    """Of tables and state, also while they are made: rows are drawn and rounded in parts."""
    floats, codes = (
        run("fused", "row_wise_adagrad", 4_000_000, 16, stored)["resident"] - without_tables
        for stored in ("floats", "codes")
    )
    once = 32 * MB  # what making codes leaves with torch's allocator, of tables of any size
    assert codes - once <= 0.35 * floats
