"""Preparing logs: equal to a plain reference, whatever the file's form, and the same however it is read."""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import zstandard

from coset.data.clicks import ClickData
from coset.data.clicks.prepare import prepare
from coset.data.clicks.schema import CRITEO_KAGGLE, ClickSchema
from coset.data.clicks.settings import PrepareSettings
from coset.data.clicks.vocabulary import ClickVocabulary
from coset.errors import InputError
from coset.partitions import MultiplyShift

Rows = Callable[..., list[list[str]]]
Text = Callable[[list[list[str]]], bytes]
Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def log(tmp_path: Path, criteo_rows: Rows, criteo_text: Text) -> Path:
    """A log of 500 rows."""
    path = tmp_path / "log.tsv"
    path.write_bytes(criteo_text(criteo_rows(500)))
    return path


def reference(rows: list[list[str]], training: list[bool], min_frequency: int = 1, size: int | None = None) -> Any:
    """Ids of every category column and standardised numbers, by plain Python; and the frequencies."""
    ids, frequencies = [], []
    for column in range(14, 40):
        values = [int(row[column], 16) if row[column] else None for row in rows]
        counts = Counter(value for value, trains in zip(values, training, strict=True) if trains)
        signed = {value: value for value in counts if value is not None}
        kept = sorted((value for value in signed if counts[value] >= min_frequency), key=lambda v: (-counts[v], v))
        known: list[int | None] = list(kept[:size])
        if counts[None]:
            place = sum(counts[value] >= counts[None] for value in known)
            known.insert(place, None)
        number = {value: place for place, value in enumerate(known)}
        ids.append([number.get(value, len(known)) for value in values])
        often = [counts[value] for value in known]
        frequencies.append([*often, sum(counts.values()) - sum(often)])
    numbers = []
    for column in range(1, 14):
        values_ = [float(row[column]) if row[column] else None for row in rows]
        logs = [None if v is None else math.copysign(math.log1p(abs(v)), v) for v in values_]
        of = [v for v, trains in zip(logs, training, strict=True) if trains and v is not None]
        mean = sum(of) / len(of)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in of) / len(of))
        numbers.append([0.0 if v is None else (v - mean) / deviation for v in logs])
    return np.array(ids), frequencies, np.array(numbers).T


def whole(data: ClickData, part: str) -> Any:
    """Labels, numbers and ids of a part."""
    (batch,) = data.part(part).batches(10_000)
    return batch.labels.numpy(), batch.numeric.numpy(), batch.ids.numpy()


@pytest.mark.parametrize(("least", "size"), [(1, None), (3, None), (1, 7), (2, 5)])
def test_equals_a_plain_reference(
    tmp_path: Path, criteo_rows: Rows, criteo_text: Text, least: int, size: int | None
) -> None:
    rows = criteo_rows(500)
    (tmp_path / "log.tsv").write_bytes(criteo_text(rows))
    settings = PrepareSettings("ordered", 0.2, min_frequency=least, max_size=size)
    found = prepare(tmp_path / "log.tsv", tmp_path / "out", settings=settings)
    training = [True] * 400 + [False] * 100
    ids, frequencies, numbers = reference(rows, training, least, size)
    data = ClickData.open(tmp_path / "out")
    assert found["parts"] == data.parts == {"training": 400, "validation": 100}
    missing = [f"I{place}:missing" for place in range(1, 14)]
    assert data.numeric == (*CRITEO_KAGGLE.numeric, *missing)
    for part, at in (("training", slice(400)), ("validation", slice(400, None))):
        labels, of_numbers, of_ids = whole(data, part)
        assert np.array_equal(labels, [int(row[0]) for row in rows[at]])
        assert np.array_equal(of_ids, ids[:, at])
        assert np.allclose(of_numbers[:, :13], numbers[at], atol=1e-5)
        assert np.array_equal(of_numbers[:, 13:], [[float(not field) for field in row[1:14]] for row in rows[at]])
    for feature, wanted in zip(data.features, frequencies, strict=True):
        assert feature.frequencies is not None
        assert feature.frequencies.tolist() == wanted, feature.name
        assert feature.num_embeddings == len(wanted)


