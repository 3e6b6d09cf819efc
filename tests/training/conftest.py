"""Trainings of a few rows: one thread is enough for them, and two would wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from coset.data import Ratings, load_ratings
from tests.training.runs import execute, spec_of


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ratings(small_csv: Path) -> Ratings:
    return load_ratings(small_csv)


@pytest.fixture(scope="module")
def whole(ratings: Ratings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of `spec_of()`."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    execute(spec_of(), folder, ratings)
    return folder
