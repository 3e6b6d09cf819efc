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
    monkeypatch.setattr("coset.data.sources.delimited.CHUNK", 1000)  # many blocks
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
    assert coset("predict", "run", "--out", "own.csv").code == 0
    assert Path("own.csv").read_bytes() == Path("p.csv").read_bytes()

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
    assert not Path("n.csv").exists()
    assert not list(Path().glob(".*coset*"))


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
    p, y = own["prediction"].to_numpy(), own["label"].to_numpy()
    logloss = -np.mean(np.log(np.where(y == 1, p, 1 - p))[-45:])
    assert coset("evaluate", "run", "--json").json["logloss"] == pytest.approx(logloss, rel=1e-5)

    Path("later.csv").write_text("price,item\n" + "\n".join(row.partition(",")[2] for row in rows[-45:]) + "\n")
    polars.read_csv("later.csv").write_parquet("later.parquet")
    for source in ("later.csv", "later.parquet"):
        found = coset("predict", "run", source, "--out", "later.p.parquet", "--overwrite", "--json")
        assert found.code == 0, found.err
        later = polars.read_parquet("later.p.parquet")
        assert later.columns == ["part", "row", "prediction"]
        assert np.allclose(later["prediction"].to_numpy(), p[-45:], rtol=1e-6)
    assert "names of columns are for ratings" in coset("predict", "run", "--user", "x", "--out", "n.csv").sentence
