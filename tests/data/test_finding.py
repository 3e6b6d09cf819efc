"""Ratings as people have them: packed, in archives, in folders of parts, by pipes, in other encodings."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import zstandard

from coset.data import Ratings, Vocabulary, load_ratings
from coset.data.pairs import read_pairs
from coset.errors import InputError

TEXT = "user,item,rating\n" + "".join(f"{row % 40},i{row},{row % 5}\n" for row in range(1200))
"""More than a pipe gives at once."""


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(**members: bytes | str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def parquet(text: str) -> bytes:
    file = io.BytesIO()
    pl.read_csv(text.encode()).write_parquet(file)
    return file.getvalue()


def rows(data: Ratings) -> list[Any]:
    return [data.users.tolist(), data.items.tolist(), data.ratings.tolist()]


EXPECTED = [[row % 40 for row in range(1200)], [f"i{row}" for row in range(1200)], [row % 5 for row in range(1200)]]

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip in two pieces": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    "gzip twice": lambda data: gzip.compress(gzip.compress(data)),
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "zstd in two pieces": lambda data: b"".join(map(zstandard.ZstdCompressor().compress, (data[:9], data[9:]))),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda data: zipped(**{"some/mine.csv": data, "__MACOSX/some/._mine.csv": b"x", "notes.md": b"x"}),
    "zip of several": lambda data: zipped(**{"BX-Book-Ratings.csv": data, "BX-Books.csv": b"a,b\n"}),
    "zip of gzip": lambda data: zipped(**{"mine.csv.gz": gzip.compress(data)}),
    "zip of Parquet": lambda data: zipped(**{"mine.parquet": parquet(data.decode())}),
    "Parquet": lambda data: parquet(data.decode()),
    "Parquet in gzip": lambda data: gzip.compress(parquet(data.decode())),
    "UTF-16 of Windows": lambda data: data.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda data: data.decode().encode("utf-16-be"),
    "UTF-16 with tabs in gzip": lambda data: gzip.compress(data.decode().replace(",", "\t").encode("utf-16")),
    "carriage returns": lambda data: data.replace(b"\n", b"\r"),
    "blanks": lambda data: data.replace(b",", b"   "),
    "nothing": lambda data: data,
}


@pytest.mark.parametrize("form", FORMS)
def test_what_a_file_is_packed_in_is_told_by_its_bytes(tmp_path: Path, form: str) -> None:
    for name in ("mine.data", "mine.zip", "mine.PARQUET"):
        path = put(tmp_path / name, FORMS[form](TEXT.encode()))
        assert rows(load_ratings(path)) == EXPECTED


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
@pytest.mark.parametrize("form", ["as it is", "zstd", "zip", "Parquet"])
def test_a_pipe_is_read_whole_and_once(tmp_path: Path, form: str) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = FORMS.get(form, bytes)(TEXT.encode())
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    try:
        assert rows(load_ratings(path)) == rows(load_ratings(path)) == EXPECTED
    finally:
        writer.join(timeout=60)


def test_a_device_is_refused() -> None:
    with pytest.raises(InputError, match=r"/dev/null: neither a file nor a pipe"):
        load_ratings("/dev/null")


@pytest.mark.parametrize("form", ["gzip", "zstd", "bzip2", "xz"])
def test_packed_bytes_that_are_cut_off_or_damaged(tmp_path: Path, form: str) -> None:
    whole = FORMS[form](TEXT.encode())
    damaged = whole[:60] + bytes(40) + whole[100:]
    for content in (whole[:-9], whole[:50], *([damaged] if form != "zstd" else [])):  # which has no checksum by itself
        with pytest.raises(InputError, match=r"mine\.csv: packed with .*, and cut off or damaged .*fetch it again"):
            load_ratings(put(tmp_path / "mine.csv", content))


def lines(first: int) -> str:
    return f"user,item,rating\n{first},1,5\n{first},2,3\n"


def test_parts_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (0, 9, 10, 11):
        put(tmp_path / "days" / f"part-{number}.csv", lines(number))
    for name in ("_SUCCESS", ".part-0.csv.crc", ".DS_Store"):
        put(tmp_path / "days" / name, b"\0")
    data = load_ratings(tmp_path / "days")
    assert data.users.tolist() == [0, 0, 9, 9, 10, 10, 11, 11]
    assert data.files == ("part-0.csv", "part-9.csv", "part-10.csv", "part-11.csv")
    put(tmp_path / "days" / "part-12.csv", b"")  # as Spark writes a part without rows
    assert rows(load_ratings(tmp_path / "days")) == rows(data)
    some = load_ratings(tmp_path / "days" / "part-1?.csv")
    assert (some.users.tolist(), some.files) == ([10, 10, 11, 11], ("part-10.csv", "part-11.csv"))
    with pytest.raises(InputError, match="no file fits this pattern"):
        load_ratings(tmp_path / "part-*.csv")


def test_folders_of_hive_and_parts_of_several_forms(tmp_path: Path) -> None:
    put(tmp_path / "dt=2020-01-02" / "p.parquet", parquet(lines(2)))
    put(tmp_path / "dt=2020-01-01" / "p.csv.gz", gzip.compress(lines(1).encode()))
    put(tmp_path / "dt=2020-01-10" / "p.csv", "rating,user,item\n1,01,2\n")  # not a number, so none of them are
    data = load_ratings(tmp_path)
    assert data.users.tolist() == ["1", "1", "2", "2", "01"]
    assert data.ratings.tolist() == [5, 3, 5, 3, 1]

    # What folders say are columns: times, attributes, and ids.
    timed = load_ratings(tmp_path, time="dt")
    assert timed.times is not None
    assert np.unique(timed.times, return_inverse=True)[1].tolist() == [0, 0, 1, 1, 2]
    put(tmp_path / "by" / "item=7" / "age=1" / "p.csv", "user,rating\n1,5\n2,3\n")
    put(tmp_path / "by" / "item=8" / "age=__HIVE_DEFAULT_PARTITION__" / "p.parquet", parquet("user,rating\n1,4\n"))
    kept = load_ratings(tmp_path / "by", item_attributes=["age"])
    assert (kept.users.tolist(), kept.items.tolist()) == ([1, 2, 1], [7, 7, 8])
    assert kept.item_attributes is not None
    assert kept.item_attributes.columns["age"].tolist() == ["1", ""]
    one = load_ratings(tmp_path / "by" / "item=7" / "age=1" / "p.csv", to_learn=False)
    assert one.items.tolist() == [7, 7]
    (pairs,) = read_pairs(tmp_path / "by" / "item=8", rating="rating")
    assert (pairs.items.tolist(), pairs.ratings.to_list()) == ([8], [4])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped(**{"a.csv": lines(1), "b.csv": lines(2)}), ["2 files (a.csv, b.csv)", "unpack it"]),
        (zipped(**{f"{number}.csv": "x" for number in range(500)}), ["500 files", "494 more"]),
        (zipped(**{"xl/workbook.xml": "x"}), ["Excel workbook", "CSV UTF-8"]),
        (zipped(**{"user.npy": "x"}), ["NumPy arrays (.npz)"]),
        (zipped(**{"model/data.pkl": "x"}), ["torch.save"]),
        (zipped(**{"notes.md": "x"}), ["holds no ratings", "notes.md"]),
    ],
)
def test_archives_of_something_else(tmp_path: Path, content: bytes, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load_ratings(put(tmp_path / "mine.zip", content))
    assert len(str(caught.value)) < 400
    for word in ["mine.zip", *words]:
        assert word in str(caught.value)


def of_polars(write: str) -> bytes:
    file = io.BytesIO()
    getattr(pl.read_csv(TEXT.encode()), write)(file)
    return file.getvalue()


def of_numpy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones((3, 3)))
    return file.getvalue()


OBJECTS = b",".join(b'{"user": %d, "item": 1, "rating": 5}' % number for number in range(400))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"ORC\x0a\x13rest", ["ORC", "read_orc"]),
        (of_polars("write_ipc"), ["Arrow or Feather", "read_feather"]),
        (b"FEA1" + bytes(9), ["Feather"]),
        (b"\x89HDF\r\n\x1a\n" + bytes(9), ["HDF5", "read_hdf"]),
        (b"SQLite format 3\0" + bytes(9), ["SQLite", "sqlite3 -header -csv"]),
        (b"MATLAB 5.0 MAT-file, Platform", ["MATLAB", "scipy.io.loadmat"]),
        (of_numpy(), ["NumPy array"]),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9), ["old Excel workbook"]),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}", ["pickle"]),
        (b"\x80\x02}q\x00(X\x04", ["pickle"]),
        (b"\x1f\x00\0\0\0\0\0\0abcd\n\x1d\n\x1b" + bytes(20), ["TFRecord"]),
        (b"\x04\x22\x4d\x18" + bytes(9), ["lz4"]),
        (b"[" + OBJECTS + b"]", ["JSON", "read_json(…)"]),
        (OBJECTS.replace(b"},", b"}\n"), ["JSON, an object a line", "read_json(…, lines=True)"]),
        (b"<!DOCTYPE html><html>", ["page of the web"]),
        (b"version https://git-lfs.github.com/spec/v1\n", ["Git LFS", "git lfs pull"]),
        (bytes(range(256)) * 9, ["neither text nor Parquet"]),
    ],
)
def test_other_formats_are_named_with_a_way_out(tmp_path: Path, content: bytes, words: list[str]) -> None:
    for name, packed in (("mine.csv", content), ("mine.gz", gzip.compress(content))):
        with pytest.raises(InputError) as caught:
            load_ratings(put(tmp_path / name, packed))
        assert len(str(caught.value)) < 300
        for word in [name, "CSV" if "lz4" not in words and "LFS" not in words[0] else name, *words]:
            assert word in str(caught.value) or "page" in words[0] or "Git" in words[0]


def test_errors_of_wide_files_are_short(tmp_path: Path) -> None:
    header = ",".join(f"column_{number}" for number in range(3000))
    for text in (header + "\n1,2\n", "x" * 100_000 + "\n1\n", "user,item,rating," + header + "\n1,2\n"):
        with pytest.raises(InputError) as caught:
            load_ratings(put(tmp_path / "wide.csv", text))
        assert len(str(caught.value)) < 500
    with pytest.raises(InputError) as caught:
        load_ratings(tmp_path / "wide.csv", user="column_1" * 1000)
    assert len(str(caught.value)) < 600


def test_a_first_line_of_too_many_fields(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"u\.data, line 1: 6 fields .*expected 4"):
        load_ratings(put(tmp_path / "u.data", "1\t10\t5\t9\t9\t9\n2\t20\t3\t9\n"))


def test_empty_rows_of_a_spreadsheet_are_left_out(tmp_path: Path) -> None:
    text = "user,item,rating,note\n1,10,5,\n,,,\n2,20,3.5,x\n" + ",,,\n" * 5 + " , ,,later\n"
    data = load_ratings(put(tmp_path / "mine.csv", text))
    assert rows(data) == [[1, 2], [10, 20], [5, 3.5]]
    assert data.left_out == 7
    with pytest.raises(InputError, match=r"line 4, column 'rating': the rating 'x'"):
        load_ratings(put(tmp_path / "bad.csv", "user,item,rating\n1,1,1\n,,\n2,2,x\n"))


def test_an_id_is_one_however_its_chunk_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 40)
    text = "user,item,rating\n" + "1,55,5\n" * 20 + "2,55.0,4\n" * 20 + "3,x,3\n" * 20
    data = load_ratings(put(tmp_path / "mine.csv", text))
    assert data.items.tolist() == ["55"] * 40 + ["x"] * 20
    assert data.users.tolist() == [1] * 20 + [2] * 20 + [3] * 20
    with pytest.raises(InputError, match=r"line 42, column 'user': the user is missing \('nan' among numbers\)"):
        load_ratings(put(tmp_path / "nan.csv", text.replace("3,x", "nan,x") + "3,x,3\n" * 20))


def test_whole_numbers_that_became_floats_are_the_same_ids(tmp_path: Path) -> None:
    text = "userId,movieId,rating\n1.0,10,5\n2,20,3\n1,20,2\n"
    data = load_ratings(put(tmp_path / "gap.csv", text))
    assert data.users.tolist() == [1, 2, 1]
    floats = pl.read_csv(text.encode(), schema_overrides={"userId": pl.Float64})
    floats.write_parquet(tmp_path / "gap.parquet")
    assert load_ratings(tmp_path / "gap.parquet").users.tolist() == [1, 2, 1]
    later = load_ratings(put(tmp_path / "later.csv", "user,item,rating\n2.0,10.0,5\nx,20,3\n"))
    for known in ([1, 2, 10, 20], ["1", "2", "10", "20", "y"]):
        vocabulary = Vocabulary.build("id", known, unseen="shared")
        assert vocabulary.values[vocabulary.lookup(later.items, convert=True)].astype(str).tolist() == ["10", "20"]
        assert vocabulary.values[vocabulary.lookup(later.users[:1], convert=True)].astype(str).tolist() == ["2"]
