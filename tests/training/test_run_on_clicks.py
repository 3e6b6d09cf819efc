"""Runs on clicks in their folders: done, gone on with, damaged, refused, and evaluated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from coset.data.clicks import ClickData
from coset.errors import InputError
from coset.methods import Hashing, QuotientRemainder
from coset.tasks.clicks import ClickSource, ClicksTask, ModelChoice
from coset.training import board, run
from coset.training.finished import FinishedRun
from coset.training.run import Options, Saving
from coset.training.spec import RunSpec

MODEL = ModelChoice.from_json({"name": "dlrm", "embedding_dim": 4, "bottom": [4], "top": [4]})
TRAINING = replace(ClicksTask.default_training(), batch_size=64, epochs=2, learning_rate=0.1, dense_learning_rate=0.01)


def spec_of(**training: Any) -> RunSpec[Any, Any, Any, Any]:
    task = ClicksTask(ClickSource("mine"), MODEL, replace(TRAINING, **training))
    return RunSpec(task, {"C1": QuotientRemainder(50)}, 0)


SPEC = spec_of()
EARLY = spec_of(learning_rate=1.0, epochs=40, evaluate_every=12, patience=3)
CLOCK = ("seconds", "host", "peak_resident_bytes")


def execute(
    spec: Any, folder: Path, data: Any, *, after: Path | None = None, on_step: Any = None, **options: Any
) -> Any:
    told = {} if on_step is None else {"on_step": on_step}
    return run.execute(spec, folder, data, Options(**options), after=after, **told)


def score(folder: Path, data: ClickData, part: str) -> dict[str, Any]:
    """Metrics of the finished run in a folder."""
    found = FinishedRun.load(folder)
    return dict(found.spec.task.evaluated(found.trained, data, part))


class Killed(Exception):
    """Stands for SIGKILL: nothing of a run catches it."""


def dies_after(steps: int) -> Callable[[int], None]:
    done = 0

    def on_step(more: int) -> None:
        nonlocal done
        done += more
        if done >= steps:
            raise Killed

    return on_step


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: bare(of) for key, of in value.items() if key not in CLOCK}
    return [bare(of) for of in value] if isinstance(value, list) else value


def same_model(left: Path, right: Path) -> None:
    one, other = load_file(left / "model.safetensors"), load_file(right / "model.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def interrupted(
    spec: RunSpec[Any, Any, Any, Any], folder: Path, data: ClickData, steps: int, keep: int = 3
) -> list[Path]:
    """A run that died with checkpoints every 5 steps; these, the newest last."""
    with pytest.raises(Killed):
        execute(spec, folder, data, saving=Saving(5, keep=keep), on_step=dies_after(steps))
    return sorted((folder / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def whole(clicks: ClickData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, execute(SPEC, folder, clicks)


def test_a_finished_run(clicks: ClickData, whole: tuple[Path, dict[str, Any]]) -> None:
    folder, metrics = whole
    assert {path.name for path in folder.iterdir()} == {".coset-lock", "run.json", "model.safetensors", "metrics.json"}
    written = json.loads((folder / "metrics.json").read_text())
    assert written.pop("digests").keys() == {"model", "metrics"}
    assert written == metrics
    assert metrics["reported"] == 1
    assert not metrics["stopped_early"]
    assert metrics["bytes"] == 4 * metrics["parameters"] == 4 * 4 * (50 + 4 + 40 + 3 + 10)
    found = score(folder, clicks, "validation")
    assert {f"val_{name}": value for name, value in found.items()}.items() <= metrics["history"][-1].items()
    assert bare(execute(SPEC, folder, clicks, resume=True)) == bare(metrics)
    with pytest.raises(InputError, match="continue it with --resume"):
        execute(SPEC, folder, clicks)


@pytest.mark.parametrize("steps", [1, 20, 24, 40])
def test_a_run_goes_on_to_the_same_bits(
    clicks: ClickData, whole: tuple[Path, dict[str, Any]], steps: int, tmp_path: Path
) -> None:
    saved = interrupted(SPEC, tmp_path / "run", clicks, steps)
    assert 1 <= len(saved) <= 3
    assert bare(execute(SPEC, tmp_path / "run", clicks, resume=True)) == bare(whole[1])
    same_model(tmp_path / "run", whole[0])


@pytest.mark.parametrize("damage", ["cut", "flipped"])
@pytest.mark.parametrize("count", [1, 3])
def test_damaged_checkpoints_are_passed_over(
    clicks: ClickData, whole: tuple[Path, dict[str, Any]], damage: str, count: int, tmp_path: Path
) -> None:
    saved = interrupted(SPEC, tmp_path / "run", clicks, 40)
    assert len(saved) == 3
    for path in saved[-count:]:
        good = bytearray(path.read_bytes())
        good[-5] ^= 4
        path.write_bytes(good[: len(good) // 2] if damage == "cut" else good)
    with pytest.warns(UserWarning, match=r"checkpoint-\d+.safetensors: damaged") as told:
        metrics = execute(SPEC, tmp_path / "run", clicks, resume=True)
    assert len(told) == count
    assert bare(metrics) == bare(whole[1])
    same_model(tmp_path / "run", whole[0])
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_an_early_end_keeps_the_best_model(clicks: ClickData, tmp_path: Path) -> None:
    metrics = execute(EARLY, tmp_path / "whole", clicks)
    losses = [entry["val_logloss"] for entry in metrics["history"]]
    assert metrics["stopped_early"]
    assert metrics["reported"] == losses.index(min(losses)) == len(losses) - 4
    assert score(tmp_path / "whole", clicks, "validation")["logloss"] == min(losses)
    assert not (tmp_path / "whole" / "best.safetensors").exists()
    for number, steps in enumerate((20, 12 * len(losses) - 1)):
        folder = tmp_path / str(number)
        interrupted(EARLY, folder, clicks, steps)
        assert bare(execute(EARLY, folder, clicks, resume=True)) == bare(metrics)
        same_model(folder, tmp_path / "whole")


def test_without_the_best_model_the_run_begins_anew(clicks: ClickData, tmp_path: Path) -> None:
    metrics = execute(EARLY, tmp_path / "whole", clicks)
    interrupted(EARLY, tmp_path / "run", clicks, 20)
    best = tmp_path / "run" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="begins anew"):
        assert bare(execute(EARLY, tmp_path / "run", clicks, resume=True)) == bare(metrics)
    same_model(tmp_path / "run", tmp_path / "whole")


def test_a_full_disk_loses_nothing(
    clicks: ClickData, whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coset.training import checkpoint

    real, calls = checkpoint.save_file, 0

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        nonlocal calls
        calls += 1
        real(tensors, path, metadata=metadata)
        if calls == 3:
            Path(path).write_bytes(Path(path).read_bytes()[:100])
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        execute(SPEC, tmp_path / "run", clicks, saving=Saving(5))
    monkeypatch.undo()
    left = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert left == [f"checkpoint-{step:012d}.safetensors" for step in (5, 10)]
    assert bare(execute(SPEC, tmp_path / "run", clicks, resume=True)) == bare(whole[1])
    same_model(tmp_path / "run", whole[0])


@pytest.mark.parametrize("column", ["training/label.npy", "training/ids/C1.npy", "validation/numeric/I1.npy"])
def test_damaged_columns_are_named(clicks: ClickData, tmp_path: Path, column: str) -> None:
    folder = shutil.copytree(clicks.folder, tmp_path / "data")
    held = bytearray((folder / column).read_bytes())
    held[-1] ^= 0x40
    (folder / column).write_bytes(held)
    with pytest.raises(InputError, match=rf"{column}: damaged, its contents do not match their checksum"):
        execute(SPEC, tmp_path / "run", ClickData.open(folder))
    assert bare(execute(SPEC, tmp_path / "run", clicks))["parameters"] > 0  # the folder is free for another attempt


def test_choices_that_make_no_run_leave_the_folder_free(clicks: ClickData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dense_optimizer"):
        execute(spec_of(dense_optimizer="Adm"), tmp_path / "run", clicks)
    assert execute(SPEC, tmp_path / "run", clicks)["history"]


def test_numbers_far_beyond_are_told_of(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, write_clicks: Callable[..., ClickData]
) -> None:
    finished = FinishedRun.load(whole[0])
    for layer in finished.model.parameters():
        layer.data.mul_(1e30)
    with pytest.raises(InputError, match=r"the logloss of the validation part is (nan|inf).* far beyond"):
        finished.spec.task.evaluated(finished.trained, write_clicks(tmp_path / "data"), "validation")


def test_other_choices_and_other_data_are_refused(
    clicks: ClickData, tmp_path: Path, write_clicks: Callable[..., ClickData]
) -> None:
    interrupted(SPEC, tmp_path / "run", clicks, 10)
    for spec in (replace(SPEC, seed=1), replace(SPEC, methods={"C1": Hashing(50)})):
        with pytest.raises(InputError, match="other choices or data"):
            execute(spec, tmp_path / "run", clicks, resume=True)
    with pytest.raises(InputError, match="other choices or data"):
        execute(SPEC, tmp_path / "run", write_clicks(tmp_path / "other", seed=1), resume=True)
    with pytest.raises(InputError, match="not finished"):
        FinishedRun.load(tmp_path / "run")


def test_other_columns_are_refused(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, write_clicks: Callable[..., ClickData]
) -> None:
    with pytest.raises(InputError, match="other features than this run was trained with"):
        score(whole[0], write_clicks(tmp_path / "data", lists=False), "validation")


@pytest.mark.parametrize(
    ("given", "words"),
    [({"steps": 0}, "every step or less"), ({"minutes": -1.0}, "minutes"), ({"keep": 0}, "at least one")],
)
def test_wrong_times_of_saving(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Saving(**given)


def test_minutes_between_checkpoints(clicks: ClickData, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        execute(SPEC, tmp_path / "run", clicks, saving=Saving(minutes=0.0, keep=100), on_step=dies_after(20))
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 20


def test_another_number_of_threads_is_told_of(clicks: ClickData, tmp_path: Path) -> None:
    interrupted(SPEC, tmp_path / "run", clicks, 10)
    torch.set_num_threads(2)
    try:
        with pytest.warns(UserWarning, match="begun with --threads 1"):
            execute(SPEC, tmp_path / "run", clicks, resume=True)
    finally:
        torch.set_num_threads(1)


def test_event_files(clicks: ClickData, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(Killed):
        execute(SPEC, tmp_path / "run", clicks, tensorboard=True, on_step=dies_after(30))
    metrics = execute(SPEC, tmp_path / "run", clicks, tensorboard=True, resume=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("validation/auc")]
    assert found == [(entry["step"], pytest.approx(entry["val_auc"])) for entry in metrics["history"]]
    assert [event.step for event in events.Scalars("train/loss")] == [24, 48]


def test_without_tensorboard_a_sentence(clicks: ClickData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'coset\[report\]'"):
        execute(SPEC, tmp_path / "run", clicks, tensorboard=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="tensorboard"):
        board.check()
