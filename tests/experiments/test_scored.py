"""Which rows `evaluate` scores: no training rows in silence, by the columns of the run, wherever its data are now."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest

Coset = Callable[..., Any]
FLAGS = ("--user", "who", "--item", "what", "--rating", "how much", "--separator", ";")
NAMES = {"who": "userId", "what": "movieId", "how much": "rating"}


@pytest.fixture
def odd(small_csv: Path, tmp_path: Path) -> Path:
    """Ratings whose columns nobody guesses, and a run trained on them."""
    path = tmp_path / "odd.txt"
    path.write_text(small_csv.read_text().replace(",", ";").replace("userId;movieId;rating", "who;what;how much"))
    return path


def test_the_rows_that_are_scored(coset: Coset, odd: Path) -> None:
    done = coset("train", odd, *FLAGS, "--row", "bias only", "--epochs", 2, "--out", "run", "--json")
    assert done.code == 0, done.err
    last = done.json["history"][-1]
    mine = coset("evaluate", "run", odd, "--json").json  # no --user, no --separator
    assert (mine["mse"], mine["mae"]) == (last["val_mse"], last["val_mae"])
    assert (mine["own"], mine["part"], mine["rows"], mine["trained_on"]) == (True, "validation", 450, 2550)
    assert coset("evaluate", "run", "--json").json == mine
    training = coset("evaluate", "run", "--part", "training", "--json").json
    every = coset("evaluate", "run", "--part", "all", "--json").json
    assert (training["rows"], every["rows"]) == (2550, 3000)
    assert training["mse"] != mine["mse"]
    assert 3000 * every["mse"] == pytest.approx(2550 * training["mse"] + 450 * mine["mse"])
    assert "the training part, 2,550 rows, of the run's own data" in words(
        coset("evaluate", "run", "--part", "training")
    )
    assert "unknown part 'test'" in coset("evaluate", "run", "--part", "test").sentence

    # The same ratings in another file are the same ratings.
    frame = polars.read_csv(odd, separator=";")
    frame.write_parquet("odd.parquet")
    assert coset("evaluate", "run", "odd.parquet", "--json").json == {**mine, "dataset": "odd"}
    frame.rename(NAMES).write_csv("usual.csv")  # under names that are found by themselves
    assert coset("evaluate", "run", "usual.csv", "--json").json == {**mine, "dataset": "usual"}

    # Others have no parts.
    frame[:-1].write_csv("later.csv", separator=";")
    later = coset("evaluate", "run", "later.csv", "--json").json
    assert (later["own"], later["part"], later["rows"], later["trained_on"]) == (False, "all", 2999, 2550)
    said = words(coset("evaluate", "run", "later.csv"))
    assert "all 2,999 rows of data that are not those of the run, though 2,5" in said
    assert "of them equal rows that it was trained on; the run was trained on 2,550 rows" in said
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=0)
    shuffled.write_csv("shuffled.csv", separator=";")
    again = coset("evaluate", "run", "shuffled.csv", "--json").json
    assert (again["own"], again["rows"]) == (False, 3000)
    assert again["known"] >= 2550  # a few rows that validate equal others
    new = frame.with_columns(polars.lit(0.5).alias("how much"))
    new.write_csv("new.csv", separator=";")
    assert coset("evaluate", "run", "new.csv", "--json").json["known"] == 0
    Path("away.txt").write_bytes(odd.read_bytes())
    odd.unlink()
    assert coset("evaluate", "run", "shuffled.csv", "--json").json["known"] is None
    said = words(coset("evaluate", "run", "shuffled.csv"))
    assert "(how many of them it was trained on is not known)" in said
    assert coset("evaluate", "run", "shuffled.csv", "--data", "away.txt", "--json").json == again
    assert (
        "not the data that run was trained on" in coset("evaluate", "run", "later.csv", "--part", "training").sentence
    )
    frame.rename({"who": "whom"}).write_csv("other.csv", separator=";")
    assert coset("evaluate", "run", "other.csv", "--user", "whom", "--json").json["mse"] == mine["mse"]
    assert "no column 'who' for the user" in coset("evaluate", "run", "other.csv").sentence


def words(found: Any) -> str:
    assert found.code == 0, found.err
    return " ".join(found.out.split())


def test_of_a_run_that_was_tuned_the_slice_is_scored(coset: Coset, odd: Path) -> None:
    done = coset("train", odd, *FLAGS, "--row", "bias only", "--epochs", 1, "--tuning", "--out", "run", "--json").json
    mine = coset("evaluate", "run", "--json").json
    assert mine["mse"] == done["history"][-1]["val_mse"]
    assert (mine["rows"], mine["trained_on"]) == (128, 2422)
    assert coset("evaluate", "run", "--part", "training", "--json").json["rows"] == 2422
    assert coset("evaluate", "run", "--part", "all", "--json").json["rows"] == 3000


def test_data_that_were_moved(coset: Coset, odd: Path) -> None:
    given = ("--dim", 4, "--epochs", 1)
    assert coset("train", odd, *FLAGS, *given, "--out", "run").code == 0
    first = coset("evaluate", "run", "--json").json
    odd.rename("moved.txt")
    for call in (("evaluate", "run"), ("compress", "run", "--budget", "50%", "--out", "small")):
        assert coset(*call).sentence.endswith("odd.txt: not there, and run was trained on it; name its place by --data")
        assert "no such file" in coset(*call, "--data", "nowhere.txt").sentence
    assert not Path("small").exists()
    assert coset("evaluate", "run", "--data", "moved.txt", "--json").json == {**first, "dataset": "moved"}
    assert coset("compress", "run", "--budget", "50%", "--out", "small", "--data", "moved.txt").code == 0
    more = ("train", "run", "--continue", "--epochs", 1, "--out", "more", "--data", "moved.txt")
    assert coset(*more).code == 0
    for made in ("small", "more"):  # which know where the data are now
        assert coset("evaluate", made).code == 0
    Path("moved.txt").write_text(Path("moved.txt").read_text().strip() + "0\n")
    for call in (("evaluate", "run"), ("compress", "run", "--budget", "50%", "--out", "other")):
        assert "holds other data than those that run was trained" in coset(*call, "--data", "moved.txt").sentence


def test_prepared_clicks_that_were_moved(coset: Coset, clicks: Any) -> None:
    shutil.copytree(clicks.folder, "data")
    tiny = ("--model", "dlrm", "--dim", 4, "--set", "model.bottom=[4]", "--set", "model.top=[4]")
    assert coset("train", "data", *tiny, "--out", "run").code == 0
    first = coset("evaluate", "run", "--json").json
    assert (first["part"], first["rows"], first["trained_on"]) == ("validation", 700, 1500)
    Path("data").rename("moved")
    call = ("compress", "run", "--budget", "50%", "--out", "small")
    assert "name its place by --data" in coset(*call).sentence
    assert coset(*call, "--data", "moved").code == 0
    assert coset("evaluate", "run", "--data", "moved", "--json").json == first


def test_a_run_of_an_unknown_task_is_named(coset: Coset) -> None:
    Path("run").mkdir()
    Path("run", "run.json").write_text('{"schema": 3, "task": "rating"}')
    for words in (("evaluate", "run"), ("predict", "run", "x.csv"), ("train", "run", "--continue", "--epochs", 1)):
        assert coset(*words).sentence.startswith("run/run.json: unknown task 'rating': did you mean 'ratings'")
