"""Curves out of short trainings, against losses that are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coset.data import load_ratings
from coset.data.settings import DataSettings
from coset.errors import InputError
from coset.experiments.calibrate import TABLES, _digest, _fitted, _one_by_one, calibrate
from coset.experiments.plan_choices import Planning
from coset.experiments.recipe import Recipe
from coset.experiments.resolve import Row
from coset.experiments.row import RowSettings
from coset.methods import Method
from coset.methods.hashing import Hashing
from coset.models.dot import DotSettings
from coset.planning.curves import Curve
from coset.schema import Table
from coset.tasks import TrainingSettings
from coset.tasks.ratings import RatingsTask

FULL = {"user": 0.03, "item": 0.05, "genre": 0.01}  # what full tables lose for their dim


def row(methods: Mapping[str, Method]) -> Row[Any, Any, Any, Any]:
    return Row("x", None, "compressed", RatingsTask(DataSettings("x")), methods)


def test_known_curves_are_found_again() -> None:
    scales, power = {"user": 0.3, "item": 0.1}, 1.414214

    def loss(parts: Mapping[str, float]) -> float:
        return sum(scale * parts[name] ** power for name, scale in scales.items())

    rows, predicted = [row({})], [FULL]
    for name in scales:
        for part in (0.1, 0.3, 0.6):
            rows.append(row({name: Hashing(1)}))
            predicted.append({**FULL, name: part})
    curves, _ = _fitted(rows, predicted, [loss(parts) - loss(FULL) for parts in predicted])
    for name, scale in scales.items():
        assert curves[name].scale == pytest.approx(scale, rel=1e-3)
        assert curves[name].power == pytest.approx(power, rel=1e-5)
    assert curves["genre"].scale == pytest.approx(0.2, rel=1e-3)  # not measured: the mean of the others
    assert curves["genre"].power == curves["user"].power


def test_narrow_models_alone_are_enough_for_a_curve() -> None:
    wide, narrow = {"user": 0.02, "item": 0.04}, {"user": 0.2, "item": 0.4}
    curves, _ = _fitted([row({}), row({})], [wide, narrow], [0.0, 0.054])
    assert curves["user"] == curves["item"]
    assert curves["user"](0.2) + curves["item"](0.4) - curves["user"](0.02) - curves["item"](0.04) == pytest.approx(
        0.054, rel=1e-2
    )


def test_what_is_not_predicted_to_lose_more_tells_nothing() -> None:
    """Beyond the dims that ids can tell apart, predicted losses are rounding errors of 0."""
    rows = [row({}), row({}), row({"user": Hashing(1)}), row({"item": Hashing(1)})]
    predicted = [
        {"user": 2e-16, "item": 0.0},
        {"user": 1e-15, "item": 1e-16},
        {"user": 0.2, "item": 0.0},
        {"user": 2e-16, "item": 1e-15},
    ]
    curves, _ = _fitted(rows, predicted, [0.0, 0.01, 0.04, -0.02])
    assert curves == {"user": Curve(0.2), "item": Curve(0.2)}
    predicted = [{"user": 0.0, "item": 0.0}, {"user": 0.0, "item": 0.0}, {"user": 0.2, "item": 0.0}]
    assert _fitted(rows[:3], predicted, [0.0, 0.01, 0.04])[0]["item"] == Curve(0.2)  # nothing is divided by 0
    narrow, _ = _fitted(rows[:2], [predicted[0], predicted[2]], [0.0, 0.04])
    assert narrow == {"user": Curve(0.2), "item": Curve(0.2)}


def test_what_is_measured_is_the_difference_to_full_tables(
    small_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def spied(*given: Any) -> Any:
        seen.extend(given)
        return _fitted(*given)

    task = RatingsTask(
        DataSettings(str(small_csv)),
        model=DotSettings(embedding_dim=8, biases=True),
        training=TrainingSettings(epochs=12, batch_size=64, learning_rate=0.01),
    )
    recipe = Recipe("r", "R", task, (RowSettings("full"),))
    data = load_ratings(small_csv)
    monkeypatch.setattr("coset.experiments.calibrate._fitted", spied)
    curves = curves_of(recipe, data, Planning(("hashing",)), tmp_path)
    rows, predicted, measured = seen
    (folder,) = (tmp_path / "calibration").iterdir()
    scores = [json.loads((folder / of.slug / "metrics.json").read_text())["history"][-1]["val_mse"] for of in rows]
    assert rows[0].name == "full"
    assert measured == [score - scores[0] for score in scores]
    assert len({*measured}) == len(rows) > 5
    # Rows that half of the users share lose, and the curve says so, of the size that was measured.
    at = next(at for at, of in enumerate(rows) if "user" in of.methods)
    parts, full = predicted[at]["user"], predicted[0]["user"]
    assert curves["user"](parts) - curves["user"](full) == pytest.approx(measured[at], rel=0.5)
    assert measured[at] > 0


def test_the_largest_tables_are_measured_by_themselves() -> None:
    tables = [Table(f"C{at}", 1000 + at, 8, frequencies=np.ones(1000 + at)) for at in range(TABLES + 3)]
    tables.append(Table("small", 10, 8, frequencies=np.ones(10)))
    rows = list(_one_by_one(tables, Planning(("hashing",))))
    names = [name for of in rows for name in of.methods]
    assert list(dict.fromkeys(names)) == [f"C{at}" for at in range(TABLES + 2, 2, -1)]
    few = [name for of in _one_by_one(tables[-3:], Planning(("hashing",))) for name in of.methods]
    assert set(few) == {f"C{TABLES + 1}", f"C{TABLES + 2}"}  # the small one is not worth a training


def test_what_other_data_measured_is_not_taken(small_csv: Path, tmp_path: Path) -> None:
    recipe = Recipe("r", "R", RatingsTask(DataSettings(str(small_csv))), (RowSettings("full"),))
    first = load_ratings(small_csv)
    other = tmp_path / "other.csv"
    other.write_text(small_csv.read_text().replace(",5\n", ",4\n", 1))
    assert _digest(recipe, first) == _digest(recipe, load_ratings(small_csv))
    assert _digest(recipe, first) != _digest(recipe, load_ratings(other))
    assert _digest(recipe, first) != _digest(recipe.override("training", {"epochs": 1}), first)


def curves_of(recipe: Recipe[Any, Any, Any, Any], data: Any, how: Planning, beside: Path) -> Mapping[str, Curve]:
    found = calibrate(recipe, data, how, beside)
    assert found is not None
    return found.curves


def few_items(path: Path) -> Path:
    """Ratings of 60 users and 3 items, so that tables keep all that there is to learn in 3 dims."""
    draw = np.random.default_rng(0)
    users, items = np.repeat(np.arange(60), 30), np.tile([0, 1, 2], 600)
    rows = zip(users, items, draw.integers(1, 6, len(users)), strict=True)
    path.write_text("userId,movieId,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows))
    return path


def test_dims_that_make_no_difference_are_not_trained(tmp_path: Path) -> None:
    source = few_items(tmp_path / "few.csv")
    task = RatingsTask(
        DataSettings(str(source)),
        model=DotSettings(embedding_dim=16, biases=True),
        training=TrainingSettings(epochs=4, batch_size=64),
    )
    recipe = Recipe("r", "R", task, (RowSettings("full"),))
    curves = curves_of(recipe, load_ratings(source), Planning(("low_rank",)), tmp_path / "runs")
    assert all(0 < curve.scale < 10 for curve in curves.values())
    (folder,) = (tmp_path / "runs" / "calibration").iterdir()
    names = {path.name for path in folder.iterdir()}
    assert {"full", "narrow-d=2"} <= names
    assert not {"narrow-d=8", "narrow-d=4"} & names
    wide = recipe.override("model", {"embedding_dim": 64})
    with pytest.raises(InputError, match="nothing to calibrate"):
        calibrate(wide, load_ratings(source), Planning(("full",), (64, 32)), tmp_path / "wide")
    assert not (tmp_path / "wide").exists()


def test_a_calibration_that_must_be_cheap_is_left_out_where_it_is_not(small_csv: Path, tmp_path: Path) -> None:
    task = RatingsTask(DataSettings(str(small_csv)), model=DotSettings(embedding_dim=8, biases=True))
    recipe = Recipe("r", "R", task, (RowSettings("full"),))
    data = load_ratings(small_csv)
    assert calibrate(recipe, data, Planning(("hashing",)), tmp_path / "a", cheap=True) is None
    assert not (tmp_path / "a").exists()


def test_what_is_measured_is_kept_and_the_same_again(small_csv: Path, tmp_path: Path) -> None:
    task = RatingsTask(
        DataSettings(str(small_csv)),
        model=DotSettings(embedding_dim=8, biases=True),
        training=TrainingSettings(epochs=4, batch_size=64),
    )
    recipe = Recipe("r", "R", task, (RowSettings("full"),))
    data = load_ratings(small_csv)
    how = Planning(("low_rank", "hashing"))
    curves = curves_of(recipe, data, how, tmp_path / "a")
    assert set(curves) == {"user", "item"}
    (folder,) = (tmp_path / "a" / "calibration").iterdir()
    names = {path.name.rpartition("-")[0] for path in folder.iterdir()}
    assert {"user-hashing", "user-low-rank", "item-hashing", "item-low-rank"} <= names
    assert {"narrow-d=4", "narrow-d=2", "narrow-d=1", "full"} <= {path.name for path in folder.iterdir()}
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")}
    assert curves_of(recipe, data, how, tmp_path / "a") == curves
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert curves_of(recipe, data, how, tmp_path / "b") == curves
