"""Recipes of clicks: the shipped grids, a comparison in full, and what does not go together."""

from __future__ import annotations

import json
from dataclasses import replace
from math import ceil, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from coset.data.clicks import CRITEO_KAGGLE_CARDINALITIES, ClickData, ClickWriter, Feature
from coset.errors import InputError
from coset.experiments.compare import compare, summary
from coset.experiments.recipe import load_recipe, parse_recipe, recipe_for
from coset.experiments.resolve import Row, resolve
from coset.experiments.spread import student
from coset.report import comparison as report
from coset.report.folder import write
from coset.tasks.clicks import ClickSource, ClicksTask
from coset.training.run import Options

RECIPE = """
task = "clicks"
title = "Small"
data = "prepared"
seeds = 3
contrasts = [["QR c=2", "hashing"]]
[model]
name = "dlrm"
embedding_dim = 4
bottom = [4]
top = [4]
[training]
batch_size = 128
learning_rate = 0.1
dense_learning_rate = 0.01
evaluate_every = 6
[[rows]]
name = "full"
[[rows]]
name = "hashing"
method = "hashing"
collisions = [4]
full_below = 20
[[rows]]
name = "QR"
method = { method = "quotient_remainder", operation = "add" }
collisions = [2, 4]
[[rows]]
name = "a quarter"
method = "quotient_remainder"
budgets = ["50%"]
[[rows]]
name = "DCN"
model = { name = "dcn", deep = [4], cross_layers = 1 }
methods = { C1 = { method = "hashing", num_buckets = 50 } }
[[rows]]
name = "narrow"
embedding_dims = [2]
"""


@pytest.fixture(scope="module")
def criteo(tmp_path_factory: pytest.TempPathFactory) -> ClickData:
    """A few rows, with the features of Criteo's Kaggle data as they are declared: tables of 34 million ids."""
    features = [Feature(f"C{number}", size) for number, size in enumerate(CRITEO_KAGGLE_CARDINALITIES, 1)]
    folder = tmp_path_factory.mktemp("criteo") / "prepared"
    with ClickWriter(folder, "criteo", [f"I{n}" for n in range(1, 14)], features, synthetic=True) as writer:
        writer.append("training", [0, 1], [[0.0] * 13] * 2, [[0, 1]] * 26)
    return replace_frequencies(ClickData.open(folder))


def replace_frequencies(data: ClickData) -> ClickData:
    """Without counts, which would take a while to look through."""
    data.features = tuple(Feature(of.name, of.num_embeddings) for of in data.features)
    return data


@pytest.mark.parametrize("name", ["criteo-kaggle-dlrm", "criteo-kaggle-dcn"])
def test_the_grid_of_the_paper(name: str, criteo: ClickData) -> None:
    recipe = load_recipe(name)
    rows = {row.name: row for row in resolve(recipe, criteo)[0]}
    assert recipe.task.model.name == name.rpartition("-")[2]
    sizes = {name: row.task.components(row.methods, criteo) for name, row in rows.items()}
    parameters = {name: sum(component.numel for component in of) for name, of in sizes.items()}
    n = CRITEO_KAGGLE_CARDINALITIES
    assert parameters["full"] == 16 * 33_762_577  # the 540 million parameters of the paper
    assert parameters["hashing"] == 16 * sum(ceil(of / 4) for of in n)
    for c in (4, 5, 6, 7, 60):
        both = [(ceil(of / c), ceil(of / ceil(of / c))) for of in n]
        assert parameters[f"QR mult c={c}"] == parameters[f"QR add c={c}"] == 16 * sum(map(sum, both))
        assert parameters[f"QR concat c={c}"] == 8 * sum(map(sum, both))
    assert parameters["feature generation c=4"] == parameters["QR mult c=4"]
    large = [of for of in n if of >= 200]
    expected = sum(of for of in n if of < 200) + sum(ceil(of / 4) for of in large)
    assert parameters["hashing, threshold 200"] == 16 * expected
    assert rows["hashing, threshold 200"].methods.keys() == {f"C{i}" for i, of in enumerate(n, 1) if of >= 200}
    assert parameters["path, hidden 16"] < parameters["path, hidden 64"]
    assert {row.group for name, row in rows.items() if name != "full"} == {"compressed"}


