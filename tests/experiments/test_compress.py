"""A finished run made smaller: what is planned, kept, measured and written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch

from coset.data.settings import DataSettings
from coset.errors import InfeasibleBudget, InputError
from coset.experiments.compress import compress_run
from coset.experiments.evaluate import evaluate_run
from coset.experiments.recipe import load_recipe
from coset.files import claimed
from coset.methods.full import Full
from coset.methods.low_rank import LowRank
from coset.methods.robe import Robe
from coset.models.dot import DotSettings
from coset.planning.plan import Plan
from coset.tasks import TrainingSettings
from coset.tasks.ratings import RatingsTask
from coset.tasks.ratings.later import vocabularies
from coset.training.compressible import CompressibleRun
from coset.training.finished import FinishedRun
from coset.training.run import Options, execute
from coset.training.spec import RunSpec
from coset.training.trainer import Trainer


def trained(source: Path, folder: Path, seed: int = 0, **model: Any) -> Path:
    data = DataSettings(str(source))
    chosen = DotSettings(**{"embedding_dim": 8, "biases": True, "output": "linear", **model})
    training = TrainingSettings(learning_rate=0.01, batch_size=64, epochs=4, l2=0.02)
    spec = RunSpec(RatingsTask(data, model=chosen, training=training), {}, seed)
    execute(spec, folder, data.load())
    return folder


@pytest.fixture(scope="module")
def run(small_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(small_csv, tmp_path_factory.mktemp("runs") / "full")


def plan_file(path: Path, budget: int = 0, **methods: Any) -> Path:
    tables = {name: {"method": of.to_json()} for name, of in methods.items()}
    Plan.from_json({"embedding_dim": 8, "budget": budget, "tables": tables}).save(path)
    return path


def test_a_run_is_fitted_trained_on_and_written(run: Path, small_csv: Path, tmp_path: Path) -> None:
    found = compress_run(run, tmp_path / "small", budget="40%", finetune=2)
    metrics = json.loads((run / "metrics.json").read_text())
    assert found["bytes_before"] == metrics["bytes"]
    assert found["before"]["val_mse"] == metrics["history"][-1]["val_mse"]
    assert found["bytes"] <= 0.4 * metrics["bytes"]
    assert found["fitted"]["val_mse"] < 1.5 * found["before"]["val_mse"]
    written = json.loads((tmp_path / "small" / "metrics.json").read_text())
    assert [of["epoch"] for of in written["history"]] == [0, 1, 2]
    assert written["bytes"] == found["bytes"]
    assert written["history"][-1]["val_mse"] == found["finetuned"]["val_mse"]
    small = FinishedRun.load(tmp_path / "small")
    assert not any(of.is_full for name, of in small.spec.methods.items() if not name.endswith("_bias"))
    before = evaluate_run(run, str(small_csv), {}), evaluate_run(tmp_path / "small", str(small_csv), {})
    assert abs(before[0]["mse"] - before[1]["mse"]) < 0.2
    assert json.loads((tmp_path / "small" / "run.json").read_text())["compressed"]["finetune"] == 2


def test_an_epoch_of_fine_tuning_makes_it_better(run: Path, tmp_path: Path) -> None:
    for budget in ("25%", "60%"):
        found = compress_run(run, tmp_path / budget, budget=budget, storages=["float32"], finetune=1)
        assert found["finetuned"]["val_mse"] < found["fitted"]["val_mse"] - 0.005


def test_fine_tuning_draws_by_the_seed_of_the_run(
    small_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []

    class Spy(Trainer[Any, Any]):
        def __init__(self, *given: Any, **named: Any) -> None:
            seeds.append(given[4])
            super().__init__(*given, **named)

    run = trained(small_csv, tmp_path / "run", seed=7)
    monkeypatch.setattr("coset.training.compressible.Trainer", Spy)
    compress_run(run, tmp_path / "small", budget="40%", finetune=1)
    assert seeds == [7]


def test_no_other_process_writes_into_the_same_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, refused = tmp_path / "small", []
    evaluate = CompressibleRun.evaluate

    def intruded(opened: CompressibleRun[Any, Any, Any, Any]) -> dict[str, Any]:
        with pytest.raises(InputError, match="another process is working here"), claimed(out, "run.json", resume=True):
            pass
        refused.append(True)
        return evaluate(opened)

    monkeypatch.setattr(CompressibleRun, "evaluate", intruded)
    compress_run(run, out, budget="40%")
    assert refused


def test_what_is_not_a_table_is_kept_and_a_method_that_holds_all_keeps_the_scores(run: Path, tmp_path: Path) -> None:
    names = [of.name for of in vocabularies(run)]
    plan = plan_file(tmp_path / "plan.json", **{names[0]: Full(), names[1]: LowRank(7)})
    found = compress_run(run, tmp_path / "small", plan=plan)
    assert found["finetuned"] is None
    old, new = FinishedRun.load(run).model.state_dict(), FinishedRun.load(tmp_path / "small").model.state_dict()
    same = [name for name in old if not name.startswith(f"embeddings.tables.{names[1]}.")]
    same = [name for name in same if not name.endswith("_extra_state")]  # which says the method
    assert len(same) == 4
    assert all(torch.equal(old[name], new[name]) for name in same)
    assert [of["error"] == 0 for of in found["tables"]] == [True, False]
    assert 0 < found["tables"][1]["relative"] < 0.5


def test_a_run_that_is_small_is_made_smaller_still(run: Path, tmp_path: Path) -> None:
    first = compress_run(run, tmp_path / "first", budget="60%")
    second = compress_run(tmp_path / "first", tmp_path / "second", budget=str(first["bytes"] // 2))
    assert second["bytes"] <= first["bytes"] // 2
    assert second["before"] == first["fitted"]
    again = compress_run(tmp_path / "first", tmp_path / "again", budget=str(first["bytes"] // 2))
    assert {**again, "run": "", "seconds": {}} == {**second, "run": "", "seconds": {}}


def test_what_is_wrong_is_said_and_nothing_is_written(run: Path, small_csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "give a --budget to plan for, or a --plan"),
        ({"budget": "40%", "finetune": -1}, "--finetune, in epochs, must be at least 0"),
        ({"budget": "40%", "engine": "warp"}, "unknown engine 'warp'"),
        ({"plan": plan_file(tmp_path / "a.json", user=LowRank(2))}, "a.json: table 'item': the model has it"),
        ({"plan": tmp_path / "none.json"}, "no such plan"),
        ({"budget": "1XB"}, "unknown unit 'XB'"),
        ({"budget": "40%", "storages": ["int9"]}, "unknown storage 'int9'"),
        ({"plan": tmp_path / "a.json", "storages": ["int8"]}, "leave out --storages, or the --plan"),
        ({"budget": "1MB"}, r"full: the run takes 3\.6KB \(3604 bytes\) already, within the budget of 1MB"),
        ({"budget": "100%"}, r"within the budget of 3\.6KB \(3604 bytes\); give a smaller one"),
    ]
    names = [of.name for of in vocabularies(run)]
    full = plan_file(tmp_path / "b.json", **dict.fromkeys(names, Full()))
    cases.append(({"plan": full, "budget": "40%"}, "b.json: the plan takes 3.6KB"))
    for options, words in cases:
        with pytest.raises(InputError, match=words):
            compress_run(run, out, **options)
        assert not out.exists()
    shared = plan_file(tmp_path / "c.json", **dict.fromkeys(names, Robe(size=60, array="all")))
    with pytest.raises(InputError, match="table 'user': its array is shared with other tables"):
        compress_run(run, tmp_path / "shared", plan=shared)
    with pytest.raises(InfeasibleBudget):
        compress_run(run, out, budget="6")
    with pytest.raises(InputError, match="no run here"):
        compress_run(tmp_path / "nowhere", out, budget="40%")
    with pytest.raises(InputError, match="exists already"):
        compress_run(run, tmp_path, budget="40%")


def test_a_folder_that_was_begun_is_made_anew(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before anything was written, or the disk full in the midst of it."""
    out = tmp_path / "small"
    out.mkdir()
    (out / ".coset-lock").touch()
    compress_run(run, out, budget="40%")
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    shutil.rmtree(out)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", str(out / "model.safetensors"))

    with monkeypatch.context() as patch:
        patch.setattr("coset.training.seal.checkpoint.save", full)
        with pytest.raises(OSError, match="No space left"):
            compress_run(run, out, budget="60%")
    assert {path.name for path in out.iterdir()} >= {"run.json", "user.safetensors"}
    compress_run(run, out, budget="40%")
    assert (out / "model.safetensors").read_bytes() == whole["model.safetensors"]
    with pytest.raises(InputError, match="exists already; choose another --out"):
        compress_run(run, out, budget="40%")
    # What is not of a run that was being made smaller is left alone.
    for name, text in (("run.json", "{}"), ("diary.txt", "mine")):
        other = tmp_path / name.partition(".")[0]
        other.mkdir()
        (other / name).write_text(text)
        with pytest.raises(InputError, match="exists already; choose another --out"):
            compress_run(run, other, budget="40%")
        assert (other / name).read_text() == text


