"""Artifacts: what is written is read again, in whole, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import coset
from coset import ledger
from coset.artifact import load_artifact, numbering
from coset.artifact.format import MANIFEST, TABLES, VOCABULARIES
from coset.data import load_ratings
from coset.data.vocabulary import Vocabulary
from coset.errors import InputError
from coset.formulas import Formula
from coset.methods import registered
from coset.storage import Packed
from coset.storage.base import STORAGES as KINDS
from coset.tasks import task_class
from tests.artifact.cases import ITEMS, STORAGES, USERS, model_of, table, variants, vocabulary, write
from tests.training.runs import execute, spec_of


@pytest.mark.parametrize("name", STORAGES)
def test_a_model_of_any_method_comes_back(name: str, tmp_path: Path) -> None:
    pairs = torch.arange(USERS).repeat_interleave(ITEMS), torch.arange(ITEMS).repeat(USERS)
    for number, method in enumerate(variants(name)):
        model = model_of({"item": method}, number)
        found = write(folder := tmp_path / str(number), model)
        again = load_artifact(folder)
        assert torch.equal(again.model.predict(*pairs), model.predict(*pairs)), method
        sizes = {table: of["bytes"] for table, of in again.manifest["tables"].items()}
        assert sizes["item"] == method.bytes(table("item", ITEMS)) == found["tables"]["item"], method
        assert found["model"] == ledger.inference_bytes(model.components()), method
        assert json.loads((folder / MANIFEST).read_text()) == again.manifest


@pytest.mark.parametrize(
    "choices",
    [{"biases": False, "output": "sigmoid"}, {"embedding_dim": 0}, {"bias_ids": (3, 0)}, {"history": True}],
    ids=str,
)
def test_a_model_of_other_terms_comes_back(choices: dict[str, Any], tmp_path: Path) -> None:
    model = model_of({}, **choices)
    write(tmp_path / "a", model)
    pairs = torch.arange(USERS).repeat_interleave(ITEMS), torch.arange(ITEMS).repeat(USERS)
    assert torch.equal(load_artifact(tmp_path / "a").model.predict(*pairs), model.predict(*pairs))


def test_a_run_is_exported(small_csv: Path, tmp_path: Path, coset: Callable[..., Any]) -> None:
    """Its metrics with the spread over the seeds beside it, its size, and its ids."""
    ratings = load_ratings(small_csv)
    for seed in (3, 4):
        execute(spec_of(seed=seed), tmp_path / f"seed-{seed}", ratings)
    done = coset("export", tmp_path / "seed-3", "--out", tmp_path / "small", "--licence", "of nobody", "--json")
    found, again = json.loads(done.out), load_artifact(tmp_path / "small")
    assert found["files"] == {path.name: path.stat().st_size for path in (tmp_path / "small").iterdir()}
    metrics = json.loads((tmp_path / "seed-3" / "metrics.json").read_text())
    assert (found["model"], found["full"]) == (metrics["bytes"], (60 + 40) * 5 * 4 + 4)
    scores = again.manifest["scores"]
    assert scores["metrics"]["val_mse"] == metrics["history"][-1]["val_mse"]
    assert (scores["seeds"], set(scores["spread"])) == ([3, 4], {"train_mse", "train_mae", "val_mse", "val_mae"})
    assert again.ids["user"].tolist() == Vocabulary.load(tmp_path / "seed-3" / "user.safetensors").values.tolist()
    card = (tmp_path / "small" / "README.md").read_text()
    assert all(said in card for said in ("of nobody", f"{metrics['bytes']:,}", "seeds 3, 4", "| user | 60 | 4 |"))
    assert coset("export", tmp_path / "seed-3", "--out", tmp_path / "small").code == 2
    assert coset("export", tmp_path / "seed-3", "--out", tmp_path / "nowhere" / "deep" / "small").code == 0
    assert not list(tmp_path.rglob("*.coset-part"))


def test_a_run_of_another_task_says_that_it_makes_none() -> None:
    with pytest.raises(InputError, match="the task clicks makes no artifacts"):
        task_class("clicks").revived({}, {})


@pytest.mark.parametrize("occupied", ["a file", "a folder with a file"])
def test_what_is_there_stays(occupied: str, tmp_path: Path) -> None:
    out = tmp_path / "a"
    if occupied == "a file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        write(out, model_of({}))
    assert (out if out.is_file() else out / "mine").read_text() == "mine"


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coset.artifact.writing.card", lambda manifest: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "a", model_of({}))
    assert list(tmp_path.iterdir()) == []


def test_equal_models_have_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / name, model_of({"item": coset.TensorTrain(2, storage=Packed(4))}))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_tables_that_share_an_array_hold_it_once(tmp_path: Path) -> None:
    methods = {name: coset.Robe(40, 3, "both") for name in ("user", "item")}
    write(tmp_path / "a", model := model_of(methods))
    again = load_artifact(tmp_path / "a")
    assert {"embeddings.shared.both"} < again.manifest["arrays"].keys()
    assert torch.equal(
        again.model(torch.tensor([1]), torch.tensor([2]))[0], model(torch.tensor([1]), torch.tensor([2]))[0]
    )


def test_a_storage_of_another_package(tmp_path: Path, installed: Callable[..., None]) -> None:
    installed(KINDS, "centred")
    model = model_of({"item": {"method": "full", "storage": {"storage": "centred"}}})
    write(tmp_path / "a", model)
    pairs = torch.arange(USERS), torch.arange(USERS)
    assert torch.equal(load_artifact(tmp_path / "a").model.predict(*pairs), model.predict(*pairs))


def test_what_does_not_say_what_it_computes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coset.methods.base import Method

    def formula(self: Any, table: Any) -> Formula:
        return Method.formula(self, table)

    monkeypatch.setattr(registered()["robe"], "formula", formula)
    with pytest.raises(InputError, match=r"table 'item' cannot be exported: method 'robe' does not say"):
        write(tmp_path / "a", model_of({"item": coset.Robe(40)}))
    assert list(tmp_path.iterdir()) == []


# -- vocabularies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "most"),
    [
        ([5], 8),
        (range(1, 6041), 8),
        (range(6040, 0, -1), 8 + 2 * 6040),
        ([*range(0, 900, 3)], 8 + 2 * 300),
        ([-(2**63), 2**63 - 1, 0], 8 + 3 * 8 + 3),
        ([1 << 40, (1 << 40) + 5, 7, 9, -2], 8 + 5 * 8 + 5),
        (range(0, 1_000_000, 1000), 8 * 16 + 2 * 1000),
        (["b", "a", "aé", "", "\0", "模型"], 12 + 7 + 6),
    ],
    ids=range(8),
)  # fmt: skip
def test_a_vocabulary_comes_back_in_few_bytes(values: Any, most: int) -> None:
    kept = (
        np.array([*values, None], object)[:-1] if isinstance(next(iter(values)), str) else np.array([*values], np.int64)
    )
    told = Vocabulary("v", kept, np.zeros(len(kept), np.int64))
    of, arrays = numbering.encoded("v", told)
    assert sum(array.nbytes for array in arrays.values()) <= most
    assert numbering.decoded(of, arrays).tolist() == kept.tolist()


# -- damage ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact") / "good"
    write(folder, model_of({"item": coset.Full(storage=Packed(4))}), "text")
    return folder


def copied(good: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in good.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("name", [MANIFEST, TABLES, VOCABULARIES])
def test_a_missing_or_changed_file_is_named(name: str, good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "a")
    whole = (folder / name).read_bytes()
    for changed in (whole[:-1], whole + b" ", whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]):
        (folder / name).write_bytes(changed)
        with pytest.raises(InputError, match=name):
            load_artifact(folder)
    os.unlink(folder / name)
    with pytest.raises(InputError, match=name):
        load_artifact(folder)


def test_a_newer_version_is_refused(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "a")
    text = (folder / MANIFEST).read_text().replace('"version": 1', '"version": 2', 1)
    (folder / MANIFEST).write_text(text)
    with pytest.raises(InputError, match=r"version 2, and this coset reads versions up to 1; update coset"):
        load_artifact(folder)


def test_the_card_may_be_edited(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "a")
    (folder / "README.md").write_text("mine")
    assert len(load_artifact(folder).ids["item"]) == len(vocabulary("item", ITEMS, "text"))


def test_a_command_on_runs_says_what_reads_an_artifact(tmp_path: Path, coset: Callable[..., Any]) -> None:
    write(tmp_path / "small", model_of({}))
    said = coset("evaluate", tmp_path / "small", "r.csv").sentence
    assert said.endswith("; it looks like an artifact, which coset.load_artifact or load_compressed reads")
