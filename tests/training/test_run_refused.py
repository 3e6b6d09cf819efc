"""Folders that are refused or passed over: of something else, damaged, in use, of another run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coset.data import Ratings
from coset.data.settings import SplitSettings, VocabularySettings
from coset.errors import InputError
from coset.files import locked
from coset.methods import method
from coset.models.dot import DotSettings
from coset.tasks import TrainingSettings
from coset.training.finished import FinishedRun
from tests.training.runs import Interrupted, bare, execute, interrupt_after, same_weights, snapshot, spec_of


def test_an_existing_folder_without_resume_is_refused_and_left_alone(whole: Path, ratings: Ratings) -> None:
    before = snapshot(whole)
    with pytest.raises(InputError, match="--resume") as caught:
        execute(spec_of(), whole, ratings)
    assert str(whole) in str(caught.value)
    assert snapshot(whole) == before


def test_a_folder_of_other_things_is_refused(tmp_path: Path, ratings: Ratings) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        execute(spec_of(), tmp_path, ratings)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]
    with pytest.raises(InputError, match="exists already"):
        execute(spec_of(), tmp_path / "diary.txt", ratings)
    assert (tmp_path / "diary.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("choices", "key"),
    [
        ({"seed": 4}, r"spec\.seed is 3 there and 4 now"),
        ({"training": TrainingSettings(batch_size=128, epochs=5)}, r"spec\.training\."),
        ({"training": replace(spec_of().task.training, l2=0.5)}, r"spec\.training\.l2 is 0\.01 there and 0\.5 now"),
        ({"model": DotSettings(embedding_dim=5, biases=True, output="linear")}, r"spec\.model\.embedding_dim"),
        ({"methods": {"user": method("quotient_remainder", num_buckets=9)}}, r"spec\.methods\.user\.num_buckets"),
        ({"methods": {}}, r"spec\.methods\.user"),
        ({"split": SplitSettings(validation=0.2)}, r"spec\.split\.validation"),
        ({"vocabulary": VocabularySettings(frequencies="all")}, r"spec\.vocabulary\.frequencies"),
    ],
)
def test_resuming_with_other_choices_is_refused_and_the_choice_named(
    choices: dict[str, Any], key: str, whole: Path, ratings: Ratings
) -> None:
    before = snapshot(whole)
    with pytest.raises(InputError, match=key) as caught:
        execute(spec_of(**choices), whole, ratings, resume=True)
    assert str(whole) in str(caught.value)
    assert snapshot(whole) == before


def test_resuming_on_other_data_is_refused(whole: Path, ratings: Ratings) -> None:
    values = ratings.ratings.copy()
    values[17] = 6 - values[17] if values[17] != 3 else 1
    before = snapshot(whole)
    with pytest.raises(InputError, match="data"):
        execute(spec_of(), whole, replace(ratings, ratings=values), resume=True)
    with pytest.raises(InputError, match="data"):
        execute(spec_of(), whole, ratings.select(slice(0, 2999)), resume=True)
    assert snapshot(whole) == before


@pytest.mark.parametrize("damage", ["truncate", "flip", "foreign"])
def test_a_damaged_checkpoint_is_named_and_passed_over(
    damage: str, whole: Path, ratings: Ratings, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        execute(spec_of(), folder, ratings, on_step=interrupt_after(2))
    saved = folder / "checkpoints" / "checkpoint-000000000040.safetensors"
    data = bytearray(saved.read_bytes())
    if damage == "truncate":
        data = data[:-5]
    elif damage == "flip":
        data[-5] ^= 4
    else:
        data = bytearray((folder / "user.safetensors").read_bytes())
    saved.write_bytes(data)
    with pytest.warns(UserWarning, match=r"checkpoint-000000000040\.safetensors.*the one before it is used"):
        found = execute(spec_of(), folder, ratings, resume=True)
    assert bare(found) == bare(json.loads((whole / "metrics.json").read_text()))
    assert same_weights(folder, whole)


def test_a_folder_in_use_is_refused(ratings: Ratings, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InputError, match="another process"):
        execute(spec_of(), tmp_path, ratings, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [".coset-lock"]


@pytest.mark.parametrize("name", ["user.safetensors", "item.safetensors", "model.safetensors", "metrics.json"])
def test_a_finished_run_with_a_damaged_file_is_refused(name: str, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        FinishedRun.load(folder)


def test_no_run_at_all(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="no run"):
            FinishedRun.load(folder)


def test_a_run_without_its_spec_is_refused(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / "run.json").write_text('{"schema": 3}')
    with pytest.raises(InputError, match=r"run\.json"):
        FinishedRun.load(folder)


def test_choices_edited_after_training_are_not_believed(whole: Path, tmp_path: Path, ratings: Ratings) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"mult"', '"add"'))
    assert (folder / "run.json").read_text() != text
    with pytest.raises(
        InputError, match=r"run\.json: edited since the run was trained.*operation is 'add' there and 'mult' in"
    ):
        FinishedRun.load(folder)


def test_a_checkpoint_of_another_run_is_not_continued(ratings: Ratings, tmp_path: Path) -> None:
    for seed in (3, 4):
        with pytest.raises(Interrupted):
            execute(spec_of(seed=seed), tmp_path / str(seed), ratings, on_step=interrupt_after(2))
    for saved in (tmp_path / "4" / "checkpoints").iterdir():
        shutil.copy(saved, tmp_path / "3" / "checkpoints")
    with pytest.raises(InputError, match=r"spec\.seed is 4 there and 3 now"):
        execute(spec_of(seed=3), tmp_path / "3", ratings, resume=True)


@pytest.mark.parametrize("text", ["{}", "[]", '{"history": []}', "null"])
def test_damaged_metrics_are_refused(text: str, whole: Path, ratings: Ratings, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / "metrics.json").write_text(text)
    with pytest.raises(InputError, match=r"metrics\.json.*train again"):
        execute(spec_of(), folder, ratings, resume=True)
    with pytest.raises(InputError, match=r"metrics\.json"):
        FinishedRun.load(folder)


def test_a_finished_run_without_its_model_is_not_finished(whole: Path, ratings: Ratings, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors"):
        execute(spec_of(), folder, ratings, resume=True)
