"""Curves out of short trainings, against losses that are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from coset.data import load_ratings
from coset.data.settings import DataSettings
from coset.experiments.calibrate import _fitted, calibrate
from coset.experiments.planning import Planning
from coset.experiments.ratings import RatingsRecipe
from coset.experiments.task import Row, RowSettings
from coset.methods import Method
from coset.methods.hashing import Hashing
from coset.models.dot import DotSettings
from coset.training.settings import TrainingSettings

FULL = {"user": 0.03, "item": 0.05, "genre": 0.01}  # what full tables lose for their dim


def row(methods: Mapping[str, Method]) -> Row:
    return Row("x", None, "compressed", None, methods, None, None)


def test_known_curves_are_found_again() -> None:
    scales, power = {"user": 0.3, "item": 0.1}, 1.414214

    def loss(parts: Mapping[str, float]) -> float:
        return sum(scale * parts[name] ** power for name, scale in scales.items())

    rows, predicted = [row({})], [FULL]
    for name in scales:
        for part in (0.1, 0.3, 0.6):
            rows.append(row({name: Hashing(1)}))
            predicted.append({**FULL, name: part})
    curves = _fitted(rows, predicted, [loss(parts) - loss(FULL) for parts in predicted])
    for name, scale in scales.items():
        assert curves[name].scale == pytest.approx(scale, rel=1e-3)
        assert curves[name].power == pytest.approx(power, rel=1e-5)
    assert curves["genre"].scale == pytest.approx(0.2, rel=1e-3)  # not measured: the mean of the others
    assert curves["genre"].power == curves["user"].power


def test_narrow_models_alone_are_enough_for_a_curve() -> None:
    wide, narrow = {"user": 0.02, "item": 0.04}, {"user": 0.2, "item": 0.4}
    curves = _fitted([row({}), row({})], [wide, narrow], [0.0, 0.054])
    assert curves["user"] == curves["item"]
    assert curves["user"](0.2) + curves["item"](0.4) - curves["user"](0.02) - curves["item"](0.04) == pytest.approx(
        0.054, rel=1e-2
    )


def test_what_is_measured_is_kept_and_the_same_again(small_csv: Path, tmp_path: Path) -> None:
    recipe = RatingsRecipe(
        "r", "R", DataSettings(str(small_csv)), (RowSettings("full"),), model=DotSettings(embedding_dim=8, biases=True),
        training=TrainingSettings(epochs=4, batch_size=64),
    )  # fmt: skip
    data = load_ratings(small_csv)
    how = Planning(("low_rank", "hashing"))
    curves = calibrate(recipe, recipe.model, data, how, tmp_path / "a")
    assert set(curves) == {"user", "item"}
    assert all(curve.scale >= 0 for curve in curves.values())
    (folder,) = (tmp_path / "a" / "calibration").iterdir()
    names = {path.name.rpartition("-")[0] for path in folder.iterdir()}
    assert {"user-hashing", "user-low-rank", "item-hashing", "item-low-rank"} <= names
    assert {"narrow-d=4", "narrow-d=2", "narrow-d=1", "full"} <= {path.name for path in folder.iterdir()}
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")}
    assert calibrate(recipe, recipe.model, data, how, tmp_path / "a") == curves
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert calibrate(recipe, recipe.model, data, how, tmp_path / "b") == curves
