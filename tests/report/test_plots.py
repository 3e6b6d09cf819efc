"""The plots: what a reader finds in the figure, and that the file is whole, plain and always the same."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from coset.experiments.spread import half_interval
from coset.report import plots
from coset.tasks import measures
from coset.tasks.ratings import RatingsTask

EPOCHS = 5


def row(name: str, group: str, size: int, mse: float | None, *, seeds: int = 3) -> dict[str, Any]:
    values = [] if mse is None else [mse + 0.001 * seed for seed in range(seeds)]
    history = [
        [
            {"epoch": epoch, "train_mse": value - 0.1 + 1 / epoch**2, "val_mse": value + 0.5 / epoch - 0.1}
            for epoch in range(1, EPOCHS + 1)
        ]
        for value in values
    ]
    return {
        "name": name,
        "note": None,
        "group": group,
        "bytes": size,
        "seeds": list(range(seeds)),
        "metrics": {
            "val_mse": {
                "mean": fmean(values) if values else None,
                "std": stdev(values) if len(values) > 1 else None,
                "interval": half_interval(stdev(values), len(values)) if len(values) > 1 else None,
                "values": values,
            }
        },
        "epochs": EPOCHS,
        "history": history,
    }


def results(rows: list[dict[str, Any]] | None = None, **other: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "title": "Fair comparison",
        "dataset": "movielens-1m",
        "synthetic": False,
        "noise_floor": None,
    }
    given["measures"] = measures(RatingsTask)
    return given | {"rows": realistic() if rows is None else rows} | other


def realistic() -> list[dict[str, Any]]:
    """About thirty rows, many of nearly the same bytes and MSE."""
    rows = [row("full", "full", 2_533_964, 0.724), row("bias only", "bias", 38_988, 0.823)]
    for dim, size, mse in ((1, 78, 0.788), (4, 195, 0.745), (8, 351, 0.733), (16, 663, 0.728)):
        rows.append(row(f"narrow d={dim}", "narrow", size * 1000, mse))
    random = np.random.default_rng(3)
    for place in range(24):
        size = (120_000, 240_000, 471_872)[place % 3] + int(random.integers(-2000, 2000))
        rows.append(row(f"method_{place} c={place}", "compressed", size, 0.735 + 0.06 * float(random.random())))
    return rows


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def marked(figure: Figure, gid: str) -> list[Any]:
    return [artist for artist in figure.findobj() if artist.get_gid() == gid]


def box(figure: Figure, text: Text) -> Bbox:
    assert isinstance(figure.canvas, FigureCanvasAgg)
    return text.get_window_extent(figure.canvas.get_renderer())


def overlap(a: Bbox, b: Bbox) -> bool:
    return bool(a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1)


@pytest.mark.parametrize(("draw", "synthetic"), [(plots.frontier, False), (plots.losses, True)])
def test_file_is_a_picture_and_always_the_same(draw: Any, synthetic: bool, tmp_path: Path) -> None:
    first, second = tmp_path / "new" / "a.png", tmp_path / "b.png"
    given = results(realistic()[:8], synthetic=synthetic, noise_floor=0.7 if synthetic else None)
    draw(given, first)
    draw(given, second)
    picture = imread(first)
    assert min(picture.shape[:2]) > 500
    assert 0.005 < (picture[..., :3].min(axis=2) < 0.9).mean() < 0.5  # neither empty nor full
    assert first.read_bytes() == second.read_bytes()
    for word in (b"Software", b"tIME", b"Creation"):
        assert word not in first.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["a.png"]  # nothing half written is left


@pytest.mark.parametrize("draw", [plots.frontier_figure, plots.losses_figure])
def test_no_global_state_is_touched(draw: Any) -> None:
    before = dict(matplotlib.rcParams)
    draw(results(realistic()[:4]))
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.mark.parametrize("draw", [plots.frontier_figure, plots.losses_figure])
def test_head_says_what_was_measured(draw: Any) -> None:
    found = texts(draw(results(realistic()[:5])))
    assert "Fair comparison" in found
    assert any(text.startswith("movielens-1m · seeds 0, 1, 2 · 5 epochs · ") for text in found)
    assert "SYNTHETIC DATA" not in found


@pytest.mark.parametrize("draw", [plots.frontier_figure, plots.losses_figure])
def test_head_says_when_the_validation_part_was_not_read(draw: Any) -> None:
    found = texts(draw(results(protocol={"reported": "a slice of the training part"})))
    assert any("measured on a slice of the training part, not on validation data" in text for text in found)


@pytest.mark.parametrize("draw", [plots.frontier_figure, plots.losses_figure])
def test_synthetic_data_and_its_floor_are_shown(draw: Any) -> None:
    figure = draw(results(realistic()[:5], synthetic=True, noise_floor=0.7))
    assert "SYNTHETIC DATA" in texts(figure)
    lines = marked(figure, "noise floor")
    assert len(lines) == len(figure.axes)
    assert all(set(line.get_ydata()) == {0.7} for line in lines)
    assert any("noise floor 0.7" in text for text in texts(figure))


@pytest.mark.parametrize("draw", [plots.frontier_figure, plots.losses_figure])
@pytest.mark.parametrize("count", [1, 5, 30])
def test_no_text_is_clipped_or_meets_another(draw: Any, count: int) -> None:
    long = "A title that goes on and on, " * 8
    figure = draw(results(realistic()[:count], synthetic=True, noise_floor=0.7, title=long))
    figure.canvas.draw()
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = {text: box(figure, text) for text in shown}
    hidden = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in _off_axis(axis)}
    for text in set(shown) - hidden:
        assert figure.bbox.x0 <= boxes[text].x0 <= boxes[text].x1 <= figure.bbox.x1, text.get_text()
        assert figure.bbox.y0 <= boxes[text].y0 <= boxes[text].y1 <= figure.bbox.y1, text.get_text()
    ordered = [text for text in shown if text not in hidden]
    meetings = [
        (a.get_text(), b.get_text())
        for place, a in enumerate(ordered)
        for b in ordered[place + 1 :]
        if overlap(boxes[a], boxes[b])
    ]
    assert meetings == []


def test_the_legend_of_every_kind_of_row_is_within_the_picture() -> None:
    ridge = {**row("ridge bias", "baseline", 38_988, 0.815), "parameters": 9_747}
    rows = [*realistic(), ridge]
    figure = plots.frontier_figure(results(rows, synthetic=True, noise_floor=0.72))
    figure.canvas.draw()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 6
    found = legend.get_window_extent()
    assert figure.bbox.x0 < found.x0
    assert found.x1 < figure.bbox.x1


def _off_axis(axis: Any) -> list[Text]:
    """Labels of ticks that matplotlib keeps but does not draw."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    hidden = [tick for tick in ticks if not low <= tick.get_loc() <= high or not tick.label1.get_visible()]
    return [label for tick in hidden for label in (tick.label1, tick.label2)]


