"""What the command line says of data that are not there, bad files and bad words: one sentence, exit code 2."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from coset.data import DataNotFound, movielens
from coset.data.download import DownloadFailed
from tests.ratings_files import Coset, coset_sentence, tree, write


@pytest.fixture
def csv(small_csv: Path, tmp_path: Path) -> Path:
    """The small file, in the folder that commands run in."""
    path = tmp_path / "small.csv"
    path.write_bytes(small_csv.read_bytes())
    return path


GOOD = "userId,movieId,rating\n1,10,3\n2,20,4\n3,10,5\n1,20,2\n2,30,1\n3,30,4\n1,30,3\n2,10,5\n"


# -- data that are not there --------------------------------------------------------------------------


@pytest.fixture
def nothing_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data, no cache, no network."""
    monkeypatch.delenv("COSET_DATA", raising=False)
    monkeypatch.setenv("COSET_CACHE", str(tmp_path / "cache"))

    def no_network(url: str, path: Path, md5: str) -> None:
        raise DownloadFailed(f"{url}: the download failed (no network)")

    monkeypatch.setattr(movielens, "download", no_network)


@pytest.mark.usefixtures("nothing_at_hand")
@pytest.mark.parametrize(
    "words", [("inspect", "movielens-1m"), ("compare", "movielens-1m"), ("train", "movielens-100k")]
)
def test_data_that_are_nowhere_name_three_ways_out(coset: Coset, words: tuple[str, ...]) -> None:
    sentence = coset(*words).sentence
    assert "COSET_DATA" in sentence
    assert os.environ["COSET_CACHE"] in sentence
    assert "network" in sentence


@pytest.mark.usefixtures("nothing_at_hand")
def test_a_recipe_falls_back_on_the_twin_and_says_so(coset: Coset) -> None:
    found = coset(
        "compare", "keras-example-corrected", "--row", "bias only", "--epochs", 1, "--set", "training.batch_size=50000"
    )
    assert found.code == 0, found.err
    assert "SYNTHETIC" in found.err
    assert "╭" in found.err  # a box
    assert "SYNTHETIC" in found.out
    (results,) = Path("runs").glob("*/results.json")
    assert "synthetic" in results.parent.name
    told = json.loads(results.read_text())
    assert told["synthetic"] is True
    assert told["dataset"] == "synthetic-ratings"
    assert told["noise_floor"] > 0
    assert any("synthetic" in note for note in told["notes"])
    assert [row["parameters"] for row in told["rows"]] == [1, 9_747, 9_747]
    assert "SYNTHETIC" in (results.parent / "results.md").read_text(encoding="utf-8")


def test_what_is_not_found_is_an_input_error() -> None:
    from coset.errors import InputError

    assert issubclass(DataNotFound, InputError)


# -- bad input ----------------------------------------------------------------------------------------