def test_a_run_whose_data_changed_or_that_has_no_tables_is_refused(small_csv: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.csv"
    source.write_bytes(small_csv.read_bytes())
    run = trained(source, tmp_path / "run")
    source.write_text(small_csv.read_text().replace("\n1,", "\n2,", 1))
    with pytest.raises(InputError, match=r"mine\.csv: holds other data"):
        compress_run(run, tmp_path / "out", budget="40%")
    biases = trained(small_csv, tmp_path / "biases", embedding_dim=0)
    with pytest.raises(InputError, match="biases alone has no tables"):
        compress_run(biases, tmp_path / "out", budget="40%")


def test_a_click_run(coset: Any, clicks: Any, tmp_path: Path) -> None:
    given = ("--model", "dlrm", "--dim", 8, "--epochs", 2, "--set", "model.bottom=[16]", "--set", "model.top=[16]")
    done = coset("train", clicks.folder, *given, "--out", "full", "--json")
    assert done.code == 0, done.err
    found = coset("compress", "full", "--budget", "40%", "--finetune", 1, "--out", "small", "--json").json
    assert found["before"]["val_logloss"] == done.json["history"][-1]["val_logloss"]
    assert found["bytes"] <= 0.4 * found["bytes_before"] == 0.4 * done.json["bytes"]
    again = coset("evaluate", "small", clicks.folder, "--json").json
    assert again["logloss"] == pytest.approx(found["finetuned"]["val_logloss"], rel=1e-6)
    assert again["logloss"] < found["before"]["val_logloss"] + 0.05
    old, new = FinishedRun.load(Path("full")).model, FinishedRun.load(Path("small")).model
    assert old.state_dict().keys() != new.state_dict().keys()
    assert found["finetuned"]["val_logloss"] < found["fitted"]["val_logloss"]
    assert "relative" in coset("compress", "full", "--budget", "40%").out
    assert Path("full-40%/metrics.json").exists()
    fitted = FinishedRun.load(Path("full-40%")).model.state_dict()
    layers = [name for name in fitted if not name.startswith("tables.")]
    assert layers
    assert all(torch.equal(fitted[name], old.state_dict()[name]) for name in layers)


def test_a_run_given_as_the_folder_that_commands_run_in(
    coset: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    found = coset("compress", ".", "--budget", "40%")
    assert found.code == 0, found.err
    assert json.loads((tmp_path / "mine-40%" / "run.json").read_text())["compressed"]["from"] == "mine"
    assert coset("compress", "/", "--budget", "40%").sentence.startswith("/: no run here")
    monkeypatch.chdir(tmp_path)
    refused = coset("compress", "mine", "--budget", "200%", "--out", "larger")
    assert refused.code == 2
    assert refused.sentence.startswith("mine: the run takes 3.6KB (3604 bytes) already")
    assert not Path("larger").exists()


def test_a_click_run_whose_data_changed_is_refused(
    coset: Any, write_clicks: Callable[..., Any], tmp_path: Path
) -> None:
    write_clicks(tmp_path / "data", rows=200)
    given = ("--model", "dlrm", "--dim", 4, "--set", "model.bottom=[4]", "--set", "model.top=[4]")
    done = coset("train", "data", *given, "--out", "full")
    assert done.code == 0, done.err
    shutil.rmtree(tmp_path / "data")
    write_clicks(tmp_path / "data", rows=200, seed=1)
    said = coset("compress", "full", "--budget", "40%").sentence
    assert said.endswith("holds other data than those that full was trained on; name the place of those by --data")
    assert not Path("full-40%").exists()


def test_the_command(coset: Any, run: Path) -> None:
    found = coset("compress", run, "--budget", "40%", "--finetune", 1, "--out", "small")
    assert found.code == 0, found.err
    assert all(word in found.out for word in ("relative", "before", "fitted", "finetuned", "val MSE"))
    assert coset("compress", run, "--out", "x").sentence == "give a --budget to plan for, or a --plan"
    assert "exists already" in coset("compress", run, "--budget", "40%", "--out", "small").sentence


def test_movielens_at_a_quarter_of_its_bytes(tmp_path: Path) -> None:
    """Fitted weights and one epoch do as well as training from scratch at that size."""
    folder = os.environ.get("COSET_DATA")
    if folder is None or not (Path(folder) / "ml-1m.zip").exists():
        pytest.skip("COSET_DATA has no ml-1m.zip")
    with ZipFile(Path(folder) / "ml-1m.zip") as archive, archive.open("ml-1m/ratings.dat") as rows:
        (tmp_path / "ratings.dat").write_bytes(b"".join(islice(rows, 120_000)))  # of the first users
    recipe = load_recipe("ml-1m-frontier").override("model", {"embedding_dim": 16})
    recipe = recipe.override("data", {"source": str(tmp_path / "ratings.dat")})
    data = recipe.task.load(tmp_path)
    encoded, options = recipe.task.encoded(data, 0), Options(engine="fused")
    spec = RunSpec(recipe.task, {}, 0)
    execute(spec, tmp_path / "full", data, options, encoded=encoded)
    few = compress_run(tmp_path / "full", tmp_path / "few", budget="10%")
    found = compress_run(
        tmp_path / "full", tmp_path / "small", budget="25%", storages=["float32"], finetune=1, engine="fused"
    )
    assert few["fitted"]["val_mse"] < found["finetuned"]["val_mse"]
    same = replace(spec, methods=FinishedRun.load(tmp_path / "small").spec.methods)
    scratch = execute(same, tmp_path / "scratch", data, options, encoded=encoded)
    assert found["bytes"] == scratch["bytes"] <= 0.25 * found["bytes_before"]
    assert found["finetuned"]["val_mse"] <= scratch["history"][-1]["val_mse"] + 0.003
    assert found["fitted"]["val_mse"] < found["before"]["val_mse"] + 0.04


def test_bits_follow_what_errors_cost_and_beat_floats(run: Path, tmp_path: Path) -> None:
    packed = compress_run(run, tmp_path / "packed", budget="40%")
    floats = compress_run(run, tmp_path / "floats", budget="40%", storages=["float32"])
    assert packed["bytes"] <= 0.4 * packed["bytes_before"]
    assert {of["name"] for of in packed["tables"]} == {"user", "item", "user_bias", "item_bias"}
    assert packed["fitted"]["val_mse"] == pytest.approx(packed["before"]["val_mse"], abs=0.01)
    errors = [{of["name"]: of["relative"] for of in found["tables"]} for found in (packed, floats)]
    assert all(errors[0][name] < 0.3 * errors[1][name] for name in ("user", "item"))
    again = FinishedRun.load(tmp_path / "packed")
    assert evaluate_run(tmp_path / "packed")["mse"] == pytest.approx(packed["fitted"]["val_mse"], rel=1e-6)
    stored = (*again.model.buffers(), *again.model.parameters())
    assert sum(value.nbytes for value in stored) == packed["bytes"]
    only = compress_run(run, tmp_path / "only", budget="40%", storages=["int8"])
    assert {json.dumps(of["method"].get("storage", {}).get("bits")) for of in only["tables"]} <= {"8", "null"}
