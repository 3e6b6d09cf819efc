"""What tells click logs from ratings, by their content, and RecBole's files with a label as click logs."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coset.data.clicks import ClickData, ClickSchema, PrepareSettings
from coset.data.clicks.labels import has_label
from coset.data.clicks.logs import is_log, log_files
from coset.data.clicks.prepare import prepare
from coset.data.clicks.source import LogFile
from coset.errors import InputError

PLAIN = PrepareSettings("ordered", 0.0, log=False, standardise=False)
INTER = "user_id:token\titem_id:token\tlabel:float\trating:float\ttimestamp:float\tprice:float\ttags:token_seq"
INTER += """\tat:float_seq
01\ta b\t1.0\t5\t881250949\t0.5\tx y\t0.1 0.2
1\tc\t0.0\t2\t881250950\t\t\t0.3
01\t\t1\t4\t881250951\t2\t y  x \t
"""
RATINGS = "user_id:token\titem_id:token\trating:float\n1\t2\t3\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# made up\n\n-1\n+1 1:0.5 3:1\n", True),
        ("\ufeff0 1:7:1 2:3:1\r\n", True),
        ("1 1:1\r0 2:1\r", True),
        (INTER, True),
        ("label:token\tad:token\n1\ta\n", True),
        (RATINGS, False),
        ("user_id:token\titem_id:token\n1\t2\n", False),
        ("user_id\titem_id\tlabel:float\n1\t2\t1\n", False),
        ("user,item,rating\n1,2,3\n", False),
        ("label,user,item\n1,2,3\n", False),
        ("1\t2\t12:30\n", False),
        ("196\t242\t3\t881250949\n", False),
        ("1 0\n", False),
        ("", False),
        ('{"a": 1}\n', False),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_content_tells(tmp_path: Path, text: str, told: bool, packed: bool) -> None:
    data = text.encode()
    (tmp_path / "file.csv").write_bytes(gzip.compress(data) if packed else data)
    for given in (tmp_path / "file.csv", tmp_path, tmp_path / "f*.csv"):
        assert is_log(given) is told


def test_of_a_data_set_the_interactions_are_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "README.txt").write_text("About these data\n")
    (folder / "set.item").write_text("item_id:token\tclass:token\n")
    for stage in ("test", "train", "valid"):
        (folder / f"set.{stage}.inter").write_text(INTER)
    assert is_log(folder)
    found = prepare(folder, tmp_path / "out", settings=PLAIN)
    assert found["files"] == ["set.train.inter", "set.valid.inter", "set.test.inter"]


def test_criteos_layout_tells_itself(tmp_path: Path, criteo_rows: Any, criteo_text: Callable[[Any], bytes]) -> None:
    (tmp_path / "log").write_bytes(criteo_text(criteo_rows(3)))
    assert is_log(tmp_path / "log")
    (tmp_path / "log").write_text("\t".join(["user", "item", "rating", *map(str, range(37))]) + "\n")
    assert not is_log(tmp_path / "log")


def test_a_pipe_is_not_opened_and_a_large_file_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for ever
    assert not is_log(tmp_path / "pipe")
    monkeypatch.setattr("coset.data.sources.text.HEAD", 40)
    (tmp_path / "log").write_text("1" + " 7:1" * 100 + "\n")
    with monkeypatch.context() as unread:
        unread.delattr(LogFile, "rows")
        assert is_log(tmp_path / "log")
        (tmp_path / "log").write_text("#" * 50 + "\n1 1:1\n")
        assert not is_log(tmp_path / "log")


def test_the_types_of_a_header_are_a_schema(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(INTER)
    prepare(tmp_path / "log.txt", tmp_path / "out", settings=PLAIN)
    data = ClickData.open(tmp_path / "out")
    # The rating says what the label says, and times are for a split by time.
    assert data.numeric == ("price", "price:missing")
    assert (data.one_hot, data.multi_hot) == (("user_id", "item_id"), ("tags",))
    (batch,) = data.part("training").batches(9)
    assert batch.labels.tolist() == [1, 0, 1]
    users, tags = (data.vocabulary(name).texts() for name in ("user_id", "tags"))
    assert [users[k] for k in batch.ids[0].tolist()] == ["01", "1", "01"]
    ids, begins = (each.tolist() for each in batch.bags["tags"])
    assert ([tags[k] for k in ids], begins) == (["x", "y", "y", "x"], [0, 2, 2])
    prepare(tmp_path / "log.txt", tmp_path / "late", settings=PrepareSettings("time", 0.4))
    assert ClickData.open(tmp_path / "late").parts == {"training": 2, "validation": 1}


@pytest.mark.parametrize("typed", [False, True])
def test_a_schema_names_columns_with_their_types_or_without(tmp_path: Path, typed: bool) -> None:
    (tmp_path / "x.inter").write_text(INTER)
    named = (("user_id", "token"), ("label", "float"), ("tags", "token_seq"))
    user, label, tags = (f"{name}:{kind}" if typed else name for name, kind in named)
    prepare(tmp_path / "x.inter", tmp_path / "out", ClickSchema(label, categorical=(user,), lists=(tags,)), PLAIN)
    data = ClickData.open(tmp_path / "out")
    assert (data.one_hot, data.multi_hot) == ((user,), (tags,))
    assert data.vocabulary(tags).texts()[:2] == ["x", "y"]
    found = prepare(tmp_path / "x.inter", tmp_path / "later", like=tmp_path / "out")
    assert found["parts"]["validation"] == 3
    log, schema = LogFile(log_files(tmp_path / "x.inter")[0]), ClickSchema(label, categorical=(user,), separator="\t")
    assert has_label(log, schema)
    assert not has_label(log, replace(schema, label="clicked"))


def test_a_file_without_a_label_is_told_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text(RATINGS)
    with pytest.raises(InputError, match=r"x\.inter: a RecBole file without the column label.*coset train takes it"):
        prepare(tmp_path / "x.inter", tmp_path / "out")