def test_a_random_split_shares_rows_out(tmp_path: Path, log: Path) -> None:
    data = []
    for seed in (0, 0, 1):
        out = tmp_path / str(len(data))
        prepare(log, out, settings=PrepareSettings(validation=0.3, seed=seed))
        data.append(ClickData.open(out))
    assert sum(data[0].parts.values()) == 500
    assert 100 < data[0].parts["validation"] < 200
    assert data[0].fingerprint == data[1].fingerprint != data[2].fingerprint
    with pytest.raises(InputError, match="no training rows"):
        prepare(log, tmp_path / "none", settings=PrepareSettings(validation=0.999999))


def test_no_validation(tmp_path: Path, log: Path) -> None:
    for split in ("random", "ordered"):
        settings = PrepareSettings(split, 0.0)  # type: ignore[arg-type]
        assert prepare(log, tmp_path / split, settings=settings)["parts"] == {"training": 500, "validation": 0}


def frames(data: bytes) -> bytes:
    pack = zstandard.ZstdCompressor().compress
    return pack(data[:1000]) + pack(data[1000:])


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("log.gz", gzip.compress),
        ("log.zst", frames),
        ("log", lambda data: data.replace(b"\n", b"\r\n")),
        ("log", lambda data: data[:-1]),
        ("log", lambda data: b"\xef\xbb\xbf" + data),
        ("log", lambda data: b"\n" + data.replace(b"\n", b"\n\n")),
        ("log", lambda data: data.upper().replace(b"\t", b" \t ")),
        ("log", lambda data: gzip.compress(data[:5000]) + gzip.compress(data[5000:])),
    ],
    ids=["gzip", "zstd", "crlf", "no last line feed", "mark", "blank lines", "blanks and upper case", "two gzips"],
)
def test_the_form_of_the_file_does_not_matter(
    tmp_path: Path, log: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch, name: str, pack: Any
) -> None:
    prepare(log, tmp_path / "plain", name="log")
    (tmp_path / name).write_bytes(pack(log.read_bytes()))
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 3000)
    prepare(tmp_path / name, tmp_path / "other", name="log", threads=3)
    plain, other = contents(tmp_path / "plain"), contents(tmp_path / "other")
    del plain["prepare.json"], other["prepare.json"]  # which tells the files apart
    assert plain == other


def test_a_folder_is_read_in_the_order_of_names(
    tmp_path: Path, log: Path, criteo_rows: Rows, criteo_text: Text, contents: Contents
) -> None:
    folder = tmp_path / "days"
    folder.mkdir()
    rows = criteo_rows(500)
    (folder / "day_1.tsv.gz").write_bytes(gzip.compress(criteo_text(rows[200:])))
    (folder / "day_0.tsv").write_bytes(criteo_text(rows[:200]))
    (folder / "notes.md").write_text("mine")
    prepare(log, tmp_path / "one", name="log")
    prepare(folder, tmp_path / "two", name="log")
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    del one["prepare.json"], two["prepare.json"]
    assert one == two


SCHEMA = ClickSchema(
    "y", ("n", "m"), ("who", "what", "code"), ("tags", "marks"),
    types={"what": "integer", "code": "hex", "marks": "integer"},
)  # fmt: skip
CSV = '''what,who,y,n,m,tags,code,marks,unused
7,ann,1,1.5,,a|b,ff,1|2,x
-7,"bo,b",0,-2.25e1,3,,FF,,x
7,"say ""hi""",1,,4,b||c,0123456789abcdef0123,9223372036854775807,x
,,0,.5,1e-3,c,,-1|-1,x
007,"",1,+0,5,"a|b",123456789ABCDEF0123,2,x
7,ann,1,10,0,é,f,1,x
'''


