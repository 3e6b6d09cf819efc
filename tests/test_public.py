"""The public names: what `dir`, `__all__`, run time and type checkers know of a package is the same."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import coset
from tools import public_names

SOURCE = Path(coset.__file__).parent
PACKAGES = sorted(
    ".".join(("coset", *path.parent.relative_to(SOURCE).parts))
    for path in SOURCE.rglob("__init__.py")
    if "__all__" in path.read_text(encoding="utf-8") and not {"cli", "keras"} & {*path.parent.parts[-2:]}
)


@pytest.mark.parametrize("path", public_names.FILES, ids=lambda path: path.parent.name)
def test_the_names_of_methods_are_fresh(path: Path) -> None:
    assert path.read_text("utf-8") == public_names.rewritten(path), f"{path} is stale: run make docs"


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    package = import_module(name)
    names = package.__all__
    assert len(names) == len(set(names))
    assert set(names) <= set(dir(package))
    homes = getattr(package, "_HOMES", None)
    if homes is not None and "methods" not in name:
        assert {of for of, home in homes.items() if home} == set(names)
    for of in names:
        assert getattr(package, of) is not None


def test_every_storage_is_a_public_name() -> None:
    kinds = coset.storage.registered_storages().values()
    assert {kind.__name__ for kind in kinds if kind.__module__.startswith("coset.")} <= set(coset.__all__)


def test_models_and_optimizers_are_public_names() -> None:
    optimizers = {name for name in coset.optimizers.__all__ if name != "TableOptimizer"}
    assert optimizers | {"DotModel", "DLRM", "DCN"} <= set(coset.__all__)
    for name in optimizers:
        assert issubclass(getattr(coset, name), coset.optimizers.TableOptimizer)
    assert not {"Any", "TYPE_CHECKING", "annotations", "handing_on"} & set(dir(coset))


def test_a_public_name_has_one_meaning() -> None:
    """Wherever a name is public, it stands for the same thing."""
    meanings: dict[str, dict[int, str]] = {}
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            meanings.setdefault(name, {}).setdefault(id(getattr(module, name)), package)
    for node in ast.parse((SOURCE / "keras" / "__init__.py").read_text("utf-8")).body:  # which wants a backend
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            for name in ast.literal_eval(node.value):
                meanings.setdefault(name, {})[0] = "coset.keras"
    assert "QREmbedding" in meanings
    several = {name: list(where.values()) for name, where in meanings.items() if len(where) > 1}
    assert several == {}


def test_names_that_there_are_not_are_attribute_errors() -> None:
    for package in (coset, coset.methods, coset.data, coset.models):
        with pytest.raises(AttributeError, match="has no attribute 'QuotientRemaindr'"):
            package.QuotientRemaindr  # type: ignore[attr-defined]  # noqa: B018


USER = """\
import torch
import coset
from coset import (
    Bloom, Embedding, EmbeddingBagCollection, Full, HashEmbedding, Hashing, LowRank, MixedDimension, Plan,
    QuotientRemainder, Robe, Table, TensorTrain, compress_, measure, plan,
)
from coset.optimizers import SGD, Adam

tables = [Table("user", 1000, 16), Table("page", 500, 16)]
chosen: Plan = plan(tables, 10_000)
methods: list[coset.Method] = [Full(), LowRank(4), Bloom(10), Robe(64), Hashing(10), HashEmbedding(10, 20)]
collection = EmbeddingBagCollection([(table, QuotientRemainder(10)) for table in tables])
model = coset.models.DLRM(collection, num_numeric=2)
optimizer = Adam(collection, lr=0.01)
ledger: coset.Ledger = measure(model, optimizer)
report = compress_(torch.nn.Sequential(torch.nn.Embedding(1000, 16)), 20_000)
layer = Embedding(1000, 16, method=coset.MixedDimension((10, 20), (4, 2)))
rank: int = LowRank(rank=4).rank
narrow = LowRank(4, storage=coset.Dense("bfloat16"))
half = coset.Dense(torch.float16)

# What is wrong is seen, which it is not where a class is Any: mypy then says that an ignore is unused.
QuotientRemainder(num_buckets="10")  # type: ignore[arg-type]
LowRank(4).rank.nothing  # type: ignore[attr-defined]
Bloom(10).nothing  # type: ignore[attr-defined]
Robe(64).nothing  # type: ignore[attr-defined]
TensorTrain(4).nothing  # type: ignore[attr-defined]
Hashing(10).nothing  # type: ignore[attr-defined]
HashEmbedding(10).nothing  # type: ignore[attr-defined]
coset.Blocks().nothing  # type: ignore[attr-defined, call-arg]
coset.DeepHash(8).nothing  # type: ignore[attr-defined]
coset.PathBased((8,)).nothing  # type: ignore[attr-defined]
SGD(collection, lr="fast")  # type: ignore[arg-type]
coset.optimizers.Adagrad(collection, lr="fast")  # type: ignore[arg-type]
coset.models.DCN(collection)  # type: ignore[call-arg]
coset.QuotientRemaindr(10)  # type: ignore[attr-defined]
coset.methods.Nothing  # type: ignore[attr-defined]
"""
SETTINGS = """\
[mypy]
strict = True
[mypy-coset.*]
follow_imports = silent
[mypy-torch.*,numpy.*,numba.*,safetensors.*]
follow_imports = skip
"""


def test_a_users_file_is_type_checked(tmp_path: Path) -> None:
    """A file of a user passes `mypy --strict`, and what is wrong in it is found."""
    (tmp_path / "user.py").write_text(USER, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(SETTINGS, encoding="utf-8")
    words = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", "cache", "user.py"]
    environment = {"MYPYPATH": str(SOURCE.parent), "PATH": ""}
    ran = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110)
    assert ran.returncode == 0, ran.stdout + ran.stderr
