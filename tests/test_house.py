"""The order of the house: who may import whom, and what may not be found in any room."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "coset"
TESTS = ROOT / "tests"

# A room may import only from rooms above it.
ORDER = (
    "lazy",
    "errors",
    "documents",
    "files",
    "settings",
    "registry",
    "progress",
    "schema",
    "sizes",
    "vectors",
    "partitions",
    "formulas",
    "storage",
    "kernels",
    "methods",
    "ledger",
    "engine",
    "optimizers",
    "tables",
    "planning",
    "data",
    "models",
    "tasks",
    "training",
    "artifact",
    "checkpoints",
    "experiments",
    "report",
    "testing",
    "cli",
)
ABOVE = {room: set(ORDER[:place]) for place, room in enumerate(ORDER)}
ABOVE["methods"].remove("kernels")  # a method says what is stored; an engine says how it is computed
ABOVE["testing"] -= {"experiments", "report"}
ABOVE["keras"] = {"lazy", "errors", "settings", "registry", "partitions"}  # beside the house, without torch …
BRIDGES = {"keras/bridge.py": {"methods", "tables"}}  # … but for the one file that carries weights to torch and back
ABOVE["__init__"] = set(ORDER) - {"cli"}  # hands names on
ABOVE["__main__"] = {"cli"}
ROOT_NAMES = {"__version__"}  # all that a room may take from the top of the package

UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
HEAVY_MODULES = {"polars", "matplotlib", "typer", "rich", "numba"}

IMPORTERS = ("import_module", "__import__")

FILES = sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def room_of(path: Path) -> str:
    """The room that a file under src/coset belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and full dotted name of everything that a file imports, wherever in the file it does so."""
    package = ("coset", *path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            parts = (*base, *([node.module] if node.module else []))
            for alias in node.names:
                yield node.lineno, ".".join((*parts, alias.name))
        elif isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in IMPORTERS:
            yield from ((node.lineno, str(arg.value)) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def dotted(node: ast.expr) -> str:
    """`a.b.c` for a name or attribute, else the empty string."""
    if isinstance(node, ast.Attribute):
        front = dotted(node.value)
        return f"{front}.{node.attr}" if front else ""
    return node.id if isinstance(node, ast.Name) else ""


def order_faults(path: Path, tree: ast.Module) -> list[str]:
    """The imports of a file that the order of the house forbids."""
    room, faults = room_of(path), []
    allowed = {room} | ABOVE[room] | BRIDGES.get(name_of(path), set()) | ROOT_NAMES
    for line, module in imported(path, tree):
        parts = module.split(".")
        if parts[0] == "tools":
            faults.append(f"{name_of(path)}:{line}: {module} is of the checkout, not of the package")
        if parts[0] != "coset" or len(parts) == 1:
            continue
        if parts[1] not in allowed:
            faults.append(f"{name_of(path)}:{line}: {room} may not import {module}")
    return faults


def modules() -> dict[str, Path]:
    """The file of every module."""
    names = {path: ("coset", *path.relative_to(SOURCE).with_suffix("").parts) for path in FILES}
    return {".".join(parts).removesuffix(".__init__"): path for path, parts in names.items()}


def neighbours(path: Path, tree: ast.Module, known: Mapping[str, Path]) -> set[Path]:
    """The other files of its room that a file imports, wherever it does so, for types alone included."""
    found = set()
    for _, name in imported(path, tree):
        while name and name not in known:
            name = name.rpartition(".")[0]
        if name and room_of(known[name]) == room_of(path):
            found.add(known[name])
    return found - {path}


def circles(graph: Mapping[Path, Set[Path]]) -> list[str]:
    """Files that import each other, a line for each circle: the way from one of them back to it."""
    found, done = [], set[Path]()

    def walk(way: list[Path]) -> None:
        for other in sorted(graph[way[-1]]):
            if other in way:
                found.append(" → ".join(map(name_of, [*way[way.index(other) :], other])))
            elif other not in done:
                walk([*way, other])
        done.add(way[-1])

    for path in sorted(graph):
        if path not in done:
            walk([path])
    return found


def safety_faults(path: Path, tree: ast.Module) -> list[str]:
    """Whatever in a file could run code that came with data."""
    faults, safe = [], {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and loads_tensors(node)}
    for line, module in imported(path, tree):
        if module.split(".")[0] in UNSAFE_MODULES or module == "torch.load":
            faults.append(f"{name_of(path)}:{line}: imports {module}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and dotted(node) == "torch.load" and id(node) not in safe:
            faults.append(f"{name_of(path)}:{node.lineno}: uses torch.load")
        if isinstance(node, ast.Call):
            if dotted(node.func) in ("eval", "exec", "builtins.eval", "builtins.exec"):
                faults.append(f"{name_of(path)}:{node.lineno}: calls {dotted(node.func)}")
            if any(word.arg == "allow_pickle" and not is_false(word.value) for word in node.keywords):
                faults.append(f"{name_of(path)}:{node.lineno}: allows pickle")
    return faults


def loads_tensors(call: ast.Call) -> bool:
    """Whether a call of `torch.load` says, where it stands, that it runs no code of the file."""
    told = [word.value for word in call.keywords if word.arg == "weights_only"]
    return [isinstance(value, ast.Constant) and value.value is True for value in told] == [True]


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def silent_names(path: Path, tree: ast.Module) -> list[str]:
    """The public names of a file, itself included, that have no docstring."""
    nodes = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    public = [node for node in nodes if not node.name.startswith("_")]
    faults = [] if ast.get_docstring(tree) else [f"{name_of(path)}: the module"]
    return faults + [f"{name_of(path)}:{node.lineno}: {node.name}" for node in public if not ast.get_docstring(node)]


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES}))
def test_room(room: str) -> None:
    """Every file is in a known room, imports from rooms above, runs no foreign code, says what it is."""
    for path in (path for path in FILES if room_of(path) == room):
        assert room in ABOVE, f"{name_of(path)} is in no known room; the order is {', '.join(ORDER)}"
        tree = tree_of(path)
        assert order_faults(path, tree) == []
        assert safety_faults(path, tree) == []
        assert silent_names(path, tree) == []
        if room != "kernels":
            numba = [line for line, module in imported(path, tree) if module.split(".")[0] == "numba"]
            assert numba == [], f"{name_of(path)}: only kernels/ imports numba"


def test_no_files_of_a_room_import_each_other() -> None:
    known = modules()
    assert circles({path: neighbours(path, tree_of(path), known) for path in FILES}) == []


@pytest.mark.parametrize(
    ("third", "circle"),
    [
        ("from coset.methods.base import Method", ["base", "rows", "full", "base"]),
        ("if TYPE_CHECKING:\n    from coset.methods import base", ["base", "rows", "full", "base"]),
        ("def later():\n    from .rows import Rows", ["rows", "full", "rows"]),
        ("from coset.tables import Embedding", []),  # of another room, which the order refuses
        ("import torch", []),
    ],
)
def test_circles_are_seen(third: str, circle: list[str]) -> None:
    """The check itself sees a circle of any length, and imports wherever they stand."""
    codes = {"base": "from coset.methods.rows import Rows", "rows": "from coset.methods import full", "full": third}
    files = {SOURCE / "methods" / f"{name}.py": ast.parse(code) for name, code in codes.items()}
    known = modules()
    found = circles({path: neighbours(path, tree, known) & files.keys() for path, tree in files.items()})
    assert found == ([" → ".join(f"methods/{name}.py" for name in circle)] if circle else [])


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("schema", "from coset.tables import Embedding"),
        ("schema", "import coset.tables"),
        ("schema", "def later():\n    from coset import tables"),
        ("schema", "import importlib\nimportlib.import_module('coset.tables')"),
        ("methods/rows", "from ..tables import Embedding"),
        ("methods/rows", "from .. import tables"),
        ("methods/rows", "from coset import Embedding"),
        ("testing/contract", "from coset.experiments import compare"),
        ("methods/rows", "from coset.kernels import rows"),
        ("planning/plan", "from coset.training import run"),
        ("experiments/compare", "from coset.report import plots"),
        ("report/plots", "import tools.bench"),
        ("keras/layers", "from coset.schema import Table"),
        ("keras/layers", "from coset.tables import Embedding"),
        ("keras/bridge", "from coset.schema import Table"),
    ],
)
def test_order_is_enforced(room: str, code: str) -> None:
    """The check itself sees every way of writing an import that breaks the order."""
    assert len(order_faults(SOURCE / f"{room}.py", ast.parse(code))) == 1


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("tables", "from coset.schema import Table\nfrom . import methods\nimport torch.nn"),
        ("methods/rows", "from .base import Method\nfrom . import base\nfrom ..schema import Table"),
        ("keras/layers", "from coset.partitions import rows"),
        ("keras/bridge", "from coset.tables import Embedding"),
        ("cli", "from coset import __version__, experiments"),
    ],
)
def test_order_allows(room: str, code: str) -> None:
    """The check lets through what the order allows."""
    assert order_faults(SOURCE / f"{room}.py", ast.parse(code)) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "import torch\ntorch.load('x')",
        "import torch\nread = torch.load",
        "import torch\ntorch.load('x', weights_only=False)",
        "import torch\ntorch.load('x', weights_only=given)",
        "eval('1')",
        "exec('1')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
    ],
)
def test_safety_is_enforced(code: str) -> None:
    """The check itself sees every way to run code that came with data."""
    assert len(safety_faults(SOURCE / "files.py", ast.parse(code))) == 1


def test_safety_allows_a_model_in_evaluation_mode() -> None:
    """`model.eval()` is no `eval`."""
    assert safety_faults(SOURCE / "files.py", ast.parse("model.eval()\nnp.load(p, allow_pickle=False)")) == []


def test_safety_allows_tensors_alone() -> None:
    """`torch.load` that says so runs no code."""
    assert safety_faults(SOURCE / "files.py", ast.parse("torch.load(path, mmap=True, weights_only=True)")) == []


def test_import_is_light() -> None:
    """`import coset` loads nothing that only some of its users need."""
    code = "import coset, sys; print(*sorted(name for name in sys.modules if '.' not in name))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=280)
    loaded = set(run.stdout.split())
    assert "coset" in loaded
    assert loaded & HEAVY_MODULES == set()


def test_what_the_oldest_torch_lacks_is_not_used() -> None:
    """torch 2.6 infers no schemas from lists, and does not see `with torch.device` in `get_default_device`."""
    texts = {path: path.read_text(encoding="utf-8") for path in FILES}
    assert not [path for path, text in texts.items() if "get_default_device" in text]
    calls = [call for text in texts.values() if "custom_op" in text for call in ast.walk(ast.parse(text))]
    operators = [call for call in calls if isinstance(call, ast.Call) and "custom_op" in ast.dump(call.func)]
    assert operators
    assert all("schema" in {given.arg for given in call.keywords} for call in operators)


def test_tests_mirror_source() -> None:
    """Every folder of tests is a room's."""
    folders = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("*.py") if path.parent != TESTS}
    beside = {"fuzz", "peers", "runtime", "tools"}  # a runner, other libraries, runtime/, tools/
    assert folders - set(ABOVE) <= beside