def test_a_csv_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(CSV, encoding="utf-8")
    settings = PrepareSettings("ordered", 0.0, log=False, standardise=False)
    prepare(tmp_path / "own.csv", tmp_path / "out", SCHEMA, settings)
    data = ClickData.open(tmp_path / "out")
    (batch,) = data.part("training").batches(10)
    assert data.numeric == ("n", "m", "n:missing", "m:missing")
    assert batch.labels.tolist() == [1, 0, 1, 0, 1, 1]
    numbers = [[1.5, 0, 0, 1], [-22.5, 3, 0, 0], [0, 4, 1, 0], [0.5, np.float32(0.001), 0, 0], [0, 5, 0, 0]]
    assert batch.numeric[:5].tolist() == numbers
    who = ClickVocabulary.load(tmp_path / "out" / "vocabularies" / "who.safetensors")
    assert (who.texts(), who.missing, who.shared) == (["ann", "bo,b", 'say "hi"'], 1, 4)
    assert batch.ids[0].tolist() == [0, 2, 3, 1, 1, 0]  # "" is missing, too
    assert batch.ids[1].tolist() == [0, 1, 0, 2, 0, 0]  # 7 and 007 are one number; the missing one is another
    assert batch.ids[2, 0] == batch.ids[2, 1]
    assert batch.ids[2, 2] == batch.ids[2, 4]  # of 19 digits, zeros in front not counted
    assert len({batch.ids[2, row].item() for row in (0, 2, 3, 5)}) == 4
    values, offsets = batch.bags["tags"]
    tags = ClickVocabulary.load(tmp_path / "out" / "vocabularies" / "tags.safetensors").texts()
    assert [tags[value] for value in values.tolist()] == ["a", "b", "b", "c", "c", "a", "b", "é"]
    assert offsets.tolist() == [0, 2, 2, 4, 5, 7]
    assert batch.bags["marks"][1].tolist() == [0, 2, 2, 3, 5, 6]
    marks = ClickVocabulary.load(tmp_path / "out" / "vocabularies" / "marks.safetensors")
    assert marks.texts()[int(batch.bags["marks"][0][2])] == "9223372036854775807"


def test_parquet_gives_what_text_gives(tmp_path: Path, contents: Contents) -> None:
    (tmp_path / "own.csv").write_text(CSV, encoding="utf-8")
    lists = {"tags": [["a", "b"], [], ["b", "c"], ["c"], ["a", "b"], ["é"]],
             "marks": [[1, 2], None, [2**63 - 1], [-1, None, -1], [2], [1]]}  # fmt: skip
    frame = pl.DataFrame(
        {
            "what": [7, -7, 7, None, 7, 7],
            "who": ["ann", "bo,b", 'say "hi"', None, "", "ann"],
            "y": [True, False, True, False, True, True],
            "n": [1.5, -22.5, None, 0.5, 0, 10],
            "m": [None, 3.0, 4, 1e-3, 5, 0],
            "code": ["ff", "FF", "0123456789abcdef0123", None, "123456789ABCDEF0123", "f"],
            **lists,
        }
    )
    frame.write_parquet(tmp_path / "own.parquet")
    for ending in ("csv", "parquet"):
        prepare(tmp_path / f"own.{ending}", tmp_path / ending, SCHEMA, PrepareSettings("ordered", 0.2), name="own")
    csv, parquet = contents(tmp_path / "csv"), contents(tmp_path / "parquet")
    del csv["prepare.json"], parquet["prepare.json"]
    assert csv == parquet