def test_every_row_is_named_once_and_no_name_covers_another() -> None:
    figure = plots.frontier_figure(results())
    labels = marked(figure, "label")
    assert sorted(label.get_text() for label in labels) == sorted(entry["name"] for entry in realistic())
    boxes = [box(figure, label) for label in labels]
    assert not any(overlap(a, b) for place, a in enumerate(boxes) for b in boxes[place + 1 :])
    frame = figure.axes[0].get_window_extent()
    assert all(frame.x0 <= a.x0 and a.x1 <= frame.x1 and frame.y0 <= a.y0 and a.y1 <= frame.y1 for a in boxes)


def test_sizes_stand_on_a_log_axis_as_people_write_them() -> None:
    axes = plots.frontier_figure(results()).axes[0]
    assert axes.get_xscale() == "log"
    ticks = [axes.xaxis.get_major_formatter()(tick) for tick in axes.get_xticks()]
    assert ticks == ["50KB", "100KB", "200KB", "500KB", "1MB", "2MB"]
    wide = plots.frontier_figure(results([row("a", "full", 10**9, 0.7), row("b", "compressed", 10**4, 0.8)])).axes[0]
    ticks = [wide.xaxis.get_major_formatter()(tick) for tick in wide.get_xticks()]
    assert ticks == ["10KB", "100KB", "1MB", "10MB", "100MB", "1GB"]


def test_narrow_rows_are_joined_from_small_to_large() -> None:
    rows = realistic()[:6]
    (line,) = marked(plots.frontier_figure(results(rows[::-1])), "narrow")
    assert list(line.get_xdata()) == [78_000, 195_000, 351_000, 663_000]
    assert list(line.get_ydata()) == pytest.approx([0.789, 0.746, 0.734, 0.729])


def test_points_and_error_bars_are_where_the_numbers_say() -> None:
    axes = plots.frontier_figure(results([row("full", "full", 1000, 0.7), row("qr", "compressed", 500, 0.8)])).axes[0]
    drawn = {container.lines[0].get_marker(): container for container in axes.containers}
    assert list(drawn) == ["D", "o"]
    marker, _, (bar,) = drawn["o"].lines
    assert (marker.get_xdata()[0], marker.get_ydata()[0]) == (500, pytest.approx(0.801))
    ((_, low), (_, high)) = bar.get_segments()[0]
    half = 4.303 * 0.001 / 3**0.5
    assert (low, high) == (pytest.approx(0.801 - half), pytest.approx(0.801 + half))