def test_recipes_are_shipped() -> None:
    """The recipes are part of the package, not only of the repository, and are readable."""
    recipes = sorted((SOURCE / "experiments" / "recipes").glob("*.toml"))
    for recipe in recipes:
        assert tomllib.loads(recipe.read_text(encoding="utf-8")), recipe.name
    assert "keras-example-corrected" in [recipe.stem for recipe in recipes]  # what `make demo` compares


WAITS = {"join", "wait", "communicate", "get"}
"""What waits for ever where it is called without anything: threads, processes, barriers, queues."""


def may_wait(text: str) -> bool:
    """Whether a file may have such a call: to read it all as Python takes a hundred times as long."""
    return "subprocess" in text or re.search(rf"\b({'|'.join(WAITS)})\s*\(\s*[)#]", text) is not None


def endless(tree: ast.AST) -> list[str]:
    """Calls that may wait for ever, so that a test which fails would hang instead of saying so."""
    found = []
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            said = {keyword.arg for keyword in call.keywords}
            runs = isinstance(call.func.value, ast.Name) and call.func.value.id == "subprocess"
            if (runs and call.func.attr not in ("Popen", "CompletedProcess") and "timeout" not in said) or (
                call.func.attr in WAITS and not call.args and not call.keywords
            ):
                found.append(f"line {call.lineno}: {ast.unparse(call)[:60]}")
    return found


def test_no_test_waits_for_ever() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")}
    trees = {path: ast.parse(text) for path, text in texts.items() if may_wait(text)}
    found = [f"{path.relative_to(TESTS)}, {each}" for path, tree in trees.items() for each in endless(tree)]
    assert [each for each in found if not each.endswith(": captured.get()")] == []  # of rich, which waits for nobody


@pytest.mark.parametrize("code", ["thread.join()", "p.wait()", "q.get()", "subprocess.run([], check=True)"])
def test_what_waits_for_ever_is_seen(code: str) -> None:
    assert may_wait(code)
    assert len(endless(ast.parse(code))) == 1
    assert endless(ast.parse(code.replace(")", ", timeout=1)") if "run" in code else code.replace("()", "(1)"))) == []
