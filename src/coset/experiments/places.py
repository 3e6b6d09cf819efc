"""The default folders of runs and comparisons: below `runs`, or beside the run that they begin with."""

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
    """The folder of a comparison; one on the synthetic twin of its data has a folder of its own."""
    return RUNS / (f"{recipe}-synthetic" if synthetic else recipe)


def of_plan(out: Path | None, plan: Path | None) -> tuple[Path | None, Path | None]:
    """The files of a plan and of its picture, None for one that is not written.

    Args:
        out: the folder for both.
        plan: the file of the plan; by default `plan.json` in `out`.
    """
    return (plan, None) if out is None else (plan or out / "plan.json", out / "plan.png")


def beside_run(run: Path, what: str) -> Path:
    """The folder of a run that is made from another one, such as `mine-continued` beside `mine`."""
    place = run.resolve()  # a run may be given as "."
    return place.parent / f"{place.name}-{_as_name(what)}"


def for_preparing(out: Path | None) -> Path:
    """The folder below which data are prepared, where results go to `out`."""
    return RUNS if out is None else out.parent


def _as_name(text: str) -> str:
    return re.sub(r"[^\w.=%-]+", "-", text)
