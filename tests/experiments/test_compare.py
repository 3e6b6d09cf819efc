"""A comparison in full: its results, its files, its progress, and what a second call does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib.image
import pytest

from coset.data import Ratings, load_ratings
from coset.errors import InputError
from coset.experiments import compare as comparing
from coset.experiments.recipe import AnyRecipe, parse_recipe
from coset.files import locked
from coset.report.folder import write
from coset.training.run import Options

RECIPE = """
title = "Small"
data = "small.csv"
seeds = 2
first_seed = 5
notes = ["a note of the recipe"]
[model]
embedding_dim = 4
biases = true
output = "linear"
[training]
batch_size = 256
epochs = 2
[[rows]]
name = "full"
[[rows]]
name = "hashed"
note = "half the bytes"
method = "hashing"
budgets = ["50%"]
[[rows]]
name = "bias only"
embedding_dims = [0]
training = { epochs = 3 }
"""


def compare(recipe: AnyRecipe, out: Path, data: Any, *, resume: bool = False, **more: Any) -> dict[str, Any]:
    return comparing.compare(recipe, out, data, options=Options(resume), **more)


class Watch:
    """Progress, written down."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.seen: list[str] = []

    def begin(self, steps: int) -> None:
        self.total = steps

    def advance(self, steps: int, what: str) -> None:
        assert steps >= 0
        self.done += steps
        if what not in self.seen:
            self.seen.append(what)


@pytest.fixture(scope="module")
def ratings(small_csv: Path) -> Ratings:
    return load_ratings(small_csv)


@pytest.fixture(scope="module")
def recipe() -> AnyRecipe:
    return parse_recipe(RECIPE, "small", "small.toml")


@pytest.fixture(scope="module")
def finished(
    recipe: AnyRecipe, ratings: Ratings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], Watch]:
    out, watch = tmp_path_factory.mktemp("compare") / "out", Watch()
    return out, compare(recipe, out, ratings, progress=watch, notes=["a note of the call"]), watch


def bare(results: dict[str, Any]) -> dict[str, Any]:
    """Without what a clock says."""
    rows = [
        {key: value for key, value in row.items() if key not in ("seconds_per_epoch", "peak_resident_bytes")}
        | {"history": [[{k: v for k, v in of.items() if k != "seconds"} for of in run] for run in row["history"]]}
        for row in results["rows"]
    ]
    return results | {"rows": rows}


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".coset-lock"
    }


def test_results_follow_the_schema(finished: tuple[Path, dict[str, Any], Watch], ratings: Ratings) -> None:
    out, results, _ = finished
    assert json.loads((out / "results.json").read_text()) == results
    assert results["schema"] == 2
    assert {"dataset", "split", "protocol", "host", "versions", "rows"} <= set(results)
    assert results["dataset"] == ratings.name
    assert results["synthetic"] is False
    assert {"a note of the recipe", "a note of the call"} <= set(results["notes"])
    assert (results["split"]["training_rows"], results["split"]["validation_rows"]) == (2550, 450)
    assert (results["split"]["users"], results["split"]["items"]) == (60, 40)
    assert {"coset", "torch", "numpy", "python"} <= set(results["versions"])
    assert [row["name"] for row in results["rows"]] == ["constant", "ridge bias", "full", "hashed", "bias only"]
    for row in trained(results):
        assert {
            "name", "embedding_dim", "methods", "parameters", "bytes", "ratio", "seeds", "engine", "metrics",
            "epochs", "seconds_per_epoch", "history",
        } <= set(row)  # fmt: skip
        assert row["seeds"] == [5, 6]
        assert row["engine"] == "fused"
        assert row["seconds_per_epoch"] > 0
        assert len(row["history"]) == 2
        assert all(len(run) == row["epochs"] for run in row["history"])


def trained(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in results["rows"] if row["group"] != "baseline"]


def test_baselines_stand_beside_the_rows(
    finished: tuple[Path, dict[str, Any], Watch], recipe: AnyRecipe, ratings: Ratings
) -> None:
    for at, row in enumerate(finished[1]["rows"][:2]):
        assert row.keys() >= trained(finished[1])[0].keys() - set(recipe.task.row_sections)
        assert (row["group"], row["history"], row["epochs"], row["seconds_per_epoch"]) == ("baseline", [], 0, None)
        of_seeds = [recipe.task.baselines(recipe.task.encoded(ratings, seed))[at] for seed in (5, 6)]
        assert row["metrics"]["val_mse"]["values"] == [of.metrics["val_mse"] for of in of_seeds]
        assert (row["name"], row["bytes"]) == (of_seeds[0].name, of_seeds[0].bytes)


