"""A finished run whose files do not belong together: refused, by the name of the file that is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from coset.data import Ratings, load_ratings
from coset.data.clicks import ClickData
from coset.data.settings import DataSettings
from coset.errors import InputError
from coset.experiments.compress import compress_run
from coset.experiments.evaluate import evaluate_run
from coset.experiments.recipe import Recipe, RowSettings
from coset.experiments.train import train_row
from coset.methods import QuotientRemainder
from coset.models.dot import DotSettings
from coset.tasks import TrainingSettings
from coset.tasks.clicks import ClickSource, ClicksTask, ModelChoice
from coset.tasks.ratings import RatingsTask
from coset.training.run import Options, execute
from coset.training.spec import RunSpec

RESUMED = Options(resume=True)
MODEL = ModelChoice.from_json({"name": "dlrm", "embedding_dim": 4, "bottom": [4], "top": [4]})
CLICKS = RunSpec(
    ClicksTask(ClickSource("mine"), MODEL, replace(ClicksTask.default_training(), batch_size=256)),
    {"C1": QuotientRemainder(50)}, 0,
)  # fmt: skip


def spec(source: Path, seed: int) -> RunSpec[Any, Any, Any, Any]:
    model, training = DotSettings(embedding_dim=4, biases=True), TrainingSettings(batch_size=512, epochs=1)
    return RunSpec(RatingsTask(DataSettings(str(source)), model=model, training=training), {}, seed)


@pytest.fixture(scope="module")
def ratings(small_csv: Path) -> Ratings:
    return load_ratings(small_csv)


@pytest.fixture(scope="module")
def runs(small_csv: Path, ratings: Ratings, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that differ in their seed, and so in the order of their ids."""
    folder = tmp_path_factory.mktemp("seeds")
    for seed in (0, 1):
        execute(spec(small_csv, seed), folder / str(seed), ratings)
    return [folder / "0", folder / "1"]


def copy_of(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder)
    return folder


def refused_by_all(folder: Path, resume: Callable[[], Any], source: Path, words: str) -> None:
    for use in (
        lambda: evaluate_run(folder, str(source)),
        lambda: evaluate_run(folder),
        lambda: compress_run(folder, folder.parent / "out", budget="50%"),
        resume,
    ):
        with pytest.raises(InputError, match=words) as caught:
            use()
        assert str(caught.value).startswith(str(folder))
        assert len(str(caught.value)) < 300 + len(str(folder))
    assert not (folder.parent / "out").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("user.safetensors", r"user\.safetensors: not the file that this run was trained with"),
        ("item.safetensors", r"item\.safetensors: not the file that this run was trained with"),
        ("metrics.json", r"metrics\.json: of another model than the model\.safetensors beside it"),
        ("model.safetensors", r"metrics\.json: of another model than the model\.safetensors beside it"),
        ("run.json", r"spec\.seed is 1 there and 0"),
    ],
)
def test_a_file_of_another_run_is_named(
    name: str, words: str, runs: list[Path], small_csv: Path, ratings: Ratings, tmp_path: Path
) -> None:
    folder = copy_of(runs[0], tmp_path / "run")
    assert (runs[0] / name).read_bytes() != (runs[1] / name).read_bytes()
    shutil.copy(runs[1] / name, folder / name)
    refused_by_all(folder, lambda: execute(spec(small_csv, 0), folder, ratings, RESUMED), small_csv, words)


METRICS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a better score": lambda of: of["history"][-1].update(val_mse=0.1),
    "text for a number": lambda of: of.update(bytes="many"),
    "a list for a table": lambda of: of.update(host=[]),
    "a field less": lambda of: of.pop("engine"),
    "a field more": lambda of: of.update(more=1),
    "no history": lambda of: of.update(history=[]),
    "a seal of text": lambda of: of.update(digests="abc"),
    "no seal": lambda of: of.pop("digests"),
}


@pytest.mark.parametrize("case", METRICS)
def test_edited_metrics_are_named(
    case: str, runs: list[Path], small_csv: Path, ratings: Ratings, tmp_path: Path
) -> None:
    folder = copy_of(runs[0], tmp_path / "run")
    found = json.loads((folder / "metrics.json").read_text())
    METRICS[case](found)
    (folder / "metrics.json").write_text(json.dumps(found))
    words = r"metrics\.json: (edited since|not the metrics of a run).*restore it, or train again$"
    refused_by_all(folder, lambda: execute(spec(small_csv, 0), folder, ratings, RESUMED), small_csv, words)


