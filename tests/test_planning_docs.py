"""Every command of docs/planning.md works, one after the other, and its recipe is one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[1] / "docs" / "planning.md").read_text("utf-8")


def test_the_commands_of_the_page(coset: Callable[..., Any], small_csv: Path) -> None:
    Path("ratings.csv").write_bytes(small_csv.read_bytes())
    commands = re.findall(r"^\$ coset (.+)$", PAGE, flags=re.M)
    assert len(commands) >= 4
    for command in commands:  # a hundred ids, and not ten thousand, of a narrower dim
        smaller = command.replace("240KB", "2.4KB").replace("120KB", "1.2KB").replace("--dim 64", "--dim 8")
        if "compare" in command:
            smaller += " --dim 8"
        found = coset(*shlex.split(smaller))
        assert found.code == 0, (command, found.err)
    assert Path("plans/mine/plan.png").exists()
    assert Path("runs/beside/results.json").exists()


def test_the_recipe_of_the_page(coset: Callable[..., Any], small_csv: Path) -> None:
    Path("ratings.csv").write_bytes(small_csv.read_bytes())
    assert coset("plan", "ratings.csv", "--budget", "2KB", "--dim", 8, "-o", "plan.json").code == 0
    (rows,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    head = 'title = "T"\ndata = "ratings.csv"\n[model]\nembedding_dim = 8\nbiases = true\n[training]\nepochs = 1\n'
    Path("mine.toml").write_text(head + rows.replace("240KB", "2.4KB").replace("120KB", "1.2KB"))
    found = coset("compare", "mine.toml", "--out", "runs/mine", "--json")
    assert found.code == 0, found.err
    assert [row["name"] for row in found.trained] == ["planned 2.4KB", "planned 1.2KB", "mine"]
