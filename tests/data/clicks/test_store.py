"""Prepared data: what a writer was given comes back, in batches of any order, and what is damaged is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import coset
from coset.data.clicks import ClickBatch, ClickData, ClickWriter, Feature, order
from coset.errors import InputError

FEATURES = [Feature("few", 3), Feature("many", 70_000), Feature("tags", 300, multi_hot=True)]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "BLOCK", 16)
    monkeypatch.setattr(order, "WINDOW", 100)


def rows(count: int, seed: int = 0) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(0, 4, count)
    return {
        "labels": draw.integers(0, 2, count),
        "numeric": np.stack([np.arange(count), draw.normal(size=count)], axis=1).astype(np.float32),
        "ids": [draw.integers(0, 3, count), draw.integers(0, 70_000, count)],
        "lists": {"tags": (draw.integers(0, 300, lengths.sum()), lengths)},
    }


def write(folder: Path, training: int = 1000, validation: int = 50, cut: int = 333) -> dict[str, Any]:
    given = {"training": rows(training), "validation": rows(validation, 1)}
    with ClickWriter(folder, "made", ("row", "number"), FEATURES, facts={"best_log_loss": 0.5}) as writer:
        for part, of in given.items():
            ends = np.concatenate([[0], np.cumsum(of["lists"]["tags"][1])])
            for start in range(0, len(of["labels"]), cut):
                at = slice(start, start + cut)
                lengths = of["lists"]["tags"][1][at]
                values = of["lists"]["tags"][0][ends[start] : ends[start] + lengths.sum()]
                writer.append(part, of["labels"][at], of["numeric"][at], [ids[at] for ids in of["ids"]],
                              {"tags": (values, lengths)})  # fmt: skip
    return given


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "made")
    return tmp_path / "made"


def check(batch: ClickBatch, given: dict[str, Any]) -> None:
    """Every row of a batch is the row of what was written that its first number says."""
    at = batch.numeric[:, 0].long().numpy()
    ends = np.concatenate([[0], np.cumsum(given["lists"]["tags"][1])])
    assert np.array_equal(batch.labels.numpy(), given["labels"][at])
    assert np.array_equal(batch.numeric.numpy(), given["numeric"][at])
    assert np.array_equal(batch.ids.numpy(), np.stack([ids[at] for ids in given["ids"]]))
    values, offsets = batch.bags["tags"]
    wanted = [given["lists"]["tags"][0][ends[row] : ends[row + 1]] for row in at]
    assert np.array_equal(values.numpy(), np.concatenate(wanted))
    assert np.array_equal(offsets.numpy(), np.cumsum([0, *map(len, wanted)])[:-1])
    assert (batch.labels.dtype, batch.numeric.dtype) == (torch.float32, torch.float32)
    assert {batch.ids.dtype, values.dtype, offsets.dtype} == {torch.int64}
    assert batch.ids.is_contiguous()
    assert batch.numeric.is_contiguous()


@pytest.mark.parametrize("batch_size", [1, 7, 100, 130, 5000])
@pytest.mark.parametrize("seed", [None, 3])
def test_all_rows_come_back(tmp_path: Path, batch_size: int, seed: int | None) -> None:
    given = write(tmp_path / "made")
    data = ClickData.open(tmp_path / "made")
    for name, of in given.items():
        part, seen = data.part(name), []
        for batch in part.batches(batch_size, seed=seed):
            check(batch, of)
            seen.append(batch.numeric[:, 0])
        assert [len(each) for each in seen[:-1]] == [batch_size] * (len(seen) - 1)
        assert len(seen) == part.num_batches(batch_size)
        places = torch.cat(seen).long()
        assert torch.equal(places.sort().values, torch.arange(len(part)))
        assert torch.equal(places, torch.arange(len(part))) == (seed is None)


def test_what_is_known_of_the_data(folder: Path) -> None:
    data = ClickData.open(folder)
    assert (data.name, data.numeric, data.synthetic) == ("made", ("row", "number"), False)
    assert data.parts == {"training": 1000, "validation": 50}
    assert (data.one_hot, data.multi_hot) == (("few", "many"), ("tags",))
    assert data.facts == {"best_log_loss": 0.5}
    assert [feature.num_embeddings for feature in data.features] == [3, 70_000, 300]
    given = rows(1000)
    for feature, ids in zip(data.features, [*given["ids"], given["lists"]["tags"][0]], strict=True):
        assert np.array_equal(feature.frequencies, np.bincount(ids, minlength=feature.num_embeddings))
        assert np.array_equal(data.part("training").column(feature.name), ids)
    assert data.part("training").column("few").dtype == np.uint8
    assert data.part("training").column("many").dtype == np.uint32
    assert data.part("validation").column("label").shape == (50,)
    assert data.fingerprint == ClickData.open(folder).fingerprint
    with pytest.raises(InputError, match="did you mean 'training'"):
        data.part("train")
    with pytest.raises(InputError, match="unknown column"):
        data.part("training").column("fewer")


def test_the_fingerprint_tells_other_values(tmp_path: Path) -> None:
    found = []
    for seed in (0, 1):
        with ClickWriter(tmp_path / str(seed), "made", (), [Feature("a", 9)]) as writer:
            writer.append("training", [0, 1], np.empty((2, 0)), [[seed, 5]])
        found.append(ClickData.open(tmp_path / str(seed)).fingerprint)
    assert found[0]["digest"] != found[1]["digest"]


@pytest.mark.parametrize("start", [0, 1, 13, 14, 15, 29, 142, 143, 144, 400])
def test_an_epoch_goes_on_where_it_is_told(folder: Path, start: int) -> None:
    part = ClickData.open(folder).part("training")
    whole = [batch.numeric for batch in part.batches(7, seed=1, epoch=2)]
    rest = [batch.numeric for batch in part.batches(7, seed=1, epoch=2, start=start)]
    assert len(rest) == len(whole[start:])
    assert all(torch.equal(left, right) for left, right in zip(whole[start:], rest, strict=True))


def test_a_thread_changes_nothing_and_ends(folder: Path) -> None:
    part = ClickData.open(folder).part("training")
    plain = [batch.ids for batch in part.batches(64, seed=0, read_ahead=0)]
    ahead = [batch.ids for batch in part.batches(64, seed=0, read_ahead=3)]
    assert all(torch.equal(left, right) for left, right in zip(plain, ahead, strict=True))
    begun = part.batches(64, seed=0)
    next(begun)
    assert "coset-read-ahead" in {thread.name for thread in threading.enumerate()}
    begun.close()  # type: ignore[attr-defined]
    assert "coset-read-ahead" not in {thread.name for thread in threading.enumerate()}


def test_what_goes_wrong_in_the_thread_is_raised(folder: Path) -> None:
    part = ClickData.open(folder).part("training")
    part.check()
    path = folder / "training" / "ids" / "many.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"many\.npy: cut off"):
        list(part.batches(64))
    with pytest.raises(InputError, match=r"many\.npy: has 4124 bytes, expected 4128 bytes"):
        ClickData.open(folder)
    path.unlink()
    with pytest.raises(InputError, match=r"many\.npy: no such file"):
        list(part.batches(64))
    with pytest.raises(InputError, match=r"many\.npy: is not there, expected 4128 bytes"):
        ClickData.open(folder)


def test_features_are_what_a_collection_takes(folder: Path, tmp_path: Path) -> None:
    data = ClickData.open(folder)
    batch = next(data.part("training").batches(32))
    tables = [(coset.Table(each.name, each.num_embeddings, 2), "full") for each in data.features]
    names = [each.name for each in data.features]
    found = coset.EmbeddingBagCollection(tables)(batch.features(names))
    assert {name: tuple(vectors.shape) for name, vectors in found.items()} == dict.fromkeys(names, (32, 2))
    with pytest.raises(InputError, match="but 2 names"):
        batch.features(names[:2])
    one_hot = ClickBatch(batch.labels, batch.numeric, batch.ids)
    assert one_hot.features(names[:2]) is batch.ids
    assert len(one_hot) == 32


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda data: data.part(["training"]), "unknown part"),
        (lambda data: data.vocabulary(None), "name of a feature must be text, not None"),
        (lambda data: data.check(3), "path must be text, not 3"),
        (lambda data: data.part("training").num_batches(0), "batch_size must be at least 1, not 0"),
        (lambda data: data.part("training").num_batches("3"), "batch_size must be a whole number, not '3'"),
        (lambda data: data.part("training").batches(2.5), "batch_size must be a whole number, not 2.5"),
        (lambda data: data.part("training").batches(None), "batch_size must be a whole number, not None"),
        (lambda data: data.part("training").batches(5, start="1"), "start must be a whole number"),
        (lambda data: data.part("training").batches(5, start=-1), "start must be at least 0, not -1"),
        (lambda data: data.part("training").batches(5, seed=0.5), "seed must be a whole number"),
        (lambda data: data.part("training").batches(5, epoch=None), "epoch must be a whole number"),
        (lambda data: data.part("training").batches(5, read_ahead="3"), "read_ahead must be a whole number"),
        (lambda data: data.part("training").batches(5, read_ahead=-1), "read_ahead must lie in 0 … 65536, not -1"),
    ],
)
def test_wrong_arguments_are_one_sentence(folder: Path, call: Callable[[ClickData], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call(ClickData.open(folder))


def test_no_rows_in_a_part(tmp_path: Path) -> None:
    with ClickWriter(tmp_path / "made", "made", (), [Feature("a", 9)]) as writer:
        writer.append("training", [0, 1], np.empty((2, 0)), [[1, 5]])
    data = ClickData.open(tmp_path / "made")
    assert list(data.part("validation").batches(4)) == []
    assert next(data.part("training").batches(4)).numeric.shape == (2, 0)


def test_folders_that_hold_no_prepared_data(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prepared data"):
        ClickData.open(tmp_path / "gone")
    path = folder / "prepared.json"
    told = json.loads(path.read_text())
    for change, words in (
        ({"version": 9}, "upgrade coset"),
        ({"format": "x"}, "not written by"),
        ({"version": 1}, "prepare the data again"),
        ({"version": "2"}, "version must be of type int"),
        ({"parts": 1}, "parts must be a table.*; restore it, or prepare the data again"),
        ({"parts": {"training": 1000}}, "damaged .parts must be the rows of training and validation"),
        ({"numeric": ["row"]}, "damaged .no feature has the column 'training/numeric/number.npy'"),
        ({"numeric": ["row", "number", "row"]}, "two columns are called 'row'"),
        (
            {"features": [{"name": "few"}]},
            r"features\[0\] needs num_embeddings, multi_hot, counted; restore it, or prepare the data again",
        ),
        ({"columns": {}}, "the column training/label.npy is not named"),
        ({"facts": {"best_log_loss": 0.1}}, "changed since it was written"),
        ({"name": "other"}, "changed since it was written"),
        ({"odd": 1}, "unknown field"),
    ):
        path.write_text(json.dumps(told | change))
        with pytest.raises(InputError, match=words):
            ClickData.open(folder)
    (folder / "training" / "label.npy").write_bytes(b"x" * 1128)
    path.write_text(json.dumps(told))
    with pytest.raises(InputError, match="not a column of prepared data"):
        list(ClickData.open(folder).part("training").batches(4))


@pytest.mark.parametrize("name", ["frequencies/many.npy", "training/ids/few.npy", "validation/numeric/row.npy"])
@pytest.mark.parametrize("damage", ["emptied", "another type", "another value", "no header"])
def test_every_file_is_compared_with_its_checksum_before_it_is_used(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    damaged = {
        "emptied": b"",
        "another type": whole.replace(b"<i8", b"<f8", 1).replace(b"|u1", b"|i1", 1).replace(b"<f4", b"<i4", 1),
        "another value": whole[:-1] + bytes([whole[-1] ^ 1]),
        "no header": whole.replace(b"descr", b"desc(", 1),
    }[damage]
    path.write_bytes(damaged)

    def read() -> Any:
        data, part = ClickData.open(folder), name.partition("/")[0]
        return data.features[1].frequencies if part == "frequencies" else data.part(part).column(path.stem)

    with pytest.raises(InputError, match=path.name):
        read()
    path.write_bytes(whole)
    data = ClickData.open(folder)
    assert data.features[1].frequencies is not None
    assert data.features[1].frequencies.sum() == 1000
    assert len(list(data.part("validation").batches(50))) == 1
