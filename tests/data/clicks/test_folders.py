"""Logs in many files, in folders that say something of their rows, and text files of unusual forms."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from coset.data.clicks import ClickData, ClickSchema, PrepareSettings
from coset.data.clicks.prepare import prepare
from coset.errors import InputError

ALL = PrepareSettings("ordered", 0.0)
Contents = Callable[[Path], dict[str, bytes]]
Coset = Callable[..., Any]


def test_days_come_in_the_order_of_their_numbers(coset: Coset, tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    for day in range(12):
        rows = "".join(f"{row % 2},{row},d{day}\n" for row in range(8))
        (tmp_path / "days" / f"day_{day}").write_text("y,a,u\n" + rows)
    (tmp_path / "s.toml").write_text('label = "y"\nnumeric = ["a"]\ncategorical = ["u"]\n')
    words = ("prepare", "days", "o", "--schema", "s.toml", "--split", "ordered", "--validation", "0.25")
    shown = coset(*words)
    assert "12 files, read in this order: day_0, day_1, day_2 … day_11" in " ".join(shown.out.split())
    assert "1 numeric column;" in shown.out
    data = ClickData.open("o")
    assert data.vocabulary("u").texts() == [f"d{day}" for day in range(9)]
    assert data.log == {f"day_{day}": 8 for day in range(12)}
    again = coset("prepare", "days/day_*", "p", *words[3:], "--json")
    assert again.json["files"] == [f"day_{day}" for day in range(12)]
    assert again.json["features"] == [{"name": "u", **data.facts["features"]["u"]}]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_folders_say_are_columns(tmp_path: Path, ending: str, contents: Contents) -> None:
    """As if the columns were in the files; a column that is in a file is taken from there."""
    whole = []
    for at, (day, hour) in enumerate((("2020-01-09", "10"), ("2020-01-10", "9"), ("__HIVE_DEFAULT_PARTITION__", "1"))):
        frame = pl.DataFrame({"y": [0, 1], "c": [f"a{at}", "b"], "n": [at, None]})
        folder = tmp_path / "hive" / f"dt={day}" / f"hour={hour}"
        folder.mkdir(parents=True)
        getattr(frame, f"write_{ending}")(folder / f"part-0.{ending}")
        told = {"dt": None if "_" in day else day, "hour": int(hour)}
        whole.append(frame.with_columns(*(pl.lit(value).alias(name) for name, value in told.items())))
    (tmp_path / "hive" / "_SUCCESS").touch()
    (tmp_path / "hive" / f"dt=2020-01-10/hour=9/part-1.{ending}").touch()  # as Spark writes a part without a row
    getattr(pl.concat(whole), f"write_{ending}")(tmp_path / f"one.{ending}")
    schema = ClickSchema("y", ("n", "hour"), ("c", "dt"), types={"dt": "text"})
    prepare(tmp_path / "hive", tmp_path / "a", schema, ALL, name="x")
    prepare(tmp_path / f"one.{ending}", tmp_path / "b", schema, ALL, name="x")
    one, other = contents(tmp_path / "a"), contents(tmp_path / "b")
    del one["prepare.json"], other["prepare.json"]
    assert one == other
    with pytest.raises(InputError, match=r"no column 'day'|unknown column .*'day'"):
        prepare(tmp_path / "hive", tmp_path / "no", ClickSchema("y", categorical=("c", "day")), ALL)
    timed = ClickSchema("y", categorical=("c",), time="dt")
    with pytest.raises(InputError, match="row 1: dt is missing"):
        prepare(tmp_path / "hive", tmp_path / "t", timed, PrepareSettings("time", 0.4))
    prepare(tmp_path / "hive", tmp_path / "t", timed, PrepareSettings("time", 0.4), resume=True, skip_bad=2)
    assert ClickData.open(tmp_path / "t").vocabulary("c").texts() == ["a0", "b"]


def test_folders_of_files_without_names_of_columns(tmp_path: Path) -> None:
    """As Hive writes text."""
    (tmp_path / "dt=7").mkdir()
    (tmp_path / "dt=7" / "000000_0").write_text("1\x01a\n0\x01b\n")
    schema = ClickSchema("y", categorical=("c", "dt"), names=("y", "c"), separator="\x01")
    prepare(tmp_path, tmp_path.parent / f"{tmp_path.name}-out", schema, ALL)
    data = ClickData.open(tmp_path.parent / f"{tmp_path.name}-out")
    assert data.vocabulary("dt").texts() == ["7"]
    with pytest.raises(InputError, match=r"not among the names in the schema.*'x'"):
        prepare(
            tmp_path, tmp_path.parent / f"{tmp_path.name}-no", ClickSchema("y", categorical=("x",), names=("y", "c"))
        )


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, lambda data: gzip.compress(gzip.compress(data)), bytes])
@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_ends_of_lines_and_packings(
    tmp_path: Path, pack: Any, end: str, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["y,n,c", *(f"{k % 2},{k},c{k % 7}" for k in range(200))]
    for name, data in (("plain", "\n".join(lines).encode()), ("other", pack(end.join(lines).encode()))):
        (tmp_path / name).write_bytes(data)
        prepare(tmp_path / name, tmp_path / f"{name}-out", ClickSchema("y", ("n",), ("c",)), name="x")
        monkeypatch.setattr("coset.data.sources.text.CHUNK", 500)
    plain, other = contents(tmp_path / "plain-out"), contents(tmp_path / "other-out")
    del plain["prepare.json"], other["prepare.json"]
    assert plain == other


def test_columns_of_long_names_and_long_fields(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'y,"{"x" * 200_000}","c,""d""",1.0\n1,{"z" * 300_000},e,1\n0,,f,2\n')
    prepare(tmp_path / "a.csv", tmp_path / "a", ClickSchema("y", ("1.0",), ('c,"d"',)), ALL)
    assert ClickData.open(tmp_path / "a").vocabulary('c,"d"').texts() == ["e", "f"]
    with pytest.raises(InputError, match="no column 'q'") as told:
        prepare(tmp_path / "a.csv", tmp_path / "b", ClickSchema("y", ("q",)), ALL)
    assert len(str(told.value)) < 1000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="a pipe, which can be read only once"):
        prepare(tmp_path / "pipe", tmp_path / "out", ClickSchema("y", ("n",)))
    for device in ("/dev/null", "/dev/zero"):
        with pytest.raises(InputError, match=f"^{device}: neither a file nor a pipe; give the path of a file"):
            prepare(device, tmp_path / "out", ClickSchema("y", ("n",)))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--threads", "-1"), "threads must lie in 1 … 1024"),
        (("--threads", "0"), "threads must lie in 1 … 1024"),
        (("--threads", "100000000"), "threads must lie in 1 … 1024"),
        (("--seed", "99999999999999999999999"), "prepare: seed must"),
        (("--seed", "-1"), "prepare: seed must"),
        (("--hash-seed", "-1"), "seed"),
        (("--hash-seed", "99999999999"), "seed"),
        (("--hash", "99999999999999999"), "prepare: buckets of '*' must lie in"),
        (("--max-size", "0"), "max_size must be"),
        (("--min-frequency", "99999999999999999999999"), "min_frequency must be a whole number of at most 64 bits"),
        (("--validation", "nan"), "validation must be"),
        (("--validation", "-0.1"), "validation must be"),
        (("--skip-bad", "-1"), "skip_bad must be at least 0"),
    ],
)
def test_options_are_checked_before_a_folder_is_made(coset: Coset, words: tuple[str, ...], sentence: str) -> None:
    Path("a.csv").write_text("y,n\n1,2\n0,3\n")
    Path("s.toml").write_text('label = "y"\nnumeric = ["n"]\ncategorical = []\n')
    assert sentence in coset("prepare", "a.csv", "out", "--schema", "s.toml", *words).sentence
    assert not Path("out").exists()


