"""The program and the commands of docs/compress.md work as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = (Path(__file__).parents[1] / "docs" / "compress.md").read_text("utf-8")


def test_the_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    with torch.random.fork_rng():
        exec(code, {"__name__": "__main__"})
    out = capsys.readouterr().out
    assert "item.genres" in out
    before, after = (int(number) for number in out.split("\n")[-2].split(" → "))
    assert (before, after) == (2_499_584, 64 * 4 * (400 + 10 + 18) + 4 * 16 * (6040 + 64))


def test_the_commands_run_one_after_the_other(coset: Any, small_csv: Path, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_bytes(small_csv.read_bytes())
    commands = re.findall(r"^\$ coset (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 4
    for words in commands:
        done = coset(*shlex.split(words.replace("20KB", "2KB")))  # a hundred ids, and not ten thousand
        assert done.code == 0, done.err
