"""Where runs and comparisons are written where nobody says it: below `runs`, or beside the run that they begin with."""

from __future__ import annotations

import re
from pathlib import Path

RUNS = Path("runs")


def of_run(recipe: str, row: str, seed: int) -> Path:
    """The folder of one run.

    Example:
        >>> of_run("ratings", "low rank", 0).as_posix()
        'runs/ratings-low-rank-seed-0'
    """
    return RUNS / _as_name(f"{recipe}-{row}-seed-{seed}")


def of_comparison(recipe: str, synthetic: bool) -> Path:
    """The folder of a comparison; one on the synthetic twin of its data is no other's."""
    return RUNS / (f"{recipe}-synthetic" if synthetic else recipe)


def beside_run(run: Path, what: str) -> Path:
    """The folder of what is made of a run, such as `mine-continued` beside `mine`."""
    place = run.resolve()  # a run may be given as "."
    return place.parent / f"{place.name}-{_as_name(what)}"


def for_preparing(out: Path | None) -> Path:
    """The folder below which data are prepared, for results in `out`."""
    return RUNS if out is None else out.parent


def _as_name(text: str) -> str:
    return re.sub(r"[^\w.=%-]+", "-", text)
