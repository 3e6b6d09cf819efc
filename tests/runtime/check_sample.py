"""Holds coset-runtime, installed without torch, against what torch said of some artifacts.

$ .venv-runtime/bin/python tests/runtime/check_sample.py FOLDER
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import coset_runtime


def check(folder: Path) -> int:
    """How many artifacts there are, all of which predict and recommend as torch does."""
    every = sorted(path.parent for path in folder.glob("*/expected.json"))
    for path in every:
        said = json.loads((path / "expected.json").read_text())
        model, expected = coset_runtime.load(path), np.array(said["predictions"])
        users, items = said["users"], said["items"]
        pairs = [(user, item) for user in users for item in items]
        found = model.score([user for user, _ in pairs], [item for _, item in pairs]).reshape(expected.shape)
        assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max(), path.name
        best = model.recommend(users, 5).predictions.reshape(len(users), 5)
        ideal = -np.sort(-expected, axis=1)[:, :5]
        assert np.abs(best - ideal).max() <= 1e-6 * np.abs(expected).max(), path.name
    return len(every)


if __name__ == "__main__":
    there = [name for name in ("torch", "coset", "numba", "safetensors") if find_spec(name)]
    assert not there, f"{there} are installed here, so nothing would be shown"
    count = check(Path(sys.argv[1]))
    assert count > 40, f"only {count} artifacts"
    print(f"coset-runtime {coset_runtime.__version__}: {count} artifacts as torch has them")
