"""The picture of a plan shows what the plan says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coset.experiments.plan_picture import figure
from coset.experiments.plan_report import plan_table
from coset.experiments.planned import traffic
from coset.methods.full import Full
from coset.methods.low_rank import LowRank
from coset.planning.plan import Plan
from coset.schema import Table


def found(tables: list[Table], synthetic: bool = False) -> dict[str, Any]:
    said = {table.name: {"method": (LowRank(1) if at % 2 else Full()).to_json()} for at, table in enumerate(tables)}
    plan = Plan.from_json({"embedding_dim": 8, "budget": "1GB", "tables": said}).fitted(tables)
    features = {table.name: {"full_bytes": table.full_bytes, "traffic": traffic(table)} for table in tables}
    return plan.to_json() | {
        "about": {
            "dataset": "x $y$ [/z]", "synthetic": synthetic, "full": {"embedding_dim": 8, "bytes": 10**6}, "ratio": 4.0,
            "losses_are": "share", "features": features,
        }
    }  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 26])
@pytest.mark.parametrize("largest", [50, 10**6])
def test_bars_are_the_bytes(count: int, largest: int) -> None:
    sizes = np.geomspace(largest, 5, count).astype(int)
    tables = [Table(f"C{at}", int(n), 8, frequencies=1 / (1 + np.arange(n))) for at, n in enumerate(sizes)]
    said = found(tables, synthetic=True)
    bars, curves = figure(said).axes
    widths = [patch.get_width() for patch in bars.patches]
    assert widths == [table.full_bytes for table in tables] + [of["bytes"] for of in said["tables"].values()]
    left, right = bars.get_xlim()
    assert left <= min(widths)
    assert right > max(widths)
    drawn = [line for line in curves.lines if line.get_gid() == "traffic"]
    assert len(drawn) == count
    for line in drawn:
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert (x[0], y[0], x[-1]) == (0, 0, 1)
        assert y[-1] == pytest.approx(1)
        assert (y >= x - 1e-12).all()  # the most frequent ids come first
    assert any("SYNTHETIC" in text.get_text() for text in figure(said).texts)


def test_what_is_not_known_is_said() -> None:
    said = found([Table("user", 10, 8), Table("item", 5, 8)])
    _, curves = figure(said).axes
    assert "no frequencies" in curves.texts[0].get_text()
    assert plan_table(said).renderables
