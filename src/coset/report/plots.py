"""The results of a comparison as pictures: losses by epoch, and validation score against bytes.

Everything here is a pure function of the results that `coset compare` writes as `results.json`. The same results
give the same file, and no global state of pyplot is touched.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from coset.report.comparison import ResultRow, Results, epochs, half_width, measures, metric, seeds
from coset.report.drawing import blank, save, style
from coset.report.label_places import Array, Mask, place_labels
from coset.sizes import format_size


@dataclass(frozen=True)
class Style:
    """The style of the rows of one group; the colours are Okabe and Ito's, which colour-blind readers can tell
    apart."""

    label: str
    colour: str
    marker: str


STYLES: Mapping[str, Style] = {
    "full": Style("full table", "#000000", "D"),
    "narrow": Style("narrow: full table, fewer dimensions", "#0072B2", "s"),
    "bias": Style("biases only", "#CC79A7", "P"),
    "baseline": Style("without training", "#56B4E9", "X"),
    "compressed": Style("compressed", "#D55E00", "o"),
}
TRAIN, VALIDATION, REFERENCE = "#E69F00", "#0072B2", "#999999"
FLOOR, WARNING = "#009E73", "#B00020"


def frontier(results: Results, path: Path) -> None:
    """Draw the validation score against bytes, every row named, as a PNG at `path`."""
    save(frontier_figure(results), path)


def losses(results: Results, path: Path) -> None:
    """Draw the training and validation loss of every row by epoch, as a PNG at `path`."""
    save(losses_figure(results), path)


def frontier_figure(results: Results) -> Figure:
    """The figure that `frontier` saves."""
    with style():
        return _frontier(results)


def losses_figure(results: Results) -> Figure:
    """The figure that `losses` saves."""
    with style():
        return _losses(results)


def _head(figure: Figure, results: Results, reading: str) -> None:
    """The title, the data behind it, and the warning on synthetic data, at fixed distances from the top."""
    height, width = figure.get_figheight(), figure.get_figwidth()
    room = int(width * 8.5) - (20 if results["synthetic"] else 0)
    heading = textwrap.shorten(str(results["title"]), room, placeholder=" …")
    part = results.get("protocol", {}).get("reported", "the validation part")
    where = "" if "validation" in part else f" · measured on {part}, not on validation data"
    facts = f"{results['dataset']} · {seeds(results)} · {epochs(results)} · {reading}{where}"
    facts = textwrap.shorten(facts, int(width * 14), placeholder=" …")
    figure.text(0.12 / width, 1 - 0.14 / height, heading, va="top", size=13, weight="bold")
    figure.text(0.12 / width, 1 - 0.42 / height, facts, va="top", size=9, color="#444444")
    if results["synthetic"]:
        figure.text(
            1 - 0.15 / width,
            1 - 0.15 / height,
            "SYNTHETIC DATA",
            ha="right",
            va="top",
            size=13,
            weight="bold",
            color="white",
            bbox={"boxstyle": "round,pad=0.3", "facecolor": WARNING, "edgecolor": "none"},
        )


# Validation score against bytes


def _frontier(results: Results) -> Figure:
    said = measures(results)
    score = said["score"]
    # A single number has no place among tables: the axis would begin at 4 bytes.
    rows = [row for row in results["rows"] if metric(row, score)[0] is not None and not _is_constant(row)]
    figure = blank(10.5, 6.4 + 0.06 * max(0, len(rows) - 12))
    height = figure.get_figheight()
    bars_are = "95 % intervals over seeds"
    repeated = any(metric(row, score)[1] is not None for row in rows)
    _head(figure, results, f"error bars: {bars_are}" if repeated else "one seed a row, so no error bars")
    axes = figure.add_axes((0.085, 1.0 / height, 0.895, 1 - 1.75 / height))
    axes.set_xlabel("bytes for inference: tables, biases, index state (log scale, 1 KB = 1000 bytes)")
    axes.set_ylabel(f"validation {said['label']} ({said['better']} is better)")
    if not rows:
        axes.text(0.5, 0.5, "no row has a result", transform=axes.transAxes, ha="center")
        return figure

    sizes = np.array([max(1, row["bytes"]) for row in rows], dtype=float)
    means = np.array([metric(row, score)[0] for row in rows], dtype=float)
    spreads = np.array([half_width(row, score) or 0.0 for row in rows], dtype=float)
    _size_axis(axes, sizes)
    higher = said["better"] == "higher"
    low, high, inside = _range(means, spreads, results["noise_floor"], higher)
    axes.set_ylim(low, high)
    edge = 0.035 * (high - low)
    heights = np.where(inside, means, low + edge if higher else high - edge)

    _narrow_line(axes, rows, sizes, means, inside)
    bars = np.where(inside, spreads, 0.0)
    for place, row in enumerate(rows):
        off = None if inside[place] else "v" if higher else "^"
        _point(axes, _style_of(row), sizes[place], heights[place], bars[place], off=off)
    if results["noise_floor"] is not None:
        _floor(axes, float(results["noise_floor"]), low, high)
    _legend(figure, rows, floor=any(line.get_gid() == "noise floor" for line in axes.lines))

    names = ["\n".join(textwrap.wrap(str(row["name"]), 26)) or "?" for row in rows]
    labels = [
        name if fits else f"{name}\noff scale: {mean:.3g} {'↓' if higher else '↑'}"
        for name, fits, mean in zip(names, inside, means, strict=True)
    ]
    colours = [_style_of(row).colour for row in rows]
    _label(figure, axes, labels, colours, np.column_stack([sizes, heights]), bars)
    return figure


def _is_constant(row: ResultRow) -> bool:
    return bool(row["group"] == "baseline" and row["parameters"] == 1)


def _style_of(row: ResultRow) -> Style:
    return STYLES.get(row["group"], STYLES["compressed"])


def _size_axis(axes: Axes, sizes: Array) -> None:
    """A log axis that starts and ends a little outside of the data, marked 10KB, 100KB, 1MB."""
    axes.set_xscale("log")
    low, high = math.log10(sizes.min()), math.log10(sizes.max())
    margin = max(0.06 * (high - low), 0.12)
    low, high = low - margin, high + 1.8 * margin
    axes.set_xlim(10**low, 10**high)
    steps = (1, 2, 5) if high - low < 3.2 else (1,)
    ticks = [step * 10**power for power in range(math.floor(low), math.ceil(high)) for step in steps]
    shown = [tick for tick in ticks if 10**low <= tick <= 10**high and tick >= 1]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: format_size(round(tick))))


def _range(means: Array, spreads: Array, floor: float | None, higher: bool = False) -> tuple[float, float, Mask]:
    """The limits of the axis of scores, and which rows are drawn in place.

    Rows far worse than all others are left out of the range, so that the differences among the others can be seen; the
    noise floor is left out when it would take more than three fifths of the axis.
    """
    if higher:
        low, high, inside = _range(-means, spreads, None if floor is None else -floor)
        return -high, -low, inside
    inside = means <= _highest_in_place(means)
    bottom, top = float((means - spreads)[inside].min()), float((means + spreads)[inside].max())
    if floor is not None and floor < bottom and bottom - floor < 1.5 * (top - bottom):
        bottom = floor
    span = max(top - bottom, 1e-3 * abs(top), 1e-9)
    return bottom - 0.07 * span, top + (0.06 if inside.all() else 0.14) * span, inside


def _highest_in_place(means: Array) -> float:
    """The highest mean that is not an outlier: up to a fifth of the rows may be outliers, if they stretch the range 2.5
    times."""
    ordered = np.sort(means)
    for off in range(len(ordered) // 5, 0, -1):
        kept, next_up = ordered[-off - 1] - ordered[0], ordered[-off] - ordered[0]
        if next_up > 2.5 * max(kept, 1e-3 * abs(ordered[0])):
            return float(ordered[-off - 1])
    return float(ordered[-1])


def _narrow_line(axes: Axes, rows: Sequence[ResultRow], sizes: Array, means: Array, inside: Mask) -> None:
    chosen = [place for place, row in enumerate(rows) if row["group"] == "narrow" and inside[place]]
    chosen.sort(key=lambda place: sizes[place])
    if len(chosen) > 1:
        axes.plot(
            sizes[chosen], means[chosen], color=STYLES["narrow"].colour, lw=1.3, alpha=0.6, zorder=2, gid="narrow"
        )


def _point(axes: Axes, style: Style, size: float, height: float, bar: float, *, off: str | None) -> None:
    """A filled marker with its error bar; a hollow arrow head for a row that is off the scale."""
    inside = off is None
    axes.errorbar(
        size,
        height,
        yerr=bar or None,
        fmt=off or style.marker,
        color=style.colour,
        markersize=6.5,
        markerfacecolor=style.colour if inside else "white",
        markeredgecolor="white" if inside else style.colour,
        markeredgewidth=0.6 if inside else 1.3,
        elinewidth=1.1,
        capsize=2.5,
        zorder=4,
    )


def _floor(axes: Axes, floor: float, low: float, high: float) -> None:
    if low <= floor <= high:
        axes.axhline(floor, color=FLOOR, lw=1.4, ls=(0, (5, 3)), zorder=1, gid="noise floor")
        text, height, side = f"noise floor {floor:.4g}", floor + 0.006 * (high - low), "bottom"
    else:
        arrow, height = ("↓", low + 0.012 * (high - low)) if floor < low else ("↑", high)
        text, side = f"{arrow} noise floor {floor:.4g}, off this axis", "bottom" if floor < low else "top"
    axes.text(
        0.995,
        height,
        text,
        transform=axes.get_yaxis_transform(),
        ha="right",
        va=side,
        color=FLOOR,
        size=8.5,
        gid="floor label",
    )


def _legend(figure: Figure, rows: Sequence[ResultRow], *, floor: bool) -> None:
    present = {_style_of(row).label for row in rows}
    handles = [
        Line2D(
            [],
            [],
            color=style.colour,
            marker=style.marker,
            ls="-" if group == "narrow" else "none",
            ms=6.5,
            lw=1.3,
            label=style.label,
        )
        for group, style in STYLES.items()
        if style.label in present
    ]
    if floor:
        handles.append(
            Line2D([], [], color=FLOOR, lw=1.4, ls=(0, (5, 3)), label="noise floor: no model can expect better")
        )
    height = figure.get_figheight()
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.06 / height),
        ncols=len(handles),
        columnspacing=1.2,  # or all six kinds of rows and the noise floor are wider than the picture
        frameon=False,
        fontsize=8.5,
    )


# Labels that do not overlap


def _label(
    figure: Figure, axes: Axes, labels: Sequence[str], colours: Sequence[str], points: Array, bars: Array
) -> None:
    """Write each label beside its point, clear of everything drawn, with a thin line where it had to move away."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    point = figure.dpi / 72  # from here on in pixels
    style: dict[str, Any] = {"size": 8, "linespacing": 0.95, "zorder": 5, "gid": "label"}
    style |= {"ha": "center", "va": "center", "multialignment": "center"}
    texts = [axes.text(0, 0, text, color=colour, **style) for text, colour in zip(labels, colours, strict=True)]
    extents = [text.get_window_extent(renderer) for text in texts]
    sizes = np.array([(extent.width, extent.height) for extent in extents]) + 2 * point

    at = axes.transData.transform(points)
    tips = axes.transData.transform(np.column_stack([points[:, 0], points[:, 1] + bars]))
    reach = np.column_stack([np.full(len(at), 4.5 * point), np.maximum(4.5 * point, tips[:, 1] - at[:, 1])])
    floor = [text.get_window_extent(renderer).extents for text in axes.texts if text.get_gid() == "floor label"]
    obstacles = np.vstack([np.hstack([at - reach, at + reach]), *floor])
    paths = [axes.transData.transform(np.array(line.get_xydata())) for line in axes.lines if line.get_gid() == "narrow"]
    lines = np.vstack([np.zeros((0, 4)), *(np.hstack([path[:-1], path[1:]]) for path in paths)])
    frame = np.array(axes.get_window_extent(renderer).extents) + np.array([2, 2, -2, -2])

    boxes = place_labels(at, sizes, obstacles, lines, frame, gap=5.5 * point)
    back = axes.transData.inverted()
    for text, place, box in zip(texts, at, boxes, strict=True):
        text.set_position(tuple(back.transform((box[:2] + box[2:]) / 2)))
        edge = np.clip(place, box[:2], box[2:])
        if np.hypot(*(edge - place)) > 9 * point:
            ends = back.transform([place, edge])
            axes.plot(ends[:, 0], ends[:, 1], color=text.get_color(), lw=0.6, alpha=0.55, zorder=3, gid="leader")


