"""Files of predictions: for rows with a rating or label and without, in the order of the rows, wholly or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

Coset = Callable[..., Any]
SCHEMA = 'label = "clicked"\nnumeric = ["price"]\ncategorical = ["item"]\n'


def test_ratings(coset: Coset, small_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("r.csv").write_bytes(small_csv.read_bytes())
    assert coset("train", "r.csv", "--dim", 4, "--epochs", 2, "--out", "run").code == 0
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 1000)  # many blocks
    found = coset("predict", "run", "r.csv", "--out", "p.csv", "--json").json
    given, written = polars.read_csv("r.csv"), polars.read_csv("p.csv")
    assert written.columns == ["user", "item", "rating", "prediction"]
    assert found["rows"] == written.height == 3000
    assert written["user"].to_list() == given["userId"].to_list()
    assert written["item"].to_list() == given["movieId"].to_list()
    gap = written["prediction"].to_numpy() - written["rating"].to_numpy()
    every = coset("evaluate", "run", "--part", "all", "--json").json
    assert np.mean(gap**2) == pytest.approx(every["mse"], rel=1e-5)

    # Without ratings, from and to either format.
    bare = given.select("userId", "movieId")
    bare.write_csv("new.csv")
    bare.write_parquet("new.parquet")
    for source in ("new.csv", "new.parquet"):
        for out in ("q.csv", "q.parquet"):
            assert coset("predict", "run", source, "--out", out, "--overwrite").code == 0
            read = (polars.read_csv if out.endswith("csv") else polars.read_parquet)(out)
            assert read.columns == ["user", "item", "prediction"]
            assert np.allclose(read["prediction"].to_numpy(), written["prediction"].to_numpy(), rtol=1e-6)
            assert read["user"].to_list() == given["userId"].to_list()
    assert "predicted: all rows" in coset("predict", "run", "--out", "own.csv").out
    assert polars.read_parquet("q.parquet").schema["prediction"] == polars.Float32
    assert Path("own.csv").read_bytes() == Path("p.csv").read_bytes()

    # A part of the run's own data, given or not, as evaluate scores it.
    for part, source in (("validation", "r.csv"), ("training", None)):
        words = [] if source is None else [source]
        found = coset("predict", "run", *words, "--part", part, "--out", "part.csv", "--overwrite", "--json").json
        one = polars.read_csv("part.csv")
        scored = coset("evaluate", "run", "--part", part, "--json").json
        assert (found["part"], found["rows"]) == (part, one.height) == (part, scored["rows"])
        gap = one["prediction"].to_numpy() - one["rating"].to_numpy()
        assert np.mean(gap**2) == pytest.approx(scored["mse"], rel=1e-5)
    assert "predicted: the training part" in coset("predict", "run", "--part", "training", "--out", "t.csv").out
    said = coset("predict", "run", "new.csv", "--part", "validation", "--out", "n.csv").sentence
    assert "new.csv" in said
    assert "unknown part 'test'" in coset("predict", "run", "--part", "test", "--out", "n.csv").sentence
    assert not Path("n.csv").exists()

    before = Path("p.csv").read_bytes()
    assert "p.csv: exists already; give --overwrite" in coset("predict", "run", "new.csv", "--out", "p.csv").sentence
    assert "a .csv or a .parquet file" in coset("predict", "run", "new.csv", "--out", "p.txt").sentence
    assert "no such file" in coset("predict", "run", "none.csv", "--out", "n.csv").sentence
    with Path("new.csv").open("a") as file:
        file.write("7,987654\n")
    said = coset("predict", "run", "new.csv", "--out", "p.csv", "--overwrite").sentence
    assert "new.csv: feature 'item': the raw id 987654 at row 3001 of the data" in said
    assert Path("p.csv").read_bytes() == before
    Path("new.csv").write_text("userId,movieId\n1,2\n3,\n")
    assert (
        "new.csv, line 3, column 'movieId': the item is missing"
        in coset("predict", "run", "new.csv", "--out", "n.csv").err
    )
    Path("r.csv").rename("moved.csv")
    assert coset("predict", "run", "--out", "n.csv").sentence == (
        "r.csv: not there, and run was trained on it; name its place by --data"
    )
    assert not Path("n.csv").exists()
    assert not list(Path().glob(".*coset*"))
    assert coset("predict", "run", "--data", "moved.csv", "--out", "n.csv").code == 0
    assert Path("n.csv").read_bytes() == before


@pytest.fixture
def run(coset: Coset, small_csv: Path) -> str:
    assert coset("train", small_csv, "--row", "bias only", "--epochs", 1, "--out", "run").code == 0
    return "run"


def test_files_without_rows_leave_nothing_behind(coset: Coset, run: str) -> None:
    Path("none.csv").write_text("userId,movieId\n")
    Path("empty.csv").write_text("userId,movieId,rating\n,,\n,,\n")
    polars.DataFrame({"userId": [1], "movieId": [2]})[:0].write_parquet("none.parquet")
    for source in ("none.csv", "empty.csv", "none.parquet"):
        for out in ("p.csv", "p.parquet"):
            said = coset("predict", run, source, "--out", out).sentence
            assert said == f"{source}: no rows, so nothing to predict"
            assert not Path(out).exists()


def test_rows_that_hold_nothing_are_left_out_as_everywhere(coset: Coset, run: str) -> None:
    Path("ends.csv").write_text("userId,movieId,rating\n1,2,3.5\n,,\n4,5,\n,,\n")
    assert coset("predict", run, "ends.csv", "--out", "p.parquet", "--json").json["rows"] == 2
    written = polars.read_parquet("p.parquet")
    assert written["user"].to_list() == [1, 4]
    assert (written["rating"].dtype, written["rating"].to_list()) == (polars.Float32, [3.5, None])
    Path("ends.csv").write_text("userId,movieId,rating\n1,2,3\n,,4\n")
    assert "ends.csv, line 3, column 'userId': the user is missing" in coset("predict", run, "ends.csv").sentence


def test_parts_of_several_forms(coset: Coset, run: str) -> None:
    Path("parts").mkdir()
    Path("parts/1.csv").write_text("userId,movieId,rating\n1,2,3\n")
    polars.DataFrame({"userId": [4.0], "movieId": ["5"], "rating": [2.5]}).write_parquet("parts/2.parquet")
    for source in ("parts", "parts/[12].*"):
        assert coset("predict", run, source, "--out", "p.parquet", "--overwrite").code == 0
        assert polars.read_parquet("p.parquet")["rating"].to_list() == [3.0, 2.5]
    Path("parts/3.csv").write_text("userId,movieId\n1,2\n")
    said = coset("predict", run, "parts", "--out", "q.parquet").sentence
    assert said == "parts/1.csv: has a column of ratings, and parts/3.csv has none; predict them one by one"
    wrong = coset("predict", "run", "parts/1.csv", "--rating", "nope", "--out", "q.csv").sentence
    assert "no column 'nope' for the rating" in wrong
    assert "no file fits this pattern" in coset("predict", run, "parts/9*", "--out", "q.csv").sentence
    polars.DataFrame({"userId": [[1, 2]], "movieId": [3]}).write_parquet("lists.parquet")
    assert "where one user a row is expected" in coset("predict", run, "lists.parquet", "--out", "q.csv").sentence


@pytest.mark.parametrize("name", ["br[1]", "dt=1", "st*r", "~"])
def test_any_letter_may_be_in_the_name_of_a_folder(coset: Coset, run: str, name: str) -> None:
    Path("two.csv").write_text("userId,movieId\n1,2\n3,4\n")
    assert coset("predict", run, "two.csv", "--out", f"./{name}/p.parquet").code == 0
    with Path(name, "p.parquet").open("rb") as file:
        assert polars.read_parquet(file).columns == ["user", "item", "prediction"]


def test_new_ids_share_a_row_where_the_run_says_so(coset: Coset, small_csv: Path) -> None:
    shared = ("--set", "vocabulary.unseen=shared", "--row", "bias only", "--epochs", 1, "--out", "run")
    assert coset("train", small_csv, *shared).code == 0
    Path("new.csv").write_text("movieId,userId\nnobody,1\nnothing,1\n3,1\n")
    assert coset("predict", "run", "new.csv", "--out", "p.parquet").code == 0
    written = polars.read_parquet("p.parquet")
    assert written["item"].to_list() == ["nobody", "nothing", "3"]
    first, second, third = written["prediction"]
    assert first == second != third


def test_clicks(coset: Coset) -> None:
    rows = [f"{n % 3 == 0:d},{n * 1.5},i{n * n % 11}" for n in range(300)]
    Path("log.csv").write_text("clicked,price,item\n" + "\n".join(rows) + "\n")
    Path("s.toml").write_text(SCHEMA)
    assert coset("prepare", "log.csv", "data", "--schema", "s.toml", "--split", "ordered").code == 0
    tiny = ("--model", "dlrm", "--dim", 2, "--set", "model.bottom=[4]", "--set", "model.top=[4]")
    assert coset("train", "data", *tiny, "--out", "run").code == 0
    assert coset("predict", "run", "--out", "own.csv").code == 0
    own = polars.read_csv("own.csv")
    assert own.columns == ["part", "row", "label", "prediction"]
    assert own["label"].to_list() == [int(row[0]) for row in rows]  # ordered: training comes first
    assert "predicted: the validation part" in coset("predict", "run", "--part", "validation", "--out", "v.csv").out
    assert polars.read_csv("v.csv").equals(own.filter(polars.col("part") == "validation"))
    p, y = own["prediction"].to_numpy(), own["label"].to_numpy()
    logloss = -np.mean(np.log(np.where(y == 1, p, 1 - p))[-45:])
    assert coset("evaluate", "run", "--json").json["logloss"] == pytest.approx(logloss, rel=1e-5)

    Path("later.csv").write_text("price,item\n" + "\n".join(row.partition(",")[2] for row in rows[-45:]) + "\n")
    polars.read_csv("later.csv").write_parquet("later.parquet")
    for source in ("later.csv", "later.parquet"):
        found = coset("predict", "run", source, "--out", "later.p.parquet", "--overwrite", "--json")
        assert found.code == 0, found.err
        later = polars.read_parquet("later.p.parquet")
        assert later.columns == ["row", "prediction"]
        assert np.allclose(later["prediction"].to_numpy(), p[-45:], rtol=1e-6)
    # In a folder, by a pattern, and what is wrong with a row of the file that was given.
    Path("logs").mkdir()
    for name in ("logs/1.csv", "logs/2.csv"):
        Path(name).write_bytes(Path("later.csv").read_bytes())
    for source in ("logs", "logs/*.csv"):
        assert coset("predict", "run", source, "--out", "logs.csv", "--overwrite").code == 0
        assert np.allclose(polars.read_csv("logs.csv")["prediction"].to_numpy(), [*p[-45:], *p[-45:]], rtol=1e-6)
    Path("bad.csv").write_text("price,item\n1,i2\nabc,i3\n")
    said = coset("predict", "run", "bad.csv", "--out", "n.csv").sentence
    assert said == "bad.csv, row 2: price is 'abc', expected a number; correct or remove it"
    Path("bad.csv").write_text("clicked,price,item\n1,1,i2\n0,NA,i3\n")
    for call in (("evaluate", "run", "bad.csv"), ("predict", "run", "bad.csv", "--out", "n.csv")):
        said = coset(*call).sentence
        assert said.startswith(
            "bad.csv, row 2: price is 'NA', expected a number (if it stands for a missing value: coset"
        )
        assert said.endswith(
            f"coset prepare --like {Path('data').resolve()} --skip-bad 1, and give the folder that this makes"
        )
    assert coset("prepare", "bad.csv", "later", "--like", "data", "--missing", "NA").code == 0
    assert coset("evaluate", "run", "later", "--json").json["rows"] == 2
    assert coset("evaluate", "run", "logs", "--part", "training").sentence.startswith("logs/1.csv: no column 'clicked'")
    said = coset("evaluate", "run", "later", "--part", "training").sentence
    assert (
        said == "later: not the data that run was trained on, so no rows of it are its training part; leave --part out"
    )
    assert "names of columns are for ratings" in coset("predict", "run", "--user", "x", "--out", "n.csv").sentence


NAMES = 'names = ["clicked", "price", "item"]\nseparator = "\\t"\n'
LOGS = {
    "libsvm": ("{0} 1:{1} 2:1 {2}:1 # of a user\n", "1:{1} 2:1 {2}:1 # of a user\n", ""),
    "libffm": ("{0} 0:1:{1} 1:{2}:1\n", " 0:1:{1} 1:{2}:1\n", ""),
    "no line with names": ("{0}\t{1}\ti{2}\n", "{1}\ti{2}\n", SCHEMA + NAMES),
}


@pytest.mark.parametrize("form", LOGS)
def test_clicks_without_labels_in_every_form(coset: Coset, form: str) -> None:
    """A row is predicted as it is with a label before it."""
    line, bare, schema = LOGS[form]
    rows = [(f"{n % 3 == 0:d}", n * 1.5, n * n % 11 + 3) for n in range(60)]
    Path("log").write_text("".join(line.format(*row) for row in rows))
    Path("new").write_text("# no labels\n\n"[: 13 * (form == "libsvm")] + "".join(bare.format(*row) for row in rows))
    Path("s.toml").write_text(schema)
    given = ("--schema", "s.toml") if schema else ()
    assert coset("prepare", "log", "data", "--split", "ordered", *given).code == 0
    tiny = ("--model", "dlrm", "--dim", 2, "--set", "model.bottom=[4]", "--set", "model.top=[4]")
    assert coset("train", "data", *tiny, "--out", "run").code == 0
    assert coset("predict", "run", "--out", "own.csv").code == 0
    assert coset("predict", "run", "new", "--out", "new.csv").code == 0, form
    own, new = polars.read_csv("own.csv"), polars.read_csv("new.csv")
    assert new.columns == ["row", "prediction"]
    assert new["prediction"].to_list() == pytest.approx(own["prediction"].to_list(), rel=1e-6)