@pytest.mark.parametrize("model", ["dlrm", "dcn"])
def test_the_recipes_of_the_twin(model: str, criteo: ClickData) -> None:
    recipe = load_recipe(f"criteo-twin-{model}")
    paper = load_recipe(f"criteo-kaggle-{model}")
    assert recipe.task.model == paper.task.model
    assert recipe.task.data.source == "synthetic-clicks"
    assert recipe.task.data.rows * 0.9 >= 1_980_000
    rows = {row.name: row for row in resolve(recipe, criteo)[0]}
    sizes = {name: sum(of.numel for of in row.task.components(row.methods, criteo)) for name, row in rows.items()}
    assert sizes["full"] == 16 * 33_762_577
    assert sizes["QR mult"] / sizes["hashing"] < 1.001  # equal rows but for the four of the quotients
    assert rows["QR mult, small full"].methods.keys() == rows["hashing, small full"].methods.keys()


@pytest.fixture(scope="module")
def finished(clicks: ClickData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("compare") / "out"
    return out, compare(parse_recipe(RECIPE, "small", "small.toml"), out, clicks)


def test_results_have_the_shape_of_all_results(finished: tuple[Path, dict[str, Any]], clicks: ClickData) -> None:
    out, results = finished
    assert json.loads((out / "results.json").read_text()) == results
    assert {"dataset", "split", "protocol", "host", "versions", "rows"} <= results.keys()
    assert results["split"]["features"] == {of.name: of.num_embeddings for of in clicks.features}
    names = ["base rate", "linear, 2^8", "full", "hashing", "QR c=2", "QR c=4", "a quarter", "DCN", "narrow"]
    assert [row["name"] for row in results["rows"]] == names
    rows = {row["name"]: row for row in results["rows"]}
    assert rows["full"]["bytes"] == 4 * 4 * (200 + 40 + 3 + 10)
    assert rows["hashing"]["bytes"] == 4 * 4 * (50 + 10 + 3 + 10)
    assert rows["a quarter"]["bytes"] <= rows["full"]["bytes"] / 2
    assert rows["narrow"]["group"] == "narrow"
    for row in results["rows"][2:]:
        assert row["seeds"] == [0, 1, 2]
        assert len(row["history"]) == 3
        assert [of["epoch"] for of in row["history"][0]] == [0.5, 1]
        assert row["methods"].keys() == {"C1", "C2", "C3", "tags"}
        for name in ("val_logloss", "val_auc", "val_calibration", "val_normalised_entropy", "train_logloss"):
            entry, values = row["metrics"][name], [run[-1][name] for run in row["history"]]
            assert entry["values"] == values
            assert entry["mean"] == fmean(values)
            assert entry["std"] == stdev(values)
            assert entry["interval"] == pytest.approx(4.303 * stdev(values) / sqrt(3))


def test_the_report_says_what_was_measured(finished: tuple[Path, dict[str, Any]]) -> None:
    write(finished[1], finished[0])
    text = (finished[0] / "results.md").read_text()
    heading = next(line for line in text.splitlines() if line.startswith("| name"))
    for words in ("val log-loss ± 95 %", "AUC ± 95 %", "s/M rows", "peak"):
        assert words in heading
    assert "MSE" not in text
    assert "half its 95 % interval (Student's t) over seeds 0, 1, 2" in text
    assert "layers" in text
    assert "\n- QR c=2, " in text
    assert "difference" in text
    assert report.table(finished[1]).row_count == 9


def test_a_comparison_goes_on(finished: tuple[Path, dict[str, Any]], clicks: ClickData) -> None:
    out, results = finished
    recipe = parse_recipe(RECIPE, "small", "small.toml")
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.safetensors")}
    assert compare(recipe, out, clicks, options=Options(resume=True)) == results
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.safetensors")} == before


def rows_of(text: str, data: ClickData) -> list[Row[Any, Any, Any, Any]]:
    recipe = parse_recipe(f'task = "clicks"\ntitle = "t"\ndata = "d"\n{text}', "mine", "mine.toml")
    return resolve(recipe, data)[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[rows]]\nname = 'a'\nmethod = 'hashing'\ncollisions = [0]", "collisions must be at least 1"),
        ("[[rows]]\nname = 'a'\nmethod = 'hashing'\ncollisions = [4]\nbudgets = ['1KB']", "leave one out"),
        ("[[rows]]\nname = 'a'\ncollisions = [4]", "a method needs budgets or collisions"),
        ("[[rows]]\nname = 'a'\nfull_below = 4", "full_below goes with a method"),
        ("[[rows]]\nname = 'a'\nmethod = 'low_rank'\ncollisions = [4]", "not sized by collisions"),
        (
            "[[rows]]\nname = 'a'\nvocabulary = { user_order = 'random' }",
            "unknown field of recipe: rows.0. 'vocabulary'",
        ),
        ("[[rows]]\nname = 'a'\nmethods = { C9 = { method = 'full' } }", "a method for feature 'C9'"),
        ("[[rows]]\nname = 'a'\nmodel = { tops = [3] }", "did you mean 'top'"),
        ("[split]\nkind = 'random'\n[[rows]]\nname = 'a'", "unknown field of recipe 'split'"),
        ("[model]\nname = 'dlmr'\n[[rows]]\nname = 'a'", "did you mean 'dlrm'"),
        ("[training]\nlearning_rat = 1.0\n[[rows]]\nname = 'a'", "did you mean 'learning_rate'"),
    ],
)
def test_a_wrong_recipe_is_a_sentence(text: str, words: str, clicks: ClickData) -> None:
    with pytest.raises(InputError, match=words):
        rows_of(text, clicks)


