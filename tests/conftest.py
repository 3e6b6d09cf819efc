"""Fixtures that several rooms share: a small set of ratings, and the command line, run inside this process."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side: more threads than cores would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What compiles the largest kernels comes first, so in one process: there, the second version of a kernel takes a
    third as long to compile as the first, since they share inner functions. Others read them from disk."""
    items.sort(key=lambda item: item.get_closest_marker("compiles") is None)


def pytest_collection_finish() -> None:
    """What was collected stays until the end, so the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def small_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 3,000 ratings from 1 to 5, of 60 users and 40 movies, with something in it to be learned."""
    draw = np.random.default_rng(0)
    users, items = draw.integers(0, 60, 3000), draw.integers(0, 40, 3000)
    score = 3 + draw.normal(0, 0.6, 60)[users] + draw.normal(0, 0.6, 40)[items] + draw.normal(0, 0.5, 3000)
    rows = zip(users, items, np.clip(np.rint(score), 1, 5), strict=True)
    path = tmp_path_factory.mktemp("small") / "small.csv"
    path.write_text("userId,movieId,rating\n" + "".join(f"{u},{i},{r:g}\n" for u, i, r in rows))
    return path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`installed(registry, *modules)`: as if packages were installed whose entry points name these modules, found here,
    in the working folder, or among the examples of extending coset."""
    from coset import registry as module

    entries: list[EntryPoint] = []
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples" / "extending"))
    monkeypatch.setattr(module, "entry_points", lambda group: [entry for entry in entries if entry.group == group])
    kept = []

    def install(registry: Any, *modules: str) -> None:
        kept.append((registry, dict(registry.all())))
        entries.extend(EntryPoint(name, name, registry.group) for name in modules)
        registry._is_loaded = False

    yield install
    for registry, classes in reversed(kept):
        registry._classes.clear()
        registry._classes.update(classes)
        registry._is_loaded = False
    for entry in entries:
        sys.modules.pop(entry.module, None)


CLICK_FEATURES = {"C1": 200, "C2": 40, "C3": 3}


def _write_clicks(folder: Path, seed: int = 0, rows: int = 1500, validation: int = 700, lists: bool = True) -> Any:
    """Prepared data whose labels depend on the ids, the numbers and, if there are lists, on these."""
    from coset.data.clicks import ClickData, ClickWriter, Feature

    draw = np.random.default_rng(seed)
    features = [Feature(name, n) for name, n in CLICK_FEATURES.items()]
    effects = [draw.normal(0, 1, n) for n in CLICK_FEATURES.values()]
    tags = draw.normal(0, 1, 10)
    if lists:
        features.append(Feature("tags", 10, multi_hot=True))
    with ClickWriter(folder, "small", ("I1", "I2"), features, synthetic=True) as writer:
        for part, count in (("training", rows), ("validation", validation)):
            ids = [(draw.random(count) ** 2 * n).astype(np.int64) for n in CLICK_FEATURES.values()]
            numeric = draw.normal(0, 1, (count, 2)).astype(np.float32)
            lengths = draw.integers(0, 4, count)
            values = draw.integers(0, 10, lengths.sum())
            score = numeric[:, 0] - 1 + sum(effect[of] for effect, of in zip(effects, ids, strict=True))
            if lists:
                score = score + np.bincount(np.repeat(np.arange(count), lengths), tags[values], count)
            labels = (draw.random(count) < 1 / (1 + np.exp(-score))).astype(np.float32)
            writer.append(part, labels, numeric, ids, {"tags": (values, lengths)} if lists else {})
    return ClickData.open(folder)


@pytest.fixture(scope="session")
def write_clicks() -> Callable[..., Any]:
    """A writer of prepared clicks: `write_clicks(folder, seed=…, rows=…, lists=…)`."""
    return _write_clicks


@pytest.fixture(scope="session")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small click log, prepared, with something in it to be learned."""
    return _write_clicks(tmp_path_factory.mktemp("clicks") / "prepared")


@dataclass(frozen=True)
class Outcome:
    """How a call of the command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)

    @property
    def trained(self) -> list[Any]:
        """The rows of a comparison that were trained, of its JSON."""
        return [row for row in self.json["rows"] if row["group"] != "baseline"]

    @property
    def sentence(self) -> str:
        """The one sentence on stderr of a call that failed as it should."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.out == ""
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("coset: "), self.err
        return self.err.removeprefix("coset: ").rstrip("\n")


@pytest.fixture
def coset(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., Outcome]]:
    """`coset(*words)` runs the command line in this process, in an empty folder."""
    import torch

    from coset import cli

    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):  # rich takes a file for a terminal under these
        monkeypatch.delenv(name, raising=False)

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["coset", *map(str, words)])
        capfd.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        return Outcome(code, *capfd.readouterr())

    yield run
    torch.set_num_threads(threads)


class Started:
    """A command of coset in a process of its own."""

    def __init__(self, preloaded: subprocess.Popen[str], words: list[str], folder: Path) -> None:
        self._preloaded, self._ended = preloaded, False
        self._process = self._ask({"start": words, "in": str(folder)})

    def _ask(self, request: Any) -> Any:
        assert self._preloaded.stdin is not None
        assert self._preloaded.stdout is not None
        print(json.dumps(request), file=self._preloaded.stdin, flush=True)
        return json.loads(self._preloaded.stdout.readline())

    def at_work(self) -> bool:
        """Whether it has not come to its end."""
        self._ended = self._ended or self._ask({"ended": self._process})
        return not self._ended

    def kill(self) -> bool:
        """End it by SIGKILL, if it is at work, and wait until it is gone; whether it was."""
        if not (alive := self.at_work()):
            return False
        os.kill(self._process, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while self.at_work():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return alive


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[..., Started]]:
    """`start(*words)` begins a command in a process of its own, in this folder, without the seconds that imports take:
    it is forked by one that has loaded all libraries (`preloaded.py`)."""
    preloaded = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("preloaded.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield lambda *words: Started(preloaded, [str(word) for word in words], Path.cwd())
    assert preloaded.stdin is not None
    assert preloaded.stdout is not None
    preloaded.stdin.close()
    assert preloaded.wait(timeout=60) == 0
    preloaded.stdout.close()
