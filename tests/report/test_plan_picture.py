"""The picture of a plan shows what the plan says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coset.experiments.plan import traffic
from coset.methods.full import Full
from coset.methods.low_rank import LowRank
from coset.methods.mixed_dimension import MixedDimension
from coset.planning.plan import Plan
from coset.report.plan_picture import figure
from coset.schema import Table
from coset.sizes import format_size


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


@pytest.mark.parametrize("count", [2, 26])
def test_words_and_legend_lie_on_nothing(count: int) -> None:
    """Words of the longest kind are in a column of their own between the two plots."""
    said = found([Table(f"C{at}", 100, 8, frequencies=np.ones(100)) for at in range(count)])
    for at, (name, choice) in enumerate(said["tables"].items()):
        choice["method"] = MixedDimension((302, 2983, 29831, 10**7 - at), (8, 4, 2, 1)).to_json()
        choice["bytes"] = 888_888_888 if at else 888
        said["about"]["features"][name]["full_bytes"] = 999_999_999
    drawn = figure(said)
    drawn.draw_without_rendering()
    bars, curves = drawn.axes
    words = [text.get_window_extent() for text in bars.texts]
    assert len(words) == 2 * count
    legend = bars.get_legend()
    assert legend is not None
    right = curves.get_tightbbox()
    assert right is not None
    for box in (*words, legend.get_window_extent()):
        assert not box.overlaps(right)
        assert not box.overlaps(bars.get_window_extent())
    assert not any(box.overlaps(other) for at, box in enumerate(words) for other in words[:at])


@pytest.mark.parametrize("count", [1, 2, 26])
@pytest.mark.parametrize("largest", [50, 10**6])
def test_bars_are_the_bytes(count: int, largest: int) -> None:
    sizes = np.geomspace(largest, 5, count).astype(int)
    draw = np.random.default_rng(0)
    tables = [
        Table(f"C{at}", int(n), 8, frequencies=draw.permutation(1 / (1 + np.arange(n)))) for at, n in enumerate(sizes)
    ]
    said = found(tables, synthetic=True)
    bars, curves = figure(said).axes
    assert [label.get_text() for label in bars.get_yticklabels()] == [table.name for table in tables]
    top_down = sorted(bars.texts, key=lambda text: text.xy[1])
    assert bars.yaxis_inverted()
    assert [text.get_text() for text in top_down if text.get_gid() == "size"] == [
        format_size(of["bytes"]) for of in said["tables"].values()
    ]
    methods = [text.get_text() for text in top_down if text.get_gid() == "method"]
    assert methods == [("low_rank rank=1" if at % 2 else "full") for at in range(count)]
    places = [patch.get_y() for patch in bars.patches]
    assert places == sorted(places[:count]) + sorted(places[count:])
    widths = [patch.get_width() for patch in bars.patches]
    assert widths == [table.full_bytes for table in tables] + [of["bytes"] for of in said["tables"].values()]
    left, right = bars.get_xlim()
    assert left <= min(widths)
    assert right > max(widths)
    drawn = [line for line in curves.lines if line.get_gid() == "traffic"]
    assert len(drawn) == count
    legend = curves.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [table.name for table in tables[:10]]  # the largest
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
