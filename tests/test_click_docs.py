"""Every command and the program of docs/click-models.md work, one after the other, as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch

from coset.report import comparison as report

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "click-models.md"


@pytest.mark.skipif(os.name == "nt", reason="the page speaks to a Unix shell")
def test_the_page_from_top_to_bottom(coset: Callable[..., Any], tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8").replace("rows = 20_000", "rows = 8_000")
    blocks = re.findall(r"```(console|python)\n(.*?)```", page, re.DOTALL)
    commands = [of for kind, block in blocks if kind == "console" for of in re.split(r"^\$ ", block, flags=re.M) if of]
    assert len(commands) >= 12
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    words = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    for command in commands:
        if command.startswith("coset "):  # in this process, which has torch already
            found = coset(*shlex.split(command)[1:])
            assert found.code == 0, (command, found.err)
        else:
            subprocess.run(["sh", "-e"], input=command, cwd=tmp_path, env=words, text=True, check=True, timeout=280)
    for kind, of in blocks:
        if kind == "python":
            with torch.random.fork_rng(), redirect_stdout(StringIO()) as out:
                exec(of, {"__name__": "__main__"})
            assert float(out.getvalue().splitlines()[0]) > 0.6
    assert (tmp_path / "runs" / "compared" / "results.json").exists()


@pytest.mark.parametrize(
    ("page", "name"),
    [("click-models", "criteo-twin-dcn"), ("click-models", "criteo-twin-dlrm"), ("planning", "criteo-twin-planned")],
)
def test_the_tables_of_the_twin_are_those_of_the_committed_results(page: str, name: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    found = re.search(rf"<!-- table: {name} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found
    results = json.loads((ROOT / "recipes" / "results" / name / "results.json").read_text("utf-8"))
    (table,) = (part for part in report.markdown(results).split("\n\n") if part.startswith("| name"))
    assert found[1].strip() == table.strip()
