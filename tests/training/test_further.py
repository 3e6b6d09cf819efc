"""Finished runs that are trained on: to the bits of a longer training where nothing but its length differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from coset.data import Ratings, load_ratings
from coset.data.clicks import ClickData
from coset.data.settings import DataSettings
from coset.errors import InputError
from coset.methods import Method, QuotientRemainder, TensorTrain
from coset.models.dot import DotSettings
from coset.tasks import TrainingSettings
from coset.tasks.clicks import ClickSource, ClicksTask, ModelChoice
from coset.tasks.ratings import RatingsTask
from coset.training import checkpoint, run
from coset.training.run import Options, Saving
from coset.training.spec import RunSpec

MODEL = ModelChoice.from_json({"name": "dlrm", "embedding_dim": 4, "bottom": [4], "top": [4]})


def execute(
    spec: Any, folder: Path, data: Any, *, after: Path | None = None, on_step: Any = None, **options: Any
) -> Any:
    told = {} if on_step is None else {"on_step": on_step}
    return run.execute(spec, folder, data, Options(**options), after=after, **told)


class Killed(Exception):
    """Stands for SIGKILL."""


def dies_after(calls: int) -> Callable[[int], None]:
    left = [calls]

    def on_step(steps: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return on_step


@pytest.fixture(scope="module")
def ratings(small_csv: Path) -> Ratings:
    return load_ratings(small_csv).select(slice(0, 1200))


def spec(epochs: int, methods: dict[str, Method] | None = None, **training: Any) -> RunSpec[Any, Any, Any, Any]:
    given = {"batch_size": 256, "epochs": epochs, "learning_rate": 0.01, **training}
    task = RatingsTask(
        DataSettings("small.csv"), model=DotSettings(embedding_dim=4, biases=True, output="linear"),
        training=TrainingSettings(**given),
    )  # fmt: skip
    return RunSpec(task, {"user": QuotientRemainder(8)} if methods is None else methods, 3)


def click_spec(epochs: int, **training: Any) -> RunSpec[Any, Any, Any, Any]:
    given = {"batch_size": 256, "epochs": epochs, "learning_rate": 0.05, "dense_learning_rate": 0.01, **training}
    task = ClicksTask(ClickSource("mine"), MODEL, replace(ClicksTask.default_training(), **given))
    return RunSpec(task, {"C1": QuotientRemainder(50)}, 0)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "model.safetensors", "model")[0]


def same(left: Path, right: Path, within: float = 0.0) -> bool:
    a, b = weights(left), weights(right)
    return a.keys() == b.keys() and all(float((a[name] - b[name]).abs().max()) <= within for name in a)


def scores(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: of for name, of in entry.items() if name != "seconds"} for entry in metrics["history"]]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("engine", "training", "methods"),
    [
        ("fused", {"optimizer": "adam"}, None),
        ("fused", {"optimizer": "lazy_adam"}, None),
        ("fused", {"optimizer": "adagrad", "shuffle": "buffer(100)"}, None),
        ("fused", {"optimizer": "sgd", "learning_rate": 0.1}, None),
        ("plain", {"optimizer": "adam"}, {"user": TensorTrain(2)}),
        ("plain", {"optimizer": "adagrad"}, {}),
    ],
)
def test_ratings_end_where_a_longer_training_ends(
    engine: Any, training: dict[str, Any], methods: Any, ratings: Ratings, tmp_path: Path
) -> None:
    whole = execute(spec(5, methods, **training), tmp_path / "whole", ratings, engine=engine)
    first, after = tmp_path / "first", tmp_path / "after"
    execute(spec(2, methods, **training), first, ratings, engine=engine, keep_state=True)
    before = tree(first)
    further = spec(3, methods, **training)
    with pytest.raises(Killed):  # and killed after the first of the further epochs
        execute(further, after, ratings, engine=engine, after=first, on_step=dies_after(1))
    found = execute(further, after, ratings, engine=engine, after=first, resume=True, keep_state=True)
    assert scores(found) == scores(whole)
    assert same(after, tmp_path / "whole")
    assert tree(first) == before
    continued = json.loads((after / "run.json").read_text())["continued"]
    assert (continued["run"], continued["epochs"], continued["state"]) == ("first", 2, True)
    # The run that was trained on is one like any other: it may be trained on again.
    again = execute(spec(1, methods, **training), tmp_path / "again", ratings, engine=engine, after=after)
    assert [of["epoch"] for of in again["history"]] == [1, 2, 3, 4, 5, 6]
    longer = execute(spec(6, methods, **training), tmp_path / "longer", ratings, engine=engine)
    assert scores(again) == scores(longer)


def test_without_its_state_an_optimizer_begins_anew(ratings: Ratings, tmp_path: Path) -> None:
    execute(spec(2), tmp_path / "first", ratings, keep_state=True)
    bare = shutil.copytree(tmp_path / "first", tmp_path / "bare")
    (bare / "optimizer.safetensors").unlink()
    found = [execute(spec(2), tmp_path / str(at), ratings, after=bare) for at in range(2)]
    assert scores(found[0]) == scores(found[1])
    assert same(tmp_path / "0", tmp_path / "1")
    assert not json.loads((tmp_path / "0/run.json").read_text())["continued"]["state"]
    kept = execute(spec(2), tmp_path / "kept", ratings, after=tmp_path / "first")
    assert scores(kept) != scores(found[0])
    execute(spec(2, optimizer="sgd"), tmp_path / "sgd", ratings, after=tmp_path / "first")
    assert not json.loads((tmp_path / "sgd/run.json").read_text())["continued"]["state"]


def test_a_schedule_begins_anew(ratings: Ratings, tmp_path: Path) -> None:
    """With plain steps of SGD: the moves of the further epoch are as large as those of the first."""
    fast = {"optimizer": "sgd", "learning_rate": 0.1}
    execute(spec(1, schedule="cosine", **fast), tmp_path / "first", ratings, keep_state=True)
    falling = execute(spec(1, schedule="cosine", **fast), tmp_path / "a", ratings, after=tmp_path / "first")
    steady = execute(spec(1, **fast), tmp_path / "b", ratings, after=tmp_path / "first")
    old, new, still = (weights(tmp_path / name)["biases.tables.item.rows.weight"] for name in ("first", "a", "b"))
    moved, most = float((new - old).norm()), float((still - old).norm())
    assert 0.3 * most < moved < 0.7 * most
    assert falling["history"][0] == steady["history"][0]


@pytest.mark.parametrize("files", [("optimizer.safetensors",), ("model.safetensors", "metrics.json", "run.json")])
def test_the_state_of_another_run_is_refused(files: tuple[str, ...], ratings: Ratings, tmp_path: Path) -> None:
    for seed in (3, 4):
        execute(replace(spec(1), seed=seed), tmp_path / str(seed), ratings, keep_state=True)
    for name in files:
        shutil.copy(tmp_path / "4" / name, tmp_path / "3" / name)
    if len(files) > 1:
        for name in ("user.safetensors", "item.safetensors"):
            shutil.copy(tmp_path / "4" / name, tmp_path / "3" / name)
    with pytest.raises(InputError, match=r"optimizer\.safetensors: of another model than the model\.safetensors"):
        execute(spec(1), tmp_path / "out", ratings, after=tmp_path / "3")


@pytest.mark.parametrize(
    ("engine", "training", "within"),
    [
        ("auto", {"warmup": 3}, 0.0),
        ("auto", {"optimizer": "lazy_adam", "learning_rate": 0.01}, 0.0),
        ("auto", {"optimizer": "adam", "learning_rate": 0.01}, 1e-5),  # rows are brought up to date in between
        ("plain", {"optimizer": "adagrad", "dense_optimizer": "SGD", "dense_options": {"momentum": 0.9}}, 0.0),
    ],
)
def test_clicks_end_where_a_longer_training_ends(
    engine: Any, training: dict[str, Any], within: float, clicks: ClickData, tmp_path: Path
) -> None:
    whole = execute(click_spec(3, **training), tmp_path / "whole", clicks, engine=engine)
    first, after = tmp_path / "first", tmp_path / "after"
    execute(click_spec(2, **training), first, clicks, engine=engine, keep_state=True)
    before = tree(first)
    with pytest.raises(Killed):
        execute(click_spec(1, **training), after, clicks, after=first, saving=Saving(1), on_step=dies_after(1))
    assert list((after / "checkpoints").iterdir())
    found = execute(click_spec(1, **training), after, clicks, after=first, resume=True)
    assert same(after, tmp_path / "whole", within)
    assert tree(first) == before
    if not within:
        assert scores(found) == scores(whole)
    assert json.loads((after / "run.json").read_text())["continued"]["state"]
    assert [of["step"] for of in found["history"]] == [6, 12, 18]


def test_the_best_model_stays_where_no_further_epoch_is_better(clicks: ClickData, tmp_path: Path) -> None:
    first = execute(click_spec(2, patience=2), tmp_path / "first", clicks, keep_state=True)
    wild = click_spec(9, patience=2, learning_rate=5.0)
    found = execute(wild, tmp_path / "after", clicks, after=tmp_path / "first")
    assert found["reported"] == first["reported"]
    assert found["stopped_early"]
    assert len(found["history"]) == len(first["history"]) + 2
    assert same(tmp_path / "after", tmp_path / "first")
    better = execute(click_spec(2, patience=2), tmp_path / "better", clicks, after=tmp_path / "first")
    losses = [of["val_logloss"] for of in better["history"]]
    assert better["reported"] == losses.index(min(losses)) >= 2
