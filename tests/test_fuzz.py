"""The runner in tests/fuzz takes a few inputs of every group, and finds what it is there to find."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

FUZZ = Path(__file__).parent / "fuzz"
GROUPS = ("ratings", "clicks", "settings", "folders", "arguments")

FAKE = """
import time
from judge import Fault, command

class Fake:
    def try_input(self, draw, scratch):
        {body}
        return draw.choice(("taken", "refused"))

def group(folder):
    return Fake()
"""


def run(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """The runner in a folder of groups, in a process of its own."""
    command = [sys.executable, str(folder / "run.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The runner in this process, which has imported most of what groups need, and whose time pytest limits."""
    before, threads = set(sys.modules), torch.get_num_threads()
    monkeypatch.syspath_prepend(str(FUZZ))
    module = import_module("run")
    monkeypatch.setattr(module, "limit", lambda seconds: nullcontext())
    yield module
    torch.set_num_threads(threads)
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FUZZ)):
            del sys.modules[name]


@pytest.mark.timeout(300)  # where it is the first to compile kernels
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of what is swept up after an input
@pytest.mark.parametrize("group", GROUPS)
def test_a_group_takes_inputs(group: str, runner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A few inputs of each group end as they should."""
    faults = runner.run_group(group, 0, iter(range(6)), float("inf"))
    told = capsys.readouterr().out
    assert faults == 0, told
    assert told.startswith(f"{group}: 6 inputs in ")


def test_every_group_is_tried(runner: Any) -> None:
    assert runner.GROUPS == GROUPS


def fake(folder: Path, body: str, limit: str = "30") -> Path:
    """A copy of the runner with one group, which does `body` for every input."""
    for name in ("run.py", "judge.py"):
        text = (FUZZ / name).read_text(encoding="utf-8").replace("LIMIT = 30\n", f"LIMIT = {limit}\n")
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "settings.py").write_text(FAKE.format(body=body), encoding="utf-8")
    return folder


FAULTS = {
    "figures": ("raise Fault('another figure')", "another figure"),
    "tracebacks": ("return [][3]", "IndexError: list index out of range"),
    "panics": ("raise BaseException('panic')", "BaseException: panic"),
    "hangs": ("time.sleep(60)", "took longer than 0.1 s"),
    "usage": ("raise Fault(command('train').err)", "Missing argument"),
}


@pytest.mark.parametrize(("body", "said"), FAULTS.values(), ids=FAULTS)
def test_faults_are_found(tmp_path: Path, body: str, said: str) -> None:
    """A group that misbehaves is told of, with how to repeat it, and the exit code says so."""
    ended = run("--inputs", 2, "--group", "settings", folder=fake(tmp_path, body, "0.1" if "sleep" in body else "30"))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert said in ended.stdout
    assert "--- settings: --group settings --seed 0 --only 1" in ended.stdout


def test_a_blind_group_is_a_fault(tmp_path: Path) -> None:
    """A group whose inputs all end alike shows nothing, which is told."""
    ended = run("--inputs", 100, "--group", "settings", folder=fake(tmp_path, "return 'taken'"))
    assert ended.returncode == 1
    assert "none was refused" in ended.stdout
