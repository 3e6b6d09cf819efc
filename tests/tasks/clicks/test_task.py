"""The task on clicks: where its models begin, and what it chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coset.data.clicks import ClickData, ClickWriter, Feature
from coset.errors import InputError
from coset.tasks.clicks import ClicksTask, tuning
from coset.training.spec import RunSpec

SMALL = {"name": "dlrm", "embedding_dim": 4, "bottom": [4], "top": [4]}


def task_on(folder: Path, **training: Any) -> ClicksTask:
    found = ClicksTask.read({"data": {"source": str(folder)}, "model": SMALL, "training": training}, "test")
    assert isinstance(found, ClicksTask)
    return found


def written(folder: Path, training: list[int], validation: list[int]) -> ClickData:
    """Clicks with these labels."""
    with ClickWriter(folder, "made", ("x",), (Feature("C1", 5),)) as writer:
        for part, labels in (("training", training), ("validation", validation)):
            rows = len(labels)
            writer.append(part, np.array(labels), np.zeros((rows, 1)), np.arange(rows).reshape(1, -1) % 5)
    return ClickData.open(folder)


def test_models_begin_at_the_share_of_clicks(clicks: Any) -> None:
    labels = clicks.part("training").column("label")
    assert clicks.click_rate == np.count_nonzero(labels) / len(labels)
    for name in ("dlrm", "dcn"):
        task = task_on(clicks.folder).changed("model", {"name": name})
        model = RunSpec(task, {}, 0).build(clicks)
        assert model.head.bias.item() == pytest.approx(log(clicks.click_rate / (1 - clicks.click_rate)))


def test_a_share_that_is_noted_is_not_counted_again(clicks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ClickData.open(clicks.folder)
    data.facts["click_rate"] = 0.25
    monkeypatch.setattr(data, "part", lambda name: pytest.fail("read the labels"))
    assert data.click_rate == 0.25


def test_without_training_rows_there_is_no_share(clicks: Any) -> None:  # as in logs prepared like others
    data = ClickData.open(clicks.folder)
    data.parts["training"] = 0
    assert data.click_rate is None


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_nothing_to_learn(label: int, tmp_path: Path) -> None:
    data = written(tmp_path / "same", [label] * 10, [0, 1])
    task = task_on(data.folder)
    task.build({}, data)  # a plan may want its sizes
    with pytest.raises(InputError, match=f"every label of the training part is {label}, so there is nothing to learn"):
        task.check(data)
    assert task.baselines(data) == []


# -- epochs that are chosen --------------------------------------------------------------------------------------------


class Scores:
    """`Trials` with scores of one training; keeps what it was asked for."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores
        self.asked: list[tuple[ClicksTask, dict[str, int]]] = []

    def curve(
        self, task: ClicksTask, data: ClickData, name: str, ends: Callable[[Sequence[float]], bool]
    ) -> Sequence[float]:
        self.asked.append((task, dict(data.parts)))
        return next((of for of in (self.scores[:at] for at in range(1, len(self.scores))) if ends(of)), self.scores)


@pytest.mark.parametrize(
    ("scores", "epochs"),
    [([0.45, 0.58, 0.30], 1), ([0.6, 0.5, 0.45, 0.4499], 3), ([0.6, 0.5], 2), ([0.5, 0.4999], 1), ([float("inf")], 1)],
)
def test_an_epoch_must_show_its_gain(scores: list[float], epochs: int, clicks: Any) -> None:
    trials = Scores(*scores)
    assert task_on(clicks.folder, epochs=3, patience=2).tuned(["epochs"], clicks, 0, trials) == {"epochs": epochs}  # type: ignore[arg-type]
    ((asked, parts),) = trials.asked
    assert (asked.training.epochs, asked.training.patience) == (tuning.MOST_EPOCHS, None)
    assert sum(parts.values()) == clicks.parts["training"]  # so few that all are taken
    assert parts["validation"] == round(tuning.HELD * clicks.parts["training"])


def test_what_no_trial_can_tell_stays(clicks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    task, trials = task_on(clicks.folder), Scores(0.5)
    assert task.tuned([], clicks, 0, trials) == {}  # type: ignore[arg-type]
    with pytest.raises(InputError, match="clicks choose epochs by themselves, not 'l2'"):
        task.tuned(["l2"], clicks, 0, trials)  # type: ignore[arg-type]
    monkeypatch.setattr(tuning, "MOST_BYTES", 100)
    assert task.tuned(["epochs"], clicks, 0, trials) == {}  # type: ignore[arg-type]
    assert trials.asked == []


def test_rows_of_one_class_choose_nothing(tmp_path: Path) -> None:
    trials = Scores(0.5)
    few = written(tmp_path / "few", [0, 1] * 20, [0, 1])
    assert task_on(few.folder).tuned(["epochs"], few, 0, trials) == {}  # type: ignore[arg-type]
    data = written(tmp_path / "sorted", [1, 0] * 45 + [0] * 10, [0, 1])
    said = (
        "of 100 training rows that would choose how many epochs are best, the 10 that judge all have label 0; the "
        "epochs stay"
    )
    with pytest.warns(UserWarning, match=said):
        assert task_on(data.folder).tuned(["epochs"], data, 0, trials) == {}  # type: ignore[arg-type]
    data = written(tmp_path / "rare", [0] * 95 + [1, 0, 0, 1, 0], [0, 1])
    with pytest.warns(UserWarning, match="the 90 that teach all have label 0"):
        assert task_on(data.folder).tuned(["epochs"], data, 0, trials) == {}  # type: ignore[arg-type]
    assert trials.asked == []
