"""A run in a folder: complete, interrupted, resumed, loaded and evaluated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from coset import ledger
from coset.data import Ratings
from coset.errors import InputError
from coset.models.dot import DotSettings
from coset.tasks.ratings import fingerprint
from coset.tasks.ratings.later import vocabularies
from coset.training import checkpoint
from coset.training.finished import FinishedRun
from coset.training.run import Saving
from coset.training.spec import RunSpec
from tests.training.runs import (
    Interrupted,
    bare,
    evaluated,
    execute,
    interrupt_after,
    same_weights,
    snapshot,
    spec_of,
    weights,
)


def test_what_a_finished_run_holds(whole: Path, ratings: Ratings) -> None:
    names = {path.name for path in whole.iterdir()} - {".coset-lock"}
    assert names == {"run.json", "user.safetensors", "item.safetensors", "model.safetensors", "metrics.json"}
    metrics = json.loads((whole / "metrics.json").read_text())
    assert [epoch["epoch"] for epoch in metrics["history"]] == [1, 2, 3, 4]
    assert metrics["history"][-1]["val_mse"] < metrics["history"][0]["val_mse"]
    encoded = spec_of().task.encoded(ratings, 3)
    predicted = spec_of().task.components(spec_of().methods, encoded)
    assert metrics["parameters"] == ledger.parameters(predicted)
    assert metrics["bytes"] == ledger.inference_bytes(predicted)
    stored = sum(value.nbytes for name, value in weights(whole).items() if not name.endswith("_extra_state"))
    assert metrics["bytes"] == stored
    assert metrics["vocabulary_bytes"] == encoded.user.bytes + encoded.item.bytes


@pytest.mark.parametrize("epochs", [0, 1, 2, 3])
def test_resuming_after_any_epoch_ends_at_the_same_bits(
    epochs: int, whole: Path, ratings: Ratings, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        execute(spec_of(), folder, ratings, on_step=interrupt_after(epochs))
    assert len(list(folder.glob("checkpoints/*"))) == min(epochs, 2)
    with pytest.raises(InputError, match="not finished"):
        FinishedRun.load(folder)
    told: list[int] = []
    torch.manual_seed(1234)  # of no influence
    found = execute(spec_of(), folder, ratings, resume=True, on_step=told.append)
    assert bare(found) == bare(json.loads((whole / "metrics.json").read_text()))
    assert same_weights(folder, whole)
    assert not (folder / "checkpoints").exists()
    assert sum(told) == 4 * -(-2550 // 128)


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer": "adam"}, {"optimizer": "adagrad", "shuffle": "buffer(50)"}, {"optimizer": "sgd"},
        {"optimizer": "row_wise_adagrad", "max_norm": 0.5, "warmup": 9}, {"optimizer": "adam", "evaluate_every": 30},
        {"optimizer": "lazy_adam", "dense_optimizer": "AdamW", "shuffle": "none"},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_goes_on_in_the_middle_of_an_epoch(training: dict[str, Any], ratings: Ratings, tmp_path: Path) -> None:
    spec = spec_of(training=replace(spec_of().task.training, batch_size=32, epochs=2, **training))
    whole = execute(spec, tmp_path / "whole", ratings)
    told = []
    with pytest.raises(Interrupted):
        execute(spec, tmp_path / "run", ratings, saving=Saving(7, keep=9), on_step=interrupt_after(3))
    steps = [int(path.stem.partition("-")[2]) for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert max(steps) >= 35
    assert all(step % 7 == 0 or step % 30 == 0 for step in steps)
    found = execute(spec, tmp_path / "run", ratings, resume=True, saving=Saving(11), on_step=told.append)
    assert told[0] == max(steps)
    assert bare(found) == bare(whole)
    assert same_weights(tmp_path / "run", tmp_path / "whole")


def test_an_early_end_keeps_the_best_model(ratings: Ratings, tmp_path: Path) -> None:
    wild = replace(spec_of().task.training, optimizer="adagrad", learning_rate=0.5, l2=0.0, epochs=40, patience=3)
    found = execute(spec_of(training=wild), tmp_path / "run", ratings)
    errors = [of["val_mse"] for of in found["history"]]
    assert found["stopped_early"]
    assert found["reported"] == errors.index(min(errors)) == len(errors) - 4
    encoded = spec_of().task.encoded(ratings, 3)
    kept = evaluated(tmp_path / "run", ratings.select(encoded.split.validation))["mse"]
    assert kept == pytest.approx(min(errors), rel=1e-12)
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_event_files(ratings: Ratings, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    spec = spec_of(training=replace(spec_of().task.training, batch_size=32, epochs=2))
    metrics = execute(spec, tmp_path / "run", ratings, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("validation/mse")]
    assert found == [(entry["step"], pytest.approx(entry["val_mse"])) for entry in metrics["history"]]
    assert [event.step for event in events.Scalars("train/loss")] == [50, 80, 100, 150, 160]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(whole: Path, ratings: Ratings, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = execute(spec_of(), tmp_path / "again", ratings)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert bare(again) == bare(json.loads((whole / "metrics.json").read_text()))
    assert same_weights(tmp_path / "again", whole)
    other = execute(spec_of(seed=4), tmp_path / "other", ratings)
    assert bare(other)["history"] != bare(again)["history"]


def test_resuming_a_finished_run_changes_nothing(whole: Path, ratings: Ratings) -> None:
    before = snapshot(whole)
    times = {path: path.stat().st_mtime_ns for path in whole.iterdir() if path.name != ".coset-lock"}
    kept = json.loads((whole / "metrics.json").read_text())
    assert execute(spec_of(), whole, ratings, resume=True) == {of: kept[of] for of in kept if of != "digests"}
    assert snapshot(whole) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_spec_in_json_and_back() -> None:
    spec = spec_of(model=DotSettings(embedding_dim=8, low=-1.0, high=1.0))
    written = json.loads(json.dumps(spec.to_json()))
    assert RunSpec.from_json("ratings", written) == spec
    written["training"]["learning_rat"] = 1
    with pytest.raises(InputError, match="learning_rate"):
        RunSpec.from_json("ratings", written)


def test_a_finished_run_predicts_as_it_was_trained(whole: Path, ratings: Ratings) -> None:
    encoded = spec_of().task.encoded(ratings, 3)
    assert vocabularies(whole) == (encoded.user, encoded.item)
    errors = evaluated(whole, ratings.select(encoded.split.validation))
    before = torch.random.get_rng_state()
    last = FinishedRun.load(whole).metrics["history"][-1]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert errors["mse"] == pytest.approx(last["val_mse"], rel=1e-12)
    assert errors["mae"] == pytest.approx(last["val_mae"], rel=1e-12)


def test_the_artifact_says_what_it_is(whole: Path, ratings: Ratings) -> None:
    header = checkpoint.load(whole / "model.safetensors", "model")[1]
    assert RunSpec.from_json(header["run"]["task"], header["run"]["spec"]) == spec_of()
    assert header["run"]["data"] == fingerprint(ratings)
    assert header["versions"]["torch"] == torch.__version__
