"""Fixtures for the tests of the data room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def movielens_zip() -> Path:
    """The real ml-1m.zip in `$COSET_DATA`, or a skip that says why there is none."""
    folder = os.environ.get("COSET_DATA")
    path = Path(folder or "") / "ml-1m.zip"
    if not folder or not path.is_file():
        reason = f"COSET_DATA has no ml-1m.zip: {folder or 'COSET_DATA is not set'}"
        print(reason)
        pytest.skip(reason)
    return path
