"""Logs in libsvm and libffm text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coset.data.clicks import ClickData, ClickSchema, PrepareSettings
from coset.data.clicks.prepare import prepare
from coset.errors import InputError

PLAIN = PrepareSettings("ordered", 0.0, log=False, standardise=False)

SVM = """# made up
+1 1:0.5 3:1 7:1 # a comment
-1 2:2 3:1

-1
+1 1:-1e1 9:1 3:0
"""
FFM = """1 0:0:0.25 1:7:1 2:3:1 2:4:1
0 0:0:3 1:9:1
# nothing
1 1:7:1 2:4:1
"""


def read(folder: Path) -> Any:
    data = ClickData.open(folder)
    (batch,) = data.part("training").batches(100)
    return data, batch


def bag(data: ClickData, batch: Any, name: str) -> list[list[str]]:
    texts = data.vocabulary(name).texts()
    ids, begins = (each.tolist() for each in batch.bags[name])
    return [[texts[k] for k in ids[start:stop]] for start, stop in zip(begins, [*begins[1:], len(ids)], strict=True)]


@pytest.mark.parametrize("chunk", [20, 1 << 20])
def test_libsvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("coset.data.sources.text.CHUNK", chunk)
    (tmp_path / "log").write_text(SVM)
    found = prepare(tmp_path / "log", tmp_path / "out", settings=PLAIN)
    data, batch = read(tmp_path / "out")
    assert (found["rows"], data.numeric) == (4, ("1", "2"))
    assert batch.labels.tolist() == [1, 0, 0, 1]
    assert batch.numeric.tolist() == [[0.5, 0], [0, 2], [0, 0], [-10, 0]]
    assert bag(data, batch, "features") == [["3", "7"], ["3"], [], ["9"]]
    schema = ClickSchema("clicked", numeric=("2",), lists=("features",))
    (tmp_path / "log").write_text(SVM.replace("1:0.5 ", "").replace("1:-1e1 ", "1:1 "))
    prepare(tmp_path / "log", tmp_path / "own", schema, PLAIN)
    data, batch = read(tmp_path / "own")
    assert data.numeric == ("2",)
    assert bag(data, batch, "features") == [["3", "7"], ["3"], [], ["1", "9"]]


def test_libffm(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(FFM)
    prepare(tmp_path / "log.txt", tmp_path / "out", settings=PLAIN)
    data, batch = read(tmp_path / "out")
    assert (data.numeric, data.one_hot, data.multi_hot) == (("0",), ("1",), ("2",))
    assert batch.labels.tolist() == [1, 0, 1]
    assert batch.numeric.tolist() == [[0.25], [3], [0]]
    assert [data.vocabulary("1").texts()[k] for k in batch.ids[0].tolist()] == ["7", "9", "7"]
    assert bag(data, batch, "2") == [["3", "4"], [], ["4"]]
    prepare(tmp_path / "log.txt", tmp_path / "some", ClickSchema("y", categorical=("1",)), PLAIN)
    assert ClickData.open(tmp_path / "some").one_hot == ("1",)
    prepare(tmp_path / "log.txt", tmp_path / "later", like=tmp_path / "out")
    assert ClickData.open(tmp_path / "later").parts["validation"] == 3


def test_a_larger_log_is_what_a_csv_of_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 1000)
    draw = np.random.default_rng(0)
    rows = [(draw.integers(0, 2), draw.integers(1, 30), draw.integers(1, 9), draw.integers(0, 5)) for _ in range(300)]
    (tmp_path / "a").write_text("".join(f"{y} 1:{a}:1 2:{b}:1 3:1:{n + 0.5}\n" for y, a, b, n in rows))
    (tmp_path / "b.csv").write_text("y,1,2,3\n" + "".join(f"{y},{a},{b},{n + 0.5}\n" for y, a, b, n in rows))
    schema = ClickSchema("y", ("3",), ("1", "2"), category_type="integer")
    prepare(tmp_path / "a", tmp_path / "x", settings=PLAIN)
    prepare(tmp_path / "b.csv", tmp_path / "y", schema, PLAIN)
    for left, right in zip(
        *(ClickData.open(tmp_path / name).part("training").batches(999) for name in "xy"), strict=True
    ):
        assert np.array_equal(left.labels, right.labels)
        assert np.array_equal(left.numeric, right.numeric)
        assert np.array_equal(left.ids, right.ids)


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("1 1:1\n-1 1:1\n0 1:1\nx 1:1\n-1 1:1\n", None),
        (
            "y,c,t\n1,a,5\n0,b,2020-01-01\n0,a,x\n1,c,2020-01-02\n1,b,6\n",
            ClickSchema("y", categorical=("c",), time="t"),
        ),
    ],
)
def test_the_first_row_of_a_manner_decides_in_whatever_pieces_it_is_read(
    tmp_path: Path, text: str, schema: ClickSchema | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_text(text)
    how = PrepareSettings("ordered" if schema is None else "time", 0.34)
    for size in (7, 1000):
        monkeypatch.setattr("coset.data.sources.text.CHUNK", size)
        told = prepare(tmp_path / "log", tmp_path / f"{size}", schema, how, skip_bad=9)
        assert (told["rows"], told["skipped"]) == ((3, 2) if schema is None else (2, 3))
    assert (tmp_path / "7" / "skipped.jsonl").read_text() == (tmp_path / "1000" / "skipped.jsonl").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 1:1\n2 1:1\n", "row 2: label is '2', expected 0 or 1, or -1 or 1"),
        ("1 1:1\nx 1:1\n", "row 2: label is 'x'"),
        ("1 1:1\n1 1:x\n", "row 2: '1:x' is no index:value"),
        ("1 1:1\n1 qid:3 1:1\n", "row 2: 'qid:3' is no index:value, but names a group of a ranking"),
        ("1 1:1\n1 1:1 5\n", "row 2: '5' is no index:value"),
        ("1 1:1\n1 -1:1\n", "row 2: '-1:1' is no index:value"),
        ("1 1:1\n1 1:1:1\n", "row 2: '1:1:1' is no index:value"),
        ("1 1:1\n1 99999999999999999999:1\n", "is no index:value"),
        ("1 1:0.5\n1 1:2 1:3\n", "row 2: 1 occurs twice"),
        ("0 1:1\n-1 1:1\n", "row 2: label is -1 where others are 0"),
        ("-1 1:1\n0 1:1\n", "row 2: label is 0 where others are -1"),
        ("-1 1:1\nx 1:1\n", "row 2: label is 'x'"),
        ("0 1:1:1\n1 1:1\n", "row 2: '1:1' is no field:feature:value"),
        ("0 1:1:1\n1 1:2:0.5\n", "the field 1 has features with other values than 1, which are weights"),
        ("0" + "".join(f" {k}:0.5" for k in range(1, 1100)) + "\n", "1,099 columns have other values than 1"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "log").write_text(text)
    with pytest.raises(InputError, match=words):
        prepare(tmp_path / "log", tmp_path / "out", settings=PLAIN)


@pytest.mark.parametrize(
    ("text", "schema", "words"),
    [
        (SVM, ClickSchema("y", categorical=("1",)), r"lists is \['features'\]"),
        (SVM, ClickSchema("y", ("age",)), "called by their numbers, not 'age'"),
        (SVM, ClickSchema("y", ("1",), time="2"), "no column of times"),
        (SVM, ClickSchema("y", ("1",), lists=("features",)), "row 2: a feature of 'features' has another value than 1"),
        (FFM, ClickSchema("y", categorical=("2",)), "row 1: field 2 has several features; name it in lists"),
        (FFM, ClickSchema("y", categorical=("0",)), "row 1: a feature of '0' has another value than 1"),
    ],
)
def test_schemas_that_do_not_fit(tmp_path: Path, text: str, schema: ClickSchema, words: str) -> None:
    (tmp_path / "log").write_text(text)
    with pytest.raises(InputError, match=words):
        prepare(tmp_path / "log", tmp_path / "out", schema, PLAIN)
