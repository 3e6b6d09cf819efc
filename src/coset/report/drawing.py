"""The style and the saving of all pictures; touches no global state of pyplot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from coset.files import replacing

DPI = 150

_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "text.parse_math": False,  # a name may hold a dollar sign
    "path.sketch": None,
}


@contextmanager
def style() -> Iterator[None]:
    """All drawing within uses coset's style."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG; the same figure gives the same file."""
    with style(), replacing(path) as aside:
        figure.savefig(aside, format="png", dpi=DPI, metadata={"Software": None})


def blank(width: float, height: float) -> Figure:
    """A figure of so many inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure
