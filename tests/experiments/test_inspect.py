"""What `inspect` says of data, against counts by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from coset.data import Attributes, Ratings, load_ratings
from coset.data.clicks import ClickData, ClickWriter
from coset.data.settings import DataSettings
from coset.errors import InputError
from coset.experiments.inspect import inspection_json
from coset.report.inspection import inspection_table
from coset.tasks import Task
from coset.tasks.clicks import ClickSource, ClicksTask
from coset.tasks.ratings import RatingsTask

# user 7 rates five times, user 8 twice, users 1 and 2 once
TINY = Ratings("tiny", [7, 7, 7, 7, 7, 8, 8, 1, 2], list("abcdeabab"), [1, 2, 3, 4, 5, 1, 1, 5, 5])
RATINGS = RatingsTask(DataSettings("tiny"))


def inspect(ratings: Ratings, embedding_dim: int) -> Any:
    return inspection_json(RATINGS.inspected(ratings), embedding_dim)


def test_by_hand() -> None:
    found = inspect(TINY, 4)
    assert found["rows"] == 9
    assert found["rating_range"] == [1.0, 5.0]
    assert found["rating_mean"] == 3.0
    assert found["rating_variance"] == pytest.approx(np.var([1, 2, 3, 4, 5, 1, 1, 5, 5]))
    assert found["ratings"] == [{"rating": float(r), "rows": n} for r, n in ((1, 3), (2, 1), (3, 1), (4, 1), (5, 3))]
    user, item = found["features"]
    assert (user["num_embeddings"], user["most"], user["median"], user["least"]) == (4, 5, 1.5, 1)
    assert user["histogram"] == [
        {"from": 1, "to": 1, "ids": 2, "traffic": pytest.approx(2 / 9)},
        {"from": 2, "to": 3, "ids": 1, "traffic": pytest.approx(2 / 9)},
        {"from": 4, "to": 7, "ids": 1, "traffic": pytest.approx(5 / 9)},
    ]
    assert user["traffic_of_top"]["50%"] == pytest.approx(7 / 9)
    assert item["num_embeddings"] == 5
    # 4 users of 4 floats of 4 bytes; Adam: two more arrays, and the last step of each row
    assert user["bytes"] == {
        "table": 64, "table_and_row_wise_adagrad": 80, "table_and_adagrad": 128, "table_and_lazy_adam": 192,
        "table_and_adam": 208,
    }  # fmt: skip
    assert found["bytes"]["table"] == 64 + 80
    assert found["bytes"]["table_and_adam"] == 3 * (64 + 80) + 4 * 9


def test_a_task_need_not_say_how_its_data_are_inspected() -> None:
    found = inspection_json(Task.inspected(RATINGS, TINY), 4)
    assert found["summary"] == "9 rows (8 training, 1 validation)"
    assert [of["name"] for of in found["features"]] == ["user", "item"]
    assert sum(group["ids"] for group in found["features"][0]["histogram"]) <= 4
    assert found["bytes"]["table"] == 64 + 80


def test_attributes_are_counted() -> None:
    known = Attributes([1, 2, 7, 9], {"age": [20, 20, 30, 99], "name": list("abcd")}, "users")  # 8 is not listed
    found = inspect(replace(TINY, user_attributes=known), 4)
    assert [of["attributes"] for of in found["features"]] == [{"age": 3, "name": 4}, {}]
    console = Console(width=120)
    with console.capture() as captured:
        console.print(inspection_table(found))
    assert "attributes of ids" in captured.get()
    with console.capture() as captured:
        console.print(inspection_table(inspect(TINY, 4)))
    assert "attributes of ids" not in captured.get()


def test_a_histogram_holds_every_id_and_all_traffic(small_csv: Path) -> None:
    for feature in inspect(load_ratings(small_csv), 64)["features"]:
        assert sum(group["ids"] for group in feature["histogram"]) == feature["num_embeddings"]
        assert sum(group["traffic"] for group in feature["histogram"]) == pytest.approx(1.0)
        shares = list(feature["traffic_of_top"].values())
        assert shares == sorted(shares)


def test_it_is_json_and_a_table(small_csv: Path) -> None:
    found = inspect(load_ratings(small_csv), 64)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    console = Console(width=120, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(inspection_table(found))
    text = captured.get()
    assert "popularity of user ids" in text
    assert "popularity of item ids" in text
    assert "3,000 ratings" in text
    assert "SYNTHETIC" not in text
    with console.capture() as captured:
        console.print(inspection_table(found | {"synthetic": True}))
    assert "SYNTHETIC DATA" in captured.get()


def test_what_is_worth_a_word() -> None:
    assert (inspect(TINY, 4)["repeated"], inspect(TINY, 4)["notes"]) == (0, [])
    plays = Ratings("plays", [1, 1, 2, 3], ["a", "a", "b", "c"], [1, 4, 6, 350_000], left_out=2, files=("p-2", "p-10"))
    found = inspect(plays, 4)
    assert (found["repeated"], found["left_out"], found["files"]) == (1, 2, ["p-2", "p-10"])
    order, empty, again, counts = found["notes"]
    assert order == "read from 2 files, in this order: p-2, p-10"
    assert empty.startswith("2 rows without")
    assert again.startswith("1 row is of a user and item that came before")
    assert "logarithms" in counts
    assert "350000" in counts
    console = Console(width=300)
    with console.capture() as captured:
        console.print(inspection_table(found))
    for note in found["notes"]:
        assert note in captured.get()
    stars = Ratings("percent", [1, 1, 2, 3], ["a", "b", "b", "c"], [0, 40, 60, 100])
    assert inspect(stars, 4)["notes"] == []


def test_many_different_ratings_are_not_listed() -> None:
    many = Ratings("many", np.arange(100) % 3, np.arange(100) % 7, np.arange(100) / 10)
    assert inspect(many, 4)["ratings"] is None


def test_a_dim_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="embedding_dim"):
        inspect(TINY, 0)


def test_a_click_log_without_features_costs_nothing(tmp_path: Path) -> None:
    """It can be prepared, so it can be looked at; its tables are none."""
    with ClickWriter(tmp_path, "numbers", ("price",), []) as writer:
        writer.append("training", [0, 1], [[1.0], [2.0]], [])
        writer.append("validation", [0], [[1.0]], [])
    found = inspection_json(ClicksTask(ClickSource("")).inspected(ClickData.open(tmp_path)), 4)
    assert (found["rows"], found["features"]) == (3, [])
    assert set(found["bytes"].values()) == {0}
    Console(width=200).print(inspection_table(found))


def test_a_run_says_what_it_is(coset: Any, small_csv: Path) -> None:
    rows = small_csv.read_text().splitlines()[:400]
    Path("r.csv").write_text("\n".join(rows) + "\n")
    assert coset("train", "r.csv", "--dim", 4, "--epochs", 2, "--out", "run").code == 0
    found = coset("inspect", "run", "--json").json
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert found["metrics"] == {name: metrics["history"][-1][name] for name in ("val_mse", "val_mae")}
    assert {name: found[name] for name in ("run", "task", "data", "epochs")} == {
        "run": "run", "task": "ratings", "data": "r.csv", "epochs": 2,
    }  # fmt: skip
    assert (found["bytes"], found["parameters"]) == (metrics["bytes"], metrics["parameters"])
    user, item, *biases = found["tables"]
    assert [(of["part"], of["name"], of["embedding_dim"]) for of in biases] == [
        ("biases", "user", 1), ("biases", "item", 1),
    ]  # fmt: skip
    assert (user["num_embeddings"], user["embedding_dim"], user["bytes"]) == (60, 4, 960)
    assert (item["name"], item["method"]["method"]) == ("item", "full")
    assert found["rows"]["training"] + found["rows"]["validation"] == 399
    assert found["others"] == {"mean": 4}

    assert coset("compress", "run", "--budget", "80%", "--out", "small").code == 0
    assert coset("train", "run", "--continue", "--epochs", 1, "--out", "longer").code == 0
    small, longer = coset("inspect", "small", "--json").json, coset("inspect", "longer", "--json").json
    assert [of["method"] for of in small["tables"]] != [of["method"] for of in found["tables"]]  # or its storage
    assert small["bytes"] <= 0.8 * found["bytes"]
    assert (small["compressed"]["from"], longer["continued"]["run"], longer["epochs"]) == ("run", "run", 3)
    assert f"compressed from the {found['bytes'] / 1000:.3g}KB of run" in coset("inspect", "small").out
    shown = " ".join(coset("inspect", "longer").out.split())
    assert "continues run, whose epochs are included" in shown
    assert "trained for 3 epochs on" in shown
    assert "coset compress longer --budget" in shown

    assert "leave --dim and columns out" in coset("inspect", "run", "--dim", 4).sentence
    assert "leave --dim and columns out" in coset("inspect", "run", "--user", "u").sentence
    Path("run/metrics.json").unlink()
    assert "run: this run is not finished" in coset("inspect", "run").sentence
    for words in (("plan", "run", "--budget", "9%"), ("compare", "run")):
        assert "run is a run, not data; coset inspect run shows" in coset(*words).sentence


@pytest.mark.compiles
def test_a_run_with_histories_says_what_these_take(coset: Any, small_csv: Path) -> None:
    with_histories = ("--epochs", 1, "--set", "model.history=5", "--out", "run")
    assert coset("train", small_csv, "--dim", 4, *with_histories).code == 0
    found = coset("inspect", "run", "--json").json
    assert set(found["others"]) == {"mean", "histories"}
    assert sum(of["bytes"] for of in found["tables"]) + sum(found["others"].values()) == found["bytes"]
    assert "histories" in coset("inspect", "run").out


def test_a_run_on_clicks_says_what_it_is(coset: Any, clicks: ClickData) -> None:
    tiny = ("--dim", 2, "--set", "model.bottom=[4]", "--set", "model.top=[4]", "--out", "run")
    assert coset("train", clicks.folder, *tiny, "--method", "hashing", "--collisions", 4).code == 0
    found = coset("inspect", "run", "--json").json
    assert (found["task"], found["data"]) == ("clicks", str(clicks.folder))
    known = {of.name: of.num_embeddings for of in clicks.features}
    assert {of["name"]: of["num_embeddings"] for of in found["tables"]} == known
    assert sum(of["bytes"] for of in found["tables"]) == found["bytes"]
    assert found["others"] == {}
    assert "val_auc" in found["metrics"]
    assert "log-loss" in coset("inspect", "run").out


def test_what_is_no_data_says_what_it_is(coset: Any, small_csv: Path) -> None:
    Path("r.csv").write_bytes(small_csv.read_bytes())
    assert coset("plan", "r.csv", "--budget", "50%", "--epochs", 1, "-o", "plan.json").code == 0
    Path("compared").mkdir()
    Path("compared/compare.json").write_text("{}")
    Path("mine.toml").write_text('title = "mine"\ndata = "r.csv"\n[[rows]]\nname = "full"\n')
    for subject, said in {
        "plan.json": "plan.json is a plan; give it with the data that it is for: coset train DATA --plan plan.json",
        "compared": "compared holds a comparison: its table is in results.md",
        "mine.toml": "mine.toml is a recipe; its data are r.csv: coset inspect r.csv",
        "ml-1m-frontier": "ml-1m-frontier is a recipe; its data are movielens-1m: coset inspect movielens-1m",
    }.items():
        assert said in coset("inspect", subject).sentence
    for command in ("train", "compare"):
        assert "plan.json is a plan" in coset(command, "plan.json").sentence