def test_one_seed_has_no_error_bar_and_the_head_says_so() -> None:
    figure = plots.frontier_figure(results([row("full", "full", 1000, 0.7, seeds=1)]))
    assert any("no error bars" in text for text in texts(figure))
    assert figure.axes[0].containers[0].has_yerr is False


def test_a_row_far_off_does_not_squash_the_others() -> None:
    rows = [*realistic(), row("diverging", "compressed", 471_872, 5.0)]
    figure = plots.frontier_figure(results(rows))
    low, high = figure.axes[0].get_ylim()
    assert low < 0.724
    assert 0.825 < high < 0.9
    assert "diverging\noff scale: 5 ↑" in texts(figure)
    heights = [container.lines[0].get_ydata()[0] for container in figure.axes[0].containers]
    assert all(low < height < high for height in heights)


def test_a_floor_far_below_is_told_and_not_drawn() -> None:
    figure = plots.frontier_figure(results(noise_floor=0.1))
    assert figure.axes[0].get_ylim()[0] > 0.7
    assert marked(figure, "noise floor") == []
    assert "↓ noise floor 0.1, off this axis" in texts(figure)


def test_legend_names_the_groups_that_are_there() -> None:
    (legend,) = plots.frontier_figure(results([row("full", "full", 1000, 0.7), row("x", "compressed", 1, 0.8)])).legends
    assert [text.get_text() for text in legend.get_texts()] == ["full table", "compressed"]


def test_losses_are_means_over_seeds_with_a_band() -> None:
    figure = plots.losses_figure(results([row("full", "full", 1000, 0.7), row("qr", "compressed", 500, 0.8)]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["full", "qr"]
    (line,) = [line for line in figure.axes[1].lines if line.get_gid() == "val_mse"]
    assert list(line.get_xdata()) == [1, 2, 3, 4, 5]
    assert list(line.get_ydata()) == pytest.approx([0.801 + 0.5 / epoch - 0.1 for epoch in range(1, 6)])
    band = figure.axes[1].collections[-1].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.800)
    (full,) = [line for line in figure.axes[1].lines if line.get_gid() == "reference"]
    assert full.get_ydata()[-1] == pytest.approx(0.701)
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_one_epoch_has_one_tick_and_a_line_of_the_full_table() -> None:
    rows = [row("full", "full", 1000, 0.7), row("qr", "compressed", 500, 0.8)]
    for each in rows:
        each["history"] = [history[:1] for history in each["history"]]
    figure = plots.losses_figure(results(rows))
    axes = figure.axes[1]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]
    (full,) = [line for line in axes.lines if line.get_gid() == "reference"]
    assert len(full.get_xdata()) == 2


def test_seeds_of_different_length_and_missing_losses_are_drawn() -> None:
    entry = row("early stop", "compressed", 500, 0.8)
    entry["history"][0] = entry["history"][0][:2]
    entry["history"][1][4]["val_mse"] = None
    empty = row("no history yet", "compressed", 500, None)
    figure = plots.losses_figure(results([entry, empty]))
    (line,) = [line for line in figure.axes[0].lines if line.get_gid() == "val_mse"]
    assert line.get_ydata()[-1] == pytest.approx(0.802 + 0.1 - 0.1)
    assert "no history" in texts(figure)


def test_a_loss_that_ends_off_the_scale_is_told() -> None:
    rows = [*realistic()[:8], row("diverging", "compressed", 471_872, 50.0)]
    figure = plots.losses_figure(results(rows))
    assert figure.axes[0].get_ylim()[1] < 3
    (text,) = marked(figure, "off scale")
    assert text.get_text() == "off scale, ends at 50 ↑"


@pytest.mark.parametrize("draw", [plots.frontier_figure, plots.losses_figure])
def test_odd_results_are_drawn_all_the_same(draw: Any) -> None:
    draw(results([]))
    draw(results([row("diverged", "compressed", 500, None)]))
    draw(results([row("zero bytes", "of no known group", 0, 0.7), row("same", "full", 0, 0.7)]))
    figure = draw(results([row("$x_1^2$ and \\frac", "full", 1000, 0.7)]))
    assert any("$x_1^2$ and \\frac" in text for text in texts(figure))


def test_a_failed_drawing_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "frontier.png"
    path.write_bytes(b"old")

    def fail(*args: Any, **options: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.frontier(results(realistic()[:1]), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