def bad_zip(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 this is no archive")


def truncated_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-1m/ratings.dat", "".join(f"{n}::{n * 7 % 900}::{n % 5 + 1}::9\n" for n in range(3000)))
    path.write_bytes(path.read_bytes()[:-200])


FILES: dict[str, tuple[str, str | Callable[[Path], None], list[str]]] = {
    "unreadable zip": ("a.zip", bad_zip, ["a.zip"]),
    "truncated archive": ("a.zip", truncated_zip, ["a.zip"]),
    "truncated parquet": ("a.parquet", lambda path: path.write_bytes(b"PAR1abc") and None, ["a.parquet"]),
    "empty file": ("a.csv", "", ["a.csv", "empty"]),
    "header alone": ("a.csv", "userId,movieId,rating\n", ["a.csv", "no ratings"]),
    "wrong separator": ("a.csv", GOOD.replace(",", "\x01"), ["a.csv"]),
    "no number": ("a.csv", GOOD.replace("2,20,4", "2,20,four"), ["a.csv", "line 3", "four", "rating"]),
    "missing rating": ("a.csv", GOOD.replace("2,20,4", "2,20,"), ["a.csv", "line 3", "missing"]),
    "NaN": ("a.csv", GOOD.replace("2,20,4", "2,20,NaN"), ["a.csv", "line 3", "NaN"]),
    "infinite": ("a.csv", GOOD.replace("2,20,4", "2,20,-inf"), ["a.csv", "line 3", "-inf"]),
    "short row": ("a.csv", GOOD.replace("2,20,4", "2,20"), ["a.csv", "line 3"]),
    "one user": ("a.csv", "userId,movieId,rating\n1,2,3\n1,3,4\n", ["a.csv", "user"]),
    "equal ratings": ("a.csv", "userId,movieId,rating\n1,2,3\n2,3,3\n", ["a.csv", "every rating"]),
    "no such column": ("a.csv", GOOD.replace("rating", "when"), ["a.csv", "--rating"]),
}


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("command", ["inspect", "train", "compare"])
def test_a_bad_file_is_one_sentence(coset: Coset, case: str, command: str) -> None:
    name, content, words = FILES[case]
    path = Path(name)
    if callable(content):
        content(path)
    else:
        write(path, content)
    before = tree(Path())
    sentence = coset(command, path).sentence
    assert [word for word in words if word not in sentence] == []
    assert tree(Path()) == before


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("inspect", "gone.csv"), ["gone.csv", "no such file"]),
        (("train", "gone.csv"), ["gone.csv", "no such file"]),
        (("compare", "some/gone.csv"), ["gone.csv", "no such file"]),
        (("compare", "gone.toml"), ["gone.toml", "no such recipe"]),
        (("inspect", "movielens-1n"), ["did you mean 'movielens-1m'"]),
        (("train", "movielens-1n"), ["did you mean 'movielens-1m'"]),
        (("compare", "keras-exampel"), ["did you mean 'keras-example'"]),
        (("train", "small.csv", "--method", "hashin", "--budget", "3KB"), ["did you mean 'hashing'"]),
        (("compare", "small.csv", "--methods", "low_rnk"), ["did you mean 'low_rank'"]),
        (("train", "small.csv", "--method", "hashing"), ["--budget"]),
        (("train", "small.csv", "--budget", "3KB"), ["--method"]),
        (("train", "small.csv", "--method", "hashing", "--budget", "3XB"), ["XB", "KB"]),
        (("train", "small.csv", "--method", "hashing", "--budget", "10B"), ["needs a budget of at least"]),
        (
            ("compare", "small.csv", "--dim", "4", "--methods", "hashing", "--budgets", "10B"),
            ["needs a budget of at least", "hashing"],
        ),
        (("compare", "small.csv", "--row", "ful"), ["did you mean 'full'"]),
        (("train", "small.csv", "--row", "narrow"), ["narrow d=1"]),
        (("train", "small.csv", "--set", "training.epoch=1"), ["did you mean 'epochs'"]),
        (("train", "small.csv", "--set", "trainin.epochs=1"), ["did you mean 'training'"]),
        (("train", "small.csv", "--set", "training.epochs=1\nl2=1"), ["has more than one value"]),
        (("train", "small.csv", "--set", "epochs=1"), ["--set", "training.l2=0.02"]),
        (("train", "small.csv", "--set", "training.l2"), ["--set"]),
        (("train", "small.csv", "--set", "training.epochs=x"), ["epochs", "'x'"]),
        (("train", "small.csv", "--epochs", "0"), ["epochs"]),
        (("train", "small.csv", "--seed", "-1"), ["seed"]),
        (("compare", "small.csv", "--seeds", "0"), ["seeds"]),
        (("train", "small.csv", "--threads", "0"), ["--threads"]),
        (("train", "small.csv", "--dim", "-1"), ["embedding_dim"]),
        (("inspect", "small.csv", "--dim", "0"), ["embedding_dim"]),
        (("inspect", "small.csv", "--user", "usrId"), ["did you mean 'userId'"]),
        (("inspect", "small.csv", "--separator", "ab"), ["separator"]),
        (("inspect", "small.csv", "--separator", ";"), ["','"]),
        (("evaluate", "gone", "small.csv"), ["gone", "no run"]),
        (("train", "small.csv", "--row", "full", "--method", "hashing", "--budget", "2KB"), ["--row", "--method"]),
        (("train", "small.csv", "--method", "hashing", "--budget", ""), ["size ''"]),
        (("compare", "small.csv", "--dim", "4", "--budgets", "0"), ["no method fits", "at least"]),
        (("compare", "small.csv", "--budgets", ","), ["empty entry"]),
        (("compare", "small.csv", "--methods", ""), ["empty entry"]),
        (("compare", "small.csv", "--methods", "all,hashing"), ["'all'"]),
        (("compare", "small.csv", "--row", "xyz"), ["known are attribute_partitions, bias only, blocks, bloom"]),
        (("train", "small.csv", "--dim", "100000000000"), ["embedding_dim", "65536"]),
        (("train", "small.csv", "--threads", "999999999999"), ["--threads"]),
        (("train", "small.csv", "--frobnicate"), ["--frobnicate", "--help"]),
        (("train",), ["RECIPE|DATA", "--help"]),
        (("compare", "small.csv", "--seeds", "many"), ["--seeds", "integer"]),
    ],
)
@pytest.mark.usefixtures("csv")
def test_bad_words_are_one_sentence(coset: Coset, words: tuple[str, ...], parts: list[str]) -> None:
    before = tree(Path())
    sentence = coset(*words).sentence
    assert [part for part in parts if part not in sentence] == []
    assert tree(Path()) == before


