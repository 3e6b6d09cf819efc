"""A path that the system cannot look for is refused in one sentence, by whatever is given it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import coset as package
from coset.data import Vocabulary, load_ratings
from coset.data.clicks import ClickData, ClickWriter, load_schema, write_synthetic
from coset.data.clicks.prepare import prepare
from coset.data.pairs import read_pairs
from coset.errors import LONGEST, InputError
from coset.experiments.compress import compress_run
from coset.experiments.evaluate import evaluate_run
from coset.experiments.planning import read_plan
from coset.experiments.predict import predict_run
from coset.experiments.recipe import load_recipe
from coset.experiments.subject import RecipeOptions
from coset.files import path_of, write_json
from coset.tasks import Scored
from coset.tasks.clicks import ClickSource
from coset.training.finished import FinishedRun

LONG = "x/" * 5000
WRONG: dict[str, tuple[Any, str]] = {
    "long": (LONG, "File name too long"),
    "long name": ("x" * 300 + ".csv", "File name too long"),
    "NUL": ("a\0b", "embedded null"),
    "number": (3, "a path is a text or a pathlib.Path, not 3"),
    "nothing": (None, "a path is a text or a pathlib.Path, not None"),
    "bytes": (b"r.csv", "a path is a text or a pathlib.Path, not b'r.csv'"),
}
TAKE: dict[str, Callable[[Any], Any]] = {
    "load_ratings": load_ratings,
    "read_pairs": lambda path: next(read_pairs(path)),
    "ClickData.open": ClickData.open,
    "ClickWriter": lambda path: ClickWriter(path, "a", (), ()).__enter__(),
    "write_synthetic": lambda path: write_synthetic(path, 10, (3,)),
    "load_schema": load_schema,
    "prepare": lambda path: prepare(path, "out"),
    "prepare out": lambda path: prepare(__file__, path, schema=None),
    "load_recipe": load_recipe,
    "read_plan": read_plan,
    "Plan.load": package.Plan.load,
    "Plan.save": lambda path: package.Plan.from_json(PLAN).save(path),
    "Vocabulary.load": Vocabulary.load,
    "Vocabulary.save": lambda path: Vocabulary.build("user", [1, 2]).save(path),
    "FinishedRun.load": FinishedRun.load,
    "evaluate_run": evaluate_run,
    "predict_run": lambda path: predict_run(path, Scored(), Path("p.csv")),
    "compress_run": lambda path: compress_run(path, Path("out"), budget="1KB"),
}
PLAN = {"embedding_dim": 8, "tables": {"user": {"method": "full"}}}
WORDS = [
    ("inspect", LONG), ("plan", LONG, "--budget", "1KB"), ("prepare", LONG, "o"), ("prepare", "r.csv", LONG),
    ("train", LONG), ("train", "r.csv", "--out", LONG), ("train", "r.csv", "--plan", LONG), ("compare", LONG),
    ("evaluate", LONG), ("predict", LONG), ("predict", "r", "--out", f"{LONG}p.csv"),
    ("compress", LONG, "--budget", "9%"),
    ("prepare", "r.csv", "o", "--like", LONG), ("prepare", "r.csv", "o", "--schema", f"{LONG}.toml"),
]  # fmt: skip


@pytest.mark.parametrize("take", TAKE)
def test_functions(take: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for given, said in WRONG.values():
        with pytest.raises(InputError, match=said):
            TAKE[take](given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", WORDS, ids=lambda words: " ".join(words)[:30])
def test_commands(coset: Any, small_csv: Path, words: tuple[str, ...]) -> None:
    Path("r.csv").write_bytes(small_csv.read_bytes())
    sentence = coset(*words).sentence
    assert "File name too long" in sentence
    assert len(sentence) <= LONGEST
    assert [path.name for path in Path().iterdir()] == ["r.csv"]


def test_words_for_what_is_no_path_at_all(tmp_path: Path) -> None:
    for given, said in WRONG.values():
        if isinstance(given, str):
            with pytest.raises(InputError, match=said):
                RecipeOptions().recipe(given)
            with pytest.raises(InputError, match=said):
                ClickSource(given).load(tmp_path)


def test_the_home_of_nobody(coset: Callable[..., Any], small_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = r"'~nobody-of-this-name[^:]*: not a usable path \(there is no user of this name\)"
    with pytest.raises(InputError, match=said):
        load_ratings("~nobody-of-this-name/r.csv")
    assert coset("train", small_csv, "--epochs", 1, "--out", "run").code == 0
    for words in (["predict", "run", "~nobody-of-this-name/r.csv"], ["evaluate", "run", "~nobody-of-this-name/r.csv"],
                  ["evaluate", "run", "--data", "~nobody-of-this-name/r.csv"]):  # fmt: skip
        assert re.match(said, coset(*words).sentence)
    monkeypatch.setenv("COSET_DATA", "~nobody-of-this-name")
    assert re.match(said, coset("inspect", "movielens-100k").sentence)


def test_what_is_there_or_could_be_is_a_path(tmp_path: Path) -> None:
    for given in (tmp_path, str(tmp_path), tmp_path / "none", tmp_path / "none" / "below", "", "/dev/null"):
        assert path_of(given) == Path(given)


def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 120 + ".json")  # 245 bytes of at most 255
    write_json(path, 1)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("command", ["inspect", "train", "compare"])
def test_a_dash_is_told_the_name_of_a_pipe(coset: Callable[..., Any], command: str) -> None:
    assert coset(command, "-").sentence == "-: no such file; to read a pipe, give /dev/stdin"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no folder here that takes no files")
def test_a_log_is_not_inspected_where_nothing_can_be_written(
    coset: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.svm"
    log.write_text("1 1:1\n0 2:1\n")
    monkeypatch.chdir("/proc")
    said = coset("inspect", log).sentence
    assert said.startswith(f"{log}: coset prepares a log below runs first, but runs/prepared/")
    assert said.endswith("start coset where you may write, or name what `coset prepare` made of the log")
