"""The runtime by itself: what it imports, what its page and its docstrings say, and what it leaves alone."""

from __future__ import annotations

import ast
import doctest
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import coset_runtime
from coset import formulas, ledger
from coset.artifact.writing import write_artifact
from coset.data.settings import DataSettings
from coset.data.vocabulary import Vocabulary
from coset.tasks.ratings.served import served
from tests.artifact.cases import FACTS, ITEMS, USERS, model_of

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "runtime" / "src" / "coset_runtime"
MODULES = sorted(path.stem for path in SOURCE.glob("*.py") if path.stem != "__init__")
PAGE = (ROOT / "docs" / "artifact.md").read_text("utf-8")


def imports(path: Path) -> set[str]:
    """The full names that a file imports, wherever it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(str(node.module))
    return found


def test_it_imports_numpy_and_the_standard_library_alone() -> None:
    every = {name for path in SOURCE.glob("*.py") for name in imports(path)}
    assert {name.partition(".")[0] for name in every} <= {*sys.stdlib_module_names, "numpy", "coset_runtime"}
    assert not {"pickle", "marshal", "shelve", "ctypes"} & every
    needs = tomllib.loads((ROOT / "runtime" / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert [re.split(r"\W", name)[0] for name in needs] == ["numpy"]


def test_no_files_import_each_other() -> None:
    left = {name: {of.removeprefix("coset_runtime.") for of in imports(SOURCE / f"{name}.py")} for name in MODULES}
    while free := [name for name, of in left.items() if not of & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}


def test_a_fresh_process_loads_nothing_heavy() -> None:
    code = "import coset_runtime, sys; print(*sorted(name for name in sys.modules if '.' not in name))"
    path = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=path, capture_output=True, text=True, timeout=280, check=True
    )
    loaded = set(done.stdout.split())
    assert {"coset_runtime", "numpy"} <= loaded
    assert not loaded & {"coset", "torch", "numba", "safetensors", "scipy", "polars"}


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    """Every public name has one, and what they show is so."""
    tree = ast.parse((SOURCE / f"{name}.py").read_text("utf-8"))
    nodes = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert ast.get_docstring(tree)
    assert [node.name for node in nodes if not node.name.startswith("_") and not ast.get_docstring(node)] == []
    assert doctest.testmod(import_module(f"coset_runtime.{name}")).failed == 0


def test_versions_agree() -> None:
    import coset

    assert coset_runtime.__version__ == coset.__version__


def test_the_page_names_every_operation() -> None:
    text = (SOURCE / "formulas.py").read_text("utf-8") + (SOURCE / "arrays.py").read_text("utf-8")
    known = set(re.findall(r'(?:op|kind) (?:==|in) \(?"(\w+)"', text)) | {"mult", *re.findall(r'"(\w+)": _\w+', text)}
    assert {"rows", "same", "codes", "levels", "common", "order"} <= known
    assert [name for name in sorted(known) if f"`{name}`" not in PAGE] == []
    made = set(re.findall(r'"(?:op|map|form)": "(\w+)"', Path(formulas.__file__).read_text("utf-8")))
    assert made <= known


def test_the_page_shows_what_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, known = model_of({}), []
    for name, n, first in (("user", USERS, [1, 2]), ("item", ITEMS, [50, 7])):
        known.append(Vocabulary(name, np.array([*first, *range(100, 98 + n)]), np.zeros(n, np.int64)))
    of = served(model, DataSettings("made up"), (known[0], known[1]))
    write_artifact(tmp_path / "small", model, of, FACTS, ledger.inference_bytes(model.components()))
    monkeypatch.chdir(tmp_path)
    for page in (PAGE, (ROOT / "runtime" / "README.md").read_text("utf-8")):
        (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        exec(code, {})
