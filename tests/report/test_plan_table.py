"""A plan in words says what the plan says."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from coset.methods.full import Full
from coset.methods.low_rank import LowRank
from coset.planning.plan import Choice, Plan
from coset.report.plan_table import plan_table
from coset.schema import Table


@pytest.fixture
def found() -> dict[str, Any]:
    tables = [Table("user", 1000, 8), Table("item", 500, 8)]
    methods = {"user": LowRank(2), "item": Full()}
    said = {table.name: Choice(0, methods[table.name], 0, 0.125, f"why {table.name}") for table in tables}
    plan = Plan(8, 50_000, said, other_bytes=600).fitted(tables)
    features = {table.name: {"full_bytes": table.full_bytes, "traffic": []} for table in tables}
    full = {"embedding_dim": 8, "bytes": 48_600}
    return plan.to_json() | {
        "about": {
            "dataset": "x", "synthetic": False, "full": full, "ratio": 2.0, "losses_are": "share", "features": features,
        }
    }  # fmt: skip


def said(found: dict[str, Any]) -> list[str]:
    console = Console(width=200, file=StringIO())
    console.print(plan_table(found))
    return console.file.getvalue().splitlines()


def test_rows_say_bytes_and_their_share_of_full_ones(found: dict[str, Any]) -> None:
    lines = said(found)
    (user,) = [line.split() for line in lines if line.strip().startswith("user") and "low_rank" in line]
    (item,) = [line.split() for line in lines if line.strip().startswith("item") and "%" in line]
    assert user == ["user", "1,000", "32KB", "low_rank", "rank=2", "8.06KB", "25.2%", "–"]
    assert item == ["item", "500", "16KB", "full", "16KB", "100.0%", "–"]


def test_bars_are_drawn_to_one_scale(found: dict[str, Any]) -> None:
    (user,) = [line for line in said(found) if "user" in line and "→" in line]
    (item,) = [line for line in said(found) if "item" in line and "→" in line]
    assert (user.count("█"), user.count("░")) == (6, 18)
    assert (item.count("█"), item.count("░")) == (12, 0)
    assert user.split()[1:4] == ["32KB", "→", "8.06KB"]


def test_totals_are_the_sums(found: dict[str, Any]) -> None:
    text = " ".join(" ".join(said(found)).split())
    assert "tables 24.1KB + biases and others 600B = 24.7KB (24,664 bytes) of 50,000" in text
    assert "full tables of dim 8 make it 48.6KB, 2.0 times as much." in text
    assert "Predicted loss: 25.00% of what full tables gain over a model without them." in text
    assert "user: why user" in text