LONG = "a" * 20_000


@pytest.mark.parametrize(
    "words",
    [
        (LONG,),
        (f"--{LONG}",),
        ("inspect", LONG),
        ("inspect", "small.csv", f"--{LONG}"),
        ("train", "small.csv", "--out", LONG),
        ("train", "small.csv", "--collisions", LONG),
        ("train", "small.csv", "--checkpoint-every", LONG),
        ("plan", "small.csv", "--budget", LONG),
        ("evaluate", LONG),
        ("predict", "run", "small.csv", "--out", f"{LONG}.csv"),
        ("compress", LONG, "--budget", "25%"),
    ],
)
@pytest.mark.usefixtures("csv")
def test_a_sentence_is_short_whatever_words_were_given(coset: Coset, words: tuple[str, ...]) -> None:
    assert len(coset(*words).sentence) < 900


def test_a_recipe_with_a_wrong_key_names_file_and_key(coset: Coset) -> None:
    write(Path("mine.toml"), 'title = "T"\ndata = "x.csv"\n[trainig]\nepochs = 1\n[[rows]]\nname = "full"\n')
    sentence = coset("compare", "mine.toml").sentence
    assert "mine.toml" in sentence
    assert "did you mean 'training'" in sentence
    write(Path("mine.toml"), 'title = "T"\ndata = \n')
    assert "line 2" in coset("compare", "mine.toml").sentence


def test_an_id_never_seen(coset: Coset, csv: Path) -> None:
    assert coset("train", csv, "--row", "bias only", "--epochs", 1, "--out", "run").code == 0
    later = write(Path("later.csv"), "userId,movieId,rating\n1,2,3\n987654,3,4\n")
    before = tree(Path())
    sentence = coset("evaluate", "run", later).sentence
    assert "987654" in sentence
    assert "user" in sentence
    assert "np." not in sentence
    assert tree(Path()) == before


def test_one_user_can_be_evaluated(coset: Coset, csv: Path) -> None:
    assert coset("train", csv, "--row", "bias only", "--epochs", 1, "--out", "run").code == 0
    later = write(Path("later.csv"), "userId,movieId,rating\n1,2,3\n1,3,4\n")
    assert coset("evaluate", "run", later, "--json").json["rows"] == 2
    write(later, "".join(later.read_text().splitlines(keepends=True)[:2]))
    shown = [line for line in coset("evaluate", "run", later).out.splitlines() if line.startswith("scored: ")]
    assert shown[0].startswith("scored: the only row of data that are not")


def test_a_training_that_diverges_is_one_sentence_and_leaves_its_folder_for_another(coset: Coset, csv: Path) -> None:
    sgd = ("--set", "training.optimizer=sgd", "--row", "bias only")
    for command, mark in (("train", "metrics.json"), ("compare", "results.json")):
        words = (command, csv, *sgd, "--epochs", 2, "--out", command)
        for resume in ((), ("--resume",)):
            found = coset(*words, "--set", "training.learning_rate=1e20", *resume)
            assert "learning_rate below 1e+20" in coset_sentence(found)
        mended = coset(*words, "--set", "training.learning_rate=1e-3")
        assert mended.code == 0, mended.err
        assert Path(command, mark).exists()
    further = ("train", "train", "--continue", "--epochs", 1, "--out", "more")
    assert "diverged" in coset_sentence(coset(*further, "--set", "training.learning_rate=1e20"))
    assert coset(*further).code == 0


def test_an_out_that_is_a_file_is_left_alone(coset: Coset, csv: Path) -> None:
    mine = write(Path("mine.txt"), "mine")
    for command in ("train", "compare"):
        for more in ((), ("--resume",)):
            found = coset(command, csv, "--row", "bias only", "--epochs", 1, "--out", mine, *more)
            assert "mine.txt" in coset_sentence(found)
    assert mine.read_text() == "mine"


@pytest.mark.usefixtures("csv")
def test_brackets_in_names_are_only_letters(coset: Coset) -> None:
    Path("mine.toml").write_text(
        "title = 'T [/t]'\ndata = '[bold]x.csv'\n[training]\nepochs = 1\n[model]\nembedding_dim = 2\n"
        "[[rows]]\nname = 'full'\n[[rows]]\nname = 'x [/y]'\nembedding_dims = [1]\nnote = '[/n]'\n"
    )
    Path("[bold]x.csv").write_bytes(Path("small.csv").read_bytes())
    assert "[bold]x" in coset("inspect", "[bold]x.csv").out
    done = coset("compare", "mine.toml", "--out", "q[/]c")
    assert done.code == 0, done.err
    assert "x [/y]" in done.out
    assert "q[/]c" in done.err
    assert "q[/]d" in coset("train", "mine.toml", "--row", "x [/y]", "--out", "q[/]d").out
