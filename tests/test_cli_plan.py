"""The command line from a byte budget to a plan, and from a plan to a trained model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from matplotlib.image import imread

from coset.ledger import TableOptimizerName
from coset.planning.plan import Plan

Coset = Callable[..., Any]
SMALL = ("--dim", 4, "--set", "model.bottom=[4]", "--set", "model.top=[4]", "--set", "training.batch_size=64")
# The small file has no factors, so a calibrated plan has no tables.
FLOATS = "--storages", "float32"
NARROW = ("--dim", 8, "--no-calibrate")  # half as many dims to choose from, and a quarter of the time
ANY = ("--dim", 4, "--methods", "hashing", "--no-calibrate")  # where any plan will do


@pytest.fixture
def csv(small_csv: Path, tmp_path: Path) -> Path:
    """The small file, in the folder that commands run in."""
    path = tmp_path / "small.csv"
    path.write_bytes(small_csv.read_bytes())
    return path


def test_a_plan_is_within_the_budget_and_made_without_what_training_and_pictures_load(csv: Path) -> None:
    code = (
        "import sys; from coset import cli; sys.argv[0] = 'coset'\n"
        "try:\n    cli.main()\n"
        "finally:\n    print(sorted({'torch._dynamo', 'matplotlib'} & set(sys.modules)), file=sys.stderr)\n"
    )
    words = [sys.executable, "-c", code, "plan", csv.name, "--budget", "3KB", "--dim", "8", "--json", "--no-calibrate"]
    done = subprocess.run(words, cwd=csv.parent, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
    found = json.loads(done.stdout)
    assert found["bytes"] <= found["budget"] == 3000
    assert found["bytes"] == found["other_bytes"] + sum(of["bytes"] for of in found["tables"].values())
    assert found["other_bytes"] == 101 * 4  # a bias for each of 60 users and 40 movies, and the mean
    assert list(csv.parent.iterdir()) == [csv]


def test_a_plan_is_shown_written_and_trained(coset: Coset, csv: Path) -> None:
    found = coset("plan", csv, *NARROW, "--budget", "2KB", "-o", "plan.json", "--out", "plans/mine")
    assert found.code == 0, found.err
    for word in ("user", "item", "next best", "full and planned", "biases", "of 2,000", "times as much", "next best,"):
        assert word in " ".join(found.out.split()), word
    assert "written to plan.json" in found.err
    pixels = imread("plans/mine/plan.png")
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels @ (1 << 16, 1 << 8, 1, 0)[: pixels.shape[2]])) > 50  # colours: not an empty page
    plan = Plan.load("plan.json")
    run = coset("train", csv, "--plan", "plan.json", "--epochs", 1, "--out", "run", "--json")
    assert run.code == 0, run.err
    assert run.json["bytes"] == plan.bytes <= 2000
    assert run.json["name"] == "by plan.json"
    spec = json.loads(Path("run/run.json").read_text())["spec"]
    assert spec["model"]["embedding_dim"] == plan.embedding_dim
    assert spec["methods"] == {name: method.to_json() for name, method in plan.methods.items()}
    assert coset("evaluate", "run", csv, "--json").json["rows"] == 450
    refused = coset("train", csv, "--plan", "plan.json", "--dim", plan.embedding_dim + 1, "--out", "other").sentence
    assert f"has embedding_dim {plan.embedding_dim}, and --dim is" in refused


def test_a_folder_for_what_is_written_holds_the_plan_too(coset: Coset, csv: Path) -> None:
    found = coset("plan", csv, "--budget", "3KB", *ANY, "--out", "plans/mine", "--json")
    assert sorted(path.name for path in Path("plans/mine").iterdir()) == ["plan.json", "plan.png"]
    assert Plan.load("plans/mine/plan.json").bytes == found.json["bytes"]


def test_where_a_plan_cannot_be_written_is_said_before_it_is_made(coset: Coset, csv: Path) -> None:
    Path("taken").mkdir()
    assert coset("plan", "no-data.csv", "--budget", "3KB", "-o", "taken").sentence == (
        "taken: is a folder; give the name of a file"
    )
    said = coset("plan", "no-data.csv", "--budget", "3KB", "--out", csv).sentence
    assert said.endswith(f"plan.json: cannot be written, as {csv} is no folder")


def test_what_is_printed_as_json_is_a_plan_to_train(coset: Coset, csv: Path) -> None:
    printed = coset("plan", csv, "--budget", "40%", *NARROW, "--methods", "low_rank,hashing", "--json")
    assert {of["method"]["method"] for of in printed.json["tables"].values()} <= {"full", "low_rank", "hashing"}
    about = printed.json["about"]
    assert (about["dataset"], about["synthetic"]) == ("small", False)
    assert about["full"] == {"embedding_dim": 8, "bytes": 100 * 8 * 4 + 101 * 4}
    assert about["ratio"] == about["full"]["bytes"] / printed.json["bytes"] >= 2.5
    assert about["features"]["user"]["full_bytes"] == 60 * 8 * 4
    curve = np.array(about["features"]["user"]["traffic"])
    assert curve[0].tolist() == [0, 0]
    assert curve[-1].tolist() == [60, 1]
    assert (np.diff(curve, axis=0) > 0).all()
    Path("printed.json").write_text(printed.out)
    run = coset("train", csv, "--plan", "printed.json", "--epochs", 1, "--out", "run", "--json")
    assert run.json["bytes"] == printed.json["bytes"]


def test_a_plan_by_alpha_says_so_and_what_it_is_to_lose(coset: Coset, csv: Path) -> None:
    found = coset("plan", csv, "--budget", "3KB", "--alpha", "0.3", "--json").json
    assert found["bytes"] <= 3000
    assert found["loss"] > 0
    for choice in found["tables"].values():
        assert choice["why"].startswith(("takes ", "is a full table"))
        assert choice["why"].endswith("; sized by the alpha-power rule with α = 0.3")
    assert "Predicted loss" in coset("plan", csv, "--budget", "3KB", "--alpha", "0.3").out


def test_a_folder_wins_over_a_recipe_of_its_name(coset: Coset, clicks: Any, tmp_path: Path) -> None:
    shutil.copytree(clicks.folder, tmp_path / "clicks")
    assert coset("plan", "clicks", "--budget", "50%", *SMALL, "--json").json["about"]["dataset"] == "small"


def test_the_same_words_make_the_same_plan(coset: Coset, csv: Path) -> None:
    first, second = (coset("plan", csv, "--budget", "2KB", *NARROW, "--seed", 3, "--json").out for _ in range(2))
    assert first == second


def test_the_state_of_an_optimizer_is_within_the_budget(coset: Coset, csv: Path) -> None:
    alone = coset("plan", csv, "--budget", "3KB", *FLOATS, *NARROW, "--json").json
    trained = "--set", "training.optimizer=lazy_adam"
    found = coset("plan", csv, "--budget", "3KB", *FLOATS, *NARROW, "--optimizer", "lazy_adam", *trained, "--json").json
    assert found["bytes"] <= 3000
    tables = sum(of["bytes"] for of in found["tables"].values())
    assert found["optimizer_bytes"] == 2 * tables
    assert found["bytes"] == tables + found["optimizer_bytes"] + found["other_bytes"]
    assert tables < sum(of["bytes"] for of in alone["tables"].values())
    assert found["about"]["full"]["bytes"] == 3 * 100 * 8 * 4 + 101 * 4  # two numbers for each one of the full tables
    assert (
        "state of lazy_adam"
        in coset("plan", csv, "--budget", "3KB", *FLOATS, *ANY, "--optimizer", "lazy_adam", *trained).out
    )


@pytest.mark.parametrize(
    ("trained", "named", "said"),
    [
        ("adam", "adagrad", "name 'adam', or change that with --set training.optimizer=adagrad"),
        ("adam", "lazy_adam", "a plan that counts the state of 'lazy_adam' is not for it; name 'adam'"),
        ("adam", "dense_adam", "unknown optimizer of a plan 'dense_adam'"),
        ("sgd", "adagrad", "trains with 'sgd', so a plan that counts the state of 'adagrad' is not for it; name 'sgd', "
                           "or change that with --set training.optimizer=adagrad"),
        ("sgd", "row_wise_adagrad", "'row_wise_adagrad' is not for it; name 'sgd'"),
        ("sgd", "sdg", "did you mean 'sgd'"),
    ],
)  # fmt: skip
def test_a_plan_is_for_the_optimizer_that_trains(coset: Coset, csv: Path, trained: str, named: str, said: str) -> None:
    words = ("plan", csv, "--budget", "3KB", "--optimizer", named, "--set", f"training.optimizer={trained}")
    assert said in coset(*words).sentence
    Path("mine.toml").write_text(
        f"title = 'T'\ndata = 'small.csv'\n[[rows]]\nname = 'x'\nbudgets = ['3KB']\n"
        f"plan = {{ optimizer = '{named}' }}\ntraining = {{ optimizer = '{trained}' }}\n"
    )
    assert said in coset("compare", "mine.toml").sentence


@pytest.mark.parametrize("named", get_args(TableOptimizerName))
def test_click_models_are_planned_with_the_optimizer_that_trains(coset: Coset, clicks: Any, named: str) -> None:
    words = ("plan", clicks.folder, *SMALL, "--budget", "3KB", "--optimizer", named, "--json")
    found = coset(*words, "--set", f"training.optimizer={named}")
    assert found.code == 0, found.err
    assert found.json["optimizer"] == named
    other = "sgd" if named == "adagrad" else "adagrad"
    refused = coset(*words, "--set", f"training.optimizer={other}").sentence
    assert f"name {other!r}, or change that with --set training.optimizer={named}" in refused


def test_a_plan_with_an_optimizer_is_for_a_training_by_it(coset: Coset, csv: Path) -> None:
    lazy = ("--set", "training.optimizer=lazy_adam")
    assert coset("plan", csv, "--budget", "3KB", *ANY, "--optimizer", "lazy_adam", *lazy, "-o", "plan.json").code == 0
    said = coset("train", csv, "--plan", "plan.json", "--epochs", 1, "--out", "run").sentence
    assert "this recipe trains with 'adam'" in said
    assert coset("train", csv, "--plan", "plan.json", *lazy, "--epochs", 1, "--out", "run").code == 0


def test_inspect_counts_for_the_dim_that_plan_does(coset: Coset, csv: Path, clicks: Any) -> None:
    for data in (csv, clicks.folder):
        planned = coset("plan", data, "--budget", "50%", *ANY[2:], "--json").json["about"]["full"]["embedding_dim"]
        assert coset("inspect", data, "--json").json["embedding_dim"] == planned


def test_biases_alone_are_a_plan_that_trains(coset: Coset, csv: Path) -> None:
    found = coset("plan", csv, "--budget", "2KB", "--dim", 8, "--out", "plans/mine")
    assert found.code == 0, found.err
    shown = " ".join(found.out.split())
    assert "biases alone at 404B are better than every table; take those" in shown
    assert "that of a bias for each id" in shown
    assert Path("plans/mine/plan.png").stat().st_size > 10_000
    plan = Plan.load("plans/mine/plan.json")
    assert (plan.embedding_dim, plan.bytes, plan.methods) == (0, 404, {})
    run = coset("train", csv, "--plan", "plans/mine/plan.json", "--epochs", 1, "--out", "run", "--json")
    assert run.code == 0, run.err
    assert run.json["bytes"] == 404
    assert coset("evaluate", "run", csv, "--json").json["rows"] == 450


def test_planned_rows_stand_beside_others(coset: Coset, csv: Path) -> None:
    words = ("compare", csv, "--budgets", "3KB,2KB", "--dim", 8, "--epochs", 1, "--json")
    found = coset(*words, "--row", "full", "--row", "planned", "--row", "low_rank 3KB", "--out", "out")
    assert found.code == 0, found.err
    rows = {row["name"]: row for row in found.trained}
    assert list(rows) == ["full", "planned 3KB", "planned 2KB", "low_rank 3KB"]
    for name, most in (("planned 3KB", 3000), ("planned 2KB", 2000)):
        plan = Plan.from_json(rows[name]["plan"])
        assert rows[name]["bytes"] == plan.bytes <= plan.budget == most
        assert rows[name]["embedding_dim"] == plan.embedding_dim
        assert rows[name]["methods"] == {table: method.to_json() for table, method in plan.methods.items()}
    assert found.json["budgets"] == [3000, 2000]


def test_a_recipe_plans_measures_and_reads_plans(coset: Coset, csv: Path) -> None:
    assert coset("plan", csv, "--budget", "3KB", *NARROW, "-o", "plan.json").code == 0
    Path("mine.toml").write_text(
        "title = 'T'\ndata = 'small.csv'\n[model]\nembedding_dim = 4\nbiases = true\noutput = 'linear'\n"
        "[training]\nepochs = 2\n[[rows]]\nname = 'full'\n"
        "[[rows]]\nname = 'planned'\nplan = { methods = ['low_rank'], calibrate = true }\nbudgets = ['1500']\n"
        "[[rows]]\nname = 'mine'\nplan = 'plan.json'\n"
    )
    found = coset("compare", "mine.toml", "--out", "runs/mine", "--json")
    assert found.code == 0, found.err
    _, planned, mine = found.trained
    assert planned["bytes"] <= 1500
    assert {of["method"] for of in planned["methods"].values()} <= {"full", "low_rank"}
    assert mine["bytes"] == Plan.load("plan.json").bytes
    assert "to calibrate" in found.err
    measured = list(Path("runs/calibration").glob("mine-*/*/metrics.json"))
    assert len(measured) >= 5
    before = {path: path.stat().st_mtime_ns for path in measured}
    again = coset("plan", "mine.toml", "--budget", "1500", "--methods", "low_rank", "--calibrate", "--json")
    assert again.code == 0, again.err
    assert again.json["tables"] == planned["plan"]["tables"]
    assert {path: path.stat().st_mtime_ns for path in measured} == before  # nothing is measured twice


def test_the_validation_part_is_not_read_to_calibrate(coset: Coset, csv: Path) -> None:
    """Other ratings in the last rows, which validate, change nothing of what is measured."""
    words = (
        "--budget",
        "1500",
        "--dim",
        4,
        "--set",
        "split.kind=ordered",
        "--set",
        "training.epochs=3",
        "--calibrate",
        "--json",
    )
    first = coset("plan", csv, *words, "--out", "a/x")
    assert first.code == 0, first.err
    lines = csv.read_text().splitlines()
    held = round(0.15 * (len(lines) - 1))
    other = [line.rpartition(",")[0] + ",1" for line in lines[-held:]]
    csv.write_text("\n".join(lines[:-held] + other) + "\n")
    second = coset("plan", csv, *words, "--out", "b/x")
    assert second.json["tables"] == first.json["tables"]
    left, right = (
        {
            path.parent.name: json.loads(path.read_text())["history"][-1]["val_mse"]
            for path in Path(of).glob("calibration/*/*/metrics.json")
        }
        for of in "ab"
    )
    assert left == right
    assert len(left) > 10


# -- clicks -------------------------------------------------------------------------------------------------------


def test_prepared_clicks_are_planned_trained_and_inspected(coset: Coset, clicks: Any) -> None:
    found = coset("plan", clicks.folder, *SMALL[:2], "--budget", "2KB", "--optimizer", "row_wise_adagrad",
                  "-o", "plan.json", "--out", "plans/a")  # fmt: skip
    assert found.code == 0, found.err
    assert "SYNTHETIC" in found.out
    assert Path("plans/a/plan.png").stat().st_size > 10_000
    plan = Plan.load("plan.json")
    assert set(plan.tables) == {"C1", "C2", "C3", "tags"}
    assert (plan.embedding_dim, plan.other_bytes) == (4, 0)
    run = coset("train", clicks.folder, *SMALL, "--plan", "plan.json", "--out", "runs/a", "--json")
    assert run.code == 0, run.err
    assert run.json["bytes"] == plan.bytes - plan.optimizer_bytes
    seen = coset("inspect", clicks.folder, "--dim", 4, "--json").json
    sizes = {of["name"]: of["num_embeddings"] for of in seen["features"]}
    assert sizes == {"C1": 200, "C2": 40, "C3": 3, "tags": 10}
    assert seen["bytes"] == {
        "table": 253 * 16, "table_and_adagrad": 253 * 32, "table_and_row_wise_adagrad": 253 * 20,
        "table_and_lazy_adam": 253 * 48, "table_and_adam": 253 * 52,
    }  # fmt: skip
    assert sum(group["ids"] for group in seen["features"][0]["histogram"]) <= 200
    assert seen["features"][2]["most"] == int(clicks.features[2].frequencies.max())
    shown = coset("inspect", clicks.folder)
    assert "tags (lists)" in shown.out
    assert "--user, --item and --rating are for ratings" in coset("inspect", clicks.folder, "--user", "u").sentence


def test_plans_of_clicks_are_calibrated_on_a_sample(coset: Coset, clicks: Any) -> None:
    words = ("plan", clicks.folder, *SMALL, "--budget", "2KB", "--methods", "hashing", "--calibrate", "--out", "p/a")
    found = coset(*words, "--json")
    assert found.code == 0, found.err
    assert found.json["bytes"] <= 2000
    (sample,) = Path("p/calibration").glob("sample-*")
    described = json.loads((sample / "prepared.json").read_text())
    assert described["parts"] == {"training": 1425, "validation": 75}
    assert coset(*words, "--json").json == found.json


# -- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("plan", "small.csv"), ["--budget"]),
        (("plan", "small.csv", "--budget", "3XB"), ["XB", "KB"]),
        (("plan", "small.csv", "--budget", "10", "--dim", "4"), ["smallest plan", "12 bytes", "10 bytes"]),
        (("plan", "small.csv", "--budget", "3KB", "--methods", "low_rnk"), ["did you mean 'low_rank'"]),
        (("plan", "small.csv", "--budget", "3KB", "--methods", "low_rank,"), ["empty entry"]),
        (("plan", "small.csv", "--budget", "3KB", "--optimizer", "row_wise"), ["optimizer", "row_wise_adagrad"]),
        (("plan", "small.csv", "--budget", "3KB", "--dim", "0"), ["embedding_dim"]),
        (("plan", "gone.csv", "--budget", "3KB"), ["gone.csv", "no such file"]),
        (("train", "small.csv", "--plan", "gone.json"), ["gone.json", "no such plan"]),
        (("train", "small.csv", "--plan", "p.json", "--row", "full"), ["--row", "--plan"]),
        (("train", "small.csv", "--plan", "p.json", "--method", "hashing"), ["--plan", "--method"]),
        (("train", "small.csv", "--plan", "p.json", "--budget", "3KB"), ["--plan"]),
        (("plan", "small.csv", "--budget", "3KB", "--alpha", "0.3", "--calibrate"), ["alpha", "calibrate"]),
        (("plan", "small.csv", "--budget", "8", "--dim", "4", "--calibrate"), ["smallest plan", "8 bytes"]),
        (("plan", "small.csv", "--budget", "3KB", "--optimizer", "row_wise", "--calibrate"), ["row_wise_adagrad"]),
        (("plan", "small.csv", "--budget", "450", "--alpha", "0.3"), ["(932 bytes: 528 for", " 404 for", "not 450 b"]),
    ],
)
@pytest.mark.usefixtures("csv")
def test_bad_words_are_one_sentence(coset: Coset, words: tuple[str, ...], parts: list[str]) -> None:
    sentence = coset(*words).sentence
    assert [part for part in parts if part not in sentence] == []
    assert [path.name for path in Path().iterdir()] == ["small.csv"]


def edited(**changes: Any) -> str:
    plan = json.loads(Path("plan.json").read_text())
    for name, value in changes.items():
        if name == "user":
            plan["tables"]["user"] |= value
        else:
            plan[name] = value
    return json.dumps(plan)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"schema": 2}, ["schema 2", "update coset"]),
        ({"budget": 500}, ["over its budget", "user"]),
        ({"user": {"num_embeddings": 61}}, ["table 'user'", "61 ids", "60"]),
        ({"user": {"method": {"method": "low_rank", "rank": 0}}}, ["user", "rank"]),
        ({"tables": {"user": {"method": "full"}}}, ["table 'item'"]),
        ({"tables": {"user": {"method": "ful"}}}, ["user", "did you mean 'full'"]),
        ({"more": 1}, ["more"]),
    ],
)
def test_a_plan_that_does_not_fit_is_one_sentence(
    coset: Coset, csv: Path, changes: dict[str, Any], parts: list[str]
) -> None:
    assert coset("plan", csv, "--budget", "3KB", *ANY, "-o", "plan.json").code == 0
    Path("other.json").write_text(edited(**changes))
    sentence = coset("train", csv, "--plan", "other.json", "--out", "run").sentence
    assert [part for part in parts if part not in sentence] == []
    assert not Path("run").exists()


def test_a_plan_of_other_data_names_the_table(coset: Coset, csv: Path, clicks: Any) -> None:
    assert coset("plan", csv, "--budget", "3KB", *ANY, "-o", "plan.json").code == 0
    sentence = coset("train", clicks.folder, *SMALL[2:], "--plan", "plan.json", "--out", "run").sentence
    assert "table 'user': the plan has it and the model does not" in sentence
    Path("not.json").write_text("[1]")
    assert "not.json: plan: expected a table of fields" in coset("train", csv, "--plan", "not.json").sentence


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("plan = true", "needs budgets"),
        ("plan = false\nbudgets = ['3KB']", "must be true"),
        ("plan = 'plan.json'\nbudgets = ['3KB']", "has its budget"),
        ("plan = true\nmethod = 'hashing'\nbudgets = ['3KB']", "leave out method"),
        ("plan = true\nbudgets = ['3XB']", "unknown unit"),
        ("plan = { method = ['full'] }\nbudgets = ['3KB']", "did you mean 'methods'"),
        ("plan = true\nbudgets = ['10']", "row 'x': the smallest plan"),
        ("plan = { calibrate = true }\nbudgets = ['1500', '10']", "row 'x 10': the smallest plan"),
    ],
)
@pytest.mark.usefixtures("csv")
def test_wrong_planned_rows_of_recipes_are_one_sentence(coset: Coset, row: str, part: str) -> None:
    Path("mine.toml").write_text(
        f"title = 'T'\ndata = 'small.csv'\n[model]\nembedding_dim = 4\nbiases = true\n[[rows]]\nname = 'x'\n{row}\n"
    )
    assert part in coset("compare", "mine.toml").sentence
    assert sorted(path.name for path in Path().iterdir()) == ["mine.toml", "small.csv"]  # and nothing is trained
