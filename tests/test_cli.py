"""The command line: one JSON object or a table, and what every command does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.ratings_files import Coset, coset_sentence, tree, write

COMMANDS = ("inspect", "plan", "prepare", "train", "compare", "evaluate", "predict", "compress", "expand")


@pytest.fixture
def csv(small_csv: Path, tmp_path: Path) -> Path:
    """The small file, in the folder that commands run in."""
    path = tmp_path / "small.csv"
    path.write_bytes(small_csv.read_bytes())
    return path


def grid(rating: Callable[[int], float], head: str = "userId,movieId,rating") -> str:
    rows = [(n % 13, n * 7 % 17, rating(n)) for n in range(200)]
    return head + "\n" + "".join(f"u{user},m{item},{value:g}\n" for user, item, value in rows)


# -- the program itself -------------------------------------------------------------------------------


def test_the_real_command_prints_one_json_object_and_talks_on_stderr(coset: Coset, csv: Path) -> None:
    words = [sys.executable, "-m", "coset.cli", "train", csv.name, "--epochs", "1", "--out", "run", "--json"]
    done = subprocess.run(words, cwd=csv.parent, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parameters"] == 100 * 16 + 101
    assert "Traceback" not in done.stderr
    found = coset("evaluate", "run", csv.name, "--json")  # in another process than that which trained
    assert found.code == 0, found.err
    assert found.json["rows"] == 450


def test_the_installed_script_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("coset")
    if not script.exists():
        pytest.skip(f"{script} is not installed")
    done = subprocess.run(
        [script, "trian", "gone.csv"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "coset: No such command 'trian'. Did you mean 'train'? (see --help)\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(coset: Coset, command: str) -> None:
    found = coset(command, "--help")
    assert found.code == 0
    assert f"coset {command}" in found.out
    assert "Example" in found.out
    assert found.err == ""


def test_help_of_all_and_version(coset: Coset) -> None:
    found = coset("--help")
    assert found.code == 0
    assert all(command in found.out for command in COMMANDS)
    version = coset("--version")
    assert version.code == 0
    assert version.out.startswith("coset 0.")


# -- commands -----------------------------------------------------------------------------------------


def test_inspect_of_parts_shows_their_order(coset: Coset, csv: Path) -> None:
    head, *lines = csv.read_text().splitlines(keepends=True)
    Path("days").mkdir()
    for number in (2, 10):
        Path(f"days/day_{number}.csv").write_text(head + "".join(lines[:40]) + ",,\n")
    for words in ("days", "days/day_*.csv"):
        found = coset("inspect", words, "--json").json
        assert (found["rows"], found["left_out"], found["files"]) == (80, 2, ["day_2.csv", "day_10.csv"])
        assert found["repeated"] >= 40
    assert "in this order: day_2.csv, day_10.csv" in coset("inspect", "days").out
    assert "no file fits this pattern" in coset("inspect", "week_*.csv").sentence


def test_inspect(coset: Coset, csv: Path) -> None:
    found = coset("inspect", csv, "--dim", 8, "--json")
    assert found.code == 0
    assert found.err == ""
    assert found.json["rows"] == 3000
    assert found.json["embedding_dim"] == 8
    assert found.json["bytes"]["table"] == 100 * 8 * 4
    table = coset("inspect", csv)
    assert table.code == 0
    assert "popularity" in table.out


def test_train_evaluate_and_train_again(coset: Coset, csv: Path) -> None:
    words = ("train", csv, "--method", "hashing", "--budget", "3KB", "--dim", 8, "--epochs", 2, "--out", "run")
    first = coset(*words, "--json")
    assert first.code == 0, first.err
    assert first.json["bytes"] <= 3000
    assert len(first.json["history"]) == 2
    before = tree(Path("run"))
    assert "--resume" in coset_sentence(coset(*words))
    assert tree(Path("run")) == before
    resumed = coset(*words, "--resume", "--json")
    assert resumed.json == first.json
    assert tree(Path("run")) == before
    assert "seed" in coset_sentence(coset(*words, "--resume", "--seed", 1))
    found = coset("evaluate", "run", csv, "--json")
    assert found.code == 0
    assert (found.json["rows"], found.json["part"], found.json["trained_on"]) == (450, "validation", 2550)
    assert found.json["mse"] == first.json["history"][-1]["val_mse"]
    shown = " ".join(coset("evaluate", "run", csv).out.split())
    assert "the validation part, 450 rows, of the run's own data; the run was trained on 2,550 rows" in shown


def test_a_finished_run_is_trained_on(coset: Coset, csv: Path) -> None:
    words = ("train", csv, "--row", "full", "--dim", 4, "--set", "training.schedule=constant", "--out")
    assert coset(*words, "run", "--epochs", 2).code == 0
    before = tree(Path("run"))
    more = coset(*words, "run", "--epochs", 5, "--resume")
    assert "spec.training.epochs is 2 there and 5 now" in more.err
    assert "train it further, once it is finished, by --continue" in more.err
    found = coset("train", "run", "--continue", "--epochs", 3, "--json").json
    assert found["run"].endswith("run-continued")
    whole = coset(*words, "whole", "--epochs", 5, "--json").json
    assert [of["val_mse"] for of in found["history"]] == [of["val_mse"] for of in whole["history"]]
    assert (found["continued"]["epochs"], found["continued"]["state"]) == (2, True)
    assert tree(Path("run")) == before
    shown = " ".join(
        coset("train", "run", "--continue", "--epochs", 1, "--out", "b", "--set", "training.l2=0.5").out.split()
    )
    assert "further epochs: 1, after 2 of run; the schedule begins anew, so learning rates begin at" in shown
    assert "the state of the optimizer continues" in shown
    assert coset("evaluate", "run-continued", "--json").json["mse"] == found["history"][-1]["val_mse"]
    again = ("train", "run", "--continue", "--epochs", 3)
    assert "run-continued: exists already; continue it with --resume" in coset(*again).err
    assert coset(*again, "--resume", "--json").json["history"] == found["history"]
    for wrong, said in (
        (("train", "run", "--continue"), "--continue needs --epochs"),
        (("train", "run", "--continue", "--epochs", 0), "epochs must be at least 1"),
        (("train", "run", "--continue", "--epochs", 2, "--seed", 4, "--dim", 8), "leave out --dim, --seed"),
        (
            ("train", "run", "--continue", "--epochs", 2, "--set", "model.std=1"),
            "keeps the data, the split and the model of a run",
        ),
        (("train", "run", "--continue", "--epochs", 2, "--set", "training.epochs=9"), "the epochs by --epochs"),
        (("train", "run", "--continue", "--epochs", 2, "--task", "clicks"), "leave out --task"),
        (("train", csv, "--continue", "--epochs", 2), "no run here"),
        (("train", "run", "--epochs", 2), "run is a run; train it further by --continue --epochs N"),
        (("train", csv, "--epochs", 2, "--data", "x.csv"), "--data goes with --continue"),
    ):
        assert said in coset(*wrong, "--out", "c").sentence
    assert not Path("c").exists()
    assert "leave out --time" in coset(*again, "--time", "when").sentence

    # Of a run that was killed every command says how to continue it.
    assert coset("compress", "run", "--budget", "50%", "--out", "small").code == 0
    for run, how in (
        ("run", f"repeat the command on {csv} that began it, with the same options and --resume"),
        ("run-continued", "repeat the coset train run --continue that began it, with the same options and --resume"),
        ("small", "repeat the coset compress that began it, with the same options, which makes it anew"),
    ):
        Path(run, "metrics.json").unlink()
        for call in (("train", run), ("train", run, "--continue", "--epochs", 1), ("evaluate", run)):
            assert coset(*call).sentence == f"{run}: this run is not finished; {how}"


@pytest.mark.parametrize("seed", [2**63, -1, 99999999999999999999999])
def test_a_seed_that_no_generator_takes_writes_nothing(coset: Coset, csv: Path, seed: int) -> None:
    before = tree(Path())
    for words in (("train", csv), ("compare", csv), ("plan", csv, "--budget", "50%", "--calibrate")):
        assert "seed must " in coset(*words, "--seed", seed, "--out", "out").sentence
    assert tree(Path()) == before


def test_compare(coset: Coset, csv: Path) -> None:
    words = ("compare", csv, "--methods", "hashing,low_rank", "--budgets", "3KB", "--dim", 8, "--epochs", 1)
    found = coset(*words, "--seeds", 2, "--out", "out", "--row", "full", "--row", "hashing", "--json")
    assert found.code == 0, found.err
    assert [row["name"] for row in found.trained] == ["full", "hashing"]
    assert [row["seeds"] for row in found.trained] == [[0, 1], [0, 1]]
    assert found.json == json.loads(Path("out/results.json").read_text())
    assert Path("out/losses.png").exists()
    assert Path("out/frontier.png").exists()
    assert "--resume" in coset(*words, "--out", "out").sentence


def test_a_model_without_biases_is_trained_and_compared(coset: Coset, csv: Path) -> None:
    without = ("--set", "model.biases=false", "--dim", 4, "--epochs", 2, "--json")
    trained = coset("train", csv, "--row", "full", *without, "--out", "one")
    assert trained.code == 0, trained.err
    found = coset(
        "compare", csv, "--methods", "low_rank,attribute_partitions", "--budgets", "1KB", *without, "--out", "out"
    )
    assert found.code == 0, found.err
    rows = {row["name"]: row["metrics"]["val_mse"]["mean"] for row in found.trained}
    assert rows.keys() == {"full", "narrow d=1", "narrow d=2", "narrow d=4", "narrow d=8", "planned", "low_rank"}
    ratings = np.loadtxt(csv, delimiter=",", skiprows=1)[:, 2]
    assert max(rows.values()) < 1.3 * ratings.var()  # the mean is there: without it, about 9 more
    left = [note for note in found.json["notes"] if note.startswith("left out ")]
    assert len(left) == 2
    assert "bias only" in left[0]
    assert left[1].endswith("and has none; name their columns with --user-attribute and --item-attribute")


@pytest.mark.parametrize("kind", ["time", "last"])
def test_ratings_are_split_by_time(coset: Coset, kind: str) -> None:
    rows = [f"{user}\t{item}\t{(user + item) % 5}\t{10 * item + user}\n" for user in range(8) for item in range(20)]
    Path("mine.inter").write_text("user_id:token\titem_id:token\trating:float\tts:float\n" + "".join(rows))
    words = ("train", "mine.inter", "--row", "narrow d=1", "--epochs", 1, "--set", f"split.kind={kind}", "--json")
    found = coset(*words, "--out", "one")
    assert found.code == 0, found.err
    again = coset(*words, "--time", "ts", "--out", "two")
    assert again.json["history"][0]["val_mse"] == found.json["history"][0]["val_mse"]
    own = coset("evaluate", "one", "mine.inter", "--json")
    assert own.code == 0, own.err
    assert own.json["rows"] == {"time": 24, "last": 8}[kind]
    assert own.json["mse"] == pytest.approx(found.json["history"][-1]["val_mse"])
    assert "no column 'when' for the time" in coset(*words, "--time", "when", "--out", "three").sentence


def test_compare_prints_a_table(coset: Coset, csv: Path) -> None:
    found = coset("compare", csv, "--dim", 8, "--epochs", 1, "--row", "narrow d=1", "--row", "bias only")
    assert found.code == 0, found.err
    assert "narrow d=1" in found.out
    assert "bias only" in found.out
    assert Path("runs/small/results.json").exists()


def test_a_parquet_file_is_read_like_the_csv(coset: Coset, csv: Path) -> None:
    import polars

    polars.read_csv(csv).write_parquet("small.parquet")
    words = ("--epochs", 1, "--row", "bias only", "--json", "--out")
    left, right = (coset("train", data, *words, Path(data).suffix[1:]).json for data in (csv, "small.parquet"))
    for run in (left, right):
        for epoch in run["history"]:
            del epoch["seconds"]
    assert left["history"] == right["history"]


def test_set_tuning_and_threads(coset: Coset, csv: Path) -> None:
    words = ("compare", csv, "--row", "bias only", "--epochs", 1, "--json")
    changes = ("--set", "training.l2=0.25", "--set", "split.validation=0.4", "--set", "training.shuffle=buffer(10)")
    found = coset(*words, *changes, "--threads", 2, "--out", "a")
    assert found.code == 0, found.err
    assert found.json["split"]["validation_rows"] == 1200
    (row,) = found.trained
    assert (row["training"]["l2"], row["training"]["shuffle"]) == (0.25, "buffer(10)")
    tuned = coset(*words, "--tuning", "--out", "b").json
    assert tuned["split"]["validation_rows"] == round(0.05 * 2550)
    assert "training part" in tuned["protocol"]["reported"]


def test_a_recipe_file(coset: Coset, csv: Path) -> None:
    text = 'title = "T"\ndata = "small.csv"\n[training]\nepochs = 1\n[[rows]]\nname = "full"\n[[rows]]\nname = "b"\n'
    write(Path("mine.toml"), text + "model = { embedding_dim = 0, biases = true }\ntraining = { epochs = 2 }\n")
    trained = coset("train", "mine.toml", "--row", "b", "--out", "run", "--json")
    assert len(trained.json["history"]) == 2
    assert coset("train", "mine.toml", "--out", "first", "--json").json["name"] == "full"
    assert "recipe" in coset("compare", "mine.toml", "--methods", "hashing").sentence
    assert "recipe" in coset("train", "mine.toml", "--user", "userId").sentence


@pytest.mark.parametrize(
    ("name", "rating"),
    [("percent", lambda n: n % 101), ("negative", lambda n: n % 21 - 10), ("halves", lambda n: n % 9 / 2 + 0.5)],
)
def test_any_range_and_text_ids(coset: Coset, name: str, rating: Callable[[int], float]) -> None:
    path = write(Path(f"{name}.csv"), grid(rating))
    found = coset("compare", path, "--row", "bias only", "--epochs", 2, "--out", "out", "--json")
    assert found.code == 0, found.err
    assert coset("train", path, "--set", "model.output=sigmoid", "--epochs", 1, "--out", "s", "--json").code == 0
    assert coset("evaluate", "s", path, "--json").json["rows"] == 30


def test_columns_and_separator_by_flags(coset: Coset) -> None:
    path = write(Path("odd.txt"), grid(lambda n: n % 5, "who,what,how much").replace(",", ";"))
    flags = ("--user", "who", "--item", "what", "--rating", "how much", "--separator", ";")
    assert coset("inspect", path, *flags, "--json").json["rows"] == 200
    assert coset("train", path, *flags, "--row", "bias only", "--epochs", 1, "--out", "run", "--json").code == 0
    assert "--user" in coset("inspect", path).sentence


def test_attributes_by_flags(coset: Coset) -> None:
    rows = [f"{n % 13},{n * 7 % 17},{n % 5},{n % 13 % 2},{1990 + n * 7 % 17 // 5}\n" for n in range(200)]
    path = write(Path("more.csv"), "user,item,rating,sex,year\n" + "".join(rows))
    flags = ("--user-attribute", "sex", "--item-attribute", "year", "--item-attribute", "item")
    user, item = coset("inspect", path, *flags, "--json").json["features"]
    assert (user["attributes"], item["attributes"]) == ({"sex": 2}, {"year": 4, "item": 17})
    assert "year" in coset("inspect", path, *flags).out
    assert "--user-attribute" in coset("inspect", "--help").out
    for words in (("train", path, "--row", "full"), ("compare", path, "--row", "full")):
        found = coset(*words, *flags, "--epochs", 1, "--out", words[0], "--json")
        assert found.code == 0, found.err
    assert coset("evaluate", "train", path, "--part", "all", "--json").json["rows"] == 200
    sentence = coset("inspect", path, "--user-attribute", "year").sentence
    for word in ("more.csv, column 'year': the user 0", "1991 in row 14", "1990", "row 1"):
        assert word in sentence
    assert "did you mean 'year'" in coset("inspect", path, "--item-attribute", "yaer").sentence
    assert "--item-attribute" in coset("inspect", "synthetic-ratings", "--item-attribute", "year").sentence
    assert "recipe" in coset("train", "keras-example", "--item-attribute", "year").sentence


# -- click logs ---------------------------------------------------------------------------------------


CLICKS = "clicked,price,item,tags\n" + "".join(
    f"{n % 2},{n * 1.5 if n % 7 else ''},i{n * n % 11},{'a|b' if n % 3 else ''}\n" for n in range(200)
)


CLICKS_SCHEMA = 'label = "clicked"\nnumeric = ["price"]\ncategorical = ["item"]\nlists = ["tags"]\n'


def test_a_log_is_prepared(coset: Coset) -> None:
    log, schema = write(Path("log.csv"), CLICKS), write(Path("mine.toml"), CLICKS_SCHEMA)
    words = ("prepare", log, "data/mine", "--schema", schema, "--split", "ordered", "--validation", 0.25)
    found = coset(*words, "--json")
    assert found.json["parts"] == {"training": 150, "validation": 50}
    assert found.json["numeric"] == ["price", "price:missing"]
    assert [feature["num_embeddings"] for feature in found.json["features"]] == [7, 3]
    assert "reading log.csv" in found.err
    assert "--resume" in coset(*words).sentence
    again = coset(*words, "--resume")
    assert "log: 200 rows (150 training, 50 validation), 50.0% clicks" in " ".join(again.out.split())
    assert "item" in again.out
    assert "settings seed = 0, but now it is 1" in coset(*words, "--resume", "--seed", 1).sentence
    hashed = coset(*words[:2], "hashed", *words[3:], "--hash", 50, "--hash", "tags=9", "--json").json
    assert [feature["num_embeddings"] for feature in hashed["features"]] == [51, 10]
    later = coset("prepare", log, "later", "--like", "data/mine", "--json").json
    assert later["parts"] == {"training": 0, "validation": 200}
    assert [feature["num_embeddings"] for feature in later["features"]] == [7, 3]
    assert "leave settings out" in coset("prepare", log, "last", "--like", "data/mine", "--seed", 1).sentence


def test_bad_logs_are_one_sentence(coset: Coset) -> None:
    log = write(Path("log.csv"), CLICKS + "1,2\n" + CLICKS.partition("\n")[2])
    schema = write(Path("mine.toml"), CLICKS_SCHEMA)
    words = ("prepare", log, "mine", "--schema", schema)
    assert "log.csv, row 201: 2 columns, expected 4 (clicked, price, item, tags)" in coset(*words).sentence
    assert coset(*words, "--skip-bad", 1, "--json").json["skipped"] == 1
    assert json.loads(Path("mine/skipped.jsonl").read_text())["content"] == "1,2"
    assert "--schema" in coset("prepare", log, "other").sentence
    assert "did you mean 'criteo-kaggle'" in coset("prepare", log, "other", "--schema", "criteo").sentence
    assert "one of 'random'" in coset(*words[:2], "other", *words[3:], "--split", "last").sentence
    assert "did you mean 'item'" in coset(*words[:2], "other", *words[3:], "--hash", "itm=5").sentence
    assert "no such file" in coset("prepare", "gone.tsv", "other").sentence
    assert not Path("other").exists()


def test_the_full_table_is_a_method_as_any_other(coset: Coset, small_csv: Path) -> None:
    """Named as a method, it is the row of every comparison; it needs no size, and refuses one too small for it."""
    full = coset("train", small_csv, "--method", "full", "--dim", 4, "--epochs", 1, "--json").json
    assert full["bytes"] == (60 + 40) * (4 + 1) * 4 + 4
    assert (
        coset("train", small_csv, "--dim", 4, "--epochs", 1, "--out", "again", "--json").json["bytes"] == full["bytes"]
    )
    sentence = coset("train", small_csv, "--method", "full", "--budget", "2KB").sentence
    assert "full needs a budget of at least 6804 bytes" in sentence