def test_hashing_is_the_documented_one(tmp_path: Path) -> None:
    """FNV-1a of texts, then the hash of partitions; a missing category has the bucket after the last."""
    words = ["a", "foobar", "é", ""]
    (tmp_path / "own.csv").write_text("y,w,n\n" + "".join(f"1,{word},{-5 - k}\n" for k, word in enumerate(words)))
    schema = ClickSchema("y", categorical=("w", "n"), types={"n": "integer"})
    settings = PrepareSettings("ordered", 0.0, hashing={"*": 1000}, hash_seed=3)
    prepare(tmp_path / "own.csv", tmp_path / "out", schema, settings)
    data = ClickData.open(tmp_path / "out")
    (batch,) = data.part("training").batches(10)
    keys = []
    for word in words[:3]:
        key = 0xCBF29CE484222325
        for byte in word.encode():
            key = (key ^ byte) * 0x100000001B3 % 2**64
        keys.append(key)
    assert keys[:2] == [0xAF63DC4C8601EC8C, 0x85944171F73967E8]  # published values
    rows = MultiplyShift(1000, 3)(np.array(keys, dtype=np.uint64).view(np.int64))
    assert batch.ids[0].tolist() == [*rows.tolist(), 1000]
    assert batch.ids[1].tolist() == MultiplyShift(1000, 3)(np.array([-5, -6, -7, -8])).tolist()
    assert [feature.num_embeddings for feature in data.features] == [1001, 1001]
    assert data.features[0].frequencies is not None
    assert data.features[0].frequencies.sum() == 4
    assert not (tmp_path / "out" / "vocabularies").exists()


def test_hashing_of_some_features(tmp_path: Path, log: Path) -> None:
    prepare(log, tmp_path / "out", settings=PrepareSettings(hashing={"C3": 50, "C4": 60}))
    sizes = [feature.num_embeddings for feature in ClickData.open(tmp_path / "out").features]
    assert sizes[2:4] == [51, 61]
    with pytest.raises(InputError, match="did you mean 'C3'"):
        prepare(log, tmp_path / "other", settings=PrepareSettings(hashing={"C33": 50}))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_a_split_by_time(tmp_path: Path, share: float) -> None:
    draw = np.random.default_rng(0)
    times = np.round(draw.normal(0, 1000, 400))
    lines = [f"{row % 2},{row},{time:g}\n" for row, time in enumerate(times)]
    (tmp_path / "own.csv").write_text("y,row,t\n" + "".join(lines))
    schema = ClickSchema("y", categorical=("row",), category_type="integer", time="t")
    found = prepare(tmp_path / "own.csv", tmp_path / "out", schema, PrepareSettings("time", share))
    vocabulary = ClickVocabulary.load(tmp_path / "out" / "vocabularies" / "row.safetensors")
    training = [int(text) for text in vocabulary.texts()]
    validation = np.setdiff1d(np.arange(400), training)
    assert found["parts"]["validation"] == len(validation) == 400 - len(training)
    assert 400 * share <= len(validation) <= 400 * share + 4
    if len(validation):
        assert times[training].max() < times[validation].min()


def test_unseen_categories_can_be_refused(tmp_path: Path) -> None:
    lines = [f"1,{category}\n" for category in "abcabcabcd"]
    (tmp_path / "own.csv").write_text("y,c\n" + "".join(lines))
    schema = ClickSchema("y", categorical=("c",))
    settings = PrepareSettings("ordered", 0.1, unseen="error")
    with pytest.raises(InputError, match=r"feature 'c', row 9 .*a category that no training row has"):
        prepare(tmp_path / "own.csv", tmp_path / "out", schema, settings)
    prepare(tmp_path / "own.csv", tmp_path / "shared", schema, PrepareSettings("ordered", 0.1))
    assert whole(ClickData.open(tmp_path / "shared"), "validation")[2].tolist() == [[3]]
    (tmp_path / "own.csv").write_text("y,c\n" + "".join(lines[:9]))
    prepare(tmp_path / "own.csv", tmp_path / "known", schema, settings)
    assert ClickData.open(tmp_path / "known").features[0].num_embeddings == 3


def test_vocabularies_look_categories_up(tmp_path: Path, log: Path) -> None:
    prepare(log, tmp_path / "out", settings=PrepareSettings("ordered", 0.2, min_frequency=2))
    vocabulary = ClickVocabulary.load(tmp_path / "out" / "vocabularies" / "C7.safetensors")
    column = ClickData.open(tmp_path / "out").part("validation").column("C7")
    raw = [line.split("\t")[20] for line in log.read_text().splitlines()[400:]]
    assert np.array_equal(vocabulary.lookup(raw), column)
    assert vocabulary.lookup([None, ""]).tolist() == [vocabulary.missing] * 2
    assert vocabulary.lookup(["123456"]).tolist() == [vocabulary.shared]
    with pytest.raises(InputError, match="'xyz' is not of type hex"):
        vocabulary.lookup(["xyz"])
    with pytest.raises(InputError, match="no such file"):
        ClickVocabulary.load(tmp_path / "gone.safetensors")