RUNS: dict[str, Callable[[dict[str, Any]], object]] = {
    "text for a number": lambda of: of["spec"]["training"].update(epochs="one"),
    "another source": lambda of: of["spec"]["data"].update(source="other.csv"),
    "a section less": lambda of: of["spec"].pop("model"),
    "a list for a table": lambda of: of.update(data=[]),
    "a field more": lambda of: of.update(more={"deep": [1]}),
    "a choice of another length": lambda of: of["spec"].update(methods={"user": {"method": "full"}}),
    "nothing": lambda of: of.clear(),
}


@pytest.mark.parametrize("case", RUNS)
def test_an_edited_run_json_is_named(case: str, runs: list[Path], small_csv: Path, tmp_path: Path) -> None:
    folder = copy_of(runs[0], tmp_path / "run")
    found = json.loads((folder / "run.json").read_text())
    RUNS[case](found)
    (folder / "run.json").write_text(json.dumps(found))
    for use in (
        lambda: evaluate_run(folder, str(small_csv)),
        lambda: compress_run(folder, tmp_path / "o", budget="50%"),
    ):
        with pytest.raises(InputError, match=r"run\.json: edited since the run was trained, or of another run"):
            use()


@pytest.mark.parametrize("text", ['{"spec": {}}', '{"spec": []}', '{"spec": {"training": null}}', "{}"])
def test_a_run_that_names_no_settings_is_refused_before_a_search(
    text: str, small_csv: Path, ratings: Ratings, runs: list[Path], tmp_path: Path
) -> None:
    folder = copy_of(runs[0], tmp_path / "run")
    about = json.loads((folder / "run.json").read_text())
    del about["spec"]
    (folder / "run.json").write_text(json.dumps({**about, **json.loads(text)}))
    recipe = Recipe("r", "R", RatingsTask(DataSettings(str(small_csv))), (RowSettings("full"),))
    with pytest.raises(InputError, match=r"run\.json: edited since the run was trained .*settings"):
        train_row(recipe, folder, ratings, options=RESUMED)


@pytest.mark.parametrize("text", ["[]", "null", '"ratings"', '{"task": 3}', '{"task": "clicks"}', "{"])
def test_a_run_json_that_is_none(text: str, runs: list[Path], tmp_path: Path) -> None:
    folder = copy_of(runs[0], tmp_path / "run")
    (folder / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json|unknown task"):
        evaluate_run(folder)


def test_files_that_are_gone_are_named(runs: list[Path], tmp_path: Path) -> None:
    for name in ("user.safetensors", "model.safetensors"):
        folder = copy_of(runs[0], tmp_path / name)
        (folder / name).unlink()
        with pytest.raises(InputError, match=f"{name}: no such file"):
            evaluate_run(folder)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (2, r"a run that coset 0\.1 wrote \(schema 2, this coset reads 3\); train it again, or use coset 0\.1 for it"),
        (4, "a run that a newer coset wrote .*; update coset"),
    ],
)
def test_runs_of_another_version_are_told_of(
    schema: int, words: str, runs: list[Path], ratings: Ratings, small_csv: Path, tmp_path: Path
) -> None:
    folder = copy_of(runs[0], tmp_path / "run")
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(about | {"schema": schema}))
    refused_by_all(folder, lambda: execute(spec(small_csv, 0), folder, ratings, RESUMED), small_csv, words)


def test_a_run_on_clicks(clicks: ClickData, tmp_path: Path) -> None:
    other = replace(CLICKS, seed=1)
    for seed, of in enumerate((CLICKS, other)):
        execute(of, tmp_path / str(seed), clicks)
    for number, (name, words) in enumerate(
        [("metrics.json", "of another model"), ("model.safetensors", "of another model"), ("run.json", "seed is 1")]
    ):
        folder = copy_of(tmp_path / "0", tmp_path / f"copy-{number}" / "run")
        shutil.copy(tmp_path / "1" / name, folder / name)
        again = partial(execute, CLICKS, folder, clicks, RESUMED)
        refused_by_all(folder, again, clicks.folder, words)
    folder = copy_of(tmp_path / "0", tmp_path / "edited" / "run")
    found = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(found | {"prepared": 7}))
    refused_by_all(folder, lambda: execute(CLICKS, folder, clicks, RESUMED), clicks.folder, "edited since")
