"""A small click log, prepared, with something in it to be learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coset.data.clicks import ClickData, ClickWriter, Feature

CARDINALITIES = {"C1": 200, "C2": 40, "C3": 3}


def write(folder: Path, seed: int = 0, rows: int = 1500, validation: int = 700, lists: bool = True) -> ClickData:
    """Prepared data whose labels depend on the ids, the numbers and, if there are lists, on these."""
    draw = np.random.default_rng(seed)
    features = [Feature(name, n) for name, n in CARDINALITIES.items()]
    effects = [draw.normal(0, 1, n) for n in CARDINALITIES.values()]
    tags = draw.normal(0, 1, 10)
    if lists:
        features.append(Feature("tags", 10, multi_hot=True))
    with ClickWriter(folder, "small", ("I1", "I2"), features, synthetic=True) as writer:
        for part, count in (("training", rows), ("validation", validation)):
            ids = [(draw.random(count) ** 2 * n).astype(np.int64) for n in CARDINALITIES.values()]
            numeric = draw.normal(0, 1, (count, 2)).astype(np.float32)
            lengths = draw.integers(0, 4, count)
            values = draw.integers(0, 10, lengths.sum())
            score = numeric[:, 0] - 1 + sum(effect[of] for effect, of in zip(effects, ids, strict=True))
            if lists:
                score = score + np.bincount(np.repeat(np.arange(count), lengths), tags[values], count)
            labels = (draw.random(count) < 1 / (1 + np.exp(-score))).astype(np.float32)
            writer.append(part, labels, numeric, ids, {"tags": (values, lengths)} if lists else {})
    return ClickData.open(folder)


@pytest.fixture(scope="session")
def write_clicks() -> Callable[..., ClickData]:
    """`write`, for data of one's own."""
    return write


@pytest.fixture(scope="session")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> ClickData:
    return write(tmp_path_factory.mktemp("clicks") / "prepared")
