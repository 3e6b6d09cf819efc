"""Small logs in Criteo's layout, and a look at all that a folder holds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Log = list[list[str]]


def _rows(count: int, seed: int = 0) -> Log:
    """Rows in Criteo's layout, as text; some fields are missing, and numbers may be negative."""
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        numbers = [str(int(value)) for value in np.exp(draw.exponential(1.5, 13)) - 2]
        categories = [
            f"{int(rank * 2654435761 + place) % 2**32:08x}"
            for place, rank in enumerate(np.exp(draw.random(26) * np.log(np.arange(2, 28) * 9)).astype(int))
        ]
        fields = [field if draw.random() > 0.1 else "" for field in numbers + categories]
        rows.append([str(draw.integers(0, 2)), *fields])
    return rows


def _text(rows: Log) -> bytes:
    """Rows as the text of a file."""
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def _contents(folder: Path) -> dict[str, bytes]:
    """All files of a prepared folder, but for its lock, and for how the files of the log were called."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".coset-lock"
    }
    told = json.loads(found["prepared.json"])
    return found | {"prepared.json": json.dumps(told | {"log": [], "sha256": ""}).encode()}


@pytest.fixture(autouse=True)
def no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushes change no result, and there are hundreds of them in a preparation, however small."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def criteo_rows() -> Callable[..., Log]:
    """See `_rows`."""
    return _rows


@pytest.fixture
def criteo_text() -> Callable[[Log], bytes]:
    """See `_text`."""
    return _text


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """See `_contents`."""
    return _contents


@pytest.fixture
def criteo_sample() -> Path:
    """The real sample in `$COSET_DATA`, or a skip that says why there is none."""
    folder = os.environ.get("COSET_DATA")
    path = Path(folder or "") / "criteo-kaggle" / "train.txt"
    if not folder or not path.is_file():
        reason = f"COSET_DATA has no criteo-kaggle/train.txt: {folder or 'COSET_DATA is not set'}"
        print(reason)
        pytest.skip(reason)
    return path