def test_metrics_are_means_and_deviations_over_seeds(finished: tuple[Path, dict[str, Any], Watch]) -> None:
    for row in trained(finished[1]):
        assert set(row["metrics"]) >= {"val_mse", "val_mae", "train_mse", "train_mae"}
        for name, metric in row["metrics"].items():
            values = [run[-1][name] for run in row["history"]]
            assert metric["values"] == values
            assert values[0] != values[1]
            assert metric["mean"] == pytest.approx(fmean(values))
            assert metric["std"] == pytest.approx(stdev(values))  # ddof = 1


def test_bytes_and_ratios(finished: tuple[Path, dict[str, Any], Watch]) -> None:
    rows = {row["name"]: row for row in finished[1]["rows"]}
    assert rows["full"]["bytes"] == 4 * (100 * 4 + 101)
    assert rows["full"]["ratio"] == 1.0
    assert rows["bias only"]["bytes"] == 4 * 101
    assert rows["hashed"]["bytes"] <= rows["full"]["bytes"] / 2
    for name, row in rows.items():
        assert row["ratio"] == (None if name == "constant" else rows["full"]["bytes"] / row["bytes"])
        assert row["parameters"] * 4 == row["bytes"]
    assert [rows[name]["embedding_dim"] for name in ("full", "hashed", "bias only")] == [4, 4, 0]
    assert rows["hashed"]["methods"]["user"]["method"] == "hashing"
    assert finished[1]["vocabulary_bytes"] == 2 * 8 * 100


def test_the_files(finished: tuple[Path, dict[str, Any], Watch]) -> None:
    out = finished[0]
    write(finished[1], out)
    assert {path.name for path in out.iterdir()} - {".coset-lock"} == {
        "compare.json", "results.json", "results.md", "losses.png", "frontier.png", "runs",
    }  # fmt: skip
    for name in ("losses.png", "frontier.png"):
        picture = matplotlib.image.imread(out / name)
        assert picture.shape[0] > 200
        assert picture.shape[1] > 200
        assert picture.std() > 0.01
    text = (out / "results.md").read_text(encoding="utf-8")
    assert all(word in text for word in ("full", "hashed", "bias only", "half the bytes", "a note of the call"))
    runs = sorted(str(path.parent.relative_to(out / "runs")) for path in out.glob("runs/*/*/metrics.json"))
    assert runs == sorted(f"{row}/seed-{seed}" for row in ("full", "hashed", "bias-only") for seed in (5, 6))


def test_rows_of_a_seed_share_split_and_vocabulary(
    finished: tuple[Path, dict[str, Any], Watch], recipe: AnyRecipe, ratings: Ratings
) -> None:
    out = finished[0]
    contents = {
        seed: {(out / "runs" / row / f"seed-{seed}" / "user.safetensors").read_bytes() for row in ("full", "hashed")}
        for seed in (5, 6)
    }
    assert all(len(same) == 1 for same in contents.values())
    assert contents[5] != contents[6]
    first, second = (recipe.task.encoded(ratings, seed) for seed in (5, 6))
    assert first.split.validation.tolist() != second.split.validation.tolist()


def test_progress_adds_up(finished: tuple[Path, dict[str, Any], Watch]) -> None:
    watch = finished[2]
    assert watch.total == watch.done == 2 * (2 + 2 + 3) * 10
    assert watch.seen == [f"{row}, seed {seed}" for seed in (5, 6) for row in ("full", "hashed", "bias only")]


def test_resuming_a_finished_comparison_trains_nothing(
    finished: tuple[Path, dict[str, Any], Watch], recipe: AnyRecipe, ratings: Ratings
) -> None:
    out, results, _ = finished
    before, watch = files(out / "runs"), Watch()
    again = compare(recipe, out, ratings, resume=True, progress=watch, notes=["a note of the call"])
    assert again == results
    assert files(out / "runs") == before
    assert watch.total == watch.done