def test_columns_that_look_like_lists_and_labels_that_say_nothing(coset: Coset) -> None:
    genres = [f"g{k % 7}^g{k % 11}^g{k % 13}" for k in range(400)]
    rows = "".join(f"1,{of},name {k}; street {k}\n" for k, of in enumerate(genres))
    Path("a.csv").write_text("y,genres,address\n" + rows)
    Path("s.toml").write_text('label = "y"\ncategorical = ["genres", "address"]\n')
    found = coset("prepare", "a.csv", "out", "--schema", "s.toml", "--json")
    assert found.code == 0, found.err
    one, lists = found.json["hints"]
    assert "every label of the training part is 1, so there is nothing to learn" in one
    assert "'genres' hold texts with '^' in them" in lists
    assert found.err.count("coset: warning: out: ") == 2
    refused = coset("train", "out", "--dim", 4, "--out", "runs/a").sentence
    assert "out: every label of the training part is 1, so there is nothing to learn" in refused
    assert not Path("runs/a/run.json").exists()
    assert coset("prepare", "a.csv", "later", "--like", "out", "--json").json["hints"] == []


def test_a_foreign_vocabulary_is_refused(tmp_path: Path) -> None:
    for name, letters in (("a", "abc"), ("b", "xyz")):
        (tmp_path / f"{name}.csv").write_text(
            "y,c\n" + "".join(f"{k % 2},{letter}\n" for k, letter in enumerate(letters))
        )
        prepare(tmp_path / f"{name}.csv", tmp_path / name, ClickSchema("y", categorical=("c",)), ALL)
    path = tmp_path / "a" / "vocabularies" / "c.safetensors"
    path.write_bytes((tmp_path / "b" / "vocabularies" / "c.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"c\.safetensors: not the vocabulary that these data were prepared with"):
        prepare(tmp_path / "a.csv", tmp_path / "later", like=tmp_path / "a")
    path.unlink()
    with pytest.raises(InputError, match=r"c\.safetensors: is not there"):
        ClickData.open(tmp_path / "a")


def test_a_zip_archive_of_one_file_is_that_file(
    coset: Coset, criteo_rows: Any, criteo_text: Any, contents: Any
) -> None:
    data = criteo_text(criteo_rows(40))
    Path("log.txt").write_bytes(data)
    for name, inside in {"log.zip": data, "twice.zip": gzip.compress(data)}.items():
        with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("logs/train.txt", inside)
            archive.writestr("__MACOSX/._train.txt", "x")
    assert coset("prepare", "log.txt", "log").code == 0
    for name in ("log.zip", "twice.zip"):
        assert coset("prepare", name, "zipped").code == 0
        found, wanted = contents(Path("zipped")), contents(Path("log"))
        for told in (found, wanted):  # which says what the log was called and how large it was
            told["prepared.json"] = {**json.loads(told["prepared.json"]), "name": "", "log": []}
            del told["prepare.json"]
        assert found == wanted
        shutil.rmtree("zipped")
    assert "40 rows" in coset("inspect", "log.zip").out
    for files, said in {
        ("a.txt", "b.txt"): r"a zip archive of 2 files (a.txt, b.txt); unpack it",
        (): "a zip archive of no file",
    }.items():
        with zipfile.ZipFile("bad.zip", "w") as archive:
            for name in files:
                archive.writestr(name, data)
        assert said in coset("prepare", "bad.zip", "out").sentence
    Path("cut.zip").write_bytes(Path("log.zip").read_bytes()[:-30])
    assert "cut.zip: not readable as a zip archive" in coset("prepare", "cut.zip", "out").sentence