# Losses by epoch


@dataclass(frozen=True)
class LossCurve:
    """One loss by epoch: its mean over the seeds, and the lowest and highest of them."""

    epoch: Array
    mean: Array
    low: Array
    high: Array


def _curve(row: ResultRow, name: str) -> LossCurve:
    values: dict[int, list[float]] = {}
    for history in row["history"]:
        for entry in history:
            if entry.get(name) is not None:
                values.setdefault(entry["epoch"], []).append(entry[name])
    known = sorted(values)
    return LossCurve(
        np.array(known, dtype=float),
        np.array([np.mean(values[epoch]) for epoch in known]),
        np.array([min(values[epoch]) for epoch in known]),
        np.array([max(values[epoch]) for epoch in known]),
    )


def _losses(results: Results) -> Figure:
    rows = [row for row in results["rows"] if row["group"] != "baseline"]
    columns = max(1, len(rows) if len(rows) < 4 else min(5, math.ceil(math.sqrt(len(rows)))))
    lines = max(1, math.ceil(len(rows) / columns))
    width = max(7.5, 0.9 + 2.55 * columns)
    height = 1.55 + (1.95 if lines > 1 else 3.0) * lines
    figure = blank(width, height)
    said = measures(results)
    repeated = any(len(row["history"]) > 1 for row in rows)
    spread = "; bands: lowest to highest seed" if repeated else ""
    _head(figure, results, f"{said['long']} by epoch{spread}")
    train = [_curve(row, said["train"]) for row in rows]
    validation = [_curve(row, said["score"]) for row in rows]
    reference = next((place for place, row in enumerate(rows) if row["group"] == "full"), None)
    low, high = _loss_range(train, validation, results["noise_floor"])
    grid = figure.add_gridspec(
        lines,
        columns,
        left=0.78 / width,
        right=1 - 0.12 / width,
        top=1 - 1.0 / height,
        bottom=0.85 / height,
        wspace=0.09,
        hspace=0.34 if lines > 1 else 0,
    )
    last = max([1.0, *(curve.epoch.max() for curve in (*train, *validation) if curve.epoch.size)])
    first = min([1.0, *(curve.epoch.min() for curve in (*train, *validation) if curve.epoch.size)])
    for place, row in enumerate(rows):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        axes.set_ylim(low, high)
        axes.set_xlim(first - 0.04 * last, last + 0.04 * last)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= len(rows), length=2.5)
        name = "\n".join(textwrap.wrap(str(row["name"]), 34, max_lines=2, placeholder=" …"))
        axes.set_title(name, size=8.5, loc="left", pad=4, weight="bold")
        if reference is not None and reference != place:
            full = validation[reference]
            dotted: dict[str, Any] = {"color": REFERENCE, "lw": 1.2, "ls": (0, (1, 1)), "gid": "reference"}
            if full.epoch.size == 1:  # a single point, which makes no line
                axes.axhline(full.mean[0], **dotted)
            else:
                axes.plot(full.epoch, full.mean, **dotted)
        if results["noise_floor"] is not None:
            axes.axhline(results["noise_floor"], color=FLOOR, lw=1.1, ls=(0, (5, 3)), gid="noise floor")
        _draw(axes, train[place], TRAIN, "--", said["train"], high)
        _draw(axes, validation[place], VALIDATION, "-", said["score"], high)
        if not train[place].epoch.size and not validation[place].epoch.size:
            axes.text(0.5, 0.5, "no history", transform=axes.transAxes, ha="center", color="#777777")
    _losses_legend(figure, reference is not None, results["noise_floor"], low, high)
    figure.text(
        0.14 / width, (0.85 / height + 1 - 1.0 / height) / 2, said["label"], rotation=90, va="center", ha="left"
    )
    figure.text(0.5, 0.42 / height, "epoch", va="bottom", ha="center")
    return figure


