"""Changed artifacts: every one is a clear error, or gives what the unchanged one gives.

Where the checksums are made anew, so that contents contradict each other, it is a clear error or some answer of the
right shape; nothing else is known of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import coset
import coset_runtime
from coset.artifact import load_artifact
from coset.artifact.format import FILES, MANIFEST, TABLES, VOCABULARIES, write_manifest
from tests.artifact.cases import USERS, model_of, vocabulary, write
from tests.fuzz import mutate

KINDS = ("numbers", "text")
K = 5


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Artifacts with much in them, by the kind of their ids."""
    folder = tmp_path_factory.mktemp("good")
    packed = coset.Packed(3, step="block", block=2, step_dtype="float16")
    inner = coset.AttributePartitions(number=True, storage=coset.Dense("bfloat16"))
    items = coset.Blocks((9, 30), (coset.LowRank(3, storage=packed), inner, coset.DeepHash(4, 6)))
    users = coset.Robe(31, 3, storage=coset.Packed(8))
    rated, text = coset.HashEmbedding(9), model_of({"item": coset.TensorTrain(2), "user": coset.PathBased((6, 4), 3)})
    write(folder / "numbers", model_of({"item": items, "user": users, "rated_item": rated}, history=True))
    write(folder / "text", text, "text", "shared")
    return {kind: folder / kind for kind in KINDS}


def used(folder: Path, kind: str) -> list[list[Any]]:
    """What a model gives, where it knows the users that it knew."""
    model, users = coset_runtime.load(folder), vocabulary("user", USERS - 1, kind).values
    given = users[model.vocabularies["user"].find(users, unknown=True) >= 0][:6]
    best = model.recommend(given, K)
    found = [*best, model.score(best.users, best.items), model.lookup("item", best.items)]
    return [of.tolist() for of in found]


def ended(use: Callable[[], Any], error: type[Exception] = coset_runtime.InputError) -> Any:
    """What a use gives, or the sentence of its error."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return use()
        except error as raised:
            return str(raised)


def is_sentence(text: str) -> bool:
    return "\n" not in text and 10 < len(text) < 2000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", range(4))
def test_changed_files_are_refused(part: int, kind: str, good: dict[str, Path], tmp_path: Path) -> None:
    """Bytes flipped, replaced and cut; files swapped with those of another artifact, missing, or empty."""
    right, folder = used(good[kind], kind), tmp_path / "a"
    names = (MANIFEST, *FILES)
    for seed in range(25 * part, 25 * part + 25):
        draw = Random(seed)
        shutil.copytree(good[kind], folder)
        path = folder / draw.choice(names)
        before, how = path.read_bytes(), draw.randrange(6)
        if how < 2:
            path.write_bytes(mutate.bit(draw, before))
        elif how < 4:
            path.write_bytes(mutate.text(draw, before))
        elif how == 4:
            other = good[KINDS[1 - KINDS.index(kind)]] if draw.random() < 0.5 else folder
            path.write_bytes((other / draw.choice(names)).read_bytes())
        elif draw.random() < 0.5:
            path.unlink()
        else:
            path.write_bytes(b"")
        same = path.exists() and path.read_bytes() == before
        found = ended(lambda: used(folder, kind))
        assert found == right if same else isinstance(found, str), (seed, path.name)
        assert isinstance(found, list) or (str(folder) in found and is_sentence(found)), (seed, found)
        shutil.rmtree(folder)


def changed(draw: Random, folder: Path) -> str:
    """Change what an artifact says or holds, and make its checksums fit."""
    manifest = json.loads((folder / MANIFEST).read_text())
    sections = {key: of for key, of in manifest.items() if key not in ("format", "version", "checksum", "files")}
    how = draw.choice(("manifest", "manifest", "header", "tensors", "bytes"))
    if how == "manifest":
        key = draw.choice(("model", "tables", "arrays", "vocabularies"))
        sections[key] = mutate.tree(draw, sections[key])
    path = folder / draw.choice((TABLES, VOCABULARIES))
    if how == "header":
        whole = path.read_bytes()
        size = int.from_bytes(whole[:8], "little")
        header = json.dumps(mutate.tree(draw, json.loads(whole[8 : 8 + size]))).encode()
        size = len(header) if draw.random() < 0.8 else draw.choice((0, 1, 2**40, 2**64 - 1))
        path.write_bytes(size.to_bytes(8, "little") + header + whole[8 + int.from_bytes(whole[:8], "little") :])
    if how == "tensors":
        arrays = load_file(path)
        one, other = draw.choice(sorted(arrays)), draw.choice(sorted(arrays))
        of = arrays[one].reshape(-1)
        arrays[one] = draw.choice((of, of[:-1], arrays[other], of.to(torch.float16), of.unsqueeze(0))).clone()
        save_file(arrays, path)
    if how == "bytes":
        path.write_bytes(mutate.bit(draw, path.read_bytes()))
    text = json.dumps(sections)
    if re.search(r"NaN|Infinity|[0-9]{30}", text) is None:
        write_manifest(folder, sections)
    else:  # which no writer writes
        (folder / MANIFEST).write_text(json.dumps({**manifest, **sections, "checksum": "0" * 64}))
        whole_text = (folder / MANIFEST).read_text()
        digest = hashlib.sha256(whole_text.encode()).hexdigest()
        (folder / MANIFEST).write_text(whole_text.replace("0" * 64, digest, 1))
    return how


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", range(5))
def test_contradictions_are_refused_or_give_an_answer(
    part: int, kind: str, good: dict[str, Path], tmp_path: Path
) -> None:
    folder, kinds = tmp_path / "a", {"refused": 0, "taken": 0}
    for seed in range(30 * part, 30 * part + 30):
        shutil.copytree(good[kind], folder)
        changed(Random(seed), folder)
        found = ended(lambda: used(folder, kind))
        kinds["refused" if isinstance(found, str) else "taken"] += 1
        if isinstance(found, list):
            assert len(found[0]) == len(found[1]) == len(found[2]) == len(found[3]) <= 6 * K, seed
            assert all(len({*pairs}) == len(pairs) for pairs in [list(zip(found[0], found[1], strict=True))]), seed
        else:
            assert str(folder) in found or "is unknown" in found or "k is a number" in found, (seed, found)
            assert is_sentence(found)
        shutil.rmtree(folder)
    assert min(kinds.values()) > 0, kinds


@pytest.mark.parametrize("kind", KINDS)
def test_torch_refuses_contradictions_too(kind: str, good: dict[str, Path], tmp_path: Path) -> None:
    folder, refused = tmp_path / "a", 0
    for seed in range(40):
        shutil.copytree(good[kind], folder)
        changed(Random(seed), folder)
        found = ended(lambda: load_artifact(folder), coset.InputError)
        if isinstance(found, str):
            refused += 1
            assert str(folder) in found, (seed, found)
        shutil.rmtree(folder)
    assert 5 < refused < 40