def test_the_real_sample(tmp_path: Path, criteo_sample: Path) -> None:
    found = prepare("criteo-kaggle", tmp_path / "out", settings=PrepareSettings("ordered", 0.1))
    assert (found["data"], found["rows"], found["skipped"]) == ("criteo-kaggle", 10_000, 0)
    assert sum(feature["distinct"] for feature in found["features"]) == 43_579
    rows = [line.split("\t") for line in criteo_sample.read_text().splitlines()]
    ids, frequencies, numbers = reference(rows, [row < 9000 for row in range(10_000)])
    labels, of_numbers, of_ids = whole(ClickData.open(tmp_path / "out"), "training")
    assert np.array_equal(of_ids, ids[:, :9000])
    assert np.allclose(of_numbers[:, :13], numbers[:9000], atol=1e-5)
    assert labels.sum() == sum(int(row[0]) for row in rows[:9000])
    assert [len(of) for of in frequencies] == [feature["num_embeddings"] for feature in found["features"]]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    import threading

    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("coset-")] == []


@pytest.mark.parametrize("hashing", [None, {"C2": 30}])
def test_later_data_get_the_ids_and_means_of_earlier_ones(
    tmp_path: Path, criteo_rows: Rows, criteo_text: Text, hashing: dict[str, int] | None
) -> None:
    rows = criteo_rows(500)
    for name, of in (("all", rows), ("early", rows[:400]), ("late", rows[400:])):
        (tmp_path / f"{name}.tsv").write_bytes(criteo_text(of))
    settings = PrepareSettings("ordered", 0.2, min_frequency=2, hashing=hashing)
    prepare(tmp_path / "all.tsv", tmp_path / "all", settings=settings)
    early = PrepareSettings("ordered", 0.0, min_frequency=2, hashing=hashing)
    prepare(tmp_path / "early.tsv", tmp_path / "early", settings=early)
    found = prepare(tmp_path / "late.tsv", tmp_path / "late", like=tmp_path / "early")
    assert found["parts"] == {"training": 0, "validation": 100}
    whole_, late = ClickData.open(tmp_path / "all"), ClickData.open(tmp_path / "late")
    for left, right in zip(whole(whole_, "validation"), whole(late, "validation"), strict=True):
        assert np.array_equal(left, right)
    assert late.numeric == whole_.numeric
    for one, other in zip(whole_.features, late.features, strict=True):
        assert one.frequencies is not None
        assert other.frequencies is not None
        assert np.array_equal(one.frequencies, other.frequencies)
    assert late.facts["like"] == ClickData.open(tmp_path / "early").fingerprint["digest"]
    again = prepare(tmp_path / "late.tsv", tmp_path / "later", like=tmp_path / "late")  # of what is like it, too
    assert again["parts"] == found["parts"]
    with pytest.raises(InputError, match="leave settings out"):
        prepare(tmp_path / "late.tsv", tmp_path / "no", settings=early, like=tmp_path / "early")
    with pytest.raises(InputError, match="another schema"):
        prepare(tmp_path / "late.tsv", tmp_path / "no", ClickSchema("y", ("n",)), like=tmp_path / "early")


def test_wrong_arguments_are_refused_before_anything_is_read(tmp_path: Path, log: Path) -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"missing": "NA"}, "missing must be a list, not 'NA'"),
        ({"missing": 3}, "missing must be a list, not 3"),
        ({"settings": "x"}, "settings must be PrepareSettings, not 'x'"),
        ({"name": 3}, "name must be text, not 3"),
    )
    for given, said in wrong:
        with pytest.raises(InputError, match=said):
            prepare(log, tmp_path / "out", "criteo-kaggle", **given)
        assert not (tmp_path / "out").exists()