def test_without_resume_an_existing_folder_is_refused_and_left_alone(
    finished: tuple[Path, dict[str, Any], Watch], recipe: AnyRecipe, ratings: Ratings, tmp_path: Path
) -> None:
    before = files(finished[0])
    with pytest.raises(InputError, match="--resume") as caught:
        compare(recipe, finished[0], ratings)
    assert str(finished[0]) in str(caught.value)
    assert files(finished[0]) == before
    (tmp_path / "diary.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "diary.txt"):
        with pytest.raises(InputError, match="exists already"):
            compare(recipe, out, ratings)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_resume_with_other_choices_is_refused_and_nothing_lost(
    finished: tuple[Path, dict[str, Any], Watch], recipe: AnyRecipe, ratings: Ratings
) -> None:
    before = files(finished[0])
    with pytest.raises(InputError, match="epochs"):
        compare(recipe.override("training", {"epochs": 4}), finished[0], ratings, resume=True)
    with pytest.raises(InputError, match="data"):
        compare(recipe, finished[0], ratings.select(slice(0, 2990)), resume=True)
    assert files(finished[0]) == before


def test_resume_with_another_recipe_does_not_replace_the_results(
    recipe: AnyRecipe, ratings: Ratings, tmp_path: Path
) -> None:
    bias = replace(recipe, only=("bias only",), seeds=1)
    compare(bias, tmp_path / "out", ratings)
    before = (tmp_path / "out" / "results.json").read_bytes()
    text = RECIPE.replace('"full"', '"other"').replace('"Small"', '"Another recipe"')
    with pytest.raises(InputError):
        compare(replace(parse_recipe(text, "b", "b"), only=("other",)), tmp_path / "out", ratings, resume=True)
    assert (tmp_path / "out" / "results.json").read_bytes() == before


def test_a_comparison_of_another_version_is_refused(recipe: AnyRecipe, ratings: Ratings, tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text('{"schema": 1, "recipe": {}}')
    with pytest.raises(InputError, match=r"another version of coset began .schema 1.*compare anew in another --out"):
        compare(recipe, tmp_path, ratings, resume=True)
    assert (tmp_path / "compare.json").read_text() == '{"schema": 1, "recipe": {}}'


class Interrupted(Exception):
    """Stands for a kill."""


class StopAt(Watch):
    """Progress that breaks off at a run."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def advance(self, steps: int, what: str) -> None:
        super().advance(steps, what)
        if what == self.what and steps:
            raise Interrupted


def test_a_stopped_comparison_goes_on_at_the_first_run_not_yet_done(
    finished: tuple[Path, dict[str, Any], Watch], recipe: AnyRecipe, ratings: Ratings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        compare(recipe, out, ratings, progress=StopAt("hashed, seed 6"))
    assert not (out / "results.json").exists()
    done = [path.parent for path in out.glob("runs/*/*/metrics.json")]
    assert len(done) == 4
    before = {str(run): files(run) for run in done}
    watch = Watch()
    results = compare(recipe, out, ratings, resume=True, progress=watch, notes=["a note of the call"])
    assert {str(run): files(run) for run in done} == before
    assert bare(results) == bare(finished[1])
    assert watch.total == watch.done


def test_more_seeds_can_be_added(
    finished: tuple[Path, dict[str, Any], Watch], recipe: AnyRecipe, ratings: Ratings, tmp_path: Path
) -> None:
    one = replace(recipe, seeds=1, only=("full", "bias only"))
    first = compare(one, tmp_path / "out", ratings)
    assert [row["metrics"]["val_mse"]["std"] for row in first["rows"]] == [None] * 4
    kept = files(tmp_path / "out" / "runs" / "full" / "seed-5")
    both = compare(replace(one, seeds=2), tmp_path / "out", ratings, resume=True)
    assert files(tmp_path / "out" / "runs" / "full" / "seed-5") == kept
    wanted = {row["name"]: row["metrics"] for row in finished[1]["rows"]}
    names = ("constant", "ridge bias", "full", "bias only")
    assert {row["name"]: row["metrics"] for row in both["rows"]} == {name: wanted[name] for name in names}


def test_without_a_row_called_full_there_is_no_ratio(recipe: AnyRecipe, ratings: Ratings, tmp_path: Path) -> None:
    results = compare(replace(recipe, seeds=1, only=("bias only",)), tmp_path / "out", ratings)
    assert [row["ratio"] for row in results["rows"]] == [None] * 3
    write(results, tmp_path / "out")
    assert (tmp_path / "out" / "frontier.png").exists()


def test_a_recipe_that_does_not_fit_makes_no_folder(recipe: AnyRecipe, ratings: Ratings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'hashed'"):
        compare(replace(recipe, only=("hashd",)), tmp_path / "out", ratings)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(recipe: AnyRecipe, ratings: Ratings, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InputError, match="another process"):
        compare(recipe, tmp_path, ratings, resume=True)


def test_a_tuning_run_says_what_it_reports_on(recipe: AnyRecipe, ratings: Ratings, tmp_path: Path) -> None:
    tuned = replace(recipe.override("split", {"tuning": 0.05}), seeds=1, only=("bias only",))
    results = compare(tuned, tmp_path / "out", ratings)
    assert "training" in results["protocol"]["reported"]
    assert results["split"]["validation_rows"] == round(0.05 * 2550)
    assert results["split"]["training_rows"] + results["split"]["validation_rows"] == 2550
