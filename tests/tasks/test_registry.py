"""Tasks by name, coset's own and those of other packages; and one of another package, put to work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coset.errors import InputError
from coset.tasks import Metric, register_task, task_class, tasks
from coset.tasks.ratings import RatingsTask
from coset.tasks.registry import TASKS
from coset.training.finished import FinishedRun

Coset = Callable[..., Any]


def test_a_task_of_another_package(
    coset: Coset, installed: Callable[..., None], small_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained, stopped early, scored, predicted, compared, planned and made smaller, by a score better when higher."""
    words = ("train", small_csv, "--task", "likes", "--dim", 4, "--json")
    assert "unknown task 'likes'" in coset(*words).sentence
    installed(TASKS, "likes")
    found = coset(*words, "--epochs", 30, "--set", "training.patience=3", "--checkpoint-every", 5, "--out", "run")
    assert found.code == 0, found.err
    scores = [entry["val_auc"] for entry in found.json["history"]]
    assert found.json["reported"] == scores.index(max(scores)) == len(scores) - 4
    assert found.json["stopped_early"]
    assert max(scores) > 0.7
    assert coset("evaluate", "run", "--json").json["auc"] == max(scores)
    assert "AUC" in coset("evaluate", "run").out
    assert "AUC" in coset("inspect", "run").out
    assert coset("inspect", small_csv, "--task", "likes", "--json").json["task"] == "likes"
    assert coset("inspect", small_csv, "--json").json["task"] == "ratings"
    with monkeypatch.context() as patch:
        patch.setattr(tasks()["likes"], "claims", classmethod(lambda _, subject, *__: subject == str(small_csv)))
        assert coset("inspect", small_csv, "--json").json["task"] == "likes"
    assert coset("predict", "run", "--out", "p.csv", "--json").json["rows"] == 3000
    predicted = np.loadtxt("p.csv", delimiter=",", skiprows=1)
    liked, likely = predicted[:, 2] >= 4, predicted[:, 3]
    assert 0 < likely.min() < likely.max() < 1
    assert likely[liked].mean() > likely[~liked].mean() + 0.03
    small = coset("compress", "run", "--budget", "60%", "--finetune", 1, "--json").json
    assert small["bytes"] <= 0.6 * small["bytes_before"]
    assert small["finetuned"]["val_auc"] > 0.6
    assert isinstance(FinishedRun.load(Path("run")).spec.task, tasks()["likes"])

    recipe = Path("mine.toml")
    recipe.write_text(
        f'task = "likes"\ntitle = "T"\ndata = "{small_csv}"\n[model]\nembedding_dim = 4\n'
        'biases = true\n[training]\nepochs = 1\n[[rows]]\nname = "full"\n[[rows]]\nname = "hashing"\n'
        'method = "hashing"\nbudgets = ["60%"]\n'
    )
    compared = coset("compare", recipe, "--out", "out", "--json")
    assert compared.code == 0, compared.err
    measures = compared.json["measures"]
    assert (measures["task"], measures["score"], measures["better"]) == ("likes", "val_auc", "higher")
    assert "| val AUC | log-loss |" in Path("out/results.md").read_text()
    compare = json.loads(Path("out/compare.json").read_text())
    assert compare["recipe"]["task"] == "likes"


def test_names_of_tasks() -> None:
    assert set(tasks()) >= {"ratings", "clicks"}
    with pytest.raises(InputError, match="unknown task 'rating': did you mean 'ratings'"):
        task_class("rating")
    with pytest.raises(InputError, match="its first metric is its score, which is better when lower or when higher"):
        register_task("x")(type("X", (RatingsTask,), {"metrics": (Metric("calibration", better=None),)}))
    with pytest.raises(InputError, match=r"better must be one of 'lower', 'higher', not 'more'"):
        Metric("auc", better="more")  # type: ignore[arg-type]


def test_two_tasks_of_one_name(
    coset: Coset, installed: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from coset.tasks import register_task\nfrom coset.tasks.ratings import RatingsTask\n"
        "@register_task('ratings')\nclass Mine(RatingsTask): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    installed(TASKS, "mine")
    words = "two tasks are called 'ratings': coset.tasks.ratings.task.RatingsTask and mine.Mine; rename one"
    assert words in coset("train", "small.csv", "--task", "likes").sentence
