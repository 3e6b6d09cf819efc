"""A plan as a picture: bytes of every table before and after, and how its traffic falls on its ids.

A pure function of what `coset plan --json` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from coset.experiments.planning import ABOUT
from coset.report.drawing import blank, save, style
from coset.report.phrases import method_words
from coset.sizes import format_size

_BEFORE, _AFTER, _WARNING = "#BBBBBB", "#D55E00", "#B00020"
_LINEAR = 40  # up to this many times the smallest size, bytes have a linear scale
_WIDEST = 40  # characters of a method
_NAMED = 10  # most curves that get a name: those of the tables with the most bytes

_NO_TABLE = {"bytes": 0, "method": None}


def picture(found: Mapping[str, Any], path: Path) -> None:
    """Draw a plan as a PNG at `path`."""
    save(figure(found), path)


def figure(found: Mapping[str, Any]) -> Figure:
    """The figure that `picture` saves."""
    with style():
        return _figure(found)


def _figure(found: Mapping[str, Any]) -> Figure:
    about, tables = found[ABOUT], found["tables"]
    width, height = 13.6, max(4.2, 1.7 + 0.3 * len(tables))
    drawn = blank(width, height)
    title = f"{about['dataset']}: {format_size(found['bytes'])} in place of {format_size(about['full']['bytes'])}"
    what = f"embedding_dim {found['embedding_dim']}" if tables else "biases alone"
    facts = f"{what}, within a budget of {format_size(found['budget'])}"
    drawn.text(0.12 / width, 1 - 0.14 / height, title, va="top", size=13, weight="bold")
    drawn.text(0.12 / width, 1 - 0.42 / height, facts, va="top", size=9, color="#444444")
    if about["synthetic"]:
        drawn.text(1 - 0.15 / width, 1 - 0.15 / height, "SYNTHETIC DATA", va="top", ha="right", color=_WARNING,
                   size=12, weight="bold")  # fmt: skip
    room = {"bottom": 0.6 / height, "top": 1 - 0.95 / height}
    # The column between the two is for the text of `_bars`.
    grid = drawn.add_gridspec(1, 3, left=0.09, right=0.97, wspace=0, width_ratios=(4.6, 3.7, 3.8), **room)
    _bars(drawn.add_subplot(grid[0]), found)
    _curves(drawn.add_subplot(grid[2]), found)
    return drawn


def _bars(axes: Axes, found: Mapping[str, Any]) -> None:
    features = found[ABOUT]["features"]
    tables = found["tables"] or dict.fromkeys(features, _NO_TABLE)
    places = np.arange(len(tables))
    before = [features[name]["full_bytes"] for name in tables]
    after = [choice["bytes"] for choice in tables.values()]
    axes.barh(places - 0.2, before, 0.36, color=_BEFORE, label="full", gid="before")
    axes.barh(places + 0.2, after, 0.36, color=_AFTER, label="planned", gid="after")
    low, high = min(*before, *filter(None, after)), max(before)
    if high > _LINEAR * low:
        axes.set_xscale("log")
        axes.set_xlim(max(0.5, low / 3), high * 1.5)
    else:
        axes.set_xlim(0, high * 1.05)
    for place, choice in enumerate(tables.values()):
        words = method_words(choice["method"]) if choice["method"] else "left out"
        if len(words) >= _WIDEST:
            words = f"{words[:_WIDEST].rpartition(' ')[0].rstrip(',')} …"
        _beside(axes, place, format_size(choice["bytes"]), words)
    axes.set_yticks(places, list(tables))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: format_size(round(size)) if size >= 1 else ""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("bytes of each table", loc="left", size=10)
    above = {"borderaxespad": 0.2, "frameon": False, "fontsize": 8.5}
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, **above)


def _beside(axes: Axes, place: float, size: str, words: str) -> None:
    """Bytes and method of a table in columns right of its bars."""
    at: dict[str, Any] = {"xy": (1, place), "xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(size, xytext=(46, 0), ha="right", va="center", size=7.5, color=_AFTER, gid="size", **at)
    axes.annotate(words, xytext=(54, 0), va="center", size=7.5, gid="method", **at)


def _curves(axes: Axes, found: Mapping[str, Any]) -> None:
    """The share of traffic of the most frequent ids; a straight line means equally frequent ids."""
    known = {name: np.array(of["traffic"]) for name, of in found[ABOUT]["features"].items() if of["traffic"]}
    largest = sorted(known, key=lambda name: -found[ABOUT]["features"][name]["full_bytes"])[:_NAMED]
    for number, (name, curve) in enumerate(known.items()):
        label = name if name in largest else None
        shade = colormaps["viridis"](number / max(1, len(known) - 1) * 0.9)
        ids, share = curve[:, 0], curve[:, 1]
        axes.plot(ids / ids[-1], share, color=shade, lw=1.4, alpha=1 if label else 0.35, label=label, gid="traffic")
    axes.plot([0, 1], [0, 1], color="#999999", lw=1, ls=(0, (1, 1)), gid="even")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("most frequent ids")
    axes.set_title("share of the traffic that they make up", loc="left", size=10)
    if known:
        axes.legend(loc="lower right", frameon=False, fontsize=8)
    else:
        axes.text(0.5, 0.5, "no frequencies are known", ha="center", va="center")
