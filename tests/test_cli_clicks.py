"""The command line on clicks: from a CSV to a finished, evaluated run, and what does not go together."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import torch
from safetensors.torch import load_file

Coset = Callable[..., Any]

SCHEMA = """
label = "clicked"
numeric = ["age", "price"]
categorical = ["user", "item"]
lists = ["tags"]
"""
SMALL = ("--dim", 4, "--set", "model.bottom=[4]", "--set", "model.top=[4]", "--set", "training.batch_size=64")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A click log as a CSV, with missing numbers, and its schema."""
    draw = np.random.default_rng(0)
    users, items = (draw.random(1500) ** 2 * 100).astype(int), draw.integers(0, 40, 1500)
    effect = draw.normal(0, 1.5, 100)[users] + draw.normal(0, 1, 40)[items]
    clicked = (draw.random(1500) < 1 / (1 + np.exp(1 - effect))).astype(int)
    lines = ["clicked,age,price,user,item,tags"]
    for click, user, item in zip(clicked, users, items, strict=True):
        age = "" if user % 7 == 0 else str(20 + user % 50)
        lines.append(f"{click},{age},{draw.random():.3f},u{user},i{item},{'|'.join('abc'[: item % 4])}")
    (tmp_path / "clicks.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "schema.toml").write_text(SCHEMA)
    return tmp_path / "clicks.csv"


def test_from_a_csv_to_an_evaluated_run(coset: Coset, log: Path) -> None:
    words = ("train", log, "--schema", "schema.toml", "--method", "quotient_remainder", "--collisions", 4, *SMALL)
    found = coset(*words, "--epochs", 2, "--out", "runs/mine", "--json")
    assert found.code == 0, found.err
    metrics = found.json
    last = metrics["history"][-1]
    assert last["val_auc"] > 0.6
    assert (metrics["name"], metrics["dataset"], metrics["synthetic"]) == ("quotient_remainder", "clicks", False)
    assert "reading clicks.csv" in found.err
    (prepared,) = Path("runs/prepared").iterdir()
    again = coset("evaluate", "runs/mine", prepared, "--json").json
    assert again["rows"] > 100
    assert again["part"] == "validation"
    for name in ("logloss", "auc", "calibration", "normalised_entropy"):
        assert again[name] == last[f"val_{name}"]
    training = coset("evaluate", "runs/mine", prepared, "--part", "training", "--json").json
    assert training["rows"] + again["rows"] == 1500
    assert training["trained_on"] == again["trained_on"] == training["rows"]
    # The log that all of this was made of, too, is known, and so are its parts.
    for words, same in (((log,), again), ((log, "--part", "training"), training), ((), again)):
        assert coset("evaluate", "runs/mine", *words, "--json").json == same
    # However it is packed or written, and where it is prepared once more.
    Path("clicks.csv.gz").write_bytes(gzip.compress(log.read_bytes()))
    lines = log.read_text().splitlines()
    Path("blank.csv").write_text("\n\n".join(lines).replace(",u", ', "u').replace(",i", '",i'))
    frame = polars.read_csv(log).with_columns(
        polars.col("tags").fill_null("").str.split("|"), price=polars.col("price").cast(polars.Float32)
    )
    frame.write_parquet("clicks.parquet")
    assert coset("prepare", log, "like", "--like", prepared).code == 0
    for same in ("clicks.csv.gz", "blank.csv", "clicks.parquet", "like"):
        found = coset("evaluate", "runs/mine", same, "--json").json
        assert found == again
    lines[700] = f"{1 - int(lines[700][0])}{lines[700][1:]}"
    Path("other.csv").write_text("\n".join(lines))
    assert coset("evaluate", "runs/mine", "other.csv", "--json").json["own"] is False
    every = coset("evaluate", "runs/mine", log, "--part", "all", "--json").json
    assert every["rows"] == 1500
    share = [of["rows"] * of["logloss"] for of in (again, training)]
    assert every["logloss"] == pytest.approx(sum(share) / 1500, rel=1e-9)
    shown = coset("evaluate", "runs/mine", prepared)
    for heading in ("log-loss", "AUC", "calibration"):
        assert heading in shown.out
    table = coset("train", prepared, "--row", "full", *SMALL, "--out", "runs/full")
    assert "val AUC" in table.out


def test_a_run_is_resumed_with_other_checkpoints(coset: Coset, clicks: Any) -> None:
    words = ("train", clicks.folder, *SMALL, "--epochs", 2, "--json")
    first = coset(*words, "--out", "runs/a", "--checkpoint-every", 3, "--keep", 5).json
    second = coset(*words, "--out", "runs/b", "--checkpoint-every", "0.5min").json
    assert [e["val_auc"] for e in first["history"]] == [e["val_auc"] for e in second["history"]]
    left, right = load_file("runs/a/model.safetensors"), load_file("runs/b/model.safetensors")
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert coset(*words, "--out", "runs/a", "--resume").json["history"] == first["history"]
    assert "--resume" in coset(*words, "--out", "runs/a").sentence


@pytest.mark.filterwarnings("default")
def test_a_damaged_checkpoint_is_told_of_in_one_line(
    coset: Coset, clicks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coset.training import run

    words = ("train", clicks.folder, *SMALL, "--epochs", 2, "--checkpoint-every", 5, "--out", "runs/a")
    whole = coset(*words[:-1], "runs/whole", "--json").json
    with monkeypatch.context() as full:
        full.setattr(run._Run, "_finish", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left", "disk")))
        failed = coset(*words)
    assert (failed.code, failed.err.splitlines()[-1]) == (2, "coset: disk: No space left")
    last = max(Path("runs/a/checkpoints").iterdir())
    last.write_bytes(last.read_bytes()[:-9])
    found = coset(*words, "--resume", "--json")
    assert found.code == 0, found.err
    (line,) = (line for line in found.err.splitlines() if "warning" in line)
    assert line.startswith("coset: warning: runs/a/checkpoints/checkpoint-")
    assert "the one before it is used" in line
    assert found.json["history"][-1]["val_auc"] == whole["history"][-1]["val_auc"]


def test_a_comparison_of_methods(coset: Coset, clicks: Any) -> None:
    words = ("compare", clicks.folder, "--model", "dcn", "--dim", 4, "--set", "model.deep=[4]", "--epochs", 1)
    found = coset(*words, "--methods", "hashing,quotient_remainder", "--collisions", "2,4", "--seeds", 2,
                  "--out", "runs/c", "--json")  # fmt: skip
    assert found.code == 0, found.err
    names = ["full", "hashing c=2", "hashing c=4", "quotient_remainder c=2", "quotient_remainder c=4"]
    assert [row["name"] for row in found.trained] == names
    assert {row["model"]["name"] for row in found.trained} == {"dcn"}
    shown = coset(*words, "--methods", "hashing,quotient_remainder", "--collisions", "2,4", "--seeds", 2,
                  "--out", "runs/c", "--resume")  # fmt: skip
    assert "± 95 %" in shown.out
    assert "AUC" in shown.out
    assert "SYNTHETIC" in shown.out


def test_event_files_are_written_where_tensorboard_is(coset: Coset, clicks: Any) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    assert coset("train", clicks.folder, *SMALL, "--epochs", 1, "--tensorboard", "--out", "runs/a").code == 0
    assert list(Path("runs/a/tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("train", "DATA", "--method", "hashing"), "needs a --budget"),
        (("train", "DATA", "--collisions", 4), "--collisions needs a --method"),
        (("train", "DATA", "--method", "hashing", "--collisions", 4, "--budget", "10KB"), "give one of them"),
        (("train", "DATA", "--model", "dlmr"), "did you mean 'dlrm'"),
        (("train", "DATA", "--user", "u"), "name its columns by --schema"),
        (("train", "DATA", "--tuning"), "those of the task clicks are split when prepared"),
        (("train", "DATA", "--checkpoint-every", "often"), "--checkpoint-every must be a number of steps"),
        (("train", "DATA", "--checkpoint-every", "0"), "every step or less often"),
        (("train", "DATA", "--keep", "0"), "at least one checkpoint"),
        (("train", "DATA", "--seed", "99999999999999999999999"), "seed must lie in 0 …"),
        (("train", "synthetic-ratings", "--seed", "99999999999999999999999"), "seed must lie in 0 …"),
        (("train", "DATA", "--threads", "100000000"), "--threads must lie in 1 … 1024"),
        (
            ("compare", "DATA", "--methods", "hashing", "--collisions", "2", "--seeds", "99999999999"),
            "seeds must lie in",
        ),
        (("train", "DATA", "--set", "training.optimizer=adamw"), "optimizer must be one of"),
        (("train", "DATA", "--set", "training.dense_optimizer=Addam"), "did you mean 'Adam'"),
        (("train", "DATA", "--engine", "plain", "--epochs", 1), "of the fused engine alone"),
        (("train", "no.csv", "--schema", "schema.toml"), "no.csv: no such file"),
        (("train", "keras-example", "--model", "dlrm"), "is a recipe for ratings"),
        (("train", "criteo-kaggle-dlrm", "--method", "hashing", "--collisions", 4), "is a recipe"),
        (("train", "synthetic-ratings", "--model", "dlrm"), "holds ratings"),
        (("train", "synthetic-ratings", "--keep", 0), "at least one checkpoint must be kept"),
        (("train", "DATA", "--task", "click"), "unknown task 'click': did you mean 'clicks'?"),
        (("train", "keras-example", "--task", "clicks"), "is a recipe of the task ratings; leave --task out"),
        (("compare", "DATA", "--methods", "hashing", "--collisions", "2,x"), "'x' is not a whole number"),
        (("evaluate", "DATA", "DATA"), "no run here"),
    ],
)
def test_what_does_not_go_together(coset: Coset, clicks: Any, words: tuple[object, ...], sentence: str) -> None:
    given = [clicks.folder if word == "DATA" else word for word in words]
    out = () if words[0] == "evaluate" else ("--out", "runs/x")
    assert sentence in coset(*given, *out).sentence
    assert not Path("runs/x").exists() or not any(Path("runs/x").glob("[!.]*"))


def test_the_real_sample_in_one_go(coset: Coset) -> None:
    """Prepare, train and evaluate on the 10,000 rows that Criteo's Kaggle set begins with."""
    folder = os.environ.get("COSET_DATA")
    if folder is None or not (Path(folder) / "criteo-kaggle" / "train.txt").exists():
        pytest.skip("COSET_DATA has no criteo-kaggle/train.txt")
    found = coset("train", "criteo-kaggle-dlrm", "--row", "QR mult c=4", "--out", "runs/real", "--json")
    assert found.code == 0, found.err
    (prepared,) = Path("runs/prepared").iterdir()
    again = coset("evaluate", "runs/real", prepared, "--json").json
    assert again["auc"] == found.json["history"][-1]["val_auc"] > 0.65
    assert again["normalised_entropy"] < 1
    assert json.loads(Path("runs/real/run.json").read_text())["task"] == "clicks"


def test_a_later_log_is_evaluated_by_the_vocabularies_of_the_first(coset: Coset, log: Path) -> None:
    """The validating rows of the log itself, taken for a later one, are what they were; others may be unheard of."""
    found = coset("prepare", log, "data", "--schema", "schema.toml", "--split", "ordered", "--hash", "item=16")
    assert found.code == 0, found.err
    assert coset("train", "data", *SMALL, "--epochs", 1, "--out", "runs/a").code == 0
    header, *lines = log.read_text().splitlines()
    later = Path("later.csv")
    later.write_text("\n".join([header, *lines[1275:]]) + "\n")
    again = coset("evaluate", "runs/a", later, "--json").json
    first = coset("evaluate", "runs/a", "data", "--json").json
    assert again["rows"] == first["rows"] == 225
    for name in ("logloss", "auc", "calibration", "normalised_entropy"):
        assert again[name] == first[name]
    assert coset("prepare", later, "like", "--like", "data").code == 0
    assert coset("evaluate", "runs/a", "like", "--json").json["auc"] == first["auc"]
    assert coset("prepare", log, "other", "--schema", "schema.toml", "--hash", "item=16").code == 0
    assert "by coset prepare --like" in coset("evaluate", "runs/a", "other").sentence
    later.write_text(f"{header}\n1,,1.5,nobody,,zz|a\n0,3,,u1,i2,\n")
    assert coset("evaluate", "runs/a", later, "--json").json["rows"] == 2
    later.write_text(f"{header}\n2,,1.5,nobody,,zz|a\n")
    assert "clicked is '2', expected 0 or 1" in coset("evaluate", "runs/a", later).sentence
    Path("data").rename("elsewhere")
    assert "name its place by --data" in coset("evaluate", "runs/a", later).sentence
    later.write_text("\n".join([header, *lines[1275:]]) + "\n")
    moved = coset("evaluate", "runs/a", later, "--data", "elsewhere", "--json").json
    assert moved == {**first, "dataset": "later", "part": "all", "own": False, "known": 1}  # as items are hashed
    # Rows that it was trained on, in another order and among others, are told of.
    mixed = [
        *lines[1270:],
        lines[3],
        *lines[7:9],
        lines[3],
        "1,,1.5,nobody,,zz|a",
        f"{1 - int(lines[7][0])}{lines[7][1:]}",
    ]
    later.write_text("\n".join([header, *mixed]) + "\n")
    found = coset("evaluate", "runs/a", later, "--data", "elsewhere", "--json").json
    assert (found["own"], found["rows"], found["known"]) == (False, 236, 10)
    said = " ".join(coset("evaluate", "runs/a", later, "--data", "elsewhere").out.split())
    assert (
        "all 236 rows of data that are not those of the run, though 10 of them equal rows that it was trained on"
        in said
    )
    assert coset("evaluate", "runs/a", "--data", "elsewhere", "--json").json == first


def _logs(folder: Path) -> dict[str, tuple[str, str]]:
    """The same clicks in forms that tell themselves, and a later log without the label where the form can be so."""
    draw = np.random.default_rng(0)
    rows = [(int(draw.random() < (user + item) % 5 / 4), user, item) for user, item in draw.integers(0, 20, (300, 2))]
    header = "user_id:token\titem_id:token"
    return {
        "libsvm": ("".join(f"{y} {user}:1 {20 + item}:1 50:{item}.5\n" for y, user, item in rows), "1 3:1\n0 4:1\n"),
        "libffm": ("".join(f"{y} 0:{user}:1 1:{item}:1\n" for y, user, item in rows), "1 0:3:1 1:5:1\n0 0:4:1\n"),
        "inter": (
            f"{header}\tlabel:float\n" + "".join(f"{user}\t{item}\t{y}\n" for y, user, item in rows),
            f"{header}\n3\t5\n4\t\n",
        ),
    }


@pytest.mark.parametrize("form", ["libsvm", "libffm", "inter"])
def test_a_log_that_tells_itself_needs_no_schema(coset: Coset, tmp_path: Path, form: str) -> None:
    text, later = _logs(tmp_path)[form]
    Path("log.csv").write_text(text)
    Path("later.csv").write_text(later)
    features = {"libsvm": ["features"], "libffm": ["0", "1"], "inter": ["user_id", "item_id"]}[form]
    found = coset("inspect", "log.csv", "--dim", 4, "--json").json
    assert ([of["name"] for of in found["features"]], found["rows"]) == (features, 300)
    assert coset("inspect", "log.csv", "--dim", 4, "--json").json == found  # prepared already
    found = coset("train", "log.csv", *SMALL, "--epochs", 1, "--row", "full", "--out", "runs/a", "--json")
    assert found.code == 0, found.err
    assert found.json["rows"]["training"] + coset("evaluate", "runs/a", "log.csv", "--json").json["rows"] == 300
    assert coset("predict", "runs/a", "later.csv", "--out", "p.csv", "--json").json["rows"] == 2
    assert Path("p.csv").read_text().startswith("row,prediction" if form == "inter" else "row,label,prediction")
    # All rows of a log are told in its order, also where it is the run's own, which was split at random.
    assert coset("predict", "runs/a", "log.csv", "--out", "own.csv", "--json").json["part"] == "all"
    with Path("own.csv").open(newline="") as file:
        told = [(int(row["row"]), int(row["label"])) for row in csv.DictReader(file)]
    labels = [int(line[-1] if form == "inter" else line[0]) for line in text.splitlines()[form == "inter" :]]
    assert told == list(enumerate(labels, start=1))
    assert coset("predict", "runs/a", "--part", "training", "--out", "part.csv").code == 0
    assert coset("predict", "runs/a", "log.csv", "--part", "training", "--out", "same.csv").code == 0
    assert Path("part.csv").read_text().startswith("part,row,label,prediction\ntraining,1,")
    assert Path("part.csv").read_bytes() == Path("same.csv").read_bytes()
    if form == "libffm":
        assert coset("evaluate", "runs/a", "later.csv", "--json").json["rows"] == 2
        planned = coset("plan", "log.csv", "--budget", "50%", "--dim", 4, "--json").json
        assert set(planned["tables"]) == {"0", "1"}
        words = ("--methods", "hashing", "--collisions", 2, *SMALL, "--epochs", 1, "--out", "runs/c", "--json")
        assert len(coset("compare", "log.csv", *words).trained) == 2
    if form == "inter":  # whoever names columns of ratings has ratings
        words = ("--user", "user_id", "--item", "item_id", "--rating", "label")
        assert coset("inspect", "log.csv", *words, "--json").json["rows"] == 300


@pytest.mark.filterwarnings("default")
def test_what_is_odd_in_a_log_is_said_when_it_is_trained(coset: Coset) -> None:
    rows = "".join(f"{k % 2},{k % 5},a{k % 60}|b{k % 7}\n" for k in range(300))
    Path("log.csv").write_text("label,age,tags\n" + rows)
    Path("s.toml").write_text('label = "label"\nnumeric = ["age"]\ncategorical = ["tags"]\n')
    found = coset("train", "log.csv", "--schema", "s.toml", *SMALL, "--epochs", 1, "--out", "runs/a")
    assert found.code == 0
    assert "coset: warning: log.csv: most rows of 'tags' hold texts with '|' in them" in found.err