def test_a_task_that_is_none() -> None:
    with pytest.raises(InputError, match="did you mean 'clicks'"):
        parse_recipe('task = "click"\ntitle = "t"', "mine", "mine.toml")


def test_all_methods_have_a_row(clicks: ClickData) -> None:
    recipe = recipe_for("clicks", {"source": "d"}, ["all"], ["50%"], {"name": "dlrm", "embedding_dim": 4})
    rows, notes = resolve(recipe, clicks)
    assert len(rows) + len(notes) > 10
    assert all(note.startswith("left out") for note in notes)
    assert {"full", "quotient_remainder", "hashing", "feature_generation"} <= {row.name for row in rows}


def test_the_twin_is_made_once(tmp_path: Path) -> None:
    source = ClickSource("synthetic-clicks", rows=2000, cardinalities=(50, 20))
    data = source.load(tmp_path)
    written = {path: path.stat().st_mtime_ns for path in data.folder.rglob("*") if path.is_file()}
    again = source.load(tmp_path)
    assert again.fingerprint == data.fingerprint
    assert {path: path.stat().st_mtime_ns for path in data.folder.rglob("*") if path.is_file()} == written
    assert replace(source, seed=1).load(tmp_path).folder != data.folder
    assert ClicksTask(source).facts(data, data)["noise_floor"] == data.facts["best_log_loss"]


def test_a_change_within_a_large_log_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coset.data.clicks.source._ENDS", 20)
    (tmp_path / "schema.toml").write_text("label = 'y'\ncategorical = ['c']\n")
    log, source = tmp_path / "log.csv", ClickSource(str(tmp_path / "log.csv"), str(tmp_path / "schema.toml"))
    log.write_text("y,c\n" + "1,x\n0,z\n" * 20)
    first = source.load(tmp_path)
    assert source.load(tmp_path).folder == first.folder
    text = log.read_text()
    log.write_text(text[:80] + "0,x\n" + text[84:])
    assert source.load(tmp_path).fingerprint != first.fingerprint


def test_another_schema_is_prepared_beside_the_first(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("y,a,b,c\n" + "1,2,3,x\n0,4,5,z\n" * 20)
    schema, found = tmp_path / "schema.toml", []
    for numeric in ("['a']", "['a', 'b']", "['a']"):
        schema.write_text(f"label = 'y'\nnumeric = {numeric}\ncategorical = ['c']\n")
        found.append(ClickSource(str(tmp_path / "log.csv"), str(schema)).load(tmp_path).folder)
    assert found[0] == found[2] != found[1]
    with (tmp_path / "log.csv").open("a") as file:
        file.write("1,2,3,w\n")
    assert ClickSource(str(tmp_path / "log.csv"), str(schema)).load(tmp_path).folder not in found


def test_intervals_of_unknown_values() -> None:
    assert summary([1.0, None]) == {"mean": None, "std": None, "values": [1.0, None], "interval": None}
    assert summary([1.0])["interval"] is None
    assert student(2) == 12.706
    assert student(31) == pytest.approx(2.042, abs=0.003)


def test_a_folder_whose_preparation_did_not_end_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "prepare.json").write_text("{}")
    with pytest.raises(InputError, match="begun preparation with --resume"):
        ClickSource(str(tmp_path / "data")).load(tmp_path)


def test_data_that_are_not_at_hand_have_a_twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSET_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("COSET_CACHE", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=r"data\.source=synthetic-clicks"):
        ClickSource("criteo-kaggle").load(tmp_path)
