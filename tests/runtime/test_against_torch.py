"""The runtime gives what torch gives: vectors, predictions and the best items, of any method and storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import coset
import coset_runtime
from coset.storage.base import STORAGES as KINDS
from tests.artifact.cases import ITEMS, STORAGES, USERS, model_of, variants, vocabulary, write

PAIRS = torch.arange(USERS).repeat_interleave(ITEMS), torch.arange(ITEMS).repeat(USERS)


def check(model: Any, folder: Path, kind: str = "numbers", unseen: str = "error") -> Any:
    """The artifact of a model predicts what the model predicts, and recommends what it predicts best."""
    runtime = coset_runtime.load(folder)
    users, items = (vocabulary(name, n, kind, unseen).values for name, n in (("user", USERS), ("item", ITEMS)))
    known = [at < len(of) for at, of in zip(PAIRS, (users, items), strict=True)]
    pairs = [at[known[0] & known[1]] for at in PAIRS]
    found = runtime.score(users[pairs[0].numpy()], items[pairs[1].numpy()])
    expected = model.predict(*pairs).numpy()
    assert np.abs(found - expected).max() <= 1e-6 * max(1, np.abs(expected).max())
    for name, table in (("user", model.user), ("item", model.item)):
        if model.embeddings is not None:
            raw = users if name == "user" else items
            vectors = model.embeddings.tables[table.name].lookup(torch.arange(len(raw))).detach().float().numpy()
            assert np.abs(runtime.lookup(name, raw) - vectors).max() <= 1e-6 * max(1, np.abs(vectors).max())
    scores = raw_scores(model, len(users), len(items))
    best = runtime.recommend(users, 7)
    assert best.users.tolist() == np.repeat(users, 7).tolist()
    at = {raw: place for place, raw in enumerate(items.tolist())}
    for user in range(len(users)):
        chosen = [at[raw] for raw in best.items[7 * user : 7 * user + 7].tolist()]
        ideal = np.lexsort((np.arange(len(items)), -scores[user]))[:7].tolist()
        gaps = np.abs(scores[user][chosen] - scores[user][ideal])  # equal but where scores are, up to rounding
        assert len({*chosen}) == 7
        assert gaps.max() <= 2e-6 * max(1, np.abs(scores[user]).max()), (user, chosen, ideal)
    return runtime


def raw_scores(model: Any, users: int, items: int) -> np.ndarray:
    """What predictions are made of, before they are cut to the range."""
    low, high = model.low, model.high
    with torch.no_grad():
        found = model(*PAIRS).prediction.double().reshape(USERS, ITEMS)
    if model.settings.output == "sigmoid":
        found = torch.logit((found - low) / (high - low))
    return np.asarray(found.numpy()[:users, :items])


@pytest.mark.parametrize("name", STORAGES)
def test_every_method_and_storage(name: str, tmp_path: Path) -> None:
    for number, method in enumerate(variants(name)):
        model = model_of({"item": method, "user_bias": coset.Full(storage=STORAGES[name])}, number)
        write(tmp_path / str(number), model)
        try:
            check(model, tmp_path / str(number))
        except AssertionError as error:
            raise AssertionError(f"{method}: {error}") from error


@pytest.mark.parametrize(
    "choices",
    [
        {"biases": False, "output": "sigmoid"}, {"embedding_dim": 0}, {"bias_ids": (3, 0)}, {"history": True},
        {"history": True, "biases": False}, {"low": -3.0, "high": 7.5},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["numbers", "text"])
def test_models_of_other_terms(choices: dict[str, Any], kind: str, tmp_path: Path) -> None:
    write(tmp_path / "a", model := model_of({}, **choices), kind, "shared")
    check(model, tmp_path / "a", kind, "shared")


def test_several_vectors_on_both_sides(tmp_path: Path) -> None:
    methods = {"user": coset.FeatureGeneration((5, 5)), "item": coset.FeatureGeneration((4, 4, 4))}
    for number, history in enumerate((False, True)):
        model = model_of({**methods, **({"rated_item": methods["item"]} if history else {})}, history=history)
        write(tmp_path / str(number), model)
        check(model, tmp_path / str(number))


def test_a_storage_of_another_package(tmp_path: Path, installed: Callable[..., None]) -> None:
    installed(KINDS, "centred")
    write(tmp_path / "a", model := model_of({"item": {"method": "full", "storage": {"storage": "centred"}}}))
    check(model, tmp_path / "a")


def test_tables_that_share_an_array(tmp_path: Path) -> None:
    write(tmp_path / "a", model := model_of({name: coset.Robe(40, 3, "both") for name in ("user", "item")}))
    check(model, tmp_path / "a")


def test_blocks_within_blocks_and_an_order(tmp_path: Path) -> None:
    inner = coset.Blocks((4,), (coset.Full(), coset.DeepHash(4, 6)))
    whole = coset.Blocks((20, 30), (coset.AttributePartitions(number=True), inner, coset.Hashing(5)))
    write(tmp_path / "a", model := model_of({"item": whole}))
    check(model, tmp_path / "a")


def test_ratings_come_back_from_their_transform(tmp_path: Path) -> None:
    write(tmp_path / "a", model := model_of({}), rating_transform="log")
    runtime = coset_runtime.load(tmp_path / "a")
    users, items = (vocabulary(name, n).values for name, n in (("user", USERS), ("item", ITEMS)))
    found = runtime.score(users[:5], items[:5])
    expected = np.expm1(model.predict(torch.arange(5), torch.arange(5)).double().numpy())
    assert np.abs(found - expected).max() <= 1e-6 * expected.max()
