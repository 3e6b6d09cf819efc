"""Fixtures that several rooms share: a small set of ratings, and the command line, run inside this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side: more threads than cores would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


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
