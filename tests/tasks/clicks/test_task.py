"""The task on clicks: where its models begin, and what it chooses."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coset.data.clicks import ClickData, ClickWriter, Feature
from coset.errors import InputError
from coset.tasks.clicks import ClicksTask
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
