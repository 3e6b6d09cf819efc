"""The page's experiment: the committed results are within what it must show, and the script runs."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coset.data import available

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "keras_example.py"
RESULTS = ROOT / "recipes" / "results" / "keras-layers"
REPORT: dict[str, Any] = json.loads((RESULTS / "report.json").read_text(encoding="utf-8"))
FINAL = {(row["layout"], row["shuffle"]): row["val_mse"][-1] for row in REPORT["rows"]}


@pytest.mark.parametrize(
    ("layout", "shuffle", "low", "high"),
    [
        ("full", "buffer", 0.735, 0.775),
        ("exact", "buffer", 0.85, 0.91),
        ("full", "full", 0.735, 0.755),
        ("exact", "full", 0.82, 0.85),
    ],
)
def test_committed_results_repeat_the_page(layout: str, shuffle: str, low: float, high: float) -> None:
    assert low <= FINAL[layout, shuffle] <= high


@pytest.mark.parametrize("shuffle", ["buffer", "full"])
def test_the_default_layout_is_as_good(shuffle: str) -> None:
    assert FINAL["default", shuffle] <= FINAL["exact", shuffle] + 0.02


def test_parameters_of_the_page() -> None:
    counts = {row["layout"]: row["parameters"] for row in REPORT["rows"]}
    assert counts == {"full": 623_744, "exact": 117_968, "default": 113_312}


def test_the_table_is_that_of_the_report() -> None:
    spec = importlib.util.spec_from_file_location("keras_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules["keras_example"] = script  # dataclasses look their module up
    spec.loader.exec_module(script)
    assert (RESULTS / "results.md").read_text(encoding="utf-8") == script.markdown(REPORT)


@pytest.mark.skipif(not available("movielens-1m"), reason="needs MovieLens-1M in $COSET_DATA")
def test_the_script_runs(tmp_path: Path, backend: str) -> None:
    words = ["--backend", backend, "--rows", "20000", "--epochs", "1", "--threads", "1", "--out", str(tmp_path)]
    environment = os.environ | {"KERAS_BACKEND": ""}
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False, timeout=280,
        env=environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [row["layout"] for row in report["rows"]] == ["full", "exact"]
    assert report["backend"] == backend