def _draw(axes: Axes, curve: LossCurve, colour: str, line: str, name: str, top: float) -> None:
    marker = "o" if curve.epoch.size == 1 else None
    axes.fill_between(curve.epoch, curve.low, curve.high, color=colour, alpha=0.22, lw=0)
    axes.plot(curve.epoch, curve.mean, color=colour, ls=line, marker=marker, lw=1.5, gid=name)
    if colour == VALIDATION and curve.mean.size and curve.mean[-1] > top:
        text = f"off scale, ends at {curve.mean[-1]:.3g} ↑"
        axes.text(
            0.97, 0.95, text, transform=axes.transAxes, ha="right", va="top", size=8, color=colour, gid="off scale"
        )


def _loss_range(
    train: Sequence[LossCurve], validation: Sequence[LossCurve], floor: float | None
) -> tuple[float, float]:
    """Limits that show where the losses end, not how far off they started."""
    every = np.concatenate([np.zeros(0), *(curve.mean for curve in (*train, *validation))])
    if not every.size:
        return 0.0, 1.0
    ends = np.array([curve.mean[-1] for curve in (*train, *validation) if curve.mean.size])
    low = float(every.min())
    usual = float(np.quantile(ends, 0.75))
    high, highest = max(usual + 1.5 * (usual - low), float(np.quantile(every, 0.75))), float(every.max())
    if highest - low < 2 * (high - low):
        high = highest
    span = max(high - low, 1e-3 * abs(high), 1e-9)
    if floor is not None and floor < low and low - floor < span:
        low, span = floor, high - floor
    return low - 0.06 * span, high + 0.08 * span


def _losses_legend(figure: Figure, reference: bool, floor: float | None, low: float, high: float) -> None:
    handles = [
        Line2D([], [], color=VALIDATION, lw=1.5, label="validation"),
        Line2D([], [], color=TRAIN, ls="--", lw=1.5, label="training"),
    ]
    if reference:
        handles.append(Line2D([], [], color=REFERENCE, ls=(0, (1, 1)), lw=1.2, label="validation of the full table"))
    if floor is not None:
        where = "" if low <= floor <= high else ", off these axes"
        label = f"noise floor {floor:.4g}{where}"
        handles.append(Line2D([], [], color=FLOOR, ls=(0, (5, 3)), lw=1.1, label=label))
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.03 / figure.get_figheight()),
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
    )
